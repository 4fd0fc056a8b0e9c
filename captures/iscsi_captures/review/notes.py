"""What is made of the facts below iSCSI: gaps of the capture, lines of the timeline, and what advice goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_captures.reading import frame_of
from iscsi_captures.reading import notes as facts
from iscsi_captures.reading.notes import Note
from iscsi_captures.review.facts import UNANSWERED_KEPT, Sighting
from iscsi_captures.review.model import Digests, Gap
from iscsi_captures.review.shown import WAYS
from iscsi_captures.review.thresholds import STALL_LONG_RANGE, STALL_SHORT_RANGE, STORM, STORM_SECONDS, ZERO_WINDOW

if TYPE_CHECKING:
    from iscsi_captures.review.reviewer import Reviewer
    from iscsi_captures.review.watch import Watch

_STALLS = (("stall of 40 ms", STALL_SHORT_RANGE), ("stall of 200 ms", STALL_LONG_RANGE))
_STORM = int(STORM.value)


def take(reviewer: Reviewer, note: Note) -> None:
    """A note that the reading hands out."""
    _gap(reviewer, note)
    if isinstance(note, facts.Pause):
        _pause(reviewer, note)
        return
    if isinstance(note, facts.SynUnanswered):
        place = _place(note)
        if len(reviewer.part.unanswered) < UNANSWERED_KEPT:
            kept = reviewer.part.unanswered.setdefault(note.endpoint, place)
            kept.most = max(kept.most, note.tries)
    if isinstance(note, facts.Recognised):
        reviewer.recognised(note.connection, note.time, note.frame)
    elif note.connection:
        _connection(reviewer, reviewer.watch_of(note.connection, note.time, note.frame), note)


def _place(note: Note) -> Sighting:
    return Sighting(note.connection, note.frame, note.frame, note.time)


def _pause(reviewer: Reviewer, note: facts.Pause) -> None:
    if not note.quanta:
        return
    if reviewer.part.paused is None:
        reviewer.part.paused = _place(note)
    else:
        reviewer.part.paused.count += 1
    reviewer.part.paused.most = max(reviewer.part.paused.most, note.quanta)


def _connection(reviewer: Reviewer, watch: Watch, note: Note) -> None:
    """What advice on one connection goes by."""
    seen = watch.facts

    def place() -> Sighting:
        return _place(note)

    match note:
        case facts.Handshake(mss=int(mss)):
            if seen.segment is None or mss < seen.segment:
                seen.segment, seen.syn = mss, place()
        case facts.Retransmitted():
            seen.see("retransmission", place, note.bytes)
            recent = watch.retransmissions
            recent.append(note.time)
            if len(recent) == _STORM and note.time - recent[0] <= STORM_SECONDS.value:
                seen.see("storm", place)
                recent.clear()
        case facts.WindowOpened() if note.after >= ZERO_WINDOW.value:
            seen.see("zero window", place, note.after)
        case facts.DelayedAck():
            for name, (least, most) in _STALLS:
                if least <= note.milliseconds <= most:
                    seen.see(name, place, note.milliseconds)
        case facts.DigestsInferred():
            watch.digests = Digests(header=note.header, data=note.data, known="inferred", confidence=note.confidence)
        case facts.Reset() if watch.tell_once("reset"):
            what = f"RST, {note.bytes_in_flight} bytes not acknowledged"
            reviewer.tell(note.time, note.frame, note.connection, "reset", what)
        case _:
            pass


def _gap(reviewer: Reviewer, note: Note) -> None:
    """What the capture lacks, or has otherwise than it was on the wire."""
    told = _told(note)
    if told is None:
        return
    kind, size, message = told
    reviewer.gap(
        Gap(
            kind=kind,
            connection=note.connection or None,
            way=None if note.direction is None else WAYS[note.direction],
            frame=frame_of(note.frame),
            time=note.time,
            bytes=size,
            message=message,
        )
    )


def _told(note: Note) -> tuple[str, int | None, str] | None:
    """Kind, bytes and message of a gap; None for a note that tells of none."""
    match note:
        case facts.Missing():
            size = "bytes" if note.bytes is None else f"{note.bytes} bytes"
            filled = ", data of a read or write that zeros stand for" if note.filled else ""
            return "missing bytes", note.bytes, f"{size} of the stream are not in the capture{filled}"
        case facts.Resynchronised():
            found = f"the next PDU was found behind {note.skipped} bytes"
            return "resynchronised", note.skipped, f"{found} (confidence {note.confidence:.2f})"
        case facts.OverlapDiffers():
            was, now = note.old.hex(), note.new.hex()
            return "overlap differs", note.bytes, f"bytes were sent again as others: {was} first, then {now}"
        case facts.StartMissing():
            return "start missing", None, "the connection was open when the capture began"
        case facts.EndMissing():
            return "end missing", None, "the connection was open when the capture ended"
        case facts.OneSided():
            return "one-sided", None, "only the segments of one direction are in the capture"
        case facts.Truncated():
            cut = note.wire_length - note.snap_length
            return "snap length", cut, f"packets were cut: {note.snap_length} of {note.wire_length} bytes"
        case facts.FragmentsLost():
            return "fragments lost", None, f"{note.datagrams} IP datagrams were never whole"
        case facts.FileDamaged():
            return "file damaged", None, note.message
        case facts.UnknownLink():
            return "unknown link", None, f"{note.packets} packets of link type {note.link_type} were not read"
        case facts.BufferFull():
            return "too much at once", note.bytes, f"{note.bytes} bytes waited for others and were given up"
        case _:
            return None
