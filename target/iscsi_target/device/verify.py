"""VERIFY, WRITE AND VERIFY, COMPARE AND WRITE, ORWRITE (SBC-3 5): commands that look at what the medium holds.

VERIFY with BYTCHK=00b reads the medium, which shows whether it can be read. VRPROTECT and the like are refused.
"""

from __future__ import annotations

from iscsi_protocol.scsi.cdb import block_range
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, CheckCondition, invalid_field
from iscsi_target.device.inquiry import MAX_COMPARE_AND_WRITE
from iscsi_target.device.read_write import (
    FUA,
    all_data,
    check_transfer,
    check_unprotected,
    finish_write,
    flushed,
    whole_blocks,
)
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_READ_ONLY, _COMPARE, _COMPARE_ONE = 0, 1, 3
_CHUNK = 1 << 20


def _compare(unit: LogicalUnit, lba: int, expected: Buffer) -> None:
    """Raise MISCOMPARE, with the offset of the first difference as information (SBC-3 5.3, 5.32)."""
    offset, at, total = lba * unit.block_size, 0, len(expected)
    with memoryview(expected) as view:
        while at < total:
            step = min(_CHUNK, total - at)
            found = bytes(unit.backend.load(offset + at, step))
            with view[at : at + step] as wanted:
                if found != wanted:
                    raise _miscompare(at + next(i for i in range(step) if found[i] != wanted[i]))
            at += step


def _miscompare(at: int) -> CheckCondition:
    code = AdditionalSense.MISCOMPARE_DURING_VERIFY_OPERATION
    return CheckCondition(Sense(key=SenseKey.MISCOMPARE, code=code, information=at))


def _readable(unit: LogicalUnit, lba: int, blocks: int) -> Completion:
    """Read it all. Raises OSError where that fails."""
    at, end = lba * unit.block_size, (lba + blocks) * unit.block_size
    while at < end:
        step = min(_CHUNK, end - at)
        unit.backend.load(at, step)
        at += step
    return GOOD


def verify(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """VERIFY(10), (12) and (16)."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    flags = cdb[1]
    check_unprotected(flags)
    byte_check = flags >> 1 & 3
    unit.check_range(lba, blocks)
    if byte_check == _READ_ONLY:
        return unit.slowly(lambda: _readable(unit, lba, blocks), writing=False, verifying=True)
    if byte_check == _COMPARE:
        check_transfer(unit, lba, blocks)
        _compare(unit, lba, all_data(data_out, blocks * unit.block_size))
        return GOOD
    if byte_check == _COMPARE_ONE:
        if not blocks:
            return GOOD
        block = bytes(all_data(data_out, unit.block_size))
        return unit.slowly(lambda: _each_equals(unit, lba, blocks, block), writing=False, verifying=True)
    raise invalid_field(1, 2)


def _each_equals(unit: LogicalUnit, lba: int, blocks: int, block: bytes) -> Completion:
    """Compare every block with the one that was sent. Raises CheckCondition and OSError."""
    at_once = _CHUNK // unit.block_size
    repeated = block * min(at_once, blocks)
    for first in range(lba, lba + blocks, at_once):
        here = min(at_once, lba + blocks - first)
        _compare(unit, first, repeated[: here * unit.block_size])
    return GOOD


def write_and_verify(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """WRITE AND VERIFY(10), (12) and (16)."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    flags = cdb[1]
    check_unprotected(flags)
    byte_check = flags >> 1 & 3
    if byte_check not in (_READ_ONLY, _COMPARE):
        raise invalid_field(1, 2)
    check_transfer(unit, lba, blocks)
    data = whole_blocks(unit, data_out, blocks * unit.block_size)
    unit.backend.write(lba * unit.block_size, data)
    written = len(data) // unit.block_size
    if byte_check == _COMPARE:
        _compare(unit, lba, data)
        return finish_write(unit, fua=True)

    def stable_and_readable() -> Completion:
        flushed(unit)
        return _readable(unit, lba, written)

    return unit.slowly(stable_and_readable)


def compare_and_write(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """COMPARE AND WRITE: the first half is compared, the second written if it was equal, in one step."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    flags = cdb[1]
    check_unprotected(flags)
    if blocks > MAX_COMPARE_AND_WRITE:
        raise invalid_field(13)
    unit.check_range(lba, blocks)
    half = blocks * unit.block_size
    data = all_data(data_out, 2 * half)
    with unit.backend.uninterrupted():
        _compare(unit, lba, data[:half])
        unit.backend.write(lba * unit.block_size, data[half:])
    return finish_write(unit, fua=bool(flags & FUA))


def or_write(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """ORWRITE(16): the bits that were sent are set."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    flags = cdb[1]
    check_unprotected(flags)
    check_transfer(unit, lba, blocks)
    offset, length = lba * unit.block_size, blocks * unit.block_size
    sent = all_data(data_out, length)
    with unit.backend.uninterrupted():
        held = unit.backend.load(offset, length)
        united = int.from_bytes(held, "little") | int.from_bytes(sent, "little")
        unit.backend.write(offset, united.to_bytes(length, "little"))
    return finish_write(unit, fua=bool(flags & FUA))
