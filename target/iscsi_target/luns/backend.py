"""What the device server asks of the place where blocks are kept.

Offsets and lengths are bytes, multiples of the block size, and within the unit: the device server checked them. A back
end fails by OSError alone; its errno decides which sense data the initiator gets.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from iscsi_target.completion import Buffer, FileSlice


class LunError(ValueError):
    """A logical unit that cannot be opened as configured; one line that says why."""


class Extent(NamedTuple):
    """A run of bytes that have storage behind them, or have none."""

    mapped: bool
    length: int


class Backend(Protocol):
    """Storage of one logical unit. `luns.check_backend` tells whether an implementation keeps this contract."""

    block_size: int
    """512 or 4096."""
    blocks: int
    """Number of logical blocks, at least 1."""
    granularity: int
    """Bytes in which storage is really written and given back; a multiple of the block size."""
    read_only: bool
    """The storage itself cannot be written."""
    thin: bool
    """`unmap` gives storage back, and `extent` knows what has storage."""
    slow: bool
    """`flush`, `unmap` and long writes may wait for a device, so they are done in a worker."""

    def read(self, offset: int, length: int) -> Buffer | FileSlice:
        """The bytes, as a buffer that a later write does not change, or as a slice of a file."""

    def load(self, offset: int, length: int) -> Buffer:
        """The bytes, always as such a buffer."""

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of the data. It is readable when this returns, and stable after the next `flush`."""

    def unmap(self, offset: int, length: int) -> None:
        """Make the bytes read as zeros; a thin back end gives their storage back where it can."""

    def uninterrupted(self) -> AbstractContextManager[object]:
        """While it is entered, nobody else writes or unmaps: what was read is what is written over."""

    def extent(self, offset: int) -> Extent:
        """Whether the byte at an offset has storage, and for how many bytes from there on this holds (1 or more)."""

    def prefetch(self, offset: int, length: int) -> None:
        """Advice that the bytes will be read soon."""

    def flush(self) -> None:
        """Return when all that was written is stable; what was lost once is never claimed to be. May be called from other
        threads.
        """

    def close(self) -> None:
        """Let go of the storage; nothing is called after this but `close`, which then does nothing."""
