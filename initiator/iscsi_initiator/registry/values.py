"""Values of the registry: a type and bytes, as Windows keeps them; text is UTF-16 with a NUL behind it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

_UTF_16 = "utf-16-le"
_NUL = "\0"


class RegType(IntEnum):
    """The types that settings have. A file may have any number; those are kept."""

    NONE = 0
    SZ = 1
    EXPAND_SZ = 2
    BINARY = 3
    DWORD = 4
    DWORD_BIG_ENDIAN = 5
    LINK = 6
    MULTI_SZ = 7
    QWORD = 11


TEXTS = (RegType.SZ, RegType.EXPAND_SZ, RegType.MULTI_SZ)
"""Types whose bytes are text, which a REGEDIT4 file has in the ANSI code page."""


def type_name(number: int) -> str:
    """REG_DWORD and the like; the number where there is no name."""
    return f"REG_{RegType(number).name}" if number in RegType.__members__.values() else f"type {number:#x}"


@dataclass(frozen=True, slots=True)
class RegValue:
    """One value. name: empty for the default value of its key; type: of RegType, or any other number up to 32 bits; data:
    as in the registry; line: where a file has it, 0 where it comes from none; deleted: the file says that it is to go.
    """

    name: str
    type: int = RegType.NONE
    data: bytes = b""
    line: int = 0
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class RegKey:
    """A key with its values in order. path: as the file has it; deleted: the key is to go with all that is below it."""

    path: str
    values: tuple[RegValue, ...] = ()
    line: int = 0
    deleted: bool = False


def from_text(text: str) -> bytes:
    """The bytes of a REG_SZ or REG_EXPAND_SZ."""
    return (text + _NUL).encode(_UTF_16, "surrogatepass")


def from_list(texts: tuple[str, ...]) -> bytes:
    """The bytes of a REG_MULTI_SZ."""
    return ("".join(text + _NUL for text in texts) + _NUL).encode(_UTF_16, "surrogatepass")


def from_number(number: int) -> bytes:
    """The bytes of a REG_DWORD; of a negative number the two's complement."""
    return (number & 0xFFFFFFFF).to_bytes(4, "little")


def to_text(data: bytes) -> str | None:
    """The text of a REG_SZ or REG_EXPAND_SZ up to its NUL; None for bytes that are no whole characters."""
    return None if len(data) % 2 else data.decode(_UTF_16, "surrogatepass").partition(_NUL)[0]


def to_list(data: bytes) -> tuple[str, ...] | None:
    """The texts of a REG_MULTI_SZ, up to the first empty one; None for bytes that are no whole characters."""
    if len(data) % 2:
        return None
    texts = data.decode(_UTF_16, "surrogatepass").split(_NUL)
    return tuple(texts[: texts.index("")] if "" in texts else texts)


def to_number(data: bytes) -> int | None:
    """The number of a REG_DWORD; None for another length."""
    return int.from_bytes(data, "little") if len(data) == 4 else None
