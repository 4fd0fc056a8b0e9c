"""Several connections in a session, and their recovery at level 2, against the bundled target in memory."""

from __future__ import annotations

import asyncio
import copy
import random
from collections import Counter
from typing import Any

import msgspec
import pytest

from iscsi_conformance.bundled import PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.pipe import MemoryConnector, Road
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.client import Client, ConnectionFailed, RequestFailed
from iscsi_initiator.multipath import LoadBalance, Path
from iscsi_initiator.requests import ConnectionLost, ConnectionUp, Failure, Ping, ScsiRequest, SessionLost
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.fault import Drop, Fault, Insert, Of, Repeat, Silence, Template, When
from iscsi_protocol.history import Endpoint, PduRecord
from iscsi_protocol.pdu import AsyncMessage, LoginRequest, LogoutRequest, SnackRequest, TaskManagementRequest, decode
from iscsi_protocol.pdu.codes import Opcode, TaskFunction
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.status_codes import StatusCode
from iscsi_protocol.stream import Direction
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine


class Bench:
    """A client with its records, and the road to its target."""

    def __init__(self, client: Client, connector: MemoryConnector, records: list[Any]) -> None:
        self.client = client
        self.connector = connector
        self.records = records
        self.events: list[Any] = []

    @property
    def logged(self):
        return [event.id for event in self.client.events]

    def sent(self, kind):
        """(connection, PDU) of all of a kind that were sent."""
        pdus = [(each.connection, decode(each.raw)) for each in self.records if isinstance(each, PduRecord)]
        return [(connection, pdu) for connection, pdu in pdus if isinstance(pdu, kind)]

    def cut(self, number):
        self.connector.links[number].cut()


def over(test, *, connections=2, faults=(), most=4, level=2, settings=None, **options):
    """Run a coroutine that takes a bench with so many connections."""

    async def run():
        keys = {"MaxConnections": str(most), "ErrorRecoveryLevel": str(level)}
        config = msgspec.structs.replace(bundled_config(), keys=keys)
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals, faults=faults)
        connector = MemoryConnector(portal)
        records: list[Any] = []
        events: list[Any] = []
        wishes = SessionOptions(portal=portal.endpoints[0], target_name=PLAIN, connections=connections, **options)
        client = await Client.connect(
            wishes.portal,
            options=wishes,
            settings=settings or Settings(),
            connector=connector,
            tap=records.append,
            on_event=events.append,
        )
        bench = Bench(client, connector, records)
        bench.events = events
        try:
            await passed(0.1)
            await test(bench)
        finally:
            client.abort()
            portal.close()
            close_devices(devices)

    run_virtual(run())


async def read(bench, count=8):
    await asyncio.gather(*(bench.client.read(number, 1) for number in range(count)))


def silent(opcode, *tests, direction=Direction.TO_TARGET, cid=None, times=0):
    return Fault(
        when=When(direction=direction, opcode=opcode, tests=tests, cid=cid, stage=3, times=times), what=(Drop(),)
    )


def asked_to_leave(cid, behind=Opcode.SCSI_DATA_IN):
    """The target asks for the logout of a connection, once it has answered on it."""
    numbers = {name: Of(name) for name in ("stat_sn", "exp_cmd_sn", "max_cmd_sn")}
    message = Template(AsyncMessage, {"async_event": 1, "parameter3": 10, **numbers})
    when = When(direction=Direction.TO_INITIATOR, opcode=behind, cid=cid)
    return Fault(when=when, what=(Insert(message),), renumber=True)


def test_connections_come_up_and_share_the_work():
    async def test(bench):
        assert bench.client.connections == (0, 1, 2)
        await read(bench, 12)
        commands = Counter(connection for connection, pdu in bench.sent(object) if type(pdu).__name__ == "ScsiCommand")
        assert max(commands.values()) - min(commands.values()) <= 2
        assert {pdu.cid for _, pdu in bench.sent(LoginRequest)} == {0, 1, 2}
        await bench.client.logout()
        assert [pdu.reason for _, pdu in bench.sent(LogoutRequest)] == [0]
        assert bench.logged == []

    over(test, connections=3)


def test_the_target_may_allow_fewer():
    async def test(bench):
        assert bench.client.connections == (0, 1)
        with pytest.raises(Refused) as refused:
            await bench.client.add_connection()
        assert refused.value.status is StatusCode.TOO_MANY_CONNECTIONS

    over(test, connections=4, most=2)


def test_a_connection_is_added_and_removed():
    async def test(bench):
        cid = await bench.client.add_connection()
        assert bench.client.connections == (0, cid)
        reads = asyncio.create_task(read(bench))
        await bench.client.remove_connection(cid)
        await reads
        assert bench.client.connections == (0,)
        assert [(pdu.reason, pdu.cid) for _, pdu in bench.sent(LogoutRequest)] == [(1, cid)]
        await read(bench)
        assert bench.logged == []

    over(test, connections=1)


@pytest.mark.parametrize(
    ("cid", "status"),
    [(7, StatusCode.INVALID_CONNECTION_ID), (0, StatusCode.CANNOT_REMOVE_LEADING_CONNECTION)],
)
def test_what_is_not_removed(cid, status):
    async def test(bench):
        with pytest.raises(Refused) as refused:
            await bench.client.remove_connection(cid)
        assert refused.value.status is status

    over(test)


def test_the_last_connection_stays():
    async def test(bench):
        with pytest.raises(Refused) as refused:
            await bench.client.remove_connection(0)
        assert refused.value.status is StatusCode.CANT_REMOVE_LAST_CONNECTION

    over(test, connections=1)


def test_1_and_the_session_goes_on_where_an_added_connection_cannot_be_made():
    async def test(bench):
        bench.connector.road = Road.REFUSED
        with pytest.raises(ConnectionFailed):
            await bench.client.add_connection()
        assert bench.logged == [1, 1]
        await read(bench)
        assert bench.client.connections == (0,)

    over(test, connections=1)


def test_45_where_an_added_connection_is_not_answered():
    async def test(bench):
        await passed(31)
        assert bench.logged == [45]
        assert bench.client.events[0].extra == words(Opcode.LOGIN_REQUEST)
        await read(bench)
        assert bench.client.connections == (0,)

    quiet = Fault(
        when=When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, cid=1, times=0), what=(Silence(),)
    )
    over(test, faults=[quiet])


def test_a_policy_changes_while_requests_are_under_way():
    async def test(bench):
        bench.client.set_load_balance(LoadBalance.FAIL_OVER_ONLY, [Path(id=0), Path(id=1, active=False)])
        begin = len(bench.records)
        await read(bench)
        assert {each.connection for each in bench.records[begin:]} == {1}
        bench.cut(0)
        await passed(0.1)
        begin = len(bench.records)
        await read(bench)
        assert {each.connection for each in bench.records[begin:]} == {2}
        await passed(10)
        begin = len(bench.records)
        await read(bench)
        assert {each.connection for each in bench.records[begin:]} == {3}
        with pytest.raises(Refused):
            bench.client.set_load_balance(LoadBalance.WEIGHTED_PATHS, [Path(id=0), Path(id=0)])

    over(test)


def test_20_logout_for_recovery_reassignment_and_34():
    async def test(bench):
        held = asyncio.create_task(bench.client.execute(opcodes.READ_10.build(lba=1, blocks=64), data_in=64 * 512))
        other = asyncio.create_task(bench.client.execute(opcodes.READ_10.build(lba=1, blocks=64), data_in=64 * 512))
        await passed(0.1)
        bench.cut(1)
        assert (await other)[0].received == 64 * 512
        assert (await held)[0].received == 64 * 512
        await passed(5)
        assert [(connection, pdu.reason, pdu.cid) for connection, pdu in bench.sent(LogoutRequest)] == [(1, 2, 1)]
        assert [pdu.function for _, pdu in bench.sent(TaskManagementRequest)] == [8]
        assert bench.logged == [20, 34]
        assert bench.client.recoveries == 0
        assert bench.client.connections == (0, 1)
        assert [event.cid for event in bench.events if isinstance(event, ConnectionLost)] == [1]
        assert [event.cid for event in bench.events if isinstance(event, ConnectionUp)] == [0, 1, 1]

    over(test, faults=[silent(Opcode.SCSI_DATA_IN, direction=Direction.TO_INITIATOR, cid=1, times=1)])


def test_a_logout_for_recovery_acknowledges_what_came_on_the_lost_connection():
    """Not what came on the one that carries the request (11.14.4): the target forgets what is acknowledged."""

    async def test(bench):
        await read(bench)
        lost, carrier = (bench.client.session.connections[cid].link.exp_stat_sn for cid in (1, 0))
        assert lost != carrier
        bench.cut(1)
        await passed(5)
        assert [(pdu.cid, pdu.exp_stat_sn) for _, pdu in bench.sent(LogoutRequest)] == [(1, lost)]

    over(test)


def test_20_reinstatement_where_there_is_no_other():
    async def test(bench):
        tsih = bench.client.tsih
        bench.cut(0)
        await read(bench)
        assert bench.logged == [20, 34]
        assert bench.client.tsih == tsih
        assert bench.sent(LoginRequest)[-1][1].tsih == tsih
        assert [type(event) for event in bench.events].count(SessionLost) == 1

    over(test, connections=1)


def test_a_lost_connection_that_is_not_retried_leaves_the_session():
    async def test(bench):
        reading = asyncio.create_task(read(bench, 8))
        await passed(0.1)
        bench.cut(1)
        await reading
        await passed(10)
        assert bench.client.connections == (0,)
        assert {number for number, _ in bench.sent(LoginRequest)} == {1, 2}
        functions = [pdu.function for _, pdu in bench.sent(TaskManagementRequest)]
        assert set(functions) == {TaskFunction.TASK_REASSIGN}
        assert bench.logged == [20]

    over(
        test,
        faults=[silent(Opcode.SCSI_DATA_IN, direction=Direction.TO_INITIATOR, cid=1)],
        settings=Settings(max_connection_retries=0),
    )


def test_two_are_lost_and_one_comes_back():
    """The other one is recovered over it, long before the target's patience with its tasks is over."""

    async def test(bench):
        client = bench.client
        await client.capacity()
        reading = asyncio.create_task(read(bench, 4))
        await passed(0.1)
        client.session.connections[1].portal = Endpoint("192.0.2.99", 3260)
        bench.cut(0)
        bench.cut(1)
        await passed(6)
        assert reading.done()
        assert [(number, pdu.reason, pdu.cid) for number, pdu in bench.sent(LogoutRequest)] == [(3, 2, 1)]
        await passed(40)
        assert client.connections == (0,)
        assert [pdu.tsih for number, pdu in bench.sent(LoginRequest) if number > 2] == [1, 1]
        assert bench.logged == [20, 20, 1, 34, *[1] * (len(bench.logged) - 4)]

    over(test, faults=[silent(Opcode.SCSI_DATA_IN, direction=Direction.TO_INITIATOR, cid=1)])


def test_a_connection_that_is_lost_while_it_is_removed_leaves_all_the_same():
    """Its tasks go on over the other one."""

    async def test(bench):
        client = bench.client
        await client.capacity()
        reading = asyncio.create_task(read(bench, 4))
        await passed(0.1)
        removing = asyncio.create_task(client.remove_connection(1))
        await passed(0.1)
        bench.cut(1)
        await removing
        await reading
        await passed(20)
        assert client.connections == (0,)
        assert [number for number, _ in bench.sent(LoginRequest)] == [1, 1, 2, 2]
        assert bench.logged == [20]

    over(test, faults=[silent(Opcode.SCSI_DATA_IN, direction=Direction.TO_INITIATOR, cid=1)])


def test_a_connection_that_is_lost_while_it_is_removed_stays_where_the_other_one_is_lost_too():
    async def test(bench):
        removing = asyncio.create_task(bench.client.remove_connection(1))
        await passed(1)
        bench.cut(1)
        bench.cut(0)
        with pytest.raises(ConnectionFailed):
            await removing
        await passed(10)
        assert bench.client.connections == (0, 1)
        assert bench.logged == [20, 20, 34, 34]

    over(test, faults=[lost(Opcode.LOGOUT_REQUEST, cid=1)])


def test_44_for_a_connection_that_is_removed_costs_that_one_alone():
    async def test(bench):
        await bench.client.remove_connection(1)
        assert bench.client.connections == (0,)
        assert [(number, pdu.reason, pdu.cid) for number, pdu in bench.sent(LogoutRequest)] == [(2, 1, 1), (1, 2, 1)]
        await read(bench)
        await passed(20)
        assert [number for number, _ in bench.sent(LoginRequest)] == [1, 1, 2, 2]
        assert bench.logged == [44]

    over(test, faults=[lost(Opcode.LOGOUT_REQUEST, cid=1)])


def test_32_for_the_connection_over_which_another_one_is_to_be_recovered():
    """Its logout for recovery is not answered, and goes out again over a third one."""

    async def test(bench):
        client = bench.client
        await client.capacity()
        reading = asyncio.create_task(read(bench, 6))
        await passed(0.1)
        bench.cut(1)
        await passed(2.1)
        await client.submit(Ping())
        await passed(20)
        assert reading.done()
        sent = [(number, pdu.reason, pdu.cid) for number, pdu in bench.sent(LogoutRequest)]
        assert sent == [(1, 2, 1), (1, 1, 0), (3, 2, 1)]
        assert client.connections == (0, 1, 2)
        assert bench.logged == [20, 32, 34, 34]

    faults = [
        silent(Opcode.SCSI_DATA_IN, direction=Direction.TO_INITIATOR, cid=1),
        asked_to_leave(0, behind=Opcode.NOP_IN),
        lost(Opcode.LOGOUT_REQUEST, cid=0),
    ]
    over(test, connections=3, faults=faults)


@pytest.mark.parametrize("cut", [False, True])
def test_a_session_that_was_to_be_closed_is_not_gone_on_with(cut):
    """Nothing new goes out in it (11.14), whatever became of the logout: the next login makes another one."""

    async def test(bench):
        await bench.client.capacity()
        await passed(1)
        if cut:
            bench.cut(0)
        await passed(40)
        assert [(number, pdu.reason) for number, pdu in bench.sent(LogoutRequest)] == [(1, 0)]
        assert [pdu.tsih for number, pdu in bench.sent(LoginRequest) if number == 2] == [0, 0]
        assert bench.logged == [32, 20 if cut else 51, 34]

    over(test, connections=1, faults=[asked_to_leave(0), lost(Opcode.LOGOUT_REQUEST)])


def test_no_connection_is_logged_out_behind_the_logout_of_the_session():
    """Not on any of its connections is there a new request then (11.14)."""

    async def test(bench):
        client = bench.client
        await client.capacity()
        reading = asyncio.create_task(read(bench, 2))
        await passed(0.1)
        removing = asyncio.create_task(client.remove_connection(1))
        await passed(0.1)
        await client.logout()
        assert [(number, pdu.reason) for number, pdu in bench.sent(LogoutRequest)] == [(1, 0)]
        assert bench.logged == [44]
        await removing
        with pytest.raises(RequestFailed):
            await reading

    faults = [
        silent(Opcode.SCSI_DATA_IN, direction=Direction.TO_INITIATOR, cid=1),
        silent(Opcode.LOGOUT_REQUEST),
    ]
    over(test, faults=faults)


def test_a_connection_is_removed_before_it_is_up():
    async def test(bench):
        adding = asyncio.create_task(bench.client.add_connection())
        await passed(0)
        bench.connector.road = Road.BLACKHOLE
        again = asyncio.create_task(bench.client.add_connection())
        await passed(0.1)
        await bench.client.remove_connection(2)
        with pytest.raises(ConnectionFailed):
            await again
        assert await adding == 1
        assert bench.client.connections == (0, 1)

    over(test, connections=1)


def test_a_session_that_the_target_forgot_begins_anew():
    async def test(bench):
        bench.connector.road = Road.REFUSED
        bench.cut(0)
        reading = asyncio.create_task(read(bench))
        await passed(30)
        bench.connector.road = Road.OPEN
        await reading
        assert bench.sent(LoginRequest)[-1][1].tsih == 0
        assert (bench.logged[0], set(bench.logged[1:-1]), bench.logged[-1]) == (20, {1}, 34)

    over(test, connections=1)


def test_8_where_a_logout_for_recovery_is_not_answered():
    async def test(bench):
        bench.cut(1)
        await passed(33)
        assert bench.logged[:2] == [20, 8]
        assert bench.client.events[1].extra == words(6)
        await read(bench)
        await passed(5)
        assert bench.logged == [20, 8, 34]
        assert bench.client.connections == (0, 1)

    over(test, faults=[silent(Opcode.LOGOUT_REQUEST)])


@pytest.mark.parametrize("level", [0, 1])
def test_below_level_2_the_session_begins_anew(level):
    async def test(bench):
        reading = asyncio.create_task(read(bench))
        bench.cut(2)
        await reading
        await passed(1)
        assert bench.logged == [20, 34]
        assert bench.client.recoveries == 1
        assert bench.client.connections == (0, 1, 2)

    over(test, connections=3, level=level)


def test_32_logs_out_the_connection_alone():
    async def test(bench):
        await read(bench)
        await passed(0.1)
        assert [(pdu.reason, pdu.cid) for _, pdu in bench.sent(LogoutRequest)] == [(1, 1)]
        assert bench.client.connections == (0,)
        await read(bench)
        await passed(12)
        assert bench.client.connections == (0, 1)
        assert bench.logged == [32, 34]

    over(test, faults=[asked_to_leave(1)])


def test_portals_are_tried_in_the_guides_order(up):
    first, others = Endpoint("192.0.2.10", 3260), (Endpoint("192.0.2.11", 3260), Endpoint("192.0.2.12", 3260))
    for named in (False, True):
        bench = up(options=SessionOptions(portal=first, target_name=PLAIN, advertised=others, portal_named=named))
        bench.lose()
        bench.advance(2)
        tried = []
        for _ in range(5):
            tried.append(bench.wanted[0].endpoint)
            bench.refuse()
            bench.advance(1)
        assert tried == ([first] * 5 if named else [first, *others, first, others[0]])


def test_no_target_reset_where_none_may_be(up):
    options = SessionOptions(portal=Endpoint("192.0.2.10", 3260), target_name=PLAIN, no_target_reset=True)
    bench = up(options=options)
    bench.submit(ScsiRequest(0, bytes(6), timeout=1))
    bench.advance(200)
    assert bench.log == [9, 49, 49, 63]


def test_link_down_time_holds_where_there_are_other_paths(up):
    options = SessionOptions(portal=Endpoint("192.0.2.10", 3260), target_name=PLAIN, multipath=True)
    bench = up(options=options, settings=Settings(link_down_time=5))
    request = ScsiRequest(0, bytes(6))
    bench.submit(request)
    bench.lose()
    bench.advance(4.9)
    assert not bench.done(request)
    bench.advance(0.2)
    assert bench.done(request)


def test_a_logged_in_engine_can_be_copied(up):
    bench = up()
    request = ScsiRequest(0, bytes(6))
    bench.submit(request)
    other = copy.deepcopy(bench.engine)
    bench.lose()
    assert bench.log == [20]
    assert other.session(bench.session).up
    assert len(other.session(bench.session).work.tasks) == 1
    assert next(iter(other.session(bench.session).work.tasks.values())).request is not request


def lost(opcode, *, cid=None, nth=1, times=1, direction=Direction.TO_TARGET):
    return Fault(when=When(direction=direction, opcode=opcode, cid=cid, nth=nth, times=times, stage=3), what=(Drop(),))


@pytest.mark.parametrize("writes", [False, True])
def test_the_response_to_a_reassignment_is_lost(writes):
    """What the task does on its new connection comes before the response, which SNACK brings."""

    async def test(bench):
        data = bytes(range(256)) * 64
        await bench.client.capacity()
        bench.client.set_load_balance(LoadBalance.FAIL_OVER_ONLY, [Path(id=0, active=False), Path(id=1)])
        held = asyncio.create_task(bench.client.write(1, data) if writes else bench.client.read(1, 32))
        await passed(0.1)
        bench.cut(1)
        await held
        await passed(100)
        assert [pdu.function for _, pdu in bench.sent(TaskManagementRequest)] == [TaskFunction.TASK_REASSIGN]
        assert len(bench.sent(SnackRequest)) == 1
        assert bench.logged == [20, 34]
        session = bench.client.engine.session(1)
        assert not session.work.tasks
        assert [each.link.queued for each in session.connections.values()] == [0, 0]

    back = Direction.TO_INITIATOR
    faults = [
        lost(Opcode.SCSI_DATA_OUT, cid=1) if writes else lost(Opcode.SCSI_DATA_IN, cid=1, direction=back),
        lost(Opcode.TASK_MANAGEMENT_RESPONSE, direction=back),
    ]
    settings = Settings(initial_r2t=True, immediate_data=False)
    over(test, faults=faults, settings=settings)


def test_nothing_is_begun_behind_a_logout():
    """A request that runs out of time on a connection that is being logged out ends with it."""

    async def test(bench):
        bench.client.set_load_balance(LoadBalance.FAIL_OVER_ONLY, [Path(id=0, active=False), Path(id=1)])
        late = asyncio.create_task(bench.client.execute(opcodes.TEST_UNIT_READY.build(), timeout=1))
        await passed(0.1)
        bench.client.set_load_balance(LoadBalance.ROUND_ROBIN)
        removing = asyncio.create_task(bench.client.remove_connection(1))
        with pytest.raises(RequestFailed) as failed:
            await late
        await removing
        assert failed.value.failure is Failure.TIMED_OUT
        behind = [each for each in bench.records if isinstance(each, PduRecord) and each.connection == 2]
        sent = [each.raw.opcode for each in behind if each.direction is Direction.TO_TARGET]
        assert sent[sent.index(Opcode.LOGOUT_REQUEST) :] == [Opcode.LOGOUT_REQUEST]
        await passed(5)
        assert bench.logged == [9, 44, 34]

    faults = [
        lost(Opcode.SCSI_RESPONSE, cid=1, times=0, direction=Direction.TO_INITIATOR),
        lost(Opcode.LOGOUT_REQUEST, cid=1),
    ]
    over(test, faults=faults, level=0, settings=Settings(wmi_request_timeout=20, error_recovery_level=0))


def test_a_lost_connection_is_not_recovered_over_one_that_is_being_logged_out():
    """No new request goes out behind a Logout Request (11.14): the lost connection is reinstated instead."""

    async def test(bench):
        removing = asyncio.create_task(bench.client.remove_connection(1))
        await passed(1)
        bench.cut(0)
        await passed(10)
        assert [(number, pdu.reason, pdu.cid) for number, pdu in bench.sent(LogoutRequest)] == [(2, 1, 1)]
        assert [(pdu.tsih, pdu.cid) for number, pdu in bench.sent(LoginRequest) if number == 3] == [(1, 0)] * 2
        assert bench.logged == [20, 34]
        removing.cancel()

    over(test, faults=[lost(Opcode.LOGOUT_REQUEST, cid=1)])


def test_a_session_whose_last_connection_is_being_logged_out_ends_with_that():
    """One Logout Request is enough for a connection."""

    async def test(bench):
        removing = asyncio.create_task(bench.client.remove_connection(1))
        await passed(1)
        bench.cut(0)
        await bench.client.logout()
        assert [(number, pdu.reason) for number, pdu in bench.sent(LogoutRequest)] == [(2, 1)]
        await removing

    over(test, faults=[lost(Opcode.LOGOUT_REQUEST, cid=1)])


def test_32_for_all_connections_logs_out_the_session_with_the_last_one():
    """Nobody logs in to a session that went with its last connection."""

    async def test(bench):
        await read(bench)
        assert [(number, pdu.reason) for number, pdu in bench.sent(LogoutRequest)][:2] == [(1, 1), (2, 0)]
        assert [pdu.tsih for number, pdu in bench.sent(LoginRequest) if number == 3] == [0, 0]
        assert bench.logged[:3] == [32, 32, 34]

    over(test, faults=[asked_to_leave(cid) for cid in (0, 1)])


def test_the_others_do_not_stay_for_a_connection_that_is_asked_to_leave():
    """A connection is the last one where the others are on their way out."""

    async def test(bench):
        await read(bench)
        await passed(0.1)
        with pytest.raises(Refused) as refused:
            await bench.client.remove_connection(1)
        assert refused.value.status == StatusCode.CANT_REMOVE_LAST_CONNECTION

    over(test, faults=[asked_to_leave(0), lost(Opcode.LOGOUT_REQUEST, cid=0)])


def test_a_gap_is_filled_again_where_the_filler_is_lost_with_its_connection():
    """The CmdSN of a request on a removed connection is filled by a ping, which waits behind another gap until it is late."""

    async def test(bench):
        client = bench.client
        await client.capacity()
        order = [Path(id=cid, active=False) for cid in range(3)]
        tasks = []
        for cid, count in ((2, 1), (1, 1)):
            client.set_load_balance(LoadBalance.FAIL_OVER_ONLY, [*order[:cid], Path(id=cid), *order[cid + 1 :]])
            tasks += [asyncio.create_task(client.read(number, 1)) for number in range(count)]
            await passed(0.1)
        client.set_load_balance(LoadBalance.FAIL_OVER_ONLY, [Path(id=0), *order[1:]])
        await client.remove_connection(1)
        await asyncio.gather(*tasks)
        await read(bench)
        assert 48 in bench.logged
        assert 9 not in bench.logged

    # The first command is lost, so that the target waits for it.
    over(
        test,
        connections=3,
        faults=[lost(Opcode.SCSI_COMMAND, cid=2)],
        settings=Settings(nop_out_timeout=5, wmi_request_timeout=8),
    )


def test_28_for_an_r2t_that_comes_twice_behind_a_reassignment():
    """The numbers of R2Ts begin anew, and none of them was asked for again."""

    async def test(bench):
        await bench.client.capacity()
        bench.client.set_load_balance(LoadBalance.FAIL_OVER_ONLY, [Path(id=0, active=False), Path(id=1)])
        writing = asyncio.create_task(bench.client.write(1, bytes(4096)))
        await passed(0.1)
        bench.cut(1)
        with pytest.raises(RequestFailed) as failed:
            await writing
        assert failed.value.failure is Failure.PROTOCOL_ERROR
        await passed(10)
        assert bench.logged == [20, 28, 34]

    again = When(direction=Direction.TO_INITIATOR, opcode=Opcode.R2T, cid=0)
    faults = [lost(Opcode.SCSI_DATA_OUT, cid=1), Fault(when=again, what=(Repeat(),))]
    over(test, faults=faults, settings=Settings(initial_r2t=True, immediate_data=False))
