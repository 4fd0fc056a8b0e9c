"""What is counted of connections, sessions and an initiator, held against what crossed the wire."""

from __future__ import annotations

import asyncio
import copy
import random
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from iscsi_conformance.bundled import CHAP, DENIED, MOVED, MUTUAL, PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.pipe import MemoryConnector, Road
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.client import Client, RequestFailed, SessionFailed
from iscsi_initiator.counters import NodeCounters, NodeFault, SessionFault, Traffic, node_fault
from iscsi_initiator.engine import InitiatorEngine
from iscsi_initiator.requests import NodeFailure, ScsiRequest, SessionFailure
from iscsi_initiator.settings import NO_DIGEST, REQUIRE_DIGEST, ChapOptions, SessionOptions, Settings
from iscsi_protocol.chap import Credentials
from iscsi_protocol.fault import Close, Drop, Fault, Flip, Part, Set, Silence, When
from iscsi_protocol.history import Endpoint, PduRecord, TransportEvent
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.stream import Direction
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

BACK, OUT = Direction.TO_INITIATOR, Direction.TO_TARGET
ONCE = Settings(portal_retry_count=0)


class Seen:
    """A client, what crossed its connections, and what its engine told."""

    def __init__(self, portal, connector):
        self.portal = portal
        self.connector = connector
        self.records: list[Any] = []
        self.events: list[Any] = []
        self.node = NodeCounters()
        self.client: Client | None = None

    async def connect(self, name=PLAIN, settings=ONCE, **options):
        wishes = SessionOptions(portal=self.portal.endpoints[0], target_name=name, **options)
        self.client = await Client.connect(
            wishes.portal,
            options=wishes,
            settings=settings,
            connector=self.connector,
            tap=self.records.append,
            on_event=self.events.append,
            counters=self.node,
        )
        return self.client

    def crossed(self, direction, connection=None):
        return [
            each.raw
            for each in self.records
            if isinstance(each, PduRecord) and each.direction is direction and connection in (None, each.connection)
        ]

    def bytes(self, direction, connection=None):
        return sum(len(raw.to_bytes()) for raw in self.crossed(direction, connection))

    def told(self, kind):
        return [each for each in self.events if isinstance(each, kind)]


def over(test, *, faults=(), level=0):
    async def run():
        config = msgspec.structs.replace(
            bundled_config(), keys={"MaxConnections": "4", "ErrorRecoveryLevel": str(level)}
        )
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals, faults=faults)
        seen = Seen(portal, MemoryConnector(portal))
        try:
            await test(seen)
        finally:
            if seen.client is not None:
                seen.client.abort()
            portal.close()
            close_devices(devices)

    run_virtual(run())


def answer(opcode, *what, nth=1, times=1, raw=False):
    return Fault(when=When(direction=BACK, opcode=opcode, nth=nth, times=times), what=what, raw=raw)


@pytest.mark.parametrize("digest", [NO_DIGEST, REQUIRE_DIGEST], ids=["plain", "digests"])
def test_bytes_and_pdus_are_those_of_the_wire(digest):
    """Login, reads, writes in one piece and in many, a ping, with digests and without: to the byte."""

    async def test(seen):
        client = await seen.connect(header_digest=digest, data_digest=digest)
        await client.read(0, 5)
        await client.write(0, bytes(512 * 3))
        await client.write(0, bytes(300 * 512))
        await client.ping(b"echo!")
        await client.read(3, 700)
        traffic = client.session.traffic
        assert traffic.bytes_sent == seen.bytes(OUT)
        assert traffic.bytes_received == seen.bytes(BACK)
        assert traffic.pdus_sent == len(seen.crossed(OUT))
        assert traffic.pdus_received == len(seen.crossed(BACK))
        assert traffic.bytes_sent > 303 * 512

    over(test)


def test_connections_are_counted_apart_and_stay_counted_when_they_leave():
    async def test(seen):
        client = await seen.connect(connections=2)
        await passed(0.1)
        await asyncio.gather(*(client.read(number, 1) for number in range(8)))
        connections = client.session.connections
        for cid, connection in connections.items():
            assert connection.traffic.bytes_sent == seen.bytes(OUT, cid + 1)
            assert connection.traffic.pdus_received == len(seen.crossed(BACK, cid + 1))
        assert len({each.traffic.bytes_received for each in connections.values()}) == 2 or len(connections) == 2
        await client.remove_connection(1)
        assert list(connections) == [0]
        assert client.session.traffic.bytes_sent == seen.bytes(OUT)
        assert client.session.traffic.bytes_received == seen.bytes(BACK)

    over(test)


def test_a_connection_that_logs_in_again_goes_on_counting():
    async def test(seen):
        client = await seen.connect(settings=Settings(portal_retry_count=0, delay_between_reconnect=1))
        await client.read(0, 1)
        before = client.session.traffic.bytes_received
        seen.connector.links[0].cut()
        await client.read(0, 1)
        assert client.session.traffic.bytes_received == seen.bytes(BACK) > before
        assert client.session.traffic.bytes_sent == seen.bytes(OUT)
        assert seen.node.login_accepts == 2
        assert seen.node.session_failures == 1
        assert [each.fault for each in seen.told(SessionFailure)] == [SessionFault.OTHER]

    over(test)


def test_request_times(up):
    """From the moment that a command is sent to that of its status; of those that one piece of bytes ends, the first."""
    bench = up()
    link = bench.engine.session(1).ready[0]
    requests = [ScsiRequest(0, opcodes.TEST_UNIT_READY.build()) for _ in range(3)]
    bench.submit(requests[0])
    command = bench.take(object)
    bench.advance(2.5)
    bench.give(bench.response(command))
    assert (link.traffic.timed, link.traffic.time, link.traffic.longest) == (1, 2.5, 2.5)
    bench.submit(requests[1])
    bench.submit(requests[2])
    one, other = bench.take(object), bench.take(object)
    bench.advance(0.5)
    bench.give(bench.response(one), bench.response(other))
    assert (link.traffic.timed, link.traffic.time, link.traffic.longest) == (2, 3.0, 2.5)


def test_request_times_leave_out_what_failed(up):
    bench = up()
    link = bench.engine.session(1).ready[0]
    bench.submit(ScsiRequest(0, opcodes.TEST_UNIT_READY.build()))
    bench.lose()
    assert link.traffic.timed == 0


@pytest.mark.parametrize(
    ("name", "options", "fault", "counts"),
    [
        pytest.param(DENIED, {}, NodeFault.LOGIN_OTHER, {"login_other_refusals": 1}, id="refused"),
        pytest.param(CHAP, {}, NodeFault.LOGIN_AUTH, {"login_auth_refusals": 1}, id="no CHAP configured"),
        pytest.param(
            CHAP,
            {"chap": ChapOptions(credentials=Credentials(name="tester", secret=b"a-wrong-secret-1"))},
            NodeFault.LOGIN_AUTH,
            {"login_auth_refusals": 1},
            id="wrong secret",
        ),
        pytest.param(
            MUTUAL,
            {
                "chap": ChapOptions(
                    credentials=Credentials(name="tester", secret=b"one-way-secret-1"),
                    target_secret=b"not-that-of-it-1",
                )
            },
            NodeFault.LOGIN_AUTHENTICATE,
            {"authenticate_failures": 1},
            id="target not authenticated",
        ),
    ],
)
def test_failed_logins_by_their_kind(name, options, fault, counts):
    async def test(seen):
        with pytest.raises(SessionFailed):
            await seen.connect(name, **options)
        assert [each.fault for each in seen.told(NodeFailure)] == [fault]
        assert seen.told(NodeFailure)[0].portal == seen.portal.endpoints[0]
        wanted = {
            "login_accepts": 0,
            "login_failures": 1,
            **dict.fromkeys(("login_other_refusals", "login_auth_refusals", "authenticate_failures"), 0),
            **counts,
        }
        assert {field: getattr(seen.node, field) for field in wanted} == wanted
        assert seen.told(SessionFailure) == []

    over(test)


def test_a_login_that_this_side_ends_over_an_answer():
    async def test(seen):
        with pytest.raises(SessionFailed):
            await seen.connect()
        assert seen.node.negotiate_failures == seen.node.login_failures == 1
        assert [each.fault for each in seen.told(NodeFailure)] == [NodeFault.LOGIN_NEGOTIATE]

    over(test, faults=[answer(Opcode.LOGIN_RESPONSE, Set("isid", bytes(6)), times=0)])


def redirect(made, data, detail):
    request = made.security()
    made.respond(request, status_class=1, status_detail=detail, data=data, transit=False)


@pytest.mark.parametrize(("detail", "temporary"), [(1, True), (2, False)])
def test_a_redirect_is_no_failure(bench, detail, temporary):
    made = bench()
    redirect(made, b"TargetAddress=192.0.2.20\0", detail)
    redirect(made, b"TargetAddress=192.0.2.21:3261\0", detail)
    made.login()
    node = made.engine.counters
    assert (node.login_redirects, node.login_accepts, node.login_failures) == (2, 1, 0)
    assert made.of(NodeFailure) == []
    went = made.engine.session(1).connections[0].redirect
    assert (went.original, went.there, went.temporary) == (made.options.portal, Endpoint("192.0.2.21", 3261), temporary)


def test_a_login_that_is_not_redirected_again_forgets_the_redirect(bench):
    made = bench()
    redirect(made, b"TargetAddress=192.0.2.20\0", 1)
    made.login()
    made.lose()
    made.advance(10)
    made.login()
    assert made.engine.session(1).connections[0].redirect is None


def test_redirects_without_end_are_one_failure():
    async def test(seen):
        with pytest.raises(SessionFailed):
            await seen.connect(MOVED, settings=Settings(portal_retry_count=0, max_login_redirects=2))
        assert (seen.node.login_redirects, seen.node.login_failures) == (3, 1)
        assert seen.node.login_other_refusals == 0
        assert [each.fault for each in seen.told(NodeFailure)] == [NodeFault.LOGIN_OTHER]

    over(test)


def test_nobody_there_is_a_failed_login():
    async def test(seen):
        seen.connector.road = Road.REFUSED
        with pytest.raises(SessionFailed):
            await seen.connect()
        assert seen.node.login_failures == 1
        assert [each.fault for each in seen.told(NodeFailure)] == [NodeFault.LOGIN_OTHER]

    over(test)


def test_logouts():
    async def test(seen):
        client = await seen.connect()
        await client.logout()
        assert (seen.node.logouts, seen.node.other_logouts) == (1, 0)
        assert seen.events == [each for each in seen.events if not isinstance(each, NodeFailure | SessionFailure)]

    over(test)


@pytest.mark.parametrize("what", [Drop(), Silence(), Set("response", 1)], ids=["closed", "silent", "refused"])
def test_a_logout_that_comes_to_nothing(what):
    """It is no failure of the session, which was to end."""

    async def test(seen):
        client = await seen.connect()
        await client.logout()
        assert [each.fault for each in seen.told(NodeFailure)] == [NodeFault.LOGOUT]
        assert seen.told(SessionFailure) == []
        assert (seen.node.session_failures, seen.node.login_failures) == (0, 0)

    over(test, faults=[answer(Opcode.LOGOUT_RESPONSE, what, times=0)])


@pytest.mark.parametrize(
    ("faults", "fault", "errors"),
    [
        pytest.param(
            [answer(Opcode.SCSI_DATA_IN, Flip(part=Part.DATA), nth=2, raw=True)],
            SessionFault.DIGEST,
            (1, 0, 0),
            id="digest",
        ),
        pytest.param(
            [answer(Opcode.SCSI_RESPONSE, Set("response", 0x05))], SessionFault.FORMAT, (0, 1, 0), id="format"
        ),
        pytest.param([answer(Opcode.SCSI_RESPONSE, Close())], SessionFault.OTHER, (0, 0, 0), id="lost"),
    ],
)
def test_failed_sessions_by_their_kind(faults, fault, errors):
    async def test(seen):
        digests = {"header_digest": REQUIRE_DIGEST, "data_digest": REQUIRE_DIGEST}
        client = await seen.connect(settings=Settings(delay_between_reconnect=1, portal_retry_count=0), **digests)
        await client.capacity()
        await client.read(0, 8)
        with suppress(RequestFailed):
            await client.write(0, bytes(512))
        await passed(5)
        found = client.session.errors
        assert (found.digest, found.format, found.connection_timeouts) == errors
        assert [each.fault for each in seen.told(SessionFailure)] == [fault]
        assert seen.node.session_failures == 1
        assert {kind: count for kind, count in seen.node.session_faults.items() if count} == {fault: 1}

    over(test, faults=faults)


def test_a_connection_that_answers_no_more_is_a_timeout():
    async def test(seen):
        client = await seen.connect(
            settings=Settings(enable_nop_out=True, nop_out_interval=5, nop_out_timeout=5, delay_between_reconnect=1)
        )
        await passed(12)
        assert client.session.errors.connection_timeouts == 1
        assert [each.fault for each in seen.told(SessionFailure)] == [SessionFault.TIMEOUT]

    over(test, faults=[answer(Opcode.NOP_IN, Drop())])


def test_tcp_that_gives_up_is_a_timeout(up):
    bench = up()
    bench.lose(TransportEvent.TIMED_OUT)
    assert bench.engine.session(1).errors.connection_timeouts == 1
    assert bench.of(SessionFailure)[0].fault is SessionFault.TIMEOUT


def test_an_asked_for_logout_is_no_failure(up):
    """A target that has the session log in anew breaks nothing."""
    from iscsi_protocol.pdu import AsyncMessage, LogoutRequest, LogoutResponse

    bench = up()
    bench.give(AsyncMessage(async_event=1, parameter3=3, **bench.numbers()))
    request = bench.take(LogoutRequest)
    bench.give(LogoutResponse(itt=request.itt, time2wait=2, time2retain=0, **bench.numbers()))
    assert bench.of(SessionFailure) == []
    assert bench.engine.counters.session_failures == 0


def test_recovery_logs_out_otherwise():
    async def test(seen):
        client = await seen.connect(
            connections=2, settings=Settings(delay_between_reconnect=1, default_time2wait=1, portal_retry_count=0)
        )
        await passed(0.1)
        seen.connector.links[1].cut()
        await passed(10)
        assert client.connections == (0, 1)
        assert (seen.node.logouts, seen.node.other_logouts) == (0, 1)
        assert seen.told(SessionFailure) == []

    over(test, level=2)


def test_a_session_with_its_counters_can_be_copied(up):
    bench = up()
    other = copy.deepcopy(bench.engine)
    assert isinstance(other, InitiatorEngine)
    other.session(1).errors.count(SessionFault.FORMAT, 1.0)
    assert bench.engine.session(1).errors.format == 0


def test_traffic_adds_up():
    one, other = Traffic(), Traffic()
    one.bytes_sent, other.bytes_sent = 3, 4
    one.took(2.0)
    other.took(1.0)
    one.add(other)
    assert (one.bytes_sent, one.timed, one.time, one.longest) == (7, 2, 3.0, 2.0)


@pytest.mark.parametrize(
    ("status", "event", "fault"),
    [
        (0x0201, 10, NodeFault.LOGIN_AUTH),
        (0x0301, 10, NodeFault.LOGIN_OTHER),
        (None, 17, NodeFault.LOGIN_AUTHENTICATE),
        (None, 11, NodeFault.LOGIN_NEGOTIATE),
        (None, 43, NodeFault.LOGIN_OTHER),
        (None, None, NodeFault.LOGIN_OTHER),
    ],
)
def test_why_a_login_failed(status, event, fault):
    assert node_fault(status, event) is fault
