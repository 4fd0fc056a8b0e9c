"""The blocks of a pcapng file (draft-ietf-opsawg-pcapng): framing, byte order and options, without what they mean.

A block is type, total length, body, total length again, in the byte order that its section's header sets. Nothing here
trusts a length: each is checked against the format and against LARGEST_BLOCK before a byte is read for it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO, Literal

ByteOrder = Literal["<", ">"]

LARGEST_BLOCK = 16 << 20
"""Total length in bytes above which a block is taken for damage; Wireshark draws the line at the same place."""

BYTE_ORDER_MAGIC = 0x1A2B3C4D
_OVERHEAD = 12
LONGEST_OPTION = 0xFFFF
"""Bytes that an option's value may have."""


class BlockType(IntEnum):
    """Block types that are understood."""

    SECTION_HEADER = 0x0A0D0D0A
    INTERFACE_DESCRIPTION = 1
    OBSOLETE_PACKET = 2
    SIMPLE_PACKET = 3
    INTERFACE_STATISTICS = 5
    ENHANCED_PACKET = 6


class PcapngError(Exception):
    """A file that is no readable pcapng. `offset` is where in the file, in bytes, the block at fault starts."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(f"byte {offset}: {message}")
        self.offset = offset


class NotPcapng(PcapngError):
    """The file does not start with a section header."""


class UnsupportedVersion(PcapngError):
    """A section of a major version other than 1."""


class BadBlock(PcapngError):
    """A block whose lengths or contents contradict each other, or whose length is absurd."""


class TruncatedFile(PcapngError):
    """The file ends within a block, as a capture does that was cut off; what came before was good."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block: where it starts, its type (unknown ones survive as int), its section's byte order, its body."""

    offset: int
    block_type: int
    order: ByteOrder
    body: bytes

    def unpack(self, layout: str, start: int = 0) -> tuple[int, ...]:
        """Integers of the body in the block's byte order, as struct does it. Raises BadBlock when the body is too short."""
        try:
            return struct.unpack_from(self.order + layout, self.body, start)
        except struct.error:
            raise BadBlock(self.offset, f"a block of type {self.block_type:#x} is too short") from None

    def options(self, start: int) -> Iterator[tuple[int, bytes]]:
        """The (code, value) options from that byte of the body on. Raises BadBlock when one runs past the body."""
        position = start
        while position + 4 <= len(self.body):
            code, length = self.unpack("HH", position)
            if code == 0:
                return
            end = position + 4 + length
            if end > len(self.body):
                raise BadBlock(self.offset, f"option {code} runs past its block")
            yield code, self.body[position + 4 : end]
            position = end + (-length & 3)


def encode_options(options: Iterable[tuple[int, bytes]], order: ByteOrder = "<") -> bytes:
    """The options of a block with the end mark; nothing for none. Raises ValueError for a value above 65535 bytes."""
    encoded = bytearray()
    for code, value in options:
        if len(value) > LONGEST_OPTION:
            raise ValueError(f"option {code} has {len(value)} bytes, {LONGEST_OPTION} is the most")
        encoded += struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) & 3)
    return bytes(encoded) + bytes(4) if encoded else b""


def encode_block(block_type: int, *parts: bytes, order: ByteOrder = "<") -> bytes:
    """One block whose body is these parts, padded with zeros to 4 bytes. Raises ValueError when too large."""
    size = sum(map(len, parts))
    padding = -size & 3
    total = size + padding + _OVERHEAD
    if total > LARGEST_BLOCK:
        raise ValueError(f"a block of {total} bytes is larger than {LARGEST_BLOCK}")
    ends = struct.pack(order + "II", block_type, total), struct.pack(order + "I", total)
    return b"".join((ends[0], *parts, bytes(padding), ends[1]))


def read_blocks(stream: BinaryIO) -> Iterator[Block]:
    """All blocks of a stream, those of unknown type among them. Raises PcapngError at the first that cannot be read."""
    offset = 0
    order: ByteOrder | None = None
    while header := _read(stream, 8, offset, at_boundary=True):
        if header[:4] == b"\x0a\x0d\x0d\x0a":
            magic = _read(stream, 4, offset)
            order = _byte_order(offset, magic)
            rest = magic
        elif order is None:
            raise NotPcapng(offset, "no pcapng section header")
        else:
            rest = b""
        block_type, total = struct.unpack(order + "II", header)
        if total < _OVERHEAD + len(rest) or total & 3 or total > LARGEST_BLOCK:
            raise BadBlock(offset, f"a block claims {total} bytes")
        rest += _read(stream, total - 8 - len(rest), offset)
        (trailer,) = struct.unpack_from(order + "I", rest, len(rest) - 4)
        if trailer != total:
            raise BadBlock(offset, f"a block's two lengths are {total} and {trailer}")
        yield Block(offset, block_type, order, rest[:-4])
        offset += total
    if order is None:
        raise NotPcapng(0, "the file is empty")


def _byte_order(offset: int, magic: bytes) -> ByteOrder:
    orders: tuple[ByteOrder, ByteOrder] = ("<", ">")
    for order in orders:
        if struct.unpack(order + "I", magic) == (BYTE_ORDER_MAGIC,):
            return order
    raise BadBlock(offset, f"byte-order magic {magic.hex()}")


def _read(stream: BinaryIO, size: int, offset: int, *, at_boundary: bool = False) -> bytes:
    """Exactly `size` bytes, or none at all where the file may end. Raises TruncatedFile."""
    data = bytearray()
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            if at_boundary and not data:
                break
            kind: type[PcapngError] = NotPcapng if offset == 0 and at_boundary else TruncatedFile
            raise kind(offset, "the file ends within a block")
        data += more
    return bytes(data)
