"""Which PDUs use up a sequence number (4.2.2.1, 4.2.2.2; wire order of 11.2)."""

from __future__ import annotations

from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.pdu.raw import RawPdu

_RESERVED_TAG = b"\xff\xff\xff\xff"

_ALWAYS_STATUS = frozenset(
    {
        Opcode.SCSI_RESPONSE,
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Opcode.LOGIN_RESPONSE,
        Opcode.TEXT_RESPONSE,
        Opcode.LOGOUT_RESPONSE,
        Opcode.ASYNC_MESSAGE,
        Opcode.REJECT,
    }
)
_CARRIES_STAT_SN = _ALWAYS_STATUS | {Opcode.NOP_IN, Opcode.R2T}
_NUMBERED_REQUESTS = frozenset(
    {
        Opcode.NOP_OUT,
        Opcode.SCSI_COMMAND,
        Opcode.TASK_MANAGEMENT_REQUEST,
        Opcode.TEXT_REQUEST,
        Opcode.LOGOUT_REQUEST,
    }
)


def carries_stat_sn(raw: RawPdu) -> bool:
    """Whether bytes 24 to 27 are a StatSN: all target PDUs but a Data-In without status."""
    return raw.opcode in _CARRIES_STAT_SN or (raw.opcode == Opcode.SCSI_DATA_IN and bool(raw.bhs[1] & 1))


def consumes_stat_sn(raw: RawPdu) -> bool:
    """Whether the PDU uses up its StatSN: not an R2T, nor a NOP-In that is no answer (4.2.2.2, 11.8.3, 11.19.2)."""
    opcode = raw.opcode
    if opcode == Opcode.SCSI_DATA_IN:
        return bool(raw.bhs[1] & 1)
    if opcode == Opcode.NOP_IN:
        return raw.bhs[16:20] != _RESERVED_TAG
    return opcode in _ALWAYS_STATUS


def carries_cmd_sn(raw: RawPdu) -> bool:
    """Whether bytes 24 to 27 are a CmdSN: all requests but Data-Out and SNACK."""
    return raw.opcode in _NUMBERED_REQUESTS or raw.opcode == Opcode.LOGIN_REQUEST


def consumes_cmd_sn(raw: RawPdu) -> bool:
    """Whether the request uses up its CmdSN: numbered and not immediate (4.2.2.1)."""
    return raw.opcode in _NUMBERED_REQUESTS and not raw.immediate
