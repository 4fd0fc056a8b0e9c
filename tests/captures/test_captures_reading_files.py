"""The file formats, plain and compressed; what is no capture; what is damaged."""

from __future__ import annotations

import gzip
import io
import struct
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsi_captures.blocks import encode_block, encode_options
from iscsi_captures.pcapng import PcapngWriter, settings_comment
from iscsi_captures.reading import CaptureError, Note, frame_number, frame_of, notes, read
from iscsi_captures.tcp import TcpSynthesis
from iscsi_protocol.history import Endpoint, PduRecord, Record, SettingsRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, NopOut, encode
from iscsi_protocol.stream import Direction

OUT, IN = Direction.TO_TARGET, Direction.TO_INITIATOR
INITIATOR, TARGET = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 3260)
T0 = 1_700_000_000


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


def dialogue(pings: int = 4, port: int = 40000) -> list[tuple[float, bytes]]:
    """A login and some pings as frames, a second apart."""
    flags: dict[str, Any] = {"transit": True, "csg": 1, "nsg": 3, "itt": 1}
    initiator = Endpoint(INITIATOR.host, port)
    records: list[Record] = [
        TransportRecord(1, 0, TransportEvent.CONNECTED, initiator, TARGET),
        PduRecord(1, 0, OUT, encode(LoginRequest(**flags, data=b"InitiatorName=iqn.a:i\0"))),
        PduRecord(1, 0, IN, encode(LoginResponse(**flags, tsih=1))),
    ]
    for ping in range(pings):
        records += [
            PduRecord(1, 0, OUT, encode(NopOut(itt=ping, data=b"abc"))),
            PduRecord(1, 0, IN, encode(NopIn(itt=ping))),
        ]
    synthesis = TcpSynthesis()
    frames = [frame for record in records for frame in synthesis.record(record)]
    return [(float(T0 + index), frame) for index, (_, frame, _) in enumerate([*frames, *synthesis.flush()])]


FRAMES = dialogue()
PDUS = 10


def pcap(frames: Any = FRAMES, *, order: str = "<", ticks: int = 10**6, link: int = 1, snap: int = 1 << 18) -> bytes:
    magic = 0xA1B2C3D4 if ticks == 10**6 else 0xA1B23C4D
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snap, link)
    parts = [head]
    for time, frame in frames:
        seconds, fraction = divmod(round(time * ticks), ticks)
        parts.append(struct.pack(order + "IIII", seconds, fraction, len(frame[:snap]), len(frame)) + frame[:snap])
    return b"".join(parts)


def pcapng(frames: Any = FRAMES, *, comments: Any = ()) -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream, application="somebody", comments=comments)
    writer.add_interface()
    for time, frame in frames:
        writer.write_packet(round(time * 1e9), frame)
    return stream.getvalue()


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) & 3)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def option(order: str, code: int, value: bytes) -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) & 3)


def section(order: str, options: bytes = b"", major: int = 1) -> bytes:
    return block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, major, 0, -1) + options)


def interface(order: str, link: int = 1, snap: int = 0, options: bytes = b"") -> bytes:
    return block(order, 1, struct.pack(order + "HHI", link, 0, snap) + options)


def enhanced(order: str, time: int, frame: bytes, index: int = 0, options: bytes = b"") -> bytes:
    head = struct.pack(order + "5I", index, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
    return block(order, 6, head + frame + bytes(-len(frame) & 3) + options)


def run(data: bytes, **how: Any) -> tuple[Kept, Any]:
    sink = Kept()
    return sink, read([io.BytesIO(data)], sink, **how)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("ticks", [10**6, 10**9])
def test_pcap_of_either_byte_order_and_resolution(order, ticks):
    sink, totals = run(pcap(order=order, ticks=ticks))
    assert len(sink.pdus()) == PDUS
    assert [record.time for record in sink.pdus()][:2] == [T0 + 3, T0 + 4]
    assert totals.files[0].format == "pcap"
    assert totals.packets == len(FRAMES)
    assert totals.bytes == sum(len(frame) for _, frame in FRAMES)
    assert (totals.first_time, totals.last_time) == (T0, T0 + len(FRAMES) - 1)
    assert totals.link_types == {1: len(FRAMES)}


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_with_everything_in_it(order):
    """Two sections, two interfaces of different clocks, all kinds of packet block, and blocks that nobody knows."""
    half = len(FRAMES) // 2
    comment = option(order, 1, b"seen")
    parts = [
        section(order, option(order, 4, b"tool") + comment),
        interface(order, options=option(order, 9, b"\x06")),
        block(order, 0x0BAD, b"x" * 30),
        interface(order, options=option(order, 9, b"\x8a") + option(order, 14, struct.pack(order + "q", T0))),
        block(order, 4, bytes(4)),
    ]
    for index, (time, frame) in enumerate(FRAMES[:half]):
        if index % 3 == 0:
            parts.append(enhanced(order, int(time) * 10**6, frame, options=comment if index else b""))
        elif index % 3 == 1:
            parts.append(enhanced(order, (int(time) - T0) << 10, frame, index=1))
        else:
            head = struct.pack(
                order + "HHIIII", 0, 0, int(time) * 10**6 >> 32, int(time) * 10**6 & 0xFFFFFFFF, len(frame), len(frame)
            )
            parts.append(block(order, 2, head + frame))
    other = "<" if order == ">" else ">"
    parts += [section(other), interface(other)]
    parts += [block(other, 3, struct.pack(other + "I", len(frame)) + frame) for _, frame in FRAMES[half:]]
    parts.append(block(other, 5, struct.pack(other + "III", 0, 0, 0) + option(other, 1, b"end")))
    sink, totals = run(b"".join(parts))
    assert len(sink.pdus()) == PDUS
    assert totals.packets == len(FRAMES)
    assert totals.files[0].application == "tool"
    assert totals.files[0].comments == ("seen",)
    assert totals.files[0].damage is None
    times = [record.time for record in sink.pdus()]
    assert times[0] == T0 + 3
    # A simple packet has no time: it keeps the time of the one before.
    assert times[-1] == T0 + half - 1


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("make", [pcap, pcapng])
def test_compressed_files(pack, make, tmp_path):
    path = tmp_path / "a.pcap"
    path.write_bytes(pack(make()))
    sink = Kept()
    told: list[tuple[int, int | None]] = []
    totals = read([path], sink, progress=lambda done, whole: told.append((done, whole)))
    assert len(sink.pdus()) == PDUS
    assert totals.files[0].name == str(path)
    assert totals.files[0].format.startswith(make.__name__ + ", ")
    assert told[-1] == (path.stat().st_size, path.stat().st_size)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_compressed_file_that_was_cut_off_is_read_as_far_as_it_goes(pack):
    frames = [(T0 + index / 1000, bytes(60)) for index in range(3000)]
    data = pcap([*FRAMES, *frames, *[(T0 + 99.0, bytes(range(256)) * 200)] * 20])
    sink, totals = run(pack(data)[:-40])
    assert len(sink.pdus()) == PDUS or totals.files[0].damage is not None
    assert totals.files[0].damage is not None
    (note,) = (note for note in sink.notes if isinstance(note, notes.FileDamaged))
    assert totals.files[0].damage in note.message


def test_standard_input_gives_what_is_there_while_the_capture_runs(monkeypatch):
    """Each read gives what was written so far; records come before the end of the stream."""
    data = pcapng()
    sink = Kept()
    seen: list[int] = []

    class Slow(io.RawIOBase):
        position = 0

        def readable(self):
            return True

        def read1(self, size=-1):
            seen.append(len(sink.pdus()))
            part = data[self.position : self.position + 100]
            self.position += len(part)
            return part

    stream = type("Stdin", (), {"buffer": Slow()})()
    monkeypatch.setattr("sys.stdin", stream)
    totals = read(["-"], sink)
    assert len(sink.pdus()) == PDUS
    assert len(set(seen)) > 5
    assert totals.files[0].name == "standard input"


def test_several_files_are_merged_by_time(tmp_path):
    first, second = dialogue(port=40000), [(time + 0.5, frame) for time, frame in dialogue(port=40001)]
    paths = [tmp_path / "a.pcap", tmp_path / "b.pcapng"]
    paths[0].write_bytes(pcap(first))
    paths[1].write_bytes(pcapng(second))
    sink = Kept()
    totals = read(paths, sink)
    assert len(sink.pdus()) == 2 * PDUS
    times = [record.time for record in sink.records]
    assert times == sorted(times)
    assert {record.connection for record in sink.pdus()} == {1, 2}
    files = {frame_of(first).file for first, _ in sink.frames}
    assert files == {0, 1}
    assert [fact.name for fact in totals.files] == [str(path) for path in paths]
    assert totals.packets == 2 * len(FRAMES)


def test_frames_are_counted_from_one_as_wireshark_does():
    sink, _ = run(pcapng())
    assert sink.frames[0] == (1, 1)
    request = sink.records.index(sink.pdus()[0])
    assert sink.frames[request] == (4, 4)
    assert frame_of(frame_number(3, 7)).file == 3
    assert frame_of(frame_number(3, 7)).number == 7


def test_settings_travel_in_comments():
    sink, _ = run(pcapng(comments=["hello", settings_comment({"LoginTimeout": 15})]))
    (settings_record,) = (record for record in sink.records if isinstance(record, SettingsRecord))
    assert settings_record.settings == {"LoginTimeout": 15}
    assert sink.records[0] is settings_record


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"),
        (b"\x0a\x0d", "neither pcap nor pcapng"),
        (b"hello world", "neither pcap nor pcapng"),
        (b"\x34\xcd\xb2\xa1" + bytes(40), "neither pcap nor pcapng"),
        (pcap()[:20], "within its header"),
        (pcap()[:24] + struct.pack("<IIII", 0, 0, 1 << 30, 1 << 30), "claims 1073741824 bytes"),
        (pcap()[:50], "within a packet"),
        (section("<", major=2), "version 2"),
        (section("<")[:12], "within a block"),
        (section("<")[:8] + b"abcd" + bytes(20), "magic"),
        (section("<") + struct.pack("<II", 6, 1 << 30) + bytes(64), "claims 1073741824 bytes"),
        (section("<") + struct.pack("<II", 6, 13) + bytes(64), "claims 13 bytes"),
        (section("<") + enhanced("<", 0, bytes(60)), "no description"),
        (section("<") + block("<", 3, struct.pack("<I", 60) + bytes(60)), "no description"),
        (section("<") + interface("<") + block("<", 6, struct.pack("<5I", 0, 0, 0, 500, 500)), "claims 500 bytes"),
        (section("<") + interface("<") + block("<", 6, bytes(4)), "too short"),
        (section("<") + interface("<", options=option("<", 9, b"\x7f")), "time resolution"),
        (section("<") + interface("<", options=struct.pack("<HH", 1, 500)), "runs past"),
        (gzip.compress(b"hello world"), "neither"),
        (gzip.compress(pcap())[:12], "gzip"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 40, "zstd"),
    ],
)
def test_what_is_no_capture_is_refused_in_one_line(data, says):
    with pytest.raises(CaptureError) as caught:
        run(data)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "tail",
    [b"\1\2\3", struct.pack("<II", 6, 1 << 31) + bytes(64), struct.pack("<II", 6, 64) + bytes(8)],
)
def test_damage_further_on_ends_the_file_with_a_note(tail):
    sink, totals = run(pcapng() + tail)
    assert len(sink.pdus()) == PDUS
    assert totals.files[0].damage is not None
    (note,) = (note for note in sink.notes if isinstance(note, notes.FileDamaged))
    assert frame_of(note.frame).number == len(FRAMES)
    assert "\n" not in note.message


def test_missing_file_is_told_in_one_line(tmp_path):
    with pytest.raises(CaptureError, match=r"nothing\.pcap: No such file"):
        read([tmp_path / "nothing.pcap"], Kept())
    with pytest.raises(CaptureError, match="directory"):
        read([tmp_path], Kept())


def refusal(data: bytes) -> str:
    """What is said against these bytes, if anything."""
    try:
        run(data)
    except CaptureError as error:
        return str(error)
    return ""


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from([b"", pcap()[:24], pcapng()[:60], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"])
)
def test_any_bytes_are_read_or_refused(data, start):
    assert "\n" not in refusal(start + data)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_flipped_bits_never_crash(data):
    content = bytearray(data.draw(st.sampled_from([pcap(), pcapng()])))
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert "\n" not in refusal(bytes(content[: data.draw(st.integers(0, len(content)))]))


def test_blocks_across_the_pieces_that_are_read(monkeypatch):
    """Whatever the sizes of the pieces."""
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr("iscsi_captures.reading.files.PIECE", size)
        for data in (pcap(), pcapng(), gzip.compress(pcapng())):
            sink, totals = run(data)
            assert len(sink.pdus()) == PDUS
            assert totals.packets == len(FRAMES)


def test_large_unknown_block_is_passed_over():
    extra = encode_block(0x0BAD, bytes(4 << 20), encode_options([(1, b"x")]))
    data = pcapng()
    sink, _ = run(data[:28] + extra + data[28:] if data[4:8] == b"\x1c\0\0\0" else data + extra)
    assert len(sink.pdus()) == PDUS
