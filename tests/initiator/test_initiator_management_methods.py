"""Methods of management classes: each is an operation of the API, with its status codes."""

from __future__ import annotations

from base64 import b64encode

import pytest
from tests.initiator.service_bench import HOST, with_service

from iscsi_conformance.bundled import CHAP, PLAIN
from iscsi_initiator.multipath import LoadBalance
from iscsi_initiator.service import api
from iscsi_initiator.service.management.schema import ManagementClass, Method, taken
from iscsi_initiator.service.management.table import CLASSES
from iscsi_initiator.service.operations import management
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LunMapping, Portal, Secrets

SESSION = {"SessionId": "1f-4000013700000001"}
ADAPTER = {"UniqueAdapterId": 0x1F}
NODE = {"iSCSINodeName": "iqn.2026-01.org.example:here"}
SECOND = Portal(address="127.0.0.1", port=3262)
OPTIONS = {
    "AuthType": 1,
    "Username": b64encode(b"tester").decode(),
    "Password": b64encode(b"one-way-secret-1").decode(),
}
GIVEN = api.LoginOptions(auth_type=1, user_name="tester", password=b"one-way-secret-1")
KEY = b64encode(b"an ipsec key").decode()


def paths(*cids, weight=0):
    return [
        {"UniqueConnectionId": 1 << 16 | cid, "PathWeight": weight + cid, "PrimaryPath": int(not cid)} for cid in cids
    ]


REQUESTS = [
    ("MSiSCSIInitiator_TargetClass", "Login", {"TargetName": PLAIN}, {}, api.LoginTarget(target_name=PLAIN)),
    (
        "MSiSCSIInitiator_TargetClass",
        "Login",
        {"TargetName": PLAIN},
        {
            "IsInformationalSession": True,
            "InitiatorName": "ROOT",
            "InitiatorPortNumber": 1,
            "TargetPortal": {"Address": "192.0.2.10", "Port": 3261},
            "Mappings": {"OSBusNumber": 1, "OSTargetNumber": 2, "LUNList": [{"TargetLun": 1 << 48, "OSLunNumber": 3}]},
            "SecurityFlags": 3,
            "LoginOptions": OPTIONS,
            "Key": KEY,
        },
        api.LoginTarget(
            target_name=PLAIN,
            report_to_pnp=False,
            initiator="ROOT",
            initiator_port=1,
            portal=Portal(address="192.0.2.10", port=3261),
            mappings=(LunMapping(target_lun=1 << 48, os_bus=1, os_target=2, os_lun=3),),
            security_flags=3,
            options=GIVEN,
            key=b"an ipsec key",
        ),
    ),
    (
        "MSiSCSIInitiator_TargetClass",
        "Login",
        {"TargetName": PLAIN},
        {"IsPersistent": "t", "InitiatorPortNumber": 0xFFFFFFFF},
        api.PersistentLoginTarget(target_name=PLAIN),
    ),
    (
        "MSiSCSIInitiator_iSNSServerClass",
        "Refresh",
        {"iSNSServerAddress": "192.0.2.1"},
        {},
        api.RefreshiSNSServer(server="192.0.2.1"),
    ),
    (
        "MSiSCSIInitiator_SendTargetPortalClass",
        "Refresh",
        {"PortalAddress": "192.0.2.1", "PortalPort": 3260, "InitiatorName": "", "InitiatorPortNumber": 0xFFFFFFFF},
        {},
        api.RefreshTargetPortal(portal=Portal(address="192.0.2.1")),
    ),
    ("MSiSCSIInitiator_SessionClass", "Logout", SESSION, {}, api.LogoutTarget(session_id=SESSION["SessionId"])),
    (
        "MSiSCSIInitiator_SessionClass",
        "SendScsiInquiry",
        SESSION,
        {"Lun": "0x1000000000000", "EvpdCmddt": 1, "PageCode": 0x83},
        api.ScsiInquiry(session_id=SESSION["SessionId"], lun=1 << 48, evpd_cmddt=1, page_code=0x83),
    ),
    (
        "MSiSCSIInitiator_SessionClass",
        "SendScsiReadCapacity",
        SESSION,
        {"Lun": 0},
        api.ReadCapacity(session_id=SESSION["SessionId"], lun=0),
    ),
    (
        "MSiSCSIInitiator_SessionClass",
        "SendScsiReportLuns",
        SESSION,
        {},
        api.ReportLUNs(session_id=SESSION["SessionId"]),
    ),
    (
        "MSiSCSIInitiator_SessionClass",
        "AddConnection",
        SESSION,
        {"TargetPortal": {"Address": "192.0.2.1"}, "LoginOptions": OPTIONS, "SecurityFlags": 1, "Key": KEY},
        api.AddConnection(
            session_id=SESSION["SessionId"],
            portal=Portal(address="192.0.2.1"),
            options=GIVEN,
            security_flags=1,
            key=b"an ipsec key",
        ),
    ),
    (
        "MSiSCSIInitiator_SessionClass",
        "RemoveConnection",
        SESSION,
        {"UniqueConnectionId": "1f-10001"},
        api.RemoveConnection(session_id=SESSION["SessionId"], connection_id="1f-10001"),
    ),
    ("MSiSCSIInitiator_MethodClass", "RefreshTargetList", NODE, {}, api.ListTargets(update=True)),
    (
        "MSiSCSIInitiator_MethodClass",
        "SetIScsiTunnelModeOuterAddress",
        NODE,
        {"DestinationAddress": "192.0.2.1", "OuterModeAddress": "192.0.2.2", "Persist": True},
        api.TunnelAddr(destination="192.0.2.1", tunnel="192.0.2.2", persist=True),
    ),
    (
        "MSiSCSIInitiator_MethodClass",
        "SetIScsiIKEInfo",
        NODE,
        {
            "InitiatorName": "ROOT",
            "InitiatorPortNumber": 0,
            "AuthInfo": {
                "AuthMethod": 1,
                "SecurityFlags": 3,
                "IdType": 2,
                "Id": b64encode(b"host.example.org").decode(),
                "Key": KEY,
            },
        },
        api.PSKey(
            initiator="ROOT",
            initiator_port=0,
            id_type=2,
            id="host.example.org",
            security_flags=3,
            key=b"an ipsec key",
        ),
    ),
    (
        "MSiSCSIInitiator_MethodClass",
        "SetIScsiGroupPresharedKey",
        NODE,
        {"Key": KEY, "Persist": True},
        api.GroupKey(key=b"an ipsec key", persist=True),
    ),
    (
        "MSiSCSIInitiator_MethodClass",
        "SetIScsiInitiatorCHAPSharedSecret",
        NODE,
        {"SharedSecret": KEY},
        api.CHAPSecret(secret=b"an ipsec key"),
    ),
    ("MSiSCSIInitiator_MethodClass", "SetIScsiInitiatorCHAPSharedSecret", NODE, {}, api.CHAPSecret(secret=None)),
    (
        "MSiSCSIInitiator_MethodClass",
        "SetIScsiInitiatorNodeName",
        NODE,
        {"InitiatorNodeName": PLAIN},
        api.NodeName(node_name=PLAIN),
    ),
    ("MSiSCSIInitiator_MethodClass", "SetIScsiInitiatorNodeName", NODE, {}, api.NodeName(node_name=None)),
    ("MSiSCSIInitiator_MethodClass", "SetupPersistentIScsiVolumes", NODE, {}, api.BindPersistentDevices()),
    *(
        (
            "MSiSCSI_LB_Operations",
            "SetLoadBalancePolicy",
            ADAPTER,
            {"LoadBalancePolicies": {"UniqueSessionId": 0x4000013700000001, "LoadBalancePolicy": number}},
            api.SetLoadBalancePolicy(session_id=SESSION["SessionId"], policy=policy),
        )
        for number, policy in ((1, 1), (2, 2), (3, 3), (4, 5), (5, 4))
    ),
    (
        "MSiSCSI_LB_Operations",
        "SetLoadBalancePolicy",
        ADAPTER,
        {
            "LoadBalancePolicies": {
                "UniqueSessionId": 0x4000013700000001,
                "LoadBalancePolicy": 1,
                "iSCSI_PathCount": 2,
                "iSCSI_Paths": paths(0, 1),
            }
        },
        api.SetLoadBalancePolicy(
            session_id=SESSION["SessionId"],
            policy=1,
            paths=(
                api.PathSetting(connection_id="1f-10000", active=True, weight=0),
                api.PathSetting(connection_id="1f-10001", active=False, weight=1),
            ),
        ),
    ),
]


@pytest.mark.parametrize(("name", "method", "row", "given", "request_"), REQUESTS)
def test_a_method_is_an_operation(name, method, row, given, request_):
    found = CLASSES[name].method(method)
    assert found.request is not None
    assert found.request(row, taken(found.arguments, given, method)) == request_


def test_there_is_a_request_of_each_method():
    every = {(name, method.name) for name, each in CLASSES.items() for method in each.methods if method.request}
    assert {(name, method) for name, method, *_ in REQUESTS} == every


async def call(bench, name, method, where=None, **arguments):
    return await bench.ask(api.Invoke(class_name=name, method=method, where=where or {}, arguments=arguments))


async def refused(bench, name, method, where=None, **arguments):
    return await bench.refused(api.Invoke(class_name=name, method=method, where=where or {}, arguments=arguments))


def test_a_session_from_login_to_logout(tmp_path):
    async def test(bench):
        listed = await call(bench, "MSiSCSIInitiator_MethodClass", "RefreshTargetList")
        assert listed.results == {"Targets": []}
        await bench.ask(api.AddTargetPortal(portal=HOST))
        assert (await call(bench, "MSiSCSIInitiator_SendTargetPortalClass", "Refresh")).results == {}
        ids = (await call(bench, "MSiSCSIInitiator_TargetClass", "Login", {"TargetName": PLAIN})).results
        assert list(bench.core.sessions) == [ids["UniqueSessionId"]]
        name = "MSiSCSIInitiator_SessionClass"
        assert (await call(bench, name, "SendScsiReportLuns")).results == {"Luns": [0, 1 << 48]}
        inquiry = (await call(bench, name, "SendScsiInquiry", Lun=0)).results
        assert (inquiry["ScsiStatus"], len(inquiry["ResponseBuffer"]) > 36) == (0, True)
        capacity = (await call(bench, name, "SendScsiReadCapacity", Lun=1 << 48)).results
        assert capacity == {"LastBlock": 1023, "BlockLength": 4096}
        portal = {"Address": "127.0.0.1", "Port": 3262}
        added = (await call(bench, name, "AddConnection", TargetPortal=portal)).results["UniqueConnectionId"]
        assert len(next(iter(bench.core.sessions.values())).connections()) == 2
        assert (await call(bench, name, "RemoveConnection", UniqueConnectionId=added)).results == {}
        await call(bench, name, "Logout")
        assert bench.core.sessions == {}
        assert await refused(bench, name, "Logout") == StatusCode.INVALID_SESSION_ID

    with_service(tmp_path, test)


def test_the_node_and_its_secret(tmp_path):
    async def test(bench):
        name = "MSiSCSIInitiator_MethodClass"
        named = await call(
            bench, name, "SetIScsiInitiatorNodeName", InitiatorNodeName="iqn.2026-01.org.example:By-A-Method"
        )
        assert named.results == {"iSCSINodeName": "iqn.2026-01.org.example:by-a-method"}
        assert bench.core.node_name == "iqn.2026-01.org.example:by-a-method"
        secret = b64encode(b"mutual-secret-22").decode()
        await call(bench, name, "SetIScsiInitiatorCHAPSharedSecret", SharedSecret=secret)
        state = bench.core.store.state.secrets
        assert bench.core.store.unseal(state.initiator, Secrets.initiator_place) == b"mutual-secret-22"
        short = await call(bench, name, "SetIScsiInitiatorCHAPSharedSecret", SharedSecret=b64encode(b"short").decode())
        assert short.status == StatusCode.SHORT_CHAP_SECRET
        await call(bench, name, "SetIScsiInitiatorCHAPSharedSecret")
        assert bench.core.store.state.secrets.initiator is None
        assert await refused(bench, name, "SetIScsiGroupPresharedKey", Key=KEY) == StatusCode.IPSEC_NOT_SUPPORTED_ON_OS

    with_service(tmp_path, test)


def test_persistent_logins_and_devices(tmp_path):
    async def test(bench):
        await bench.discover()
        where = {"TargetName": PLAIN}
        made = await call(bench, "MSiSCSIInitiator_TargetClass", "Login", where, IsPersistent=True)
        assert made.results == {"UniqueSessionId": "", "UniqueConnectionId": ""}
        assert len(bench.core.store.state.persistent_logins) == 1
        await bench.log_in()
        bound = await call(bench, "MSiSCSIInitiator_MethodClass", "SetupPersistentIScsiVolumes")
        assert len(bound.results["DevicePaths"]) == 2
        shown = await bench.ask(api.Query(class_name="MSiSCSIInitiator_PersistentDevices"))
        assert [each["DevicePath"] for each in shown.instances] == bound.results["DevicePaths"]

    with_service(tmp_path, test)


def test_the_policy_of_a_session(tmp_path):
    """Set through one class, seen in the other, and in force."""

    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        await bench.ask(api.AddConnection(session_id=session.session_id, portal=SECOND))

        async def policy(number, *given):
            wanted = {"UniqueSessionId": session.usid, "LoadBalancePolicy": number, "iSCSI_Paths": list(given)}
            name = "MSiSCSI_LB_Operations"
            return await call(bench, name, "SetLoadBalancePolicy", LoadBalancePolicies=wanted)

        async def shown():
            (row,) = (await bench.ask(api.Query(class_name="MSiSCSI_QueryLBPolicy"))).instances
            return row["LoadBalancePolicies"][0]

        assert (await shown())["LoadBalancePolicy"] == 2
        ids = [each["UniqueConnectionId"] for each in (await shown())["iSCSI_Paths"]]
        weighted = [{"UniqueConnectionId": each, "PathWeight": 5 - place} for place, each in enumerate(ids)]
        await policy(5, *weighted)
        assert session.client.session.balance.policy == LoadBalance.WEIGHTED_PATHS.value
        assert [each["PathWeight"] for each in (await shown())["iSCSI_Paths"]] == [5, 4]
        await policy(4)
        assert session.client.session.balance.policy == LoadBalance.LEAST_QUEUE_DEPTH.value
        assert (await shown())["LoadBalancePolicy"] == 4

        async def status(**changes):
            wanted = {"UniqueSessionId": session.usid, "LoadBalancePolicy": 1, **changes}
            return await refused(bench, "MSiSCSI_LB_Operations", "SetLoadBalancePolicy", LoadBalancePolicies=wanted)

        one, both = weighted[:1], [{"UniqueConnectionId": each} for each in ids]
        assert await status(LoadBalancePolicy=6) == StatusCode.INVALID_LOAD_BALANCE_POLICY
        assert await status(UniqueSessionId=1) == StatusCode.INVALID_SESSION_ID
        assert await status(iSCSI_PathCount=1) == StatusCode.PATH_COUNT_MISMATCH
        assert await status(iSCSI_Paths=one) == StatusCode.PATH_COUNT_MISMATCH
        assert await status(iSCSI_Paths=one * 2) == StatusCode.DUPLICATE_PATH_SPECIFIED
        assert await status(iSCSI_Paths=both) == StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED
        none = [{**each, "PrimaryPath": 0} for each in both]
        assert await status(iSCSI_Paths=none) == StatusCode.NO_PRIMARY_PATH_SPECIFIED
        strange = [*one, {"UniqueConnectionId": 9, "PrimaryPath": 0}]
        assert await status(iSCSI_Paths=strange) == StatusCode.INVALID_PATH_ID

    with_service(tmp_path, test)


@pytest.mark.parametrize(
    ("name", "method", "where", "arguments", "status"),
    [
        ("MSiSCSI_Nothing", "Login", {}, {}, StatusCode.REQUEST_NOT_SUPPORTED),
        ("MSiSCSIInitiator_TargetClass", "Fly", {}, {}, StatusCode.REQUEST_NOT_SUPPORTED),
        ("MSiSCSIInitiator_TargetClass", "Login", {"Colour": "red"}, {}, StatusCode.INVALID_PARAMETER),
        (
            "MSiSCSIInitiator_TargetClass",
            "Login",
            {"TargetName": "iqn.2026-01.org.example:x"},
            {},
            StatusCode.TARGET_NOT_FOUND,
        ),
        ("MSiSCSIInitiator_TargetClass", "Login", {}, {}, StatusCode.INVALID_PARAMETER),
        ("MSiSCSIInitiator_TargetClass", "Login", {"TargetName": PLAIN}, {"Colour": 1}, StatusCode.INVALID_PARAMETER),
        (
            "MSiSCSIInitiator_TargetClass",
            "Login",
            {"TargetName": PLAIN},
            {"SecurityFlags": 1 << 40},
            StatusCode.INVALID_PARAMETER,
        ),
        (
            "MSiSCSIInitiator_TargetClass",
            "Login",
            {"TargetName": PLAIN},
            {"LoginOptions": {"AuthType": 3}},
            StatusCode.INVALID_LOGON_AUTH_TYPE,
        ),
        ("MSiSCSIInitiator_TargetClass", "Login", {"TargetName": CHAP}, {}, StatusCode.TARGET_AUTHINFO_UNAVAILABLE),
        ("MSiSCSIInitiator_SessionClass", "SendScsiInquiry", {}, {}, StatusCode.INVALID_PARAMETER),
        ("MSiSCSIInitiator_SessionClass", "Logout", {"SessionId": "1-2"}, {}, StatusCode.INVALID_SESSION_ID),
        ("MSiSCSIInitiator_iSNSServerClass", "Refresh", {}, {}, StatusCode.ISNS_SERVER_NOT_FOUND),
        ("MSiSCSIInitiator_SendTargetPortalClass", "Refresh", {"PortalPort": "1"}, {}, StatusCode.PORTAL_NOT_FOUND),
        ("MSiSCSI_ManagementOperation", "PingIPAddress", {}, {"RequestCount": 1}, StatusCode.INVALID_PARAMETER),
        (
            "MSiSCSI_ManagementOperation",
            "PingIPAddress",
            {},
            {"RequestCount": 1, "Address": {"TextAddress": "192.0.2.1"}},
            StatusCode.INITIATOR_INSTANCE_NOT_FOUND,
        ),
        ("MSiSCSI_TCPIPConfig", "Put", {}, {}, StatusCode.INITIATOR_INSTANCE_NOT_FOUND),
        (
            "MSiSCSIInitiator_MethodClass",
            "SetIScsiIKEInfo",
            {},
            {"AuthInfo": {"AuthMethod": 2, "IdType": 2, "Id": "", "Key": KEY}},
            StatusCode.REQUEST_NOT_SUPPORTED,
        ),
        (
            "MSiSCSIInitiator_MethodClass",
            "SetIScsiIKEInfo",
            {},
            {"AuthInfo": {"IdType": 2, "Id": "/w==", "Key": KEY}},
            StatusCode.INVALID_PARAMETER,
        ),
        (
            "MSiSCSIInitiator_MethodClass",
            "SetIScsiInitiatorNodeName",
            {},
            {"InitiatorNodeName": "no name"},
            StatusCode.INVALID_ISCSI_NAME,
        ),
    ],
)
def test_what_is_refused(tmp_path, name, method, where, arguments, status):
    async def test(bench):
        await bench.discover()
        assert await refused(bench, name, method, where, **arguments) == status

    with_service(tmp_path, test)


def test_a_scsi_failure_says_all_that_is_known(tmp_path):
    async def test(bench):
        await bench.discover()
        await bench.log_in()
        request = api.Invoke(
            class_name="MSiSCSIInitiator_SessionClass",
            method="SendScsiInquiry",
            arguments={"Lun": 0, "EvpdCmddt": 1, "PageCode": 0xEE},
        )
        with pytest.raises(api.RequestFailed) as failed:
            await bench.ask(request)
        assert failed.value.failure.scsi_status == 2
        assert failed.value.failure.sense

    with_service(tmp_path, test)


def test_arguments_are_not_told(tmp_path):
    request = api.Invoke(class_name="C", method="M", arguments={"Key": "hunter2"})
    assert "hunter2" not in repr(request)


def test_a_method_that_does_nothing_is_a_defect(tmp_path, monkeypatch):
    idle = ManagementClass(
        name="Idle", says="", properties=(), instances=lambda core: [{}], methods=(Method(name="M", says=""),)
    )
    monkeypatch.setattr(management, "find", lambda name: idle)

    async def test(bench):
        with pytest.raises(TypeError, match="does nothing"):
            await call(bench, "Idle", "M")

    with_service(tmp_path, test)
