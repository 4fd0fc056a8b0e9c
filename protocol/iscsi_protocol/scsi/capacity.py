"""READ CAPACITY (10 and 16) and REPORT LUNS parameter data (SBC-3 5.15, 5.16; SPC-4 REPORT LUNS)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar

from iscsi_protocol.scsi.fields import At, Buffer, Structure
from iscsi_protocol.scsi.lun import LUN_LENGTH

CAPACITY_10_LIMIT = 0xFFFFFFFF
"""RETURNED LOGICAL BLOCK ADDRESS that says: more than 32 bits hold, ask by READ CAPACITY(16)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadCapacity10(Structure):
    """Parameter data of READ CAPACITY(10)."""

    LENGTH: ClassVar[int] = 8

    last_lba: Annotated[int, At(0, 4)]
    block_length: Annotated[int, At(4, 4)]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadCapacity16(Structure):
    """Parameter data of READ CAPACITY(16)."""

    LENGTH: ClassVar[int] = 32

    last_lba: Annotated[int, At(0, 8)]
    block_length: Annotated[int, At(8, 4)]
    protection_type: Annotated[int, At(12, 1, 0x0E)] = 0
    protection_enabled: Annotated[bool, At(12, 1, 0x01)] = False
    protection_intervals_exponent: Annotated[int, At(13, 1, 0xF0)] = 0
    logical_blocks_per_physical_block_exponent: Annotated[int, At(13, 1, 0x0F)] = 0
    provisioning_management_enabled: Annotated[bool, At(14, 1, 0x80)] = False
    provisioning_read_zeros: Annotated[bool, At(14, 1, 0x40)] = False
    lowest_aligned_lba: Annotated[int, At(14, 2, 0x3FFF)] = 0


def capacity_10(blocks: int, block_length: int) -> ReadCapacity10:
    """READ CAPACITY(10) data of a unit of `blocks` (1 or more), saturated at CAPACITY_10_LIMIT."""
    return ReadCapacity10(last_lba=min(blocks - 1, CAPACITY_10_LIMIT), block_length=block_length)


class SelectReport(IntEnum):
    """SELECT REPORT of REPORT LUNS; the last three tell of logical unit conglomerates (SPC-4 6.33)."""

    LUNS = 0x00
    WELL_KNOWN = 0x01
    ALL = 0x02
    ADMINISTRATIVE = 0x10
    NOT_SUBSIDIARY = 0x11
    SUBSIDIARY = 0x12


def build_luns(structures: Iterable[bytes]) -> bytes:
    """Parameter data of REPORT LUNS from 8-byte LUN structures (`encode_lun`), in their order."""
    luns = b"".join(structures)
    return len(luns).to_bytes(4, "big") + bytes(4) + luns


def parse_luns(data: Buffer) -> tuple[int, list[bytes]]:
    """(LUN LIST LENGTH in bytes, the 8-byte structures that are there); the length exceeds them when data was cut off."""
    length = int.from_bytes(bytes(data[:4]).ljust(4, b"\0"), "big")
    body = bytes(data[8 : 8 + length])
    return length, [body[at : at + LUN_LENGTH] for at in range(0, len(body) - LUN_LENGTH + 1, LUN_LENGTH)]
