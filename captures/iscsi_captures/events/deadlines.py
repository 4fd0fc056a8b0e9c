"""What runs out of time, and the event that is logged for it: 8, 9, 43 to 51, 63, and 42 for what SNACK asked for in vain.

At one instant logins come first, then what SNACK asked for, then the tasks in the order in which they were sent.
"""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_captures.events import numbering, tasks
from iscsi_captures.events.dumps import command_block, words
from iscsi_captures.events.journal import NEVER, Journal
from iscsi_captures.events.reception import REACH, end, given_up
from iscsi_captures.events.requests import OVERDUE_SCSI
from iscsi_captures.events.state import Connection, Management, ScsiTask, Session, Task
from iscsi_protocol.pdu import Opcode, TaskFunction

_LOGIN, _ADDED_LOGIN = 43, 45
_HALF, _MASK = 1 << 31, 0xFFFFFFFF


def earliest(sessions: Iterable[Session], logins: Iterable[Connection]) -> float:
    """When something runs out of time next; NEVER if nothing does."""
    due = [connection.login_due for connection in logins if connection.login_due is not None]
    for session in sessions:
        due += [next(iter(clock.values())).deadline for clock in session.clocks.values() if clock]
        for connection in session.connections.values():
            due += [asked.due for asked in connection.asked if asked.due is not None and not connection.silent]
    return min(due, default=NEVER)


def fire(sessions: Iterable[Session], logins: Iterable[Connection], now: float, journal: Journal) -> None:
    """Log what runs out of time now."""
    for connection in logins:
        if connection.login_due is not None and connection.login_due <= now:
            connection.login_due = None
            connection.silent = True
            adding = connection.login is not None and connection.login.tsih
            journal.log(_ADDED_LOGIN if adding else _LOGIN, connection.number, now, words(Opcode.LOGIN_REQUEST))
            if connection.session is not None:
                connection.session.redirects.pop(connection.cid, None)
    for session in sessions:
        for connection in list(session.connections.values()):
            for asked, left in numbering.overdue(connection, now):
                if not connection.silent:
                    given_up(connection, session, asked, left, now, journal)
        for task in _due(session, now):
            if session.tasks.get(task.itt) is task:
                _overdue(session, task, now, journal)


def _due(session: Session, now: float) -> list[Task]:
    """The tasks that run out of time now, in the order in which they were begun; their clocks are taken down.

    Over several connections the order of the records is not that: CmdSNs tell it, but for a ping that fills a gap, and an
    immediate request comes before the numbered one that has the same.
    """
    due = []
    for clock in session.clocks.values():
        while clock:
            task = next(iter(clock.values()))
            if task.deadline > now:
                break
            del clock[task.itt]
            due.append(task)
    base = due[0].turn - _HALF if due else 0
    return sorted(due, key=lambda task: ((task.turn - base) & _MASK, not task.immediate, task.itt))


def _overdue(session: Session, task: Task, now: float, journal: Journal) -> None:
    connection = task.connection
    event = task.event
    dump = words(task.opcode)
    if isinstance(task, ScsiTask) and event == OVERDUE_SCSI:
        dump = command_block(task.bhs, task.ahs)
    journal.log(event, connection.number, now, dump)
    if isinstance(task, ScsiTask):
        return
    session.end(task)
    if isinstance(task, Management):
        following = tasks.failed(session, task, now)
        if following:
            journal.log(following, connection.number, now, session.target_name)
            end(connection, session, REACH[following])
        elif task.code == TaskFunction.TASK_REASSIGN:
            session.silence()
    elif task.opcode == Opcode.NOP_OUT:
        end(connection, session, REACH[48])
    elif task.opcode == Opcode.LOGOUT_REQUEST:
        tasks.logout_failed(session, task)
