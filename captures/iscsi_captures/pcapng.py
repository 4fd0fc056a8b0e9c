"""pcapng files (draft-ietf-opsawg-pcapng): reading them, writing them, and recording a history into one.

Times are integer nanoseconds, so that none is rounded on the way. Reading knows section headers, interfaces, all three
kinds of packet block and interface statistics; other blocks are passed over. Writing is little-endian, nanosecond
resolution, and streams: nothing is held back but the one closing segment that `tcp` waits with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from iscsi_captures.blocks import (
    BYTE_ORDER_MAGIC,
    BadBlock,
    Block,
    BlockType,
    NotPcapng,
    PcapngError,
    TruncatedFile,
    UnsupportedVersion,
    encode_block,
    encode_options,
    read_blocks,
)
from iscsi_captures.tcp import TcpSynthesis
from iscsi_protocol.history import Record, SettingsRecord

LINK_TYPE_ETHERNET = 1
SYNTHESISED = (
    "The Ethernet, IP and TCP layers of this file are synthesised around recorded iSCSI bytes; addresses, ports and times"
    " are the run's own, sequence numbers and acknowledgements are not."
)
SETTINGS_PREFIX = "initiator settings: "

_BYTES = "bytes"
_COMMENT = 1
_APPLICATION = 4
_INTERFACE_NAME = 2
_RESOLUTION = 9
_TIME_OFFSET = 14
_NANOSECONDS = 10**9


@dataclass(frozen=True, slots=True)
class Section:
    """A section header: what wrote the file, and the comments on all of it."""

    application: str = ""
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface: link type (1 = Ethernet), snap length in bytes (0 = none), clock ticks a second, offset in seconds."""

    link_type: int = LINK_TYPE_ETHERNET
    snap_length: int = 0
    ticks_per_second: int = 10**6
    offset: int = 0
    name: str = ""
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured frame. number: from 1, as Wireshark counts; time_ns: since the epoch, None where the block has none;
    original_length: bytes on the wire, of which `data` may be the start.
    """

    number: int
    time_ns: int | None
    interface: Interface
    data: bytes
    original_length: int
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of an interface; only the comments are of use here."""

    comments: tuple[str, ...] = ()


Item = Section | Interface | Packet | Statistics


def read(stream: BinaryIO) -> Iterator[Item]:
    """What a pcapng file holds, in its order. Raises PcapngError (NotPcapng, UnsupportedVersion, BadBlock,
    TruncatedFile) after everything before the fault was yielded.
    """
    interfaces: list[Interface] = []
    number = 0
    for block in read_blocks(stream):
        match block.block_type:
            case BlockType.SECTION_HEADER:
                interfaces = []
                yield _section(block)
            case BlockType.INTERFACE_DESCRIPTION:
                interfaces.append(_interface(block))
                yield interfaces[-1]
            case BlockType.ENHANCED_PACKET | BlockType.OBSOLETE_PACKET | BlockType.SIMPLE_PACKET:
                number += 1
                yield _packet(block, number, interfaces)
            case BlockType.INTERFACE_STATISTICS:
                yield Statistics(_comments(block, 12))
            case _:
                pass


def read_packets(stream: BinaryIO) -> Iterator[Packet]:
    """The packets of a pcapng file. Raises as `read` does."""
    return (item for item in read(stream) if isinstance(item, Packet))


def _texts(options: Iterable[tuple[int, bytes]], wanted: int) -> tuple[str, ...]:
    return tuple(value.decode("utf-8", "replace") for code, value in options if code == wanted)


def _comments(block: Block, start: int) -> tuple[str, ...]:
    return _texts(block.options(start), _COMMENT)


def _section(block: Block) -> Section:
    major, _minor = block.unpack("HH", 4)
    if major != 1:
        raise UnsupportedVersion(block.offset, f"a section of pcapng version {major}")
    options = list(block.options(16))
    return Section(next(iter(_texts(options, _APPLICATION)), ""), _texts(options, _COMMENT))


def _interface(block: Block) -> Interface:
    link_type, _reserved, snap_length = block.unpack("HHI")
    options = list(block.options(8))
    ticks, offset = 10**6, 0
    for code, value in options:
        if code == _RESOLUTION and len(value) == 1:
            ticks = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
        elif code == _TIME_OFFSET and len(value) == 8:
            offset = int.from_bytes(value, "little" if block.order == "<" else "big", signed=True)
    name = next(iter(_texts(options, _INTERFACE_NAME)), "")
    return Interface(link_type, snap_length, ticks, offset, name, _texts(options, _COMMENT))


def _packet(block: Block, number: int, interfaces: list[Interface]) -> Packet:
    """A packet of any of the three kinds. Raises BadBlock for one that its interface or its length does not bear out."""
    ticks: int | None = None
    index = 0
    match block.block_type:
        case BlockType.SIMPLE_PACKET:
            (original,) = block.unpack("I")
            start = 4
            captured = min(original, interfaces[0].snap_length or original) if interfaces else original
        case BlockType.OBSOLETE_PACKET:
            index, _drops, high, low, captured, original = block.unpack("HHIIII")
            start, ticks = 20, high << 32 | low
        case _:
            index, high, low, captured, original = block.unpack("IIIII")
            start, ticks = 20, high << 32 | low
    if index >= len(interfaces):
        raise BadBlock(block.offset, f"a packet of interface {index}, of which there is no description")
    if start + captured > len(block.body):
        raise BadBlock(block.offset, f"a packet claims {captured} bytes, its block has {len(block.body) - start}")
    interface = interfaces[index]
    time_ns = None
    if ticks is not None:
        time_ns = ticks * _NANOSECONDS // interface.ticks_per_second + interface.offset * _NANOSECONDS
    data = block.body[start : start + captured]
    simple = block.block_type == BlockType.SIMPLE_PACKET
    comments = () if simple else _comments(block, start + captured + (-captured & 3))
    return Packet(number, time_ns, interface, data, original, comments)


class PcapngWriter:
    """Writes one section with nanosecond interfaces to a binary stream that the caller opens and closes."""

    def __init__(self, stream: BinaryIO, *, application: str = "", comments: Iterable[str] = ()) -> None:
        """Write the section header. Raises ValueError for a text above 65535 bytes."""
        self._stream = stream
        self._interfaces = 0
        options = [*_comment_options(comments), *([(_APPLICATION, application.encode())] if application else [])]
        header = BYTE_ORDER_MAGIC.to_bytes(4, "little") + b"\1\0\0\0" + b"\xff" * 8
        self._put(BlockType.SECTION_HEADER, header, encode_options(options))

    def add_interface(
        self, *, link_type: int = LINK_TYPE_ETHERNET, name: str = "", comments: Iterable[str] = ()
    ) -> int:
        """Describe an interface; the number to write its packets with."""
        options = [
            *_comment_options(comments),
            *([(_INTERFACE_NAME, name.encode())] if name else []),
            (_RESOLUTION, b"\x09"),
        ]
        body = link_type.to_bytes(2, "little") + bytes(6)
        self._put(BlockType.INTERFACE_DESCRIPTION, body, encode_options(options))
        self._interfaces += 1
        return self._interfaces - 1

    def write_packet(
        self,
        time_ns: int,
        data: bytes,
        *,
        interface: int = 0,
        original_length: int | None = None,
        comments: Iterable[str] = (),
    ) -> None:
        """Write a packet at a time in nanoseconds since the epoch, not below 0. original_length None: nothing was cut off.

        Raises ValueError for an interface not yet described, a negative time, or a text above 65535 bytes.
        """
        if not 0 <= interface < self._interfaces:
            raise ValueError(f"interface {interface} is not described")
        if time_ns < 0:
            raise ValueError("a packet before the epoch")
        length = len(data)
        head = b"".join(
            number.to_bytes(4, "little")
            for number in (
                interface,
                time_ns >> 32,
                time_ns & 0xFFFFFFFF,
                length,
                length if original_length is None else original_length,
            )
        )
        options = encode_options(_comment_options(comments))
        self._put(BlockType.ENHANCED_PACKET, head, data, bytes(-length & 3), options)

    def write_statistics(self, time_ns: int, *, interface: int = 0, comments: Iterable[str] = ()) -> None:
        """Write an interface statistics block, which is where a comment goes that has no packet left to stand on."""
        words = (interface, time_ns >> 32, time_ns & 0xFFFFFFFF)
        head = b"".join(word.to_bytes(4, "little") for word in words)
        self._put(BlockType.INTERFACE_STATISTICS, head, encode_options(_comment_options(comments)))

    def _put(self, block_type: BlockType, *parts: bytes) -> None:
        self._stream.write(encode_block(block_type, *parts))


def _comment_options(comments: Iterable[str]) -> list[tuple[int, bytes]]:
    return [(_COMMENT, comment.encode("utf-8", "replace")) for comment in comments]


def settings_comment(settings: Mapping[str, object]) -> str:
    """The comment that carries an initiator's settings, as JSON: bytes as an object with their hex digits, other values
    that JSON has no form for as text.
    """
    return SETTINGS_PREFIX + json.dumps(dict(settings), sort_keys=True, default=_plain)


def _plain(value: object) -> object:
    return {_BYTES: value.hex()} if isinstance(value, bytes) else str(value)


def _bytes_again(value: dict[str, Any]) -> Any:
    if value.keys() != {_BYTES} or not isinstance(value[_BYTES], str):
        return value
    return bytes.fromhex(value[_BYTES])


def settings_in(comment: str) -> dict[str, Any] | None:
    """The settings in such a comment, None where it carries none."""
    if not comment.startswith(SETTINGS_PREFIX):
        return None
    try:
        settings = json.loads(comment.removeprefix(SETTINGS_PREFIX), object_hook=_bytes_again)
    except ValueError:
        return None
    return settings if isinstance(settings, dict) else None


class PcapngRecorder:
    """A history tap that writes what it is handed to a pcapng file at once.

    `comment` says whose file it is (a case's id). Settings that come before anything else stand in the section's
    comments, later ones on the next packet. Packet times are the records' times and never go back.
    """

    def __init__(self, path: Path | str, *, comment: str | None = None) -> None:
        """Create the file. Raises OSError, and ValueError for a comment above 65535 bytes."""
        self._comments = [*([comment] if comment else []), SYNTHESISED]
        encode_options(_comment_options(self._comments))
        self._stream: BinaryIO = Path(path).open("wb")  # noqa: SIM115 - closed by close()
        self._writer: PcapngWriter | None = None
        self._synthesis = TcpSynthesis()
        self._time_ns = 0
        self._closed = False

    def record(self, record: Record) -> None:
        """Write one record. Raises OSError when it cannot be written, ValueError after `close` or for settings whose JSON
        is above 65535 bytes.
        """
        if self._closed:
            raise ValueError("the recording is closed")
        if isinstance(record, SettingsRecord):
            comment = settings_comment(record.settings)
            encode_options(_comment_options([comment]))
            self._comments.append(comment)
        else:
            self._write(self._synthesis.record(record))
            self._comments += self._synthesis.take_comments()

    def close(self) -> None:
        """Write what was held back and close the file. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._write(self._synthesis.flush())
            writer = self._open_section()
            self._comments += self._synthesis.take_comments()
            if self._comments:
                writer.write_statistics(self._time_ns, comments=self._comments)
        finally:
            self._stream.close()

    def __enter__(self) -> Self:
        """The recorder itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _open_section(self) -> PcapngWriter:
        if self._writer is None:
            self._writer = PcapngWriter(self._stream, application="iscsi-conformance", comments=self._comments)
            self._writer.add_interface(name="synthesised")
            self._comments = []
        return self._writer

    def _write(self, frames: Iterable[tuple[float, bytes, tuple[str, ...]]]) -> None:
        writer = self._open_section()
        for time, frame, comments in frames:
            self._time_ns = max(self._time_ns, round(time * _NANOSECONDS))
            writer.write_packet(self._time_ns, frame, comments=(*self._comments, *comments))
            self._comments.clear()


__all__ = [
    "LINK_TYPE_ETHERNET",
    "SETTINGS_PREFIX",
    "SYNTHESISED",
    "BadBlock",
    "Interface",
    "Item",
    "NotPcapng",
    "Packet",
    "PcapngError",
    "PcapngRecorder",
    "PcapngWriter",
    "Section",
    "Statistics",
    "TruncatedFile",
    "UnsupportedVersion",
    "read",
    "read_packets",
    "settings_comment",
    "settings_in",
]
