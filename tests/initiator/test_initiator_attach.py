"""Multipath devices over sessions to the bundled target, in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

import pytest

from iscsi_conformance.bundled import AT_ONCE, PLAIN
from iscsi_conformance.clock import passed
from iscsi_conformance.pipe import MemoryConnector, Road
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.attach import multipath as multipath_module
from iscsi_initiator.attach.disk import Disk, Geometry
from iscsi_initiator.attach.multipath import Multipath
from iscsi_initiator.client import Client, RequestFailed, ScsiError
from iscsi_initiator.devices import Device, Identity, MpioTimers, Notification, PersistentReservation
from iscsi_initiator.multipath import LoadBalance, PathStatus
from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.identity import Isid
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.cdb import opcode_name
from iscsi_protocol.scsi.persistent import parse_keys
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.vpd import BlockDeviceCharacteristics, BlockLimits, LogicalBlockProvisioning
from iscsi_protocol.status_codes import StatusCode
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

A, S, F = PathStatus.ACTIVE, PathStatus.STANDBY, PathStatus.FAILED
SETTINGS = Settings(link_down_time=5, max_transfer_length=65536)
KEY = bytes.fromhex("aabbccccbbaa0001")


class Bench:
    """A target with two portals, a way to each, and the devices that sessions over them have in common."""

    def __init__(self, portal, **options):
        self.ways = [MemoryConnector(portal) for _ in portal.endpoints]
        self.notices = []
        device = {"link_down_time": SETTINGS.link_down_time, **options}
        self.multipath = Multipath(lambda key: Device(key.identity, **device), self.told)

    def told(self, _device, notice):
        self.notices.append((notice.what, notice.path))

    async def add(self, way=0, *, luns=(0,), connections=1):
        connector = self.ways[way]
        options = SessionOptions(
            portal=connector.portal.endpoints[way],
            target_name=PLAIN,
            isid=bytes(Isid.from_random(1, len(connector.links) + 100 * way)),
            multipath=True,
            connections=connections,
        )
        connect = partial(Client.connect, options.portal, settings=SETTINGS, options=options, connector=connector)
        return await self.multipath.add(lambda on_event: connect(on_event=on_event), luns)

    async def device(self, paths=2):
        for way in range(paths):
            await self.add(way)
        return next(iter(self.multipath.devices.values()))

    async def disk(self, paths=2):
        return await Disk.of(await self.device(paths), SETTINGS.max_transfer_length)

    def cut(self, way, *, road=Road.REFUSED):
        """The way breaks, and stays so where road says so."""
        self.ways[way].road = road
        for link in self.ways[way].links:
            link.cut()

    def mend(self, way):
        self.ways[way].road = Road.OPEN

    def went(self, what):
        return [path for each, path in self.notices if each is what]


def with_target(test, *, lun=None, **options):
    """Run a coroutine on a bench with a fresh target."""

    async def run():
        config = TargetConfig(
            targets=[
                TargetNode(
                    name=PLAIN,
                    luns={0: lun or LunConfig(size=Size(1 << 20)), 1: LunConfig(size=Size(1 << 20))},
                    keys=AT_ONCE,
                )
            ],
            portals=[PortalConfig(address="127.0.0.1:0", group_tag=tag) for tag in (1, 2)],
        )
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals)
        bench = Bench(portal, **options)
        try:
            await test(bench)
            await bench.multipath.close()
        finally:
            portal.close()
            close_devices(devices)

    run_virtual(run())


def test_sessions_become_paths_of_one_device_a_unit():
    async def test(bench):
        assert [await bench.add(way, luns=None) for way in (0, 1)] == [1, 2]
        devices = list(bench.multipath.devices.values())
        assert [[path.id for path in device.core.paths] for device in devices] == [[1, 2], [1, 2]]
        assert [bench.multipath.lun_of(device) for device in devices] == [0, 1]
        assert len({device.key.identity for device in devices}) == 2

    with_target(test)


def test_what_is_refused_and_leaves_no_session_behind():
    async def test(bench):
        for options, status in (
            ({"connections": 2}, StatusCode.REQUEST_NOT_SUPPORTED),
            ({"luns": [7]}, StatusCode.INVALID_PARAMETER),
            ({"luns": [0, 0]}, StatusCode.DUPLICATE_PATH_SPECIFIED),
        ):
            with pytest.raises(Refused) as caught:
                await bench.add(**options)
            assert caught.value.status is status
            assert not any(link.is_open for link in bench.ways[0].links)
        assert not any(device.core.paths for device in bench.multipath.devices.values())

    with_target(test)


def test_a_disk_reads_what_was_written_over_all_paths():
    async def test(bench):
        disk = await bench.disk()
        assert disk.geometry.size == 1 << 20
        data = random.Random(7).randbytes(300_032)
        await disk.write(512, memoryview(data), fua=True)
        back = bytearray(len(data))
        await disk.read_into(512, memoryview(back))
        assert back == data
        await disk.write_zeroes(1024, 512 * 4)
        await disk.write_zeroes(8192, 512, hole=False, fua=True)
        await disk.trim(0, 512, fua=True)
        await disk.read_into(512, memoryview(back))
        assert back == data[:512] + bytes(2048) + data[2560:7680] + bytes(512) + data[8192:]
        with pytest.raises(ValueError, match="no whole blocks"):
            await disk.read_into(1, memoryview(back))
        with pytest.raises(ScsiError, match="OUT OF RANGE"):
            await disk.write(1 << 20, memoryview(data)[:512])

    with_target(test)


def test_zeros_are_written_where_write_same_is_refused():
    async def test(bench):
        disk = await bench.disk(1)
        plain = disk.device.execute
        refused = []

        async def execute(cdb, **options):
            if cdb[0] == opcodes.WRITE_SAME_16.opcode:
                refused.append(cdb)
                return await plain(opcodes.READ_16.build(lba=1 << 40, blocks=1), data_in=512)
            return await plain(cdb, **options)

        await disk.write(0, memoryview(b"x" * 200_192))
        disk.device.execute = execute
        with pytest.raises(ScsiError):
            await disk.device.command(opcodes.WRITE_SAME_16.build())
        await disk.write_zeroes(0, 200_192)
        back = bytearray(200_192)
        await disk.read_into(0, memoryview(back))
        assert not any(back)
        await disk.write_zeroes(0, 512)
        assert len(refused) == 2, "it is not tried again"

    with_target(test)


def test_a_read_only_disk_with_large_blocks():
    async def test(bench):
        disk = await bench.disk(1)
        assert disk.geometry.read_only
        assert disk.geometry.block_size == 4096
        with pytest.raises(ScsiError, match="WRITE PROTECTED"):
            await disk.write(0, memoryview(bytes(4096)))

    with_target(test, lun=LunConfig(size=Size(1 << 20), block_size=4096, read_only=True))


@pytest.mark.parametrize("policy", [LoadBalance.ROUND_ROBIN, LoadBalance.FAIL_OVER_ONLY])
def test_io_goes_on_while_paths_break_and_come_back(policy):
    async def test(bench):
        disk = await bench.disk()
        disk.device.core.set_policy(policy)
        dice = random.Random(11)
        model = bytearray(1 << 20)
        lost = 0

        async def work(number):
            for _ in range(60):
                at = (number + 8 * dice.randrange(256)) * 512
                data = dice.randbytes(512)
                await disk.write(at, memoryview(data))
                model[at : at + 512] = data
                back = bytearray(512)
                await disk.read_into(at, memoryview(back))
                assert back == data
                await passed(0.05)

        async def breaking():
            nonlocal lost
            for way in (0, 1, 0, 1, 0):
                bench.cut(way)
                lost += 1
                await passed(dice.choice([1, 7]))
                bench.mend(way)
                await passed(3)

        await asyncio.gather(breaking(), *(work(number) for number in range(8)))
        back = bytearray(len(model))
        await disk.read_into(0, memoryview(back))
        assert back == model
        await passed(5)
        assert list(disk.device.core.statuses.values()) == ([A, A] if policy is LoadBalance.ROUND_ROBIN else [A, S])
        assert bench.went(Notification.PATH_DOWN).count(1) == 3

    with_target(test)


def test_requests_wait_for_the_last_path_and_then_fail_and_the_device_returns():
    async def test(bench):
        disk = await bench.disk()
        for way in (0, 1):
            bench.cut(way)
        began = asyncio.get_running_loop().time()
        with pytest.raises(RequestFailed) as caught:
            await disk.write(0, memoryview(bytes(512)))
        assert caught.value.failure is Failure.NO_DEVICE
        assert asyncio.get_running_loop().time() - began == pytest.approx(25, abs=1)
        assert bench.went(Notification.REMOVED) == [None]
        bench.mend(1)
        await passed(3)
        assert bench.went(Notification.RETURNED) == [None]
        await disk.flush()

    with_target(test)


def test_verification_finds_a_path_that_gives_no_answer():
    async def test(bench):
        disk = await bench.disk()
        for link in bench.ways[0].links:
            link.swallow()
        await passed(400)
        assert bench.went(Notification.PATH_DOWN) == [1]
        await disk.write(0, memoryview(bytes(512)))

    with_target(test, timers=MpioTimers(path_verify_enabled=True))


def test_the_reservation_key_is_on_every_path_and_stays():
    async def keys(disk):
        cdb = opcodes.READ_KEYS.build(allocation_length=64)
        return parse_keys(await disk.device.command(cdb, data_in=64))[1]

    async def test(bench):
        disk = await bench.disk()
        await passed(1)
        assert await keys(disk) == [int.from_bytes(KEY, "big")] * 2
        bench.cut(0, road=Road.OPEN)
        await passed(5)
        assert await keys(disk) == [int.from_bytes(KEY, "big")] * 2
        assert list(disk.device.core.statuses.values()) == [A, A]

    with_target(test, reservation=PersistentReservation(True, KEY))


@pytest.mark.parametrize(
    ("answers", "listed"),
    [
        ([Refused(StatusCode.REQUEST_NOT_SUPPORTED, "nothing there")], [2]),
        ([Identity(0x83, 3, b"another")], [2]),
        ([RequestFailed(Failure.TIMED_OUT, "INQUIRY"), None], [1, 2]),
    ],
)
def test_a_unit_is_looked_at_again_before_its_path_is_used(monkeypatch, answers, listed):
    async def test(bench):
        disk = await bench.disk()

        async def identity(client, lun):
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer or disk.device.key.identity

        monkeypatch.setattr(multipath_module, "identity_of", identity)
        bench.cut(0, road=Road.OPEN)
        await passed(10)
        assert [path.id for path in disk.device.core.paths] == listed
        assert not answers

    with_target(test)


def test_a_path_that_is_lost_while_it_is_looked_at(monkeypatch):
    async def test(bench):
        disk = await bench.disk()
        looked = []

        async def identity(client, lun):
            looked.append(lun)
            await passed(4)
            return disk.device.key.identity

        monkeypatch.setattr(multipath_module, "identity_of", identity)
        bench.cut(0, road=Road.OPEN)
        await passed(3)
        bench.cut(0, road=Road.OPEN)
        await passed(10)
        assert looked == [0, 0]
        assert list(disk.device.core.statuses.values()) == [A, A]

    with_target(test)


def test_a_session_that_does_not_log_out_is_dropped():
    async def test(bench):
        await bench.disk()
        for way in bench.ways:
            for link in way.links:
                link.swallow()
        began = asyncio.get_running_loop().time()
        await bench.multipath.close()
        assert asyncio.get_running_loop().time() - began == pytest.approx(5)

    with_target(test)


class ScriptedDevice:
    """A device that answers a command as a table has it: bytes, or a result; what is not there is refused."""

    def __init__(self, **answers):
        self.answers = answers
        self.cdbs = []

    async def execute(self, cdb, *, data_in=0, data_out=b"", replayable=True):
        name = opcode_name(cdb).partition("(")[0].lower().replace(" ", "_")
        if name == "inquiry":
            name = f"page_{cdb[2]:x}"
        self.cdbs.append((name, cdb))
        answer = self.answers.get(name, REFUSED)
        if isinstance(answer, ScsiResult):
            return answer, memoryview(b"")
        return ScsiResult(0, received=len(answer)), memoryview(answer)

    async def command(self, cdb, **options):
        result, data = await self.execute(cdb, **options)
        if result.status:
            raise ScsiError(result, "it")
        return data


REFUSED = ScsiResult(2, sense=Sense(key=5, code=0x2000).build())


def scripted(**answers):
    device: Any = ScriptedDevice(read_capacity=bytes.fromhex("000007ff00000200"), **answers)
    return device, asyncio.run(Disk.of(device, 65536))


def test_a_unit_that_tells_nothing_of_itself():
    _, disk = scripted()
    assert disk.geometry == Geometry(blocks=2048, block_size=512, most=128)
    with pytest.raises(ValueError, match="no UNMAP"):
        asyncio.run(disk.trim(0, 512))


@pytest.mark.parametrize("capacity", ["", "000007ff00000000", "000007ff00000208"])
def test_blocks_that_cannot_be_served(capacity):
    device: Any = ScriptedDevice(read_capacity=bytes.fromhex(capacity))
    with pytest.raises(Refused) as caught:
        asyncio.run(Disk.of(device, 65536))
    assert caught.value.status is StatusCode.REQUEST_NOT_SUPPORTED


def test_a_unit_that_tells_all():
    limits = BlockLimits(maximum_transfer_length=64, maximum_unmap_lba_count=100, maximum_write_same_length=8)
    thin = LogicalBlockProvisioning(unmap=True, unmap_by_write_same_16=True, read_zeros=1)
    device, disk = scripted(
        page_0=bytes((0, 0, 0, 3, 0xB0, 0xB1, 0xB2)),
        page_b0=limits.build(),
        page_b1=BlockDeviceCharacteristics(medium_rotation_rate=7200).build(),
        page_b2=thin.build(),
        mode_sense=bytes((3, 0, 0x90, 0)),
        unmap=b"",
        write_same=b"",
        synchronize_cache=b"",
        write=b"",
    )
    assert disk.geometry == Geometry(
        blocks=2048,
        block_size=512,
        most=64,
        read_only=True,
        fua=True,
        unmap_blocks=100,
        same_blocks=8,
        unmap_zeroes=True,
        rotational=True,
    )
    del device.cdbs[:]
    asyncio.run(disk.trim(0, 150 * 512, fua=True))
    asyncio.run(disk.write_zeroes(0, 16 * 512, fua=True))
    asyncio.run(disk.write(0, memoryview(bytes(512)), fua=True))
    assert [name for name, _ in device.cdbs] == [
        *("unmap", "unmap", "synchronize_cache", "write_same", "write_same", "synchronize_cache", "write")
    ]
    assert device.cdbs[3][1][1] == 0x08
    assert device.cdbs[-1][1][1] == 0x08


def test_a_large_unit_and_one_without_write_same():
    device: Any = ScriptedDevice(
        read_capacity=bytes.fromhex("ffffffff00000200"),
        service_action_in=bytes.fromhex("00000001ffffffff00000200").ljust(32, b"\0"),
        read=b"",
    )
    plain = device.execute

    async def execute(cdb, **options):
        if cdb[0] == 0x9E:
            return ScsiResult(0, received=32), memoryview(device.answers["service_action_in"])
        return await plain(cdb, **options)

    device.execute = execute
    disk = asyncio.run(Disk.of(device, 65536))
    assert disk.geometry.blocks == 1 << 33
    with pytest.raises(ScsiError):
        asyncio.run(disk.read_into(0, memoryview(bytearray(512))))
    with pytest.raises(ScsiError):
        asyncio.run(disk.write(0, memoryview(bytes(200_704))))
    with pytest.raises(ScsiError):
        asyncio.run(disk.write_zeroes(0, 512))
    device.answers["write_same"] = ScsiResult(0x18)
    fresh = asyncio.run(Disk.of(device, 65536))
    with pytest.raises(ScsiError, match="WRITE SAME"):
        asyncio.run(fresh.write_zeroes(0, 512))


def test_a_cancelled_request_is_aborted():
    async def test(bench):
        disk = await bench.disk(1)
        bench.cut(0)
        waiting = asyncio.ensure_future(disk.read_into(0, memoryview(bytearray(512))))
        await passed(1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        bench.mend(0)
        await passed(3)
        await disk.flush()

    with_target(test)


def test_closing_ends_a_session_that_is_lost():
    async def test(bench):
        await bench.disk()
        bench.cut(0)
        await passed(0.1)

    with_target(test)
