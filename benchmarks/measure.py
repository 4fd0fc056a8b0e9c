"""Samples of interleaved rounds, and what is told of them: median, lowest, highest."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of some samples."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Spread:
        """Of at least one sample."""
        return cls(statistics.median(samples), min(samples), max(samples))

    @classmethod
    def of_ratios(cls, ours: Sequence[float], theirs: Sequence[float]) -> Spread:
        """Of ours / theirs, round by round, so that what slows down a whole round cancels out."""
        return cls.of([a / b for a, b in zip(ours, theirs, strict=True)])


def rate(once: Callable[[], int], seconds: float) -> float:
    """Things per second of a function that does some and tells how many; called until the time is up, at least once."""
    once()
    done, started = 0, time.perf_counter()
    limit = started + seconds
    while True:
        done += once()
        now = time.perf_counter()
        if now >= limit:
            return done / (now - started)
