"""pcapng files: what is written is read back, both byte orders are read, and no length is believed."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_captures.blocks import LARGEST_BLOCK, encode_block, encode_options, read_blocks
from iscsi_captures.pcapng import (
    SYNTHESISED,
    BadBlock,
    Interface,
    NotPcapng,
    Packet,
    PcapngError,
    PcapngRecorder,
    PcapngWriter,
    Section,
    Statistics,
    TruncatedFile,
    UnsupportedVersion,
    read,
    read_packets,
    settings_comment,
    settings_in,
)
from iscsi_protocol.history import Endpoint, PduRecord, SettingsRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import NopOut, encode
from iscsi_protocol.stream import Direction

COMMENTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=3)


def block(order: str, kind: int, body: bytes) -> bytes:
    total = len(body) + 12
    return struct.pack(order + "II", kind, total) + body + struct.pack(order + "I", total)


def section(order: str, major: int = 1, options: bytes = b"") -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1) + options)


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) & 3)


def items(data: bytes) -> list[object]:
    return list(read(io.BytesIO(data)))


@given(
    packets=st.lists(st.tuples(st.integers(0, 2**64 - 1), st.binary(max_size=70), COMMENTS), max_size=5),
    comments=COMMENTS,
)
def test_what_is_written_is_read(packets, comments):
    stream = io.BytesIO()
    writer = PcapngWriter(stream, application="tester", comments=comments)
    assert writer.add_interface(name="eth0") == 0
    for time_ns, data, notes in packets:
        writer.write_packet(time_ns, data, comments=notes)
    interface = Interface(1, 0, 10**9, 0, "eth0")
    assert items(stream.getvalue()) == [
        Section("tester", tuple(comments)),
        interface,
        *(
            Packet(number, time_ns, interface, data, len(data), tuple(notes))
            for number, (time_ns, data, notes) in enumerate(packets, 1)
        ),
    ]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("resolution", "ticks", "expected"),
    [
        (None, 1_500_000, 1_500_000_000),
        (b"\x09", 1_500_000_123, 1_500_000_123),
        (b"\x03", 1_500, 1_500_000_000),
        (b"\x8a", 1536, 1_500_000_000),
        (b"\x0c", 1_500_000_000_999, 1_500_000_000),
    ],
)
def test_both_orders_and_every_resolution_are_read(order, resolution, ticks, expected):
    options = option(order, 14, struct.pack(order + "q", 7)) + option(order, 2, b"lo")
    options += option(order, 9, resolution) if resolution else b""
    data = section(order, options=option(order, 1, b"hello") + bytes(4))
    data += block(order, 1, struct.pack(order + "HHI", 1, 0, 96) + options)
    body = (
        struct.pack(order + "IIIII", 0, ticks >> 32, ticks & 0xFFFFFFFF, 5, 60)
        + b"bytes\0\0\0"
        + option(order, 1, b"note")
    )
    data += block(order, 6, body)
    found = items(data)
    assert found[0] == Section("", ("hello",))
    (packet,) = found[2:]
    assert isinstance(packet, Packet)
    assert packet.time_ns == expected + 7 * 10**9
    assert (packet.data, packet.original_length, packet.comments) == (b"bytes", 60, ("note",))
    assert (packet.interface.name, packet.interface.snap_length) == ("lo", 96)


def test_simple_and_obsolete_packets_are_read():
    data = section("<") + block("<", 1, struct.pack("<HHI", 1, 0, 4))
    data += block("<", 3, struct.pack("<I", 9) + b"four")
    data += block("<", 2, struct.pack("<HHIIII", 0, 3, 0, 42, 2, 2) + b"ab\0\0")
    simple, obsolete = read_packets(io.BytesIO(data))
    assert (simple.time_ns, simple.data, simple.original_length) == (None, b"four", 9)
    assert (obsolete.number, obsolete.time_ns, obsolete.data) == (2, 42_000, b"ab")


def test_unknown_blocks_are_passed_over_and_a_new_section_starts_anew():
    description = struct.pack("<HHI", 1, 0, 0)
    first = section("<") + block("<", 0x0BAD, b"whatever") + block("<", 1, description)
    second = section(">") + block(">", 1, struct.pack(">HHI", 113, 0, 0))
    second += block(">", 6, struct.pack(">IIIII", 0, 0, 1, 4, 4) + b"abcd")
    (packet,) = read_packets(io.BytesIO(first + second))
    assert packet.interface.link_type == 113


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", NotPcapng),
        (b"\x0a\x0d", NotPcapng),
        (struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1), NotPcapng),
        (section("<", major=2), UnsupportedVersion),
        (section("<")[:-1], TruncatedFile),
        (section("<")[:10], TruncatedFile),
        (section("<") + b"\1\0\0", TruncatedFile),
        (section("<")[:8] + b"\1\2\3\4" + section("<")[12:], BadBlock),
        (section("<")[:-4] + struct.pack("<I", 32), BadBlock),
        (section("<") + struct.pack("<II", 5, 0), BadBlock),
        (section("<") + struct.pack("<II", 5, 11), BadBlock),
        (section("<") + struct.pack("<II", 5, 18) + bytes(10), BadBlock),
        (section("<") + struct.pack("<II", 5, LARGEST_BLOCK + 4), BadBlock),
        (section("<") + struct.pack("<II", 5, 0xFFFFFFFC), BadBlock),
        (section("<")[:4] + struct.pack("<I", 12) + section("<")[8:], BadBlock),
        (section("<") + block("<", 6, bytes(20)), BadBlock),
        (section("<") + block("<", 1, bytes(4)), BadBlock),
        (
            section("<") + block("<", 1, bytes(8)) + block("<", 6, struct.pack("<5I", 0, 0, 0, 5, 5) + bytes(4)),
            BadBlock,
        ),
        (section("<") + block("<", 1, bytes(8) + struct.pack("<HH", 2, 9) + bytes(4)), BadBlock),
        (section("<") + block("<", 3, bytes(4)), BadBlock),
    ],
)
def test_damage_is_refused_with_its_place(data, error):
    with pytest.raises(PcapngError) as raised:
        items(data)
    assert type(raised.value) is error
    assert raised.value.offset in {0, 28, 48}


def test_absurd_length_is_refused_before_anything_is_read_for_it():
    class Watched(io.BytesIO):
        largest = 0

        def read(self, size: int | None = -1) -> bytes:
            assert size is not None
            self.largest = max(self.largest, size)
            return super().read(size)

    stream = Watched(section("<") + struct.pack("<II", 6, 0xFFFFFFF0) + bytes(100))
    with pytest.raises(BadBlock):
        list(read(stream))
    assert stream.largest < 100


@given(st.binary(max_size=120), st.integers(0, 3))
def test_any_bytes_are_read_or_refused(tail, place):
    good = section("<") + block("<", 1, bytes(8)) + block("<", 6, struct.pack("<5I", 0, 0, 0, 4, 4) + b"abcd")
    cut = [0, 28, 48, len(good)][place]
    faults = []
    try:
        items(good[:cut] + tail)
    except PcapngError as error:
        faults.append(error.offset)
    assert all(0 <= offset <= cut + len(tail) for offset in faults)


def test_packets_before_the_cut_are_given():
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.add_interface()
    writer.write_packet(1, b"one")
    writer.write_packet(2, b"two")
    packets = read_packets(io.BytesIO(stream.getvalue()[:-5]))
    assert next(packets).data == b"one"
    with pytest.raises(TruncatedFile):
        next(packets)


def test_writer_refuses_what_it_cannot_write():
    writer = PcapngWriter(io.BytesIO())
    with pytest.raises(ValueError, match="interface 0"):
        writer.write_packet(0, b"")
    writer.add_interface()
    with pytest.raises(ValueError, match="epoch"):
        writer.write_packet(-1, b"")
    with pytest.raises(ValueError, match="65536"):
        writer.write_packet(0, b"", comments=["x" * 65536])
    with pytest.raises(ValueError, match="larger"):
        encode_block(6, bytes(LARGEST_BLOCK))


def test_options_of_a_block_end_with_the_mark():
    (written,) = read_blocks(io.BytesIO(section("<", options=encode_options([(1, b"abc"), (1, b"")]))))
    assert written.body.endswith(b"\x01\0\3\0abc\0\1\0\0\0\0\0\0\0")
    assert list(written.options(16)) == [(1, b"abc"), (1, b"")]
    assert encode_options([]) == b""


@given(st.dictionaries(st.text(), st.integers() | st.booleans() | st.text() | st.lists(st.integers())))
def test_settings_survive_their_comment(settings):
    assert settings_in(settings_comment(settings)) == settings


@pytest.mark.parametrize("comment", ["", "a case", "initiator settings: {", "initiator settings: 5"])
def test_other_comments_carry_no_settings(comment):
    assert settings_in(comment) is None


def nop(time: float) -> PduRecord:
    return PduRecord(1, time, Direction.TO_TARGET, encode(NopOut(itt=1)))


def recorded(path: Path) -> list[object]:
    with path.open("rb") as stream:
        return list(read(stream))


def test_recording_tells_its_case_its_settings_and_that_tcp_is_made_up(tmp_path):
    path = tmp_path / "case.pcapng"
    with PcapngRecorder(path, comment="login.first-pdu") as recorder:
        recorder.record(SettingsRecord(0.0, {"LinkDownTime": 15}))
        recorder.record(nop(1.0))
        recorder.record(SettingsRecord(1.5, {"LinkDownTime": 30}))
        recorder.record(nop(2.0))
        recorder.record(SettingsRecord(2.5, {"LinkDownTime": 45}))
    head, interface, *packets, tail = recorded(path)
    assert isinstance(head, Section)
    assert head.comments == ("login.first-pdu", SYNTHESISED, 'initiator settings: {"LinkDownTime": 15}')
    assert "synthesised" in SYNTHESISED
    assert isinstance(interface, Interface)
    assert interface.ticks_per_second == 10**9
    comments = [packet.comments for packet in packets if isinstance(packet, Packet)]
    assert comments == [(), (), (), (), ('initiator settings: {"LinkDownTime": 30}',)]
    assert tail == Statistics(('initiator settings: {"LinkDownTime": 45}',))


def test_recorded_times_are_the_records_and_never_go_back(tmp_path):
    path = tmp_path / "case.pcapng"
    with PcapngRecorder(path) as recorder:
        for time in (-1.0, 5.25, 5.0, 6.000000001):
            recorder.record(nop(time))
    times = [item.time_ns for item in recorded(path) if isinstance(item, Packet)]
    assert times == [0, 0, 0, 0, 5_250_000_000, 5_250_000_000, 6_000_000_001]


def test_connection_that_was_never_answered_is_told_of(tmp_path):
    path = tmp_path / "case.pcapng"
    with PcapngRecorder(path) as recorder:
        recorder.record(TransportRecord(1, 1.0, TransportEvent.CONNECT, None, Endpoint("10.0.0.1", 3260)))
        recorder.record(TransportRecord(1, 9.0, TransportEvent.TIMED_OUT))
    *_, packet, tail = recorded(path)
    assert isinstance(packet, Packet)
    assert packet.time_ns == 10**9
    assert tail == Statistics(("connection 1: timed out",))


def test_recording_of_nothing_is_a_whole_file(tmp_path):
    recorder = PcapngRecorder(tmp_path / "case.pcapng", comment="nothing")
    recorder.close()
    recorder.close()
    head, _ = recorded(tmp_path / "case.pcapng")
    assert head == Section("iscsi-conformance", ("nothing", SYNTHESISED))
    with pytest.raises(ValueError, match="closed"):
        recorder.record(nop(1.0))


def test_comment_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match="65536"):
        PcapngRecorder(tmp_path / "case.pcapng", comment="x" * 65536)
    with PcapngRecorder(tmp_path / "other.pcapng") as recorder, pytest.raises(ValueError, match="bytes"):
        recorder.record(SettingsRecord(0.0, {"text": "x" * 65536}))
