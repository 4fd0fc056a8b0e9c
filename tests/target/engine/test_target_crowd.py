"""Many sessions and connections at once: nothing of them stays behind, and what they may hold is bounded."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from iscsi_protocol.pdu import NO_TAG, Reject
from iscsi_target.config import Limits, Timers
from iscsi_target.connection import Connection
from iscsi_target.session import Session
from iscsi_target.timers import FEW

MANY = 200
MOST_EACH = 32 * 1024
"""Bytes of an idle session, the initiator's own included."""


def isid(number):
    return b"\x80\0" + number.to_bytes(4, "big")


def alive():
    gc.collect()
    return sum(type(each) in (Connection, Session) for each in gc.get_objects())


def crowd(bench, count, *pairs, first=0):
    return [bench.session(*pairs, isid=isid(first + number)) for number in range(count)]


def leave(bench, hosts):
    """By logout, by a broken connection, and with garbage, in turn."""
    for place, host in enumerate(hosts):
        if place % 3 == 0:
            host.send(host.logout())
        elif place % 3 == 1:
            host.feed(b"\xff" * 100)
        if host.number in bench.engine.connections:
            host.hang_up()
    bench.pass_time(3600)
    bench.events()


@pytest.mark.parametrize("level", ["0", "2"])
def test_nothing_of_closed_sessions_stays_behind(make_bench, level):
    bench = make_bench(limits=Limits(sessions=MANY))
    keys = [("ErrorRecoveryLevel", level), ("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20")]
    before = alive()
    hosts = crowd(bench, MANY, *keys)
    assert len(bench.engine.sessions) == MANY
    for host in hosts:
        host.send(host.write(blocks=2))
        host.send(host.read(blocks=2))
    assert alive() - before == 2 * MANY
    leave(bench, hosts)
    del hosts, host
    core = bench.engine.core
    assert (bench.engine.sessions, dict(bench.engine.connections), len(core.timers)) == ([], {}, 0)
    assert (core.logins, core.in_cleanup, core.pending, core.data_out_bytes) == ({}, {}, {}, 0)
    assert alive() == before


def test_memory_of_an_idle_session(make_bench):
    bench = make_bench(limits=Limits(sessions=MANY))
    first = crowd(bench, 20)
    tracemalloc.start()
    try:
        more = crowd(bench, 100, first=20)
        bench.events()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held / len(more) < MOST_EACH
    assert len(bench.engine.sessions) == len(first) + len(more)


def test_one_session_takes_nothing_of_another_ones_window(make_bench):
    """All at work at once, and each gets its own."""
    bench = make_bench(limits=Limits(sessions=MANY))
    hosts = crowd(bench, MANY)
    for number, host in enumerate(hosts):
        lba = number % 128
        host.send(host.write(lba=lba, data=bytes((number,)) * 512))
        host.inbox.clear()
        assert bytes(host.ask(host.read(lba=lba)).data) == bytes((number,)) * 512


def test_half_open_logins_are_bounded_and_hold_nobody_up(make_bench):
    bench = make_bench(limits=Limits(logins=8), timers=Timers(login=5.0))
    worker = bench.session(isid=isid(9))
    half = [bench.host() for _ in range(MANY)]
    for host in half:
        bench.engine.receive(host.number, b"\x43", bench.clock.now)
    assert len(bench.engine.core.logins) == 8
    assert [host.closed for host in half] == ["rst"] * (MANY - 8) + [None] * 8
    worker.alive()
    bench.pass_time(5)
    assert [host.closed for host in half] == ["rst"] * MANY
    assert bench.engine.core.logins == {}
    worker.alive()


def test_deadlines_of_connections_that_are_gone_are_dropped(make_bench):
    """Ten thousand that come and go within the login time-out."""
    bench = make_bench(timers=Timers(login=30.0))
    kept = bench.host()
    for _ in range(10_000):
        bench.host().hang_up()
    assert len(bench.engine.core.timers) <= FEW + 1
    bench.pass_time(30)
    assert kept.closed == "rst"


def test_deadlines_of_connections_logged_out_for_recovery_are_bounded(make_bench, make_several):
    """Over and over in one session, which keeps what is left for an hour."""
    bench = make_bench()
    keys = [("ErrorRecoveryLevel", "2"), ("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "3600")]
    several = make_several(bench, 2, *keys)
    for _ in range(2 * FEW):
        bench.clock.now += 0.001
        several.send(0, "logout", 2, immediate=True, cid=1)
        several.hosts[0].inbox.clear()
        several.hosts.pop().hang_up()
        several.add(1)
    assert len(bench.engine.core.timers) <= FEW + 1
    assert len(bench.engine.connections) == 2


def flood(number):
    """New keys, so that each of them has to be answered and to be known by."""
    return [(f"X-{number}.{each}", "1") for each in range(300)]


def test_text_without_end_is_refused_at_the_limit(make_bench):
    bench = make_bench(limits=Limits(text_bytes=20_000))
    host = bench.session()
    ttt, taken = NO_TAG, 0
    while taken < 50:
        host.itt = 6
        pairs = () if taken == 0 else flood(taken)
        answer = host.ask(host.text(*pairs, ttt=ttt, final=False))
        if isinstance(answer, Reject):
            break
        ttt, taken = answer.ttt, taken + 1
        while answer.continued:
            host.itt = 6
            answer = host.ask(host.text(ttt=ttt, final=False))
            ttt = answer.ttt
    assert 2 <= taken <= 20_000 // 2400 + 2
    assert bench.engine.connections[host.number].text is None


def test_login_without_end_is_refused_at_the_limit(make_bench):
    bench = make_bench(limits=Limits(text_bytes=20_000))
    host = bench.host()
    taken = 0
    while taken < 50:
        pairs = flood(taken) if taken else host.names()
        answer = host.ask(host.login_request(pairs, transit=False, nsg=0))
        if answer.status:
            break
        taken += 1
    assert 2 <= taken <= 20_000 // 2400 + 2
    assert host.closed == "fin"
    assert bench.engine.sessions == []
