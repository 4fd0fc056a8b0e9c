"""CDBs of reads and writes, made by precompiled packers, since there are so many of them (SBC-4: READ, WRITE)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.capacity import CAPACITY_10_LIMIT
from iscsi_protocol.scsi.command import Command

_CODES = {2: "H", 4: "I", 8: "Q"}


def _packer(command: Command) -> Callable[[int, int], bytes]:
    """A precompiled maker of CDBs with nothing but address and length in them."""
    lba, blocks = command.fields["lba"], command.fields["blocks"]
    gaps = (lba.offset - 1, blocks.offset - lba.offset - lba.size, command.length - blocks.offset - blocks.size)
    form = f">B{gaps[0]}x{_CODES[lba.size]}{gaps[1]}x{_CODES[blocks.size]}{gaps[2]}x"
    return partial(struct.Struct(form).pack, command.opcode)


def _medium(ten: Command, sixteen: Command) -> Callable[[int, int], bytes]:
    """A function (lba, blocks) -> CDB in the shortest form that holds the address."""
    short, long = _packer(ten), _packer(sixteen)

    def build(lba: int, blocks: int) -> bytes:
        return (short if lba + blocks <= CAPACITY_10_LIMIT and blocks <= 0xFFFF else long)(lba, blocks)

    return build


read_cdb = _medium(opcodes.READ_10, opcodes.READ_16)
write_cdb = _medium(opcodes.WRITE_10, opcodes.WRITE_16)
"""Functions (lba, blocks) -> CDB."""
