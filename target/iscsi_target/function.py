"""A task management function on its way from request to response (RFC 7143 11.5, 11.6; RFC 7144 6)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from iscsi_protocol.pdu import Opcode, TaskFunction, TaskManagementResponse, TaskResponse, packer
from iscsi_target import events, fence, notices

if TYPE_CHECKING:
    from iscsi_target.connection import Connection
    from iscsi_target.core import Core
    from iscsi_target.session import Session
    from iscsi_target.task import ScsiTask

OF_TARGET = frozenset({TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET})
RESETS = OF_TARGET | {TaskFunction.LOGICAL_UNIT_RESET}

_response = packer(
    TaskManagementResponse,
    "@0",
    "@1",
    "response",
    "@8",
    "@9",
    "@10",
    "itt",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
)


class TaskFunctionRequest:
    """A request, and how far it is.

    referenced, ref_cmd_sn: the task that a function of one task is about; exp_data_sn: of TASK REASSIGN (11.5.6). executed:
    whether its tasks are gone. waits: those of them that a device is still at work on. handed_off: whether SCSI is done
    with it and only the fence holds the response back. over: whether it has given its place in the window back. unbegun:
    where commands came that it ended before they began, with their LUNs.
    """

    __slots__ = (
        "cmd_sn",
        "connection",
        "executed",
        "exp_data_sn",
        "function",
        "handed_off",
        "immediate",
        "itt",
        "lun",
        "over",
        "ref_cmd_sn",
        "referenced",
        "unbegun",
        "waits",
    )

    def __init__(
        self,
        connection: Connection,
        itt: int,
        function: int,
        lun: bytes,
        cmd_sn: int,
        immediate: bool,
        *,
        referenced: int,
        ref_cmd_sn: int,
        exp_data_sn: int,
    ) -> None:
        self.connection = connection
        self.itt = itt
        self.function = function
        self.lun = lun
        self.cmd_sn = cmd_sn
        self.immediate = immediate
        self.referenced = referenced
        self.ref_cmd_sn = ref_cmd_sn
        self.exp_data_sn = exp_data_sn
        self.executed = False
        self.handed_off = False
        self.over = False
        self.unbegun: dict[tuple[Connection, bytes], None] = {}
        self.waits: list[ScsiTask] = []

    def release(self, session: Session) -> None:
        """It is over, whether anybody is answered or not: its place in the window is free again."""
        if not self.immediate and not self.over:
            session.reopen()
        self.over = True


def answer(core: Core, session: Session, request: TaskFunctionRequest, response: TaskResponse, info: int = 0) -> None:
    """Answer a function of one task or none; behind a fence that stands already. info: additional response information
    (RFC 7144 6.4.1), 24 bits.
    """
    if session.fence is not None and request not in session.functions:
        # It is a task for as long as it waits there.
        request.executed = request.handed_off = True
        session.functions.append(request)
    fence.hand_off(core, session, request.connection, partial(_send, core, session, request, response, info))


def conclude(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """Answer a function that affects many tasks: behind a fence of its own (4.2.2.3.4 b)."""
    send = partial(_send, core, session, request, TaskResponse.FUNCTION_COMPLETE, 0)
    fence.hand_off(core, session, request.connection, send, fenced=not core.policy.skip_abort_fence)


def _send(core: Core, session: Session, request: TaskFunctionRequest, response: TaskResponse, info: int) -> None:
    if request in session.functions:
        session.functions.remove(request)
    request.release(session)
    connection = request.connection
    connection.send(
        _response(
            Opcode.TASK_MANAGEMENT_RESPONSE,
            0x80,
            response,
            info >> 16,
            info >> 8 & 0xFF,
            info & 0xFF,
            request.itt,
            connection.next_stat_sn(),
            session.exp_cmd_sn,
            session.max_cmd_sn,
        )
    )
    core.tell(events.TaskFunctionDone(connection=connection.number, function=request.function, response=int(response)))
    if response == TaskResponse.FUNCTION_COMPLETE:
        if request.function == TaskFunction.TARGET_COLD_RESET:
            _power_on(core, session)
        elif request.function == TaskFunction.I_T_NEXUS_RESET:
            core.end_session(session, "I_T nexus reset")


def _power_on(core: Core, session: Session) -> None:
    """Behind TARGET COLD RESET every connection of every initiator of the node ends (11.5.1, 11.6.1)."""
    session.device.power_on()
    for other in core.sessions:
        if other.node is session.node:
            if other is not session and not other.discovery:
                notices.announce_session_drop(other)
            core.end_session(other, "target cold reset")
