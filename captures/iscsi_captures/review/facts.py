"""What is noted of a connection while its records go by, for the advice and the lists at the end: plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from iscsi_captures.reading import FrameNumber
from iscsi_captures.review.model import (
    CommandTrace,
    ConnectionReview,
    Gap,
    Kind,
    Latency,
    Load,
    Moment,
    PduShown,
    ReviewEvent,
    ReviewFinding,
)
from iscsi_protocol.history import Endpoint

ADVERTISED_KEPT = 4096
UNANSWERED_KEPT = 4096


@dataclass(slots=True)
class Sighting:
    """Something that was seen, maybe often. The place is that of the first time; most: the largest amount of all.

    pdu: of the first time, None where it was no PDU.
    """

    connection: int
    first_frame: FrameNumber
    frame: FrameNumber
    time: float
    count: int = 1
    total: float = 0.0
    most: float = 0.0
    pdu: PduShown | None = None


@dataclass(slots=True)
class Attempt:
    """A leading login. outcome: as `ConnectionReview.login`."""

    initiator_name: str
    target: str
    place: Sighting
    outcome: str = "unfinished"


@dataclass(slots=True)
class ConnectionFacts:
    """What advice goes by, for one connection. seen: by the name of what was seen.

    segment: smallest MSS that either side announced in bytes, None where none was seen. max_burst: MaxBurstLength, None where
    the login was not seen. moved: bytes of data segments, both ways.
    """

    number: int
    seen: dict[str, Sighting] = field(default_factory=dict)
    segment: int | None = None
    syn: Sighting | None = None
    max_burst: int | None = None
    moved: int = 0
    latency: Latency | None = None
    slowest: list[tuple[float, Sighting]] = field(default_factory=list)

    def see(self, what: str, place: Callable[[], Sighting], amount: float = 0.0) -> Sighting:
        """Count one more of these; `place` is asked for the first one only."""
        sighting = self.seen.get(what)
        if sighting is None:
            sighting = self.seen[what] = place()
        else:
            sighting.count += 1
        sighting.total += amount
        sighting.most = max(sighting.most, amount)
        return sighting


@dataclass(slots=True)
class SessionPart:
    """A session as one reading has it. order: number of its first connection."""

    order: int
    kind: Kind
    initiator_name: str
    target_name: str
    isid: str
    tsih: int
    negotiated: dict[str, str]
    connections: list[int]


@dataclass(slots=True)
class Part:
    """What one pass over some of the connections brings; several make a review together.

    findings have no session yet; events and traces name findings by their place in `findings`. finding_order, event_order:
    the time by which each is put in order; it never falls within a connection. challenges: those of CHAP, as hashes.
    recognised: when and where the reading gave a connection its number.
    """

    sessions: list[SessionPart] = field(default_factory=list)
    connections: dict[int, ConnectionReview] = field(default_factory=dict)
    facts: dict[int, ConnectionFacts] = field(default_factory=dict)
    findings: list[ReviewFinding] = field(default_factory=list)
    finding_order: list[float] = field(default_factory=list)
    events: list[ReviewEvent] = field(default_factory=list)
    event_order: list[float] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    traces: list[CommandTrace] = field(default_factory=list)
    advertised: dict[Endpoint, Sighting] = field(default_factory=dict)
    unanswered: dict[Endpoint, Sighting] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    paused: Sighting | None = None
    challenges: list[bytes] = field(default_factory=list)
    recognised: dict[int, tuple[float, FrameNumber]] = field(default_factory=dict)
