"""The dump data of a driver event: the Windows I/O error log packet, little-endian, with the extra data behind it.

The guide's example of event 5 is such a packet: its bytes 0x0C to 0x0F, 05 00 00 C0, are severity and id.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iscsi_protocol.eventlog.rows import EVENTS, SOURCE, Severity

_HEADER = struct.Struct("<BBHHHH2xIIIIIQ")
HEADER_LENGTH = 0x28
MAX_EXTRA = 0xFFFF
"""The packet counts its extra data in 16 bits; what is longer is cut."""


class RecordError(ValueError):
    """Bytes that are no event packet."""


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
        header = _HEADER.pack(
            self.major_function,
            self.retry_count,
            len(self.extra),
            self.number_of_strings,
            self.string_offset,
            self.category,
            self.error_code,
            self.unique_value,
            self.final_status,
            self.sequence,
            self.control_code,
            self.device_offset,
        )
        return header + self.extra

    @classmethod
    def decode(cls, packet: bytes) -> EventRecord:
        """The record in a packet. Raises RecordError for one that is too short for what it claims."""
        if len(packet) < HEADER_LENGTH:
            raise RecordError(f"{len(packet)} bytes are no event packet")
        major, retry, size, strings, offset, category, code, unique, status, sequence, control, device = (
            _HEADER.unpack_from(packet)
        )
        extra = packet[HEADER_LENGTH : HEADER_LENGTH + size]
        if len(extra) < size:
            raise RecordError(f"{len(extra)} bytes of extra data where the packet claims {size}")
        return cls(
            error_code=code,
            extra=extra,
            major_function=major,
            retry_count=retry,
            number_of_strings=strings,
            string_offset=offset,
            category=category,
            unique_value=unique,
            final_status=status,
            sequence=sequence,
            control_code=control,
            device_offset=device,
        )
