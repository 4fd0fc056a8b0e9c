"""The buffers of a trace: filled in memory, written to the file later, the oldest overwritten where none is free (guide,
Appendix A: `-nb`, `-bs`).

What is written is always the end of what stands there already, so that whatever a killed process leaves can be read up to its
last whole entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from iscsi_initiator.tracing.layout import END, HEAD_LENGTH, HEADER_LENGTH, BufferHead, Mode, encode_entry

SMALLEST_BUFFER = 4096
"""Bytes; any message fits into it."""

Write = Callable[[int, bytes], None]
"""Writes bytes at an offset of the file, all of them. Raises OSError."""


@dataclass(slots=True)
class _Buffer:
    """number: from 1; place: offset in the file, None while nothing of it is there; written: bytes that are; ends: where
    each entry that is not written ends.
    """

    data: bytearray
    number: int = 0
    used: int = 0
    written: int = 0
    place: int | None = None
    ends: deque[int] = field(default_factory=deque)

    def reuse(self) -> None:
        """It is empty, and another one."""
        self.used = self.written = 0
        self.place = None
        self.ends.clear()


class Ring:
    """size: bytes of a buffer; minimum, maximum: how many there are; mode, slots: of the file, in which slots is how many
    buffers it has room for, 0 for any number.

    entries: that were put; lost: of those, how many will never be written; buffers_written: to the file, begun ones too.
    Raises ValueError for numbers that are out of bounds.
    """

    def __init__(self, size: int, minimum: int, maximum: int, *, mode: Mode = Mode.SEQUENTIAL, slots: int = 0) -> None:
        if size < SMALLEST_BUFFER or not 2 <= minimum <= maximum:
            raise ValueError(f"{minimum} to {maximum} buffers of {size} bytes")
        if mode is Mode.CIRCULAR and not slots:
            raise ValueError("a circular file has a size")
        self.size = size
        self.minimum = minimum
        self.maximum = maximum
        self.mode = mode
        self.slots = slots
        self.entries = 0
        self.lost = 0
        self.buffers_written = 0
        self.last_number = 0
        self._current: _Buffer | None = None
        self._full: deque[_Buffer] = deque()
        self._free = [_Buffer(bytearray(size)) for _ in range(minimum)]
        self._made = minimum

    @property
    def buffers(self) -> int:
        """How many there are in memory."""
        return self._made

    @property
    def free(self) -> int:
        """How many of them are empty."""
        return len(self._free)

    @property
    def unwritten(self) -> bool:
        """Whether there is anything to flush."""
        return bool(self._full) or (self._current is not None and bool(self._current.ends))

    def put(self, body: bytes, time: int) -> bool:
        """Put a message; whether a buffer has filled up, so that flushing is due. time: of the message, nanoseconds."""
        self.entries += 1
        current, filled = self._current, False
        if current is not None and current.used + len(body) + 8 > self.size:
            self._full.append(current)
            current, filled = None, True
        if current is None:
            current = self._current = self._begin(time)
        entry = encode_entry(body, current.number)
        end = current.used + len(entry)
        current.data[current.used : end] = entry
        current.used = end
        current.ends.append(end)
        return filled

    def _begin(self, time: int) -> _Buffer:
        """An empty buffer, at the cost of the oldest where there is none."""
        if self._free:
            buffer = self._free.pop()
        elif self._made < self.maximum:
            buffer = _Buffer(bytearray(self.size))
            self._made += 1
        else:
            buffer = self._full.popleft()
            self.lost += len(buffer.ends)
            buffer.reuse()
        self.last_number += 1
        buffer.number = self.last_number
        head = BufferHead(buffer.number, self.lost, time).encode()
        buffer.data[:HEAD_LENGTH] = head
        buffer.used = HEAD_LENGTH
        return buffer

    def flush(self, write: Write) -> None:
        """Write what is not written. What cannot be stays, and is tried again the next time. Raises OSError."""
        while self._full:
            buffer = self._full[0]
            self._write(buffer, write)
            self._full.popleft()
            buffer.reuse()
            if self._made > self.minimum:
                self._made -= 1
            else:
                self._free.append(buffer)
        if self._current is not None and self._current.ends:
            self._write(self._current, write)

    def _write(self, buffer: _Buffer, write: Write) -> None:
        if not buffer.ends:
            return
        if buffer.place is None:
            place = self._next_place()
            if place is None:
                self.lost += len(buffer.ends)
                buffer.ends.clear()
                return
        else:
            place = buffer.place
        piece = bytes(buffer.data[buffer.written : buffer.used])
        if buffer.used + len(END) <= self.size:
            piece += END
        write(place + buffer.written, piece)
        if buffer.place is None:
            buffer.place = place
            self.buffers_written += 1
        buffer.written = buffer.used
        buffer.ends.clear()

    def give_up(self) -> None:
        """Nothing more will be written: what is not counts as lost."""
        for buffer in (*self._full, *([] if self._current is None else [self._current])):
            self.lost += len(buffer.ends)
            buffer.ends.clear()

    def _next_place(self) -> int | None:
        """Where the next buffer goes; None where a sequential file is full."""
        number = self.buffers_written
        if self.slots and number >= self.slots:
            if self.mode is Mode.SEQUENTIAL:
                return None
            number %= self.slots
        return HEADER_LENGTH + number * self.size

    @property
    def file_size(self) -> int:
        """Bytes that the file has at most by now."""
        written = min(self.buffers_written, self.slots) if self.slots else self.buffers_written
        return HEADER_LENGTH + written * self.size
