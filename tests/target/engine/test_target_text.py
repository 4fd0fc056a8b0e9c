"""Text requests: SendTargets, renegotiation, continuation, atomicity."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import NO_TAG, R2T, DataIn, Reject, TextResponse
from iscsi_protocol.text import decode_pairs, encode_pairs
from iscsi_target.config import Limits, PortalConfig, TargetNode
from iscsi_target.events import Negotiated
from iscsi_target.policy import Policy

NAMES = [f"iqn.2026-11.org.example:{name}" for name in ("a", "b", "c", "d")]
HOST = "iqn.2026-11.org.example:host"


@pytest.fixture
def many(make_bench):
    targets = [
        TargetNode(name=NAMES[0]),
        TargetNode(name=NAMES[1], access={"iqn.2026-11.org.example:else": []}),
        TargetNode(name=NAMES[2], portal_groups=[2]),
        TargetNode(name=NAMES[3], removed=True),
    ]
    portals = [PortalConfig(address="127.0.0.1:0"), PortalConfig(address="127.0.0.1:0", group_tag=2)]
    bench = make_bench(targets=targets, portals=portals)
    bench.engine.set_portals([(1, "127.0.0.1:3260"), (2, "[::1]:3261"), (1, "127.0.0.2:3260")])
    return bench


def pairs_of(response):
    return decode_pairs(response.data)


def ask_targets(host, value):
    response = host.ask(host.text(("SendTargets", value)), TextResponse)
    assert (response.final, response.ttt) == (True, NO_TAG)
    return pairs_of(response)


def test_all_targets(many):
    host = many.host().login(discovery=True)
    first = [
        ("TargetName", NAMES[0]),
        ("TargetAddress", "127.0.0.1:3260,1"),
        ("TargetAddress", "127.0.0.2:3260,1"),
        ("TargetAddress", "[::1]:3261,2"),
    ]
    third = [("TargetName", NAMES[2]), ("TargetAddress", "[::1]:3261,2")]
    assert ask_targets(host, "All") == first + third
    assert ask_targets(host, NAMES[2]) == third
    assert ask_targets(host, NAMES[1]) == []
    assert ask_targets(host, NAMES[3]) == []
    assert ask_targets(host, "iqn.2026-11.org.example:nobody") == []
    assert ask_targets(host, "") == [("SendTargets", "Reject")]


def test_no_address_means_the_one_in_use(bench):
    host = bench.host().login(discovery=True)
    assert ask_targets(host, "All") == [("TargetName", "iqn.2026-11.org.example:disk")]


def test_normal_session_asks_for_its_own_target_only(many):
    host = many.host().login(target=NAMES[0])
    own = ask_targets(host, "")
    assert [pair for pair in own if pair[0] == "TargetName"] == [("TargetName", NAMES[0])]
    assert ask_targets(host, NAMES[0]) == own
    assert ask_targets(host, "All") == [("SendTargets", "Reject")]
    assert ask_targets(host, NAMES[2]) == [("SendTargets", "Reject")]


def test_long_answer_comes_in_pieces(make_bench):
    targets = [TargetNode(name=f"iqn.2026-11.org.example:{'n' * 150}{number}") for number in range(10)]
    bench = make_bench(targets=targets)
    host = bench.host().login(("MaxRecvDataSegmentLength", "512"), discovery=True)
    response = host.ask(host.text(("SendTargets", "All")), TextResponse)
    text, itt = response.data, response.itt
    for _ in range(10):
        assert len(response.data) <= 512
        if response.final:
            break
        assert response.continued
        assert response.ttt != NO_TAG
        response = host.ask(host.text(itt=itt, ttt=response.ttt, lun=response.lun), TextResponse)
        text += response.data
    assert [name for _, name in decode_pairs(text)] == [node.name for node in targets]
    assert bench.engine.connections[host.number].text is None


def test_text_where_the_rest_is_to_be_fetched(make_bench):
    targets = [TargetNode(name=f"iqn.2026-11.org.example:{'n' * 150}{number}") for number in range(10)]
    host = make_bench(targets=targets).host().login(("MaxRecvDataSegmentLength", "512"), discovery=True)
    response = host.ask(host.text(("SendTargets", "All")), TextResponse)
    more = host.text(("SendTargets", "All"), itt=response.itt, ttt=response.ttt)
    assert host.ask(more, Reject).reason == 0x04


@pytest.mark.parametrize("values", [[("SendTargets", "All"), ("X-a.b", "1")], [("MaxRecvDataSegmentLength", "512")]])
def test_discovery_takes_send_targets_only(bench, values):
    host = bench.host().login(discovery=True)
    assert host.ask(host.text(*values), Reject).reason == 0x04


def test_renegotiated_length_holds_from_the_end_on(bench):
    host = bench.session()
    response = host.ask(host.text(("MaxRecvDataSegmentLength", "512"), final=False), TextResponse)
    assert (response.final, response.continued, response.data) == (False, False, b"")
    assert response.ttt != NO_TAG
    assert len(host.ask(host.read(blocks=2), DataIn).data) == 1024
    assert bench.events(Negotiated) == []
    end = host.ask(host.text(itt=response.itt, ttt=response.ttt), TextResponse)
    assert end.final
    host.send(host.read(blocks=2))
    assert [len(pdu.data) for pdu in host.inbox] == [512, 512]
    assert bench.events(Negotiated)[0].values == (("MaxRecvDataSegmentLength", "512"),)


def test_switch_applies_half_a_negotiation(make_bench):
    host = make_bench(policy=Policy(apply_partial_negotiation=True)).session()
    host.ask(host.text(("MaxRecvDataSegmentLength", "512"), final=False), TextResponse)
    host.send(host.read(blocks=2))
    assert len(host.inbox) == 2


@pytest.mark.parametrize(
    "values",
    [
        [("MaxRecvDataSegmentLength", "1")],
        [("MaxBurstLength", "512")],
        [("HeaderDigest", "None")],
        [("MaxRecvDataSegmentLength", "512"), ("MaxRecvDataSegmentLength", "512")],
    ],
)
def test_failed_negotiation_changes_nothing(bench, values):
    host = bench.session()
    opening = host.ask(host.text(("MaxRecvDataSegmentLength", "600"), final=False), TextResponse)
    reject = host.ask(host.text(*values, itt=opening.itt, ttt=opening.ttt), Reject)
    assert reject.reason == 0x04
    host.cmd_sn -= 1
    assert host.ask(host.text(itt=opening.itt, ttt=opening.ttt), Reject).reason == 0x09
    host.cmd_sn -= 1
    assert len(host.ask(host.read(blocks=2), DataIn).data) == 1024
    pong = host.ask(host.nop_out())
    assert pong.max_cmd_sn - pong.exp_cmd_sn == 127


def test_repetition_over_two_requests(bench):
    host = bench.session()
    opening = host.ask(host.text(("MaxRecvDataSegmentLength", "600"), final=False), TextResponse)
    again = host.text(("MaxRecvDataSegmentLength", "700"), itt=opening.itt, ttt=opening.ttt)
    assert host.ask(again, Reject).reason == 0x04


def test_request_in_pieces(bench):
    host = bench.session()
    whole = encode_pairs([("MaxRecvDataSegmentLength", "1024")])
    first = host.ask(host.text(data=whole[:9], final=False, continued=True), TextResponse)
    assert (first.final, first.continued, first.data) == (False, False, b"")
    last = host.ask(host.text(data=whole[9:], itt=first.itt, ttt=first.ttt), TextResponse)
    assert last.final
    assert bench.engine.connections[host.number].max_send == 1024


def test_unknown_keys_are_not_understood(bench):
    host = bench.session()
    response = host.ask(host.text(("X-org.example.what", "1"), ("Strange", "2")), TextResponse)
    assert pairs_of(response) == [("X-org.example.what", "NotUnderstood"), ("Strange", "NotUnderstood")]


def test_new_request_resets_the_old_one(bench):
    host = bench.session()
    old = host.ask(host.text(("MaxRecvDataSegmentLength", "600"), final=False), TextResponse)
    host.ask(host.text(("InitiatorAlias", "me")), TextResponse)
    assert bench.engine.connections[host.number].max_send == 8192
    assert host.ask(host.text(itt=old.itt, ttt=old.ttt), Reject).reason == 0x09


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"ttt": 5}, 0x09), ({"itt": 5}, 0x09), ({"lun": b"\1" * 8}, 0x09), ({"immediate": True}, 0x04)],
)
def test_continuation_that_does_not_fit(bench, fields, reason):
    host = bench.session()
    opening = host.ask(host.text(("InitiatorAlias", "me"), final=False), TextResponse)
    request = host.text(**{"itt": opening.itt, "ttt": opening.ttt, **fields})
    assert host.ask(request, Reject).reason == reason


def test_more_text_than_is_taken(make_bench):
    host = make_bench(limits=Limits(text_bytes=8192)).session()
    assert host.ask(host.text(data=bytes(8193)), Reject).reason == 0x0A


@pytest.mark.parametrize(
    ("fields", "reason"), [({"itt": NO_TAG}, 0x09), ({"itt": 1}, 0x07), ({"data": b"nonsense"}, 0x04)]
)
def test_requests_that_are_wrong(bench, fields, reason):
    host = bench.session()
    host.ask(host.write(blocks=2, itt=1), R2T)
    assert host.ask(host.text(**fields), Reject).reason == reason


def test_continued_and_final_is_a_format_error(bench):
    host = bench.session()
    host.send(host.text(continued=True, final=True))
    assert host.closed == "rst"


def test_immediate_text(bench):
    host = bench.session()
    response = host.ask(host.text(("SendTargets", ""), immediate=True), TextResponse)
    assert response.final
    assert response.max_cmd_sn - response.exp_cmd_sn == 127
