"""An event understood: its row, its record as far as it goes, what its extra data says, its meaning, its cases."""

from __future__ import annotations

from dataclasses import dataclass, replace

from iscsi_captures.explain.cases import EventCases, event_cases
from iscsi_captures.explain.driver import DRIVER_MEANINGS
from iscsi_captures.explain.found import OURS, Found
from iscsi_captures.explain.hexdump import SHORTEST, is_record
from iscsi_captures.explain.meaning import Meaning
from iscsi_captures.explain.service import SERVICE_MEANINGS
from iscsi_protocol.eventlog import (
    EVENTS,
    FIELDS,
    HEADER_LENGTH,
    SECRETS,
    SERVICE_EVENTS,
    SOURCE,
    Detail,
    EventRecord,
    Part,
    Severity,
    details,
)
from iscsi_protocol.eventlog.parts import bytes_detail, printable, shortened
from iscsi_protocol.status_codes import StatusCode

_STATUS_CODES = {code.value: code for code in StatusCode}
_ERRORS = frozenset({"error", "status"})
_IN_HEX = frozenset({"error_code", "final_status", "control_code", "unique_value"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is told of one event.

    severity: in words, or empty where nothing says it; known: whether the guide has the event; header: the fields of the
    record that are there whole; missing: bytes that the record lacks at least; parts: what the extra data says, with
    offsets into it; strings: the insertion strings by their names; notes: what to mind about this reading, a sentence
    each; dump: the record's bytes, None where there is none or where they may hold a secret.
    """

    place: str
    source: str
    id: int
    known: bool
    severity: str
    message: str
    text: str
    time: str
    computer: str
    number: str
    meaning: Meaning | None
    header: tuple[Detail, ...]
    missing: int
    parts: tuple[Part, ...]
    strings: tuple[Detail, ...]
    notes: tuple[str, ...]
    cases: EventCases | None
    dump: bytes | None


def explained(found: Found) -> Explanation:
    """What an event says. It is one of ours, and has an id or a packet with one. Never fails."""
    source = OURS.get((found.source or SOURCE).lower(), SOURCE)
    record, missing = EventRecord.decode_cut(found.packet or b"")
    event_id = record.id if found.id is None else found.id & 0xFFFF
    if source != SOURCE:
        return _of_service(found, source, event_id)
    row, packet = EVENTS.get(event_id), found.packet or b""
    secret = bool({event_id, record.id} & SECRETS)
    strange = len(packet) >= SHORTEST and not is_record(packet)
    if strange:
        # The guide has the extra data at 0x28 in any case; how much there is of it, only a record can say.
        record, missing = EventRecord(error_code=0, extra=packet[HEADER_LENGTH:]), 0
    parts: tuple[Part, ...] = ()
    if len(packet) >= HEADER_LENGTH:
        parts = tuple(details(min(SECRETS) if secret else event_id, record.extra))
        behind = packet[HEADER_LENGTH + len(record.extra) :]
        if behind and not secret:
            parts += (Part("behind the extra data", (bytes_detail(len(record.extra), "bytes", behind),)),)
    # What only says that it is such an event may be the bare secret.
    hidden = strange or (secret and not (is_record(packet) and record.id in SECRETS))
    return Explanation(
        place=found.place,
        source=source,
        id=event_id,
        known=row is not None,
        severity=_severity(found, record, is_packet=is_record(packet)) or (row.severity.name.lower() if row else ""),
        message=row.message if row else f"event {event_id}, which the guide does not have",
        text="" if secret else printable(found.text),
        time=printable(found.time),
        computer=printable(found.computer),
        number=printable(found.number),
        meaning=DRIVER_MEANINGS.get(event_id),
        header=() if hidden else _header(packet),
        missing=missing if packet and not hidden else 0,
        parts=parts,
        strings=() if secret else _strings(found.strings, ()),
        notes=tuple(_notes(found, record, event_id, strange=strange, secret=secret, missing=missing)),
        cases=event_cases().get(event_id),
        dump=None if secret else packet or None,
    )


def _of_service(found: Found, source: str, event_id: int) -> Explanation:
    row = SERVICE_EVENTS.get(event_id)
    notes = [] if row else [_unknown(source, event_id)]
    if row and len(found.strings) < len(row.inserts):
        notes.append("The strings that belong to this event are not all there: export it as XML to have them.")
    if found.packet:
        notes.append("The guide says of no event of the service that it has dump data; its bytes are left as they are.")
    return Explanation(
        place=found.place,
        source=source,
        id=event_id,
        known=row is not None,
        severity=found.level if found.level.isalpha() else "",
        message=row.message if row else f"event {event_id}, which the guide does not have",
        text="",
        time=printable(found.time),
        computer=printable(found.computer),
        number=printable(found.number),
        meaning=SERVICE_MEANINGS.get(event_id),
        header=(),
        missing=0,
        parts=(Part("dump data", (bytes_detail(0, "bytes", found.packet),)),) if found.packet else (),
        strings=_strings(found.strings, row.inserts if row else ()),
        notes=tuple(notes),
        cases=None,
        dump=found.packet or None,
    )


def _severity(found: Found, record: EventRecord, *, is_packet: bool) -> str:
    """As the record has it, else as the log says."""
    if is_packet and isinstance(record.severity, Severity):
        return record.severity.name.lower()
    return found.level if found.level in {each.name.lower() for each in Severity} else ""


def _header(packet: bytes) -> tuple[Detail, ...]:
    """The fields that are there; those that rest at 0 tell nothing."""
    found = []
    for field in FIELDS:
        if field.end <= len(packet):
            value = field.of(packet)
            text = f"{value:#0{2 * field.width + 2}x}" if field.name in _IN_HEX else str(value)
            found.append(Detail(field.offset, field.name, value, text, telling=bool(value)))
    return tuple(found)


def _strings(strings: tuple[str, ...], names: tuple[str, ...]) -> tuple[Detail, ...]:
    """Insertion strings; an error of the guide's Appendix D with its name."""
    found = []
    for index, string in enumerate(strings):
        name = names[index] if index < len(names) else f"%{index + 1}"
        text = shortened(printable(string.strip()))
        code = _code(string) if name in _ERRORS else None
        found.append(Detail(index + 1, name, printable(string), f"{text}  {code.text}" if code else text))
    return tuple(found)


def _code(string: str) -> StatusCode | None:
    """The code that a string is, in hex or as a number with or without a sign."""
    for base in (16, 10):
        try:
            number = int(string.strip()[:20], base) & 0xFFFFFFFF
        except ValueError:
            continue
        if number in _STATUS_CODES:
            return _STATUS_CODES[number]
    return None


def _unknown(source: str, event_id: int) -> str:
    return f"The guide has no event {event_id} of {source}, so nothing is said here of what it means."


def _notes(found: Found, record: EventRecord, event_id: int, *, strange: bool, secret: bool, missing: int) -> list[str]:
    packet, row, notes = found.packet, EVENTS.get(event_id), []
    if row is None:
        notes.append(_unknown(SOURCE, event_id))
    if found.source is None:
        notes.append(f"Nothing says which source logged this; it is read as an event of {SOURCE}.")
    if not packet:
        notes.append("There is no dump data.")
    elif strange:
        notes.append("The dump data has no error code at 0x0c, so it may be no driver's record; it is read as one.")
    elif record.id != event_id and is_record(packet) and not secret:
        notes.append(f"The log says event {event_id}, but its record says {record.id}; it is read as the log says.")
    if secret:
        notes.append("The extra data of this event can be a CHAP secret, so nothing of it is shown.")
    elif record.extra and row is not None and event_cases()[event_id].dump_source != "guide":
        notes.append("The guide does not lay this extra data out exactly; it is read as our own initiator writes it.")
    if packet and missing and not secret:
        notes.append(f"The record is cut off: {missing} bytes or more are missing. It is read as far as it goes.")
    elif found.broken:
        notes.append("The input breaks off or has a gap within the record, which is read as far as it goes.")
    return notes


def at_record(part: Part) -> Part:
    """The part with offsets into the record, as they stand in a dump of it."""
    return replace(part, details=tuple(replace(each, offset=each.offset + HEADER_LENGTH) for each in part.details))
