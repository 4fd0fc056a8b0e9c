"""What no field of a full feature PDU may say (RFC 7143 chapter 11): events 23 and 60, a row for each rule.

Reserved bits and fields are not looked at, since receivers ignore them (11.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_protocol.pdu import Opcode, RawPdu

_NO_TAG = b"\xff" * 4
_OVER_UNDER, _BIDI_OVER_UNDER = 0x06, 0x18
_FINAL, _CONTINUE, _STATUS = 0x80, 0x40, 0x01
_DATA_IN, _SCSI_RESPONSE = int(Opcode.SCSI_DATA_IN), int(Opcode.SCSI_RESPONSE)
_GOOD = b"\0\0"
_HEADER = 48
_CHECK_CONDITION = 0x02

_STATUSES = frozenset({0x00, 0x02, 0x04, 0x08, 0x10, 0x14, 0x18, 0x22, 0x28, 0x30, 0x40})
"""SAM's, the obsolete ones included, which break no rule of iSCSI."""

_WITH_DATA = frozenset({0x00, 0x04, 0x10, 0x14})
"""Status that the last Data-In may bring (11.7.3)."""

_REASONS = frozenset(range(0x02, 0x0D))
_TASK_RESPONSES = frozenset((*range(8), 255))
_LOGOUT_RESPONSES = frozenset(range(4))
_LAST_STANDARD_EVENT, _FIRST_VENDOR_EVENT = 5, 248
_FIRST_VENDOR_RESPONSE = 0x80

Row = Callable[[RawPdu], bool]


def sense_length(raw: RawPdu) -> int:
    """SenseLength of a SCSI Response, -1 where the segment cannot hold it."""
    return int.from_bytes(raw.data[:2], "big") if len(raw.data) > 1 else -1


def _all(bits: int) -> Row:
    return lambda raw: raw.bhs[1] & bits == bits


def _with_status(row: Row) -> Row:
    return lambda raw: bool(raw.bhs[1] & _STATUS) and row(raw)


def _completed(row: Row) -> Row:
    return lambda raw: not raw.bhs[2] and row(raw)


def _has_data(raw: RawPdu) -> bool:
    return len(raw.data) > 0


_ROWS: Mapping[int, tuple[Row, ...]] = MappingProxyType(
    {
        Opcode.NOP_IN: (lambda raw: _NO_TAG not in (raw.bhs[16:20], raw.bhs[20:24]),),
        Opcode.SCSI_RESPONSE: (
            _all(_OVER_UNDER),
            _all(_BIDI_OVER_UNDER),
            lambda raw: 1 < raw.bhs[2] < _FIRST_VENDOR_RESPONSE,
            lambda raw: bool(raw.bhs[2] and raw.bhs[1] & (_OVER_UNDER | _BIDI_OVER_UNDER)),
            _completed(lambda raw: raw.bhs[3] not in _STATUSES),
            _completed(lambda raw: raw.bhs[3] == _CHECK_CONDITION and (not len(raw.data) or not sense_length(raw))),
        ),
        Opcode.TASK_MANAGEMENT_RESPONSE: (lambda raw: raw.bhs[2] not in _TASK_RESPONSES, _has_data),
        Opcode.TEXT_RESPONSE: (
            _all(_FINAL | _CONTINUE),
            lambda raw: bool(raw.bhs[1] & _FINAL) != (raw.bhs[20:24] == _NO_TAG),
        ),
        Opcode.SCSI_DATA_IN: (
            _with_status(_all(_OVER_UNDER)),
            _with_status(lambda raw: not raw.bhs[1] & _FINAL),
            _with_status(lambda raw: raw.bhs[3] not in _WITH_DATA),
        ),
        Opcode.LOGOUT_RESPONSE: (lambda raw: raw.bhs[2] not in _LOGOUT_RESPONSES, _has_data),
        Opcode.R2T: (_has_data,),
        Opcode.ASYNC_MESSAGE: (lambda raw: _LAST_STANDARD_EVENT < raw.bhs[36] < _FIRST_VENDOR_EVENT,),
        Opcode.REJECT: (lambda raw: raw.bhs[2] not in _REASONS, lambda raw: len(raw.data) < _HEADER),
    }
)


def invalid(raw: RawPdu, opcode: int) -> bool:
    """Whether a field has a value that it cannot have: event 23."""
    flags = raw.bhs[1]
    if opcode == _DATA_IN:
        if not flags & _STATUS or (flags == _FINAL | _STATUS and not raw.bhs[3]):
            return False  # most of what comes
    elif opcode == _SCSI_RESPONSE and flags == _FINAL and raw.bhs[2:4] == _GOOD:
        return False
    for row in _ROWS.get(opcode, ()):  # noqa: SIM110 - what it costs is paid for every R2T
        if row(raw):
            return True
    return False


def is_no_sense(raw: RawPdu, protocol_level: int) -> bool:
    """Whether the data of a SCSI Response is not the sense data of its status: event 60 (11.4.7; RFC 7144 5.2.2)."""
    if raw.bhs[2] or not len(raw.data):
        return False
    length = sense_length(raw)
    whole = length >= 0 and length + 2 == len(raw.data)
    return not whole or (raw.bhs[3] != _CHECK_CONDITION and protocol_level < 2)
