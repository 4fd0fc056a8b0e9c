"""One session of a storm: random reads and writes over its connections, and what has to hold at its end."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.clock import passed
from iscsi_conformance.oracle import disagreement
from iscsi_conformance.storm.clock import TurnClock
from iscsi_conformance.storm.story import Story
from iscsi_conformance.workload.model import BLOCK, ModelDisk, WrongData
from iscsi_initiator.client import Client, ClientError, ConnectionFailed, RequestFailed, SessionFailed
from iscsi_initiator.multipath import LoadBalance, Path
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.requests import Event, EventLogged, Failure
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.transport import Connector
from iscsi_protocol.history import PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction

WORKERS = 6
REGION = 128
"""Blocks that one worker has to itself."""
BLOCKS = WORKERS * REGION

PIECE = 64
"""The most blocks that are read or written at a time."""

LONGEST_END = 60.0
"""Seconds that everything may take to come to its end once no new faults are made."""

_ATTEMPTS = 10
_SPREAD = 0.02
_QUIET = frozenset({Opcode.SCSI_DATA_OUT, Opcode.SNACK_REQUEST, Opcode.LOGIN_REQUEST})
"""PDUs that begin no request."""


@dataclass(frozen=True, kw_only=True)
class Weather:
    """What one session is to be. level: that the initiator asks for; seconds: of work."""

    level: int
    connections: int
    digests: bool
    foul: bool
    seconds: float
    settings: tuple[tuple[str, Any], ...] = ()
    seed: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of it. done: commands, by how they ended; verified: bytes that were held against the model; wrong: what was
    not as it has to be, in words.
    """

    done: Counter[str] = field(default_factory=Counter)
    verified: int = 0
    wrong: list[str] = field(default_factory=list)


class _Client(Client):
    """A client whose engine's deadlines its clock knows."""

    clock: TurnClock

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.clock.engine = self.engine


class Play:
    """One session against a disk of BLOCKS blocks that the model knows. calm: called when no new faults are wanted; policy:
    of the initiator.
    """

    def __init__(
        self,
        weather: Weather,
        options: SessionOptions,
        connector: Connector,
        disk: ModelDisk,
        calm: Callable[[], None],
        policy: Policy = CONFORMING,
    ) -> None:
        self.weather = weather
        self.disk = disk
        self.story = Story()
        self.outcome = Outcome()
        self._options = options
        self._connector = connector
        self._calm = calm
        self._policy = policy
        self._book = RuleBook(events=True)
        self._over = False

    async def run(self) -> Outcome:
        """Play it, and judge."""
        clock = TurnClock()
        self._kind: type[_Client] = type("_Client", (_Client,), {"clock": clock})
        client = None
        try:
            client = await self._kind.connect(
                self._options.portal,
                options=self._options,
                settings=self._settings(),
                connector=self._connector,
                policy=self._policy,
                clock=clock,
                tap=self._tap,
                on_event=self._take,
            )
        except SessionFailed as error:
            self.outcome.done["sessions that did not come up"] += 1
            if not self.weather.foul:
                self._complain(f"the session did not come up: {error}")
        if client is not None:
            self._client = client
            try:
                await self._work(client)
            finally:
                client.abort()
        self._judge(clock())
        return self.outcome

    def _settings(self) -> Settings:
        return Settings(
            **{
                "error_recovery_level": self.weather.level,
                "default_time2wait": 0,
                "delay_between_reconnect": 0.1,
                "scsi_request_timeout": 0.2,
                "srb_timeout_delta": 5,
                "wmi_request_timeout": 3,
                "task_management_timeout": 2,
                "snack_timeout": 0.7,
                "nop_out_interval": 0.5,
                "nop_out_timeout": 3,
                "async_logout_pause_timeout": 0.3,
                "tcp_disconnect_time": 1,
                **dict(self.weather.settings),
            }
        )

    def _complain(self, text: str) -> None:
        self.outcome.wrong.append(text)

    # What is recorded.

    def _tap(self, record: Record) -> None:
        if isinstance(record, TransportRecord):
            if record.event is TransportEvent.CONNECTED and record.initiator is not None:
                self.story.ends[record.connection] = record.initiator
        elif (
            isinstance(record, PduRecord)
            and record.direction is Direction.TO_TARGET
            and record.raw.opcode not in _QUIET
        ):
            record = self._as_begun(record)
        self._book.record(record)

    def _as_begun(self, record: PduRecord) -> PduRecord:
        """A request with the time at which its clock began to run, which the network may have taken it later than."""
        engine = self._kind.clock.engine
        task = None if engine is None else engine.session(1).work.tasks.get(record.raw.initiator_task_tag)
        if task is None or task.deadline is None:
            return record
        begun = task.deadline - task.allowance
        while begun + task.allowance > task.deadline:
            begun = math.nextafter(begun, -math.inf)
        return replace(record, time=min(record.time, begun))

    def _take(self, event: Event) -> None:
        if isinstance(event, EventLogged):
            self.story.happened.append(event)

    # What is done.

    async def _work(self, client: Client) -> None:
        dice = Random(self.weather.seed)
        workers = [asyncio.create_task(self._worker(client, number)) for number in range(WORKERS)]
        steering = asyncio.create_task(self._steer(client, Random(dice.random())))
        await passed(self.weather.seconds)
        self._over = True
        self._calm()
        try:
            async with asyncio.timeout(LONGEST_END):
                await asyncio.gather(*workers, steering)
                await self._settle(client)
                self._check_returned(client)
                await client.logout()
        except TimeoutError:
            session = client.engine.session(1)
            waiting = f"{len(session.work.tasks)} tasks, {len(session.work.pending)} pending, {client.connections} up"
            self._complain(f"not everything came to its end in {LONGEST_END:g} s: {waiting}")
            for task in (*workers, steering):
                task.cancel()
            await asyncio.gather(*workers, steering, return_exceptions=True)

    async def _worker(self, client: Client, number: int) -> None:
        dice, first = Random(f"{self.weather.seed} {number}"), number * REGION
        while not self._over and client.closed is None:
            lba = first + dice.randrange(REGION)
            blocks = min(dice.randint(1, PIECE), first + REGION - lba)
            if dice.random() < 0.5:
                await self._write(client, lba, blocks)
            elif dice.random() < 0.03:
                await self._give_up(client, lba, blocks, dice.random() * 0.01)
            else:
                await self._read(client, lba, blocks)
            await passed(dice.random() * _SPREAD)
        for lba in range(first, first + REGION, PIECE):
            for _ in range(_ATTEMPTS):
                if await self._read(client, lba, PIECE):
                    break
            else:
                if client.closed is None:
                    self._complain(f"block {lba} could not be read at the end")

    async def _write(self, client: Client, lba: int, blocks: int) -> None:
        generation, data = self.disk.begin_write(lba, blocks)
        if await self._ends(client.write(lba, data)):
            self.disk.acknowledge(lba, blocks, generation)

    async def _read(self, client: Client, lba: int, blocks: int) -> bool:
        data = bytearray(blocks * BLOCK)

        async def read() -> None:
            data[:] = await client.read(lba, blocks)

        if not await self._ends(read()):
            return False
        self.check(lba, data)
        return True

    def check(self, lba: int, data: bytes | bytearray) -> None:
        """Hold what a disk gave against the model."""
        self.outcome.verified += len(data)
        try:
            self.disk.check(lba, bytes(data))
        except WrongData as error:
            self._complain(str(error))

    async def _give_up(self, client: Client, lba: int, blocks: int, seconds: float) -> None:
        """A read that nobody waits for any more."""
        reading = asyncio.create_task(client.read(lba, blocks))
        await asyncio.wait([reading], timeout=seconds)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        self.outcome.done["given up"] += 1

    async def _ends(self, command: Awaitable[object]) -> bool:
        """Whether a command ended well. One that failed may only have done so in foul weather."""
        try:
            await command
        except RequestFailed as error:
            self._failed(error.failure.name.lower().replace("_", " "), error)
            if error.failure is Failure.NOT_CONNECTED:
                self._over = True
            return False
        except ClientError as error:
            self._failed("check condition", error)
            return False
        self.outcome.done["good"] += 1
        return True

    def _failed(self, how: str, error: ClientError) -> None:
        self.outcome.done[how] += 1
        if not self.weather.foul:
            self._complain(f"in fair weather: {error}")

    async def _steer(self, client: Client, dice: Random) -> None:
        """Change the load-balance policy and the number of connections while the others work."""
        while not self._over and client.closed is None:
            await passed(0.03 + dice.random() * 0.3)
            try:
                await self._steer_once(client, dice)
            except Refused:
                self.outcome.done["refused changes"] += 1
            except ConnectionFailed:
                self.outcome.done["connections that did not come up"] += 1

    async def _steer_once(self, client: Client, dice: Random) -> None:
        cids = list(client.engine.session(1).connections)
        what = dice.random()
        if what < 0.7:
            policy = dice.choice(list(LoadBalance))
            client.set_load_balance(policy, _paths(policy, cids, dice))
            self.outcome.done["policies"] += 1
        elif what < 0.85 and len(cids) > 1:
            await client.remove_connection(dice.choice(cids))
            self.outcome.done["connections removed"] += 1
        elif len(cids) < self.weather.connections:
            await client.add_connection()
            self.outcome.done["connections added"] += 1

    # What has to hold.

    async def _settle(self, client: Client) -> None:
        """Wait until nothing is under way."""
        session = client.engine.session(1)
        while client.closed is None and (session.work.tasks or session.work.pending or not session.up):
            await passed(0.02)

    def _check_returned(self, client: Client) -> None:
        """Tags, places and buffers are back."""
        session, usage = client.engine.session(1), client.engine.usage
        if usage.io_requests or usage.request_resources:
            self._complain(f"{usage.io_requests} I/O requests and {usage.request_resources} others are still counted")
        for connection in session.connections.values():
            if connection.link is not None and connection.link.queued:
                self._complain(f"{connection.link.queued} requests are still queued on connection {connection.cid}")
        if session.work.tasks or session.work.pending:
            self._complain("task tags are still in use")

    def _judge(self, now: float) -> None:
        """The rule book, the oracle, and the causes."""
        self._book.finish(now)
        logged = self.story.logged
        for finding in self._book.findings:
            if finding.role == "initiator":
                self._complain(f"{finding.clause}: {finding.message} (connection {finding.connection})")
        differs = disagreement(self._book.events, logged)
        if differs:
            self._complain(f"events differ: {differs}")
            return
        for each in self.story.unexplained(self._book.events):
            self._complain(f"unexplained event {each}")


def _paths(policy: LoadBalance, cids: Sequence[int], dice: Random) -> list[Path]:
    if dice.random() < 0.3:
        return []
    active = (
        {dice.choice(cids)} if policy is LoadBalance.FAIL_OVER_ONLY else {cid for cid in cids if dice.random() < 0.6}
    )
    active = active or {cids[0]}
    return [Path(id=cid, active=cid in active, weight=dice.randrange(4)) for cid in cids]
