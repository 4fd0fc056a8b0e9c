"""Packets out of pcap and pcapng files, as plain tuples: this is the innermost loop but one.

pcap is read in both byte orders with microseconds and nanoseconds. Of pcapng (draft-ietf-opsawg-pcapng) section headers,
interfaces, all three kinds of packet block, and comments are read; other blocks are passed over. No length is believed
before it was checked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from iscsi_captures.blocks import BYTE_ORDER_MAGIC, LARGEST_BLOCK, BadBlock, Block, ByteOrder, PcapngError
from iscsi_captures.reading.files import Input
from iscsi_captures.reading.frames import FrameNumber, frame_number
from iscsi_captures.reading.sink import CaptureError, FileFacts

Packet = tuple[FrameNumber, float, Any, int, int, int, int]
"""Frame, time in seconds, bytes that hold the packet, where it starts and ends in them, its length on the wire, link type.

A link type of COMMENTS has a tuple of texts in place of the bytes: comments on the packet that comes next, or on none.
"""

COMMENTS = -1
LARGEST_PACKET = LARGEST_BLOCK

_SECTION = b"\x0a\x0d\x0d\x0a"
_COMMENT = 1
_RESOLUTION = 9
_APPLICATION = 4
_TIME_OFFSET = 14
PCAP_MAGICS: dict[bytes, tuple[ByteOrder, int]] = {
    b"\xd4\xc3\xb2\xa1": ("<", 10**6),
    b"\xa1\xb2\xc3\xd4": (">", 10**6),
    b"\x4d\x3c\xb2\xa1": ("<", 10**9),
    b"\xa1\xb2\x3c\x4d": (">", 10**9),
}


class CaptureFile:
    """One file: iterating over it gives its packets; the facts are complete when it is used up."""

    def __init__(self, source: Input, index: int) -> None:
        """index: among the files, for frame numbers. Raises CaptureError when it is no capture."""
        self.source = source
        self.frames = 0
        self.bytes = 0
        self.application = ""
        self.comments: list[str] = []
        self.damage: str | None = None
        self.first_time: float | None = None
        self.last_time: float | None = None
        self.index = index
        self._base = frame_number(index, 0)
        self._start = source.read(4)
        magic = self._start[:4]
        if not magic:
            raise CaptureError(f"{source.name}: {source.damage or 'the file is empty'}")
        if magic in PCAP_MAGICS:
            self.format = "pcap"
        elif magic == _SECTION:
            self.format = "pcapng"
        else:
            raise CaptureError(f"{source.name}: neither pcap nor pcapng, it starts with {magic.hex(' ')}")

    def facts(self) -> FileFacts:
        """What is known of the file by now."""
        packing = f", {self.source.compression}" if self.source.compression else ""
        return FileFacts(
            name=self.source.name,
            format=self.format + packing,
            frames=self.frames,
            bytes=self.bytes,
            first_time=self.first_time,
            last_time=self.last_time,
            application=self.application,
            comments=tuple(self.comments),
            damage=self.damage,
        )

    def __iter__(self) -> Iterator[Packet]:
        """The packets. Damage ends them, and is told in `damage`; damage before the first one raises CaptureError."""
        try:
            yield from self._pcap() if self.format == "pcap" else self._pcapng()
        except (PcapngError, struct.error) as error:
            self.damage = " ".join(str(error).split())
        if self.source.damage is not None:
            self.damage = self.source.damage
        if self.damage is not None and not self.frames:
            raise CaptureError(f"{self.source.name}: {self.damage}")

    def _times(self, time: float) -> None:
        if self.first_time is None:
            self.first_time = time
        self.last_time = time

    def _pcap(self) -> Iterator[Packet]:
        order, ticks = PCAP_MAGICS[self._start[:4]]
        read = self.source.read
        buffer = self._start
        if len(buffer) < 24:
            buffer += read(24 - len(buffer))
        if len(buffer) < 24:
            self.damage = "the file ends within its header"
            return
        link = struct.unpack_from(order + "20xI", buffer)[0] & 0xFFFF
        unpack = struct.Struct(order + "4I").unpack_from
        frame, captured_bytes, position, end, gone = self._base, 0, 24, len(buffer), 0
        time = None
        try:
            while True:
                while position + 16 <= end:
                    seconds, fraction, captured, length = unpack(buffer, position)
                    stop = position + 16 + captured
                    if stop > end:
                        break
                    frame += 1
                    time = (seconds * ticks + fraction) / ticks
                    if self.first_time is None:
                        self.first_time = time
                    captured_bytes += captured
                    yield frame, time, buffer, position + 16, stop, length, link
                    position = stop
                missing = 1
                if position + 16 <= end:
                    captured = unpack(buffer, position)[2]
                    if captured > LARGEST_PACKET:
                        self.damage = f"byte {gone + position}: a packet claims {captured} bytes"
                        return
                    missing = position + 16 + captured - end
                more = read(missing)
                if not more:
                    if position < end:
                        self.damage = f"byte {gone + position}: the file ends within a packet"
                    return
                gone += position
                buffer = buffer[position:] + more if position < end else more
                position, end = 0, len(buffer)
        finally:
            self.frames, self.bytes, self.last_time = frame - self._base, captured_bytes, time

    def _pcapng(self) -> Iterator[Packet]:  # noqa: C901, PLR0912, PLR0915 - one loop, since a call a packet is what it would cost
        read = self.source.read
        buffer = self._start
        position, end, gone = 0, len(buffer), 0
        frame, captured_bytes = self._base, 0
        order: ByteOrder = "<"
        head = struct.Struct("<7I").unpack_from
        interfaces: list[tuple[int, int, int, int]] = []
        time = None
        try:
            while True:
                while position + 28 <= end:
                    kind, total, index, high, low, captured, length = head(buffer, position)
                    if kind != 6 or position + total > end:
                        break
                    start = position + 28
                    padded = captured + 3 & ~3
                    if total < 32 + padded or total & 3 or index >= len(interfaces):
                        break
                    link, ticks, offset, _ = interfaces[index]
                    time = (high << 32 | low) / ticks
                    if offset:
                        time += offset
                    if self.first_time is None:
                        self.first_time = time
                    frame += 1
                    captured_bytes += captured
                    if total > 36 + padded:
                        block = Block(gone + position, kind, order, buffer[position + 8 : position + total - 4])
                        texts = _comments(block, 20 + padded)
                        if texts:
                            yield frame, time, texts, 0, 0, 0, COMMENTS
                    yield frame, time, buffer, start, start + captured, length, link
                    position += total
                # Not the common case: another block, the end of what was read, or something wrong.
                if position + 12 > end:
                    missing = position + 12 - end
                else:
                    at = gone + position
                    if buffer[position : position + 4] == _SECTION:
                        order = _byte_order(at, buffer[position + 8 : position + 12])
                        head = struct.Struct(order + "7I").unpack_from
                    kind, total = struct.unpack_from(order + "2I", buffer, position)
                    if total < 12 or total & 3 or total > LARGEST_BLOCK:
                        raise BadBlock(at, f"a block claims {total} bytes")
                    missing = position + total - end
                    if missing <= 0:
                        block = Block(at, kind, order, buffer[position + 8 : position + total - 4])
                        if kind == 0x0A0D0D0A:
                            interfaces = []
                            texts = self._section(block)
                        elif kind == 1:
                            texts = _interface(block, interfaces)
                        elif kind == 5:
                            texts = _comments(block, 12)
                        elif kind in (2, 3, 6):
                            found = _packet(block, interfaces)
                            link, time, captured, length, begin, texts = found[0], found[1] or time or 0.0, *found[2:]
                            if self.first_time is None:
                                self.first_time = time
                            frame += 1
                            captured_bytes += captured
                            if texts:
                                yield frame, time, texts, 0, 0, 0, COMMENTS
                            texts = ()
                            start = position + 8 + begin
                            yield frame, time, buffer, start, start + captured, length, link
                        else:
                            texts = ()
                        if texts:
                            yield frame, time or 0.0, texts, 0, 0, 0, COMMENTS
                        position += total
                        continue
                more = read(missing)
                if len(more) < missing:
                    if position < end or more:
                        self.damage = f"byte {gone + position}: the file ends within a block"
                    return
                gone += position
                buffer = buffer[position:] + more if position < end else more
                position, end = 0, len(buffer)
        finally:
            self.frames, self.bytes, self.last_time = frame - self._base, captured_bytes, time

    def _section(self, block: Block) -> tuple[str, ...]:
        major, _minor = block.unpack("HH", 4)
        if major != 1:
            raise BadBlock(block.offset, f"a section of pcapng version {major}")
        texts = _comments(block, 16)
        self.comments += texts
        for code, value in block.options(16):
            if code == _APPLICATION and not self.application:
                self.application = value.decode("utf-8", "replace")
        return texts


def _byte_order(offset: int, magic: bytes) -> ByteOrder:
    for order in ("<", ">"):
        if struct.unpack(order + "I", magic) == (BYTE_ORDER_MAGIC,):
            return order
    raise BadBlock(offset, f"byte-order magic {magic.hex()}")


def _comments(block: Block, start: int) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for code, value in block.options(start) if code == _COMMENT)


def _interface(block: Block, interfaces: list[tuple[int, int, int, int]]) -> tuple[str, ...]:
    """Adds the interface: link type, ticks a second, offset in seconds, snap length."""
    link, _reserved, snap_length = block.unpack("HHI")
    ticks, offset = 10**6, 0
    for code, value in block.options(8):
        if code == _RESOLUTION and len(value) == 1:
            # Anything finer than 2^-63 or 10^-19 of a second overflows the 64 bits of a time within a second.
            power = value[0] & 0x7F
            if power > (63 if value[0] & 0x80 else 19):
                raise BadBlock(block.offset, f"a time resolution of {value.hex()}")
            ticks = 1 << power if value[0] & 0x80 else 10**power
        elif code == _TIME_OFFSET and len(value) == 8:
            offset = int.from_bytes(value, "little" if block.order == "<" else "big", signed=True)
    interfaces.append((link, ticks, offset, snap_length))
    return _comments(block, 8)


def _packet(
    block: Block, interfaces: list[tuple[int, int, int, int]]
) -> tuple[int, float | None, int, int, int, tuple[str, ...]]:
    """Link type, time, captured length, length, where the packet starts in the body, comments. Raises BadBlock."""
    ticks: int | None = None
    index, begin = 0, 20
    if block.block_type == 3:
        (length,) = block.unpack("I")
        begin = 4
        captured = min(length, interfaces[0][3] or length, len(block.body) - 4) if interfaces else length
    elif block.block_type == 2:
        index, _drops, high, low, captured, length = block.unpack("HHIIII")
        ticks = high << 32 | low
    else:
        index, high, low, captured, length = block.unpack("IIIII")
        ticks = high << 32 | low
    if index >= len(interfaces):
        raise BadBlock(block.offset, f"a packet of interface {index}, of which there is no description")
    if begin + captured > len(block.body):
        raise BadBlock(block.offset, f"a packet claims {captured} bytes, its block has {len(block.body) - begin}")
    link, per_second, offset, _ = interfaces[index]
    time = None if ticks is None else ticks / per_second + offset
    comments = () if block.block_type == 3 else _comments(block, begin + (captured + 3 & ~3))
    return link, time, captured, length, begin, comments
