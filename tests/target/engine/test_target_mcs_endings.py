"""How one connection of several ends: logout, loss, notices, the operator's wishes (RFC 7143 7.1.4, 7.14, 8, 11.9, 11.14)."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import NO_TAG, R2T, AsyncMessage, LogoutResponse, NopOut, ScsiResponse, TaskManagementResponse
from iscsi_target.config import Limits, Timers
from iscsi_target.connection import State
from iscsi_target.events import ConnectionClosed, LoggedOut, SessionClosed, TimedOut
from iscsi_target.policy import Policy
from iscsi_target.session import SessionState

FOUR = ("MaxConnections", "4")


@pytest.fixture
def several(bench):
    return make_several(bench)


def make_several(bench, count=3, *pairs):
    """The connections of one session, with CIDs 0, 1, 2."""
    hosts = [bench.host(cid=0).login(FOUR, *pairs)]
    for cid in range(1, count):
        host = bench.host(cid=cid)
        host.tsih, host.cmd_sn, host.itt = hosts[0].tsih, hosts[0].cmd_sn, cid * 1000
        hosts.append(host.login())
    return hosts


def turn(hosts, place):
    """The host at that place, with the session's next CmdSN."""
    host = hosts[place]
    host.cmd_sn = host.engine.sessions[0].exp_cmd_sn
    return host


def notices(host):
    host.collect()
    found = [pdu for pdu in host.inbox if isinstance(pdu, AsyncMessage)]
    host.inbox.clear()
    return [(pdu.async_event, pdu.parameter1, pdu.parameter2, pdu.parameter3) for pdu in found]


# Logout


@pytest.mark.parametrize("immediate", [False, True])
def test_logout_of_the_session_from_any_connection(bench, several, immediate):
    host = turn(several, 1)
    response = host.ask(host.logout(0, immediate=immediate, cid=77), LogoutResponse)
    assert response.response == 0
    assert [each.closed for each in several] == ["fin"] * 3
    assert bench.engine.sessions == []
    for each in (several[0], several[2]):
        each.collect()
        assert not each.inbox
    assert [event.connection for event in bench.events(LoggedOut)] == [host.number]


@pytest.mark.parametrize("by", [1, 2])
def test_logout_of_one_connection(bench, several, by):
    """By itself or by another one: its tasks end, the others' go on, and the next command hears of it."""
    ended = turn(several, 1)
    ended.ask(ended.write(blocks=1), R2T)
    other = turn(several, 0)
    r2t = other.ask(other.write(blocks=1), R2T)
    host = turn(several, by)
    response = host.ask(host.logout(1, cid=1), LogoutResponse)
    assert (response.response, response.time2retain) == (0, 0)
    assert response.max_cmd_sn - response.exp_cmd_sn + 1 == 127
    assert [each.closed for each in several] == [None, "fin", None]
    (session,) = bench.engine.sessions
    assert sorted(session.connections) == [0, 2]
    assert [task.connection.cid for task in session.tasks.values()] == [0]
    other.cmd_sn = session.exp_cmd_sn
    attention = other.ask(other.command(), ScsiResponse)
    assert attention.data[14:16] == b"\x47\x7f"
    assert other.ask(other.data_out(r2t, bytes(512)), ScsiResponse).status == 0
    assert bench.engine.core.data_out_bytes == 0


def test_logout_of_the_last_connection_waits_for_those_in_cleanup(bench):
    one, two = make_several(bench, 2)
    two.hang_up()
    one.send(one.logout(1, immediate=True))
    assert one.closed == "fin"
    (session,) = bench.engine.sessions
    assert session.state is SessionState.FAILED
    bench.pass_time(22)
    assert [event.reason for event in bench.events(SessionClosed)] == ["connection state time-out"]


def test_logout_of_a_lost_connection(bench, several):
    several[1].hang_up()
    host = turn(several, 0)
    notices(host)
    assert host.ask(host.logout(1, cid=1), LogoutResponse).response == 0
    assert host.ask(host.logout(1, cid=1), LogoutResponse).response == 1
    assert sorted(bench.engine.sessions[0].connections) == [0, 2]
    bench.pass_time(100)
    assert bench.events(TimedOut) == []


def test_logout_of_another_connection_acknowledges_there(bench, several):
    """A Logout Request has the ExpStatSN of the connection that it is about (11.14.4)."""
    subject = turn(several, 1)
    for _ in range(3):
        subject.alive()
    subject.hang_up()
    link = bench.engine.sessions[0].connections[1]
    host = turn(several, 0)
    notices(host)
    carrier = bench.engine.connections[host.number]
    before = carrier.acknowledged
    host.send(host.logout(1, immediate=True, cid=1, exp_stat_sn=subject.exp_stat_sn))
    assert link.acknowledged == link.stat_sn
    assert carrier.acknowledged == before


def test_recovery_logout_below_level_2(bench, several):
    host = turn(several, 0)
    response = host.ask(host.logout(2, immediate=True, cid=1), LogoutResponse)
    assert (response.response, response.time2wait, response.time2retain) == (2, 2, 20)
    assert [each.closed for each in several] == [None, "fin", None]
    (session,) = bench.engine.sessions
    assert session.connections[1].state is State.CLEANUP_WAIT
    bench.pass_time(20)
    host.ask(host.logout(2, immediate=True, cid=1), LogoutResponse)
    bench.pass_time(20)
    assert 1 in session.connections
    bench.pass_time(2)
    assert 1 not in session.connections
    host.alive()


def test_functions_do_not_wait_for_a_connection_that_is_gone(bench):
    """A function waited for the acknowledgement of earlier responses on another connection."""
    hosts = make_several(bench, 2)
    quiet = hosts[1]
    quiet.send(quiet.command())
    host = turn(hosts, 0)
    host.send(host.function(2, immediate=True))
    assert not [pdu for pdu in host.inbox if isinstance(pdu, TaskManagementResponse)]
    quiet.hang_up()
    host.collect()
    assert [type(pdu) for pdu in host.inbox if not isinstance(pdu, AsyncMessage)][-1] is TaskManagementResponse


# Loss


@pytest.mark.parametrize("level", ["0", "1", "2"])
def test_loss_of_one_is_told_on_another(bench, level):
    hosts = make_several(bench, 3, ("ErrorRecoveryLevel", level))
    hosts[0].hang_up()
    assert sorted(notices(hosts[1]) + notices(hosts[2])) == [(2, 0, 2, 20)]
    (session,) = bench.engine.sessions
    assert session.state is SessionState.LOGGED_IN
    turn(hosts, 1).alive()
    turn(hosts, 2).alive()
    assert len(bench.events(ConnectionClosed)) == 1


def test_loss_of_all_leaves_a_failed_session(bench, several):
    for place, host in enumerate(several):
        host.hang_up()
        bench.pass_time(1)
        expected = SessionState.FAILED if place == 2 else SessionState.LOGGED_IN
        assert bench.engine.sessions[0].state is expected
    bench.pass_time(20.5)
    assert bench.engine.sessions[0].state is SessionState.FAILED
    bench.pass_time(1)
    assert bench.engine.sessions == []


def test_nothing_is_kept_without_time2retain(bench):
    hosts = make_several(bench, 2, ("DefaultTime2Retain", "0"))
    hosts[0].hang_up()
    assert notices(hosts[1]) == [(2, 0, 2, 0)]
    assert sorted(bench.engine.sessions[0].connections) == [1]
    turn(hosts, 1).alive()


def test_immediate_commands_end_with_their_connection(bench, several):
    host = several[1]
    host.ask(host.write(blocks=1, immediate=True), R2T)
    other = several[0]
    other.ask(other.write(blocks=1, immediate=True), R2T)
    host.hang_up()
    assert [task.connection.cid for task in bench.engine.sessions[0].tasks.values()] == [0]


def test_an_unanswered_ping_ends_its_connection_only(make_bench):
    bench = make_bench(timers=Timers(ping_timeout=3))
    hosts = make_several(bench, 2)
    bench.engine.ping(hosts[1].number, bench.clock.now)
    bench.pass_time(3)
    assert [host.closed for host in hosts] == [None, "rst"]
    assert notices(hosts[0]) == [(2, 1, 2, 20)]


def test_a_format_error_ends_all_connections(bench, several):
    several[1].send(several[1].nop_out(itt=NO_TAG))
    assert [host.closed for host in several] == ["rst"] * 3
    assert [notices(host) for host in several] == [[], [], []]
    assert bench.engine.sessions[0].state is SessionState.FAILED


# The operator


def test_logout_wanted_of_one_connection(bench, several):
    bench.engine.request_logout(several[1].number, 5, bench.clock.now)
    assert [notices(host) for host in several] == [[], [(1, 0, 0, 5)], []]
    crossed = turn(several, 1)
    assert crossed.ask(crossed.command(), ScsiResponse).status == 0
    bench.pass_time(5)
    assert [host.closed for host in several] == [None, "fin", None]
    assert [notice for host in several for notice in notices(host)] == [(2, 1, 2, 20)]


def test_logout_wanted_of_the_session(bench, several):
    tsih = several[0].tsih
    bench.engine.request_session_logout(tsih, 5, bench.clock.now)
    assert [notices(host) for host in several] == [[(1, 0, 0, 5)]] * 3
    several[2].send(several[2].logout(0, immediate=True))
    assert bench.engine.sessions == []
    bench.pass_time(5)
    with pytest.raises(KeyError):
        bench.engine.request_session_logout(tsih, 5, bench.clock.now)


def test_operator_drops_one_connection(bench, several):
    bench.engine.drop_connection(several[0].number, bench.clock.now)
    assert [notices(host) for host in several].count([(2, 0, 2, 20)]) == 1
    assert [host.closed for host in several] == ["fin", None, None]


def test_operator_drops_the_session(bench, several):
    bench.engine.drop_session(several[0].tsih, bench.clock.now)
    assert [notice for host in several for notice in notices(host)] == [(3, 0, 2, 0)]
    assert [host.closed for host in several] == ["fin"] * 3


def test_negotiation_is_asked_for_on_one_connection(bench, several):
    bench.engine.request_negotiation(several[2].number, 4, bench.clock.now)
    assert [notices(host) for host in several] == [[], [], [(4, 0, 0, 4)]]


def test_a_ping_is_answered_on_its_connection(bench, several):
    ttt = bench.engine.ping(several[1].number, bench.clock.now)
    several[1].collect()
    answer = NopOut(immediate=True, ttt=ttt, itt=NO_TAG, cmd_sn=several[0].cmd_sn, exp_stat_sn=several[0].exp_stat_sn)
    several[0].send(answer)
    assert bench.engine.connections[several[1].number].pings


def test_faulty_target_stays_behind_the_notice(make_bench):
    bench = make_bench(policy=Policy(stay_after_drop_notice=True))
    hosts = make_several(bench, 2)
    bench.engine.drop_connection(hosts[0].number, bench.clock.now)
    assert notices(hosts[1]) == [(2, 0, 2, 20)]
    hosts[0].alive()


# Logins that do not end


def test_the_oldest_of_too_many_logins_is_ended(make_bench):
    bench = make_bench(limits=Limits(logins=2))
    hosts = [bench.host() for _ in range(2)]
    member = bench.session()
    assert [host.closed for host in hosts] == ["rst", None]
    hosts[1].login(discovery=True)
    flood = [bench.host(isid=bytes.fromhex("800000000007")) for _ in range(5)]
    assert [host.closed for host in flood] == ["rst"] * 3 + [None] * 2
    flood[4].login()
    member.alive()
    assert len(bench.engine.core.logins) == 1


def test_logins_that_ended_are_not_counted(make_bench):
    bench = make_bench(limits=Limits(logins=1))
    lost = bench.host()
    lost.hang_up()
    assert bench.host().try_login(target="iqn.2026-11.org.example:other").status == 0x0203
    assert bench.engine.core.logins == {}
    bench.session().alive()
