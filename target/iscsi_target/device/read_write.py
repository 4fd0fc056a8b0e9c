"""READ and WRITE of 6 to 16 bytes (SBC-3 5.11 ff.): from the CDB to the completion without anything between.

DPO is advice and ignored. FUA: what was written so far is made stable before a read, the data itself after a write.
RDPROTECT and WRPROTECT are refused, since there is no protection information. GROUP NUMBER is ignored.
"""

from __future__ import annotations

from iscsi_protocol.scsi.cdb import BLOCK_RANGE, block_range
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.opcodes import WRITE_ATOMIC_16
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, invalid_field, refused
from iscsi_target.device.row import Handler
from iscsi_target.device.unit import ItlNexus, LogicalUnit

FUA = 0x08
_PROTECTION = 0xE0


def check_unprotected(flags: int) -> None:
    """Refuse a RDPROTECT, WRPROTECT or VRPROTECT in byte 1 of a CDB: no medium here has protection information."""
    if flags & _PROTECTION:
        raise invalid_field(1, 7)


def check_transfer(unit: LogicalUnit, lba: int, blocks: int) -> None:
    """Refuse a transfer that is out of range, or longer than Block Limits says."""
    unit.check_range(lba, blocks)
    if blocks > unit.max_transfer:
        raise invalid_field(0)


def whole_blocks(unit: LogicalUnit, data: Buffer, length: int) -> Buffer:
    """The part of data that came which is to be written when `length` bytes were expected.

    An initiator that offers less than its CDB says gets whole blocks written and a residual overflow (RFC 7143 11.4.5.2).
    """
    here = len(data)
    return data if here == length else data[: min(here - here % unit.block_size, length)]


def all_data(data: Buffer, length: int) -> Buffer:
    """Data of a command that cannot be carried out in part. Raises CheckCondition when less than `length` came."""
    if len(data) < length:
        raise refused(AdditionalSense.INVALID_INFORMATION_UNIT)
    return data[:length]


def finish_write(unit: LogicalUnit, *, fua: bool) -> Completion | Work:
    """GOOD, after making what was written stable where the initiator may rely on that."""
    if unit.write_cache and not fua:
        return GOOD
    return unit.slowly(lambda: flushed(unit))


def flushed(unit: LogicalUnit) -> Completion:
    """Flush, then GOOD. Raises OSError."""
    unit.backend.flush()
    return GOOD


def reader(command: Command) -> Handler:
    """The handler of READ(10), READ(12) or READ(16)."""
    unpack = BLOCK_RANGE[command.opcode] or block_range

    def read(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion | Work:
        unit = path.unit
        lba, blocks = unpack(cdb, 0)
        flags = cdb[1]
        check_unprotected(flags)
        if not blocks or lba + blocks > unit.blocks or blocks > unit.max_transfer:
            check_transfer(unit, lba, blocks)
        offset, length = lba * unit.block_size, blocks * unit.block_size
        if flags & FUA:
            return unit.slowly(lambda: _read_stable(unit, offset, length), writing=False)
        return Completion(0, unit.backend.read(offset, length), length)

    return read


def _read_stable(unit: LogicalUnit, offset: int, length: int) -> Completion:
    unit.backend.flush()
    return Completion(data=unit.backend.read(offset, length), length=length)


def read_6(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ(6): 21 bits of address, no flags, 0 means 256 blocks."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    check_transfer(unit, lba, blocks)
    length = blocks * unit.block_size
    return Completion(data=unit.backend.read(lba * unit.block_size, length), length=length)


def writer(command: Command) -> Handler:
    """The handler of WRITE(10), WRITE(12) or WRITE(16)."""
    unpack = BLOCK_RANGE[command.opcode] or block_range

    def write(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
        unit = path.unit
        lba, blocks = unpack(cdb, 0)
        flags = cdb[1]
        check_unprotected(flags)
        if not blocks or lba + blocks > unit.blocks or blocks > unit.max_transfer:
            check_transfer(unit, lba, blocks)
        length = blocks * unit.block_size
        unit.backend.write(
            lba * unit.block_size, data_out if len(data_out) == length else whole_blocks(unit, data_out, length)
        )
        if flags & FUA or not unit.write_cache:
            return finish_write(unit, fua=True)
        return GOOD

    return write


def write_atomic(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """WRITE ATOMIC(16): all of the data or none; no boundaries within."""
    unit = path.unit
    fields = WRITE_ATOMIC_16.parse(cdb)
    lba, blocks = fields["lba"], fields["blocks"]
    check_unprotected(cdb[1])
    unit.check_range(lba, blocks)
    if fields["atomic_boundary"]:
        raise invalid_field(10)
    if lba % unit.physical_blocks:
        raise invalid_field(2)
    if blocks > unit.max_atomic or blocks % unit.physical_blocks:
        raise invalid_field(12)
    unit.backend.write(lba * unit.block_size, all_data(data_out, blocks * unit.block_size))
    return finish_write(unit, fua=bool(fields["fua"]))


def write_6(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """WRITE(6)."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    check_transfer(unit, lba, blocks)
    unit.backend.write(lba * unit.block_size, whole_blocks(unit, data_out, blocks * unit.block_size))
    return finish_write(unit, fua=False)
