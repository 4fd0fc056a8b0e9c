"""How tasks end by task management and by Reject, and the ladder of functions that are tried one after the other: which
failure is the last, event 63 (RFC 7143 7.11, 11.5, 11.6, 11.17).

The ladder is told by what the initiator sends: LOGICAL UNIT RESET as its next function behind an ABORT TASK that failed for
the same LUN, TARGET WARM RESET behind such a reset.
"""

from __future__ import annotations

from iscsi_captures.events.state import Connection, Management, ScsiTask, Session, Task
from iscsi_protocol import serial
from iscsi_protocol.pdu import LogoutReason, Opcode, RawPdu, RejectReason, TaskFunction, TaskResponse

_OF_A_LUN = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_OF_ALL = frozenset({TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET, TaskFunction.I_T_NEXUS_RESET})
RESET, LAST = 39, 63
_ABORTED = frozenset({TaskResponse.FUNCTION_COMPLETE, TaskResponse.TASK_DOES_NOT_EXIST})


def answered(session: Session, task: Management, response: int, now: float) -> int:
    """A task management function was answered: the event that this raises (39, 63), 0 for none."""
    session.end(task)
    if task.code == TaskFunction.ABORT_TASK and response in _ABORTED:
        aborted = session.tasks.get(task.referenced)
        if aborted is not None:
            session.end(aborted)
        return 0
    if response != TaskResponse.FUNCTION_COMPLETE:
        return failed(session, task, now)
    if task.code in _OF_A_LUN:
        session.end_scsi(task.lun, task.cmd_sn)
    elif task.code in _OF_ALL:
        session.end_scsi(None, task.cmd_sn)
    return 0


def reassigned(session: Session, task: Management, response: int, now: float) -> float | None:
    """TASK REASSIGN was answered: when the task that it moved runs out of time; None where it did not move one."""
    session.end(task)
    moved = session.tasks.get(task.referenced)
    if response == TaskResponse.TASK_DOES_NOT_EXIST:
        if moved is not None:
            session.end(moved)
    elif response != TaskResponse.FUNCTION_COMPLETE:
        session.silence()
    elif isinstance(moved, ScsiTask):
        moved.stopped = False
        return session.begin(moved, now, moved.allowance)
    return None


def failed(session: Session, task: Management, now: float) -> int:
    """A task management function came to nothing: the event that this raises, 0 for none.

    Behind a reset of the ladder that failed either the target is reset (39), which the initiator then sends, or the ladder
    is at its end (63). Behind the logout of the session nothing is begun any more (11.14).
    """
    session.end(task)
    if task.ladder or task.code == TaskFunction.ABORT_TASK:
        session.failed, session.failed_at = (task.code, task.lun), now
    if not task.ladder:
        return 0
    if task.code == TaskFunction.LOGICAL_UNIT_RESET and session.declared.resets_target:
        if session.leaving is not None:
            return 0
        session.resetting = True
        return RESET
    return LAST


def logout_failed(session: Session, task: Task) -> None:
    """A logout came to nothing: at level 2 that of a connection ends this one, any other all."""
    connection = task.connection
    if connection.limits.level > 1 and task.bhs[1] & 0x7F == LogoutReason.CLOSE_CONNECTION:
        session.suspend(connection)
    else:
        session.silence()


def rejected(session: Session, connection: Connection, raw: RawPdu, header: bytes, now: float) -> int:
    """A Reject came, for the PDU with this header: the event that follows from it (39, 63), 0 for none."""
    opcode = header[0] & 0x3F
    task = session.tasks.get(int.from_bytes(header[16:20], "big"))
    if task is None or task.opcode != opcode or task.connection is not connection:
        return 0
    if opcode == Opcode.LOGOUT_REQUEST:
        session.end(task)
        logout_failed(session, task)
        return 0
    if isinstance(task, ScsiTask) and raw.bhs[2] == RejectReason.DATA_DIGEST_ERROR:
        return 0  # it is sent again
    if isinstance(task, Management):
        if task.code == TaskFunction.TASK_REASSIGN:
            session.silence()
            return 0
        return failed(session, task, now)
    session.end(task)
    exp_cmd_sn = int.from_bytes(raw.bhs[28:32], "big")
    if opcode == Opcode.NOP_OUT and not task.immediate and serial.le(exp_cmd_sn, task.cmd_sn):
        # Nothing less than a ping can close the gap in CmdSN that the target leaves, and that was one.
        if connection.limits.level > 1:
            session.suspend(connection)
        else:
            session.silence()
    return 0
