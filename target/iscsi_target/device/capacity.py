"""READ CAPACITY(10) and (16) (SBC-3 5.15, 5.16). Partial medium indication is obsolete and refused where it says more."""

from __future__ import annotations

from iscsi_protocol.scsi.capacity import ReadCapacity16, capacity_10
from iscsi_protocol.scsi.opcodes import READ_CAPACITY_10, READ_CAPACITY_16
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import data_in, invalid_field
from iscsi_target.device.unit import ItlNexus


def read_capacity_10(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ CAPACITY(10)."""
    fields = READ_CAPACITY_10.parse(cdb)
    if fields["lba"] and not fields["pmi"]:
        raise invalid_field(2)
    unit = path.unit
    return data_in(capacity_10(unit.blocks, unit.block_size).build(), 8)


def read_capacity_16(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ CAPACITY(16)."""
    fields = READ_CAPACITY_16.parse(cdb)
    if fields["lba"] and not fields["pmi"]:
        raise invalid_field(2)
    unit = path.unit
    data = ReadCapacity16(
        last_lba=unit.blocks - 1,
        block_length=unit.block_size,
        logical_blocks_per_physical_block_exponent=unit.physical_blocks.bit_length() - 1,
        provisioning_management_enabled=unit.backend.thin,
        provisioning_read_zeros=unit.backend.thin,
    )
    return data_in(data.build(), fields["allocation_length"])
