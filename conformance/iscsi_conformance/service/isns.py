"""An iSNS server in memory, and the service's links to it, on the loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.client import SERVER
from iscsi_protocol.isns.codes import NodeType
from iscsi_protocol.isns.description import Description, NodeSpec, PortalSpec
from iscsi_protocol.isns.registrar import Report
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.policy import IsnsPolicy
from iscsi_target.isns.server import IsnsServer

BEGINNING = 1_800_000_000.0
NOTICE_PORT = 50000
CONFORMING = IsnsPolicy()


class IsnsNetwork:
    """A server that everybody may see everything of. there: whether it takes connections; policy: what it does wrong."""

    def __init__(self, policy: IsnsPolicy = CONFORMING, *, there: bool = True) -> None:
        self.there = there
        self.server = IsnsServer(IsnsConfig(default_domain=True, policy=policy))
        self.server.start(self.now())
        self._pipes: dict[int, _Pipe] = {}

    def mend(self) -> None:
        """Another server is there, which knows nothing yet and does nothing wrong."""
        self.there = True
        self.server = IsnsServer(IsnsConfig(default_domain=True))
        self.server.start(self.now())
        self._pipes.clear()

    @staticmethod
    def now() -> float:
        """Seconds since 1970, as the server counts them."""
        return BEGINNING + asyncio.get_running_loop().time()

    def link(self, server: Endpoint, *, tell: Callable[[Report], None] = lambda _: None) -> IsnsLink:
        """What the service asks the server by."""
        return _MemoryLink(server, self, tell)

    async def register(self, name: str) -> None:
        """A target registers itself, at the portal of the bundled one."""
        portal = PortalSpec(address="127.0.0.1", port=3260, scn=0, esi=0)
        node = NodeSpec(name=name, type=NodeType.TARGET, alias="disk", bitmap=0)
        link = self.link(Endpoint("127.0.0.1", 3205))
        await link.register(Description(eid=name, portals=(portal,), nodes=(node,)))

    def attach(self, link: IsnsLink) -> _Pipe:
        """A connection of a link."""
        number = len(self._pipes) + 1
        pipe = self._pipes[number] = _Pipe(self, link, number)
        self.server.connection_made(number)
        return pipe

    def flush(self) -> None:
        """Take what the server has to say to those that are connected."""
        self.server.take_changes()
        for send in self.server.take_output():
            pipe = self._pipes.get(send.connection or 0)
            if pipe is not None:
                pipe.arrives(send.data)


class _Pipe(asyncio.Transport):
    """One connection, seen from the client."""

    def __init__(self, network: IsnsNetwork, link: IsnsLink, number: int) -> None:
        super().__init__()
        self._network = network
        self._link = link
        self._number = number
        self._open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """To the server."""
        self._network.server.receive(self._number, bytes(data), self._network.now())
        self._network.flush()

    def arrives(self, data: bytes) -> None:
        """From the server."""
        asyncio.get_running_loop().call_soon(self._received, data)

    def _received(self, data: bytes) -> None:
        if self._open:
            self._link.agent.receive(SERVER, data)

    def close(self) -> None:
        """End it."""
        if self._open:
            self._open = False
            self._network.server.connection_lost(self._number)
            asyncio.get_running_loop().call_soon(self._link.lost, SERVER)

    abort = close


class _MemoryLink(IsnsLink):
    """A link without sockets."""

    def __init__(self, server: Endpoint, network: IsnsNetwork, tell: Callable[[Report], None]) -> None:
        super().__init__(server, tell=tell)
        self._network = network

    async def listen(self, host: str, port: int = 0) -> int:
        """See IsnsLink. Nothing is told here."""
        del host
        return port or NOTICE_PORT

    def connect(self) -> None:
        """See IsnsLink."""
        asyncio.get_running_loop().call_soon(self._opened)

    def _opened(self) -> None:
        if self._network.there:
            self.made(SERVER, self._network.attach(self))
        else:
            self.agent.connect_failed()
