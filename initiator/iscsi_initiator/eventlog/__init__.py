"""The event log: which events there are, their packets, and the file that they are kept in (guide, Appendix B)."""

from __future__ import annotations

from iscsi_initiator.eventlog.dump import address, words
from iscsi_initiator.eventlog.entry import LogError, LoggedEvent, parse_line
from iscsi_initiator.eventlog.explain import details, explain
from iscsi_initiator.eventlog.parts import Detail, Part
from iscsi_initiator.eventlog.reader import LogReader, Remark
from iscsi_initiator.eventlog.record import HEADER_LENGTH, MAX_EXTRA, EventRecord, RecordError
from iscsi_initiator.eventlog.rows import EVENTS, SOURCE, Dump, EventRow, Severity
from iscsi_initiator.eventlog.writer import EventLogWriter

__all__ = [
    "EVENTS",
    "HEADER_LENGTH",
    "MAX_EXTRA",
    "SOURCE",
    "Detail",
    "Dump",
    "EventLogWriter",
    "EventRecord",
    "EventRow",
    "LogError",
    "LogReader",
    "LoggedEvent",
    "Part",
    "RecordError",
    "Remark",
    "Severity",
    "address",
    "details",
    "explain",
    "parse_line",
    "words",
]
