"""The questions of RFC 7144 6.3 and 6.4.2: is a task in the task set, is any, is a unit attention pending.

Who asks after a task of a connection that was logged out gives it a new allegiance (6.3), as TASK REASSIGN does.
"""

from __future__ import annotations

from iscsi_protocol import serial
from iscsi_protocol.pdu import TaskResponse
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.lun import same_lun
from iscsi_target import reassign
from iscsi_target.core import Core
from iscsi_target.function import TaskFunctionRequest, answer
from iscsi_target.session import Session

_ONE_PENDING = 0x10
_MORE_PENDING = 0x20
"""UADE DEPTH of the additional response information (SAM-5 7.10)."""


def query_task(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """QUERY TASK: whether the task is there; never about a function. Of a command that never came, the CmdSN counts as
    received (RFC 7144 6.3.3).
    """
    if session.is_function(request.referenced):
        answer(core, session, request, TaskResponse.FUNCTION_REJECTED)
        return
    task = session.tasks.get(request.referenced)
    if task is not None and same_lun(task.lun, request.lun):
        # One that is aborted is there for as long as a device is at work on it.
        answer(core, session, request, TaskResponse.FUNCTION_SUCCEEDED)
        reassign.go_on_where_queried(core, session, request)
        return
    if task is None and session.in_window(request.ref_cmd_sn) and serial.lt(request.ref_cmd_sn, request.cmd_sn):
        session.plug(request.ref_cmd_sn)
        session.forget(request.referenced)
    answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
    if task is None:
        reassign.go_on_where_queried(core, session, request)


def query_task_set(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """QUERY TASK SET: whether there is any task of this I_T_L nexus."""
    there = any(same_lun(task.lun, request.lun) for task in session.tasks.values())
    answer(core, session, request, TaskResponse.FUNCTION_SUCCEEDED if there else TaskResponse.FUNCTION_COMPLETE)


def query_asynchronous_event(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """QUERY ASYNCHRONOUS EVENT: the next unit attention, which stays pending, and whether there are more."""
    pending = session.device.pending_attentions(session.nexus, request.lun)
    if not pending:
        answer(core, session, request, TaskResponse.FUNCTION_COMPLETE)
        return
    depth = _ONE_PENDING if len(pending) == 1 else _MORE_PENDING
    info = (depth | SenseKey.UNIT_ATTENTION) << 16 | pending[0]
    answer(core, session, request, TaskResponse.FUNCTION_SUCCEEDED, info)
