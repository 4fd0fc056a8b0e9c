"""Sessions of the service as paths to its disks, and the disks as NBD exports, against the bundled target in memory."""

from __future__ import annotations

import asyncio
import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from tests.initiator.nbd_client import NbdClient
from tests.initiator.paths_bench import (
    ASKED,
    BUSY,
    DISK,
    HOLD,
    KEY,
    MULTIPATH,
    PORTS,
    SECOND_DISK,
    SETTINGS,
    SIZE,
    UNSUPPORTED,
    known,
    listed,
    log_in,
    statuses,
    with_paths,
)

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.clock import passed
from iscsi_initiator.attach.disk import Disk
from iscsi_initiator.attach.multipath import identity_of
from iscsi_initiator.client import RequestFailed
from iscsi_initiator.multipath import LoadBalance
from iscsi_initiator.nbd import Command, Errno
from iscsi_initiator.requests import Failure
from iscsi_initiator.service import api
from iscsi_initiator.service.startup import Start
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import State
from iscsi_initiator.store.state import LoginFlag, LoginOptions, PersistentLogin, Portal, SettingValue, StoredSettings
from iscsi_initiator.tracing.flags import WARNING
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.persistent import parse_keys


def as_path(session, **fields):
    return api.DevicePath(session_id=session.session_id, **fields)


# Devices.


def test_the_disks_of_all_sessions_are_devices_with_a_path_each(tmp_path):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        devices = await listed(bench)
        assert [(each.device, each.number, each.legacy_name) for each in devices] == [
            (DISK, 0, "PhysicalDrive0"),
            (SECOND_DISK, 1, "PhysicalDrive1"),
        ]
        assert len({each.identifier for each in devices}) == 2
        for each in devices:
            assert [path.session_id for path in each.paths] == [one.session_id, other.session_id]
            assert [path.status for path in each.paths] == ["active", "active"]
            assert (each.policy, each.failback, each.removed, each.open_by) == (
                LoadBalance.ROUND_ROBIN,
                True,
                False,
                (),
            )
        assert [path.lun for path in devices[1].paths] == [1 << 48] * 2
        await bench.ask(api.LogoutTarget(session_id=one.session_id))
        assert [[path.session_id for path in each.paths] for each in await listed(bench)] == [[other.session_id]] * 2
        await bench.ask(api.LogoutTarget(session_id=other.session_id))
        assert await listed(bench) == ()
        assert notices == [], "what somebody wants is no news"

    with_paths(tmp_path, test)


def test_sessions_that_are_not_reported_are_no_paths(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        await bench.log_in(report_to_pnp=False, options=MULTIPATH, portal=Portal(address="127.0.0.1", port=PORTS[1]))
        assert [len(each.paths) for each in await listed(bench)] == [1, 1]

    with_paths(tmp_path, test)


def test_a_disk_without_an_identifier_is_no_device(tmp_path, monkeypatch):
    async def none(client, lun, standard=None):
        raise Refused(UNSUPPORTED, "the logical unit has no device identifier")

    async def lost(client, lun, standard=None):
        raise RequestFailed(Failure.CONNECTION_LOST, "INQUIRY")

    async def test(bench, ways, notices):
        monkeypatch.setattr(ASKED, none)
        (session,) = await log_in(bench, PORTS[0])
        assert [device.number for device in session.devices] == [0, 1]
        assert await listed(bench) == ()
        assert await bench.refused(api.Attach(device=DISK)) == UNSUPPORTED
        monkeypatch.setattr(ASKED, lost)
        assert await bench.refused(api.Attach(device=DISK)) == StatusCode.TRANSPORT_ERROR
        monkeypatch.setattr(ASKED, identity_of)
        await bench.ask(api.Attach(device="PhysicalDrive1"))
        assert [(each.device, each.number) for each in await listed(bench)] == [(SECOND_DISK, 1)]

    with_paths(tmp_path, test)


def test_a_disk_that_a_session_has_twice_is_a_path_once(tmp_path, monkeypatch):
    async def same(client, lun, standard=None):
        return await identity_of(client, bytes(8))

    async def test(bench, ways, notices):
        monkeypatch.setattr(ASKED, same)
        await log_in(bench, PORTS[0])
        (device,) = await listed(bench)
        assert len(device.paths) == 1

    with_paths(tmp_path, test)


def test_what_is_no_disk_is_not_served(tmp_path):
    async def test(bench, ways, notices):
        (session,) = await log_in(bench, PORTS[0])
        tape = replace(session.devices[1], type="Tape", number=None, interface_name="iscsi#tape")
        session.devices.append(tape)
        assert await bench.refused(api.Attach(device="iscsi#tape")) == UNSUPPORTED

    with_paths(tmp_path, test)


# Policies.


def test_policies_are_set_for_each_device(tmp_path):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        standby = (as_path(one, active=False), as_path(other))
        await bench.ask(api.SetDevicePolicy(device=DISK, policy=1, paths=standby, failback=False))
        assert await statuses(bench) == ["standby", "active"]
        assert await statuses(bench, 1) == ["active", "active"]
        first, second = await listed(bench)
        assert (first.policy, first.failback, second.policy, second.failback) == (1, False, 2, True)
        weights = (as_path(one, weight=1), as_path(other, weight=7))
        await bench.ask(api.SetDevicePolicy(device="PhysicalDrive1", policy=4, paths=weights))
        assert await statuses(bench, 1) == ["active", "standby"]
        assert [path.weight for path in (await listed(bench))[1].paths] == [1, 7]
        await bench.ask(api.SetDevicePolicy(device=DISK, failback=True))
        assert ((await listed(bench))[0].policy, (await listed(bench))[0].failback) == (1, True)

    with_paths(tmp_path, test)


@pytest.mark.parametrize(
    ("policy", "shape", "status"),
    [
        (5, "", StatusCode.LB_POLICY_NOT_SUPPORTED),
        (6, "", StatusCode.INVALID_LOAD_BALANCE_POLICY),
        (2, "aa", StatusCode.DUPLICATE_PATH_SPECIFIED),
        (2, "a", StatusCode.PATH_COUNT_MISMATCH),
        (2, "ax", StatusCode.INVALID_PATH_ID),
        (1, "ab", StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED),
        (1, "AB", StatusCode.NO_PRIMARY_PATH_SPECIFIED),
        (3, "AB", StatusCode.NO_PRIMARY_PATH_SPECIFIED),
    ],
)
def test_policies_that_are_refused_change_nothing(tmp_path, policy, shape, status):
    """shape: a and b are the sessions, in capitals standbys; x is a stranger."""

    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        names = {"a": one.session_id, "b": other.session_id, "x": "1-2"}
        given = tuple(api.DevicePath(session_id=names[each.lower()], active=each.islower()) for each in shape)
        before = await listed(bench)
        request = api.SetDevicePolicy(device=DISK, policy=policy, paths=given, failback=False)
        assert await bench.refused(request) == status
        assert await listed(bench) == before

    with_paths(tmp_path, test)


def test_what_cannot_be_asked_for(tmp_path):
    for make, status in (
        (
            lambda: api.SetDevicePolicy(device=DISK, paths=(api.DevicePath(session_id="1-2"),)),
            StatusCode.INVALID_PARAMETER,
        ),
        (lambda: api.DevicePath(session_id="none"), StatusCode.INVALID_PATH_ID),
        (lambda: api.DevicePath(session_id="1-2", weight=1 << 32), StatusCode.INVALID_PARAMETER),
        (lambda: api.Attach(device=DISK, export="x" * 256), StatusCode.INVALID_PARAMETER),
        (lambda: api.Attach(device=""), StatusCode.INVALID_PARAMETER),
    ):
        with pytest.raises(Refused) as refused:
            make()
        assert refused.value.status == status

    async def test(bench, ways, notices):
        for request in (api.SetDevicePolicy(device=DISK, policy=2), api.Attach(device=DISK), api.Detach(device=DISK)):
            assert await bench.refused(request) == StatusCode.INVALID_PARAMETER

    with_paths(tmp_path, test)


# Both kinds of multipath.


def test_a_session_of_several_paths_has_one_connection(tmp_path):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        for session in (one, other):
            assert await bench.refused(api.AddConnection(session_id=session.session_id)) == UNSUPPORTED
        await bench.ask(api.LogoutTarget(session_id=other.session_id))
        await bench.ask(api.AddConnection(session_id=one.session_id, portal=Portal(address="127.0.0.1", port=PORTS[1])))
        assert len(one.connections()) == 2

    with_paths(tmp_path, test)


def test_a_session_of_several_connections_is_the_only_path(tmp_path):
    async def test(bench, ways, notices):
        (session,) = await log_in(bench, PORTS[0])
        await bench.ask(api.AddConnection(session_id=session.session_id))
        portal = Portal(address="127.0.0.1", port=PORTS[1])
        login = api.LoginTarget(target_name=PLAIN, portal=portal, options=MULTIPATH)
        assert await bench.refused(login) == UNSUPPORTED
        assert list(bench.core.sessions.values()) == [session], "the session that was refused is logged out"
        assert [len(each.paths) for each in await listed(bench)] == [1, 1]
        await bench.ask(api.LoginTarget(target_name=PLAIN, portal=portal, options=MULTIPATH, report_to_pnp=False))

    with_paths(tmp_path, test)


def test_a_connection_of_several_that_is_lost_is_the_sessions_own_business(tmp_path):
    async def test(bench, ways, notices):
        (session,) = await log_in(bench, PORTS[0])
        for port in PORTS[1:3]:
            portal = Portal(address="127.0.0.1", port=port)
            await bench.ask(api.AddConnection(session_id=session.session_id, portal=portal))
        disk = await Disk.of(known(bench).device, 65536)
        ways.cut(PORTS[1])
        await passed(1)
        assert await statuses(bench) == ["active"]
        await disk.write(0, memoryview(b"m" * 4096))
        for port in PORTS:
            ways.cut(port)
        await passed(1)
        assert await statuses(bench) == ["failed"]
        assert len(notices) == 2
        for port in PORTS:
            ways.mend(port)
        back = bytearray(4096)
        await disk.read_into(0, memoryview(back))
        assert back == b"m" * 4096
        assert await statuses(bench) == ["active"]

    with_paths(tmp_path, test)


# Failures.


async def worked(disk, seconds, seed=5):
    """Write and read back for a while, so that each path has its part; every byte is as it was written."""
    dice, model = random.Random(seed), bytearray(SIZE)
    for _ in range(int(seconds * 20)):
        at = 512 * dice.randrange(SIZE // 512)
        data = dice.randbytes(512)
        await disk.write(at, memoryview(data))
        model[at : at + 512] = data
        await passed(0.05)
    back = bytearray(SIZE)
    await disk.read_into(0, memoryview(back))
    assert back == model


@pytest.mark.parametrize(
    ("policy", "failback", "during", "after"),
    [
        (LoadBalance.ROUND_ROBIN, True, ["active"], ["active", "active"]),
        (LoadBalance.FAIL_OVER_ONLY, True, ["active"], ["active", "standby"]),
        (LoadBalance.FAIL_OVER_ONLY, False, ["active"], ["standby", "active"]),
    ],
)
def test_requests_go_over_another_path_and_come_back(tmp_path, policy, failback, during, after):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        await bench.ask(api.SetDevicePolicy(device=DISK, policy=policy, failback=failback))
        disk = await Disk.of(known(bench).device, 65536)
        work = asyncio.create_task(worked(disk, 30))
        await passed(3)
        ways.cut(PORTS[0])
        await passed(1)
        assert (await statuses(bench))[0] == "failed"
        await passed(HOLD + 1)
        assert [path.session_id for path in (await listed(bench))[0].paths] == [other.session_id], (
            "a failed path is removed"
        )
        assert await statuses(bench) == during
        ways.mend(PORTS[0])
        await passed(5)
        assert await statuses(bench) == after
        await work
        identifier = (await listed(bench))[0].identifier
        told = [line for line in notices if line.startswith(identifier)]
        said = f"{identifier}: session {one.session_id}: the path is"
        assert told == [f"{said} down", f"{said} up"]

    with_paths(tmp_path, test)


def test_requests_wait_for_a_path_and_fail_behind_pdo_remove_period(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        disk = await Disk.of(known(bench).device, 65536)
        ways.cut(PORTS[0])
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(RequestFailed):
            await disk.write(0, memoryview(bytes(512)))
        assert loop.time() - began == pytest.approx(HOLD + 7, abs=1)
        assert (await listed(bench))[0].removed
        identifier = (await listed(bench))[0].identifier
        assert f"{identifier}: the device is gone: no path came back in time" in notices
        ways.mend(PORTS[0])
        await passed(3)
        await disk.write(0, memoryview(bytes(512)))
        assert not (await listed(bench))[0].removed

    with_paths(tmp_path, test, state=State(settings=StoredSettings(mpio={"PDORemovePeriod": 7})))


def test_link_down_time_holds_requests_once_there_are_two_sessions(tmp_path):
    """The first session was made without the flag, which counts for logins alone."""

    async def test(bench, ways, notices):
        (one,) = await log_in(bench, PORTS[0], options=api.LoginOptions())
        assert not one.client.engine.session(1).options.multipath
        await log_in(bench, PORTS[1])
        await bench.ask(api.SetDevicePolicy(device=DISK, policy=1))
        disk = await Disk.of(known(bench).device, 65536)
        loop = asyncio.get_running_loop()
        for link in bench.connector.links:
            if link.remote.port == PORTS[0]:
                link.swallow()
        writing = asyncio.create_task(disk.write(0, memoryview(bytes(512))))
        await passed(0.5)
        began = loop.time()
        ways.cut(PORTS[0])
        await writing
        assert loop.time() - began == pytest.approx(HOLD, abs=1)

    with_paths(tmp_path, test)


def test_paths_are_verified_where_the_settings_say_so(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, *PORTS[:2])
        for link in bench.connector.links:
            if link.remote.port == PORTS[0]:
                link.swallow()
        debugged: list[str] = []
        bench.core.teller.add(WARNING, lambda message: debugged.append(message.text))
        await passed(600)
        assert [line for line in debugged if ": the path is " in line] == notices
        (session, *_) = bench.core.sessions
        told = [line.partition(": ")[2] for line in notices]
        assert told == [f"session {session}: the path is down"] * 2 + [f"session {session}: the path is up"] * 2

    settings = StoredSettings(mpio={"PathVerifyEnabled": 1, "PathVerificationPeriod": 10})
    with_paths(tmp_path, test, state=State(settings=settings))


def test_a_session_that_ends_by_itself_leaves_its_devices(tmp_path):
    async def test(bench, ways, notices):
        _, other = await log_in(bench, *PORTS[:2])
        ways.cut(PORTS[0])
        await passed(30)
        assert [len(each.paths) for each in await listed(bench)] == [1, 1]
        assert list(bench.core.sessions.values()) == [other]
        ways.mend(PORTS[0])
        (third,) = await log_in(bench, PORTS[0])
        assert [path.session_id for path in (await listed(bench))[0].paths] == [other.session_id, third.session_id]

    with_paths(tmp_path, test, settings=replace(SETTINGS, max_connection_retries=2))


# Reservations.


def reserving(**mpio):
    values: dict[str, SettingValue] = {"UsePersistentReservation": 1, "PersistentReservationKey": KEY}
    return State(settings=StoredSettings(reservation=values, mpio=mpio))


async def registered(bench):
    cdb = opcodes.READ_KEYS.build(allocation_length=256)
    return parse_keys(await known(bench).device.command(cdb, data_in=256))[1]


def test_the_key_is_registered_on_every_path_also_a_later_one(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, *PORTS[:2])
        await passed(1)
        assert await registered(bench) == [int(KEY, 16)] * 2
        await log_in(bench, PORTS[2])
        await passed(1)
        assert await registered(bench) == [int(KEY, 16)] * 3
        ways.cut(PORTS[0])
        await passed(HOLD + 1)
        ways.mend(PORTS[0])
        await passed(5)
        assert await registered(bench) == [int(KEY, 16)] * 3
        assert await statuses(bench) == ["active"] * 3
        assert not (await listed(bench))[0].preempted

    with_paths(tmp_path, test, state=reserving())


def test_no_key_is_registered_unless_it_is_to_be_used(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        assert await registered(bench) == []

    values: dict[str, SettingValue] = {"UsePersistentReservation": 0, "PersistentReservationKey": KEY}
    with_paths(tmp_path, test, state=State(settings=StoredSettings(reservation=values)))


def test_a_key_that_is_missing_is_told_where_it_is_asked_for(tmp_path):
    head = "REGEDIT4\n\n[HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Services\\MSiSCDSM\\PersistentReservation]\n"
    with pytest.raises(ValueError, match="all zeros"):
        with_paths(
            tmp_path,
            lambda *_: None,
            state=State(settings=StoredSettings(reservation={"UsePersistentReservation": 1})),
        )

    async def test(bench, ways, notices):
        use, key = '"UsePersistentReservation"=dword:1\n', '"PersistentReservationKey"=hex:aa,bb,cc,cc,bb,aa,00,01\n'
        for text, status in (
            (use, StatusCode.INVALID_PARAMETER),
            (use + key, StatusCode.OPERATION_REQUIRES_REBOOT),
        ):
            request = api.ImportSettings(data=(head + text).encode())
            if status.is_warning:
                assert (await bench.ask(request)).status == status
            else:
                assert await bench.refused(request) == status

    with_paths(tmp_path / "other", test)


# Served devices.


def mode(path):
    return stat.S_IMODE(Path(path).stat().st_mode)


def test_a_device_is_served_and_its_clients_keep_its_sessions(tmp_path):
    async def test(bench, ways, notices):
        one, other = await log_in(bench, *PORTS[:2])
        entry = (await bench.ask(api.Attach(device=DISK))).attached
        assert (entry.device, entry.legacy_name, entry.export, entry.size) == (DISK, "PhysicalDrive0", "0", SIZE)
        assert (entry.block_size, entry.read_only, entry.clients) == (512, False, 0)
        assert Path(entry.socket) == tmp_path / "n" / "disk0"
        assert (mode(entry.socket), mode(tmp_path / "n")) == (0o600, 0o700)
        client = await NbdClient.at(entry.socket, "0")
        assert client.size == SIZE
        await client.write(512, b"w" * 1024)
        assert await client.read(0, 2048) == bytes(512) + b"w" * 1024 + bytes(512)
        (shown,) = (await bench.ask(api.ListAttached())).devices
        assert shown.clients == 1
        assert (await listed(bench))[0].open_by == ("NBD client of PhysicalDrive0",)
        for session in (one, other):
            assert await bench.refused(api.LogoutTarget(session_id=session.session_id)) == BUSY
        assert await bench.refused(api.StopService()) == BUSY
        assert await bench.refused(api.Detach(device=DISK)) == BUSY
        told = [each.inserts for each in bench.logged() if each.record.id == 116]
        assert told[:2] == [(DISK, each.session_id, "NBD client of PhysicalDrive0") for each in (one, other)]
        (third,) = await log_in(bench, PORTS[2])
        assert await bench.refused(api.LogoutTarget(session_id=third.session_id)) == BUSY, "it is a path as well"
        await client.close()
        await passed(0.1)
        assert not bench.core.handles.any
        for session in (one, other, third):
            await bench.ask(api.LogoutTarget(session_id=session.session_id))
        await bench.ask(api.Detach(device=DISK))
        assert (await bench.ask(api.ListAttached())).devices == ()
        assert await listed(bench) == ()
        assert not (tmp_path / "n" / "disk0").exists()

    with_paths(tmp_path, test)


def test_a_detach_that_is_forced_answers_what_is_under_way(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        entry = (await bench.ask(api.Attach(device="PhysicalDrive1", export="data"))).attached
        assert (entry.device, entry.export) == (SECOND_DISK, "data")
        client = await NbdClient.at(entry.socket)
        await client.write(0, b"x" * 512)
        await bench.ask(api.Detach(device=SECOND_DISK, force=True))
        assert await client.closed()
        await client.close()
        assert not bench.core.handles.any
        again = (await bench.ask(api.Attach(device=SECOND_DISK, read_only=True))).attached
        assert again.read_only
        client = await NbdClient.at(again.socket)
        assert await client.read(0, 512) == b"x" * 512
        assert (await client.ask(Command.WRITE, 0, 512, bytes(512)))[0] == Errno.EPERM
        await client.close()

    with_paths(tmp_path, test)


def test_a_served_device_outlives_its_paths_and_has_its_clients_keep_what_comes(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        entry = (await bench.ask(api.Attach(device=DISK))).attached
        client = await NbdClient.at(entry.socket)
        await client.write(0, b"k" * 512)
        ways.cut(PORTS[0])
        await passed(12)
        assert bench.core.sessions == {}, "it was tried twice"
        assert not bench.core.handles.any
        (device,) = await listed(bench)
        assert (device.paths, device.open_by) == ((), ("NBD client of PhysicalDrive0",))
        ways.mend(PORTS[0])
        (other,) = await log_in(bench, PORTS[1])
        assert [each.number for each in other.devices] == [0, 1], "it is the same disk"
        assert await client.read(0, 512) == b"k" * 512
        assert await bench.refused(api.LogoutTarget(session_id=other.session_id)) == BUSY
        await client.close()

    with_paths(tmp_path, test, settings=replace(SETTINGS, max_connection_retries=2))


def test_a_number_that_a_served_device_has_is_taken(tmp_path):
    async def test(bench, ways, notices):
        (one,) = await log_in(bench, PORTS[0])
        await bench.ask(api.Attach(device=DISK))
        await bench.ask(api.LogoutTarget(session_id=one.session_id))
        key = next(iter(bench.core.paths.known))
        del bench.core.paths.known[key]
        bench.core.paths.known[replace(key, target_name="another")] = bench.core.attachments.all[0].known
        (other,) = await log_in(bench, PORTS[0])
        assert [each.number for each in other.devices] == [1, 2]

    with_paths(tmp_path, test)


MOUNTS = "30 24 43:0 / /mnt/disk rw shared:1 - xfs /dev/nbd0 rw\n"


def unreadable():
    raise OSError("no such file")


def test_a_volume_on_a_block_device_that_serves_a_device_is_one_of_iscsi(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        bench.core.is_device = lambda path: path == "/dev/nbd0"
        add = api.AddPersistentDevice(path="/mnt/disk")
        assert await bench.refused(add) == StatusCode.VOLUME_NOT_ISCSI
        for request in (
            api.Attach(device=DISK, block_device="/dev/sda"),
            api.Attach(device="PhysicalDrive7"),
        ):
            assert await bench.refused(request) == StatusCode.INVALID_PARAMETER
        entry = (await bench.ask(api.Attach(device=SECOND_DISK, block_device="/dev/nbd0"))).attached
        assert entry.block_device == "/dev/nbd0"
        await bench.ask(add)
        (bound,) = (await bench.ask(api.ReportPersistentDevices())).devices
        assert bound.interface_name == SECOND_DISK
        (session,) = (await bench.ask(api.SessionList())).sessions
        assert [each.volume_paths for each in session.devices] == [(), ("/mnt/disk",)]
        bench.core.mounts = unreadable
        (session,) = (await bench.ask(api.SessionList())).sessions
        assert [each.volume_paths for each in session.devices] == [(), ()]
        again = api.Attach(device=DISK, block_device="/dev/nbd0")
        assert await bench.refused(again) == StatusCode.INVALID_PARAMETER
        assert await bench.refused(api.Attach(device=SECOND_DISK)) == StatusCode.INVALID_PARAMETER
        await bench.ask(api.Detach(device=SECOND_DISK))
        assert bench.core.attached == {}
        await bench.ask(again)

    with_paths(tmp_path, test, mounts=lambda: MOUNTS)


def test_where_no_socket_can_be(tmp_path, monkeypatch):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        folder = tmp_path / "n"
        attach = api.Attach(device=DISK)
        folder.write_text("")
        assert await bench.refused(attach) == StatusCode.NON_SPECIFIC_ERROR
        folder.unlink()
        folder.symlink_to(tmp_path)
        assert await bench.refused(attach) == StatusCode.NON_SPECIFIC_ERROR
        folder.unlink()
        folder.mkdir(mode=0o755)
        await bench.ask(attach)
        assert mode(folder) == 0o700
        ways.cut(PORTS[0])
        await passed(60)
        assert await bench.refused(api.Attach(device=SECOND_DISK)) == StatusCode.TRANSPORT_ERROR

    with_paths(tmp_path, test)


def test_a_service_without_a_folder_serves_nothing(tmp_path):
    async def test(bench, ways, notices):
        await log_in(bench, PORTS[0])
        assert await bench.refused(api.Attach(device=DISK)) == UNSUPPORTED

    with_paths(tmp_path, test, exports=None)


def test_a_session_that_is_over_is_no_path(tmp_path):
    async def test(bench, ways, notices):
        (session,) = await log_in(bench, PORTS[0])
        key = next(iter(bench.core.paths.known))
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        bench.core.paths.join(session, session.devices[0], key)
        assert await listed(bench) == ()

    with_paths(tmp_path, test)


# At random.


@pytest.mark.parametrize("seed", range(3))
def test_whatever_becomes_of_sessions_and_policies_no_byte_is_lost(tmp_path, seed):
    """Ways break and return, sessions come and go, policies change; one way at least is always there, or soon again."""

    async def test(bench, ways, notices):
        dice = random.Random(seed)
        await log_in(bench, *PORTS[:3])
        disk = await Disk.of(known(bench).device, 65536)
        work = asyncio.gather(*(worked_at(disk, number, 40, seed) for number in range(4)))

        def breaks():
            port = dice.choice(PORTS)
            if port in ways.closed:
                ways.mend(port)
            elif len(ways.closed) < 2:
                ways.cut(port)

        async def comes():
            if len(bench.core.sessions) < 5:
                port = dice.choice([each for each in PORTS if each not in ways.closed])
                await log_in(bench, port)

        async def goes():
            if len(bench.core.sessions) > 2:
                await bench.ask(api.LogoutTarget(session_id=dice.choice(list(bench.core.sessions))))

        async def changes():
            policy = dice.choice([1, 2, 3, 4])
            await bench.ask(api.SetDevicePolicy(device=DISK, policy=policy, failback=dice.random() < 0.5))

        while not work.done():
            action = dice.choice([breaks, comes, goes, changes])
            if action is breaks:
                breaks()
            else:
                await action()
            await passed(dice.choice([0.0, 0.1, 1.0, 7.0]))
        await work
        for port in PORTS:
            ways.mend(port)
        await passed(10)
        (device, _) = await listed(bench)
        assert len(device.paths) == len(bench.core.sessions)
        assert "failed" not in await statuses(bench)

    with_paths(tmp_path, test)


async def worked_at(disk, number, seconds, seed):
    """Write and read back blocks of one's own for a while."""
    dice = random.Random(seed * 10 + number)
    loop = asyncio.get_running_loop()
    ends = loop.time() + seconds
    while loop.time() < ends:
        at = 512 * (4 * dice.randrange(SIZE // 2048) + number)
        data = dice.randbytes(512)
        await disk.write(at, memoryview(data))
        back = bytearray(512)
        await disk.read_into(at, memoryview(back))
        assert back == data
        await passed(0.1)


def test_persistent_logins_make_the_same_devices_again(tmp_path):
    """All at once, as the start makes them."""

    async def test(bench, ways, notices):
        start = Start(bench.core)
        await start.run()
        start.stop()
        devices = await listed(bench)
        assert [(each.device, each.legacy_name) for each in devices] == [
            (DISK, "PhysicalDrive0"),
            (SECOND_DISK, "PhysicalDrive1"),
        ]
        assert [[path.status for path in each.paths] for each in devices] == [["active"] * 4] * 2

    options = LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
    logins = tuple(
        PersistentLogin(
            target_name=PLAIN, number=number, portal=Portal(address="127.0.0.1", port=port), options=options
        )
        for number, port in enumerate(PORTS)
    )
    with_paths(tmp_path, test, state=State(persistent_logins=logins))
