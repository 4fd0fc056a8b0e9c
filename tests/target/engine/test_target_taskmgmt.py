"""Task management: what each function ends, waits for and answers."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    AsyncMessage,
    NopIn,
    NopOut,
    Reject,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
    TextResponse,
)
from iscsi_target.config import Timers
from iscsi_target.events import TaskFunctionDone, Violation
from iscsi_target.policy import Policy

LUN0, LUN1, LUN9 = bytes(8), bytes((0, 1, 0, 0, 0, 0, 0, 0)), bytes((0, 9, 0, 0, 0, 0, 0, 0))
SLOW = b"\x35" + bytes(15)
OTHER = bytes.fromhex("800000000007")
SETS = [TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET]


def waiting_write(host, **fields):
    """A write whose R2T is open."""
    command = host.write(blocks=2, **fields)
    return command, host.ask(command, R2T)


def response_of(host, pdu):
    return host.ask(pdu, TaskManagementResponse).response


def test_abort_of_a_waiting_task(bench):
    host = bench.session()
    command, r2t = waiting_write(host)
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    answer = host.ask(abort, TaskManagementResponse)
    assert (answer.response, answer.itt) == (0, abort.itt)
    assert answer.max_cmd_sn - answer.exp_cmd_sn == 127
    host.send(host.data_out(r2t, bytes(1024)))
    assert not host.inbox
    host.alive()
    assert [event.clause for event in bench.events(Violation)] == ["R7143-10.7-02"]
    assert bench.engine.core.data_out_bytes == 0


def test_abort_without_the_immediate_mark(bench):
    host = bench.session()
    command, _ = waiting_write(host)
    abort = host.function(1, immediate=False, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    assert response_of(host, abort) == 0
    host.alive()


def test_abort_of_a_task_at_the_device_waits_for_it(bench):
    host = bench.session()
    command = host.command(SLOW)
    host.send(command)
    host.send(host.function(TaskFunction.ABORT_TASK, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn))
    assert not host.inbox
    bench.work()
    host.collect()
    assert host.take(TaskManagementResponse).response == 0
    assert not host.inbox


def test_abort_of_a_finished_task(bench):
    host = bench.session()
    command = host.command()
    host.ask(command)
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    assert response_of(host, abort) == 1


@pytest.mark.parametrize("ref", [-1, 300])
def test_abort_outside_of_the_window(bench, ref):
    host = bench.session()
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=99, ref_cmd_sn=host.cmd_sn + ref)
    assert response_of(host, abort) == 1


def test_abort_of_an_immediate_task_that_is_over(bench):
    host = bench.session()
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=99, ref_cmd_sn=host.cmd_sn)
    assert response_of(host, abort) == 1


@pytest.mark.parametrize("kept", [False, True])
def test_abort_of_a_missing_command_counts_it_as_received(make_bench, kept):
    host = make_bench(policy=Policy(keep_plugged_gap=kept)).session()
    lost, later = host.command(), host.command()
    host.send(later)
    assert not host.inbox
    host.send(host.function(TaskFunction.ABORT_TASK, referenced_task_tag=lost.itt, ref_cmd_sn=lost.cmd_sn))
    first = host.take(TaskManagementResponse)
    assert first.response == 0
    assert len(host.inbox) == (0 if kept else 1)
    if not kept:
        host.take(ScsiResponse)
        pong = host.ask(host.nop_out(), NopIn)
        assert pong.max_cmd_sn - pong.exp_cmd_sn == 127
        host.send(lost)
        assert not host.inbox


def test_abort_of_a_command_that_waits_for_another(bench):
    host = bench.session()
    first, second = host.command(), host.command()
    host.send(second)
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=second.itt, ref_cmd_sn=second.cmd_sn)
    assert response_of(host, abort) == 0
    assert host.ask(first, ScsiResponse).exp_cmd_sn == first.cmd_sn + 1
    host.alive()
    assert bench.device.log.count((0, 0)) == 1


def test_abort_with_another_lun_finds_nothing(bench):
    host = bench.session()
    command, r2t = waiting_write(host)
    abort = host.function(1, lun=LUN1, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    assert response_of(host, abort) == 1
    host.ask(host.data_out(r2t, bytes(1024)), ScsiResponse)


def test_abort_in_other_words_for_the_lun(bench):
    host = bench.session()
    command, _ = waiting_write(host, lun=LUN1)
    bench.device.has_lun = lambda lun, nexus: True
    flat = bytes((0x40, 1, 0, 0, 0, 0, 0, 0))
    abort = host.function(1, lun=flat, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    assert response_of(host, abort) == 0


def test_abort_of_a_text_negotiation(bench):
    host = bench.session()
    request = host.text(("MaxRecvDataSegmentLength", "4096"), final=False)
    host.ask(request, TextResponse)
    abort = host.function(1, referenced_task_tag=request.itt, ref_cmd_sn=request.cmd_sn)
    assert response_of(host, abort) == 0
    assert bench.engine.connections[host.number].max_send == 8192


@pytest.mark.parametrize("function", [TaskFunction.ABORT_TASK, TaskFunction.TASK_REASSIGN])
def test_functions_are_not_aborted(bench, function):
    host = bench.session()
    waiting_write(host)
    pending = host.function(TaskFunction.ABORT_TASK_SET)
    host.send(pending)
    assert not host.inbox
    assert response_of(host, host.function(function, referenced_task_tag=pending.itt, ref_cmd_sn=pending.cmd_sn)) == 255


def test_abort_of_a_task_that_is_being_aborted_waits_as_well(bench):
    host = bench.session()
    command = host.command(SLOW)
    host.send(command)
    aborts = [host.function(1, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn) for _ in range(2)]
    host.send(*aborts)
    assert not host.inbox
    bench.work()
    host.collect()
    assert [(pdu.itt, pdu.response) for pdu in host.inbox] == [(each.itt, 0) for each in aborts]


def test_abort_of_a_function_whose_turn_has_not_come(bench):
    host = bench.session()
    missing, early = host.command(), host.function(TaskFunction.ABORT_TASK_SET, immediate=False)
    host.send(early)
    abort = host.function(1, referenced_task_tag=early.itt, ref_cmd_sn=early.cmd_sn)
    assert response_of(host, abort) == 255
    host.send(missing)
    host.acknowledge()
    answers = [(pdu.itt, pdu.response) for pdu in host.inbox if isinstance(pdu, TaskManagementResponse)]
    assert answers == [(early.itt, 0)]


def test_switch_lets_aborted_tasks_go_on(make_bench):
    host = make_bench(policy=Policy(execute_aborted_tasks=True)).session()
    command, r2t = waiting_write(host)
    abort = host.function(1, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    assert response_of(host, abort) == 0
    assert host.ask(host.data_out(r2t, bytes(1024)), ScsiResponse).status == 0


@pytest.mark.parametrize("function", [1, *SETS])
def test_functions_of_a_missing_lun(bench, function):
    host = bench.session()
    assert response_of(host, host.function(function, lun=LUN9)) == 2


@pytest.mark.parametrize("function", [0, 3, 9, 10, 11, 12, 13, 127])
def test_functions_that_are_not_there(bench, function):
    host = bench.session()
    assert response_of(host, host.function(function, lun=LUN9)) == 5


def test_reassign_belongs_to_level_2(bench):
    host = bench.session()
    assert response_of(host, host.function(TaskFunction.TASK_REASSIGN, referenced_task_tag=3)) == 4
    assert host.ask(host.function(TaskFunction.TASK_REASSIGN, immediate=False), Reject).reason == 0x04


@pytest.mark.parametrize("function", SETS)
def test_set_functions_wait_for_open_r2ts(bench, function):
    host = bench.session()
    _, r2t = waiting_write(host)
    _, other_r2t = waiting_write(host, lun=LUN1)
    host.send(host.function(function))
    assert not host.inbox
    host.send(host.data_out(r2t, bytes(512), final=False))
    assert not host.inbox
    host.send(host.data_out(r2t, bytes(512), data_sn=1, offset=512))
    assert host.take(TaskManagementResponse).response == 0
    assert not host.inbox
    assert not any(entry[0] == 0x2A for entry in bench.device.log)
    assert (("reset_lun", LUN0) in bench.device.log) is (function == TaskFunction.LOGICAL_UNIT_RESET)
    assert host.ask(host.data_out(other_r2t, bytes(1024)), ScsiResponse).status == 0
    assert [event.function for event in bench.events(TaskFunctionDone)] == [function]


def test_set_functions_do_without_data_that_never_comes_only_where_its_connection_goes(make_bench, make_several):
    bench = make_bench(timers=Timers(data_out=5))
    several = make_several(bench, 2)
    several.send(1, "write")
    assert several.seen(1) == ["R2T"]
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    bench.pass_time(5)
    assert several[1].closed == "rst"
    several.collect()
    several.acknowledge(0)
    assert several.seen(0) == ["AsyncMessage", "TaskManagementResponse"]


def test_set_functions_wait_for_missing_commands_and_swallow_them(bench):
    host = bench.session()
    lost, unsolicited = host.command(), host.write(blocks=1, final=False)
    host.send(unsolicited)
    host.send(host.function(TaskFunction.ABORT_TASK_SET))
    assert not host.inbox
    host.send(lost)
    assert host.take(TaskManagementResponse).response == 0
    assert not host.inbox
    host.send(host.data_out(unsolicited, bytes(512), offset=0))
    host.alive()
    assert bench.device.log == [("made", host.tsih)]
    pong = host.ask(host.nop_out(), NopIn)
    assert pong.max_cmd_sn - pong.exp_cmd_sn == 127


@pytest.mark.parametrize("function", [TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET])
@pytest.mark.parametrize("later", [False, True])
def test_set_functions_leave_immediate_commands_behind_them_alone(bench, function, later):
    host = bench.session()
    _, r2t = waiting_write(host)
    before = host.command(SLOW, immediate=True)
    if not later:
        host.send(before)
    host.send(host.function(function, immediate=False))
    behind = host.command(SLOW, immediate=True)
    if later:
        host.send(behind)
    assert (before.cmd_sn, behind.cmd_sn) == (101, 102)
    host.send(host.data_out(r2t, bytes(1024)))
    bench.work()
    host.collect()
    answered = [pdu.itt for pdu in host.inbox if isinstance(pdu, ScsiResponse)]
    assert answered == ([behind.itt] if later else [])
    host.acknowledge()
    assert [pdu.response for pdu in host.inbox if isinstance(pdu, TaskManagementResponse)] == [0]


def test_set_functions_wait_for_acknowledgements(bench):
    host = bench.session()
    host.ask(host.command(), ScsiResponse)
    stale = host.exp_stat_sn - 1
    host.send(host.function(TaskFunction.ABORT_TASK_SET, exp_stat_sn=stale))
    ping = host.take(NopIn)
    assert ping.ttt != NO_TAG
    assert not host.inbox
    host.send(NopOut(immediate=True, ttt=ping.ttt, lun=ping.lun, cmd_sn=host.cmd_sn, exp_stat_sn=host.exp_stat_sn))
    assert host.take(TaskManagementResponse).response == 0


def test_switches_skip_waits_and_fence(make_bench):
    host = make_bench(policy=Policy(skip_abort_wait=True, skip_abort_fence=True)).session()
    waiting_write(host)
    assert response_of(host, host.function(TaskFunction.ABORT_TASK_SET, exp_stat_sn=0)) == 0


def test_abort_task_set_leaves_other_sessions_alone(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    _, r2t = waiting_write(third)
    assert response_of(host, host.function(TaskFunction.ABORT_TASK_SET)) == 0
    assert third.ask(third.data_out(r2t, bytes(1024)), ScsiResponse).status == 0


def test_clear_task_set_reaches_other_sessions(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    _, r2t = waiting_write(third)
    assert response_of(host, host.function(TaskFunction.CLEAR_TASK_SET)) == 0
    third.collect()
    counters = third.take(NopIn)
    assert (counters.itt, counters.ttt) == (NO_TAG, NO_TAG)
    assert counters.max_cmd_sn - counters.exp_cmd_sn == 127
    third.send(third.data_out(r2t, bytes(1024)))
    assert not third.inbox
    attention = third.ask(third.command(), ScsiResponse)
    assert bytes(attention.data[14:16]) == b"\x2f\x00"
    assert third.ask(third.command(), ScsiResponse).status == 0


def test_reset_waits_for_the_device_in_other_sessions(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    third.send(third.command(SLOW))
    host.send(host.function(TaskFunction.LOGICAL_UNIT_RESET))
    assert not host.inbox
    bench.work()
    host.collect()
    third.collect()
    assert host.take(TaskManagementResponse).response == 0
    assert not [pdu for pdu in third.inbox if isinstance(pdu, ScsiResponse)]


def test_warm_reset_ends_everything_at_once(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    host.command()  # never sent: the reset counts it as received
    waiting_write(third, lun=LUN1)
    pdu = host.function(TaskFunction.TARGET_WARM_RESET)
    answer = host.ask(pdu, TaskManagementResponse)
    assert answer.response == 0
    assert ("reset_target",) in bench.device.log
    assert third.engine.sessions[1].tasks == {}
    host.alive()


def test_cold_reset_ends_all_connections(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    discovery = bench.host(isid=bytes.fromhex("800000000008")).login(discovery=True)
    assert response_of(host, host.function(TaskFunction.TARGET_COLD_RESET)) == 0
    third.collect()
    notice = third.take(AsyncMessage)
    assert (notice.async_event, notice.parameter3) == (3, 0)
    assert (host.closed, third.closed, discovery.closed) == ("fin", "fin", None)
    assert [session.discovery for session in bench.engine.sessions] == [True]
    assert ("power_on",) in bench.device.log


def test_too_many_immediate_functions(bench):
    host = bench.session()
    waiting_write(host)
    for _ in range(16):
        host.send(host.function(TaskFunction.ABORT_TASK_SET))
    assert not host.inbox
    assert host.ask(host.function(TaskFunction.ABORT_TASK_SET), Reject).reason == 0x06


@pytest.mark.parametrize(("fields", "reason"), [({"itt": NO_TAG}, 0x09), ({"itt": 1}, 0x07), ({"data": b"none"}, None)])
def test_requests_that_are_wrong(bench, fields, reason):
    host = bench.session()
    waiting_write(host, itt=1)
    host.send(host.function(TaskFunction.ABORT_TASK_SET, **fields))
    if reason is None:
        assert host.closed == "rst"
    else:
        assert host.take(Reject).reason == reason


def test_task_tag_of_a_waiting_function_is_in_use(bench):
    host = bench.session()
    waiting_write(host)
    pending = host.function(TaskFunction.ABORT_TASK_SET)
    host.send(pending)
    assert host.ask(host.command(itt=pending.itt), Reject).reason == 0x07
    host.cmd_sn -= 1
    assert host.ask(host.function(1, itt=pending.itt), Reject).reason == 0x07
