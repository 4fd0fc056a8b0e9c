"""Which bytes of a range have come: what a recovery R2T has to ask for (RFC 7143 7.8, 11.8)."""

from __future__ import annotations

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
    before = sum(high - low for low, high in extents)
    apart = [(low, high) for low, high in extents if high < start or low > end]
    joined = [(low, high) for low, high in extents if high >= start and low <= end]
    low = min([start, *(low for low, _ in joined)])
    high = max([end, *(high for _, high in joined)])
    extents[:] = sorted([*apart, (low, high)])
    return sum(high - low for low, high in extents) > before


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
