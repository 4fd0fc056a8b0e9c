"""What this host cannot do for a connection: no local end for it, and PDUs that cannot be sent (events 5 and 7)."""

from __future__ import annotations

import errno

import pytest

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import ScsiRequest
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_protocol.eventlog import words
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import LogoutRequest

PORTAL = Endpoint("192.0.2.10", 3260)
TARGET = "iqn.2026-01.org.example:disk"


def no_local_end(bench, error=errno.EADDRNOTAVAIL):
    bench.engine.bind_failed(bench.wanted.pop(0).connection, error, bench.now)
    bench.collect()


def not_sent(bench, error=errno.ECONNRESET):
    bench.engine.send_failed(bench.connection, error, bench.now)
    bench.collect()


@pytest.mark.parametrize("error", [errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EMFILE])
def test_5_once_the_network_was_waited_for(bench, error):
    made = bench(settings=Settings(network_ready_retry_count=3, delay_between_reconnect=2))
    for _ in range(3):
        no_local_end(made, error)
        assert made.log == []
        assert made.wanted == []
        made.advance(1.9)
        assert made.wanted == []
        made.advance(0.1)
    no_local_end(made, error)
    assert made.log == [5]
    assert made.dump(5) == words(error)
    assert (made.over.event, made.over.unreachable) == (5, False)
    made.advance(100)
    assert made.wanted == []


def test_5_the_guide_has_ten_tries_more(bench):
    made = bench()
    for _ in range(10):
        no_local_end(made)
        made.advance(1)
    assert made.log == []
    no_local_end(made)
    assert made.log == [5]


def test_5_is_not_met_where_the_last_try_succeeds(bench):
    made = bench(settings=Settings(network_ready_retry_count=1))
    no_local_end(made)
    made.advance(1)
    made.login()
    assert (made.log, made.ups) == ([], 1)
    made.lose()
    made.advance(2)
    no_local_end(made)
    made.advance(1)
    made.login()
    assert made.log == [20, 34]


def test_5_in_recovery_is_a_failed_attempt(up):
    bench = up(settings=Settings(network_ready_retry_count=0))
    bench.lose()
    bench.advance(2)
    no_local_end(bench)
    assert bench.log == [20, 5]
    bench.advance(1)
    bench.login()
    assert bench.log == [20, 5, 34]


def test_5_and_a_session_that_is_closed_meanwhile(bench):
    made = bench()
    no_local_end(made)
    made.engine.close_session(made.session, made.now)
    made.collect()
    assert made.over is not None
    made.advance(100)
    assert (made.log, made.wanted) == ([], [])


def test_where_a_connection_is_to_begin(bench):
    source = Endpoint("192.0.2.5", 700)
    made = bench(options=SessionOptions(portal=PORTAL, target_name=TARGET, source=source))
    assert made.wanted[0].source == source
    assert bench().wanted[0].source is None


@pytest.mark.parametrize("error", [errno.ECONNRESET, errno.EPIPE, errno.ENOBUFS])
def test_7_and_the_20_that_follows(up, error):
    bench = up()
    bench.submit(ScsiRequest(0, bytes(6), data_out=bytes(100000)))
    not_sent(bench, error)
    assert bench.log == [7]
    assert bench.dump(7) == words(error)
    assert bench.losses == 0
    bench.lose()
    assert bench.log == [7, 20]
    bench.advance(2)
    bench.login()
    assert bench.log == [7, 20, 34]


def test_7_is_not_met_where_the_end_was_seen_first(up):
    bench = up()
    bench.lose(TransportEvent.RST)
    not_sent(bench)
    assert bench.log == [20]


def test_7_while_logging_out(up):
    bench = up()
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    assert bench.take(LogoutRequest)
    not_sent(bench)
    bench.lose()
    assert bench.log == [7, 20]
    assert bench.over is not None


def test_before_full_feature_phase_the_end_tells_all(bench):
    made = bench()
    made.security()
    not_sent(made)
    made.lose()
    assert made.log == [59]


def test_other_settings_count_from_the_next_start_on(up):
    bench = up()
    engine = bench.engine
    assert engine.declare(bench.settings) is None
    assert engine.declare(Settings(wmi_request_timeout=7)) == 0xAFFF003B
    engine.open_session(SessionOptions(portal=PORTAL), bench.now)
    assert engine.settings.wmi_request_timeout == 30
    engine.reload()
    later = engine.open_session(SessionOptions(portal=PORTAL), bench.now)
    assert engine.session(later).settings.wmi_request_timeout == 7
    assert engine.session(bench.session).settings.wmi_request_timeout == 30
    assert engine.declare(Settings(wmi_request_timeout=7)) is None


def test_going_on_after_there_was_no_local_end(bench):
    made = bench(settings=Settings(network_ready_retry_count=0), policy=Policy(goes_on_after=frozenset({5})))
    no_local_end(made)
    made.advance(100)
    assert made.log == [5]
    assert (made.over, made.wanted) == (None, [])
