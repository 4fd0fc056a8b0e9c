"""What all parts of the target's engine share: connections, sessions, timers, and the ways in which tasks, connections and
sessions end (RFC 7143 6.3.5, 7.6, 8.1, Appendix E).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, RawPdu
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_target import events, nop, notices, recovery
from iscsi_target.completion import Completion, Work
from iscsi_target.config import TargetConfig
from iscsi_target.connection import Connection, State
from iscsi_target.node import Node, ScsiDevice
from iscsi_target.session import Session, SessionTable
from iscsi_target.task import ScsiTask, TaskState
from iscsi_target.timers import Entry, Timer, Timers
from iscsi_target.violation import PeerViolation

RandomBytes = Callable[[int], bytes]

EVENTS_KEPT = 4096
HALF_CLOSE_PATIENCE = 5.0
"""Seconds for an initiator to close its half behind a Logout Response or Login reject."""


class Pending:
    """Work that a device asked for: the task that waits for it, and what to call."""

    __slots__ = ("session", "task", "work")

    def __init__(self, session: Session, task: ScsiTask, work: Work) -> None:
        self.session = session
        self.task = task
        self.work = work


class Core:
    """The engine's state, and what more than one kind of request needs."""

    def __init__(self, config: TargetConfig, devices: Mapping[str, ScsiDevice], *, random_bytes: RandomBytes) -> None:
        self.config = config
        self.policy = config.policy
        self.limits = config.limits
        self.random_bytes = random_bytes
        self.nodes = {node.name: Node(node, devices[node.name]) for node in config.targets}
        self.connections: dict[int, Connection] = {}
        self.logins: dict[int, Connection] = {}
        self.in_cleanup: dict[int, Connection] = {}
        self.sessions = SessionTable()
        self.timers = Timers(self._means)
        self.now = 0.0
        self.dirty: set[int] = set()
        self.events: deque[events.Event] = deque(maxlen=EVENTS_KEPT)
        self.pending: dict[int, Pending] = {}
        self.unclaimed: list[int] = []
        self.awaited: list[ScsiTask] = []
        self.after: dict[int, list[ScsiTask]] = {}
        self.data_out_bytes = 0
        self.disturbed = False
        self.stopped: list[tuple[Session, ScsiTask]] = []
        self.portal_addresses: dict[int, list[str]] = {}
        self.portals: list[str] = []
        self._last_connection = 0
        self._last_token = 0
        self._last_tag = 0

    # Small things

    def tell(self, event: events.Event) -> None:
        """Queue an event."""
        self.events.append(event)

    def note(self, connection: Connection, raw: RawPdu, violation: PeerViolation) -> None:
        """Tell of a violation."""
        self.tell(
            events.Violation(
                connection=connection.number,
                clause=violation.clause,
                message=violation.message,
                answer=violation.answer,
                opcode=raw.opcode,
                itt=raw.initiator_task_tag,
            )
        )

    def new_connection_number(self) -> int:
        """Connections are numbered from 1 on."""
        self._last_connection += 1
        return self._last_connection

    def _means(self, entry: Entry) -> bool:
        """Whether a deadline can still matter to anybody (see `Timers`)."""
        match entry.timer:
            case Timer.LOGIN:
                return entry.key in self.logins
            case Timer.SESSION_STATE:
                return entry.key in self.in_cleanup
            case Timer.RETAINED | Timer.COMMAND_GAP:
                session = self.sessions.of_tsih(entry.key)
                if session is None or entry.timer is Timer.COMMAND_GAP or entry.when <= self.now:
                    return session is not None
                return entry.when in session.retained_deadlines
            case _:
                return entry.key in self.connections

    def new_tag(self) -> int:
        """A Target Transfer Tag that is not the reserved value (11.8.5) and was not used lately."""
        self._last_tag = (self._last_tag + 1) % NO_TAG
        return self._last_tag

    # Tasks

    def claim(self, session: Session, task: ScsiTask, work: Work) -> None:
        """Have slow work done outside; `work_done` brings the result."""
        self._last_token += 1
        task.state = TaskState.EXECUTING
        task.at_work = True
        self.pending[self._last_token] = Pending(session, task, work)
        self.unclaimed.append(self._last_token)
        if self.awaited:
            self.after[self._last_token], self.awaited = self.awaited, []

    def held_back(self, token: int) -> bool:
        """Whether work has to wait for tasks that its own command has ended and that a device is still at work on."""
        left = [task for task in self.after.pop(token, ()) if task.at_work]
        if left:
            self.after[token] = left
        return bool(left)

    def release(self, session: Session, task: ScsiTask) -> None:
        """A task is over: its tag, its buffer and its place in the window are free again."""
        if session.tasks.get(task.itt) is not task:
            return
        del session.tasks[task.itt]
        self.data_out_bytes -= task.reserved
        task.reserved = 0
        if session.task_sets.active and session.task_sets.leave(task):
            self.disturbed = True
        if task.aborted and task.connection.retained is not None:
            task.connection.retained.ended(task.itt)
            recovery.command_gone(session, task.connection)
        if task.immediate:
            task.connection.immediate_tasks -= 1
        else:
            session.reopen()

    def abort_task(self, session: Session, task: ScsiTask) -> bool:
        """End a task without a response. False while its device is still at work on it: it ends when that is done."""
        task.aborted = True
        if session.functions:
            # One of them may have waited for the data of this task.
            self.disturbed = True
        if task.state is TaskState.EXECUTING:
            return False
        if task.data_outstanding:
            session.forget(task.itt)
        self.release(session, task)
        return True

    def _clear_tasks(self, session: Session, connection: Connection | None) -> set[bytes]:
        """Terminate the tasks of a connection, or all, without notice; the LUNs that had any (7.6)."""
        cleared = set()
        for task in list(session.tasks.values()):
            if connection is None or task.connection is connection:
                cleared.add(task.lun)
                if not self.abort_task(session, task):
                    # Nobody waits for the device's answer, and the tag may be used again.
                    self.release(session, task)
        session.drop_waiting(connection)
        for each in list(session.functions):
            if connection is None or each.connection is connection:
                session.functions.remove(each)
                each.release(session)
        self.disturbed = True
        return cleared | recovery.forget(session, connection)

    # Connections

    def acknowledge(self, connection: Connection, exp_stat_sn: int) -> bool:
        """The initiator's ExpStatSN of a connection (4.2.2.2); whether it acknowledges anything new."""
        before = connection.acknowledged
        if 0 < (exp_stat_sn - before) & 0xFFFFFFFF <= (connection.stat_sn - before) & 0xFFFFFFFF:
            connection.acknowledged = exp_stat_sn
            if connection.retained is not None:
                connection.retained.acknowledge(exp_stat_sn)
            return True
        return False

    def end_connection(self, connection: Connection, reason: str, how: str = "fin") -> None:
        """T7, T8, T13, T18: the connection is over for iSCSI; TCP ends behind what is queued."""
        before, connection.state = connection.state, State.FREE
        if before not in (State.FREE, State.CLEANUP_WAIT):
            self.tell(events.ConnectionClosed(connection=connection.number, reason=reason))
        self.login_over(connection)
        self.in_cleanup.pop(connection.number, None)
        if connection.closing is None and how == "fin":
            self.timers.start(Timer.HALF_CLOSED, connection.number, self.now + HALF_CLOSE_PATIENCE)
        connection.close(how)
        connection.text = None

    def logout_connection(self, connection: Connection, reason: str, how: str = "fin") -> None:
        """A connection leaves its session for good, if another one has not taken its place already: its tasks end, the next
        commands hear of it (7.6 a, 11.14.5). The last one takes the session with it (6.3.5).
        """
        session = connection.session
        self.end_connection(connection, reason, how)
        if session is None or not session.live:
            return
        if session.connections.get(connection.cid) is connection:
            del session.connections[connection.cid]
        self.terminate_tasks(session, connection)
        if not session.connections and not session.awaits_reassignment:
            self.end_session(session, reason)

    def login_over(self, connection: Connection) -> None:
        """A login has succeeded or failed. One into a session was an attempt to continue it (8.3.4, N8 and N10), for which
        time-outs have waited.
        """
        self.logins.pop(connection.number, None)
        login, connection.login = connection.login, None
        session = None if login is None else login.joins
        if session is None or session.joining.pop(connection.number, None) is None or not session.live:
            return
        for each in session.connections.values():
            if each.state is State.CLEANUP_WAIT and each.deadline <= self.now:
                self.timers.start(Timer.SESSION_STATE, each.number, self.now)
        if not session.connections:
            self.timers.start(Timer.RETAINED, session.tsih, max(session.retained_until, self.now))

    def logout_for_recovery(self, connection: Connection, reason: str, how: str = "fin") -> None:
        """A connection leaves its session, and its tasks wait for another one (11.14, reason 2; recovery level 2): for
        Time2Wait and Time2Retain, and so long the session stays even without a connection (6.3.6, 11.15.4).
        """
        session = connection.in_session
        if session.parameters.default_time2retain == 0:
            self.logout_connection(connection, reason, how)
            return
        self.suspend_tasks(session, connection)
        self.end_connection(connection, reason, how)
        if session.connections.get(connection.cid) is connection:
            del session.connections[connection.cid]
        connection.deadline = session.retained_until = self.now + session.patience
        recovery.logged_out_for_recovery(self, session, connection)
        self.timers.start(Timer.RETAINED, session.tsih, session.retained_until)

    def suspend_tasks(self, session: Session, connection: Connection) -> None:
        """Requests of the connection that wait for a missing CmdSN are discarded (11.14), and so are immediate functions that
        wait (Appendix E.1); its tasks are left alone.
        """
        session.drop_waiting(connection)
        drop_immediate_functions(session, connection)
        self.disturbed = True

    def retained_timeout(self, session: Session) -> None:
        """Tasks that nobody reassigned in time end, as with CHECK CONDITION (7.6 c); a session without a connection ends with
        the last of them (6.3.5), unless a login is about to continue it.
        """
        members = session.connections
        overdue = {
            id(task.connection): task.connection
            for task in session.tasks.values()
            if members.get(task.connection.cid) is not task.connection and task.connection.deadline <= self.now
        }
        overdue |= {id(each): each for each in session.released.values() if each.deadline <= self.now}
        before = session.max_cmd_sn
        for connection in overdue.values():
            self.terminate_tasks(session, connection)
        self._tell_of_room(session, before)
        if (
            not members
            and not session.joining
            and not session.awaits_reassignment
            and session.retained_until <= self.now
        ):
            self.end_session(session, "session state time-out")

    def terminate_tasks(self, session: Session, connection: Connection) -> None:
        """The tasks of a connection end without notice; the next commands hear of it (6.3.4, 7.6, 11.14.5)."""
        self.tell_of_clearing(session, self._clear_tasks(session, connection))

    def tell_of_clearing(self, session: Session, luns: set[bytes]) -> None:
        """The next commands for these logical units hear of the tasks that are gone (11.14.5)."""
        if not self.policy.silent_clearing:
            for lun in luns:
                code = AdditionalSense.SOME_COMMANDS_CLEARED_BY_ISCSI_PROTOCOL_EVENT
                session.device.establish_attention(session.nexus, lun, code)

    def fail_connection(self, connection: Connection, reason: str, how: str = "rst", *, announce: bool = True) -> None:
        """T15 to T17: TCP is gone, or will be, without a logout. Connection and session state wait for recovery, for
        Time2Wait and Time2Retain (7.5.1); immediate commands and half-sent data do not (Appendix E.1). The session's other
        connections go on, at any recovery level, and one of them carries the news (7.1.4.3) if `announce`: whether they
        recover the connection or the session is the initiator's choice (7.14).
        """
        session = connection.session
        if connection.state in (State.XPT_UP, State.IN_LOGIN) or session is None:
            self.end_connection(connection, reason, "rst")
            return
        if connection.state in (State.FREE, State.CLEANUP_WAIT):
            return
        connection.state = State.CLEANUP_WAIT
        connection.close(how)
        if how == "fin":
            self.timers.start(Timer.HALF_CLOSED, connection.number, self.now + HALF_CLOSE_PATIENCE)
        connection.text = None
        connection.pings.clear()
        self.disturbed = True
        self.tell(events.ConnectionClosed(connection=connection.number, reason=reason))
        survivor = session.survivor_of(connection) if announce else None
        if survivor is not None:
            notices.announce_connection_drop(session, connection, survivor)
        for task in list(session.tasks.values()):
            if task.connection is connection and task.immediate:
                self.abort_task(session, task)
        drop_immediate_functions(session, connection)
        recovery.connection_lost(self, session, connection)
        if session.discovery or session.parameters.default_time2retain == 0:
            self.logout_connection(connection, reason, how)
            return
        self.await_cleanup(connection)

    def await_cleanup(self, connection: Connection) -> None:
        """Give the initiator Time2Wait and Time2Retain from now on to log the lost connection out, or to reinstate it."""
        connection.deadline = self.now + connection.in_session.patience
        self.in_cleanup[connection.number] = connection
        self.timers.start(Timer.SESSION_STATE, connection.number, connection.deadline)

    def state_timeout(self, number: int) -> bool:
        """M1 of a connection that was not recovered in time (8.2.2); the last one takes its session along (N6). Not while it
        is being reinstated, nor its session being continued by a login: neither state knows the time-out. False where it
        did not come to that.
        """
        connection = self.in_cleanup.get(number)
        if connection is None or connection.deadline > self.now:
            return False
        session = connection.in_session
        joining = session.joining.values()
        if any(each.cid == connection.cid for each in joining) or (joining and len(session.connections) == 1):
            return False
        before = session.max_cmd_sn
        self.logout_connection(connection, "connection state time-out", "rst")
        self._tell_of_room(session, before)
        return True

    def _tell_of_room(self, session: Session, before: int) -> None:
        """Tasks ended by themselves, and nothing else may tell the initiator that their places are free again."""
        if session.live and session.max_cmd_sn != before:
            for each in session.full_feature_connections[:1]:
                nop.tell_counters(each, session)

    # Sessions

    def end_session(self, session: Session, reason: str, how: str = "fin") -> None:
        """Closure, time-out or reinstatement: everything of the session is cleared and SCSI hears of the loss (6.3.5.1)."""
        if not session.live:
            return
        session.live = False
        self._clear_tasks(session, None)
        session.joining.clear()
        for connection in list(session.connections.values()):
            self.end_connection(connection, reason, how)
        session.connections.clear()
        self.sessions.remove(session)
        if not session.discovery:
            session.device.nexus_lost(session.nexus)
        self.tell(
            events.SessionClosed(
                tsih=session.tsih,
                initiator_name=session.key.initiator_name,
                target_name=session.key.target_name,
                reason=reason,
            )
        )

    def missing_below(self, session: Session, cmd_sn: int) -> bool:
        """Whether commands with a lower CmdSN have not all come."""
        return serial.lt(session.exp_cmd_sn, cmd_sn)

    def completion_of(self, token: int, result: Completion | Work) -> tuple[Session, ScsiTask, Completion] | None:
        """What finished work belongs to; None for a token that is not known, and for work that goes on."""
        pending = self.pending.pop(token, None)
        if pending is None:
            return None
        if isinstance(result, Work):
            if not pending.task.aborted or self.policy.execute_aborted_tasks:
                pending.work = result
                self.pending[token] = pending
                self.unclaimed.append(token)
                return None
            if result.abandon is not None:
                result.abandon()
            result = Completion()
        pending.task.at_work = False
        return pending.session, pending.task, result


def drop_immediate_functions(session: Session, connection: Connection) -> None:
    """Immediate functions that wait go with their connection (Appendix E.1). Others have had their turn in CmdSN order, which
    does not come again: they are carried out, and nobody is answered.
    """
    session.functions = [each for each in session.functions if each.connection is not connection or not each.immediate]
