"""Deadlines of the engine: a heap of (when, what, about whom). Time is an argument everywhere."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class Timer(Enum):
    """What may run out."""

    LOGIN = "login"
    PING_INTERVAL = "ping interval"
    PING_ANSWER = "ping answer"
    LOGOUT_REQUEST = "logout request"
    DATA_OUT = "data-out"
    HALF_CLOSED = "half-closed"
    SESSION_STATE = "session state"
    RETAINED = "retained session"
    COMMAND_GAP = "command gap"


@dataclass(order=True, slots=True)
class Entry:
    """One deadline. key: number of the connection, or TSIH for the session's own timer."""

    when: float
    order: int
    timer: Timer = field(compare=False)
    key: int = field(compare=False)


FEW = 1024
"""So many entries are not worth a look."""


class Timers:
    """Entries are not taken back when what they are about is over: whoever is called looks whether the deadline still means
    anything. But once there are twice as many as the last look has left, those that mean nothing are dropped.

    means: whether an entry still does; without it all do.
    """

    def __init__(self, means: Callable[[Entry], bool] | None = None) -> None:
        self._heap: list[Entry] = []
        self._order = 0
        self._means = means
        self._many = FEW

    def __len__(self) -> int:
        return len(self._heap)

    def start(self, timer: Timer, key: int, when: float) -> None:
        """Have the pair returned by `due` from `when` on."""
        self._order += 1
        heapq.heappush(self._heap, Entry(when, self._order, timer, key))
        if len(self._heap) > self._many and self._means is not None:
            self._heap = [each for each in self._heap if self._means(each)]
            heapq.heapify(self._heap)
            self._many = max(FEW, 2 * len(self._heap))

    def next_deadline(self) -> float | None:
        """The earliest deadline, or None."""
        return self._heap[0].when if self._heap else None

    def due(self, now: float) -> list[Entry]:
        """Everything whose time has come, in order, removed."""
        found = []
        while self._heap and self._heap[0].when <= now:
            found.append(heapq.heappop(self._heap))
        return found
