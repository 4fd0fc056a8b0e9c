"""What ends several tasks, fences and FastAbort, and the functions of RFC 7144 (4.2.2.3, 4.2.3, 7.11, 11.5, 11.6, 11.9.1)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight, Task
from iscsi_captures.dialogue.bits import STATUS
from iscsi_captures.dialogue.retention import acknowledged
from iscsi_captures.dialogue.tracker import MULTI_TASK, RESETS, covered, is_up
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import Opcode, TaskFunction, TaskResponse

RULES = Rules((Phase.FULL,))
_TMF = Opcode.TASK_MANAGEMENT_REQUEST
_TMF_RESPONSE = Opcode.TASK_MANAGEMENT_RESPONSE
_OUT = Opcode.SCSI_DATA_OUT
_LEVEL_2 = frozenset(
    {
        TaskFunction.QUERY_TASK,
        TaskFunction.QUERY_TASK_SET,
        TaskFunction.I_T_NEXUS_RESET,
        TaskFunction.QUERY_ASYNCHRONOUS_EVENT,
    }
)
_QUERIES = _LEVEL_2 - {TaskFunction.I_T_NEXUS_RESET}
_WITHIN_A_UNIT = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_CONFIRMED = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET})


def _function(header: bytes) -> int:
    return header[1] & 0x7F


def _request(sight: Sight) -> Task | None:
    """The task management request that is answered."""
    request = sight.task
    return request if request is not None and request.opcode == _TMF else None


def _referenced(sight: Sight, header: bytes) -> Task | None:
    return sight.session.tasks.get(int.from_bytes(header[20:24], "big"))


@RULES("tmf.level-2-function", "R7144-6.3-01", _TMF, from_start=True, stain=Stain.TASK)
def level_2_function(sight: Sight) -> str | None:
    """The functions of RFC 7144 need iSCSIProtocolLevel 2."""
    function, level = _function(bytes(sight.bhs)), sight.connection.limits.protocol_level
    return f"function {function} at iSCSIProtocolLevel {level}" if function in _LEVEL_2 and level < 2 else None


@RULES("tmf.query-ref-cmd-sn", "R7144-6.3-05", _TMF, stain=Stain.TASK)
def query_ref_cmd_sn(sight: Sight) -> str | None:
    """QUERY TASK names the CmdSN of its task, or its own for an immediate one."""
    if _function(bytes(sight.bhs)) != TaskFunction.QUERY_TASK:
        return None
    task, number = _referenced(sight, bytes(sight.bhs)), sight.word(32)
    if task is None:
        return None
    expected = sight.word(24) if task.immediate else task.cmd_sn
    return None if number == expected else f"RefCmdSN {number} where {expected} names the task"


@RULES("tmf.query-on-other-connection", "R7144-6.3-06", _TMF, stain=Stain.TASK)
def query_on_other_connection(sight: Sight) -> str | None:
    """QUERY TASK goes out on the connection of its task while that lives."""
    if _function(bytes(sight.bhs)) != TaskFunction.QUERY_TASK:
        return None
    task = _referenced(sight, bytes(sight.bhs))
    if task is None or task.connection is sight.connection or not is_up(task.connection):
        return None
    return f"the task is on connection {task.connection.number}"


@RULES("tmf.function-succeeded", "R7143-11.6.1-01", _TMF_RESPONSE, leans=False, from_start=True, stain=Stain.TASK)
def function_succeeded(sight: Sight) -> str | None:
    """Response 7 belongs to the queries of iSCSIProtocolLevel 2."""
    request, level = _request(sight), sight.connection.limits.protocol_level
    if sight.bhs[2] != TaskResponse.FUNCTION_SUCCEEDED or request is None:
        return None
    if level < 2:
        return f"response 7 at iSCSIProtocolLevel {level}"
    function = _function(request.bhs)
    return None if function in _QUERIES else f"response 7 to function {function}"


def _not_rejected(sight: Sight, function: TaskFunction) -> str | None:
    """A function that is not for requests of task management was answered by another code than 255."""
    request = _request(sight)
    if request is None or _function(request.bhs) != function or sight.bhs[2] == TaskResponse.FUNCTION_REJECTED:
        return None
    task = _referenced(sight, request.bhs)
    if task is None or task.opcode != _TMF or task.connection is not sight.connection:
        return None
    return f"response {sight.bhs[2]}, the task is a task management request"


@RULES("tmf.abort-of-tmf", "R7143-11.5.1-15", _TMF_RESPONSE, leans=False, stain=Stain.TASK)
def abort_of_tmf(sight: Sight) -> str | None:
    """ABORT TASK of a task management request is rejected."""
    return _not_rejected(sight, TaskFunction.ABORT_TASK)


@RULES("tmf.query-of-tmf", "R7144-6.3-08", _TMF_RESPONSE, leans=False, stain=Stain.TASK)
def query_of_tmf(sight: Sight) -> str | None:
    """QUERY TASK of a task management request is rejected."""
    if sight.bhs[2] == TaskResponse.FUNCTION_NOT_SUPPORTED:
        return None
    return _not_rejected(sight, TaskFunction.QUERY_TASK)


@RULES("tmf.live-task-denied", "R7143-11.6.1-06", _TMF_RESPONSE, stain=Stain.TASK)
def live_task_denied(sight: Sight) -> str | None:
    """ABORT TASK finds a task that lives."""
    request = _request(sight)
    if request is None or _function(request.bhs) != TaskFunction.ABORT_TASK:
        return None
    task = _living(sight, request) if sight.bhs[2] == TaskResponse.TASK_DOES_NOT_EXIST else None
    return None if task is None else f"the task of CmdSN {task.cmd_sn} does not exist, and was never answered"


@RULES("tmf.ended-task-aborted", "R7143-7.11-04", _TMF_RESPONSE, from_start=True, stain=Stain.NOTHING)
def ended_task_aborted(sight: Sight) -> str | None:
    """ABORT TASK does not find a task whose response went out before."""
    request = _request(sight)
    if request is None or not request.late or sight.session.uncertain:
        return None
    if _function(request.bhs) != TaskFunction.ABORT_TASK or sight.bhs[2] != TaskResponse.FUNCTION_COMPLETE:
        return None
    return "response 0, though the task was answered before it was to be aborted"


def _unconfirmed(sight: Sight, request: Task) -> str | None:
    """A status of the tasks in question that another connection has not acknowledged."""
    function = _function(request.bhs)
    for other in sight.session.live():
        if other is sight.connection:
            continue
        for number, status in other.statuses.items():
            if status.lun is None or status.task is None or serial.ge(status.task.cmd_sn, request.cmd_sn):
                continue
            if function not in _WITHIN_A_UNIT or status.lun == request.bhs[8:16]:
                return f"status {number} on connection {other.number} is not acknowledged"
    return None


def _multi_task(sight: Sight) -> Task | None:
    """The multi-task request that succeeds with this response."""
    request = _request(sight)
    done = request is not None and not sight.bhs[2] and _function(request.bhs) in MULTI_TASK
    return request if done else None


@RULES("tmf.fence-not-awaited", "R7143-4.2.2.3.3-03", _TMF_RESPONSE, from_start=True)
def fence_not_awaited(sight: Sight) -> str | None:
    """A fenced response waits until all statuses on all connections are acknowledged."""
    request = _multi_task(sight)
    if request is None or sight.connection.limits.task_reporting == "RFC3720":
        return None
    return _unconfirmed(sight, request)


@RULES("tmf.abort-not-confirmed", "R7143-11.6.1-05", _TMF_RESPONSE, from_start=True)
def abort_not_confirmed(sight: Sight) -> str | None:
    """ABORT TASK SET and CLEAR TASK SET are answered when the responses before are acknowledged on all connections."""
    request = _multi_task(sight)
    if request is None or _function(request.bhs) not in _CONFIRMED:
        return None
    return _unconfirmed(sight, request) if sight.connection.limits.task_reporting == "RFC3720" else None


@RULES("tmf.status-inside-fence", "R7143-4.2.2.3.3-05", Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, from_start=True)
def status_inside_fence(sight: Sight) -> str | None:
    """While a fenced response is not acknowledged no other status of the nexus goes out."""
    fence, task = sight.session.fence, sight.scsi
    if fence is None or task is None or not is_up(fence[0]):
        return None
    if (sight.opcode == Opcode.SCSI_DATA_IN and not sight.bhs[1] & STATUS) or fence[2] not in (None, task.lun):
        return None
    return f"a status before the fenced response (StatSN {fence[1]} on connection {fence[0].number}) is acknowledged"


@RULES("tmf.fast-abort-without-event", "R7143-4.2.3.4-12", _TMF_RESPONSE, from_start=True)
def fast_abort_without_event(sight: Sight) -> str | None:
    """Under FastAbort the other connections with affected tasks get event 5 before the response."""
    request, expected = _multi_task(sight), sight.word(28)
    if request is None or sight.connection.limits.task_reporting != "FastAbort":
        return None
    for task in covered(request):
        other = task.connection
        if other is sight.connection or not is_up(other) or task.immediate or task.disturbed:
            continue
        if serial.lt(task.cmd_sn, expected):
            return f"the task of CmdSN {task.cmd_sn} on connection {other.number} ends without event 5 there"
    return None


@RULES("dataout.after-fast-abort", "R7143-4.2.3.4-03", _OUT, from_start=True, stain=Stain.NOTHING)
def after_fast_abort(sight: Sight) -> str | None:
    """Under FastAbort no Data-Out of the tasks follows the request that aborts them, on its connection."""
    session, task = sight.session, sight.scsi
    if sight.connection.limits.task_reporting != "FastAbort":
        return None
    if task is None:
        return "Data-Out of a task that was aborted" if session.aborted.get(sight.itt) in MULTI_TASK else None
    if not task.aborting:
        return None
    here = [other for other in session.tasks.values() if other.opcode == _TMF and other.connection is sight.connection]
    for request in here:
        if _function(request.bhs) in MULTI_TASK and task in covered(request):
            return f"Data-Out after task management function {_function(request.bhs)}"
    return None


@RULES("dataout.after-termination", "R7143-11.9.1-10", _OUT, stain=Stain.NOTHING)
def after_termination(sight: Sight) -> str | None:
    """Once event 5 is acknowledged no Data-Out of its tasks follows."""
    terminated, acked = sight.session.terminated.get(sight.itt), sight.connection.acked
    if terminated is None or terminated[0] is not sight.connection or acked is None:
        return None
    return "Data-Out of a task that event 5 ended" if serial.gt(acked, terminated[1]) else None


@RULES("async.termination-unanswered", "R7143-11.9.1-11", Opcode.LOGOUT_REQUEST, stain=Stain.NOTHING)
def termination_unanswered(sight: Sight) -> str | None:
    """Event 5 is acknowledged by a NOP-Out with its LUN."""
    if acknowledged(sight) is not sight.connection:
        return None
    for lun, number in sight.connection.terminations.items():
        if serial.gt(sight.word(28), number):
            return f"event 5 for LUN {lun.hex()} (StatSN {number}) got no NOP-Out"
    return None


@RULES("tmf.query-missed", "R7144-6.4.2-02", _TMF_RESPONSE, stain=Stain.TASK)
def query_missed(sight: Sight) -> str | None:
    """QUERY TASK finds a task that lives."""
    request = _request(sight)
    if request is None or _function(request.bhs) != TaskFunction.QUERY_TASK or request.disturbed:
        return None
    if sight.bhs[2] != TaskResponse.FUNCTION_COMPLETE:
        return None
    task = _living(sight, request)
    if task is None or task.aborting:
        # A function that is to end it may have done so before it is answered, if it ever is.
        return None
    return f"the task of CmdSN {task.cmd_sn} is not found, and was never answered"


def _living(sight: Sight, request: Task) -> Task | None:
    """The SCSI command that a request names, where it is certain that the target has it."""
    task, session = _referenced(sight, request.bhs), sight.session
    if task is None or task.opcode != Opcode.SCSI_COMMAND:
        return None
    if task.connection is not sight.connection or task.disturbed or task.immediate or session.uncertain:
        return None
    if any(other.opcode == _TMF and _function(other.bhs) in RESETS for other in session.tasks.values()):
        # A reset may end what comes behind it as well, before it is answered.
        return None
    named = int.from_bytes(request.bhs[32:36], "big") == task.cmd_sn and request.bhs[8:16] == task.lun
    expected = session.exp_cmd_sn
    return task if named and expected is not None and serial.lt(task.cmd_sn, expected) else None
