"""What a case leaves behind: its history, in a bounded ring, and whoever else listens (the rule book, a pcapng file)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from iscsi_captures.describe import all_fields, payload, record_line
from iscsi_protocol.history import BytesRecord, PduRecord, Record, Tap, TransportRecord

RING = 4096
DIALOGUE_LIMIT = 240


class Recorder:
    """A tap that keeps the last records and passes each on to its listeners as it comes."""

    def __init__(self, *listeners: Tap, ring: int = RING) -> None:
        self.records: deque[Record] = deque(maxlen=ring)
        self.count = 0
        self._listeners: list[Tap] = list(listeners)

    def listen(self, listener: Callable[[Record], None]) -> None:
        """Pass every further record on to this listener too."""
        self._listeners.append(listener)

    def record(self, record: Record) -> None:
        """Take a record; usable as a `Tap`."""
        self.count += 1
        self.records.append(record)
        for listener in self._listeners:
            listener(record)

    def dialogue(self) -> list[dict[str, object]]:
        """The records for a report: one row each, decoded, the middle left out where there are too many.

        index: the record's place in the whole history, from 0, though the ring may have lost what came first.
        """
        first = self.count - len(self.records)
        rows = [_row(index, record) for index, record in enumerate(self.records, first)]
        if len(rows) > DIALOGUE_LIMIT:
            left_out = len(rows) - DIALOGUE_LIMIT
            half = DIALOGUE_LIMIT // 2
            gap: dict[str, object] = {"kind": "gap", "line": f"{left_out} records left out here; the capture has them"}
            rows = [*rows[:half], gap, *rows[-half:]]
        return rows


def _row(index: int, record: Record) -> dict[str, object]:
    row: dict[str, object] = {"index": index, "time": round(record.time, 6), "line": record_line(record)}
    match record:
        case PduRecord():
            row |= {
                "kind": "pdu",
                "connection": record.connection,
                "direction": record.direction.name,
                "fields": all_fields(record.raw),
                "bhs": bytes(record.raw.bhs).hex(),
                "payload": payload(record.raw),
            }
        case BytesRecord():
            row |= {"kind": "bytes", "connection": record.connection, "direction": record.direction.name}
            row["payload"] = record.data[:256].hex(" ")
        case TransportRecord():
            row |= {"kind": "transport", "connection": record.connection, "direction": record.direction.name}
        case _:
            row["kind"] = "settings"
    return row
