"""Numbers and layouts of the NBD protocol that a server needs; all integers are big-endian (proto.md, Values)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag

NBD_MAGIC = 0x4E42444D41474943
OPTION_MAGIC = 0x49484156454F5054
OPTION_REPLY_MAGIC = 0x0003E889045565A9
REQUEST_MAGIC = 0x25609513
SIMPLE_REPLY_MAGIC = 0x67446698
STRUCTURED_REPLY_MAGIC = 0x668E33EF

GREETING = struct.Struct(">QQH")
CLIENT_FLAGS = struct.Struct(">I")
OPTION = struct.Struct(">QII")
OPTION_REPLY = struct.Struct(">QIII")
REQUEST = struct.Struct(">IHHQQI")
SIMPLE_REPLY = struct.Struct(">IIQ")
STRUCTURED_REPLY = struct.Struct(">IHHQI")
OFFSET = struct.Struct(">Q")
ERROR_CHUNK = struct.Struct(">IH")

MAX_STRING = 4096
"""Bytes of an export's name."""
MAX_PAYLOAD = 32 * 1024 * 1024
"""Bytes that one request may move; what every server is expected to take."""


class HandshakeFlag(IntFlag):
    """Of the server, and with the same numbers of the client."""

    FIXED_NEWSTYLE = 1
    NO_ZEROES = 2


class Option(IntEnum):
    """What a client asks for before it picks an export."""

    EXPORT_NAME = 1
    ABORT = 2
    LIST = 3
    STARTTLS = 5
    INFO = 6
    GO = 7
    STRUCTURED_REPLY = 8
    LIST_META_CONTEXT = 9
    SET_META_CONTEXT = 10


class Reply(IntEnum):
    """Answers to options."""

    ACK = 1
    SERVER = 2
    INFO = 3
    ERR_UNSUP = 0x80000001
    ERR_INVALID = 0x80000003
    ERR_UNKNOWN = 0x80000006
    ERR_TOO_BIG = 0x80000009


class Info(IntEnum):
    """What is told of an export."""

    EXPORT = 0
    NAME = 1
    DESCRIPTION = 2
    BLOCK_SIZE = 3


class ExportFlag(IntFlag):
    """What an export can do."""

    HAS_FLAGS = 1
    READ_ONLY = 2
    SEND_FLUSH = 4
    SEND_FUA = 8
    ROTATIONAL = 16
    SEND_TRIM = 32
    SEND_WRITE_ZEROES = 64
    CAN_MULTI_CONN = 256


class Command(IntEnum):
    """Requests."""

    READ = 0
    WRITE = 1
    DISC = 2
    FLUSH = 3
    TRIM = 4
    WRITE_ZEROES = 6


class CommandFlag(IntFlag):
    """Flags of a request."""

    NONE = 0
    FUA = 1
    NO_HOLE = 2


class Errno(IntEnum):
    """Errors that cross the wire."""

    EPERM = 1
    EIO = 5
    EINVAL = 22
    ENOSPC = 28
    EOVERFLOW = 75
    ENOTSUP = 95
    ESHUTDOWN = 108


class ChunkType(IntEnum):
    """Chunks of a structured reply."""

    OFFSET_DATA = 1
    ERROR = 0x8001


CHUNK_DONE = 1


class NbdError(Exception):
    """A request that came to nothing. error: what the client gets."""

    def __init__(self, error: Errno, reason: str) -> None:
        super().__init__(reason)
        self.error = error


@dataclass(frozen=True, slots=True, eq=False)
class NbdRequest:
    """One request of a client. data: of a write, else empty; error: set where it is refused without being done."""

    command: int
    flags: int
    cookie: int
    offset: int
    length: int
    data: memoryview
    error: Errno | None = None

    @property
    def fua(self) -> bool:
        """Whether the answer has to wait until the data is on the medium."""
        return bool(self.flags & CommandFlag.FUA)
