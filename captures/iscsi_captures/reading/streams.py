"""Both directions of one connection as PDUs: the login's digests, or what they are taken for where there is no login."""

from __future__ import annotations

from collections import deque
from collections.abc import Container
from typing import TYPE_CHECKING, Any

from iscsi_captures.reading import notes
from iscsi_captures.reading.cutter import Cutter
from iscsi_captures.reading.shapes import COMBINATIONS, Combination, Found
from iscsi_protocol.pdu.raw import RawPdu
from iscsi_protocol.stream import Direction, LoginWatch

if TYPE_CHECKING:
    from iscsi_captures.reading.sink import Sink

INFERRED_OVER = 6
"""PDUs that are looked at before it is said which digests a connection has."""

_LOGIN = frozenset((0x03, 0x23))
_MOST_RESERVED = 64 << 20
_MOST_REMEMBERED = 256


class Budget:
    """What all connections share. used: bytes that wait in memory, limit: how many may; recent: the last segments with data,
    as half, position, buffer, start and end in it, to hold repetitions against.
    """

    def __init__(self, limit: int = _MOST_RESERVED) -> None:
        self.limit = limit
        self.used = 0
        self.recent: deque[tuple[Any, int, bytes, int, int]] = deque(maxlen=_MOST_REMEMBERED)


class Streams:
    """What both cutters of a connection share.

    header_digest: whether PDUs carry one; data_digest: the same, None as long as no PDU with data has shown it;
    watching: the login is not over; inferring: the digests were inferred, and the next PDUs are held against that.
    """

    def __init__(self, number: int, sink: Sink, counts: list[int], budget: Budget) -> None:
        self.number = number
        self.sink = sink
        self.counts = counts
        self.budget = budget
        self.header_digest = False
        self.data_digest: bool | None = False
        self.watching = True
        self.inferring = False
        self._known = False
        self._over = 0
        self._weight = 0
        self.login = LoginWatch()
        self.cutters = (Cutter(self, Direction.TO_TARGET), Cutter(self, Direction.TO_INITIATOR))

    def note(self, kind: type[notes.Note], frame: int, time: float, direction: Direction | None, **facts: Any) -> None:
        """Tell the sink something about this connection."""
        self.sink.note(kind(connection=self.number, frame=frame, time=time, direction=direction, **facts))

    def start_in_the_middle(self) -> None:
        """The login is not in the capture."""
        self.watching = False
        for cutter in self.cutters:
            cutter.seek()

    def reserve(self, count: int) -> None:
        """So many bytes more wait, or fewer."""
        self.budget.used += count

    @property
    def crowded(self) -> bool:
        """Whether more bytes wait than may."""
        return self.budget.used > self.budget.limit

    def lost(self) -> None:
        """One direction has lost its place. During the login nobody can tell any more what it comes to."""
        if self.watching and not self.login.full_feature:
            self.watching = False
        self._judge()

    def doubt(self) -> None:
        """What was inferred does not hold."""
        if not self.login.full_feature:
            self._known = False
            self.inferring = False

    def combinations(self) -> tuple[Combination, ...]:
        """The digests that may be in force."""
        if self._known or self.login.full_feature:
            if self.data_digest is None:
                return ((self.header_digest, False), (self.header_digest, True))
            return ((self.header_digest, self.data_digest),)
        return COMBINATIONS

    def tags(self) -> Container[int]:
        """Initiator Task Tags seen last."""
        return {int.from_bytes(cutter.last[16:20], "big") for cutter in self.cutters if cutter.last}

    def settle(self, found: Found) -> None:
        """A PDU was found by its looks, which may have shown the digests too."""
        if not self._known and not self.login.full_feature:
            self._known = self.inferring = True
            self.header_digest = found.digests[0]
            self.data_digest = found.digests[1] if found.evidence.data else None
            self._over = 0
            self._weight = found.evidence.weight
        self._judge()

    def settle_data(self, carried: bool) -> None:
        """The first PDU with data has shown whether data has digests."""
        self.data_digest = carried
        self._judge()

    def watch(self, direction: Direction, raw: RawPdu, time: float, frame: int) -> None:
        """A PDU of the login, or one that bears out what was inferred."""
        if self.watching:
            self.login.watch(direction, raw)
            if self.login.full_feature:
                self.watching = False
                self.header_digest, self.data_digest = self.login.header_digest, self.login.data_digest
                self._judge()
        if self.inferring:
            self._over += 1
            self._weight += 2 + 2 * self.header_digest
            if self._over >= INFERRED_OVER:
                self._tell(time, frame)

    def finish(self, time: float, frame: int) -> None:
        """The connection is over, or the capture."""
        for cutter in self.cutters:
            cutter.finish(time, frame)
        if self.inferring:
            self._tell(time, frame)

    def _tell(self, time: float, frame: int) -> None:
        self.inferring = False
        confidence = round(1 - 0.5 ** min(self._weight, 20), 3)
        self.note(
            notes.DigestsInferred,
            frame,
            time,
            None,
            header=self.header_digest,
            data=bool(self.data_digest),
            confidence=confidence,
            over=self._over,
        )
        self._judge()

    def _judge(self) -> None:
        for cutter in self.cutters:
            cutter.judge()
