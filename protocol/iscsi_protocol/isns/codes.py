"""The numbers of iSNS: functions, flags, status codes and bitmaps (RFC 4171 4.1.3, 5.1.4, 5.4, 6.4.2, 6.4.4)."""

from __future__ import annotations

from enum import IntEnum, IntFlag

VERSION = 1
"""R4171-5.1.1-01."""
PORT = 3205
"""Of TCP and UDP alike (R4171-8-01)."""
HEADER_LENGTH = 12
MAX_PAYLOAD = 65532
"""The longest payload of one PDU that is a multiple of four bytes."""
RESPONSE = 0x8000
"""The bit that makes a response of a function (R4171-5.1.2-01)."""


class Function(IntEnum):
    """Requests; a response is the same number with `RESPONSE`."""

    DEV_ATTR_REG = 0x0001
    DEV_ATTR_QRY = 0x0002
    DEV_GET_NEXT = 0x0003
    DEV_DEREG = 0x0004
    SCN_REG = 0x0005
    SCN_DEREG = 0x0006
    SCN_EVENT = 0x0007
    SCN = 0x0008
    DD_REG = 0x0009
    DD_DEREG = 0x000A
    DDS_REG = 0x000B
    DDS_DEREG = 0x000C
    ESI = 0x000D
    HEARTBEAT = 0x000E
    RQST_DOM_ID = 0x0011
    RLSE_DOM_ID = 0x0012
    GET_DOM_ID = 0x0013


FROM_SERVER = frozenset({Function.SCN, Function.ESI, Function.HEARTBEAT})
"""Requests that a server sends."""


class Flag(IntFlag):
    """The header's flags (R4171-5.1.4-01)."""

    CLIENT = 0x8000
    SERVER = 0x4000
    AUTHENTICATION = 0x2000
    REPLACE = 0x1000
    LAST = 0x0800
    FIRST = 0x0400


KNOWN_FLAGS = 0xFC00


class Status(IntEnum):
    """What a response begins with (5.4)."""

    SUCCESSFUL = 0
    UNKNOWN_ERROR = 1
    MESSAGE_FORMAT_ERROR = 2
    INVALID_REGISTRATION = 3
    INVALID_QUERY = 5
    SOURCE_UNKNOWN = 6
    SOURCE_ABSENT = 7
    SOURCE_UNAUTHORIZED = 8
    NO_SUCH_ENTRY = 9
    VERSION_NOT_SUPPORTED = 10
    INTERNAL_ERROR = 11
    BUSY = 12
    OPTION_NOT_UNDERSTOOD = 13
    INVALID_UPDATE = 14
    FUNCTION_NOT_SUPPORTED = 15
    SCN_EVENT_REJECTED = 16
    SCN_REGISTRATION_REJECTED = 17
    ATTRIBUTE_NOT_IMPLEMENTED = 18
    FC_DOMAIN_ID_NOT_AVAILABLE = 19
    FC_DOMAIN_ID_NOT_ALLOCATED = 20
    ESI_NOT_AVAILABLE = 21
    INVALID_DEREGISTRATION = 22
    REGISTRATION_FEATURE_NOT_SUPPORTED = 23


class NodeType(IntFlag):
    """iSCSI Node Type (6.4.2)."""

    TARGET = 0x01
    INITIATOR = 0x02
    CONTROL = 0x04


class Scn(IntFlag):
    """iSCSI Node SCN Bitmap (6.4.4), of a registration and of a notification."""

    INITIATOR_ONLY = 0x80
    TARGET_ONLY = 0x40
    MANAGEMENT = 0x20
    REMOVED = 0x10
    ADDED = 0x08
    UPDATED = 0x04
    MEMBER_REMOVED = 0x02
    MEMBER_ADDED = 0x01


class EntityProtocol(IntEnum):
    """Entity Protocol (6.2.2)."""

    NONE = 1
    ISCSI = 2
    IFCP = 3


def function_name(function: int) -> str:
    """The name of a function or its response; a number where it has none."""
    try:
        name = Function(function & ~RESPONSE).name
    except ValueError:
        return f"function {function:#06x}"
    return f"{name}_RSP" if function & RESPONSE else name


def status_name(status: int) -> str:
    """The name of a status code; a number where it has none."""
    try:
        return Status(status).name
    except ValueError:
        return f"status {status}"
