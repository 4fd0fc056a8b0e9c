"""Keeping an entity registered: at once, again before the period ends, after the server has lost it, and off at the end
(RFC 4171 6.2.6, 6.3.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Response
from iscsi_protocol.isns.client import Answered, Event, Failed, Inquired, IsnsClient, Notified, Trouble
from iscsi_protocol.isns.codes import Status
from iscsi_protocol.isns.description import CONFORMING, ClientPolicy, Description, Writer


class State(Enum):
    """Where a registration stands."""

    IDLE = "idle"
    REGISTERING = "registering"
    LISTENING = "listening"
    REGISTERED = "registered"
    CHECKING = "checking"
    LEAVING = "leaving"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Registered:
    """The server has the entity. eid: under which identifier; period: seconds, 0 where it inquires."""

    eid: str
    period: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The server does not have it. status: its answer, None without one; trouble: why there is none."""

    status: int | None = None
    trouble: Trouble | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """The server had it and has forgotten it; it is registered anew."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """It is deregistered, or the server could not be told. status: None without an answer."""

    status: int | None


Report: TypeAlias = Registered | Refused | Lost | Left | Notified | Inquired | Answered | Failed

RETRY = 60.0
"""Seconds until a registration that failed is tried again."""
MISSED = 3
"""Intervals without inquiry after which a client asks whether it is registered."""


class Registrar:
    """Keeps one description registered through a client. What is not its own it passes on."""

    def __init__(self, client: IsnsClient, description: Description, *, policy: ClientPolicy = CONFORMING) -> None:
        self._client = client
        self._description = description
        self._policy = policy
        self._writer = Writer(policy)
        self._token: int | None = None
        self._forgone: set[int] = set()
        self._due: float | None = None
        self._waiting = list(description.nodes)
        self._period = 0
        self.state = State.IDLE
        self.eid = description.eid

    def start(self, now: float) -> None:
        """Register, replacing what is left of an earlier life of this entity where its identifier is known."""
        self.state = State.REGISTERING
        self._due = None
        request = self._writer.register(self._description, self.eid, replace=bool(self.eid))
        self._token = self._client.submit(request, now)

    def leave(self, now: float) -> None:
        """Deregister; what it waits for does not count any more."""
        if self._token is not None:
            self._forgone.add(self._token)
        self.state = State.LEAVING
        self._due = None
        self._token = self._client.submit(self._writer.deregister(self._description, self.eid), now)

    def handle(self, event: Event, now: float) -> list[Report]:
        """An event of the client: what it means for the registration."""
        if isinstance(event, Inquired):
            self._arm(now)
            return [event]
        if not isinstance(event, Notified) and event.token in self._forgone:
            self._forgone.remove(event.token)
            return []
        if isinstance(event, Notified) or event.token != self._token:
            return [event]
        self._token = None
        if isinstance(event, Failed):
            return self._failed(event, now)
        if self.state is State.REGISTERING:
            return self._registered(event.response, now)
        if self.state is State.LISTENING:
            return self._listening(event.response, now)
        if self.state is State.CHECKING:
            return self._checked(event.response, now)
        self.state = State.GONE
        return [Left(status=event.response.status)]

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        return self._due

    def handle_timer(self, now: float) -> None:
        """Show a sign of life, or try again."""
        if self._due is None or self._due > now:
            return
        if self.state is State.IDLE:
            self.start(now)
            return
        self._due = None
        self.state = State.CHECKING
        self._token = self._client.submit(self._writer.own_entity(self._description, self.eid), now)

    def _failed(self, event: Failed, now: float) -> list[Report]:
        if self.state is State.LEAVING:
            self.state = State.GONE
            return [Left(status=None)]
        if self.state is State.CHECKING:
            self.state = State.REGISTERED
            self._due = now + RETRY
        else:
            self._again(now)
        return [Refused(trouble=event.trouble)]

    def _again(self, now: float) -> None:
        self.state = State.IDLE
        self._due = now + RETRY

    def _registered(self, response: Response, now: float) -> list[Report]:
        if response.status:
            self._again(now)
            return [Refused(status=response.status)]
        told = {item.tag: item for item in (*response.operating, *response.key)}
        if Tag.EID in told and not told[Tag.EID].empty:
            self.eid = told[Tag.EID].text
        period = told.get(Tag.REGISTRATION_PERIOD)
        self._period = period.number if period is not None and not period.empty else self._description.period
        self._waiting = [node for node in self._description.nodes if node.bitmap]
        return self._listen_next(now)

    def _listen_next(self, now: float) -> list[Report]:
        if self._waiting:
            self.state = State.LISTENING
            self._token = self._client.submit(self._writer.listen(self._waiting.pop(0)), now)
            return []
        self.state = State.REGISTERED
        self._arm(now)
        return [Registered(eid=self.eid, period=self._period)]

    def _listening(self, response: Response, now: float) -> list[Report]:
        if response.status:
            self._again(now)
            return [Refused(status=response.status)]
        return self._listen_next(now)

    def _arm(self, now: float) -> None:
        """The next sign of life: at half the period, or when inquiries fail to come (R4171-6.2.6-04, R4171-6.3.4-07)."""
        if self.state is not State.REGISTERED or self._policy.never_refresh:
            return
        interval = min((each.esi_interval for each in self._description.portals if each.esi_interval), default=0)
        waits = [wait for wait in (self._period / 2, MISSED * interval) if wait]
        self._due = now + min(waits) if waits else None

    def _checked(self, response: Response, now: float) -> list[Report]:
        """Whether the entity is still there; if not, connections are closed and it is registered anew (R4171-6.3.4-08)."""
        gone = response.status in (Status.NO_SUCH_ENTRY, Status.SOURCE_UNKNOWN)
        gone |= not response.status and not response.operating
        self.state = State.REGISTERED
        self._arm(now)
        if not gone or self._policy.stay_connected:
            return []
        self._client.close_server()
        if not self._description.eid:
            self.eid = ""
        self.state = State.IDLE
        self._due = now
        return [Lost()]
