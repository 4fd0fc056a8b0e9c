"""Work and memory of the reading stay in proportion, whatever the network or somebody hostile does. Work is counted."""

from __future__ import annotations

import random
import struct
import sys
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from iscsi_captures.pcapng import PcapngWriter
from iscsi_captures.reading import Note, connection, notes, read
from iscsi_captures.reading.engine import Engine
from iscsi_captures.reading.packets import Packet
from iscsi_captures.tcp import TcpSynthesis
from iscsi_protocol.history import BytesRecord, Endpoint, PduRecord, Record, TransportEvent, TransportRecord
from iscsi_protocol.pdu import DataIn, LoginRequest, LoginResponse, NopOut, encode
from iscsi_protocol.stream import Direction

OUT, IN = Direction.TO_TARGET, Direction.TO_INITIATOR
INITIATOR, TARGET = Endpoint("10.0.0.1", 40000), Endpoint("10.0.0.2", 3260)
MOST_GROWTH = 2.3
"""Work for twice the packets."""


class Counting:
    """A sink that keeps nothing."""

    def __init__(self) -> None:
        self.pdus = 0
        self.lost = 0
        self.notes: list[Note] = []

    def record(self, record: Record, first: int, last: int) -> None:
        self.pdus += isinstance(record, PduRecord)
        self.lost += isinstance(record, BytesRecord)

    def note(self, note: Note) -> None:
        if len(self.notes) < 1000:
            self.notes.append(note)


def dialogue(exchanges: int, size: int = 1400) -> list[bytes]:
    """Frames of a login and of pings that are answered with data."""
    flags: dict[str, Any] = {"transit": True, "csg": 1, "nsg": 3, "itt": 1}
    records: list[Record] = [
        TransportRecord(1, 0, TransportEvent.CONNECTED, INITIATOR, TARGET),
        PduRecord(1, 0, OUT, encode(LoginRequest(**flags, data=b"InitiatorName=iqn.a:i\0"))),
        PduRecord(1, 0, IN, encode(LoginResponse(**flags, tsih=1))),
    ]
    for number in range(exchanges):
        body = bytes((number + at) & 0xFF for at in range(size))
        records.append(PduRecord(1, 0, OUT, encode(NopOut(itt=number))))
        records.append(PduRecord(1, 0, IN, encode(DataIn(itt=number, data=body))))
    synthesis = TcpSynthesis(576)
    return [frame for record in records for _, frame, _ in synthesis.record(record)]


def packets(frames: Iterable[bytes]) -> list[Packet]:
    return [(index + 1, 1e9 + index * 1e-4, frame, 0, len(frame), len(frame), 1) for index, frame in enumerate(frames)]


def work(given: list[Packet]) -> int:
    """Calls of functions, and bytes that were copied or looked through by them as far as they tell."""
    counted = 0

    def count(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    engine = Engine(Counting())
    sys.setprofile(count)
    try:
        engine.run(given)
        engine.finish()
    finally:
        sys.setprofile(None)
    return counted


def as_it_is(frames: list[bytes]) -> list[bytes]:
    return frames


def twice(frames: list[bytes]) -> list[bytes]:
    return [frame for frame in frames for _ in range(2)]


def all_again(frames: list[bytes]) -> list[bytes]:
    return frames + frames


def backwards(frames: list[bytes]) -> list[bytes]:
    return frames[:5] + frames[5:][::-1]


def shuffled(frames: list[bytes]) -> list[bytes]:
    rest = frames[5:]
    random.Random(7).shuffle(rest)
    return frames[:5] + rest


def halved(frames: list[bytes]) -> list[bytes]:
    chance = random.Random(7)
    return frames[:5] + [frame for frame in frames[5:] if chance.random() < 0.5]


def without_start(frames: list[bytes]) -> list[bytes]:
    return frames[6:]


def never_a_header(frames: list[bytes]) -> list[bytes]:
    """A connection whose start is missing, and nothing in it looks like a PDU."""
    return [frame[:54] + b"\x01" * (len(frame) - 54) for frame in frames[6:]]


def nearly_a_header(frames: list[bytes]) -> list[bytes]:
    return [frame[:54] + (b"\x01\x80\0\0" * 500)[: len(frame) - 54] for frame in frames[6:]]


@pytest.mark.parametrize(
    "change",
    [as_it_is, twice, all_again, backwards, shuffled, halved, without_start, never_a_header, nearly_a_header],
)
def test_twice_the_packets_are_no_more_than_about_twice_the_work(change: Callable[[list[bytes]], list[bytes]]):
    small, large = (work(packets(change(dialogue(count)))) for count in (250, 500))
    assert small > 1000
    assert large <= MOST_GROWTH * small


@pytest.mark.parametrize("change", [backwards, shuffled, halved, never_a_header, nearly_a_header])
def test_memory_is_bounded(change, monkeypatch):
    """Bounds that are made small for the test hold, however many packets wait."""
    monkeypatch.setattr(connection, "MOST_WAITING_BYTES", 1 << 16)
    monkeypatch.setattr(connection, "MOST_WAITING", 64)
    monkeypatch.setattr("iscsi_captures.reading.cutter.SEEK_LIMIT", 1 << 14)
    given = packets(change(dialogue(800)))
    engine = Engine(Counting())
    tracemalloc.start()
    engine.run(given)
    engine.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def frame(payload: bytes, sequence: int, flags: int = 16, port: int = 40000, way: Direction = OUT) -> bytes:
    tcp = struct.pack("!IIBBHHH", sequence & 0xFFFFFFFF, 1, 80, flags, 0xFFFF, 0, 0) + payload
    ports = struct.pack("!HH", port, 3260) if way is OUT else struct.pack("!HH", 3260, port)
    ends = b"\x0a\0\0\x01\x0a\0\0\x02" if way is OUT else b"\x0a\0\0\x02\x0a\0\0\x01"
    return bytes(12) + b"\x08\0" + struct.pack("!BBHHHBBH", 69, 0, 24 + len(tcp), 1, 0, 64, 6, 0) + ends + ports + tcp


def run(frames: Iterable[bytes]) -> tuple[Counting, Engine]:
    sink = Counting()
    engine = Engine(sink)
    engine.run(iter(packets(frames)))
    engine.finish()
    return sink, engine


def test_many_connections_that_mean_nothing_are_forgotten(monkeypatch):
    monkeypatch.setattr("iscsi_captures.reading.engine._MOST_UNDECIDED", 50)
    monkeypatch.setattr("iscsi_captures.reading.engine._MOST_IGNORED", 200)
    frames = [
        part.replace(b"\x0c\xbc", b"\x23\x0f", 1)
        for port in range(1000, 3000)
        for part in (frame(b"", 0, 2, port), frame(b"x", 1, 24, port))
    ]
    _, engine = run(frames)
    assert len(engine._candidates) <= 102
    assert len(engine._halves) <= 210


def test_closed_connections_are_forgotten():
    frames = [
        part
        for port in range(1000, 2000)
        for part in (frame(b"", 0, 2, port), frame(encode(NopOut()).to_bytes(), 1, 24, port), frame(b"", 49, 4, port))
    ]
    sink, engine = run(frames)
    assert sink.pdus == 1000
    assert not engine._open
    assert not engine._keys
    assert engine.budget.used == 0


def test_claims_of_large_pdus_that_never_come_are_given_up():
    """Each connection claims 16 MiB; what is there of them waits only as long as there is room."""
    claim = b"\x05\x80\0\0\0\xff\xff\xff" + bytes(40)
    frames = []
    for port in range(1000, 1100):
        frames.append(frame(b"", 0, 2, port))
        frames += [frame(claim + bytes(1000), 1, 24, port)]
        frames += [frame(bytes(1000), 1049 + 1000 * index, 24, port) for index in range(200)]
    given = packets(frames)
    engine = Engine(Counting())
    engine.budget.limit = 1 << 20
    tracemalloc.start()
    engine.run(given)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
    sink = engine.sink
    engine.finish()
    assert isinstance(sink, Counting)
    assert any(isinstance(note, notes.BufferFull) for note in sink.notes)


@pytest.mark.parametrize("jump", [1 << 30, (1 << 31) - 1, 1 << 31, -(1 << 30)])
def test_absurd_sequence_numbers(jump):
    ping = encode(NopOut(itt=5)).to_bytes()
    frames = [frame(b"", 0, 2), frame(ping, 1), frame(ping, 1 + jump)]
    frames += [frame(b"", 1, 16, way=IN), *(frame(ping, 49 + 48 * index) for index in range(5))]
    sink, _ = run(frames)
    assert sink.pdus >= 6


def test_large_capture_in_little_memory(tmp_path):
    """Forty megabytes are read within a few."""
    path = tmp_path / "large.pcapng"
    login = dialogue(0)
    with path.open("wb") as stream:
        writer = PcapngWriter(stream)
        writer.add_interface()
        for index, part in enumerate(login):
            writer.write_packet(index, part)
        position = 1 + len(login[-1])
        body = encode(DataIn(data=bytes(32000))).to_bytes()
        sequence = int.from_bytes(login[-1][38:42], "big") + len(login[-1]) - 54
        ack = login[-1][42:46]
        for index in range(1300):
            part = frame(body, sequence + len(body) * index, way=IN)
            writer.write_packet(position + index, part[:42] + ack + part[46:])
    sink = Counting()
    tracemalloc.start()
    read([path], sink)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sink.pdus == 1302
    assert peak < 20 << 20
