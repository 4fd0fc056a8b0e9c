"""Connections of a session at recovery level 2: who may be logged out for recovery by whom, and how long what is kept
(RFC 7143 6.3.5, 6.3.6, 7.5, 7.6, 11.14, 11.15).
"""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    DataIn,
    LogoutResponse,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
    encode,
)
from iscsi_target.config import Limits, Size
from iscsi_target.events import SessionClosed
from iscsi_target.session import SessionState

LEVEL2 = (("MaxConnections", "4"), ("ErrorRecoveryLevel", "2"))


def make_several(bench, count, *pairs):
    """The connections of one session of level 2, with CIDs from 0 on."""
    hosts = [bench.host(cid=0).login(*LEVEL2, *pairs)]
    return hosts + [added(bench, hosts[0], cid) for cid in range(1, count)]


def added(bench, first, cid):
    host = bench.host(cid=cid)
    host.tsih, host.cmd_sn, host.itt = first.tsih, bench.engine.sessions[0].exp_cmd_sn, cid * 1000
    return host.login()


def heard(host):
    host.collect()
    found = list(host.inbox)
    host.inbox.clear()
    return found


def reassign(host, itt):
    return host.ask(
        host.function(TaskFunction.TASK_REASSIGN, immediate=True, referenced_task_tag=itt), TaskManagementResponse
    )


def test_recovery_logout_by_another_connection(bench):
    one, two = make_several(bench, 2)
    r2t = two.ask(two.write(blocks=1), R2T)
    two.hang_up()
    assert [pdu.async_event for pdu in heard(one)] == [2]
    one.cmd_sn = bench.engine.sessions[0].exp_cmd_sn
    response = one.ask(one.logout(2, immediate=True, cid=1), LogoutResponse)
    assert (response.response, response.time2wait, response.time2retain) == (0, 2, 20)
    (session,) = bench.engine.sessions
    assert (sorted(session.connections), len(session.tasks)) == ([0], 1)
    one.send(one.function(TaskFunction.TASK_REASSIGN, immediate=True, referenced_task_tag=r2t.itt))
    answer, again = heard(one)
    assert (answer.response, type(again)) == (0, R2T)
    one.send(one.data_out(again, b"r" * 512))
    assert [type(pdu) for pdu in heard(one)] == [ScsiResponse]
    assert bytes(bench.device.memory[bytes(8)][:512]) == b"r" * 512


def test_a_task_of_a_living_connection_is_still_allegiant(bench):
    one, two = make_several(bench, 2)
    r2t = two.ask(two.write(blocks=1), R2T)
    one.cmd_sn = bench.engine.sessions[0].exp_cmd_sn
    assert reassign(one, r2t.itt).response == 3
    two.hang_up()
    heard(one)
    assert reassign(one, r2t.itt).response == 3


@pytest.mark.parametrize("reassigned", [False, True])
def test_tasks_wait_for_time2wait_and_time2retain(bench, reassigned):
    one, two = make_several(bench, 2)
    r2t = two.ask(two.write(blocks=1), R2T)
    one.cmd_sn = bench.engine.sessions[0].exp_cmd_sn
    one.ask(one.logout(2, immediate=True, cid=1), LogoutResponse)
    assert two.closed == "fin"
    (session,) = bench.engine.sessions
    bench.pass_time(21)
    if reassigned:
        one.send(one.function(TaskFunction.TASK_REASSIGN, immediate=True, referenced_task_tag=r2t.itt))
        heard(one)
        bench.pass_time(2)
        assert list(session.tasks) == [r2t.itt]
        return
    assert list(session.tasks) == [r2t.itt]
    bench.pass_time(2)
    assert session.tasks == {}
    (told,) = heard(one)
    assert told.max_cmd_sn - told.exp_cmd_sn + 1 == 128
    attention = one.ask(one.command(), ScsiResponse)
    assert attention.data[14:16] == b"\x47\x7f"


def test_waiting_requests_are_discarded_by_a_recovery_logout(bench):
    one, two = make_several(bench, 2)
    missing = one.command()
    two.cmd_sn = missing.cmd_sn + 1
    ahead = two.read()
    two.send(ahead)
    one.ask(one.logout(2, immediate=True, cid=1), LogoutResponse)
    one.send(missing)
    assert [type(pdu) for pdu in heard(one)] == [ScsiResponse]
    assert bench.engine.sessions[0].exp_cmd_sn == ahead.cmd_sn
    one.send(ahead)
    assert [type(pdu) for pdu in heard(one)] == [DataIn]


@pytest.mark.parametrize("back", [False, True])
def test_session_outlives_its_last_recovery_logout(bench, back):
    (one,) = make_several(bench, 1)
    one.ask(one.logout(2, immediate=True), LogoutResponse)
    (session,) = bench.engine.sessions
    assert (session.state, session.connections) == (SessionState.FAILED, {})
    bench.pass_time(21)
    if back:
        again = added(bench, one, 5)
        bench.pass_time(60)
        again.alive()
        return
    assert session.live
    bench.pass_time(2)
    assert [event.reason for event in bench.events(SessionClosed)] == ["session state time-out"]


def test_session_waits_for_a_login_though_its_time_is_up(bench):
    (one,) = make_several(bench, 1)
    one.ask(one.logout(2, immediate=True), LogoutResponse)
    host = bench.host(cid=0)
    host.tsih, host.cmd_sn = one.tsih, one.cmd_sn
    bench.pass_time(20)
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    bench.pass_time(5)
    assert bench.engine.sessions[0].state is SessionState.IN_CONTINUE
    host.hang_up()
    bench.pass_time(0)
    assert bench.engine.sessions == []


def test_close_of_the_last_connection_waits_for_tasks(bench):
    """Closure needs that no task waits for reassignment (6.3.5)."""
    one, two = make_several(bench, 2)
    two.ask(two.write(blocks=1), R2T)
    one.cmd_sn = bench.engine.sessions[0].exp_cmd_sn
    one.ask(one.logout(2, immediate=True, cid=1), LogoutResponse)
    one.ask(one.logout(1, immediate=True), LogoutResponse)
    (session,) = bench.engine.sessions
    assert session.state is SessionState.FAILED
    bench.pass_time(23)
    assert bench.engine.sessions == []
    assert bench.engine.core.data_out_bytes == 0


def test_nothing_is_kept_without_time2retain(bench):
    one, two = make_several(bench, 2, ("DefaultTime2Retain", "0"))
    two.ask(two.write(blocks=1), R2T)
    one.cmd_sn = bench.engine.sessions[0].exp_cmd_sn
    response = one.ask(one.logout(2, immediate=True, cid=1), LogoutResponse)
    assert (response.response, response.time2retain) == (0, 0)
    assert bench.engine.sessions[0].tasks == {}


def test_reinstatement_keeps_the_tasks_of_level_2(bench):
    one, two = make_several(bench, 2)
    r2t = two.ask(two.write(blocks=1), R2T)
    again = added(bench, one, 1)
    again.itt = 2000
    assert two.closed == "fin"
    again.send(again.function(TaskFunction.TASK_REASSIGN, immediate=True, referenced_task_tag=r2t.itt))
    assert [type(pdu) for pdu in heard(again)] == [TaskManagementResponse, R2T]
    assert one.ask(one.logout(0, immediate=True), LogoutResponse).response == 0
    assert bench.engine.sessions == []


def test_held_read_of_a_lost_connection_is_reassigned(make_bench):
    bench = make_bench(limits=Limits(send_buffer=Size(2000)))
    one, two = make_several(bench, 2)
    reads = [two.read(blocks=8), two.read(lba=3, blocks=1)]
    bench.device.memory[bytes(8)][3 * 512 : 4 * 512] = b"h" * 512
    for read in reads:
        bench.engine.receive(two.number, encode(read).to_bytes(), bench.clock.now)
    assert len(bench.engine.connections[two.number].held) == 1
    two.hang_up()
    assert isinstance(heard(one)[0], AsyncMessage)
    one.cmd_sn = bench.engine.sessions[0].exp_cmd_sn
    one.ask(one.logout(2, immediate=True, cid=1), LogoutResponse)
    one.send(one.function(TaskFunction.TASK_REASSIGN, immediate=True, referenced_task_tag=reads[1].itt))
    answer, data = heard(one)
    assert (answer.response, bytes(data.data)) == (0, b"h" * 512)
