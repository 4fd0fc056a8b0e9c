"""A logical unit in memory, thin provisioned by a map of its blocks.

Reads copy: the copy of 256 KiB costs a few microseconds, and what was read keeps its bytes (and its data digest) when
another command writes to the same blocks before it is sent. The unit can be copied with everything in it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from iscsi_target.completion import Buffer
from iscsi_target.luns.backend import Extent, LunError

_HOLE, _MAPPED = b"\0", b"\1"


class MemoryLun:
    """`size` bytes of zeros at first, a positive multiple of the block size. Raises LunError for another size, and
    for one that memory does not hold.
    """

    read_only = False
    thin = True
    slow = False

    def __init__(self, size: int, *, block_size: int = 512, granularity: int | None = None) -> None:
        if size <= 0 or size % block_size:
            raise LunError(f"{size} bytes are no positive multiple of the block size {block_size}")
        self.block_size = block_size
        self.blocks = size // block_size
        self.granularity = granularity or block_size
        try:
            self._bytes = bytearray(size)
            self._map = bytearray(self.blocks)
        except MemoryError as error:
            raise LunError(f"{size} bytes are more memory than there is") from error

    def read(self, offset: int, length: int) -> bytes:
        """The bytes, copied."""
        with memoryview(self._bytes) as view:
            return bytes(view[offset : offset + length])

    load = read

    def write(self, offset: int, data: Buffer) -> None:
        """Write the data and mark its blocks mapped."""
        length = len(data)
        self._bytes[offset : offset + length] = data
        first, count = offset // self.block_size, length // self.block_size
        self._map[first : first + count] = _MAPPED * count

    def unmap(self, offset: int, length: int) -> None:
        """Zero the blocks and mark them unmapped."""
        self._bytes[offset : offset + length] = bytes(length)
        first, count = offset // self.block_size, length // self.block_size
        self._map[first : first + count] = bytes(count)

    def uninterrupted(self) -> AbstractContextManager[object]:
        """No worker writes to memory but a sanitize operation, beside which nothing else does."""
        return nullcontext()

    def extent(self, offset: int) -> Extent:
        """Mapped or not, by whole blocks."""
        first = offset // self.block_size
        mapped = bool(self._map[first])
        end = self._map.find(_HOLE if mapped else _MAPPED, first)
        return Extent(mapped, (self.blocks if end < 0 else end) * self.block_size - offset)

    def prefetch(self, offset: int, length: int) -> None:
        """Memory is as near as it gets."""

    def flush(self) -> None:
        """Memory is as stable as this unit gets."""

    def close(self) -> None:
        """Nothing to let go of before the object itself goes."""
