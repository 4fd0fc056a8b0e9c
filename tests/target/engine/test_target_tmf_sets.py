"""Sets of tasks: what is in scope, what happens to what waits, TASK ABORTED, and functions that lose their connection."""

from __future__ import annotations

from collections import deque

import pytest

from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    LogoutResponse,
    NopIn,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
)

LUN0, LUN1 = bytes(8), bytes((0, 1, 0, 0, 0, 0, 0, 0))
OTHER = bytes.fromhex("800000000007")
FAST = ("TaskReporting", "FastAbort,ResponseFence,RFC3720")
SLOW = b"\x35" + bytes(15)
FOREIGN = [TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET, TaskFunction.TARGET_WARM_RESET]
RESETS = [TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET]


def waiting_write(host, **fields):
    command = host.write(blocks=2, **fields)
    return command, host.ask(command, R2T)


def response_of(host, pdu):
    return host.ask(pdu, TaskManagementResponse).response


@pytest.mark.parametrize("function", RESETS)
def test_target_resets_reach_the_units_that_their_sender_sees(bench, function):
    host, third = bench.session(), bench.session(isid=OTHER)
    sender = bench.engine.sessions[0].nexus
    bench.device.has_lun = lambda lun, nexus: lun == LUN0 or nexus != sender
    waiting_write(third)
    _, r2t = waiting_write(third, lun=LUN1)
    if function == TaskFunction.TARGET_COLD_RESET:
        return
    assert response_of(host, host.function(function)) == 0
    third.collect()
    third.take(NopIn)
    assert third.ask(third.data_out(r2t, bytes(1024)), ScsiResponse).status == 0
    assert len(bench.engine.sessions[1].tasks) == 0


def test_target_resets_plug_gaps_and_end_waiting_commands_but_nothing_else_that_waits(bench):
    host = bench.session()
    lost = host.command()
    waiting = [host.command(), host.write(blocks=1, final=False), host.nop_out(b"still here")]
    host.send(*waiting)
    assert not host.inbox
    host.send(host.function(TaskFunction.TARGET_WARM_RESET))
    assert host.take(TaskManagementResponse).response == 0
    assert bytes(host.take(NopIn).data) == b"still here"
    host.send(lost, host.data_out(waiting[1], bytes(512), offset=0))
    assert not host.inbox
    pong = host.ask(host.nop_out(), NopIn)
    assert pong.max_cmd_sn - pong.exp_cmd_sn == 127
    assert (0, 0) not in bench.device.log


@pytest.mark.parametrize("function", FOREIGN)
def test_with_tas_third_parties_get_task_aborted_and_no_news_of_cleared_commands(bench, function):
    bench.device.tas = True
    host, third = bench.session(), bench.session(isid=OTHER)
    first, first_r2t = waiting_write(third)
    slow = third.command(SLOW)
    third.send(slow)
    host.send(host.function(function))
    assert not host.inbox
    third.send(third.data_out(first_r2t, bytes(1024)))
    answers = [third.take() for _ in range(len(third.inbox))]
    assert [(each.itt, each.status) for each in answers if isinstance(each, ScsiResponse)] == [(first.itt, 0x40)]
    bench.work()
    host.collect()
    third.collect()
    assert host.take(TaskManagementResponse).response == 0
    answer = third.take(ScsiResponse)
    assert (answer.itt, answer.status) == (slow.itt, 0x40)
    assert bench.device.attentions == {}
    assert not any(entry[0] == 0x2A for entry in bench.device.log)


def test_with_tas_the_issuing_initiator_gets_no_status(bench):
    bench.device.tas = True
    host = bench.session()
    _, r2t = waiting_write(host)
    host.send(host.function(TaskFunction.CLEAR_TASK_SET), host.data_out(r2t, bytes(1024)))
    assert host.take(TaskManagementResponse).response == 0
    assert not host.inbox


def test_with_tas_and_fast_abort_the_status_does_not_wait_for_data(bench):
    bench.device.tas = True
    host, third = bench.session(), bench.session(FAST, isid=OTHER)
    command, r2t = waiting_write(third)
    assert response_of(host, host.function(TaskFunction.CLEAR_TASK_SET)) == 0
    third.collect()
    assert third.take(AsyncMessage).async_event == 5
    answer = third.take(ScsiResponse)
    assert (answer.itt, answer.status) == (command.itt, 0x40)
    third.send(third.data_out(r2t, bytes(1024)))
    third.alive()


def test_tasks_go_on_when_the_function_is_lost_with_its_connection(bench, make_several):
    several = make_several(bench, 2)
    command = several.send(0, "write", blocks=2)
    r2t = several[0].take(R2T)
    several.send(1, "function", TaskFunction.ABORT_TASK_SET)
    several[0].send(several[0].data_out(r2t, b"a" * 512, final=False))
    several[1].hang_up()
    several.collect()
    several[0].inbox.clear()
    several[0].send(several[0].data_out(r2t, b"b" * 512, data_sn=1, offset=512))
    answer = several[0].take(ScsiResponse)
    assert (answer.itt, answer.status) == (command.itt, 0)
    assert bytes(bench.device.memory[LUN0][:1024]) == b"a" * 512 + b"b" * 512
    assert not several.session.draining


def test_a_burst_cut_short_for_a_function_that_was_lost_fails_its_task(bench, make_several):
    several = make_several(bench, 2)
    command = several.send(0, "write", blocks=2)
    r2t = several[0].take(R2T)
    lost = several.make(0, "command")
    several.send(1, "function", TaskFunction.ABORT_TASK_SET)
    several[0].send(several[0].data_out(r2t, b"a" * 512))
    assert not several[0].inbox
    several[1].hang_up()
    several.collect()
    several[0].inbox = deque(each for each in several[0].inbox if isinstance(each, ScsiResponse))
    answer = several[0].take(ScsiResponse)
    assert (answer.itt, answer.status, bytes(answer.data[14:16])) == (command.itt, 2, b"\x0c\x0d")
    assert several[0].ask(lost, ScsiResponse).status == 0


def test_a_task_stays_with_a_lost_function_for_which_its_data_was_not_missing(bench, make_several):
    several = make_several(bench, 2)
    command = several.send(0, "write", blocks=2)
    r2t = several[0].take(R2T)
    lost = several.make(0, "command")
    several.send(1, "function", TaskFunction.ABORT_TASK_SET)
    several[0].send(several[0].data_out(r2t, b"a" * 1024))
    assert not several[0].inbox
    several[1].hang_up()
    several.collect()
    answers = [each for each in several[0].inbox if isinstance(each, ScsiResponse)]
    assert [(each.itt, each.status) for each in answers] == [(command.itt, 0)]
    several[0].inbox.clear()
    assert several[0].ask(lost, ScsiResponse).status == 0


def test_another_function_still_holds_the_tasks_of_a_lost_one(bench, make_several):
    several = make_several(bench, 2)
    several.send(0, "write", blocks=2)
    r2t = several[0].take(R2T)
    several.send(1, "function", TaskFunction.ABORT_TASK_SET)
    several.send(0, "function", TaskFunction.LOGICAL_UNIT_RESET)
    several[1].hang_up()
    several.collect()
    several.acknowledge(0)
    several[0].inbox.clear()
    several[0].send(several[0].data_out(r2t, b"a" * 1024))
    assert several.seen(0) == ["TaskManagementResponse"]
    assert (0x2A, 1024) not in bench.device.log


def test_a_function_does_not_wait_for_data_of_a_lost_connection(bench, make_several):
    several = make_several(bench, 2)
    several.send(1, "write", blocks=2)
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    assert several.seen(0) == []
    several[1].hang_up()
    several.collect()
    several.acknowledge(0)
    assert "TaskManagementResponse" in several.seen(0)
    assert several.session.tasks == {}


def test_a_reset_waits_for_work_whose_session_is_gone(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    third.send(third.command(SLOW))
    host.send(host.function(TaskFunction.LOGICAL_UNIT_RESET))
    third.collect()
    third.inbox.clear()
    third.ask(third.logout(0), LogoutResponse)
    host.collect()
    assert not host.inbox
    bench.work()
    host.collect()
    assert host.take(TaskManagementResponse).response == 0


def test_the_lun_of_a_target_reset_means_nothing(bench):
    host = bench.session()
    waiting_write(host)
    host.send(host.function(TaskFunction.TARGET_WARM_RESET, lun=bytes((0, 9)) + bytes(6)))
    assert not host.inbox  # it waits for the data as any other


@pytest.mark.parametrize("function", [TaskFunction.ABORT_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET])
def test_commands_behind_the_function_are_spared_unless_it_is_a_reset(bench, function):
    host = bench.session()
    pending = host.function(function, immediate=False)
    command, r2t = host.write(blocks=2), None
    lost = host.command()
    host.cmd_sn -= 1
    host.send(pending)
    host.take(TaskManagementResponse)
    host.send(command)
    r2t = host.take(R2T)
    late = host.function(function, cmd_sn=pending.cmd_sn)
    host.send(late)
    if function == TaskFunction.ABORT_TASK_SET:
        assert host.take(TaskManagementResponse).response == 0
        assert host.ask(host.data_out(r2t, bytes(1024)), ScsiResponse).status == 0
    else:
        host.send(host.data_out(r2t, bytes(1024)))
        assert host.take(TaskManagementResponse).response == 0
        assert not host.inbox
    assert host.ask(lost, ScsiResponse).status == 0


def test_immediate_tasks_are_aborted_singly_and_in_sets(bench):
    host = bench.session()
    command, r2t = waiting_write(host, immediate=True)
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=command.itt, ref_cmd_sn=host.cmd_sn)
    assert response_of(host, abort) == 0
    again, _ = waiting_write(host, immediate=True)
    host.send(host.data_out(r2t, bytes(1024)))
    task = bench.engine.sessions[0].tasks[again.itt]
    host.send(host.function(TaskFunction.ABORT_TASK_SET))
    (ttt,) = task.r2ts
    host.send(host.data_out(r2t, bytes(1024), itt=again.itt, ttt=ttt))
    assert host.take(TaskManagementResponse).response == 0
    assert bench.engine.core.connections[host.number].immediate_tasks == 0
