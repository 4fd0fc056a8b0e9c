"""The management API: requests are checked where they are made, and cross the socket as lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.service import api
from iscsi_initiator.service.api import wire
from iscsi_initiator.service.api.values import check_key
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LunMapping, Portal

NAME = "iqn.2026-01.org.example:disk"
PORTAL = Portal(address="192.0.2.10")
SESSION = "1f-4000013700000002"
OPTIONS = api.LoginOptions(login_flags=2, header_digest=True, user_name="user", password=b"12 bytes long", auth_type=1)
MAPPING = LunMapping(target_lun=1 << 48, os_bus=0, os_target=1, os_lun=5)

SAMPLES: list[api.Operation[Any]] = [
    api.AddTarget(target_name=NAME, target_alias="Disk", portal=PORTAL, target_flags=6, options=OPTIONS),
    api.RemoveTarget(target_name=NAME),
    api.ListTargets(update=True),
    api.TargetInfo(target_name=NAME, discovery_mechanism="iSNS:192.0.2.1"),
    api.AddTargetPortal(portal=PORTAL, initiator="software", initiator_port=0, security_flags=3, options=OPTIONS),
    api.RemoveTargetPortal(portal=PORTAL),
    api.RefreshTargetPortal(portal=PORTAL),
    api.ListTargetPortals(),
    api.AddiSNSServer(server="isns.example.org"),
    api.RemoveiSNSServer(server="2001:db8::1"),
    api.RefreshiSNSServer(server="192.0.2.1"),
    api.ListiSNSServers(),
    api.FirewallExemptiSNSServer(),
    api.LoginTarget(target_name=NAME, options=OPTIONS, key=b"key", mappings=(MAPPING,)),
    api.LogoutTarget(session_id=SESSION),
    api.PersistentLoginTarget(target_name=NAME, report_to_pnp=False, portal=PORTAL),
    api.ListPersistentTargets(),
    api.RemovePersistentTarget(target_name=NAME + "#1"),
    api.AddConnection(session_id=SESSION, options=OPTIONS, key=b"key"),
    api.RemoveConnection(session_id=SESSION, connection_id="1f-2"),
    api.ScsiInquiry(session_id=SESSION, lun=1 << 48, evpd_cmddt=1, page_code=0x83, length=8192),
    api.ReadCapacity(session_id=SESSION, lun=0),
    api.ReportLUNs(session_id=SESSION),
    api.ReportTargetMappings(),
    api.SessionList(buffer_size=100),
    api.ImportSettings(data=b"REGEDIT4\n"),
    api.StartTrace(name="wire", path="/wire", flags=0x10, circular=True, maximum_kib=4096, flush_time=0.5),
    api.StopTrace(name="wire"),
    api.QueryTrace(name="wire"),
    api.SetLoadBalancePolicy(session_id=SESSION, policy=1, paths=(api.PathSetting(connection_id="1f-2"),)),
    api.DeviceList(),
    api.SetDevicePolicy(device="PhysicalDrive0", policy=1, paths=(api.DevicePath(session_id=SESSION),), failback=False),
    api.Attach(device="PhysicalDrive0", export="disk", read_only=True, block_device="/dev/nbd0"),
    api.Detach(device="PhysicalDrive0", force=True),
    api.ListAttached(),
    api.ListClasses(),
    api.Query(class_name="MSiSCSI_HBAInformation", where={"Active": "true"}),
    api.Invoke(class_name="C", method="M", where={"A": "b"}, arguments={"C": [1, {"D": "e"}]}),
    api.Watch(classes=("MSiSCSI_Eventlog",)),
    api.Metrics(),
    api.CHAPSecret(secret=None),
    api.TunnelAddr(destination="192.0.2.10", tunnel="2001:db8::1", persist=True),
    api.GroupKey(key=b"key", persist=True),
    api.PSKey(id_type=2, id="host.example.org", security_flags=0x43, key=b"key"),
    api.GetPSKey(id_type=1, id="192.0.2.10"),
    api.BindPersistentDevices(),
    api.ReportPersistentDevices(),
    api.AddPersistentDevice(path="/mnt/disk"),
    api.RemovePersistentDevice(path="/mnt/disk"),
    api.ClearPersistentDevices(),
    api.ListInitiators(),
    api.NodeName(node_name=NAME),
    api.VersionInfo(),
    api.ServiceStatus(),
    api.StopService(force=True),
]


def ids(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, api.Operation) else None


def test_there_is_a_sample_of_each_operation():
    """Whatever may be asked is tested here."""
    assert {type(each) for each in SAMPLES} == set(wire.OPERATIONS)
    assert len(SAMPLES) == len(wire.OPERATIONS)


@pytest.mark.parametrize("request_", SAMPLES, ids=ids)
def test_request_crosses_the_wire(request_):
    """A request comes out as it went in, its class named by `op`, in one line."""
    line = wire.encode_request(request_)
    assert line.count(b"\n") == 1
    assert json.loads(line)["op"] == type(request_).__name__
    assert wire.decode_request(line) == request_


@pytest.mark.parametrize("kind", wire.OPERATIONS, ids=lambda kind: kind.__name__)
def test_operation_says_its_answer(kind):
    """Each operation names a kind of answer that has a status."""
    answer = api.answer_type(kind)
    assert issubclass(answer, api.Answer)
    assert answer.__struct_fields__[:2] == ("status", "message")


def test_operation_without_an_answer_is_a_defect():
    """The base of all requests names none."""
    with pytest.raises(TypeError, match="says no answer"):
        api.answer_type(api.Operation)


def mappings(*rows: tuple[int, int, int, int]) -> tuple[LunMapping, ...]:
    return tuple(LunMapping(target_lun=a, os_bus=b, os_target=c, os_lun=d) for a, b, c, d in rows)


REFUSED = [
    (lambda: api.RemoveTarget(target_name="iqn.2026-01.org.example:a_b"), "INVALID_ISCSI_NAME"),
    (lambda: api.LoginTarget(target_name="iqn.2026-01.org.example:" + "x" * 200), "INVALID_ISCSI_NAME"),
    (lambda: api.TargetInfo(target_name=""), "INVALID_ISCSI_NAME"),
    (lambda: api.RemovePersistentTarget(target_name="#1"), "INVALID_ISCSI_NAME"),
    (lambda: api.NodeName(node_name="not a name"), "INVALID_ISCSI_NAME"),
    (lambda: api.NodeName(node_name=NAME, version=2), "REQUEST_NOT_SUPPORTED"),
    (lambda: api.ListTargets(buffer_size=-1), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, target_alias=""), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, target_alias="a\nb"), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, target_alias="x" * 5000), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, target_flags=1), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, target_flags=-2), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, portal=Portal(address="a b")), "INVALID_PARAMETER"),
    (lambda: api.AddTarget(target_name=NAME, portal=Portal(address="[2001:db8::1]")), "INVALID_PARAMETER"),
    (lambda: api.RefreshTargetPortal(portal=Portal(address="")), "INVALID_PARAMETER"),
    (lambda: api.RefreshTargetPortal(portal=Portal(address="a", port=0)), "INVALID_PARAMETER"),
    (lambda: api.RefreshTargetPortal(portal=Portal(address="a", port=65536)), "INVALID_PARAMETER"),
    (lambda: api.RefreshTargetPortal(portal=PORTAL, initiator_port=-1), "INVALID_PORT_NUMBER"),
    (lambda: api.RefreshTargetPortal(portal=PORTAL, initiator_port=1 << 32), "INVALID_PORT_NUMBER"),
    (lambda: api.AddTargetPortal(portal=PORTAL, security_flags=0x80), "INVALID_PARAMETER"),
    (lambda: api.AddiSNSServer(server="x" * 256), "INVALID_PARAMETER"),
    (lambda: api.LoginOptions(login_flags=4), "LOGIN_USER_INFO_BAD"),
    (lambda: api.LoginOptions(maximum_connections=0), "LOGIN_USER_INFO_BAD"),
    (lambda: api.LoginOptions(maximum_connections=65536), "LOGIN_USER_INFO_BAD"),
    (lambda: api.LoginOptions(default_time2wait=3601), "LOGIN_USER_INFO_BAD"),
    (lambda: api.LoginOptions(default_time2retain=-1), "LOGIN_USER_INFO_BAD"),
    (lambda: api.LoginOptions(user_name=""), "INVALID_CHAP_USER_NAME"),
    (lambda: api.LoginOptions(user_name="x" * 224), "INVALID_CHAP_USER_NAME"),
    (lambda: api.LoginOptions(password=b""), "INVALID_CHAP_SECRET"),
    (lambda: api.LoginOptions(password=b"x" * 1025), "INVALID_CHAP_SECRET"),
    (lambda: api.LoginOptions(auth_type=3), "INVALID_LOGON_AUTH_TYPE"),
    (lambda: api.CHAPSecret(secret=b""), "INVALID_CHAP_SECRET"),
    (lambda: api.LogoutTarget(session_id="1"), "INVALID_SESSION_ID"),
    (lambda: api.LogoutTarget(session_id="1-11111111111111111"), "INVALID_SESSION_ID"),
    (lambda: api.RemoveConnection(session_id=SESSION, connection_id=""), "INVALID_CONNECTION_ID"),
    (lambda: api.ScsiInquiry(session_id=SESSION, lun=-1), "INVALID_PARAMETER"),
    (lambda: api.ScsiInquiry(session_id=SESSION, lun=1 << 64), "INVALID_PARAMETER"),
    (lambda: api.ScsiInquiry(session_id=SESSION, lun=0, length=8193), "INVALID_PARAMETER"),
    (lambda: api.ScsiInquiry(session_id=SESSION, lun=0, evpd_cmddt=4), "INVALID_PARAMETER"),
    (lambda: api.ScsiInquiry(session_id=SESSION, lun=0, page_code=256), "INVALID_PARAMETER"),
    (lambda: api.LoginTarget(target_name=NAME, key=b""), "INVALID_PARAMETER"),
    (lambda: api.LoginTarget(target_name=NAME, mappings=(MAPPING, MAPPING)), "TARGET_MAPPING_EXISTS"),
    (
        lambda: api.LoginTarget(target_name=NAME, mappings=mappings((0, 0, 0, 0), (1, 1, 0, 1))),
        "INVALID_TARGET_MAPPING",
    ),
    (
        lambda: api.LoginTarget(target_name=NAME, mappings=mappings((0, 0, 0, 0), (1, 0, 1, 1))),
        "INVALID_TARGET_MAPPING",
    ),
    (
        lambda: api.LoginTarget(target_name=NAME, mappings=mappings((0, 0, 0, 0), (1, 0, 0, 0))),
        "INVALID_TARGET_MAPPING",
    ),
    (
        lambda: api.LoginTarget(target_name=NAME, mappings=mappings((0, 0, 0, 0), (0, 0, 0, 1))),
        "INVALID_TARGET_MAPPING",
    ),
    (lambda: api.AddTarget(target_name=NAME, mappings=mappings((1 << 64, 0, 0, 0))), "INVALID_TARGET_MAPPING"),
    (lambda: api.AddTarget(target_name=NAME, mappings=mappings((0, 1 << 32, 0, 0))), "TARGET_MAPPING_OUT_OF_RANGE"),
    (lambda: api.AddTarget(target_name=NAME, mappings=mappings((0, 0, 256, 0))), "INVALID_TARGET_ID"),
    (
        lambda: api.AddTarget(target_name=NAME, mappings=mappings(*((n, 0, 0, n) for n in range(257)))),
        "INVALID_TARGET_MAPPING",
    ),
    (lambda: api.TunnelAddr(destination="host", tunnel="192.0.2.1"), "INVALID_PARAMETER"),
    (lambda: api.TunnelAddr(destination="192.0.2.1", tunnel="192.0.2"), "INVALID_PARAMETER"),
    (lambda: api.GetPSKey(id_type=256, id="x"), "IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED"),
    (lambda: api.GetPSKey(id_type=1, id="192.0.2"), "IKE_ID_PAYLOAD_INCORRECT_SIZE"),
    (lambda: api.GetPSKey(id_type=2, id=""), "IKE_ID_PAYLOAD_INCORRECT_SIZE"),
    (lambda: api.PSKey(id_type=2, id="a", key=b"k", security_flags=0x100), "INVALID_PARAMETER"),
    (lambda: api.PSKey(id_type=2, id="a", key=b""), "INVALID_PARAMETER"),
    (lambda: api.GroupKey(key=b""), "INVALID_PARAMETER"),
    (lambda: api.AddPersistentDevice(path=""), "INVALID_PARAMETER"),
    (lambda: api.AddPersistentDevice(path="a\0b"), "INVALID_PARAMETER"),
    (lambda: api.AddPersistentDevice(path="\udc80"), "INVALID_PARAMETER"),
]


@pytest.mark.parametrize(
    ("make", "code"), REFUSED, ids=[f"{number}-{code}" for number, (_, code) in enumerate(REFUSED)]
)
def test_what_cannot_be_is_refused(make, code):
    """A request that cannot be asked is not made: the guide's code, and one line that tells more."""
    with pytest.raises(Refused) as refused:
        make()
    assert refused.value.status is StatusCode[code]
    assert refused.value.reason
    assert "\n" not in refused.value.reason


def test_checks_hold_on_the_wire_too():
    """The same code comes of a line that somebody else wrote, also for what stands inside."""
    line = wire.encode_request(api.LoginTarget(target_name=NAME, options=OPTIONS)).replace(
        b'"auth_type":1', b'"auth_type":9'
    )
    with pytest.raises(Refused) as refused:
        wire.decode_request(line)
    assert refused.value.status is StatusCode.INVALID_LOGON_AUTH_TYPE


def test_names_and_ids_have_one_form():
    """Upper case becomes lower case in names, and ids lose case and 0x."""
    assert api.RemoveTarget(target_name=NAME.upper()).target_name == NAME
    assert api.RemovePersistentTarget(target_name=NAME.upper() + "#12").target_name == NAME + "#12"
    assert api.LogoutTarget(session_id="0xFFAB-0x2").session_id == "ffab-2"
    assert api.RemoveConnection(session_id="1-1", connection_id="0XA-B").connection_id == "a-b"


def test_optional_key_may_be_missing():
    """No key is no wrong key."""
    check_key(None)


@pytest.mark.parametrize(
    "request_",
    [
        api.LoginTarget(target_name=NAME, options=OPTIONS, key=b"12 bytes long"),
        api.AddConnection(session_id=SESSION, options=OPTIONS, key=b"12 bytes long"),
        api.CHAPSecret(secret=b"12 bytes long"),
        api.GroupKey(key=b"12 bytes long"),
        api.PSKey(id_type=2, id="a", key=b"12 bytes long"),
    ],
    ids=ids,
)
def test_secrets_are_not_shown(request_):
    """Neither repr nor rich tells a secret."""
    shown = repr(request_) + str(request_.__rich_repr__())
    assert "12 bytes" not in shown
    assert "***" in shown


@pytest.mark.parametrize(
    ("line", "code", "kind"),
    [
        (b"", "INVALID_PARAMETER", wire.NoRequest),
        (b"\xff\xfe\n", "INVALID_PARAMETER", wire.NoRequest),
        (b"[" * 100_000, "INVALID_PARAMETER", wire.NoRequest),
        (b"[]", "INVALID_PARAMETER", wire.NoRequest),
        (b"{}", "INVALID_PARAMETER", wire.NoRequest),
        (b'{"op":5}', "INVALID_PARAMETER", wire.NoRequest),
        (b'{"op":"Nonsense"}', "REQUEST_NOT_SUPPORTED", Refused),
        (b'{"op":"ListTargets","version":2}', "REQUEST_NOT_SUPPORTED", Refused),
        (b'{"op":"ListTargets","surplus":2}', "INVALID_PARAMETER", Refused),
        (b'{"op":"ListTargets","update":"yes"}', "INVALID_PARAMETER", Refused),
        (b'{"op":"RemoveTarget"}', "INVALID_PARAMETER", Refused),
        (b'{"op":"RemoveTarget","target_name":"\xff"}', "INVALID_PARAMETER", Refused),
    ],
)
def test_what_is_no_request_is_refused(line, code, kind):
    """One code and one line for each way to be none."""
    with pytest.raises(Refused) as refused:
        wire.decode_request(line)
    assert type(refused.value) is kind
    assert refused.value.status is StatusCode[code]
    assert "\n" not in refused.value.reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 65), 1 << 65) | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=10), inside, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(wire.OPERATIONS).flatmap(
        lambda kind: st.tuples(
            st.just(kind.__name__), st.dictionaries(st.sampled_from(kind.__struct_fields__), json_values)
        )
    )
)
def test_any_fields_are_taken_or_refused(named):
    """Whatever a known operation is given, it is a request that crosses the wire again, or Refused."""
    op, fields = named
    try:
        request = wire.decode_request(msgspec.json.encode({"op": op, **fields}))
    except Refused as refused:
        reason = refused.reason
    else:
        reason = "taken"
        assert wire.decode_request(wire.encode_request(request)) == request
    assert reason
    assert "\n" not in reason


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_a_request(line):
    """Bytes at random never get further than Refused."""
    with pytest.raises(Refused):
        wire.decode_request(line)


def test_answer_crosses_the_wire():
    """An answer with a warning comes out whole; the client of a later version passes over what it does not know."""
    answer = api.LoggedIn(status=StatusCode.SHORT_CHAP_SECRET, message="short", session_id="1-2", connection_id="1-3")
    line = wire.encode_answer(answer)
    assert wire.decode_answer(line, api.LoginTarget) == answer
    assert wire.decode_answer(line.replace(b"{", b'{"later":1,', 1), api.LoginTarget) == answer


def test_failure_crosses_the_wire():
    """An error code is raised, with all that came along."""
    failure = api.Failure(
        status=StatusCode.SCSI_REQUEST_FAILED, message="CHECK CONDITION", scsi_status=2, sense=b"\x70\0"
    )
    with pytest.raises(api.RequestFailed) as failed:
        wire.decode_answer(wire.encode_answer(failure), api.ReportLUNs)
    assert failed.value.failure == failure
    assert failed.value.status is StatusCode.SCSI_REQUEST_FAILED
    assert api.failure_of(failed.value) == failure
    assert api.failure_of(Refused(StatusCode.NOT_FOUND, "no")) == api.Failure(status=StatusCode.NOT_FOUND, message="no")


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff", b"[]", b"{}", b'{"status":"0"}', b'{"status":3758096385}', b'{"status":0}', b"[" * 100_000],
)
def test_what_is_no_answer_is_told(line):
    """Neither garbage nor a code that nobody knows passes for an answer."""
    with pytest.raises(ValueError, match="no answer"):
        wire.decode_answer(line, api.LoginTarget)


def test_answer_may_be_too_long_for_its_caller():
    """Where the caller takes fewer bytes, it is told how many there are; with as many it gets them."""
    answer = api.TargetNames(targets=tuple(f"{NAME}{number}" for number in range(10)))
    size = len(wire.encode_answer(answer))
    with pytest.raises(api.RequestFailed) as failed:
        wire.decode_answer(wire.encode_answer(answer, size - 1), api.ListTargets)
    assert failed.value.status is StatusCode.BUFFER_TOO_SMALL
    assert failed.value.failure.needed == size
    assert wire.decode_answer(wire.encode_answer(answer, size), api.ListTargets) == answer
