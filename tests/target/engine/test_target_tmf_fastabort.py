"""FastAbort: no wait for data, event 5 where tasks end, transfer tags that stay valid until that is acknowledged."""

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
)
from iscsi_target.events import Violation

FAST = ("TaskReporting", "FastAbort,ResponseFence,RFC3720")
OTHER = bytes.fromhex("800000000007")
LUN0, LUN1 = bytes(8), bytes((0, 1, 0, 0, 0, 0, 0, 0))
FLAT1 = bytes((0x40, 1, 0, 0, 0, 0, 0, 0))
SETS = [TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET]
SHARED = [TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET, TaskFunction.TARGET_WARM_RESET]


def waiting_write(host, **fields):
    command = host.write(blocks=2, **fields)
    return command, host.ask(command, R2T)


def acknowledge(host, message):
    """What 11.9.1 wants for event 5."""
    numbers = {"cmd_sn": host.cmd_sn, "exp_stat_sn": host.exp_stat_sn}
    host.send(NopOut(immediate=True, itt=NO_TAG, ttt=NO_TAG, lun=message.lun, **numbers))


def test_fast_abort_is_agreed_on_where_it_is_offered_first(bench):
    host = bench.session(FAST)
    assert bench.engine.sessions[0].parameters.fast_abort
    assert host.closed is None


@pytest.mark.parametrize("function", SETS)
def test_the_issuing_session_does_not_wait_for_data(bench, function):
    host = bench.session(FAST)
    _, r2t = waiting_write(host)
    answer = host.ask(host.function(function), TaskManagementResponse)
    assert answer.response == 0
    assert not bench.engine.sessions[0].tasks
    host.send(host.data_out(r2t, bytes(1024)))
    host.alive()
    assert [event.clause for event in bench.events(Violation)] == ["R7143-10.7-02"]
    assert not any(entry[0] == 0x2A for entry in bench.device.log)


def test_missing_commands_are_waited_for_all_the_same(bench):
    host = bench.session(FAST)
    lost = host.command()
    host.send(host.function(TaskFunction.ABORT_TASK_SET))
    assert not host.inbox
    host.send(lost)
    assert host.take(TaskManagementResponse).response == 0
    assert not host.inbox
    assert bench.device.log.count((0, 0)) == 0


@pytest.mark.parametrize("function", SHARED)
def test_third_parties_get_event_5_for_each_unit(bench, function):
    host, third = bench.session(), bench.session(FAST, isid=OTHER)
    waiting_write(third)
    waiting_write(third, lun=LUN1)
    waiting_write(third, lun=LUN1)
    assert host.ask(host.function(function), TaskManagementResponse).response == 0
    third.collect()
    messages = [third.take(AsyncMessage) for _ in range(len(third.inbox))]
    assert {(each.async_event, each.lun) for each in messages} == (
        {(5, LUN0), (5, LUN1)} if function == TaskFunction.TARGET_WARM_RESET else {(5, LUN0)}
    )
    assert all(each.max_cmd_sn - each.exp_cmd_sn >= 125 for each in messages)


@pytest.mark.parametrize("pairs", [(), (("TaskReporting", "RFC3720,ResponseFence"),)])
@pytest.mark.parametrize("issuer", [(), (FAST,)])
def test_third_parties_without_it_get_no_event_5(bench, pairs, issuer):
    host, third = bench.session(*issuer), bench.session(*pairs, isid=OTHER)
    _, r2t = waiting_write(third)
    assert host.ask(host.function(TaskFunction.CLEAR_TASK_SET), TaskManagementResponse).response == 0
    third.collect()
    assert (third.take(NopIn).ttt, list(third.inbox)) == (NO_TAG, [])
    third.send(third.data_out(r2t, bytes(1024)))
    assert bytes(third.ask(third.command(), ScsiResponse).data[14:16]) == b"\x2f\x00"


def test_third_parties_without_tasks_get_no_event_5(bench):
    host, third = bench.session(FAST), bench.session(FAST, isid=OTHER)
    waiting_write(third, lun=LUN1)
    assert host.ask(host.function(TaskFunction.LOGICAL_UNIT_RESET), TaskManagementResponse).response == 0
    third.collect()
    assert not third.inbox


@pytest.mark.parametrize("spelling", [LUN1, FLAT1])
def test_tags_are_valid_until_the_message_is_acknowledged(bench, spelling):
    bench.device.has_lun = lambda lun, nexus: True
    host, third = bench.session(), bench.session(FAST, isid=OTHER)
    command, r2t = waiting_write(third, lun=LUN1)
    host.ask(host.function(TaskFunction.CLEAR_TASK_SET, lun=spelling), TaskManagementResponse)
    third.collect()
    message = third.take(AsyncMessage)
    session = bench.engine.sessions[1]
    third.send(third.data_out(r2t, bytes(512), final=False))
    assert not third.inbox
    acknowledge(third, message)
    assert session.terminations == []
    assert session.forgotten == {}
    reject = third.ask(third.data_out(r2t, bytes(512), data_sn=1, offset=512), Reject)
    assert (reject.reason, command.itt) == (0x09, r2t.itt)


def test_an_answer_about_another_unit_acknowledges_nothing(bench):
    host, third = bench.session(), bench.session(FAST, isid=OTHER)
    waiting_write(third, lun=LUN1)
    host.ask(host.function(TaskFunction.CLEAR_TASK_SET, lun=LUN1), TaskManagementResponse)
    third.collect()
    message = third.take(AsyncMessage)
    third.send(NopOut(immediate=True, itt=NO_TAG, lun=LUN0, cmd_sn=third.cmd_sn, exp_stat_sn=third.exp_stat_sn))
    stale = {"cmd_sn": third.cmd_sn, "exp_stat_sn": message.stat_sn}
    third.send(NopOut(immediate=True, itt=NO_TAG, lun=LUN1, **stale))
    session = bench.engine.sessions[1]
    assert len(session.terminations) == (0 if session.connections[0].acknowledged > message.stat_sn else 1)
    acknowledge(third, message)
    assert session.terminations == []


def test_other_connections_of_the_issuing_session_get_event_5_and_the_response_waits_for_them(bench, make_several):
    several = make_several(bench, 3, FAST)
    for place in range(3):
        several.acknowledge(place)
    for place in (0, 1):
        several.send(place, "write", blocks=2)
        assert isinstance(several[place].take(), R2T)
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    assert several.seen(0) == []
    assert several.seen(2) == []
    message = several[1].take(AsyncMessage)
    assert (message.async_event, message.lun) == (5, LUN0)
    assert isinstance(several[1].take(), NopIn)
    several[1].cmd_sn = several.cmd_sn
    acknowledge(several[1], message)
    several.collect()
    assert several.seen(0) == ["TaskManagementResponse"]


def test_a_message_is_forgotten_with_its_connection(bench, make_several):
    host = bench.session()
    third = make_several(bench, 2, FAST, isid=OTHER)
    for place in (0, 1):
        third.send(place, "write", blocks=2)
    host.send(host.function(TaskFunction.CLEAR_TASK_SET))
    third.collect()
    assert len(third.session.terminations) == 2
    third[1].hang_up()
    third.acknowledge(0)
    assert third.session.terminations == []
