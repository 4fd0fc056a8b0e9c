"""Operations on sessions against the bundled target: logins, connections, SCSI commands, devices, policies."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.initiator.service_bench import DEAD, HOST, QUICK, with_service

from iscsi_conformance.bundled import CHAP, MUTUAL, PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_initiator.service import api
from iscsi_initiator.service.live import FULL_DELAY
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LoginFlag, LunMapping, Portal, SecurityFlag
from iscsi_protocol.fault import Drop, Fault, Set, Silence, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.scsi.inquiry import StandardInquiry
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.stream import Direction

MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
GIVEN = api.LoginOptions(auth_type=1, user_name="tester", password=b"one-way-secret-1")
SECOND = Portal(address="127.0.0.1", port=3262)
LUN_1 = 1 << 48


def answers(opcode, *what, nth=1, times=1, cid=None):
    return Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=opcode, nth=nth, times=times, cid=cid), what=tuple(what)
    )


def mapping(lun=0, bus=0, target=0, os_lun=0):
    return LunMapping(target_lun=lun, os_bus=bus, os_target=target, os_lun=os_lun)


def test_a_session_from_login_to_logout(tmp_path):
    async def test(bench):
        await bench.discover()
        answer = await bench.ask(api.LoginTarget(target_name=PLAIN))
        (entry,) = (await bench.ask(api.SessionList())).sessions
        assert (entry.session_id, entry.target_name, entry.tsih > 0) == (answer.session_id, PLAIN, True)
        assert entry.initiator_node_name == "iqn.1991-05.com.microsoft:bench.example.org"
        assert entry.initiator == "ROOT\\ISCSIPRT\\0000_0"
        (connection,) = entry.connections
        assert (connection.connection_id, connection.cid) == (answer.connection_id, 0)
        assert connection.target_portal == HOST
        assert connection.initiator_portal.address == "127.0.0.1"
        assert [device.legacy_name for device in entry.devices] == ["PhysicalDrive0", "PhysicalDrive1"]
        assert [device.lun for device in entry.devices] == [0, LUN_1]
        data = (await bench.ask(api.ScsiInquiry(session_id=entry.session_id, lun=0))).data
        assert StandardInquiry.parse(data).peripheral_device_type == 0
        pages = await bench.ask(api.ScsiInquiry(session_id=entry.session_id, lun=0, evpd_cmddt=1, length=64))
        assert pages.data[1] == 0
        capacity = await bench.ask(api.ReadCapacity(session_id=entry.session_id, lun=LUN_1))
        assert (capacity.last_block, capacity.block_length) == (1023, 4096)
        assert (await bench.ask(api.ReportLUNs(session_id=entry.session_id))).luns == (0, LUN_1)
        await bench.ask(api.LogoutTarget(session_id=entry.session_id))
        assert (await bench.ask(api.SessionList())).sessions == ()
        assert await bench.refused(api.LogoutTarget(session_id=entry.session_id)) == StatusCode.INVALID_SESSION_ID
        for kind in (api.ReportLUNs,):
            assert await bench.refused(kind(session_id="1-2")) == StatusCode.INVALID_SESSION_ID
        assert bench.logged() == []

    with_service(tmp_path, test)


def test_one_session_unless_multipath(tmp_path):
    async def test(bench):
        await bench.discover()
        first = await bench.log_in()
        assert await bench.refused(api.LoginTarget(target_name=PLAIN)) == StatusCode.TARGET_ALREADY_LOGGED_IN
        second = await bench.log_in(options=MULTIPATH)
        assert first.isid != second.isid
        mapped = (await bench.ask(api.ReportTargetMappings())).sessions
        assert [each.mappings[0].os_target for each in mapped] == [0, 1]
        assert [each.scsi_device for each in mapped] == ["scsi0", "scsi0"]
        numbers = [device.number for session in (first, second) for device in session.devices]
        assert numbers == [0, 1, 0, 1], "both lead to the same two disks"

    with_service(tmp_path, test)


def test_a_login_that_is_being_made_counts(tmp_path):
    async def test(bench):
        await bench.discover()
        one, other = await asyncio.gather(
            bench.ask(api.LoginTarget(target_name=PLAIN)),
            bench.refused(api.LoginTarget(target_name=PLAIN)),
        )
        assert one.status == 0
        assert other == StatusCode.TARGET_ALREADY_LOGGED_IN

    with_service(tmp_path, test)


def test_logins_at_the_same_time_have_isids_of_their_own(tmp_path):
    async def test(bench):
        await bench.discover()
        asked = api.LoginTarget(target_name=PLAIN, options=MULTIPATH)
        await asyncio.gather(*(bench.ask(asked) for _ in range(3)))
        sessions = (await bench.ask(api.SessionList())).sessions
        assert len({each.isid for each in sessions}) == 3
        assert all(each.connections for each in sessions)
        assert len(bench.core.sessions) == 3
        assert bench.events("iScsiPrt") == []

    with_service(tmp_path, test)


def test_mappings_of_logins_at_the_same_time(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.ask(api.AddTarget(target_name=CHAP, options=GIVEN))
        where = (mapping(target=3),)
        one, other = await asyncio.gather(
            bench.ask(api.LoginTarget(target_name=PLAIN, mappings=where)),
            bench.refused(api.LoginTarget(target_name=CHAP, mappings=where)),
        )
        assert one.status == 0
        assert other == StatusCode.TARGET_MAPPING_EXISTS
        assert list(bench.core.sessions) == [one.session_id]

    with_service(tmp_path, test)


def test_chap_with_the_secret_of_the_call_of_the_static_target_and_without_any(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(CHAP, options=GIVEN)
        await bench.ask(api.LogoutTarget(session_id=session.session_id))
        asked = api.LoginOptions(auth_type=1, user_name="tester")
        request = api.LoginTarget(target_name=CHAP, options=asked)
        assert await bench.refused(request) == StatusCode.TARGET_AUTHINFO_UNAVAILABLE
        assert await bench.refused(api.LoginTarget(target_name=CHAP)) == StatusCode.TARGET_AUTHINFO_UNAVAILABLE
        assert bench.events("iScsiPrt") == [40]
        await bench.ask(api.AddTarget(target_name=CHAP, options=GIVEN))
        assert (await bench.log_in(CHAP)).options.authentication.user_name == "tester"
        wrong = api.LoginOptions(
            login_flags=LoginFlag.MULTIPATH_ENABLED, auth_type=1, user_name="tester", password=b"wrong-secret-11"
        )
        request = api.LoginTarget(target_name=CHAP, options=wrong)
        assert await bench.refused(request) == StatusCode.AUTHENTICATION_FAILURE

    with_service(tmp_path, test)


def test_mutual_chap(tmp_path):
    both = api.LoginOptions(auth_type=2, user_name="tester", password=b"one-way-secret-1")

    async def test(bench):
        await bench.discover()
        request = api.LoginTarget(target_name=MUTUAL, options=both)
        assert await bench.refused(request) == StatusCode.INVALID_INITIATOR_CHAP_SECRET
        assert (await bench.ask(api.CHAPSecret(secret=b"short"))).status == StatusCode.SHORT_CHAP_SECRET
        assert await bench.refused(request) == StatusCode.INVALID_INITIATOR_CHAP_SECRET
        assert bench.events("iScsiPrt") == [36, 36]
        assert (await bench.ask(api.CHAPSecret(secret=b"not-that-of-the-target"))).status == 0
        assert await bench.refused(request) == StatusCode.AUTHENTICATION_FAILURE
        await bench.ask(api.CHAPSecret(secret=b"mutual-secret-22"))
        session = await bench.log_in(MUTUAL, options=both)
        assert session.client.connections == (0,)
        short = api.LoginOptions(auth_type=1, user_name="tester", password=b"short", login_flags=2)
        request = api.LoginTarget(target_name=MUTUAL, options=short)
        assert await bench.refused(request) == StatusCode.INVALID_TARGET_CHAP_SECRET

    with_service(tmp_path, test)


def test_what_a_login_is_refused_for_here(tmp_path):
    async def test(bench):
        login = api.LoginTarget
        assert await bench.refused(login(target_name=PLAIN)) == StatusCode.TARGET_NOT_FOUND
        await bench.ask(api.AddTarget(target_name=PLAIN))
        assert await bench.refused(login(target_name=PLAIN)) == StatusCode.NO_PORTAL_SPECIFIED
        assert await bench.refused(login(target_name=PLAIN, portal=DEAD)) == StatusCode.CONNECTION_FAILED
        assert (
            await bench.refused(login(target_name=PLAIN, portal=HOST, initiator="nobody"))
            == StatusCode.INITIATOR_INSTANCE_NOT_FOUND
        )
        assert (
            await bench.refused(login(target_name=PLAIN, portal=HOST, initiator="iqn.2026-01.org.example:else"))
            == StatusCode.INITIATOR_NODE_NOT_FOUND
        )
        assert (
            await bench.refused(login(target_name=PLAIN, portal=HOST, initiator_port=3))
            == StatusCode.INVALID_PORT_NUMBER
        )
        for asked in (
            login(target_name=PLAIN, portal=HOST, security_flags=SecurityFlag.IPSEC_ENABLED),
            login(target_name=PLAIN, portal=HOST, options=api.LoginOptions(login_flags=LoginFlag.REQUIRE_IPSEC)),
        ):
            assert await bench.refused(asked) == StatusCode.IPSEC_NOT_SUPPORTED_ON_OS
        assert bench.events() == [105, 117, 117]
        session = await bench.log_in(portal=HOST, initiator=bench.core.node_name, initiator_port=0)
        assert session.initiator == "ROOT\\ISCSIPRT\\0000_0"

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    ("addresses", "portal", "status"),
    [
        (("127.0.0.1",), Portal(address="::1"), StatusCode.ADDRESS_TYPE_NOT_SUPPORTED),
        (("::1",), HOST, StatusCode.ADDRESS_TYPE_NOT_SUPPORTED),
        (("127.0.0.1", "::1"), HOST, None),
    ],
)
def test_addresses_of_the_initiator(tmp_path, addresses, portal, status):
    async def test(bench):
        await bench.ask(api.AddTarget(target_name=PLAIN))
        if status is None:
            assert (await bench.log_in(portal=portal)).client.connections == (0,)
            asked = api.LoginTarget(target_name=PLAIN, portal=portal, initiator_port=1, options=MULTIPATH)
            assert await bench.refused(asked) == StatusCode.ADDRESS_TYPE_NOT_SUPPORTED
        else:
            assert await bench.refused(api.LoginTarget(target_name=PLAIN, portal=portal)) == status

    with_service(tmp_path, test, addresses=addresses)


def test_the_next_portal_is_tried_where_one_does_not_answer(tmp_path):
    async def test(bench):
        await bench.discover()
        del bench.connector.portal.endpoints[0]
        session = await bench.log_in()
        assert session.portal.port == 3262

    with_service(tmp_path, test)


def test_options_reach_the_login(tmp_path):
    options = api.LoginOptions(
        header_digest=True, data_digest=True, maximum_connections=2, default_time2wait=1, default_time2retain=7
    )

    async def test(bench):
        await bench.discover()
        agreed = (await bench.log_in(options=options)).client.parameters
        assert (agreed.header_digest, agreed.data_digest, agreed.max_connections) == (True, True, 2)
        assert (agreed.default_time2wait, agreed.default_time2retain) == (1, 7)

    with_service(tmp_path, test)


def test_mappings(tmp_path):
    async def test(bench):
        await bench.discover()
        login = api.LoginTarget
        assert (
            await bench.refused(login(target_name=PLAIN, mappings=(mapping(bus=8),)))
            == StatusCode.TARGET_MAPPING_OUT_OF_RANGE
        )
        assert (
            await bench.refused(login(target_name=PLAIN, mappings=(mapping(os_lun=256),)))
            == StatusCode.TARGET_MAPPING_OUT_OF_RANGE
        )
        assert (
            await bench.refused(login(target_name=PLAIN, mappings=(mapping(target=255),)))
            == StatusCode.INVALID_TARGET_ID
        )
        missing = (mapping(lun=9 << 48),)
        assert await bench.refused(login(target_name=PLAIN, mappings=missing)) == StatusCode.TARGET_MAPPING_UNAVAILABLE
        assert bench.core.sessions == {}
        wanted = (mapping(lun=LUN_1, target=4, os_lun=5),)
        session = await bench.log_in(mappings=wanted)
        assert session.mappings == wanted
        assert [device.mapping for device in session.devices] == list(wanted)
        asked = login(target_name=PLAIN, mappings=(mapping(target=4, os_lun=5),), options=MULTIPATH)
        assert await bench.refused(asked) == StatusCode.TARGET_MAPPING_EXISTS
        await bench.ask(api.AddTarget(target_name=CHAP, options=GIVEN, mappings=(mapping(target=7),)))
        assert (await bench.log_in(CHAP)).mappings == (mapping(target=7),)

    with_service(tmp_path, test)


def test_a_session_that_is_not_reported_takes_management_commands_alone(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        (entry,) = (await bench.ask(api.SessionList())).sessions
        assert (entry.reported_to_pnp, entry.devices) == (False, ())
        assert (await bench.ask(api.ReportLUNs(session_id=session.session_id))).luns == (0, LUN_1)
        with pytest.raises(Refused) as refused:
            bench.core.open_device(session.session_id, 0, "qemu")
        assert refused.value.status == StatusCode.REQUEST_NOT_SUPPORTED

    with_service(tmp_path, test)


def test_a_device_that_is_open_keeps_its_session(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        device = bench.core.open_device(session.session_id, LUN_1, "qemu")
        assert device is session.devices[1]
        logout = api.LogoutTarget(session_id=session.session_id)
        assert await bench.refused(logout) == StatusCode.DEVICE_BUSY_ON_SESSION
        assert await bench.refused(api.StopService()) == StatusCode.DEVICE_BUSY_ON_SESSION
        told = [each.inserts for each in bench.logged() if each.record.id == 116]
        assert told == [(device.interface_name, session.session_id, "qemu")] * 2
        with pytest.raises(Refused) as refused:
            bench.core.open_device(session.session_id, 5 << 48, "qemu")
        assert refused.value.status == StatusCode.INVALID_PARAMETER
        bench.core.handles.close(session.session_id, device.interface_name, "qemu")
        assert not bench.core.handles.any
        await bench.ask(logout)

    with_service(tmp_path, test)


# Connections.


def test_connections_come_and_go(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        there = {"session_id": session.session_id}
        lone = session.connection_id(0)
        assert (
            await bench.refused(api.RemoveConnection(**there, connection_id=lone))
            == StatusCode.CANT_REMOVE_LAST_CONNECTION
        )
        added = (await bench.ask(api.AddConnection(**there, portal=SECOND))).connection_id
        assert [each.connection_id for each in session.connections()] == [lone, added]
        assert session.connections()[1].target_portal == SECOND
        assert (
            await bench.refused(api.RemoveConnection(**there, connection_id=lone))
            == StatusCode.CANNOT_REMOVE_LEADING_CONNECTION
        )
        assert (
            await bench.refused(api.RemoveConnection(**there, connection_id="1-2")) == StatusCode.INVALID_CONNECTION_ID
        )
        first, second = await asyncio.gather(
            bench.ask(api.RemoveConnection(**there, connection_id=added)),
            bench.refused(api.RemoveConnection(**there, connection_id=added)),
        )
        assert first.status == 0
        assert second == StatusCode.REMOVE_CONNECTION_IN_PROGRESS
        assert await bench.refused(api.AddConnection(**there, portal=DEAD)) == StatusCode.PORTAL_NOT_FOUND
        for _ in range(3):
            await bench.ask(api.AddConnection(**there))
        assert await bench.refused(api.AddConnection(**there)) == StatusCode.TOO_MANY_CONNECTIONS

    with_service(tmp_path, test)


def test_a_connection_logs_in_as_its_session_did(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(CHAP, options=GIVEN)
        there = {"session_id": session.session_id}
        await bench.ask(api.AddConnection(**there, options=GIVEN, initiator=session.initiator))
        for options in (
            api.LoginOptions(header_digest=True),
            api.LoginOptions(maximum_connections=9),
            api.LoginOptions(auth_type=2),
            api.LoginOptions(auth_type=1, user_name="tester", password=b"one-way-secret-2"),
        ):
            asked = api.AddConnection(**there, options=options)
            assert await bench.refused(asked) == StatusCode.REQUEST_NOT_SUPPORTED
        asked = api.AddConnection(**there, initiator_port=0)
        assert await bench.refused(asked) == StatusCode.REQUEST_NOT_SUPPORTED
        asked = api.AddConnection(**there, security_flags=SecurityFlag.IPSEC_ENABLED)
        assert await bench.refused(asked) == StatusCode.REQUEST_NOT_SUPPORTED

    with_service(tmp_path, test)


def test_an_added_connection_that_is_refused(tmp_path):
    refusal = answers(Opcode.LOGIN_RESPONSE, Set("status_class", 2), Set("status_detail", 8), cid=1)

    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        asked = api.AddConnection(session_id=session.session_id)
        assert await bench.refused(asked) == StatusCode.CANT_INCLUDE_IN_SESSION

    with_service(tmp_path, test, faults=[refusal])


# Policies.


def test_policies_of_connections(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        await bench.ask(api.AddConnection(session_id=session.session_id))
        one, two = (each.connection_id for each in session.connections())

        def policy(number, *paths):
            settings = tuple(api.PathSetting(connection_id=name, active=active) for name, active in paths)
            return api.SetLoadBalancePolicy(session_id=session.session_id, policy=number, paths=settings)

        for number in (1, 2, 3, 4, 5):
            assert (await bench.ask(policy(number, (one, True), (two, False)))).status == 0
        assert (await bench.ask(policy(2))).status == 0
        for asked, status in (
            (policy(6), StatusCode.INVALID_LOAD_BALANCE_POLICY),
            (policy(2, (one, True), (one, True)), StatusCode.DUPLICATE_PATH_SPECIFIED),
            (policy(2, (one, True)), StatusCode.PATH_COUNT_MISMATCH),
            (policy(2, (one, True), ("1-2", True)), StatusCode.INVALID_PATH_ID),
            (policy(1, (one, True), (two, True)), StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED),
            (policy(1, (one, False), (two, False)), StatusCode.NO_PRIMARY_PATH_SPECIFIED),
        ):
            assert await bench.refused(asked) == status
        await bench.ask(policy(1, (one, False), (two, True)))
        asked = api.RemoveConnection(session_id=session.session_id, connection_id=two)
        assert await bench.refused(asked) == StatusCode.CANNOT_REMOVE_ACTIVE_CONNECTION

    with_service(tmp_path, test)


# SCSI.


def test_a_check_condition_is_told_with_its_sense(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        with pytest.raises(api.RequestFailed) as failed:
            await bench.ask(api.ScsiInquiry(session_id=session.session_id, lun=0, evpd_cmddt=1, page_code=0xEE))
        failure = failed.value.failure
        assert (failure.status, failure.scsi_status) == (StatusCode.SCSI_REQUEST_FAILED, Status.CHECK_CONDITION)
        assert failure.sense[2] & 0xF == 5

    with_service(tmp_path, test)


def test_one_request_at_a_time(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        asked = api.ReportLUNs(session_id=session.session_id)
        one, other = await asyncio.gather(bench.ask(asked), bench.refused(asked))
        assert one.luns
        assert other == StatusCode.SESSION_BUSY

    with_service(tmp_path, test)


def test_a_full_task_set_is_outlasted_or_told(tmp_path):
    full = Set("status", Status.TASK_SET_FULL)

    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        loop = asyncio.get_running_loop()
        began = loop.time()
        asked = api.ReadCapacity(session_id=session.session_id, lun=0)
        assert await bench.refused(asked) == StatusCode.TARGET_OUT_OF_RESORCES
        assert loop.time() - began == pytest.approx(3 * FULL_DELAY)
        assert (await bench.ask(asked)).block_length == 512

    config = bundled_config()
    plain = msgspec.structs.replace(config.targets[0], phase_collapse=False)
    config = msgspec.structs.replace(config, targets=[plain])
    with_service(tmp_path, test, target=config, faults=[answers(Opcode.SCSI_RESPONSE, full, times=4)])


def test_a_connection_that_is_lost_in_the_middle(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        asked = api.ReportLUNs(session_id=session.session_id)
        task = asyncio.ensure_future(bench.refused(asked))
        await passed(1)
        bench.connector.portal.endpoints.clear()
        bench.connector.links[-1].cut()
        assert await task == StatusCode.TRANSPORT_ERROR
        (entry,) = (await bench.ask(api.SessionList())).sessions
        assert entry.connections == ()
        assert await bench.refused(asked) == StatusCode.TRANSPORT_ERROR

    with_service(tmp_path, test, faults=[answers(Opcode.SCSI_DATA_IN, Silence())])


def test_a_send_that_fails(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        bench.connector.links[-1].fail_send()
        asked = api.ReportLUNs(session_id=session.session_id)
        assert await bench.refused(asked) == StatusCode.SEND_FAILED
        assert 7 in bench.events("iScsiPrt")

    with_service(tmp_path, test)


def test_a_command_without_an_answer(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in(report_to_pnp=False)
        asked = api.ReportLUNs(session_id=session.session_id)
        assert await bench.refused(asked) == StatusCode.TRANSPORT_ERROR
        assert 47 in bench.events("iScsiPrt")

    with_service(tmp_path, test, faults=[answers(Opcode.SCSI_DATA_IN, Drop())])


def test_a_target_that_ends_a_session_for_good_takes_it_off_the_list(tmp_path):
    settings = QUICK.__class__(portal_retry_count=0, max_connection_retries=1, delay_between_reconnect=1)

    async def test(bench):
        await bench.discover()
        await bench.log_in()
        bench.connector.portal.endpoints.clear()
        bench.connector.links[-1].cut()
        await passed(60)
        assert bench.core.sessions == {}

    with_service(tmp_path, test, settings=settings)
