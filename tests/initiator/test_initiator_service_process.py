"""The service as a process on a socket of its own, the bundled target on the loopback, and iscsicli between them."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import stat
import sys
from typing import Any

import pytest
from click.testing import CliRunner
from tests.initiator.service_running import Running, store_settings, target_served

from iscsi_conformance.bundled import CHAP, PLAIN
from iscsi_initiator.cli import main
from iscsi_initiator.iscsicli import cli
from iscsi_initiator.service import api
from iscsi_initiator.service.process import notify
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import StoredSettings

LUN = {"target_lun": 0, "os_bus": 0, "os_target": 1, "os_lun": 0}
OTHER_BUS = {"target_lun": 1 << 48, "os_bus": 1, "os_target": 1, "os_lun": 1}
SECRET = "one-way-secret-1"
DEFAULTS = ["*", "*", "*", "*", "*"]


@pytest.fixture(scope="module")
def target():
    with target_served() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def asked_at(tmp_path_factory):
    """A service that is only asked for what it refuses."""
    service = Running(tmp_path_factory.mktemp("service"))
    yield service
    service.ask(api.StopService())
    assert service.end() == (0, "")


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs an iscsicli command; its exit status and its answer."""

    def start(*words: object) -> tuple[int, dict[str, Any]]:
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as left:
            cli.main(["--socket", str(tmp_path / "s"), "--json", *map(str, words)])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), json.loads(out or err)

    return start


@pytest.fixture
def command(tmp_path):
    """Runs `iscsi-initiator service`."""

    def start(*words: str) -> Any:
        return CliRunner().invoke(main, ["service", *words, "--socket", str(tmp_path / "s")])

    return start


def test_from_portal_to_logout_over_a_restart(tmp_path, target, run, command):
    service = Running(tmp_path)
    assert stat.S_IMODE(service.socket.stat().st_mode) == 0o600
    portal = [target.host, target.port]
    assert run("AddTargetPortal", *portal, "*", "*", "*", *DEFAULTS, "*", "*", "*", "*")[0] == 0
    assert PLAIN in run("ListTargets")[1]["targets"]
    assert run("TargetInfo", PLAIN)[1]["discovery_mechanisms"] == [f"SendTargets:{target}"]
    status, answer = run("QLoginTarget", CHAP, "tester", SECRET)
    assert status == 0
    session = answer["session_id"]
    (entry,) = run("SessionList")[1]["sessions"]
    assert (entry["session_id"], entry["target_name"]) == (session, CHAP)
    assert run("ScsiInquiry", session, 0, 0, 0)[0] == 0
    assert run("ReadCapacity", session, 0)[1]["block_length"] == 512
    assert run("ReportLUNs", session)[0] == 0
    login = [CHAP, "T", "*", "*", "*", "*", "*", *DEFAULTS, "*", "tester", SECRET, 1, "*", 0]
    assert run("PersistentLoginTarget", *login)[0] == 0
    device = entry["devices"][0]["interface_name"]
    assert run("AddPersistentDevice", device)[0] == 0
    shown = command("status", "--json")
    assert json.loads(shown.output)["sessions"] == 1
    assert command("stop").exit_code == 0
    assert service.end() == (0, "")
    assert not service.socket.exists()

    store_settings(tmp_path / "store", StoredSettings(service={"VolumePostDiscoveryTimer": 0}))
    again = Running(tmp_path, "--login-time", "20")
    (entry,) = run("SessionList")[1]["sessions"]
    assert entry["target_name"] == CHAP
    assert entry["session_id"] != session
    assert run("LogoutTarget", entry["session_id"])[0] == 0
    assert run("SessionList")[1]["sessions"] == []
    status, answer = run("LogoutTarget", entry["session_id"])
    assert (status, answer["code"]) == (1, "0xEFFF001C")
    assert run("RemovePersistentTarget", "*", CHAP, "*", "*", "*")[0] == 0
    again.process.send_signal(signal.SIGTERM)
    assert again.end() == (0, "")
    for file in [*tmp_path.rglob("*.json*")]:
        assert SECRET.encode() not in file.read_bytes()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ({"op": "LoginTarget", "target_name": PLAIN, "options": {"login_flags": 64}}, StatusCode.LOGIN_USER_INFO_BAD),
        (
            {"op": "LoginTarget", "target_name": PLAIN, "options": {"user_name": "u" * 224}},
            StatusCode.INVALID_CHAP_USER_NAME,
        ),
        ({"op": "LoginTarget", "target_name": PLAIN, "options": {"auth_type": 3}}, StatusCode.INVALID_LOGON_AUTH_TYPE),
        ({"op": "LoginTarget", "target_name": "no name"}, StatusCode.INVALID_ISCSI_NAME),
        ({"op": "CHAPSecret", "secret": ""}, StatusCode.INVALID_CHAP_SECRET),
        ({"op": "PSKey", "id_type": 1, "id": "192.0.2", "key": "AAAA"}, StatusCode.IKE_ID_PAYLOAD_INCORRECT_SIZE),
        ({"op": "AddTarget", "target_name": PLAIN, "mappings": [LUN, LUN]}, StatusCode.TARGET_MAPPING_EXISTS),
        ({"op": "AddTarget", "target_name": PLAIN, "mappings": [LUN, OTHER_BUS]}, StatusCode.INVALID_TARGET_MAPPING),
        (
            {"op": "AddTarget", "target_name": PLAIN, "mappings": [LUN | {"os_target": 256}]},
            StatusCode.INVALID_TARGET_ID,
        ),
        ({"op": "VersionInfo", "buffer_size": 10}, StatusCode.BUFFER_TOO_SMALL),
        ({"op": "ServiceStatus", "surplus": 1}, StatusCode.INVALID_PARAMETER),
        ({"op": "MakeCoffee"}, StatusCode.REQUEST_NOT_SUPPORTED),
    ],
    ids=lambda value: value.name if isinstance(value, StatusCode) else "",
)
def test_values_that_cannot_be_are_refused_with_their_codes(asked_at, request_, code):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(asked_at.socket))
        connection.sendall(json.dumps(request_).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answer = json.loads(answers.readline())
    assert answer["status"] == code
    assert answer["message"]


def test_systemd_is_told(tmp_path):
    where = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(where))
        manager.settimeout(30)
        service = Running(tmp_path, environment={"NOTIFY_SOCKET": str(where)})
        assert manager.recv(100) == b"READY=1"
        service.ask(api.StopService())
        assert manager.recv(100) == b"STOPPING=1"
        assert service.end()[0] == 0


def test_an_abstract_socket_of_systemd():
    name = f"iscsi-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}")
        notify("READY=1", {"NOTIFY_SOCKET": f"@{name}"})
        assert manager.recv(100) == b"READY=1"
    notify("READY=1", {"NOTIFY_SOCKET": "/nowhere/at/all"})
    notify("READY=1", {})


def test_without_a_service(command):
    for words in (["status"], ["stop"]):
        result = command(*words)
        assert (result.exit_code, result.output.count("\n")) == (3, 1)
        assert "0xEFFF003E" in result.output


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--address", "nowhere"], 2),
        (["--adapter", "=x"], 2),
        (["--adapter", "a", "--adapter", "a=b"], 2),
        (["--login-time", "-1"], 2),
    ],
)
def test_usage(command, options, code):
    assert command("start", *options).exit_code == code


def test_a_store_that_is_none_is_one_line(tmp_path, command):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "store.json").write_text("no store")
    log = str(tmp_path / "events.jsonl")
    result = command("start", "--store", str(folder), "--event-log", log)
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert "store.json" in result.output
    result = CliRunner().invoke(main, ["events", "--log", log])
    assert "MSiSCSI 106" in result.output


def test_settings_and_sockets_that_cannot_be(tmp_path, command):
    folder, log = tmp_path / "store", str(tmp_path / "events.jsonl")
    (tmp_path / "s").write_text("no socket")
    result = command("start", "--store", str(folder), "--event-log", log)
    assert (result.exit_code, "socket" in result.output) == (1, True)
    store_settings(folder, StoredSettings(driver={"ErrorRecoveryLevel": 7}))
    result = command("start", "--store", str(folder), "--event-log", log)
    assert (result.exit_code, "ErrorRecoveryLevel" in result.output) == (1, True)


def test_status_and_trouble_in_words(tmp_path, command):
    service = Running(tmp_path, "--adapter", "nothing-like-it")
    result = command("status")
    assert result.output.startswith("running, process ")
    assert "driver bug" in result.output
    assert json.loads(command("status", "--json").output)["trouble"] == "0xEFFF0019"
    assert command("stop", "--force").exit_code == 0
    code, complaints = service.end()
    assert (code, complaints.count("\n")) == (0, 1)


def test_the_unit_file():
    result = CliRunner().invoke(main, ["service", "unit"])
    assert result.exit_code == 0
    assert "Type=notify" in result.output
    assert "@EXECUTABLE@" not in result.output
