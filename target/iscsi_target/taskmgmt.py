"""Task management (RFC 7143 11.5, 11.6, 4.2.3.3, 7.11): which tasks a function ends, what it waits for, what it answers.

A function that affects a set of tasks goes through two waits: for the data of open R2Ts and for missing commands before
it (4.2.3.3 a, b), and, once executed, for the acknowledgement of all earlier responses (11.6.1, 4.2.3.3 d). FastAbort is
not offered, reassignment belongs to recovery level 2, and the functions of RFC 7144 to protocol level 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    NO_TAG,
    Opcode,
    RawPdu,
    RejectReason,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
    packer,
    unpacker,
)
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.lun import decode_lun
from iscsi_target import events, nop, notices
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.session import Session
from iscsi_target.task import ScsiTask, TaskState
from iscsi_target.violation import format_error, rejected

_fields = unpacker(TaskManagementRequest, "@0", "@1", "lun", "itt", "referenced_task_tag", "cmd_sn", "ref_cmd_sn")
_response = packer(TaskManagementResponse, "@0", "@1", "response", "itt", "stat_sn", "exp_cmd_sn", "max_cmd_sn")

IMMEDIATE_FUNCTIONS = 16
"""Task management functions in progress on a connection, above which the next immediate one is refused (4.2.2.1)."""

_OF_ONE_LUN = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_OF_TARGET = frozenset({TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET})


class TaskFunctionRequest:
    """A function that waits. executed: whether the tasks are gone and only acknowledgements are missing; acknowledgements:
    (connection, StatSN that has to be acknowledged).
    """

    __slots__ = ("acknowledgements", "cmd_sn", "connection", "executed", "function", "immediate", "itt", "lun", "waits")

    def __init__(
        self, connection: Connection, itt: int, function: int, lun: bytes, cmd_sn: int, immediate: bool
    ) -> None:
        self.connection = connection
        self.itt = itt
        self.function = function
        self.lun = lun
        self.cmd_sn = cmd_sn
        self.immediate = immediate
        self.executed = False
        self.acknowledgements: list[tuple[Connection, int]] = []
        self.waits: list[tuple[Session, ScsiTask]] = []


def execute(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A Task Management Function Request whose turn it is. Raises PeerViolation."""
    byte0, byte1, lun, itt, referenced, cmd_sn, ref_cmd_sn = _fields(raw.bhs, 0)
    function, immediate = byte1 & 0x7F, bool(byte0 & 0x40)
    if len(raw.data):
        raise format_error("a task management function has no data", "R7143-11.5.2-01")
    if itt == NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.2.1.8-02", "a function with the reserved task tag")
    if itt in session.tasks or any(each.itt == itt for each in session.functions):
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")
    if function == TaskFunction.TASK_REASSIGN and not immediate:
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-11.5.1-24", "TASK REASSIGN is not immediate")
    if immediate and sum(each.connection is connection for each in session.functions) >= IMMEDIATE_FUNCTIONS:
        raise rejected(RejectReason.IMMEDIATE_COMMAND_REJECT, "R7143-4.2.2.1-05", "too many functions in progress")
    request = TaskFunctionRequest(connection, itt, function, lun, cmd_sn, immediate)
    if not immediate:
        session.reopen()
    begin = _FUNCTIONS.get(function)
    if begin is None:
        _answer(core, session, request, TaskResponse.FUNCTION_NOT_SUPPORTED)
        return
    of_lun = function in _OF_ONE_LUN or function == TaskFunction.ABORT_TASK
    if of_lun and not session.device.has_lun(lun, session.nexus):
        _answer(core, session, request, TaskResponse.LUN_DOES_NOT_EXIST)
        return
    begin(core, session, request, referenced, ref_cmd_sn)


def _abort_task(core: Core, session: Session, request: TaskFunctionRequest, referenced: int, ref_cmd_sn: int) -> None:
    """ABORT TASK with all its outcomes (11.5.1, 11.6.1, 7.11)."""
    if any(each.itt == referenced for each in session.functions):
        _answer(core, session, request, TaskResponse.FUNCTION_REJECTED)
        return
    task = session.tasks.get(referenced)
    if task is not None and same_lun(task.lun, request.lun) and not task.aborted:
        if core.policy.execute_aborted_tasks:
            _answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
            return
        if core.abort_task(session, task):
            _answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
            return
        request.executed = True
        request.waits.append((session, task))
        session.functions.append(request)
        return
    exchange = request.connection.text
    if exchange is not None and exchange.itt == referenced:
        exchange.abandon()
        request.connection.text = None
        _answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
        return
    _answer(core, session, request, _abort_of_missing(core, session, request, referenced, ref_cmd_sn))


def _abort_of_missing(
    core: Core, session: Session, request: TaskFunctionRequest, referenced: int, ref_cmd_sn: int
) -> TaskResponse:
    """The task is not here: its command never came and counts as received now, or it is over already."""
    kept = session.waiting.get(ref_cmd_sn)
    if kept is not None and kept[1].initiator_task_tag == referenced:
        session.plug(ref_cmd_sn)
        if not kept[1].bhs[1] & 0x80:
            session.forgotten[referenced] = None
        return TaskResponse.FUNCTION_COMPLETE
    if session.in_window(ref_cmd_sn) and serial.lt(ref_cmd_sn, request.cmd_sn):
        if not core.policy.keep_plugged_gap:
            session.plug(ref_cmd_sn)
            session.forgotten[referenced] = None
        return TaskResponse.FUNCTION_COMPLETE
    return TaskResponse.TASK_DOES_NOT_EXIST


def _affect_set(
    core: Core,
    session: Session,
    request: TaskFunctionRequest,
    _referenced: int,
    _ref_cmd_sn: int,
) -> None:
    """ABORT TASK SET, CLEAR TASK SET, the resets: first the waits, then the deed."""
    if request.function in _OF_TARGET:
        # The whole CmdSN space before the function counts as received (4.2.3.3 b).
        sn = session.exp_cmd_sn
        while serial.lt(sn, request.cmd_sn) and serial.le(sn, session.max_cmd_sn):
            session.plug(sn)
            sn = serial.add(sn)
    session.functions.append(request)
    for task in list(session.tasks.values()):
        draining = task.data_outstanding and not core.policy.skip_abort_wait
        if draining and task.state is TaskState.GATHERING and _affects(request, task):
            task.state = TaskState.DRAINING
    progress(core, session)


def _reassign(
    core: Core,
    session: Session,
    request: TaskFunctionRequest,
    referenced: int,
    _ref_cmd_sn: int,
) -> None:
    """TASK REASSIGN below recovery level 2 (7.2.2); not for iSCSI's own tasks at any level (11.5.1)."""
    exchange = request.connection.text
    own = any(each.itt == referenced for each in session.functions) or (
        exchange is not None and exchange.itt == referenced
    )
    _answer(core, session, request, TaskResponse.FUNCTION_REJECTED if own else TaskResponse.REASSIGNMENT_NOT_SUPPORTED)


Begin = Callable[[Core, Session, TaskFunctionRequest, int, int], None]
_FUNCTIONS: Mapping[int, Begin] = MappingProxyType(
    {
        TaskFunction.ABORT_TASK: _abort_task,
        TaskFunction.ABORT_TASK_SET: _affect_set,
        TaskFunction.CLEAR_TASK_SET: _affect_set,
        TaskFunction.LOGICAL_UNIT_RESET: _affect_set,
        TaskFunction.TARGET_WARM_RESET: _affect_set,
        TaskFunction.TARGET_COLD_RESET: _affect_set,
        TaskFunction.TASK_REASSIGN: _reassign,
    }
)
"""What is not here is answered "function not supported" (11.6.1)."""


def _affects(request: TaskFunctionRequest, task: ScsiTask) -> bool:
    """Whether a task of the issuing session is one of those that the function ends."""
    if request.function in _OF_TARGET:
        return True
    if not same_lun(task.lun, request.lun):
        return False
    return (
        request.function == TaskFunction.LOGICAL_UNIT_RESET or task.immediate or serial.lt(task.cmd_sn, request.cmd_sn)
    )


def same_lun(one: bytes, other: bytes) -> bool:
    """Whether two LUN fields name one logical unit; addressing methods may differ (SAM-5 4.7)."""
    return one == other or (decode_lun(one) == decode_lun(other) is not None)


def covers(session: Session, lun: bytes, cmd_sn: int, immediate: int) -> bool:
    """Whether a command that comes now was ended by a function before it came (4.2.2.1)."""
    return not immediate and any(
        not each.executed
        and each.function != TaskFunction.ABORT_TASK
        and serial.lt(cmd_sn, each.cmd_sn)
        and (each.function in _OF_TARGET or same_lun(each.lun, lun))
        for each in session.functions
    )


def progress(core: Core, session: Session) -> None:
    """Take every waiting function of the session as far as it goes, in order."""
    for request in list(session.functions):
        if request not in session.functions:
            continue
        if request.function != TaskFunction.ABORT_TASK and not request.executed:
            if _must_wait(core, session, request):
                continue
            _perform(core, session, request)
        request.waits = [(where, task) for where, task in request.waits if where.tasks.get(task.itt) is task]
        if request.waits or not _acknowledged(request):
            continue
        session.functions.remove(request)
        _answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)


def _must_wait(core: Core, session: Session, request: TaskFunctionRequest) -> bool:
    if core.policy.skip_abort_wait:
        return False
    if request.function not in _OF_TARGET and core.missing_below(session, request.cmd_sn):
        return True
    return any(task.state is TaskState.DRAINING and _affects(request, task) for task in session.tasks.values())


def _perform(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """End the tasks, here and in other sessions, and pass the function to SCSI (4.2.3.3 c)."""
    request.executed = True
    for task in list(session.tasks.values()):
        if _affects(request, task) and not core.policy.execute_aborted_tasks and not core.abort_task(session, task):
            request.waits.append((session, task))
    if request.function != TaskFunction.ABORT_TASK_SET:
        for other in core.sessions:
            if other is not session and other.node is session.node and not other.discovery:
                _affect_third_party(core, other, request)
    if request.function == TaskFunction.LOGICAL_UNIT_RESET:
        session.device.reset_lun(request.lun, session.nexus)
    elif request.function in _OF_TARGET:
        session.device.reset_target(session.nexus)
    if core.policy.skip_abort_fence:
        return
    for connection in session.full_feature_connections:
        if connection.acknowledged != connection.stat_sn:
            request.acknowledgements.append((connection, connection.stat_sn))
            nop.ping(core, connection)


def _affect_third_party(core: Core, other: Session, request: TaskFunctionRequest) -> None:
    """Tasks of other initiators end without a response; a unit attention and the reopened window tell of it."""
    ended = False
    for task in list(other.tasks.values()):
        if request.function in _OF_TARGET or same_lun(task.lun, request.lun):
            ended = True
            if request.function == TaskFunction.CLEAR_TASK_SET:
                other.device.establish_attention(
                    other.nexus, task.lun, AdditionalSense.COMMANDS_CLEARED_BY_ANOTHER_INITIATOR
                )
            if not core.abort_task(other, task):
                request.waits.append((other, task))
    if ended and request.function != TaskFunction.TARGET_COLD_RESET:
        for connection in other.full_feature_connections[:1]:
            nop.tell_counters(connection, other)


def _acknowledged(request: TaskFunctionRequest) -> bool:
    """Whether the initiators have acknowledged every status that the function has to wait for."""
    request.acknowledgements = [
        (connection, stat_sn)
        for connection, stat_sn in request.acknowledgements
        if connection.up and serial.lt(connection.acknowledged, stat_sn)
    ]
    return not request.acknowledgements


def _answer(core: Core, session: Session, request: TaskFunctionRequest, response: TaskResponse) -> None:
    connection = request.connection
    connection.send(
        _response(
            Opcode.TASK_MANAGEMENT_RESPONSE,
            0x80,
            response,
            request.itt,
            connection.next_stat_sn(),
            session.exp_cmd_sn,
            session.max_cmd_sn,
        )
    )
    core.tell(events.TaskFunctionDone(connection=connection.number, function=request.function, response=int(response)))
    if request.function == TaskFunction.TARGET_COLD_RESET and response == TaskResponse.FUNCTION_COMPLETE:
        _power_on(core, session)


def _power_on(core: Core, session: Session) -> None:
    """Behind TARGET COLD RESET every connection of every initiator of the node ends (11.5.1, 11.6.1)."""
    session.device.power_on()
    for other in core.sessions:
        if other.node is session.node:
            if other is not session and not other.discovery:
                notices.announce_session_drop(other)
            core.end_session(other, "target cold reset")
