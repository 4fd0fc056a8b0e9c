"""The dump data of a driver event: the Windows I/O error log packet, little-endian, with the extra data behind it.

The guide's example of event 5 is such a packet: its bytes 0x0C to 0x0F, 05 00 00 C0, are severity and id.
"""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_protocol.eventlog.rows import EVENTS, SOURCE, Severity

HEADER_LENGTH = 0x28
MAX_EXTRA = 0xFFFF
"""The packet counts its extra data in 16 bits; what is longer is cut."""


class RecordError(ValueError):
    """Bytes that are no event packet."""


@dataclass(frozen=True, slots=True)
class PacketField:
    """One number of the packet's header, little-endian. offset and width: in bytes."""

    name: str
    offset: int
    width: int

    @property
    def end(self) -> int:
        """The offset behind it."""
        return self.offset + self.width

    def of(self, packet: bytes) -> int:
        """Its value in a packet that reaches to its end."""
        return int.from_bytes(packet[self.offset : self.end], "little")


FIELDS = (
    PacketField("major_function", 0x00, 1),
    PacketField("retry_count", 0x01, 1),
    PacketField("size", 0x02, 2),
    PacketField("number_of_strings", 0x04, 2),
    PacketField("string_offset", 0x06, 2),
    PacketField("category", 0x08, 2),
    PacketField("error_code", 0x0C, 4),
    PacketField("unique_value", 0x10, 4),
    PacketField("final_status", 0x14, 4),
    PacketField("sequence", 0x18, 4),
    PacketField("control_code", 0x1C, 4),
    PacketField("device_offset", 0x20, 8),
)
"""The header, in the order of its bytes; `size` is that of the extra data. 0x0A and 0x0B are nobody's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EventRecord:
    """One logged event. error_code: severity bits and id; sequence: counts the records of a log; extra: from 0x28 on."""

    error_code: int
    extra: bytes = b""
    major_function: int = 0
    retry_count: int = 0
    number_of_strings: int = 0
    string_offset: int = 0
    category: int = 0
    unique_value: int = 0
    final_status: int = 0
    sequence: int = 0
    control_code: int = 0
    device_offset: int = 0

    @classmethod
    def of(cls, event_id: int, extra: bytes = b"", *, sequence: int = 0) -> EventRecord:
        """The record of a driver event, by its row. Raises KeyError for an id that has none."""
        code = EVENTS[event_id].severity << 24 | event_id
        return cls(error_code=code, extra=bytes(extra[:MAX_EXTRA]), sequence=sequence)

    @property
    def id(self) -> int:
        """The event's number."""
        return self.error_code & 0xFFFF

    @property
    def severity(self) -> Severity | int:
        """The top byte of the error code."""
        value = self.error_code >> 24
        return Severity(value) if value in set(Severity) else value

    @property
    def source(self) -> str:
        """Who logs such events."""
        return SOURCE

    def encode(self) -> bytes:
        """The packet."""
        header = bytearray(HEADER_LENGTH)
        for field in FIELDS:
            value = len(self.extra) if field.name == "size" else getattr(self, field.name)
            header[field.offset : field.end] = value.to_bytes(field.width, "little")
        return bytes(header) + self.extra

    @classmethod
    def decode(cls, packet: bytes) -> EventRecord:
        """The record in a packet. Raises RecordError for one that is too short for what it claims."""
        if len(packet) < HEADER_LENGTH:
            raise RecordError(f"{len(packet)} bytes are no event packet")
        record, missing = cls.decode_cut(packet)
        if missing:
            size = len(record.extra) + missing
            raise RecordError(f"{len(record.extra)} bytes of extra data where the packet claims {size}")
        return record

    @classmethod
    def decode_cut(cls, packet: bytes) -> tuple[EventRecord, int]:
        """The record in a packet that may be cut off anywhere, and how many bytes of it are missing at least.

        A field that is not there whole is 0.
        """
        present = [field for field in FIELDS if field.end <= len(packet)]
        values = {field.name: field.of(packet) for field in present}
        size = values.pop("size", 0)
        extra = packet[HEADER_LENGTH : HEADER_LENGTH + size]
        values.setdefault("error_code", 0)
        return cls(extra=extra, **values), max(0, HEADER_LENGTH + size - len(packet))
