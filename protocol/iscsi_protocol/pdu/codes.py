"""Code points of RFC 7143 chapter 11, one enum a table.

Decoded fields are plain integers, so a value that no table knows survives; compare them with these members.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Opcode(IntEnum):
    """Byte 0, mask 0x3f (11.2.1.2)."""

    NOP_OUT = 0x00
    SCSI_COMMAND = 0x01
    TASK_MANAGEMENT_REQUEST = 0x02
    LOGIN_REQUEST = 0x03
    TEXT_REQUEST = 0x04
    SCSI_DATA_OUT = 0x05
    LOGOUT_REQUEST = 0x06
    SNACK_REQUEST = 0x10
    NOP_IN = 0x20
    SCSI_RESPONSE = 0x21
    TASK_MANAGEMENT_RESPONSE = 0x22
    LOGIN_RESPONSE = 0x23
    TEXT_RESPONSE = 0x24
    SCSI_DATA_IN = 0x25
    LOGOUT_RESPONSE = 0x26
    R2T = 0x31
    ASYNC_MESSAGE = 0x32
    REJECT = 0x3F


VENDOR_INITIATOR_OPCODES = range(0x1C, 0x1F)
VENDOR_TARGET_OPCODES = range(0x3C, 0x3F)


class Stage(IntEnum):
    """CSG and NSG (11.12.3)."""

    SECURITY = 0
    OPERATIONAL = 1
    FULL_FEATURE = 3


class LoginStatus(IntEnum):
    """Status-Class in the high byte, Status-Detail in the low byte (11.13.5)."""

    SUCCESS = 0x0000
    MOVED_TEMPORARILY = 0x0101
    MOVED_PERMANENTLY = 0x0102
    INITIATOR_ERROR = 0x0200
    AUTHENTICATION_FAILURE = 0x0201
    AUTHORIZATION_FAILURE = 0x0202
    NOT_FOUND = 0x0203
    TARGET_REMOVED = 0x0204
    UNSUPPORTED_VERSION = 0x0205
    TOO_MANY_CONNECTIONS = 0x0206
    MISSING_PARAMETER = 0x0207
    CANNOT_INCLUDE_IN_SESSION = 0x0208
    SESSION_TYPE_NOT_SUPPORTED = 0x0209
    SESSION_DOES_NOT_EXIST = 0x020A
    INVALID_DURING_LOGIN = 0x020B
    TARGET_ERROR = 0x0300
    SERVICE_UNAVAILABLE = 0x0301
    OUT_OF_RESOURCES = 0x0302


def login_status_text(status: int) -> str:
    """A login status for people: its four digits, and its name where it has one."""
    try:
        return f"{status:04x} ({LoginStatus(status).name.replace('_', ' ').lower()})"
    except ValueError:
        return f"{status:04x}"


class RejectReason(IntEnum):
    """Reject byte 2 (11.17.1)."""

    DATA_DIGEST_ERROR = 0x02
    SNACK_REJECT = 0x03
    PROTOCOL_ERROR = 0x04
    COMMAND_NOT_SUPPORTED = 0x05
    IMMEDIATE_COMMAND_REJECT = 0x06
    TASK_IN_PROGRESS = 0x07
    INVALID_DATA_ACK = 0x08
    INVALID_PDU_FIELD = 0x09
    LONG_OPERATION_REJECT = 0x0A
    DEPRECATED_NEGOTIATION_RESET = 0x0B
    WAITING_FOR_LOGOUT = 0x0C


class AsyncEvent(IntEnum):
    """Asynchronous Message byte 36 (11.9.1)."""

    SCSI = 0
    LOGOUT_REQUESTED = 1
    CONNECTION_DROP = 2
    SESSION_DROP = 3
    NEGOTIATION_REQUESTED = 4
    TASKS_TERMINATED = 5
    VENDOR_FIRST = 248


class LogoutReason(IntEnum):
    """Logout Request byte 1, mask 0x7f (11.14.1)."""

    CLOSE_SESSION = 0
    CLOSE_CONNECTION = 1
    RECOVERY = 2


class LogoutResponseCode(IntEnum):
    """Logout Response byte 2 (11.15.1)."""

    SUCCESS = 0
    CID_NOT_FOUND = 1
    RECOVERY_NOT_SUPPORTED = 2
    CLEANUP_FAILED = 3


class TaskFunction(IntEnum):
    """Task Management Function Request byte 1, mask 0x7f (11.5.1; 9 to 12 of RFC 7144 4.1)."""

    ABORT_TASK = 1
    ABORT_TASK_SET = 2
    CLEAR_ACA = 3
    CLEAR_TASK_SET = 4
    LOGICAL_UNIT_RESET = 5
    TARGET_WARM_RESET = 6
    TARGET_COLD_RESET = 7
    TASK_REASSIGN = 8
    QUERY_TASK = 9
    QUERY_TASK_SET = 10
    I_T_NEXUS_RESET = 11
    QUERY_ASYNCHRONOUS_EVENT = 12


class TaskResponse(IntEnum):
    """Task Management Function Response byte 2 (11.6.1; 7 of RFC 7144)."""

    FUNCTION_COMPLETE = 0
    TASK_DOES_NOT_EXIST = 1
    LUN_DOES_NOT_EXIST = 2
    TASK_STILL_ALLEGIANT = 3
    REASSIGNMENT_NOT_SUPPORTED = 4
    FUNCTION_NOT_SUPPORTED = 5
    AUTHORIZATION_FAILED = 6
    FUNCTION_SUCCEEDED = 7
    FUNCTION_REJECTED = 255


class SnackType(IntEnum):
    """SNACK Request byte 1, mask 0x0f (11.16.1)."""

    DATA_OR_R2T = 0
    STATUS = 1
    DATA_ACK = 2
    R_DATA = 3


class ScsiResponseCode(IntEnum):
    """SCSI Response byte 2 (11.4.3)."""

    COMPLETED = 0x00
    TARGET_FAILURE = 0x01
    VENDOR_FIRST = 0x80


class TaskAttribute(IntEnum):
    """SCSI Command byte 1, mask 0x07 (11.3.1)."""

    UNTAGGED = 0
    SIMPLE = 1
    ORDERED = 2
    HEAD_OF_QUEUE = 3
    ACA = 4


class AhsType(IntEnum):
    """AHSType, mask 0x3f (11.2.2.1)."""

    EXTENDED_CDB = 1
    BIDIRECTIONAL_READ_LENGTH = 2


class Flag(IntFlag):
    """Bits of byte 1 that the read and write path tests without decoding the rest."""

    FINAL = 0x80
    TRANSIT = 0x80
    CONTINUE = 0x40
    READ = 0x40
    WRITE = 0x20
    ACKNOWLEDGE = 0x40
    BIDI_OVERFLOW = 0x10
    BIDI_UNDERFLOW = 0x08
    OVERFLOW = 0x04
    UNDERFLOW = 0x02
    STATUS = 0x01


NO_TAG = 0xFFFFFFFF
"""The reserved value of Initiator Task Tag and Target Transfer Tag."""

BHS_LENGTH = 48
NO_LUN = bytes(8)


def is_initiator_opcode(opcode: int) -> bool:
    """Whether an initiator sends this opcode (0x00 to 0x1f, 11.2.1.2)."""
    return opcode < 0x20
