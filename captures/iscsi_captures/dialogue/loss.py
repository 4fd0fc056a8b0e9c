"""Connections that break or are logged out, and what becomes of their requests and tasks (6.3.4, 7.2.2, 7.5, 11.14)."""

from __future__ import annotations

from iscsi_captures.dialogue.numbers import open_again
from iscsi_captures.dialogue.state import Connection, Phase, Session
from iscsi_captures.dialogue.task import Task
from iscsi_protocol import serial
from iscsi_protocol.pdu import Opcode


def lose(connection: Connection, now: float, wait: int | None = None, retain: int | None = None) -> None:
    """The connection broke, or is about to. wait, retain: seconds; by default what the login agreed on (7.5.1).

    Requests that are not acknowledged may have arrived or not, and more of them may have been on their way.
    """
    if connection.lost_at is not None or connection.ended or connection.phase is not Phase.FULL:
        return
    session, limits = connection.session, connection.limits
    connection.lost_at = now
    connection.recover_from = now + (limits.time2wait if wait is None else wait)
    connection.recover_until = connection.recover_from + (limits.time2retain if retain is None else retain)
    for task in tasks_of(connection):
        if not task.immediate:
            open_again(session, task.cmd_sn, received=True)
    session.gap_allowed = True
    session.left_out.clear()


def go(connection: Connection) -> None:
    """The last of a connection is over. At level 2 its tasks wait for a new allegiance, immediate ones excepted (7.14)."""
    session = connection.session
    for task in tasks_of(connection):
        if session.level > 1 and not task.immediate:
            _suspend(task)
        else:
            session.forget(task.itt)


def end_connection(connection: Connection, *, kept: bool, exp_cmd_sn: int) -> None:
    """A logout succeeded, be it one by a login. What is not acknowledged by now the target does not have (11.14).

    kept: the tasks may be reassigned. exp_cmd_sn: what came with the success.
    """
    session = connection.session
    for task in tasks_of(connection):
        if not task.immediate and serial.ge(task.cmd_sn, exp_cmd_sn):
            open_again(session, task.cmd_sn, received=False)
        if kept and not task.immediate:
            _suspend(task)
        else:
            session.forget(task.itt)
    if not kept:
        for itt in [itt for itt, task in session.finished.items() if task.connection is connection]:
            del session.finished[itt]
    connection.ended = True
    connection.kept = kept
    session.gap_allowed = True
    session.left_out.clear()
    if session.connections.get(connection.cid) is connection:
        del session.connections[connection.cid]


def forget_expired(session: Session, now: float) -> None:
    """Drop the connections that broke so long ago that nobody can recover them any more."""
    for cid, connection in list(session.connections.items()):
        if connection.recover_until is not None and connection.recover_until < now:
            del session.connections[cid]


def logged_out(connection: Connection, cid: int) -> Connection | None:
    """The connection that a Logout Request names: its own, another of the session, or none that is known."""
    return connection if cid == connection.cid else connection.session.connections.get(cid)


def tasks_of(connection: Connection) -> list[Task]:
    """The open tasks that belong to the connection."""
    return [task for task in connection.session.tasks.values() if task.connection is connection]


def _suspend(task: Task) -> None:
    """Its Target Transfer Tags are no longer good (Appendix E.1)."""
    if task.opcode == Opcode.SCSI_COMMAND:
        task.bursts.clear()
        task.unsolicited = None
        task.connection.unsolicited.pop(task.itt, None)
