"""Response fences: what waits for acknowledgements, on which sessions, and in which order it goes out then."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import (
    NO_TAG,
    NopIn,
    Reject,
    RejectReason,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
)

FENCED = ("TaskReporting", "RFC3720,ResponseFence")
FENCED_FIRST = ("TaskReporting", "ResponseFence,RFC3720")
OTHER = bytes.fromhex("800000000007")
LUN1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))
SETS = [TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET]
RESETS = [TaskFunction.LOGICAL_UNIT_RESET, TaskFunction.TARGET_WARM_RESET]
PREEMPT_AND_ABORT = b"\x5f\x05" + bytes(14)


def unacknowledged(several, place):
    """A response on that connection that the initiator has not acknowledged."""
    several.send(place, "command")
    assert isinstance(several[place].take(), ScsiResponse)


@pytest.mark.parametrize("function", SETS)
@pytest.mark.parametrize("reporting", [(), (FENCED_FIRST,)])
def test_the_response_waits_for_every_connection(bench, make_several, function, reporting):
    several = make_several(bench, 3, *reporting)
    unacknowledged(several, 1)
    unacknowledged(several, 2)
    several.send(0, "function", function)
    assert [type(pdu) for pdu in several[1].inbox] == [NopIn]
    assert [type(pdu) for pdu in several[2].inbox] == [NopIn]
    several.acknowledge(1)
    assert several.seen(0) == []
    several.acknowledge(2)
    assert several.seen(0) == ["TaskManagementResponse"]


@pytest.mark.parametrize("reporting", [(), (FENCED_FIRST,)])
def test_later_responses_wait_behind_the_function(bench, make_several, reporting):
    several = make_several(bench, 2, *reporting)
    unacknowledged(several, 1)
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    several.send(1, "read", lun=LUN1, exp_stat_sn=several[1].exp_stat_sn - 1)
    several.send(0, "command")
    assert several.seen(0) == []
    assert [type(pdu) for pdu in several[1].inbox] == [NopIn]
    several.acknowledge(1)
    if reporting:
        # The fence is over when its own response is acknowledged, and only then do others go out (4.2.2.3.3 c, d).
        assert several.seen(0) == ["TaskManagementResponse"]
        assert several.seen(1) == []
        several.acknowledge(0)
        assert several.seen(0) == ["ScsiResponse"]
    else:
        assert several.seen(0) == ["TaskManagementResponse", "ScsiResponse"]
    assert several.seen(1) == ["DataIn"]
    assert several.session.fence is None


def test_functions_wait_in_turn(bench, make_several):
    several = make_several(bench, 2, FENCED_FIRST)
    unacknowledged(several, 1)
    first = several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    second = several.send(0, "function", TaskFunction.ABORT_TASK, referenced_task_tag=77, ref_cmd_sn=0)
    assert several.seen(0) == []
    several.acknowledge(1)
    assert [pdu.itt for pdu in several[0].inbox if not isinstance(pdu, NopIn)] == [first.itt]
    several.acknowledge(0)
    answers = [pdu for pdu in several[0].inbox if isinstance(pdu, TaskManagementResponse)]
    assert [(pdu.itt, pdu.response) for pdu in answers] == [(first.itt, 0), (second.itt, 1)]


def test_a_function_behind_the_fence_is_not_aborted(bench, make_several):
    several = make_several(bench, 2)
    unacknowledged(several, 1)
    first = several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    several.send(0, "function", TaskFunction.ABORT_TASK, referenced_task_tag=first.itt, ref_cmd_sn=first.cmd_sn)
    several.acknowledge(1)
    answers = [pdu.response for pdu in several[0].inbox if isinstance(pdu, TaskManagementResponse)]
    assert answers == [0, 255]


def test_functions_of_one_task_behind_the_fence_are_tasks(bench, make_several):
    several = make_several(bench, 2)
    unacknowledged(several, 1)
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    nobody = {"referenced_task_tag": 77, "ref_cmd_sn": 0}
    held = [several.send(0, "function", TaskFunction.ABORT_TASK, **nobody) for _ in range(14)]
    about = {"referenced_task_tag": held[0].itt, "ref_cmd_sn": held[0].cmd_sn}
    last = several.send(0, "function", TaskFunction.ABORT_TASK, **about)
    several.send(0, "command", itt=held[0].itt)
    several.send(0, "function", TaskFunction.ABORT_TASK, **nobody)
    rejects = [pdu.reason for pdu in several[0].inbox if isinstance(pdu, Reject)]
    assert rejects == [RejectReason.TASK_IN_PROGRESS, RejectReason.IMMEDIATE_COMMAND_REJECT]
    several.acknowledge(1)
    several.acknowledge(0)
    answers = {pdu.itt: pdu.response for pdu in several[0].inbox if isinstance(pdu, TaskManagementResponse)}
    assert [answers[each.itt] for each in held] == [1] * 14
    assert answers[last.itt] == 255
    assert several.session.functions == []


def test_a_connection_that_goes_away_holds_nothing_up(bench, make_several):
    several = make_several(bench, 2, FENCED_FIRST)
    unacknowledged(several, 1)
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    assert several.seen(0) == []
    several[1].hang_up()
    several[0].collect()
    assert "TaskManagementResponse" in several.seen(0)


def test_the_response_is_lost_with_its_connection(bench, make_several):
    several = make_several(bench, 2, FENCED_FIRST)
    unacknowledged(several, 1)
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    several[0].hang_up()
    several.acknowledge(1)
    assert several.session.functions == []
    several.send(1, "command")
    assert several.seen(1)[-1] == "ScsiResponse"
    assert several.session.fence is None


@pytest.mark.parametrize("function", RESETS)
def test_the_first_news_of_a_reset_is_fenced_at_third_parties(bench, make_several, function):
    host = bench.session()
    third = make_several(bench, 2, FENCED_FIRST, isid=OTHER)
    unacknowledged(third, 0)
    host.send(host.function(function))
    session = third.session
    bench.device.establish_attention(session.nexus, bytes(8), 0x2903)
    third[0].inbox.clear()
    third.send(1, "command")
    assert third.seen(1) == []
    third.send(1, "command")
    third.acknowledge(0)
    assert third.seen(1) == ["ScsiResponse"]
    third.acknowledge(1)
    assert third.seen(1) == ["ScsiResponse"]
    assert session.fence is None


def test_third_parties_without_fences_are_answered_at_once(bench, make_several):
    host = bench.session()
    third = make_several(bench, 2, isid=OTHER)
    unacknowledged(third, 0)
    host.send(host.function(TaskFunction.LOGICAL_UNIT_RESET))
    third.send(1, "command")
    assert third.seen(1) == ["ScsiResponse"]


def test_the_fence_stands_until_the_unit_attention(bench, make_several):
    host = bench.session()
    third = make_several(bench, 2, FENCED_FIRST, isid=OTHER)
    third.acknowledge(0)
    host.send(host.function(TaskFunction.LOGICAL_UNIT_RESET))
    bench.device.establish_attention(third.session.nexus, bytes(8), 0x2903)
    inquiry = third.send(1, "command", b"\x12" + bytes(15))
    assert third[1].take(ScsiResponse).itt == inquiry.itt
    third.acknowledge(1)
    assert third.session.fence is not None
    third.send(1, "command")
    assert third[1].take(ScsiResponse).status == 2
    third.acknowledge(1)
    assert third.session.fence is None


@pytest.mark.parametrize("reporting", [(), (FENCED_FIRST,)])
def test_preempt_and_abort_is_fenced(bench, make_several, reporting):
    several = make_several(bench, 2, *reporting)
    unacknowledged(several, 0)
    several.send(1, "command", PREEMPT_AND_ABORT, write=True)
    assert several.seen(1) == ([] if reporting else ["ScsiResponse"])
    several.acknowledge(0)
    assert several.seen(1) == (["ScsiResponse"] if reporting else [])


def test_one_connection_needs_no_fence_but_the_acknowledgement(bench):
    host = bench.session(FENCED)
    host.send(host.command(), host.function(TaskFunction.ABORT_TASK_SET), host.command())
    first = host.take(ScsiResponse)
    ping = host.take(NopIn)
    assert ping.ttt != NO_TAG
    assert not host.inbox
    host.acknowledge()
    assert host.take(TaskManagementResponse).stat_sn == first.stat_sn + 1
    assert host.take(ScsiResponse).stat_sn == first.stat_sn + 2
