"""Below iSCSI: link types, IP, and what TCP does to a stream."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import pytest

from iscsi_captures.pcapng import PcapngWriter
from iscsi_captures.reading import Note, Totals, notes, read
from iscsi_captures.reading.network import Network, PauseFrame, Segment, ends, reverse
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.pdu import DataIn, DataOut, LoginRequest, LoginResponse, NopIn, NopOut, ScsiCommand, encode
from iscsi_protocol.stream import Direction

OUT, IN = Direction.TO_TARGET, Direction.TO_INITIATOR
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
T0 = 1_700_000_000.0


class Kept:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.frames: list[tuple[int, int]] = []
        self.notes: list[Note] = []

    def record(self, record: Record, first: int, last: int) -> None:
        self.records.append(record)
        self.frames.append((first, last))

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def pdus(self) -> list[PduRecord]:
        return [record for record in self.records if isinstance(record, PduRecord)]

    def opcodes(self) -> list[int]:
        return [record.raw.opcode for record in self.pdus()]

    def lost(self) -> list[BytesRecord]:
        return [record for record in self.records if isinstance(record, BytesRecord)]

    def events(self) -> list[TransportEvent]:
        return [record.event for record in self.records if isinstance(record, TransportRecord)]

    def of(self, kind: type[Note]) -> list[Any]:
        return [note for note in self.notes if isinstance(note, kind)]


@dataclass
class Talk:
    """A TCP connection that is written segment by segment, as IP packets with their times."""

    initiator: tuple[str, int] = ("10.0.0.1", 40000)
    target: tuple[str, int] = ("10.0.0.2", 3260)
    sequence: list[int] = field(default_factory=lambda: [1000, 0xFFFFFF00])
    time: float = T0
    packets: list[tuple[float, bytes]] = field(default_factory=list)

    def segment(
        self,
        way: Direction,
        payload: bytes = b"",
        flags: int = ACK,
        *,
        at: int | None = None,
        ack: int | None = None,
        window: int = 0xFFFF,
        options: bytes = b"",
        after: float = 0.001,
        keep: bool = True,
        length_field: int | None = None,
    ) -> bytes:
        """One segment, `after` seconds later. at, ack: in place of the numbers that are due; keep: whether it is captured."""
        self.time += after
        seq = self.sequence[way] if at is None else at
        acknowledged = self.sequence[way.other] if ack is None else ack
        (source, sport), (destination, dport) = (
            (self.initiator, self.target) if way is OUT else (self.target, self.initiator)
        )
        tcp = struct.pack(
            "!HHIIBBHHH",
            sport,
            dport,
            seq & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF if flags & ACK else 0,
            (20 + len(options)) << 2,
            flags,
            window,
            0,
            0,
        )
        body = tcp + options + payload
        addresses = ip_address(source).packed + ip_address(destination).packed
        if len(addresses) == 8:
            total = 20 + len(body) if length_field is None else length_field
            packet = struct.pack("!BBHHHBBH", 0x45, 0, total, 1, 0, 64, 6, 0) + addresses + body
        else:
            packet = struct.pack("!IHBB", 6 << 28, len(body), 6, 64) + addresses + body
        if at is None:
            self.sequence[way] += len(payload) + bool(flags & (SYN | FIN))
        if keep:
            self.packets.append((self.time, packet))
        return packet

    def handshake(self, *, mss: int | None = 1460) -> Talk:
        options = b"" if mss is None else b"\x02\x04" + struct.pack("!H", mss) + b"\x01\x03\x03\x07\x04\x02\x01\x01"
        self.segment(OUT, flags=SYN, options=options)
        self.segment(IN, flags=SYN | ACK, options=options)
        self.segment(OUT)
        return self

    def login(self, keys: bytes = b"") -> Talk:
        flags: dict[str, Any] = {"transit": True, "csg": 1, "nsg": 3, "itt": 1}
        self.segment(OUT, encode(LoginRequest(**flags, data=b"InitiatorName=iqn.a:i\0" + keys)).to_bytes(), ACK | PSH)
        self.segment(IN, encode(LoginResponse(**flags, tsih=1, data=keys)).to_bytes(), ACK | PSH)
        return self

    def ping(self, number: int = 7, **how: Any) -> Talk:
        self.segment(OUT, nop_out(number), ACK | PSH, **how)
        self.segment(IN, nop_in(number), ACK | PSH, **how)
        return self

    def close(self) -> Talk:
        self.segment(OUT, flags=FIN | ACK)
        self.segment(IN, flags=FIN | ACK)
        self.segment(OUT)
        return self


def nop_out(number: int = 7, data: bytes = b"") -> bytes:
    return encode(NopOut(itt=number, data=data)).to_bytes()


def nop_in(number: int = 7, data: bytes = b"") -> bytes:
    return encode(NopIn(itt=number, data=data)).to_bytes()


def ethernet(packet: bytes, tags: bytes = b"") -> bytes:
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    return bytes(12) + tags + kind + packet


def written(
    packets: Iterable[tuple[float, bytes]], link: int = 1, wrap: Any = ethernet, snap: int | None = None
) -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.add_interface(link_type=link)
    for time, packet in packets:
        frame = wrap(packet)
        writer.write_packet(round(time * 1e9), frame[:snap], original_length=len(frame))
    return stream.getvalue()


def run(packets: Iterable[tuple[float, bytes]], link: int = 1, wrap: Any = ethernet, **how: Any) -> tuple[Kept, Totals]:
    sink = Kept()
    snap = how.pop("snap", None)
    return sink, read([io.BytesIO(written(packets, link, wrap, snap))], sink, **how)


def short_talk(**how: Any) -> Talk:
    return Talk(**how).handshake().login().ping().close()


SHORT = [0x03, 0x23, 0x00, 0x20]
V6: dict[str, Any] = {"initiator": ("fe80::1", 40000), "target": ("2001:db8::2", 3260)}


def cooked(packet: bytes) -> bytes:
    return bytes(14) + ethernet(packet)[12:14] + packet


def cooked_2(packet: bytes) -> bytes:
    return ethernet(packet)[12:14] + bytes(18) + packet


def null(packet: bytes) -> bytes:
    return (b"\x02\0\0\0" if packet[0] >> 4 == 4 else b"\x1e\0\0\0") + packet


def loop(packet: bytes) -> bytes:
    return b"\0\0\0" + (b"\x02" if packet[0] >> 4 == 4 else b"\x18") + packet


LINKS = [
    (1, ethernet),
    (1, lambda packet: ethernet(packet, b"\x81\x00\x00\x05")),
    (1, lambda packet: ethernet(packet, b"\x88\xa8\x00\x05\x81\x00\x00\x06")),
    (113, cooked),
    (276, cooked_2),
    (0, null),
    (0, lambda packet: null(packet)[3::-1] + packet),
    (108, loop),
    *[(link, bytes) for link in (12, 14, 101)],
]


@pytest.mark.parametrize(("link", "wrap"), [*LINKS, (228, bytes)])
def test_link_types_with_ipv4(link, wrap):
    sink, totals = run(short_talk().packets, link, wrap)
    assert sink.opcodes() == SHORT
    assert sink.events() == [TransportEvent.CONNECT, TransportEvent.CONNECTED, TransportEvent.FIN, TransportEvent.FIN]
    assert totals.link_types == {link: 10}
    first = sink.records[0]
    assert isinstance(first, TransportRecord)
    assert (first.initiator, first.target) == (Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 3260))


@pytest.mark.parametrize(("link", "wrap"), [*LINKS, (229, bytes)])
def test_link_types_with_ipv6(link, wrap):
    sink, _ = run(short_talk(**V6).packets, link, wrap)
    assert sink.opcodes() == SHORT
    first = sink.records[0]
    assert isinstance(first, TransportRecord)
    assert first.target == Endpoint("2001:db8::2", 3260)


def test_unknown_link_type_is_told():
    sink, totals = run(short_talk().packets, 147)
    assert sink.records == []
    (note,) = sink.of(notes.UnknownLink)
    assert (note.link_type, note.packets, note.frame) == (147, 10, 1)
    assert totals.link_types == {147: 10}


def with_options(packet: bytes) -> bytes:
    total = struct.unpack_from("!H", packet, 2)[0] + 4
    return b"\x46" + packet[1:2] + struct.pack("!H", total) + packet[4:20] + b"\x94\x04\0\0" + packet[20:]


def with_extensions(packet: bytes) -> bytes:
    """Hop-by-hop, authentication, destination options, and an atomic fragment header in front of TCP."""
    chain = b"\x33\0" + bytes(6) + b"\x3c\x01" + bytes(10) + b"\x2c\0" + bytes(6) + b"\x06\0\0\0" + bytes(4)
    length = struct.unpack_from("!H", packet, 4)[0] + len(chain)
    return packet[:4] + struct.pack("!HB", length, 0) + packet[7:40] + chain + packet[40:]


def in_vxlan(packet: bytes) -> bytes:
    inner = b"\x08\0\0\0\0\0\x05\0" + ethernet(packet)
    udp = struct.pack("!HHHH", 5555, 4789, 8 + len(inner), 0) + inner
    return struct.pack("!BBHHHBBH8x", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + udp


@pytest.mark.parametrize(
    ("talk", "change"),
    [
        (Talk(), with_options),
        (Talk(**V6), with_extensions),
        (Talk(), in_vxlan),
        (Talk(**V6), in_vxlan),
        (Talk(), lambda packet: packet + bytes(18)),
    ],
)
def test_headers_in_front_of_tcp_and_padding_behind(talk, change):
    talk.handshake().login().ping().close()
    sink, _ = run((time, change(packet)) for time, packet in talk.packets)
    assert sink.opcodes() == SHORT


def fragments(packet: bytes, size: int = 64) -> list[bytes]:
    body, parts = packet[20:], []
    for start in range(0, len(body), size):
        part = body[start : start + size]
        more = 0x2000 if start + size < len(body) else 0
        head = packet[:2] + struct.pack("!HHH", 20 + len(part), 77, more | start >> 3) + packet[8:20]
        parts.append(head + part)
    return parts


@pytest.mark.parametrize("order", [list, lambda parts: parts[::-1], lambda parts: parts + parts])
def test_fragments_are_put_together(order):
    talk = Talk().handshake().login()
    talk.segment(OUT, nop_out(7, bytes(400)))
    time, packet = talk.packets.pop()
    sink, _ = run([*talk.packets, *((time, part) for part in order(fragments(packet)))])
    assert sink.opcodes() == [0x03, 0x23, 0x00]


def test_fragments_that_never_become_whole_are_told():
    talk = Talk().handshake().login()
    talk.segment(OUT, nop_out(7, bytes(400)))
    time, packet = talk.packets.pop()
    sink, _ = run([*talk.packets, *((time, part) for part in fragments(packet)[1:])])
    assert sink.of(notes.FragmentsLost)[0].datagrams == 1


def test_ipv6_fragments_are_put_together():
    packet = Talk(**V6).segment(OUT, nop_out(7, bytes(400)))
    body, network, found = packet[40:], Network(), []
    for start in range(0, len(body), 64):
        part = body[start : start + 64]
        head = struct.pack("!BBHI", 6, 0, start | (start + 64 < len(body)), 9)
        whole = packet[:4] + struct.pack("!HB", 8 + len(part), 44) + packet[7:40] + head + part
        found.append(network.segment(101, whole, 0, len(whole), len(whole)))
    assert found[:-1] == [None] * (len(found) - 1)
    assert isinstance(found[-1], Segment)
    assert found[-1].payload == nop_out(7, bytes(400))


def test_fragments_without_end_are_bounded():
    network = Network()
    packet = Talk().segment(OUT, bytes(400))
    for identification in range(300):
        for part in fragments(packet, 8)[1:]:
            part = part[:4] + struct.pack("!H", identification) + part[6:]
            assert network.segment(101, part, 0, len(part), len(part)) is None
    assert len(network._datagrams) <= 65
    assert network.finish() == 300


@pytest.mark.parametrize("cut", range(0, 54, 3))
def test_frames_that_are_cut_within_their_headers_mean_nothing(cut):
    for wrap, link in ((ethernet, 1), (cooked, 113), (cooked_2, 276), (null, 0), (bytes, 101)):
        for change in (bytes, with_options, in_vxlan):
            frame = wrap(change(Talk().segment(OUT, b"x")))
            assert Network().segment(link, frame, 0, min(cut, 33), len(frame)) is None


def test_keys_of_both_directions_belong_together():
    for talk, change in ((Talk(), bytes), (Talk(**V6), bytes), (Talk(), in_vxlan), (Talk(**V6), in_vxlan)):
        one, other = (change(talk.segment(way, b"x")) for way in Direction)
        first, second = (Network().segment(101, packet, 0, len(packet), len(packet)) for packet in (one, other))
        assert isinstance(first, Segment)
        assert isinstance(second, Segment)
        assert reverse(first.key) == second.key
        assert reverse(second.key) == first.key
        source, port, destination, other_port = ends(first.key)
        assert (str(ip_address(source)), port) == talk.initiator
        assert (str(ip_address(destination)), other_port) == talk.target


def test_pause_frames_are_told():
    frame = bytes(6) + b"\x02\0\0\0\0\x09" + b"\x88\x08\x00\x01\x12\x34" + bytes(42)
    assert Network().segment(1, frame, 0, len(frame), len(frame)) == PauseFrame(0x1234, frame[6:12])
    sink, _ = run([(T0, frame)], 1, bytes)
    (note,) = sink.of(notes.Pause)
    assert (note.quanta, note.source, note.connection) == (0x1234, "02:00:00:00:00:09", 0)
    other = frame[:14] + b"\x01\x01" + frame[16:]
    assert Network().segment(1, other, 0, len(other), len(other)) is None


def test_snap_length_leaves_data_pdus_with_zeros_and_says_so():
    talk = Talk().handshake().login()
    talk.segment(OUT, encode(ScsiCommand(final=True, read=True, itt=2, expected_data_transfer_length=1000)).to_bytes())
    talk.segment(IN, encode(DataIn(final=True, status_present=True, itt=2, data=b"\x55" * 1000)).to_bytes())
    talk.segment(OUT, encode(DataOut(final=True, itt=2, data=b"\x66" * 1000)).to_bytes())
    talk.ping()
    sink, _ = run(talk.packets, snap=54 + 48 + 100)
    assert sink.opcodes() == [0x03, 0x23, 0x01, 0x25, 0x05, 0x00, 0x20]
    data_in = sink.pdus()[3].raw
    assert bytes(data_in.data) == b"\x55" * 100 + bytes(900)
    assert len(sink.of(notes.Truncated)) == 2
    assert {(note.snap_length, note.wire_length) for note in sink.of(notes.Truncated)} == {(148, 1048)}
    assert [(note.bytes, note.filled) for note in sink.of(notes.Missing)] == [(900, True)] * 2
    assert sink.lost() == []


def test_snap_length_within_text_loses_that_pdu_alone():
    talk = Talk().handshake()
    talk.segment(OUT, encode(LoginRequest(transit=True, csg=1, nsg=3, itt=1, data=b"A=" + b"b" * 300)).to_bytes())
    talk.segment(IN, encode(LoginResponse(transit=True, csg=1, nsg=3, itt=1, tsih=1)).to_bytes())
    talk.ping()
    sink, _ = run(talk.packets, snap=54 + 48 + 100)
    assert sink.opcodes() == [0x23, 0x00, 0x20]
    (lost,) = sink.lost()
    assert lost.data[:1] == b"\x43"
    assert not sink.of(notes.Missing)[0].filled


def test_super_segment_without_a_length():
    """A card that cuts segments itself is handed more than the IP header can count."""
    talk = Talk().handshake().login()
    data = encode(DataIn(itt=2, data=bytes(80000))).to_bytes()
    talk.segment(IN, data, length_field=0)
    talk.ping()
    sink, _ = run(talk.packets)
    assert sink.opcodes() == [0x03, 0x23, 0x25, 0x00, 0x20]
    (note,) = sink.of(notes.Coalesced)
    assert (note.bytes, note.mss) == (len(data), 1460)


@pytest.mark.parametrize("way", Direction)
def test_one_sided_capture(way):
    talk = short_talk()
    port = 40000 if way is OUT else 3260
    packets = [packet for packet in talk.packets if struct.unpack_from("!H", packet[1], 20)[0] == port]
    sink, _ = run(packets)
    assert {record.direction for record in sink.pdus()} == {way}
    assert sink.opcodes() == ([0x03, 0x00] if way is OUT else [0x23, 0x20])
    (note,) = sink.of(notes.OneSided)
    assert note.direction is way


def test_iscsi_is_recognised_on_any_port_by_its_login():
    sink, totals = run(short_talk(target=("10.0.0.2", 9999)).packets)
    assert sink.opcodes() == SHORT
    assert totals.ignored == 0
    assert sink.events()[:2] == [TransportEvent.CONNECT, TransportEvent.CONNECTED]


@pytest.mark.parametrize(
    "payload", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"SSH-2.0-x\r\n", b"\x43\xff"]
)
def test_other_protocols_are_left_alone(payload):
    talk = Talk(target=("10.0.0.2", 9999)).handshake()
    for _ in range(5):
        talk.segment(OUT, payload * 4)
        talk.segment(IN, b"\x25" + payload)
    talk.close()
    sink, totals = run(talk.packets)
    assert sink.records == []
    assert (totals.connections, totals.ignored) == (0, 1)


def test_port_forces():
    talk = Talk(target=("10.0.0.2", 9999)).handshake()
    talk.segment(OUT, b"\x3d" + bytes(47))
    assert run(talk.packets)[0].opcodes() == []
    assert run(talk.packets, port=9999)[0].opcodes() == [0x3D]


def test_connections_can_be_left_out():
    first, second = short_talk(), short_talk(initiator=("10.0.0.1", 40001))
    keys: set[bytes] = set()

    def only(key: bytes) -> bool:
        keys.add(key)
        return struct.pack("!H", 40001) in key

    sink, totals = run([*first.packets, *second.packets], only=only)
    assert len(keys) == 2
    assert totals.connections == 1
    assert sink.opcodes() == SHORT


@pytest.mark.parametrize("skip", [3, 4, 5])
@pytest.mark.parametrize("port", [3260, 9999])
def test_start_that_is_missing(skip, port):
    talk = Talk(target=("10.0.0.2", port)).handshake().login()
    for number in range(8):
        talk.ping(number)
    sink, _ = run(talk.packets[skip:])
    assert sink.opcodes()[-16:] == [0x00, 0x20] * 8
    assert all(record.direction is (OUT if record.raw.opcode < 0x20 else IN) for record in sink.pdus())
    assert len(sink.of(notes.StartMissing)) == 1
    assert sink.of(notes.EndMissing)
    (note,) = sink.of(notes.DigestsInferred)
    assert (note.header, note.data) == (False, False)
    assert note.confidence > 0.9


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("data", [False, True])
@pytest.mark.parametrize("port", [3260, 9999])
def test_digests_are_inferred_where_the_login_is_missing(header, data, port):
    talk = Talk(target=("10.0.0.2", port)).handshake().login()
    for number in range(8):
        raw = encode(NopOut(itt=number)).with_digests(header=header, data=data)
        talk.segment(OUT, raw.to_bytes())
        raw = encode(DataIn(itt=number, data=bytes(range(200)))).with_digests(header=header, data=data)
        talk.segment(IN, raw.to_bytes())
    sink, _ = run(talk.packets[5:])
    assert sink.opcodes() == [0x00, 0x25] * 8
    (note,) = sink.of(notes.DigestsInferred)
    assert (note.header, note.data) == (header, data)
    assert note.confidence > 0.9
    assert not any(record.raw.header_digest_error or record.raw.data_digest_error for record in sink.pdus())
    assert {bool(record.raw.header_digest) for record in sink.pdus()} == {header}


def test_retransmission_and_keepalives():
    talk = Talk().handshake().login()
    place = talk.sequence[OUT]
    talk.segment(OUT, nop_out(7))
    talk.segment(OUT, nop_out(7), at=place, after=0.2)
    talk.segment(OUT, b"\0", at=talk.sequence[OUT] - 1, after=10)
    talk.segment(IN)
    sink, _ = run(talk.packets)
    assert sink.opcodes() == [0x03, 0x23, 0x00]
    (note,) = sink.of(notes.Retransmitted)
    assert (note.bytes, note.after) == (48, pytest.approx(0.2, abs=1e-5))


def test_overlap_that_differs_is_told_with_both_versions():
    talk = Talk().handshake().login()
    place = talk.sequence[OUT]
    talk.segment(OUT, nop_out(7))
    talk.segment(OUT, nop_out(8) + nop_out(9), at=place, after=0.2)
    sink, _ = run(talk.packets)
    assert [record.raw.initiator_task_tag for record in sink.pdus()[2:]] == [7, 9]
    (note,) = sink.of(notes.OverlapDiffers)
    assert note.offset == place - 1001 + 19
    assert (note.old[:1], note.new[:1], note.bytes) == (b"\x07", b"\x08", 1)
    assert note.old_hash != note.new_hash


def test_reordered_segments():
    talk = Talk().handshake().login()
    first = talk.sequence[OUT]
    talk.segment(OUT, nop_out(1), keep=False)
    talk.segment(OUT, nop_out(2))
    talk.segment(OUT, nop_out(1), at=first)
    talk.ping(3)
    sink, _ = run(talk.packets)
    assert [record.raw.initiator_task_tag for record in sink.pdus()[2:5]] == [1, 2, 3]
    (note,) = sink.of(notes.OutOfOrder)
    assert note.ahead == 48
    assert not sink.of(notes.Missing)


def test_answer_captured_before_its_question_comes_after_it():
    talk = Talk().handshake().login()
    talk.ping(1).ping(2)
    talk.packets[-4], talk.packets[-3] = talk.packets[-3], talk.packets[-4]
    sink, _ = run((T0 + index / 1e5, packet) for index, (_, packet) in enumerate(talk.packets))
    assert sink.opcodes() == [0x03, 0x23, 0x00, 0x20, 0x00, 0x20]


@pytest.mark.parametrize("count", [1, 5])
def test_gap_is_declared_when_the_receiver_has_acknowledged_it(count):
    talk = Talk().handshake().login().ping(1)
    for number in range(count):
        talk.segment(OUT, nop_out(50 + number), keep=False)
    for number in range(2, 40):
        talk.ping(number, after=0.01)
    sink, _ = run(talk.packets)
    tags = [record.raw.initiator_task_tag for record in sink.pdus() if record.direction is OUT]
    assert tags == [1, *range(1, 40)]
    (note,) = sink.of(notes.Missing)
    assert (note.bytes, note.direction, note.filled) == (48 * count, OUT, False)
    (found,) = sink.of(notes.Resynchronised)
    assert found.skipped == 0
    assert sink.lost() == []
    missing = sink.notes.index(note)
    assert missing < sink.notes.index(found)


def test_gap_within_a_pdu_and_over_the_start_of_the_next():
    talk = Talk().handshake().login().ping(1)
    data = encode(DataIn(itt=5, data=bytes(range(250)) * 10)).to_bytes()
    stream = data + data + nop_in(9)
    for start in range(0, len(stream), 500):
        talk.segment(IN, stream[start : start + 500], keep=start not in {500, 2500})
        talk.segment(OUT)
    for number in range(10, 20):
        talk.ping(number, after=0.02)
    sink, _ = run(talk.packets)
    filled, *_ = [record.raw for record in sink.pdus() if record.raw.opcode == 0x25]
    assert bytes(filled.data)[452:952] == bytes(500)
    assert bytes(filled.data)[:452] == (bytes(range(250)) * 10)[:452]
    assert 9 in [record.raw.initiator_task_tag for record in sink.pdus()]
    assert [note.bytes for note in sink.of(notes.Missing)] == [500, 500]
    assert [note.filled for note in sink.of(notes.Missing)] == [True, False]


def test_sequence_numbers_wrap():
    talk = Talk(sequence=[0xFFFFFF80, 0xFFFFFFF0]).handshake().login()
    for number in range(20):
        talk.ping(number)
    talk.close()
    sink, _ = run(talk.packets)
    assert sink.opcodes() == [0x03, 0x23, *[0x00, 0x20] * 20]
    assert sink.of(notes.Missing) == sink.of(notes.Retransmitted) == []


def test_ends_that_are_used_again_are_another_connection():
    talk = Talk().handshake().login().ping(1)
    talk.sequence = [5000, 6000]
    talk.handshake().login().ping(2).close()
    talk.sequence = [9000, 7000]
    talk.handshake().login().ping(3)
    sink, totals = run(talk.packets)
    assert totals.connections == 3
    assert [(record.connection, record.raw.initiator_task_tag) for record in sink.pdus() if record.raw.opcode == 0] == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


def test_reset_tells_what_was_in_flight():
    talk = Talk().handshake().login()
    place = talk.sequence[OUT]
    talk.segment(OUT, nop_out(7))
    talk.segment(IN, flags=RST | ACK, ack=place)
    talk.segment(IN, flags=RST | ACK, ack=place)
    sink, _ = run(talk.packets)
    assert sink.events()[-1] is TransportEvent.RST
    (note,) = sink.of(notes.Reset)
    assert (note.bytes_in_flight, note.direction) == (48, IN)


def test_refused_and_unanswered_connections():
    refused, silent = Talk(), Talk(initiator=("10.0.0.1", 40001))
    refused.segment(OUT, flags=SYN)
    refused.segment(IN, flags=RST | ACK)
    for _ in range(3):
        silent.segment(OUT, flags=SYN, at=1000, after=1)
    other = Talk(target=("10.0.0.9", 9999))
    other.segment(OUT, flags=SYN)
    sink, totals = run([*refused.packets, *silent.packets, *other.packets])
    assert sink.events() == [TransportEvent.CONNECT, TransportEvent.REFUSED, TransportEvent.CONNECT]
    found = {(note.endpoint, note.tries, note.connection) for note in sink.of(notes.SynUnanswered)}
    assert found == {(Endpoint("10.0.0.2", 3260), 3, 2), (Endpoint("10.0.0.9", 9999), 1, 0)}
    assert totals.connections == 2


def test_handshake_options():
    sink, _ = run(Talk().handshake(mss=8960).login().packets)
    asked, answered = sink.of(notes.Handshake)
    assert (asked.mss, asked.window_scale, asked.selective_ack, asked.timestamps) == (8960, 7, True, False)
    assert asked.round_trip is None
    assert answered.round_trip == pytest.approx(0.001, abs=1e-5)
    assert (asked.endpoint.port, answered.endpoint.port) == (40000, 3260)


@pytest.mark.parametrize(
    "options", [b"\x02\x01\0\0", b"\x02\x09\0\0", b"\x02\0\0\0", b"\0\x02\x04\x05", b"\x08\x0a" + bytes(10)]
)
def test_odd_options_are_read_as_far_as_they_go(options):
    talk = Talk()
    talk.segment(OUT, flags=SYN, options=options)
    sink, _ = run(talk.packets)
    (note,) = sink.of(notes.Handshake)
    assert note.mss is None
    assert note.timestamps is (options[0] == 8)


def test_window_that_shuts_and_opens():
    talk = Talk().handshake().login()
    talk.segment(IN, window=0)
    talk.segment(IN, window=0)
    talk.segment(IN, after=1.5)
    talk.ping()
    sink, _ = run(talk.packets)
    (shut,) = sink.of(notes.ZeroWindow)
    (opened,) = sink.of(notes.WindowOpened)
    assert (shut.direction, opened.direction) == (IN, IN)
    assert opened.after == pytest.approx(1.501, abs=1e-4)
    assert sink.opcodes() == SHORT


def test_sender_that_waits_for_a_delayed_acknowledgement():
    talk = Talk().handshake().login().ping()
    talk.segment(OUT, nop_out(8))
    talk.segment(IN, after=0.2)
    talk.segment(OUT, nop_out(9), after=0.0005)
    talk.segment(IN, after=0.2)
    talk.segment(OUT, nop_out(10), after=1)
    sink, _ = run(talk.packets)
    (note,) = sink.of(notes.DelayedAck)
    assert note.milliseconds == pytest.approx(200, abs=1)
    assert note.direction is OUT
    assert len(sink.pdus()) == 7


@pytest.mark.parametrize("ahead", [5000, 1 << 27])
def test_acknowledgement_of_what_was_never_sent_costs_nothing_that_was(ahead):
    talk = Talk().handshake().login().ping(1)
    talk.segment(IN, nop_in(2), ack=talk.sequence[OUT] + ahead)
    talk.segment(IN, after=1)
    for number in range(3, 9):
        talk.ping(number, after=0.01)
    sink, _ = run(talk.packets)
    tags = {
        way: [record.raw.initiator_task_tag for record in sink.pdus() if record.direction is way] for way in Direction
    }
    assert tags[OUT][1:] == [1, 3, 4, 5, 6, 7, 8]
    assert tags[IN][1:] == [1, 2, 3, 4, 5, 6, 7, 8]
