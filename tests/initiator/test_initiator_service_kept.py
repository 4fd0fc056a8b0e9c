"""Operations on what the store keeps: persistent logins, secrets, the node, what the start waits for."""

from __future__ import annotations

import pytest
from tests.initiator.service_bench import CLAIMS, HOST, with_service

from iscsi_conformance.bundled import PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.service.api.wire import OPERATIONS
from iscsi_initiator.service.claim import NodeClaim
from iscsi_initiator.service.operations import STREAMS, TABLE
from iscsi_initiator.service.volumes import Volume, host_mounts, volumes
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import DeviceKind, Portal

OTHER = Portal(address="192.0.2.7")
SOFTWARE = "ROOT\\ISCSIPRT\\0000_0"
DISK = f"iscsi#{PLAIN}#{0:016x}"


def test_every_operation_of_the_api_is_done():
    assert set(TABLE) | set(STREAMS) == set(OPERATIONS)
    assert not set(TABLE) & set(STREAMS)


def test_persistent_logins_have_numbers_and_are_not_made_now(tmp_path):
    secret = api.LoginOptions(auth_type=1, password=b"one-way-secret-1")

    async def test(bench):
        await bench.discover()
        for options in (secret, api.LoginOptions()):
            await bench.ask(api.PersistentLoginTarget(target_name=PLAIN, options=options, key=b"key"))
        await bench.ask(api.PersistentLoginTarget(target_name=PLAIN, portal=HOST, initiator=SOFTWARE))
        assert bench.core.sessions == {}
        logins = (await bench.ask(api.ListPersistentTargets())).logins
        assert [each.name for each in logins] == [f"{PLAIN}#{number}" for number in range(3)]
        assert [each.password_stored for each in logins] == [True, False, False]
        assert logins[0].options.password is None
        await bench.ask(api.RemovePersistentTarget(target_name=f"{PLAIN}#1"))
        await bench.ask(api.PersistentLoginTarget(target_name=PLAIN))
        logins = (await bench.ask(api.ListPersistentTargets())).logins
        assert sorted(each.name[-2:] for each in logins) == ["#0", "#1", "#2"]
        await bench.ask(api.RemovePersistentTarget(target_name=PLAIN, initiator=SOFTWARE.lower(), portal=HOST))
        assert len((await bench.ask(api.ListPersistentTargets())).logins) == 2
        await bench.ask(api.RemovePersistentTarget(target_name=PLAIN))
        assert (await bench.ask(api.ListPersistentTargets())).logins == ()

    with_service(tmp_path, test)


def test_what_persistent_logins_are_refused_for(tmp_path):
    async def test(bench):
        login, removal = api.PersistentLoginTarget, api.RemovePersistentTarget
        asked = login(target_name=PLAIN, initiator="nobody")
        assert await bench.refused(asked) == StatusCode.INITIATOR_INSTANCE_NOT_FOUND
        assert await bench.refused(removal(target_name=PLAIN)) == StatusCode.TARGET_NOT_FOUND
        await bench.ask(login(target_name=PLAIN, portal=HOST))
        assert await bench.refused(removal(target_name=PLAIN, portal=OTHER)) == StatusCode.PORTAL_NOT_FOUND
        assert await bench.refused(removal(target_name=f"{PLAIN}#9")) == StatusCode.TARGET_NOT_FOUND
        assert await bench.refused(removal(target_name=PLAIN, initiator="nobody")) == StatusCode.INITIATOR_NOT_FOUND

    with_service(tmp_path, test)


def test_a_store_that_cannot_be_written(tmp_path):
    async def test(bench):
        await bench.ask(api.PersistentLoginTarget(target_name=PLAIN, portal=HOST))
        bench.core.store.close()
        asked = api.PersistentLoginTarget(target_name=PLAIN)
        assert await bench.refused(asked) == StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA
        removal = api.RemovePersistentTarget(target_name=PLAIN)
        assert await bench.refused(removal) == StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA
        assert len((await bench.ask(api.ListPersistentTargets())).logins) == 1

    with_service(tmp_path, test)


def test_a_key_that_others_may_read_seals_nothing(tmp_path):
    async def test(bench):
        key = tmp_path / "store" / "key"
        key.write_text("iscsi-initiator key 1\n" + "0" * 64 + "\n")
        key.chmod(0o644)
        asked = api.CHAPSecret(secret=b"a secret of some length")
        assert await bench.refused(asked) == StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA
        login = api.LoginTarget(target_name=PLAIN, options=api.LoginOptions(auth_type=1, password=b"x" * 16))
        await bench.ask(api.AddTarget(target_name=PLAIN, portal=HOST))
        assert await bench.refused(login) == StatusCode.CACHE_CORRUPTED

    with_service(tmp_path, test)


def test_the_initiators_secret(tmp_path):
    async def test(bench):
        short = await bench.ask(api.CHAPSecret(secret=b"eleven byte"))
        assert short.status == StatusCode.SHORT_CHAP_SECRET
        assert bench.core.store.state.secrets.initiator is not None
        assert (await bench.ask(api.CHAPSecret(secret=b"twelve bytes"))).status == 0
        await bench.ask(api.CHAPSecret(secret=None))
        assert bench.core.store.state.secrets.initiator is None
        assert b"twelve bytes" not in (tmp_path / "store" / "store.json").read_bytes()

    with_service(tmp_path, test)


def test_the_node_follows_its_host_until_it_is_fixed(tmp_path):
    mine = "iqn.2026-01.org.example:mine"

    async def test(bench):
        assert bench.core.node_name == "iqn.1991-05.com.microsoft:bench.example.org"
        answer = await bench.ask(api.NodeName(node_name="IQN.2026-01.org.example:Mine"))
        assert (answer.node_name, answer.fixed) == (mine, True)
        await bench.discover()
        session = await bench.log_in()
        name = "iqn.2026-01.org.example:other"
        asked = api.NodeName(node_name=name)
        assert await bench.refused(asked) == StatusCode.CONNECTION_ALREADY_EXISTS
        assert (await bench.ask(api.NodeName(node_name=mine))).node_name == mine
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        other = NodeClaim(CLAIMS)
        assert other.take(name)
        try:
            assert await bench.refused(asked) == StatusCode.INITIATOR_NODE_ALREADY_EXISTS
        finally:
            other.release()
        assert (await bench.ask(asked)).node_name == asked.node_name
        assert not other.take(name)
        answer = await bench.ask(api.NodeName(node_name=None))
        assert (answer.node_name, answer.fixed) == ("iqn.1991-05.com.microsoft:bench.example.org", False)

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    "name", ["no name", "iqn.2026-01.org.example:" + "a" * 220, "iqn.2026-01.org.example:\U00010330"]
)
def test_a_node_name_that_is_none(tmp_path, name):
    async def test(bench):
        with pytest.raises(Refused) as refused:
            await bench.ask(api.NodeName(node_name=name))
        assert refused.value.status == StatusCode.INVALID_ISCSI_NAME

    with_service(tmp_path, test)


def test_the_service_tells_about_itself(tmp_path):
    async def test(bench):
        wanted = []
        bench.core.stop_wanted = lambda: wanted.append(True)
        assert (await bench.ask(api.ListInitiators())).initiators == (SOFTWARE,)
        names = [each.name for each in (await bench.ask(api.VersionInfo())).files]
        assert "iscsi_initiator" in names
        state = await bench.ask(api.ServiceStatus())
        assert (state.state, state.node_name, state.sessions, state.message) == (
            "starting",
            bench.core.node_name,
            0,
            "",
        )
        await bench.ask(api.StopService())
        assert wanted == [True]
        assert (await bench.ask(api.ServiceStatus())).state == "stopping"
        assert await bench.refused(api.FirewallExemptiSNSServer()) == StatusCode.REQUEST_NOT_SUPPORTED

    with_service(tmp_path, test)


# What the start waits for.

MOUNTS = (
    "24 1 0:22 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "30 24 43:0 / /mnt/with\\040space rw shared:1 - xfs /dev/nbd0 rw\n"
    "31 24 43:1 / /mnt/local rw - xfs /dev/sdb rw\n"
    "nonsense\n"
)


def test_mounts_are_read():
    assert volumes(MOUNTS) == [
        Volume("/", "/dev/sda1"),
        Volume("/mnt/with space", "/dev/nbd0"),
        Volume("/mnt/local", "/dev/sdb"),
    ]
    assert "/" in {each.mount_point for each in volumes(host_mounts())}


def test_devices_and_volumes_are_bound(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.log_in()
        add, remove = api.AddPersistentDevice, api.RemovePersistentDevice
        await bench.ask(add(path=DISK))
        assert await bench.refused(add(path=DISK)) == StatusCode.VOLUME_ALREADY_PERSISTENTLY_BOUND
        assert await bench.refused(add(path="/mnt/nothing")) == StatusCode.VOLUME_NOT_FOUND
        assert await bench.refused(add(path="/mnt/local")) == StatusCode.VOLUME_NOT_ISCSI
        assert await bench.refused(add(path="/mnt/with space")) == StatusCode.VOLUME_NOT_ISCSI
        bench.core.is_device = lambda path: path == "/dev/sdb"
        assert await bench.refused(add(path="/dev/sdb")) == StatusCode.VOLUME_NOT_ISCSI
        bench.core.attached["/dev/nbd0"] = DISK
        await bench.ask(add(path="/mnt/with space"))
        bound = (await bench.ask(api.ReportPersistentDevices())).devices
        assert [(each.path, each.kind, each.interface_name, each.mounted_at) for each in bound] == [
            (DISK, DeviceKind.DEVICE, DISK, ""),
            ("/mnt/with space", DeviceKind.VOLUME, DISK, "/mnt/with space"),
        ]
        await bench.ask(remove(path=DISK))
        assert await bench.refused(remove(path=DISK)) == StatusCode.VOLUME_NOT_FOUND
        bound = (await bench.ask(api.BindPersistentDevices())).devices
        assert [each.path for each in bound] == [DISK, f"iscsi#{PLAIN}#{1 << 48:016x}"]
        await bench.ask(api.ClearPersistentDevices())
        assert (await bench.ask(api.ReportPersistentDevices())).devices == ()
        assert not type(bench.core).is_device(bench.core, "/")

    with_service(tmp_path, test, mounts=lambda: MOUNTS)


def test_mounts_that_cannot_be_read(tmp_path):
    def unreadable():
        raise PermissionError(13, "Permission denied")

    async def test(bench):
        asked = api.AddPersistentDevice(path="/mnt/disk")
        assert await bench.refused(asked) == StatusCode.VOLUME_NOT_FOUND

    with_service(tmp_path, test, mounts=unreadable)
