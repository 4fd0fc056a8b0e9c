"""Requests over several connections: CmdSN order, one window, a StatSN each, allegiance (RFC 7143 4.2.2, 4.2.5.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    AsyncMessage,
    DataIn,
    LogoutResponse,
    NopIn,
    Reject,
    ScsiResponse,
    TaskManagementResponse,
    TextResponse,
    encode,
)
from iscsi_target.config import Limits, Size, Timers
from iscsi_target.events import SessionClosed, TimedOut

FOUR = ("MaxConnections", "4")


class Members:
    """The connections of one session. Numbers are given out in common, as an initiator does."""

    def __init__(self, bench, count=2, *pairs):
        self.bench = bench
        self.hosts = [bench.host(cid=0).login(FOUR, *pairs)]
        for cid in range(1, count):
            self.add(cid)
        self.numbers = self.hosts[0].cmd_sn
        self.tags = 0

    def add(self, cid):
        host = self.bench.host(cid=cid)
        host.tsih, host.cmd_sn = self.hosts[0].tsih, self.hosts[0].cmd_sn
        self.hosts.append(host.login())
        return host

    @property
    def session(self):
        return self.bench.engine.sessions[0]

    def make(self, place, kind, *args, **fields):
        """A request for the connection at that place, with the next CmdSN and tag of the session."""
        self.tags += 1
        immediate = fields.get("immediate", False)
        numbers = {"cmd_sn": self.numbers, "itt": self.tags}
        if not immediate:
            self.numbers = (self.numbers + 1) & 0xFFFFFFFF
        return getattr(self.hosts[place], kind)(*args, **{**numbers, **fields})

    def do(self, place, kind, *args, **fields):
        """Send one, and take everything that comes of it there."""
        host = self.hosts[place]
        host.send(self.make(place, kind, *args, **fields))
        return self.said(place)

    def said(self, place):
        host = self.hosts[place]
        host.collect()
        found = list(host.inbox)
        host.inbox.clear()
        return found


@pytest.fixture
def members(bench):
    return Members(bench)


def kinds(pdus):
    return [type(pdu) for pdu in pdus]


def test_delivery_waits_for_the_other_connection(members):
    first = members.make(0, "write", blocks=1, data=b"a" * 512)
    second = members.make(1, "read", blocks=1)
    members.hosts[1].send(second)
    assert members.said(1) == []
    members.hosts[0].send(first)
    assert kinds(members.said(0)) == [ScsiResponse]
    (answer,) = members.said(1)
    assert bytes(answer.data) == b"a" * 512
    assert answer.exp_cmd_sn == members.numbers


def test_each_connection_has_its_own_stat_sn(members):
    starts = [host.exp_stat_sn for host in members.hosts]
    for place in (0, 1, 1, 0, 1):
        (answer,) = members.do(place, "command")
        assert answer.stat_sn == starts[place]
        starts[place] += 1


def test_one_window_for_the_session(make_bench):
    members = Members(make_bench(limits=Limits(commands=3)))
    r2ts = [members.do(place, "write", blocks=1)[0] for place in (0, 1, 0)]
    assert [r2t.max_cmd_sn - r2t.exp_cmd_sn + 1 for r2t in r2ts] == [2, 1, 0]
    assert members.do(1, "command", cmd_sn=members.numbers) == []
    members.numbers -= 1
    members.hosts[1].send(members.hosts[1].data_out(r2ts[1], bytes(512)))
    (response,) = members.said(1)
    assert response.max_cmd_sn == response.exp_cmd_sn
    assert kinds(members.do(0, "command")) == [ScsiResponse]


def test_duplicates_on_another_connection_are_dropped(members):
    first = members.make(0, "read")
    ahead = members.make(1, "read")
    members.hosts[1].send(ahead)
    members.hosts[0].send(ahead)
    members.hosts[0].send(first)
    members.hosts[1].send(first)
    members.hosts[1].send(ahead)
    assert [kinds(members.said(place)) for place in (0, 1)] == [[DataIn], [DataIn]]
    assert [cdb for cdb, _ in members.bench.device.log[1:]] == [0x28, 0x28]


def test_immediate_requests_do_not_wait(members):
    members.make(0, "command")
    assert kinds(members.do(1, "nop_out", b"now", immediate=True)) == [NopIn]
    assert kinds(members.do(1, "command", immediate=True)) == [ScsiResponse]


def test_data_out_belongs_to_the_connection_of_the_command(members):
    (r2t,) = members.do(0, "write", blocks=1)
    members.hosts[1].send(members.hosts[1].data_out(r2t, bytes(512)))
    (reject,) = members.said(1)
    assert isinstance(reject, Reject)
    assert reject.reason == 0x04
    members.hosts[0].send(members.hosts[0].data_out(r2t, b"x" * 512))
    assert kinds(members.said(0)) == [ScsiResponse]
    assert kinds(members.said(1)) == []


def test_work_is_answered_where_it_was_asked_for(members):
    members.hosts[1].send(members.make(1, "command", b"\x35" + bytes(15)))
    members.hosts[0].send(members.make(0, "command"))
    members.bench.work()
    assert [kinds(members.said(place)) for place in (0, 1)] == [[ScsiResponse], [ScsiResponse]]


def test_a_task_is_aborted_from_another_connection(members):
    (r2t,) = members.do(0, "write", blocks=1)
    (answer,) = members.do(
        1, "function", 1, referenced_task_tag=r2t.itt, ref_cmd_sn=members.numbers - 1, immediate=True
    )
    assert isinstance(answer, TaskManagementResponse)
    assert answer.response == 0
    assert members.session.tasks == {}


def test_a_tag_is_used_once_in_the_session(members):
    (r2t,) = members.do(0, "write", blocks=1)
    (answer,) = members.do(1, "read", itt=r2t.itt)
    assert isinstance(answer, Reject)
    assert answer.reason == 0x07


def test_text_exchanges_are_of_their_connection(members):
    for place in (0, 1):
        (answer,) = members.do(place, "text", ("SendTargets", ""))
        assert isinstance(answer, TextResponse)


# Unsolicited data of a command that waits


@pytest.fixture
def unasked(bench):
    return Members(bench, 2, ("InitialR2T", "No"))


def early_write(members, place=1):
    """A write of three blocks with a missing command before it, whose data follows unasked in two PDUs."""
    missing = members.make(0, "command")
    write = members.make(place, "write", blocks=3, data=b"1" * 512, final=False)
    host = members.hosts[place]
    data = [
        host.data_out(write, b"2" * 512, offset=512, final=False),
        host.data_out(write, b"3" * 512, offset=1024, data_sn=1),
    ]
    return missing, write, data


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_unsolicited_data_waits_with_its_command(unasked, kept):
    missing, write, data = early_write(unasked)
    unasked.hosts[1].send(write, *data[:kept])
    assert unasked.said(1) == []
    unasked.hosts[0].send(missing)
    unasked.hosts[1].send(*data[kept:])
    (answer,) = unasked.said(1)
    assert (type(answer), answer.status) == (ScsiResponse, 0)
    assert bytes(unasked.bench.device.memory[bytes(8)][:1536]) == b"1" * 512 + b"2" * 512 + b"3" * 512
    assert (unasked.session.early, unasked.session.waiting_bytes) == ({}, 0)


def test_unsolicited_data_on_another_connection_than_its_command(unasked):
    _, write, data = early_write(unasked)
    unasked.hosts[1].send(write)
    unasked.hosts[0].send(data[0])
    (reject,) = unasked.said(0)
    assert (type(reject), reject.reason) == (Reject, 0x04)


def test_data_that_nobody_asked_for_before_its_command_ran(unasked):
    _, write, data = early_write(unasked)
    unasked.hosts[1].send(write, *data, data[1])
    assert unasked.said(1) == []
    other = unasked.make(1, "write", blocks=600, data=b"", final=False)
    unasked.hosts[1].send(other)
    unasked.hosts[1].send(unasked.hosts[1].data_out(other, bytes(512), offset=0, ttt=9))
    (reject,) = unasked.said(1)
    assert reject.reason == 0x09
    for number in range(2):
        unasked.hosts[1].send(
            unasked.hosts[1].data_out(other, bytes(40_000), data_sn=number, offset=number * 40_000, final=False)
        )
    (reject,) = unasked.said(1)
    assert reject.reason == 0x09
    assert unasked.session.waiting_bytes < 45_000


def test_wrong_digest_of_data_whose_command_waits(bench):
    unasked = Members(bench, 1, ("InitialR2T", "No"))
    unasked.hosts.append(bench.host(cid=1))
    second = unasked.hosts[1]
    second.tsih, second.cmd_sn = unasked.hosts[0].tsih, unasked.hosts[0].cmd_sn
    second.login(("DataDigest", "CRC32C"))
    missing, write, data = early_write(unasked)
    second.send(write)
    spoilt = bytearray(encode(data[0]).with_digests(header=False, data=True).to_bytes())
    spoilt[60] ^= 1
    second.feed(bytes(spoilt))
    second.send(data[1])
    assert unasked.said(1) == []
    unasked.hosts[0].send(missing)
    reject, answer = unasked.said(1)
    assert (type(reject), reject.reason) == (Reject, 0x02)
    assert answer.status == 2


@pytest.mark.parametrize("how", ["abort", "reset", "logout"])
def test_data_goes_with_its_command(unasked, how):
    missing, write, data = early_write(unasked)
    unasked.hosts[1].send(write, *data)
    if how == "abort":
        unasked.do(0, "function", 1, immediate=True, referenced_task_tag=write.itt, ref_cmd_sn=write.cmd_sn)
    elif how == "reset":
        unasked.do(0, "function", 6, immediate=True)
    else:
        unasked.do(0, "logout", 1, immediate=True, cid=1)
    assert (unasked.session.early, unasked.session.waiting_bytes) == ({}, 0)
    unasked.hosts[0].send(missing)
    assert 0x2A not in [entry[0] for entry in unasked.bench.device.log]


# What a lost connection takes along


def test_a_command_lost_with_its_connection_comes_again_on_another(members):
    lost = members.make(1, "write", blocks=1, data=b"n" * 512)
    later = members.make(0, "read")
    members.hosts[0].send(later)
    members.hosts[1].hang_up()
    (notice,) = members.said(0)
    assert isinstance(notice, AsyncMessage)
    members.hosts[0].send(lost)
    answers = members.said(0)
    assert kinds(answers) == [ScsiResponse, DataIn]
    assert bytes(answers[1].data) == b"n" * 512


def test_waiting_requests_of_a_lost_connection_still_count(members):
    missing = members.make(0, "command")
    members.hosts[1].send(members.make(1, "write", blocks=1, data=b"k" * 512))
    members.hosts[1].hang_up()
    members.hosts[0].send(missing)
    assert bytes(members.bench.device.memory[bytes(8)][:512]) == b"k" * 512
    assert members.session.exp_cmd_sn == members.numbers


@pytest.mark.parametrize("how", ["logout", "login", "time"])
def test_waiting_requests_of_a_connection_that_is_gone_come_again(members, how):
    """They are forgotten (11.14, E.1); the hole in the CmdSNs is filled on another connection."""
    missing = members.make(0, "command")
    again = members.make(1, "write", blocks=1, data=b"g" * 512)
    members.hosts[1].send(again)
    assert members.session.waiting_bytes > 512
    if how == "logout":
        (answer,) = members.do(0, "logout", 1, immediate=True, cid=1)
        assert isinstance(answer, LogoutResponse)
    elif how == "login":
        members.hosts[1].hang_up()
        members.add(1)
    else:
        members.hosts[1].hang_up()
        members.bench.pass_time(22)
    assert (members.session.waiting, members.session.waiting_bytes) == ({}, 0)
    members.said(0)
    members.hosts[0].send(missing)
    assert kinds(members.said(0)) == [ScsiResponse]
    assert members.session.exp_cmd_sn == again.cmd_sn
    members.hosts[0].send(again)
    assert kinds(members.said(0)) == [ScsiResponse]
    assert members.session.exp_cmd_sn == members.numbers


def test_a_hole_is_plugged_by_an_abort(members):
    gone = members.make(1, "read")
    members.hosts[0].send(members.make(0, "command"))
    members.hosts[1].hang_up()
    members.said(0)
    answers = members.do(0, "function", 1, immediate=True, referenced_task_tag=gone.itt, ref_cmd_sn=gone.cmd_sn)
    assert kinds(answers) == [TaskManagementResponse, ScsiResponse]
    assert members.session.exp_cmd_sn == members.numbers


def test_window_is_open_again_after_a_connection_timed_out(make_bench):
    members = Members(make_bench(limits=Limits(commands=2)))
    for _ in range(2):
        members.do(1, "write", blocks=1)
    members.hosts[1].hang_up()
    assert kinds(members.said(0)) == [AsyncMessage]
    members.bench.pass_time(22)
    (told,) = members.said(0)
    assert (told.ttt, told.max_cmd_sn - told.exp_cmd_sn + 1) == (NO_TAG, 2)
    assert members.do(0, "command")[0].status == 2
    assert members.do(0, "command")[0].status == 0


# Gaps that stay


def test_a_gap_that_stays_ends_the_session(make_bench):
    members = Members(make_bench(timers=Timers(command_gap=10)))
    members.make(0, "command")
    members.do(1, "command")
    members.bench.pass_time(31)
    assert members.session.live
    members.bench.pass_time(2)
    assert members.bench.engine.sessions == []
    assert [event.timer for event in members.bench.events(TimedOut)] == ["command gap"]
    assert [pdu.async_event for pdu in members.said(0) + members.said(1)] == [3]


def test_a_gap_that_moves_is_given_time(make_bench):
    members = Members(make_bench(timers=Timers(command_gap=10)))
    missing = members.make(0, "command")
    members.do(1, "command")
    members.bench.pass_time(20)
    members.hosts[0].send(missing)
    members.make(0, "command")
    members.do(1, "command")
    members.bench.pass_time(15)
    assert members.session.live
    members.bench.pass_time(33)
    assert [event.reason for event in members.bench.events(SessionClosed)] == ["CmdSN 102 did not come"]


def test_no_gap_no_timeout(make_bench):
    members = Members(make_bench(timers=Timers(command_gap=10)))
    missing = members.make(0, "command")
    members.do(1, "command")
    members.hosts[0].send(missing)
    members.bench.pass_time(100)
    assert members.session.live
    assert members.session.gap is None


def test_what_waits_is_bounded(make_bench):
    members = Members(make_bench(limits=Limits(waiting_bytes=Size(1500))))
    missing = members.make(0, "command")
    assert members.do(1, "write", blocks=2, data=bytes(1024)) == []
    again = members.make(1, "write", blocks=1, data=bytes(512))
    members.hosts[1].send(again)
    (reject,) = members.said(1)
    assert (type(reject), reject.reason) == (Reject, 0x0A)
    assert members.do(1, "read") == []
    members.hosts[0].send(missing)
    assert kinds(members.said(1)) == [ScsiResponse]
    members.hosts[1].send(again)
    assert kinds(members.said(1)) == [ScsiResponse, DataIn]


# Order, whatever happens on the way


@st.composite
def arrivals(draw):
    """(connections, requests as (CmdSN offset, connection), in the order of their arrival: everyone comes at least once."""
    count = draw(st.integers(1, 4))
    length = draw(st.integers(1, 24))
    order = draw(st.permutations(range(length)))
    extra = draw(st.lists(st.integers(0, length - 1), max_size=length))
    for place in extra:
        order.insert(draw(st.integers(0, len(order))), place)
    return count, length, [(place, draw(st.integers(0, count - 1))) for place in order]


@given(arrivals())
def test_commands_run_once_and_in_order(make_bench, arrivals):
    count, length, order = arrivals
    members = Members(make_bench(), count)
    start = members.numbers
    for offset, place in order:
        host = members.hosts[place]
        host.send(
            host.write(
                lba=offset, blocks=1, data=bytes((offset,)) * 512, cmd_sn=start + offset, itt=offset, exp_stat_sn=0
            )
        )
    memory = members.bench.device.memory[bytes(8)]
    assert [length for _, length in members.bench.device.log[1:]] == [512] * length
    assert [memory[offset * 512] for offset in range(length)] == list(range(length))
    answers = [members.said(place) for place in range(count)]
    first_places = dict(reversed(order))
    for place, pdus in enumerate(answers):
        assert kinds(pdus) == [ScsiResponse] * len(pdus)
        assert [pdu.itt for pdu in pdus] == sorted(offset for offset, at in first_places.items() if at == place)
        start_sn = members.hosts[place].exp_stat_sn - len(pdus)
        assert [pdu.stat_sn for pdu in pdus] == list(range(start_sn, start_sn + len(pdus)))
        assert all(pdu.exp_cmd_sn > start + pdu.itt for pdu in pdus)
    session = members.session
    assert (session.exp_cmd_sn, session.waiting, session.waiting_bytes) == (start + length, {}, 0)
    assert session.max_cmd_sn - session.exp_cmd_sn + 1 == 128


@given(
    choices=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["read", "write", "r2t", "skip", "lose", "logout", "join"])),
        max_size=30,
    )
)
def test_nothing_is_lost_over_connections_that_come_and_go(make_bench, choices):
    """Every request whose connection lives is answered once; what was lost is sent again; in the end the window is whole."""
    bench = make_bench()
    members = Members(bench, 2)
    keeper = 0
    for number, action in choices:
        place = number % len(members.hosts)
        host = members.hosts[place]
        if action == "join" and len(members.hosts) < 4:
            members.add(max(each.cid for each in members.hosts) + 1)
        elif action in ("lose", "logout") and host is not members.hosts[keeper]:
            if action == "lose":
                host.hang_up()
            members.hosts[keeper].send(members.make(keeper, "logout", 1, immediate=True, cid=host.cid))
            members.hosts.remove(host)
        elif action == "skip":
            members.make(keeper, "read")
        elif action == "r2t":
            host.send(members.make(place, "write", blocks=1))
        elif action == "write":
            host.send(members.make(place, "write", blocks=1, data=bytes(512)))
        elif action == "read":
            host.send(members.make(place, "read"))
    session = members.session
    host = members.hosts[keeper]
    for _ in range(len(choices) + 1):
        if session.exp_cmd_sn == members.numbers:
            break
        missing = session.exp_cmd_sn
        assert missing not in session.waiting
        host.send(members.make(keeper, "read", cmd_sn=missing))
        members.numbers -= 1
    assert session.exp_cmd_sn == members.numbers
    for place, each in enumerate(members.hosts):
        for pdu in members.said(place):
            if isinstance(pdu, R2T):
                each.send(each.data_out(pdu, bytes(512)))
    assert (session.tasks, session.waiting) == ({}, {})
    assert session.max_cmd_sn - session.exp_cmd_sn + 1 == 128
    assert bench.engine.core.data_out_bytes == 0
