"""The same packets once more, with each finding as a comment on its packet, so that Wireshark shows it in place.

Blocks and options of a pcapng file stay as they are, byte for byte, in the byte order of their section; a pcap file
becomes a pcapng with the same packets and times. One output for each input, so that frame numbers stay those of the
review. It is written under another name and renamed when it is whole.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from iscsi_captures.blocks import (
    BYTE_ORDER_MAGIC,
    LARGEST_BLOCK,
    LONGEST_OPTION,
    Block,
    BlockType,
    ByteOrder,
    PcapngError,
    encode_block,
    encode_options,
    read_blocks,
)
from iscsi_captures.legible import legible
from iscsi_captures.reading import CaptureError, Source
from iscsi_captures.reading.files import PIECE, Input
from iscsi_captures.reading.packets import LARGEST_PACKET, PCAP_MAGICS
from iscsi_captures.review.model import Review, ReviewFinding

Comments = Mapping[int, Sequence[str]]
"""Frame number → texts; 0 is the file as a whole."""

SUFFIX = ".annotated.pcapng"
_COMMENT = 1
_RESOLUTION = 9
_PACKETS = (BlockType.ENHANCED_PACKET, BlockType.OBSOLETE_PACKET, BlockType.SIMPLE_PACKET)
_SECTION_MAGIC = b"\x0a\x0d\x0d\x0a"
_UNKNOWN_LENGTH = b"\xff" * 8
_PACKET_HEADER = 20
_SPARE = 64
"""Bytes of a largest block that no comment takes: lengths, end mark, header of a packet."""


def annotate(sources: Sequence[Source], review: Review, out: Path) -> int:
    """Write the reviewed files with their findings as comments; how many findings stand in them.

    sources: as they were reviewed, in that order. One: `out` is the file. Several: `out` is a folder, which is made where it
    is missing, and NAME.annotated.pcapng in it the file of each. A damaged file is copied up to the damage. Raises
    CaptureError for a source that cannot be read once more, or that would be overwritten, and OSError.
    """
    paths = [_path(source) for source in sources]
    outputs = [out] if len(paths) == 1 else _outputs(paths, out)
    for output in outputs:
        for path in paths:
            if output.exists() and path.exists() and output.samefile(path):
                raise CaptureError(f"{output}: is one of the reviewed files, and stays as it is")
    if len(paths) > 1:
        out.mkdir(parents=True, exist_ok=True)
    return sum(
        _write(path, comments_for(review, index), output)
        for index, (path, output) in enumerate(zip(paths, outputs, strict=True))
    )


def comments_for(review: Review, file: int) -> dict[int, list[str]]:
    """The comments of one file by frame, in the order of the findings."""
    comments: dict[int, list[str]] = {}
    for finding in review.findings:
        if finding.frame.file == file:
            comments.setdefault(finding.frame.number, []).append(comment_text(finding))
    return comments


def comment_text(finding: ReviewFinding) -> str:
    """A finding in a line: level, who, rule, clause, message, meaning. Cut to what an option holds."""
    clause = "" if finding.clause == "-" else f" ({finding.clause})"
    text = f"{finding.level}, {finding.role}, {finding.rule}{clause}: {finding.message}"
    if finding.meaning:
        text += f". {finding.meaning}"
    line = " ".join(legible(text).split())
    return line.encode()[:LONGEST_OPTION].decode(errors="ignore")


class Annotator:
    """Makes the blocks of the output for one file. written: comments that found their place so far."""

    def __init__(self, comments: Comments) -> None:
        self.written = 0
        self._comments = comments

    def blocks(self, source: Input) -> Iterator[bytes]:
        """All of the output; damage ends it. Raises CaptureError for what is no capture."""
        stream = io.BufferedReader(_Pieces(source), PIECE)
        magic = stream.peek(4)[:4]
        if magic in PCAP_MAGICS:
            yield from self._converted(stream, *PCAP_MAGICS[magic])
        elif magic == _SECTION_MAGIC:
            # Where it cannot be read on was told by the review; what came before is whole.
            with suppress(PcapngError):
                yield from self._copied(stream)
        else:
            raise CaptureError(f"{source.name}: neither pcap nor pcapng")

    def _copied(self, stream: BinaryIO) -> Iterator[bytes]:
        number, sections, snap_length = 0, 0, 0
        first = False
        for block in read_blocks(stream):
            kind, body = block.block_type, block.body
            if kind == BlockType.SECTION_HEADER:
                if self._comments:
                    # The section's length may be given, and would be wrong with comments in it.
                    body = body[:8] + _UNKNOWN_LENGTH + body[16:]
                if not sections:
                    body = self._with(block, body, 0, 16)
                sections, first = sections + 1, True
            elif kind == BlockType.INTERFACE_DESCRIPTION and first:
                snap_length, first = block.unpack("4xI")[0], False
            elif kind in _PACKETS:
                number += 1
                if number in self._comments:
                    kind, body = self._packet(block, number, snap_length)
            yield encode_block(kind, body, order=block.order)

    def _packet(self, block: Block, number: int, snap_length: int) -> tuple[int, bytes]:
        """Type and body of a packet's block with its comments. One that contradicts itself stays as it is."""
        body = block.body
        if block.block_type == BlockType.SIMPLE_PACKET:
            # Such a block has no place for options, and no time; the other kind has to give one.
            (length,) = block.unpack("I")
            captured = min(length, snap_length or length, len(body) - 4)
            body = struct.pack(block.order + "5I", 0, 0, 0, captured, length) + body[4:]
            return BlockType.ENHANCED_PACKET, self._with(block, body, number, len(body))
        (captured,) = block.unpack("I", 12)
        end = _PACKET_HEADER + captured + (-captured & 3)
        return block.block_type, body if end > len(body) else self._with(block, body, number, end)

    def _with(self, block: Block, body: bytes, number: int, at: int) -> bytes:
        """The body with this frame's comments before the options that begin there."""
        options = self._options(number, LARGEST_BLOCK - len(body), block.order)
        rest = body[at:]
        return body[:at] + (options[:-4] if rest else options) + rest

    def _options(self, number: int, room: int, order: ByteOrder = "<") -> bytes:
        """A frame's comments as options with the end mark, as many as there is room for."""
        values = []
        for text in self._comments.get(number, ()):
            value = text.encode()
            room -= len(value) + 8
            if room < _SPARE:
                break
            values.append((_COMMENT, value))
        self.written += len(values)
        return encode_options(values, order)

    def _converted(self, stream: BinaryIO, order: ByteOrder, ticks: int) -> Iterator[bytes]:
        """A pcap file as a section with one interface of the same resolution."""
        head = stream.read(24)
        if len(head) < 24:
            return
        snap_length, link = struct.unpack(order + "16xII", head)
        yield encode_block(
            BlockType.SECTION_HEADER,
            struct.pack("<IHH", BYTE_ORDER_MAGIC, 1, 0) + _UNKNOWN_LENGTH,
            self._options(0, LARGEST_BLOCK - 24),
        )
        yield encode_block(
            BlockType.INTERFACE_DESCRIPTION,
            struct.pack("<HHI", link & 0xFFFF, 0, snap_length),
            encode_options([(_RESOLUTION, bytes((len(str(ticks)) - 1,)))]),
        )
        number = 0
        while len(head := stream.read(16)) == 16:
            seconds, fraction, captured, length = struct.unpack(order + "4I", head)
            if captured > LARGEST_PACKET or len(data := stream.read(captured)) < captured:
                return
            number += 1
            time = seconds * ticks + fraction
            yield encode_block(
                BlockType.ENHANCED_PACKET,
                struct.pack("<5I", 0, time >> 32, time & 0xFFFFFFFF, captured, length),
                data,
                bytes(-captured & 3),
                self._options(number, LARGEST_BLOCK - captured - 36),
            )


class _Pieces(io.RawIOBase):
    """A source as a raw stream."""

    def __init__(self, source: Input) -> None:
        super().__init__()
        self._source = source
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill some of the buffer; 0 at the end."""
        if not self._piece:
            self._piece = memoryview(self._source.read())
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size


def _path(source: Source) -> Path:
    if source == "-" or not isinstance(source, str | Path):
        raise CaptureError("a stream is gone once it is reviewed: only files can be annotated")
    return Path(source)


def _outputs(paths: Sequence[Path], folder: Path) -> list[Path]:
    """A name for each file in the folder; what bears the same name as another one gets a number."""
    if folder.exists() and not folder.is_dir():
        raise CaptureError(f"{folder}: several files go into a folder, and this is none")
    seen: Counter[str] = Counter()
    outputs = []
    for path in paths:
        name = _stem(path.name)
        seen[name] += 1
        outputs.append(folder / f"{name}{f'-{seen[name]}' if seen[name] > 1 else ''}{SUFFIX}")
    return outputs


def _stem(name: str) -> str:
    for suffix in (".gz", ".zst", ".pcapng", ".pcap", ".cap"):
        name = name.removesuffix(suffix)
    return name


def _write(path: Path, comments: Comments, output: Path) -> int:
    annotator = Annotator(comments)
    source = Input(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{output.name}.", suffix=".part", dir=output.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.writelines(annotator.blocks(source))
            # Whoever may not read the capture may not read the copy.
            shutil.copymode(path, name)
            Path(name).replace(output)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    finally:
        source.close()
    return annotator.written
