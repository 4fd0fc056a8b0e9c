"""The in-memory way to the bundled target: a `Connector` of the initiator onto a `MemoryPortal` of the target.

It can also refuse, swallow and cut connections, so that tests with virtual time have every kind of broken network.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from iscsi_conformance.clock import passed
from iscsi_initiator.transport import ConnectFailed, Receiver
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import Buffer
from iscsi_target.loopback import MemoryLink, MemoryPortal

CONNECT_TIME = 20.0
FIRST_LOCAL_PORT = 40000


class Road(Enum):
    """What becomes of a connect attempt."""

    OPEN = "open"
    REFUSED = "refused"
    BLACKHOLE = "blackhole"


class MemoryConnector:
    """Opens connections to a portal in memory. `road` may be changed at any time, for the next attempt."""

    def __init__(self, portal: MemoryPortal) -> None:
        self.portal = portal
        self.road = Road.OPEN
        self.links: list[MemoryTransport] = []

    async def connect(self, endpoint: Endpoint, receiver: Receiver) -> MemoryTransport:
        """See `Connector`. Raises ConnectFailed for a portal that is not there, and as `road` says."""
        if self.road is Road.BLACKHOLE:
            await passed(CONNECT_TIME)
            raise ConnectFailed(TransportEvent.TIMED_OUT, endpoint)
        if self.road is Road.REFUSED or endpoint not in self.portal.endpoints:
            raise ConnectFailed(TransportEvent.REFUSED, endpoint)
        local = Endpoint(endpoint.host, FIRST_LOCAL_PORT + len(self.links) % 20000)
        transport = MemoryTransport(receiver, local, endpoint)
        transport.begin(self.portal, self.portal.endpoints.index(endpoint))
        self.links.append(transport)
        return transport


class MemoryTransport:
    """One connection in memory, seen from the initiator."""

    def __init__(self, receiver: Receiver, local: Endpoint, remote: Endpoint) -> None:
        self._receiver = receiver
        self._local = local
        self._remote = remote
        self._link: MemoryLink | None = None
        self._open = True

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

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Transport`."""
        if self._open and self._link is not None:
            self._link.send(b"".join(buffers))

    def close(self) -> None:
        """See `Transport`."""
        if self._open and self._link is not None:
            self._open = False
            self._link.close()

    def abort(self) -> None:
        """See `Transport`."""
        if self._open and self._link is not None:
            self._open = False
            self._link.reset()

    def cut(self) -> None:
        """The network breaks the connection: both sides see a reset."""
        if self._open and self._link is not None:
            self._open = False
            self._link.reset()
            self._receiver.connection_lost(TransportEvent.RST)

    def _received(self, data: bytes) -> None:
        if self._open:
            self._receiver.data_received(memoryview(data))

    def _closed(self, reason: TransportEvent) -> None:
        if self._open:
            self._open = False
            self._receiver.connection_lost(reason)
