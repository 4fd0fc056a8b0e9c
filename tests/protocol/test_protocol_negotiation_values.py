"""Values of keys, result functions, settings and typed parameters."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.negotiation.functions import admits, answer_required, select
from iscsi_protocol.negotiation.keys import KEYS, PRIVATE_KEY, Role, SessionType
from iscsi_protocol.negotiation.parameters import PARAMETER_KEYS, OperationalParameters
from iscsi_protocol.negotiation.permission import rule_of, split_security_keys
from iscsi_protocol.negotiation.settings import check_settings
from iscsi_protocol.negotiation.values import TargetAddress, parse_target_address, parse_value
from iscsi_protocol.text import TextError, ValueFormError, parse_boolean, parse_number

NORMAL = SessionType.NORMAL


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("MaxBurstLength", "512", 512),
        ("MaxBurstLength", "0x00FFFFFF", 16777215),
        ("DefaultTime2Wait", "0", 0),
        ("InitialR2T", "Yes", True),
        ("ImmediateData", "No", False),
        ("HeaderDigest", "CRC32C,None", ("CRC32C", "None")),
        ("HeaderDigest", "Y-com.example.x, odd,", ("Y-com.example.x", " odd", "")),
        ("AuthMethod", "a" * 255, ("a" * 255,)),
        ("TargetPortalGroupTag", "0", 0),
        ("TargetPortalGroupTag", "0xffff", 65535),
        ("TargetPortalGroupTag", "0bAQI=", 0x0102),
        ("TargetPortalGroupTag", "0BAQI=", 0x0102),
        ("TargetAddress", "10.0.0.1:5003,1", TargetAddress(host="10.0.0.1", port=5003, tag=1)),
        ("SessionType", "Discovery", "Discovery"),
        ("TargetAlias", "Bob-s Disk ä", "Bob-s Disk ä"),
        ("InitiatorAlias", "", ""),
        ("InitiatorAlias", "é" * 127, "é" * 127),
        ("InitiatorName", "iqn.1999-07.com.os:hostid.77", "iqn.1999-07.com.os:hostid.77"),
        ("SendTargets", "", ""),
        ("SendTargets", "All", "All"),
        ("IFMarker", "whatever", "whatever"),
    ],
)
def test_values_that_are_taken(key: str, text: str, value: object) -> None:
    assert parse_value(KEYS[key], text) == value


@pytest.mark.parametrize(
    ("key", "text", "clause"),
    [
        ("MaxBurstLength", "511", "R7143-13.13-01"),
        ("MaxBurstLength", "16777216", "R7143-13.13-01"),
        ("MaxBurstLength", "0512", "R7143-6.1-10"),
        ("MaxBurstLength", "512~1024", "R7143-6.1-13"),
        ("MaxBurstLength", "None", "R7143-6.1-13"),
        ("MaxBurstLength", "", "R7143-6.1-13"),
        ("ErrorRecoveryLevel", "3", "R7143-13.20-01"),
        ("InitialR2T", "yes", "R7143-6.1-08"),
        ("HeaderDigest", "None," + "a" * 256, "R7143-6.1-15"),
        ("TargetPortalGroupTag", "65536", "R7143-6.2.2-04"),
        ("TargetPortalGroupTag", "0bAQID", "R7143-6.1-15"),
        ("TargetAddress", "", "R7143-13.8-03"),
        ("SessionType", "discovery", "R7143-13.21-01"),
        ("TargetAlias", "é" * 128, "R7143-6.1-15"),
        ("TargetAlias", b"\xff".decode("utf-8", "surrogateescape"), "R7143-6.1-01"),
        ("InitiatorName", "", "R7143-13.5-01"),
        ("TargetName", "i" * 224, "R7143-6.1-15"),
    ],
)
def test_values_that_are_not_taken(key: str, text: str, clause: str) -> None:
    with pytest.raises(ValueFormError) as caught:
        parse_value(KEYS[key], text)
    assert caught.value.clause == clause


@pytest.mark.parametrize(
    ("text", "host", "port", "tag"),
    [
        ("10.0.0.1:5003,1", "10.0.0.1", 5003, 1),
        ("[1080:0:0:0:8:800:200C:417A],65", "1080:0:0:0:8:800:200C:417A", 3260, 65),
        ("[1080::8:800:200C:417A]:5003,1", "1080::8:800:200C:417A", 5003, 1),
        ("computingcenter.example.com,23", "computingcenter.example.com", 3260, 23),
        ("storage-1.example.", "storage-1.example.", 3260, None),
        ("host:0x0cbc,0xffff", "host", 3260, 65535),
        ("host:65535", "host", 65535, None),
        ("1080host", "1080host", 3260, None),
    ],
)
def test_target_addresses(text: str, host: str, port: int, tag: int | None) -> None:
    address = parse_target_address(text)
    assert address == TargetAddress(host=host, port=port, tag=tag)
    assert parse_target_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":3260",
        ",1",
        "host:0",
        "host:65536",
        "host:",
        "host:port",
        "host,65536",
        "host,",
        "host,1,2",
        "host:1:2",
        "[::1",
        "::1]",
        "::1",
        "[]",
        "[10.0.0.1]",
        "[host]:3260",
        "10.0.0.256",
        "10.0.0",
        "1.2.3.4.5",
        "-host",
        "host-",
        "a..b",
        "ho st",
        "höst",
        "host\n",
        "a" * 255,
    ],
)
def test_what_is_no_target_address(text: str) -> None:
    with pytest.raises(ValueFormError):
        parse_target_address(text)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40), st.sampled_from(sorted(KEYS)))
def test_any_text_is_read_or_refused(text: str, key: str) -> None:
    try:
        parse_value(KEYS[key], text)
    except TextError as error:
        clause = error.clause
    else:
        clause = "R7143-6.1-01"
    assert clause.startswith("R7143-")


@pytest.mark.parametrize(
    ("key", "offer", "wish", "answer"),
    [
        ("MaxBurstLength", "8192", "4096", "4096"),
        ("MaxBurstLength", "0x1000", "8192", "4096"),
        ("DefaultTime2Wait", "1", "2", "2"),
        ("DefaultTime2Wait", "5", "2", "5"),
        ("ImmediateData", "Yes", "Yes", "Yes"),
        ("ImmediateData", "Yes", "No", "No"),
        ("ImmediateData", "No", "Yes", "No"),
        ("InitialR2T", "No", "No", "No"),
        ("InitialR2T", "No", "Yes", "Yes"),
        ("InitialR2T", "Yes", "No", "Yes"),
        ("HeaderDigest", "None,CRC32C", "CRC32C,None", "None"),
        ("HeaderDigest", "Y-com.example.x,CRC32C", "CRC32C,None", "CRC32C"),
        ("AuthMethod", "KRB5,SRP", "CHAP,None", None),
    ],
)
def test_answers(key: str, offer: str, wish: str, answer: str | None) -> None:
    assert select(KEYS[key], offer, wish) == answer


@pytest.mark.parametrize(
    ("key", "offer", "answer", "admitted"),
    [
        ("MaxBurstLength", "8192", "8192", True),
        ("MaxBurstLength", "8192", "0x2000", True),
        ("MaxBurstLength", "8192", "8193", False),
        ("DefaultTime2Wait", "5", "4", False),
        ("DefaultTime2Wait", "5", "6", True),
        ("ImmediateData", "No", "Yes", False),
        ("ImmediateData", "Yes", "No", True),
        ("InitialR2T", "Yes", "No", False),
        ("InitialR2T", "No", "Yes", True),
        ("HeaderDigest", "CRC32C", "None", False),
        ("HeaderDigest", "CRC32C,None", "CRC32C,None", False),
        ("HeaderDigest", "CRC32C,None", "None", True),
    ],
)
def test_admissible_answers(key: str, offer: str, answer: str, admitted: bool) -> None:
    assert admits(KEYS[key], offer, answer) is admitted


def test_a_declaration_has_no_result_function() -> None:
    with pytest.raises(TypeError, match="SessionType"):
        select(KEYS["SessionType"], "Normal", "Normal")


@pytest.mark.parametrize(
    ("key", "offer", "required"),
    [
        ("ImmediateData", "No", False),
        ("ImmediateData", "Yes", True),
        ("InitialR2T", "Yes", False),
        ("InitialR2T", "No", True),
        ("MaxBurstLength", "512", True),
        ("HeaderDigest", "None", True),
        ("iSCSIProtocolLevel", "2", False),
        ("MaxRecvDataSegmentLength", "512", False),
        ("SendTargets", "All", False),
    ],
)
def test_which_offers_need_an_answer(key: str, offer: str, required: bool) -> None:
    assert answer_required(KEYS[key], offer) is required


def test_rules_by_name() -> None:
    assert rule_of("MaxBurstLength") is KEYS["MaxBurstLength"]
    assert rule_of("X-com.example.do") is PRIVATE_KEY
    assert rule_of("X#NodeArchitecture") is KEYS["X#NodeArchitecture"]
    assert rule_of("maxburstlength") is None


def test_keys_of_authentication_methods_are_taken_out() -> None:
    pairs = [("AuthMethod", "CHAP"), ("CHAP_A", "5"), ("TargetAuth", "Yes"), ("TargetAlias", "a"), ("SPKM_REQ", "1")]
    assert split_security_keys([*pairs, ("CHAP_Q", "1")]) == (
        [("AuthMethod", "CHAP"), ("TargetAlias", "a")],
        [("CHAP_A", "5"), ("TargetAuth", "Yes"), ("SPKM_REQ", "1"), ("CHAP_Q", "1")],
    )


@pytest.mark.parametrize(
    ("role", "settings", "message"),
    [
        (Role.INITIATOR, {"TargetAlias": "a"}, "TargetAlias is not sent by the initiator"),
        (Role.TARGET, {"InitiatorName": "iqn.x"}, "InitiatorName is not sent by the target"),
        (Role.INITIATOR, {"IFMarker": "No"}, "IFMarker is no key"),
        (Role.INITIATOR, {"Foo": "1"}, "Foo is no key"),
        (Role.INITIATOR, {"X-bad name": "1"}, "X-bad name"),
        (Role.INITIATOR, {"MaxBurstLength": "Reject"}, "only for answers"),
        (Role.INITIATOR, {"MaxBurstLength": "1"}, "MaxBurstLength"),
        (Role.INITIATOR, {"HeaderDigest": "CRC32C,Y-com.example.x"}, "not supported"),
        (Role.INITIATOR, {"HeaderDigest": "CRC32C, None"}, "HeaderDigest"),
        (Role.INITIATOR, {"AuthMethod": "CHAP,Foo"}, "'Foo' is not supported"),
        (Role.INITIATOR, {"X#NodeArchitecture": f"{'a' * 200},{'b' * 55}"}, "longer than 255"),
        (Role.INITIATOR, {"TaskReporting": "RFC3720"}, "TaskReporting lacks"),
        (Role.TARGET, {"TaskReporting": "ResponseFence,FastAbort"}, "TaskReporting lacks"),
        (Role.INITIATOR, {"MaxBurstLength": "1024", "FirstBurstLength": "0x401"}, "FirstBurstLength is above"),
        (Role.INITIATOR, {"FirstBurstLength": "262145"}, "FirstBurstLength is above"),
        (Role.INITIATOR, {"SessionType": "Discovery"}, "SessionType=Discovery for a session of type Normal"),
    ],
)
def test_settings_that_are_refused(role: Role, settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_settings(role, settings, NORMAL, ())


def test_settings_that_are_taken() -> None:
    check_settings(
        Role.INITIATOR,
        {
            "InitiatorName": "iqn.x",
            "SessionType": "Normal",
            "AuthMethod": "Z-com.example.method,KRB5,CHAP,None",
            "TaskReporting": "FastAbort,ResponseFence,RFC3720",
            "X#NodeArchitecture": f"{'a' * 200},{'b' * 54}",
            "X-com.example.do": "anything",
            "FirstBurstLength": "262144",
        },
        NORMAL,
        (),
    )
    check_settings(Role.TARGET, {"TaskReporting": "RFC3720"}, NORMAL, ("ErrorRecoveryLevel",))


@pytest.mark.parametrize("key", ["TargetAlias", "Foo", "X-com.example.do", "IFMarker"])
def test_only_negotiated_keys_are_proposed(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is no key that is negotiated"):
        check_settings(Role.TARGET, {}, NORMAL, (key,))


def test_proposals_of_task_reporting_name_both_values() -> None:
    with pytest.raises(ValueError, match="TaskReporting lacks"):
        check_settings(Role.TARGET, {"TaskReporting": "RFC3720"}, NORMAL, ("TaskReporting",))


def test_an_initiator_has_no_list_of_proposals() -> None:
    with pytest.raises(ValueError, match="is for targets"):
        check_settings(Role.INITIATOR, {}, NORMAL, ("MaxBurstLength",))


def test_the_defaults_are_those_of_the_table() -> None:
    defaults = {key: rule.default for key, rule in KEYS.items() if rule.negotiated and rule.default is not None}
    assert set(defaults) == PARAMETER_KEYS
    plain = OperationalParameters()
    assert plain.with_results({key: str(value) for key, value in defaults.items()}, {}, NORMAL) == plain
    for role in Role:
        assert str(plain.received_by(role)) == KEYS["MaxRecvDataSegmentLength"].default
    assert plain.session_type.value == KEYS["SessionType"].default


def test_every_key_reaches_its_own_parameter() -> None:
    other = {
        "HeaderDigest": "CRC32C",
        "DataDigest": "CRC32C",
        "MaxConnections": "2",
        "InitialR2T": "No",
        "ImmediateData": "No",
        "MaxBurstLength": "65537",
        "FirstBurstLength": "1024",
        "DefaultTime2Wait": "3",
        "DefaultTime2Retain": "4",
        "MaxOutstandingR2T": "6",
        "DataPDUInOrder": "No",
        "DataSequenceInOrder": "No",
        "ErrorRecoveryLevel": "1",
        "TaskReporting": "FastAbort",
        "iSCSIProtocolLevel": "0x2",
    }
    lengths = {Role.INITIATOR: "512", Role.TARGET: "0x400"}
    result = OperationalParameters().with_results(other, lengths, NORMAL)
    assert dataclasses.asdict(result) == {
        "header_digest": True,
        "data_digest": True,
        "max_recv_data_segment_length_initiator": 512,
        "max_recv_data_segment_length_target": 1024,
        "max_connections": 2,
        "initial_r2t": False,
        "immediate_data": False,
        "max_burst_length": 65537,
        "first_burst_length": 1024,
        "default_time2wait": 3,
        "default_time2retain": 4,
        "max_outstanding_r2t": 6,
        "data_pdu_in_order": False,
        "data_sequence_in_order": False,
        "error_recovery_level": 1,
        "session_type": NORMAL,
        "task_reporting": "FastAbort",
        "iscsi_protocol_level": 2,
    }
    assert (result.received_by(Role.INITIATOR), result.received_by(Role.TARGET)) == (512, 1024)
    fresh = result.of_new_connection()
    assert (
        dataclasses.replace(
            fresh,
            header_digest=True,
            data_digest=True,
            max_recv_data_segment_length_initiator=512,
            max_recv_data_segment_length_target=1024,
        )
        == result
    )
    assert (fresh.header_digest, fresh.data_digest) == (False, False)
    assert (fresh.received_by(Role.INITIATOR), fresh.received_by(Role.TARGET)) == (8192, 8192)


@pytest.mark.parametrize(
    ("value", "fence", "fast"), [("RFC3720", False, False), ("ResponseFence", True, False), ("FastAbort", True, True)]
)
def test_task_reporting(value: str, fence: bool, fast: bool) -> None:
    parameters = OperationalParameters(task_reporting=value)
    assert (parameters.response_fence, parameters.fast_abort) == (fence, fast)


@given(
    level=st.sampled_from("012"),
    in_order=st.sampled_from(["Yes", "No"]),
    r2ts=st.integers(1, 65535).map(str),
    burst=st.integers(512, 2**24 - 1).map(str),
    session_type=st.sampled_from(SessionType),
)
def test_dependencies_between_parameters(
    level: str, in_order: str, r2ts: str, burst: str, session_type: SessionType
) -> None:
    results = {
        "MaxConnections": "7",
        "ErrorRecoveryLevel": level,
        "DataSequenceInOrder": in_order,
        "MaxOutstandingR2T": r2ts,
        "MaxBurstLength": burst,
    }
    result = OperationalParameters().with_results(results, {}, session_type)
    discovery = session_type is SessionType.DISCOVERY
    assert result.max_connections == (1 if discovery else 7)
    assert result.error_recovery_level == (0 if discovery else int(level))
    forced = result.error_recovery_level > 0 and parse_boolean(in_order)
    assert result.max_outstanding_r2t == (1 if forced else parse_number(r2ts))
    assert result.first_burst_length == min(65536, int(burst))
