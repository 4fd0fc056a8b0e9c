"""What a CDB says of its data (SPC-4, SBC-3), as far as an onlooker needs it: how much, of what kind, and what it changes.

Worked out here anew; no code is shared with the engines that execute commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

Buffer = bytes | bytearray | memoryview
BASIC_CDB = 16
VARIABLE_LENGTH = 0x7F
READ_CAPACITY_10 = 0x25
SERVICE_ACTION_IN_16 = 0x9E
READ_CAPACITY_16 = 0x10
PERSISTENT_RESERVE_OUT = 0x5F

_CDB = 32
"""Where the CDB begins in the header."""

ALLOCATION: Mapping[int, slice] = MappingProxyType(
    {
        0x03: slice(4, 5),
        0x12: slice(3, 5),
        0x1A: slice(4, 5),
        0x1C: slice(3, 5),
        0x3C: slice(6, 9),
        0x4D: slice(7, 9),
        0x5A: slice(7, 9),
        0x5E: slice(7, 9),
        0x84: slice(10, 14),
        0x9E: slice(10, 14),
        0xA0: slice(6, 10),
        0xA3: slice(6, 10),
    }
)
"""Where the ALLOCATION LENGTH is, by operation code."""

PARAMETERS: Mapping[int, slice] = MappingProxyType(
    {
        0x15: slice(4, 5),
        0x1D: slice(3, 5),
        0x3B: slice(6, 9),
        0x42: slice(7, 9),
        0x55: slice(7, 9),
        0x5F: slice(5, 9),
        0x83: slice(10, 14),
    }
)
"""Where the PARAMETER LIST LENGTH is."""

BLOCKS: Mapping[int, slice] = MappingProxyType(
    {
        0x28: slice(7, 9),
        0x2A: slice(7, 9),
        0x2E: slice(7, 9),
        0x88: slice(10, 14),
        0x8A: slice(10, 14),
        0x8E: slice(10, 14),
        0xA8: slice(6, 10),
        0xAA: slice(6, 10),
        0xAE: slice(6, 10),
    }
)
"""Where the TRANSFER LENGTH in blocks is."""

WRITES = frozenset({0x0A, 0x2A, 0x2E, 0x41, 0x42, 0x89, 0x8A, 0x8E, 0x93, 0xAA, 0xAE})
READS = frozenset({0x08, 0x28, 0x88, 0xA8})
CHANGING = WRITES | {0x04, 0x15, 0x16, 0x17, 0x1B, 0x55, 0x56, 0x57, 0x5F}
"""Operation codes of commands that change the medium, or the state of the device."""

WATCHED = frozenset({*ALLOCATION, *PARAMETERS, READ_CAPACITY_10, VARIABLE_LENGTH, 0x16, 0x17, 0x56, 0x57})
"""Commands that are looked at closely, whatever becomes of them."""


def field(bhs: Buffer, place: slice) -> int:
    """A number in the CDB of a SCSI Command's header."""
    return int.from_bytes(bhs[_CDB + place.start : _CDB + place.stop], "big")


def fits(block_lengths: Mapping[bytes, int], bhs: Buffer, edtl: int) -> bool:
    """Whether the expected length is that of the blocks to be moved, as far as the unit's block length is known."""
    place = BLOCKS.get(bhs[_CDB])
    length = block_lengths.get(bytes(bhs[8:16]))
    return place is None or length is None or field(bhs, place) * length == edtl


def exact_length(bhs: bytes, block_length: int | None) -> int | None:
    """Bytes that the command moves if all goes well; None where the CDB does not tell, or the block length is not known."""
    code = bhs[_CDB]
    if code in PARAMETERS:
        return field(bhs, PARAMETERS[code])
    if code in BLOCKS and block_length is not None:
        return field(bhs, BLOCKS[code]) * block_length
    return None


def allocation_length(bhs: bytes) -> int | None:
    """Bytes that the command brings at most, None where the CDB does not tell."""
    place = ALLOCATION.get(bhs[_CDB])
    return None if place is None else field(bhs, place)


def block_length(bhs: bytes, data: bytes) -> int | None:
    """The block length that the answer to READ CAPACITY tells; None for anything else."""
    place = None
    if bhs[_CDB] == READ_CAPACITY_10 and len(data) >= 8:
        place = slice(4, 8)
    elif bhs[_CDB] == SERVICE_ACTION_IN_16 and bhs[_CDB + 1] & 0x1F == READ_CAPACITY_16 and len(data) >= 12:
        place = slice(8, 12)
    return None if place is None else int.from_bytes(data[place], "big") or None


def variable_length(bhs: Buffer) -> int | None:
    """Bytes of a CDB of variable length, None for others."""
    return bhs[_CDB + 7] + 8 if bhs[_CDB] == VARIABLE_LENGTH else None
