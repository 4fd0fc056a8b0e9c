"""PDUs in words: one line for a timeline, every field for a page."""

from __future__ import annotations

from iscsi_protocol.history import BytesRecord, PduRecord, Record, SettingsRecord, TransportRecord
from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    DataIn,
    DataOut,
    LoginRequest,
    LoginResponse,
    Pdu,
    RawPdu,
    ScsiCommand,
    TextRequest,
    TextResponse,
    decode,
    opcode_name,
)
from iscsi_protocol.scsi.cdb import opcode_name as cdb_name
from iscsi_protocol.stream import Direction

_SHOWN_TEXT = 600
_SHOWN_DATA = 64
_TEXT_PDUS = (LoginRequest, LoginResponse, TextRequest, TextResponse)
_QUIET = {"final": True, "itt": None, "lun": NO_LUN}


def one_line(raw: RawPdu) -> str:
    """Name and telling fields, for a timeline."""
    pdu = decode(raw)
    parts = [opcode_name(raw.opcode)]
    if isinstance(pdu, ScsiCommand):
        parts.append(cdb_name(pdu.cdb))
    parts += [f"{name}={_shown(name, value)}" for name, value in telling_fields(pdu)]
    if raw.data_segment_length:
        parts.append(f"+{raw.data_segment_length} bytes")
    if raw.header_digest_error:
        parts.append("HEADER DIGEST ERROR")
    if raw.data_digest_error:
        parts.append("DATA DIGEST ERROR")
    return " ".join(parts)


def telling_fields(pdu: Pdu) -> list[tuple[str, object]]:
    """The fields that are not at their resting value, in wire order."""
    shown: list[tuple[str, object]] = []
    for name, field in pdu.FIELDS.items():
        value = getattr(pdu, name)
        if name in _QUIET and value == _QUIET[name]:
            continue
        if (value in (0, False, NO_TAG) and name not in ("stat_sn", "cmd_sn", "data_sn")) or value == bytes(
            field.at.size
        ):
            continue
        shown.append((name, value))
    return shown


def all_fields(raw: RawPdu) -> list[dict[str, object]]:
    """Every field with its place, for a case's page: name, offset, size, mask, value."""
    pdu = decode(raw)
    rows: list[dict[str, object]] = []
    for name, field in pdu.FIELDS.items():
        rows.append(
            {
                "name": name,
                "offset": field.at.offset,
                "size": field.at.size,
                "mask": field.at.mask,
                "value": _shown(name, getattr(pdu, name)),
            }
        )
    return rows


def payload(raw: RawPdu) -> str:
    """The data segment for people: text pairs where it is text, else the first bytes in hex."""
    pdu = decode(raw)
    if isinstance(pdu, _TEXT_PDUS):
        text = pdu.data.decode("utf-8", "backslashreplace")
        pairs = [pair for pair in text.split("\0") if pair]
        return "\n".join(pairs)[:_SHOWN_TEXT]
    if isinstance(pdu, DataIn | DataOut) or pdu.data:
        return pdu.data[:_SHOWN_DATA].hex(" ") + (" …" if len(pdu.data) > _SHOWN_DATA else "")
    return ""


def arrow(direction: Direction) -> str:
    """Which way, with the initiator on the left."""
    return "→" if direction is Direction.TO_TARGET else "←"


def record_line(record: Record) -> str:
    """One record of a history in one line."""
    match record:
        case PduRecord():
            return f"{arrow(record.direction)} {one_line(record.raw)}"
        case BytesRecord():
            return f"{arrow(record.direction)} {len(record.data)} bytes that are no PDU ({record.reason})"
        case TransportRecord():
            return f"{arrow(record.direction)} TCP {record.event.value}"
        case SettingsRecord():
            return "settings of the initiator"


def _shown(name: str, value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, int) and (name in ("itt", "ttt", "referenced_task_tag", "snack_tag") or name.endswith("_tag")):
        return f"{value:#x}"
    return str(value)
