"""Opening what is to be read: files and streams, plain or compressed, as bytes in large pieces."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import zstandard

from iscsi_captures.reading.sink import CaptureError, Source

PIECE = 1 << 18
"""Bytes that are read at once."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_WINDOW = 1 << 27
"""Largest window in bytes that a zstd stream may ask for."""
_BROKEN = (OSError, EOFError, zlib.error, zstandard.ZstdError)

Read = Callable[[int], bytes]


class _Joined:
    """A stream whose first bytes were looked at already."""

    def __init__(self, head: bytes, read: Read) -> None:
        self._head = head
        self._read = read

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as many as there are now and at most `size`."""
        if self._head:
            size = len(self._head) if size < 0 else size
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._read(PIECE if size < 0 else size)


class Input:
    """One source as bytes. name: for people; compression: "", "gzip" or "zstd"; size: of the file in bytes, None for streams.

    damage: why the compressed stream could not be read on. told: called for every piece that was taken from the file.
    """

    def __init__(self, source: Source) -> None:
        """Open it. Raises CaptureError."""
        self.damage: str | None = None
        self.size: int | None = None
        self._owned = isinstance(source, str | Path) and source != "-"
        if isinstance(source, str | Path):
            self.name = "standard input" if source == "-" else str(source)
            self._stream = _open(source, self.name)
        else:
            self.name = str(getattr(source, "name", "the stream"))
            self._stream = source
        if self._owned:
            self.size = Path(self.name).stat().st_size
        self.told: Callable[[], None] = _nobody
        self._taken = 0
        self.head = self._peek()
        self.compression, self._read = self._decompressed()

    def close(self) -> None:
        """Close it, if it was opened here."""
        if self._owned:
            self._stream.close()

    @property
    def taken(self) -> int:
        """Bytes of the file that were read so far."""
        return self._taken

    def read(self, least: int = 1) -> bytes:
        """The next piece, of at least so many bytes where there are as many. Empty at the end; `damage` may say why."""
        parts: list[bytes] = []
        have = 0
        while have < least:
            try:
                more = self._read(max(PIECE, least - have))
            except _BROKEN as error:
                self.damage = f"{self.compression or 'reading'}: {' '.join(str(error).split())}"
                self._read = _nothing
                break
            if not more:
                break
            parts.append(more)
            have += len(more)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, size: int) -> bytes:
        """Whatever there is now, for a capture may still be running; waits only when there is nothing."""
        once = getattr(self._stream, "read1", self._stream.read)
        data: bytes = once(size) or b""
        self._taken += len(data)
        if data:
            self.told()
        return data

    def _peek(self) -> bytes:
        head = b""
        try:
            while len(head) < 4 and (more := self._take(PIECE)):
                head += more
        except OSError as error:
            raise CaptureError(f"{self.name}: {error.strerror or error}") from None
        return head

    def _decompressed(self) -> tuple[str, Read]:
        joined = _Joined(self.head, self._take)
        stream = cast("BinaryIO", joined)
        if self.head.startswith(_GZIP):
            return "gzip", gzip.GzipFile(fileobj=stream, mode="rb").read1
        if self.head.startswith(_ZSTD):
            decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
            reader: Any = decompressor.stream_reader(stream, read_across_frames=True)
            return "zstd", reader.read1
        return "", joined.read


class Pieces:
    """The bytes of a file, piece by piece. Only what lies across two pieces is joined, so that no piece is copied.

    start: where in the file the buffer begins that `behind` gave last.
    """

    def __init__(self, read: Read) -> None:
        """read: gives the next piece, of at least so many bytes where there are as many."""
        self.start = 0
        self._read = read
        self._piece = b""
        self._at = 0
        self._piece_start = 0

    def behind(self, buffer: bytes, position: int, missing: int) -> tuple[bytes, int]:
        """Another buffer in place of this one, which is used up to a position, with up to `missing` bytes more; the position
        in it. The same buffer means that the file is at its end.
        """
        if self._at >= len(self._piece):
            piece = self._read(missing)
            if not piece:
                return buffer, position
            self._piece, self._at = piece, 0
            self._piece_start = self.start + len(buffer)
        if position == len(buffer):
            self.start = self._piece_start
            taken, at = self._piece, self._at
            self._piece, self._at = b"", 0
            return taken, at
        self.start += position
        joined = buffer[position:] + self._piece[self._at : self._at + missing]
        self._at += missing
        return joined, 0


def _nothing(_size: int) -> bytes:
    return b""


def _nobody() -> None:
    """Nobody wants to know how far the reading is."""


def _open(source: str | Path, name: str) -> BinaryIO:
    if source == "-":
        return sys.stdin.buffer
    try:
        return Path(source).open("rb", buffering=0)
    except OSError as error:
        raise CaptureError(f"{name}: {error.strerror or error}") from None
