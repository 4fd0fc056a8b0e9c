"""`iscsi-initiator events`: what it prints, for people and programs, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from iscsi_initiator.cli import main
from iscsi_initiator.eventlog import EventLogWriter
from iscsi_protocol.eventlog import address, words
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import LoginResponse, NopIn, encode

REFUSED = encode(LoginResponse(status_class=2, status_detail=3, data=b"TargetAlias=a\x1b[2Jb\0")).to_bytes()


@pytest.fixture
def path(tmp_path):
    """A log with events 1, 10, 20, 34 and 42 in several files."""
    path = tmp_path / "events.jsonl"
    log = EventLogWriter(path, max_bytes=600, keep=9)
    log.write(1, address(Endpoint("192.0.2.1", 3260)), 1)
    log.write(10, REFUSED, 2, "status 0203")
    log.write(20, b"iqn.2026-01.a:b", 3)
    log.write(34, b"iqn.2026-01.a:b", 4)
    log.write(42, words(7, 9), 5)
    log.close()
    assert path.with_name("events.jsonl.1").exists()
    return path


def run(path, *arguments, **env):
    return CliRunner().invoke(main, ["events", "--log", str(path), *map(str, arguments)], env={"NO_COLOR": None, **env})


def heads(output):
    """The first lines of events."""
    return [line for line in output.splitlines() if not line.startswith(" ")]


def test_every_event_with_its_data_below_it(path):
    result = run(path)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[2] for line in heads(result.stdout)] == ["1", "10", "20", "34", "42"]
    lines = result.stdout.splitlines()
    at = lines.index(
        "1970-01-01T00:00:02.000000+00:00 iScsiPrt 10 error       the target refused the login: status 0203 #2"
    )
    assert lines[at + 1] == "    Login Response"
    assert "      0x25  status_detail        0x03  0203 (not found)" in lines
    assert "      0x30  TargetAlias  a\\x1b[2Jb" in lines
    assert lines[-2:] == ["      0x00  expected  7", "      0x04  given     9"]


def test_only_chosen_events(path):
    assert [line.split()[2] for line in heads(run(path, "--id", 34, "--id", 1).stdout)] == ["1", "34"]
    assert run(path, "--id", 63).stdout == ""
    assert run(path, "--id", 0).exit_code == 2
    assert run(path, "--id", "x").exit_code == 2


def test_json_has_one_object_a_line(path):
    entries = [json.loads(line) for line in run(path, "--json").stdout.splitlines()]
    assert [entry["id"] for entry in entries] == [1, 10, 20, 34, 42]
    assert entries[2]["details"] == [
        {"part": "data", "offset": 0, "name": "target name", "value": "iqn.2026-01.a:b", "text": "iqn.2026-01.a:b"}
    ]
    assert [json.loads(line)["sequence"] for line in run(path, "--json", "--id", 42).stdout.splitlines()] == [5]


def test_a_terminal_gets_colours_and_the_same_words(path):
    EventLogWriter(path).write(23, encode(NopIn(lun=bytes(range(8)))).to_bytes(), 6)
    plain = run(path).stdout
    coloured = run(path, FORCE_COLOR="1", TERM="xterm", COLUMNS="40").stdout
    assert "\x1b[1;31merror" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert "\x1b[1;31m" not in run(path, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").stdout


def test_a_torn_line_is_noted_and_no_failure(path):
    with path.open("ab") as log:
        log.write(b'{"time": "1970-')
    result = run(path, "--json")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 5
    assert re.fullmatch(
        r"iscsi-initiator: .*events.jsonl: line \d: the line breaks off; passed over.*\n", result.stderr
    )


def test_damage_is_noted_and_a_failure_and_the_rest_is_shown(path):
    with path.open("ab") as log:
        log.write(b"{}\n")
    EventLogWriter(path).write(2, b"", 7)
    result = run(path)
    assert result.exit_code == 1
    assert [line.split()[2] for line in heads(result.stdout)] == ["1", "10", "20", "34", "42", "2"]
    assert "no event" in result.stderr


def test_what_cannot_be_read(path, tmp_path):
    for missing in (tmp_path / "no.jsonl", tmp_path / "none" / "no.jsonl"):
        result = run(missing)
        assert (result.exit_code, result.stderr) == (1, f"iscsi-initiator: {missing}: No such file or directory\n")
    assert run(tmp_path).exit_code == 2


def test_an_interrupt_that_meets_a_destructor_ends_following(path, monkeypatch):
    class Unlucky:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    turns: list[Unlucky | None] = []

    def sleep(_):
        turns.append(Unlucky())
        turns[-1] = None
        assert len(turns) < 3

    monkeypatch.setattr("iscsi_initiator.cli.time.sleep", sleep)
    result = run(path, "--follow")
    assert (result.exit_code, len(turns)) == (0, 1)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_following_goes_on_across_rotations_until_interrupted(tmp_path):
    path = tmp_path / "events.jsonl"
    command = [sys.executable, "-m", "iscsi_initiator.cli", "events", "--follow", "--json", "--id", "42", "--log", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        try:
            assert follower.stderr.readline() == f"iscsi-initiator: waiting for {path}\n"
            log = EventLogWriter(path, max_bytes=700, keep=99)
            numbers = []
            for _ in range(3):
                log.write(2, b"", 0)
                numbers += [log.write(42, words(1, 2), 0).record.sequence for _ in range(4)]
                while numbers:
                    assert json.loads(follower.stdout.readline())["sequence"] == numbers.pop(0)
            assert path.with_name("events.jsonl.4").exists()
            follower.send_signal(signal.SIGINT)
            assert follower.communicate(timeout=30) == ("", "")
            assert follower.returncode == 0
        finally:
            follower.kill()
