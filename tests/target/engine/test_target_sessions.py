"""The session table: all rows of 6.3.1, reinstatement, loss and time-out; and a model that agrees with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from iscsi_protocol.pdu import NO_TAG, R2T, DataIn, Reject, ScsiResponse
from iscsi_target.config import ChapConfig, Limits, PortalConfig, TargetNode
from iscsi_target.connection import State
from iscsi_target.events import SessionClosed, TimedOut
from iscsi_target.policy import Policy

ISIDS = [bytes.fromhex(f"8000000000{number:02x}") for number in (1, 2)]


def test_new_isid_with_tsih_does_not_exist(bench):
    host = bench.host()
    host.tsih = 77
    assert host.try_login().status == 0x020A


def test_known_isid_with_other_tsih_does_not_exist(bench):
    bench.session()
    host = bench.host()
    host.tsih = bench.engine.sessions[0].tsih + 1
    assert host.try_login().status == 0x020A
    assert len(bench.engine.sessions) == 1


def test_second_connection_is_one_too_many(bench):
    first = bench.session(cid=1)
    host = bench.host(cid=2)
    host.tsih = first.tsih
    assert host.try_login().status == 0x0206
    first.alive()


def test_max_connections_is_negotiated_down(bench):
    assert b"MaxConnections=4\0" in bench.host().try_login(("MaxConnections", "9")).data


def test_session_reinstatement_ends_the_old_session(bench):
    old = bench.session()
    old.send(old.write(blocks=4, final=True))
    assert isinstance(old.take(), R2T)
    new = bench.session()

    assert old.closed == "fin"
    assert new.tsih != old.tsih
    assert [session.tsih for session in bench.engine.sessions] == [new.tsih]
    assert bench.device.log[-2:] == [("lost", old.tsih), ("made", new.tsih)]
    assert [event.reason for event in bench.events(SessionClosed)] == ["session reinstatement"]
    new.alive()


def test_reinstated_session_may_be_kept_by_a_switch(make_bench):
    bench = make_bench(policy=Policy(keep_reinstated_session=True))
    old = bench.session()
    bench.session().alive()
    old.alive()


def test_failed_login_reinstates_nothing(bench):
    old = bench.session()
    assert bench.host().try_login(("MaxRecvDataSegmentLength", "0")).status == 0x0200
    old.alive()


def test_connection_reinstatement_keeps_the_session(bench):
    old = bench.session()
    old.send(old.write(blocks=4))
    old.take(R2T)
    new = bench.host()
    new.tsih, new.cmd_sn = old.tsih, 5
    response = new.try_login()
    assert (response.status, response.tsih) == (0, old.tsih)
    new.joined(response)

    assert new.cmd_sn == old.cmd_sn
    assert old.closed == "fin"
    assert len(bench.engine.sessions) == 1
    attention = new.ask(new.command(), ScsiResponse)
    assert attention.status == 2
    assert attention.data[2:][2] == 6
    assert attention.data[2:][12:14] == b"\x47\x7f"
    assert new.ask(new.command(), ScsiResponse).status == 0
    assert ("lost", old.tsih) not in bench.device.log


def test_task_tag_of_a_reinstated_connection_is_free(bench):
    old = bench.session()
    old.send(old.write(blocks=4, itt=9))
    old.take(R2T)
    new = bench.host()
    new.tsih = old.tsih
    new.joined(new.try_login())
    new.send(new.data_out(old.command(itt=9), b"", offset=0))
    assert not new.inbox
    new.ask(new.command(itt=9), ScsiResponse)
    assert new.ask(new.command(itt=9), ScsiResponse).status == 0


def test_leading_only_keys_are_refused_on_reinstatement(bench):
    old = bench.session()
    new = bench.host()
    new.tsih = old.tsih
    assert new.try_login(("MaxBurstLength", "4096")).status == 0x0200
    old.alive()


def test_session_waits_for_its_lost_connection(bench):
    host = bench.session()
    host.hang_up()
    (session,) = bench.engine.sessions
    assert session.connections[0].state is State.CLEANUP_WAIT
    bench.pass_time(21.9)
    again = bench.host()
    again.tsih = host.tsih
    again.joined(again.try_login())
    bench.pass_time(100)
    again.alive()


def test_session_is_given_up_after_time2wait_and_time2retain(bench):
    host = bench.session(("DefaultTime2Wait", "3"), ("DefaultTime2Retain", "4"))
    host.hang_up()
    bench.pass_time(6.9)
    assert len(bench.engine.sessions) == 1
    bench.pass_time(0.2)
    assert bench.engine.sessions == []
    assert bench.device.log[-1] == ("lost", host.tsih)
    assert [event.timer for event in bench.events(TimedOut)] == ["session state"]


def test_nothing_is_retained_when_nothing_was_agreed(bench):
    bench.session(("DefaultTime2Retain", "0")).hang_up()
    assert bench.engine.sessions == []


def test_unnamed_discovery_is_separate_per_portal(bench):
    one = bench.host().login(discovery=True)
    two = bench.host(portal="127.0.0.2").login(discovery=True)
    assert len(bench.engine.sessions) == 2
    bench.host().login(discovery=True)
    assert one.closed == "fin"
    assert two.closed is None


def test_portals_may_share_unnamed_discovery_by_a_switch(make_bench):
    bench = make_bench(policy=Policy(merge_discovery_portals=True))
    one = bench.host().login(discovery=True)
    bench.host(portal="127.0.0.2").login(discovery=True)
    assert len(bench.engine.sessions) == 1
    assert one.closed == "fin"


def test_normal_session_does_not_reinstate_unnamed_discovery(bench):
    bench.host().login(discovery=True)
    bench.session()
    assert len(bench.engine.sessions) == 2


def test_named_discovery_and_normal_session_reinstate_each_other(bench):
    host = bench.host()
    host.joined(host.ask(host.login_request([*host.names(), ("SessionType", "Discovery")])))
    bench.session()
    assert host.closed == "fin"
    assert len(bench.engine.sessions) == 1


def test_other_portal_group_is_another_session(make_bench):
    portals = [PortalConfig(address="127.0.0.1:0"), PortalConfig(address="127.0.0.1:0", group_tag=2)]
    bench = make_bench(portals=portals)
    one = bench.session()
    two = bench.session(tag=2)
    one.alive()
    two.alive()
    stray = bench.host(tag=2, isid=bytes.fromhex("800000000009"))
    stray.tsih = one.tsih
    assert stray.try_login().status == 0x020A
    two.send(two.logout())
    across = bench.host(tag=2)
    across.tsih = one.tsih
    assert across.try_login().status == 0x0208


def test_unknown_tsih_may_be_taken_by_a_switch(make_bench):
    bench = make_bench(policy=Policy(accept_any_tsih=True))
    host = bench.host()
    host.tsih = 9
    assert host.try_login().status == 0


def test_format_error_ends_the_session_but_not_its_memory(bench):
    host = bench.session()
    host.send(host.command(final=False))
    assert not host.inbox
    assert host.closed == "rst"
    assert len(bench.engine.sessions) == 1


@pytest.mark.parametrize("itt", [3, NO_TAG])
def test_switch_survives_format_errors(make_bench, itt):
    host = make_bench(policy=Policy(survive_format_errors=True)).session()
    host.send(host.command(final=False))
    host.cmd_sn -= 1
    host.inbox.clear()
    assert host.closed is None
    kind = Reject if itt == NO_TAG else DataIn
    host.send(host.read(itt=itt, cmd_sn=host.cmd_sn + 1))
    assert isinstance(host.take(), kind)


class Table(RuleBasedStateMachine):
    """Logins of two initiator ports against a dictionary that knows who has a session."""

    make: Callable[..., Any]

    def __init__(self):
        super().__init__()
        self.bench = type(self).make()
        self.known = {}
        self.hosts = {}

    def _login(self, isid, tsih):
        host = self.bench.host(isid=isid)
        host.tsih = tsih
        response = host.try_login()
        if response.status == 0:
            host.joined(response)
            self.hosts[isid] = host
        return response

    @rule(isid=st.sampled_from(ISIDS))
    def new_or_reinstated(self, isid):
        response = self._login(isid, 0)
        assert response.status == 0
        assert response.tsih not in self.known.values()
        self.known[isid] = response.tsih

    @rule(isid=st.sampled_from(ISIDS), tsih=st.integers(1, 8))
    def by_handle(self, isid, tsih):
        response = self._login(isid, tsih)
        assert response.status == (0 if self.known.get(isid) == tsih else 0x020A)

    @precondition(lambda self: self.hosts)
    @rule(data=st.data())
    def logout(self, data):
        isid = data.draw(st.sampled_from(sorted(self.hosts)))
        host = self.hosts.pop(isid)
        host.send(host.logout())
        del self.known[isid]

    @precondition(lambda self: self.hosts)
    @rule(data=st.data(), back=st.booleans())
    def loss(self, data, back):
        isid = data.draw(st.sampled_from(sorted(self.hosts)))
        self.hosts.pop(isid).hang_up()
        if not back:
            self.bench.pass_time(30)
            del self.known[isid]
            for other in list(self.known):
                if other not in self.hosts:
                    del self.known[other]

    @invariant()
    def agrees(self):
        assert {session.key.isid: session.tsih for session in self.bench.engine.sessions} == self.known
        for host in self.hosts.values():
            host.alive()


def test_table_and_model_agree(make_bench):
    machine = type("BoundTable", (Table,), {"make": staticmethod(make_bench)})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=15))


@pytest.mark.parametrize(("mixed", "status"), [(False, 0x0201), (True, 0)])
def test_other_identity_does_not_join_the_session(make_bench, mixed, status):
    chap = ChapConfig(users={"alice": "correct-horse-1"}, required=False)
    node = TargetNode(name="iqn.2026-11.org.example:disk", chap=chap)
    bench = make_bench(targets=[node], policy=Policy(mix_identities=mixed))
    old = bench.session()
    bench.engine.sessions[0].user = "alice"
    new = bench.host()
    new.tsih = old.tsih
    assert new.try_login().status == status
    (new if mixed else old).alive()


def test_session_that_ends_during_a_login_into_it(bench):
    old = bench.session()
    new = bench.host()
    new.tsih = old.tsih
    new.ask(new.login_request(new.names(), csg=0, nsg=1))
    bench.engine.drop_session(old.tsih, 0.0)
    assert new.ask(new.login_request([])).status == 0x020A


def test_no_tsih_is_left(bench):
    bench.engine.core.sessions._by_tsih = dict.fromkeys(range(1, 65536))
    bench.engine.core.limits = Limits(sessions=70000)
    assert bench.host().try_login().status == 0x0302
