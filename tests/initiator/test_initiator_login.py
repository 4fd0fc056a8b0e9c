"""The login: what goes out, and each event that a login response can raise, beside what is legal."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import Failure, ScsiRequest, SessionUp
from iscsi_initiator.settings import (
    PREFER_DIGEST,
    REQUIRE_DIGEST,
    ChapOptions,
    SessionOptions,
    Settings,
)
from iscsi_protocol.chap import Credentials, response
from iscsi_protocol.eventlog import words
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, ScsiCommand, UnknownPdu, encode
from iscsi_protocol.text import decode_pairs, encode_pairs

TARGET = "iqn.2026-01.org.example:disk"
PLAIN = SessionOptions(portal=Endpoint("192.0.2.10", 3260), target_name=TARGET)
OURS = Credentials(name="initiator", secret=b"secretsecret1")
CHAP = replace(PLAIN, chap=ChapOptions(credentials=OURS))
OPTIONAL = replace(PLAIN, chap=ChapOptions(credentials=OURS, required=False))
MUTUAL = replace(PLAIN, chap=ChapOptions(credentials=OURS, target_secret=b"othersecret12"))
CHALLENGE = "0x" + bytes(range(16)).hex()


def refused(bench, event, extra=None):
    """The login ended with this event alone, and the connection was closed by the initiator."""
    assert bench.log == [event]
    if extra is not None:
        assert bench.dump(event) == extra
    assert bench.over is not None
    assert bench.over.event == event
    assert bench.closed == [bench.connection]


def test_what_a_plain_login_says(bench):
    made = bench()
    first = made.security()
    assert decode_pairs(first.data) == [
        ("InitiatorName", made.settings.initiator_name),
        ("TargetName", TARGET),
        ("AuthMethod", "None"),
    ]
    assert (first.transit, first.csg, first.nsg, first.tsih, first.cid) == (True, 0, 1, 0, 0)
    made.respond(first, made.consent(first))
    second = made.take(LoginRequest)
    offered = dict(decode_pairs(second.data))
    assert offered["InitialR2T"] == "No"
    assert (offered["ErrorRecoveryLevel"], offered["MaxConnections"]) == ("2", "32")
    assert offered["MaxRecvDataSegmentLength"] == "65536"
    assert (second.itt, second.isid, second.cmd_sn) == (first.itt, first.isid, first.cmd_sn)
    assert second.exp_stat_sn == 0x1001
    made.respond(second, made.consent(second))
    assert made.of(SessionUp)[0].tsih == 7
    assert made.log == []
    made.submit(ScsiRequest(0, bytes(6)))
    assert made.take(ScsiCommand).cmd_sn == first.cmd_sn


def test_a_discovery_session_says_so_and_offers_less(bench):
    made = bench(options=SessionOptions(portal=PLAIN.portal))
    first = made.security()
    assert ("SessionType", "Discovery") in decode_pairs(first.data)
    made.respond(first, made.consent(first))
    assert "MaxBurstLength" not in dict(decode_pairs(made.take(LoginRequest).data))


def test_a_target_that_takes_its_time_to_leave_a_stage(bench):
    made = bench()
    first = made.security()
    made.respond(first, made.consent(first), transit=False, nsg=0)
    again = made.take(LoginRequest)
    assert (again.transit, again.csg, again.data) == (True, 0, b"")
    made.respond(again)
    assert made.take(LoginRequest).csg == 1


def test_text_of_a_target_over_several_responses(bench):
    made = bench()
    request = made.operational()
    text = encode_pairs(made.consent(request))
    half = len(text) // 2
    made.respond(request, transit=False, nsg=0, continued=True, data=text[:half])
    more = made.take(LoginRequest)
    assert (more.data, more.transit) == (b"", True)
    made.respond(more, data=text[half:])
    assert made.ups == 1
    assert made.log == []


def test_what_a_target_offers_of_its_own_accord_is_answered(bench):
    made = bench(answers={"MaxRecvDataSegmentLength": "8192"})
    request = made.operational()
    pairs = [*made.consent(request), ("X-org.example.key", "1"), ("IFMarker", "No")]
    made.respond(request, pairs, transit=False, nsg=0)
    answer = dict(decode_pairs(made.take(LoginRequest).data))
    assert answer == {"X-org.example.key": "NotUnderstood", "IFMarker": "Reject"}


# 1, 59


@pytest.mark.parametrize(
    ("host", "family", "packed"),
    [
        ("192.0.2.10", 2, bytes([192, 0, 2, 10])),
        ("2001:db8::1", 23, bytes.fromhex("20010db8000000000000000000000001")),
    ],
)
@pytest.mark.parametrize("reason", [TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE])
def test_1_no_connection(bench, host, family, packed, reason):
    made = bench(options=replace(PLAIN, portal=Endpoint(host, 3261)), settings=Settings(portal_retry_count=1))
    made.refuse(reason)
    assert made.log == [1]
    assert made.dump(1) == struct.pack("<HH", family, 3261) + packed
    assert made.over is None
    made.advance(1)  # DelayBetweenReconnect, PortalRetryCount
    made.refuse(reason)
    assert made.log == [1, 1]
    assert made.over is not None
    assert made.over.unreachable


@pytest.mark.parametrize("stage", [0, 1])
@pytest.mark.parametrize("reason", [TransportEvent.FIN, TransportEvent.RST])
def test_59_dropped_during_login(bench, stage, reason):
    made = bench()
    if stage:
        made.operational()
    else:
        made.security()
    made.lose(reason)
    assert made.log == [59]
    assert made.dump(59) == b""
    assert made.over is not None
    assert not made.over.unreachable


def test_59_not_behind_a_refusal(bench):
    made = bench()
    made.respond(made.security(), status_class=3, status_detail=1)
    made.lose(TransportEvent.FIN)
    assert made.log == [10]


# 43


@pytest.mark.parametrize("stage", [0, 1])
def test_43_silence(bench, stage):
    made = bench()
    if stage:
        made.operational()
    else:
        made.security()
    made.advance(29.9)
    assert made.log == []
    made.advance(0.2)
    refused(made, 43, words(3))


# 10, 40


@pytest.mark.parametrize("status", [*range(0x0200, 0x020D), 0x0300, 0x0301, 0x0302, 0x0303, 0x0400, 0xFF00])
def test_10_refusals(bench, status):
    made = bench(options=OPTIONAL)
    request = made.security()
    reply = LoginResponse(itt=request.itt, status_class=status >> 8, status_detail=status & 0xFF, data=b"A=b\0")
    made.give(reply)
    refused(made, 10, encode(reply).to_bytes())
    assert made.over.login_status == status


def test_40_authentication_failure_where_chap_was_not_offered(bench):
    made = bench()
    made.respond(made.security(), status_class=2, status_detail=1)
    refused(made, 40, b"")


def test_40_the_target_insists_on_chap(bench):
    made = bench()
    made.respond(made.security(), [("AuthMethod", "CHAP")], transit=False, nsg=0)
    refused(made, 40, b"")


# 11


@pytest.mark.parametrize(
    "fields",
    [
        {"nsg": 2},
        {"nsg": 0},
        {"nsg": 3},
        {"csg": 1, "nsg": 3},
        {"csg": 2},
        {"isid": bytes(6)},
        {"itt": 0x55},
        {"version_active": 1},
        {"continued": True},
        {"data": b"AuthMethod=None\0NoEquals\0"},
        {"data": b"AuthMethod=None\0NoNul=1"},
        {"data": b"AuthMethod=None\0=1\0"},
        {"data": b"AuthMethod=None\0TargetPortalGroupTag=70000\0"},
        {"data": b"AuthMethod=None\0InitiatorName=iqn.2026-01.x:y\0"},
        {"data": b"AuthMethod=None\0lower=1\0"},
    ],
)
def test_11_in_the_security_stage(bench, fields):
    made = bench()
    request = made.security()
    made.respond(request, made.consent(request), **fields)
    refused(made, 11)
    assert made.dump(11)[:1] == b"\x23"


@pytest.mark.parametrize(
    "fields",
    [
        {"tsih": 0},
        {"csg": 0},
        {"nsg": 1},
        {"data": b""},
        {"data": b"CHAP_A=5\0"},
        {"data": b"AuthMethod=None\0"},
        {"data": b"MaxBurstLength=511\0"},
        {"data": b"MaxBurstLength=262145\0"},
        {"data": b"MaxBurstLength=many\0"},
        {"data": b"HeaderDigest=Foo\0"},
        {"data": b"ImmediateData=maybe\0"},
        {"data": b"MaxRecvDataSegmentLength=1\0"},
        {"data": b"DefaultTime2Wait=1\0"},
        {"data": b"ErrorRecoveryLevel=1\0"},
        {"data": b"HeaderDigest=None\0HeaderDigest=None\0"},
    ],
)
def test_11_in_the_operational_stage(bench, fields):
    made = bench()
    request = made.operational()
    made.respond(request, made.consent(request), **fields)
    refused(made, 11)


def test_11_t_without_the_requests(bench):
    made = bench(options=CHAP)
    request = made.security()
    assert not request.transit
    made.respond(request, [("AuthMethod", "CHAP")], transit=True, nsg=1)
    refused(made, 11)


def test_11_something_that_is_no_login_response(bench):
    made = bench()
    made.security()
    pdu = NopIn(stat_sn=1)
    made.give(pdu)
    refused(made, 11, encode(pdu).to_bytes())


def test_24_before_11(bench):
    made = bench()
    made.security()
    made.give(UnknownPdu(opcode=0x03, data=b"four"))
    refused(made, 24)


def test_11_text_without_end(bench):
    made = bench()
    request = made.security()
    for _ in range(9):
        made.respond(request, transit=False, nsg=0, continued=True, data=bytes(8192))
        if made.over is not None:
            break
        request = made.take(LoginRequest)
    refused(made, 11)


def test_11_a_login_without_end(bench):
    made = bench()
    request = made.security()
    made.respond(request, made.consent(request), transit=False, nsg=0)
    for _ in range(200):
        if made.over is not None:
            break
        made.respond(made.take(LoginRequest), transit=False, nsg=0)
    refused(made, 11)


def test_11_not_where_the_policy_passes_over(bench):
    made = bench(policy=Policy(accept_invalid_login=True))
    request = made.security()
    made.respond(request, made.consent(request), isid=bytes(6))
    assert made.take(LoginRequest).csg == 1


@pytest.mark.parametrize(
    "pairs",
    [
        [("TargetAlias", "the disk")],
        [("TargetPortalGroupTag", "0")],
        [("TargetPortalGroupTag", "0x1")],
        [("TargetAlias", "é" * 100)],
    ],
)
def test_what_a_target_may_declare_in_the_security_stage(bench, pairs):
    made = bench()
    request = made.security()
    made.respond(request, [*made.consent(request), *pairs])
    assert made.log == []
    assert made.take(LoginRequest).csg == 1


# 12


def redirect(made, data, detail=1):
    made.respond(made.security(), status_class=1, status_detail=detail, transit=False, nsg=0, data=data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"TargetAddress=\0",
        b"TargetAddress=192.0.2.20:0\0",
        b"TargetAddress=192.0.2.20:65536\0",
        b"TargetAddress=[2001:db8::1:3260\0",
        b"TargetAddress=2001:db8::1\0",
        b"TargetAddress=192.0.2.20,1\0",
        b"TargetAddress=192.0.2.300\0",
        b"TargetAddress=a\0TargetAddress=b\0",
        b"TargetAlias=x\0",
    ],
)
@pytest.mark.parametrize("detail", [1, 2])
def test_12_redirects_to_nowhere(bench, data, detail):
    made = bench()
    redirect(made, data, detail)
    refused(made, 12, data)


@pytest.mark.parametrize("detail", [1, 2])
@pytest.mark.parametrize(
    ("data", "endpoint"),
    [
        (b"TargetAddress=192.0.2.20\0", Endpoint("192.0.2.20", 3260)),
        (b"TargetAddress=[2001:db8::1]:3261\0", Endpoint("2001:db8::1", 3261)),
        (b"TargetAddress=disks.example.org:1\0", Endpoint("disks.example.org", 1)),
    ],
)
def test_redirects_are_followed(bench, data, endpoint, detail):
    made = bench()
    redirect(made, data, detail)
    first = made.connection
    assert made.closed == [first]
    assert made.wanted[0].endpoint == endpoint
    made.stat_sn = 0x9000
    made.login()
    assert made.ups == 1
    assert made.log == []
    made.lose()
    made.advance(60)
    assert made.wanted[0].endpoint == (endpoint if detail == 2 else made.options.portal)


def test_12_redirects_without_end(bench):
    made = bench(settings=Settings(max_login_redirects=3))
    for _ in range(4):
        redirect(made, b"TargetAddress=192.0.2.20\0")
    assert made.log == [12]
    assert made.over is not None


# 13 to 17, 33, 38, 41


def chap_step(bench, options, pairs, steps):
    """Walk the CHAP exchange so far as `steps`, then say these pairs."""
    made = bench(options=options)
    request = made.security()
    if steps > 0:
        made.respond(request, [("AuthMethod", "CHAP")], transit=False, nsg=0)
        request = made.take(LoginRequest)
        assert decode_pairs(request.data) == [("CHAP_A", "5")]
    if steps > 1:
        made.respond(request, [("CHAP_A", "5"), ("CHAP_I", "42"), ("CHAP_C", CHALLENGE)], transit=False, nsg=0)
        request = made.take(LoginRequest)
        expected = response(5, 42, OURS.secret, bytes(range(16)))
        assert dict(decode_pairs(request.data))["CHAP_R"] == f"0x{expected.hex()}"
        assert request.transit
    made.respond(request, pairs, transit=steps == 2, nsg=1 if steps == 2 else 0)
    return made


@pytest.mark.parametrize("method", ["Foo", "KRB5", "SRP", "CHAP,None", "NotUnderstood"])
def test_13_methods(bench, method):
    refused(chap_step(bench, CHAP, [("AuthMethod", method)], 0), 13, method.encode())


def test_13_none_offered_and_something_else_taken(bench):
    refused(chap_step(bench, PLAIN, [("AuthMethod", "SRP")], 0), 13, b"SRP")


@pytest.mark.parametrize("method", ["None", "Reject"])
def test_38_chap_required_and_not_given(bench, method):
    refused(chap_step(bench, CHAP, [("AuthMethod", method)], 0), 38, b"")


def test_38_not_where_chap_is_optional(bench):
    made = bench(options=OPTIONAL)
    request = made.security()
    made.respond(request, [("AuthMethod", "None")], transit=False, nsg=0)
    assert made.take(LoginRequest).transit
    assert made.log == []


@pytest.mark.parametrize("options", [PLAIN, CHAP])
def test_41_no_auth_method(bench, options):
    refused(chap_step(bench, options, [("TargetAlias", "x")], 0), 41, b"")


@pytest.mark.parametrize("algorithm", ["99", "x", "7", "5,7", ""])
def test_14_algorithms(bench, algorithm):
    pairs = [("CHAP_A", algorithm), ("CHAP_I", "1"), ("CHAP_C", CHALLENGE)]
    refused(chap_step(bench, CHAP, pairs, 1), 14, algorithm.encode())


@pytest.mark.parametrize("challenge", ["0xZZ", "0b!!", "0bQUI", "abc", "", "0x"])
def test_15_challenges(bench, challenge):
    pairs = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", challenge)]
    refused(chap_step(bench, CHAP, pairs, 1), 15, challenge.encode())


@pytest.mark.parametrize("base64", [False, True])
def test_33_a_challenge_of_1025_bytes(bench, base64):
    challenge = "0b" + "A" * 1364 + "AAA=" if base64 else "0x" + "00" * 1025
    pairs = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", challenge)]
    refused(chap_step(bench, CHAP, pairs, 1), 33, words(1025))


def test_33_not_for_1024_bytes(bench):
    made = chap_step(bench, CHAP, [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", "0x" + "00" * 1024)], 1)
    assert made.log == []


@pytest.mark.parametrize(
    ("pairs", "extra"),
    [
        ([("CHAP_A", "5"), ("CHAP_I", "256"), ("CHAP_C", CHALLENGE)], b"CHAP_I=256"),
        ([("CHAP_A", "5"), ("CHAP_I", "x"), ("CHAP_C", CHALLENGE)], b"CHAP_I=x"),
        ([("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", CHALLENGE), ("CHAP_Q", "1")], b"CHAP_Q=1"),
        ([("CHAP_A", "5"), ("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", CHALLENGE)], b"CHAP_A=5"),
        (
            [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", CHALLENGE), ("MaxBurstLength", "512")],
            b"MaxBurstLength=512",
        ),
    ],
)
def test_16_keys(bench, pairs, extra):
    refused(chap_step(bench, CHAP, pairs, 1), 16, extra)


def test_16_not_for_an_x_key(bench):
    pairs = [("CHAP_A", "5"), ("CHAP_I", "1"), ("CHAP_C", CHALLENGE), ("X-org.example.a", "1")]
    made = chap_step(bench, CHAP, pairs, 1)
    assert made.log == []
    assert ("X-org.example.a", "NotUnderstood") in decode_pairs(made.take(LoginRequest).data)


def test_one_way_chap_goes_through(bench):
    made = chap_step(bench, CHAP, [], 2)
    request = made.take(LoginRequest)
    assert request.csg == 1
    made.respond(request, made.consent(request))
    assert made.ups == 1
    assert made.log == []


def mutual(bench, secret, policy=None, break_it=lambda value: value):
    made = bench(options=MUTUAL, **({"policy": policy} if policy else {}))
    made.respond(made.security(), [("AuthMethod", "CHAP")], transit=False, nsg=0)
    pairs = [("CHAP_A", "5"), ("CHAP_I", "42"), ("CHAP_C", CHALLENGE)]
    made.respond(made.take(LoginRequest), pairs, transit=False, nsg=0)
    request = made.take(LoginRequest)
    keys = dict(decode_pairs(request.data))
    answer = response(5, int(keys["CHAP_I"]), secret, bytes.fromhex(keys["CHAP_C"][2:]))
    value = break_it(f"0x{answer.hex()}")
    made.respond(request, [("CHAP_N", "target"), ("CHAP_R", value)])
    return made, value


def test_mutual_chap_goes_through(bench):
    made, _ = mutual(bench, b"othersecret12")
    assert made.take(LoginRequest).csg == 1
    assert made.log == []


@pytest.mark.parametrize(
    ("secret", "break_it"),
    [
        (b"wrongsecret12", str),
        (OURS.secret, str),
        (b"othersecret12", lambda value: value[:-2]),
        (b"othersecret12", lambda value: value + "00"),
        (b"othersecret12", lambda _: "0xZZ"),
    ],
)
def test_17_the_targets_response(bench, secret, break_it):
    made, value = mutual(bench, secret, break_it=break_it)
    refused(made, 17, value.encode())


def test_17_not_where_the_policy_takes_any(bench):
    made, _ = mutual(bench, b"wrongsecret12", Policy(accept_any_target_authentication=True))
    assert made.take(LoginRequest).csg == 1
    assert made.log == []


@pytest.mark.parametrize(
    ("options", "event"),
    [
        (replace(PLAIN, chap=ChapOptions(credentials=Credentials(name="i", secret=b"elevenbytes"))), 35),
        (replace(PLAIN, chap=ChapOptions(credentials=OURS, target_secret=b"elevenbytes")), 36),
    ],
)
def test_short_secrets_are_not_used(bench, options, event):
    made = bench(options=options)
    made.connect()
    refused(made, event, words(11))
    assert made.sent == []


# 18, 19, 61, 62, 4, 3


@pytest.mark.parametrize(("key", "event"), [("HeaderDigest", 18), ("DataDigest", 19)])
@pytest.mark.parametrize("answer", ["None", "Reject", None])
def test_18_and_19_required_digests(bench, key, event, answer):
    options = replace(PLAIN, header_digest=REQUIRE_DIGEST, data_digest=REQUIRE_DIGEST)
    made = bench(options=options, answers={key: answer})
    request = made.operational()
    made.respond(request, made.consent(request))
    refused(made, event, b"")


def test_18_not_where_a_digest_is_only_preferred(bench):
    made = bench(
        options=replace(PLAIN, header_digest=PREFER_DIGEST, data_digest=PREFER_DIGEST),
        answers={"HeaderDigest": "None", "DataDigest": "None"},
    )
    made.login()
    assert made.log == []
    assert not made.engine.parameters(made.session).header_digest


@pytest.mark.parametrize(("key", "event"), [("DataPDUInOrder", 61), ("DataSequenceInOrder", 62)])
def test_61_and_62_order(bench, key, event):
    made = bench(answers={key: "No"})
    request = made.operational()
    made.respond(request, made.consent(request))
    refused(made, event, b"")


def test_4_bursts(bench):
    made = bench(answers={"MaxBurstLength": "4096", "FirstBurstLength": "8192"})
    request = made.operational()
    made.respond(request, made.consent(request))
    refused(made, 4, words(8192, 4096))


def test_4_not_for_equal_bursts(bench):
    made = bench(answers={"MaxBurstLength": "4096", "FirstBurstLength": "4096"})
    made.login()
    assert made.ups == 1
    assert made.log == []


@pytest.mark.parametrize("exp_cmd_sn", [1, 0, 0xFFFFFFFF, 0x80000000])
@pytest.mark.parametrize("back", [2, 3, 2**31 - 1])
def test_3_a_window_that_is_none(bench, exp_cmd_sn, back):
    made = bench()
    request = made.operational()
    max_cmd_sn = (exp_cmd_sn - back) & 0xFFFFFFFF
    made.respond(request, made.consent(request), exp_cmd_sn=exp_cmd_sn, max_cmd_sn=max_cmd_sn)
    refused(made, 3, words(exp_cmd_sn, max_cmd_sn))


@pytest.mark.parametrize("ahead", [-1, 0, 1])
def test_3_not_for_a_closed_window(bench, ahead):
    made = bench()
    request = made.operational()
    made.respond(request, made.consent(request), exp_cmd_sn=1, max_cmd_sn=(1 + ahead) & 0xFFFFFFFF)
    assert made.log == []
    request = ScsiRequest(0, bytes(6))
    made.submit(request)
    assert bool(made.sent) is (ahead >= 0)


def test_3_only_in_the_final_response(bench):
    made = bench()
    request = made.security()
    made.respond(request, made.consent(request), exp_cmd_sn=10, max_cmd_sn=1)
    assert made.log == []


def test_the_first_that_applies_wins(bench):
    options = replace(PLAIN, header_digest=REQUIRE_DIGEST)
    made = bench(options=options, answers={"HeaderDigest": "None", "DataPDUInOrder": "No", "MaxBurstLength": "512"})
    request = made.operational()
    made.respond(request, made.consent(request), exp_cmd_sn=10, max_cmd_sn=1)
    refused(made, 18)


@pytest.mark.parametrize(("others", "event"), [({"DataPDUInOrder": "No"}, 18), ({"MaxBurstLength": "many"}, 18)])
def test_a_missing_answer_wins_like_a_wrong_one(bench, others, event):
    options = replace(PLAIN, header_digest=REQUIRE_DIGEST)
    made = bench(options=options, answers={"HeaderDigest": None, **others})
    request = made.operational()
    made.respond(request, made.consent(request))
    refused(made, event)


def test_requests_that_wait_for_a_login_fail_with_it(bench):
    made = bench()
    request = ScsiRequest(0, bytes(6))
    made.submit(request)
    made.respond(made.security(), status_class=2, status_detail=3)
    assert request.failure is Failure.LOGIN_FAILED
    late = ScsiRequest(0, bytes(6))
    made.submit(late)
    assert late.failure is Failure.NOT_CONNECTED
