"""The functions of RFC 7144: questions about tasks and unit attentions, I_T NEXUS RESET, and the level that they need."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import R2T, NopIn, ScsiResponse, TaskFunction, TaskManagementResponse, TextResponse

LEVEL_2 = ("iSCSIProtocolLevel", "2")
OTHER = bytes.fromhex("800000000007")
SLOW = b"\x35" + bytes(15)
LUN0, LUN1, LUN9 = (bytes((0, lun, 0, 0, 0, 0, 0, 0)) for lun in (0, 1, 9))
QUERY_TASK, QUERY_TASK_SET = TaskFunction.QUERY_TASK, TaskFunction.QUERY_TASK_SET
QUERY_EVENT, NEXUS_RESET = TaskFunction.QUERY_ASYNCHRONOUS_EVENT, TaskFunction.I_T_NEXUS_RESET
NEW = [QUERY_TASK, QUERY_TASK_SET, NEXUS_RESET, QUERY_EVENT]


def waiting_write(host, **fields):
    command = host.write(blocks=2, **fields)
    return command, host.ask(command, R2T)


def response_of(host, pdu):
    return host.ask(pdu, TaskManagementResponse).response


def query(host, command, **fields):
    return host.function(QUERY_TASK, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn, **fields)


@pytest.mark.parametrize("function", NEW)
@pytest.mark.parametrize("pairs", [(), (("iSCSIProtocolLevel", "1"),), (("iSCSIProtocolLevel", "0"),)])
def test_below_level_2_they_are_not_supported(bench, function, pairs):
    host = bench.session(*pairs)
    assert response_of(host, host.function(function)) == 5
    host.alive()


def test_level_2_is_the_most_that_is_agreed_on(bench):
    bench.session(("iSCSIProtocolLevel", "31"))
    assert bench.engine.sessions[0].parameters.iscsi_protocol_level == 2
    assert bench.engine.sessions[0].nexus.protocol_level == 2


@pytest.mark.parametrize("immediate", [True, False])
def test_a_task_that_is_there(bench, immediate):
    host = bench.session(LEVEL_2)
    command, r2t = waiting_write(host)
    answer = host.ask(query(host, command, immediate=immediate), TaskManagementResponse)
    assert (answer.response, answer.additional_response_information) == (7, 0)
    assert host.ask(host.data_out(r2t, bytes(1024)), ScsiResponse).status == 0
    assert response_of(host, query(host, command)) == 0


def test_a_task_is_there_until_its_device_is_done_with_it(bench):
    host = bench.session(LEVEL_2)
    command = host.command(SLOW)
    host.send(command)
    host.send(host.function(TaskFunction.ABORT_TASK, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn))
    assert response_of(host, query(host, command)) == 7
    assert response_of(host, host.function(QUERY_TASK_SET)) == 7
    bench.work()
    host.collect()
    assert host.take(TaskManagementResponse).response == 0
    assert response_of(host, query(host, command)) == 0
    assert response_of(host, host.function(QUERY_TASK_SET)) == 0


def test_a_task_at_another_unit_or_without_a_unit(bench):
    host = bench.session(LEVEL_2)
    command, _ = waiting_write(host)
    assert response_of(host, query(host, command, lun=LUN1)) == 0
    assert response_of(host, query(host, command, lun=LUN9)) == 2


def test_a_command_that_never_came_counts_as_received(bench):
    host = bench.session(LEVEL_2)
    lost, later = host.command(), host.command()
    host.send(later)
    host.send(query(host, lost))
    assert host.take(TaskManagementResponse).response == 0
    assert host.take(ScsiResponse).itt == later.itt
    host.send(lost)
    host.alive()


def test_a_command_that_waits_for_another_is_not_there_yet_and_stays(bench):
    host = bench.session(LEVEL_2)
    first, second = host.command(), host.command()
    host.send(second)
    assert response_of(host, query(host, second)) == 0
    host.send(first)
    assert [host.take(ScsiResponse).itt for _ in range(2)] == [first.itt, second.itt]


def test_a_function_is_not_queried(bench):
    host = bench.session(LEVEL_2)
    waiting_write(host)
    pending = host.function(TaskFunction.ABORT_TASK_SET)
    host.send(pending)
    assert response_of(host, query(host, pending)) == 255


def test_a_function_whose_turn_has_not_come_is_not_queried(bench):
    host = bench.session(LEVEL_2)
    host.command()
    pending = host.function(TaskFunction.ABORT_TASK_SET, immediate=False)
    host.send(pending)
    assert response_of(host, query(host, pending)) == 255


def test_a_task_set_with_and_without_tasks(bench):
    host, third = bench.session(LEVEL_2), bench.session(LEVEL_2, isid=OTHER)
    waiting_write(third)
    waiting_write(host, lun=LUN1)
    assert response_of(host, host.function(QUERY_TASK_SET)) == 0
    assert response_of(host, host.function(QUERY_TASK_SET, lun=LUN1)) == 7
    assert response_of(host, host.function(QUERY_TASK_SET, lun=LUN9)) == 2


def test_unit_attentions_are_told_and_stay(bench):
    host = bench.session(LEVEL_2)
    nexus = bench.engine.sessions[0].nexus
    assert response_of(host, host.function(QUERY_EVENT)) == 0
    for info, code in ((0x162903, 0x2903), (0x262903, 0x2A01)):
        bench.device.establish_attention(nexus, LUN0, code)
        answer = host.ask(host.function(QUERY_EVENT), TaskManagementResponse)
        assert (answer.response, answer.additional_response_information) == (7, info)
    assert response_of(host, host.function(QUERY_EVENT, lun=LUN1)) == 0
    assert bytes(host.ask(host.command(), ScsiResponse).data[14:16]) == b"\x29\x03"


def test_nexus_reset_ends_the_session_and_nobody_elses(bench):
    host, third = bench.session(LEVEL_2), bench.session(LEVEL_2, isid=OTHER)
    _, r2t = waiting_write(host)
    _, other_r2t = waiting_write(host, lun=LUN1)
    waiting_write(third)
    lost = host.command()
    host.send(host.function(NEXUS_RESET, lun=LUN9))
    for each in (r2t, other_r2t):
        host.send(host.data_out(each, bytes(1024)))
        assert not host.inbox
    host.send(lost)
    assert host.take(TaskManagementResponse).response == 0
    assert host.closed == "fin"
    assert ("lost", host.tsih) in bench.device.log
    (left,) = bench.engine.sessions
    assert (left.tsih, len(left.tasks)) == (third.tsih, 1)
    assert bench.device.attentions == {}
    third.alive()


def test_nexus_reset_drops_every_connection_at_once(bench, make_several):
    several = make_several(bench, 3, LEVEL_2, ("DefaultTime2Retain", "20"))
    several.send(1, "write", blocks=2)
    for place in range(3):
        several.acknowledge(place)
    r2t = several[1].take(R2T)
    several.send(0, "function", NEXUS_RESET)
    several[1].send(several[1].data_out(r2t, bytes(1024)))
    several.collect()
    assert several.seen(0) == ["TaskManagementResponse"]
    assert [host.closed for host in several.hosts] == ["fin"] * 3
    assert bench.engine.sessions == []


def test_queries_do_not_wait_for_the_fence_of_nobody(bench):
    host = bench.session(LEVEL_2)
    request = host.text(("MaxRecvDataSegmentLength", "4096"), final=False)
    host.ask(request, TextResponse)
    assert response_of(host, query(host, request)) == 0
    assert isinstance(host.ask(host.nop_out()), NopIn)
