"""What a reading of extra data consists of: parts with titles, and in them values with names and places."""

from __future__ import annotations

from dataclasses import dataclass

_SHOWN = 1024
UNTITLED = "data"
"""The title of a part that is all there is, for those who need one."""


@dataclass(frozen=True, slots=True)
class Detail:
    """One value. offset: where it begins in the extra data, in bytes; text: the value for people, on one line.

    telling: whether a summary mentions it.
    """

    offset: int
    name: str
    value: int | str | bool
    text: str
    telling: bool = True


@dataclass(frozen=True, slots=True)
class Part:
    """Values that belong together, such as a PDU's header, under a title."""

    title: str
    details: tuple[Detail, ...]


def printable(text: str) -> str:
    """The text with everything that a terminal might obey, or that is no character, written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(ord(each)) for each in text)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, limit: int = _SHOWN) -> str:
    """The text, or its beginning if there is more of it than fits; limit: in characters."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text)} in all)"


def text_detail(offset: int, name: str, data: bytes) -> Detail:
    """Text from the wire."""
    text = printable(data.decode("utf-8", "surrogateescape"))
    return Detail(offset, name, text, shortened(text))


def bytes_detail(offset: int, name: str, data: bytes, *, telling: bool = True) -> Detail:
    """Bytes that are nothing else."""
    return Detail(offset, name, data.hex(), shortened(data.hex(" ")), telling)


def cut_detail(offset: int, found: int, wanted: int) -> Detail:
    """A remark that the data ends too early: found bytes of wanted."""
    return Detail(offset, "cut off", found, f"{found} of {wanted} bytes")
