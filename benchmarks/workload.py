"""What is measured of a target: transfers of one size, so many at a time."""

from __future__ import annotations

from dataclasses import dataclass

SIZE = 256 << 20
"""Bytes of every logical unit, small enough for the page cache."""

BLOCK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """size: bytes of a transfer; depth: how many are on their way at once; header_digest: whether there
    is one, which is up to the target: libiscsi offers None,CRC32C.
    """

    size: int
    depth: int
    random: bool
    write: bool
    header_digest: bool = False

    def __str__(self) -> str:
        kind = ("random" if self.random else "sequential") + (" write" if self.write else " read")
        digest = ", header digest" if self.header_digest else ""
        return f"{self.size >> 10} KiB {kind}, depth {self.depth}{digest}"

    @property
    def unit(self) -> str:
        """What is told of it: small transfers are counted, large ones weighed."""
        return "MB/s" if self.size >= 1 << 16 else "IOPS"

    def in_units(self, transfers: float) -> float:
        """Transfers per second in that unit."""
        return transfers * self.size / 1e6 if self.unit == "MB/s" else transfers


READ_ALONE = Workload(size=4096, depth=1, random=True, write=False)
WRITE_ALONE = Workload(size=4096, depth=1, random=True, write=True)
READ_MANY = Workload(size=4096, depth=32, random=True, write=False)
READ_DIGEST = Workload(size=4096, depth=32, random=True, write=False, header_digest=True)
WRITE_MANY = Workload(size=4096, depth=32, random=True, write=True)
READ_LARGE = Workload(size=262144, depth=8, random=False, write=False)
WRITE_LARGE = Workload(size=262144, depth=8, random=False, write=True)

WORKLOADS = (READ_ALONE, WRITE_ALONE, READ_MANY, READ_DIGEST, WRITE_MANY, READ_LARGE, WRITE_LARGE)
