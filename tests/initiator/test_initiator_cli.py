"""The commands: exit codes, what they print, and the log that they keep; over TCP to the bundled target."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from iscsi_conformance.bundled import CHAP, DENIED, PLAIN, bundled_config
from iscsi_initiator.cli import main
from iscsi_target.portal import TargetServer
from iscsi_target.shell.serving import close_devices, make_engine


@pytest.fixture(scope="module")
def portal():
    """The bundled target on a free port of loopback, in a thread of its own."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        config = bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(3).randbytes)
        server = TargetServer(engine)
        found["endpoint"] = (await server.start(config.portals))[0]
        found["stop"] = asyncio.Event()
        found["loop"] = asyncio.get_running_loop()
        ready.set()
        await found["stop"].wait()
        await server.stop()
        close_devices(devices)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield str(found["endpoint"])
    found["loop"].call_soon_threadsafe(found["stop"].set)
    thread.join(20)


@pytest.fixture
def run(tmp_path):
    """Runs a command with its log in the test's folder."""

    def call(*arguments, **options):
        log = str(tmp_path / "events.jsonl")
        return CliRunner().invoke(
            main, [str(argument) for argument in arguments], env={"ISCSI_INITIATOR_EVENT_LOG": log}, **options
        )

    return call


def test_ls_of_a_portal_and_of_a_target(run, portal):
    result = run("ls", f"iscsi://{portal}")
    assert result.exit_code == 0, result.output
    assert PLAIN in result.output
    listed = json.loads(run("ls", "--json", f"iscsi://{portal}").output)
    assert PLAIN in [target["name"] for target in listed["targets"]]
    luns = json.loads(run("ls", "--json", f"iscsi://{portal}/{PLAIN}").output)["luns"]
    assert [lun["lun"] for lun in luns] == [0, 1]
    assert "direct access" in run("ls", f"iscsi://{portal}/{PLAIN}").output


def test_info(run, portal):
    result = run("info", f"iscsi://{portal}/{PLAIN}/0", "--header-digest", "crc32c", "--json")
    described = json.loads(result.output)
    assert described["header_digest"] is True
    assert described["size"] == described["blocks"] * described["block_size"]
    assert "max burst length" in run("info", f"iscsi://{portal}/{PLAIN}/0").output


@pytest.mark.parametrize("digests", [(), ("--header-digest", "crc32c", "--data-digest", "crc32c")])
def test_write_read_and_copy(run, portal, tmp_path, digests):
    url = f"iscsi://{portal}/{PLAIN}/0"
    content = random.Random(5).randbytes(1_500_000)
    (tmp_path / "a").write_bytes(content)
    for arguments in (
        ("write", tmp_path / "a", url, "--offset", 512),
        ("read", url, tmp_path / "b", "--offset", 512, "--length", len(content)),
        ("copy", url, url, "--source-offset", 512, "--target-offset", 2097152, "--length", len(content)),
        ("copy", url, tmp_path / "c", "--source-offset", 2097152, "--length", len(content)),
    ):
        result = run(*arguments, *digests)
        assert result.exit_code == 0, result.output
        assert "bytes in" in result.stderr
    assert (tmp_path / "b").read_bytes() == content
    assert (tmp_path / "c").read_bytes() == content


def test_chap_with_the_secret_from_a_file(run, portal, tmp_path):
    (tmp_path / "secret").write_text("one-way-secret-1\n")
    (tmp_path / "wrong").write_text("wrong-secret-99")
    url = f"iscsi://tester@{portal}/{CHAP}/0"
    assert run("info", url, "--secret-file", tmp_path / "secret").exit_code == 0
    result = run("info", url, "--secret-file", tmp_path / "wrong")
    assert result.exit_code == 1
    assert "0201" in result.stderr
    shown = run("events", "--json")
    assert json.loads(shown.output)["id"] == 10
    assert run("info", f"iscsi://{portal}/{CHAP}/0").exit_code == 1
    lines = [line for line in run("events").output.splitlines() if not line.startswith(" ")]
    assert [line.split()[2] for line in lines] == ["10", "40"]
    assert run("events", "--id", 40).output.splitlines() == lines[1:]
    assert b"secret" not in (tmp_path / "events.jsonl").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ("info", "iscsi://h/iqn.2026-01.a:b"),
        ("info", "iscsi://h"),
        ("info", "http://h"),
        ("ls", "iscsi://u:secret@h"),
        ("ls", "iscsi://h", "--header-digest", "md5"),
        ("ls", "iscsi://h", "--initiator-name", "Not A Name"),
        ("ls", "iscsi://h", "--secret-file", "/nowhere"),
        ("info", "iscsi://u@h/iqn.2026-01.a:b/0"),
        ("info", "iscsi://u@h/iqn.2026-01.a:b/0", "--secret-file", "/nowhere/secret"),
        ("copy", "iscsi://h", "there"),
        ("nonsense",),
    ],
)
def test_2_usage(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2, result.output


def test_3_nobody_there(run):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        result = run("ls", f"iscsi://127.0.0.1:{port}")
    assert result.exit_code == 3
    assert result.stderr == f"iscsi-initiator: no TCP connection to 127.0.0.1:{port} could be made\n"
    assert f"127.0.0.1:{port}" in run("events").output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("info", "iscsi://{portal}/iqn.2026-01.org.example:nothing/0"), "status 0203 (not found)"),
        (("info", "iscsi://{portal}/" + DENIED + "/0"), "status 0202 (authorization failure)"),
        (("info", "iscsi://{portal}/" + CHAP + "/0"), "requires CHAP"),
        (("info", "iscsi://{portal}/" + PLAIN + "/9"), "no LUN 9"),
        (("read", "iscsi://{portal}/" + PLAIN + "/9", "{tmp}/file"), "LOGICAL UNIT NOT SUPPORTED"),
        (("read", "iscsi://{portal}/" + PLAIN + "/0", "/nowhere/file"), "/nowhere/file"),
        (("read", "iscsi://{portal}/" + PLAIN + "/0", "{tmp}/file", "--offset", "1"), ""),
        (("read", "iscsi://{portal}/" + PLAIN + "/0", "{tmp}/file", "--length", "99999999999"), ""),
        (("copy", "{tmp}/missing", "iscsi://{portal}/" + PLAIN + "/0"), "missing"),
    ],
)
def test_1_what_fails_says_so_in_one_line(run, portal, tmp_path, arguments, says):
    result = run(*(argument.format(portal=portal, tmp=tmp_path) for argument in arguments))
    assert result.exit_code == 1, result.output
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("iscsi-initiator: ")
    assert says in result.stderr


def test_a_damaged_log(run, tmp_path):
    log = Path(tmp_path) / "events.jsonl"
    assert run("events").exit_code == 1
    log.write_text("{}\n")
    result = run("events")
    assert result.exit_code == 1
    assert "line 1" in result.stderr


def test_a_log_that_takes_nothing_stops_nothing(run, portal, tmp_path):
    (tmp_path / "file").write_text("")
    log = tmp_path / "file" / "events.jsonl"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        result = run("ls", f"iscsi://127.0.0.1:{unused.getsockname()[1]}", "--event-log", log)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[0] == f"iscsi-initiator: {log}: event not logged: File exists"
    assert run("ls", f"iscsi://{portal}", "--event-log", log).stderr == ""


def test_help_begins_with_examples(run):
    for command in ("ls", "info", "read", "write", "copy", "events"):
        text = run(command, "-h").output
        assert text.index("Examples:") < text.index("Options:")
        assert f"iscsi-initiator {command} " in text


def test_how_a_session_is_to_be_recovered(run, portal):
    """What the options ask for is agreed on; a portal that is none is refused."""
    url = f"iscsi://{portal}/{PLAIN}/0"
    for level in (0, 1, 2):
        described = json.loads(run("info", url, "--json", "--connections", 3, "--recovery-level", level).output)
        assert described["error_recovery_level"] == level
    assert run("info", url, "--portal", portal, "--retries", -1, "--retry-delay", 0, "--hold-time", 1).exit_code == 0
    for wrong in ("[::1", "user@192.0.2.1", "192.0.2.1/iqn.2026-01.org.example:disk"):
        result = run("info", url, "--portal", wrong)
        assert result.exit_code == 2
        assert "--portal" in result.stderr
