"""`iscsi-initiator trace` against a service in a process of its own, which may be killed; and what each command refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.initiator.service_running import Running, store_settings, target_served

from iscsi_conformance.bundled import CHAP
from iscsi_initiator.cli import main
from iscsi_initiator.service import api
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.store.state import Portal, SettingValue, StoredSettings
from iscsi_initiator.tracing.flags import SPEW_ALL, TCP
from iscsi_initiator.tracing.layout import HEADER_LENGTH, FileHeader, Mode, encode_body
from iscsi_initiator.tracing.ring import Ring
from iscsi_initiator.tracing.teller import Message

SECRET = b"one-way-secret-1"
GUID = "{1babefb4-59cb-49e5-9698-fd38ac830a91}"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    found = Running(tmp_path_factory.mktemp("service"))
    yield found
    found.ask(api.StopService())
    assert found.end() == (0, "")


def trace(*words: object, socket: Path | None = None):
    more = [] if socket is None else ["--socket", str(socket)]
    return CliRunner().invoke(main, ["trace", *map(str, words), *more])


def test_as_the_guide_has_it(tmp_path, service):
    """Started with the guide's options and its file, queried both ways, stopped, and read."""
    control, log = tmp_path / "trguid.ctl", tmp_path / "iScsiTr.log"
    control.write_text(f"{GUID} 0x00020002 0\r\n")
    given = ["iScsiTrace", "-nb", 16, 256, "-bs", 64, "-o", log, "-pf", control]
    started = trace("start", *given, socket=service.socket)
    assert (started.exit_code, started.stderr) == (0, "")
    assert started.stdout == f"iScsiTrace: started, flags 0x00020002, level 0, to {log}\n"
    again = trace("start", *given, socket=service.socket)
    assert (again.exit_code, again.stdout) == (1, "")
    assert re.fullmatch(r"iscsi-initiator: .*0xEFFF0056.*runs already\n", again.stderr)
    assert trace("query", socket=service.socket).stdout == f"iScsiTrace\t0x00020002\t0\t{log}\n"
    extended = trace("query", "iscsitrace", socket=service.socket)
    lines = dict(re.split(r": +", line, maxsplit=1) for line in extended.stdout.splitlines())
    assert lines["Flags"] == "0x00020002 (SPEW_ERROR, SPEW_WMI_API)"
    assert lines["Log file"] == str(log)
    assert lines["Log mode"] == "sequential"
    assert lines["Buffers in memory"] == "16, 15 free"
    assert lines["Messages lost"] == "0"
    assert lines["Write failure"] == "none"
    stopped = trace("stop", "iScsiTrace", socket=service.socket)
    assert re.fullmatch(rf"iScsiTrace: stopped, \d+ messages, 0 lost, {log}\n", stopped.stdout)
    shown = trace("show", log)
    assert (shown.exit_code, shown.stderr) == (0, "")
    first, *messages = shown.stdout.splitlines()
    assert re.fullmatch(r"# iScsiTrace, \S+Z to \S+Z, flags 0x00020002, level 0", first)
    form = rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z {service.process.pid}\.\d+ (ERROR|WMI_API): .+"
    assert all(re.fullmatch(form, line) for line in messages)
    assert sum("ERROR: StartTrace is refused" in line for line in messages) == 1
    only = trace("show", log, "--flags", "error")
    assert [line.split()[2] for line in only.stdout.splitlines()[1:]] == ["ERROR:"]
    assert trace("show", log, "--level", 2).stdout == only.stdout
    as_json = [json.loads(line) for line in trace("show", log, "--json").stdout.splitlines()]
    assert list(as_json[0]) == ["trace", "flags", "level", "mode", "process", "started", "stopped", "lost"]
    assert (as_json[0]["process"], as_json[0]["lost"]) == (service.process.pid, 0)
    assert list(as_json[1]) == ["time", "process", "thread", "flag", "text"]
    assert len(as_json) == len(messages) + 1


def test_watching_is_told_of(tmp_path, service):
    """What has many answers is an operation too."""
    assert trace("start", "w", "-o", tmp_path / "w", "--flags", "wmi_api", socket=service.socket).exit_code == 0
    assert next(iter(BlockingClient(service.socket).watch(api.Watch()))).status == 0
    assert trace("stop", "w", socket=service.socket).exit_code == 0
    assert "WMI_API: asked: Watch(classes=[])" in trace("show", tmp_path / "w").stdout


def test_json_of_traces(tmp_path, service):
    given = ["j", "-o", tmp_path / "j", "--flags", "all", "--circular", "--maximum-size", 256, "--flush-time", 0.5]
    started = json.loads(trace("start", *given, "--json", socket=service.socket).stdout)
    assert list(started) == list(api.TraceEntry.__struct_fields__)
    assert (started["flags"], started["circular"], started["maximum_kib"]) == (SPEW_ALL, True, 256)
    asked = json.loads(trace("query", "--json", socket=service.socket).stdout)
    assert [each["name"] for each in asked["traces"]] == ["j"]
    assert "circular" in trace("query", "j", socket=service.socket).stdout
    assert json.loads(trace("stop", "j", "--json", socket=service.socket).stdout)["messages"] >= 3


def test_relative_file_is_the_callers(tmp_path, service, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert trace("start", "r", "--output", "here", socket=service.socket).exit_code == 0
    assert trace("stop", "r", socket=service.socket).exit_code == 0
    assert (tmp_path / "here").is_file()


@pytest.mark.parametrize(
    "words",
    [
        ["start", "t"],
        ["start", "-o", "x"],
        ["start", "t", "-o", "x", "--flags", "nothing"],
        ["start", "t", "-o", "x", "--flags", "0"],
        ["start", "t", "-o", "x", "--flags", "0x00600000"],
        ["start", "t", "-o", "x", "--level", "6"],
        ["start", "t", "-o", "x", "-nb", "1", "5"],
        ["start", "t", "-o", "x", "-nb", "5"],
        ["start", "t", "-o", "x", "-bs", "2"],
        ["start", "t", "-o", "x", "--circular"],
        ["start", "t", "-o", "x", "--flush-time", "nan"],
        ["start", "t", "-o", "x", "-rt"],
        ["start", "a\nb", "-o", "x"],
        ["start", "t", "-o", "x", "-pf", "missing"],
        ["start", "t", "-o", "x", "-pf", "wrong.ctl"],
        ["start", "t", "-o", "x", "-pf", "good.ctl", "--flags", "7"],
        ["start", "t", "-o", "x", "-pf", "good.ctl", "--level", "0"],
        ["stop"],
        ["stop", ""],
        ["query", "a", "b"],
        ["query", "\t"],
        ["show"],
        ["show", "x", "--flags", "what"],
        ["show", "x", "--level", "9"],
    ],
    ids=" ".join,
)
def test_usage(tmp_path, monkeypatch, words):
    """Exit code 2 and a line that says what is wrong, without a service being asked."""
    monkeypatch.chdir(tmp_path)
    Path("wrong.ctl").write_text("{00000000-0000-0000-0000-000000000000} 0x7 0")
    Path("good.ctl").write_text(f"{GUID} 0x7 0")
    result = trace(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search(r"^Error: .+", result.stderr, re.MULTILINE)
    assert not Path("x").exists()


def test_refusals_of_the_service(tmp_path, service):
    for words in (["stop", "none"], ["query", "none"], ["start", "t", "-o", tmp_path]):
        result = trace(*words, socket=service.socket)
        assert (result.exit_code, result.stdout) == ((2 if words[0] == "start" else 1), "")
        assert words[0] == "start" or re.fullmatch(
            r"iscsi-initiator: .*\(0xEFFF0056\): no trace none runs\n", result.stderr
        )
    (tmp_path / "text").write_text("text")
    result = trace("start", "t", "-o", tmp_path / "text", socket=service.socket)
    assert (result.exit_code, (tmp_path / "text").read_text()) == (1, "text")
    assert result.stderr.endswith("it is there and is no trace file\n")


def test_without_a_service(tmp_path):
    for words in (["stop", "t"], ["query"], ["start", "t", "-o", tmp_path / "t"]):
        result = trace(*words, socket=tmp_path / "nowhere")
        assert (result.exit_code, result.stdout) == (3, "")
        assert "0xEFFF003E" in result.stderr


def test_stop_that_could_not_write_all_fails(tmp_path, monkeypatch):
    """It is stopped, and says so; the exit code tells that messages are missing."""
    fields: dict[str, Any] = dict.fromkeys(api.TraceEntry.__struct_fields__, 0)
    entry = api.TraceEntry(**{**fields, "name": "t", "path": "/t", "circular": False, "failure": "full"})
    monkeypatch.setattr(
        "iscsi_initiator.service.asking.BlockingClient.ask", lambda self, request: api.TraceAnswer(trace=entry)
    )
    result = trace("stop", "t")
    assert (result.exit_code, result.stderr) == (1, "iscsi-initiator: /t: full\n")
    assert result.stdout.startswith("t: stopped")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "No such file or directory"),
        (b"", "no trace file"),
        (b"\x7fELF" * 200, "no trace file"),
        (FileHeader("t", 1, 0, Mode.SEQUENTIAL, 4096, 0, 1, 1).encode()[:100], "ends within its header"),
        (b"iSCSItrc\0\x02".ljust(HEADER_LENGTH, b"\0"), "version 2"),
    ],
)
def test_what_is_no_trace_is_one_line(tmp_path, data, said):
    path = tmp_path / "t"
    if data is not None:
        path.write_bytes(data)
    result = trace("show", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert re.fullmatch(rf"iscsi-initiator: {path}: .*{said}.*\n", result.stderr)


def test_folder_is_no_trace(tmp_path):
    assert trace("show", tmp_path).exit_code == 2


def test_damage_is_one_line_and_the_rest_is_shown(tmp_path):
    path, ring = tmp_path / "t", Ring(4096, 2, 2)
    data = bytearray(FileHeader("t", TCP, 0, Mode.SEQUENTIAL, 4096, 0, 1, 1).encode())

    def write(offset, piece):
        data.extend(bytes(max(0, offset - len(data))))
        data[offset : offset + len(piece)] = piece

    for number in range(12):
        ring.put(encode_body(Message(TCP, 0, 1, 1, f"{number} ".ljust(500))), 0)
        ring.flush(write)
    data[HEADER_LENGTH + 1000] ^= 1
    path.write_bytes(data)
    result = trace("show", path)
    assert result.exit_code == 1
    damage, open_end = result.stderr.splitlines()
    assert damage == f"iscsi-initiator: {path}: buffer 1: an entry is cut off or damaged, at byte 1076"
    assert open_end.endswith("the trace was not stopped when this was written")
    assert [line.split()[3] for line in result.stdout.splitlines()[1:]] == ["0", "7", "8", "9", "10", "11"]


def test_what_a_file_says_is_not_obeyed(tmp_path):
    """A file may come from anybody: nothing in it that a terminal would obey gets there."""
    path = tmp_path / "t"
    data = bytearray(FileHeader("\x1b[2Jt", TCP, 0, Mode.SEQUENTIAL, 4096, 0, 1, 1).encode())
    ring = Ring(4096, 2, 2)
    ring.put(encode_body(Message(0x80, 0, 1, 1, "a\nb\x1b[31m")), 0)
    ring.flush(lambda offset, piece: data.extend(piece))
    path.write_bytes(data)
    shown = trace("show", path, "--flags", "0x80").stdout
    assert shown.splitlines()[0].startswith("# \\x1b[2Jt, ")
    assert shown.splitlines()[1:] == ["1970-01-01T00:00:00.000000Z 1.1 0x00000080: a\\x0ab\\x1b[31m"]


def test_killed_service_leaves_a_trace_and_a_log(tmp_path):
    """SIGKILL in the middle of work: both can be read up to the last whole message, and have no secret in them."""
    log, path = tmp_path / "debug.log", tmp_path / "all.trace"
    settings: dict[str, SettingValue] = {"ServiceLogFileName": str(log), "DebugSpewLevel": SPEW_ALL}
    store_settings(tmp_path / "store", StoredSettings(service=settings))
    with target_served() as endpoint:
        service = Running(tmp_path)
        begin = api.StartTrace(name="all", path=str(path), flags=SPEW_ALL, buffer_kib=4, flush_time=0.05)
        service.ask(begin)
        service.ask(api.AddTargetPortal(portal=Portal(address=endpoint.host, port=endpoint.port)))
        options = api.LoginOptions(auth_type=1, user_name="tester", password=SECRET)
        session = service.ask(api.LoginTarget(target_name=CHAP, options=options)).session_id
        for _ in range(50):
            service.ask(api.ScsiInquiry(session_id=session, lun=0))
        service.process.kill()
        service.process.communicate(timeout=60)
        shown = trace("show", path)
        assert shown.exit_code == 0
        assert "the trace was not stopped" in shown.stderr
        assert sum("-> SCSI Command" in line for line in shown.stdout.splitlines()) > 20
        lines = log.read_text(encoding="utf-8").splitlines()
        assert lines[0].endswith("INFORMATION: the service is starting, DebugSpewLevel is 0xffffffff")
        assert sum(" -> SCSI Command" in line for line in lines) > 50
        form = rf"\d{{4}}-\d\d-\d\dT[0-9:.]{{15}}Z {service.process.pid}\.\d+ [A-Z_]+: .+"
        assert all(re.fullmatch(form, line) for line in lines)
        for file in (log, path):
            assert SECRET not in file.read_bytes()
            assert SECRET.hex().encode() not in file.read_bytes()
        # The next service goes on with the log, and may use the file of the trace anew.
        again = Running(tmp_path)
        again.ask(begin)
        again.ask(api.StopService())
        assert again.end() == (0, "")
        assert len(log.read_text(encoding="utf-8").splitlines()) > len(lines)
        assert trace("show", path).exit_code == 0
        assert "the trace was not stopped" not in trace("show", path).stderr


def test_settings_of_the_log_come_and_go_by_reg_files(tmp_path):
    """What a `.reg` file says of the log is shown and exported again."""
    source, store = tmp_path / "in.reg", tmp_path / "store"
    source.write_text(
        "Windows Registry Editor Version 5.00\n\n"
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\iSCSI\\Discovery]\n"
        '"DebugSpewLevel"=dword:006f0007\n"ServiceLogFileName"="/var/log/x"\n"ServiceLogMaximumSize"=dword:00010000\n'
    )

    def settings(*words):
        result = CliRunner().invoke(main, ["settings", *map(str, words), "--store", str(store)])
        assert result.exit_code == 0, result.stderr
        return result.stdout

    settings("import", source)
    shown = {each["name"]: each["value"] for each in json.loads(settings("show", "--set", "--json"))["settings"]}
    assert shown == {"DebugSpewLevel": 0x6F0007, "ServiceLogFileName": "/var/log/x", "ServiceLogMaximumSize": 65536}
    settings("export", "--ansi", tmp_path / "out.reg")
    lines = (tmp_path / "out.reg").read_text().splitlines()
    assert {'"DebugSpewLevel"=dword:006f0007', '"ServiceLogFileName"="/var/log/x"'} <= set(lines)
    assert '"ServiceLogMaximumSize"=dword:00010000' in lines
