"""One event case at work: the target comes up spoilt, the initiator is asked for something, and log and wire are held against
the row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.events.catalogue import events, name_of
from iscsi_conformance.events.dumps import RULES, culprit, words
from iscsi_conformance.events.row import EventCase, Then
from iscsi_conformance.scene import Scene, Stage
from iscsi_conformance.service_peer import ScriptedService
from iscsi_conformance.stimulus import A_MOMENT, configured
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_initiator.client import Client, ClientError, SessionFailed
from iscsi_initiator.limits import Limits
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_protocol.eventlog import EVENTS
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import Pdu, RawPdu
from iscsi_protocol.scsi.opcodes import TEST_UNIT_READY
from iscsi_protocol.stream import Direction
from iscsi_target.config import TargetConfig

SETTINGS: Mapping[str, Any] = {
    "tcp_connect_time": 0.5,
    "wmi_request_timeout": 0.5,
    "delay_between_reconnect": 0.05,
    "default_time2wait": 0,
    "max_request_hold_time": 5,
    "nop_out_timeout": 0.5,
    "task_management_timeout": 0.5,
    "srb_timeout_delta": 5,
    "portal_retry_count": 0,
}
"""Timers of event cases: short enough for a real clock where the guide lets them be."""

_LONG = 100.0
"""Seconds that a case about time-outs waits at most; they cost nothing on the virtual clock."""

READY = TEST_UNIT_READY.build()

Act = Callable[["Play"], Awaitable[object]]
DumpOf = Callable[["Play"], "bytes | tuple[bytes, ...]"]
Watch = Callable[["Play"], None]


def spoilable(level: int = 0, connections: int = 1, **keys: str) -> TargetConfig:
    """The target of event cases: two disks, recovery without a wait, and these text keys."""
    given = {"ErrorRecoveryLevel": str(level), "MaxConnections": str(connections), "DefaultTime2Wait": "0", **keys}
    return configured(commands=128, switches=None, **given)


class Play:
    """What a row's functions get. client: None where the login came to nothing; failed: how; error: what became of what was
    asked, None where it was done; options: of the session; service: what answers the driver's up-calls.
    """

    def __init__(self, scene: Scene, row: EventCase) -> None:
        self.scene = scene
        self.row = row
        self.name = name_of(row.event)
        self.client: Client | None = None
        self.failed: SessionFailed | None = None
        self.error: ClientError | TimeoutError | None = None
        self.options: dict[str, Any] = {"target_name": PLAIN, **row.options}
        if row.connections > 1:
            self.options["connections"] = row.connections
        self.service = None if row.service is None else ScriptedService(row.service)
        self._connects = 0
        scene.switches = row.switches
        if row.virtual:
            scene.patience = _LONG

    @property
    def stage(self) -> Stage:
        """The target."""
        if self.scene.stage is None:
            raise Inconclusive("there is no target yet")
        return self.scene.stage

    @property
    def session(self) -> Client:
        """The initiator, logged in. Raises Failed where it gave up."""
        if self.client is None:
            raise Failed(self.name, f"the initiator does not log in: {self.failed}")
        return self.client

    @property
    def settings(self) -> Settings:
        """The initiator's settings."""
        return Settings(**{**SETTINGS, "error_recovery_level": self.row.level, **self.row.settings})

    @property
    def first_event_at(self) -> int:
        """How many records there were when the first event was logged."""
        return self.scene.marks[0] if self.scene.marks else len(self.scene.recorder.records)

    def sent(self, kind: type[Pdu]) -> list[Any]:
        """What the initiator sent of this kind."""
        return self.scene.sent(kind)

    def received_raw(self) -> list[RawPdu]:
        """All that came from the target."""
        return self.scene.raw(Direction.TO_INITIATOR)

    def culprit(self) -> RawPdu:
        """See `dumps.culprit`."""
        return culprit(self)

    def connects(self) -> int:
        """How many connections were tried so far."""
        return len(self.scene.transport(TransportEvent.CONNECT))

    def count_from_here(self) -> None:
        """Connections that were tried so far are none of those that the event brings about."""
        self._connects = self.connects()

    @property
    def connected_since(self) -> int:
        """How many connections were tried since `count_from_here`, which the login ends with."""
        return self.connects() - self._connects

    async def ask(self, doing: Awaitable[object]) -> ClientError | TimeoutError | None:
        """Have something done that may fail; what became of it is kept in `error` too."""
        self.error = await self.scene.attempt(doing)
        return self.error

    async def bring_up(self) -> Stage:
        """The target, spoilt as the row wants it; brought up once."""
        row = self.row
        if self.scene.stage is None:
            config = row.config or spoilable(row.level, row.connections)
            stage = await self.scene.target(*row.spoils, config=config)
            if row.spoilt:
                stage.operator.mend_behind(row.spoilt)
        return self.stage

    async def log_in(self) -> None:
        """Have the initiator log in; how that ends is kept. Raises Failed for a login that has no end."""
        row, stage = self.row, await self.bring_up()
        options = SessionOptions(**{"portal": stage.endpoints[0], **self.options})
        try:
            async with asyncio.timeout(self.scene.patience):
                self.client = await self.scene.login(settings=self.settings, options=options, **self._host)
        except SessionFailed as failed:
            self.failed = failed
        except TimeoutError:
            raise Failed(self.name, f"the login ends within {self.scene.patience:g} s") from None
        if self.client is not None and row.connections > 1:
            await self._joined(self.client)
        self.count_from_here()

    @property
    def _host(self) -> dict[str, Any]:
        """What the initiator's host has beside it."""
        host: dict[str, Any] = {} if self.service is None else {"service": self.service}
        return host if self.row.hasher is None else {**host, "hasher": self.row.hasher}

    async def _joined(self, client: Client) -> None:
        """Wait for the connections that the session is to have. Raises Failed where they do not come up."""
        row = self.row
        due = row.connections if row.joining is None else row.joining
        begun = await self.scene.until(lambda: self.connects() >= row.connections and len(client.connections) >= due)
        require(begun, self.name, f"{due} connections come up", seen=client.connections)

    async def run(self) -> None:
        """All of it. Raises Failed."""
        row = self.row
        if row.before is not None:
            await row.before(self)
        else:
            await self.log_in()
        if row.does is not None:
            await row.does(self)
        await self.scene.until(lambda: len(self.scene.events) >= len(row.logged))
        await self.scene.settle(A_MOMENT)
        self._check_log()
        await _FOLLOWS[row.then](self)
        if row.watch is not None:
            row.watch(self)

    def _check_log(self) -> None:
        """Ids, order, severities and extra data."""
        row, seen = self.row, [event.id for event in self.scene.events]
        require(seen == list(row.logged), self.name, f"events {list(row.logged)} are due", seen=seen)
        given: dict[int, int] = {}
        for event in self.scene.events:
            known, due = events()[event.id], (row.dumps.get(event.id) or RULES[event.id])(self)
            severity = EVENTS[event.id].severity.name.lower()
            require(severity == known.severity, self.name, f"event {event.id}: {known.severity}", seen=severity)
            if isinstance(due, tuple):
                place = given[event.id] = given.get(event.id, -1) + 1
                due = due[min(place, len(due) - 1)]
            same = event.extra == due
            require(same, self.name, f"event {event.id} carries {due.hex() or 'nothing'}", seen=event.extra.hex())

    # What follows.

    async def recovers(self) -> None:
        """A new connection, and the session works."""
        if self.row.connections > 1:
            await self._joined(self.session)
        await self.works()
        require(self.connects() > self._connects, self.name, "the initiator connects again", seen=self.connects())

    async def goes_on(self) -> None:
        """The same connection works."""
        await self.works()
        require(self.connects() == self._connects, self.name, "the connection stays", seen=self.connects())

    async def fails_request(self) -> None:
        """What was asked failed, and the session works."""
        require(isinstance(self.error, ClientError), self.name, "the request fails", seen=repr(self.error))
        await self.works()

    async def done(self) -> None:
        """What was asked was done on the same connection, which works on."""
        require(self.error is None, self.name, "the request is done", seen=self.error)
        await self.goes_on()

    async def fails_and_recovers(self) -> None:
        """What was asked failed, and the session works over a new connection."""
        require(isinstance(self.error, ClientError), self.name, "the request fails", seen=repr(self.error))
        await self.recovers()

    async def works(self) -> None:
        """Proof of life: a command is answered, on each connection that is there: they take turns."""
        for _ in self.session.connections or (0,):
            error = await self.scene.attempt(self.session.execute(READY))
            require(error is None, self.name, "the session works on", seen=error)

    async def gives_up(self) -> None:
        """The initiator closed the connection of a login that failed; a clean target is logged in to."""
        require(self.failed, self.name, "the login comes to nothing")
        closed = self.scene.transport(TransportEvent.CLOSED_BY_US)
        require(closed, self.name, "the initiator closes the connection")
        await self.lives()

    async def closed_before(self) -> None:
        """The login failed without a close by the initiator; a clean target is logged in to."""
        require(self.failed, self.name, "the login comes to nothing")
        await self.lives()

    async def lives(self) -> None:
        """Proof of life: another login, on a host that lacks nothing, to a target that is mended."""
        self.stage.operator.mend()
        settings = replace(self.settings, limits=Limits())
        again = SessionOptions(portal=self.stage.endpoints[0], target_name=PLAIN)
        try:
            client = await self.scene.login(settings=settings, options=again)
        except SessionFailed as failed:
            raise Failed(self.name, "a clean target is logged in to", seen=str(failed)) from failed
        error = await self.scene.attempt(client.execute(READY))
        require(error is None, self.name, "a clean target is worked with", seen=error)

    async def refused(self) -> None:
        """The request, or the session, failed."""
        require(self.error or self.failed, self.name, "it fails")

    async def over(self) -> None:
        """The session is over."""
        await self.scene.until(lambda: self.session.closed)
        require(self.session.closed, self.name, "the session is over")


_FOLLOWS: Mapping[Then, Callable[[Play], Awaitable[None]]] = {
    Then.RECOVERS: Play.recovers,
    Then.GOES_ON: Play.goes_on,
    Then.FAILS_REQUEST: Play.fails_request,
    Then.DONE: Play.done,
    Then.FAILS_AND_RECOVERS: Play.fails_and_recovers,
    Then.GIVES_UP: Play.gives_up,
    Then.CLOSED_BEFORE: Play.closed_before,
    Then.REFUSED: Play.refused,
    Then.OVER: Play.over,
}


async def perform(scene: Scene, row: EventCase) -> None:
    """Run a row as a case. Raises verdicts."""
    await Play(scene, row).run()


__all__ = ["SETTINGS", "Act", "DumpOf", "Play", "Watch", "perform", "words"]
