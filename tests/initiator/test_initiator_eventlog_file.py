"""The log on disk: rotation, torn lines, writers that are killed or share a log, and a reader beside them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.eventlog import EventLogWriter, LogReader, Remark
from iscsi_initiator.eventlog import files as log_files
from iscsi_initiator.eventlog.reader import MAX_LINE
from iscsi_protocol.eventlog import EventRecord, LoggedEvent, parse_line


def read(path):
    """What a reader finds in a log: the numbers of the events, and the remarks."""
    reader = LogReader(path)
    found = [*reader.read(), *reader.finish()]
    reader.close()
    return (
        [each.record.sequence for each in found if isinstance(each, LoggedEvent)],
        [each for each in found if isinstance(each, Remark)],
    )


def numbers(found):
    return [each.record.sequence for each in found if isinstance(each, LoggedEvent)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def test_the_file_appears_with_the_first_event_and_reads_back(tmp_path):
    path = tmp_path / "state" / "events.jsonl"
    log = EventLogWriter(path)
    assert not path.exists()
    first = log.write(20, b"iqn.2026-01.a:b", 0.5)
    log.write(34, b"iqn.2026-01.a:b", 1.5)
    log.close()
    log.write(1, b"\2\0\xbc\x0c\xc0\0\2\1", 2)
    log.close()
    reader = LogReader(path)
    events = [each for each in reader.read() if isinstance(each, LoggedEvent)]
    assert events[0] == first
    assert [(e.record.id, e.record.sequence, e.time.timestamp()) for e in events] == [
        (20, 1, 0.5),
        (34, 2, 1.5),
        (1, 3, 2),
    ]
    reader.close()
    entry = json.loads(path.read_text().splitlines()[0])
    assert list(entry) == ["time", "source", "id", "severity", "sequence", "message", "text", "data", "dump"]
    assert (entry["source"], entry["severity"], entry["data"]) == ("iScsiPrt", "error", "iqn.2026-01.a:b")


def test_every_event_is_one_write(path, monkeypatch):
    written = []

    def write(fd, data):
        written.append(data)
        return len(data)

    monkeypatch.setattr(os, "write", write)
    EventLogWriter(path).write(10, bytes(65535), 0)
    (line,) = written
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1


def test_text_goes_with_the_event_but_not_without_end(path):
    log = EventLogWriter(path)
    log.write(23, b"", 0, "F \x1bis 0")
    log.write(23, b"", 0, "x" * 5000)
    first, second = (parse_line(line) for line in path.read_bytes().splitlines())
    assert first.text == "F \\x1bis 0"
    assert second.text == "x" * 1024 + "… (5000 in all)"


@pytest.mark.parametrize("arguments", [{"max_bytes": 0}, {"keep": 0}])
def test_a_log_has_room_for_something(path, arguments):
    with pytest.raises(ValueError, match="at least"):
        EventLogWriter(path, **arguments)


def test_rotation_keeps_every_event_once_and_the_files_within_their_size(path):
    log = EventLogWriter(path, max_bytes=1000, keep=50)
    for n in range(60):
        log.write(42, bytes(8), n)
    log.close()
    assert read(path) == (list(range(1, 61)), [])
    kept = log_files.older_files(path)
    assert len(kept) > 10
    assert all(file.stat().st_size <= 1000 for file in [path, *kept])
    assert kept[-1].name == "events.jsonl.1"


def test_only_the_oldest_events_go(path):
    log = EventLogWriter(path, max_bytes=800, keep=2)
    for n in range(40):
        log.write(42, bytes(8), n)
    log.close()
    assert {file.name for file in path.parent.iterdir()} == {"events.jsonl", "events.jsonl.1", "events.jsonl.2"}
    found, remarks = read(path)
    assert found == list(range(found[0], 41))
    assert 1 < found[0] <= 40 - 3
    assert remarks == []


def test_a_line_longer_than_a_file_has_one_of_its_own(path):
    log = EventLogWriter(path, max_bytes=100, keep=9)
    for n in range(5):
        log.write(20, b"x" * 200, n)
    assert len(log_files.older_files(path)) == 4
    assert read(path) == ([1, 2, 3, 4, 5], [])


def test_numbers_go_on_after_a_restart_also_into_an_empty_file(path):
    EventLogWriter(path).write(2, b"", 0)
    assert EventLogWriter(path).write(2, b"", 0).record.sequence == 2
    path.rename(path.with_name("events.jsonl.1"))
    assert EventLogWriter(path).write(2, b"", 0).record.sequence == 3
    path.write_bytes(b"nonsense\n" * 8000)
    assert EventLogWriter(path).write(2, b"", 0).record.sequence == 3
    path.write_bytes(b"\n" + EventLogWriter(path).write(2, b"", 0).line() + b"nonsense\n" * 8000)
    assert EventLogWriter(path).write(2, b"", 0).record.sequence == 5


def test_numbers_begin_anew_behind_the_last(path):
    last = EventLogWriter(path).write(2, b"", 0)
    packet = EventRecord.of(2, sequence=0xFFFFFFFF)
    path.write_bytes(LoggedEvent(last.time, packet).line())
    assert EventLogWriter(path).write(2, b"", 0).record.sequence == 0


@given(cut=st.integers(1, 400), again=st.booleans())
def test_a_torn_line_is_passed_over_and_not_added_to(tmp_path_factory, cut, again):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    log = EventLogWriter(path)
    log.write(20, b"one", 0)
    whole = path.stat().st_size
    log.write(20, b"two", 0)
    log.close()
    length = path.stat().st_size - whole
    left = min(cut, length)
    os.truncate(path, whole + left)
    torn = left < length - 1
    found, remarks = read(path)
    assert found == ([1] if torn else [1, 2])
    assert [remark.damage for remark in remarks] == ([False] if torn else [])
    following = (log if again else EventLogWriter(path)).write(20, b"three", 0)
    assert following.record.sequence == found[-1] + 1
    log.close()
    found, remarks = read(path)
    assert found == ([1, 2] if torn else [1, 2, 3])
    assert [("line 2" in remark.text, remark.damage) for remark in remarks] == ([(True, False)] if torn else [])


def test_no_room_leaves_a_torn_line_and_says_so(path, monkeypatch):
    log = EventLogWriter(path)
    log.write(20, b"one", 0)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:50]))
    with pytest.raises(OSError, match="room for 50 of") as refused:
        log.write(20, b"two", 0)
    assert (refused.value.errno, refused.value.filename) == (errno.ENOSPC, str(path))
    monkeypatch.setattr(os, "write", real)
    assert log.write(20, b"three", 0).record.sequence == 2
    found, (remark,) = read(path)
    assert found == [1, 2]
    assert not remark.damage


def test_errors_name_the_file(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    for path, kind in ((tmp_path, IsADirectoryError), (tmp_path / "file" / "log", FileExistsError)):
        with pytest.raises(kind) as refused:
            EventLogWriter(path).write(2, b"", 0)
        assert str(tmp_path) in str(refused.value)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    log = EventLogWriter(tmp_path / "log")
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="no lock") as locked:
        log.write(2, b"", 0)
    assert locked.value.filename == str(tmp_path / "log")
    monkeypatch.undo()
    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(OSError, match="No locks") as failed:
        log.write(2, b"", 0)
    assert failed.value.filename == str(tmp_path / "log")


def test_an_attempt_keeps_what_went_wrong(tmp_path):
    (tmp_path / "folder").write_text("")
    log = EventLogWriter(tmp_path / "folder" / "log")
    log.attempt(2, b"", 0)
    assert isinstance(log.failure, FileExistsError)
    (tmp_path / "folder").unlink()
    log.attempt(2, b"", 0, "none left")
    (entry,) = (tmp_path / "folder" / "log").read_text().splitlines()
    assert json.loads(entry)["text"] == "none left"


def test_a_log_may_be_thrown_away():
    log = EventLogWriter(Path("/dev/null"))
    assert [log.write(2, b"", 0).record.sequence for _ in range(3)] == [1, 2, 3]
    log.close()


@pytest.mark.parametrize("renamings", range(5))
def test_a_rotation_that_is_cut_off_loses_nothing(path, monkeypatch, renamings):
    log = EventLogWriter(path, max_bytes=500, keep=4)
    while len(log_files.older_files(path)) < 3:
        log.write(42, bytes(8), 0)
    before, _ = read(path)
    count = 0
    real = Path.replace

    class Killed(BaseException):
        pass

    def replace(self, target):
        nonlocal count
        if count == renamings:
            raise Killed
        count += 1
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        if renamings < 4:
            with pytest.raises(Killed):
                log_files.rotate(path, 4)
        else:
            log_files.rotate(path, 4)
    log.close()
    assert read(path) == (before, [])
    following = EventLogWriter(path, max_bytes=500, keep=4)
    assert [following.write(42, bytes(8), 0).record.sequence for _ in range(2)] == [before[-1] + 1, before[-1] + 2]
    found, remarks = read(path)
    assert found == list(range(found[0], before[-1] + 3))
    assert remarks == []


def test_a_gap_in_the_numbers_is_closed_before_a_file_goes(path):
    for name in ("events.jsonl", "events.jsonl.1", "events.jsonl.3"):
        path.with_name(name).write_text(name)
    for other in ("events.jsonl.01", "events.jsonl.x", "events.jsonl.", "events.jsonl.0", "events.jsonl.²"):
        path.with_name(other).write_text("")
    log_files.rotate(path, 3)
    assert [file.read_text() for file in log_files.older_files(path)] == [
        "events.jsonl.3",
        "events.jsonl.1",
        "events.jsonl",
    ]


# Reading while it is written.


def test_a_reader_follows_across_rotations(path):
    reader = LogReader(path)
    with pytest.raises(FileNotFoundError):
        list(reader.read())
    log = EventLogWriter(path, max_bytes=600, keep=20)
    for count in (1, 0, 3, 10, 2):
        new = [log.write(42, bytes(8), 0).record.sequence for _ in range(count)]
        assert numbers(reader.read()) == new
    reader.close()


def test_a_reader_that_is_too_slow_says_so(path):
    log = EventLogWriter(path, max_bytes=300, keep=2)
    log.write(42, bytes(8), 0)
    reader = LogReader(path)
    assert numbers(reader.read()) == [1]
    for _ in range(9):
        log.write(42, bytes(8), 0)
    remark, *events = reader.read()
    assert numbers(events) == [8, 9, 10]
    assert remark == Remark(f"{path}: 6 events were removed before they were read", damage=False)
    log.write(42, bytes(8), 0)
    assert numbers(reader.read()) == [11]


def test_a_reader_waits_for_the_end_of_a_line(path):
    log = EventLogWriter(path)
    line = log.write(42, bytes(8), 0).line()
    with path.open("ab") as file:
        reader = LogReader(path)
        assert numbers(reader.read()) == [1]
        for at in range(0, len(line), 40):
            file.write(line[at : at + 40])
            file.flush()
            assert len(list(reader.read())) == (at + 40 >= len(line))


def test_a_log_between_the_renaming_and_the_next_event(path):
    log = EventLogWriter(path)
    log.write(42, bytes(8), 0)
    reader, late = LogReader(path), LogReader(path)
    assert numbers(reader.read()) == [1]
    log_files.rotate(path, 2)
    assert numbers(reader.read()) == []
    assert numbers(late.read()) == [1]
    log.write(42, bytes(8), 0)
    assert numbers(reader.read()) == [2]
    assert numbers(late.read()) == [2]


def test_what_was_written_before_a_rotation_that_was_cut_off_is_not_waited_for(path):
    log = EventLogWriter(path, max_bytes=1, keep=9)
    log.write(42, bytes(8), 0)
    reader = LogReader(path)
    assert numbers(reader.read()) == [1]
    log.write(42, bytes(8), 0)
    log_files.rotate(path, 9)
    assert numbers(reader.read()) == [2]
    log_files.older(path, 1).unlink()
    assert numbers(reader.read()) == []
    log.write(42, bytes(8), 0)
    assert numbers(reader.read()) == [2]


def test_a_log_that_is_emptied_or_removed_by_hand(path):
    log = EventLogWriter(path)
    log.write(42, bytes(8), 0)
    log.write(42, bytes(8), 0)
    reader = LogReader(path)
    assert numbers(reader.read()) == [1, 2]
    os.truncate(path, 0)
    log.write(42, bytes(8), 0)
    remark, event = reader.read()
    assert "cut short" in remark.text
    assert numbers([event]) == [1]
    path.unlink()
    assert list(reader.read()) == []
    log.write(42, bytes(8), 0)
    assert numbers(reader.read()) == [1]


def test_damage_is_remarked_on_and_read_over(path):
    log = EventLogWriter(path)
    log.write(42, bytes(8), 0)
    with path.open("ab") as file:
        file.write(b"\n  \n{}\n" + b"x" * (2 * MAX_LINE + 9) + b"\n\xff\n")
    log.write(42, bytes(8), 0)
    found, remarks = read(path)
    assert found == [1, 2]
    assert all(remark.damage for remark in remarks)
    assert [remark.text.split(": ")[1] for remark in remarks] == ["line 4", "line 5", "line 6"]
    with path.open("ab") as file:
        file.write(b"y" * (MAX_LINE + 1))
    assert len(read(path)[1]) == 4


STEPS = st.lists(
    st.sampled_from(["write", "write", "write", "other", "restart", "tear", "read", "rotate"]), min_size=5, max_size=40
)


@given(steps=STEPS, size=st.sampled_from([1, 500, 900]))
def test_followers_and_latecomers_find_what_was_acknowledged(tmp_path_factory, steps, size):
    path = tmp_path_factory.mktemp("log") / "events.jsonl"
    writers = [EventLogWriter(path, max_bytes=size, keep=99) for _ in range(2)]
    follower = LogReader(path)
    logged: list[LoggedEvent] = []
    followed: list[LoggedEvent | Remark] = []
    for step in steps:
        if step in ("write", "other"):
            logged.append(writers[step == "other"].write(42, bytes(8), 0))
        elif step == "restart":
            writers[0].close()
            writers[0] = EventLogWriter(path, max_bytes=size, keep=99)
        elif step == "tear" and path.exists():
            with path.open("ab") as file:
                file.write(b'{"time": "2026')
        elif step == "rotate" and path.exists():
            log_files.rotate(path, 99)
        elif step == "read" and logged:
            followed += follower.read()
    for writer in writers:
        writer.close()
    if logged:
        followed += [*follower.read(), *follower.finish()]
        follower.close()
        assert [each for each in followed if isinstance(each, LoggedEvent)] == logged
        assert not any(each.damage for each in followed if isinstance(each, Remark))
        assert read(path)[0] == [event.record.sequence for event in logged] == list(range(1, len(logged) + 1))


# Real processes.

ROUNDS, WRITERS = 20, 3
KILLER = """
import os, random, select, signal, sys
from pathlib import Path
from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_protocol.eventlog import words

path, rounds, writers = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
chance = random.Random(4)
for number in range(rounds):
    children = []
    for writer in range(writers):
        ours, theirs = os.pipe()
        pid = os.fork()
        if not pid:
            log = EventLogWriter(path, max_bytes=3000, keep=1000)
            for count in range(2000):
                os.write(theirs, words(log.write(42, words(number * writers + writer, count), 0).record.sequence))
            os._exit(1)
        os.close(theirs)
        children.append((pid, ours))
    for writer, (pid, ours) in enumerate(children):
        acknowledged = b""
        while len(acknowledged) < 4 * chance.randrange(1, 12):
            acknowledged += os.read(ours, 4096)
        os.kill(pid, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        while more := os.read(ours, 4096):
            acknowledged += more
        os.close(ours)
        print(number * writers + writer, acknowledged.hex())
"""


def start(program, *arguments):
    return subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def test_killed_writers_lose_no_acknowledged_event(path):
    with start(KILLER, path, ROUNDS, WRITERS) as killer:
        reader = LogReader(path)
        found: list[LoggedEvent | Remark] = []
        lines = []
        assert killer.stdout is not None
        for line in killer.stdout:
            lines.append(line.split())
            found += reader.read()
    assert killer.returncode == 0
    assert len(lines) == ROUNDS * WRITERS
    found += [*reader.read(), *reader.finish()]
    reader.close()
    events = [each for each in found if isinstance(each, LoggedEvent)]
    assert not any(each.damage for each in found if isinstance(each, Remark))
    sequences = [event.record.sequence for event in events]
    assert sequences == list(range(1, len(sequences) + 1))
    assert max(Counter(event.record.extra for event in events).values()) == 1
    writer_of = {event.record.sequence: int.from_bytes(event.record.extra[:4], "little") for event in events}
    for tag, acknowledged in lines:
        data = bytes.fromhex(acknowledged)
        for at in range(0, len(data), 4):
            assert writer_of[int.from_bytes(data[at : at + 4], "little")] == int(tag)
    assert len(log_files.older_files(path)) > 10
    assert read(path)[0] == sequences
