"""Logical unit numbers in their 8-byte structure, single level only (SAM-5 4.7; RFC 7143 11.2.1.6).

Addressing methods: peripheral device (0 to 255, bus 0), flat space (0 to 16383), extended flat space (24
bits) and long extended flat space (40 bits). Well known logical units and hierarchical structures name no
single-level unit here.
"""

from __future__ import annotations

from iscsi_protocol.scsi.fields import Buffer

LUN_LENGTH = 8
MAX_PERIPHERAL_LUN = 0xFF
MAX_FLAT_LUN = 0x3FFF
MAX_EXTENDED_FLAT_LUN = 0xFFFFFF
MAX_LONG_EXTENDED_FLAT_LUN = 0xFFFFFFFFFF

# first byte (for the flat space method, its two leading bits) of each method beyond peripheral
_FLAT = 0x40
_EXTENDED_FLAT = 0xD2
_LONG_EXTENDED_FLAT = 0xE2
# size of the number that follows the extended flat methods' first byte
_EXTENDED_SIZES = {_EXTENDED_FLAT: 3, _LONG_EXTENDED_FLAT: 5}


WELL_KNOWN_REPORT_LUNS = bytes.fromhex("c101000000000000")
"""The structure of the well known logical unit REPORT LUNS (SAM-5 4.7.7.5.1; SPC-4 9.2)."""


def encode_flat_lun(lun: int) -> bytes:
    """The structure by flat space addressing, also of a LUN that peripheral device addressing would hold.

    Raises ValueError outside 0 to 16383.
    """
    if not 0 <= lun <= MAX_FLAT_LUN:
        raise ValueError(f"flat space addressing holds 0 to {MAX_FLAT_LUN}, got {lun}")
    return (_FLAT << 8 | lun).to_bytes(2, "big").ljust(LUN_LENGTH, b"\0")


def encode_extended_lun(lun: int) -> bytes:
    """The structure by extended flat space addressing, also of a LUN that a shorter method would hold.

    Raises ValueError outside 0 to 2^24 - 1.
    """
    if not 0 <= lun <= MAX_EXTENDED_FLAT_LUN:
        raise ValueError(f"extended flat space addressing holds 0 to {MAX_EXTENDED_FLAT_LUN}, got {lun}")
    return (bytes((_EXTENDED_FLAT,)) + lun.to_bytes(_EXTENDED_SIZES[_EXTENDED_FLAT], "big")).ljust(LUN_LENGTH, b"\0")


def encode_lun(lun: int) -> bytes:
    """The 8-byte structure of a LUN by the shortest method that holds it.

    Raises ValueError outside 0 to 2^40 - 1.
    """
    if not 0 <= lun <= MAX_LONG_EXTENDED_FLAT_LUN:
        raise ValueError(f"a LUN is 0 to {MAX_LONG_EXTENDED_FLAT_LUN}, got {lun}")
    if lun <= MAX_PERIPHERAL_LUN:
        head = bytes((0, lun))
    elif lun <= MAX_FLAT_LUN:
        head = (_FLAT << 8 | lun).to_bytes(2, "big")
    else:
        method = _EXTENDED_FLAT if lun <= MAX_EXTENDED_FLAT_LUN else _LONG_EXTENDED_FLAT
        head = bytes((method,)) + lun.to_bytes(_EXTENDED_SIZES[method], "big")
    return head.ljust(LUN_LENGTH, b"\0")


def decode_lun(structure: Buffer) -> int | None:
    """The LUN that an 8-byte structure names; None when it names no single-level LUN or is not 8 bytes long.

    A flat space structure may name a LUN below 256; it is that LUN.
    """
    if len(structure) != LUN_LENGTH:
        return None
    first = structure[0]
    if first == 0:
        start, used = 1, 2
    elif first & 0xC0 == _FLAT:
        start, used = 0, 2
    elif first in _EXTENDED_SIZES:
        start, used = 1, 1 + _EXTENDED_SIZES[first]
    else:
        return None
    if any(structure[used:]):
        return None
    lun = int.from_bytes(structure[start:used], "big")
    return lun & MAX_FLAT_LUN if start == 0 else lun


def same_lun(one: Buffer, other: Buffer) -> bool:
    """Whether two 8-byte structures name one logical unit; their addressing methods may differ."""
    return one == other or (decode_lun(one) == decode_lun(other) is not None)
