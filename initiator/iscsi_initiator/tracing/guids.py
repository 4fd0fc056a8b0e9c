"""The file that the guide has written before a trace: the driver's GUID, flags and level in one line (Appendix A)."""

from __future__ import annotations

import re
from pathlib import Path

from iscsi_initiator.tracing.flags import LEVELS, ULONG_MAX

DRIVER = "1babefb4-59cb-49e5-9698-fd38ac830a91"
"""What the guide has for the driver."""

_LINE = re.compile(
    r"\{?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\}?\s+(0x[0-9a-f]{1,8}|[0-9]{1,10})\s+([0-9]{1,3})", re.IGNORECASE
)
_SIZE = 65536


def parse_providers(data: bytes) -> tuple[int, int]:
    """Flags and level out of the first line that is not empty. Raises ValueError, whose text says what is wrong."""
    text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) != 1:
        raise ValueError(f"one line with a GUID, flags and a level is wanted, not {len(lines)}")
    found = _LINE.fullmatch(lines[0])
    if found is None:
        raise ValueError("the line is no GUID, flags and level, such as {…} 0x00000007 0")
    if found[1].lower() != DRIVER:
        raise ValueError(f"{{{found[1].lower()}}} is no driver here; {{{DRIVER}}} is")
    flags, level = int(found[2], 0) if found[2][:2].lower() == "0x" else int(found[2]), int(found[3])
    if flags > ULONG_MAX or level not in LEVELS:
        raise ValueError(f"flags have 32 bits, a level is {LEVELS[0]} to {LEVELS[-1]}")
    return flags, level


def read_providers(path: Path) -> tuple[int, int]:
    """See `parse_providers`. Raises OSError besides."""
    with path.open("rb") as opened:
        return parse_providers(opened.read(_SIZE))
