"""Additional Header Segments (11.2.2): the chain behind the BHS of a SCSI Command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iscsi_protocol.pdu.codes import AhsType
from iscsi_protocol.pdu.raw import padding_for

BHS_CDB_LENGTH = 16


class AhsError(ValueError):
    """An AHS chain that its lengths do not describe. `offset` is where it goes wrong, in bytes from the chain's start."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(f"AHS byte {offset}: {message}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Ahs:
    """One segment: the whole type byte (the code is mask 0x3f) and the AHSLength bytes behind it."""

    ahs_type: int
    contents: bytes

    @property
    def code(self) -> int:
        """AHSType, comparable with `AhsType`."""
        return self.ahs_type & 0x3F


def encode_ahs(segments: Iterable[Ahs]) -> bytes:
    """The chain, each segment padded with zeros to 4 bytes. Raises ValueError for contents that AHSLength cannot count."""
    chain = bytearray()
    for segment in segments:
        if len(segment.contents) > 0xFFFF:
            raise ValueError(f"AHSLength cannot say {len(segment.contents)} bytes")
        chain += len(segment.contents).to_bytes(2, "big") + bytes([segment.ahs_type]) + segment.contents
        chain += bytes(padding_for(len(chain)))
    return bytes(chain)


def decode_ahs(chain: bytes) -> list[Ahs]:
    """The segments of a chain. Raises AhsError where a segment runs off the end."""
    segments, offset = [], 0
    while offset < len(chain):
        if len(chain) - offset < 4:
            raise AhsError(offset, "less than a word is left")
        length = int.from_bytes(chain[offset : offset + 2], "big")
        end = offset + 3 + length
        if end > len(chain):
            raise AhsError(offset, f"length {length} runs past the end")
        segments.append(Ahs(chain[offset + 2], chain[offset + 3 : end]))
        offset = end + padding_for(end)
    return segments


def extended_cdb(cdb: bytes) -> Ahs:
    """The segment for the part of a CDB behind its byte 15 (11.2.2.3). Raises ValueError for one that fits the header."""
    if len(cdb) <= BHS_CDB_LENGTH:
        raise ValueError(f"a CDB of {len(cdb)} bytes needs no extension")
    return Ahs(AhsType.EXTENDED_CDB, b"\0" + cdb[BHS_CDB_LENGTH:])


def bidirectional_read_length(length: int) -> Ahs:
    """The segment with the read length of a bidirectional command, in bytes (11.2.2.4). Raises ValueError beyond 32 bits."""
    if not 0 <= length <= 0xFFFFFFFF:
        raise ValueError(f"a read length of {length} bytes does not fit 32 bits")
    return Ahs(AhsType.BIDIRECTIONAL_READ_LENGTH, b"\0" + length.to_bytes(4, "big"))


def whole_cdb(header_cdb: bytes, segments: Iterable[Ahs]) -> bytes:
    """The CDB from the header's 16 bytes and its extension, if there is one."""
    for segment in segments:
        if segment.code == AhsType.EXTENDED_CDB:
            return header_cdb + segment.contents[1:]
    return header_cdb


def read_length(segments: Iterable[Ahs]) -> int | None:
    """The bidirectional read length, None where no well-formed segment gives it."""
    for segment in segments:
        if segment.code == AhsType.BIDIRECTIONAL_READ_LENGTH and len(segment.contents) == 5:
            return int.from_bytes(segment.contents[1:], "big")
    return None
