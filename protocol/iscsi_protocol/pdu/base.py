"""How a PDU is declared once: fields with their place in the BHS, from which all else is derived (11.2).

A message is a frozen dataclass whose annotations say where each field lies. `register` turns them into shifts and masks
over the header read as one 384-bit number, refuses overlaps, and derives the mask of reserved bits. Decoding never fails
and never forgets: bits that no field claims are kept in `reserved`, so encode(decode(raw)) gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from iscsi_protocol.pdu.codes import BHS_LENGTH
from iscsi_protocol.pdu.raw import Buffer, RawPdu, padding_for

_BITS = BHS_LENGTH * 8
P = TypeVar("P", bound="Pdu")


@dataclass(frozen=True, slots=True)
class At:
    """Where a field lies: first byte, size in bytes, and the mask within it (None = all of it)."""

    offset: int
    size: int = 1
    mask: int | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """One declared field with what was derived for it. `shift` and `mask` apply to the header as one big-endian number."""

    name: str
    at: At
    kind: type
    shift: int
    mask: int

    def get(self, header: int) -> int | bool | bytes:
        """The field's value in a header given as a number."""
        value = (header >> self.shift) & self.mask
        if self.kind is bytes:
            return value.to_bytes(self.at.size, "big")
        return bool(value) if self.kind is bool else value

    def put(self, value: int | bool | Buffer) -> int:
        """The field's share of the header number. Raises ValueError when the value does not fit."""
        if isinstance(value, int):
            number = int(value)
        elif len(value) == self.at.size:
            number = int.from_bytes(value, "big")
        else:
            raise ValueError(f"{self.name} takes {self.at.size} bytes, got {len(value)}")
        if not 0 <= number <= self.mask:
            raise ValueError(f"{self.name} takes 0 to {self.mask:#x}, got {number:#x}")
        return number << self.shift

    def wrap(self, number: int) -> int | bool | bytes:
        """Any number, negative ones too, as a value of this field: modulo its size."""
        return self.get((number & self.mask) << self.shift)

    @property
    def header_mask(self) -> int:
        """The field's bits within the header number."""
        return self.mask << self.shift


@dataclass(frozen=True, kw_only=True, slots=True)
class Pdu:
    """What all messages share.

    total_ahs_length and data_segment_length are None when the header tells the truth about `ahs` and `data`, which is
    what encode writes for None; a number is a lie to be kept. `reserved` holds the header bits that no field claims.
    """

    OPCODE: ClassVar[int]
    FIELDS: ClassVar[Mapping[str, Field]]
    RESERVED_MASK: ClassVar[int]

    total_ahs_length: int | None = None
    data_segment_length: int | None = None
    ahs: bytes = b""
    data: bytes = b""
    reserved: int = 0


class LayoutError(TypeError):
    """A declaration that cannot stand: two fields claim a bit, or two messages an opcode."""


_TOTAL_AHS_LENGTH = Field("total_ahs_length", At(4), int, _BITS - 40, 0xFF)
_DATA_SEGMENT_LENGTH = Field("data_segment_length", At(5, 3), int, _BITS - 64, 0xFFFFFF)
_OPCODE = Field("opcode", At(0, 1, 0x3F), int, _BITS - 8, 0x3F)
_LENGTHS = (_TOTAL_AHS_LENGTH, _DATA_SEGMENT_LENGTH)

PDU_CLASSES: dict[int, type[Pdu]] = {}
"""Opcode to message class; filled by `register`."""


def _field(name: str, at: At, kind: type) -> Field:
    shift = _BITS - 8 * (at.offset + at.size)
    mask = (1 << 8 * at.size) - 1 if at.mask is None else at.mask
    low = (mask & -mask).bit_length() - 1
    if shift < 0 or mask >> 8 * at.size:
        raise LayoutError(f"{name} does not fit its place")
    return Field(name, at, kind, shift + low, mask >> low)


def derive(cls: type[Pdu]) -> None:
    """Read the annotations of a message class and set FIELDS and RESERVED_MASK. Raises LayoutError on an overlap."""
    table: dict[str, Field] = {}
    claimed = _OPCODE.header_mask
    for length in _LENGTHS:
        claimed |= length.header_mask
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue
        kind, at = get_args(hint)
        field = _field(name, at, kind)
        if claimed & field.header_mask:
            raise LayoutError(f"{cls.__name__}.{name} overlaps another field")
        claimed |= field.header_mask
        table[name] = field
    cls.FIELDS = table
    cls.RESERVED_MASK = ((1 << _BITS) - 1) & ~claimed


def register(cls: type[P]) -> type[P]:
    """Class decorator: derive the layout and file the class under its opcode. Raises LayoutError."""
    if cls.OPCODE in PDU_CLASSES:
        raise LayoutError(f"opcode {cls.OPCODE:#04x} is declared twice")
    derive(cls)
    PDU_CLASSES[cls.OPCODE] = cls
    return cls


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownPdu(Pdu):
    """A PDU with an opcode that RFC 7143 does not define; its header is all in `reserved` and `opcode`."""

    OPCODE: ClassVar[int] = -1
    opcode: int = 0


UnknownPdu.FIELDS = {}
UnknownPdu.RESERVED_MASK = ((1 << _BITS) - 1) & ~(
    _OPCODE.header_mask | _TOTAL_AHS_LENGTH.header_mask | _DATA_SEGMENT_LENGTH.header_mask
)


def decode(raw: RawPdu) -> Pdu:
    """The message in a raw PDU. Never fails; padding and digests stay with the raw PDU."""
    header = int.from_bytes(raw.bhs, "big")
    opcode = (header >> _OPCODE.shift) & 0x3F
    cls = PDU_CLASSES.get(opcode, UnknownPdu)
    values: dict[str, Any] = {name: field.get(header) for name, field in cls.FIELDS.items()}
    if cls is UnknownPdu:
        values["opcode"] = opcode
    ahs_words = (header >> _TOTAL_AHS_LENGTH.shift) & 0xFF
    length = (header >> _DATA_SEGMENT_LENGTH.shift) & 0xFFFFFF
    return cls(
        total_ahs_length=None if ahs_words * 4 == len(raw.ahs) else ahs_words,
        data_segment_length=None if length == len(raw.data) else length,
        ahs=bytes(raw.ahs),
        data=bytes(raw.data),
        reserved=header & cls.RESERVED_MASK,
        **values,
    )


def encode(pdu: Pdu) -> RawPdu:
    """The raw PDU of a message, padded with zeros, without digests.

    Raises ValueError when a field's value does not fit its place, `reserved` has a bit that belongs to a field, the AHS
    is not a multiple of 4 bytes, or a part is longer than the header can say.
    """
    if len(pdu.ahs) & 3:
        raise ValueError("the AHS is a multiple of 4 bytes")
    if pdu.reserved & ~pdu.RESERVED_MASK:
        raise ValueError("reserved has bits of a field")
    ahs_words = len(pdu.ahs) // 4 if pdu.total_ahs_length is None else pdu.total_ahs_length
    length = len(pdu.data) if pdu.data_segment_length is None else pdu.data_segment_length
    header = pdu.reserved | _OPCODE.put(pdu.opcode if isinstance(pdu, UnknownPdu) else pdu.OPCODE)
    header |= _TOTAL_AHS_LENGTH.put(ahs_words) | _DATA_SEGMENT_LENGTH.put(length)
    for name, field in pdu.FIELDS.items():
        header |= field.put(getattr(pdu, name))
    return RawPdu(
        bhs=header.to_bytes(BHS_LENGTH, "big"),
        ahs=pdu.ahs,
        data=pdu.data,
        padding=bytes(padding_for(len(pdu.data))),
    )


def field_of(opcode: int, name: str) -> Field:
    """The declared field of an opcode's message, the two lengths and `opcode` included. Raises KeyError."""
    for common in (_OPCODE, *_LENGTHS):
        if common.name == name:
            return common
    return PDU_CLASSES[opcode].FIELDS[name]


def get_field(raw: RawPdu, name: str) -> int | bool | bytes:
    """One field of a raw PDU without decoding the rest. Raises KeyError when its message has no such field."""
    return field_of(raw.opcode, name).get(int.from_bytes(raw.bhs, "big"))


def set_field(raw: RawPdu, name: str, value: int | bool | bytes) -> RawPdu:
    """The raw PDU with one header field changed, nothing else mended. Raises KeyError, ValueError."""
    field = field_of(raw.opcode, name)
    header = int.from_bytes(raw.bhs, "big") & ~field.header_mask | field.put(value)
    return replace(raw, bhs=header.to_bytes(BHS_LENGTH, "big"))


def has_field(opcode: int, name: str) -> bool:
    """Whether the messages of this opcode have the header field."""
    try:
        field_of(opcode, name)
    except KeyError:
        return False
    return True


def opcode_name(opcode: int) -> str:
    """The message's name as the RFC writes it, for people; unknown opcodes as a number."""
    cls = PDU_CLASSES.get(opcode)
    return (cls.__doc__ or "").partition(" (")[0] if cls else f"opcode {opcode:#04x}"


def declared_defaults(cls: type[Pdu]) -> dict[str, Any]:
    """Field name to default of a message class, for tables and documentation."""
    return {f.name: f.default for f in fields(cls) if f.name in cls.FIELDS}


__all__ = [
    "PDU_CLASSES",
    "At",
    "Field",
    "LayoutError",
    "Pdu",
    "UnknownPdu",
    "declared_defaults",
    "decode",
    "derive",
    "encode",
    "field_of",
    "get_field",
    "has_field",
    "opcode_name",
    "register",
    "set_field",
]
