"""Runs of serial numbers that are missing, and those that were asked for again (RFC 7143 7.2, 11.16)."""

from __future__ import annotations

_MASK = 0xFFFFFFFF
_HALF = 1 << 31
RUNS_KEPT = 256


class Gaps:
    """What is missing of one count. Numbers that were asked for once may come again any number of times."""

    __slots__ = ("asked", "missing")

    def __init__(self) -> None:
        self.missing: list[tuple[int, int]] = []
        self.asked: list[tuple[int, int]] = []

    def __bool__(self) -> bool:
        return bool(self.missing)

    def add(self, first: int, last: int) -> None:
        """Numbers first to last are missing, and are asked for."""
        self.missing.append((first, last))
        self.ask(first, last)
        del self.missing[:-RUNS_KEPT]

    def ask(self, first: int, last: int) -> None:
        """Numbers first to last may come again."""
        self.asked.append((first, last))
        del self.asked[:-RUNS_KEPT]

    def fill(self, number: int) -> bool:
        """A number came: whether it was missing."""
        for place, (first, last) in enumerate(self.missing):
            if within(number, first, last):
                rest = []
                if number != first:
                    rest.append((first, (number - 1) & _MASK))
                if number != last:
                    rest.append(((number + 1) & _MASK, last))
                self.missing[place : place + 1] = rest
                return True
        return False

    def lacks(self, number: int) -> bool:
        """Whether a number is missing."""
        return any(within(number, first, last) for first, last in self.missing)

    def first_in(self, begin: int, end: int) -> int | None:
        """The first missing number of a run, None where none is missing."""
        found = None
        for first, last in self.missing:
            at = begin if within(begin, first, last) else first
            if within(at, begin, end) and (found is None or within(at, begin, found)):
                found = at
        return found

    def may_come(self, number: int) -> bool:
        """Whether a number was asked for."""
        return any(within(number, first, last) for first, last in self.asked)


def within(number: int, first: int, last: int) -> bool:
    """Whether a serial number lies in a run, both ends included."""
    return (number - first) & _MASK <= (last - first) & _MASK


def ahead(number: int, of: int) -> bool:
    """Whether a serial number is equal to another or comes behind it."""
    return (number - of) & _MASK < _HALF
