"""The initiator without input and output: sessions, their connections, and the verbs that a shell drives them with.

Time is an argument (seconds, any origin), entropy is an injected function. A shell opens the connections that
`connections_wanted` names, hands over what they receive, sends what `data_to_send` gives, and calls `handle_timer` at
`next_deadline`. What happened is taken by `poll_event`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from iscsi_initiator.connection import Connection
from iscsi_initiator.counters import NodeCounters
from iscsi_initiator.limits import Usage
from iscsi_initiator.multipath import LoadBalance, Path
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.requests import Event, EventLogged, Request
from iscsi_initiator.session import Session
from iscsi_initiator.settings import SessionOptions, Settings, status_of_change
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.upcalls import UpCalls
from iscsi_initiator.watch import PduWatch
from iscsi_protocol.chap import Hasher, hashlib_hasher
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.status_codes import StatusCode


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
    """All sessions of one initiator. counters: what is counted over them; several engines may share one;
    watch: is shown the PDUs of all of them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        random_bytes: Callable[[int], bytes],
        policy: Policy = CONFORMING,
        hasher: Hasher = hashlib_hasher,
        counters: NodeCounters | None = None,
        watch: PduWatch | None = None,
    ) -> None:
        if policy.takes_limits_as_reached:
            settings = replace(settings, limits=settings.limits.lowered(policy.takes_limits_as_reached))
        self.settings = settings
        self.counters = NodeCounters() if counters is None else counters
        self.hasher = hasher
        self.watch = watch
        self.policy = policy
        self.random_bytes = random_bytes
        self.challenges: set[bytes] = set()
        self._sessions: dict[int, Session] = {}
        self._by_connection: dict[int, Connection] = {}
        self._wanted: list[ConnectionWanted] = []
        self._closing: dict[int, list[Buffer]] = {}
        self._events: deque[Event] = deque()
        self.up_calls = UpCalls(self.emit)
        self.usage = Usage(settings.limits)
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
        self.usage.limits = self.settings.limits

    def up_call_answered(self, token: int, result: bytes | None, now: float) -> None:
        """The service's answer to UpCallWanted, empty where there is nothing to tell; None refuses. One that comes too late
        changes nothing.
        """
        self.up_calls.answered(token, result, now)

    def close_session(self, session: int, now: float) -> None:
        """Log out. SessionClosed tells when it is done. Raises NoSuchSession."""
        self._session(session).close(now)

    def add_connection(self, session: int, portal: Endpoint | None, now: float) -> int:
        """Add a connection to a session that is up, to this portal or the next of its own; its CID. ConnectionUp or
        ConnectionRemoved tells how it went. Raises Refused: INVALID_SESSION_ID, PORTAL_NOT_FOUND, CONNECTION_FAILED (the
        session is down), TOO_MANY_CONNECTIONS.
        """
        return self._known(session).add_connection(portal, now)

    def remove_connection(self, session: int, cid: int, now: float) -> None:
        """Log a connection out, which is then gone. Raises Refused: INVALID_SESSION_ID, INVALID_CONNECTION_ID,
        REMOVE_CONNECTION_IN_PROGRESS, CANT_REMOVE_LAST_CONNECTION, CANNOT_REMOVE_LEADING_CONNECTION,
        CANNOT_REMOVE_ACTIVE_CONNECTION (under Fail Over Only), CONNECTION_FAILED (it is being recovered).
        """
        self._known(session).remove_connection(cid, now)

    def set_load_balance(self, session: int, policy: LoadBalance, paths: Sequence[Path], now: float) -> None:
        """Spread the requests of a session by another policy from now on; a path's id is the CID of its connection. Raises
        Refused.
        """
        self._known(session).balance.set(policy, paths)

    def set_multipath(self, session: int) -> None:
        """Another session reaches the same target: from now on LinkDownTime holds requests. Raises Refused."""
        found = self._known(session)
        found.options = replace(found.options, multipath=True)

    def _known(self, session: int) -> Session:
        found = self._sessions.get(session)
        if found is None or found.over:
            raise Refused(StatusCode.INVALID_SESSION_ID, f"there is no session {session}")
        return found

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
        if not self._wanted:
            return []
        wanted, self._wanted = self._wanted, []
        return [item for item in wanted if item.connection in self._by_connection]

    def connection_made(
        self, connection: int, now: float, local: Endpoint | None = None, remote: Endpoint | None = None
    ) -> None:
        """A wanted connection is up. One that is not wanted any more is to be closed: see `wants_close`."""
        made = self._by_connection.get(connection)
        if made is None:
            self._closing.setdefault(connection, [])
        else:
            made.connection_made(now)

    def connection_lost(self, connection: int, reason: TransportEvent, now: float) -> None:
        """A connection did not come up (REFUSED, TIMED_OUT, UNREACHABLE), or ended and not by us (FIN, RST, TIMED_OUT)."""
        self._closing.pop(connection, None)
        lost = self._by_connection.pop(connection, None)
        if lost is not None:
            lost.connection_lost(reason, now)

    def bind_failed(self, connection: int, error: int, now: float) -> None:
        """The local end of a wanted connection could not be set up; error: the system's errno."""
        wanted = self._by_connection.get(connection)
        if wanted is not None:
            wanted.bind_failed(error, now)

    def send_failed(self, connection: int, error: int, now: float) -> None:
        """What was to be sent on a connection could not be; error: the system's errno. `connection_lost` tells the end."""
        sender = self._by_connection.get(connection)
        if sender is not None:
            sender.send_failed(error, now)

    def room(self, connection: int) -> memoryview | None:
        """Where the next bytes of a connection belong, as far as that is known: payload goes into its requester's buffer, and
        is not copied. None has them handed over. To be asked for anew before every use.
        """
        receiver = self._by_connection.get(connection)
        return None if receiver is None or receiver.link is None else receiver.link.framer.room()

    def receive(self, connection: int, data: Buffer, now: float, placed: int = 0) -> bool:
        """Bytes of a connection; any number of PDUs and pieces of them. The buffer may be used again afterwards. placed: how
        many bytes came before them and were put into `room`. Whether anything came of it: after a piece of a PDU the shell
        has nothing to do.
        """
        receiver = self._by_connection.get(connection)
        return receiver is not None and receiver.receive(data, now, placed)

    def data_to_send(self, connection: int) -> list[Buffer]:
        """What is to be sent on a connection now, for one sendmsg(). Payload is the requester's own buffer."""
        if connection in self._closing:
            buffers, self._closing[connection] = self._closing[connection], []
            return buffers
        sender = self._by_connection.get(connection)
        if sender is None or sender.link is None:
            return []
        link, watch = sender.link, self.watch
        taken = link.take()
        if watch is not None and watch.wants_pdus:
            watch.sending(connection, taken, header_digest=link.header_digest, data_digest=link.data_digest)
        return taken

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
        dirty = list(self._closing)
        for number, connection in self._by_connection.items():
            if connection.link is not None and connection.link.outbox:
                dirty.append(number)
        return dirty

    # Time and events.

    def next_deadline(self) -> float | None:
        """When handle_timer() is to be called; None for never."""
        earliest = self.up_calls.next_deadline()
        for session in self._sessions.values():
            due = session.next_deadline()
            if due is not None and (earliest is None or due < earliest):
                earliest = due
        return earliest

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
        return sum(not session.over for session in self._sessions.values())

    @property
    def has_connection(self) -> bool:
        """Whether there may be one TCP connection more."""
        return len(self._by_connection) < self.settings.limits.connections

    @property
    def put_off(self) -> int:
        """How many requests wait to be sent."""
        return sum(len(session.work.pending) for session in self._sessions.values())

    def want(self, connection: Connection, endpoint: Endpoint, now: float) -> int:
        """Have a TCP connection opened, within IPsec where the session asks for that; its number."""
        self._last_connection += 1
        number = self._last_connection
        self._by_connection[number] = connection
        session = connection.session
        if session.options.ipsec:
            session.preparation.protect(number, endpoint, now)
        else:
            self.connect(number, endpoint)
        return number

    def connect(self, number: int, endpoint: Endpoint) -> None:
        """Nothing stands in the way of a TCP connection."""
        connection = self._by_connection.get(number)
        if connection is not None:
            session = connection.session
            self._wanted.append(ConnectionWanted(number, session.number, endpoint, session.options.source))

    def not_set_up(self, number: int, now: float, text: str, event: int | None) -> None:
        """A TCP connection cannot be made, for a reason of this host that was logged as this event."""
        connection = self._by_connection.get(number)
        if connection is not None:
            connection.not_set_up(now, text, event)

    def close_connection(self, connection: int) -> None:
        """A session is done with a connection. What it had to send is not sent any more."""
        if self._by_connection.pop(connection, None) is not None:
            self._closing[connection] = []

    def emit(self, event: Event) -> None:
        """Queue an event."""
        self._events.append(event)

    def log(self, session: int, event: int, extra: bytes, now: float, text: str) -> bool:
        """Queue a driver event, unless the policy has it otherwise, and tell whether it is to be acted on."""
        policy = self.policy
        if event not in policy.never_logs:
            if event in policy.logs_wrong_dump:
                extra = bytes(byte ^ 0xFF for byte in extra) or b"\0"
            logged = EventLogged(session, event, extra, now, text)
            self._events += [logged, logged] if event in policy.logs_twice else [logged]
        return event not in policy.goes_on_after

    def _session(self, number: int) -> Session:
        try:
            return self._sessions[number]
        except KeyError:
            raise NoSuchSession(f"there is no session {number}") from None
