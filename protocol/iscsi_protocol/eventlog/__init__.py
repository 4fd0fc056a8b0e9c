"""The driver's events: which there are, their packets, and what stands in them (guide, Appendix B)."""

from __future__ import annotations

from iscsi_protocol.eventlog.dump import address, words
from iscsi_protocol.eventlog.entry import LogError, LoggedEvent, parse_line
from iscsi_protocol.eventlog.explain import details, explain
from iscsi_protocol.eventlog.parts import Detail, Part
from iscsi_protocol.eventlog.record import HEADER_LENGTH, MAX_EXTRA, EventRecord, RecordError
from iscsi_protocol.eventlog.rows import EVENTS, SOURCE, Dump, EventRow, Severity

__all__ = [
    "EVENTS",
    "HEADER_LENGTH",
    "MAX_EXTRA",
    "SOURCE",
    "Detail",
    "Dump",
    "EventRecord",
    "EventRow",
    "LogError",
    "LoggedEvent",
    "Part",
    "RecordError",
    "Severity",
    "address",
    "details",
    "explain",
    "parse_line",
    "words",
]
