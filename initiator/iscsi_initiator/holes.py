"""Numbers of a stream of which some are missing: StatSN of a connection, DataSN and R2TSN of a task (RFC 7143 4.2.2)."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_HALF = 0x80000000

Run = tuple[int, int]
"""The first number of a run, and how many there are."""


def within(number: int, run: Run) -> bool:
    """Whether a number belongs to a run, in serial arithmetic."""
    return (number - run[0]) & _MASK < run[1]


class Holes:
    """first: the first number that does not count yet; top: one past the highest that is known to be in use.

    It is kept only as long as it is not `closed`. What it holds is bounded by what came, however far a number jumps.
    """

    __slots__ = ("_came", "_withheld", "first", "top")

    def __init__(self, first: int) -> None:
        self.first = self.top = first
        self._came: dict[int, int] = {}
        self._withheld: set[int] = set()

    @property
    def closed(self) -> bool:
        """Whether all numbers count."""
        return self.first == self.top

    def ahead(self, number: int) -> bool:
        """Whether a number is one that nothing was known of so far."""
        return (number - self.top) & _MASK < _HALF

    def missing(self, number: int) -> bool:
        """Whether a number is one that others came behind, and that did not come itself."""
        inside = (number - self.first) & _MASK < (self.top - self.first) & _MASK
        return inside and number not in self._came and number not in self._withheld

    def reveal(self, number: int) -> Run:
        """Everything below this number, which is ahead, is in use: the run that is thereby known to be missing."""
        run = (self.top, (number - self.top) & _MASK)
        self.top = number
        return run

    def take(self, number: int, size: int = 0) -> list[int]:
        """A number that is missing, withheld or the next came: the sizes of all that counts by that, in order."""
        if number == self.top:
            self.top = (number + 1) & _MASK
        self._withheld.discard(number)
        self._came[number] = size
        sizes: list[int] = []
        while self.first in self._came:
            sizes.append(self._came.pop(self.first))
            self.first = (self.first + 1) & _MASK
        return sizes

    def reopen(self, number: int) -> None:
        """A number that came last, or was the last to close a hole, is missing after all."""
        self._withheld.discard(number)
        if self._came.pop(number, None) is not None or self.missing(number):
            return
        at = (number + 1) & _MASK
        while at != self.first:
            self._came[at] = 0
            at = (at + 1) & _MASK
        self.first = number

    def withhold(self, number: int) -> None:
        """As `reopen`, but it came, and only does not count until it is taken again."""
        self.reopen(number)
        self._withheld.add(number)

    def withheld(self, number: int) -> bool:
        """Whether a number came and does not count yet."""
        return number in self._withheld

    def left(self, run: Run) -> Run | None:
        """What of a run is to be asked for again: from its first number that is missing to its end; None for nothing."""
        at, count = run
        passed = (self.first - at) & _MASK
        if passed < _HALF:
            at, count = self.first, count - passed
        while count > 0 and not self.missing(at):
            if at == self.top:
                return None
            at, count = (at + 1) & _MASK, count - 1
        return (at, count) if count > 0 else None
