"""UNMAP, WRITE SAME and GET LBA STATUS (SBC-3 4.7, 5): filling ranges, giving them back, and telling which is which.

Anchoring is refused: there is none. WRITE SAME of zero blocks means "to the end" where the configuration says so, and is
refused as WSNZ in Block Limits tells elsewhere.
"""

from __future__ import annotations

from iscsi_protocol.scsi.cdb import block_range
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.opcodes import GET_LBA_STATUS, UNMAP, WRITE_SAME_16
from iscsi_protocol.scsi.provisioning import (
    LbaStatus,
    ParameterListError,
    ProvisioningStatus,
    build_lba_status,
    parse_unmap,
)
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, CheckCondition, data_in, invalid_field, invalid_parameter, refused
from iscsi_target.device.inquiry import MAX_UNMAP_DESCRIPTORS
from iscsi_target.device.read_write import all_data, check_unprotected
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_ANCHOR, _UNMAP, _PBDATA, _LBDATA, _NDOB = 0x10, 0x08, 0x04, 0x02, 0x01
_CHUNK = 1 << 20
_MAX_STATUS_BLOCKS = 0xFFFFFFFF
_MAX_STATUS_DESCRIPTORS = 1024


def unmap(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """UNMAP: nothing is given back unless every range can be. No blocks at the very end are no range out of bounds."""
    unit = path.unit
    fields = UNMAP.parse(cdb)
    if fields["anchor"]:
        raise invalid_field(1, 0)
    length = fields["parameter_list_length"]
    if len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    try:
        ranges = parse_unmap(data_out[:length])
    except ParameterListError as error:
        raise CheckCondition(error.sense) from error
    if len(ranges) > MAX_UNMAP_DESCRIPTORS:
        raise invalid_parameter(2)
    if any(lba + blocks > unit.blocks for lba, blocks in ranges):
        raise refused(AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE)

    def give_back() -> Completion:
        for lba, blocks in ranges:
            unit.backend.unmap(lba * unit.block_size, blocks * unit.block_size)
        return _finished(unit)

    return unit.slowly(give_back)


def write_same(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """WRITE SAME(10) and (16). With UNMAP, a block of zeros is not written but given back."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    flags = cdb[1]
    no_data = cdb[0] == WRITE_SAME_16.opcode and bool(flags & _NDOB)
    check_unprotected(flags)
    if flags & _ANCHOR or (flags & _UNMAP and not unit.backend.thin):
        raise invalid_field(1, 4 if flags & _ANCHOR else 3)
    if flags & (_PBDATA | _LBDATA):
        raise invalid_field(1, 2)
    unit.check_range(lba, blocks)
    if not blocks and unit.config.write_same_to_end:
        blocks = unit.blocks - lba
    if not blocks or blocks > unit.max_write_same:
        raise invalid_field(10 if cdb[0] == WRITE_SAME_16.opcode else 7)
    block = bytes(unit.block_size) if no_data else bytes(all_data(data_out, unit.block_size))
    give_back = bool(flags & _UNMAP) and not any(block)

    def fill() -> Completion:
        if give_back:
            unit.backend.unmap(lba * unit.block_size, blocks * unit.block_size)
        else:
            _fill(unit, lba, blocks, block)
        return _finished(unit)

    return unit.slowly(fill)


def _fill(unit: LogicalUnit, lba: int, blocks: int, block: bytes) -> None:
    at_once = min(_CHUNK // unit.block_size, blocks)
    repeated = block * at_once
    for first in range(lba, lba + blocks, at_once):
        here = min(at_once, lba + blocks - first)
        unit.backend.write(first * unit.block_size, repeated[: here * unit.block_size])


def _finished(unit: LogicalUnit) -> Completion:
    if not unit.write_cache:
        unit.backend.flush()
    return GOOD


def get_lba_status(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """GET LBA STATUS: all kinds of blocks (report type 0 of SBC-4), as many ranges from the address on as the allocation
    length holds, at least one.
    """
    unit = path.unit
    fields = GET_LBA_STATUS.parse(cdb)
    lba = fields["lba"]
    if fields["report_type"]:
        raise invalid_field(14, 7)
    unit.check_range(lba, 0)
    wanted = min(max((fields["allocation_length"] - 8) // LbaStatus.LENGTH, 1), _MAX_STATUS_DESCRIPTORS)
    found: list[LbaStatus] = []
    while lba < unit.blocks and len(found) < wanted:
        found.append(_status(unit, lba))
        lba += found[-1].blocks
    return data_in(build_lba_status(found), fields["allocation_length"])


def _status(unit: LogicalUnit, lba: int) -> LbaStatus:
    """The range that starts at an address; a block of which any part has storage is a mapped one."""
    mapped, length = unit.backend.extent(lba * unit.block_size)
    blocks = -(-length // unit.block_size) if mapped else length // unit.block_size
    deallocated = not mapped and blocks > 0
    return LbaStatus(
        lba=lba,
        blocks=min(max(blocks, 1), _MAX_STATUS_BLOCKS),
        status=ProvisioningStatus.DEALLOCATED if deallocated else ProvisioningStatus.MAPPED_OR_UNKNOWN,
    )
