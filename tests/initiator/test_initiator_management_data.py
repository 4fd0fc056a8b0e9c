"""What management classes tell of a service that runs: held against its sessions and against what crossed the wire."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.initiator.service_bench import HOST, QUICK, with_service

from iscsi_conformance.bundled import CHAP, DENIED, MUTUAL, PLAIN
from iscsi_conformance.clock import passed
from iscsi_initiator.discovery.instance import Group
from iscsi_initiator.service import api
from iscsi_initiator.service.management.shapes import (
    given_options,
    given_portal,
    ip_address,
    shown_groups,
    shown_mappings,
    shown_options,
)
from iscsi_initiator.service.management.table import CLASSES
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import AuthType, LoginFlag, LoginOptions, LunMapping, Portal
from iscsi_initiator.transport import TappedConnector
from iscsi_protocol.history import PduRecord
from iscsi_protocol.stream import Direction

SOFTWARE = "ROOT\\ISCSIPRT\\0000_0"
SECRET = b"one-way-secret-1"
GIVEN = api.LoginOptions(auth_type=1, user_name="tester", password=SECRET)
MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
SECOND = Portal(address="127.0.0.1", port=3262)


async def rows(bench, name, **where):
    return (await bench.ask(api.Query(class_name=name, where=where))).instances


async def row(bench, name, **where):
    (found,) = await rows(bench, name, **where)
    return found


def half(text: str) -> int:
    """The second half of a session's or connection's id."""
    return int(text.partition("-")[2], 16)


def test_the_initiator(tmp_path):
    async def test(bench):
        found = await row(bench, "MSiSCSI_HBAInformation")
        assert (found["InstanceName"], found["NumberOfPorts"], found["MaxCDBLength"]) == (SOFTWARE, 2, 260)
        assert found["UniqueAdapterId"] == bench.core.adapter_id(SOFTWARE)
        config = await row(bench, "MSiSCSI_HBASessionConfig")
        assert config["MaxBurstLength"] == QUICK.max_burst_length
        assert config["FirstBurstLength"] == QUICK.first_burst_length
        ports = await row(bench, "MSiSCSI_PortalInfoClass")
        assert ports["PortalInfoCount"] == 2
        assert [each["IPAddr"]["TextAddress"] for each in ports["PortalInformation"]] == ["192.0.2.5", "2001:db8::5"]
        assert [each["IPAddr"]["Type"] for each in ports["PortalInformation"]] == [1, 2]
        assert (await row(bench, "MSiSCSIInitiator_InitiatorClass")) == {"InitiatorName": SOFTWARE}
        assert (await row(bench, "MSiSCSIInitiator_MethodClass")) == {"iSCSINodeName": bench.core.node_name}

    with_service(tmp_path, test, addresses=("192.0.2.5", "2001:db8::5"))


def test_sessions_and_connections(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        added = (await bench.ask(api.AddConnection(session_id=session.session_id, portal=SECOND))).connection_id
        (entry,) = (await bench.ask(api.SessionList())).sessions
        found = await row(bench, "MSiSCSI_InitiatorSessionInfo")
        assert found["SessionCount"] == 1
        static = found["SessionsList"][0]
        assert f"{found['UniqueAdapterId']:x}-{static['UniqueSessionId']:x}" == entry.session_id
        assert (static["TargetiSCSIName"], static["ISID"], static["TSID"]) == (PLAIN, entry.isid, entry.tsih)
        assert static["ErrorRecoveryLevel"] == session.client.parameters.error_recovery_level
        assert [each["UniqueConnectionId"] for each in static["ConnectionsList"]] == [
            half(each.connection_id) for each in entry.connections
        ]
        assert [each["RemotePort"] for each in static["ConnectionsList"]] == [3260, 3262]
        assert [each["State"] for each in static["ConnectionsList"]] == [1, 1]
        shown = await row(bench, "MSiSCSIInitiator_SessionClass")
        assert [each["ConnectionId"] for each in shown["ConnectionInformation"]] == [
            each.connection_id for each in entry.connections
        ]
        assert added == shown["ConnectionInformation"][1]["ConnectionId"]
        assert [each["LegacyName"] for each in shown["Devices"]] == ["PhysicalDrive0", "PhysicalDrive1"]

    with_service(tmp_path, test)


def test_sessions_that_are_being_tried_again(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.log_in()
        bench.connector.links[-1].cut()
        await passed(0.01)
        static = (await row(bench, "MSiSCSI_InitiatorSessionInfo"))["SessionsList"][0]
        assert [each["State"] for each in static["ConnectionsList"]] == [0]
        assert static["ConnectionsList"][0]["LocalAddr"]["Type"] == 3
        policy = (await row(bench, "MSiSCSI_QueryLBPolicy"))["LoadBalancePolicies"][0]
        assert [each["ConnectionStatus"] for each in policy["iSCSI_Paths"]] == [3]
        assert (await row(bench, "MSiSCSIInitiator_SessionClass"))["ConnectionInformation"] == []

    with_service(tmp_path, test)


def test_counters_are_those_of_the_wire(tmp_path):
    records: list[Any] = []

    async def test(bench):
        bench.core.connectors = lambda: TappedConnector(bench.connector, tap=records.append)
        await bench.discover()
        records.clear()
        session = await bench.log_in()
        await bench.ask(api.ReportLUNs(session_id=session.session_id))
        await bench.ask(api.AddConnection(session_id=session.session_id, portal=SECOND))
        await session.client.ping(b"one more")

        def crossed(direction):
            return [each.raw for each in records if isinstance(each, PduRecord) and each.direction is direction]

        found = await row(bench, "MSiSCSI_SessionStatistics")
        for direction, count, size in (
            (Direction.TO_TARGET, "PDUCommandsSent", "BytesSent"),
            (Direction.TO_INITIATOR, "PDUResponsesReceived", "BytesReceived"),
        ):
            assert found[count] == len(crossed(direction))
            assert found[size] == sum(len(raw.to_bytes()) for raw in crossed(direction))
        connections = await rows(bench, "MSiSCSI_ConnectionStatistics")
        assert [each["CID"] for each in connections] == [0, 1]
        assert sum(each["BytesSent"] for each in connections) == found["BytesSent"]
        assert {each["USID"] for each in connections} == {found["USID"]}
        assert found["USID"] == half(session.session_id)
        times = await rows(bench, "MSiSCSI_RequestTimeStatistics")
        assert [each["InstanceName"] for each in times] == [each["InstanceName"] for each in connections]

    with_service(tmp_path, test)


def test_request_times_are_microseconds(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        traffic = session.client.session.connections[0].traffic
        traffic.timed, traffic.time, traffic.longest = 4, 0.01, 0.004
        found = await row(bench, "MSiSCSI_RequestTimeStatistics")
        assert (found["AverageProcessingTime"], found["MaximumProcessingTime"]) == (2500, 4000)
        traffic.longest = 1e9
        assert (await row(bench, "MSiSCSI_RequestTimeStatistics"))["MaximumProcessingTime"] == 0xFFFFFFFF
        traffic.timed = 0
        assert (await row(bench, "MSiSCSI_RequestTimeStatistics"))["AverageProcessingTime"] == 0

    with_service(tmp_path, test)


def test_logins_of_an_instance(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.log_in()
        await bench.ask(api.AddTarget(target_name=DENIED, portal=HOST))
        assert await bench.refused(api.LoginTarget(target_name=DENIED)) == StatusCode.AUTHORIZATION_FAILURE
        assert await bench.refused(api.LoginTarget(target_name=CHAP)) == StatusCode.TARGET_AUTHINFO_UNAVAILABLE
        found = await row(bench, "MSiSCSI_InitiatorLoginStatistics")
        assert (found["LoginAcceptRsps"], found["LoginFailures"]) == (2, 2)
        assert (found["LoginOtherFailRsps"], found["LoginAuthFailRsps"]) == (1, 1)
        assert (found["LogoutNormals"], found["LogoutOtherCodes"]) == (1, 0)

    with_service(tmp_path, test)


def test_targets_and_where_they_come_from(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.ask(api.AddTarget(target_name=CHAP, options=GIVEN, target_alias="Disk"))
        mapped = LunMapping(target_lun=0, os_bus=0, os_target=3, os_lun=1)
        await bench.ask(
            api.PersistentLoginTarget(
                target_name=PLAIN, options=GIVEN, report_to_pnp=False, portal=SECOND, mappings=(mapped,)
            )
        )
        targets = await rows(bench, "MSiSCSIInitiator_TargetClass", TargetName=CHAP)
        assert [each["DiscoveryMechanism"] for each in targets] == ["SendTargets:127.0.0.1:3260", "Static"]
        assert targets[1]["TargetAlias"] == "Disk"
        options = targets[1]["LoginOptions"]
        assert (options["Username"], options["Password"], options["AuthType"]) == (b"tester", b"", 1)
        assert options["InformationSpecified"] == 0x20 | 0x40 | 0x80
        assert targets[0]["PortalGroups"][0]["Portals"][1]["Port"] == 3262
        portal = await row(bench, "MSiSCSIInitiator_SendTargetPortalClass", PortalPort="3260")
        assert portal["PortalAddress"] == "127.0.0.1"
        login = await row(bench, "MSiSCSIInitiator_PersistentLoginClass", TargetName=f"{PLAIN}#0")
        assert login["IsInformationalSession"] is True
        assert login["TargetPortal"]["Port"] == 3262
        assert login["Mappings"]["LUNList"] == [{"OSLunNumber": 1, "TargetLun": 0}]
        assert login["InitiatorPortNumber"] == 0xFFFFFFFF

    with_service(tmp_path, test)


def test_no_secret_is_told_by_any_class(tmp_path):
    """Whatever there is a secret for: of the call, the static target, the persistent login, the portal, the initiator."""

    async def test(bench):
        await bench.ask(api.AddTargetPortal(portal=Portal(address="127.0.0.1")))
        await bench.ask(api.AddTarget(target_name=CHAP, options=GIVEN))
        await bench.ask(api.PersistentLoginTarget(target_name=CHAP, options=GIVEN, key=b"an ipsec key 123"))
        await bench.ask(api.CHAPSecret(secret=b"mutual-secret-22"))
        mutual = msgspec.structs.replace(GIVEN, auth_type=2)
        await bench.log_in(MUTUAL, options=mutual)
        await bench.log_in(CHAP)
        told = msgspec.json.encode([await rows(bench, name) for name, each in CLASSES.items() if not each.is_event])
        told += (await bench.ask(api.Metrics())).text.encode()
        told += msgspec.json.encode(await bench.ask(api.ListClasses()))
        for secret in (SECRET, b"mutual-secret-22", b"an ipsec key 123"):
            assert secret not in told
            assert secret.hex().encode() not in told
            assert msgspec.json.encode(secret)[1:-1] not in told
        assert b"chap" in told

    with_service(tmp_path, test)


def test_redirects(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        assert (await row(bench, "MSiSCSI_Redirect_PortalInfoClass"))["SessionCount"] == 0
        connection = session.client.session.connections[0]
        connection.redirect = _redirect()
        found = await row(bench, "MSiSCSI_RedirectPortalInfoClass")
        (portal,) = found["RedirectSessionList"][0]["RedirectPortalList"]
        assert (portal["OriginalPort"], portal["RedirectedPort"], portal["TemporaryRedirect"]) == (3260, 3261, 1)
        assert portal["RedirectedIPAddr"]["TextAddress"] == "192.0.2.20"

    with_service(tmp_path, test)


def _redirect():
    from iscsi_initiator.connection import Redirect
    from iscsi_protocol.history import Endpoint

    return Redirect(Endpoint("192.0.2.10", 3260), Endpoint("192.0.2.20", 3261), temporary=True)


# What is asked for.


def test_instances_with_certain_values(tmp_path):
    async def test(bench):
        await bench.discover()
        one = await bench.log_in()
        await bench.log_in(options=MULTIPATH)
        name = "MSiSCSIInitiator_SessionClass"
        assert len(await rows(bench, name)) == 2
        assert (await row(bench, name, sessionid=one.session_id.upper()))["SessionId"] == one.session_id
        assert (await row(bench, name, ISID=one.isid.hex()))["SessionId"] == one.session_id
        assert len(await rows(bench, name, TargetName=PLAIN)) == 2
        assert await rows(bench, name, TargetName="iqn.2026-01.org.example:other") == ()
        assert len(await rows(bench, "MSiSCSI_SessionStatistics", DigestErrors="0x0", Active="T")) == 2

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "where", "status"),
    [
        ("MSiSCSI_Nothing", {}, StatusCode.REQUEST_NOT_SUPPORTED),
        ("MSiSCSI_InitiatorNodeFailureEvent", {}, StatusCode.REQUEST_NOT_SUPPORTED),
        ("MSiSCSI_HBAInformation", {"Colour": "red"}, StatusCode.INVALID_PARAMETER),
        ("MSiSCSI_HBAInformation", {"NumberOfPorts": "many"}, StatusCode.INVALID_PARAMETER),
        ("MSiSCSI_HBAInformation", {"GenerationalGuid": "xyz"}, StatusCode.INVALID_PARAMETER),
        ("MSiSCSIInitiator_SessionClass", {"Devices": "disk"}, StatusCode.INVALID_PARAMETER),
        ("MSiSCSIInitiator_TargetClass", {"LoginOptions": "x"}, StatusCode.INVALID_PARAMETER),
    ],
)
def test_what_cannot_be_asked(tmp_path, name, where, status):
    async def test(bench):
        assert await bench.refused(api.Query(class_name=name, where=where)) == status

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    "make",
    [
        lambda: api.Query(class_name=""),
        lambda: api.Query(class_name="C", where={f"N{number}": "" for number in range(65)}),
        lambda: api.Invoke(class_name="C", method="\n"),
        lambda: api.Watch(classes=("C",) * 65),
        lambda: api.Query(class_name="C", where={"\0": "x"}),
    ],
)
def test_requests_have_bounds(make):
    with pytest.raises(Refused) as refused:
        make()
    assert refused.value.status is StatusCode.INVALID_PARAMETER


def test_the_list_of_classes(tmp_path):
    async def test(bench):
        listed = await bench.ask(api.ListClasses())
        assert [each.name for each in listed.classes] == list(CLASSES)
        event = next(each for each in listed.classes if each.name == "MSiSCSI_Eventlog")
        assert event.event
        session = next(each for each in listed.classes if each.name == "MSiSCSIInitiator_SessionClass")
        assert [each.name for each in session.methods][:2] == ["Logout", "SendScsiInquiry"]
        names = {each.name for each in listed.structures}
        kinds = {"boolean", "string", "uint8", "uint16", "uint32", "uint64", "uint8[]"}
        types = {own.type for each in (*listed.classes, *listed.structures) for own in each.properties}
        assert {each if each in kinds else each.removesuffix("[]") for each in types} <= names | kinds

    with_service(tmp_path, test)


# Structures.


@pytest.mark.parametrize(
    ("address", "type_", "number", "octets", "scope"),
    [
        ("192.0.2.1", 1, 0xC0000201, bytes(16), 0),
        ("2001:db8::1", 2, 0, bytes.fromhex("20010db8000000000000000000000001"), 0),
        ("fe80::1%3", 2, 0, bytes.fromhex("fe800000000000000000000000000001"), 3),
        ("fe80::1%eth0", 2, 0, bytes.fromhex("fe800000000000000000000000000001"), 0),
        ("disks.example.org", 0, 0, bytes(16), 0),
        (None, 3, 0, bytes(16), 0),
    ],
)
def test_addresses(address, type_, number, octets, scope):
    found = ip_address(address)
    assert (found["Type"], found["IpV4Address"], found["IpV6Address"], found["IpV6ScopeId"]) == (
        type_,
        number,
        octets,
        scope,
    )
    assert found["TextAddress"] == (address or "")


def test_options_there_and_back():
    stored = LoginOptions(
        login_flags=2,
        header_digest=True,
        data_digest=False,
        maximum_connections=4,
        default_time2wait=0,
        default_time2retain=60,
        user_name="üser",
        auth_type=AuthType.CHAP,
    )
    shown = shown_options(stored)
    assert shown["InformationSpecified"] == 0xFF & ~0x40
    given = given_options(shown)
    assert (given.header_digest, given.data_digest, given.maximum_connections) == (True, False, 4)
    assert (given.default_time2wait, given.default_time2retain, given.user_name) == (0, 60, "üser")
    assert (given.login_flags, given.auth_type, given.password) == (2, 1, None)
    plain = given_options(shown_options(LoginOptions()))
    assert (plain.header_digest, plain.maximum_connections, plain.user_name, plain.auth_type) == (None, None, None, 0)


def test_options_that_cannot_be():
    for value, status in (
        ({"HeaderDigest": 2}, StatusCode.LOGIN_USER_INFO_BAD),
        ({"Username": b"\xff"}, StatusCode.INVALID_PARAMETER),
        ({"MaximumConnections": 0}, StatusCode.LOGIN_USER_INFO_BAD),
    ):
        with pytest.raises(Refused) as refused:
            given_options(value)
        assert refused.value.status is status


def test_portals():
    assert given_portal(None) is None
    assert given_portal({"Address": "192.0.2.1"}) == Portal(address="192.0.2.1", port=3260)
    with pytest.raises(Refused):
        given_portal({"Address": "192.0.2.1", "Port": 0})
    assert shown_groups([Group(None, (SECOND,))])[0]["Portals"][0]["Port"] == 3262
    assert shown_mappings((), None, PLAIN) is None
