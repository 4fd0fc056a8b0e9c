"""A case's stage for a foreign initiator: the bundled target behind the suite's own portal, and the product sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from iscsi_conformance.bundled import own_name
from iscsi_conformance.certify.own import OwnConnections
from iscsi_conformance.certify.process import Running
from iscsi_conformance.certify.product import Place, Product
from iscsi_conformance.clock import passed
from iscsi_conformance.doing import Doing, Wish
from iscsi_conformance.peer import RandomBytes
from iscsi_conformance.reaction import closed_by_initiator
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.scene import OpenTappedStage, Scene, Stage
from iscsi_conformance.stimulus import configured
from iscsi_conformance.verdict import Inconclusive, PeerGone
from iscsi_protocol.fault import Fault
from iscsi_protocol.history import Endpoint, Record, TransportEvent, TransportRecord
from iscsi_target.config import PortalConfig, TargetConfig

_LOOK = 0.01
"""Seconds between two looks at how far the initiator is."""
_LAST_WORDS = 0.3
"""Seconds for the end of the last connection to arrive once the command has ended."""
_QUIET = 2.0
"""Seconds without a connection behind which an operator's initiator is done."""


@dataclass(frozen=True, kw_only=True)
class Way:
    """How the product is brought to a case. listen: the suite's portal, with a port. product: None asks the operator.

    patience: seconds for the product to do what one case asks. say: takes a line for the operator.
    """

    listen: Endpoint
    product: Product | None
    patience: float
    say: Callable[[str], None]

    @property
    def portal(self) -> Endpoint:
        """Where an initiator on this machine reaches the suite."""
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        return Endpoint(here.get(self.listen.host, self.listen.host), self.listen.port)


class ForeignScene(Scene):
    """One case's stage, and somebody else's initiator. case_id: gives the target its name."""

    lun = 0
    data_digests = False
    logs_events = False

    def __init__(
        self, open_stage: OpenTappedStage, recorder: Recorder, random_bytes: RandomBytes, *, case_id: str, way: Way
    ) -> None:
        self._own = OwnConnections(own_name(case_id), self._take_record)
        super().__init__(partial(open_stage, tap=self._own.record), recorder, random_bytes)
        self.name = own_name(case_id)
        self.patience = way.patience
        self.time_limit = 3 * way.patience + 10
        self._way = way
        self._running: Running | None = None
        self._open: set[int] = set()
        self._came = 0
        self._over = False

    async def target(
        self, *stimulus: Fault, config: TargetConfig | None = None, policy: Mapping[str, object] | None = None
    ) -> Stage:
        """Bring up the target with these faults, under the case's own name and with no other node beside it."""
        given = config or configured(switches=policy)
        node = msgspec.structs.replace(given.targets[0], name=self.name)
        listen = self._way.listen
        portals = [PortalConfig(address=str(listen))]
        if node.redirect is not None:
            portals.append(PortalConfig(address=str(Endpoint(listen.host, 0))))
        own = msgspec.structs.replace(given, targets=[node], portals=portals)
        return await super().target(*stimulus, config=own)

    async def perform(self, doing: Doing, *, until: Callable[[], object] = lambda: False, **wishes: Any) -> None:
        """See `Scene.perform`. Raises Inconclusive when nobody came, Unsupported where the product has no way to do it."""
        if self.stage is None:
            await self.target()
        await self._stop()
        known = {name: wishes[name] for name in ("chap", "header_digest", "data_digest") if name in wishes}
        wish = Wish(doing=doing, **known)
        place = Place(portal=self._way.portal, target=self.name, lun=self.lun)
        came = self._came
        if self._way.product is None:
            self._way.say(_request(wish, place))
            done = self._left_by_operator(came)
        else:
            self._running = await _started(self._way.product.command(wish, place))
            done = self._left_by_command(self._running)
        await self._wait(lambda: done() or until())
        if self._came == came:
            over = self._running is not None and self._running.over
            when = "before the command ended" if over else f"within {self.patience:g} s"
            raise Inconclusive(f"nobody logged in to {self.name} {when}")

    def _left_by_command(self, running: Running) -> Callable[[], bool]:
        """Whether the command has ended, and its connections have as well."""
        ended: list[float] = []

        def left() -> bool:
            now = asyncio.get_running_loop().time()
            if running.over and not ended:
                ended.append(now)
            return bool(ended) and (not self._open or now > ended[0] + _LAST_WORDS)

        return left

    def _left_by_operator(self, came: int) -> Callable[[], bool]:
        """Whether an initiator came and has not had a connection for a while."""
        alone: list[float] = []

        def left() -> bool:
            now = asyncio.get_running_loop().time()
            if self._open or self._came == came:
                alone.clear()
                return False
            alone.append(now)
            return now > alone[0] + _QUIET

        return left

    async def _wait(self, condition: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience
        while not condition() and loop.time() < end:
            await passed(_LOOK)

    async def close(self) -> None:
        """End the product's command and the target. What comes from here on is no part of the history."""
        self._own.finish()
        self._over = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stop()
        if self._own.strangers:
            names = ", ".join(sorted(set(self._own.strangers.values())))
            self.notes.append(f"{len(self._own.strangers)} logins to other targets are left out: {names}")
        await super().close()

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self.notes.append(await running.stop())

    def _take_record(self, record: Record) -> None:
        if self._over:
            return
        if isinstance(record, TransportRecord):
            if record.event is TransportEvent.CONNECTED:
                self._came += 1
                self._open.add(record.connection)
            elif closed_by_initiator(record) or record.event is TransportEvent.RST:
                self._open.discard(record.connection)
        self.recorder.record(record)


async def _started(words: Sequence[str]) -> Running:
    """Raises PeerGone where it cannot be started: no other case could start it."""
    try:
        return await Running.start(words)
    except OSError as error:
        raise PeerGone(f"{words[0]} cannot be started: {error.strerror}") from None


def _request(wish: Wish, place: Place) -> str:
    """What the operator is asked for, in a line."""
    what = {
        Doing.DISCOVER: f"discover the targets of {place.portal}",
        Doing.LOG_IN: f"log in to {place.target} at {place.portal} and out",
        Doing.READ: f"log in to {place.target} at {place.portal}, read, and log out",
        Doing.WRITE: f"log in to {place.target} at {place.portal}, write 64 KiB, and log out",
        Doing.LOAD: f"log in to {place.target} at {place.portal}, read for some seconds, and log out",
    }[wish.doing]
    extras = []
    if wish.chap is not None:
        extras.append(f"CHAP as {wish.chap.user} with {wish.chap.secret}")
        if wish.chap.target_secret is not None:
            extras.append(f"the target proves itself as {wish.chap.target_user} with {wish.chap.target_secret}")
    extras += ["a header digest"] if wish.header_digest else []
    extras += ["a data digest"] if wish.data_digest else []
    return what + (f" ({', '.join(extras)})" if extras else "")
