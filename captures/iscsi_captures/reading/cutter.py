"""Cutting one direction of a connection into PDUs, as an onlooker has to: quickly, and on behind what is missing.

As long as nothing is missing this does what `iscsi_protocol.stream` does. A gap within the data of a read or write leaves a
PDU with zeros in its place; behind any other gap the next PDU is sought by its looks.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from iscsi_captures.reading import notes, shapes
from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.history import BytesRecord, PduRecord
from iscsi_protocol.pdu.raw import Buffer, RawPdu
from iscsi_protocol.stream import Direction

if TYPE_CHECKING:
    from iscsi_captures.reading.streams import Streams

CUT_SHORT = "the stream ended within a PDU"
CONDEMNED = "the data of a header whose digest is wrong"
NOT_WHOLE = "a PDU of which bytes are missing in the capture"
SKIPPED = "no PDU was found here"
CROWDED = "a PDU left out, since too many bytes waited"

SEEK_LIMIT = 1 << 18
"""Bytes that are looked through for a PDU before they are let go."""
UNSURE_FOR = 8
"""PDUs behind one that was found by its looks that have to look like PDUs too."""

_word = struct.Struct(">I").unpack_from
_BULK = frozenset((0x01, 0x05, 0x25))
_VIEW_FROM = 1024
"""Data segments of this many bytes and more are handed out as views."""


class _Nowhere(list[bytes]):
    """Where the parts of a PDU go that is not kept."""

    def append(self, _part: bytes) -> None:
        """Forget it."""


class Cutter:
    """One direction. `feed` and `gap` take the stream in order; records go to the sink of `streams`."""

    __slots__ = (
        "_bad",
        "_condemned",
        "_finding",
        "_first",
        "_holes",
        "_marks",
        "_need",
        "_parts",
        "_phase",
        "_reserved",
        "_sought",
        "_sought_from",
        "_step",
        "_stub",
        "_stub_frame",
        "_unsure",
        "counts",
        "direction",
        "last",
        "number",
        "plain",
        "record",
        "seeking",
        "streams",
    )

    def __init__(self, streams: Streams, direction: Direction) -> None:
        """It starts where a PDU starts; `seek` says that it does not."""
        self.streams = streams
        self.direction = direction
        self.number = streams.number
        self.record = streams.sink.record
        self.counts = streams.counts
        self.plain = False
        self.seeking = False
        self.last = b""
        # Less than a header with its AHS and digest.
        self._stub = b""
        self._stub_frame = 0
        # A PDU whose length is known: what is there of it, and the bytes still to come.
        self._parts: list[bytes] = []
        self._need = 0
        self._first = 0
        self._reserved = 0
        self._condemned = False
        self._holes = False
        self._bad = 0
        self._unsure = 0
        # Seeking: the bytes looked through, where each segment of them starts, and where PDUs can start.
        self._sought = bytearray()
        self._sought_from = 0
        self._marks: list[tuple[int, float, int]] = []
        self._step = 1
        self._phase = 0
        self._finding = False

    def judge(self) -> None:
        """See anew whether the quick way will do: no digests, no login to watch, no doubt."""
        streams = self.streams
        self.plain = not (
            streams.watching
            or streams.header_digest
            or streams.data_digest is not False
            or self._unsure
            or streams.inferring
        )

    def feed(self, buffer: bytes, at: int, stop: int, time: float, frame: int) -> None:
        """The next bytes of the stream: buffer[at:stop], captured then and there."""
        need = self._need
        if need:
            if stop - at < need:
                self._parts.append(buffer[at:stop])
                self._need = need - stop + at
                return
            self._parts.append(buffer[at : at + need])
            at += need
            self._need = 0
            self._gathered(time, frame)
            if at == stop:
                return
        if self.seeking:
            self._collect(buffer, at, stop, time, frame)
            self._find(time)
            return
        first = frame
        if self._stub:
            first = self._stub_frame
            buffer = self._stub + buffer[at:stop]
            at, stop = 0, len(buffer)
            self._stub = b""
        while stop - at >= 48:
            (lengths,) = _word(buffer, at + 4)
            if self.plain and lengths < 0x1000000:
                size = 48 + (lengths + 3 & 0x1FFFFFC)
                end = at + size
                if end > stop:
                    self._gather(buffer, at, stop, size, first)
                    return
                self.last = header = buffer[at : at + 48]
                raw = RawPdu(header)
                if lengths:
                    data_end = at + 48 + lengths
                    if lengths < _VIEW_FROM:
                        raw.data = buffer[at + 48 : data_end]
                    else:
                        raw.data = memoryview(buffer)[at + 48 : data_end]
                    if lengths & 3:
                        raw.padding = buffer[data_end:end]
                self.counts[header[0] & 0x3F] += 1
                self.record(PduRecord(self.number, time, self.direction, raw), first, frame)
                at = end
            else:
                taken = self._careful(buffer, at, stop, first, time, frame)
                if not taken:
                    if self.seeking and not self._finding:
                        self._find(time)
                    return
                at += taken
                if self._need:
                    at += self._condemn(buffer, at, stop, time, frame)
            first = frame
        if at < stop:
            self._stub = buffer[at:stop]
            self._stub_frame = first

    def gap(self, count: int, time: float, frame: int) -> None:
        """So many bytes, at least 1, are missing before what comes next."""
        streams = self.streams
        left = count
        filled = False
        if self._need:
            opcode = self._parts[0][0] & 0x3F if self._parts and not self._condemned else 0x3F
            inside = min(count, self._need)
            filled = opcode in _BULK
            self._holes = True
            if filled:
                self._parts.append(bytes(inside))
            self._need -= inside
            left -= inside
            if not self._need:
                self._gathered(time, frame)
        streams.note(notes.Missing, frame, time, self.direction, bytes=count, filled=filled and not left)
        if not left:
            return
        offset = len(self._stub) + left
        if self._stub:
            self._tell(self._stub, NOT_WHOLE, time, self._stub_frame, frame)
            self._stub = b""
        if self.seeking:
            self._drop_sought(len(self._sought))
            self._phase = (self._phase - left) % 4
        else:
            self.seek(step=4, phase=-offset % 4)

    def seek(self, *, step: int = 1, phase: int = 0) -> None:
        """The next byte is not known to start a PDU; those start where (offset from it - phase) is a multiple of step."""
        self.seeking = True
        self._step, self._phase = step, phase
        self._sought.clear()
        self._marks.clear()
        self._sought_from = 0
        self.streams.lost()

    def finish(self, time: float, frame: int) -> None:
        """No more bytes come: what is left over is told."""
        if self.seeking and self._sought:
            self._find(time, last=True)
        if self.seeking:
            self._drop_sought(len(self._sought))
        rest = b"".join(self._parts) + self._stub
        first = self._first if self._parts else self._stub_frame
        self._forget()
        self._stub = b""
        if rest:
            self._tell(rest, CUT_SHORT, time, first or frame, frame)

    def shed(self, time: float, frame: int) -> None:
        """Give up the PDU that is being gathered, for want of room; its length is trusted."""
        kept = b"".join(self._parts)
        self._parts, self._condemned = _Nowhere(), True
        self.streams.reserve(-self._reserved)
        self._reserved = 0
        self.streams.note(notes.BufferFull, frame, time, self.direction, bytes=len(kept))
        self._tell(kept, CROWDED, time, self._first, frame)

    def _tell(self, data: Buffer, reason: str, time: float, first: int, frame: int) -> None:
        self.record(BytesRecord(self.number, time, self.direction, bytes(data), reason), first, frame)

    def _forget(self) -> None:
        self._parts = []
        self._need = 0
        self._condemned = self._holes = False
        self.streams.reserve(-self._reserved)
        self._reserved = 0

    def _gather(self, buffer: bytes, at: int, stop: int, size: int, first: int) -> None:
        self._parts.append(buffer[at:stop])
        self._need = at + size - stop
        self._first = first
        self._reserved = size
        self.streams.reserve(size)

    def _gathered(self, time: float, frame: int) -> None:
        blob = b"".join(self._parts)
        first, holes, condemned = self._first, self._holes, self._condemned
        self._forget()
        if condemned:
            if blob:
                self._tell(blob, CONDEMNED, time, first, frame)
        elif holes and (blob[0] & 0x3F not in _BULK or len(blob) < shapes.pdu_size(blob, 0, (False, False))):
            self._tell(blob, NOT_WHOLE, time, first, frame)
        else:
            self._cut(blob, 0, len(blob), first, time, frame, holes=holes)

    def _careful(self, buffer: bytes, at: int, stop: int, first: int, time: float, frame: int) -> int:
        """One PDU the long way. Bytes used up, 0 when all of them were put aside."""
        streams = self.streams
        if self._unsure and not shapes.is_header(self.direction, buffer, at):
            self._unsure = 0
            streams.doubt()
            self.seek()
            self._collect(buffer, at, stop, time, frame)
            return 0
        (lengths,) = _word(buffer, at + 4)
        segment = lengths & 0xFFFFFF
        digest_at = at + 48 + (lengths >> 24) * 4
        padded = segment + 3 & ~3
        if streams.header_digest:
            if digest_at + 4 > stop:
                self._put_aside(buffer, at, stop, first)
                return 0
            if digest_bytes(memoryview(buffer)[at:digest_at]) != buffer[digest_at : digest_at + 4]:
                return self._wrong_header(buffer, at, stop, first, time, frame)
            self._bad = 0
        if segment and streams.data_digest is None:
            body = digest_at + 4 * streams.header_digest
            if body + padded + 4 <= stop or segment > SEEK_LIMIT:
                found = digest_bytes(memoryview(buffer)[body : body + padded])
                streams.settle_data(found == buffer[body + padded : body + padded + 4])
            elif body + padded == stop:
                streams.settle_data(False)
            else:
                self._put_aside(buffer, at, stop, first)
                return 0
        size = shapes.pdu_size(buffer, at, (streams.header_digest, bool(streams.data_digest)))
        if at + size > stop:
            self._gather(buffer, at, stop, size, first)
            return 0
        self._cut(buffer, at, size, first, time, frame)
        return size

    def _put_aside(self, buffer: bytes, at: int, stop: int, first: int) -> None:
        self._stub = buffer[at:stop]
        self._stub_frame = first

    def _wrong_header(self, buffer: bytes, at: int, stop: int, first: int, time: float, frame: int) -> int:
        """A header digest is wrong: the header is told at once, and its length trusted, unless nothing speaks for it."""
        self._bad += 1
        if self._bad > 1 and not shapes.is_header(self.direction, buffer, at):
            self._bad = 0
            self.seek()
            self._collect(buffer, at, stop, time, frame)
            return 0
        digest_at = at + 48 + buffer[at + 4] * 4
        size = shapes.pdu_size(buffer, at, (True, bool(self.streams.data_digest)))
        raw = RawPdu(
            buffer[at : at + 48],
            ahs=buffer[at + 48 : digest_at],
            header_digest=buffer[digest_at : digest_at + 4],
            header_digest_error=True,
        )
        self.counts[raw.opcode] += 1
        self.record(PduRecord(self.number, time, self.direction, raw), first, frame)
        body = at + size - digest_at - 4
        if body:
            self._need, self._condemned, self._first = body, True, frame
            self._reserved = body
            self.streams.reserve(body)
        return digest_at + 4 - at

    def _cut(
        self, buffer: bytes, at: int, size: int, first: int, time: float, frame: int, *, holes: bool = False
    ) -> None:
        """The PDU that starts there, whole, whose header was judged before."""
        streams = self.streams
        self.last = buffer[at : at + 48]
        raw = RawPdu(self.last)
        (lengths,) = _word(buffer, at + 4)
        segment, end = lengths & 0xFFFFFF, at + size
        at += 48
        if lengths >> 24:
            raw.ahs = buffer[at : at + (lengths >> 24) * 4]
            at += (lengths >> 24) * 4
        if streams.header_digest:
            raw.header_digest = buffer[at : at + 4]
            at += 4
        if segment:
            data_end = at + segment
            raw.data = buffer[at:data_end] if segment < _VIEW_FROM else memoryview(buffer)[at:data_end]
            padded = data_end + (-segment & 3)
            raw.padding = buffer[data_end:padded]
            if streams.data_digest:
                raw.data_digest = buffer[padded:end]
                if holes:
                    raw.data_digest = b""
                else:
                    raw.data_digest_error = digest_bytes(memoryview(buffer)[at:padded]) != raw.data_digest
        self.counts[raw.bhs[0] & 0x3F] += 1
        self.record(PduRecord(self.number, time, self.direction, raw), first, frame)
        if not self.plain:
            if self._unsure:
                self._unsure -= 1
                self.judge()
            if streams.watching or streams.inferring:
                streams.watch(self.direction, raw, time, frame)

    def _condemn(self, buffer: bytes, at: int, stop: int, time: float, frame: int) -> int:
        """Take what is there of the data behind a wrong header; bytes used up."""
        taken = min(self._need, stop - at)
        self._parts.append(buffer[at : at + taken])
        self._need -= taken
        if not self._need:
            self._gathered(time, frame)
        return taken

    def _collect(self, buffer: bytes, at: int, stop: int, time: float, frame: int) -> None:
        """More bytes among which a PDU is sought."""
        if at < stop:
            self._marks.append((len(self._sought), time, frame))
            self._sought += memoryview(buffer)[at:stop]

    def _find(self, time: float, *, last: bool = False) -> None:
        """Look for a PDU, and go on with what follows it. A loop, since what was found may turn out to be none."""
        streams = self.streams
        self._finding = True
        while self.seeking:
            full = len(self._sought) > SEEK_LIMIT
            found, self._sought_from = shapes.seek(
                self.direction,
                self._sought,
                self._sought_from,
                combinations=streams.combinations(),
                tags=streams.tags(),
                step=self._step,
                phase=self._phase,
                last=last or full,
            )
            if found is None:
                if full:
                    self._drop_sought(self._sought_from)
                break
            self._drop_sought(found.at)
            streams.note(
                notes.Resynchronised,
                self._marks[0][2],
                time,
                self.direction,
                skipped=found.at,
                confidence=found.confidence,
            )
            sought, marks = bytes(self._sought), self._marks
            self.seeking = False
            self._sought.clear()
            self._marks = []
            self._sought_from = 0
            self._unsure = UNSURE_FOR
            streams.settle(found)
            ends = [*(mark[0] for mark in marks[1:]), len(sought)]
            for (start, when, where), end in zip(marks, ends, strict=True):
                if self.seeking:
                    self._collect(sought, start, end, when, where)
                else:
                    self.feed(sought, start, end, when, where)
        self._finding = False

    def _drop_sought(self, count: int) -> None:
        """Let go of the first bytes of those looked through."""
        if count:
            _, time, first = self._marks[0]
            gone = [mark for mark in self._marks if mark[0] < count]
            self._tell(self._sought[:count], SKIPPED, time, first, gone[-1][2])
            del self._sought[:count]
            self._sought_from = max(0, self._sought_from - count)
            self._phase = (self._phase - count) % self._step if self._step > 1 else 0
            rest = [(start - count, when, where) for start, when, where in self._marks if start >= count]
            if self._sought and (not rest or rest[0][0]):
                rest.insert(0, (0, gone[-1][1], gone[-1][2]))
            self._marks = rest
