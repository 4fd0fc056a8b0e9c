"""Into what pieces the network cuts what the target sends."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks:
    """size: bytes of a piece, 0 for as they come. spread: sizes vary from 1 to `size`, in an order that it decides."""

    size: int = 0
    spread: int = 0

    def pieces(self, data: bytes) -> Iterable[bytes]:
        """The data, cut."""
        if not self.size:
            return (data,)
        return self._cut(data)

    def _cut(self, data: bytes) -> Iterable[bytes]:
        place, state = 0, self.spread
        while place < len(data):
            size = self.size
            if self.spread:
                state = (state * 1103515245 + 12345) & 0x7FFFFFFF
                size = 1 + (state >> 8) % size
            yield data[place : place + size]
            place += size


WHOLE = Chunks()
