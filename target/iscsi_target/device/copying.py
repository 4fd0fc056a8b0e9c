"""A copy operation at work (SPC-4 5.16.7): bytes from one logical unit to another, in steps that a worker does one by one.

Errors end it with COPY ABORTED (SPC-4 5.17.7.4): COMMAND-SPECIFIC INFORMATION has the number of the segment, INFORMATION how
many blocks of the destination are left of one of which something was written. What the copy source or destination had to
say is forwarded, and a field pointer shows the CSCD descriptor that names it.
"""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import FIXED_SENSE_LENGTH, FieldPointer, Sense, SenseFormat
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.third_party_copy import CopyState
from iscsi_target.completion import Completion, Work
from iscsi_target.device.answer import GOOD, CheckCondition, storage_sense
from iscsi_target.device.reservations.conflict import Access, conflicts
from iscsi_target.device.unit import ItlNexus, LogicalUnit

CHUNK = 1 << 20
"""Bytes that are held in memory at once."""

CHUNKS_A_STEP = 8
_FORWARDED_SENSE = 0x0C
_SOURCE, _DESTINATION = 1, 2


class SegmentFailed(Exception):
    """A segment cannot be processed. With `party` (1 source, 2 destination), `sense` is what that one said."""

    def __init__(self, sense: Sense, party: int = 0, status: int = Status.CHECK_CONDITION) -> None:
        super().__init__(str(sense))
        self.sense = sense
        self.party = party
        self.status = status


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """What a segment descriptor moves, in bytes: `length` of them, and then `padding` zeros.

    cscds: where the descriptors of source and destination are in the parameter list, None for one that has none.
    """

    source: ItlNexus
    destination: ItlNexus
    source_at: int
    destination_at: int
    length: int
    padding: int = 0
    cscds: tuple[int | None, int | None] = (None, None)

    @property
    def read_blocks(self) -> tuple[int, int]:
        """The (lba, blocks) that are read, any part of a block counted."""
        return _blocks(self.source.unit, self.source_at, self.length)

    @property
    def written_blocks(self) -> tuple[int, int]:
        """The (lba, blocks) that are written."""
        return _blocks(self.destination.unit, self.destination_at, self.length + self.padding)

    @property
    def backwards(self) -> bool:
        """Whether it is moved from its end on, so that what is read where it overlaps itself is what was there before."""
        shift = self.destination_at - self.source_at
        return self.source.unit is self.destination.unit and 0 < shift < self.length

    def left(self, done: int) -> int:
        """Blocks of the destination that are still to be written when `done` bytes have been moved, counted from the first
        one that is not.
        """
        first, blocks = self.written_blocks
        if self.backwards and done < self.length:
            return blocks
        return first + blocks - (self.destination_at + done) // self.destination.unit.block_size


def _blocks(unit: LogicalUnit, at: int, length: int) -> tuple[int, int]:
    first = at // unit.block_size
    return first, -(-(at + length) // unit.block_size) - first


class CopyOperation:
    """One EXTENDED COPY: its progress, and how it ended. It is read by the loop and written by one worker at a time.

    segments: what is to be moved; in place of one that cannot be, why. ended: what its command was answered with.
    told: its nexus was told how it ended, which is told once.
    """

    def __init__(self, segments: list[Segment | SegmentFailed], *, descriptor_sense: bool) -> None:
        self.segments = segments
        self.state = CopyState.IN_PROGRESS
        self.processed = 0
        self.moved = 0
        self.ended: Completion | None = None
        self.cancelled = False
        self.told = False
        self._descriptor_sense = descriptor_sense
        self._done = 0
        self._begun = False

    @property
    def segments_processed(self) -> int:
        """Segments that are done, and the one that is being processed or failed (SPC-4 6.24)."""
        return min(self.processed + self._begun, len(self.segments))

    @property
    def small(self) -> bool:
        """Whether it is done in a moment and without waiting for a device."""
        total = 0
        for each in self.segments:
            if isinstance(each, Segment):
                if each.source.unit.backend.slow or each.destination.unit.backend.slow:
                    return False
                total += each.length
        return total <= CHUNK

    def begin(self) -> Completion | Work:
        """The result where it is small, else the work."""
        result: Completion | Work = Work(self.step, self.cancel)
        while self.small and isinstance(result, Work):
            result = result.run()
        return result

    def cancel(self) -> None:
        """Nobody waits for it any more: no further step is taken."""
        self.cancelled = True
        if self.state is CopyState.IN_PROGRESS:
            self.state = CopyState.FAILED

    def step(self) -> Completion | Work:
        """Go on for a while; the rest of the work, or the end. Never raises."""
        if self.cancelled:
            return GOOD
        try:
            for _ in range(CHUNKS_A_STEP):
                if self.processed == len(self.segments):
                    self._make_stable()
                    return self._end(CopyState.DONE, GOOD)
                self._advance()
        except SegmentFailed as failure:
            return self._end(CopyState.FAILED, self._failed(failure))
        return Work(self.step, self.cancel)

    def _end(self, state: CopyState, completion: Completion) -> Completion:
        self.ended = completion
        self.state = state
        return completion

    def _advance(self) -> None:
        """Move some bytes of the segment whose turn it is. Raises SegmentFailed."""
        self._begun = True
        segment = self.segments[self.processed]
        if isinstance(segment, SegmentFailed):
            raise segment
        if not self._done:
            check_segment(segment)
        if self._done < segment.length:
            count = _move(segment, self._done)
            self._done += count
            # Of what is not written in order nothing counts until it is whole.
            if not segment.backwards:
                self.moved += count
            elif self._done == segment.length:
                self.moved += segment.length
        if self._done == segment.length:
            _pad(segment)
            self.processed += 1
            self._done = 0

    def _make_stable(self) -> None:
        """Flush what was written to units without a write cache. Raises SegmentFailed for the last segment to write there."""
        written = {
            id(each.destination.unit): (number, each.destination.unit)
            for number, each in enumerate(self.segments)
            if isinstance(each, Segment)
        }
        for number, unit in written.values():
            if not unit.write_cache:
                try:
                    with _Blamed(_DESTINATION, writing=True):
                        unit.backend.flush()
                except SegmentFailed:
                    self.processed = number
                    raise

    def _failed(self, failure: SegmentFailed) -> Completion:
        number = self.processed
        segment = self.segments[number]
        left = segment.left(self._done) if isinstance(segment, Segment) and self._done else None
        forwarded = b""
        code, pointer = failure.sense.code, failure.sense.sense_key_specific
        if failure.party:
            forwarded = failure.sense.build() if failure.status == Status.CHECK_CONDITION else b""
            forwarded = bytes((failure.status,)) + forwarded
            # Not THIRD PARTY DEVICE FAILURE, since what is in use (libiscsi's tests, for one) looks for none here.
            code = AdditionalSense.NO_ADDITIONAL_SENSE_INFORMATION
            place = segment.cscds[failure.party - _SOURCE] if isinstance(segment, Segment) else None
            pointer = b"" if place is None else FieldPointer(byte=place, in_cdb=False).build()
        sense = Sense(
            key=SenseKey.COPY_ABORTED,
            code=code,
            information=left,
            command_specific=number,
            sense_key_specific=pointer,
        )
        if self._descriptor_sense:
            return Completion(Status.CHECK_CONDITION, sense=_with_descriptor(sense, failure.party, forwarded))
        return Completion(Status.CHECK_CONDITION, sense=_with_area(sense, failure.party, forwarded))


def _with_descriptor(sense: Sense, party: int, forwarded: bytes) -> bytes:
    """Descriptor format, with a forwarded sense data descriptor (SPC-4 4.5.2.8)."""
    built = bytearray(sense.build(SenseFormat.DESCRIPTOR))
    if forwarded:
        built += bytes((_FORWARDED_SENSE, 1 + len(forwarded), party)) + forwarded
        built[7] = len(built) - 8
    return bytes(built)


def _with_area(sense: Sense, party: int, forwarded: bytes) -> bytes:
    """Fixed format, with status and sense data behind it, and where they start in COMMAND-SPECIFIC INFORMATION."""
    built = bytearray(sense.build())
    if forwarded:
        built[7 + party] = FIXED_SENSE_LENGTH
        built += forwarded
        built[7] = len(built) - 8
    return bytes(built)


class _Blamed:
    """Lays the failures of a logical unit at the door of a copy source or destination."""

    __slots__ = ("party", "writing")

    def __init__(self, party: int, *, writing: bool) -> None:
        self.party = party
        self.writing = writing

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, CheckCondition):
            raise SegmentFailed(error.sense, self.party) from error
        if isinstance(error, OSError):
            raise SegmentFailed(storage_sense(error, writing=self.writing), self.party) from error


def check_segment(segment: Segment) -> None:
    """What stands against reading the one and writing the other. Raises SegmentFailed."""
    _check_party(segment.source, Access.READ, _SOURCE)
    _check_party(segment.destination, Access.WRITE, _DESTINATION)
    if segment.length:
        with _Blamed(_SOURCE, writing=False):
            segment.source.unit.check_range(*segment.read_blocks)
        with _Blamed(_DESTINATION, writing=True):
            segment.destination.unit.check_range(*segment.written_blocks)


def _check_party(path: ItlNexus, access: Access, party: int) -> None:
    unit = path.unit
    if unit.guard is not None and conflicts(unit.guard, path.nexus, access, b""):
        raise SegmentFailed(Sense(key=0), party, Status.RESERVATION_CONFLICT)
    sense = path.inaccessible or unit.readiness.sense()
    if sense is None and access is Access.WRITE:
        sense = unit.write_protection
    if sense is not None:
        raise SegmentFailed(sense, party)


def _move(segment: Segment, done: int) -> int:
    """Move some bytes behind the first `done` ones; how many. Where a segment overlaps itself, what is read is what was there
    before. Raises SegmentFailed.
    """
    source, destination = segment.source.unit, segment.destination.unit
    shift = segment.destination_at - segment.source_at
    overlapping = source is destination and abs(shift) < segment.length
    hole, count = (False, segment.length - done) if overlapping else _extent(segment, done)
    if hole:
        with _Blamed(_DESTINATION, writing=True):
            destination.backend.unmap(segment.destination_at + done, count)
        return count
    count = min(CHUNK, count)
    at = segment.length - done - count if segment.backwards else done
    with _Blamed(_SOURCE, writing=False):
        data = _load(source, segment.source_at + at, count)
    with _Blamed(_DESTINATION, writing=True):
        _store(destination, segment.destination_at + at, data)
    return count


def _pad(segment: Segment) -> None:
    """Fill the last block of the destination. Raises SegmentFailed."""
    if segment.padding:
        with _Blamed(_DESTINATION, writing=True):
            _store(segment.destination.unit, segment.destination_at + segment.length, bytes(segment.padding))


def _extent(segment: Segment, done: int) -> tuple[bool, int]:
    """Whether the source has a hole there that the destination can have as well, and for how many bytes that holds."""
    source, destination = segment.source.unit, segment.destination.unit
    left = segment.length - done
    aligned = not (segment.source_at + done) % source.block_size and not (
        (segment.destination_at + done) % destination.block_size
    )
    if not (aligned and source.backend.thin and destination.backend.thin):
        return False, left
    with _Blamed(_SOURCE, writing=False):
        extent = source.backend.extent(segment.source_at + done)
    length = min(extent.length, left)
    whole = length - length % max(source.block_size, destination.block_size)
    if whole:
        return not extent.mapped, whole
    return False, left


def _load(unit: LogicalUnit, at: int, length: int) -> memoryview:
    """Bytes from anywhere. Raises OSError."""
    size = unit.block_size
    first = at - at % size
    end = -(-(at + length) // size) * size
    data = memoryview(unit.backend.load(first, end - first))
    return data[at - first : at - first + length]


def _store(unit: LogicalUnit, at: int, data: memoryview | bytes) -> None:
    """Bytes to anywhere; of blocks that are written in part the rest is kept. Raises OSError."""
    size = unit.block_size
    end = at + len(data)
    before, after = at % size, -end % size
    if not (before or after):
        unit.backend.write(at, data)
        return
    with unit.backend.uninterrupted():
        head = bytes(_load(unit, at - before, before))
        tail = bytes(_load(unit, end, after))
        unit.backend.write(at - before, b"".join((head, data, tail)))
