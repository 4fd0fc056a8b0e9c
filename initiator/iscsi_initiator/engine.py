"""The initiator without input and output: sessions, their connections, and the verbs that a shell drives them with.

Time is an argument (seconds, any origin), entropy is an injected function. A shell opens the connections that
`connections_wanted` names, hands over what they receive, sends what `data_to_send` gives, and calls `handle_timer` at
`next_deadline`. What happened is taken by `poll_event`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from iscsi_initiator.limits import Resource
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.requests import Event, EventLogged, Request
from iscsi_initiator.session import Session, State
from iscsi_initiator.settings import SessionOptions, Settings, status_of_change
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.upcalls import UpCalls
from iscsi_protocol.chap import Hasher, hashlib_hasher
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import Buffer


@dataclass(frozen=True, slots=True)
class ConnectionWanted:
    """A TCP connection to be opened. connection: its number from now on; source: where it is to begin, None for anywhere."""

    connection: int
    session: int
    endpoint: Endpoint
    source: Endpoint | None = None


class NoSuchSession(LookupError):
    """A session number that was never given, or whose session is forgotten."""


class InitiatorEngine:
    """All sessions of one initiator."""

    def __init__(
        self,
        settings: Settings,
        *,
        random_bytes: Callable[[int], bytes],
        policy: Policy = CONFORMING,
        hasher: Hasher = hashlib_hasher,
    ) -> None:
        self.settings = settings
        self.hasher = hasher
        self.policy = policy
        self.random_bytes = random_bytes
        self.challenges: set[bytes] = set()
        self._sessions: dict[int, Session] = {}
        self._by_connection: dict[int, Session] = {}
        self._unmade: dict[int, Endpoint] = {}
        self._wanted: list[ConnectionWanted] = []
        self._closing: dict[int, list[Buffer]] = {}
        self._events: deque[Event] = deque()
        self.up_calls = UpCalls(self.emit)
        self.in_use = {Resource.IO_REQUEST: 0, Resource.REQUEST_RESOURCE: 0}
        self._declared = settings
        self._last_session = 0
        self._last_connection = 0

    # From above.

    def open_session(self, options: SessionOptions, now: float = 0.0) -> int:
        """Begin a session and give its number. SessionUp or SessionClosed tells how it went.

        now: counts where the service is asked before, or the session cannot be begun.
        """
        self._last_session += 1
        session = Session(self._last_session, options, self)
        self._sessions[session.number] = session
        session.preparation.begin(now)
        return session.number

    def declare(self, settings: Settings) -> StatusCode | None:
        """Other settings, which count for sessions that are opened after `reload`: OPERATION_REQUIRES_REBOOT then."""
        self._declared = settings
        return status_of_change(self.settings, settings)

    def reload(self) -> None:
        """Start anew with the settings that were declared. Sessions that are open go on with theirs."""
        self.settings = self._declared

    def up_call_answered(self, token: int, result: bytes | None, now: float) -> None:
        """The service's answer to UpCallWanted, empty where there is nothing to tell; None refuses. One that comes too late
        changes nothing.
        """
        self.up_calls.answered(token, result, now)

    def close_session(self, session: int, now: float) -> None:
        """Log out. SessionClosed tells when it is done. Raises NoSuchSession."""
        self._session(session).close(now)

    def submit(self, session: int, request: Request, now: float) -> None:
        """Have a request done. RequestDone tells when it is. Raises NoSuchSession."""
        self._session(session).work.submit(request, now)

    def cancel(self, request: Request, now: float) -> None:
        """End a request that was submitted; RequestDone follows, with what came of it. Raises NoSuchSession."""
        self._session(request.session).work.cancel(request, now)

    def parameters(self, session: int) -> OperationalParameters:
        """What was agreed on in a session; defaults while it has no connection. Raises NoSuchSession."""
        return self._session(session).parameters

    def session(self, number: int) -> Session:
        """A session, to look at. Raises NoSuchSession."""
        return self._session(number)

    @property
    def sessions(self) -> list[int]:
        """The numbers of all sessions that are not forgotten."""
        return list(self._sessions)

    # Connections.

    def connections_wanted(self) -> list[ConnectionWanted]:
        """TCP connections to open; each is named once."""
        wanted, self._wanted = self._wanted, []
        return [item for item in wanted if item.connection in self._by_connection]

    def connection_made(
        self, connection: int, now: float, local: Endpoint | None = None, remote: Endpoint | None = None
    ) -> None:
        """A wanted connection is up. One that is not wanted any more is to be closed: see `wants_close`."""
        session = self._by_connection.get(connection)
        if session is None:
            self._closing.setdefault(connection, [])
        else:
            session.connection_made(now)

    def connection_lost(self, connection: int, reason: TransportEvent, now: float) -> None:
        """A connection did not come up (REFUSED, TIMED_OUT, UNREACHABLE), or ended and not by us (FIN, RST, TIMED_OUT)."""
        self._closing.pop(connection, None)
        self._unmade.pop(connection, None)
        session = self._by_connection.pop(connection, None)
        if session is not None:
            session.connection_lost(reason, now)

    def bind_failed(self, connection: int, error: int, now: float) -> None:
        """The local end of a wanted connection could not be set up; error: the system's errno."""
        session = self._by_connection.get(connection)
        if session is not None:
            session.bind_failed(connection, error, now)

    def send_failed(self, connection: int, error: int, now: float) -> None:
        """What was to be sent on a connection could not be; error: the system's errno. `connection_lost` tells the end."""
        session = self._by_connection.get(connection)
        if session is not None:
            session.send_failed(error, now)

    def receive(self, connection: int, data: Buffer, now: float) -> None:
        """Bytes of a connection; any number of PDUs and pieces of them. The buffer may be used again afterwards."""
        session = self._by_connection.get(connection)
        if session is not None:
            session.receive(data, now)

    def data_to_send(self, connection: int) -> list[Buffer]:
        """What is to be sent on a connection now, for one sendmsg(). Payload is the requester's own buffer."""
        if connection in self._closing:
            buffers, self._closing[connection] = self._closing[connection], []
            return buffers
        session = self._by_connection.get(connection)
        return session.link.take() if session is not None and session.link is not None else []

    def wants_close(self, connection: int) -> str | None:
        """How to close a connection once data_to_send() was sent: "fin", said once. None for others."""
        if connection not in self._closing:
            return None
        del self._closing[connection]
        return "fin"

    def is_closing(self, connection: int) -> bool:
        """Whether `wants_close` will say how to close a connection."""
        return connection in self._closing

    def dirty_connections(self) -> list[int]:
        """Connections that have something to send, or are to be closed."""
        links = [session.link for session in self._sessions.values() if session.link is not None]
        return [*self._closing, *(link.number for link in links if link.outbox)]

    # Time and events.

    def next_deadline(self) -> float | None:
        """When handle_timer() is to be called; None for never."""
        due = [limit for s in self._sessions.values() if (limit := s.next_deadline()) is not None]
        answer_due = self.up_calls.next_deadline()
        if answer_due is not None:
            due.append(answer_due)
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        """Do what is due by now."""
        self.up_calls.handle_timer(now)
        for session in list(self._sessions.values()):
            deadline = session.next_deadline()
            if deadline is not None and deadline <= now:
                session.handle_timer(now)

    def poll_event(self) -> Event | None:
        """The next event, in the order in which they happened; None when there is none."""
        return self._events.popleft() if self._events else None

    # For sessions.

    @property
    def sessions_open(self) -> int:
        """How many sessions are not over."""
        return sum(session.state is not State.OVER for session in self._sessions.values())

    @property
    def put_off(self) -> int:
        """How many requests wait to be sent."""
        return sum(len(session.work.pending) for session in self._sessions.values())

    def want(self, session: Session, endpoint: Endpoint, now: float) -> int | None:
        """Have a connection opened, within IPsec where the session asks for that; its number, None above the limit."""
        if len(self._by_connection) >= self.settings.limits.connections:
            return None
        self._last_connection += 1
        number = self._last_connection
        self._by_connection[number] = session
        self._unmade[number] = endpoint
        if session.options.ipsec:
            session.preparation.protect(number, endpoint, now)
        else:
            self.connect(number)
        return number

    def connect(self, connection: int) -> None:
        """Nothing stands in the way of a connection."""
        session = self._by_connection.get(connection)
        endpoint = self._unmade.pop(connection, None)
        if session is not None and endpoint is not None:
            self._wanted.append(ConnectionWanted(connection, session.number, endpoint, session.options.source))

    def take(self, resource: Resource) -> bool:
        """Take one of what is limited for all sessions together, until `give` gives it back. False where none is left."""
        if self.in_use[resource] >= getattr(self.settings.limits, resource.field):
            return False
        self.in_use[resource] += 1
        return True

    def give(self, resource: Resource) -> None:
        """See `take`."""
        self.in_use[resource] -= 1

    def close_connection(self, connection: int) -> None:
        """A session is done with a connection. What it had to send is not sent any more."""
        self._unmade.pop(connection, None)
        if self._by_connection.pop(connection, None) is not None:
            self._closing[connection] = []

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self._events.append(event)

    def log(self, session: int, event: int, extra: bytes, now: float, text: str) -> None:
        """Queue a driver event, unless the policy has it otherwise."""
        policy = self.policy
        if event in policy.never_logs:
            return
        logged = EventLogged(session, event, b"" if event in policy.logs_without_dump else extra, now, text)
        self._events.append(logged)
        if event in policy.logs_twice:
            self._events.append(logged)

    def _session(self, number: int) -> Session:
        try:
            return self._sessions[number]
        except KeyError:
            raise NoSuchSession(f"there is no session {number}") from None
