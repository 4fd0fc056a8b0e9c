"""TransportIDs of iSCSI initiator ports (SPC-4 7.6.4.6; RFC 7143 4.2.7, 4.4.1).

Two formats: 00b is an initiator's name alone, 01b is name and ISID, the initiator port. Text ends with NUL and is padded
with NULs to a multiple of four, at least 20 bytes in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from iscsi_protocol.identity import ISID_LENGTH
from iscsi_protocol.scsi.fields import Buffer

ISCSI_PROTOCOL = 0x5
HEADER_LENGTH = 4
MIN_TEXT = 20
_SEPARATOR = ",i,0x"
_HEX = frozenset("0123456789abcdefABCDEF")


class TransportIdFormat(IntEnum):
    """FORMAT CODE of an iSCSI TransportID."""

    NAME = 0
    NAME_AND_ISID = 1


class TransportIdError(ValueError):
    """Bytes that are no TransportID of an iSCSI initiator; `at` is the offending byte, from the TransportID's start."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.at = at


class TruncatedTransportId(TransportIdError):
    """The list ends within a TransportID."""


@dataclass(frozen=True, slots=True)
class TransportId:
    """An initiator: its name, and the 6 bytes of the ISID of one of its ports, or None for format 00b."""

    name: str
    isid: bytes | None = None

    def build(self) -> bytes:
        """The TransportID, a multiple of 4 bytes. Raises ValueError for an ISID of another length than 6 bytes."""
        text, code = self.name, TransportIdFormat.NAME
        if self.isid is not None:
            if len(self.isid) != ISID_LENGTH:
                raise ValueError(f"an ISID has {ISID_LENGTH} bytes, got {len(self.isid)}")
            text, code = f"{text}{_SEPARATOR}{self.isid.hex()}", TransportIdFormat.NAME_AND_ISID
        value = text.encode() + b"\0"
        value = value.ljust(max(MIN_TEXT, -(-len(value) // 4) * 4), b"\0")
        return bytes((code << 6 | ISCSI_PROTOCOL, 0)) + len(value).to_bytes(2, "big") + value


def parse_transport_id(data: Buffer, at: int = 0) -> tuple[TransportId, int]:
    """The TransportID at an offset, and the offset behind it.

    The name is text, not judged as a name. Raises TruncatedTransportId and TransportIdError.
    """
    head = bytes(data[at : at + HEADER_LENGTH])
    if len(head) < HEADER_LENGTH:
        raise TruncatedTransportId("a TransportID is cut off in its header", 0)
    length = int.from_bytes(head[2:4], "big")
    end = at + HEADER_LENGTH + length
    if end > len(data):
        raise TruncatedTransportId(f"a TransportID of {length} bytes is cut off", 2)
    if head[0] & 0x0F != ISCSI_PROTOCOL:
        raise TransportIdError(f"protocol identifier {head[0] & 0x0F:#x} is not iSCSI", 0)
    if length < MIN_TEXT or length % 4:
        raise TransportIdError(f"{length} bytes of text are no multiple of 4 from {MIN_TEXT} on", 2)
    raw, nul, _padding = bytes(data[at + HEADER_LENGTH : end]).partition(b"\0")
    if not nul:
        raise TransportIdError("the text does not end with NUL", HEADER_LENGTH)
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise TransportIdError("the text is not UTF-8", HEADER_LENGTH) from error
    return _of_text(text, head[0] >> 6), end


def _of_text(text: str, code: int) -> TransportId:
    """Raises TransportIdError for a format that is reserved, and for text that is not as its format asks."""
    if code == TransportIdFormat.NAME:
        return TransportId(text)
    if code != TransportIdFormat.NAME_AND_ISID:
        raise TransportIdError(f"format {code} is reserved", 0)
    name, separator, isid = text.rpartition(_SEPARATOR)
    if not separator or len(isid) != 2 * ISID_LENGTH or not _HEX.issuperset(isid):
        raise TransportIdError("the text does not name an initiator port", HEADER_LENGTH)
    return TransportId(name, bytes.fromhex(isid))


def parse_transport_ids(data: Buffer) -> list[TransportId]:
    """All TransportIDs of a list. Raises as parse_transport_id, with `at` counted from the list's start."""
    found: list[TransportId] = []
    at = 0
    while at < len(data):
        try:
            each, end = parse_transport_id(data, at)
        except TransportIdError as error:
            raise type(error)(str(error), at + error.at) from error
        found.append(each)
        at = end
    return found
