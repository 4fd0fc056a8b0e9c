"""The in-memory way to the bundled target: a `Connector` of the initiator onto a `MemoryPortal` of the target.

It can also refuse, swallow and cut connections, fail what is sent, and stop taking it, so that tests with virtual time have
every kind of broken network.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from enum import Enum

from iscsi_conformance.clock import passed
from iscsi_initiator.transport import TCP_CONNECT_TIME, BindFailed, ConnectFailed, Receiver
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import Buffer
from iscsi_target.loopback import MemoryLink, MemoryPortal

FIRST_LOCAL_PORT = 40000


class Road(Enum):
    """What becomes of a connect attempt."""

    OPEN = "open"
    REFUSED = "refused"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"


class MemoryConnector:
    """Opens connections to a portal in memory. `road` may be changed at any time, for the next attempt.

    connect_time: seconds behind which a swallowed attempt ends. addresses: local addresses that this host has besides those
    of the portal, for connections that say where they begin. on_connected: told of each connection that came up, before
    anything crosses it. links: all connections so far.
    """

    def __init__(self, portal: MemoryPortal, *, connect_time: float = TCP_CONNECT_TIME) -> None:
        self.portal = portal
        self.connect_time = connect_time
        self.road = Road.OPEN
        self.addresses: set[str] = set()
        self.on_connected: Callable[[MemoryTransport], None] | None = None
        self.links: list[MemoryTransport] = []

    async def connect(self, endpoint: Endpoint, receiver: Receiver, source: Endpoint | None = None) -> MemoryTransport:
        """See `Connector`. Raises ConnectFailed for a portal that is not there, and as `road` says; BindFailed for a source
        address that is not there, and a port that another connection has.
        """
        local = self._bind(endpoint, source)
        if self.road is Road.BLACKHOLE:
            await passed(self.connect_time)
            raise ConnectFailed(TransportEvent.TIMED_OUT, endpoint)
        if self.road is Road.UNREACHABLE:
            raise ConnectFailed(TransportEvent.UNREACHABLE, endpoint)
        if self.road is Road.REFUSED or endpoint not in self.portal.endpoints:
            raise ConnectFailed(TransportEvent.REFUSED, endpoint)
        transport = MemoryTransport(receiver, local, endpoint)
        transport.begin(self.portal, self.portal.endpoints.index(endpoint))
        self.links.append(transport)
        if self.on_connected is not None:
            self.on_connected(transport)
        return transport

    def _bind(self, endpoint: Endpoint, source: Endpoint | None) -> Endpoint:
        """The local end of a new connection."""
        own = Endpoint(endpoint.host, FIRST_LOCAL_PORT + len(self.links) % 20000)
        if source is None:
            return own
        if source.host not in {*self.addresses, *(there.host for there in self.portal.endpoints)}:
            raise BindFailed(errno.EADDRNOTAVAIL, endpoint, source)
        local = Endpoint(source.host, source.port or own.port)
        if any(link.is_open and link.local == local for link in self.links):
            raise BindFailed(errno.EADDRINUSE, endpoint, source)
        return local


class MemoryTransport:
    """One connection in memory, seen from the initiator."""

    def __init__(self, receiver: Receiver, local: Endpoint, remote: Endpoint) -> None:
        self._receiver = receiver
        self._local = local
        self._remote = remote
        self._link: MemoryLink | None = None
        self._open = True
        self._silent = False
        self._window_closed = False
        self._waiting: list[bytes] = []
        self._fails_behind: int | None = None
        self._error = errno.ECONNRESET
        self._failed = False

    def begin(self, portal: MemoryPortal, index: int) -> None:
        """Attach to the portal."""
        self._link = portal.attach(self._received, self._closed, portal=index, remote=self._local)

    @property
    def local(self) -> Endpoint:
        """This end."""
        return self._local

    @property
    def remote(self) -> Endpoint:
        """The portal's end."""
        return self._remote

    @property
    def is_open(self) -> bool:
        """Whether neither end has ended it."""
        return self._open

    @property
    def blocked(self) -> bool:
        """See `Transport`."""
        return bool(self._waiting)

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Transport`."""
        if not self._open or self._link is None or self._failed:
            return
        data = b"".join(buffers)
        if self._window_closed:
            self._waiting.append(data)
            return
        self._send(data)

    def close(self) -> None:
        """See `Transport`."""
        if self._open and self._link is not None:
            self._open = False
            if not self._silent:
                for data in self._waiting:
                    self._link.send(data)
                self._link.close()

    def abort(self) -> None:
        """See `Transport`."""
        if self._open and self._link is not None:
            self._open = False
            if not self._silent:
                self._link.reset()

    # What the network does.

    def cut(self) -> None:
        """The network breaks the connection: both sides see a reset."""
        if self._open and self._link is not None:
            self._open = False
            self._link.reset()
            self._receiver.connection_lost(TransportEvent.RST)

    def swallow(self) -> None:
        """From now on nothing crosses, either way, and nobody is told."""
        self._silent = True

    def open_window(self, opened: bool) -> None:
        """Whether the target takes bytes; with a closed window those that are written wait, and more is held back."""
        self._window_closed = not opened
        waiting, self._waiting = (self._waiting, []) if opened else ([], self._waiting)
        for data in waiting:
            self._send(data)
        if waiting:
            asyncio.get_running_loop().call_soon(self._tell_writable)

    def fail_send(self, behind: int = 0, error: int = errno.ECONNRESET) -> None:
        """The write that crosses this number of bytes, counted from now on, fails there with this errno; the connection is
        reset then.
        """
        self._fails_behind = behind
        self._error = error

    def _send(self, data: bytes) -> None:
        if self._link is None or self._silent:
            return
        left = self._fails_behind
        if left is not None:
            self._fails_behind = left - len(data)
            if len(data) > left:
                self._failed = True
                self._link.send(data[:left])
                asyncio.get_running_loop().call_soon(self._fail)
                return
        self._link.send(data)

    def _fail(self) -> None:
        """Behind what was sent before it."""
        if self._open:
            self._receiver.send_failed(self._error)
            self.cut()

    def _tell_writable(self) -> None:
        if self._open and not self._waiting:
            self._receiver.writable()

    def _received(self, data: bytes) -> None:
        if self._open and not self._silent:
            self._receiver.data_received(memoryview(data))

    def _closed(self, reason: TransportEvent) -> None:
        if self._open and not self._silent:
            self._open = False
            self._receiver.connection_lost(reason)
