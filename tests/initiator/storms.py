"""Random work of the client against the bundled target, in memory, while connections are cut and PDUs are lost or damaged.

What is written is held against a model: a block has what was written last with an answer, or what was under way since.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace

import msgspec

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.oracle import disagreement
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.client import Client, ClientError
from iscsi_initiator.requests import Event
from iscsi_initiator.settings import NO_DIGEST, REQUIRE_DIGEST, SessionOptions, Settings
from iscsi_protocol.fault import Drop, Fault, Flip, Part, When
from iscsi_protocol.identity import Isid
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

BLOCK = 512
REGION = 64
"""Blocks that one worker has for itself."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """One storm. cuts: how many times a connection is cut; faults: what befalls PDUs, counted for each connection."""

    level: int = 2
    connections: int = 1
    workers: int = 4
    rounds: int = 12
    cuts: int = 0
    faults: tuple[Fault, ...] = ()
    digests: bool = True
    most: int = 32
    spoilt_again: int = 2
    settings: Settings = field(default_factory=Settings)
    time2wait: int = 2
    seed: int = 0


def spoilt(
    opcode: int, nth: int, *what, direction=Direction.TO_INITIATOR, times: int = 1, cid: int | None = None
) -> Fault:
    """A fault of a PDU in full feature phase."""
    return Fault(when=When(direction=direction, opcode=opcode, stage=3, nth=nth, times=times, cid=cid), what=what)


DROP = (Drop(),)
DAMAGE = (Flip(Part.DATA_DIGEST, 1, 4),)
HEADER = (Flip(Part.HEADER_DIGEST, 1, 4),)


class Clearing(MemoryConnector):
    """Connections are spoilt up to so many of them; those that come later are sound."""

    def __init__(self, portal: MemoryPortal, spoilt_ones: int) -> None:
        super().__init__(portal)
        self._spoilt_ones = spoilt_ones

    async def connect(self, endpoint, receiver, source=None):
        if len(self.links) == self._spoilt_ones:
            self.portal.driver._faults = ()
        return await super().connect(endpoint, receiver, source)


class Storm:
    """One run. trouble: what was not as it has to be."""

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.dice = random.Random(weather.seed)
        self.book = RuleBook(events=True)
        self.events: list[Event] = []
        self.trouble: list[str] = []
        self.failed = 0
        self.done = 0

    def run(self) -> Storm:
        """Let it pass; in virtual time."""
        run_virtual(self._run())
        return self

    @property
    def logged(self) -> list[int]:
        """The ids of the driver's events."""
        return [event.id for event in self.client.events]

    @property
    def findings(self) -> list[str]:
        """What the initiator did against the standard."""
        return [f"{each.clause} {each.message}" for each in self.book.findings if each.role == "initiator"]

    async def _run(self) -> None:
        weather = self.weather
        config = bundled_config()
        keys = {
            **config.keys,
            "MaxConnections": "4",
            "ErrorRecoveryLevel": "2",
            "DefaultTime2Wait": str(weather.time2wait),
        }
        config = msgspec.structs.replace(config, keys=keys)
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals, faults=weather.faults)
        connector = Clearing(portal, weather.connections + weather.spoilt_again)
        digest = REQUIRE_DIGEST if weather.digests else NO_DIGEST
        options = SessionOptions(
            portal=portal.endpoints[0],
            target_name=PLAIN,
            isid=bytes(Isid.from_random(0x1AC5, 7)),
            header_digest=digest,
            data_digest=digest,
            connections=weather.connections,
        )
        self.client = await Client.connect(
            options.portal,
            options=options,
            settings=replace(weather.settings, error_recovery_level=weather.level, default_time2wait=weather.time2wait),
            connector=connector,
            tap=self.book.record,
            on_event=self.events.append,
        )
        try:
            await self.client.capacity()
            workers = [asyncio.create_task(self._work(number)) for number in range(weather.workers)]
            cutter = asyncio.create_task(self._cut(connector))
            async with asyncio.timeout(5000):
                await asyncio.gather(*workers)
            cutter.cancel()
            await self._settle()
            await self.client.logout()
            self.book.finish(asyncio.get_running_loop().time())
            difference = disagreement(self.book.events, self.client.events)
            if difference:
                self.trouble.append(difference)
        finally:
            self.client.abort()
            portal.close()
            close_devices(devices)

    async def _settle(self) -> None:
        session = self.client.engine.session(1)
        for _ in range(400):
            if len(self.client.connections) == len(session.connections) and not session.work.tasks:
                break
            await passed(0.5)
        else:
            self.trouble.append(f"not settled: {self.client.connections}, {len(session.work.tasks)} tasks")
        if session.work.pending:
            self.trouble.append("requests are pending")
        if any(connection.link.queued for connection in session.connections.values() if connection.link):
            self.trouble.append("a queue is not empty")

    async def _cut(self, connector: MemoryConnector) -> None:
        for _ in range(self.weather.cuts):
            await passed(self.dice.random() * 2)
            living = [link for link in connector.links if link._open]
            if living:
                self.dice.choice(living).cut()

    async def _work(self, number: int) -> None:
        dice, first = random.Random(self.weather.seed * 100 + number), number * REGION
        model: list[set[bytes]] = [{bytes(BLOCK)} for _ in range(REGION)]
        for turn in range(self.weather.rounds):
            start = dice.randrange(REGION)
            count = min(1 + dice.randrange(self.weather.most), REGION - start)
            if dice.random() < 0.5:
                stamp = bytes([number + 1, turn + 1])
                blocks = [(stamp + bytes([place, dice.randrange(256)])) * (BLOCK // 4) for place in range(count)]
                await self._write(first, start, blocks, model)
            else:
                await self._read(first, start, count, model)
            if dice.random() < 0.2:
                await passed(dice.random())
        for start in range(0, REGION, 16):
            await self._read(first, start, 16, model)

    async def _write(self, first: int, start: int, blocks: list[bytes], model: list[set[bytes]]) -> None:
        try:
            await self.client.write(first + start, b"".join(blocks))
        except ClientError:
            self.failed += 1
            for place, block in enumerate(blocks):
                model[start + place].add(block)
            return
        self.done += 1
        for place, block in enumerate(blocks):
            model[start + place] = {block}

    async def _read(self, first: int, start: int, count: int, model: list[set[bytes]]) -> None:
        try:
            data = await self.client.read(first + start, count)
        except ClientError:
            self.failed += 1
            return
        self.done += 1
        for place in range(count):
            block = bytes(data[place * BLOCK : (place + 1) * BLOCK])
            if block not in model[start + place]:
                self.trouble.append(f"block {first + start + place} has {block[:8].hex()}")
            model[start + place] = {block}


def faults_of(dice: random.Random, count: int, *, digests: bool = True) -> tuple[Fault, ...]:
    """Losses and damage at random places."""
    kinds = [
        (Opcode.SCSI_DATA_IN, DAMAGE, Direction.TO_INITIATOR),
        (Opcode.SCSI_DATA_IN, DROP, Direction.TO_INITIATOR),
        (Opcode.SCSI_DATA_IN, HEADER, Direction.TO_INITIATOR),
        (Opcode.SCSI_RESPONSE, DROP, Direction.TO_INITIATOR),
        (Opcode.SCSI_RESPONSE, HEADER, Direction.TO_INITIATOR),
        (Opcode.R2T, DROP, Direction.TO_INITIATOR),
        (Opcode.SCSI_DATA_OUT, DAMAGE, Direction.TO_TARGET),
        (Opcode.SCSI_COMMAND, DAMAGE, Direction.TO_TARGET),
        (Opcode.SCSI_COMMAND, HEADER, Direction.TO_TARGET),
    ]
    found = []
    for _ in range(count):
        opcode, what, direction = dice.choice(kinds)
        found.append(spoilt(opcode, dice.randrange(6, 60), *what, direction=direction))
    return tuple(found)
