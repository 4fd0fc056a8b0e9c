"""A trace's buffers and its file: what is put is read again, what is lost is counted, and damage is told."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.tracing.files import TraceFile
from iscsi_initiator.tracing.flags import ERROR, TCP
from iscsi_initiator.tracing.layout import (
    ENTRY_LIMIT,
    HEAD_LENGTH,
    HEADER_LENGTH,
    BufferHead,
    Closing,
    FileHeader,
    LayoutError,
    Mode,
    encode_body,
)
from iscsi_initiator.tracing.reader import Remark, TraceReader
from iscsi_initiator.tracing.ring import SMALLEST_BUFFER, Ring
from iscsi_initiator.tracing.teller import TEXT_LIMIT, Message
from iscsi_initiator.tracing.trace import Trace, TraceOptions

BUFFER = SMALLEST_BUFFER
PER_BUFFER = (BUFFER - HEAD_LENGTH) // 532
"""Entries of 500 characters that a smallest buffer takes."""


def is_full(error: OSError | None) -> bool:
    return error is not None and error.errno == errno.ENOSPC


def message(number: int, length: int = 500) -> Message:
    return Message(TCP, number, 1, 2, f"{number} ".ljust(length, "x"))


class Memory:
    """A file in memory, which can be full."""

    def __init__(self) -> None:
        self.data = io.BytesIO()
        self.full = False
        self.room = 1 << 30
        self.closed = False

    def write(self, offset: int, data: bytes) -> None:
        if self.full or offset >= self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.data.seek(offset)
        self.data.write(data)

    def close(self) -> None:
        self.closed = True


class Bench:
    """A trace into a file in memory, and what a reader finds there."""

    def __init__(self, folder: Path, **options) -> None:
        self.file = Memory()
        self.path = folder / "t"
        self.woken: list[float] = []
        given = {"name": "t", "path": "/t", "flags": TCP, "buffer_kib": 4, "minimum_buffers": 2, "maximum_buffers": 4}
        self.trace = Trace(
            TraceOptions(**{**given, **options}), self.file, started=1, process=3, wake=self.woken.append
        )
        self.count = 0

    def put(self, count: int, length: int = 500) -> None:
        for _ in range(count):
            self.trace.take(message(self.count, length))
            self.count += 1

    def found(self, data: bytes | None = None) -> tuple[list[int], list[Remark]]:
        """Numbers of the messages that are there, and remarks."""
        self.path.write_bytes(self.file.data.getvalue() if data is None else data)
        reader = TraceReader(self.path)
        try:
            read = list(reader.read())
        finally:
            reader.close()
        numbers = [int(each.text.split()[0]) for each in read if isinstance(each, Message)]
        return numbers, [each for each in read if isinstance(each, Remark)]


def test_largest_message_fits_into_the_smallest_buffer():
    assert ENTRY_LIMIT + HEAD_LENGTH <= SMALLEST_BUFFER
    body = encode_body(Message(1, 0, 0, 0, "\U0001f600" * (TEXT_LIMIT + 40)))
    assert len(body) + 8 <= ENTRY_LIMIT


def test_what_is_put_is_read_again(tmp_path):
    bench = Bench(tmp_path)
    for _ in range(5):
        bench.put(PER_BUFFER)
        bench.trace.flush()
    bench.trace.stop(99)
    assert bench.found() == (list(range(bench.count)), [])
    assert (bench.trace.ring.entries, bench.trace.ring.lost) == (bench.count, 0)
    reader = TraceReader(bench.path)
    assert (reader.header.name, reader.header.flags, reader.header.process) == ("t", TCP, 3)
    assert reader.closing == Closing(99, bench.trace.ring.last_number, 0)
    reader.close()
    assert bench.file.closed


def test_trace_that_runs_is_read_as_far_as_it_is(tmp_path):
    bench = Bench(tmp_path)
    bench.put(3, 40)
    bench.trace.flush()
    bench.put(2, 40)
    numbers, remarks = bench.found()
    assert numbers == [0, 1, 2]
    assert [(each.text, each.damage) for each in remarks] == [
        ("the trace was not stopped when this was written", False)
    ]
    bench.trace.flush()
    assert bench.found()[0] == [0, 1, 2, 3, 4]


def test_it_is_woken_when_there_is_something_to_write(tmp_path):
    """Behind the flush time for the first message, at once for a buffer that is full."""
    bench = Bench(tmp_path, flush_time=2.5)
    bench.put(2)
    assert bench.woken == [2.5]
    bench.put(PER_BUFFER)
    assert bench.woken == [2.5, 0.0]
    bench.trace.flush()
    bench.put(1)
    assert bench.woken == [2.5, 0.0, 2.5]


def test_ring_overwrites_its_oldest_buffers_and_counts(tmp_path):
    """With nothing flushed there are as many buffers as there may be, the newest ones."""
    bench = Bench(tmp_path)
    bench.put(PER_BUFFER * 10)
    ring = bench.trace.ring
    assert (ring.buffers, ring.free) == (4, 0)
    assert ring.lost == PER_BUFFER * 6
    bench.trace.stop(9)
    numbers, remarks = bench.found()
    assert numbers == list(range(PER_BUFFER * 6, PER_BUFFER * 10))
    assert [(each.text, each.damage) for each in remarks] == [
        ("6 buffers are missing before the first that is here", False),
        (f"{PER_BUFFER * 6} messages were lost", False),
    ]


def test_buffers_that_are_not_needed_are_given_back(tmp_path):
    bench = Bench(tmp_path, minimum_buffers=2, maximum_buffers=40)
    bench.put(PER_BUFFER * 30)
    assert bench.trace.ring.buffers == 30
    bench.trace.flush()
    assert (bench.trace.ring.buffers, bench.trace.ring.free, bench.trace.ring.lost) == (2, 1, 0)
    assert bench.found()[0] == list(range(bench.count))


def test_full_disk_loses_the_oldest_and_is_told(tmp_path):
    bench = Bench(tmp_path, flush_time=3.0)
    bench.put(PER_BUFFER)
    bench.file.full = True
    bench.put(1)
    bench.trace.flush()
    assert is_full(bench.trace.failure)
    assert bench.woken[-1] == 3.0
    bench.put(PER_BUFFER * 8)
    lost = bench.trace.ring.lost
    assert lost
    bench.file.full = False
    bench.trace.flush()
    assert bench.trace.failure is None
    bench.trace.stop(9)
    assert bench.found()[0] == list(range(lost, bench.count))


def test_stop_with_a_full_disk_loses_what_is_left(tmp_path):
    bench = Bench(tmp_path)
    bench.put(2)
    bench.trace.flush()
    bench.put(3)
    bench.file.full = True
    bench.trace.stop(9)
    assert bench.trace.ring.lost == 3
    assert is_full(bench.trace.failure)
    assert bench.file.closed
    assert bench.found()[0] == [0, 1]


def test_closing_tells_what_a_reader_cannot_see(tmp_path):
    """A file that takes its closing and nothing else: the messages are lost, the file is whole."""
    bench = Bench(tmp_path)
    bench.put(2)
    bench.file.room = HEADER_LENGTH
    bench.trace.stop(9)
    assert [(each.text, each.damage) for each in bench.found()[1]] == [("2 messages were lost", False)]


def test_buffer_that_is_overwritten_while_it_is_read(tmp_path):
    """A circular trace goes on under its reader: what is gone by then is told, and is no damage."""
    bench = Bench(tmp_path, circular=True, maximum_kib=8)
    for _ in range(2):
        bench.put(PER_BUFFER)
        bench.trace.flush()
    bench.path.write_bytes(bench.file.data.getvalue())
    reader = TraceReader(bench.path)
    read = reader.read()
    first = next(read)
    assert isinstance(first, Message)
    for _ in range(2):
        bench.put(PER_BUFFER)
        bench.trace.flush()
    bench.path.write_bytes(bench.file.data.getvalue())
    remarks = [each for each in read if isinstance(each, Remark)]
    reader.close()
    assert ("buffer 2 was overwritten while this was read", False) in [(each.text, each.damage) for each in remarks]
    assert not any(each.damage for each in remarks)


def test_sequential_file_takes_nothing_more(tmp_path):
    bench = Bench(tmp_path, maximum_kib=8)
    for _ in range(6):
        bench.put(PER_BUFFER)
        bench.trace.flush()
    bench.trace.stop(9)
    numbers, remarks = bench.found()
    assert numbers == list(range(PER_BUFFER * 2))
    assert bench.trace.ring.lost == PER_BUFFER * 4
    assert [each.damage for each in remarks] == [False]
    assert len(bench.file.data.getvalue()) <= HEADER_LENGTH + 8 * 1024 == bench.trace.ring.file_size


def test_circular_file_has_the_newest(tmp_path):
    bench = Bench(tmp_path, circular=True, maximum_kib=12)
    for _ in range(8):
        bench.put(PER_BUFFER)
        bench.trace.flush()
    bench.put(1)
    bench.trace.stop(9)
    numbers, remarks = bench.found()
    # The newest buffer has begun in the place of the oldest.
    assert numbers == list(range(PER_BUFFER * 6, bench.count))
    assert [(each.text, each.damage) for each in remarks] == [
        ("6 buffers are missing before the first that is here", False)
    ]
    assert bench.trace.ring.lost == 0
    assert len(bench.file.data.getvalue()) <= HEADER_LENGTH + 12 * 1024


steps = st.lists(st.one_of(st.integers(1, 520), st.sampled_from(["flush", "full", "room"])), max_size=80)


@given(steps, st.integers(2, 4), st.integers(0, 3), st.sampled_from([0, 8, 12]), st.booleans())
def test_any_course_of_events(steps, minimum, more, size, circular):
    """Whatever comes, what is not in the file was counted or overwritten, the rest is there in order, and the bound holds."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            Path(folder),
            minimum_buffers=minimum,
            maximum_buffers=minimum + more,
            maximum_kib=size,
            circular=circular and size > 0,
        )
        for step in steps:
            if step == "flush":
                bench.trace.flush()
            elif isinstance(step, int):
                bench.put(1, step)
            else:
                bench.file.full = step == "full"
        bench.file.full = False
        bench.trace.stop(9)
        numbers, remarks = bench.found()
        assert numbers == sorted(set(numbers))
        assert not any(each.damage for each in remarks)
        missing = bench.count - len(numbers)
        assert missing >= bench.trace.ring.lost
        if not (circular and size):
            assert missing == bench.trace.ring.lost
        assert bench.trace.ring.buffers <= minimum + more
        assert not size or len(bench.file.data.getvalue()) <= HEADER_LENGTH + size * 1024
        if bench.count and not (size and not circular):
            assert numbers[-1] == bench.count - 1


@given(st.data())
def test_any_piece_of_a_file_is_read(data):
    """Cut off anywhere, the file of a trace that was not stopped gives a beginning of what was put, and is not damaged."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for _ in range(data.draw(st.integers(0, 12))):
            bench.put(3, data.draw(st.integers(5, 500)))
            bench.trace.flush()
        whole = bench.file.data.getvalue()
        cut = data.draw(st.integers(HEADER_LENGTH, len(whole)))
        numbers, remarks = bench.found(whole[:cut])
        assert numbers == list(range(len(numbers)))
        if cut == len(whole):
            assert len(numbers) == bench.count
        assert not any(each.damage for each in remarks)


@given(st.data())
def test_any_damage_is_a_remark(data):
    """A byte that is changed costs messages at most; none that was never told comes out, and nothing fails."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for _ in range(6):
            bench.put(5, 300)
            bench.trace.flush()
        bench.trace.stop(9)
        whole = bytearray(bench.file.data.getvalue())
        place = data.draw(st.integers(HEADER_LENGTH, len(whole) - 1))
        whole[place] ^= data.draw(st.integers(1, 255))
        numbers, remarks = bench.found(bytes(whole))
        assert numbers == sorted(set(numbers))
        assert set(numbers) <= set(range(bench.count))
        if len(numbers) < bench.count:
            assert any(each.damage for each in remarks)


@given(st.binary(max_size=3000), st.booleans())
def test_any_bytes_are_no_trace_or_read(data, real):
    """Bytes at random behind a good header, or without one."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        whole = bench.file.data.getvalue() + data if real else data
        if real:
            assert bench.found(whole)[0] == []
        else:
            with pytest.raises(LayoutError) as wrong:
                bench.found(whole)
            assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:300], "ends within its header, at 300 of 512"),
        (lambda data: b"\x7fELF" + data[4:], "no trace file"),
        (lambda data: b"", "no trace file"),
        (lambda data: data[:9] + b"\x02" + data[10:], "version 2; version 1 is read"),
        (lambda data: data[:13] + b"\xff" + data[14:], "header of the trace file is damaged"),
    ],
)
def test_header_that_is_none(tmp_path, change, reason):
    bench = Bench(tmp_path)
    with pytest.raises(LayoutError, match=reason):
        bench.found(change(bench.file.data.getvalue()))


@pytest.mark.parametrize("size", [0, 4095, (1 << 20) + 1])
def test_header_with_buffers_that_cannot_be(tmp_path, size):
    header = FileHeader("t", 1, 0, Mode.SEQUENTIAL, size, 0, 1, 1)
    with pytest.raises(LayoutError, match=f"buffers of {size} bytes"):
        Bench(tmp_path).found(header.encode())


def test_header_with_a_name_or_mode_that_cannot_be(tmp_path):
    header = bytearray(FileHeader("name", 1, 0, Mode.SEQUENTIAL, BUFFER, 0, 1, 1).encode())
    header[38] = 0xFF
    with pytest.raises(LayoutError, match="damaged"):
        FileHeader.decode(bytes(header))
    with pytest.raises(LayoutError, match="is wrong"):
        FileHeader.decode(FileHeader("name", 1, 0, 7, BUFFER, 0, 1, 1).encode())  # type: ignore[arg-type]


def test_missing_buffers_are_damage(tmp_path):
    """One that was overwritten with nothing, in the middle and at the end."""
    bench = Bench(tmp_path)
    for _ in range(3):
        bench.put(PER_BUFFER)
        bench.trace.flush()
    bench.trace.stop(9)
    whole = bench.file.data.getvalue()
    gone = whole[: HEADER_LENGTH + BUFFER] + bytes(BUFFER) + whole[HEADER_LENGTH + 2 * BUFFER :]
    assert [(each.text, each.damage) for each in bench.found(gone)[1]] == [
        (f"no buffer at byte {HEADER_LENGTH + BUFFER}", True),
        ("1 buffers are missing before buffer 3", True),
    ]
    assert [(each.text, each.damage) for each in bench.found(whole[: HEADER_LENGTH + 2 * BUFFER])[1]] == [
        ("1 buffers are missing at the end", True)
    ]
    first = whole[:HEADER_LENGTH] + bytes(BUFFER) + whole[HEADER_LENGTH + BUFFER :]
    assert bench.found(first)[1][1].text == "1 buffers are missing before the first that is here"


def test_text_that_is_none_is_damage(tmp_path):
    bench = Bench(tmp_path)
    bench.trace.ring.put(encode_body(message(0)) + b"\xff", 0)
    bench.trace.stop(9)
    assert [(each.damage, "no text" in each.text) for each in bench.found()[1]] == [(True, True)]


def test_bytes_are_those_of_the_document(tmp_path):
    """Taken apart by the offsets in docs/tracing.md alone."""
    bench = Bench(tmp_path, name="nämlich", flags=TCP | ERROR, level=4, circular=True, maximum_kib=12)
    bench.trace.take(Message(ERROR, 77, 11, 1 << 40, "größer"))
    bench.trace.stop(99)
    data = bench.file.data.getvalue()

    def number(first: int, last: int, base: int = 0) -> int:
        return int.from_bytes(data[base + first : base + last + 1], "big")

    assert data[:8] == b"iSCSItrc"
    assert (number(8, 9), number(10, 10), number(11, 11), number(12, 15)) == (1, 4, 1, TCP | ERROR)
    assert (number(16, 19), number(20, 23), number(24, 31), number(32, 35)) == (4096, 3, 1, 3)
    assert data[38 : 38 + number(36, 37)].decode() == "nämlich"
    assert not any(data[38 + number(36, 37) : 444])
    assert number(444, 447) == zlib.crc32(data[:444])
    assert data[448:456] == b"closed\0\0"
    assert (number(456, 463), number(464, 471), number(472, 479)) == (99, 1, 0)
    assert number(480, 483) == zlib.crc32(data[448:480])
    assert not any(data[484:512])
    assert data[512:516] == b"BUFR"
    assert (number(4, 11, 512), number(12, 19, 512), number(20, 27, 512)) == (1, 0, 77)
    assert number(28, 31, 512) == zlib.crc32(data[512:540])
    length = number(0, 3, 544)
    body = data[552 : 552 + length]
    assert number(4, 7, 544) == zlib.crc32(body, 1)
    assert (number(8, 15, 544), number(16, 19, 544), number(20, 23, 544), number(24, 31, 544)) == (
        77,
        ERROR,
        11,
        1 << 40,
    )
    assert body[24:].decode() == "größer"
    assert data[552 + length :] == bytes(4)


def test_head_that_is_none():
    head = BufferHead(1, 2, 3).encode()
    assert BufferHead.decode(head) == BufferHead(1, 2, 3)
    assert BufferHead.decode(head[:-1]) is None
    assert BufferHead.decode(head[:-1] + b"\0") is None
    assert BufferHead.decode(b"XXXX" + head[4:]) is None


@pytest.mark.parametrize(
    ("arguments", "keywords"),
    [((4095, 2, 2), {}), ((4096, 1, 2), {}), ((4096, 3, 2), {}), ((4096, 2, 2), {"mode": Mode.CIRCULAR})],
)
def test_ring_that_cannot_be(arguments, keywords):
    with pytest.raises(ValueError, match=r"buffers|size"):
        Ring(*arguments, **keywords)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": ""}, "name of a trace"),
        ({"name": "a\nb"}, "name of a trace"),
        ({"name": "ä" * 65}, "name of a trace"),
        ({"path": "relative"}, "absolute path"),
        ({"path": "/folder/"}, "absolute path"),
        ({"flags": 0}, "flags of a trace"),
        ({"flags": 1 << 32}, "flags of a trace"),
        ({"flags": 0x00600000}, "have no messages$"),
        ({"flags": TCP, "level": 3}, "no messages at level 3"),
        ({"level": 6}, "level of a trace is 0 to 5"),
        ({"buffer_kib": 3}, "4 to 1024 KiB"),
        ({"buffer_kib": 1025}, "4 to 1024 KiB"),
        ({"minimum_buffers": 1}, "2 to 4096 buffers"),
        ({"minimum_buffers": 9, "maximum_buffers": 8}, "2 to 4096 buffers"),
        ({"maximum_buffers": 4096, "buffer_kib": 1024}, "262144 KiB at most"),
        ({"circular": True}, "has a maximum size"),
        ({"maximum_kib": 7, "buffer_kib": 4}, "2 buffers at least, 8 KiB"),
        ({"flush_time": 0.01}, "0.05 to 3600"),
        ({"flush_time": float("nan")}, "0.05 to 3600"),
    ],
)
def test_options_that_cannot_be(changes, reason):
    with pytest.raises(ValueError, match=reason):
        TraceOptions(**{"name": "t", "path": "/t", **changes})


def test_file_is_a_traces_own(tmp_path):
    """It is emptied when it is an older trace's, and left alone when it is anything else or in use."""
    path = tmp_path / "t"
    file = TraceFile(path)
    file.write(0, FileHeader("t", ERROR, 0, Mode.SEQUENTIAL, BUFFER, 0, 1, 1).encode())
    with pytest.raises(OSError, match="another trace writes to it"):
        TraceFile(path)
    file.close()
    assert path.stat().st_mode & 0o777 == 0o600
    TraceFile(path).close()
    assert path.read_bytes() == b""
    path.write_bytes(b"something else")
    with pytest.raises(OSError, match="is no trace file"):
        TraceFile(path)
    assert path.read_bytes() == b"something else"
    with pytest.raises(OSError, match="no regular file"):
        TraceFile(Path("/dev/null"))


def test_short_write_is_an_error(tmp_path, monkeypatch):
    file = TraceFile(tmp_path / "t")
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: len(data) - 1)
    with pytest.raises(OSError, match="No space left"):
        file.write(0, b"12")
    monkeypatch.undo()
    file.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        file.write(0, b"12")
