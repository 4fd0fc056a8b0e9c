"""A PDU exactly as it is on the wire (11.1, 11.2): nothing mended, nothing lost.

What is framed well can always be re-encoded byte for byte: reserved bits, non-zero padding and wrong digests stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.pdu.codes import BHS_LENGTH

Buffer = bytes | bytearray | memoryview


def padding_for(length: int) -> int:
    """Pad bytes, 0 to 3, behind a part of this length (11.1)."""
    return -length & 3


@dataclass(slots=True)
class RawPdu:
    """The parts of one PDU in wire order.

    bhs: 48 bytes; ahs: TotalAHSLength * 4 bytes; header_digest, data_digest: 4 bytes, or empty where the connection
    has none; data: DataSegmentLength bytes; padding: 0 to 3 bytes. The parts may be views of a receive buffer
    (see `framing`); `kept()` makes them independent. The two error marks are what the framer found.
    """

    bhs: Buffer
    ahs: Buffer = b""
    data: Buffer = b""
    padding: Buffer = b""
    header_digest: Buffer = b""
    data_digest: Buffer = b""
    header_digest_error: bool = False
    data_digest_error: bool = False

    @property
    def opcode(self) -> int:
        """Byte 0, mask 0x3f."""
        return self.bhs[0] & 0x3F

    @property
    def immediate(self) -> bool:
        """Bit 0x40 of byte 0."""
        return bool(self.bhs[0] & 0x40)

    @property
    def data_segment_length(self) -> int:
        """The header's 24-bit claim, which a lying PDU does not keep."""
        return int.from_bytes(self.bhs[5:8], "big")

    @property
    def initiator_task_tag(self) -> int:
        """Bytes 16 to 19."""
        return int.from_bytes(self.bhs[16:20], "big")

    def buffers(self) -> list[Buffer]:
        """The non-empty parts in wire order, for one sendmsg()."""
        parts = (self.bhs, self.ahs, self.header_digest, self.data, self.padding, self.data_digest)
        return [part for part in parts if len(part)]

    def to_bytes(self) -> bytes:
        """The whole PDU."""
        return b"".join(self.buffers())

    def kept(self) -> RawPdu:
        """The same PDU with parts of its own, safe to hold after the receive buffer is used again."""
        return RawPdu(
            bytes(self.bhs),
            bytes(self.ahs),
            bytes(self.data),
            bytes(self.padding),
            bytes(self.header_digest),
            bytes(self.data_digest),
            self.header_digest_error,
            self.data_digest_error,
        )

    def with_digests(self, *, header: bool, data: bool) -> RawPdu:
        """The same PDU with right digests where asked for and none elsewhere (11.2.3, 11.2.4)."""
        return replace(
            self,
            header_digest=digest_bytes(self.bhs, self.ahs) if header else b"",
            data_digest=digest_bytes(self.data, self.padding) if data and len(self.data) else b"",
            header_digest_error=False,
            data_digest_error=False,
        )

    def with_bytes(self, offset: int, value: bytes) -> RawPdu:
        """The same PDU with header bytes replaced, nothing else mended.

        Raises ValueError when the bytes do not lie within the 48 of the BHS.
        """
        if offset < 0 or offset + len(value) > BHS_LENGTH:
            raise ValueError(f"bytes {offset} to {offset + len(value) - 1} are outside of the BHS")
        header = bytearray(self.bhs)
        header[offset : offset + len(value)] = value
        return replace(self, bhs=bytes(header))


def join(pdus: Iterable[RawPdu]) -> bytes:
    """Several PDUs as one run of bytes."""
    return b"".join(pdu.to_bytes() for pdu in pdus)
