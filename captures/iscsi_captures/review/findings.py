"""From the rule book's findings and events to those of a review: with frames, bounded bytes, the field, and plain words."""

from __future__ import annotations

from functools import cache

from iscsi_captures.catalogue import requirements
from iscsi_captures.reading import FrameNumber, frame_of
from iscsi_captures.review.fields import field_of_rule
from iscsi_captures.review.meanings import meaning_of
from iscsi_captures.review.model import DUMP_KEPT, ReviewEvent, ReviewFinding
from iscsi_captures.review.shown import shown
from iscsi_captures.rulebook import Finding, PredictedEvent
from iscsi_captures.rules import RULES
from iscsi_protocol.eventlog import EVENTS, Severity
from iscsi_protocol.history import PduRecord, Record
from iscsi_protocol.pdu import NO_TAG, RawPdu
from iscsi_protocol.stream import Direction

SEVERITIES = {Severity.INFORMATION: "information", Severity.WARNING: "warning", Severity.ERROR: "error"}


@cache
def says(rule: str) -> str:
    """The sentence of a rule; empty for one that is not in the book."""
    return next((row.says for row in RULES if row.id == rule), "")


def statement(clause: str) -> str:
    """A requirement as the catalogue words it; empty for "-"."""
    row = requirements().get(clause)
    return "" if row is None else row.statement


def task_tag(raw: RawPdu) -> int | None:
    """The Initiator Task Tag, None for the reserved one."""
    tag = raw.initiator_task_tag
    return None if tag == NO_TAG else tag


def finding_of(finding: Finding, record: Record, first: FrameNumber, last: FrameNumber) -> ReviewFinding:
    """A finding at the record that it was made at; its session is not known here."""
    raw = finding.pdu
    direction = record.direction if isinstance(record, PduRecord) else Direction.TO_TARGET
    return ReviewFinding(
        rule=finding.rule,
        clause=finding.clause,
        level=finding.level,
        role="target" if finding.role == "target" else "initiator",
        connection=finding.connection,
        session=None,
        frame=frame_of(last),
        first_frame=frame_of(first),
        time=finding.time,
        pdu=None if raw is None else shown(raw, direction),
        field=None if raw is None else field_of_rule(finding.rule, raw, finding.message),
        message=finding.message,
        says=says(finding.rule),
        statement=statement(finding.clause),
        meaning=meaning_of(finding.rule),
        itt=None if raw is None else task_tag(raw),
        # A list of its own: the ids of events are added as they are predicted.
        events=[],
    )


def event_of(event: PredictedEvent, frame: FrameNumber, finding: int | None) -> ReviewEvent:
    """A predicted event at its frame."""
    row = EVENTS.get(event.id)
    return ReviewEvent(
        source=event.source,
        id=event.id,
        connection=event.connection,
        frame=frame_of(frame),
        time=event.time,
        dump=event.dump[:DUMP_KEPT],
        finding=finding,
        name=f"{event.source} {event.id}",
        severity="" if row is None else SEVERITIES[row.severity],
        meaning="" if row is None else row.message,
    )
