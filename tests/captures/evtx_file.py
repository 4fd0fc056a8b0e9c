"""Small .evtx files, as far as readers need them: a header, chunks of 64 KiB, records in binary XML without templates."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"
HEADER = 4096
CHUNK = 65536
_CHUNK_HEADER = 512
_EPOCH = 11644473600
"""Seconds from 1601 to 1970."""

Element = tuple[str, Mapping[str, str], Sequence["Element | str"]]


def event(source: str, number: int, data: bytes = b"", strings: Sequence[str] = ()) -> Element:
    """The elements of an event as a driver or a service logs it."""
    values = {"Level": "2", "EventRecordID": "7", "Channel": "System", "Computer": "HOST"}
    system: list[Element | str] = [
        ("Provider", {"Name": source}, []),
        ("EventID", {"Qualifiers": "49152"}, [str(number)]),
        ("TimeCreated", {"SystemTime": "2026-01-31T12:00:00.000000Z"}, []),
        *((name, {}, [value]) for name, value in values.items()),
    ]
    content: list[Element | str] = [("Data", {}, [each]) for each in strings]
    if data:
        content.append(("Binary", {}, [data.hex().upper()]))
    return "Event", {"xmlns": NAMESPACE}, [("System", {}, system), ("EventData", {}, content)]


class _Body:
    """The records of a chunk. Names stand where they are first needed, as 16-bit text behind a hash."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.last = 0

    def record(self, number: int, element: Element) -> None:
        start = len(self.data)
        self.data += b"**\0\0" + struct.pack("<IQQ", 0, number, (1_769_860_800 + _EPOCH) * 10**7) + b"\x0f\x01\x01\0"
        self._element(element)
        self.data += b"\0"
        size = len(self.data) + 4 - start
        self.data += struct.pack("<I", size)
        struct.pack_into("<I", self.data, start + 4, size)
        self.last = _CHUNK_HEADER + start

    def _element(self, element: Element) -> None:
        tag, attributes, children = element
        start = len(self.data)
        self.data += bytes([0x41 if attributes else 0x01]) + bytes(4)
        self._name(tag)
        if attributes:
            (name, value), place = next(iter(attributes.items())), len(self.data)
            self.data += bytes(4) + b"\x06"
            self._name(name)
            self._text(value)
            struct.pack_into("<I", self.data, place, len(self.data) - place - 4)
        self.data += b"\x02"
        for child in children:
            self._text(child) if isinstance(child, str) else self._element(child)
        self.data += b"\x04"
        struct.pack_into("<I", self.data, start + 1, len(self.data) - start - 5)

    def _name(self, name: str) -> None:
        number = 0
        for each in name:
            number = (number * 65599 + ord(each)) & 0xFFFF
        self.data += struct.pack("<I", _CHUNK_HEADER + len(self.data) + 4)
        self.data += struct.pack("<IHH", 0, number, len(name)) + name.encode("utf-16-le") + b"\0\0"

    def _text(self, text: str) -> None:
        self.data += b"\x05\x01" + struct.pack("<H", len(text)) + text.encode("utf-16-le")


def chunk(events: Sequence[Element], first: int = 1) -> bytes:
    """A chunk; first: the number of its first record."""
    body, last = _Body(), first + len(events) - 1
    for number, each in enumerate(events, first):
        body.record(number, each)
    end = _CHUNK_HEADER + len(body.data)
    header = bytearray(_CHUNK_HEADER)
    struct.pack_into(
        "<8s4Q4I", header, 0, b"ElfChnk\0", first, last, first, last, 128, body.last, end, zlib.crc32(body.data)
    )
    struct.pack_into("<I", header, 124, zlib.crc32(header[:120] + header[128:]))
    return bytes(header + body.data).ljust(CHUNK, b"\0")


def evtx(*chunks: bytes) -> bytes:
    """A file."""
    header = bytearray(HEADER)
    struct.pack_into("<8s3QI4H", header, 0, b"ElfFile\0", 0, len(chunks) - 1, 1000, 128, 1, 3, HEADER, len(chunks))
    struct.pack_into("<I", header, 124, zlib.crc32(header[:120]))
    return bytes(header) + b"".join(chunks)
