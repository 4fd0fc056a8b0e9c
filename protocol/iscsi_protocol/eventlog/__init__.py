"""The driver's events: which there are, their packets, and what stands in them (guide, Appendix B)."""

from __future__ import annotations

from iscsi_protocol.eventlog.dump import address, words
from iscsi_protocol.eventlog.entry import LogError, LoggedEvent, parse_line
from iscsi_protocol.eventlog.explain import details, explain
from iscsi_protocol.eventlog.parts import Detail, Part
from iscsi_protocol.eventlog.record import FIELDS, HEADER_LENGTH, MAX_EXTRA, EventRecord, PacketField, RecordError
from iscsi_protocol.eventlog.rows import EVENTS, SECRETS, SOURCE, Dump, EventRow, Severity
from iscsi_protocol.eventlog.service_rows import SERVICE_EVENTS, SERVICE_SOURCE, SYNTHETIC, ServiceRow

__all__ = [
    "EVENTS",
    "FIELDS",
    "HEADER_LENGTH",
    "MAX_EXTRA",
    "SECRETS",
    "SERVICE_EVENTS",
    "SERVICE_SOURCE",
    "SOURCE",
    "SYNTHETIC",
    "Detail",
    "Dump",
    "EventRecord",
    "EventRow",
    "LogError",
    "LoggedEvent",
    "PacketField",
    "Part",
    "RecordError",
    "ServiceRow",
    "Severity",
    "address",
    "details",
    "explain",
    "parse_line",
    "words",
]
