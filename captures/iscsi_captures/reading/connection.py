"""One TCP connection put in order (RFC 9293): what was repeated, reordered or lost, and when that becomes certain.

Positions in a stream are sequence numbers that do not wrap. Segments that cannot be taken yet wait in the order of their
positions: one that something is missing before, and one that acknowledges what the capture has not shown yet, since a
capture may hold an answer before its question. A gap is certain when the receiver has acknowledged it and nothing
filled it for a while, when too much waits behind it, or at the end.
"""

from __future__ import annotations

from bisect import insort
from hashlib import sha256
from typing import TYPE_CHECKING

from iscsi_captures.reading import notes
from iscsi_captures.reading.cutter import Cutter
from iscsi_captures.reading.streams import Budget, Streams
from iscsi_protocol.history import Endpoint, Record, TransportEvent, TransportRecord
from iscsi_protocol.stream import Direction

if TYPE_CHECKING:
    from iscsi_captures.reading.sink import Sink

FIN, SYN, RST, ACK = 1, 2, 4, 16

MOST_WAITING = 1024
MOST_WAITING_BYTES = 1 << 20
"""Segments and bytes of one direction that wait for what is missing before them."""
PATIENCE = 64
"""Segments of a connection after which bytes that were acknowledged and not seen are taken for missing."""
PATIENCE_SECONDS = 0.05
"""The same as time of the capture."""
SLOW_ACK = 0.035
"""Seconds above which an acknowledgement looks delayed."""
SLOWEST_ACK = 1.0
"""Seconds above which it looks like silence."""
RELEASED = 0.005
"""Seconds within which the waiting sender goes on."""

_MASK = 0xFFFFFFFF
_SIGN = 0x80000000

Waiting = tuple[int, int, bytes, int | None, float, int, int]
"""Position, serial, bytes, acknowledged position, time, frame, flags."""


class Half:
    """One direction of a connection.

    quick: the sequence number at which the next segment may take the short way, -1 where none may; position: of the next
    byte in order; limit: bytes of payload above which a segment is looked at twice.
    """

    __slots__ = (
        "acknowledgement",
        "connection",
        "cutter",
        "direction",
        "feed",
        "fin",
        "handshake_time",
        "last_time",
        "limit",
        "mss",
        "next",
        "peer",
        "position",
        "quick",
        "seen",
        "shut_since",
        "stalled",
        "start",
        "told_coalesced",
        "told_truncated",
        "waiting",
        "waiting_bytes",
    )

    peer: Half

    def __init__(self, connection: Connection, cutter: Cutter) -> None:
        self.connection = connection
        self.cutter = cutter
        self.feed = cutter.feed
        self.direction = cutter.direction
        self.quick = -1
        self.next = 0
        self.position = 0
        self.start: int | None = None
        self.seen = False
        self.fin = False
        self.acknowledgement: int | None = None
        self.waiting: list[Waiting] = []
        self.waiting_bytes = 0
        self.last_time = 0.0
        self.stalled = 0.0
        self.shut_since: float | None = None
        self.mss: int | None = None
        self.limit = 1 << 30
        self.told_coalesced = False
        self.told_truncated = False
        self.handshake_time: float | None = None

    def begin(self, sequence: int) -> None:
        """The next byte has this sequence number."""
        self.start = self.position = self.next = sequence

    def unwrap(self, sequence: int) -> int:
        """The position nearest to the one reached that has this sequence number."""
        delta = (sequence - self.position) & _MASK
        return self.position + delta - ((delta & _SIGN) << 1)

    @property
    def acked(self) -> int | None:
        """What the other side has acknowledged of this direction, as a position."""
        acknowledgement = self.peer.acknowledgement
        return None if acknowledgement is None else self.unwrap(acknowledgement)

    @property
    def sent(self) -> bool:
        """Whether it sent any byte of its stream."""
        return self.start is not None and self.position > self.start

    def advance(self, position: int) -> None:
        """The next byte in order is there."""
        self.position = position
        self.next = position & _MASK


class Connection:
    """One TCP connection whose initiator is known. `segment` takes what the short way could not."""

    def __init__(
        self,
        number: int,
        initiator: Endpoint,
        target: Endpoint,
        sink: Sink,
        counts: list[int],
        budget: Budget,
    ) -> None:
        self.number = number
        self.ends = (initiator, target)
        self.sink = sink
        self.streams = Streams(number, sink, counts, budget)
        self.halves = tuple(Half(self, cutter) for cutter in self.streams.cutters)
        for half, other in zip(self.halves, reversed(self.halves), strict=True):
            half.peer = other
        self._asked = False
        self._tries = 0
        self._asked_frame = 0
        self._asked_time = 0.0
        self._answered = False
        self._established = False
        self.over = False
        self._serial = 0
        self._stuck_since: tuple[int, float] | None = None
        self._now = 0.0
        self._frame = 0
        self._finished = False
        self.ours = False

    def _record(self, record: Record, frame: int) -> None:
        self.sink.record(record, frame, frame)

    def _transport(self, event: TransportEvent, time: float, frame: int, direction: Direction) -> None:
        initiator, target = self.ends
        self._record(TransportRecord(self.number, time, event, initiator, target, direction), frame)

    def segment(
        self,
        direction: Direction,
        frame: int,
        time: float,
        sequence: int,
        acknowledgement: int,
        flags: int,
        window: int,
        payload: bytes,
        *,
        cut_off: int = 0,
        options: bytes = b"",
    ) -> None:
        """One segment. cut_off: bytes of it that were not captured; options: of the TCP header."""
        half, peer = self.halves[direction], self.halves[direction.other]
        half.quick = peer.quick = -1
        self._now, self._frame = time, frame
        self._serial += 1
        if flags & SYN:
            self._syn(half, frame, time, sequence, flags, options)
            sequence = sequence + 1 & _MASK
        elif not self._established and not flags & RST:
            self._establish(half, frame, time, flags)
        if half.start is None:
            self._begin_in_the_middle(half, sequence, payload, frame, time)
        half.seen = True
        acknowledged = self._acknowledge(half, acknowledgement, time, len(payload) + cut_off) if flags & ACK else None
        if not flags & (SYN | RST):
            self._window(half, window, frame, time)
        self._take(half, sequence, payload, acknowledged, time, frame, flags, cut_off)
        self._progress()
        if flags & RST:
            self._reset(half, time, frame, sequence)
        self._ready()

    def _syn(self, half: Half, frame: int, time: float, sequence: int, flags: int, options: bytes) -> None:
        again = half.start is not None
        if not again:
            half.begin(sequence + 1 & _MASK)
            half.handshake_time = time
            self._handshake(half, frame, time, options)
        if flags & ACK:
            self._answered = True
            if again:
                self.streams.note(notes.Retransmitted, frame, time, half.direction, bytes=0, after=time - half.last_time)
        else:
            self._tries += 1
            if not self._asked:
                self._asked = True
                self._asked_frame, self._asked_time = frame, time
                self._transport(TransportEvent.CONNECT, time, frame, Direction.TO_TARGET)
        half.last_time = time

    def _handshake(self, half: Half, frame: int, time: float, options: bytes) -> None:
        found = _options(options)
        half.mss = found.get("mss")
        asked = half.peer.handshake_time
        self.streams.note(
            notes.Handshake,
            frame,
            time,
            half.direction,
            endpoint=self.ends[half.direction],
            round_trip=None if asked is None else round(time - asked, 9),
            **found,
        )

    def _establish(self, half: Half, frame: int, time: float, flags: int) -> None:
        """Anything behind the handshake."""
        self._established = True
        if self._asked or self._answered:
            self._transport(TransportEvent.CONNECTED, time, frame, Direction.TO_TARGET)

    def _begin_in_the_middle(self, half: Half, sequence: int, payload: bytes, frame: int, time: float) -> None:
        """The first that is seen of this direction, and it is no SYN."""
        half.begin(sequence)
        if self._asked or self._answered:
            # The other direction's start is there, so this one's is too: one side of the handshake was not captured.
            return
        if not half.peer.seen:
            self.streams.note(notes.StartMissing, frame, time, None)
            self.streams.start_in_the_middle()

    def _acknowledge(self, half: Half, acknowledgement: int, time: float, length: int) -> int | None:
        """What the segment acknowledges, as a position of the other direction."""
        peer = half.peer
        if peer.start is None:
            if not (self._asked or self._answered):
                return None
            # The other half of the handshake was not captured; its acknowledgement tells where that side's bytes start.
            peer.begin(acknowledgement)
        position = peer.unwrap(acknowledgement)
        before = peer.acked
        if before is None or position > before:
            waited = time - peer.last_time
            if not length and position == peer.position and SLOW_ACK <= waited <= SLOWEST_ACK and peer.sent:
                peer.stalled = waited
                peer.last_time = time
            half.acknowledgement = acknowledgement
        return position

    def _window(self, half: Half, window: int, frame: int, time: float) -> None:
        if not window and half.shut_since is None:
            half.shut_since = time
            self.streams.note(notes.ZeroWindow, frame, time, half.direction)
        elif window and half.shut_since is not None:
            self.streams.note(notes.WindowOpened, frame, time, half.direction, after=time - half.shut_since)
            half.shut_since = None

    def _take(
        self,
        half: Half,
        sequence: int,
        payload: bytes,
        acknowledged: int | None,
        time: float,
        frame: int,
        flags: int,
        cut_off: int,
    ) -> None:
        """Put a segment where it belongs: delivered, waiting, or known already."""
        position = half.unwrap(sequence)
        length = len(payload) + cut_off
        fin = flags & FIN
        if not length and not fin:
            return
        if cut_off and not half.told_truncated:
            half.told_truncated = True
            self.streams.note(
                notes.Truncated, frame, time, half.direction, snap_length=len(payload), wire_length=length
            )
        if length > half.limit and not half.told_coalesced:
            half.told_coalesced, half.limit = True, 1 << 30
            self.streams.note(notes.Coalesced, frame, time, half.direction, bytes=length, mss=half.mss)
        if half.stalled and length:
            if time - half.last_time <= RELEASED:
                self.streams.note(
                    notes.DelayedAck, frame, time, half.direction, milliseconds=round(half.stalled * 1000, 3)
                )
            half.stalled = 0.0
        end = position + length
        if end <= half.position and (length or half.fin):
            # A probe of one byte that was sent before keeps connections alive and means nothing.
            if length > 1 or end < half.position:
                self._repeated(half, position, payload, frame, time, length)
            half.last_time = time
            return
        if position > half.position and length:
            self.streams.note(notes.OutOfOrder, frame, time, half.direction, ahead=position - half.position)
        half.last_time = time
        insort(half.waiting, (position, self._serial, payload, acknowledged, time, frame, fin | cut_off << 8))
        half.waiting_bytes += len(payload)

    def _repeated(self, half: Half, position: int, payload: bytes, frame: int, time: float, length: int) -> None:
        self.streams.note(
            notes.Retransmitted, frame, time, half.direction, bytes=length, after=round(time - half.last_time, 9)
        )
        self._compare_all(half, position, payload, frame, time)

    def _compare_all(self, half: Half, position: int, payload: bytes, frame: int, time: float) -> None:
        """Hold a repetition against what was captured lately."""
        end = position + len(payload)
        for other, start, buffer, at, stop in self.streams.budget.recent:
            if other is half and start < end and position < start + stop - at:
                self._compare(half, start, buffer[at:stop], position, payload, frame, time)

    def _compare(
        self, half: Half, start: int, old: bytes, position: int, new: bytes, frame: int, time: float
    ) -> None:
        """Whether two versions of the same place differ."""
        low, high = max(start, position), min(start + len(old), position + len(new))
        if low >= high:
            return
        first, second = old[low - start : high - start], new[low - position : high - position]
        if first == second:
            return
        at = next(index for index in range(len(first)) if first[index] != second[index])
        self.streams.note(
            notes.OverlapDiffers,
            frame,
            time,
            half.direction,
            offset=low + at - (half.start or 0),
            old=first[at : at + 16],
            new=second[at : at + 16],
            bytes=sum(a != b for a, b in zip(first, second, strict=True)),
            old_hash=sha256(first).hexdigest()[:16],
            new_hash=sha256(second).hexdigest()[:16],
        )

    def _progress(self) -> None:
        """Deliver what can be delivered, and settle what is certain."""
        while True:
            while self._deliver(self.halves[0]) or self._deliver(self.halves[1]):
                pass
            if not (self.halves[0].waiting or self.halves[1].waiting):
                self._stuck_since = None
                return
            if self._stuck_since is None:
                self._stuck_since = (self._serial, self._now)
                return
            serial, since = self._stuck_since
            late = self._serial - serial > PATIENCE or self._now - since > PATIENCE_SECONDS
            if not self._settle(late=late):
                return
            self._stuck_since = None

    def _settle(self, *, late: bool, end: bool = False) -> bool:
        """Declare one gap, if one is certain. late: patience is over; end: nothing more comes."""
        for half in self.halves:
            if not half.waiting:
                continue
            position, _, _, acknowledged, _, _, _ = half.waiting[0]
            if position > half.position:
                full = len(half.waiting) > MOST_WAITING or half.waiting_bytes > MOST_WAITING_BYTES
                acked = half.acked is not None and half.acked > half.position
                if full or end or (late and acked) or self.streams.crowded:
                    self._declare(half, position)
                    return True
        for half in self.halves:
            if not half.waiting or half.waiting[0][0] > half.position:
                continue
            acknowledged, peer = half.waiting[0][3], half.peer
            if (late or end) and acknowledged is not None and acknowledged > peer.position:
                limit = peer.waiting[0][0] if peer.waiting else acknowledged
                if limit > peer.position and not peer.fin:
                    self._declare(peer, min(limit, acknowledged))
                else:
                    self._waive(half)
                return True
        return False

    def _waive(self, half: Half) -> None:
        """Deliver a segment although what it acknowledges was never seen."""
        position, serial, payload, _, time, frame, flags = half.waiting[0]
        half.waiting[0] = (position, serial, payload, None, time, frame, flags)

    def _declare(self, half: Half, position: int) -> None:
        """Bytes up to there are missing in the capture."""
        count = position - half.position
        half.advance(position)
        half.cutter.gap(count, self._now, self._frame)

    def _deliver(self, half: Half) -> bool:
        """Deliver the first waiting segments of a direction. Whether there were any."""
        done = False
        peer = half.peer
        while half.waiting:
            position, _, payload, acknowledged, time, frame, flags = half.waiting[0]
            if position > half.position:
                break
            if acknowledged is not None and peer.seen and acknowledged > peer.position:
                break
            del half.waiting[0]
            half.waiting_bytes -= len(payload)
            done = True
            cut_off = flags >> 8
            known = half.position - position
            if known and payload:
                self._compare_all(half, position, payload, frame, time)
            if known < len(payload):
                self.streams.budget.recent.append((half, half.position, payload, known, len(payload)))
                half.advance(position + len(payload))
                half.feed(payload, known, len(payload), time, frame)
            if cut_off and half.position < position + len(payload) + cut_off:
                missing = position + len(payload) + cut_off - half.position
                half.advance(half.position + missing)
                half.cutter.gap(missing, time, frame)
            if flags & FIN and not half.fin:
                half.fin = True
                half.advance(half.position + 1)
                self._fin(half, time, frame)
        return done

    def _fin(self, half: Half, time: float, frame: int) -> None:
        event = TransportEvent.FIN
        if self.ours and half.direction is Direction.TO_TARGET:
            event, self.ours = TransportEvent.CLOSED_BY_US, False
        self._transport(event, time, frame, half.direction)
        if half.peer.fin:
            self._end(time, frame)

    def _reset(self, half: Half, time: float, frame: int, sequence: int) -> None:
        if self.over:
            return
        self._flush()
        refused = self._asked and not self._established and not self._answered
        if refused and half.direction is Direction.TO_INITIATOR:
            self._answered = True
            self._transport(TransportEvent.REFUSED, time, frame, half.direction)
        else:
            peer = half.peer
            flight = 0 if peer.acked is None else max(0, peer.position - peer.acked)
            self.streams.note(notes.Reset, frame, time, half.direction, bytes_in_flight=flight)
            self._transport(TransportEvent.RST, time, frame, half.direction)
        self._end(time, frame)

    def _flush(self) -> None:
        """Nothing more comes: deliver all that waits."""
        while True:
            while self._deliver(self.halves[0]) or self._deliver(self.halves[1]):
                pass
            if not self._settle(late=True, end=True):
                return

    def _end(self, time: float, frame: int) -> None:
        self.over = True
        if not self._finished:
            self._finished = True
            self.streams.finish(time, frame)

    @property
    def unanswered(self) -> bool:
        """Whether it was asked for and nothing came of it so far."""
        return self._asked and not self._answered and not self._established and not self.over

    def fail(self, event: TransportEvent, time: float, frame: int) -> None:
        """The attempt came to nothing, as is known from elsewhere."""
        self._answered = True
        self._transport(event, time, frame, Direction.TO_INITIATOR)
        self._end(time, frame)

    def finish(self, time: float, frame: int, *, capture_ends: bool = True) -> None:
        """The capture is over, or another connection took the same ends."""
        if self.over:
            return
        self._now, self._frame = time, frame
        self._flush()
        if self.over:
            return
        initiator, target = self.halves
        if self.unanswered:
            self.streams.note(
                notes.SynUnanswered,
                self._asked_frame,
                self._asked_time,
                Direction.TO_TARGET,
                endpoint=self.ends[1],
                tries=self._tries,
            )
        elif initiator.seen != target.seen:
            seen = initiator if initiator.seen else target
            self.streams.note(notes.OneSided, frame, time, seen.direction)
        elif capture_ends and not initiator.fin and not target.fin:
            self.streams.note(notes.EndMissing, frame, time, None)
        self._end(time, frame)

    def _ready(self) -> None:
        """Open the short way where nothing is pending."""
        if self.over or not self._established:
            return
        for half in self.halves:
            peer = half.peer
            ready = (
                half.start is not None
                and peer.start is not None
                and not half.waiting
                and not peer.waiting
                and half.shut_since is None
                and not half.stalled
                and not half.fin
            )
            half.quick = half.next if ready else -1
            if half.limit == 1 << 30 and not half.told_coalesced and peer.mss is not None:
                half.limit = peer.mss


def _options(options: bytes) -> dict[str, int | bool]:
    """The options of a SYN that matter here (RFC 9293 3.2, RFC 7323, RFC 2018); lenient."""
    found: dict[str, int | bool] = {}
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            break
        value = options[at + 2 : at + length]
        if kind == 2 and length == 4:
            found["mss"] = int.from_bytes(value, "big")
        elif kind == 3 and length == 3:
            found["window_scale"] = value[0]
        elif kind == 4:
            found["selective_ack"] = True
        elif kind == 8:
            found["timestamps"] = True
        at += length
    return found
