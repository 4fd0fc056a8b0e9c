"""PDUs field by field, from the places that the codec declares (RFC 7143 chapter 11), as far as the bytes go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from types import MappingProxyType

from iscsi_protocol.digest import DIGEST_LENGTH, crc32c, digest_value
from iscsi_protocol.eventlog.parts import Detail, Part, bytes_detail, cut_detail, printable, shortened, text_detail
from iscsi_protocol.pdu import (
    BHS_LENGTH,
    NO_LUN,
    NO_TAG,
    PDU_CLASSES,
    AhsError,
    AhsType,
    AsyncEvent,
    AsyncMessage,
    DataIn,
    Field,
    LoginRequest,
    LoginResponse,
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    LogoutResponseCode,
    Pdu,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    ScsiResponseCode,
    SnackRequest,
    SnackType,
    Stage,
    TaskAttribute,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
    TextRequest,
    TextResponse,
    UnknownPdu,
    decode_ahs,
    field_of,
    opcode_name,
    padding_for,
    whole_cdb,
)
from iscsi_protocol.pdu.codes import login_status_text
from iscsi_protocol.scsi.cdb import find
from iscsi_protocol.scsi.cdb import opcode_name as command_name
from iscsi_protocol.scsi.lun import decode_lun
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import status_name

_TAGS = frozenset({"itt", "ttt", "referenced_task_tag", "snack_tag"})
_TEXT_PDUS = (LoginRequest, LoginResponse, TextRequest, TextResponse)
_SENSE_PDUS = (ScsiResponse, AsyncMessage)
_ALWAYS_TELLING = frozenset({"itt", "cmd_sn", "stat_sn", "data_sn", "r2t_sn"})


def _member(kind: type[IntEnum]) -> Callable[[int], str]:
    names = {member.value: member.name.lower().replace("_", " ") for member in kind}
    return lambda value: names.get(value, "")


_CODES: Mapping[tuple[type[Pdu], str], Callable[[int], str]] = MappingProxyType(
    {
        (ScsiCommand, "attribute"): _member(TaskAttribute),
        (ScsiResponse, "response"): _member(ScsiResponseCode),
        (ScsiResponse, "status"): status_name,
        (DataIn, "status"): status_name,
        (TaskManagementRequest, "function"): _member(TaskFunction),
        (TaskManagementResponse, "response"): _member(TaskResponse),
        (LoginRequest, "csg"): _member(Stage),
        (LoginRequest, "nsg"): _member(Stage),
        (LoginResponse, "csg"): _member(Stage),
        (LoginResponse, "nsg"): _member(Stage),
        (LogoutRequest, "reason"): _member(LogoutReason),
        (LogoutResponse, "response"): _member(LogoutResponseCode),
        (SnackRequest, "snack_type"): _member(SnackType),
        (AsyncMessage, "async_event"): _member(AsyncEvent),
        (Reject, "reason"): _member(RejectReason),
    }
)
"""The fields whose values have names."""


def pdu_parts(extra: bytes, *, with_data: bool) -> list[Part]:
    """A PDU at the beginning of the extra data: its header with AHS, and, where asked for, the data segment behind it."""
    parts = [header_part(extra)]
    if len(extra) < BHS_LENGTH:
        return parts
    data_at = BHS_LENGTH + extra[4] * 4
    if extra[4]:
        parts.append(_ahs_part(extra[:BHS_LENGTH], extra[BHS_LENGTH:data_at]))
    length = int.from_bytes(extra[5:8], "big")
    end = data_at + length if with_data else data_at
    if with_data and length:
        parts.append(_data_part(extra[:BHS_LENGTH], extra[data_at:end], min(data_at, len(extra)), length))
    rest = extra[end:]
    if with_data and rest[: padding_for(length)] == bytes(padding_for(length)):
        rest = rest[padding_for(length) :]
    if rest:
        parts.append(Part("more bytes", (bytes_detail(len(extra) - len(rest), "bytes", rest),)))
    return parts


def header_part(extra: bytes) -> Part:
    """The basic header segment: every field that is there whole, reserved bits that are set, and what is missing."""
    if not extra:
        return Part("no header", (cut_detail(0, 0, BHS_LENGTH),))
    opcode = extra[0] & 0x3F
    cls = PDU_CLASSES.get(opcode, UnknownPdu)
    header = int.from_bytes(extra[:BHS_LENGTH].ljust(BHS_LENGTH, b"\0"), "big")
    common = [field_of(opcode, name) for name in ("opcode", "total_ahs_length", "data_segment_length")]
    fields = sorted([*common, *cls.FIELDS.values()], key=lambda field: (field.at.offset, -(field.at.mask or 0xFF)))
    details = [
        _field_detail(cls, opcode, field, header) for field in fields if field.at.offset + field.at.size <= len(extra)
    ]
    stray = header & cls.RESERVED_MASK
    for offset, byte in enumerate(stray.to_bytes(BHS_LENGTH, "big")):
        if byte:
            details.append(Detail(offset, "not defined", byte, f"{byte:#04x}"))
    details.sort(key=lambda detail: detail.offset)
    if len(extra) < BHS_LENGTH:
        details.append(cut_detail(len(extra), len(extra), BHS_LENGTH))
    return Part(opcode_name(opcode), tuple(details))


def _field_detail(cls: type[Pdu], opcode: int, field: Field, header: int) -> Detail:
    name, value = field.name, field.get(header)
    place = field.at.offset
    if isinstance(value, bytes):
        resting = not any(value)
        if name == "lun":
            lun = decode_lun(value)
            return Detail(place, name, value.hex(), value.hex() if lun is None else str(lun), value != NO_LUN)
        if name == "cdb":
            return Detail(place, name, value.hex(), f"{value.hex(' ')}  {command_name(value)}")
        return Detail(place, name, value.hex(), value.hex(), not resting)
    if isinstance(value, bool):
        return Detail(place, name, value, str(int(value)), value and name not in {"final", "immediate"})
    if name == "opcode":
        text = f"{value:#04x}" if cls is UnknownPdu else f"{value:#04x}  {opcode_name(opcode)}"
        return Detail(place, name, value, text, telling=False)
    if name in _TAGS:
        return Detail(place, name, value, f"{value:#010x}", name == "itt" or value not in {0, NO_TAG})
    text = str(value)
    if cls is LoginResponse and name == "status_class":
        text = f"{value:#04x}"
    elif cls is LoginResponse and name == "status_detail":
        status = field_of(opcode, "status_class").get(header)
        text = f"{value:#04x}  {login_status_text(int(status) << 8 | value)}"
    elif (cls, name) in _CODES:
        text = f"{value:#04x}  {_CODES[cls, name](value)}".rstrip()
    return Detail(place, name, value, text, bool(value) or name in _ALWAYS_TELLING)


def _ahs_part(header: bytes, chain: bytes) -> Part:
    wanted = header[4] * 4
    details: list[Detail] = []
    cut = [cut_detail(BHS_LENGTH + len(chain), len(chain), wanted)] if len(chain) < wanted else []
    try:
        segments = decode_ahs(chain)
    except AhsError as error:
        details.append(bytes_detail(BHS_LENGTH, "bytes", chain))
        if not cut:
            details.append(Detail(BHS_LENGTH + error.offset, "not a segment", str(error), str(error)))
        return Part("AHS", (*details, *cut))
    offset = BHS_LENGTH
    for segment in segments:
        name = _member(AhsType)(segment.code) or f"type {segment.code:#04x}"
        details.append(bytes_detail(offset, name, segment.contents))
        if segment.code == AhsType.EXTENDED_CDB and header[0] & 0x3F == ScsiCommand.OPCODE:
            cdb = whole_cdb(header[32:BHS_LENGTH], [segment])
            details.append(Detail(offset, "whole cdb", cdb.hex(), f"{shortened(cdb.hex(' '))}  {command_name(cdb)}"))
        length = 3 + len(segment.contents)
        offset += length + padding_for(length)
    return Part("AHS", (*details, *cut))


def _data_part(header: bytes, data: bytes, offset: int, wanted: int) -> Part:
    """The data segment by what its PDU carries there."""
    cls = PDU_CLASSES.get(header[0] & 0x3F, UnknownPdu)
    cut = (cut_detail(offset + len(data), len(data), wanted),) if len(data) < wanted else ()
    if issubclass(cls, _TEXT_PDUS):
        return Part("text", (*text_pairs(data, offset), *cut))
    if cls is Reject and data:
        rejected = header_part(data)
        moved = [Detail(d.offset + offset, d.name, d.value, d.text, d.telling) for d in rejected.details]
        return Part(f"rejected: {rejected.title}", (*moved, *cut))
    if issubclass(cls, _SENSE_PDUS) and len(data) >= 2:
        return Part("sense data", (*_sense_details(data, offset), *cut))
    return Part("data", (bytes_detail(offset, "bytes", data), *cut))


def text_pairs(data: bytes, offset: int) -> list[Detail]:
    """Each key with its value; pieces that are no pair as they are. offset: where the text begins in the extra data."""
    details = []
    for piece in data.split(b"\0"):
        key, equals, value = piece.partition(b"=")
        if equals:
            details.append(text_detail(offset, printable(key.decode("utf-8", "surrogateescape"))[:80], value))
        elif piece:
            details.append(text_detail(offset, "no pair", piece))
        offset += len(piece) + 1
    return details


def _sense_details(data: bytes, offset: int) -> list[Detail]:
    length = int.from_bytes(data[:2], "big")
    sense_bytes, rest = data[2 : 2 + length], data[2 + length :]
    details = [Detail(offset, "sense_length", length, str(length))]
    sense = parse_sense(sense_bytes)
    if sense is not None:
        details.append(Detail(offset + 2, "sense", str(sense), str(sense)))
        if sense.information is not None:
            details.append(Detail(offset + 2, "information", sense.information, f"{sense.information:#x}"))
        if sense.sense_key_specific:
            details.append(bytes_detail(offset + 2, "sense key specific", sense.sense_key_specific))
    if sense_bytes:
        details.append(bytes_detail(offset + 2, "bytes", sense_bytes))
    if len(sense_bytes) < length:
        details.append(cut_detail(offset + len(data), len(sense_bytes), length))
    if rest:
        details.append(bytes_detail(offset + 2 + length, "behind it", rest))
    return details


def cdb_part(extra: bytes) -> Part:
    """A CDB by its row in the table of commands."""
    if not extra:
        return Part("no CDB", ())
    command = find(extra)
    details = [bytes_detail(0, "bytes", extra, telling=command is None)]
    if command is not None:
        values = command.parse(extra)
        details += [
            Detail(command.fields[name].offset, name, value, str(value), bool(value)) for name, value in values.items()
        ]
    return Part(command_name(extra), tuple(details))


def header_digest_part(extra: bytes) -> Part:
    """The digest behind a header, beside the one that the header calls for where no AHS takes part in it."""
    given = extra[BHS_LENGTH : BHS_LENGTH + DIGEST_LENGTH]
    if len(given) < DIGEST_LENGTH:
        return Part("header digest", (cut_detail(BHS_LENGTH + len(given), len(given), DIGEST_LENGTH),))
    value = digest_value(given)
    details = [Detail(BHS_LENGTH, "given", value, f"{value:#010x}")]
    if not extra[4]:
        computed = crc32c(extra[:BHS_LENGTH])
        details.append(Detail(0, "computed", computed, f"{computed:#010x}  over the header as it is"))
    return Part("header digest", tuple(details))
