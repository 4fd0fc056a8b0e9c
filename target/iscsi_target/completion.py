"""What the device server answers: finished commands, work still to be done, and pieces of files among the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class FileSlice(NamedTuple):
    """`length` bytes of an open file from `offset` on, fit for sendfile. The descriptor is borrowed: who closes the
    logical unit outlives its completions. `failed` is to be called when the bytes cannot be had.
    """

    fd: int
    offset: int
    length: int
    failed: Callable[[], None] | None = None

    def slice(self, start: int, stop: int) -> FileSlice:
        """The bytes start to stop (exclusive), clipped to this piece as a buffer's slice is."""
        stop = min(stop, self.length)
        start = min(start, stop)
        return FileSlice(self.fd, self.offset + start, stop - start, self.failed)


Piece: TypeAlias = Buffer | FileSlice


class Completion:
    """A command that is over.

    status: SCSI status. sense: sense data without its 2-byte length, empty unless CHECK CONDITION. data: what goes to
    the initiator, one piece or several in order. length: bytes of data.
    """

    __slots__ = ("data", "length", "sense", "status")

    def __init__(
        self, status: int = 0, data: Piece | tuple[Piece, ...] = b"", length: int = 0, sense: bytes = b""
    ) -> None:
        self.status = status
        self.data = data
        self.length = length
        self.sense = sense

    def __repr__(self) -> str:
        return f"Completion(status={self.status:#04x}, length={self.length}, sense={self.sense.hex()!r})"


class QualifiedCompletion(Completion):
    """A command that was not taken: BUSY or TASK SET FULL. qualifier: when to try again, in units of 100 ms (SAM-5 5.3.2),
    which is told from iSCSIProtocolLevel 2 on (RFC 7144 5.2.1).
    """

    __slots__ = ("qualifier",)

    def __init__(self, status: int, qualifier: int) -> None:
        super().__init__(status)
        self.qualifier = qualifier


class Work:
    """The slow rest of a command. `run` never raises, touches nothing but the back end, and may run in another thread. What
    takes long is done in steps: `run` gives the rest of the work. `abandon` is called in place of `run` when nobody waits
    for that rest any more.
    """

    __slots__ = ("abandon", "run")

    def __init__(self, run: Callable[[], Completion | Work], abandon: Callable[[], None] | None = None) -> None:
        self.run = run
        self.abandon = abandon


def cut(pieces: tuple[Piece, ...], start: int, stop: int) -> list[Piece]:
    """Bytes start to stop of the pieces, not copied."""
    found: list[Piece] = []
    position = 0
    for piece in pieces:
        size = piece.length if type(piece) is FileSlice else len(piece)
        low, high = max(start - position, 0), min(stop - position, size)
        if low < high:
            found.append(_cut_one(piece, low, high, size))
        position += size
        if position >= stop:
            break
    return found


def _cut_one(piece: Piece, low: int, high: int, size: int) -> Piece:
    if isinstance(piece, FileSlice):
        return piece.slice(low, high)
    if low == 0 and high == size:
        return piece
    return memoryview(piece)[low:high]
