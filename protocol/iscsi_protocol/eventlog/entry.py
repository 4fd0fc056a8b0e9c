"""An event as a line of the log: one JSON object, whose packet is what counts; the words beside it are for people.

{"time": "2026-01-31T12:00:00.000000+00:00", "source": "iScsiPrt", "id": 20, "severity": "error", "sequence": 7,
 "message": "...", "text": "what was wrong, where the initiator can tell", "data": "the extra data in words",
 "dump": "hex of the whole packet"}

An event of the service has the source "MSiSCSI", no extra data, and besides its insertion strings in "inserts".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from iscsi_protocol.eventlog.explain import explain
from iscsi_protocol.eventlog.record import EventRecord, RecordError
from iscsi_protocol.eventlog.rows import EVENTS, SOURCE, EventRow, Severity
from iscsi_protocol.eventlog.service_rows import SERVICE_EVENTS, SERVICE_SOURCE, ServiceRow

_BEGINNING = b'{"time": "'


class LogError(ValueError):
    """A line that is no event. line: its number, from 1; reason: in words; torn: it is the beginning of one."""

    def __init__(self, line: int, reason: str, *, torn: bool = False) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason
        self.torn = torn


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event with the wall-clock time (aware) at which it was logged. text: what was wrong just then, in words;
    source: SOURCE or SERVICE_SOURCE; inserts: the strings of a service's event.
    """

    time: datetime
    record: EventRecord
    text: str = ""
    source: str = SOURCE
    inserts: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        """The severity in words; as a number where it is none of the three."""
        severity = self.record.severity
        return severity.name.lower() if isinstance(severity, Severity) else f"{severity:#04x}"

    @property
    def message(self) -> str:
        """What the event says."""
        rows: Mapping[int, EventRow | ServiceRow] = SERVICE_EVENTS if self.source == SERVICE_SOURCE else EVENTS
        row = rows.get(self.record.id)
        return row.message if row else f"event {self.record.id}"

    def as_json(self) -> dict[str, object]:
        """The object that stands in the log."""
        record = self.record
        service = self.source == SERVICE_SOURCE
        return {
            "time": self.time.isoformat(timespec="microseconds"),
            "source": self.source,
            "id": record.id,
            "severity": self.severity,
            "sequence": record.sequence,
            "message": self.message,
            "text": self.text,
            "data": ", ".join(self.inserts) if service else explain(record.id, record.extra),
            "dump": record.encode().hex(),
        } | ({"inserts": list(self.inserts)} if service else {})

    def line(self) -> bytes:
        """The line, with its end; ASCII throughout."""
        return json.dumps(self.as_json()).encode() + b"\n"


def parse_line(source: str | bytes, line: int = 1) -> LoggedEvent:
    """The event in a line of a log. line: the number for the error. Raises LogError."""
    try:
        entry = json.loads(source)
    except (ValueError, RecursionError) as error:
        raw = source.encode("utf-8", "surrogateescape") if isinstance(source, str) else source
        if raw.startswith(_BEGINNING) or _BEGINNING.startswith(raw):
            raise LogError(line, "the line breaks off", torn=True) from error
        raise LogError(line, f"no event ({error})") from error
    try:
        time = datetime.fromisoformat(entry["time"])
        record = EventRecord.decode(bytes.fromhex(entry["dump"]))
        text = entry.get("text", "")
        source = entry.get("source", SOURCE)
        inserts = tuple(entry.get("inserts", ()))
    except (ValueError, LookupError, TypeError, AttributeError, RecordError) as error:
        raise LogError(line, f"no event ({error})") from error
    if time.tzinfo is None:
        raise LogError(line, "no event (its time has no zone)")
    if not isinstance(text, str):
        raise LogError(line, "no event (its text is none)")
    if source not in (SOURCE, SERVICE_SOURCE) or not all(isinstance(each, str) for each in inserts):
        raise LogError(line, "no event (its source, or a string of it, is none)")
    return LoggedEvent(time, record, text, source, inserts)
