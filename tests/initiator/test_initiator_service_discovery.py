"""Operations of discovery against the bundled target."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.initiator.service_bench import DEAD, HOST, with_service

from iscsi_conformance.bundled import CHAP, DENIED, PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import Portal, TargetFlag
from iscsi_protocol.fault import Drop, Fault, Part, Replace, Silence, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

HAND = "iqn.2026-01.org.example:by-hand"


def told(data):
    """A fault that puts other text into the answer to SendTargets."""
    return Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.TEXT_RESPONSE), what=(Replace(Part.DATA, data),)
    )


def test_a_portal_is_asked_and_kept(tmp_path):
    async def test(bench):
        await bench.discover()
        names = (await bench.ask(api.ListTargets())).targets
        assert PLAIN in names
        assert CHAP in names
        assert await bench.refused(api.AddTargetPortal(portal=HOST)) == StatusCode.TARGET_PORTAL_ALREADY_EXISTS
        (entry,) = (await bench.ask(api.ListTargetPortals())).portals
        assert entry.portal == HOST
        found = await bench.ask(api.TargetInfo(target_name=PLAIN))
        assert found.discovery_mechanisms == ("SendTargets:127.0.0.1:3260",)
        info = await bench.ask(api.TargetInfo(target_name=PLAIN, discovery_mechanism="sendtargets:127.0.0.1:3260"))
        assert [group.tag for group in info.target.portal_groups] == [1, 2]
        assert (
            await bench.refused(api.TargetInfo(target_name=PLAIN, discovery_mechanism="iSNS:192.0.2.1"))
            == StatusCode.DISCOVERY_MECHANISM_NOT_FOUND
        )
        assert await bench.refused(api.TargetInfo(target_name=HAND)) == StatusCode.TARGET_NOT_FOUND
        assert bench.events() == []

    with_service(tmp_path, test)


def test_a_portal_that_is_added_twice_at_the_same_time(tmp_path):
    async def test(bench):
        asked = api.AddTargetPortal(portal=HOST)
        answers = await asyncio.gather(bench.ask(asked), bench.ask(asked), return_exceptions=True)
        assert [type(each).__name__ for each in answers] == ["Answer", "Refused"]
        assert len((await bench.ask(api.ListTargetPortals())).portals) == 1

    with_service(tmp_path, test)


def test_a_portal_that_is_removed_leaves_its_targets_and_a_refresh_keeps_no_portal(tmp_path):
    async def test(bench):
        assert await bench.refused(api.RemoveTargetPortal(portal=HOST)) == StatusCode.PORTAL_NOT_FOUND
        await bench.ask(api.RefreshTargetPortal(portal=HOST))
        assert (await bench.ask(api.ListTargetPortals())).portals == ()
        await bench.discover()
        await bench.ask(api.RefreshTargetPortal(portal=HOST))
        await bench.ask(api.RemoveTargetPortal(portal=HOST))
        assert (await bench.ask(api.ListTargetPortals())).portals == ()
        assert PLAIN in (await bench.ask(api.ListTargets())).targets

    with_service(tmp_path, test)


def test_refreshing_and_removing_change_nothing_else(tmp_path):
    """A refresh writes nothing; what is removed goes alone, and every target stays known."""

    async def test(bench):
        core, other = bench.core, msgspec.structs.replace(HOST, port=HOST.port + 1)
        await bench.discover()
        await bench.ask(api.AddTarget(target_name="iqn.2026-01.org.example:by-hand"))
        await bench.ask(api.PersistentLoginTarget(target_name=PLAIN))
        await bench.ask(api.CHAPSecret(secret=b"a secret of many bytes"))
        core.change(isns_servers=("isns.example",))
        file, names = core.store.path, (await bench.ask(api.ListTargets())).targets
        written = file.read_bytes()
        await bench.ask(api.RefreshTargetPortal(portal=HOST))
        await bench.ask(api.RefreshTargetPortal(portal=other))
        await bench.refused(api.RefreshiSNSServer(server="127.0.0.1"))
        assert file.read_bytes() == written
        before = core.store.state
        await bench.ask(api.RemoveTargetPortal(portal=HOST))
        assert core.store.state == msgspec.structs.replace(before, target_portals=())
        await bench.ask(api.RemoveiSNSServer(server="ISNS.example"))
        assert core.store.state == msgspec.structs.replace(before, target_portals=(), isns_servers=())
        assert (await bench.ask(api.ListTargets())).targets == names

    with_service(tmp_path, test, virtual=False, isns_port=1)


def test_a_portal_that_does_not_answer_is_not_kept(tmp_path):
    async def test(bench):
        assert await bench.refused(api.AddTargetPortal(portal=DEAD)) == StatusCode.CONNECTION_FAILED
        assert (await bench.ask(api.ListTargetPortals())).portals == ()
        (event,) = [each for each in bench.logged() if each.source == "MSiSCSI"]
        assert (event.record.id, event.inserts[1]) == (113, "192.0.2.99:3260")

    with_service(tmp_path, test)


def test_a_portal_by_a_name_that_does_not_resolve(tmp_path):
    async def nowhere(name):
        raise OSError(-2, "Name or service not known")

    async def empty(name):
        return []

    async def test(bench):
        request = api.AddTargetPortal(portal=Portal(address="storage.example.org"))
        assert await bench.refused(request) == StatusCode.DNS_NAME_UNRESOLVED
        bench.core.resolver = empty
        assert await bench.refused(request) == StatusCode.DNS_NAME_UNRESOLVED
        assert bench.events() == [113, 113]

    with_service(tmp_path, test, resolver=nowhere)


def test_a_portal_by_its_name(tmp_path):
    async def here(name):
        assert name == "storage.example.org"
        return ["127.0.0.1"]

    async def test(bench):
        await bench.ask(api.AddTargetPortal(portal=Portal(address="storage.example.org")))
        assert PLAIN in (await bench.ask(api.ListTargets())).targets

    with_service(tmp_path, test, resolver=here)


@pytest.mark.parametrize(
    "text",
    [
        b"TargetAddress=192.0.2.1:3260,1\0TargetName=iqn.2026-01.org.example:x\0",
        b"TargetName=iqn.2026-01.org.example:\xff\xfe\0TargetAddress\0",
        b"TargetName=iqn.2026-01.org.example:x\0TargetAddress=:::\0",
    ],
)
def test_an_answer_that_cannot_be_read(tmp_path, text):
    async def test(bench):
        assert await bench.refused(api.AddTargetPortal(portal=HOST)) == StatusCode.INVALID_SENDTARGETS_TEXT
        assert bench.events() == [114]

    with_service(tmp_path, test, faults=[told(text)])


def test_invalid_names_are_dropped(tmp_path):
    text = b"TargetName=no name\0TargetName=iqn.2026-01.org.example:x\0TargetName=iqn." + b"a" * 240 + b"\0"

    async def test(bench):
        await bench.discover()
        assert (await bench.ask(api.ListTargets())).targets == ("iqn.2026-01.org.example:x",)
        assert bench.events() == [114, 114]

    with_service(tmp_path, test, faults=[told(text)])


@pytest.mark.parametrize("what", [Silence(), Drop()])
def test_a_portal_that_says_nothing(tmp_path, what):
    fault = Fault(when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.TEXT_RESPONSE), what=(what,))

    async def test(bench):
        assert await bench.refused(api.AddTargetPortal(portal=HOST)) == StatusCode.TRANSPORT_ERROR
        assert bench.events() == [113]
        assert 46 in bench.events("iScsiPrt")

    with_service(tmp_path, test, faults=[fault])


def test_a_refresh_of_all_is_a_warning_where_some_fail_and_an_error_where_all_do(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.ask(api.AddTarget(target_name=HAND))
        assert (await bench.ask(api.ListTargets(update=True))).status == 0
        bench.connector.portal.endpoints.clear()
        answer = await bench.ask(api.ListTargets(update=True))
        assert answer.status == StatusCode.OPERATION_NOT_ALL_SUCCESS
        assert "1 of 2 failed" in answer.message
        assert {PLAIN, HAND} <= set(answer.targets)
        await bench.ask(api.RemoveTarget(target_name=HAND))
        assert await bench.refused(api.ListTargets(update=True)) == StatusCode.CONNECTION_FAILED

    with_service(tmp_path, test)


def test_targets_by_hand(tmp_path):
    hidden = TargetFlag.HIDE_STATIC_TARGET

    async def test(bench):
        await bench.ask(api.AddTarget(target_name=HAND, target_alias="one", portal=HOST))
        assert await bench.refused(api.AddTarget(target_name=HAND)) == StatusCode.TARGET_ALREADY_EXISTS
        merge = TargetFlag.MERGE_TARGET_INFORMATION
        options = api.LoginOptions(auth_type=1, password=b"a secret of some length")
        await bench.ask(api.AddTarget(target_name=HAND, target_flags=merge, options=options))
        target = (await bench.ask(api.TargetInfo(target_name=HAND, discovery_mechanism="Static"))).target
        assert (target.target_alias, target.portal_groups[0].portals) == ("one", (HOST,))
        assert (target.password_stored, target.options.auth_type, target.options.password) == (True, 1, None)
        await bench.ask(api.RemoveTarget(target_name=HAND))
        assert await bench.refused(api.RemoveTarget(target_name=HAND)) == StatusCode.TARGET_NOT_FOUND
        await bench.ask(api.AddTarget(target_name=PLAIN, target_flags=hidden))
        assert (await bench.ask(api.ListTargets())).targets == ()
        assert await bench.refused(api.LoginTarget(target_name=PLAIN)) == StatusCode.TARGET_NOT_FOUND
        await bench.discover()
        found = await bench.ask(api.TargetInfo(target_name=PLAIN))
        assert found.discovery_mechanisms == ("SendTargets:127.0.0.1:3260", "Static")
        assert DENIED not in found.discovery_mechanisms

    with_service(tmp_path, test)
