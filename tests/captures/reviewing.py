"""Histories made by hand as reviews: each record is a frame of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from iscsi_captures.pcapng import PcapngRecorder
from iscsi_captures.reading import FileFacts, Totals
from iscsi_captures.reading.notes import Note
from iscsi_captures.review.assemble import assemble
from iscsi_captures.review.model import Review, ReviewFinding
from iscsi_captures.review.reviewer import Reviewer
from iscsi_protocol.history import Endpoint, Record, TransportEvent, TransportRecord

START = 1_000_000.0
INITIATOR, TARGET = Endpoint("192.0.2.1", 49152), Endpoint("192.0.2.2", 3260)


def reviewed(records: Sequence[Record], notes: Iterable[Note] = ()) -> Review:
    """The review of these records, the first of which is frame 1, and of notes behind them."""
    reviewer = Reviewer()
    for frame, record in enumerate(records, 1):
        reviewer.record(record, frame, frame)
    for note in notes:
        reviewer.note(note)
    last = max((record.time for record in records), default=0.0)
    part = reviewer.finish(last)
    file = FileFacts(name="made.pcapng", format="pcapng", frames=len(records), bytes=0, first_time=0.0, last_time=last)
    return assemble([part], Totals(packets=len(records), first_time=0.0, last_time=last, files=(file,)))


def advice(review: Review, name: str) -> list[ReviewFinding]:
    """The findings of this piece of advice."""
    return [finding for finding in review.findings if finding.rule == f"advice.{name}"]


def recording(path: Path, records: Iterable[Record]) -> Path:
    """A pcapng file of these records, a day and more after the epoch."""
    with PcapngRecorder(path) as recorder:
        for record in records:
            recorder.record(later(record))
    return path


def later(record: Record) -> Record:
    """The same record at a time that a capture could have; ends are filled in."""
    made = type(record).__new__(type(record))
    for name in record.__dataclass_fields__:
        object.__setattr__(made, name, getattr(record, name))
    object.__setattr__(made, "time", record.time + START)
    if isinstance(record, TransportRecord) and record.event is TransportEvent.CONNECTED and record.initiator is None:
        ends = Endpoint(INITIATOR.host, INITIATOR.port + record.connection), TARGET
        return TransportRecord(record.connection, record.time + START, record.event, *ends)
    return made
