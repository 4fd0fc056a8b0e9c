"""The timeline: its first lines and its last ones, however many there are."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from iscsi_captures.review.model import MOMENTS_KEPT, Moment

HALF = MOMENTS_KEPT // 2


class Moments:
    """Takes moments as they come; keeps the first HALF and the last HALF of them."""

    def __init__(self) -> None:
        self._first: list[Moment] = []
        self._last: deque[Moment] = deque(maxlen=HALF)

    def add(self, moment: Moment) -> None:
        """One more."""
        if len(self._first) < HALF:
            self._first.append(moment)
        else:
            self._last.append(moment)

    def all(self) -> list[Moment]:
        """Those that were kept, in order."""
        return [*self._first, *self._last]


def merged(parts: Iterable[list[Moment]]) -> list[Moment]:
    """Several timelines as one, again the first HALF and the last HALF."""
    moments = sorted((moment for part in parts for moment in part), key=lambda moment: (moment.time, moment.frame))
    return moments if len(moments) <= MOMENTS_KEPT else [*moments[:HALF], *moments[-HALF:]]
