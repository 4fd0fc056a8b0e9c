"""What the header of a full feature PDU may not say (RFC 7143 chapter 11), a row for each rule: event 23.

A row holds when the PDU breaks it. Reserved bits and fields are not judged, because receivers ignore them (11.2). R2T has
an event of its own (28) for everything that depends on its task; what depends on no task is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_protocol.pdu import RawPdu
from iscsi_protocol.pdu.codes import AsyncEvent, Flag, LogoutResponseCode, Opcode, RejectReason, TaskResponse
from iscsi_protocol.scsi.status import Status

_NO_TAG = b"\xff\xff\xff\xff"
_OU = int(Flag.OVERFLOW | Flag.UNDERFLOW)
_BIDI_OU = int(Flag.BIDI_OVERFLOW | Flag.BIDI_UNDERFLOW)
_STATUS = int(Flag.STATUS)
_DATA_IN_OPCODE = int(Opcode.SCSI_DATA_IN)

Rule = tuple[str, Callable[[RawPdu], bool]]

# SAM's obsolete codes are no violation of iSCSI: INTERMEDIATE, INTERMEDIATE-CONDITION MET, COMMAND TERMINATED.
_STATUS_CODES = frozenset(int(status) for status in Status) | {0x10, 0x14, 0x22}
_STATUS_WITH_DATA = frozenset({0x00, 0x04, 0x10, 0x14})
"""Status that a Data-In may carry (11.7.3)."""

_REJECT_REASONS = frozenset(int(reason) for reason in RejectReason)
_LOGOUT_RESPONSES = frozenset(int(code) for code in LogoutResponseCode)
_TASK_RESPONSES = frozenset(int(code) for code in TaskResponse)
_STANDARD_ASYNC_EVENTS = range(AsyncEvent.TASKS_TERMINATED + 1)
_CHECK_CONDITION = int(Status.CHECK_CONDITION)


def sense_length(data: bytes | bytearray | memoryview) -> int:
    """SenseLength of a SCSI Response's data segment (11.4.7); -1 where the segment is too short to have one."""
    return int.from_bytes(data[:2], "big") if len(data) >= 2 else -1


def _both(flags: int, pair: int) -> bool:
    return flags & pair == pair


def _carries_data(raw: RawPdu) -> bool:
    return raw.data_segment_length != 0


_SCSI_RESPONSE: tuple[Rule, ...] = (
    ("O and U together", lambda raw: _both(raw.bhs[1], _OU)),
    ("o and u together", lambda raw: _both(raw.bhs[1], _BIDI_OU)),
    ("a reserved response code", lambda raw: 0x02 <= raw.bhs[2] <= 0x7F),
    ("a residual with a response other than 0", lambda raw: bool(raw.bhs[2] and raw.bhs[1] & (_OU | _BIDI_OU))),
    ("a reserved status", lambda raw: raw.bhs[2] == 0 and raw.bhs[3] not in _STATUS_CODES),
    (
        "CHECK CONDITION without sense data",
        lambda raw: (
            raw.bhs[2] == 0
            and raw.bhs[3] == _CHECK_CONDITION
            and (not raw.data_segment_length or sense_length(raw.data) == 0)
        ),
    ),
)

_DATA_IN: tuple[Rule, ...] = (
    ("O and U together", lambda raw: bool(raw.bhs[1] & Flag.STATUS) and _both(raw.bhs[1], _OU)),
    ("S without F", lambda raw: bool(raw.bhs[1] & Flag.STATUS) and not raw.bhs[1] & Flag.FINAL),
    (
        "a status that needs a SCSI Response",
        lambda raw: bool(raw.bhs[1] & Flag.STATUS) and raw.bhs[3] not in _STATUS_WITH_DATA,
    ),
)

_NO_DATA: Rule = ("a data segment where there is none", _carries_data)

_RULES: Mapping[int, tuple[Rule, ...]] = MappingProxyType(
    {
        Opcode.SCSI_RESPONSE: _SCSI_RESPONSE,
        Opcode.SCSI_DATA_IN: _DATA_IN,
        Opcode.R2T: (_NO_DATA,),
        Opcode.TASK_MANAGEMENT_RESPONSE: (
            ("a reserved response code", lambda raw: raw.bhs[2] not in _TASK_RESPONSES),
            _NO_DATA,
        ),
        Opcode.LOGOUT_RESPONSE: (
            ("a reserved response code", lambda raw: raw.bhs[2] not in _LOGOUT_RESPONSES),
            _NO_DATA,
        ),
        Opcode.TEXT_RESPONSE: (
            ("F with C", lambda raw: _both(raw.bhs[1], Flag.FINAL | Flag.CONTINUE)),
            (
                "a Target Transfer Tag that does not fit F",
                lambda raw: bool(raw.bhs[1] & Flag.FINAL) is not (raw.bhs[20:24] == _NO_TAG),
            ),
        ),
        Opcode.NOP_IN: (
            (
                "both task tags valid",
                lambda raw: raw.bhs[16:20] != _NO_TAG and raw.bhs[20:24] != _NO_TAG,
            ),
        ),
        Opcode.ASYNC_MESSAGE: (
            (
                "a reserved event",
                lambda raw: raw.bhs[36] not in _STANDARD_ASYNC_EVENTS and raw.bhs[36] < AsyncEvent.VENDOR_FIRST,
            ),
        ),
        Opcode.REJECT: (
            ("a reserved reason", lambda raw: raw.bhs[2] not in _REJECT_REASONS),
            ("no header of the rejected PDU", lambda raw: raw.data_segment_length < len(raw.bhs)),
        ),
    }
)


def fault_of(raw: RawPdu, opcode: int) -> str:
    """The first rule that the PDU breaks, in words; empty for none."""
    flags = raw.bhs[1]
    if opcode == _DATA_IN_OPCODE and (not flags & _STATUS or (flags & 0x87 == 0x81 and raw.bhs[3] == 0)):
        return ""
    for text, broken in _RULES.get(opcode, ()):
        if broken(raw):
            return text
    return ""


def excess_data(raw: RawPdu, protocol_level: int) -> str:
    """How the data of a SCSI Response with Response 0 is no sense data, empty when it is fine: event 60 (11.4.7)."""
    if raw.bhs[2] or not raw.data_segment_length:
        return ""
    length = sense_length(raw.data)
    if length < 0 or length > len(raw.data) - 2:
        return "SenseLength goes beyond the data segment"
    if length < len(raw.data) - 2:
        return "data behind the sense data"
    if raw.bhs[3] != _CHECK_CONDITION and protocol_level < 2:
        return f"data with status {raw.bhs[3]:#04x}"
    return ""
