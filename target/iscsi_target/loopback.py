"""A portal in memory: the same engine and driver, with no sockets. Runs on whatever event loop is current."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iscsi_protocol.fault import Fault
from iscsi_protocol.history import Endpoint, Tap, TransportEvent
from iscsi_protocol.pdu import Buffer
from iscsi_target.completion import FileSlice, Piece
from iscsi_target.config import PortalConfig, host_and_port
from iscsi_target.engine import TargetEngine
from iscsi_target.events import Event
from iscsi_target.shell.driver import Driver, read

ReceiveCallback = Callable[[bytes], None]
ClosedCallback = Callable[[TransportEvent], None]

_FIRST_REMOTE_PORT = 49152


class MemoryPortal:
    """An engine that initiators in the same process attach to.

    portals: what SendTargets tells and attach counts; a port 0 becomes 3260, 3261, ... tap, faults, on_event: as for
    `TargetServer`.
    """

    def __init__(
        self,
        engine: TargetEngine,
        portals: Sequence[PortalConfig],
        *,
        tap: Tap | None = None,
        faults: Sequence[Fault] = (),
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.engine = engine
        self.driver = Driver(engine, tap=tap, faults=faults, on_event=on_event)
        self.endpoints: list[Endpoint] = []
        for place, portal in enumerate(portals):
            host, port = host_and_port(portal.address)
            self.endpoints.append(Endpoint(host, port or 3260 + place))
        self._tags = [portal.group_tag for portal in portals]
        self._attached = 0
        engine.set_portals(
            (portal.group_tag, portal.advertised or str(endpoint))
            for portal, endpoint in zip(portals, self.endpoints, strict=True)
        )

    def attach(
        self, receive: ReceiveCallback, closed: ClosedCallback, *, portal: int = 0, remote: Endpoint | None = None
    ) -> MemoryLink:
        """Connect to a portal. `receive` takes bytes, `closed` a FIN or RST of the target; both are called from the event
        loop, never from within `send`.
        """
        self._attached += 1
        far = remote or Endpoint("127.0.0.1", _FIRST_REMOTE_PORT + self._attached % 16384)
        link = MemoryLink(self.driver, receive, closed)
        link.begin(self.endpoints[portal], far, self._tags[portal])
        return link

    def close(self) -> None:
        """Reset every connection."""
        self.driver.close()


class MemoryLink:
    """The initiator's handle on a connection, and the driver's `Lower` of it."""

    def __init__(self, driver: Driver, receive: ReceiveCallback, closed: ClosedCallback) -> None:
        self.blocked = False
        self._driver = driver
        self._loop = driver.loop
        self._receive: ReceiveCallback | None = receive
        self._closed: ClosedCallback | None = closed
        self._number = 0
        self._unsent: list[bytes] = []
        self._waiting: list[bytes] = []
        self._held = False
        self._window_open = True
        self._open = True
        self._fin_wanted = False

    def begin(self, local: Endpoint, remote: Endpoint, tag: int) -> None:
        """Make the connection known to the engine."""
        self._number = self._driver.connected(self, local, remote, tag)

    # The initiator's side

    def send(self, data: Buffer) -> None:
        """Bytes to the target."""
        if self._open:
            self._loop.call_soon(self._arrive, bytes(data))

    def close(self) -> None:
        """FIN: behind everything that was sent."""
        self._receive = self._closed = None
        self._loop.call_soon(self._end, TransportEvent.FIN)

    def reset(self) -> None:
        """RST, at once."""
        self._receive = self._closed = None
        self._end(TransportEvent.RST)

    def open_window(self, opened: bool) -> None:
        """Whether the initiator takes bytes; with a closed window the target's wait."""
        self._window_open = opened
        if opened and self._unsent:
            unsent, self._unsent = self._unsent, []
            for data in unsent:
                self._loop.call_soon(self._deliver, data)
            self.blocked = False
            if self._fin_wanted:
                self._loop.call_soon(self._tell_closed, TransportEvent.FIN)
            else:
                self._driver.writable(self._number)

    def _arrive(self, data: bytes) -> None:
        if not self._open:
            return
        if self._held:
            self._waiting.append(data)
        else:
            self._driver.received(self._number, data)

    def _end(self, event: TransportEvent) -> None:
        if self._open:
            self._open = False
            self._driver.lost(self._number, event)

    def _deliver(self, data: bytes) -> None:
        if self._receive is not None:
            self._receive(data)

    def _tell_closed(self, event: TransportEvent) -> None:
        closed, self._closed = self._closed, None
        self._receive = None
        if closed is not None:
            closed(event)

    # The driver's side

    def write(self, pieces: list[Piece]) -> None:
        """See `Lower`."""
        if not self._open:
            return
        try:
            data = b"".join(read(piece) if isinstance(piece, FileSlice) else piece for piece in pieces)
        except (OSError, EOFError):
            self.abort()
            self._loop.call_soon(self._driver.lost, self._number, TransportEvent.CLOSED_BY_US)
            return
        if self._window_open and not self._unsent:
            self._loop.call_soon(self._deliver, data)
        else:
            self._unsent.append(data)
            self.blocked = True

    def half_close(self) -> None:
        """See `Lower`."""
        self._fin_wanted = True
        if not self.blocked:
            self._loop.call_soon(self._tell_closed, TransportEvent.FIN)

    def abort(self) -> None:
        """See `Lower`."""
        self._open = False
        self._loop.call_soon(self._tell_closed, TransportEvent.RST)

    def hold(self, held: bool) -> None:
        """See `Lower`."""
        self._held = held
        if not held:
            waiting, self._waiting = self._waiting, []
            for data in waiting:
                self._loop.call_soon(self._arrive, data)
