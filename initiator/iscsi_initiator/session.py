"""One session (RFC 7143 4.3, 8.3): its connections, what they share, and what is asked of it from above.

A session lives from the first attempt to connect to a regular logout, a refusal, or the end of its attempts to recover. How
it gets over losses stands in `recovery`, what it has to do in `work`, which connection does it in `balance`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from iscsi_initiator.balance import Balance
from iscsi_initiator.connection import Connection, State
from iscsi_initiator.counters import SessionErrors, Traffic
from iscsi_initiator.limits import Resource
from iscsi_initiator.link import Link
from iscsi_initiator.login import LoginExchange
from iscsi_initiator.preparation import Preparation
from iscsi_initiator.recovery import Recovery
from iscsi_initiator.requests import Event, Failure, Ping, SessionClosed, SessionUp, TextNegotiation
from iscsi_initiator.settings import SessionOptions
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.work import Work
from iscsi_protocol.history import Endpoint
from iscsi_protocol.identity import Isid
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import AsyncMessage
from iscsi_protocol.pdu.codes import AsyncEvent, LogoutReason
from iscsi_protocol.status_codes import StatusCode

if TYPE_CHECKING:
    from iscsi_initiator.engine import InitiatorEngine


class Session:
    """One session; the engine's.

    connections: by CID, in the order in which they log in, the leading one first; ready: the links that requests are begun
    on; emit: tells those above what happened; tsih: 0 while the next login makes the session; was_up: it was up once;
    complete: the connections that it was to have were all begun; leaving: it is to be over; logging_out_over: the
    connection whose logout of the whole session is not answered yet; device_gone: it did not come back in time, and
    requests fail at once. errors: what is counted of it; gone: the traffic of connections that left it; node: what is
    counted of the initiator.
    """

    def __init__(self, number: int, options: SessionOptions, engine: InitiatorEngine) -> None:
        self.number = number
        self.options = options
        self.settings = engine.settings
        self.usage = engine.usage
        self.policy = engine.policy
        self.watch = engine.watch
        self.emit: Callable[[Event], None] = engine.emit
        self.connections: dict[int, Connection] = {}
        self.ready: list[Link] = []
        self.tsih = 0
        self.level = 0
        self.was_up = False
        self.complete = False
        self.leaving = False
        self.over = False
        self.device_gone = False
        self.logging_out_over: Connection | None = None
        self.errors = SessionErrors()
        self.gone = Traffic()
        self.node = engine.counters
        self.balance = Balance(self)
        self.preparation = Preparation(self, engine)
        self.work = Work(self)
        self.recovery = Recovery(self)
        self._engine = engine
        self._isid = options.isid
        self._parameters = OperationalParameters()
        self._last_cid = -1

    # What others ask.

    @property
    def leading(self) -> Connection:
        """The connection whose login makes the session."""
        return next(iter(self.connections.values()))

    @property
    def up(self) -> bool:
        """Whether any connection is in full feature phase."""
        return any(connection.up for connection in self.connections.values())

    @property
    def recovering(self) -> bool:
        """Whether it was up and is to be up again."""
        return self.was_up and not self.over and not self.up

    @property
    def target_name_bytes(self) -> bytes:
        """The target's name as events dump it; empty for a discovery session."""
        return (self.options.target_name or "").encode()

    @property
    def parameters(self) -> OperationalParameters:
        """What was agreed on, with the lengths of its first connection; the defaults while there is none."""
        for connection in self.connections.values():
            if connection.link is not None:
                return connection.link.parameters
        return OperationalParameters()

    @property
    def traffic(self) -> Traffic:
        """What is counted of all of its connections together."""
        total = Traffic()
        total.add(self.gone)
        for connection in self.connections.values():
            total.add(connection.traffic)
        return total

    @property
    def isid(self) -> bytes:
        """Its ISID."""
        return self._isid

    def log(self, event: int, extra: bytes, now: float, text: str = "") -> bool:
        """Log a driver event, and tell whether to act on it, which only the policy can deny."""
        self.errors.logged(event, now)
        return self._engine.log(self.number, event, extra, now, text)

    def short_of(self, resource: Resource, now: float) -> bool:
        """None is left of something: log it, and tell whether what needs it is to fail."""
        return self.log(resource.event, b"", now, f"there are as many {resource.field} as this initiator may have")

    @property
    def put_off(self) -> int:
        """How many requests wait to be sent, over all sessions."""
        return self._engine.put_off

    def any_up(self, other_than: Connection | None = None) -> Connection | None:
        """A connection that a request may go out on: in full feature phase, and not being logged out (11.14); one that is not
        paused if there is any.
        """
        able = [each for each in self.connections.values() if each.takes_requests and each is not other_than]
        return next((each for each in able if not each.paused), able[0] if able else None)

    def takes(self, link: Link) -> bool:
        """Whether a request may still go out on a link: not once its logout was asked for (11.14)."""
        connection = self.connections.get(link.cid)
        return connection is not None and connection.link is link and connection.state is State.LOGGED_IN

    def refresh(self) -> None:
        """See anew which connections take requests."""
        self.balance.changed()
        self.ready = (
            []
            if self.leaving or self.logging_out_over is not None
            else [
                each.link
                for each in self.connections.values()
                if each.state is State.LOGGED_IN and each.link is not None and each.link.up and not each.paused
            ]
        )

    # For connections.

    def may_connect(self, now: float) -> bool:
        """Whether this initiator may have one TCP connection more."""
        return self._engine.has_connection or not self.short_of(Resource.CONNECTION, now)

    def want(self, connection: Connection, endpoint: Endpoint, now: float) -> int:
        """Have a TCP connection opened; its number."""
        return self._engine.want(connection, endpoint, now)

    def close_connection(self, number: int) -> None:
        """Have a TCP connection closed."""
        self._engine.close_connection(number)

    def remember_challenge(self, challenge: bytes) -> None:
        """A CHAP challenge went out, and is not to come back."""
        self._engine.challenges.add(challenge)

    def portal_of(self, connection: Connection, attempt: int) -> Endpoint:
        """Where an attempt goes, counted from 0 since the loss: the original portal and each advertised one in turn (guide,
        Portal Hopping). Only a login that makes the session anew may go elsewhere.
        """
        hops = self.was_up and connection.leading and not self.options.portal_named
        others = [each for each in self.options.advertised if each != connection.portal] if hops else []
        return [connection.portal, *others][attempt % (len(others) + 1)]

    def login_of(self, connection: Connection, exp_stat_sn: int) -> LoginExchange:
        """The login of a connection. Raises ChapError for secrets that may not be used."""
        if connection.leading and self.was_up and self.policy.new_isid_on_recovery:
            self._isid = bytes(Isid.draw(self._engine.random_bytes))
        return LoginExchange(
            self.settings,
            self.options,
            self.policy,
            self._engine.random_bytes,
            isid=self._isid,
            tsih=self.tsih,
            cid=connection.cid,
            cmd_sn=self.work.cmd_sn,
            exp_stat_sn=exp_stat_sn,
            itt=self.work.next_itt(),
            issued=self._engine.challenges,
            hasher=self._engine.hasher,
            current=None if connection.leading else self._parameters.of_new_connection(),
        )

    def logged_in(self, connection: Connection, login: LoginExchange, now: float) -> None:
        """The final login response of a connection came."""
        made = connection.leading
        if made:
            self.tsih = login.tsih
            self._parameters = login.parameters
            self.level = login.parameters.error_recovery_level
            self.work.exp_cmd_sn, self.work.max_cmd_sn = login.exp_cmd_sn, login.max_cmd_sn
        else:
            self.work.take_command_numbers(login.exp_cmd_sn, login.max_cmd_sn)
        self.refresh()
        recovered, self.was_up = self.was_up, True
        if made or self.recovery.session_lost:
            self.recovery.session_lost = self.device_gone = False
            if recovered:
                self.work.losses.back(now)
            tag, alias = login.declared("TargetPortalGroupTag"), login.declared("TargetAlias")
            self.emit(SessionUp(self.number, self.tsih, recovered, tag, alias))
            if not recovered:
                self.preparation.seal(now)

    # From above.

    def open(self, now: float) -> None:
        """Begin the first attempt."""
        self.new_connection(self.options.portal).begin(now)

    def new_connection(self, portal: Endpoint) -> Connection:
        """One connection more, with a CID of its own."""
        self._last_cid += 1
        connection = self.connections[self._last_cid] = Connection(self, self._last_cid, portal)
        return connection

    def next_portal(self) -> Endpoint:
        """Where the next added connection goes."""
        portals = self.options.portals or (self.options.portal,)
        return portals[(len(self.connections) - 1) % len(portals)]

    def add_connection(self, portal: Endpoint | None, now: float) -> int:
        """Begin one connection more; its CID. Raises Refused."""
        options = self.options
        known = {options.portal, *options.portals, *options.advertised}
        if portal is not None and len(known) > 1 and portal not in known:
            raise Refused(StatusCode.PORTAL_NOT_FOUND, f"the target has no portal {portal}")
        if not self.up or self.leaving:
            raise Refused(StatusCode.CONNECTION_FAILED, "the session is not logged in")
        if len(self.connections) >= self.most_connections:
            raise Refused(StatusCode.TOO_MANY_CONNECTIONS, f"the session may have {self.most_connections} connections")
        connection = self.new_connection(portal or self.next_portal())
        connection.begin(now)
        return connection.cid

    def remove_connection(self, cid: int, now: float) -> None:
        """Log a connection out once its tasks are over, half of WMIRequestTimeout from now at the latest. Raises Refused."""
        connection = self.connections.get(cid)
        if connection is None:
            raise Refused(StatusCode.INVALID_CONNECTION_ID, f"the session has no connection {cid}")
        if connection.removed:
            raise Refused(StatusCode.REMOVE_CONNECTION_IN_PROGRESS, f"connection {cid} is being removed")
        others = [each for each in self.connections.values() if each is not connection]
        if not any(each.takes_requests and not each.removed for each in others):
            raise Refused(StatusCode.CANT_REMOVE_LAST_CONNECTION, f"connection {cid} is the session's last")
        if connection is self.leading:
            raise Refused(StatusCode.CANNOT_REMOVE_LEADING_CONNECTION, f"connection {cid} made the session")
        if self.balance.serves_alone(cid):
            raise Refused(StatusCode.CANNOT_REMOVE_ACTIVE_CONNECTION, f"connection {cid} has all the requests")
        if connection.up:
            connection.removed = True
            connection.log_out_when_idle(
                LogoutReason.CLOSE_CONNECTION, now + self.settings.wmi_request_timeout / 2, now
            )
        elif self.recovery.settled(connection):
            connection.close()
            self.recovery.remove(connection, SessionClosed(self.number, "removed"))
        else:
            raise Refused(StatusCode.CONNECTION_FAILED, f"connection {cid} is being recovered")

    @property
    def most_connections(self) -> int:
        """The negotiated MaxConnections."""
        return self._parameters.max_connections

    def close(self, now: float) -> None:
        """Log out, and be over."""
        if self.over or self.leaving:
            return
        self.leaving = True
        self.refresh()
        over = self.logging_out_over or self.any_up()
        if over is None:
            # Where the last connection is being logged out, the session ends with that.
            over = self.logging_out_over = next((each for each in self.connections.values() if each.up), None)
        if over is None:
            for connection in self.connections.values():
                connection.close()
            self.end(now, Failure.NOT_CONNECTED, SessionClosed(self.number))
            return
        self.work.fail_all(Failure.NOT_CONNECTED)
        if self.logging_out_over is None:
            for connection in self.connections.values():
                if not connection.up:
                    connection.close()
            over.logout_reason = LogoutReason.CLOSE_SESSION
            over.send_logout(now)

    def end(self, now: float, failure: Failure, how: SessionClosed) -> None:
        """It is over, and every request with it. Those above are told how once the service let go of it."""
        self.over = True
        for connection in self.connections.values():
            connection.close()
            connection.state = State.OVER
        self.recovery.reset()
        # What a lost connection left to be reassigned ends with it.
        self.work.losses.session_gone(now, recover=True)
        self.work.fail_all(failure)
        self.preparation.end(how, now)

    # Asynchronous messages (11.9.1).

    def logout_requested(self, connection: Connection, seconds: int, now: float) -> None:
        """AsyncEvent 1: log out within so many seconds; tasks get half of them to end."""
        if not self.log(32, self.target_name_bytes, now, f"logout within {seconds} s"):
            return
        connection.asked_to_leave = True
        if self.policy.ignore_logout_request or connection.state is State.LOGOUT or "logout" in connection.timers:
            return
        connection.pause_until = now + self.settings.async_logout_pause_timeout
        due = now + seconds / 2 if self.work.carried_by(connection.link) else now
        connection.log_out_when_idle(LogoutReason.CLOSE_CONNECTION, due, now)

    def drop_announced(self, message: AsyncMessage, now: float) -> None:
        """AsyncEvent 2 (one connection) and 3 (all): the target is about to drop it, and gives the times for coming back."""
        for connection in self.connections.values():
            if message.async_event == AsyncEvent.SESSION_DROP or message.parameter1 == connection.cid:
                connection.time2wait, connection.time2retain = message.parameter2, message.parameter3
                if connection.up:
                    connection.paused = True
                    connection.timers["drop"] = now + self.settings.wmi_request_timeout
        self.refresh()

    def negotiation_requested(self, connection: Connection, now: float) -> None:
        """AsyncEvent 4: send a Text Request, perhaps empty; it goes out at once, whatever time the target gives."""
        if not self.policy.ignore_negotiation_request:
            self.work.submit(TextNegotiation((), asked_for=True, cid=connection.cid), now, first=True)

    def tasks_terminated(self, link: Link, lun: bytes) -> None:
        """AsyncEvent 5: the tasks of a LUN are over; say so (4.2.3.4)."""
        self.work.tasks_reset(lun)
        self.work.acknowledge(link, lun)

    # Time.

    def next_deadline(self) -> float | None:
        """When something is due."""
        due = self.work.next_deadline()
        for connection in self.connections.values():
            if connection.timers:
                first = min(connection.timers.values())
                if due is None or first < due:
                    due = first
        retained = self.recovery.next_deadline()
        if retained is not None and (due is None or retained < due):
            due = retained
        if self.settings.enable_nop_out:
            for link in self.ready:
                idle = link.last_activity + self.settings.nop_out_interval
                if due is None or idle < due:
                    due = idle
        return due

    def handle_timer(self, now: float) -> None:
        """Act on what is due."""
        for connection in list(self.connections.values()):
            if connection.timers:
                connection.handle_timer(now)
        self.work.handle_timer(now)
        self.recovery.handle_timer(now)
        if self.settings.enable_nop_out:
            # Compared as next_deadline() gives it: a difference of times may be rounded below the interval.
            for link in list(self.ready):
                if now >= link.last_activity + self.settings.nop_out_interval:
                    self.work.ping(Ping(), link, now)
        self.work.pump(now)
