"""A multipath device as a disk: bytes at offsets, whole blocks, in commands that the target takes (SBC-3)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Self

from iscsi_initiator.attach.multipath import MultipathDevice
from iscsi_initiator.client import ClientError, ScsiError
from iscsi_initiator.nbd import Export
from iscsi_initiator.requests import ScsiResult
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.capacity import CAPACITY_10_LIMIT, ReadCapacity10, ReadCapacity16
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.provisioning import build_unmap
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.vpd import (
    BlockDeviceCharacteristics,
    BlockLimits,
    LogicalBlockProvisioning,
    VpdCode,
    parse_vpd,
)
from iscsi_protocol.status_codes import StatusCode

_MODE_SENSE_LENGTH = 192
_WRITE_PROTECTED, _DPO_FUA = 0x80, 0x10
_SAME_BLOCKS = 0xFFFF
_UNMAP_BLOCKS = 0xFFFFFFFF
_ROTATES = 0x0401
"""Rates from here on are turns a minute."""
_PREFERRED = 65536
FLUSH_TIME = 10.0
"""Seconds that a device has to take its last flush."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Geometry:
    """What a disk is. blocks; block_size: bytes; most: blocks that one READ or WRITE moves; fua: WRITE can be told to reach
    the medium; unmap_blocks, same_blocks: most that one UNMAP, one WRITE SAME takes, 0 where there is none; unmap_zeroes:
    unmapped blocks read as zeros.
    """

    blocks: int
    block_size: int
    most: int
    read_only: bool = False
    fua: bool = False
    unmap_blocks: int = 0
    same_blocks: int = _SAME_BLOCKS
    unmap_zeroes: bool = False
    rotational: bool = False

    @property
    def size(self) -> int:
        """Bytes."""
        return self.blocks * self.block_size


class Disk:
    """Reading and writing a device. Offsets and lengths are bytes, multiples of the block size. Made by `of`."""

    def __init__(self, device: MultipathDevice, geometry: Geometry) -> None:
        self.device = device
        self.geometry = geometry
        self._same = geometry.same_blocks > 0

    @classmethod
    async def of(cls, device: MultipathDevice, max_transfer_length: int) -> Self:
        """Ask a device what it is. max_transfer_length: bytes of one command. Raises ScsiError, RequestFailed, and Refused
        REQUEST_NOT_SUPPORTED for blocks that are no power of two, which NBD does not have.
        """
        return cls(device, await _geometry(device, max_transfer_length))

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer. Raises ScsiError, RequestFailed, as all of them."""
        commands = [
            self._read(opcodes.READ_16.build(lba=lba, blocks=blocks), buffer[start:stop])
            for lba, blocks, start, stop in self._pieces(offset, len(buffer), self.geometry.most)
        ]
        await _together(commands)

    async def _read(self, cdb: bytes, buffer: memoryview) -> None:
        result, _ = await self.device.execute(cdb, data_in=buffer)
        if result.status or result.response or result.received != len(buffer):
            raise ScsiError(result, "READ(16)")

    async def write(self, offset: int, data: memoryview, *, fua: bool = False) -> None:
        """Write. fua: the data is on the medium when this returns."""
        flag = int(fua and self.geometry.fua)
        commands = [
            self._do(opcodes.WRITE_16.build(lba=lba, blocks=blocks, fua=flag), data[start:stop])
            for lba, blocks, start, stop in self._pieces(offset, len(data), self.geometry.most)
        ]
        await _together(commands)
        if fua and not flag:
            await self.flush()

    async def _do(self, cdb: bytes, data: memoryview | bytes = b"") -> None:
        await self.device.command(cdb, data_out=data)

    async def flush(self) -> None:
        """Have all that was written reach the medium."""
        await self._do(opcodes.SYNCHRONIZE_CACHE_16.build())

    async def flush_last(self, complain: Callable[[str], None]) -> None:
        """Flush before nobody writes any more. complain: takes a line where that does not work."""
        try:
            async with asyncio.timeout(FLUSH_TIME):
                await self.flush()
        except TimeoutError:
            complain(f"{self.device.key.identity}: not flushed: no answer in time")
        except ClientError as error:
            complain(f"{self.device.key.identity}: not flushed: {error}")

    def export(self, name: str, lun: str, *, read_only: bool = False) -> Export:
        """What an NBD client is told. lun: under which the device is known; read_only: it is one for this client."""
        geometry = self.geometry
        return Export(
            name=name,
            size=geometry.size,
            block_size=geometry.block_size,
            preferred=_PREFERRED,
            description=f"{self.device.key.target_name} LUN {lun}, {self.device.key.identity}",
            read_only=read_only or geometry.read_only,
            trim=geometry.unmap_blocks > 0,
            rotational=geometry.rotational,
        )

    async def trim(self, offset: int, length: int, *, fua: bool = False) -> None:
        """Give blocks back; what they read as is the target's business. Raises ValueError where it takes no UNMAP."""
        if not self.geometry.unmap_blocks:
            raise ValueError("the logical unit has no UNMAP")
        for lba, blocks, _, _ in self._pieces(offset, length, self.geometry.unmap_blocks):
            data = build_unmap([(lba, blocks)])
            await self._do(opcodes.UNMAP.build(parameter_list_length=len(data)), data)
        if fua:
            await self.flush()

    async def write_zeroes(self, offset: int, length: int, *, hole: bool = True, fua: bool = False) -> None:
        """Have a range read as zeros. hole: it need not keep its space."""
        geometry = self.geometry
        unmap = int(hole and geometry.unmap_zeroes)
        block = bytes(geometry.block_size)
        pieces = self._pieces(offset, length, geometry.same_blocks or geometry.most)
        for lba, blocks, start, stop in pieces:
            if self._same:
                cdb = opcodes.WRITE_SAME_16.build(lba=lba, blocks=blocks, unmap=unmap)
                result, _ = await self.device.execute(cdb, data_out=block)
                if not result.status and not result.response:
                    continue
                if not _is_refused(result):
                    raise ScsiError(result, "WRITE SAME(16)")
                self._same = False
            await self._plain_zeroes(offset + start, stop - start)
        if fua:
            await self.flush()

    async def _plain_zeroes(self, offset: int, length: int) -> None:
        step = self.geometry.most * self.geometry.block_size
        zeros = memoryview(bytes(min(step, length)))
        for at in range(0, length, step):
            await self.write(offset + at, zeros[: min(step, length - at)])

    def _pieces(self, offset: int, length: int, most: int) -> Iterator[tuple[int, int, int, int]]:
        """(lba, blocks, start, stop) of commands of at most so many blocks."""
        size = self.geometry.block_size
        if offset % size or length % size:
            raise ValueError(f"{length} bytes at {offset} are no whole blocks of {size} bytes")
        step = most * size
        for start in range(0, length, step):
            stop = min(start + step, length)
            yield (offset + start) // size, (stop - start) // size, start, stop


async def _together(commands: list[Coroutine[Any, Any, None]]) -> None:
    """All at once; an error is raised once all have ended, since their buffers are in use till then."""
    if len(commands) == 1:
        await commands[0]
        return
    for result in await asyncio.gather(*commands, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _is_refused(result: ScsiResult) -> bool:
    sense = parse_sense(result.sense)
    return sense is not None and sense.key == SenseKey.ILLEGAL_REQUEST


async def _geometry(device: MultipathDevice, max_transfer_length: int) -> Geometry:
    ten = ReadCapacity10.parse(await device.command(opcodes.READ_CAPACITY_10.build(), data_in=8))
    last, size = ten.last_lba, ten.block_length
    if last == CAPACITY_10_LIMIT:
        data = await device.command(opcodes.READ_CAPACITY_16.build(allocation_length=32), data_in=32)
        sixteen = ReadCapacity16.parse(data)
        last, size = sixteen.last_lba, sixteen.block_length
    if size <= 0 or size & size - 1:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"blocks of {size} bytes cannot be served")
    supported = await _page(device, VpdCode.SUPPORTED_PAGES) or b""
    codes = parse_vpd(supported).body
    limits = BlockLimits.parse(await _padded(device, VpdCode.BLOCK_LIMITS, codes, BlockLimits.LENGTH))
    thin = LogicalBlockProvisioning.parse(
        await _padded(device, VpdCode.LOGICAL_BLOCK_PROVISIONING, codes, LogicalBlockProvisioning.LENGTH)
    )
    speed = BlockDeviceCharacteristics.parse(
        await _padded(device, VpdCode.BLOCK_DEVICE_CHARACTERISTICS, codes, BlockDeviceCharacteristics.LENGTH)
    )
    mode = await _mode(device)
    most = max(1, max_transfer_length // size)
    return Geometry(
        blocks=last + 1,
        block_size=size,
        most=min(most, limits.maximum_transfer_length or most),
        read_only=bool(mode & _WRITE_PROTECTED),
        fua=bool(mode & _DPO_FUA),
        unmap_blocks=(limits.maximum_unmap_lba_count or _UNMAP_BLOCKS) if thin.unmap else 0,
        same_blocks=min(limits.maximum_write_same_length or _SAME_BLOCKS, _SAME_BLOCKS),
        unmap_zeroes=bool(thin.unmap_by_write_same_16 and thin.read_zeros & 1),
        rotational=speed.medium_rotation_rate >= _ROTATES,
    )


async def _page(device: MultipathDevice, page: int) -> bytes | None:
    """A VPD page, None where the unit has none."""
    cdb = opcodes.INQUIRY.build(evpd=1, page_code=page, allocation_length=255)
    try:
        return bytes(await device.command(cdb, data_in=255))
    except ScsiError:
        return None


async def _padded(device: MultipathDevice, page: int, supported: bytes, length: int) -> bytes:
    found = await _page(device, page) if page in supported else None
    return (found or b"").ljust(length, b"\0")


async def _mode(device: MultipathDevice) -> int:
    """The device-specific parameter of the mode parameter header, 0 where the unit does not tell."""
    cdb = opcodes.MODE_SENSE_6.build(dbd=1, page_code=0x3F, allocation_length=_MODE_SENSE_LENGTH)
    try:
        data = await device.command(cdb, data_in=_MODE_SENSE_LENGTH)
    except ScsiError:
        return 0
    return data[2] if len(data) > 2 else 0
