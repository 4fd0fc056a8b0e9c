"""The target's side of the wire in a storm: which connections are spoilt, by what, and what of it has struck."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from iscsi_conformance.storm.kinds import Kind, draw
from iscsi_protocol.fault import Fault, FaultyWire
from iscsi_protocol.history import Endpoint

MOST_AT_ONCE = 4
"""Faults that wait on one connection."""


class Spoiler:
    """Makes the wires of one session after another. on_strike: is told the initiator's end of the connection, and what
    struck it, before the initiator can see anything of it.
    """

    def __init__(self, on_strike: Callable[[Endpoint, Kind], None]) -> None:
        self._on_strike = on_strike
        self._dice: Random | None = None
        self._digests = False
        self._left = 0
        self._accepted = 0

    def begin(self, dice: Random, *, digests: bool, connections: int) -> None:
        """A session begins, of which so many connections are spoilt, most of the first ones among them."""
        self._dice, self._digests, self._left, self._accepted = dice, digests, connections, 0

    def calm(self) -> None:
        """Connections that come from now on are sound."""
        self._left = 0

    def make_wire(self, remote: Endpoint) -> FaultyWire | None:
        """See `WireMaker`."""
        self._accepted += 1
        dice = self._dice
        if dice is None or not self._left or dice.random() < 0.2:
            return None
        self._left -= 1
        drawn = [
            draw(dice, digests=self._digests, login=self._accepted > 1) for _ in range(dice.randint(1, MOST_AT_ONCE))
        ]
        kinds = {id(fault): kind for kind, fault in drawn}

        def fired(fault: Fault, _: float) -> None:
            self._on_strike(remote, kinds[id(fault)])

        return FaultyWire([fault for _, fault in drawn], on_fired=fired)
