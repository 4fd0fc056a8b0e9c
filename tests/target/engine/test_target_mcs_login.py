"""Logins of further connections into a session (RFC 7143 6.3.1, 6.3.3, 6.3.4, 11.12, 11.13.5)."""

from __future__ import annotations

import pytest

from iscsi_protocol.chap import ChapInitiator, Credentials
from iscsi_protocol.pdu import R2T, LogoutResponse, ScsiResponse
from iscsi_protocol.text import decode_pairs
from iscsi_target.config import ChapConfig, PortalConfig, TargetNode, Timers
from iscsi_target.connection import State
from iscsi_target.events import LoggedIn, TimedOut
from iscsi_target.session import SessionState

TARGET = "iqn.2026-11.org.example:disk"
FOUR = ("MaxConnections", "4")


def added(bench, first, cid, *pairs, **fields):
    """Another connection of that session, logged in."""
    return join(bench.host(cid=cid, **fields), first, *pairs)


def join(host, first, *pairs):
    host.tsih, host.cmd_sn, host.itt = first.tsih, first.cmd_sn, 1000 * (host.cid + 1)
    return host.login(*pairs)


def refused(bench, first, cid, *pairs, **fields):
    host = bench.host(cid=cid, **fields)
    host.tsih = first.tsih
    return host.try_login(*pairs).status


def test_connections_up_to_the_agreed_number(bench):
    first = bench.session(("MaxConnections", "3"), cid=1)
    others = [added(bench, first, cid) for cid in (2, 3)]
    assert refused(bench, first, 4) == 0x0206
    (session,) = bench.engine.sessions
    assert sorted(session.connections) == [1, 2, 3]
    assert [event.new_session for event in bench.events(LoggedIn)] == [True, False, False]
    first.ask(first.logout(1, immediate=True, cid=3), LogoutResponse)
    assert others[1].closed == "fin"
    added(bench, first, 4)


def test_last_place_is_given_to_the_login_that_ends_first(bench):
    first = bench.session(("MaxConnections", "2"), cid=1)
    hosts = [bench.host(cid=cid) for cid in (2, 3)]
    for host in hosts:
        host.tsih = first.tsih
        host.ask(host.login_request(host.names(), csg=0, nsg=1))
    answers = [host.ask(host.login_request()) for host in reversed(hosts)]
    assert [answer.status for answer in answers] == [0, 0x0206]


def test_two_logins_of_one_cid(bench):
    first = bench.session(FOUR, cid=1)
    hosts = [bench.host(cid=2) for _ in range(2)]
    for host in hosts:
        host.tsih = first.tsih
        host.ask(host.login_request(host.names(), csg=0, nsg=1))
    for host in hosts:
        host.joined(host.ask(host.login_request()))
    assert hosts[0].closed == "fin"
    hosts[1].cmd_sn = first.cmd_sn
    hosts[1].alive()


def test_login_response_tells_the_window_of_the_session(bench):
    first = bench.session(FOUR)
    first.alive()
    host = bench.host(cid=1)
    host.tsih, host.cmd_sn = first.tsih, 7
    one = host.ask(host.login_request(host.names(), csg=0, nsg=1))
    first.alive()
    two = host.ask(host.login_request(cmd_sn=9))
    assert (one.exp_cmd_sn, two.exp_cmd_sn) == (first.cmd_sn - 1, first.cmd_sn)
    assert (one.tsih, two.tsih) == (first.tsih, first.tsih)
    assert two.max_cmd_sn == bench.engine.sessions[0].max_cmd_sn
    assert two.stat_sn == one.stat_sn + 1


def test_connection_keys_are_of_the_connection(bench):
    first = bench.session(FOUR, ("HeaderDigest", "CRC32C"))
    second = added(bench, first, 1, ("DataDigest", "CRC32C"), ("MaxRecvDataSegmentLength", "512"))
    assert (first.digests, second.digests) == ((True, False), (False, True))
    assert [len(pdu.data) for pdu in second.send(second.read(blocks=3)).inbox] == [512, 512, 512]
    first.cmd_sn = second.cmd_sn
    assert [len(pdu.data) for pdu in first.send(first.read(blocks=3)).inbox] == [1536]


@pytest.mark.parametrize(
    "pair",
    [
        ("MaxConnections", "4"),
        ("MaxBurstLength", "4096"),
        ("ErrorRecoveryLevel", "0"),
        ("InitialR2T", "Yes"),
        ("TaskReporting", "RFC3720"),
        ("SessionType", "Normal"),
    ],
)
def test_keys_of_the_leading_login_only(bench, pair):
    first = bench.session(FOUR)
    assert refused(bench, first, 1, pair) == 0x0200
    first.alive()
    assert len(bench.engine.sessions[0].connections) == 1


def test_target_says_nothing_of_session_wide_keys(bench):
    first = bench.session(FOUR)
    host = bench.host(cid=1)
    host.tsih = first.tsih
    said = dict(decode_pairs(host.try_login().data))
    assert set(said) == {"TargetPortalGroupTag", "MaxRecvDataSegmentLength"}


def test_other_portal_of_the_group(make_bench):
    portals = [PortalConfig(address=f"127.0.0.{place}:0", group_tag=tag) for place, tag in ((1, 1), (2, 1), (3, 2))]
    bench = make_bench(portals=portals)
    first = bench.session(FOUR)
    second = added(bench, first, 1, portal="127.0.0.2")
    second.alive()
    assert refused(bench, first, 2, portal="127.0.0.3", tag=2) == 0x0208
    assert refused(bench, first, 2, isid=bytes.fromhex("80000000000a")) == 0x020A
    assert refused(bench, first, 2, name="iqn.2026-11.org.example:stranger") == 0x020A


def test_missing_names(bench):
    first = bench.session(FOUR)
    for pairs in ([], [("InitiatorName", first.name)]):
        host = bench.host(cid=1)
        host.tsih = first.tsih
        assert host.ask(host.login_request(pairs)).status == 0x0207


def prove_alice(host, *keys):
    """The last answer to a login with CHAP, and these keys in the operational stage."""
    chap = ChapInitiator(
        credentials=Credentials(name="alice", secret=b"correct-horse-1"),
        algorithms=(7,),
        random_bytes=lambda count: b"r" * count,
    )
    pairs = [*host.names(), *chap.begin()]
    while not chap.finished:
        response = host.ask(host.login_request(pairs, csg=0, nsg=1 if chap.ready else 0, transit=chap.ready))
        assert response.status == 0
        pairs = chap.receive(decode_pairs(response.data))
    return host.ask(host.login_request(keys))


def test_every_connection_proves_itself(make_bench):
    chap = ChapConfig(users={"alice": "correct-horse-1"})
    bench = make_bench(targets=[TargetNode(name=TARGET, chap=chap)])
    first = bench.host()
    first.joined(prove_alice(first, FOUR))
    assert refused(bench, first, 1) == 0x0201
    second = bench.host(cid=1)
    second.tsih, second.cmd_sn = first.tsih, first.cmd_sn
    second.joined(prove_alice(second))
    second.alive()
    (session,) = bench.engine.sessions
    assert [link.user for link in session.connections.values()] == ["alice", "alice"]


def test_authentication_of_a_further_connection(make_bench):
    chap = ChapConfig(users={"alice": "correct-horse-1"}, required=False)
    bench = make_bench(targets=[TargetNode(name=TARGET, chap=chap)])
    first = bench.session(FOUR)
    bench.engine.sessions[0].user = "alice"
    assert refused(bench, first, 1) == 0x0201
    first.alive()


def test_discovery_sessions_have_one_connection(bench):
    host = bench.host()
    first = host.login(("MaxConnections", "4"), discovery=True)
    second = bench.host(cid=1)
    second.tsih = first.tsih
    assert second.ask(second.login_request([("InitiatorName", first.name)])).status in (0x0207, 0x020A)
    assert bench.engine.sessions[0].parameters.max_connections == 1


# Reinstatement of one of several


def test_reinstating_one_of_several(bench):
    first = bench.session(FOUR)
    second = added(bench, first, 1)
    second.ask(second.write(blocks=2), R2T)
    first.cmd_sn = second.cmd_sn
    first.ask(first.write(blocks=2), R2T)
    again = added(bench, first, 1)
    assert (first.closed, second.closed) == (None, "fin")
    (session,) = bench.engine.sessions
    assert [task.connection.number for task in session.tasks.values()] == [first.number]
    assert again.ask(again.command(), ScsiResponse).status == 2
    assert again.ask(again.command(), ScsiResponse).status == 0
    assert session.max_cmd_sn - session.exp_cmd_sn + 1 == 127


def test_failed_reinstatement_leaves_the_lost_connection_waiting(bench):
    first = bench.session(FOUR)
    second = added(bench, first, 1)
    second.hang_up()
    assert refused(bench, first, 1, ("MaxBurstLength", "512")) == 0x0200
    (session,) = bench.engine.sessions
    assert session.connections[1].state is State.CLEANUP_WAIT


def test_acknowledgement_of_the_old_connection_at_login(bench):
    first = bench.session(FOUR)
    second = added(bench, first, 1)
    second.alive()
    old = bench.engine.sessions[0].connections[1]
    second.hang_up()
    again = bench.host(cid=1)
    again.tsih, again.exp_stat_sn = first.tsih, second.exp_stat_sn
    again.login()
    assert old.acknowledged == old.stat_sn == second.exp_stat_sn


def test_session_reinstatement_ends_all_connections(bench):
    first = bench.session(FOUR)
    others = [added(bench, first, cid) for cid in (1, 2)]
    new = bench.session(FOUR)
    assert {host.closed for host in (first, *others)} == {"fin"}
    assert [session.tsih for session in bench.engine.sessions] == [new.tsih]
    new.alive()


# Continuation


def test_session_is_continued_by_a_new_cid(bench):
    first = bench.session(("MaxConnections", "1"), cid=1)
    first.hang_up()
    (session,) = bench.engine.sessions
    states = [session.state]
    second = added(bench, first, 2)
    states.append(session.state)
    assert states == [SessionState.FAILED, SessionState.LOGGED_IN]
    assert second.ask(second.logout(1, immediate=True, cid=1), LogoutResponse).response == 0
    assert sorted(session.connections) == [2]
    bench.pass_time(100)
    second.alive()


def test_lost_connections_are_bounded(bench):
    first = bench.session(("MaxConnections", "1"), cid=1)
    first.hang_up()
    second = added(bench, first, 2)
    second.hang_up()
    assert refused(bench, first, 3) == 0x0206
    added(bench, first, 2)


@pytest.mark.parametrize("cid", [0, 1])
def test_state_timeout_waits_for_a_login_that_continues_the_session(bench, cid):
    first = bench.session()
    first.hang_up()
    (session,) = bench.engine.sessions
    host = bench.host(cid=cid)
    host.tsih = first.tsih
    bench.pass_time(20)
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    bench.pass_time(5)
    states = [session.state]
    host.joined(host.ask(host.login_request()))
    states.append(session.state)
    assert states == [SessionState.IN_CONTINUE, SessionState.LOGGED_IN]
    bench.pass_time(0)
    assert sorted(session.connections) == [cid]
    host.alive()


@pytest.mark.parametrize("cid", [0, 1])
def test_session_times_out_when_its_continuation_fails(bench, cid):
    first = bench.session()
    first.hang_up()
    host = bench.host(cid=cid)
    host.tsih = first.tsih
    bench.pass_time(20)
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    bench.pass_time(5)
    assert len(bench.engine.sessions) == 1
    host.hang_up()
    bench.pass_time(0)
    assert bench.engine.sessions == []
    assert [event.timer for event in bench.events(TimedOut)] == ["session state"]


def test_logout_of_the_session_ends_logins_into_it(bench):
    first = bench.session(FOUR)
    host = bench.host(cid=1)
    host.tsih = first.tsih
    host.ask(host.login_request(host.names(), csg=0, nsg=1))
    first.ask(first.logout(), LogoutResponse)
    assert host.closed == "fin"
    assert bench.engine.sessions == []


def test_each_connection_is_pinged_for_itself(make_bench):
    bench = make_bench(timers=Timers(ping_interval=10, ping_timeout=3))
    first = bench.session(FOUR)
    second = added(bench, first, 1)
    for _ in range(3):
        bench.pass_time(5)
        first.collect()
        first.inbox.clear()
        first.alive()
    assert (first.closed, second.closed) == (None, "rst")
    assert [event.connection for event in bench.events(TimedOut)] == [second.number]
