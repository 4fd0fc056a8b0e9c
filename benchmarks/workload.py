"""What is measured of a target: transfers of one size, so many at a time."""

from __future__ import annotations

from dataclasses import dataclass

SIZE = 256 << 20
"""Bytes of every logical unit, small enough for the page cache."""

BLOCK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """size: bytes of a transfer; depth: how many are on their way at once."""

    size: int
    depth: int
    random: bool
    write: bool

    def __str__(self) -> str:
        kind = ("random" if self.random else "sequential") + (" write" if self.write else " read")
        return f"{self.size >> 10} KiB {kind}, depth {self.depth}"

    @property
    def unit(self) -> str:
        """What is told of it: small transfers are counted, large ones weighed."""
        return "MB/s" if self.size >= 1 << 16 else "IOPS"

    def in_units(self, transfers: float) -> float:
        """Transfers per second in that unit."""
        return transfers * self.size / 1e6 if self.unit == "MB/s" else transfers


WORKLOADS = (
    Workload(size=4096, depth=1, random=True, write=False),
    Workload(size=4096, depth=32, random=True, write=False),
    Workload(size=4096, depth=32, random=True, write=True),
    Workload(size=262144, depth=8, random=False, write=False),
    Workload(size=262144, depth=8, random=False, write=True),
)
