"""How the service starts: each checkpoint, as it goes and as it fails."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import EntryPoint
from pathlib import Path

import msgspec
import pytest
from tests.initiator.service_bench import HOST, with_service

from iscsi_conformance.bundled import CHAP, PLAIN
from iscsi_conformance.clock import passed
from iscsi_initiator.boot import assemble
from iscsi_initiator.boot.layout import Initiator, Nic, pack_address
from iscsi_initiator.boot.layout import Target as BootTarget
from iscsi_initiator.boot.table import text
from iscsi_initiator.discovery import adapters
from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.hooks import Hooks
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.startup import LOGIN_RETRY, LOGIN_TIME, Start, StartFailed, open_store, prepare
from iscsi_initiator.service.tunables import ServiceSettings, service_settings
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store import State, Store
from iscsi_initiator.store.sealed import Sealed
from iscsi_initiator.store.state import (
    AuthType,
    DeviceKind,
    LoginOptions,
    Node,
    PersistentDevice,
    PersistentLogin,
    Portal,
    Secrets,
    StaticTarget,
    StoredSettings,
    TargetPortal,
)
from iscsi_protocol.eventlog import LoggedEvent
from iscsi_protocol.fault import Fault, Set, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.stream import Direction

LISTED = TargetPortal(portal=HOST)
LOGIN = PersistentLogin(target_name=PLAIN)
DISK = f"iscsi#{PLAIN}#{0:016x}"
BROKEN = Sealed(nonce=bytes(12), sealed=bytes(28))


async def started(bench, **options):
    start = Start(bench.core, **options)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await start.run()
    start.stop()
    return loop.time() - began


def test_persistent_logins_are_made(tmp_path):
    logins = (LOGIN, msgspec.structs.replace(LOGIN, number=1, options=LoginOptions(login_flags=2)))
    settings = StoredSettings(driver={"DelayBetweenReconnect": 0})

    async def test(bench):
        await started(bench)
        assert [each.target_name for each in bench.core.sessions.values()] == [PLAIN, PLAIN]
        assert (bench.core.state, bench.core.trouble) == ("running", None)

    with_service(tmp_path, test, state=State(target_portals=(LISTED,), persistent_logins=logins, settings=settings))


def test_a_login_with_a_portal_needs_no_discovery(tmp_path):
    login = msgspec.structs.replace(LOGIN, portal=HOST)

    async def test(bench):
        await started(bench)
        assert len(bench.core.sessions) == 1

    with_service(tmp_path, test, state=State(persistent_logins=(login,)))


def test_a_login_that_is_late_goes_on_being_tried(tmp_path):
    async def test(bench):
        endpoints = list(bench.connector.portal.endpoints)
        bench.connector.portal.endpoints.clear()
        start = Start(bench.core)
        loop = asyncio.get_running_loop()
        await start.run()
        assert loop.time() == pytest.approx(LOGIN_TIME)
        assert bench.core.trouble is not None
        assert bench.core.trouble.status == StatusCode.PERSISTENT_LOGIN_TIMEOUT
        assert f"{PLAIN}#0" in (await bench.ask(api.ServiceStatus())).message
        assert bench.core.state == "running"
        bench.connector.portal.endpoints.extend(endpoints)
        await passed(2 * LOGIN_RETRY)
        assert len(bench.core.sessions) == 1
        start.stop()

    with_service(tmp_path, test, state=State(target_portals=(LISTED,), persistent_logins=(LOGIN,)))


def test_a_login_that_is_taken_off_the_list_is_tried_no_more(tmp_path):
    async def test(bench):
        start = Start(bench.core, login_time=1)
        await start.run()
        await bench.ask(api.RemovePersistentTarget(target_name=PLAIN))
        bench.core.discovery.static([StaticTarget(name=PLAIN, portals=(HOST,))])
        await passed(3 * LOGIN_RETRY)
        assert bench.core.sessions == {}

    with_service(tmp_path, test, state=State(persistent_logins=(LOGIN,)))


def test_a_login_that_is_refused_for_good_is_not_tried_again(tmp_path):
    login = PersistentLogin(target_name=CHAP, portal=HOST)

    async def test(bench):
        assert await started(bench) < LOGIN_RETRY
        assert bench.core.trouble is not None
        assert bench.core.trouble.status == StatusCode.TARGET_AUTHINFO_UNAVAILABLE

    with_service(tmp_path, test, state=State(persistent_logins=(login,)))


def test_a_stored_password_that_does_not_open(tmp_path):
    options = LoginOptions(auth_type=AuthType.CHAP, user_name="tester", password=BROKEN)
    login = PersistentLogin(target_name=CHAP, portal=HOST, options=options)

    async def test(bench):
        bench.core.store.seal(b"anything", "so that there is a key")
        await started(bench)
        assert bench.core.trouble is not None
        assert bench.core.trouble.status == StatusCode.CACHE_CORRUPTED

    state = State(persistent_logins=(login,))
    with Store(tmp_path / "store") as store:
        store.seal(b"anything", "so that there is a key")
    with_service(tmp_path, test, state=state)


# Volumes.


def bound(path=DISK, kind=DeviceKind.DEVICE):
    return (PersistentDevice(path=path, kind=kind, identifier=DISK),)


def test_bound_devices_are_waited_for(tmp_path):
    state = State(target_portals=(LISTED,), persistent_logins=(LOGIN,), persistent_devices=bound())

    async def test(bench):
        assert await started(bench) == pytest.approx(30)
        assert bench.events() == []

    with_service(tmp_path, test, state=state)


def test_bound_devices_that_do_not_appear(tmp_path):
    settings = StoredSettings(service={"VolumeRetryCount": 7, "VolumeRetryTimer": 500})
    state = State(persistent_devices=bound(), settings=settings)

    async def test(bench):
        assert await started(bench) == pytest.approx(3.5)
        assert bench.events() == [103]
        assert bench.core.state == "running"

    with_service(tmp_path, test, state=state)


def test_a_volume_that_is_mounted_late(tmp_path):
    settings = StoredSettings(service={"VolumePostDiscoveryTimer": 0})
    state = State(persistent_devices=bound("/mnt/disk", DeviceKind.VOLUME), settings=settings)
    looks = []

    def mounts():
        looks.append(1)
        return "" if len(looks) < 3 else "30 24 43:0 / /mnt/disk rw - xfs /dev/nbd0 rw\n"

    async def test(bench):
        assert await started(bench) == pytest.approx(2)
        assert bench.events() == []

    with_service(tmp_path, test, state=state, mounts=mounts)


def test_volumes_that_cannot_be_looked_for(tmp_path):
    def unreadable():
        raise PermissionError(13, "Permission denied")

    async def test(bench):
        assert await started(bench) == 0
        assert bench.events() == [102]

    with_service(tmp_path, test, state=State(persistent_devices=bound()), mounts=unreadable)


@pytest.mark.parametrize("starts", [True, False])
def test_a_bound_disk_that_is_not_ready_is_started(tmp_path, starts):
    state = State(target_portals=(LISTED,), persistent_logins=(LOGIN,), persistent_devices=bound())
    refused = Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_RESPONSE, nth=3),
        what=(Set("status", Status.RESERVATION_CONFLICT),),
    )

    async def test(bench):
        await bench.ask(api.RefreshTargetPortal(portal=HOST))
        session = await bench.log_in()
        await session.client.command(opcodes.START_STOP_UNIT.build(start=0), lun=0)
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        await started(bench)
        assert [(each.record.id, each.inserts[1]) for each in bench.logged()] == (
            [] if starts else [(104, "PhysicalDrive0")]
        )

    with_service(tmp_path, test, state=state, faults=[] if starts else [refused])


# From a boot table.


def boot_image(*names):
    nic = Nic(mac=bytes.fromhex("020000000001"), address=pack_address("127.0.0.1"), prefix_length=8)
    targets = [
        BootTarget(address=pack_address("127.0.0.1"), port=3260, lun=bytes(8), name=text(name)) for name in names
    ]
    return assemble(Initiator(name=text("iqn.2026-01.org.example:booted")), [nic], targets).image


def test_the_target_of_a_boot_table_is_logged_in_to(tmp_path):
    async def test(bench):
        await started(bench, boot_table=boot_image(PLAIN))
        (session,) = (await bench.ask(api.SessionList())).sessions
        assert (session.target_name, session.initiator_node_name) == (PLAIN, "iqn.2026-01.org.example:booted")
        assert [device.number for device in session.devices] == [0, 1]
        assert bench.events("iScsiPrt") == [64]
        devices = (await bench.ask(api.DeviceList())).devices
        assert devices
        assert not any(each.failback for each in devices), "as in the guide's boot version"

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    ("image", "status", "events"),
    [
        (b"no table", StatusCode.INVALID_PARAMETER, []),
        (boot_image("iqn.2026-01.org.example:nobody"), StatusCode.NOT_FOUND, [64, 10]),
    ],
)
def test_a_boot_table_that_leads_nowhere(tmp_path, image, status, events):
    async def test(bench):
        await started(bench, boot_table=image)
        assert bench.core.trouble is not None
        assert bench.core.trouble.status == status
        assert bench.events("iScsiPrt") == events

    with_service(tmp_path, test)


# What keeps it from starting.


@pytest.mark.parametrize(
    ("hooks", "events"),
    [
        (Hooks(evaluation_ends=1.0), [118]),
        (Hooks(evaluation_ends=4e9, firewall=lambda: True), []),
        (Hooks(firewall=lambda: False), [120]),
        (Hooks(firewall=lambda: Path("/nowhere/list").exists() or unreadable()), [121]),
    ],
)
def test_evaluation_and_firewall(tmp_path, hooks, events):
    async def test(bench):
        assert bench.events() == events
        await bench.ask(api.AddTarget(target_name=PLAIN, portal=HOST))
        if hooks.evaluation_ends == 1.0:
            assert await bench.refused(api.LoginTarget(target_name=PLAIN)) == StatusCode.EVALUATION_PEROID_EXPIRED
        else:
            await bench.log_in()

    with_service(tmp_path, test, hooks=hooks)


def unreadable():
    raise PermissionError(13, "Permission denied")


def test_the_firewall_takes_the_service_or_does_not(tmp_path):
    exempted: list[bool] = []

    async def test(bench):
        await bench.ask(api.FirewallExemptiSNSServer())
        assert exempted == [True]
        bench.core.hooks = Hooks(exempt=unreadable)
        asked = api.FirewallExemptiSNSServer()
        assert await bench.refused(asked) == StatusCode.REQUEST_NOT_SUPPORTED

    with_service(tmp_path, test, hooks=Hooks(exempt=lambda: exempted.append(True)))


@pytest.fixture
def journal(tmp_path):
    writer = EventLogWriter(tmp_path / "events.jsonl")
    yield Journal(writer)
    writer.close()


def told(tmp_path):
    reader = LogReader(tmp_path / "events.jsonl")
    try:
        return [(each.record.id, *each.inserts) for each in reader.read() if isinstance(each, LoggedEvent)]
    finally:
        reader.close()


@pytest.mark.parametrize("content", [b"{}", b"not a store", b""])
def test_a_store_that_is_damaged_or_foreign(tmp_path, journal, content):
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "store.json").write_bytes(content)
    with pytest.raises(StartFailed, match="cannot start"):
        open_store(folder, journal)
    (event,) = told(tmp_path)
    assert (event[0], event[2]) == (106, "store")
    assert (folder / "store.json").read_bytes() == content


def test_a_store_that_another_service_has(tmp_path, journal):
    with Store(tmp_path / "store"), pytest.raises(StartFailed):
        open_store(tmp_path / "store", journal)
    assert told(tmp_path)[0][0] == 106


@pytest.mark.parametrize(
    ("state", "checkpoint"),
    [(State(), "node name"), (State(node=Node(name="iqn.2026-01.org.example:x", fixed=True)), "instances")],
)
def test_a_store_that_is_not_writable(tmp_path, journal, state, checkpoint):
    store = open_store(tmp_path / "store", journal)
    store.put(state)
    core = Core(store, journal)
    store.close()
    with pytest.raises(StartFailed):
        prepare(core, {})
    core.release()
    assert [(event[0], event[2]) for event in told(tmp_path)] == [(106, checkpoint)]


def test_a_secret_of_the_initiator_that_does_not_open(tmp_path):
    with Store(tmp_path / "store") as store:
        store.seal(b"anything", "so that there is a key")

    async def test(bench):
        assert bench.events() == [107]
        await started(bench)
        assert bench.core.state == "running"

    with_service(tmp_path, test, state=State(secrets=Secrets(initiator=BROKEN)))


def test_a_damaged_static_target(tmp_path):
    async def test(bench):
        await started(bench)
        assert bench.events() == [111]
        assert bench.core.trouble is not None
        assert bench.core.trouble.status == StatusCode.CACHE_CORRUPTED

    with_service(tmp_path, test, state=State(static_targets=(StaticTarget(name="no name"),)))


def test_an_adapter_that_cannot_be_loaded(tmp_path):
    async def test(bench):
        assert bench.events() == [108]
        assert bench.core.trouble is not None
        assert bench.core.trouble.status == StatusCode.DRIVER_BUG

    with_service(tmp_path, test, adapters={"nothing": ""})


def test_up_calls_of_an_adapter(tmp_path, monkeypatch):
    point = EntryPoint("example", "iscsi_initiator.discovery.example_adapter:make", adapters.GROUP)
    monkeypatch.setattr(adapters, "entry_points", lambda group, name: [point])
    flash = tmp_path / "flash.json"
    flash.write_text("{}")

    async def test(bench):
        start = Start(bench.core)
        await start.run()
        assert (await bench.ask(api.ListTargets())).targets == ()
        flash.write_text(json.dumps({"targets": [{"name": PLAIN}]}))
        adapter = bench.core.instances[1].adapter
        adapter.changed()
        await asyncio.gather(*start._tasks)
        assert (await bench.ask(api.ListTargets())).targets == (PLAIN,)
        flash.write_text("damaged")
        adapter.changed()
        await asyncio.gather(*start._tasks)
        assert bench.core.trouble.status == StatusCode.NON_SPECIFIC_ERROR
        bench.core.up_call(b"\xff")
        assert bench.events() == [115, 109]
        start.stop()

    with_service(tmp_path, test, adapters={"example": str(flash)}, virtual=False)


# Settings.


def test_settings_out_of_the_store():
    stored = StoredSettings(service={"VolumeRetryCount": 3, "volumeretrytimer": 250})
    assert service_settings(stored) == ServiceSettings(volume_retry_count=3, volume_retry_timer=0.25)
    assert service_settings(StoredSettings()) == ServiceSettings()


def test_the_driver_runs_with_what_is_stored(tmp_path):
    settings = StoredSettings(driver={"MaxTransferLength": 4096})

    async def test(bench):
        assert bench.core.settings.max_transfer_length == 4096
        await bench.discover()
        assert (await bench.log_in()).client.settings.max_transfer_length == 4096

    with_service(tmp_path, test, state=State(settings=settings), settings=None)


REG = """Windows Registry Editor Version 5.00

[HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\iSCSI\\Discovery]
"VolumeRetryCount"=dword:00000005
"""


def test_settings_of_a_reg_file(tmp_path):
    named = REG + '"DefaultInitiatorName"="iqn.2026-01.org.example:other"\n'

    async def test(bench):
        asked = api.ImportSettings(data=REG.encode())
        assert (await bench.ask(asked)).status == StatusCode.OPERATION_REQUIRES_REBOOT
        assert service_settings(bench.core.store.state.settings).volume_retry_count == 5
        bench.core.service_settings = service_settings(bench.core.store.state.settings)
        assert (await bench.ask(asked)).status == 0
        assert await bench.refused(api.ImportSettings(data=b"no such file")) == StatusCode.INVALID_PARAMETER
        await bench.discover()
        session = await bench.log_in()
        asked = api.ImportSettings(data=named.encode())
        assert await bench.refused(asked) == StatusCode.CONNECTION_ALREADY_EXISTS
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        bench.core.store.close()
        assert await bench.refused(asked) == StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA

    with_service(tmp_path, test, settings=None)


def test_an_event_that_cannot_be_logged_stops_nobody(tmp_path):
    journal = Journal(EventLogWriter(tmp_path / "file" / "events.jsonl"))
    (tmp_path / "file").write_text("no folder")
    journal.tell(103)
    assert journal.failure is not None
    Journal(None).tell(103)
    assert Portal(address="x").port == 3260
