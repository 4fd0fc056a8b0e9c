"""Whether a TCP connection is iSCSI, and who is the initiator: by its port, by its login, or by what its segments look like.

A connection that was seen from its start has to begin with a Login Request (6.3). One whose start is missing is watched for
segments that PDUs fill from end to end.
"""

from __future__ import annotations

from enum import Enum, auto

from iscsi_captures.reading import shapes
from iscsi_captures.reading.network import Segment
from iscsi_protocol.stream import Direction

SYN, ACK = 2, 16

MOST_SEGMENTS = 512
MOST_BYTES = 1 << 18
"""Segments and bytes after which a connection that looks like nothing known is left alone."""
SOON = 24
"""Segments with data, none of which looks like iSCSI, after which it is left alone."""
_ENOUGH = 2


class Verdict(Enum):
    """What is known of a connection."""

    OPEN = auto()
    ISCSI = auto()
    OTHER = auto()


class Candidate:
    """A connection that was not judged yet, with all of its segments so far.

    key: of the direction seen first. initiator: whether that direction is the initiator's, None while unknown.
    """

    __slots__ = (
        "_first",
        "_fits",
        "_start",
        "_text",
        "answered",
        "bytes",
        "data_segments",
        "initiator",
        "key",
        "segments",
        "syns",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.segments: list[tuple[int, float, Segment]] = []
        self.bytes = 0
        self.initiator: bool | None = None
        self.data_segments = 0
        self.syns = 0
        self.answered = False
        self._start: int | None = None
        self._text = b""
        # By whether the key's direction is taken for the initiator's: segments that fit.
        self._fits = {True: 0, False: 0}

    def add(self, frame: int, time: float, segment: Segment) -> Verdict:
        """One more segment."""
        self.segments.append((frame, time, segment))
        payload = segment.payload
        self.bytes += len(payload)
        ours = segment.key == self.key
        if segment.flags & SYN:
            opener = ours is not bool(segment.flags & ACK)
            self.initiator = opener
            if segment.flags & ACK:
                self.answered = True
            else:
                self.syns += 1
                self._start = segment.sequence + 1 & 0xFFFFFFFF
            return Verdict.OPEN
        if self.syns or self.answered:
            self.answered = True
        if not payload:
            return self._bounded()
        self.data_segments += 1
        if self._start is not None:
            return self._login(ours, segment)
        return self._middle(ours, payload)

    def likely(self) -> bool:
        """At the end of the capture, when no more evidence can be had: whether what there is will do."""
        if self._start is not None or self._fits[True] == self._fits[False]:
            return False
        self.initiator = self._fits[True] > self._fits[False]
        return True

    def _login(self, ours: bool, segment: Segment) -> Verdict:
        """A connection whose start was seen: its first bytes decide."""
        if ours is not self.initiator or segment.sequence != (self._start or 0) + len(self._text) & 0xFFFFFFFF:
            # Before the login a target says nothing; segments out of order get some time.
            return Verdict.OTHER if self.data_segments > SOON else self._bounded()
        self._text += segment.payload[:6]
        if len(self._text) >= 6:
            return Verdict.ISCSI if shapes.LOGIN.match(self._text) else Verdict.OTHER
        return self._bounded()

    def _middle(self, ours: bool, payload: bytes) -> Verdict:
        if len(payload) >= 48:
            for mine in (True, False):
                direction = Direction.TO_TARGET if mine is ours else Direction.TO_INITIATOR
                if not shapes.is_header(direction, payload):
                    continue
                fits = 0
                for digests in shapes.COMBINATIONS:
                    found = shapes.chain(direction, payload, 0, digests, ())
                    if not found.broken:
                        fits = max(fits, 2 * (found.headers > 2) or found.ends or found.headers > 1)
                self._fits[mine] += fits
                if self._fits[mine] >= _ENOUGH and self._fits[mine] > self._fits[not mine]:
                    self.initiator = mine
                    return Verdict.ISCSI
        if self.data_segments >= SOON and not any(self._fits.values()):
            return Verdict.OTHER
        return self._bounded()

    def _bounded(self) -> Verdict:
        if self.bytes > MOST_BYTES or len(self.segments) > MOST_SEGMENTS:
            return Verdict.ISCSI if self.likely() else Verdict.OTHER
        return Verdict.OPEN
