"""The time of an initiator in a storm: the loop's, told so that the history shows what the engine goes by.

It stands still within a turn of the loop, so that a PDU is recorded at the time at which the engine made it or takes it. What
the engine has due it does before time goes on. And where the loop is late, because others had the processor, time waits at
each deadline for some turns, so that an answer that lies in the sockets is not too late for that alone.
"""

from __future__ import annotations

import asyncio

from iscsi_initiator.engine import InitiatorEngine

TICK = 1e-6
"""Seconds that time goes on behind a deadline, so that what follows it does not come with it."""

LATE = 0.05
"""Seconds behind a deadline from which on the loop is late."""
GRACE = 40
"""Turns that time waits at a deadline then: enough for a request and its answer."""


class TurnClock:
    """A clock for `Client.connect`. engine: the one that goes by it, once there is one."""

    def __init__(self) -> None:
        self.engine: InitiatorEngine | None = None
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time()
        self._stands = False
        self._waited = 0

    def __call__(self) -> float:
        """Seconds on the loop's clock, or behind it."""
        if not self._stands:
            self._stands = True
            self._loop.call_soon(self._go_on)
            now, engine = self._loop.time(), self.engine
            due = None if engine is None else engine.next_deadline()
            if engine is not None and due is not None and due <= now:
                if now - due > LATE and self._waited < GRACE:
                    self._waited += 1
                    now = due - TICK
                else:
                    self._waited = 0
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
