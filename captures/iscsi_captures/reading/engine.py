"""From packets to connections: the innermost loop, and what it falls back to.

Nearly every packet of a capture is IPv4 and TCP without surprises, on a connection that is known, with the bytes that come
next. Such a packet costs one unpacking, one look into a dictionary, a few comparisons, and the cutting of its PDUs;
everything else takes the long way through `network` and `connection`.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import IPv6Address, ip_address

from iscsi_captures.pcapng import SYNTHESISED, settings_in
from iscsi_captures.reading import network, notes
from iscsi_captures.reading.candidates import ACK, SYN, Candidate, Verdict
from iscsi_captures.reading.connection import Connection, Half
from iscsi_captures.reading.frames import frame_of
from iscsi_captures.reading.network import PauseFrame, Segment
from iscsi_captures.reading.packets import COMMENTS, Packet
from iscsi_captures.reading.sink import ConnectionKey, Sink
from iscsi_captures.reading.streams import Budget
from iscsi_captures.tcp import CLOSED_BY_US
from iscsi_protocol.history import Endpoint, SettingsRecord, TransportEvent
from iscsi_protocol.stream import Direction

WELL_KNOWN_PORTS = frozenset((860, 3260))

_MOST_UNDECIDED = 4096
_MOST_UNDECIDED_BYTES = 32 << 20
_MOST_IGNORED = 1 << 17
_FAILED = re.compile(r"connection (\d+): (.+)")

_IPV4 = "BxHxxHxB2x12sIIHH"
# Link type → how such a frame is unpacked, what its first field has to be, where the IP header starts.
_LAYOUTS = {
    network.ETHERNET: (struct.Struct(">12x2s" + _IPV4).unpack_from, b"\x08\x00", 14),
    network.COOKED: (struct.Struct(">14x2s" + _IPV4).unpack_from, b"\x08\x00", 16),
    network.COOKED_2: (struct.Struct(">2s18x" + _IPV4).unpack_from, b"\x08\x00", 20),
    network.NULL: (struct.Struct(">4s" + _IPV4).unpack_from, b"\x02\0\0\0", 4),
    network.LOOP: (struct.Struct(">4s" + _IPV4).unpack_from, b"\0\0\0\x02", 4),
    **{link: (struct.Struct(">0s" + _IPV4).unpack_from, b"", 0) for link in network.RAW},
}
_NONE = (_LAYOUTS[network.ETHERNET][0], b"no layout", 1 << 30)

IGNORED = None


class _Unknown(Half):
    """Stands for the half of a connection that is not known; never quick."""

    def __init__(self) -> None:
        self.quick = -1


_UNKNOWN = _Unknown()


class Engine:
    """Takes packets in the order of time; the sink gets records and notes as they become certain."""

    def __init__(
        self, sink: Sink, *, port: int | None = None, only: Callable[[ConnectionKey], bool] | None = None
    ) -> None:
        self.sink = sink
        self.counts = [0] * 64
        self.link_types: Counter[int] = Counter()
        self.connections = 0
        self.ignored = 0
        self.budget = Budget()
        self._only = only
        self._ports = WELL_KNOWN_PORTS if port is None else WELL_KNOWN_PORTS | {port}
        self._targets: set[tuple[bytes, int]] = set()
        self._network = network.Network()
        # Direction → its half of a connection, or IGNORED. Candidates are filed under both directions.
        self._halves: dict[bytes, Half | None] = {}
        self._candidates: dict[bytes, Candidate] = {}
        self._undecided_bytes = 0
        self._open: dict[int, Connection] = {}
        self._keys: dict[int, tuple[bytes, bytes]] = {}
        self._unknown_links: dict[int, list[int]] = {}
        self._synthesised = False
        self._settings: list[str] = []
        self._remarks: tuple[str, ...] = ()
        self._time = 0.0
        self._frame = 0

    def run(self, packets: Iterable[Packet]) -> None:
        """All packets of a capture, or some more of them."""
        find = self._halves.get
        slow = self._slow
        recent = self.budget.recent.append
        kinds = self.link_types
        last_link, unpack, expected, ip = None, _NONE[0], _NONE[1], _NONE[2]
        frame, time, seen = self._frame, self._time, 0
        least = ip + 40
        half: Half | None
        for frame, time, buffer, start, end, length, link in packets:
            if link != last_link:
                if last_link is not None:
                    kinds[last_link] += seen
                last_link, seen = link, 0
                unpack, expected, ip = _LAYOUTS.get(link, _NONE)
                least = ip + 40
            seen += 1
            if end - start < least:
                slow(frame, time, buffer, start, end, length, link)
                continue
            marker, version, total, fragment, protocol, key, sequence, acknowledgement, flags, window = unpack(
                buffer, start
            )
            if marker != expected or version != 0x45 or protocol != 6 or fragment & 0x3FFF:
                slow(frame, time, buffer, start, end, length, link)
                continue
            half = find(key, _UNKNOWN)
            if half is None:
                if flags & SYN:
                    slow(frame, time, buffer, start, end, length, link)
                continue
            at = start + ip + 20
            stop = at + total - 20
            at += flags >> 10 & 0x3C
            size = stop - at
            if (
                sequence != half.quick
                or flags & 7
                or stop > end
                or size > half.limit
                or not window
                or (peer := half.peer).next - acknowledgement & 0xFFFFFFFF >= 0x80000000
            ):
                slow(frame, time, buffer, start, end, length, link)
                continue
            if size > 0:
                half.last_time = time
                half.acknowledgement = acknowledgement
                recent((half, half.position, buffer, at, stop))
                half.position += size
                half.next = half.quick = sequence + size & 0xFFFFFFFF
                half.feed(buffer, at, stop, time, frame)
            elif size or (time - peer.last_time > 0.035 and acknowledgement == peer.next):
                slow(frame, time, buffer, start, end, length, link)
            else:
                half.acknowledgement = acknowledgement
        if last_link is not None:
            kinds[last_link] += seen
        kinds.pop(COMMENTS, None)
        self._frame, self._time = frame, time

    def finish(self) -> None:
        """The capture is over."""
        time, frame = self._time, self._frame
        self._flush_settings(time, frame)
        for candidate in dict.fromkeys(self._candidates.values()):
            if candidate.likely():
                self._accept(candidate, time, frame)
            else:
                self._unanswered(candidate)
        for connection in list(self._open.values()):
            connection.finish(time, frame)
        self._open.clear()
        lost = self._network.finish()
        if lost:
            self.sink.note(notes.FragmentsLost(frame=frame, time=time, datagrams=lost))
        for link, (first, count) in self._unknown_links.items():
            self.sink.note(notes.UnknownLink(frame=first, time=time, link_type=link, packets=count))

    def _slow(self, frame: int, time: float, buffer: bytes, start: int, end: int, length: int, link: int) -> None:
        """One packet the long way."""
        if link == COMMENTS:
            self._comments(frame, time, buffer)  # type: ignore[arg-type]
            return
        if link not in network.LINK_TYPES:
            self._unknown_links.setdefault(link, [frame, 0])[1] += 1
            return
        found = self._network.segment(link, buffer, start, end, length)
        if self._settings:
            self._flush_settings(time, frame)
        if found is None:
            return
        if isinstance(found, PauseFrame):
            self.sink.note(notes.Pause(frame=frame, time=time, quanta=found.quanta, source=found.source.hex(":")))
            return
        self._segment(frame, time, found)

    def _segment(self, frame: int, time: float, segment: Segment) -> None:
        key = segment.key
        half = self._halves.get(key, _UNKNOWN)
        if half is None:
            if segment.flags & (SYN | ACK) != SYN:
                return
            # Ends that meant something else before may be used for iSCSI now.
            self._forget(key)
            half = _UNKNOWN
        if half is _UNKNOWN:
            self._undecided(frame, time, segment)
            return
        connection = half.connection
        if segment.flags & (SYN | ACK) == SYN and (
            connection.over or half.start is None or half.start != segment.sequence + 1 & 0xFFFFFFFF
        ):
            self._time, self._frame = time, frame
            connection.finish(time, frame, capture_ends=False)
            self._close(connection)
            self._forget(key)
            self._undecided(frame, time, segment)
            return
        if connection.over:
            return
        self._feed(connection, half.direction, frame, time, segment)

    def _feed(self, connection: Connection, direction: Direction, frame: int, time: float, segment: Segment) -> None:
        if self._remarks and CLOSED_BY_US in self._remarks:
            connection.ours = True
        connection.segment(
            direction,
            frame,
            time,
            segment.sequence,
            segment.acknowledgement,
            segment.flags,
            segment.window,
            segment.payload,
            cut_off=segment.cut_off,
            options=segment.options,
        )
        self._remarks = ()
        if connection.over:
            self._close(connection)

    def _close(self, connection: Connection) -> None:
        """It is over; what still comes of it says nothing."""
        if self._open.pop(connection.number, None) is not None:
            for key in self._keys.pop(connection.number):
                self._halves[key] = IGNORED

    def _forget(self, key: bytes) -> None:
        self._halves.pop(key, None)
        self._halves.pop(network.reverse(key), None)

    def _undecided(self, frame: int, time: float, segment: Segment) -> None:
        key = segment.key
        candidate = self._candidates.get(key)
        if candidate is None:
            other = network.reverse(key)
            if self._only is not None and not self._only(min(key, other)):
                self._ignore(key, other)
                return
            candidate = Candidate(key)
            if segment.flags & (SYN | ACK) == SYN or segment.payload or not segment.flags & 5:
                self._candidates[key] = self._candidates[other] = candidate
                if len(self._candidates) > 2 * _MOST_UNDECIDED or self._undecided_bytes > _MOST_UNDECIDED_BYTES:
                    self._drop(next(iter(self._candidates.values())))
        verdict = candidate.add(frame, time, segment)
        self._undecided_bytes += len(segment.payload)
        if verdict is Verdict.OPEN:
            verdict = self._by_port(candidate, segment)
        if verdict is Verdict.ISCSI:
            self._accept(candidate, time, frame)
        elif verdict is Verdict.OTHER:
            self._drop(candidate)

    def _by_port(self, candidate: Candidate, segment: Segment) -> Verdict:
        """What the ends tell: a port that is known for iSCSI, a target that was met before."""
        source, source_port, destination, port = network.ends(candidate.key)
        to_target = port in self._ports or (destination, port) in self._targets
        to_initiator = source_port in self._ports or (source, source_port) in self._targets
        if to_target is not to_initiator:
            candidate.initiator = to_target
        elif candidate.initiator is None or not (self._synthesised or to_target):
            return Verdict.OPEN
        return Verdict.ISCSI

    def _accept(self, candidate: Candidate, time: float, frame: int) -> None:
        self._remove(candidate)
        self.connections += 1
        self.sink.note(notes.Recognised(connection=self.connections, time=time, frame=frame))
        key = candidate.key if candidate.initiator else network.reverse(candidate.key)
        source, source_port, destination, port = network.ends(key)
        self._targets.add((destination, port))
        connection = Connection(
            self.connections,
            Endpoint(_address(source), source_port),
            Endpoint(_address(destination), port),
            self.sink,
            self.counts,
            self.budget,
        )
        self._open[connection.number] = connection
        other = network.reverse(key)
        self._keys[connection.number] = key, other
        self._halves[key], self._halves[other] = connection.halves
        for former, then, segment in candidate.segments:
            if connection.over:
                self._segment(former, then, segment)
            else:
                direction = Direction.TO_TARGET if segment.key == key else Direction.TO_INITIATOR
                self._feed(connection, direction, former, then, segment)

    def _drop(self, candidate: Candidate) -> None:
        """Not iSCSI."""
        self._remove(candidate)
        self._unanswered(candidate)
        self.ignored += 1
        self._ignore(candidate.key, network.reverse(candidate.key))

    def _ignore(self, key: bytes, other: bytes) -> None:
        if len(self._halves) > _MOST_IGNORED:
            for old in [old for old, half in self._halves.items() if half is None or half.connection.over]:
                del self._halves[old]
        self._halves[key] = self._halves[other] = IGNORED

    def _remove(self, candidate: Candidate) -> None:
        self._candidates.pop(candidate.key, None)
        self._candidates.pop(network.reverse(candidate.key), None)
        self._undecided_bytes -= candidate.bytes

    def _unanswered(self, candidate: Candidate) -> None:
        if candidate.answered or not candidate.syns:
            return
        frame, time, segment = candidate.segments[0]
        if segment.key != candidate.key or not candidate.initiator:
            return
        _, _, address, port = network.ends(segment.key)
        endpoint = Endpoint(_address(address), port)
        self.sink.note(
            notes.SynUnanswered(
                frame=frame, time=time, direction=Direction.TO_TARGET, endpoint=endpoint, tries=candidate.syns
            )
        )

    def _comments(self, frame: int, time: float, texts: tuple[str, ...]) -> None:
        """Comments of a section, or on the packet that comes next. Before the first packet there is no time yet."""
        self._remarks = texts
        for text in texts:
            if text == SYNTHESISED:
                self._synthesised = True
            elif settings_in(text) is not None:
                self._settings.append(text)
                # A virtual clock begins at 0: only the frame tells whether there is a packet.
                if frame_of(frame).number:
                    self._flush_settings(time, frame)
            elif self._synthesised and (match := _FAILED.fullmatch(text)):
                self._failed(int(match[1]), match[2], time, frame)

    def _flush_settings(self, time: float, frame: int) -> None:
        for text in self._settings:
            self.sink.record(SettingsRecord(time, settings_in(text) or {}), frame, frame)
        self._settings = []

    def _failed(self, number: int, how: str, time: float, frame: int) -> None:
        """Our own recordings say in a comment how an attempt failed without a segment."""
        try:
            event = TransportEvent(how)
        except ValueError:
            return
        pending = [connection for connection in self._open.values() if connection.unanswered]
        for connection in pending:
            if connection.number == number or len(pending) == 1:
                connection.fail(event, time, frame)
                self._close(connection)
                return


def _address(packed: bytes) -> str:
    address = ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
