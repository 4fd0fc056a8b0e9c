"""Recordings read again: the records that come out are those that went in, whatever the network did to the packets."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsi_captures.pcapng import PcapngRecorder, PcapngWriter
from iscsi_captures.reading import Note, Totals, frame_of, notes, read
from iscsi_captures.tcp import TcpSynthesis
from iscsi_protocol.history import (
    BytesRecord,
    ConnectionTap,
    Endpoint,
    PduRecord,
    Record,
    SettingsRecord,
    TransportEvent,
    TransportRecord,
)
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    NopIn,
    NopOut,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    encode,
    join,
)
from iscsi_protocol.stream import Direction

OUT, IN = Direction.TO_TARGET, Direction.TO_INITIATOR
INITIATOR, TARGET = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 3260)


class Kept:
    """A sink that keeps all."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.frames: list[tuple[int, int]] = []
        self.notes: list[Note] = []

    def record(self, record: Record, first: int, last: int) -> None:
        if isinstance(record, PduRecord):
            record = PduRecord(record.connection, record.time, record.direction, record.raw.kept())
        self.records.append(record)
        self.frames.append((first, last))

    def note(self, note: Note) -> None:
        self.notes.append(note)

    def kinds(self) -> set[str]:
        return {type(note).__name__ for note in self.notes}

    def of(self, kind: type[Note]) -> list[Any]:
        return [note for note in self.notes if isinstance(note, kind)]


def read_bytes(data: bytes, **how: Any) -> tuple[Kept, Totals]:
    sink = Kept()
    totals = read([io.BytesIO(data)], sink, **how)
    return sink, totals


def login(digests: bool = False, number: int = 1, time: float = 1.0) -> list[Record]:
    keys = b"HeaderDigest=CRC32C\0DataDigest=CRC32C\0" if digests else b"HeaderDigest=None\0DataDigest=None\0"
    request = LoginRequest(transit=True, csg=1, nsg=3, itt=1, cmd_sn=1, data=b"InitiatorName=iqn.a:i\0" + keys)
    response = LoginResponse(transit=True, csg=1, nsg=3, itt=1, tsih=1, exp_cmd_sn=1, max_cmd_sn=9, data=keys)
    return [
        PduRecord(number, time, OUT, encode(request)),
        PduRecord(number, time + 0.25, IN, encode(response)),
    ]


def exchange(count: int, digests: bool = False, number: int = 1, time: float = 2.0, size: int = 2000) -> list[Record]:
    """A read, a write and a ping by turns."""
    records: list[Record] = []

    def add(direction: Direction, pdu: Any) -> None:
        nonlocal time
        time += 1 / 256
        raw = encode(pdu).with_digests(header=digests, data=digests)
        records.append(PduRecord(number, time, direction, raw))

    for index in range(count):
        itt = 16 + index
        body = bytes((index + at) & 0xFF for at in range(size))
        window = {"exp_cmd_sn": index + 2, "max_cmd_sn": index + 40}
        match index % 3:
            case 0:
                add(OUT, ScsiCommand(final=True, read=True, itt=itt, cmd_sn=index, expected_data_transfer_length=size))
                add(IN, DataIn(final=True, status_present=True, itt=itt, stat_sn=index, data=body, **window))
            case 1:
                add(OUT, ScsiCommand(final=True, write=True, itt=itt, cmd_sn=index, expected_data_transfer_length=size))
                add(IN, R2T(itt=itt, ttt=7, stat_sn=index, desired_data_transfer_length=size, **window))
                add(OUT, DataOut(final=True, itt=itt, ttt=7, data=body))
                add(IN, ScsiResponse(itt=itt, stat_sn=index, **window))
            case _:
                add(OUT, NopOut(itt=itt, cmd_sn=index, data=b"ping" * 3 + b"x"))
                add(IN, NopIn(itt=itt, stat_sn=index, data=b"ping" * 3 + b"x", **window))
    return records


def transport(event: TransportEvent, time: float, direction: Direction = IN, number: int = 1) -> TransportRecord:
    return TransportRecord(number, time, event, INITIATOR, TARGET, direction)


def opened(time: float = 0.5, number: int = 1) -> list[Record]:
    return [
        transport(TransportEvent.CONNECT, time, OUT, number),
        transport(TransportEvent.CONNECTED, time + 0.25, OUT, number),
    ]


def closed(time: float = 9.0) -> list[Record]:
    return [transport(TransportEvent.CLOSED_BY_US, time, OUT), transport(TransportEvent.FIN, time + 0.5, IN)]


def dialogue(digests: bool = False, count: int = 9) -> list[Record]:
    return [*opened(), *login(digests), *exchange(count, digests), *closed()]


def recorded(records: Iterable[Record], tmp_path: Any, name: str = "a.pcapng") -> bytes:
    path = tmp_path / name
    with PcapngRecorder(path) as recorder:
        for record in records:
            recorder.record(record)
    return bytes(path.read_bytes())


def packets(records: Iterable[Record], mtu: int = 1500) -> list[tuple[float, bytes]]:
    synthesis = TcpSynthesis(mtu)
    frames = [frame for record in records for frame in synthesis.record(record)]
    return [(time, frame) for time, frame, _ in [*frames, *synthesis.flush()]]


def written(frames: Iterable[tuple[float, bytes]], link_type: int = 1) -> bytes:
    stream = io.BytesIO()
    writer = PcapngWriter(stream)
    writer.add_interface(link_type=link_type)
    for time, frame in frames:
        writer.write_packet(round(time * 1e9), frame)
    return stream.getvalue()


@pytest.mark.parametrize("digests", [False, True])
def test_records_come_out_as_they_went_in(tmp_path, digests):
    records = dialogue(digests)
    sink, totals = read_bytes(recorded(records, tmp_path))
    assert sink.records == records
    assert totals.connections == 1
    assert sum(totals.pdus.values()) == sum(isinstance(record, PduRecord) for record in records)
    assert sink.kinds() == {"Handshake"}


@pytest.mark.parametrize(
    "records",
    [
        [*opened(), *login(), transport(TransportEvent.RST, 3.0, IN)],
        [*opened(), *login(), transport(TransportEvent.RST, 3.0, OUT)],
        [*opened(), *login(), transport(TransportEvent.FIN, 3.0, OUT), transport(TransportEvent.FIN, 4.0, IN)],
        [transport(TransportEvent.CONNECT, 1.0, OUT), transport(TransportEvent.REFUSED, 2.0)],
        [transport(TransportEvent.CONNECT, 1.0, OUT), transport(TransportEvent.TIMED_OUT, 2.0), *opened(3.0, 2)],
        [
            *opened(),
            *login(),
            *exchange(3),
            BytesRecord(1, 5.0, OUT, b"\1" + bytes(20), "the stream ended within a PDU"),
        ],
    ],
)
def test_ends_of_connections_come_out_as_they_went_in(tmp_path, records):
    sink, _ = read_bytes(recorded(records, tmp_path))
    assert [type(record) for record in sink.records] == [type(record) for record in records]
    for found, expected in zip(sink.records, records, strict=True):
        if not (isinstance(expected, TransportRecord) and expected.event is TransportEvent.TIMED_OUT):
            assert found == expected


def without_loss(sink: Kept) -> list[Record]:
    """The records without what only the capture's order decides: their times."""
    return [
        PduRecord(record.connection, 0.0, record.direction, record.raw)
        for record in sink.records
        if isinstance(record, PduRecord)
    ]


def by_direction(records: Iterable[Record]) -> dict[Direction, list[RawPdu]]:
    found: dict[Direction, list[RawPdu]] = {OUT: [], IN: []}
    for record in records:
        if isinstance(record, PduRecord):
            found[record.direction].append(record.raw)
    return found


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_packets_repeated_and_moved_by_a_few_places_change_no_record(data):
    """As long as nothing is lost, whatever the packets were cut to."""
    digests = data.draw(st.booleans())
    mtu = data.draw(st.sampled_from([576, 1500, 9000, 65535]))
    records = dialogue(digests, data.draw(st.integers(1, 6)))
    frames = packets(records, mtu)
    places = [index + data.draw(st.sampled_from([0, 0, 0, 1, 3.5, 8])) for index in range(len(frames))]
    # The handshake and the closing stay where they are; what is in between moves.
    places[:5] = [index - 100 for index in range(5)]
    places[-4:] = [1000 + index for index in range(4)]
    moved = [frames[index] for index in sorted(range(len(frames)), key=lambda index: places[index])]
    times = sorted(time for time, _ in frames)
    again = [frame for frame in moved for _ in range(data.draw(st.sampled_from([1, 1, 1, 2])))]
    sink, _ = read_bytes(written((times[0], frame[1]) for frame in again))
    assert by_direction(sink.records) == by_direction(records)
    assert not sink.of(notes.Missing)
    assert not any(isinstance(record, BytesRecord) for record in sink.records)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_loss_never_crashes_and_later_pdus_are_found_again(data):
    digests = data.draw(st.booleans())
    records = dialogue(digests, 24)
    frames = packets(records, data.draw(st.sampled_from([576, 1500, 9000])))
    lost = data.draw(st.sets(st.integers(0, len(frames) - 1), max_size=6))
    kept = [frame for index, frame in enumerate(frames) if index not in lost]
    sink, totals = read_bytes(written(kept))
    expected = by_direction(records)
    found = by_direction(sink.records)
    seen = {direction: {raw.bhs for raw in raws} for direction, raws in expected.items()}
    for direction in Direction:
        for raw in found[direction]:
            assert raw.bhs in seen[direction]
    assert sum(totals.pdus.values()) >= len(expected[OUT]) + len(expected[IN]) - 12 * len(lost)
