"""Shortages: each limit where it is reached, and one below (events 2, 6, 30, 31, 37, 55 to 58)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iscsi_initiator.limits import Limits, Resource
from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import (
    ConnectionRemoved,
    EventLogged,
    Failure,
    Ping,
    RequestDone,
    ScsiRequest,
    SessionClosed,
    TaskManagement,
    TextNegotiation,
)
from iscsi_initiator.settings import ChapOptions, SessionOptions, Settings
from iscsi_protocol.chap import MD5, SHA256, Credentials, approved_hasher
from iscsi_protocol.eventlog import EVENTS
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    DataOut,
    LoginRequest,
    LogoutRequest,
    NopIn,
    NopOut,
    ScsiCommand,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
)

PORTAL = Endpoint("192.0.2.10", 3260)
TARGET = "iqn.2026-01.org.example:disk"
READ = bytes([0x28]) + bytes(9)
WRITE = bytes([0x2A]) + bytes(9)


def few(**limits):
    return Settings(limits=Limits(**limits))


def read(**arguments):
    return ScsiRequest(0, READ, data_in=4, **arguments)


def submit(bench, *requests):
    for request in requests:
        bench.submit(request)
    return requests


def answer(bench, count=1):
    """Let reads that were sent end well, oldest first."""
    for _ in range(count):
        bench.give(bench.read_response(bench.take(ScsiCommand), b"data"))


def failed_for_want(bench, request, event):
    """Whether a request failed with this event, logged once and without a dump."""
    assert bench.done(request)
    assert request.failure is Failure.NO_RESOURCES
    assert bench.log == [event]
    assert bench.dump(event) == b""
    return True


def test_every_resource_has_a_limit_and_an_event_of_its_own():
    assert {resource.field for resource in Resource} == set(Limits.__slots__)
    events = [resource.event for resource in Resource]
    assert sorted(events) == [2, 6, 30, 31, 55, 57, 58]
    assert all(EVENTS[event].dump.value == "none" for event in events)


@pytest.mark.parametrize("resource", Resource)
def test_no_limit_is_below_nothing(resource):
    Limits(**{resource.field: 0})
    with pytest.raises(ValueError, match=resource.field):
        Limits(**{resource.field: -1})


# 2: sessions


def test_2_the_session_above_the_limit_is_over_at_once(up):
    bench = up(settings=few(sessions=2))
    options = SessionOptions(portal=PORTAL, target_name=TARGET)
    bench.engine.open_session(options, bench.now)
    bench.collect()
    assert (bench.log, len(bench.wanted)) == ([], 1)
    third = bench.engine.open_session(options, bench.now)
    bench.collect()
    assert bench.log == [2]
    assert bench.dump(2) == b""
    assert len(bench.wanted) == 1
    (closed,) = bench.of(SessionClosed)
    assert (closed.session, closed.event, closed.unreachable) == (third, 2, False)
    request = read()
    bench.engine.submit(third, request, bench.now)
    bench.collect()
    assert request.failure is Failure.NOT_CONNECTED
    submit(bench, read())
    answer(bench)
    assert bench.log == [2]


def test_2_a_session_that_is_over_makes_room(bench):
    one = bench(settings=few(sessions=1))
    one.refuse()
    one.advance(1)
    one.refuse()
    assert one.log == [1, 1]
    assert one.over is not None
    one.engine.open_session(SessionOptions(portal=PORTAL), one.now)
    one.collect()
    assert one.log == [1, 1]
    assert len(one.wanted) == 1


# 6: connections


def test_6_the_connection_above_the_limit_is_not_made(up):
    bench = up(settings=few(connections=2))
    options = SessionOptions(portal=PORTAL, target_name=TARGET)
    bench.engine.open_session(options, bench.now)
    bench.collect()
    assert (bench.log, len(bench.wanted)) == ([], 1)
    third = bench.engine.open_session(options, bench.now)
    bench.collect()
    assert bench.log == [6]
    assert bench.dump(6) == b""
    assert len(bench.wanted) == 1
    (closed,) = bench.of(SessionClosed)
    assert (closed.session, closed.event, closed.unreachable) == (third, 6, False)


def test_6_during_recovery_is_a_failed_attempt_and_the_next_one_may_succeed(up):
    bench = up(settings=few(connections=1))
    bench.lose()
    other = bench.engine.open_session(SessionOptions(portal=Endpoint("192.0.2.11", 3260)), bench.now)
    bench.collect()
    bench.advance(3.5)
    assert bench.log == [20, 6, 6]
    bench.engine.close_session(other, bench.now)
    bench.collect()
    bench.wanted.pop(0)
    bench.advance(1)
    bench.login()
    assert bench.log == [20, 6, 6, 34]


def test_6_a_connection_that_was_lost_makes_room(up):
    bench = up(settings=few(connections=1))
    bench.lose()
    bench.advance(2)
    bench.login()
    assert bench.log == [20, 34]


# 30: work items


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_30_more_requests_are_put_off_than_there_are_work_items(up, limit):
    bench = up(settings=Settings(max_pending_requests=2, limits=Limits(work_items=limit)))
    fitting = submit(bench, *(read() for _ in range(2 + limit)))
    assert bench.log == []
    (more,) = submit(bench, read())
    assert failed_for_want(bench, more, 30)
    answer(bench, 2 + limit)
    assert [request.failure for request in fitting] == [None] * len(fitting)
    assert all(bench.done(request) for request in fitting)
    submit(bench, read())
    answer(bench)
    assert bench.log == [30]


def test_30_counts_the_requests_of_all_sessions(up):
    bench = up(settings=Settings(max_pending_requests=1, limits=Limits(work_items=1)))
    other = bench.engine.open_session(SessionOptions(portal=PORTAL, target_name=TARGET), bench.now)
    waiting = read()
    bench.engine.submit(other, waiting, bench.now)
    bench.collect()
    submit(bench, read())
    (more,) = submit(bench, read())
    assert failed_for_want(bench, more, 30)
    assert not bench.done(waiting)


def test_30_requests_that_were_sent_are_held_whatever_the_limit(up):
    bench = up(settings=few(work_items=0))
    fitting = submit(bench, read(), read())
    bench.lose()
    (more,) = submit(bench, read())
    assert more.failure is Failure.NO_RESOURCES
    assert bench.log == [20, 30]
    bench.advance(2)
    bench.login()
    answer(bench, 2)
    assert all(request.failure is None and bench.done(request) for request in fitting)
    assert bench.log == [20, 30, 34]


# 31: resources of requests; 57: those of I/O


MANAGEMENT = {
    "ping": lambda: Ping(b"x"),
    "text": lambda: TextNegotiation((("SendTargets", "All"),)),
    "task management": lambda: TaskManagement(5, 1),
    "SCSI through the management interface": lambda: read(management=True),
}


@pytest.mark.parametrize("kind", MANAGEMENT)
def test_31_a_request_above_the_limit(up, kind):
    bench = up(settings=few(request_resources=1, io_requests=1))
    submit(bench, Ping(b"first"), read())
    assert bench.log == []
    bench.sent.clear()
    (more,) = submit(bench, MANAGEMENT[kind]())
    assert failed_for_want(bench, more, 31)
    assert bench.sent == []


@pytest.mark.parametrize("kind", MANAGEMENT)
def test_31_what_is_finished_makes_room(up, kind):
    bench = up(settings=few(request_resources=1))
    submit(bench, Ping(b"first"))
    ping = bench.take(NopOut)
    bench.give(NopIn(itt=ping.itt, data=b"first", **bench.numbers()))
    (more,) = submit(bench, MANAGEMENT[kind]())
    assert not bench.done(more)
    assert bench.log == []


def test_57_io_above_the_limit_and_what_is_no_io(up):
    bench = up(settings=few(io_requests=2))
    fitting = submit(bench, read(), read(), *(make() for make in MANAGEMENT.values()))
    assert bench.log == []
    (more,) = submit(bench, read())
    assert failed_for_want(bench, more, 57)
    answer(bench, 2)
    assert [request.failure for request in fitting[:2]] == [None, None]
    submit(bench, read(), read())
    assert bench.log == [57]


def test_57_counts_what_waits_and_what_other_sessions_have(up):
    bench = up(settings=Settings(max_pending_requests=1, limits=Limits(io_requests=3)))
    other = bench.engine.open_session(SessionOptions(portal=PORTAL, target_name=TARGET), bench.now)
    bench.engine.submit(other, read(), bench.now)
    submit(bench, read(), read())
    assert bench.log == []
    (more,) = submit(bench, read())
    assert failed_for_want(bench, more, 57)


@pytest.mark.parametrize("end", ["answered", "cancelled", "lost", "timed out", "logged out"])
def test_every_end_gives_back_what_was_taken(up, end):
    bench = up(settings=Settings(max_pending_requests=1, limits=Limits(io_requests=2, request_resources=1)))
    requests = submit(bench, read(hold=False), read(hold=False), Ping(b"x"))
    if end == "answered":
        answer(bench, 1)
        answer(bench, 1)
        bench.give(NopIn(itt=bench.take(NopOut).itt, data=b"x", **bench.numbers()))
    elif end == "cancelled":
        bench.engine.cancel(requests[1], bench.now)
        bench.engine.cancel(requests[0], bench.now)
        bench.collect()
        abort = bench.take(TaskManagementRequest)
        bench.give(TaskManagementResponse(itt=abort.itt, **bench.numbers()))
        bench.give(NopIn(itt=bench.take(NopOut).itt, data=b"x", **bench.numbers()))
    elif end == "lost":
        bench.lose()
        bench.advance(61)
    elif end == "timed out":
        bench.advance(200)
    else:
        bench.engine.close_session(bench.session, bench.now)
        bench.collect()
        bench.lose()
    assert all(bench.done(request) for request in requests)
    usage = bench.engine.usage
    assert (usage.io_requests, usage.request_resources) == (0, 0)


# 55: room to send


def test_55_immediate_data_finds_room_or_not(up):
    bench = up(settings=few(send_buffer=1000), answers={"MaxRecvDataSegmentLength": "8192"})
    (fitting,) = submit(bench, ScsiRequest(0, WRITE, data_out=bytes(1000)))
    command = bench.take(ScsiCommand)
    assert len(command.data) == 1000
    (more,) = submit(bench, ScsiRequest(0, WRITE, data_out=bytes(1001)))
    assert failed_for_want(bench, more, 55)
    assert bench.sent == []
    submit(bench, ScsiRequest(0, WRITE, data_out=bytes(1000)))
    following = bench.take(ScsiCommand)
    assert following.cmd_sn == command.cmd_sn + 1
    assert not bench.done(fitting)


def test_55_counts_unsolicited_data_and_what_the_network_did_not_take_yet(up):
    bench = up(settings=few(send_buffer=20000), answers={"MaxRecvDataSegmentLength": "8192"})
    first, second = ScsiRequest(0, WRITE, data_out=bytes(12000)), ScsiRequest(0, WRITE, data_out=bytes(8000))
    third = ScsiRequest(0, WRITE, data_out=bytes(1))
    for request in (first, second, third):
        bench.engine.submit(bench.session, request, bench.now)
    bench.collect()
    assert failed_for_want(bench, third, 55)
    assert sum(len(pdu.data) for pdu in bench.sent) == 20000
    submit(bench, ScsiRequest(0, WRITE, data_out=bytes(20000)))
    assert bench.log == [55]


def test_55_reads_and_pdus_without_payload_need_no_room(up):
    bench = up(settings=few(send_buffer=0))
    submit(bench, read(), TaskManagement(5, 1))
    assert bench.log == []
    answer(bench)


def asked(bench, command, length, **fields):
    """An R2T for the data of a write from its start."""
    return R2T(
        itt=command.itt,
        ttt=9,
        r2t_sn=0,
        buffer_offset=0,
        desired_data_transfer_length=length,
        **bench.numbers(consume=False),
        **fields,
    )


def test_55_the_data_of_an_r2t_finds_no_room(up):
    settings = Settings(initial_r2t=True, immediate_data=False, limits=Limits(send_buffer=4096))
    bench = up(settings=settings, answers={"InitialR2T": "Yes", "ImmediateData": "No"})
    fitting, more = submit(
        bench, ScsiRequest(0, WRITE, data_out=bytes(4096)), ScsiRequest(0, WRITE, data_out=bytes(5000))
    )
    bench.give(asked(bench, bench.take(ScsiCommand), 4096))
    assert len(bench.take(DataOut).data) == 4096
    command = bench.take(ScsiCommand)
    bench.give(asked(bench, command, 4097))
    assert bench.log == [55]
    abort = bench.take(TaskManagementRequest)
    assert (abort.function, abort.referenced_task_tag) == (1, command.itt)
    bench.give(replace(asked(bench, command, 10), r2t_sn=1, buffer_offset=4097))
    assert bench.sent == []
    bench.give(TaskManagementResponse(itt=abort.itt, **bench.numbers()))
    assert failed_for_want(bench, more, 55)
    assert bench.sent == []
    assert not bench.done(fitting)


# 56: buffers


def released():
    view = memoryview(bytearray(4))
    view.release()
    return view


@pytest.mark.parametrize(
    ("where", "buffer"),
    [
        ("data_in", memoryview(bytes(4))),
        ("data_in", released()),
        ("data_in", memoryview(bytearray(8))[::2]),
        ("data_out", released()),
        ("data_out", memoryview(bytes(8))[::2]),
    ],
    ids=["read-only", "released", "in pieces", "released, to write", "in pieces, to write"],
)
def test_56_a_buffer_that_cannot_be_used(up, where, buffer):
    bench = up()
    request = ScsiRequest(0, READ, **{where: buffer})
    submit(bench, request)
    assert bench.done(request)
    assert request.failure is Failure.UNUSABLE_BUFFER
    assert bench.log == [56]
    assert bench.dump(56) == b""
    assert bench.sent == []
    submit(bench, read())
    assert bench.take(ScsiCommand).cmd_sn == 1


@pytest.mark.parametrize(
    ("where", "buffer"),
    [
        ("data_in", memoryview(bytearray(8))[2:6]),
        ("data_in", bytearray(4)),
        ("data_in", memoryview(bytearray(8)).cast("I")),
        ("data_out", bytes(4)),
        ("data_out", memoryview(bytes(8))[1:5]),
    ],
)
def test_56_buffers_that_can(up, where, buffer):
    bench = up()
    submit(bench, ScsiRequest(0, READ, **{where: buffer}))
    assert bench.log == []
    assert bench.take(ScsiCommand).expected_data_transfer_length == memoryview(buffer).nbytes


# 58: task tags


def test_58_no_tag_is_free_although_more_might_be_pending(up):
    bench = up(settings=Settings(max_pending_requests=255, limits=Limits(tags=3)))
    fitting = submit(bench, read(), read(), Ping(b"x"))
    assert bench.log == []
    (more,) = submit(bench, read())
    assert failed_for_want(bench, more, 58)
    answer(bench)
    assert fitting[0].failure is None
    submit(bench, read())
    assert bench.log == [58]


@pytest.mark.parametrize("kind", ["ping", "text", "task management"])
def test_58_other_requests_need_tags_too(up, kind):
    bench = up(settings=few(tags=1))
    submit(bench, read())
    (more,) = submit(bench, MANAGEMENT[kind]())
    assert failed_for_want(bench, more, 58)


def test_58_is_not_met_where_requests_wait_for_max_pending_requests(up):
    bench = up(settings=Settings(max_pending_requests=3, limits=Limits(tags=3)))
    requests = submit(bench, *(read() for _ in range(10)))
    assert bench.log == []
    assert len(bench.sent) == 3
    answer(bench, 10)
    assert all(request.failure is None and bench.done(request) for request in requests)


def test_58_what_the_initiator_does_on_its_own_account_has_a_tag(up):
    bench = up(settings=few(tags=1))
    (request,) = submit(bench, read())
    bench.engine.cancel(request, bench.now)
    bench.collect()
    bench.give(TaskManagementResponse(itt=bench.take(TaskManagementRequest).itt, **bench.numbers()))
    assert request.failure is Failure.ABORTED
    submit(bench, read())
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    assert bench.take(LogoutRequest)
    assert bench.log == []


def test_a_negotiation_that_the_target_asks_for_is_a_request_too(up):
    bench = up(settings=few(request_resources=1))
    bench.give(AsyncMessage(async_event=4, parameter3=5, **bench.numbers()))
    assert bench.take(TextRequest)
    (more,) = submit(bench, Ping(b"x"))
    assert failed_for_want(bench, more, 31)


# 37: the hash


def chap(*algorithms, persistent=True):
    credentials = Credentials(name="tester", secret=b"one-way-secret-1")
    options = ChapOptions(credentials=credentials, algorithms=algorithms)
    return SessionOptions(portal=PORTAL, target_name=TARGET, chap=options, persistent=persistent)


@pytest.mark.parametrize("persistent", [True, False])
def test_37_md5_is_the_only_hash_and_refused(bench, persistent):
    made = bench(options=chap(MD5, persistent=persistent), hasher=approved_hasher)
    assert made.log == [37]
    assert made.dump(37) == b""
    assert made.over.event == 37
    assert made.wanted == []


def test_37_is_not_met_where_sha_256_is_offered_too(bench):
    made = bench(options=chap(MD5, SHA256), hasher=approved_hasher)
    request = made.security()
    assert isinstance(request, LoginRequest)
    assert b"AuthMethod=CHAP" in request.data
    made.respond(request, [("AuthMethod", "CHAP")], transit=False, nsg=0)
    assert made.take(LoginRequest).data == b"CHAP_A=7\0"
    assert made.log == []


def test_37_is_not_met_without_chap(bench):
    made = bench(options=SessionOptions(portal=PORTAL, target_name=TARGET, persistent=True), hasher=approved_hasher)
    assert made.log == []
    assert len(made.wanted) == 1


# Several connections


def several(up, *portals, **arguments):
    """A session whose first connection is up, of as many as there are portals and one."""
    options = SessionOptions(portal=PORTAL, target_name=TARGET, connections=1 + len(portals), portals=portals)
    return up(options=replace(options, **arguments.pop("changes", {})), answers={"MaxConnections": "8"}, **arguments)


def test_6_a_connection_too_many_leaves_the_session_up_with_those_that_there_are(up):
    bench = several(up, PORTAL, PORTAL, settings=few(connections=2))
    assert bench.log == [6]
    assert len(bench.wanted) == 1
    assert [event.cid for event in bench.of(ConnectionRemoved)] == [2]
    submit(bench, read())
    answer(bench)
    assert bench.over is None


def test_6_is_not_met_by_as_many_connections_as_there_may_be(up):
    bench = several(up, PORTAL, PORTAL, settings=few(connections=3))
    assert bench.log == []
    assert len(bench.wanted) == 2


# Broken reactions: a shortage that is logged, and passed over.


def goes_on(*events):
    return Policy(goes_on_after=frozenset(events))


@pytest.mark.parametrize(
    ("event", "limits", "kind"),
    [
        (30, {"work_items": 0}, "a second read"),
        (31, {"request_resources": 0}, "ping"),
        (55, {"send_buffer": 0}, "write"),
        (57, {"io_requests": 0}, "read"),
        (58, {"tags": 0}, "read"),
    ],
)
def test_going_on_after_a_shortage(up, event, limits, kind):
    bench = up(settings=Settings(max_pending_requests=1, limits=Limits(**limits)), policy=goes_on(event))
    make = {"ping": lambda: Ping(b"x"), "write": lambda: ScsiRequest(0, WRITE, data_out=bytes(8))}.get(kind, read)
    first = submit(bench, make())
    second = submit(bench, make()) if event == 30 else ()
    assert bench.log == [event]
    assert not any(bench.done(request) for request in (*first, *second))
    assert len(bench.sent) == 1
    if kind in ("read", "a second read"):
        answer(bench, 1)
        assert first[0].failure is None
    usage = bench.engine.usage
    assert usage.io_requests == {"write": 1, "a second read": 1}.get(kind, 0)


def test_going_on_without_a_tag_for_a_ping(up):
    bench = up(settings=few(tags=0), policy=goes_on(58))
    submit(bench, Ping(b"x"))
    assert bench.log == [58]
    assert bench.take(NopOut).data == b"x"


def test_going_on_without_room_for_the_data_of_an_r2t(up):
    settings = Settings(initial_r2t=True, immediate_data=False, limits=Limits(send_buffer=0))
    bench = up(settings=settings, answers={"InitialR2T": "Yes", "ImmediateData": "No"}, policy=goes_on(55))
    submit(bench, ScsiRequest(0, WRITE, data_out=bytes(100)))
    bench.give(asked(bench, bench.take(ScsiCommand), 100))
    assert bench.log == [55]
    assert len(bench.take(DataOut).data) == 100
    assert bench.sent == []


def test_going_on_with_a_buffer_that_cannot_be_used(up):
    bench = up(policy=goes_on(56))
    request = ScsiRequest(0, READ, data_in=memoryview(bytes(4)))
    submit(bench, request)
    assert bench.log == [56]
    assert bench.take(ScsiCommand).expected_data_transfer_length == 0


def test_going_on_with_a_session_and_a_connection_too_many(bench):
    made = bench(settings=few(sessions=0, connections=0), policy=goes_on(2, 6))
    assert made.log == [2, 6]
    made.login()
    assert made.ups == 1


# The log's switches


@pytest.mark.parametrize(("policy", "logged"), [("never_logs", []), ("logs_twice", [57, 57])])
def test_switches_of_the_log_reach_these_events(up, policy, logged):
    switches: dict[str, Any] = {policy: frozenset({57})}
    bench = up(settings=few(io_requests=0), policy=Policy(**switches))
    (request,) = submit(bench, read())
    assert bench.log == logged
    assert request.failure is Failure.NO_RESOURCES
    assert [event.request for event in bench.of(RequestDone)] == [request]


@pytest.mark.parametrize("resource", Resource)
def test_limits_are_lowered_by_one_where_it_is_said(resource):
    limits = Limits(sessions=3, io_requests=2, tags=0)
    lowered = limits.lowered({resource.event})
    assert getattr(lowered, resource.field) == max(0, getattr(limits, resource.field) - 1)
    assert lowered.lowered({}) == lowered
    assert [each for each in Limits.__slots__ if getattr(lowered, each) != getattr(limits, each)] == (
        [] if resource is Resource.TAG else [resource.field]
    )


def test_a_limit_that_is_taken_as_reached_fails_the_last_request_that_fits(up):
    bench = up(settings=few(io_requests=2), policy=Policy(takes_limits_as_reached=frozenset({57})))
    (first,) = submit(bench, read())
    (last,) = submit(bench, read())
    assert failed_for_want(bench, last, 57)
    assert not bench.done(first)


def test_a_host_that_looks_for_md5_alone_has_no_hash_left(bench):
    made = bench(options=chap(MD5, SHA256), hasher=approved_hasher, policy=Policy(looks_for_md5_alone=True))
    assert made.log == [37]


def test_a_lost_connection_takes_its_send_buffer_with_it(up):
    bench = up(settings=few(send_buffer=1000))
    bench.engine.submit(bench.session, ScsiRequest(0, WRITE, data_out=bytes(1000)), bench.now)
    bench.engine.connection_lost(bench.connection, TransportEvent.RST, bench.now)
    bench.collect()
    bench.advance(2)
    bench.login()
    assert len(bench.take(ScsiCommand).data) == 1000
    assert [event.id for event in bench.of(EventLogged)] == [20, 34]


def test_an_answered_text_makes_room(up):
    bench = up(settings=few(request_resources=1))
    submit(bench, TextNegotiation((("SendTargets", "All"),)))
    request = bench.take(TextRequest)
    bench.give(TextResponse(itt=request.itt, **bench.numbers()))
    (more,) = submit(bench, Ping(b"x"))
    assert not bench.done(more)
