"""A PDU of a finding for people: its bytes by parts with the field in question marked, and its fields with what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from iscsi_captures import code_names as codes
from iscsi_captures.review.model import Field, PduShown
from iscsi_protocol.pdu import BHS_LENGTH, PDU_CLASSES, Opcode, field_of, opcode_name
from iscsi_protocol.scsi.cdb import opcode_name as cdb_name
from iscsi_protocol.scsi.lun import decode_lun

DATA_SHOWN = 256
"""Bytes of a data segment that are printed."""
BYTES_PER_LINE = 16
TEXT_SHOWN = 400
"""Characters of a key=value pair that are printed."""
_TEXT_OPCODES = frozenset((Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE, Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE))
_HEX = frozenset(("opcode", "itt", "ttt", "referenced_task_tag", "snack_tag"))
_NAMES: Mapping[tuple[int, str], Mapping[int, str]] = {
    (Opcode.SCSI_COMMAND, "attribute"): codes.ATTRIBUTES,
    (Opcode.SCSI_RESPONSE, "response"): codes.SCSI_RESPONSES,
    (Opcode.SCSI_RESPONSE, "status"): codes.SCSI_STATUSES,
    (Opcode.SCSI_DATA_IN, "status"): codes.SCSI_STATUSES,
    (Opcode.TASK_MANAGEMENT_REQUEST, "function"): codes.TASK_FUNCTIONS,
    (Opcode.TASK_MANAGEMENT_RESPONSE, "response"): codes.TASK_RESPONSES,
    (Opcode.LOGIN_REQUEST, "csg"): codes.STAGES,
    (Opcode.LOGIN_REQUEST, "nsg"): codes.STAGES,
    (Opcode.LOGIN_RESPONSE, "csg"): codes.STAGES,
    (Opcode.LOGIN_RESPONSE, "nsg"): codes.STAGES,
    (Opcode.LOGOUT_REQUEST, "reason"): codes.LOGOUT_REASONS,
    (Opcode.LOGOUT_RESPONSE, "response"): codes.LOGOUT_RESPONSES,
    (Opcode.REJECT, "reason"): codes.REJECT_REASONS,
    (Opcode.ASYNC_MESSAGE, "async_event"): codes.ASYNC_EVENTS,
    (Opcode.SNACK_REQUEST, "snack_type"): codes.SNACK_TYPES,
}


@dataclass(frozen=True, slots=True)
class Run:
    """Bytes of a line in hex, one after the other. marked: they are the field in question."""

    text: str
    marked: bool


@dataclass(frozen=True, slots=True)
class HexLine:
    """Up to BYTES_PER_LINE bytes. offset: of the first within its part. letters: the same as ASCII, dots for the rest."""

    offset: int
    runs: tuple[Run, ...]
    letters: str


@dataclass(frozen=True, slots=True)
class Part:
    """The header, the additional headers, a digest or the data. omitted: bytes that are not printed."""

    title: str
    lines: tuple[HexLine, ...]
    omitted: int = 0


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A field of the header. place: its bytes, "24–27". mask: of its bits, "" for all. says: the code's name."""

    name: str
    place: str
    mask: str
    value: str
    says: str
    marked: bool


@dataclass(frozen=True, slots=True)
class TextRow:
    """One key=value pair of a login or text exchange; long ones are cut."""

    text: str
    marked: bool


def parts(pdu: PduShown, field: Field | None) -> tuple[Part, ...]:
    """The bytes of a PDU in the order of the wire; parts that it does not have, or that were not kept, are left out."""
    raw = pdu.raw
    ahs_end = BHS_LENGTH + pdu.ahs_length
    kept = raw[pdu.data_offset : pdu.data_offset + pdu.data_length]
    rows = (
        ("Basic header segment", "header", raw[:BHS_LENGTH], BHS_LENGTH),
        ("Additional header segments", "AHS", raw[BHS_LENGTH:ahs_end], pdu.ahs_length),
        ("Header digest", "", raw[ahs_end : pdu.data_offset], pdu.header_digest_length),
        ("Data segment", "data", kept[:DATA_SHOWN], pdu.data_length),
    )
    return tuple(
        Part(f"{title}, {length} bytes", tuple(hex_lines(data, _span(field, part))), length - len(data))
        for title, part, data, length in rows
        if length
    )


def fields(pdu: PduShown, field: Field | None) -> tuple[FieldRow, ...]:
    """The fields of the header in the order of the wire; none where the header is not whole or the opcode is unknown."""
    message = PDU_CLASSES.get(pdu.opcode)
    if message is None or len(pdu.raw) < BHS_LENGTH:
        return ()
    header = int.from_bytes(pdu.raw[:BHS_LENGTH], "big")
    names = ("opcode", *message.FIELDS, "total_ahs_length", "data_segment_length")
    found = {name: field_of(pdu.opcode, name) for name in names}
    span = _span(field, "header")
    # Fields that share a byte are told apart by name.
    named = field is not None and field.part == "header" and field.name in found
    rows = []
    for name, each in sorted(found.items(), key=lambda item: item[1].at.offset):
        at, value = each.at, each.get(header)
        touched = any(offset in span for offset in range(at.offset, at.offset + at.size))
        rows.append(
            FieldRow(
                name=name,
                place=f"{at.offset}–{at.offset + at.size - 1}" if at.size > 1 else str(at.offset),
                mask="" if at.mask is None else f"{at.mask:#04x}",
                value=_shown(name, value),
                says=_says(pdu.opcode, name, value, header),
                marked=field is not None and name == field.name if named else touched,
            )
        )
    return tuple(rows)


def texts(pdu: PduShown, field: Field | None) -> tuple[TextRow, ...]:
    """The key=value pairs of a login or text PDU as far as they were kept; none for another."""
    if pdu.opcode not in _TEXT_OPCODES:
        return ()
    data = pdu.raw[pdu.data_offset : pdu.data_offset + pdu.data_length]
    span = _span(field, "data")
    rows, start = [], 0
    for pair in data.split(b"\0"):
        end = start + len(pair)
        if pair:
            text = pair.decode("utf-8", "backslashreplace")
            shown = text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
            rows.append(TextRow(shown, start < span.stop and span.start < end))
        start = end + 1
    return tuple(rows)


def hex_lines(data: bytes, span: range = range(0)) -> Iterator[HexLine]:
    """Bytes as lines; those whose offset is in `span` are marked."""
    for start in range(0, len(data), BYTES_PER_LINE):
        line = data[start : start + BYTES_PER_LINE]
        marks = groupby(enumerate(line, start), lambda item: item[0] in span)
        runs = tuple(Run(bytes(byte for _, byte in group).hex(" "), marked) for marked, group in marks)
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in line)
        yield HexLine(start, runs, letters)


def _span(field: Field | None, part: str) -> range:
    if field is None or field.part != part:
        return range(0)
    return range(field.offset, field.offset + field.length)


def _shown(name: str, value: int | bool | bytes) -> str:
    if isinstance(value, bytes):
        return value.hex(" ") if name == "cdb" else value.hex()
    if isinstance(value, bool):
        return "1" if value else "0"
    return f"{value:#x}" if name in _HEX else str(value)


def _says(opcode: int, name: str, value: int | bool | bytes, header: int) -> str:
    """The name of a code, or what a structured value stands for; "" where the number says it all."""
    if isinstance(value, bytes):
        return lun_text(value) if name == "lun" else cdb_name(value) if name == "cdb" else ""
    if opcode == Opcode.LOGIN_RESPONSE and name == "status_detail":
        status = field_of(opcode, "status_class").get(header), value
        return codes.LOGIN_STATUSES.get(int(status[0]) << 8 | int(status[1]), "no status of the standard")
    if name == "opcode":
        return opcode_name(value)
    return _NAMES.get((opcode, name), {}).get(value, "")


def lun_text(lun: bytes) -> str:
    """A logical unit number for people: "LUN 1", or the structure in hex where it is no single-level one."""
    number = decode_lun(lun)
    return f"LUN {number}" if number is not None else lun.hex()
