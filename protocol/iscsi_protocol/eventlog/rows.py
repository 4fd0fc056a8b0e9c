"""The events of the driver, one row each: number, severity, kind of extra data, message (guide, Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType

SOURCE = "iScsiPrt"


class Severity(IntEnum):
    """The top byte of the error code."""

    INFORMATION = 0x40
    WARNING = 0x80
    ERROR = 0xC0


class Dump(Enum):
    """The layout of the extra data."""

    NONE = "none"
    ADDRESS = "address family u16, port u16, address bytes"
    COMMAND_NUMBERS = "ExpCmdSN u32, MaxCmdSN u32"
    BURST_LENGTHS = "FirstBurstLength u32, MaxBurstLength u32"
    STATUS = "error status u32"
    FUNCTION = "opcode of the request u32"
    CDB = "the CDB"
    PDU = "whole PDU"
    TEXT = "text as it was on the wire"
    TARGET_NAME = "target name"
    HEADER = "BHS"
    HEADER_AND_DIGEST = "BHS, header digest"
    CHECKSUMS = "computed CRC32C u32, given CRC32C u32"
    STATUS_NUMBERS = "expected StatSN u32, given StatSN u32"
    REJECTED_HEADER = "header of the rejected PDU"
    SIZE = "size u32"
    HIDDEN = "length u32 of a secret, which is itself never shown"


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event. message: what it says, in our words."""

    id: int
    severity: Severity
    dump: Dump
    message: str


_E, _W, _I = Severity.ERROR, Severity.WARNING, Severity.INFORMATION

_ROWS = (
    EventRow(1, _E, Dump.ADDRESS, "no TCP connection to the target portal could be made"),
    EventRow(2, _E, Dump.NONE, "no resources for another session"),
    EventRow(3, _E, Dump.COMMAND_NUMBERS, "final login response with MaxCmdSN below ExpCmdSN - 1"),
    EventRow(4, _E, Dump.BURST_LENGTHS, "MaxBurstLength is below FirstBurstLength"),
    EventRow(5, _E, Dump.STATUS, "the local end of a connection could not be set up"),
    EventRow(6, _E, Dump.NONE, "no resources for another connection"),
    EventRow(7, _E, Dump.STATUS, "a PDU could not be sent"),
    EventRow(8, _E, Dump.FUNCTION, "no answer in time to an iSCSI request"),
    EventRow(9, _E, Dump.CDB, "no answer in time to a SCSI request"),
    EventRow(10, _E, Dump.PDU, "the target refused the login"),
    EventRow(11, _E, Dump.PDU, "invalid login response"),
    EventRow(12, _E, Dump.TEXT, "invalid data in a login redirect"),
    EventRow(13, _E, Dump.TEXT, "unknown AuthMethod"),
    EventRow(14, _E, Dump.TEXT, "unknown CHAP algorithm"),
    EventRow(15, _E, Dump.TEXT, "invalid characters in the CHAP challenge"),
    EventRow(16, _E, Dump.TEXT, "invalid key during the CHAP exchange"),
    EventRow(17, _E, Dump.TEXT, "the target's CHAP response is wrong"),
    EventRow(18, _E, Dump.NONE, "the target does without the header digest that is required here"),
    EventRow(19, _E, Dump.NONE, "the target does without the data digest that is required here"),
    EventRow(20, _E, Dump.TARGET_NAME, "the connection to the target was lost"),
    EventRow(21, _E, Dump.HEADER, "data segment longer than the declared MaxRecvDataSegmentLength"),
    EventRow(22, _E, Dump.HEADER_AND_DIGEST, "header digest error"),
    EventRow(23, _E, Dump.HEADER, "PDU with invalid fields"),
    EventRow(24, _E, Dump.HEADER, "PDU with an opcode that a target does not send"),
    EventRow(25, _E, Dump.CHECKSUMS, "data digest error"),
    EventRow(26, _E, Dump.HEADER, "more data than was asked for"),
    EventRow(27, _E, Dump.HEADER, "no task has this initiator task tag"),
    EventRow(28, _E, Dump.HEADER, "invalid R2T"),
    EventRow(29, _E, Dump.REJECTED_HEADER, "the target rejected a PDU"),
    EventRow(30, _E, Dump.NONE, "no work item for a request"),
    EventRow(31, _E, Dump.NONE, "no resource for processing a request"),
    EventRow(32, _W, Dump.TARGET_NAME, "the target asks for logout"),
    EventRow(33, _E, Dump.SIZE, "CHAP challenge over 1024 bytes"),
    EventRow(34, _I, Dump.TARGET_NAME, "the lost connection was re-established"),
    EventRow(35, _E, Dump.HIDDEN, "target CHAP secret under 12 bytes"),
    EventRow(36, _E, Dump.HIDDEN, "initiator CHAP secret under 12 bytes"),
    EventRow(37, _E, Dump.NONE, "the hash for CHAP is not available"),
    EventRow(38, _E, Dump.NONE, "CHAP is required here, but the target did not offer it"),
    EventRow(39, _W, Dump.TARGET_NAME, "a task management function was sent to reset the target"),
    EventRow(40, _E, Dump.NONE, "the target requires CHAP, which is not configured here"),
    EventRow(41, _E, Dump.NONE, "no AuthMethod from the target in the security stage"),
    EventRow(42, _E, Dump.STATUS_NUMBERS, "invalid StatSN"),
    EventRow(43, _E, Dump.FUNCTION, "no answer in time to a login request"),
    EventRow(44, _E, Dump.FUNCTION, "no answer in time to a logout request"),
    EventRow(45, _E, Dump.FUNCTION, "no answer in time to a login request that adds a connection"),
    EventRow(46, _E, Dump.FUNCTION, "no answer in time to SendTargets"),
    EventRow(47, _E, Dump.FUNCTION, "no answer in time to a SCSI command of the management interface"),
    EventRow(48, _E, Dump.FUNCTION, "no answer in time to a NOP"),
    EventRow(49, _E, Dump.FUNCTION, "no answer in time to a task management request"),
    EventRow(50, _E, Dump.FUNCTION, "no answer in time to a text negotiation"),
    EventRow(51, _E, Dump.FUNCTION, "no answer in time to a logout that the target asked for"),
    EventRow(52, _E, Dump.NONE, "IPsec was not configured in time"),
    EventRow(53, _E, Dump.NONE, "IPsec was not released in time"),
    EventRow(54, _E, Dump.NONE, "data was not encrypted or decrypted in time"),
    EventRow(55, _E, Dump.NONE, "no resources to send data"),
    EventRow(56, _E, Dump.NONE, "a buffer could not be used"),
    EventRow(57, _E, Dump.NONE, "no resources for an I/O request"),
    EventRow(58, _E, Dump.NONE, "no free task tag"),
    EventRow(59, _E, Dump.NONE, "the target dropped the connection before full feature phase"),
    EventRow(60, _E, Dump.HEADER, "data that is not sense data in a SCSI response"),
    EventRow(61, _E, Dump.NONE, "DataPDUInOrder=No where Yes was asked for"),
    EventRow(62, _E, Dump.NONE, "DataSequenceInOrder=No where Yes was asked for"),
    EventRow(63, _W, Dump.TARGET_NAME, "session recovery, because a reset did not succeed"),
    EventRow(64, _I, Dump.NONE, "start from an iSCSI boot firmware table"),
)

EVENTS: Mapping[int, EventRow] = MappingProxyType({row.id: row for row in _ROWS})
"""Every event of the driver by its id."""

SECRETS = frozenset(row.id for row in _ROWS if row.dump is Dump.HIDDEN)
"""Events in whose packets other initiators leave a CHAP secret: nobody prints their extra data."""
