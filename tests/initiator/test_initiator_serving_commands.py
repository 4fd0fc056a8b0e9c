"""The commands about the service's disks: what they print, what they refuse, and their exit codes."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.initiator.nbd_client import NbdClient
from tests.initiator.service_running import Running, config_served

from iscsi_initiator.cli import main
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LoginFlag, Portal
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode

NAME = "iqn.2026-01.org.example:disk"
DISKS = [f"iscsi#{NAME}#{lun << 48:016x}" for lun in (0, 1)]
MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with two sessions to a target of two disks; its endpoint is the service's attribute `endpoint`."""
    disk = LunConfig(size=Size(1 << 20))
    config = TargetConfig(
        targets=[TargetNode(name=NAME, luns={0: disk, 1: disk})], portals=[PortalConfig(address="127.0.0.1:0")]
    )
    with config_served(config) as (endpoint,):
        running = Running(tmp_path_factory.mktemp("service"))
        running.ask(api.AddTargetPortal(portal=Portal(address=endpoint.host, port=endpoint.port)))
        running.ask(api.LoginTarget(target_name=NAME))
        running.ask(api.LoginTarget(target_name=NAME, options=MULTIPATH))
        yield running
        running.ask(api.StopService())
        assert running.end() == (0, "")


@pytest.fixture
def run(service, monkeypatch):
    """Runs iscsi-initiator; exit code, standard output and standard error. What was attached is detached at the end."""
    monkeypatch.setenv("ISCSI_INITIATOR_SOCKET", str(service.socket))

    def start(*words: object) -> tuple[int, str, str]:
        done = CliRunner().invoke(main, [str(word) for word in words])
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.stdout, done.stderr

    yield start
    assert start("detach", "--force")[0] == 0
    for disk in DISKS:
        service.ask(api.SetDevicePolicy(device=disk, policy=2, failback=True))


def sessions(service):
    return [each.session_id for each in service.ask(api.SessionList()).sessions]


def test_all_disks_are_attached_listed_and_detached(run, service):
    code, out, _ = run("attach")
    exports = json.loads(out)["exports"]
    assert code == 0
    assert [(each["device"], each["name"], each["size"], each["clients"]) for each in exports] == [
        (DISKS[0], "0", 1 << 20, 0),
        (DISKS[1], "1", 1 << 20, 0),
    ]
    folder = service.folder / "s.nbd"
    assert [each["socket"] for each in exports] == [str(folder / "disk0"), str(folder / "disk1")]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(Path(each["socket"]).stat().st_mode) for each in exports] == [0o600] * 2
    assert exports[0]["uri"] == f"nbd+unix:///0?socket={folder / 'disk0'}"
    assert json.loads(run("attach")[1])["exports"] == exports, "what is served already is told again"
    assert json.loads(run("attached", "--json")[1])["exports"] == exports
    assert run("attached")[1].splitlines()[1] == "\t".join(
        ("PhysicalDrive1", DISKS[1], exports[1]["uri"], str(1 << 20), "0 clients")
    )
    assert run("detach", "PhysicalDrive0") == (0, "", "")
    assert len(run("attached")[1].splitlines()) == 1
    assert run("detach") == (0, "", "")
    assert run("attached") == (0, "", "")


def test_one_disk_is_attached_as_one_likes(run, service):
    code, out, _ = run("attach", "--device", DISKS[1], "--export", "a/b c", "--read-only")
    (export,) = json.loads(out)["exports"]
    assert code == 0
    assert (export["name"], export["read_only"], export["block_device"]) == ("a/b c", True, None)
    assert "///a%2Fb%20c?" in export["uri"]
    assert run("attach", "--device", DISKS[1])[0] == 1
    code, _, err = run("attach", "--device", "PhysicalDrive0", "--block-device", "/dev/null")
    assert (code, err) == (1, "iscsi-initiator: invalid parameter (0xEFFF0056): /dev/null is no block device\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("attach", "--export", "x"), "go with one --device"),
        (("attach", "--socket", "n.sock"), "--socket goes with a URL"),
        (("attach", "--policy", "round-robin"), "--policy goes with a URL"),
        (("attach", f"iscsi://127.0.0.1/{NAME}", "--device", "x"), "--device goes without a URL"),
        (("attach", f"iscsi://127.0.0.1/{NAME}"), "--socket is needed with a URL"),
        (("service", "policy", "PhysicalDrive0"), "a policy is needed"),
        (("service", "policy", "PhysicalDrive0", "--failback", "--standby", "1-2"), "a policy is needed"),
        (("service", "policy", "1-2", "round-robin", "--failback"), "are of a disk"),
        (("service", "policy", "PhysicalDrive0", "round-robin", "--weight", "1-2"), "--weight 1-2: "),
        (
            ("service", "policy", "PhysicalDrive0", "round-robin", "--weight", "x=2"),
            "the id of a session or connection",
        ),
        (("service", "policy", "PhysicalDrive0", "round-robin", "--standby", "x"), "--standby x: "),
    ],
)
def test_what_does_not_go_together(run, words, said):
    code, _, err = run(*words)
    assert code == 2
    assert said in err


def test_policies_of_disks(run, service):
    one, other = sessions(service)
    assert run("service", "policy", "PhysicalDrive0", "fail-over-only", "--no-failback") == (0, "", "")
    weights = ("--weight", f"{one}=3", "--weight", f"0x{other.upper()}=1")
    assert run("service", "policy", DISKS[1], "weighted-paths", *weights)[0] == 0
    _, out, _ = run("service", "devices")
    identifiers = [each.identifier for each in service.ask(api.DeviceList()).devices]
    assert out.splitlines() == [
        f"PhysicalDrive0\t{DISKS[0]}\t{identifiers[0]}\tfail-over-only, no failback",
        f"\tsession {one}\tactive",
        f"\tsession {other}\tstandby",
        f"PhysicalDrive1\t{DISKS[1]}\t{identifiers[1]}\tweighted-paths",
        f"\tsession {one}\tstandby, weight 3",
        f"\tsession {other}\tactive, weight 1",
    ]
    assert run("service", "policy", "PhysicalDrive0", "fail-over-only", "--standby", one)[0] == 0
    assert run("service", "policy", "PhysicalDrive0", "--failback")[0] == 0
    first = json.loads(run("service", "devices", "--json")[1])["devices"][0]
    assert [each["status"] for each in first["paths"]] == ["standby", "active"]
    assert first["failback"]
    code, _, err = run("service", "policy", "PhysicalDrive0", "least-queue-depth")
    assert (code, "0xEFFF0061" in err) == (1, True)
    code, _, err = run("service", "policy", "PhysicalDrive0", "round-robin", "--standby", "1-2")
    assert (code, "0xEFFF0058" in err) == (1, True)
    code, _, err = run("service", "policy", "PhysicalDrive9", "fail-over-only")
    assert (code, err) == (1, "iscsi-initiator: there is no disk or session PhysicalDrive9\n")


def test_policies_of_sessions(run, service):
    one, _ = sessions(service)
    (connection,) = service.ask(api.SessionList()).sessions[0].connections
    assert run("service", "policy", one, "least-queue-depth") == (0, "", "")
    assert run("service", "policy", one, "fail-over-only") == (0, "", "")
    assert run("service", "policy", one, "weighted-paths", "--weight", f"{connection.connection_id}=5") == (0, "", "")
    assert run("service", "policy", one, "round-robin") == (0, "", "")


def test_a_stop_that_is_forced_answers_clients_first(service):
    async def scene(running):
        (device, _) = running.ask(api.DeviceList()).devices
        entry = running.ask(api.Attach(device=device.device)).attached
        client = await NbdClient.at(entry.socket)
        await client.write(0, b"f" * 4096)
        with pytest.raises(Refused) as refused:
            running.ask(api.StopService())
        assert refused.value.status is StatusCode.DEVICE_BUSY_ON_SESSION
        running.ask(api.StopService(force=True))
        assert await client.closed()
        await client.close()
        assert running.end() == (0, "")
        assert not running.folder.joinpath("s.nbd").exists()

    folder = service.folder / "again"
    folder.mkdir()
    again = Running(folder)
    again.ask(api.AddTargetPortal(portal=service.ask(api.ListTargetPortals()).portals[0].portal))
    again.ask(api.LoginTarget(target_name=NAME, options=MULTIPATH))
    asyncio.run(scene(again))


def test_a_service_without_disks_and_none_at_all(tmp_path, monkeypatch):
    running = Running(tmp_path)
    monkeypatch.setenv("ISCSI_INITIATOR_SOCKET", str(running.socket))
    done = CliRunner().invoke(main, ["attach"])
    assert (done.exit_code, done.stderr) == (1, "iscsi-initiator: the service has no disk\n")
    running.ask(api.StopService())
    assert running.end() == (0, "")
    for words in (["attach"], ["detach"], ["attached"], ["service", "devices"]):
        assert CliRunner().invoke(main, words).exit_code == 3
