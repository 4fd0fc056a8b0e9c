"""Settings for what the standard leaves to a target: where status goes, what it says of itself, where it sends logins."""

from __future__ import annotations

import pytest
from tests.target.engine.conftest import BLOCK, TARGET

from iscsi_protocol.pdu import R2T, DataIn, LoginResponse, Reject, RejectReason, ScsiResponse, Stage
from iscsi_protocol.text import decode_pairs
from iscsi_target.completion import Completion
from iscsi_target.config import ChapConfig, ConfigError, PortalConfig, Redirect, TargetConfig, TargetNode, parse_config
from iscsi_target.node import check_offered, settings_for
from iscsi_target.policy import Policy

ERL1 = ("ErrorRecoveryLevel", "1")


def node(**settings):
    return [TargetNode(name=TARGET, **settings)]


@pytest.mark.parametrize("level", [(), (ERL1,)])
@pytest.mark.parametrize(
    ("blocks", "expected", "pdus", "residual"), [(1, BLOCK, 1, 0), (4, 4 * BLOCK, 4, 0), (2, 3 * BLOCK, 2, BLOCK)]
)
def test_without_phase_collapse_status_has_a_pdu_of_its_own(make_bench, level, blocks, expected, pdus, residual):
    bench = make_bench(targets=node(phase_collapse=False))
    host = bench.session(("MaxRecvDataSegmentLength", "512"), *level)
    host.send(host.read(0, blocks, expected_data_transfer_length=expected))
    data = [host.take(DataIn) for _ in range(pdus)]
    assert not any(pdu.status_present for pdu in data)
    assert [pdu.final for pdu in data] == [False] * (pdus - 1) + [True]
    response = host.take(ScsiResponse)
    assert (response.status, response.exp_data_sn, response.residual_count) == (0, pdus, residual)
    assert not host.inbox


def test_with_phase_collapse_it_has_none(make_bench):
    host = make_bench().session()
    assert host.ask(host.read(), DataIn).status_present


@pytest.mark.parametrize("collapse", [True, False])
def test_bad_status_never_rides(make_bench, collapse):
    bench = make_bench(targets=node(phase_collapse=collapse))
    host = bench.session()
    bench.device.next = Completion(0x08)
    assert host.ask(host.read(), ScsiResponse).status == 0x08


def test_keys_left_out_have_the_standard_s_defaults(make_bench):
    bench = make_bench(targets=node(keys_left_out=["MaxRecvDataSegmentLength", "MaxOutstandingR2T"]))
    host = bench.host()
    response = host.try_login(("MaxOutstandingR2T", "8"))
    pairs = dict(decode_pairs(response.data))
    assert "MaxRecvDataSegmentLength" not in pairs
    assert pairs["MaxOutstandingR2T"] == "1"
    host.joined(response)
    host.send(host.nop_out(bytes(8193)))
    assert host.closed


def test_proposed_keys_want_an_answer(make_bench):
    bench = make_bench(targets=node(keys_proposed=["FirstBurstLength"]))
    host = bench.host()
    response = host.try_login()
    assert not response.transit
    assert dict(decode_pairs(response.data))["FirstBurstLength"] == "262144"
    assert not host.ask(host.login_request(), LoginResponse).transit
    assert host.ask(host.login_request([("FirstBurstLength", "4096")]), LoginResponse).transit


def test_proposed_keys_that_the_initiator_brought_up_are_answered_only(make_bench):
    bench = make_bench(targets=node(keys_proposed=["FirstBurstLength"]))
    assert bench.host().try_login(("FirstBurstLength", "4096")).transit


@pytest.mark.parametrize("setting", ["keys_left_out", "keys_proposed"])
def test_what_is_no_key_is_refused(setting):
    with pytest.raises(ConfigError, match="'Colour' is no text key"):
        parse_config(f'[[targets]]\nname = "{TARGET}"\n{setting} = ["Colour"]')


def test_what_no_target_proposes_is_refused():
    with pytest.raises(ConfigError, match=f"keys of {TARGET}"):
        check_offered(TargetConfig(targets=node(keys_proposed=["SendTargets"])))


def test_keys_are_left_out_of_their_node_alone():
    config = TargetConfig(targets=node(keys_left_out=["HeaderDigest"]))
    assert "HeaderDigest" not in settings_for(config, config.targets[0], 1)
    assert "HeaderDigest" in settings_for(config, None, 1)


@pytest.mark.parametrize("length", [1, 16, 255])
def test_challenges_have_the_length_set(make_bench, length):
    chap = ChapConfig(users={"tester": "one-way-secret-1"}, challenge_length=length)
    host = make_bench(targets=node(chap=chap)).host()
    security = {"csg": Stage.SECURITY, "nsg": Stage.OPERATIONAL, "transit": False}
    host.ask(host.login_request([*host.names(), ("AuthMethod", "CHAP")], **security), LoginResponse)
    response = host.ask(host.login_request([("CHAP_A", "5")], **security), LoginResponse)
    assert len(dict(decode_pairs(response.data))["CHAP_C"]) == 2 + 2 * length


@pytest.mark.parametrize("length", [0, 1025])
def test_other_challenges_are_refused(length):
    with pytest.raises(ValueError, match="challenge_length is 1 to 1024"):
        ChapConfig(users={"tester": "one-way-secret-1"}, challenge_length=length)


PORTALS = [(1, "127.0.0.1:3260"), (1, "127.0.0.2:3260"), (2, "127.0.0.3:3260")]


@pytest.mark.parametrize(
    ("portal", "at", "sent_to"),
    [
        ("next", "127.0.0.1", "127.0.0.2:3260"),
        ("next", "127.0.0.2", "127.0.0.3:3260"),
        ("next", "127.0.0.3", None),
        ("next", "127.0.0.9", None),
        ("same", "127.0.0.1", "127.0.0.1:3260"),
        ("same", "127.0.0.3", "127.0.0.3:3260"),
    ],
)
@pytest.mark.parametrize("permanent", [False, True])
def test_logins_are_sent_from_portal_to_portal(make_bench, portal, at, sent_to, permanent):
    portals = [PortalConfig(address=address, group_tag=tag) for tag, address in PORTALS]
    redirect = Redirect(portal=portal, permanent=permanent)
    bench = make_bench(targets=node(redirect=redirect), portals=portals)
    bench.engine.set_portals(PORTALS)
    response = bench.host(portal=at).try_login()
    assert response.status == (0 if sent_to is None else 0x0102 if permanent else 0x0101)
    assert dict(decode_pairs(response.data)).get("TargetAddress") == sent_to


@pytest.mark.parametrize("both", [{}, {"address": "192.0.2.1", "portal": "next"}])
def test_a_redirection_has_one_goal(both):
    with pytest.raises(ValueError, match="an address or a portal"):
        Redirect(**both)


@pytest.mark.parametrize("judged", [True, False])
def test_an_exp_stat_sn_that_was_never_due(make_bench, judged):
    host = make_bench(targets=node(judge_exp_stat_sn=judged)).session()
    host.exp_stat_sn += 1
    answer = host.ask(host.nop_out(b"ahead", immediate=True))
    assert isinstance(answer, Reject) is judged
    if judged:
        assert answer.reason == RejectReason.PROTOCOL_ERROR
    host.exp_stat_sn = answer.stat_sn + 1
    host.alive()


@pytest.mark.parametrize("dropped", [True, False])
@pytest.mark.parametrize("wrong", [{"data_sn": 1}, {"offset": BLOCK}, {"data": bytes(BLOCK)}, {"lun": b"\xff" * 8}])
def test_bad_data_out_ends_the_session_by_policy(make_bench, dropped, wrong):
    host = make_bench(policy=Policy(drop_bad_data_out=dropped)).session(("ImmediateData", "No"), ("InitialR2T", "Yes"))
    r2t = host.ask(host.write(0, 2), R2T)
    host.send(host.data_out(r2t, **{"data": bytes(2 * BLOCK), **wrong}))
    assert bool(host.closed) is dropped


@pytest.mark.parametrize(("name", "asked_for"), [("Maxburstlength", "4096"), ("MAXBURSTLENGTH", "512")])
@pytest.mark.parametrize("folded", [True, False])
def test_keys_in_any_case_by_policy(make_bench, name, asked_for, folded):
    host = make_bench(policy=Policy(fold_key_names=folded)).host()
    pairs = decode_pairs(host.try_login((name, asked_for)).data)
    assert (name, asked_for if folded else "NotUnderstood") in pairs
