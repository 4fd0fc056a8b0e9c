"""The time of a logical unit (SPC-4 5.2): the system's, until somebody sets another."""

from __future__ import annotations

import time
from dataclasses import dataclass

from iscsi_protocol.scsi.maintenance import TimestampOrigin

_48_BITS = (1 << 48) - 1


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000


@dataclass(kw_only=True, slots=True)
class DeviceClock:
    """ahead: milliseconds by which the unit's time is ahead of the system's. origin: who said so."""

    ahead: int = 0
    origin: int = TimestampOrigin.OTHERWISE

    def now(self) -> int:
        """Milliseconds since 1970-01-01 UTC, 48 bits."""
        return (_milliseconds() + self.ahead) & _48_BITS

    def set(self, milliseconds: int) -> None:
        """It is so late now."""
        self.ahead = milliseconds - _milliseconds()
        self.origin = TimestampOrigin.SET_TIMESTAMP
