"""The timers and counters of MPIO (guide, Appendix F): names, units, defaults and bounds as there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from iscsi_initiator.settings import Setting

_ULONG = 0xFFFFFFFF

MPIO_TIMERS = (
    Setting(1, "PathVerifyEnabled", "path_verify_enabled", "boolean", 0, 1),
    Setting(2, "PathVerificationPeriod", "path_verification_period", "s", 1, _ULONG),
    Setting(3, "PDORemovePeriod", "pdo_remove_period", "s", 0, _ULONG),
    Setting(4, "RetryCount", "retry_count", "count", 0, _ULONG),
    Setting(5, "RetryInterval", "retry_interval", "s", 0, _ULONG),
)
"""Every row of the guide's list, in its order. A period of no seconds would have paths verified without end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MpioTimers:
    """Values of the rows, the guide's defaults unless said. Raises ValueError for one that is out of bounds.

    path_verify_enabled: whether all paths are verified every path_verification_period seconds. pdo_remove_period: seconds
    that a device outlives its last path. retry_count, retry_interval: how often a request that may be tried again is, and
    how many seconds later.
    """

    path_verify_enabled: bool = False
    path_verification_period: float = 30
    pdo_remove_period: float = 20
    retry_count: int = 3
    retry_interval: float = 1

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """From values by the rows' names, as the store and `.reg` files have them. Raises ValueError."""
        return cls(**{row.field: stored[row.name] for row in MPIO_TIMERS if row.name in stored})

    def __post_init__(self) -> None:
        for row in MPIO_TIMERS:
            value = getattr(self, row.field)
            if not row.low <= value <= row.high:
                raise ValueError(f"{row.name} is {row.low:g} to {row.high:g}, not {value}")
