"""Which bytes of a range have come: what a recovery R2T has to ask for (RFC 7143 7.8, 11.8)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from typing import TypeAlias

Extents: TypeAlias = list[tuple[int, int]]
"""(start, end) of bytes that are there, rising, neither touching nor overlapping."""


def cover(extents: Extents, start: int, end: int) -> bool:
    """Add the bytes from start to end (exclusive); whether any of them was not there."""
    if start >= end:
        return False
    if extents and extents[-1][1] == start:
        # Data that comes in order.
        extents[-1] = (extents[-1][0], end)
        return True
    # What touches or overlaps the new bytes stands side by side.
    first = bisect_left(extents, start, key=itemgetter(1))
    last = bisect_right(extents, end, key=itemgetter(0))
    joined = extents[first:last]
    if not joined:
        extents.insert(first, (start, end))
        return True
    low, high = min(start, joined[0][0]), max(end, joined[-1][1])
    extents[first:last] = [(low, high)]
    return high - low > sum(high - low for low, high in joined)


def holes(extents: Extents, start: int, end: int) -> Extents:
    """What is not there of the bytes from start to end (exclusive)."""
    found = []
    position = start
    for low, high in extents:
        if low >= end:
            break
        if low > position:
            found.append((position, low))
        position = max(position, high)
    if position < end:
        found.append((position, end))
    return found
