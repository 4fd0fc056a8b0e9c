"""How a session gets over losses (RFC 7143 7.1.4, 7.2.2, 7.5, 6.3.5).

Below recovery level 2 the session begins anew: all of its connections are closed, and behind Time2Wait the leading one logs
in with the same ISID and TSIH 0. At level 2 a lost connection is logged out over another one, or reinstated where there is
none; its tasks are reassigned, and the session goes on. What cannot be recovered so is left to session recovery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_initiator.connection import Connection, State
from iscsi_initiator.counters import SessionFault
from iscsi_initiator.link import Link
from iscsi_initiator.requests import ConnectionRemoved, Failure, SessionClosed, SessionFailure, SessionLost
from iscsi_initiator.tasks import Reassignment, RecoveryLogout, ScsiTask, Task
from iscsi_protocol import serial
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.pdu import LogoutRequest, LogoutResponse, RawPdu, TaskManagementRequest, decode
from iscsi_protocol.pdu.codes import LogoutReason, LogoutResponseCode, Opcode, TaskFunction, TaskResponse

if TYPE_CHECKING:
    from iscsi_initiator.session import Session

CONNECTION_RECOVERY = 2


class Recovery:
    """The recoveries of one session. session_lost: those above were told so, and not yet that it is back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.session_lost = False
        self._retained_until: dict[int, float] = {}

    # What was lost.

    def connection_lost(self, connection: Connection, link: Link, now: float, reason: str) -> None:
        """A connection in full feature phase is gone, whoever ended it."""
        session = self._session
        wait = self._wait_of(connection)
        # The target may have ended the session already, and nothing new goes out in it (11.14).
        ending = session.logging_out_over is connection
        if ending or session.level < CONNECTION_RECOVERY or session.leaving or not session.options.recover:
            self.session_failed(now, reason, wait)
            return
        session.work.losses.link_lost(link, now)
        connection.returning = True
        connection.released = False
        self._recover(connection, now, wait)
        self._carrier_gone(link, now)
        if not session.up:
            self._tell_lost(reason)
        session.work.losses.hold_all(now)

    def _carrier_gone(self, link: Link, now: float) -> None:
        """What was to be logged out over a link that is gone is so over another one."""
        for other in self._session.connections.values():
            if other.logout_over is link:
                self._recover(other, now, 0)

    def _wait_of(self, connection: Connection) -> float:
        return 0 if self._session.policy.ignore_time2wait else connection.time2wait

    def _tell_lost(self, reason: str) -> None:
        if not self.session_lost:
            self.session_lost = True
            self._session.emit(SessionLost(self._session.number, reason))

    def _recover(self, connection: Connection, now: float, wait: float) -> None:
        """Have the connection logged out over another one, or reinstated where there is none, when that may be."""
        connection.logout_over = None
        connection.timers["recover"] = now + wait
        self._retained_until[connection.cid] = now + wait + connection.time2retain

    def time_to_recover(self, connection: Connection, now: float) -> None:
        """Time2Wait is over (7.5)."""
        carrier = self._session.any_up()
        if carrier is not None and carrier.link is not None:
            self._log_out(connection, carrier.link, now)
        else:
            # Also where it was to be removed: there is no other.
            connection.removed = False
            connection.begin(now)

    def time_to_reconnect(self, connection: Connection, now: float) -> None:
        """The next attempt is due: where the target still has the connection and another one is back, over that."""
        carrier = self._session.any_up()
        if connection.cid in self._retained_until and carrier is not None and carrier.link is not None:
            self._log_out(connection, carrier.link, now)
        else:
            connection.connect(now)

    def _log_out(self, connection: Connection, link: Link, now: float) -> None:
        session, work = self._session, self._session.work
        connection.logout_over = link
        self._retained_until.pop(connection.cid, None)
        request = RecoveryLogout(connection.cid)
        task = Task(
            *(link, Opcode.LOGOUT_REQUEST, Opcode.LOGOUT_RESPONSE, work.next_itt(), work.cmd_sn, request),
            immediate=True,
        )
        allowance = session.settings.wmi_request_timeout
        work.add(task, now + allowance, allowance)
        session.node.other_logouts += 1
        link.send_pdu(
            LogoutRequest(
                immediate=True,
                reason=LogoutReason.RECOVERY,
                itt=task.itt,
                cid=connection.cid,
                cmd_sn=work.cmd_sn,
                # Of the connection to be closed, not of the one that carries this (11.14.4).
                exp_stat_sn=connection.last_exp_stat_sn,
            )
        )

    def logout_timed_out(self, task: Task, now: float) -> None:
        """No answer to a logout for recovery: event 8."""
        session = self._session
        session.work.forget(task)
        if session.log(8, words(Opcode.LOGOUT_REQUEST), now, "no answer in time"):
            self.session_failed(now, "no answer to a logout for recovery")

    def logout_answered(self, request: RecoveryLogout, raw: RawPdu, now: float) -> None:
        """The Logout Response to a logout for recovery."""
        response = decode(raw)
        connection = self._session.connections.get(request.cid)
        if not isinstance(response, LogoutResponse) or connection is None or connection.state is not State.WAITING:
            return
        if response.response != LogoutResponseCode.SUCCESS:
            self.session_failed(now, f"a logout for recovery was answered with {response.response}")
            return
        connection.logout_over = None
        connection.released = True
        self._retained_until.pop(connection.cid, None)
        self._resend(connection, now)
        connection.timers["continue"] = now + (0 if self._session.policy.ignore_time2wait else response.time2wait)

    # What goes on elsewhere.

    def time_to_continue(self, connection: Connection, now: float) -> None:
        """The target let go of the connection, and Time2Wait is over."""
        carrier = self._session.any_up()
        if carrier is not None and carrier.link is not None:
            self._reassign(connection, carrier.link, now)
            if connection.removed:
                self.remove(connection, SessionClosed(self._session.number))
                return
        connection.removed = False
        connection.begin(now)

    def connection_up(self, connection: Connection, now: float) -> None:
        """A connection is in full feature phase."""
        session, link = self._session, connection.link
        self._retained_until.pop(connection.cid, None)
        connection.released = True
        if link is not None:
            self._resend(connection, now)
            self._reassign(connection, link, now)
        for other in list(session.connections.values()):
            if other.state is State.NEW or (other.state is State.WAITING and not other.timers and not other.returning):
                other.begin(now)
        self._add_missing(now)

    def _add_missing(self, now: float) -> None:
        """At the first login: as many connections as were asked for and are allowed."""
        session = self._session
        wanted = min(session.options.connections, session.most_connections)
        if not session.complete:
            session.complete = True
            for _ in range(wanted - len(session.connections)):
                session.new_connection(session.next_portal()).begin(now)

    def settled(self, connection: Connection) -> bool:
        """Whether nothing of a connection that is down is left to recover."""
        return not self._orphans(connection) and connection.logout_over is None and not self._retained_until

    def _orphans(self, connection: Connection) -> list[ScsiTask]:
        """The tasks of a connection's links that are gone."""
        tasks = self._session.work.tasks.values()
        return [
            task
            for task in tasks
            if isinstance(task, ScsiTask) and task.link.cid == connection.cid and not task.link.up
        ]

    def _resend(self, connection: Connection, now: float) -> None:
        """Commands that the target never had go out again, with their numbers, and what else it lacks is filled up."""
        work = self._session.work
        carrier = self._session.any_up()
        if carrier is None or carrier.link is None:
            return
        for task in self._orphans(connection):
            if serial.ge(task.cmd_sn, work.exp_cmd_sn):
                work.losses.send_again(task, carrier.link, now)
        work.losses.fill_gaps(connection.cid, carrier.link, now)

    def _reassign(self, connection: Connection, link: Link, now: float) -> None:
        """TASK REASSIGN for each task that the target has of a connection that it let go of (7.2.2)."""
        work = self._session.work
        for task in self._orphans(connection):
            request = Reassignment(task)
            task.acknowledge()
            task.go_back()
            # From here on, not from the response on: a target may be faster with the task than with the response.
            trouble = task.troubled
            if len(task.read_into):
                trouble.asked.append((0, task.next_sn))
            trouble.rebased = bool(len(task.write_from))
            task.next_write = 0
            work.losses.move(task, link)
            function = Task(
                *(link, Opcode.TASK_MANAGEMENT_REQUEST, Opcode.TASK_MANAGEMENT_RESPONSE),
                *(work.next_itt(), work.cmd_sn, request),
                immediate=True,
            )
            allowance = self._session.settings.task_management_timeout
            work.add(function, now + allowance, allowance)
            link.send_pdu(
                TaskManagementRequest(
                    function=TaskFunction.TASK_REASSIGN,
                    lun=task.scsi.lun,
                    itt=function.itt,
                    referenced_task_tag=task.itt,
                    cmd_sn=work.cmd_sn,
                    exp_stat_sn=link.exp_stat_sn,
                    exp_data_sn=task.next_sn if len(task.read_into) else 0,
                )
            )

    def reassigned(self, request: Reassignment, response: int, now: float) -> None:
        """The response to a TASK REASSIGN."""
        work, task = self._session.work, request.task
        if response not in (TaskResponse.FUNCTION_COMPLETE, TaskResponse.TASK_DOES_NOT_EXIST):
            self.session_failed(now, f"TASK REASSIGN was answered with {response}")
        elif work.tasks.get(task.itt) is not task:
            return  # its status was faster
        elif response == TaskResponse.FUNCTION_COMPLETE:
            work.losses.resume(task, now)
        else:
            work.losses.start_anew(task, now)

    # Attempts.

    def attempts_ended(self, connection: Connection, now: float, how: SessionClosed) -> None:
        """A connection will not log in any more by itself. how: what the session's end would be told as."""
        session = self._session
        if session.over:
            return
        if session.tsih == 0:
            failure = Failure.NO_DEVICE if session.was_up else Failure.LOGIN_FAILED
            session.end(now, failure, how)
        elif session.leaving:
            connection.state = State.OVER
        elif not session.up or self._orphans(connection):
            self.session_failed(now, how.reason, session.settings.delay_between_reconnect)
        else:
            self.remove(connection, how)

    def remove(self, connection: Connection, how: SessionClosed) -> None:
        """A connection leaves the session's list."""
        session = self._session
        connection.state = State.OVER
        session.gone.add(connection.traffic)
        connection.timers.clear()
        session.connections.pop(connection.cid, None)
        self._retained_until.pop(connection.cid, None)
        session.refresh()
        session.emit(
            ConnectionRemoved(
                session.number, connection.cid, how.reason, how.login_status, how.event, how.unreachable, how.fault
            )
        )

    def next_deadline(self) -> float | None:
        """When the target's patience with a lost connection ends."""
        return min(self._retained_until.values()) if self._retained_until else None

    def handle_timer(self, now: float) -> None:
        """Give up what the target has given up: connections that it announced to drop, and did not, and those that it does
        not retain any more (Time2Retain).
        """
        for connection in list(self._session.connections.values()):
            due = connection.timers.get("drop")
            if due is not None and due <= now:
                del connection.timers["drop"]
                connection.fail(now, "the target announced to drop the connection")
        if self._retained_until and min(self._retained_until.values()) <= now:
            self._session.errors.count(SessionFault.TIMEOUT, now)
            self.session_failed(now, "Time2Retain is over", 0)

    # The session as a whole.

    def session_failed(self, now: float, reason: str, wait: float | None = None) -> None:
        """End all connections from this side, and make the session anew where that is wanted."""
        session = self._session
        if session.over:
            return
        if not session.leaving:
            fault = session.errors.fault_at(now)
            session.node.session_failed(fault)
            session.emit(SessionFailure(session.number, fault, now))
        self._begin_anew(now, reason, wait)

    def _begin_anew(self, now: float, reason: str, wait: float | None, not_before: float = 0) -> None:
        session = self._session
        if wait is None:
            wait = max((self._wait_of(each) for each in session.connections.values() if each.joined), default=0)
        session.logging_out_over = None
        for connection in list(session.connections.values()):
            connection.close(reason)
            connection.forget()
            if connection.removed:
                self.remove(connection, SessionClosed(session.number, reason))
        self.reset()
        again = session.options.recover and session.options.target_name is not None and not session.leaving
        session.work.losses.session_gone(now, recover=again)
        if not again:
            session.end(now, Failure.CONNECTION_LOST, SessionClosed(session.number, reason))
            return
        session.tsih = 0
        leading = session.leading
        leading.returning = True
        leading.timers["return"] = max(now + wait, not_before)
        self._tell_lost(reason)

    def reset(self) -> None:
        """Nothing is retained any more."""
        self._retained_until.clear()

    def logged_out(self, connection: Connection, response: LogoutResponse, now: float) -> None:
        """The target answered a logout that was not for recovery."""
        session = self._session
        link = connection.link
        over = session.logging_out_over
        whole = over is connection
        if whole:
            session.logging_out_over = None
        if session.leaving and over is not None and not whole:
            # The answer to the logout of the session has yet to come.
            connection.close("logged out")
            connection.state = State.OVER
        elif session.leaving:
            for each in session.connections.values():
                each.close()
            session.work.losses.session_gone(now, recover=False)
            session.end(now, Failure.ABORTED, SessionClosed(session.number))
        elif whole or link is None:
            self._begin_anew(now, "the target asked for logout", response.time2wait, connection.pause_until)
        else:
            connection.close("logged out")
            session.work.losses.link_logged_out(link, now)
            self._carrier_gone(link, now)
            if connection.removed:
                self.remove(connection, SessionClosed(session.number))
            else:
                connection.forget()
                connection.returning = True
                connection.timers["return"] = max(now + response.time2wait, connection.pause_until)
            session.work.losses.fill_gaps(connection.cid, None, now)
