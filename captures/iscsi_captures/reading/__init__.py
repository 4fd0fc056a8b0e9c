"""Captures as histories: files → packets → TCP segments → streams of bytes → records.

One pass, bounded memory, linear time. Nothing is judged here: `Sink.record` gets the history's records, `Sink.note` what
the capture shows below iSCSI, gaps included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from iscsi_captures.reading.frames import NO_FRAME, FrameNumber, FrameRef, frame_number, frame_of
from iscsi_captures.reading.notes import Note
from iscsi_captures.reading.sink import CaptureError, ConnectionKey, FileFacts, Progress, Sink, Source, Totals


def read(
    sources: Sequence[Source],
    sink: Sink,
    *,
    port: int | None = None,
    only: Callable[[ConnectionKey], bool] | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Read captures into a sink. Several are merged by time.

    port: connections of this TCP port are iSCSI whatever they look like; others are recognised by their shape. only: leaves
    out the connections it says no to. Raises CaptureError for a source that cannot be opened or is no capture; a file
    that is damaged further on is read up to there, which a note tells.
    """
    raise CaptureError("captures cannot be read yet")


__all__ = [
    "NO_FRAME",
    "CaptureError",
    "ConnectionKey",
    "FileFacts",
    "FrameNumber",
    "FrameRef",
    "Note",
    "Progress",
    "Sink",
    "Source",
    "Totals",
    "frame_number",
    "frame_of",
    "read",
]
