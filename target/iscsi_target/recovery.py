"""Recovery levels 1 and 2 at the target: what is kept of a connection that is gone, and what is not (RFC 7143 7.1.4, 7.2.2,
11.14, Appendix E.1).

At level 2 commands that are in progress for the initiator, which are tasks and finished commands whose status is not
acknowledged, stay with the connection object until they are reassigned or their time runs out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_protocol.scsi.lun import same_lun
from iscsi_target.connection import Connection
from iscsi_target.retained import Exchange, Retained
from iscsi_target.session import Session
from iscsi_target.task import ScsiTask

if TYPE_CHECKING:
    from iscsi_target.core import Core

CONNECTION_RECOVERY = 2
"""The recovery level of connection recovery (7.1.5)."""

RELEASED_CONNECTIONS = 16
"""How many connections of a session that were logged out for recovery are remembered with their commands; the oldest is
forgotten for a further one."""


RELEASED_BYTES = 256 << 20
"""Bytes that such connections may hold, all sessions together; beyond that the oldest of the session that holds most is
forgotten."""


def begin(core: Core, connection: Connection, session: Session) -> None:
    """The full feature phase begins: from here on, and no sooner, PDUs are retained at level 1 and above (7.1.4)."""
    if session.parameters.error_recovery_level and not session.discovery:
        connection.retained = Retained(
            burst=session.parameters.max_burst_length,
            max_held=core.limits.retained_bytes,
            max_responses=core.limits.retained_responses,
        )
        connection.in_memory = True


def connection_lost(core: Core, session: Session, connection: Connection) -> None:
    """TCP is gone, or will be at once, without a logout. Below level 2 nothing that was sent can be asked for any more, and
    no transfer goes on.
    """
    if session.parameters.error_recovery_level < CONNECTION_RECOVERY:
        connection.retained = None
        for task in session.tasks.values():
            if task.connection is connection:
                task.interrupt()
    else:
        _suspend(core, session, connection)
        if connection.retained is not None:
            connection.retained.keep_commands()


def logged_out_for_recovery(core: Core, session: Session, subject: Connection) -> None:
    """A connection was removed from its session for recovery, explicitly or implicitly, at level 2: its commands may be
    reassigned from now on. Its deadline tells for how long.
    """
    _suspend(core, session, subject)
    if subject.retained is not None:
        subject.retained.forget_numbers()
    if has_commands(session, subject):
        session.released[subject.number] = subject
    while len(session.released) > RELEASED_CONNECTIONS:
        core.terminate_tasks(session, next(iter(session.released.values())))
    while (fullest := _too_full(core)) is not None:
        core.terminate_tasks(fullest, next(iter(fullest.released.values())))


def _too_full(core: Core) -> Session | None:
    """The session that has most to lose, where the released connections of all sessions hold too much."""
    held = {
        session.tsih: sum(each.retained.held for each in session.released.values() if each.retained is not None)
        for session in core.sessions
        if session.released
    }
    if sum(held.values()) <= RELEASED_BYTES:
        return None
    return core.sessions.of_tsih(max(held, key=held.__getitem__))


def _suspend(core: Core, session: Session, connection: Connection) -> None:
    """Transfers stop, and immediate commands end (11.14, Appendix E.1). A function that waited for data of these tasks goes
    on without it.
    """
    for task in list(session.tasks.values()):
        if task.connection is not connection:
            continue
        if task.immediate:
            core.abort_task(session, task)
        else:
            task.interrupt()


def has_commands(session: Session, connection: Connection) -> bool:
    """Whether commands are in progress, for the initiator, on a connection."""
    if connection.retained is not None and connection.retained.has_finished:
        return True
    return any(task.connection is connection and not task.aborted for task in session.tasks.values())


def command_gone(session: Session, connection: Connection) -> None:
    """A command of a connection is gone; a connection that was logged out and has no other is forgotten."""
    if connection.number in session.released and not has_commands(session, connection):
        del session.released[connection.number]


def forget(session: Session, connection: Connection | None) -> set[bytes]:
    """The commands of a connection, or of all, can no longer be reassigned. The LUNs of those that are over, but whose status
    was never sent.
    """
    gone = list(session.released.values()) if connection is None else [connection]
    luns = set()
    for each in gone:
        session.released.pop(each.number, None)
        if each.retained is not None and not each.up:
            luns |= {one.lun for one in each.retained.exchanges.values() if one.completion is not None and not one.told}
            each.retained = None
    return luns


def forget_finished(session: Session, lun: bytes | None) -> None:
    """A reset ended the commands for a logical unit, or all: of those whose status went down with a connection nothing may be
    told behind the response to it (11.5.1).
    """
    for connection in [*session.released.values(), *session.connections.values()]:
        if connection.up or connection.retained is None:
            continue
        for exchange in list(connection.retained.exchanges.values()):
            if exchange.completion is not None and (lun is None or same_lun(exchange.lun, lun)):
                connection.retained.drop(exchange)
        command_gone(session, connection)


def exchange_of(session: Session, connection: Connection, itt: int) -> Exchange | None:
    """What was sent on a connection for the task with that tag; not for an earlier one that had the tag too."""
    exchange = None if connection.retained is None else connection.retained.exchanges.get(itt)
    if exchange is not None and exchange.completion is not None:
        task = session.tasks.get(itt)
        return None if task is not None and task.connection is connection else exchange
    return exchange


def find(session: Session, itt: int) -> tuple[Connection, ScsiTask | None, Exchange | None] | None:
    """The command with that tag that is in progress for the initiator, the latest: the connection that it is allegiant to,
    and what there is of it.
    """
    task = session.tasks.get(itt)
    if task is not None:
        return None if task.aborted else (task.connection, task, exchange_of(session, task.connection, itt))
    for connection in [*session.connections.values(), *reversed(session.released.values())]:
        exchange = exchange_of(session, connection, itt)
        if exchange is not None and exchange.completion is not None:
            return connection, None, exchange
    return None
