"""Reading a trace file, finished or not: its messages in order, and remarks about what is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iscsi_initiator.tracing.layout import (
    END,
    HEAD_LENGTH,
    HEADER_LENGTH,
    BufferHead,
    Closing,
    FileHeader,
    LayoutError,
    Mode,
    decode_entry,
)
from iscsi_initiator.tracing.ring import SMALLEST_BUFFER
from iscsi_initiator.tracing.teller import Message

MAX_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the file that is no message. damage: it is not as its writer left it."""

    text: str
    damage: bool = True


class TraceReader:
    """header: what the trace was; closing: what it came to, None where it was not stopped. Raises OSError, LayoutError."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        try:
            head = self._file.read(HEADER_LENGTH)
            self.header = FileHeader.decode(head)
            if not SMALLEST_BUFFER <= self.header.buffer_size <= MAX_BUFFER:
                raise LayoutError(f"the header of the trace file has buffers of {self.header.buffer_size} bytes")
            self.closing = Closing.decode(head)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self) -> Iterator[Message | Remark]:
        """Every message, the oldest first, with remarks where some are missing."""
        remarks, heads = self._heads()
        yield from remarks
        lost = max([0 if self.closing is None else self.closing.lost, *(head.lost for _, head in heads)])
        before = 0
        for number, (place, head) in enumerate(heads):
            gap = head.number - before - 1
            if gap:
                where = f"before buffer {head.number}" if before else "before the first that is here"
                overwritten = self.header.mode is Mode.CIRCULAR and not before
                yield Remark(f"{gap} buffers are missing {where}", damage=not (lost or overwritten))
            before = head.number
            yield from self._entries(place, head, last=number == len(heads) - 1)
        if self.closing is None:
            yield Remark("the trace was not stopped when this was written", damage=False)
        elif self.closing.buffers > before and not lost:
            yield Remark(f"{self.closing.buffers - before} buffers are missing at the end")
        if lost:
            yield Remark(f"{lost} messages were lost", damage=False)

    def _heads(self) -> tuple[list[Remark], list[tuple[int, BufferHead]]]:
        """Place and head of every buffer, by number; and what is wrong with slots."""
        size = os.fstat(self._file.fileno()).st_size
        found, remarks = [], []
        for place in range(HEADER_LENGTH, size, self.header.buffer_size):
            self._file.seek(place)
            data = self._file.read(HEAD_LENGTH)
            head = BufferHead.decode(data)
            if head is None:
                last = place + self.header.buffer_size >= size
                torn = last and len(data) < HEAD_LENGTH and self.closing is None
                remarks.append(Remark(f"no buffer at byte {place}", damage=not torn))
            else:
                found.append((place, head))
        return remarks, sorted(found, key=lambda each: each[1].number)

    def _entries(self, place: int, head: BufferHead, *, last: bool) -> Iterator[Message | Remark]:
        self._file.seek(place)
        data = self._file.read(self.header.buffer_size)
        if BufferHead.decode(data) != head:
            yield Remark(f"buffer {head.number} was overwritten while this was read", damage=False)
            return
        offset = HEAD_LENGTH
        # The newest buffer ends anyhow where its writer was killed.
        torn = last and self.closing is None
        while True:
            try:
                message, offset = decode_entry(data, offset, head.number)
            except LayoutError as error:
                yield Remark(f"buffer {head.number}: {error}, at byte {place + offset}", damage=not torn)
                return
            if message is None:
                if len(data) < offset + len(END) <= self.header.buffer_size:
                    yield Remark(f"buffer {head.number} is cut off, at byte {place + len(data)}", damage=not torn)
                return
            yield message
