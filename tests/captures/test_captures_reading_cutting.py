"""Streams cut into PDUs: as the tap of a live connection does it, and on where that could not."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsi_captures.pcapng import PcapngWriter
from iscsi_captures.reading import Note, Totals, notes, read
from iscsi_captures.reading.cutter import CONDEMNED, CUT_SHORT, SEEK_LIMIT, SKIPPED
from iscsi_captures.tcp import TcpSynthesis
from iscsi_protocol.history import (
    BytesRecord,
    ConnectionTap,
    Endpoint,
    PduRecord,
    Record,
    TransportEvent,
    TransportRecord,
)
from iscsi_protocol.pdu import DataIn, DataOut, LoginRequest, LoginResponse, NopIn, NopOut, RawPdu, encode, join
from iscsi_protocol.stream import Direction

OUT, IN = Direction.TO_TARGET, Direction.TO_INITIATOR
INITIATOR, TARGET = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 9999)


class Kept:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.notes: list[Note] = []

    def record(self, record: Record, first: int, last: int) -> None:
        assert 1 <= first <= last
        self.records.append(record)

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def pdus(self) -> list[PduRecord]:
        return [record for record in self.records if isinstance(record, PduRecord)]

    def lost(self) -> list[BytesRecord]:
        return [record for record in self.records if isinstance(record, BytesRecord)]

    def of(self, kind: type[Note]) -> list[Any]:
        return [note for note in self.notes if isinstance(note, kind)]


def read_frames(frames: Iterable[bytes]) -> tuple[Kept, Totals]:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.add_interface()
    for index, frame in enumerate(frames):
        writer.write_packet(10**9 + index * 10**5, frame)
    stream.seek(0)
    sink = Kept()
    return sink, read([stream], sink)


def frames_of(records: Iterable[Record], mtu: int = 1500) -> list[bytes]:
    synthesis = TcpSynthesis(mtu)
    frames = [frame for record in records for frame in synthesis.record(record)]
    return [frame for _, frame, _ in [*frames, *synthesis.flush()]]


def opened() -> TransportRecord:
    return TransportRecord(1, 1.0, TransportEvent.CONNECTED, INITIATOR, TARGET, OUT)


def login(keys: bytes = b"") -> list[RawPdu]:
    flags: dict[str, Any] = {"transit": True, "csg": 1, "nsg": 3, "itt": 1}
    request = encode(LoginRequest(**flags, data=b"InitiatorName=iqn.a:i\0" + keys))
    return [request, encode(LoginResponse(**flags, tsih=1, data=keys))]


BOTH = b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0"


def plain(record: Record) -> Record:
    """A record without its time, and with parts that can be compared."""
    match record:
        case PduRecord():
            return PduRecord(record.connection, 0.0, record.direction, record.raw.kept())
        case BytesRecord():
            return BytesRecord(record.connection, 0.0, record.direction, record.data, record.reason)
        case TransportRecord():
            return TransportRecord(record.connection, 0.0, record.event, INITIATOR, TARGET, record.direction)
        case _:
            return record


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_reading_a_recording_gives_what_the_tap_gave(data):
    """Whatever is wrong with digests and framing, in segments of any size."""
    digests = data.draw(st.booleans())
    records: list[Record] = [TransportRecord(1, 1.0, TransportEvent.CONNECT, INITIATOR, TARGET, OUT), opened()]
    tap = ConnectionTap(1, records.append)
    request, response = login(BOTH if digests else b"")
    tap.bytes_crossed(OUT, request.to_bytes(), 1.0)
    tap.bytes_crossed(IN, response.to_bytes(), 1.0)
    pdus = data.draw(st.lists(st.integers(0, 3000), min_size=1, max_size=5))
    stream = bytearray(
        join(encode(NopOut(itt=7, data=bytes(size))).with_digests(header=digests, data=digests) for size in pdus)
    )
    if data.draw(st.booleans()):
        stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(0, 255))
    del stream[data.draw(st.integers(len(stream) // 2, len(stream))) :]
    mtu = data.draw(st.sampled_from([576, 1500, 65535]))
    tap.bytes_crossed(OUT, bytes(stream), 2.0)
    tap.transport(TransportEvent.FIN, 3.0, direction=OUT)
    tap.transport(TransportEvent.FIN, 3.0, direction=IN)
    tap.finish(3.0)
    sink, _ = read_frames(frames_of(records, mtu))
    assert b"".join(content(sink.records, OUT)) == b"".join(content(records, OUT))
    if not shape_is_lost(records):
        assert list(map(plain, sink.records)) == list(map(plain, records))


def content(records: Iterable[Record], way: Direction) -> list[bytes]:
    found = []
    for record in records:
        if isinstance(record, PduRecord) and record.direction is way:
            found.append(record.raw.to_bytes())
        elif isinstance(record, BytesRecord) and record.direction is way:
            found.append(record.data)
    return found


def shape_is_lost(records: Iterable[Record]) -> bool:
    """Whether two headers with wrong digests follow each other, or one claims much: there the reading looks for a PDU, which
    the tap does not.
    """
    wrong = [record.raw for record in records if isinstance(record, PduRecord) and record.raw.header_digest_error]
    return len(wrong) > 1 or any(raw.data_segment_length > SEEK_LIMIT >> 1 for raw in wrong)


def test_wrong_header_digest_is_told_at_once_and_its_data_behind_it():
    request, response = login(BOTH)
    wrong = encode(NopOut(itt=1, data=bytes(4000))).with_digests(header=True, data=True)
    wrong.header_digest = b"\0\0\0\0"
    right = encode(NopOut(itt=2)).with_digests(header=True, data=True)
    records: list[Record] = [opened(), PduRecord(1, 1.0, OUT, request), PduRecord(1, 1.0, IN, response)]
    records += [PduRecord(1, 2.0, OUT, raw) for raw in (wrong, wrong, right, wrong)]
    sink, totals = read_frames(frames_of(records)[:-1])
    errors = [record.raw.header_digest_error for record in sink.pdus()]
    assert errors == [False, False, True, True, False, True]
    assert [(len(record.data), record.reason) for record in sink.lost()][:2] == [(4004, CONDEMNED)] * 2
    assert sink.lost()[2].reason == CUT_SHORT
    assert totals.pdus[0] == 4


def test_stream_of_nonsense_behind_wrong_header_digests_is_searched():
    request, response = login(BOTH)
    good = join(encode(NopOut(itt=number)).with_digests(header=True, data=True) for number in range(4))
    records: list[Record] = [opened(), PduRecord(1, 1.0, OUT, request), PduRecord(1, 1.0, IN, response)]
    records.append(BytesRecord(1, 2.0, OUT, b"\xee" * 48 * 40 + good, ""))
    sink, _ = read_frames(frames_of(records))
    assert [record.raw.initiator_task_tag for record in sink.pdus() if record.raw.opcode == 0] == [0, 1, 2, 3]
    assert sink.lost()[-1].reason == SKIPPED
    assert sink.of(notes.Resynchronised)[0].confidence > 0.9


@pytest.mark.parametrize("size", [300_000, 1_000_000])
@pytest.mark.parametrize("lose", [(), (2, 90), tuple(range(50, 60))])
def test_pdus_of_hundreds_of_kilobytes(size, lose):
    data = bytes(range(256)) * (size // 256)
    request, response = login()
    records: list[Record] = [opened(), PduRecord(1, 1.0, OUT, request), PduRecord(1, 1.0, IN, response)]
    records += [PduRecord(1, 2.0, IN, encode(DataIn(data=data))), PduRecord(1, 2.0, OUT, encode(NopOut(itt=9)))]
    frames = frames_of(records)
    loaded = [frame for frame in frames if len(frame) == 1514]
    sink, _ = read_frames(frame for frame in frames if frame not in [loaded[index] for index in lose])
    (found,) = (record.raw for record in sink.pdus() if record.raw.opcode == 0x25)
    assert len(found.data) == len(data)
    assert (bytes(found.data) == data) is not bool(lose)
    assert sum(note.bytes for note in sink.of(notes.Missing)) == 1460 * len(lose)
    assert sink.pdus()[-1].raw.opcode == 0


def bulk(count: int = 60, **digests: bool) -> list[Record]:
    """Nothing but Data-Out, back to back, and an answer at the end."""
    parts = [
        encode(DataOut(itt=7, ttt=3, data_sn=index, buffer_offset=8192 * index, data=bytes(8192)))
        for index in range(count)
    ]
    stream = join(
        raw.with_digests(header=digests.get("header", False), data=digests.get("data", False)) for raw in parts
    )
    return [BytesRecord(1, 2.0, OUT, stream, "")]


@pytest.mark.parametrize("digests", [{}, {"header": True}, {"header": True, "data": True}])
@pytest.mark.parametrize("skip", [4, 5, 17])
def test_long_transfer_without_a_start_is_recognised_and_found(digests, skip):
    records: list[Record] = [opened(), *bulk(**digests)]
    sink, totals = read_frames(frames_of(records)[skip:])
    assert totals.connections == 1
    found = [bytes(record.raw.bhs[36:40]) for record in sink.pdus()]
    assert len(found) >= 55
    assert found == sorted(found)
    (note,) = sink.of(notes.DigestsInferred)
    assert (note.header, note.data) == (digests.get("header", False), digests.get("data", False))


def test_bulk_that_is_no_iscsi_is_left_alone():
    records: list[Record] = [opened(), BytesRecord(1, 2.0, OUT, b"\x01\x02\x03\x04" * 200_000, "")]
    for skip in (4, 5):
        sink, totals = read_frames(frames_of(records)[skip:])
        assert (sink.records, totals.connections, totals.ignored) == ([], 0, 1)


@pytest.mark.parametrize("segment", [1, 3, 5])
def test_login_in_tiny_segments_is_recognised(segment):
    request, response = login()
    stream = request.to_bytes()
    frames = frames_of([opened()])
    records: list[Record] = [opened()]
    records += [BytesRecord(1, 1.0, OUT, stream[at : at + segment], "") for at in range(0, len(stream), segment)]
    records += [PduRecord(1, 1.0, IN, response), PduRecord(1, 1.0, OUT, encode(NopOut()))]
    sink, totals = read_frames(frames_of(records))
    assert len(frames) == 3
    assert [record.raw.opcode for record in sink.pdus()] == [0x03, 0x23, 0x00]
    assert totals.ignored == 0


def test_few_segments_without_a_start_are_judged_at_the_end():
    request, response = login()
    records: list[Record] = [opened(), PduRecord(1, 1.0, OUT, request), PduRecord(1, 1.0, IN, response)]
    records += [PduRecord(1, 1.0, IN, encode(NopIn(itt=4)))]
    sink, totals = read_frames(frames_of(records)[5:])
    assert totals.connections == 1
    assert [record.raw.opcode for record in sink.pdus()] == [0x20]
    sink, totals = read_frames(frames_of(records)[6:])
    assert totals.connections == 0


@pytest.mark.parametrize("lost", [3, 4])
@pytest.mark.parametrize("keys", [b"", BOTH])
def test_login_that_is_lost_in_part_is_made_up_for(lost, keys):
    """One of its two PDUs is missing: the digests show in what follows."""
    records: list[Record] = [
        opened(),
        *(PduRecord(1, 1.0, way, raw) for way, raw in zip(Direction, login(keys), strict=True)),
    ]
    for number in range(20):
        for way, pdu in ((OUT, NopOut(itt=number, data=b"abcd")), (IN, NopIn(itt=number, data=b"abcd"))):
            raw = encode(pdu).with_digests(header=bool(keys), data=bool(keys))
            records.append(PduRecord(1, 2.0, way, raw))
    records[0] = TransportRecord(1, 1.0, TransportEvent.CONNECTED, INITIATOR, Endpoint("10.0.0.2", 3260), OUT)
    frames = frames_of(records)
    sink, _ = read_frames(frame for index, frame in enumerate(frames) if index != lost)
    pings = [record for record in sink.pdus() if record.raw.opcode & 0x1F == 0]
    assert len(pings) >= 36
    assert all(bool(record.raw.header_digest) is bool(keys) for record in pings[-8:])
    assert not any(record.raw.header_digest_error or record.raw.data_digest_error for record in pings)


def test_modules_say_what_they_are_for():
    folder = Path(__file__).parents[2] / "captures" / "iscsi_captures" / "reading"
    sizes = {path.name: len(path.read_text().splitlines()) for path in folder.glob("*.py")}
    assert max(sizes.values()) < 600
