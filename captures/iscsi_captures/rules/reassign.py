"""TASK REASSIGN: when it may be sent, how it is answered, and how the task goes on (7.2.2, 11.5.1, 11.5.6, 11.6)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight, Task
from iscsi_captures.dialogue.tracker import is_up
from iscsi_captures.rules.connections import SLACK
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import Opcode, TaskFunction, TaskResponse

RULES = Rules((Phase.FULL,))
_TMF = Opcode.TASK_MANAGEMENT_REQUEST
_TMF_RESPONSE = Opcode.TASK_MANAGEMENT_RESPONSE
_NOT_REASSIGNED = frozenset({_TMF, Opcode.TEXT_REQUEST, Opcode.LOGOUT_REQUEST})


def _subject(sight: Sight, header: bytes) -> Task | None:
    """What this TASK REASSIGN is about."""
    if header[1] & 0x7F != TaskFunction.TASK_REASSIGN:
        return None
    tag = int.from_bytes(header[20:24], "big")
    return sight.session.tasks.get(tag) or sight.session.finished.get(tag)


def _answered(sight: Sight) -> Task | None:
    """What the answered TASK REASSIGN is about."""
    request = sight.task
    return None if request is None or request.opcode != _TMF else _subject(sight, request.bhs)


@RULES("reassign.before-logout", "R7143-7.2.2-01", _TMF)
def before_logout(sight: Sight) -> str | None:
    """A task is reassigned only after the logout of its connection has succeeded."""
    task = _subject(sight, bytes(sight.bhs))
    if task is None or task.connection.ended or sight.session.level < 2:
        return None
    return f"the task belongs to connection {task.connection.number}, which is not logged out"


@RULES("reassign.exp-data-sn", "R7143-11.5.6-04", _TMF, stain=Stain.TASK)
def exp_data_sn(sight: Sight) -> str | None:
    """ExpDataSN is 0, or above what was acknowledged and no more than what was sent."""
    task, number = _subject(sight, bytes(sight.bhs)), sight.word(36)
    if task is None or task.opcode != Opcode.SCSI_COMMAND or task.recovery is None or task.disturbed or not number:
        return None
    if task.recovery.resumed or task.recovery.resumed_out or task.recovery.again:
        return None
    highest = max(task.in_sn, task.r2t_sn)
    if task.recovery.acked <= number <= highest:
        return None
    return f"ExpDataSN {number}, where {task.recovery.acked} is acknowledged and {highest} the next to be sent"


@RULES("reassign.at-low-level", "R7143-7.2.2-06", _TMF_RESPONSE, from_start=True)
def at_low_level(sight: Sight) -> str | None:
    """Below ErrorRecoveryLevel 2 TASK REASSIGN is answered with 4."""
    request, level = sight.task, sight.session.level
    if request is None or request.opcode != _TMF or request.bhs[1] & 0x7F != TaskFunction.TASK_REASSIGN or level > 1:
        return None
    if sight.bhs[2] not in (TaskResponse.FUNCTION_COMPLETE, TaskResponse.FUNCTION_NOT_SUPPORTED):
        return None
    return f"response {sight.bhs[2]} to TASK REASSIGN at ErrorRecoveryLevel {level}"


@RULES("reassign.of-allegiant-task", "R7143-7.2.2-07", _TMF_RESPONSE, leans=False, from_start=True)
def of_allegiant_task(sight: Sight) -> str | None:
    """A task whose connection is up is still allegiant."""
    task = _answered(sight)
    if task is None or sight.session.level < 2 or sight.bhs[2] != TaskResponse.FUNCTION_COMPLETE:
        return None
    if task.opcode != Opcode.SCSI_COMMAND or not is_up(task.connection):
        return None
    return f"the task is reassigned from connection {task.connection.number}, which is up"


@RULES("reassign.still-allegiant", "R7143-11.6.1-01", _TMF_RESPONSE, from_start=True, stain=Stain.TASK)
def still_allegiant(sight: Sight) -> str | None:
    """After a recovery logout of its connection a task is not allegiant any more."""
    task = _answered(sight)
    if task is None or sight.session.level < 2 or sight.bhs[2] != TaskResponse.TASK_STILL_ALLEGIANT:
        return None
    if not task.connection.ended or not task.connection.kept:
        return None
    return f"connection {task.connection.number} of the task was logged out for recovery"


@RULES("reassign.not-supported", "R7143-7.1.5-02", _TMF_RESPONSE, from_start=True, stain=Stain.TASK)
def not_supported(sight: Sight) -> str | None:
    """At ErrorRecoveryLevel 2 reassignment is supported."""
    task, code = _answered(sight), sight.bhs[2]
    if task is None or sight.session.level < 2 or sight.session.uncertain or task.opcode != Opcode.SCSI_COMMAND:
        return None
    if code not in (TaskResponse.REASSIGNMENT_NOT_SUPPORTED, TaskResponse.FUNCTION_NOT_SUPPORTED):
        return None
    return f"response {code} to TASK REASSIGN at ErrorRecoveryLevel 2"


@RULES("reassign.task-gone", "R7143-7.5-03", _TMF_RESPONSE, from_start=True, stain=Stain.TASK)
def task_gone(sight: Sight) -> str | None:
    """Until Time2Retain is over the target keeps the tasks of a connection that was logged out for recovery."""
    task, session = _answered(sight), sight.session
    if task is None or session.level < 2 or session.uncertain or sight.bhs[2] != TaskResponse.TASK_DOES_NOT_EXIST:
        return None
    former, expected = task.connection, session.exp_cmd_sn
    if not former.kept or task.immediate or task.opcode != Opcode.SCSI_COMMAND or task.aborting or task.disturbed:
        return None
    if former.recover_until is None or sight.time >= former.recover_until - SLACK:
        return None
    if expected is None or serial.ge(task.cmd_sn, expected) or task.cmd_sn in session.open_numbers:
        return None
    return (
        f"the task of CmdSN {task.cmd_sn} is gone {former.recover_until - sight.time:.2f} s before Time2Retain is over"
    )


@RULES("reassign.of-no-command", "R7143-11.5.1-23", _TMF_RESPONSE, leans=False, from_start=True)
def of_no_command(sight: Sight) -> str | None:
    """Task management, text and logout requests are not reassigned."""
    task = _answered(sight)
    if task is None or task is sight.task or task.opcode not in _NOT_REASSIGNED or sight.session.level < 2:
        return None
    if sight.bhs[2] == TaskResponse.FUNCTION_REJECTED or task.itt not in sight.session.tasks:
        return None
    return f"response {sight.bhs[2]} to TASK REASSIGN of a request that is no SCSI Command"


@RULES(
    "reassign.before-response",
    "R7143-7.2.2-08",
    Opcode.SCSI_DATA_IN,
    Opcode.SCSI_RESPONSE,
    Opcode.R2T,
    leans=False,
    stain=Stain.TASK,
)
def before_response(sight: Sight) -> str | None:
    """A task goes on only behind the response to its TASK REASSIGN."""
    task = sight.task or sight.former
    if task is None or task.connection is sight.connection:
        return None
    waiting = any(
        other.opcode == _TMF and other.connection is sight.connection and _subject(sight, other.bhs) is task
        for other in sight.session.tasks.values()
    )
    return "the task goes on before TASK REASSIGN is answered" if waiting else None


@RULES("reassign.data-skipped", "R7143-11.5.6-02", Opcode.SCSI_DATA_IN, stain=Stain.TASK)
def data_skipped(sight: Sight) -> str | None:
    """A reassigned read goes on with the first Data-In that is not acknowledged."""
    task, number = sight.scsi, sight.word(36)
    if task is None or task.recovery is None or not task.recovery.resumed or task.disturbed:
        return None
    if task.write and not task.recovery.resumed_out:
        return None
    acked = task.recovery.acked
    return f"DataSN {number} where {acked} is the first not acknowledged" if number > acked else None
