"""The categories of debug messages, one row each, and the masks that name them (guide, "Debug Logging", Appendix E)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

ULONG_MAX = 0xFFFFFFFF
SPEW_ALL = ULONG_MAX
TROUBLESHOOTING = 0x006F0007
"""What the guide has for most purposes."""

TRACE_FLAGS = 0x00000007
"""The flags of a trace in the guide's example (Appendix A)."""


FATAL = 0x00000001
ERROR = 0x00000002
WARNING = 0x00000004
INFORMATION = 0x00000008
RECURRING = 0x00000010
DRIVER_PROBLEM = 0x00010000
WMI_API = 0x00020000
MEMORY = 0x00040000
TCP = 0x00080000
REFCOUNT = 0x00100000
PROCTHREADIDS = 0x00200000
TIMESTAMP = 0x00400000
"""Bits of DebugSpewLevel and of a trace's flags; plain numbers, because they are tested where every microsecond counts."""


@dataclass(frozen=True, slots=True)
class Category:
    """One row. name: as the guide has it; level: the lowest level of a trace that tells of it, 1 to 5, or 0 for what is no
    message but stands before them all in the log; tells: what is told.
    """

    mask: int
    name: str
    level: int
    tells: str


CATEGORIES = (
    Category(FATAL, "SPEW_FATAL", 1, "why the service cannot go on or not start, and its own defects"),
    Category(ERROR, "SPEW_ERROR", 2, "what failed: operations that were refused, events of the service"),
    Category(
        WARNING,
        "SPEW_WARNING",
        3,
        "sessions and connections that were lost, what becomes of paths and devices, warning codes",
    ),
    Category(INFORMATION, "SPEW_INFORMATION", 4, "states of the service, sessions that are up and what they agreed on"),
    Category(RECURRING, "SPEW_RECURRING", 5, "each PDU that is sent or received, by its header"),
    Category(DRIVER_PROBLEM, "SPEW_DRIVER_PROBLEM", 2, "events of the driver, but for shortages"),
    Category(
        WMI_API, "SPEW_WMI_API", 4, "operations of the service and the driver's questions to it, with their outcomes"
    ),
    Category(MEMORY, "SPEW_MEMORY", 3, "shortages, what a session may have, buffers that wait for the network"),
    Category(TCP, "SPEW_TCP", 4, "TCP connections that are begun, come up, fail and end, and each send"),
    Category(
        REFCOUNT, "SPEW_REFCOUNT", 5, "how many sessions, connections and open devices there are, whenever that changes"
    ),
    Category(PROCTHREADIDS, "SPEW_PROCTHREADIDS", 0, "process and thread before each line of the log"),
    Category(TIMESTAMP, "SPEW_TIMESTAMP", 0, "the time before each line of the log"),
)
"""Every bit of the guide."""

MESSAGES = sum(row.mask for row in CATEGORIES if row.level)
"""The bits that there are messages for."""

LEVELS = range(6)
"""0 for all that the flags name; 1 critical, 2 errors, 3 warnings, 4 information, 5 all."""

NAMES = {row.mask: row.name for row in CATEGORIES}


def effective(flags: int, level: int = 0) -> int:
    """The bits that messages are told for. level: of LEVELS."""
    return sum(row.mask for row in CATEGORIES if row.level and row.mask & flags and (not level or row.level <= level))


def parse_flags(text: str) -> int:
    """A mask as `0x006f0007`, a decimal number, or names of the table with `|` or `,` between them, with SPEW_ or without, in
    whatever case; `all` for every bit. Raises ValueError.
    """
    known = {row.name: row.mask for row in CATEGORIES} | {"SPEW_ALL": SPEW_ALL}
    flags = 0
    for word in text.replace("|", ",").split(","):
        name = word.strip().upper()
        if name.isascii() and name[:1].isdecimal():
            try:
                number = int(name, 16 if name.startswith("0X") else 10)
            except ValueError:
                raise ValueError(f"{word.strip()!r} is no number") from None
        else:
            number = known.get(name if name.startswith("SPEW_") else f"SPEW_{name}", -1)
            if number < 0:
                raise ValueError(f"{word.strip()!r} is no flag")
        if number > ULONG_MAX:
            raise ValueError(f"flags have 32 bits, {word.strip()} has more")
        flags |= number
    return flags


def names_of(flags: int) -> list[str]:
    """The names of the bits that are known, the lowest first."""
    return [row.name for row in CATEGORIES if row.mask & flags]


def name_of(mask: int) -> str:
    """The name of one bit, its number where it is not known."""
    return NAMES.get(mask, f"{mask:#010x}")


def merged(masks: Iterable[int]) -> int:
    """Every bit of some masks."""
    found = 0
    for mask in masks:
        found |= mask
    return found
