"""What the reading is given, and what it hands out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from iscsi_captures.reading.frames import FrameNumber
from iscsi_captures.reading.notes import Note
from iscsi_protocol.history import Record

Source = str | Path | BinaryIO
"""A path, "-" for standard input, or a binary stream that is open; what a capture still writes is read as it comes."""

ConnectionKey = bytes
"""A TCP connection's two ends, the same for both directions: addresses and ports, the smaller end first."""

Progress = Callable[[int, int | None], None]
"""Called now and then with the bytes of the files that were read, and their sum where it is known."""


class CaptureError(Exception):
    """A file that cannot be read as a capture: one clear line, which names the file."""


class Sink(Protocol):
    """Takes what a capture holds, in the order of cause and effect."""

    def record(self, record: Record, first: FrameNumber, last: FrameNumber) -> None:
        """A record of the history, and the frames that it begins and ends in. Called once a PDU, so it has to be quick.

        Parts of a PDU above a kilobyte may be views of a larger buffer that never changes: whoever keeps the PDU calls
        `raw.kept()`, so that it alone is kept.
        """

    def note(self, note: Note) -> None:
        """Something below iSCSI; seldom."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One file. format: "pcap" or "pcapng", with the compression; frames and bytes as Wireshark counts; times in seconds
    since the epoch, None without packets; damage: why reading ended before the end, None where it did not.
    """

    name: str
    format: str
    frames: int
    bytes: int
    first_time: float | None
    last_time: float | None
    application: str = ""
    comments: tuple[str, ...] = ()
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """packets: frames read; bytes: of the packets as captured; link_types: packets by link type; pdus: by opcode (byte 0,
    mask 0x3f); connections: that are iSCSI; ignored: TCP connections that are not.
    """

    packets: int = 0
    bytes: int = 0
    link_types: Counter[int] = field(default_factory=Counter)
    pdus: Counter[int] = field(default_factory=Counter)
    connections: int = 0
    ignored: int = 0
    first_time: float | None = None
    last_time: float | None = None
    files: tuple[FileFacts, ...] = ()
