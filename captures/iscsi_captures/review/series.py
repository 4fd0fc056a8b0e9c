"""What a connection did over time, and how long its commands took: in bounded memory, however long the capture is."""

from __future__ import annotations

from collections.abc import Iterator
from math import exp, floor, log

from iscsi_captures.review.model import BUCKETS_KEPT, Latency, Load

FIRST_WIDTH = 2.0**-10
"""Seconds of a bucket to begin with; a power of two, so that buckets that were merged have exact limits."""

_PER_STEP = 20.0
"""Latencies that differ by a factor of exp(1/20), 5 percent, may share a class."""
_SHORTEST = 1e-7
_SHORTEST_STEP = floor(log(_SHORTEST) * _PER_STEP)


class Series:
    """Buckets of equal width from `start` on; where `most` are not enough, two become one.

    A row is a bucket: commands, bytes in, bytes out, depth, sum of latencies, longest latency. What is added counts for the
    current one, which is over at `until`. depth: most commands open at once since it began. moved: bytes each way, likewise.
    """

    __slots__ = ("_index", "_most", "_rows", "depth", "moved", "row", "start", "until", "width")

    def __init__(self, start: float, most: int = BUCKETS_KEPT) -> None:
        self._most = most
        self.start = start
        self.width = FIRST_WIDTH
        self.row: list[float] = _empty()
        self._rows = [self.row]
        self._index = 0
        self.until = start + FIRST_WIDTH
        self.moved = [0, 0]
        self.depth = 0

    def turn(self, now: float, depth: int) -> None:
        """Time has gone on behind `until`: the bucket of `now` becomes the current one. depth: commands open now."""
        self._settle()
        index = int((now - self.start) / self.width)
        while index >= self._most:
            self._merge()
            index = int((now - self.start) / self.width)
        rows = self._rows
        while len(rows) <= index:
            row = _empty()
            row[3] = depth
            rows.append(row)
        self._index = index
        self.row = rows[index]
        self.until = self.start + (index + 1) * self.width
        self.depth = depth

    def ended(self, latency: float) -> None:
        """A command ended after so many seconds."""
        row = self.row
        row[0] += 1
        row[4] += latency
        row[5] = max(row[5], latency)

    def load(self, connection: int, total: Latency | None) -> Load:
        """All of it as the review has it."""
        self._settle()
        rows = self._rows
        return Load(
            connection=connection,
            start=self.start,
            width=self.width,
            commands=[int(row[0]) for row in rows],
            bytes_in=[int(row[1]) for row in rows],
            bytes_out=[int(row[2]) for row in rows],
            depth=[int(row[3]) for row in rows],
            latency=[row[4] / row[0] if row[0] else 0.0 for row in rows],
            latency_max=[row[5] for row in rows],
            total=total,
        )

    def _settle(self) -> None:
        """Book what was counted since the current bucket began."""
        row, moved = self.row, self.moved
        row[2] += moved[0]
        row[1] += moved[1]
        moved[0] = moved[1] = 0
        row[3] = max(row[3], self.depth)

    def _merge(self) -> None:
        rows = self._rows
        if len(rows) % 2:
            rows.append(_empty())
        self._rows = [
            [
                one[0] + other[0],
                one[1] + other[1],
                one[2] + other[2],
                max(one[3], other[3]),
                one[4] + other[4],
                max(one[5], other[5]),
            ]
            for one, other in _pairs(rows)
        ]
        self.width *= 2


def _pairs(rows: list[list[float]]) -> Iterator[tuple[list[float], list[float]]]:
    return zip(rows[::2], rows[1::2], strict=True)


def _empty() -> list[float]:
    return [0, 0, 0, 0, 0.0, 0.0]


class Latencies:
    """A histogram of latencies in classes of 5 percent."""

    __slots__ = ("_classes", "_longest", "_sum", "count")

    def __init__(self) -> None:
        self._classes: dict[int, int] = {}
        self._sum = 0.0
        self._longest = 0.0
        self.count = 0

    def add(self, latency: float) -> None:
        """One more, in seconds."""
        self.count += 1
        self._sum += latency
        self._longest = max(self._longest, latency)
        step = floor(log(latency) * _PER_STEP) if latency > _SHORTEST else _SHORTEST_STEP
        classes = self._classes
        classes[step] = classes.get(step, 0) + 1

    def at(self, share: float) -> float:
        """The latency that this share of all does not exceed; 0.0 where there are none."""
        wanted, seen = share * self.count, 0
        for step in sorted(self._classes):
            seen += self._classes[step]
            if seen >= wanted:
                return min(self._longest, exp((step + 1) / _PER_STEP))
        return 0.0

    def total(self) -> Latency | None:
        """The figures; None where nothing was added."""
        if not self.count:
            return None
        return Latency(
            count=self.count,
            mean=self._sum / self.count,
            median=self.at(0.5),
            p90=self.at(0.9),
            p99=self.at(0.99),
            p999=self.at(0.999),
            longest=self._longest,
        )
