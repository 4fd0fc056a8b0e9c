"""SYNCHRONIZE CACHE and PRE-FETCH (SBC-3 5.8, 5.9, 5.27).

All of the unit is made stable, whatever the range. IMMED does not make the answer come earlier: status says stable.
"""

from __future__ import annotations

from iscsi_protocol.scsi.cdb import block_range
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import CONDITION_MET
from iscsi_target.device.read_write import flushed
from iscsi_target.device.unit import ItlNexus


def synchronize_cache(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion | Work:
    """SYNCHRONIZE CACHE(10) and (16); no blocks mean all from the address on."""
    unit = path.unit
    unit.check_range(*block_range(cdb))
    return unit.slowly(lambda: flushed(unit))


def pre_fetch(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """PRE-FETCH(10) and (16); the system's cache always has room, so the answer is CONDITION MET."""
    unit = path.unit
    lba, blocks = block_range(cdb)
    unit.check_range(lba, blocks)
    unit.backend.prefetch(lba * unit.block_size, (blocks or unit.blocks - lba) * unit.block_size)
    return CONDITION_MET
