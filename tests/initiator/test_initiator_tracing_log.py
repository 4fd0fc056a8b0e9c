"""The debug log: what a line is, how large the file gets, and that nothing that goes wrong with it holds anything up."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.service.tracing import open_debug_log
from iscsi_initiator.service.tunables import ServiceSettings
from iscsi_initiator.tracing.debuglog import SMALLEST_SIZE, DebugLog, line_of
from iscsi_initiator.tracing.flags import ERROR, INFORMATION, PROCTHREADIDS, SPEW_ALL, TCP, TIMESTAMP
from iscsi_initiator.tracing.teller import TEXT_LIMIT, Message, Teller

MESSAGE = Message(TCP, 1_000_000_000_000_001_000, 12, 34, "connecting")


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (TCP, "TCP: connecting"),
        (TCP | PROCTHREADIDS, "12.34 TCP: connecting"),
        (TCP | TIMESTAMP, "2001-09-09T01:46:40.000001Z TCP: connecting"),
        (SPEW_ALL, "2001-09-09T01:46:40.000001Z 12.34 TCP: connecting"),
    ],
)
def test_flags_say_what_stands_before_a_line(level, line):
    assert line_of(MESSAGE, level) == line


def test_teller_stamps_messages_by_its_clock():
    """The time is the clock's, whatever that is; ids are those of the thread that tells."""
    now: list[float] = [5.25]
    taken: list[Message] = []
    teller = Teller(lambda: now[0])
    teller.add(ERROR, taken.append)
    teller.tell(ERROR, "one")
    now[0] = 7
    thread = threading.Thread(target=teller.tell, args=(ERROR, "two"))
    thread.start()
    thread.join(20)
    assert [each.time for each in taken] == [5_250_000_000, 7_000_000_000]
    assert [each.process for each in taken] == [os.getpid()] * 2
    assert taken[0].thread == threading.get_native_id() != taken[1].thread


def test_level_is_what_anybody_takes():
    first: list[Message] = []
    second: list[Message] = []
    teller = Teller()
    assert teller.level == 0
    teller.add(ERROR, first.append)
    teller.add(ERROR | TCP, second.append)
    assert teller.level == ERROR | TCP
    teller.tell(TCP, "text")
    teller.remove(second.append)
    assert teller.level == ERROR
    teller.tell(ERROR, "text")
    assert ([each.mask for each in first], [each.mask for each in second]) == ([ERROR], [TCP])


def test_message_is_one_line(tmp_path):
    """A peer's text cannot make a line of its own, nor a long one."""
    teller, log = Teller(), DebugLog(tmp_path / "log", ERROR)
    teller.add(ERROR, log.take)
    teller.tell(ERROR, "alias\nFATAL: forged\x1b[31m" + "x" * 5000)
    log.close()
    (line,) = lines(tmp_path / "log")
    assert line.startswith("ERROR: alias\\x0aFATAL: forged\\x1b[31m")
    assert len(line) < TEXT_LIMIT + 100


def test_file_is_its_owners_alone_and_appended_to(tmp_path):
    path = tmp_path / "new" / "log"
    for _ in range(2):
        log = DebugLog(path, ERROR)
        log.take(MESSAGE)
        log.close()
    assert lines(path) == ["TCP: connecting"] * 2
    assert path.stat().st_mode & 0o777 == 0o600


def test_torn_line_stays_what_it_is(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"TCP: whole\nTCP: tor")
    log = DebugLog(path, ERROR)
    log.take(MESSAGE)
    log.close()
    assert lines(path) == ["TCP: whole", "TCP: tor", "TCP: connecting"]


@given(
    st.lists(st.text(max_size=TEXT_LIMIT + 10), max_size=60), st.integers(0, SMALLEST_SIZE * 2), st.integers(0, 4096)
)
def test_size_is_never_passed(texts, before, more):
    """Neither file is larger than it may be, however much is told, and the newest lines are there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(b"x" * before)
        size = SMALLEST_SIZE + more
        log, teller = DebugLog(path, 0, size), Teller()
        teller.add(ERROR, log.take)
        for text in texts:
            teller.tell(ERROR, text)
            assert path.stat().st_size <= size
        log.close()
        assert log.lost == 0
        assert log.failure is None
        names = {each.name for each in Path(folder).iterdir()}
        assert names <= {"log", "log.1"}
        if texts and before <= size:
            assert all(each.stat().st_size <= size for each in Path(folder).iterdir())
            kept = [line for name in ("log.1", "log") if name in names for line in lines(Path(folder) / name)]
            assert kept[-1].startswith("ERROR: ")


def test_old_file_gives_way_once(tmp_path):
    path = tmp_path / "log"
    log = DebugLog(path, 0, SMALLEST_SIZE)
    long = Message(TCP, 0, 1, 1, "y" * 500)
    for number in range(40):
        log.take(Message(TCP, 0, 1, 1, f"{number} {long.text}"))
    log.close()
    told = [int(line.split()[1]) for name in ("log.1", "log") for line in lines(tmp_path / name)]
    assert told == list(range(told[0], 40))
    assert 0 < told[0] < 30


def test_renamed_file_is_left_alone(tmp_path):
    """logrotate and people rename; what comes then goes into a new file."""
    path = tmp_path / "log"
    log = DebugLog(path, ERROR)
    log.take(MESSAGE)
    path.rename(tmp_path / "moved")
    log.take(MESSAGE)
    log.close()
    assert lines(tmp_path / "moved") == lines(path) == ["TCP: connecting"]


def test_full_disk_is_told_of_when_there_is_room_again(tmp_path, monkeypatch):
    """What cannot be written is counted, a piece of a line too, and nobody is kept from working."""
    path, full, write = tmp_path / "log", [True], os.write
    log = DebugLog(path, ERROR)

    def short(fd: int, data: bytes) -> int:
        if not full[0]:
            return write(fd, data)
        if len(data) > 9:
            return write(fd, data[:9])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", short)
    for _ in range(3):
        log.take(MESSAGE)
    assert log.lost == 3
    full[0] = False
    log.take(MESSAGE)
    assert log.lost == 0
    log.close()
    assert lines(path) == ["TCP: conn", "3 messages were lost: No space left on device", "TCP: connecting"]


def test_folder_that_is_gone_and_in_the_way(tmp_path):
    (tmp_path / "file").touch()
    log = DebugLog(tmp_path / "file" / "log", ERROR)
    log.take(MESSAGE)
    assert log.lost == 1
    assert log.failure is not None
    assert log.failure.errno == errno.EEXIST


def test_size_that_is_none():
    with pytest.raises(ValueError, match="4096 bytes at least"):
        DebugLog(Path("/log"), 0, 4095)


@pytest.mark.parametrize(
    "settings",
    [ServiceSettings(), ServiceSettings(spew_level=SPEW_ALL), ServiceSettings(log_file="/log", spew_level=TIMESTAMP)],
)
def test_no_log_is_asked_for(settings):
    """Without a file, without a level, and with nothing in it that there are messages for."""
    teller = Teller()
    assert open_debug_log(settings, teller) is None
    assert teller.level == 0


def test_log_that_cannot_be_had(tmp_path):
    """One line each; a FIFO that nobody reads is not waited for."""
    os.mkfifo(tmp_path / "fifo")
    for name, reason in (
        (r"C:\log.txt", "no absolute path"),
        ("log", "no absolute path"),
        ("/x\0y", "no absolute path"),
        (str(tmp_path), "Is a directory"),
        (str(tmp_path / "fifo"), "No such device or address"),
        ("/dev/null", "no regular file"),
    ):
        teller = Teller()
        with pytest.raises(ValueError, match=reason) as failed:
            open_debug_log(ServiceSettings(log_file=name, spew_level=INFORMATION), teller)
        assert "\n" not in str(failed.value)
        assert teller.level == 0
