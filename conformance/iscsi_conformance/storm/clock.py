"""The time of an initiator in a storm: the loop's, told so that the history shows what the engine goes by.

It stands still within a turn of the loop, so that a PDU is recorded at the time at which the engine made it or takes it. What
the engine has due it does before time goes on. And a loop that is late, because others have the processor, makes up for it
one deadline a turn, so that what waits in the sockets is not too late for that alone.
"""

from __future__ import annotations

import asyncio

from iscsi_initiator.engine import InitiatorEngine

TICK = 1e-6
"""Seconds that time goes on behind a deadline, so that what follows it does not come with it."""


class TurnClock:
    """A clock for `Client.connect`. engine: the one that goes by it, once there is one."""

    def __init__(self) -> None:
        self.engine: InitiatorEngine | None = None
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time()
        self._stands = False

    def __call__(self) -> float:
        """Seconds on the loop's clock, or behind it."""
        if not self._stands:
            self._stands = True
            self._loop.call_soon(self._go_on)
            now, engine = self._loop.time(), self.engine
            due = None if engine is None else engine.next_deadline()
            if engine is not None and due is not None and due <= now:
                now = self._meet(engine, max(self._now, due))
            self._now = max(self._now, now)
        return self._now

    def _meet(self, engine: InitiatorEngine, now: float) -> float:
        """Have the engine do what is due by now; the time behind that."""
        after = now + TICK
        while (due := engine.next_deadline()) is not None and due <= after:
            self._now = max(self._now, due)
            engine.handle_timer(self._now)
        return after

    def _go_on(self) -> None:
        self._stands = False
