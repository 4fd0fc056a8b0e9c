"""Task management (RFC 7143 11.5, 11.6, 7.11): what a request has to be, and the functions of a single task. Those of many
are in `affected`, the questions of RFC 7144 in `queries`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    NO_TAG,
    RawPdu,
    RejectReason,
    TaskFunction,
    TaskManagementRequest,
    TaskResponse,
    unpacker,
)
from iscsi_protocol.scsi.lun import same_lun
from iscsi_target import affected, fence, queries, reassign
from iscsi_target.affected import covers, progress
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.function import TaskFunctionRequest, answer
from iscsi_target.session import Session
from iscsi_target.violation import format_error, rejected

__all__ = ["IMMEDIATE_FUNCTIONS", "TaskFunctionRequest", "covers", "execute", "progress"]

_fields = unpacker(
    TaskManagementRequest, "@0", "@1", "lun", "itt", "referenced_task_tag", "cmd_sn", "ref_cmd_sn", "exp_data_sn"
)

IMMEDIATE_FUNCTIONS = 16
"""Task management functions in progress on a connection, above which the next immediate one is refused (4.2.2.1)."""


def execute(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A Task Management Function Request whose turn it is. Raises PeerViolation."""
    byte0, byte1, lun, itt, referenced, cmd_sn, ref_cmd_sn, exp_data_sn = _fields(raw.bhs, 0)
    function, immediate = byte1 & 0x7F, bool(byte0 & 0x40)
    if len(raw.data):
        raise format_error("a task management function has no data", "R7143-11.5.2-01")
    if itt == NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.2.1.8-02", "a function with the reserved task tag")
    if session.uses(itt):
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")
    if function == TaskFunction.TASK_REASSIGN and not immediate:
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-11.5.1-24", "TASK REASSIGN is not immediate")
    if immediate and sum(each.connection is connection for each in session.functions) >= IMMEDIATE_FUNCTIONS:
        raise rejected(RejectReason.IMMEDIATE_COMMAND_REJECT, "R7143-4.2.2.1-05", "too many functions in progress")
    request = TaskFunctionRequest(
        connection,
        itt,
        function,
        lun,
        cmd_sn,
        immediate,
        referenced=referenced,
        ref_cmd_sn=ref_cmd_sn,
        exp_data_sn=exp_data_sn,
    )
    row = _FUNCTIONS.get(function)
    if row is None or session.parameters.iscsi_protocol_level < row.level:
        answer(core, session, request, TaskResponse.FUNCTION_NOT_SUPPORTED)
    elif row.of_lun and not session.device.has_lun(lun, session.nexus):
        answer(core, session, request, TaskResponse.LUN_DOES_NOT_EXIST)
    else:
        row.begin(core, session, request)


def _abort_task(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """ABORT TASK with all its outcomes (11.5.1, 11.6.1, 7.11)."""
    if session.is_function(request.referenced):
        answer(core, session, request, TaskResponse.FUNCTION_REJECTED)
        return
    task = session.tasks.get(request.referenced)
    if task is not None and same_lun(task.lun, request.lun):
        # Who aborts it again waits as well until the device is done with it.
        if core.policy.execute_aborted_tasks or core.abort_task(session, task):
            answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
            return
        request.executed = True
        request.waits.append(task)
        session.functions.append(request)
        return
    for each in session.connections.values():
        if each.text is not None and each.text.itt == request.referenced:
            each.text.abandon()
            each.text = None
            answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
            return
    reassign.conclude_before_abort(session, request.connection, request.referenced)
    answer(core, session, request, _abort_of_missing(core, session, request))


def _abort_of_missing(core: Core, session: Session, request: TaskFunctionRequest) -> TaskResponse:
    """The task is not here: its command never came and counts as received now, or it is over already."""
    referenced, ref_cmd_sn = request.referenced, request.ref_cmd_sn
    kept = session.waiting.get(ref_cmd_sn)
    if kept is not None and kept[1].initiator_task_tag == referenced:
        session.plug(ref_cmd_sn)
        if not kept[1].bhs[1] & 0x80:
            session.forget(referenced)
        return TaskResponse.FUNCTION_COMPLETE
    if session.in_window(ref_cmd_sn) and serial.lt(ref_cmd_sn, request.cmd_sn):
        if not core.policy.keep_plugged_gap:
            session.plug(ref_cmd_sn)
            session.forget(referenced)
        return TaskResponse.FUNCTION_COMPLETE
    return TaskResponse.TASK_DOES_NOT_EXIST


def _reassign(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """TASK REASSIGN: the task goes on once that is said (7.2.2, 11.5.1)."""
    connection, referenced = request.connection, request.referenced
    response = reassign.judge(session, connection, referenced)
    answer(core, session, request, response)
    if response == TaskResponse.FUNCTION_COMPLETE:
        resume = partial(reassign.resume, core, session, connection, referenced, request.exp_data_sn)
        fence.hand_off(core, session, connection, resume)


Begin = Callable[[Core, Session, TaskFunctionRequest], None]


@dataclass(frozen=True, slots=True)
class _Row:
    """A function. of_lun: whether the LUN field counts (11.5.3, RFC 7144 6.3.1); level: the iSCSIProtocolLevel it needs."""

    begin: Begin
    of_lun: bool = True
    level: int = 0


_FUNCTIONS: Mapping[int, _Row] = MappingProxyType(
    {
        TaskFunction.ABORT_TASK: _Row(_abort_task),
        TaskFunction.ABORT_TASK_SET: _Row(affected.begin),
        TaskFunction.CLEAR_TASK_SET: _Row(affected.begin),
        TaskFunction.LOGICAL_UNIT_RESET: _Row(affected.begin),
        TaskFunction.TARGET_WARM_RESET: _Row(affected.begin, of_lun=False),
        TaskFunction.TARGET_COLD_RESET: _Row(affected.begin, of_lun=False),
        TaskFunction.TASK_REASSIGN: _Row(_reassign, of_lun=False),
        TaskFunction.QUERY_TASK: _Row(queries.query_task, level=2),
        TaskFunction.QUERY_TASK_SET: _Row(queries.query_task_set, level=2),
        TaskFunction.I_T_NEXUS_RESET: _Row(affected.begin, of_lun=False, level=2),
        TaskFunction.QUERY_ASYNCHRONOUS_EVENT: _Row(queries.query_asynchronous_event, level=2),
    }
)
"""What is not here is answered "function not supported" (11.6.1). CLEAR ACA is not: no logical unit has NACA (SAM-5 7.3)."""
