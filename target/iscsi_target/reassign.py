"""TASK REASSIGN at recovery level 2 (RFC 7143 7.2.2, 11.5.1, 11.5.6, 11.6.1): commands of a connection that was logged out
for recovery go on where the function came in. ABORT TASK and QUERY TASK give them a new allegiance too.

Reads go on with the data that is not acknowledged, writes with R2Ts for what has not come, and status is sent, again or for
the first time, with a StatSN of the new connection.
"""

from __future__ import annotations

from functools import partial

from iscsi_protocol.pdu import Opcode, TaskResponse
from iscsi_protocol.scsi.lun import same_lun
from iscsi_target import data_in, data_out, fence, recovery
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.function import TaskFunctionRequest
from iscsi_target.retained import Exchange, Retained
from iscsi_target.session import Session
from iscsi_target.task import ScsiTask

_NOT_REASSIGNED = frozenset({Opcode.TEXT_REQUEST, Opcode.LOGOUT_REQUEST})
"""Requests that are no commands and wait for their turn, task management apart (11.5.1)."""


def judge(session: Session, connection: Connection, referenced: int) -> TaskResponse:
    """What a TASK REASSIGN that came in on this connection is answered. With FUNCTION_COMPLETE, and after that answer,
    `resume` is to be called (11.5.1).
    """
    if (
        session.is_function(referenced)
        or session.kind_of_waiting(referenced) in _NOT_REASSIGNED
        or any(each.text is not None and each.text.itt == referenced for each in session.connections.values())
    ):
        return TaskResponse.FUNCTION_REJECTED
    if connection.retained is None or session.parameters.error_recovery_level < recovery.CONNECTION_RECOVERY:
        return TaskResponse.REASSIGNMENT_NOT_SUPPORTED
    found = recovery.find(session, referenced)
    if found is None:
        return TaskResponse.TASK_DOES_NOT_EXIST
    allegiant = found[0]
    if session.connections.get(allegiant.cid) is allegiant:
        # Lost or not, it was not logged out (7.2.2).
        return TaskResponse.TASK_STILL_ALLEGIANT
    return TaskResponse.FUNCTION_COMPLETE


def resume(core: Core, session: Session, connection: Connection, referenced: int, exp_data_sn: int) -> None:
    """Give a task its new allegiance, and conclude it there. exp_data_sn: everything before it has come, 0 for no news."""
    found = recovery.find(session, referenced)
    if found is None or connection.retained is None:
        return
    old, task, exchange = found
    if exchange is not None:
        _move(old, connection.retained, exchange)
        if exchange.completion is not None:
            _acknowledge(connection.retained, exchange, exp_data_sn)
            data_in.deliver(connection, session, connection.retained, exchange)
    if task is not None:
        task.connection = connection
        _renumber(task, exchange, exp_data_sn)
        data_out.proceed(core, session, task)
    if not recovery.has_commands(session, old):
        session.released.pop(old.number, None)


def _move(old: Connection, retained: Retained, exchange: Exchange) -> None:
    if old.retained is not None:
        held = exchange.pieces
        old.retained.exchanges.pop(exchange.itt, None)
        old.retained.held -= sum(map(len, held))
    retained.adopt(exchange)


def _acknowledge(retained: Retained, exchange: Exchange, exp_data_sn: int) -> None:
    """The data acknowledgement reference number, where it is updated at all; another value than it can have is ignored
    (11.5.6).
    """
    if exchange.acknowledged < exp_data_sn <= exchange.next_sn:
        retained.acknowledge_data(exchange, exp_data_sn)


def _renumber(task: ScsiTask, exchange: Exchange | None, exp_data_sn: int) -> None:
    """R2Ts that the initiator may not have had are numbered anew: their bursts were given up, and nothing could close the gap
    that they would leave (7.2.2). What it has had it says, or it sent data for it.
    """
    task.r2t_sn = max(task.heard, exp_data_sn if exp_data_sn <= task.r2t_sn else 0)
    if exchange is not None and exchange.completion is None:
        exchange.next_sn = task.r2t_sn


def go_on_where_queried(core: Core, session: Session, request: TaskFunctionRequest) -> None:
    """A command of a connection that was logged out belongs to the one on which QUERY TASK asked after it, and goes on there
    once that is answered; of a finished one the status, not acknowledged, goes out again (RFC 7144 6.3).
    """
    connection, found = request.connection, recovery.find(session, request.referenced)
    if found is None or connection.retained is None or session.connections.get(found[0].cid) is found[0]:
        return
    _, task, exchange = found
    if task is None and exchange is not None and not same_lun(exchange.lun, request.lun):
        return
    fence.hand_off(core, session, connection, partial(resume, core, session, connection, request.referenced, 0))


def conclude_before_abort(session: Session, connection: Connection, referenced: int) -> None:
    """ABORT TASK of a finished command of a connection that was logged out: its status, not acknowledged, goes first, on the
    function's own connection (11.5.1).
    """
    found = recovery.find(session, referenced)
    if found is None or connection.retained is None or session.connections.get(found[0].cid) is found[0]:
        return
    old, task, exchange = found
    if task is None and exchange is not None:
        _move(old, connection.retained, exchange)
        data_in.deliver(connection, session, connection.retained, exchange)
        if not recovery.has_commands(session, old):
            session.released.pop(old.number, None)
