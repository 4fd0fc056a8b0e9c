"""Where the exerciser meets the bundled target: in memory or over TCP, with a disk that knows every write."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random

from msgspec.structs import replace

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.pipe import MemoryConnector, MemoryTransport
from iscsi_conformance.workload.exerciser import Exerciser
from iscsi_conformance.workload.model import BLOCK, ModelDisk
from iscsi_conformance.workload.plan import Setting, Step
from iscsi_initiator.transport import Connector, Receiver, TcpConnector
from iscsi_protocol.fault import Fault
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_target.completion import Buffer
from iscsi_target.config import Limits, LunConfig, PortalConfig, Size, TargetConfig, TargetNode
from iscsi_target.engine import TargetEngine
from iscsi_target.loopback import MemoryPortal
from iscsi_target.luns.memory import MemoryLun
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

BLOCKS = 96
NAME = "iqn.2026-11.org.iscsi-conformance:workload"
NAMES = [
    ("InitiatorName", "iqn.2026-11.org.iscsi-conformance:exerciser"),
    ("TargetName", NAME),
    ("SessionType", "Normal"),
]
CONFIG = TargetConfig(
    targets=[
        TargetNode(
            name=NAME,
            luns={0: LunConfig(size=Size(BLOCKS * BLOCK))},
            keys={"MaxRecvDataSegmentLength": "1024", "DefaultTime2Wait": "0"},
        )
    ],
    portals=[PortalConfig(address="127.0.0.1:0"), PortalConfig(address="127.0.0.1:0")],
)


class CountingLun(MemoryLun):
    """Memory that knows every write: generations differ, so that one block gets the same content never twice."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.seen: set[tuple[int, bytes]] = set()

    def write(self, offset: int, data: Buffer) -> None:
        """See `Backend`."""
        for place in range(0, len(data), BLOCK):
            once = (offset + place, bytes(data[place : place + 8]))
            assert once not in self.seen, f"the block at byte {offset + place} was written twice"
            self.seen.add(once)
        super().write(offset, data)


Delay = Callable[[int], tuple[float, float]]
"""Seconds to the target and back for what is sent now, by how many connections were opened before this one."""


class UnevenTransport(MemoryTransport):
    """A connection whose bytes take their time, in their order; a reset overtakes them, and they are lost."""

    def __init__(
        self, receiver: Receiver, local: Endpoint, remote: Endpoint, delay: Callable[[], tuple[float, float]]
    ) -> None:
        super().__init__(receiver, local, remote)
        self._delay = delay
        self._there: deque[bytes] = deque()
        self._back: deque[bytes | TransportEvent] = deque()

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Transport`."""
        self._there.append(b"".join(buffers))
        asyncio.get_running_loop().call_later(self._delay()[0], self._arrive)

    def _arrive(self) -> None:
        super().write([self._there.popleft()])

    def _received(self, data: bytes) -> None:
        self._send_back(data)

    def _closed(self, reason: TransportEvent) -> None:
        if reason is TransportEvent.FIN:
            self._send_back(reason)
        else:
            super()._closed(reason)

    def _send_back(self, what: bytes | TransportEvent) -> None:
        self._back.append(what)
        asyncio.get_running_loop().call_later(self._delay()[1], self._come)

    def _come(self) -> None:
        what = self._back.popleft()
        if isinstance(what, TransportEvent):
            super()._closed(what)
        else:
            super()._received(what)


class UnevenConnector(MemoryConnector):
    """Connections of which each has a pace of its own, so that what is sent on one overtakes what was sent on another."""

    def __init__(self, portal: MemoryPortal, delay: Delay) -> None:
        super().__init__(portal)
        self._delay_of = delay

    async def connect(self, endpoint: Endpoint, receiver: Receiver, source: Endpoint | None = None) -> MemoryTransport:
        place = len(self.links)
        local = Endpoint(endpoint.host, 40000 + place)
        transport = UnevenTransport(receiver, local, endpoint, lambda: self._delay_of(place))
        transport.begin(self.portal, self.portal.endpoints.index(endpoint))
        self.links.append(transport)
        return transport


@asynccontextmanager
async def engine(limits: Limits = CONFIG.limits) -> AsyncIterator[TargetEngine]:
    made, [device] = make_engine(replace(CONFIG, limits=limits), random_bytes=Random(7).randbytes)
    device.unit(0).backend = CountingLun(BLOCKS * BLOCK)
    try:
        yield made
    finally:
        close_devices([device])


async def exercise(
    connector: Connector, endpoints: Sequence[Endpoint], setting: Setting, plan: Sequence[Step]
) -> Exerciser:
    exerciser = Exerciser(connector, endpoints, NAMES, setting, ModelDisk(BLOCKS))
    await exerciser.run(plan)
    return exerciser


async def in_memory(
    setting: Setting,
    plan: Sequence[Step],
    book: RuleBook,
    faults: Sequence[Fault] = (),
    limits: Limits = CONFIG.limits,
) -> Exerciser:
    async with engine(limits) as made:
        portal = MemoryPortal(made, CONFIG.portals, tap=book.record, faults=faults)
        try:
            return await exercise(MemoryConnector(portal), portal.endpoints, setting, plan)
        finally:
            portal.close()


async def over_uneven_connections(setting: Setting, plan: Sequence[Step], delay: Delay) -> Exerciser:
    """Without a rule book: it reads one order of everything, and here neither side sees that of the other."""
    async with engine() as made:
        portal = MemoryPortal(made, CONFIG.portals)
        try:
            return await exercise(UnevenConnector(portal, delay), portal.endpoints, setting, plan)
        finally:
            portal.close()


async def over_tcp(setting: Setting, plan: Sequence[Step], book: RuleBook) -> None:
    async with engine() as made:
        server = TargetServer(made, tap=book.record)
        endpoints = await server.start(CONFIG.portals)
        connector = TcpConnector()
        try:
            await exercise(connector, endpoints, setting, plan)
        finally:
            await connector.finish()
            await server.stop()


def findings(book: RuleBook) -> list[str]:
    """What the rule book found, without the digests that are wrong on purpose."""
    return [
        f"{each.rule} ({each.clause}, {each.role}): {each.message}"
        for each in book.findings
        if each.level != "ADVICE" and not (each.role == "initiator" and each.rule.startswith("digest."))
    ]
