"""A target of one's own, and one session after another against it."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Any, Self

from iscsi_conformance.clock import passed
from iscsi_conformance.storm.kinds import Kind
from iscsi_conformance.storm.play import BLOCKS, Outcome, Play, Weather
from iscsi_conformance.storm.spoil import Spoiler
from iscsi_conformance.storm.story import Strike
from iscsi_conformance.workload.model import BLOCK, ModelDisk, WrongData
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.settings import NO_DIGEST, REQUIRE_DIGEST, SessionOptions
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.history import Endpoint
from iscsi_protocol.identity import Isid
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode, Timers
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

NAME = "iqn.2026-11.org.iscsi-conformance:storm"
FAIR = 5
"""Every so many-th session is without faults, and has to log nothing."""

TIME2RETAIN = 20
"""Seconds that the target keeps a session without connections, behind Time2Wait."""

_SETTINGS = {
    "max_recv_data_segment_length": (512, 2048, 8192, 65536),
    "max_burst_length": (4096, 16384, 262144),
    "first_burst_length": (512, 4096),
    "max_outstanding_r2t": (1, 4),
    "immediate_data": (True, False),
    "initial_r2t": (True, False),
    "enable_nop_out": (True, False),
    "default_time2wait": (0, 0, 1),
    "max_transfer_length": (8192, 262144),
}

LONGEST_END = max(_SETTINGS["default_time2wait"]) + TIME2RETAIN + 5.0
"""Seconds until no session is left, however it ended: one whose Logout Request was lost lives on for Time2Wait and
Time2Retain."""


@dataclass(slots=True)
class Tally:
    """What was done over many sessions. wrong: what was not as it has to be, each with the weather of its session."""

    sessions: int = 0
    verified: int = 0
    done: Counter[str] = field(default_factory=Counter)
    strikes: Counter[str] = field(default_factory=Counter)
    events: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Lane:
    """A target over TCP on a free port of loopback, with one disk. As a context it listens, and ends. policy: of the
    initiator that is set on it.
    """

    def __init__(self, level: int, connections: int, seed: int, tally: Tally, *, policy: Policy = CONFORMING) -> None:
        self.level = level
        self.connections = connections
        self.tally = tally
        self._policy = policy
        self._dice = Random(f"{seed} {level}")
        self._disk = ModelDisk(BLOCKS)
        self._spoiler = Spoiler(self._struck)
        self._play: Play | None = None
        keys = {
            "DefaultTime2Wait": "0",
            "DefaultTime2Retain": str(TIME2RETAIN),
            "MaxConnections": str(connections),
            "ErrorRecoveryLevel": "2",
        }
        config = TargetConfig(
            targets=[TargetNode(name=NAME, luns={0: LunConfig(size=Size(BLOCKS * BLOCK))}, keys=keys)],
            portals=[PortalConfig(address="127.0.0.1:0")],
            timers=Timers(login=30.0),
        )
        self._portals = config.portals
        self._engine, self._devices = make_engine(config, random_bytes=Random(seed).randbytes)
        self._server = TargetServer(self._engine, make_wire=self._spoiler.make_wire, on_event=lambda _: None)
        self._endpoints: list[Endpoint] = []

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(self._unseen)
        self._endpoints = await self._server.start(self._portals)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop()
        close_devices(self._devices)

    def _unseen(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception that nobody else would see."""
        error = context.get("exception")
        where = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        self.tally.wrong.append(f"{context['message']} {where}")

    async def run_one(self, seconds: float) -> Outcome:
        """One session, with so many seconds of work; what came of it is added to the tally."""
        weather = self._weather(seconds)
        digest = REQUIRE_DIGEST if weather.digests else NO_DIGEST
        options = SessionOptions(
            portal=self._endpoints[0],
            target_name=NAME,
            isid=bytes(Isid.from_random(0x57021, self.tally.sessions % 0xFFFF)),
            header_digest=digest,
            data_digest=digest,
            connections=weather.connections,
        )
        if weather.foul:
            self._spoiler.begin(
                Random(weather.seed), digests=weather.digests, connections=self._dice.randint(2, 5 * self.connections)
            )
        connector = TcpConnector(connect_time=5, disconnect_time=1)
        play = self._play = Play(weather, options, connector, self._disk, self._spoiler.calm, self._policy)
        self._add(await play.run(), play, weather)
        self._spoiler.calm()
        await connector.finish()
        await self._check_disk(weather)
        return play.outcome

    def _weather(self, seconds: float) -> Weather:
        dice = self._dice
        self.tally.sessions += 1
        return Weather(
            level=self.level,
            connections=self.connections,
            digests=dice.random() < 0.7,
            foul=bool(self.tally.sessions % FAIR),
            seconds=seconds * (0.5 + dice.random()),
            settings=tuple((name, dice.choice(values)) for name, values in _SETTINGS.items()),
            seed=dice.getrandbits(32),
        )

    def _struck(self, initiator: Endpoint, kind: Kind) -> None:
        if self._play is not None:
            self._play.story.happened.append(Strike(initiator, kind))

    def _add(self, outcome: Outcome, play: Play, weather: Weather) -> None:
        tally = self.tally
        tally.verified += outcome.verified
        tally.done += outcome.done
        tally.strikes += play.story.strikes
        tally.events.update(event.id for event in play.story.logged)
        tally.wrong += [f"{each} ({weather})" for each in outcome.wrong]

    async def _check_disk(self, weather: Weather) -> None:
        """What the target's own storage has, once no session is left."""
        waited = 0.0
        while self._engine.sessions:
            if waited >= LONGEST_END:
                self.tally.wrong.append(f"the target still has a session ({weather})")
                return
            await passed(0.05)
            waited += 0.05
        data = bytes(self._devices[0].unit(0).backend.load(0, BLOCKS * BLOCK))
        self.tally.verified += len(data)
        try:
            self._disk.check(0, data)
        except WrongData as error:
            self.tally.wrong.append(f"in the target's storage: {error} ({weather})")
