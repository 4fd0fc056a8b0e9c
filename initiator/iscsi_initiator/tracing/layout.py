"""The bytes of a trace file, version 1; docs/tracing.md tells them.

A header of 512 bytes, then slots of one size, each for one buffer. A buffer is a head, entries, and a length of 0 behind the
last. All numbers are big-endian. A checksum of an entry begins with its buffer's number, so that what an older buffer left
in the same slot is never taken for part of a newer one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from zlib import crc32

from iscsi_initiator.tracing.teller import TEXT_LIMIT, Message

MAGIC = b"iSCSItrc"
VERSION = 1
HEADER_LENGTH = 512
CLOSING_OFFSET = 448
NAME_LIMIT = 128
"""Bytes of a trace's name."""

_HEADER = struct.Struct(">8sHBBIIIQIH")
_CLOSING = struct.Struct(">8sQQQ")
_CLOSED = b"closed\0\0"
_HEAD = struct.Struct(">4sQQQ")
_BUFFER = b"BUFR"
_BODY = struct.Struct(">QIIQ")
_ENTRY = struct.Struct(">II")
_CRC = struct.Struct(">I")
HEAD_LENGTH = _HEAD.size + _CRC.size
END = bytes(4)
"""What stands behind the last entry of a buffer that is not full."""

ENTRY_LIMIT = _ENTRY.size + _BODY.size + 4 * (TEXT_LIMIT + 64)
"""Bytes that no entry has more of."""


class Mode(IntEnum):
    """What becomes of a file that has its size: nothing more is written to it, or its oldest buffers are overwritten."""

    SEQUENTIAL = 0
    CIRCULAR = 1


class LayoutError(ValueError):
    """Bytes that are not what they have to be. The text says what is wrong."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What a trace is. buffer_size: bytes of a slot; slots: how many the file has at most, 0 for any number; started:
    nanoseconds since 1970.
    """

    name: str
    flags: int
    level: int
    mode: Mode
    buffer_size: int
    slots: int
    started: int
    process: int

    def encode(self) -> bytes:
        """The header's bytes, without a closing."""
        name = self.name.encode()
        fixed = _HEADER.pack(
            *(MAGIC, VERSION, self.level, self.mode, self.flags, self.buffer_size, self.slots),
            *(self.started, self.process, len(name)),
        )
        whole = (fixed + name).ljust(CLOSING_OFFSET - _CRC.size, b"\0")
        return (whole + _CRC.pack(crc32(whole))).ljust(HEADER_LENGTH, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> FileHeader:
        """Raises LayoutError."""
        if not data.startswith(MAGIC):
            raise LayoutError("no trace file")
        if len(data) < HEADER_LENGTH:
            raise LayoutError(f"the trace file ends within its header, at {len(data)} of {HEADER_LENGTH} bytes")
        fields = _HEADER.unpack_from(data)
        if fields[1] != VERSION:
            raise LayoutError(f"a trace file of version {fields[1]}; version {VERSION} is read")
        whole = data[: CLOSING_OFFSET - _CRC.size]
        if _CRC.unpack_from(data, len(whole))[0] != crc32(whole):
            raise LayoutError("the header of the trace file is damaged")
        _, _, level, mode, flags, buffer_size, slots, started, process, length = fields
        try:
            name = data[_HEADER.size : _HEADER.size + length].decode()
            return cls(name, flags, level, Mode(mode), buffer_size, slots, started, process)
        except ValueError as error:
            raise LayoutError(f"the header of the trace file is wrong: {error}") from error


@dataclass(frozen=True, slots=True)
class Closing:
    """What a trace came to, written when it was stopped. ended: nanoseconds since 1970; buffers: the number of the last one;
    lost: messages that did not get into the file.
    """

    ended: int
    buffers: int
    lost: int

    def encode(self) -> bytes:
        """The bytes for CLOSING_OFFSET."""
        fixed = _CLOSING.pack(_CLOSED, self.ended, self.buffers, self.lost)
        return fixed + _CRC.pack(crc32(fixed))

    @classmethod
    def decode(cls, header: bytes) -> Closing | None:
        """Out of a file's header; None where the trace was not stopped."""
        fixed = header[CLOSING_OFFSET : CLOSING_OFFSET + _CLOSING.size]
        if not fixed.startswith(_CLOSED) or _CRC.unpack_from(header, CLOSING_OFFSET + _CLOSING.size)[0] != crc32(fixed):
            return None
        _, ended, buffers, lost = _CLOSING.unpack(fixed)
        return cls(ended, buffers, lost)


@dataclass(frozen=True, slots=True)
class BufferHead:
    """number: of the buffer, from 1; lost: messages that were lost by the time of its first one, which is time."""

    number: int
    lost: int
    time: int

    def encode(self) -> bytes:
        """The bytes."""
        fixed = _HEAD.pack(_BUFFER, self.number, self.lost, self.time)
        return fixed + _CRC.pack(crc32(fixed))

    @classmethod
    def decode(cls, data: bytes) -> BufferHead | None:
        """None where there is none."""
        if len(data) < HEAD_LENGTH or not data.startswith(_BUFFER):
            return None
        fixed = data[: _HEAD.size]
        if _CRC.unpack_from(data, _HEAD.size)[0] != crc32(fixed):
            return None
        return cls(*_HEAD.unpack(fixed)[1:])


def encode_body(message: Message) -> bytes:
    """A message without length and checksum."""
    return _BODY.pack(message.time, message.mask, message.process, message.thread) + message.text.encode()


def encode_entry(body: bytes, number: int) -> bytes:
    """A body as it stands in the buffer with this number."""
    return _ENTRY.pack(len(body), crc32(body, number & 0xFFFFFFFF)) + body


def decode_entry(data: bytes, offset: int, number: int) -> tuple[Message | None, int]:
    """The message at an offset of a buffer, and the offset of the next; None where the buffer ends. Raises LayoutError."""
    if offset + len(END) > len(data) or data[offset : offset + len(END)] == END:
        return None, offset
    if offset + _ENTRY.size > len(data):
        raise LayoutError("an entry is cut off")
    length, checksum = _ENTRY.unpack_from(data, offset)
    start = offset + _ENTRY.size
    body = data[start : start + length]
    if len(body) < length or length < _BODY.size or crc32(body, number & 0xFFFFFFFF) != checksum:
        raise LayoutError("an entry is cut off or damaged")
    time, mask, process, thread = _BODY.unpack_from(body)
    try:
        text = body[_BODY.size :].decode()
    except UnicodeDecodeError as error:
        raise LayoutError("an entry is no text") from error
    return Message(mask, time, process, thread, text), start + length
