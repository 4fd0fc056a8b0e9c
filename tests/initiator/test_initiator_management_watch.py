"""Who watches gets exactly the failures that happen, and is told what was lost."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial

import pytest
from tests.initiator.service_bench import DEAD, HOST, with_service

from iscsi_conformance.bundled import CHAP, DENIED, PLAIN
from iscsi_conformance.clock import passed
from iscsi_conformance.pipe import Road
from iscsi_initiator.service import api
from iscsi_initiator.service.api import wire
from iscsi_initiator.service.blocking import BlockingClient
from iscsi_initiator.service.client import Client
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.management.failures import INSTANCE_FAILURE, NODE_FAILURE
from iscsi_initiator.service.notices import Notices
from iscsi_initiator.service.operations import STREAMS
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_protocol.fault import Drop, Fault, Set, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

SOFTWARE = "ROOT\\ISCSIPRT\\0000_0"
ROW = {"InstanceName": "x"}


class Watching:
    """What one who watches was told so far."""

    def __init__(self, core, *classes):
        self.subscription = STREAMS[api.Watch](core, api.Watch(classes=classes))
        self.notices = []
        self._task = asyncio.get_running_loop().create_task(self._take())

    async def _take(self):
        async for notice in self.subscription:
            self.notices.append(notice)

    async def told(self):
        """(class, instance) of each event so far."""
        await passed(0)
        await passed(0)
        return [(each.class_name, each.instance) for each in self.notices if each.class_name is not None]

    async def end(self):
        self.subscription.close()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def watching(core, *classes):
    found = Watching(core, *classes)
    try:
        yield found
    finally:
        await found.end()


def test_nothing_is_told_while_all_goes_well(tmp_path):
    async def test(bench):
        async with watching(bench.core) as seen:
            await bench.discover()
            session = await bench.log_in()
            await bench.ask(api.ReportLUNs(session_id=session.session_id))
            await bench.ask(api.LogoutTarget(session_id=session.session_id))
            assert await seen.told() == []
            assert [each.class_name for each in seen.notices] == [None]

    with_service(tmp_path, test)


def test_failed_logins_are_told_with_where_and_when(tmp_path):
    async def test(bench):
        bench.core.journal.wall = lambda: 1_000_000.5
        async with watching(bench.core) as seen:
            await bench.ask(api.AddTarget(target_name=DENIED, portal=HOST))
            assert await bench.refused(api.LoginTarget(target_name=DENIED)) == StatusCode.AUTHORIZATION_FAILURE
            await bench.ask(api.AddTarget(target_name=CHAP, portal=HOST))
            assert await bench.refused(api.LoginTarget(target_name=CHAP)) == StatusCode.TARGET_AUTHINFO_UNAVAILABLE
            assert await bench.refused(api.AddTargetPortal(portal=DEAD)) == StatusCode.CONNECTION_FAILED
            told = await seen.told()
            assert [name for name, _ in told] == [NODE_FAILURE] * 3
            assert [row["FailureType"] for _, row in told] == [0, 1, 0]
            assert [row["TargetFailureName"] for _, row in told] == [DENIED, CHAP, ""]
            assert [row["TargetFailureAddr"]["TextAddress"] for _, row in told] == ["127.0.0.1"] * 2 + [DEAD.address]
            assert {row["InstanceName"] for _, row in told} == {SOFTWARE}
            assert told[0][1]["FailureTime"] == 116_444_736_000_000_000 + 10_000_005_000_000

    with_service(tmp_path, test)


def answer(opcode, *what, nth=1, times=1):
    return Fault(when=When(direction=Direction.TO_INITIATOR, opcode=opcode, nth=nth, times=times), what=what)


def test_a_failed_session_is_told_with_its_reason(tmp_path):
    """And each login that does not bring it back."""

    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        async with watching(bench.core) as seen:
            bench.connector.road = Road.REFUSED
            await bench.refused(api.ReportLUNs(session_id=session.session_id))
            await passed(1)
            bench.connector.road = Road.OPEN
            await passed(10)
            assert session.client.connections == (0,)
            told = await seen.told()
        names = [name for name, _ in told]
        assert names[0] == INSTANCE_FAILURE
        assert told[0][1] == {"InstanceName": SOFTWARE, "Active": True, "FailureType": 2, "RemoteNodeName": PLAIN}
        assert set(names[1:]) <= {NODE_FAILURE}
        statistics = (await bench.ask(api.Query(class_name="MSiSCSI_InitiatorInstanceStatistics"))).instances[0]
        assert (statistics["SessionFormatErrorCount"], statistics["SessionFailureCount"]) == (1, 1)
        logins = (await bench.ask(api.Query(class_name="MSiSCSI_InitiatorLoginStatistics"))).instances[0]
        assert logins["LoginFailures"] == len(names) - 1

    with_service(tmp_path, test, faults=[answer(Opcode.SCSI_DATA_IN, Set("status", 0x7F), nth=10)])


def test_one_class_of_events(tmp_path):
    async def test(bench):
        await bench.ask(api.AddTarget(target_name=DENIED, portal=HOST))
        async with (
            watching(bench.core, INSTANCE_FAILURE.upper()) as sessions,
            watching(bench.core, NODE_FAILURE) as logins,
        ):
            await bench.refused(api.LoginTarget(target_name=DENIED))
            assert await sessions.told() == []
            assert [name for name, _ in await logins.told()] == [NODE_FAILURE]

    with_service(tmp_path, test)


def test_logouts_that_come_to_nothing(tmp_path):
    async def test(bench):
        await bench.discover()
        session = await bench.log_in()
        async with watching(bench.core) as seen:
            await bench.ask(api.LogoutTarget(session_id=session.session_id))
            assert [row["FailureType"] for _, row in await seen.told()] == [4]

    with_service(tmp_path, test, faults=[answer(Opcode.LOGOUT_RESPONSE, Drop(), times=0)])


@pytest.mark.parametrize("name", ["MSiSCSI_Nothing", "MSiSCSI_HBAInformation"])
def test_what_cannot_be_watched(tmp_path, name):
    async def test(bench):
        from iscsi_initiator.status_codes import Refused

        with pytest.raises(Refused) as refused:
            STREAMS[api.Watch](bench.core, api.Watch(classes=(name,)))
        assert refused.value.status is StatusCode.REQUEST_NOT_SUPPORTED

    with_service(tmp_path, test)


# One who is slow.


async def take(stream, count):
    found = []
    async for notice in stream:
        found.append(notice)
        if len(found) == count:
            return found
    raise AssertionError


def test_what_there_is_no_room_for_is_counted():
    async def run():
        notices = Notices()
        subscription = notices.watch(["C"], room=2)
        for number in range(5):
            notices.tell("C", {"Number": number})
            notices.tell("D", {"Number": number})
        stream = aiter(subscription)
        assert await anext(stream) == api.Notice()
        first, second = await anext(stream), await anext(stream)
        assert [(each.instance["Number"], each.lost) for each in (first, second)] == [(0, 0), (1, 0)]
        notices.tell("C", {"Number": 5})
        third = await anext(stream)
        assert (third.instance["Number"], third.lost) == (5, 3)
        notices.tell("C", {"Number": 6})
        assert (await anext(stream)).lost == 0

    asyncio.run(run())


def test_losses_are_told_where_nothing_follows():
    async def run():
        notices = Notices()
        subscription = notices.watch(["C"], room=1)
        for _ in range(4):
            notices.tell("C", ROW)
        found = await take(subscription, 3)
        assert [(each.class_name, each.lost) for each in found] == [(None, 0), ("C", 0), (None, 3)]

    asyncio.run(run())


def test_one_who_left_is_told_nothing():
    async def run():
        notices = Notices()
        one, other = notices.watch(["C"]), notices.watch(["C"])
        one.close()
        one.close()
        notices.tell("C", ROW)
        assert not one._queue
        assert len(other._queue) == 1

    asyncio.run(run())


# Over the socket.


@asynccontextmanager
async def served(path, notices):
    async def handle(request):
        if isinstance(request, api.Watch):
            return notices.watch(["C"], room=4)
        return api.TargetNames(targets=("iqn.2026-01.org.example:disk",))

    listener = Listener(path, handle, defect=lambda error: None)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.close()


async def lines(reader, count):
    return [wire.decode_answer(await reader.readline(), api.Watch) for _ in range(count)]


async def until(true):
    """Let the loop turn until something is so."""
    for _ in range(100_000):
        if true():
            return
        await asyncio.sleep(0)
    raise AssertionError


def over_socket(tmp_path, test):
    async def run():
        notices = Notices()
        async with asyncio.timeout(60), served(tmp_path / "s", notices):
            await test(notices, partial(asyncio.open_unix_connection, tmp_path / "s", limit=1 << 20))

    asyncio.run(run())


def test_events_cross_the_socket_until_the_caller_hangs_up(tmp_path):
    async def test(notices, connect):
        reader, writer = await connect()
        writer.write(wire.encode_request(api.Watch()))
        assert await lines(reader, 1) == [api.Notice()]
        notices.tell("C", {"Octets": b"\xff"})
        notices.tell("C", {"Number": 2})
        first, second = await lines(reader, 2)
        assert (first.class_name, first.instance) == ("C", {"Octets": "/w=="})
        assert second.instance == {"Number": 2}
        (subscription,) = notices._subscriptions
        writer.close()
        await writer.wait_closed()
        await until(lambda: not notices._subscriptions)
        assert subscription not in notices._subscriptions

    over_socket(tmp_path, test)


def test_whoever_watches_asks_nothing_else(tmp_path):
    """Another request over the same connection ends it; a connection of its own is answered meanwhile."""

    async def test(notices, connect):
        reader, writer = await connect()
        writer.write(wire.encode_request(api.Watch()))
        await lines(reader, 1)
        other_reader, other_writer = await connect()
        other_writer.write(wire.encode_request(api.ListTargets()))
        assert wire.decode_answer(await other_reader.readline(), api.ListTargets).targets
        writer.write(wire.encode_request(api.ListTargets()))
        assert await reader.read() == b""
        assert notices._subscriptions == []
        for each in (writer, other_writer):
            each.close()

    over_socket(tmp_path, test)


def test_one_who_does_not_read_loses_events_and_holds_nobody_up(tmp_path):
    async def test(notices, connect):
        reader, writer = await connect()
        writer.write(wire.encode_request(api.Watch()))
        assert await lines(reader, 1) == [api.Notice()]
        reader._transport.pause_reading()
        row = {"Text": "x" * 65536}
        told = 0
        (subscription,) = notices._subscriptions
        while not subscription._lost:
            notices.tell("C", row)
            told += 1
            assert told < 1000
            await asyncio.sleep(0)
        notices.tell("C", row)
        lost = subscription._lost
        reader._transport.resume_reading()
        got = 0
        while got < told + 1 - lost:
            (notice,) = await lines(reader, 1)
            got += notice.class_name is not None
        notices.tell("C", {"Last": 1})
        while True:
            (notice,) = await lines(reader, 1)
            if notice.lost:
                break
        assert notice.lost == lost
        writer.close()

    over_socket(tmp_path, test)


def test_a_service_that_ends_ends_the_watching(tmp_path):
    async def run():
        notices = Notices()
        async with asyncio.timeout(60):
            async with served(tmp_path / "s", notices):
                reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
                writer.write(wire.encode_request(api.Watch()))
                await lines(reader, 1)
            assert await reader.read() == b""
            writer.close()
        assert notices._subscriptions == []

    asyncio.run(run())


def test_a_stream_that_fails_is_a_defect(tmp_path):
    class Broken:
        closed = False

        async def __aiter__(self):
            yield api.Notice()
            raise ZeroDivisionError("a defect")

        def close(self):
            self.closed = True

    stream = Broken()
    defects: list[Exception] = []

    async def handle(request):
        return stream

    async def run():
        listener = Listener(tmp_path / "s", handle, defect=defects.append)
        await listener.start()
        reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
        writer.write(wire.encode_request(api.Watch()))
        await lines(reader, 1)
        assert await reader.read() == b""
        writer.close()
        await listener.close()

    asyncio.run(run())
    assert [str(each) for each in defects] == ["a defect"]
    assert stream.closed


# By the clients.


def test_a_program_watches_from_inside_a_loop(tmp_path):
    async def run():
        notices = Notices()
        async with asyncio.timeout(60):
            async with served(tmp_path / "s", notices):
                stream = Client(tmp_path / "s").watch(api.Watch())
                assert await anext(stream) == api.Notice()
                notices.tell("C", {"Number": 1})
                assert (await anext(stream)).instance == {"Number": 1}
            with pytest.raises(Refused) as refused:
                await anext(stream)
            assert refused.value.status is StatusCode.SERVICE_NOT_RUNNING
            with pytest.raises(Refused) as refused:
                await anext(Client(tmp_path / "s").watch(api.Watch()))
            assert refused.value.status is StatusCode.SERVICE_NOT_RUNNING

    asyncio.run(run())


@pytest.mark.parametrize("blocking", [True, False])
def test_who_watches_with_a_limit_of_time(tmp_path, blocking):
    """Nothing for so long is no answer."""

    async def run():
        async with asyncio.timeout(60), served(tmp_path / "s", Notices()):
            if blocking:
                stream = BlockingClient(tmp_path / "s", 0.05).watch(api.Watch())
                assert await asyncio.to_thread(next, stream) == api.Notice()
                with pytest.raises(Refused) as refused:
                    await asyncio.to_thread(next, stream)
            else:
                told = Client(tmp_path / "s", 0.05).watch(api.Watch())
                assert await anext(told) == api.Notice()
                with pytest.raises(Refused) as refused:
                    await anext(told)
            assert refused.value.status is StatusCode.SERVICE_DID_NOT_RESPOND

    asyncio.run(run())
