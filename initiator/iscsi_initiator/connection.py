"""One connection of a session (RFC 7143 8.1): it connects, logs in, receives, logs out, and waits to come back.

A connection is its CID; what is below it, a `Link`, is another one after every login. What its loss means is decided by
`recovery`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from iscsi_initiator.counters import NodeFault, SessionFault, Traffic
from iscsi_initiator.exchange import TextExchange
from iscsi_initiator.link import Link
from iscsi_initiator.login import LoginExchange, LoginFailed, LoginRedirected
from iscsi_initiator.reception import Reception, knows
from iscsi_initiator.requests import ConnectionLost, ConnectionUp, Failure, NodeFailure, Request, SessionClosed
from iscsi_initiator.snack import Snacks
from iscsi_initiator.tasks import ScsiTask, Task, Violation
from iscsi_protocol.chap import ChapError
from iscsi_protocol.eventlog.dump import address, words
from iscsi_protocol.framing import NO_LIMIT, FramingError, HeaderDigestError
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.keys import Role
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import Buffer, LogoutRequest, LogoutResponse, RawPdu, decode
from iscsi_protocol.pdu.codes import LoginStatus, LogoutReason, LogoutResponseCode, Opcode

if TYPE_CHECKING:
    from iscsi_initiator.session import Session


class State(Enum):
    """Where a connection is: S2, S4, S5, S6 and S8 of the standard (8.1.1), and what is outside of them."""

    NEW = "not opened"
    CONNECTING = "connecting"
    LOGIN = "logging in"
    LOGGED_IN = "logged in"
    LOGOUT = "logging out"
    WAITING = "waiting to connect again"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Redirect:
    """A login that went on elsewhere. original: where it was begun; there: where it ended up; temporary: this once only."""

    original: Endpoint
    there: Endpoint
    temporary: bool


class Connection:
    """One connection; its session's.

    number: the engine's for the TCP connection, None while there is none; returning: its next login ends a recovery (event
    34); joined: it was up in this session; released: the target let go of its CID (7.2.2); paused: no request is begun on
    it; removed: it is not to come back; logout_over: the link over which its logout for recovery went; asked_to_leave: the
    target wants it to log out; time2wait, time2retain: seconds, as the target last gave them; last_exp_stat_sn: of the link
    before, 0 while there was none; traffic: what is counted, over all of its logins; redirect: where its login was sent on
    to, None where it was not.
    """

    def __init__(self, session: Session, cid: int, portal: Endpoint) -> None:
        self.session = session
        self.cid = cid
        self.portal = portal
        self.state = State.NEW
        self.link: Link | None = None
        self.number: int | None = None
        self.timers: dict[str, float] = {}
        self.negotiator = Negotiator(Role.INITIATOR, {})
        self.snacks: Snacks | None = None
        self.text = TextExchange(self)
        self.returning = False
        self.joined = False
        self.released = False
        self.paused = False
        self.removed = False
        self.time2wait: float = 0
        self.time2retain: float = 0
        self.pause_until = 0.0
        self.logout_reason: int | None = None
        self.logout_over: Link | None = None
        self.asked_to_leave = False
        self.traffic = Traffic()
        self.redirect: Redirect | None = None
        self._reception = Reception(self)
        self._login: LoginExchange | None = None
        self._attempts = 0
        self._unready = 0
        self._redirects = 0
        self._there = portal
        self.last_exp_stat_sn = 0

    @property
    def up(self) -> bool:
        """Whether it is in full feature phase."""
        return self.link is not None and self.link.up

    @property
    def takes_requests(self) -> bool:
        """Whether a new request may be sent on it: it is up, and no logout of it was asked for (11.14)."""
        return self.up and self.state is State.LOGGED_IN

    @property
    def leading(self) -> bool:
        """Whether its next login makes the session."""
        return self.session.tsih == 0

    def runs(self, task: Task) -> bool:
        """Whether a task is under way on this connection as it is now."""
        return self.session.work.tasks.get(task.itt) is task and task.link is self.link

    def task_of(self, itt: int) -> Task | None:
        """The task with this tag that is allegiant to this connection as it is now."""
        task = self.session.work.tasks.get(itt)
        return task if task is not None and task.link is self.link else None

    # Connecting and logging in.

    def begin(self, now: float) -> None:
        """Begin the first attempt of a series, where there may be any."""
        self._attempts = self._redirects = 0
        self.redirect = None
        if not self._may_attempt:
            text = "a connection that is lost is not retried"
            self.session.recovery.attempts_ended(self, now, SessionClosed(self.session.number, text))
            return
        self._there = self.session.portal_of(self, 0)
        self.connect(now)

    @property
    def _was_up(self) -> bool:
        """Whether it, or the session that it is to make anew, was up before."""
        return self.session.was_up if self.leading else self.joined

    @property
    def _may_attempt(self) -> bool:
        """Whether there may be one attempt more: MaxConnectionRetries to bring back what was up, else the first one and
        PortalRetryCount behind it.
        """
        settings = self.session.settings
        most = settings.max_connection_retries if self._was_up else 1 + settings.portal_retry_count
        return most < 0 or self._attempts < most

    def connect(self, now: float) -> None:
        """Begin one attempt."""
        self.timers.clear()
        self.state = State.CONNECTING
        if self.session.may_connect(now):
            self.number = self.session.want(self, self._there, now)
        else:
            self.not_set_up(now, "there are as many connections as this initiator may have", 6)

    def not_set_up(self, now: float, text: str, event: int | None) -> None:
        """This host could not do its part for a connection, and that was logged. event: as what."""
        self._end_attempt(now, LoginFailed(event, b"", text), logged=True)

    def bind_failed(self, error: int, now: float) -> None:
        """There is no local end for a connection: try again until the network is ready, or was waited for long enough."""
        settings = self.session.settings
        self._unready += 1
        if self._unready <= settings.network_ready_retry_count:
            self.close()
            self.timers["reconnect"] = now + settings.delay_between_reconnect
            return
        self._unready = 0
        text = f"there is no local end for a connection (error {error})"
        if self.session.log(5, words(error), now, text):
            self.not_set_up(now, text, 5)

    def send_failed(self, error: int, now: float) -> None:
        """A PDU could not be sent. Before full feature phase the end of the connection tells all there is to tell."""
        if self.up:
            self.session.log(7, words(error), now, f"error {error}")

    def connection_made(self, now: float) -> None:
        """TCP is up: begin to log in."""
        if self.number is None:
            return
        session = self.session
        self.state = State.LOGIN
        self._unready = 0
        link = self.link = Link(self.number, self.cid, session.settings.limits.send_buffer, self.traffic)
        link.last_activity = now
        try:
            login = session.login_of(self, self.last_exp_stat_sn)
        except ChapError as error:
            self._end_attempt(now, LoginFailed(error.event_id, error.dump, str(error)), final=True)
            return
        self._login = login
        self.timers["login"] = now + session.settings.wmi_request_timeout
        login.begin()
        self._send_login(link, login)

    def _send_login(self, link: Link, login: LoginExchange) -> None:
        for raw in login.outbox:
            link.send_raw(raw)
        login.outbox.clear()
        if login.challenge:
            self.session.remember_challenge(login.challenge)

    def _login_pdu(self, raw: RawPdu, link: Link, login: LoginExchange, now: float) -> None:
        if not knows(raw.opcode):
            self._end_attempt(now, LoginFailed(24, bytes(raw.bhs), f"opcode {raw.opcode:#04x}"))
            return
        try:
            login.receive(raw)
        except LoginRedirected as redirect:
            self._redirected(redirect, now)
        except LoginFailed as failure:
            self._end_attempt(now, failure)
        else:
            self._send_login(link, login)
            if login.finished:
                self._logged_in(link, login, now)

    def _redirected(self, redirect: LoginRedirected, now: float) -> None:
        self._redirects += 1
        self.session.node.login_redirects += 1
        if self._redirects > self.session.settings.max_login_redirects:
            status = LoginStatus.MOVED_PERMANENTLY if redirect.permanent else LoginStatus.MOVED_TEMPORARILY
            self._end_attempt(now, LoginFailed(12, redirect.data, "redirects without end", status))
            return
        self.close()
        there = Endpoint(redirect.address.host, redirect.address.port)
        original = self._there if self.redirect is None else self.redirect.original
        self.redirect = Redirect(original, there, temporary=not redirect.permanent)
        self._there = there
        if redirect.permanent:
            self.portal = self._there
        self.connect(now)

    def _logged_in(self, link: Link, login: LoginExchange, now: float) -> None:
        session = self.session
        session.node.login_accepts += 1
        self.timers.pop("login", None)
        accepts = session.policy.accept_oversized_segments
        limit = NO_LIMIT if accepts else session.settings.max_recv_data_segment_length
        link.enter_full_feature(login.parameters, login.exp_stat_sn, limit)
        self.negotiator = login.negotiator
        self.snacks = Snacks(self, link) if link.level else None
        self._login = None
        self.state = State.LOGGED_IN
        self._attempts = self._redirects = 0
        self.paused = self.asked_to_leave = False
        self.time2wait = login.parameters.default_time2wait
        self.time2retain = login.parameters.default_time2retain
        returned, self.returning = self.returning, False
        self.joined = True
        if returned:
            session.log(34, session.target_name_bytes, now, "logged in again")
        session.logged_in(self, login, now)
        session.emit(ConnectionUp(session.number, self.cid, link.number))
        session.recovery.connection_up(self, now)

    def _end_attempt(
        self,
        now: float,
        failure: LoginFailed | None,
        *,
        unreachable: bool = False,
        final: bool = False,
        logged: bool = False,
    ) -> None:
        """An attempt to log in came to nothing. failure: why, and what is logged unless it is `logged` already."""
        session = self.session
        text, status, event, fault = "", None, None, None
        if failure is not None:
            text, status, event, fault = failure.text, failure.status, failure.event, failure.fault
            if not logged and event is not None and not session.log(event, failure.extra, now, text):
                return
        session.emit(NodeFailure(session.number, session.node.login_failed(status, event), self._there, now))
        self.close()
        self._attempts += 1
        self._redirects = 0
        self.redirect = None
        reason = text or (
            f"no TCP connection to {self._there} could be made"
            if unreachable
            else "the connection was closed during login"
        )
        self._there = session.portal_of(self, self._attempts)
        refused = status is not None and status >> 8 == LoginStatus.INITIATOR_ERROR >> 8
        again = (self._was_up or unreachable) and self._may_attempt
        if again and not refused and not final and not session.leaving:
            self.state = State.WAITING
            self.timers["reconnect"] = now + session.settings.delay_between_reconnect
            return
        session.recovery.attempts_ended(
            self, now, SessionClosed(session.number, reason, status, event, unreachable, fault)
        )

    # The connection as it is.

    def connection_lost(self, reason: TransportEvent, now: float) -> None:
        """The connection did not come up, or ended, and not by us."""
        state, link, session = self.state, self.link, self.session
        self.number = None
        if state is State.CONNECTING:
            if session.log(1, address(self._there), now, reason.value):
                self._end_attempt(now, None, unreachable=True)
        elif state is State.LOGIN:
            if session.log(59, b"", now, reason.value):
                self._end_attempt(now, None)
        elif link is not None and state in (State.LOGGED_IN, State.LOGOUT):
            self._gone(f"the connection was lost ({reason.value})")
            if session.logging_out_over not in (None, self):
                return  # the target ends them all
            if state is State.LOGOUT:
                session.emit(NodeFailure(session.number, NodeFault.LOGOUT, self._there, now))
            if reason is TransportEvent.TIMED_OUT:
                session.errors.count(SessionFault.TIMEOUT, now)
            if session.log(20, session.target_name_bytes, now, reason.value):
                session.recovery.connection_lost(self, link, now, f"the connection was lost ({reason.value})")

    def receive(self, data: Buffer, now: float, placed: int = 0) -> bool:
        """Bytes from the target, and whether anything came of them. placed: how many came before them, and are in the
        framer's room.
        """
        link = self.link
        if link is None:
            return False
        framer, traffic = link.framer, self.traffic
        traffic.bytes_received += placed + len(data)
        link.last_activity = now
        if placed:
            framer.took(placed)
            if not len(data) and framer.room() is not None:
                return False  # a piece of payload alone
        framer.receive(data)
        link.timing = True
        next_pdu, take, place = framer.next_pdu, self._reception.take, self._reception.place
        watch = self.session.watch
        if watch is not None and not watch.wants_pdus:
            watch = None
        came = False
        while self.link is link:
            try:
                raw = next_pdu(place)
            except FramingError as error:
                came = True
                self._framing_broken(error, link, now)
                continue
            if raw is None:
                break
            traffic.pdus_received += 1
            if watch is not None:
                watch.received(link.number, raw)
            came = True
            if self._login is None:
                take(raw, link, now)
            else:
                self._login_pdu(raw, link, self._login, now)
        if self.timers:
            self._drained(now)
        work = self.session.work
        if work.pending:
            work.pump(now)
            came = True
        return came or bool(link.outbox)

    def _framing_broken(self, error: FramingError, link: Link, now: float) -> None:
        """Events 22 and 21, and 24 where the opcode is wrong too."""
        raw = error.raw
        policy = self.session.policy
        header = bytes(raw.bhs)
        if isinstance(error, HeaderDigestError):
            if policy.accept_header_digest_errors:
                link.framer.forgive()
                return
            reacts = self.session.log(22, header + bytes(raw.header_digest), now, str(error))
            if policy.drop_on_header_digest_error or not reacts:
                link.framer.skip()
            else:
                self.fail(now, str(error))
            return
        if not knows(raw.opcode):
            self.violated(Violation(24, header, f"opcode {raw.opcode:#04x}"), None, now)
        else:
            self.violated(Violation(21, header, str(error)), self.task_of(raw.initiator_task_tag), now)
        if self.link is link:
            link.framer.skip()

    def violated(self, violation: Violation, culprit: Task | None, now: float) -> None:
        """The target broke a rule: log it, and end the session's connections but for what concerns one PDU alone (7.7).

        culprit: a task whose request would provoke the same again, and fails therefore.
        """
        session = self.session
        reacts = session.log(violation.event, violation.extra, now, violation.text)
        if violation.event == 27 or not reacts or (violation.event == 24 and session.policy.accept_invalid_pdus):
            return
        if culprit is not None:
            session.work.finish(culprit, failure=Failure.PROTOCOL_ERROR)
        session.recovery.session_failed(now, violation.text)

    def fail(self, now: float, reason: str) -> None:
        """End the connection from this side, and recover what it carried."""
        link = self.link
        if link is not None and link.up:
            self.close(reason)
            self.session.recovery.connection_lost(self, link, now, reason)

    def data_missing(self, task: ScsiTask, now: float) -> None:
        """Data of a task will not come any more."""
        if task.trouble is not None and task.trouble.status is not None:
            self.session.work.finish(task, failure=task.ending or Failure.DATA_MISSING)
        elif task.ending is None:
            self.session.work.escalation.end(task, Failure.DATA_MISSING, now)

    def close(self, reason: str = "") -> None:
        """Close the TCP connection, from this side."""
        if self.number is not None:
            self.session.close_connection(self.number)
        self._gone(reason)

    def forget(self) -> None:
        """The session that it was part of is no more."""
        self.last_exp_stat_sn = 0
        self.released = self.paused = self.returning = False
        self.logout_reason = self.logout_over = None

    def _gone(self, reason: str) -> None:
        link = self.link
        was_up = link is not None and link.up
        if link is not None:
            if link.up:
                self.last_exp_stat_sn = link.exp_stat_sn
            link.up = False
            link.framer.withdraw()
        self.number = self.link = self._login = self.snacks = None
        self.state = State.WAITING
        self.text.reset()
        self.timers.clear()
        self.session.refresh()
        if was_up:
            self.session.emit(ConnectionLost(self.session.number, self.cid, reason))

    def adopt(self, parameters: OperationalParameters) -> None:
        """Parameters were agreed on anew in full feature phase."""
        link = self.link
        if link is None:
            return
        limit = parameters.received_by(Role.INITIATOR)
        if link.level and limit != link.parameters.received_by(Role.INITIATOR):
            for task in self.session.work.tasks.values():
                if isinstance(task, ScsiTask) and task.link is link:
                    task.troubled.resized = True
        link.adopt(parameters, limit)

    # Logging out.

    def log_out_when_idle(self, reason: int, due: float, now: float) -> None:
        """Begin nothing on it any more, and log it out once its tasks are over, or when it is due."""
        self.paused = True
        self.logout_reason = reason
        self.session.refresh()
        self.timers["logout"] = due
        self._drained(now)

    def _drained(self, now: float) -> None:
        if "logout" in self.timers and self.link is not None and not self.session.work.carried_by(self.link):
            self.send_logout(now)

    def send_logout(self, now: float) -> None:
        """Log out: the connection where another one stays, else the session, and nothing behind that (11.14)."""
        link, session = self.link, self.session
        self.timers.pop("logout", None)
        if link is None or not link.up or session.logging_out_over is not None:
            return
        alone = not any(other.takes_requests for other in session.connections.values() if other is not self)
        reason = self.logout_reason
        if reason is None or (alone and not self.removed):
            reason = LogoutReason.CLOSE_SESSION
        self.state = State.LOGOUT
        if reason == LogoutReason.CLOSE_SESSION:
            session.logging_out_over = self
        session.refresh()
        work = session.work
        task = Task(
            *(link, Opcode.LOGOUT_REQUEST, Opcode.LOGOUT_RESPONSE, work.next_itt(), work.cmd_sn, Request()),
            immediate=True,
        )
        allowance = session.settings.wmi_request_timeout
        work.add(task, now + allowance, allowance)
        session.node.logouts += 1
        link.send_pdu(
            LogoutRequest(
                immediate=True,
                reason=reason,
                itt=task.itt,
                cid=self.cid if reason == LogoutReason.CLOSE_CONNECTION else 0,
                cmd_sn=work.cmd_sn,
                exp_stat_sn=link.exp_stat_sn,
            )
        )

    def logged_out(self, raw: RawPdu, now: float) -> None:
        """The Logout Response to what `send_logout` sent."""
        response = decode(raw)
        if not isinstance(response, LogoutResponse):
            return
        if response.response != LogoutResponseCode.SUCCESS:
            self.logout_failed(now, f"the logout was answered with {response.response}")
            return
        self.session.recovery.logged_out(self, response, now)

    def logout_failed(self, now: float, reason: str) -> None:
        """The logout came to nothing: the connection is dropped, and the session with it that was to be closed."""
        self.session.emit(NodeFailure(self.session.number, NodeFault.LOGOUT, self._there, now))
        self.fail(now, reason)

    def logout_timed_out(self, now: float) -> None:
        """Events 51 and 44."""
        event = 51 if self.asked_to_leave else 44
        if self.session.log(event, words(Opcode.LOGOUT_REQUEST), now, "no answer in time"):
            self.logout_failed(now, "no answer to the logout")

    # Time.

    def handle_timer(self, now: float) -> None:
        """Act on what is due, but for a drop that was announced: what else runs out of time then is told before it."""
        for name, due in list(self.timers.items()):
            if name != "drop" and due <= now and self.timers.get(name) == due:
                del self.timers[name]
                self._due(name, now)

    def _due(self, name: str, now: float) -> None:
        if name == "login":
            event = 43 if self.leading else 45
            self._end_attempt(now, LoginFailed(event, words(Opcode.LOGIN_REQUEST), "no answer to the login in time"))
        elif name == "reconnect":
            self.session.recovery.time_to_reconnect(self, now)
        elif name == "return":
            self.begin(now)
        elif name == "logout":
            self.send_logout(now)
        elif name == "snack" and self.snacks is not None:
            self.snacks.handle_timer(now)
        elif name == "recover":
            self.session.recovery.time_to_recover(self, now)
        elif name == "continue":
            self.session.recovery.time_to_continue(self, now)
