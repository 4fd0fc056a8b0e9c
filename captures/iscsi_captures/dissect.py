"""scapy's view of the PDUs of a capture, each with its frames."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from iscsi_captures.layers import ISCSI
from iscsi_captures.legible import legible
from iscsi_captures.login_digests import Digests
from iscsi_captures.reading import FrameNumber, FrameRef, Source, frame_of, read
from iscsi_captures.reading.notes import Note
from iscsi_protocol.history import BytesRecord, PduRecord, Record
from iscsi_protocol.stream import Direction

BYTES_SHOWN = 256

Show = Callable[[str], None]


class _Enough(Exception):
    """As many PDUs were printed as were asked for."""


class _Printer:
    """A sink that prints PDUs, and what is no PDU."""

    def __init__(self, show: Show, frame: int | None, count: int | None) -> None:
        self._show = show
        self._frame = frame
        self._left = count

    def record(self, record: Record, first: FrameNumber, last: FrameNumber) -> None:
        """Print a record that is asked for. Raises _Enough."""
        if not isinstance(record, PduRecord | BytesRecord):
            return
        begin, end = frame_of(first), frame_of(last)
        if self._frame is not None and not begin.number <= self._frame <= end.number:
            return
        self._show(_head(record, begin, end))
        self._show(_body(record))
        if self._left is not None:
            self._left -= 1
            if not self._left:
                raise _Enough

    def note(self, note: Note) -> None:
        """What is below iSCSI is not printed."""


def dissect(
    source: Source, show: Show, *, frame: int | None = None, count: int | None = None, port: int | None = None
) -> None:
    """Hand the text of each PDU to `show`. Raises CaptureError.

    frame: only PDUs that this frame has a part of. count: no more than so many. port: as for `read`.
    """
    with suppress(_Enough):
        read([source], _Printer(show, frame, count), port=port)


def _head(record: PduRecord | BytesRecord, first: FrameRef, last: FrameRef) -> str:
    frames = f"frame {last.number}" if first == last else f"frames {first.number} to {last.number}"
    way = "to the target" if record.direction is Direction.TO_TARGET else "to the initiator"
    return f"{frames}, {record.time:.6f} s, connection {record.connection}, {way}"


def _body(record: PduRecord | BytesRecord) -> str:
    if isinstance(record, BytesRecord):
        more = " ..." if len(record.data) > BYTES_SHOWN else ""
        return (
            f"{len(record.data)} bytes that are no PDU ({record.reason}): {record.data[:BYTES_SHOWN].hex(' ')}{more}\n"
        )
    raw = record.raw
    digests = Digests(header=bool(len(raw.header_digest)), data=bool(len(raw.data_digest)))
    return legible(str(ISCSI(raw.to_bytes(), digests=digests).show(dump=True)))
