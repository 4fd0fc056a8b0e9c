"""Where predictions go, and when something may run out of time next."""

from __future__ import annotations

from collections.abc import Callable

Emit = Callable[[int, int, float, bytes], None]
"""Takes an event, the number of its connection, its time, its dump."""

NEVER = float("inf")


class Journal:
    """due: a time before which nothing runs out of time; it may be too early, never too late."""

    __slots__ = ("_emit", "due")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.due = NEVER

    def log(self, event: int, connection: int, now: float, dump: bytes = b"") -> None:
        """An event is due."""
        self._emit(event, connection, now, dump)

    def expect(self, due: float) -> None:
        """Something runs out of time then."""
        self.due = min(self.due, due)
