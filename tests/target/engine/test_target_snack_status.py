"""Status SNACK: responses go out again as they were, with the window of now (RFC 7143 11.16, Appendix D.3.3)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iscsi_protocol.pdu import (
    NO_TAG,
    AsyncMessage,
    DataIn,
    NopIn,
    Reject,
    RejectReason,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskFunction,
    TaskManagementResponse,
    TextResponse,
)
from iscsi_target.config import Limits

KEYS = {"ErrorRecoveryLevel": "2"}
LEVEL1 = ("ErrorRecoveryLevel", "1")


def snack(host, begin=0, length=0, **fields):
    values = {"snack_type": SnackType.STATUS, "exp_stat_sn": host.exp_stat_sn, "beg_run": begin, "run_length": length}
    return SnackRequest(**{**values, **fields})


@pytest.fixture
def bench(make_bench):
    return make_bench(keys=KEYS)


@pytest.fixture
def host(bench):
    return bench.session(LEVEL1)


def unacknowledged(host, count=3):
    """Responses that the initiator behaves as if it had not got."""
    first = host.exp_stat_sn
    for _ in range(count):
        host.send(host.command())
        host.exp_stat_sn = first
    answers = list(host.inbox)
    host.inbox.clear()
    return first, answers


def same(again, before):
    """An exact replica but for the window."""
    assert again == replace(before, exp_cmd_sn=again.exp_cmd_sn, max_cmd_sn=again.max_cmd_sn)


@pytest.mark.parametrize(
    ("begin", "length", "found"), [(0, 0, (0, 1, 2)), (1, 0, (1, 2)), (1, 1, (1,)), (0, 3, (0, 1, 2))]
)
def test_status_runs(host, begin, length, found):
    first, answers = unacknowledged(host)
    host.send(snack(host, first + begin if begin or length else 0, length))
    again = list(host.inbox)
    assert len(again) == len(found)
    for pdu, index in zip(again, found, strict=True):
        same(pdu, answers[index])
        assert pdu.exp_cmd_sn == host.cmd_sn


def test_every_kind_of_response(host, bench):
    first = host.exp_stat_sn
    host.send(host.read())
    host.exp_stat_sn = first
    host.send(host.nop_out(b"abc"))
    host.exp_stat_sn = first
    host.send(host.text(("SendTargets", "")))
    host.exp_stat_sn = first
    host.send(host.function(TaskFunction.ABORT_TASK, referenced_task_tag=99, ref_cmd_sn=1))
    host.exp_stat_sn = first
    bench.engine.send_vendor_async(host.number, 250, 1, b"data", bench.clock.now)
    host.collect()
    host.exp_stat_sn = first
    host.send(snack(host, 77, 1))
    host.exp_stat_sn = first
    answers = list(host.inbox)
    host.inbox.clear()
    kinds = [DataIn, NopIn, TextResponse, TaskManagementResponse, AsyncMessage, Reject]
    assert [type(each) for each in answers] == kinds
    host.send(snack(host))
    again = list(host.inbox)
    assert [type(each) for each in again] == kinds
    for pdu, before in zip(again, answers, strict=True):
        same(pdu, before)


def test_acknowledged_status_is_gone(host):
    first, _ = unacknowledged(host)
    host.exp_stat_sn = first + 2
    reject = host.ask(snack(host, first, 1), Reject)
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    host.exp_stat_sn = first + 2
    assert host.ask(snack(host, first + 2, 1), ScsiResponse).stat_sn == first + 2


@pytest.mark.parametrize(("begin", "length"), [(3, 1), (3, 0), (2, 2), (0, 4), (1000, 1), (1, 0xFFFFFFFF)])
def test_status_never_sent(host, begin, length):
    first, _ = unacknowledged(host)
    assert host.ask(snack(host, first + begin, length), Reject).reason == RejectReason.PROTOCOL_ERROR


@pytest.mark.parametrize("fields", [{"itt": 5}, {"ttt": 5}, {"ttt": 0}])
def test_tags_of_a_status_snack(host, fields):
    unacknowledged(host)
    assert host.ask(snack(host, **fields), Reject).reason == RejectReason.INVALID_PDU_FIELD


def test_nothing_unacknowledged(host):
    host.ask(host.command())
    host.send(snack(host))
    assert not host.inbox
    host.alive()


def test_ping_uses_no_stat_sn_and_is_not_kept(host, bench):
    bench.engine.tell_counters(host.number, bench.clock.now)
    host.collect()
    assert host.take(NopIn).ttt == NO_TAG
    host.send(snack(host))
    assert not host.inbox


def test_stat_sn_that_wraps(bench):
    bench.engine.core.random_bytes = lambda count: b"\xff" * count
    host = bench.host()
    link = bench.engine.core.connections[host.number]
    link.stat_sn = link.acknowledged = host.exp_stat_sn = 0xFFFFFFFE
    host.login(LEVEL1)
    assert host.exp_stat_sn == 0xFFFFFFFF
    _, answers = unacknowledged(host)
    assert [each.stat_sn for each in answers] == [0xFFFFFFFF, 0, 1]
    host.send(snack(host, 0xFFFFFFFF, 3))
    assert [host.take().stat_sn for _ in range(3)] == [0xFFFFFFFF, 0, 1]


def test_limit_of_what_is_kept(make_bench):
    bench = make_bench(keys=KEYS, limits=Limits(retained_responses=2))
    host = bench.session(LEVEL1)
    first, _ = unacknowledged(host, 2)
    host.send(host.command())
    host.exp_stat_sn = first
    ping = host.take(NopIn)
    assert ping.itt == NO_TAG
    assert ping.ttt != NO_TAG
    assert not host.inbox
    assert not host.send(host.command()).inbox
    host.exp_stat_sn = first + 2
    host.send(host.nop_out(immediate=True, itt=NO_TAG, ttt=ping.ttt))
    assert [type(host.take()) for _ in range(2)] == [ScsiResponse, ScsiResponse]


@pytest.mark.parametrize(
    "request_of", [lambda host: host.command(immediate=True), lambda host: host.nop_out(immediate=True)]
)
def test_immediate_requests_at_the_limit(make_bench, request_of):
    bench = make_bench(keys=KEYS, limits=Limits(retained_responses=2))
    host = bench.session(LEVEL1)
    unacknowledged(host, 2)
    host.send(request_of(host))
    host.take(NopIn)
    assert host.take(Reject).reason == RejectReason.IMMEDIATE_COMMAND_REJECT
