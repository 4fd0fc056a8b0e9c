"""Moving whole disks: what `iscsi-initiator read`, `write` and `copy` do with files and LUNs.

A side is something with a length that is read or written in pieces at an offset in bytes. Several pieces are on their way
at a time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, Self

PIECE = 1024 * 1024
"""Bytes moved at a time; a multiple of every block size that there is."""
PIECES_AT_ONCE = 4

Progress = Callable[[int], None]
"""Told how many bytes more were moved."""


class CopyError(Exception):
    """The two sides do not fit each other."""


class Disk(Protocol):
    """What a client offers of its LUN."""

    async def capacity(self) -> tuple[int, int]:
        """(blocks, bytes in a block)."""

    async def read_into(self, lba: int, buffer: memoryview) -> None:
        """Read blocks."""

    async def write(self, lba: int, data: memoryview) -> None:
        """Write blocks."""

    async def flush(self) -> None:
        """Have written blocks reach the medium."""


class Side(Protocol):
    """One end of a copy. granularity: offsets and lengths are multiples of it; size: bytes, None where it grows."""

    granularity: int
    size: int | None

    async def read(self, offset: int, buffer: memoryview) -> None:
        """Fill the buffer with what lies at offset."""

    async def write(self, offset: int, data: memoryview) -> None:
        """Put data at offset."""

    async def finish(self) -> None:
        """All was written."""


class DiskSide:
    """A LUN."""

    def __init__(self, disk: Disk, blocks: int, block_size: int) -> None:
        self._disk = disk
        self.granularity = block_size
        self.size: int | None = blocks * block_size

    @classmethod
    async def of(cls, disk: Disk) -> Self:
        """The LUN of a client."""
        return cls(disk, *await disk.capacity())

    async def read(self, offset: int, buffer: memoryview) -> None:
        """See `Side`."""
        await self._disk.read_into(offset // self.granularity, buffer)

    async def write(self, offset: int, data: memoryview) -> None:
        """See `Side`. A last block that is filled in part keeps the rest of what was there."""
        whole = len(data) - len(data) % self.granularity
        first = offset // self.granularity
        if whole:
            await self._disk.write(first, data[:whole])
        if whole < len(data):
            block = bytearray(self.granularity)
            at = first + whole // self.granularity
            await self._disk.read_into(at, memoryview(block))
            block[: len(data) - whole] = data[whole:]
            await self._disk.write(at, memoryview(block))

    async def finish(self) -> None:
        """See `Side`."""
        await self._disk.flush()


class FileSide:
    """A file, or a block device."""

    def __init__(self, path: Path, *, writing: bool) -> None:
        flags = os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY
        self._descriptor = os.open(path, flags, 0o666)
        self.granularity = 1
        self.size: int | None = None if writing else os.lseek(self._descriptor, 0, os.SEEK_END)

    async def read(self, offset: int, buffer: memoryview) -> None:
        """See `Side`. Raises OSError, CopyError for a file that got shorter."""
        while len(buffer):
            done = os.preadv(self._descriptor, [buffer], offset)
            if not done:
                raise CopyError("the file ended while it was read")
            buffer, offset = buffer[done:], offset + done

    async def write(self, offset: int, data: memoryview) -> None:
        """See `Side`. Raises OSError."""
        while len(data):
            done = os.pwrite(self._descriptor, data, offset)
            data, offset = data[done:], offset + done

    async def finish(self) -> None:
        """See `Side`."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


async def copy(
    source: Side,
    target: Side,
    *,
    source_offset: int = 0,
    target_offset: int = 0,
    length: int | None = None,
    progress: Progress = lambda _: None,
    start: Callable[[Awaitable[int]], Awaitable[int]],
) -> int:
    """Move bytes, and give their number. length: None for all that the source has from its offset on.

    start: begins a piece at once and gives what to wait for (asyncio.ensure_future). Raises CopyError where they do not
    fit, and what the sides raise.
    """
    if length is None:
        if source.size is None:
            raise CopyError("the source's length is not known")
        length = source.size - source_offset
    _check(source, source_offset, length, "source")
    _check(target, target_offset, length, "target")
    waiting: deque[Awaitable[int]] = deque()
    for at in range(0, length, PIECE):
        size = min(PIECE, length - at)
        waiting.append(start(_piece(source, target, source_offset + at, target_offset + at, size)))
        if len(waiting) >= PIECES_AT_ONCE:
            progress(await waiting.popleft())
    while waiting:
        progress(await waiting.popleft())
    await target.finish()
    return length


def _check(side: Side, offset: int, length: int, name: str) -> None:
    if offset < 0 or length < 0:
        raise CopyError(f"the {name} has nothing before its begin")
    if offset % side.granularity:
        raise CopyError(f"an offset in the {name} is a multiple of {side.granularity} bytes")
    if side.size is not None and offset + length > side.size:
        raise CopyError(f"the {name} has {side.size} bytes, {offset + length} are asked for")


async def _piece(source: Side, target: Side, source_offset: int, target_offset: int, size: int) -> int:
    padded = size + -size % source.granularity
    buffer = bytearray(padded)
    await source.read(source_offset, memoryview(buffer))
    await target.write(target_offset, memoryview(buffer)[:size])
    return size
