"""The initiator under test, on a stage: a bundled target that misbehaves as the case wants, and the history of what happened.

The target's faults are the stimulus; what is judged is what the initiator sent, and for the bundled initiator what it
logged. In a proof the initiator itself has a fault or a switch of its engine. Cases that have their initiator do things by
`perform` alone, and look at nothing but the history, are open to any initiator: for a foreign one `certify.scene` takes
the place of this class.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import msgspec

from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.deeds import perform as bundled_deed
from iscsi_conformance.doing import Doing, Wish
from iscsi_conformance.peer import Operator, RandomBytes
from iscsi_conformance.reaction import Reaction, reaction_to
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.verdict import Failed, Inconclusive
from iscsi_initiator.client import Client, ClientError, SessionFailed
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.requests import Event, EventLogged, RequestDone
from iscsi_initiator.settings import Settings
from iscsi_initiator.transport import Connector
from iscsi_protocol.fault import Fault, NamedFault
from iscsi_protocol.history import Endpoint, PduRecord, Tap, TransportEvent, TransportRecord
from iscsi_protocol.pdu import Pdu, RawPdu, decode
from iscsi_protocol.stream import Direction
from iscsi_target.config import TargetConfig

P = TypeVar("P", bound=Pdu)
T = TypeVar("T")

_WISHES = ("chap", "header_digest", "data_digest")

PATIENCE = 5.0
"""Seconds behind which the initiator is not waited for any longer. A clean one never takes them."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A bundled target that is up. connector: the way to it; endpoints: its portals; operator: see `peer.Operator`."""

    connector: Connector
    endpoints: Sequence[Endpoint]
    operator: Operator


OpenStage = Callable[[TargetConfig, Sequence[Fault]], AbstractAsyncContextManager[Stage]]


class OpenTappedStage(Protocol):
    """An OpenStage that records as well; tap: takes the history as the target sees it."""

    def __call__(
        self, config: TargetConfig, faults: Sequence[Fault], *, tap: Tap
    ) -> AbstractAsyncContextManager[Stage]:
        """Bring up the target."""


class Scene:
    """One case's stage and initiator.

    open_stage: brings up a target. fault: what the initiator does wrong, None for the clean one. name: the node that the
    initiator logs in to. events: what it logged; marks: how many records there were by then, for each of them; told: all that
    it told those above, in order, but for ends of requests. switches: of the initiator's policy.
    """

    patience = PATIENCE
    """Seconds behind which the initiator is not waited for any longer."""
    name = PLAIN
    lun = 1
    """The logical unit where any will do."""
    data_digests = True
    """Whether the initiator may be asked to offer data digests."""
    logs_events = True
    """Whether the initiator's events are there to be judged."""
    time_limit = 0.0
    """Seconds that a case needs at least, whatever its own limit."""

    def __init__(
        self, open_stage: OpenStage, recorder: Recorder, random_bytes: RandomBytes, fault: NamedFault | None = None
    ) -> None:
        self.recorder = recorder
        self.random_bytes = random_bytes
        self.events: list[EventLogged] = []
        self.told: list[Event] = []
        self.marks: list[int] = []
        self.clients: list[Client] = []
        self.stage: Stage | None = None
        self.switches: Mapping[str, object] = {}
        self.notes: list[str] = []
        self._open_stage = open_stage
        self._fault = fault
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []

    async def target(
        self, *stimulus: Fault, config: TargetConfig | None = None, policy: Mapping[str, object] | None = None
    ) -> Stage:
        """Bring up the target with these faults, on every connection afresh. At most one target in a case.

        Its recovery level is 0 unless the configuration's keys name another.
        """
        made = config or bundled_config(policy)
        made = msgspec.structs.replace(made, keys={"ErrorRecoveryLevel": "0", **made.keys})
        self.stage = await self._stack.enter_async_context(self._open_stage(made, stimulus))
        return self.stage

    async def perform(self, doing: Doing, *, until: Callable[[], object] = lambda: False, **wishes: Any) -> None:
        """Have the initiator do this, from login to logout, until it is done or gave up, until this holds, or to the end of
        patience. wishes: chap, header_digest and data_digest as for `Wish`; settings, lun and whatever else SessionOptions
        takes set up the bundled initiator, any other is as it is.

        Raises Inconclusive or Unsupported where a foreign initiator cannot be brought to it.
        """
        stage = self.stage or await self.target()
        wish = Wish(doing=doing, **{name: wishes.pop(name) for name in _WISHES if name in wishes})
        await self._finished(asyncio.ensure_future(self.attempt(bundled_deed(self, stage, wish, **wishes))), until)

    def begin(self, doing: Doing, **wishes: Any) -> asyncio.Task[None]:
        """Have the initiator do this beside the case, as by `perform`; it ends with the scene at the latest."""
        task = asyncio.ensure_future(self.perform(doing, **wishes))
        self._tasks.append(task)
        return task

    async def _finished(self, doing: asyncio.Future[Any], until: Callable[[], object]) -> None:
        """Wait for it, no longer than until this holds. Raises what it raised."""
        try:
            while not doing.done() and not until():
                await passed(0.005)
            if doing.done():
                doing.result()
        finally:
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)

    async def login(
        self, *, target_name: str | None = PLAIN, settings: Settings | None = None, **options: Any
    ) -> Client:
        """Have the initiator log in; the target comes up clean if none is there. options: as `Client.connect`.

        Raises SessionFailed when the initiator gave up.
        """
        stage = self.stage or await self.target()
        client = await Client.connect(
            stage.endpoints[0],
            target_name=target_name,
            settings=settings or Settings(),
            connector=stage.connector,
            policy=self._policy(),
            tap=self.recorder.record,
            faults=self._fault.faults if self._fault else (),
            on_event=self._take,
            **options,
        )
        self.clients.append(client)
        return client

    async def refused_login(self, clause: str, what: str, **options: Any) -> SessionFailed:
        """Have the initiator log in where it has to give up. Raises Failed when it does not."""
        try:
            await self.login(**options)
        except SessionFailed as failed:
            return failed
        raise Failed(clause, what)

    async def attempt(self, doing: Awaitable[object]) -> ClientError | TimeoutError | None:
        """Do something that may fail or never end, and give the error that came of it, None when it was done."""
        try:
            async with asyncio.timeout(self.patience):
                await doing
        except (ClientError, TimeoutError) as error:
            return error
        return None

    def sent(self, kind: type[P]) -> list[P]:
        """What the initiator sent of this kind, in order."""
        return [pdu for raw in self.raw(Direction.TO_TARGET) if isinstance(pdu := decode(raw), kind)]

    def received(self, kind: type[P]) -> list[P]:
        """What the initiator was sent of this kind, in order."""
        return [pdu for raw in self.raw(Direction.TO_INITIATOR) if isinstance(pdu := decode(raw), kind)]

    def some(self, kind: type[P]) -> list[P]:
        """What the initiator sent of this kind. Raises Inconclusive when that is nothing."""
        return self.reached(self.sent(kind), f"the initiator sent no {kind.__name__}")

    @staticmethod
    def reached(premise: T | None, what: str) -> T:
        """The premise, where it holds: what a requirement can be seen at. Raises Inconclusive where it does not."""
        if not premise:
            raise Inconclusive(what)
        return premise

    def reaction(self, to: Callable[[RawPdu], object]) -> Reaction | None:
        """What the initiator did on the connection behind the first PDU of the target's for which this holds; None when it
        got none.
        """
        return reaction_to(self.recorder.records, to)

    def raw(self, direction: Direction) -> list[RawPdu]:
        """All PDUs that went this way, in order, over all connections."""
        records = (record for record in self.recorder.records if isinstance(record, PduRecord))
        return [record.raw for record in records if record.direction is direction]

    def transport(self, event: TransportEvent) -> list[TransportRecord]:
        """What happened of this below iSCSI."""
        records = (record for record in self.recorder.records if isinstance(record, TransportRecord))
        return [record for record in records if record.event is event]

    def logged(self) -> list[str]:
        """The events that the initiator logged, in order, as "iScsiPrt:22"."""
        return [f"{event.source}:{event.id}" for event in self.events]

    async def settle(self, seconds: float = 0.2) -> None:
        """Let the dialogue go on for so long, on the run's own clock."""
        await passed(seconds)

    async def until(self, condition: Callable[[], object]) -> bool:
        """Let the dialogue go on until this holds, or nobody would wait any longer; whether it holds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        while not condition() and loop.time() < end:
            await passed(self.patience / 1000)
        return bool(condition())

    async def close(self) -> None:
        """End every session and the target."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self.clients:
            client.abort()
        await self._stack.aclose()

    def ending(self) -> str:
        """How the latest connection ended, as the history has it."""
        records = [record for record in self.recorder.records if isinstance(record, TransportRecord)]
        return records[-1].event.value if records else "never connected"

    def _policy(self) -> Policy:
        switches: dict[str, Any] = {**self.switches, **(self._fault.policy if self._fault else {})}
        return replace(CONFORMING, **switches)

    def _take(self, event: Event) -> None:
        if not isinstance(event, RequestDone):
            self.told.append(event)
        if isinstance(event, EventLogged):
            self.events.append(event)
            self.marks.append(len(self.recorder.records))
