"""An event loop on a virtual clock: time passes only when nothing else is left to do, and then at once.

Tests with timers run on it together with the in-memory pipe; a time-out of a minute costs microseconds. Real sockets have
no place on it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Everything waits, and no timer will ever end it."""


class LivelockError(RuntimeError):
    """Things go on and on, and no time passes."""


TURNS = 300_000
"""Turns of the loop at one instant behind which nobody believes that it will end."""


class _InstantSelector(selectors.DefaultSelector):
    """A selector that, instead of waiting, tells the loop that the time has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.elapsed = 0.0
        self._turns = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            self._turns += 1
            if self._turns > TURNS:
                raise LivelockError(f"{TURNS} turns of the loop at {self.elapsed:g} s on the virtual clock")
            return ready
        self._turns = 0
        if timeout is None:
            raise DeadlockError("nothing is left to happen on the virtual clock")
        self.elapsed += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio loop whose `time()` is virtual and starts at 0."""

    def __init__(self) -> None:
        self._instant = _InstantSelector()
        super().__init__(self._instant)

    def time(self) -> float:
        """Seconds since the loop was made, on the virtual clock."""
        return self._instant.elapsed


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a virtual loop of its own. Raises what it raises, DeadlockError or LivelockError.

    An exception that a callback of the loop raised is raised here too, once the coroutine has ended: nothing goes unseen.
    """
    unseen: list[BaseException] = []

    def keep(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        unseen.append(context.get("exception") or RuntimeError(context["message"]))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.get_loop().set_exception_handler(keep)
        result = runner.run(main)
    if unseen:
        raise unseen[0]
    return result
