"""The log as a file of JSON Lines: one object an event, written whole and flushed, so that a follower sees whole lines.

{"time": "2026-01-31T12:00:00.000000+00:00", "source": "iScsiPrt", "id": 20, "severity": "error", "sequence": 7,
 "message": "...", "data": "the extra data in words", "dump": "hex of the whole packet"}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from iscsi_initiator.eventlog.dump import explain
from iscsi_initiator.eventlog.record import EventRecord, RecordError
from iscsi_initiator.eventlog.rows import EVENTS, Severity


class LogError(ValueError):
    """A line that is no event. line: its number, from 1; reason: in words."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event with the wall-clock time (aware) at which it was logged."""

    time: datetime
    record: EventRecord

    def as_json(self) -> dict[str, object]:
        """The object that stands in the log."""
        record = self.record
        row = EVENTS.get(record.id)
        severity = record.severity
        return {
            "time": self.time.isoformat(timespec="microseconds"),
            "source": record.source,
            "id": record.id,
            "severity": severity.name.lower() if isinstance(severity, Severity) else severity,
            "sequence": record.sequence,
            "message": row.message if row else f"event {record.id}",
            "data": explain(record.id, record.extra),
            "dump": record.encode().hex(),
        }


class EventLogWriter:
    """Appends events to a file, which is made, with its folder, at the first event. Raises OSError as they do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None
        self._sequence = 0

    def write(self, event_id: int, extra: bytes, wall: float) -> LoggedEvent:
        """Log a driver event. wall: seconds since 1970, UTC."""
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        self._sequence += 1
        record = EventRecord.of(event_id, extra, sequence=self._sequence)
        event = LoggedEvent(datetime.fromtimestamp(wall, UTC), record)
        self._file.write(json.dumps(event.as_json()) + "\n")
        self._file.flush()
        return event

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None


def parse_line(text: str, line: int = 1) -> LoggedEvent:
    """One line of a log. The packet is what counts; the words beside it are for people. Raises LogError."""
    try:
        entry = json.loads(text)
        time = datetime.fromisoformat(entry["time"])
        record = EventRecord.decode(bytes.fromhex(entry["dump"]))
    except (ValueError, KeyError, TypeError, RecordError) as error:
        raise LogError(line, f"no event ({error})") from error
    return LoggedEvent(time, record)


def read_log(lines: Iterable[str]) -> Iterator[LoggedEvent]:
    """The events in the lines of a log, blank lines passed over. Raises LogError."""
    for number, text in enumerate(lines, 1):
        if text.strip():
            yield parse_line(text, number)
