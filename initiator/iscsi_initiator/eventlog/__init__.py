"""The event log: which events there are, their packets, and the file that they are kept in (guide, Appendix B)."""

from __future__ import annotations

from iscsi_initiator.eventlog.dump import address, explain, words
from iscsi_initiator.eventlog.log import EventLogWriter, LogError, LoggedEvent, parse_line, read_log
from iscsi_initiator.eventlog.record import HEADER_LENGTH, MAX_EXTRA, EventRecord, RecordError
from iscsi_initiator.eventlog.rows import EVENTS, SOURCE, Dump, EventRow, Severity

__all__ = [
    "EVENTS",
    "HEADER_LENGTH",
    "MAX_EXTRA",
    "SOURCE",
    "Dump",
    "EventLogWriter",
    "EventRecord",
    "EventRow",
    "LogError",
    "LoggedEvent",
    "RecordError",
    "Severity",
    "address",
    "explain",
    "parse_line",
    "read_log",
    "words",
]
