"""Quantities for people: seconds, bytes and moments with a unit that suits their size, and round numbers for axes."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
"""Seconds in one, and the unit's name; the largest first."""
RATE_UNITS = ((1e9, "GB/s"), (1e6, "MB/s"), (1e3, "kB/s"), (1.0, "B/s"))
"""Bytes a second in one, and the unit's name."""
_SIZE_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
_DIGITS = 3
_LATEST = 253_402_300_800.0  # the year 10000, which no date reaches


def unit_for(largest: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The largest of the units that `largest` fills at least once; the smallest where none does."""
    return next(((size, name) for size, name in units if largest >= size), units[-1])


def number(value: float) -> str:
    """Three significant digits without an exponent, and no zeros behind the point that say nothing."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    places = max(0, _DIGITS - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def duration(seconds: float) -> str:
    """A length of time, such as "12.3 ms"."""
    size, name = unit_for(abs(seconds), TIME_UNITS)
    return f"{number(seconds / size)} {name}"


def size(count: int) -> str:
    """So many bytes: "64 KiB", "37 bytes"."""
    for unit, name in _SIZE_UNITS:
        if count >= unit:
            return f"{number(count / unit)} {name}"
    return f"{count} byte" if count == 1 else f"{count} bytes"


def rate(bytes_per_second: float) -> str:
    """Bytes a second: "1.2 MB/s"."""
    unit, name = unit_for(bytes_per_second, RATE_UNITS)
    return f"{number(bytes_per_second / unit)} {name}"


def moment(epoch: float) -> str:
    """A time of the capture in UTC with microseconds; plain seconds where no calendar has it."""
    if not 0 <= epoch < _LATEST:
        return f"{epoch:.6f} s"
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def round_steps(low: float, high: float, wanted: int, *, whole: bool = False) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, about `wanted` of them. whole: integers only.

    Where high is not above low it is low alone.
    """
    if not high > low:
        return [low]
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    if whole:
        step = max(1.0, step)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
