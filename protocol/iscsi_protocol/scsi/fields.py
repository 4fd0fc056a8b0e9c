"""How a SCSI layout is declared once, for building and for parsing: bit fields at byte places (SPC-4 4.2).

`At` names the place of one field; a command descriptor block is a mapping of names to places (command.py);
parameter data is a dataclass whose annotations carry the places (`Structure`). All numbers are big-endian.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, ClassVar, Self, TypeAlias, get_args, get_origin, get_type_hints

Buffer: TypeAlias = bytes | bytearray | memoryview


class LayoutError(TypeError):
    """A declaration that cannot stand: a field outside its structure, or two fields on one bit."""


class FieldValueError(ValueError):
    """A value that does not fit the place of its field, or a name that the layout does not have."""


@dataclass(frozen=True, slots=True)
class At:
    """Place of a field: first byte, size in bytes, mask within those bytes (0 = all of them)."""

    offset: int
    size: int = 1
    mask: int = 0
    shift: int = field(init=False)

    def __post_init__(self) -> None:
        mask = self.mask or (1 << 8 * self.size) - 1
        object.__setattr__(self, "mask", mask)
        object.__setattr__(self, "shift", (mask & -mask).bit_length() - 1)

    @property
    def maximum(self) -> int:
        """Greatest value that fits."""
        return self.mask >> self.shift

    def get(self, buffer: Buffer, base: int = 0) -> int:
        """The value in a buffer whose structure starts at `base`; the buffer must reach over the field."""
        start = base + self.offset
        return (int.from_bytes(buffer[start : start + self.size], "big") & self.mask) >> self.shift

    def put(self, buffer: bytearray, value: int, name: str = "field") -> None:
        """Set the field, leaving the bits around it. Raises FieldValueError when the value does not fit."""
        if not 0 <= value <= self.maximum:
            raise FieldValueError(f"{name} takes 0 to {self.maximum:#x}, got {value:#x}")
        place = slice(self.offset, self.offset + self.size)
        kept = int.from_bytes(buffer[place], "big") & ~self.mask
        buffer[place] = (kept | value << self.shift).to_bytes(self.size, "big")


def claimed_bits(title: str, length: int, places: Iterable[tuple[str, At]]) -> bytes:
    """The bits that fields cover, as a mask of `length` bytes. Raises LayoutError on overlap or overrun."""
    claimed = 0
    for name, at in places:
        low = 8 * (length - at.offset - at.size)
        if low < 0 or at.mask >> 8 * at.size:
            raise LayoutError(f"{title}: {name} does not fit its place")
        if claimed & at.mask << low:
            raise LayoutError(f"{title}: {name} overlaps another field")
        claimed |= at.mask << low
    return claimed.to_bytes(length, "big")


@dataclass(frozen=True, kw_only=True, slots=True)
class Structure:
    """Parameter data of a fixed layout: a dataclass of fields `Annotated[bool | int | str | bytes, At(...)]`.

    LENGTH is the size in bytes. `str` fields are SPC-4 ASCII data: left-aligned, padded with spaces; bytes
    beyond ASCII are carried as Latin-1. `bytes` fields are padded with zeros.
    """

    LENGTH: ClassVar[int]

    def build(self) -> bytes:
        """LENGTH bytes. Raises FieldValueError when a value does not fit."""
        buffer = bytearray(self.LENGTH)
        for name, (at, kind) in places_of(type(self)).items():
            value = getattr(self, name)
            if kind is str:
                value = value.encode("latin-1").ljust(at.size)
            if isinstance(value, bytes):
                if len(value) > at.size:
                    raise FieldValueError(f"{name} takes at most {at.size} bytes, got {len(value)}")
                buffer[at.offset : at.offset + at.size] = value.ljust(at.size, b"\0")
            else:
                at.put(buffer, int(value), name)
        return bytes(buffer)

    @classmethod
    def parse(cls, buffer: Buffer, offset: int = 0) -> Self:
        """The structure at an offset. Never fails: what an allocation length cut off reads as zero."""
        data = bytes(buffer[offset : offset + cls.LENGTH]).ljust(cls.LENGTH, b"\0")
        values: dict[str, Any] = {}
        for name, (at, kind) in places_of(cls).items():
            raw = data[at.offset : at.offset + at.size]
            if kind is str:
                values[name] = raw.decode("latin-1").rstrip(" \0")
            else:
                values[name] = raw if kind is bytes else kind(at.get(data))
        return cls(**values)

    @classmethod
    def claimed(cls) -> bytes:
        """The bits that are no reserved ones, as a mask of LENGTH bytes."""
        places = [(name, at) for name, (at, _) in places_of(cls).items()]
        return claimed_bits(cls.__name__, cls.LENGTH, places)


_PLACES: dict[type[Structure], dict[str, tuple[At, type]]] = {}


def places_of(cls: type[Structure]) -> dict[str, tuple[At, type]]:
    """Field name to place and Python type of a structure. Raises LayoutError when the declaration cannot stand."""
    if cls not in _PLACES:
        _PLACES[cls] = _declared_places(cls)
    return _PLACES[cls]


def _declared_places(cls: type[Structure]) -> dict[str, tuple[At, type]]:
    places: dict[str, tuple[At, type]] = {}
    hints = get_type_hints(cls, include_extras=True)
    for name in (each.name for each in fields(cls)):
        if get_origin(hints[name]) is not Annotated:
            raise LayoutError(f"{cls.__name__}: {name} has no place")
        kind, at = get_args(hints[name])
        places[name] = (at, kind)
    claimed_bits(cls.__name__, cls.LENGTH, ((name, at) for name, (at, _) in places.items()))
    return places
