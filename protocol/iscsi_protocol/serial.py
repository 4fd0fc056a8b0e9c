"""Serial number arithmetic over 32 bits (RFC 1982 sections 3.1 and 3.2), as RFC 7143 section 4.2.2 asks for CmdSN, StatSN,
DataSN and R2TSN.

Serial numbers are plain ints in 0..2^32-1. RFC 1982 leaves the order of two numbers 2^31 apart undefined; here neither
is less than, nor greater than, the other, so that every comparison of such a pair is false.
"""

from __future__ import annotations

MODULUS = 2**32
HALF = 2**31

_MASK = MODULUS - 1


class SerialRangeError(ValueError):
    """A step that RFC 1982 section 3.1 does not define. `step` is the number of places asked for."""

    clause = "R7143-4.2.2.1-10"

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step

    def __str__(self) -> str:
        return f"a serial number moves by less than 2^31 at a time, not by {self.step}"


def add(sn: int, n: int = 1) -> int:
    """The serial number n places after `sn`; a negative n goes back. |n| is below 2^31, else SerialRangeError."""
    if not -HALF < n < HALF:
        raise SerialRangeError(n)
    return (sn + n) & _MASK


def diff(a: int, b: int) -> int:
    """How far a is ahead of b, in -2^31..2^31-1; exactly -2^31 means that their order is undefined."""
    return ((a - b + HALF) & _MASK) - HALF


def comparable(a: int, b: int) -> bool:
    """Whether RFC 1982 section 3.2 gives a and b an order (or they are equal)."""
    return (a - b) & _MASK != HALF


def lt(a: int, b: int) -> bool:
    """Whether a comes before b."""
    return 0 < (b - a) & _MASK < HALF


def le(a: int, b: int) -> bool:
    """Whether a is b or comes before it."""
    return (b - a) & _MASK < HALF


def gt(a: int, b: int) -> bool:
    """Whether a comes after b."""
    return 0 < (a - b) & _MASK < HALF


def ge(a: int, b: int) -> bool:
    """Whether a is b or comes after it."""
    return (a - b) & _MASK < HALF


def in_range(sn: int, low: int, high: int) -> bool:
    """Whether sn lies in low..high, both included. A range whose high comes before its low holds nothing."""
    span = (high - low) & _MASK
    return span < HALF and (sn - low) & _MASK <= span


def window(low: int, high: int) -> int:
    """How many numbers low..high holds, both included: the command window for ExpCmdSN and MaxCmdSN. 0 when closed."""
    return max(0, diff(high, low) + 1)
