"""Fast access to chosen fields, derived from the same declarations as everything else (11.2.1).

The read and write path and the rule book cannot afford an object per PDU. `unpacker` and `packer` turn a list of field
names into one precompiled struct; whole bytes are named "@offset", for flag bytes that are tested with masks, and
"@begin:end" is several bytes as one number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from iscsi_protocol.pdu.base import Pdu, field_of
from iscsi_protocol.pdu.codes import BHS_LENGTH

_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def _place(cls: type[Pdu], name: str) -> tuple[int, int, str]:
    if name.startswith("@"):
        begin, _, end = name[1:].partition(":")
        offset = int(begin)
        size = int(end) - offset if end else 1
        if size not in _CODES or not 0 <= offset <= BHS_LENGTH - size:
            raise ValueError(f"{name} is no byte of the BHS, nor 2, 4 or 8 of them")
        return offset, size, _CODES[size]
    field = field_of(cls.OPCODE, name)
    if field.at.mask is not None:
        raise ValueError(f"{name} is part of a byte: ask for @{field.at.offset}")
    code = f"{field.at.size}s" if field.kind is bytes else _CODES.get(field.at.size)
    if code is None:
        raise ValueError(f"{name} has {field.at.size} bytes: ask for them singly")
    return field.at.offset, field.at.size, code


def _format(cls: type[Pdu], names: Sequence[str]) -> str:
    """Struct format of the fields in the order given, which is the order of their offsets. Raises ValueError."""
    position, parts = 0, [">"]
    for name in names:
        offset, size, code = _place(cls, name)
        if offset < position:
            raise ValueError(f"{name} is out of order")
        parts.append(f"{offset - position}x{code}")
        position = offset + size
    parts.append(f"{BHS_LENGTH - position}x")
    return "".join(parts)


def unpacker(cls: type[Pdu], *names: str) -> Callable[[Any, int], tuple[Any, ...]]:
    """A function (buffer, offset) -> the named fields of the BHS that starts there.

    Names go by rising offset; bytes fields come as bytes, others as int. Raises ValueError, KeyError.
    """
    return struct.Struct(_format(cls, names)).unpack_from


def packer(cls: type[Pdu], *names: str) -> Callable[..., bytes]:
    """A function (values...) -> a 48-byte BHS with the named fields set, byte 0 included if named "@0", all else zero.

    A bytes value that is too short is filled up with zeros, as a CDB is; one that is too long is cut.
    """
    return struct.Struct(_format(cls, names)).pack
