"""The login phase: every status where it belongs, stages, continuation, CHAP."""

from __future__ import annotations

import pytest

from iscsi_protocol.chap import ChapInitiator, Credentials
from iscsi_protocol.pdu import LoginResponse, NopOut
from iscsi_protocol.text import decode_pairs, encode_pairs
from iscsi_target.config import ChapConfig, ChapMutual, Limits, PortalConfig, Redirect, TargetNode, Timers
from iscsi_target.events import LoggedIn, LoginRefused
from iscsi_target.policy import Policy

TARGET = "iqn.2026-11.org.example:disk"
HOST = "iqn.2026-11.org.example:host"
USERS = {"alice": "correct-horse-1"}


def texts(pdu):
    return dict(decode_pairs(pdu.data))


def test_login_in_one_exchange(bench):
    host = bench.host()
    response = host.try_login(("MaxRecvDataSegmentLength", "65536"), ("InitialR2T", "Yes"))

    assert (response.status, response.transit, response.csg, response.nsg) == (0, True, 1, 3)
    assert response.tsih != 0
    assert response.exp_cmd_sn == 100
    assert response.max_cmd_sn == 100 + 127
    answers = texts(response)
    assert answers["TargetPortalGroupTag"] == "1"
    assert answers["InitialR2T"] == "Yes"
    assert answers["MaxRecvDataSegmentLength"] == "262144"
    host.joined(response)
    host.alive()
    (event,) = bench.events(LoggedIn)
    assert (event.initiator_name, event.target_name, event.new_session) == (HOST, TARGET, True)


def test_tsih_is_told_in_the_last_response_only(bench):
    host = bench.host()
    first = host.ask(host.login_request(host.names(), csg=0, nsg=1))
    assert (first.tsih, first.transit, first.csg, first.nsg) == (0, True, 0, 1)
    last = host.ask(host.login_request([]))
    assert last.tsih != 0
    assert last.stat_sn == first.stat_sn + 1


def test_target_says_t_only_when_asked(bench):
    host = bench.host()
    response = host.ask(host.login_request(host.names(), transit=False, nsg=0))
    assert (response.transit, response.csg, response.nsg) == (False, 1, 0)


def test_security_stage_may_lead_straight_to_full_feature_phase(bench):
    host = bench.host()
    response = host.try_login(("AuthMethod", "CHAP,None"), csg=0, nsg=3)
    assert (response.status, response.transit, response.nsg) == (0, True, 3)
    assert texts(response)["AuthMethod"] == "None"


def test_version_range_of_the_first_request_counts(bench):
    host = bench.host()
    host.ask(host.login_request(host.names(), transit=False, nsg=0))
    response = host.ask(host.login_request(version_max=1, version_min=1))
    assert response.status == 0x0200


def test_request_in_pieces_is_answered_empty_until_complete(bench):
    host = bench.host()
    whole = encode_pairs([*host.names(), ("HeaderDigest", "None")])
    first = host.login_request(transit=False, nsg=0, continued=True)
    for piece in (whole[:10], whole[10:50]):
        response = host.ask(type(first)(**{**_fields(first), "data": piece}))
        assert (response.data, response.transit, response.status) == (b"", False, 0)
    last = host.ask(
        type(first)(**{**_fields(first), "data": whole[50:], "continued": False, "transit": True, "nsg": 3})
    )
    assert last.transit
    assert texts(last)["TargetPortalGroupTag"] == "1"


def _fields(pdu):
    return {name: getattr(pdu, name) for name in pdu.FIELDS}


def test_long_answer_is_fetched_with_empty_requests(bench):
    host = bench.host()
    many = [(f"X-org.example.key{number}{'x' * 30}", "1") for number in range(170)]
    data = encode_pairs([*host.names(), *many])
    opening = host.login_request(transit=False, nsg=0, continued=True)
    assert host.ask(type(opening)(**{**_fields(opening), "data": data[:8000]})).data == b""
    request = host.login_request()
    first = host.ask(type(request)(**{**_fields(request), "data": data[8000:]}))
    assert first.continued
    assert not first.transit
    assert len(first.data) == 8192
    second = host.ask(host.login_request())
    assert second.transit
    assert not second.continued
    answers = decode_pairs(first.data + second.data)
    assert answers.count((many[3][0], "NotUnderstood")) == 1
    assert len([pair for pair in answers if pair[1] == "NotUnderstood"]) == 170


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"version_min": 1, "version_max": 2}, 0x0205),
        ({"tsih": 9}, 0x020A),
        ({"csg": 2}, 0x0200),
        ({"csg": 1, "nsg": 1}, 0x0200),
        ({"csg": 0, "nsg": 2}, 0x0200),
        ({"csg": 3}, 0x0200),
        ({"continued": True}, 0x0200),
        ({"itt": 0xFFFFFFFF}, 0x0200),
        ({"immediate": False}, 0x0200),
        ({"isid": bytes.fromhex("c00000000000")}, 0x0200),
    ],
)
def test_bad_header_ends_the_login(bench, fields, status):
    host = bench.host()
    response = host.ask(host.login_request(host.names(), **fields), LoginResponse)
    assert response.status == status
    assert host.closed == "fin"
    assert bench.engine.sessions == []
    assert [event.status for event in bench.events(LoginRefused)] == [status]


@pytest.mark.parametrize(
    ("pairs", "status"),
    [
        ([("TargetName", TARGET)], 0x0207),
        ([("InitiatorName", HOST)], 0x0207),
        ([("InitiatorName", HOST), ("TargetName", "iqn.2026-11.org.example:other")], 0x0203),
        ([("InitiatorName", "Not A Name"), ("TargetName", TARGET)], 0x0200),
        ([("InitiatorName", HOST), ("TargetName", TARGET), ("SessionType", "Strange")], 0x0209),
        ([("InitiatorName", HOST), ("TargetName", TARGET), ("InitiatorName", HOST)], 0x0200),
        ([("InitiatorName", HOST), ("TargetName", TARGET), ("AuthMethod", "None")], 0x0200),
        ([("InitiatorName", HOST), ("TargetName", TARGET), ("MaxRecvDataSegmentLength", "1")], 0x0200),
    ],
)
def test_bad_text_ends_the_login(bench, pairs, status):
    host = bench.host()
    assert host.ask(host.login_request(pairs), LoginResponse).status == status
    assert host.closed == "fin"


def test_text_that_is_none_ends_the_login(bench):
    host = bench.host()
    request = host.login_request(host.names())
    broken = type(request)(**{**_fields(request), "data": b"InitiatorName\0"})
    assert host.ask(broken).status == 0x0200


@pytest.mark.parametrize(
    ("change", "clause"),
    [({"itt": 8}, "03"), ({"cid": 5}, "01"), ({"isid": bytes.fromhex("800000000009")}, "22"), ({"tsih": 4}, "03")],
)
def test_fields_stay_the_same_during_login(bench, change, clause):
    host = bench.host()
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    assert host.ask(host.login_request([], **change)).status == 0x0200
    assert bench.events(LoginRefused)[0].reason.endswith(f"-{clause})")


@pytest.mark.parametrize("csg", [0, 3])
def test_stage_is_the_one_agreed_upon(bench, csg):
    host = bench.host()
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    assert host.ask(host.login_request([], csg=csg)).status == 0x0200


def test_redeclaration_in_a_later_request_ends_the_login(bench):
    host = bench.host()
    host.ask(host.login_request([*host.names(), ("HeaderDigest", "None")], transit=False, nsg=0))
    assert host.ask(host.login_request([("HeaderDigest", "CRC32C")])).status == 0x0200


def test_other_pdu_before_login_closes_silently(bench):
    host = bench.host()
    host.send(NopOut(itt=1))
    assert not host.inbox
    assert host.closed == "rst"


def test_other_pdu_during_login_is_told(bench):
    host = bench.host()
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    assert host.ask(NopOut(itt=1)).status == 0x020B
    assert host.closed == "fin"


def test_too_long_data_segment_during_login(bench):
    host = bench.host()
    request = host.login_request(host.names())
    host.send(type(request)(**{**_fields(request), "data": bytes(8193)}))
    assert host.take().status == 0x0200


@pytest.mark.parametrize(
    ("node", "status"),
    [
        ({"removed": True}, 0x0204),
        ({"unavailable": True}, 0x0301),
        ({"access": {"iqn.2026-11.org.example:somebody": []}}, 0x0202),
        ({"portal_groups": [2]}, 0x0203),
        ({"redirect": Redirect(address="192.0.2.1:3260")}, 0x0101),
        ({"redirect": Redirect(address="192.0.2.1", permanent=True)}, 0x0102),
    ],
)
def test_node_refuses(make_bench, node, status):
    portals = [PortalConfig(address="127.0.0.1:0"), PortalConfig(address="127.0.0.1:0", group_tag=2)]
    bench = make_bench(targets=[TargetNode(name=TARGET, **node)], portals=portals)
    response = bench.host().try_login()
    assert response.status == status
    if "redirect" in node:
        assert texts(response)["TargetAddress"] == node["redirect"].address


def test_discovery_needs_no_target_name(bench):
    host = bench.host().login(discovery=True)
    assert bench.engine.sessions[0].discovery
    assert bench.device.log == []
    assert host.tsih


def test_sessions_may_be_short(make_bench):
    bench = make_bench(limits=Limits(sessions=1))
    bench.session()
    assert bench.host(isid=bytes.fromhex("800000000002")).try_login().status == 0x0302
    assert bench.host().try_login().status == 0  # reinstatement needs no room


def test_connections_may_be_short(make_bench):
    bench = make_bench(limits=Limits(connections=1))
    bench.host()
    assert bench.host().closed == "rst"


@pytest.mark.parametrize("begun", [False, True])
def test_login_in_time_or_not_at_all(make_bench, begun):
    bench = make_bench(timers=Timers(login=5))
    host = bench.host()
    if begun:
        host.ask(host.login_request(host.names(), csg=0, nsg=1))
    bench.pass_time(4.9)
    assert host.closed is None
    bench.pass_time(0.1)
    assert host.closed == "rst"


def chap_login(host, secret, *, mutual=None, algorithms=(7, 5)):
    """Log in with CHAP by the initiator's own state machine; the last Login Response."""
    chap = ChapInitiator(
        credentials=Credentials(name="alice", secret=secret.encode()),
        target_secret=mutual.encode() if mutual else None,
        algorithms=algorithms,
        random_bytes=lambda count: bytes(range(50, 50 + count)),
    )
    pairs = [*host.names(), *chap.begin()]
    for _ in range(6):
        response = host.ask(host.login_request(pairs, csg=0, nsg=1 if chap.ready else 0, transit=chap.ready))
        if response.status:
            return response
        pairs = chap.receive(decode_pairs(response.data))
        if response.transit:
            assert chap.finished
            return response
    raise AssertionError("the login goes on and on")


@pytest.fixture
def chap_bench(make_bench):
    def make(policy=None, **chap):
        node = TargetNode(name=TARGET, chap=ChapConfig(users=USERS, **chap))
        return make_bench(targets=[node], policy=policy or Policy())

    return make


def test_chap(chap_bench):
    bench = chap_bench()
    host = bench.host()
    assert chap_login(host, USERS["alice"]).status == 0
    host.joined(host.ask(host.login_request([])))
    host.alive()
    assert bench.events(LoggedIn)[0].user == "alice"


def test_chap_both_ways(chap_bench):
    bench = chap_bench(mutual=ChapMutual(name="target", secret="another-secret-2"))
    assert chap_login(bench.host(), USERS["alice"], mutual="another-secret-2").status == 0


@pytest.mark.parametrize(("policy", "status"), [(Policy(), 0x0201), (Policy(accept_any_chap_response=True), 0)])
def test_wrong_secret(chap_bench, policy, status):
    bench = chap_bench(policy)
    assert chap_login(bench.host(), "wrong-battery-9").status == status


@pytest.mark.parametrize(
    ("fields", "pairs", "status"),
    [
        ({}, [], 0x0201),
        ({"csg": 0, "nsg": 1}, [("AuthMethod", "None")], 0x0201),
        ({"csg": 0, "nsg": 1}, [("AuthMethod", "SRP")], 0x0201),
    ],
)
def test_security_is_required(chap_bench, fields, pairs, status):
    host = chap_bench().host()
    assert host.ask(host.login_request([*host.names(), *pairs], **fields)).status == status


def test_target_proposes_chap_to_who_keeps_silent(chap_bench):
    host = chap_bench().host()
    response = host.ask(host.login_request(host.names(), csg=0, nsg=1))
    assert not response.transit
    assert texts(response)["AuthMethod"] == "CHAP"


def test_skip_authentication_switch(chap_bench):
    chap_bench(Policy(skip_authentication=True)).session()


def test_optional_chap_may_be_left_out(chap_bench):
    chap_bench(required=False).session()


def test_digests_hold_from_the_first_pdu_on(bench):
    host = bench.host().login(("HeaderDigest", "CRC32C"), ("DataDigest", "CRC32C,None"))
    assert host.digests == (True, True)
    host.alive()


def test_login_and_first_command_in_one_segment(bench):
    host = bench.host()
    first = host.login_request(host.names())
    host.send(first, host.nop_out(b"at once"))
    assert host.take(LoginResponse).transit
    assert bytes(host.take().data) == b"at once"


def test_login_request_behind_the_login_is_rejected(bench):
    host = bench.session()
    reject = host.ask(host.login_request(host.names()))
    assert type(reject).__name__ == "Reject"
    assert reject.reason == 0x04
