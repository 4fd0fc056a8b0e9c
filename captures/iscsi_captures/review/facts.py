"""What is noted of a connection while its records go by, for the advice and the lists at the end. Plain data that can be pickled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from iscsi_captures.reading import FrameNumber
from iscsi_captures.review.model import CommandTrace, ConnectionReview, Gap, Latency, Load, Moment, ReviewEvent, ReviewFinding
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import RawPdu
from iscsi_protocol.stream import Direction

ADVERTISED_KEPT = 4096
UNANSWERED_KEPT = 4096


@dataclass(slots=True)
class Sighting:
    """Something that was seen, maybe often. The place is that of the first time; most: the largest amount of all.

    pdu, direction: of the first time, None where it was no PDU. detail: what words the message needs of it.
    """

    connection: int
    first_frame: FrameNumber
    frame: FrameNumber
    time: float
    count: int = 1
    total: float = 0.0
    most: float = 0.0
    pdu: RawPdu | None = None
    direction: Direction | None = None
    detail: str = ""


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
        if amount > sighting.most:
            sighting.most = amount
        return sighting


@dataclass(slots=True)
class SessionPart:
    """A session as one reading has it. order: number of its first connection."""

    order: int
    kind: str
    initiator_name: str
    target_name: str
    isid: str
    tsih: int
    negotiated: dict[str, str]
    connections: list[int]


@dataclass(slots=True)
class Part:
    """What one pass over some of the connections brings; several make a review together.

    findings and events carry the connection's number in place of the session's, and events the place of their finding in
    `findings`. order, events_order: where each stands among those of its connection and when, to merge by.
    """

    sessions: list[SessionPart] = field(default_factory=list)
    connections: dict[int, ConnectionReview] = field(default_factory=dict)
    facts: dict[int, ConnectionFacts] = field(default_factory=dict)
    findings: list[ReviewFinding] = field(default_factory=list)
    events: list[ReviewEvent] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    gaps: list[Gap] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    traces: list[CommandTrace] = field(default_factory=list)
    advertised: dict[Endpoint, Sighting] = field(default_factory=dict)
    unanswered: dict[Endpoint, Sighting] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    paused: Sighting | None = None
