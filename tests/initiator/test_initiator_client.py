"""The client against the bundled target, in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from iscsi_conformance.bundled import CHAP, MUTUAL, PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.pipe import MemoryConnector, Road
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.client import Client, RequestFailed, ScsiError, SessionFailed
from iscsi_initiator.requests import Event, Failure, SessionClosed, SessionUp
from iscsi_initiator.settings import REQUIRE_DIGEST, ChapOptions, Settings
from iscsi_protocol.chap import Credentials
from iscsi_protocol.fault import Drop, Fault, Flip, Hold, Part, Reset, Set, Silence, When
from iscsi_protocol.history import PduRecord, Record, SettingsRecord, TransportRecord
from iscsi_protocol.pdu.codes import Opcode, TaskFunction
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.stream import Direction
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

CREDENTIALS = Credentials(name="tester", secret=b"one-way-secret-1")


def fault(opcode, *what, nth=1, direction=Direction.TO_INITIATOR):
    return Fault(when=When(direction=direction, opcode=opcode, nth=nth), what=what)


def with_target(test, *, target_faults=()):
    """Run a coroutine that takes a connector to a fresh bundled target."""

    async def run():
        config = bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals, faults=target_faults)
        try:
            await test(MemoryConnector(portal))
        finally:
            portal.close()
            close_devices(devices)

    run_virtual(run())


async def connect(connector, name=PLAIN, **arguments):
    return await Client.connect(
        connector.portal.endpoints[0], target_name=name, lun=0, connector=connector, **arguments
    )


@pytest.mark.parametrize("digests", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(initial_r2t=True, immediate_data=False),
        Settings(first_burst_length=1024, max_burst_length=4096, max_transfer_length=100_000),
        Settings(max_recv_data_segment_length=512, max_transfer_length=65536),
    ],
)
def test_what_is_written_is_read(digests, settings):
    async def test(connector):
        wish = {"header_digest": REQUIRE_DIGEST, "data_digest": REQUIRE_DIGEST} if digests else {}
        async with await connect(connector, settings=settings, **wish) as client:
            _, size = await client.capacity()
            data = random.Random(7).randbytes(600 * size)
            await client.write(3, data)
            assert await client.read(3, 600) == data
            assert client.parameters.header_digest is digests
            await client.flush()
            assert client.events == []
        assert client.closed.reason == ""

    with_target(test)


def test_many_requests_at_once():
    async def test(connector):
        async with await connect(connector) as client:
            _, size = await client.capacity()
            blocks = {lba: random.Random(lba).randbytes(size) for lba in range(400)}
            await asyncio.gather(*(client.write(lba, data) for lba, data in blocks.items()))
            found = await asyncio.gather(*(client.read(lba, 1) for lba in blocks))
            assert dict(zip(blocks, found, strict=True)) == blocks

    with_target(test)


def test_discovery():
    async def test(connector):
        async with await Client.connect(connector.portal.endpoints[0], connector=connector) as client:
            names = [name for name, addresses in await client.send_targets() if addresses]
        assert PLAIN in names
        assert CHAP in names

    with_target(test)


@pytest.mark.parametrize(
    ("name", "chap"),
    [
        (CHAP, ChapOptions(credentials=CREDENTIALS)),
        (MUTUAL, ChapOptions(credentials=CREDENTIALS, target_secret=b"mutual-secret-22")),
    ],
)
def test_chap(name, chap):
    async def test(connector):
        async with await connect(connector, name, chap=chap) as client:
            assert len(await client.inquiry()) >= 36

    with_target(test)


@pytest.mark.parametrize(
    ("name", "chap", "event"),
    [
        (CHAP, None, 40),
        (CHAP, ChapOptions(credentials=Credentials(name="tester", secret=b"wrong-secret-9")), 10),
        (MUTUAL, ChapOptions(credentials=CREDENTIALS, target_secret=b"wrong-secret-9"), 17),
        (PLAIN + "x", None, 10),
    ],
)
def test_logins_that_fail(name, chap, event):
    async def test(connector):
        with pytest.raises(SessionFailed) as caught:
            await connect(connector, name, chap=chap)
        assert caught.value.closed.event == event
        assert not caught.value.unreachable

    with_target(test)


def test_ping_task_management_negotiation_and_luns():
    async def test(connector):
        async with await connect(connector) as client:
            assert (await client.ping(b"echo")).echoed
            assert await client.task_management(TaskFunction.LOGICAL_UNIT_RESET) == 0
            assert len(await client.report_luns()) >= 1
            await client.negotiate(("MaxRecvDataSegmentLength", "4096"))
            assert client.parameters.max_recv_data_segment_length_initiator == 4096
            assert len(await client.read(0, 64)) == 64 * (await client.capacity())[1]
            assert client.events == []

    with_target(test)


def test_a_scsi_error_says_what_it_is():
    async def test(connector):
        async with await connect(connector) as client:
            blocks, _ = await client.capacity()
            with pytest.raises(ScsiError, match="READ"):
                await client.read(blocks, 1)
            result, _ = await client.execute(opcodes.READ_10.build(lba=blocks, blocks=1), data_in=512)
            assert result.status == 2

    with_target(test)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize(
    ("broken", "events"),
    [
        (fault(Opcode.SCSI_DATA_IN, Drop(), Reset(), nth=2), [20, 34]),
        (fault(Opcode.SCSI_DATA_IN, Flip(Part.DATA, 5), Flip(Part.DATA_DIGEST), nth=2), [25, 34]),
        (fault(Opcode.SCSI_DATA_IN, Flip(Part.HEADER_DIGEST), nth=2), [22, 34]),
    ],
)
def test_a_read_gets_through_the_loss_of_the_connection(broken, events, level):
    async def test(connector):
        client = await connect(
            connector,
            header_digest=REQUIRE_DIGEST,
            data_digest=REQUIRE_DIGEST,
            faults=[broken],
            settings=Settings(error_recovery_level=level),
        )
        began = asyncio.get_running_loop().time()
        _, size = await client.capacity()
        assert await client.read(0, 8) == bytes(8 * size)
        if level and events == [25, 34]:
            assert [event.id for event in client.events] == [25]
            client.abort()
            return
        assert [event.id for event in client.events] == events
        assert client.recoveries == 1
        assert asyncio.get_running_loop().time() - began >= 2
        client.abort()

    # Every connection of the client has the fault afresh, so the portal must not be asked for a second Data-In again.
    with_target(test)


def test_an_outage_that_lasts_costs_the_request():
    async def test(connector):
        client = await connect(connector)
        connector.road = Road.REFUSED
        for link in connector.links:
            link.cut()
        with pytest.raises(RequestFailed) as caught:
            await client.command(opcodes.TEST_UNIT_READY.build())
        assert caught.value.failure is Failure.NO_DEVICE
        ids = [event.id for event in client.events]
        assert ids[0] == 20
        assert set(ids[1:]) == {1}
        assert client.device_gone
        with pytest.raises(RequestFailed):
            await client.command(opcodes.TEST_UNIT_READY.build())
        connector.road = Road.OPEN
        await passed(2)
        assert not client.device_gone
        await client.command(opcodes.TEST_UNIT_READY.build())
        assert client.events[-1].id == 34
        await client.logout()

    with_target(test)


def test_silence_climbs_the_ladder_and_recovers():
    async def test(connector):
        silence = fault(Opcode.SCSI_DATA_IN, Silence())
        # Quick enough to be through before the target misses its own pings.
        settings = Settings(scsi_request_timeout=1, srb_timeout_delta=5, task_management_timeout=2)
        client = await connect(connector, faults=[silence], settings=settings)
        with pytest.raises(RequestFailed) as caught:
            await client.inquiry()
        assert caught.value.failure is Failure.TIMED_OUT
        assert [event.id for event in client.events] == [9, 49, 49, 39, 49, 63]
        client.abort()

    with_target(test)


def test_a_cancelled_request_is_aborted():
    async def test(connector):
        lost = replace(fault(Opcode.SCSI_DATA_IN, Drop()), renumber=True)
        client = await connect(connector, faults=[lost])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await client.inquiry()
        await asyncio.sleep(0)
        assert (await client.ping()).echoed
        assert client.events == []
        client.abort()

    with_target(test)


def test_the_history_begins_with_the_settings():
    async def test(connector):
        records: list[Record] = []
        async with await connect(connector, tap=records.append) as client:
            await client.inquiry()
        assert isinstance(records[0], SettingsRecord)
        assert records[0].settings["WMIRequestTimeout"] == 30
        assert records[0].settings["CHAPRequired"] is False
        opcodes_seen = {record.raw.opcode for record in records if isinstance(record, PduRecord)}
        assert {0x03, 0x23, 0x01, 0x06, 0x26} <= opcodes_seen
        assert [record.event.name for record in records if isinstance(record, TransportRecord)][:2] == [
            "CONNECT",
            "CONNECTED",
        ]

    with_target(test)


def test_events_are_handed_on():
    async def test(connector):
        seen: list[Event] = []
        async with await connect(connector, on_event=seen.append):
            pass
        assert any(isinstance(event, SessionUp) for event in seen)

    with_target(test)


def test_what_becomes_of_another_session_of_the_engine_is_none_of_the_clients_own():
    async def test(connector):
        client = await connect(connector)
        told: list[Any] = []
        client.on_event = told.append
        other = replace(client.options, isid=bytes.fromhex("800000000099"))
        number = client.engine.open_session(other, client.driver.clock())
        client.driver.pump()
        await passed(0.1)
        assert [event.session for event in told if isinstance(event, SessionUp)] == [number]
        client.engine.close_session(number, client.driver.clock())
        client.driver.pump()
        await passed(0.1)
        assert [event.session for event in told if isinstance(event, SessionClosed)] == [number]
        assert client.closed is None
        await client.ping(b"still there")
        await client.logout()
        assert client.closed is not None

    with_target(test)


def test_two_clients_do_not_reinstate_each_others_sessions():
    async def test(connector):
        async with await connect(connector) as one, await connect(connector) as other:
            assert one.options.isid != other.options.isid
            for client in (one, other, one):
                await client.inquiry()
                assert client.events == []

    with_target(test)


def test_a_write_in_pieces_fails_once_all_of_them_have_ended():
    """None of them may reach the disk behind what is written next."""

    async def test(connector):
        settings = Settings(max_transfer_length=4096, immediate_data=False, initial_r2t=True)
        client = await connect(connector, settings=settings)
        await client.capacity()
        with pytest.raises(ScsiError, match="BUSY"):
            await client.write(0, bytes(4 * 4096))
        assert not client.engine.session(1).work.tasks
        assert client.driver.clock() >= 2
        await client.logout()

    late = When(direction=Direction.TO_TARGET, opcode=Opcode.SCSI_DATA_OUT, nth=2, times=3)
    busy = When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_RESPONSE)
    faults = [Fault(when=late, what=(Hold(seconds=2),)), Fault(when=busy, what=(Set("status", Status.BUSY),))]
    with_target(test, target_faults=faults)
