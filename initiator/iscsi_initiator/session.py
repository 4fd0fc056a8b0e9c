"""One session with its one connection at recovery level 0 (RFC 7143 7.1.4.4, 8.1 to 8.3): login, logout, loss and recovery.

A session lives from the first attempt to connect to a regular logout, a refusal, or the end of its attempts to recover.
Losing the connection is answered by session reinstatement: the same ISID logs in again behind Time2Wait; requests wait for
it up to MaxRequestHoldTime and are then started anew.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from iscsi_initiator.eventlog.dump import address, words
from iscsi_initiator.link import Link
from iscsi_initiator.login import LoginExchange, LoginFailed, LoginRedirected
from iscsi_initiator.reception import Reception
from iscsi_initiator.requests import (
    Event,
    Failure,
    Ping,
    Request,
    SessionClosed,
    SessionLost,
    SessionUp,
    TextNegotiation,
)
from iscsi_initiator.settings import SessionOptions
from iscsi_initiator.tasks import Task, Violation
from iscsi_initiator.work import Work
from iscsi_protocol.chap import ChapError
from iscsi_protocol.framing import NO_LIMIT, FramingError, HeaderDigestError
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.identity import Isid
from iscsi_protocol.negotiation.engine import Negotiator
from iscsi_protocol.negotiation.keys import Role
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import AsyncMessage, Buffer, LogoutRequest, LogoutResponse, RawPdu, decode
from iscsi_protocol.pdu.codes import AsyncEvent, LoginStatus, LogoutReason, LogoutResponseCode, Opcode

if TYPE_CHECKING:
    from iscsi_initiator.engine import InitiatorEngine

CID = 0


class State(Enum):
    """Where a session is. The connection's states S2, S4, S5, S6 and S8 (8.1.1), and what is outside of them."""

    NEW = "not opened"
    CONNECTING = "connecting"
    LOGIN = "logging in"
    LOGGED_IN = "logged in"
    LOGOUT = "logging out"
    WAITING = "waiting to connect again"
    OVER = "over"


class Session:
    """One session; the engine's."""

    def __init__(self, number: int, options: SessionOptions, engine: InitiatorEngine) -> None:
        self.number = number
        self.options = options
        self.settings = engine.settings
        self.policy = engine.policy
        self.state = State.NEW
        self.link: Link | None = None
        self.connection: int | None = None
        self.portal: Endpoint = options.portal
        self.negotiator = Negotiator(Role.INITIATOR, {})
        self.tsih = 0
        self.timers: dict[str, float] = {}
        self._engine = engine
        self.work = Work(self)
        self._reception = Reception(self)
        self._login: LoginExchange | None = None
        self._isid = options.isid
        self._was_up = False
        self._leaving = False
        self._attempts = 0
        self._redirects = 0
        self._there: Endpoint = options.portal
        self._time2wait: float = 0
        self._pause_until = 0.0
        self._last_activity = 0.0

    # What others ask.

    @property
    def logged_in(self) -> bool:
        """Whether requests may be sent."""
        return self.state is State.LOGGED_IN

    @property
    def over(self) -> bool:
        """Whether nothing can come of a request any more."""
        return self.state is State.OVER or self._leaving

    @property
    def recovering(self) -> bool:
        """Whether it was up and is to be up again."""
        return self._was_up and self.state not in (State.LOGGED_IN, State.LOGOUT, State.OVER)

    @property
    def target_name_bytes(self) -> bytes:
        """The target's name as events dump it; empty for a discovery session."""
        return (self.options.target_name or "").encode()

    @property
    def parameters(self) -> OperationalParameters:
        """What was agreed on; the defaults while there is no connection."""
        return self.link.parameters if self.link else OperationalParameters()

    def emit(self, event: Event) -> None:
        """Tell those above."""
        self._engine.emit(event)

    def log(self, event: int, extra: bytes, now: float, text: str = "") -> None:
        """Log a driver event."""
        self._engine.log(self.number, event, extra, now, text)

    def touch(self, now: float) -> None:
        """Something was sent, or came."""
        self._last_activity = now

    # Connecting and logging in.

    def open(self) -> None:
        """Begin the first attempt."""
        self._connect()

    def _connect(self) -> None:
        self.state = State.CONNECTING
        self.connection = self._engine.want(self, self._there)

    def connection_made(self, now: float) -> None:
        """TCP is up: begin to log in."""
        if self.connection is None:
            return
        self.state = State.LOGIN
        link = self.link = Link(self.connection)
        if self._was_up and self.policy.new_isid_on_recovery:
            self._isid = bytes(Isid.draw(self._engine.random_bytes))
        try:
            login = LoginExchange(
                self.settings,
                self.options,
                self.policy,
                self._engine.random_bytes,
                isid=self._isid,
                cmd_sn=self.work.cmd_sn,
                itt=self.work.next_itt(),
                issued=self._engine.challenges,
            )
        except ChapError as error:
            event = error.event_id
            self._end_attempt(now, LoginFailed(event, error.dump, str(error)), final=True)
            return
        self._login = login
        self.timers["login"] = now + self.settings.wmi_request_timeout
        login.begin()
        self._send_login(link, login)

    def _send_login(self, link: Link, login: LoginExchange) -> None:
        for raw in login.outbox:
            link.send_raw(raw)
        login.outbox.clear()
        if login.challenge:
            self._engine.challenges.add(login.challenge)

    def _login_pdu(self, raw: RawPdu, link: Link, login: LoginExchange, now: float) -> None:
        if not self._reception.knows(raw.opcode):
            failure = LoginFailed(24, bytes(raw.bhs), f"opcode {raw.opcode:#04x}")
            self._end_attempt(now, failure)
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
        if self._redirects > self.settings.max_login_redirects:
            self._end_attempt(now, LoginFailed(12, redirect.data, "redirects without end"))
            return
        self._close_connection()
        self._there = Endpoint(redirect.address.host, redirect.address.port)
        if redirect.permanent:
            self.portal = self._there
        self._connect()

    def _logged_in(self, link: Link, login: LoginExchange, now: float) -> None:
        self.timers.pop("login", None)
        limit = NO_LIMIT if self.policy.accept_oversized_segments else self.settings.max_recv_data_segment_length
        link.enter_full_feature(login.parameters, login.exp_stat_sn, limit)
        self.negotiator = login.negotiator
        self.tsih = login.tsih
        self._time2wait = login.parameters.default_time2wait
        work = self.work
        work.exp_cmd_sn, work.max_cmd_sn = login.exp_cmd_sn, login.max_cmd_sn
        self._login = None
        self.state = State.LOGGED_IN
        self._attempts = self._redirects = 0
        self.touch(now)
        recovered, self._was_up = self._was_up, True
        if recovered:
            self.log(34, self.target_name_bytes, now, "logged in again")
        tag, alias = login.declared("TargetPortalGroupTag"), login.declared("TargetAlias")
        self.emit(SessionUp(self.number, self.tsih, recovered, tag, alias))

    def _end_attempt(
        self, now: float, failure: LoginFailed | None, *, unreachable: bool = False, final: bool = False
    ) -> None:
        """An attempt to log in came to nothing. failure: what is logged and why; None where that was done already."""
        self._close_connection()
        text, status, event = "", None, None
        if failure is not None:
            text, status, event = failure.text, failure.status, failure.event
            self.log(failure.event, failure.extra, now, failure.text)
        self._attempts += 1
        self._there = self.portal
        self._redirects = 0
        limit = self.settings.max_connection_retries if self._was_up else self.settings.portal_retry_count
        again = (self._was_up or unreachable) and (limit < 0 or self._attempts <= limit)
        refused = status is not None and status >> 8 == LoginStatus.INITIATOR_ERROR >> 8
        if again and not refused and not final and not self._leaving:
            self.state = State.WAITING
            self.timers["reconnect"] = now + self.settings.delay_between_reconnect
            return
        reason = text or (
            f"no TCP connection to {self._there} could be made"
            if unreachable
            else "the connection was closed during login"
        )
        self._over(Failure.NO_DEVICE if self._was_up else Failure.LOGIN_FAILED, reason, status, event, unreachable)

    # The connection.

    def connection_lost(self, reason: TransportEvent, now: float) -> None:
        """The connection did not come up, or ended, and not by us."""
        state = self.state
        self.connection = self.link = None
        if state is State.CONNECTING:
            self.log(1, address(self._there), now, reason.value)
            self._end_attempt(now, None, unreachable=True)
        elif state is State.LOGIN:
            self.log(59, b"", now, reason.value)
            self._end_attempt(now, None)
        elif state in (State.LOGGED_IN, State.LOGOUT):
            self.log(20, self.target_name_bytes, now, reason.value)
            self._lost(now, f"the connection was lost ({reason.value})", self._time2wait)

    def receive(self, data: Buffer, now: float) -> None:
        """Bytes from the target."""
        link = self.link
        if link is None:
            return
        link.framer.receive(data)
        self.touch(now)
        take = self._reception.take
        while self.link is link:
            try:
                raw = link.framer.next_pdu()
            except FramingError as error:
                self._framing_broken(error, link, now)
                continue
            if raw is None:
                break
            login = self._login
            if login is None:
                take(raw, now)
            else:
                self._login_pdu(raw, link, login, now)
        if "logout" in self.timers and not self.work.tasks:
            self._send_logout(now)
        self.work.pump(now)

    def _framing_broken(self, error: FramingError, link: Link, now: float) -> None:
        """Events 22 and 21, and 24 where the opcode is wrong too."""
        raw = error.raw
        policy = self.policy
        header = bytes(raw.bhs)
        if isinstance(error, HeaderDigestError):
            if policy.accept_header_digest_errors:
                link.framer.forgive()
                return
            self.log(22, header + bytes(raw.header_digest), now, str(error))
            if policy.drop_on_header_digest_error:
                link.framer.skip()
            else:
                self.recover(now, str(error))
        elif not self._reception.knows(raw.opcode):
            self.violated(Violation(24, header, f"opcode {raw.opcode:#04x}"), None, now)
            if self.link is link:
                link.framer.skip()
        else:
            task = self.work.tasks.get(raw.initiator_task_tag)
            self.violated(Violation(21, header, str(error)), task, now)

    def violated(self, violation: Violation, culprit: Task | None, now: float) -> None:
        """The target broke a rule: log it, and end the session's connection but for what concerns one PDU alone (7.7).

        culprit: a task whose request would provoke the same again, and fails therefore.
        """
        self.log(violation.event, violation.extra, now, violation.text)
        if violation.event == 27 or (violation.event == 24 and self.policy.accept_invalid_pdus):
            return
        if culprit is not None:
            self.work.finish(culprit, failure=Failure.PROTOCOL_ERROR)
        self.recover(now, violation.text)

    def recover(self, now: float, reason: str) -> None:
        """End the connection from this side, and reinstate the session."""
        if self.state in (State.LOGGED_IN, State.LOGOUT):
            self._close_connection()
            self._lost(now, reason, self._time2wait)

    def _close_connection(self) -> None:
        if self.connection is not None:
            self._engine.close_connection(self.connection)
        self.connection = self.link = self._login = None
        self.timers.clear()

    def _lost(self, now: float, reason: str, wait: float, not_before: float = 0) -> None:
        """There is no connection any more: recover where that is wanted."""
        again = self.options.recover and self.options.target_name is not None and not self._leaving
        self.state = State.WAITING
        self.timers.clear()
        self.work.connection_gone(now, recover=again)
        if not again:
            self._over(Failure.CONNECTION_LOST, reason)
            return
        self._attempts = 0
        self._there = self.portal
        if self.policy.ignore_time2wait:
            wait = 0
        self.timers["reconnect"] = max(now + wait, not_before)
        self.emit(SessionLost(self.number, reason))

    def _over(
        self,
        failure: Failure,
        reason: str,
        status: int | None = None,
        event: int | None = None,
        unreachable: bool = False,
    ) -> None:
        self.state = State.OVER
        self.timers.clear()
        self.work.fail_all(failure)
        self.emit(SessionClosed(self.number, reason, status, event, unreachable))

    def adopt(self, parameters: OperationalParameters) -> None:
        """Parameters were agreed on anew in full feature phase."""
        if self.link is not None:
            self.link.adopt(parameters, parameters.received_by(Role.INITIATOR))

    # Leaving.

    def close(self, now: float) -> None:
        """Log out, and be over."""
        if self.over:
            return
        self._leaving = True
        if self.state is State.LOGGED_IN:
            self.work.fail_all(Failure.NOT_CONNECTED)
            self._send_logout(now)
        elif self.state is not State.LOGOUT:
            self._close_connection()
            self._over(Failure.NOT_CONNECTED, "")

    def _send_logout(self, now: float) -> None:
        """Logout with reason 0: with one connection, the session (11.14)."""
        link, work = self.link, self.work
        if link is None:
            return
        self.state = State.LOGOUT
        self.timers.pop("logout", None)
        task = Task(
            *(Opcode.LOGOUT_REQUEST, Opcode.LOGOUT_RESPONSE, work.next_itt(), work.cmd_sn, Request()), immediate=True
        )
        allowance = self.settings.wmi_request_timeout
        work.add(task, now + allowance, allowance)
        link.send_pdu(
            LogoutRequest(
                immediate=True,
                reason=LogoutReason.CLOSE_SESSION,
                itt=task.itt,
                cmd_sn=work.cmd_sn,
                exp_stat_sn=link.exp_stat_sn,
            )
        )

    def logged_out(self, raw: RawPdu, now: float) -> None:
        """The Logout Response."""
        response = decode(raw)
        if not isinstance(response, LogoutResponse):
            return
        if response.response != LogoutResponseCode.SUCCESS:
            self.logout_failed(now, f"the logout was answered with {response.response}")
            return
        self._close_connection()
        if self._leaving:
            self.work.connection_gone(now, recover=False)
            self._over(Failure.ABORTED, "")
        else:
            self._lost(now, "the target asked for logout", response.time2wait, self._pause_until)

    def logout_failed(self, now: float, reason: str) -> None:
        """The logout came to nothing: the connection is dropped."""
        self.recover(now, reason)

    def logout_timed_out(self, now: float) -> None:
        """Events 51 and 44."""
        self.log(44 if self._leaving else 51, words(Opcode.LOGOUT_REQUEST), now, "no answer in time")
        self.logout_failed(now, "no answer to the logout")

    # Asynchronous messages (11.9.1).

    def logout_requested(self, seconds: int, now: float) -> None:
        """AsyncEvent 1: log out within so many seconds; tasks get half of them to end."""
        self.log(32, self.target_name_bytes, now, f"logout within {seconds} s")
        if self.policy.ignore_logout_request or self.state is State.LOGOUT:
            return
        self.work.paused = True
        self._pause_until = now + self.settings.async_logout_pause_timeout
        self.timers["logout"] = now + seconds / 2 if self.work.tasks else now

    def drop_announced(self, message: AsyncMessage, now: float) -> None:
        """AsyncEvent 2 (this connection) and 3: the target is about to drop it, and gives the times for coming back."""
        if message.async_event == AsyncEvent.CONNECTION_DROP and message.parameter1 != CID:
            return
        self._time2wait = message.parameter2
        self.work.paused = True
        self.timers["drop"] = now + self.settings.wmi_request_timeout

    def negotiation_requested(self, now: float) -> None:
        """AsyncEvent 4: send a Text Request, perhaps empty; it goes out at once, whatever time the target gives."""
        if not self.policy.ignore_negotiation_request:
            self.work.submit(TextNegotiation((), asked_for=True), now)

    def tasks_terminated(self, lun: bytes) -> None:
        """AsyncEvent 5: the tasks of a LUN are over; say so (4.2.3.4)."""
        self.work.tasks_reset(lun)
        if self.link is not None:
            self.work.acknowledge(self.link, lun)

    # Time.

    def next_deadline(self) -> float | None:
        """When something is due."""
        due = [*self.timers.values()]
        if self.state in (State.LOGGED_IN, State.LOGOUT) or self.work.pending:
            limit = self.work.next_deadline()
            if limit is not None:
                due.append(limit)
        if self.settings.enable_nop_out and self.logged_in:
            due.append(self._last_activity + self.settings.nop_out_interval)
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        """Act on what is due."""
        for name, due in list(self.timers.items()):
            if due <= now and self.timers.pop(name, None) is not None:
                self._due(name, now)
        self.work.handle_timer(now)
        # Compared as next_deadline() gives it: a difference of times may be rounded below the interval.
        if self.settings.enable_nop_out and self.logged_in and now >= self._last_activity + self.settings.nop_out_interval:
            self.touch(now)
            self.work.ping(Ping(), now)
        self.work.pump(now)

    def _due(self, name: str, now: float) -> None:
        if name == "login":
            failure = LoginFailed(43, words(Opcode.LOGIN_REQUEST), "no answer to the login in time")
            self._end_attempt(now, failure)
        elif name == "reconnect":
            self._connect()
        elif name == "logout":
            self._send_logout(now)
        elif name == "drop":
            self.recover(now, "the target announced to drop the connection")
