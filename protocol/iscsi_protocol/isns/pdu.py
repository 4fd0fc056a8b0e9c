"""PDUs and messages: the 12-byte header, cutting a TCP stream, and messages that take several PDUs (RFC 4171 5.1, 5.2).

Decoding keeps everything, the length field included where it does not tell the payload's length; `check_pdu` and the
`Assembler` judge.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from iscsi_protocol.isns.codes import HEADER_LENGTH, KNOWN_FLAGS, MAX_PAYLOAD, RESPONSE, VERSION, Flag, Status
from iscsi_protocol.isns.errors import IsnsError, malformed

_HEADER = struct.Struct(">HHHHHH")

MAX_MESSAGE = 16 << 20
"""Bytes of a message above which an assembler gives up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IsnsPdu:
    """One PDU. length: the header's field where it differs from the payload's length, None where it tells it."""

    function: int
    transaction: int
    sequence: int = 0
    flags: int = 0
    payload: bytes = b""
    version: int = VERSION
    length: int | None = None

    def encode(self) -> bytes:
        """Header and payload. Raises struct.error for a field that does not fit."""
        length = len(self.payload) if self.length is None else self.length
        header = _HEADER.pack(self.version, self.function, length, self.flags, self.transaction, self.sequence)
        return header + self.payload


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A whole message. flags: without FIRST and LAST, which follow from its place in the PDUs."""

    function: int
    transaction: int
    flags: int = 0
    payload: bytes = b""

    def pdus(self, limit: int = MAX_PAYLOAD) -> list[IsnsPdu]:
        """The PDUs that carry it, at most `limit` bytes of payload each (a multiple of 4). Raises ValueError."""
        if limit % 4 or not 0 < limit <= MAX_PAYLOAD:
            raise ValueError(f"a PDU carries 4 to {MAX_PAYLOAD} bytes in steps of 4, not {limit}")
        pieces = [self.payload[start : start + limit] for start in range(0, len(self.payload), limit)] or [b""]
        pdus = [
            IsnsPdu(
                function=self.function,
                transaction=self.transaction,
                sequence=sequence,
                flags=self.flags,
                payload=piece,
            )
            for sequence, piece in enumerate(pieces)
        ]
        pdus[0] = replace(pdus[0], flags=pdus[0].flags | Flag.FIRST)
        pdus[-1] = replace(pdus[-1], flags=pdus[-1].flags | Flag.LAST)
        return pdus

    def encode(self) -> bytes:
        """All PDUs, one behind the other, as TCP carries them."""
        return b"".join(pdu.encode() for pdu in self.pdus())

    @property
    def is_response(self) -> bool:
        """Whether it answers a request."""
        return bool(self.function & RESPONSE)


def decode_pdu(data: bytes) -> IsnsPdu:
    """One PDU with all that follows its header as payload, as in a datagram. Raises IsnsError for less than a header."""
    if len(data) < HEADER_LENGTH:
        raise malformed("R4171-5-01", f"{len(data)} bytes are no PDU")
    version, function, length, flags, transaction, sequence = _HEADER.unpack_from(data)
    payload = bytes(data[HEADER_LENGTH:])
    return IsnsPdu(
        function=function,
        transaction=transaction,
        sequence=sequence,
        flags=flags,
        payload=payload,
        version=version,
        length=None if length == len(payload) else length,
    )


def check_pdu(pdu: IsnsPdu) -> None:
    """Judge what a header says. Raises IsnsError: 10 for another version, 2 for a length or flags that cannot be."""
    if pdu.version != VERSION:
        raise IsnsError(Status.VERSION_NOT_SUPPORTED, "R4171-5.1.1-02", f"version {pdu.version}")
    if pdu.length is not None:
        raise malformed("R4171-2.9.2-05", f"{pdu.length} bytes are announced, {len(pdu.payload)} came")
    if len(pdu.payload) % 4:
        raise malformed("R4171-5.1.3-01", f"a payload of {len(pdu.payload)} bytes is not aligned")
    if pdu.flags & ~KNOWN_FLAGS:
        raise malformed("R4171-5.1.4-01", f"reserved flags {pdu.flags & ~KNOWN_FLAGS:#06x}")


class PduStream:
    """Cuts the bytes of one direction of a TCP connection into PDUs."""

    def __init__(self) -> None:
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Bytes that are no whole PDU yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[IsnsPdu]:
        """The PDUs that these bytes complete."""
        self._held += data
        pdus = []
        start = 0
        while len(self._held) - start >= HEADER_LENGTH:
            (length,) = struct.unpack_from(">H", self._held, start + 4)
            end = start + HEADER_LENGTH + length
            if len(self._held) < end:
                break
            pdus.append(decode_pdu(bytes(self._held[start:end])))
            start = end
        del self._held[:start]
        return pdus


class Assembler:
    """Puts messages together again. PDUs of several messages may mix; those of one come in order (R4171-5.1.6-02)."""

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._parts: dict[tuple[int, int], list[IsnsPdu]] = {}
        self._limit = limit

    def add(self, pdu: IsnsPdu) -> Message | None:
        """The message that this PDU completes, None while parts are missing.

        Raises IsnsError for a PDU that cannot be or that does not go on where the message was; the message is forgotten.
        """
        key = pdu.function, pdu.transaction
        parts = self._parts.pop(key, [])
        check_pdu(pdu)
        if bool(pdu.flags & Flag.FIRST) != (not parts):
            raise malformed("R4171-5.2-02", "the first PDU alone is marked as first")
        if pdu.sequence != len(parts):
            raise malformed("R4171-5.1.6-02", f"sequence ID {pdu.sequence} instead of {len(parts)}")
        parts.append(pdu)
        if sum(len(part.payload) for part in parts) > self._limit:
            raise malformed("R4171-5.4-03", f"a message of more than {self._limit} bytes")
        if not pdu.flags & Flag.LAST:
            self._parts[key] = parts
            return None
        return Message(
            function=pdu.function,
            transaction=pdu.transaction,
            flags=parts[0].flags & ~int(Flag.FIRST | Flag.LAST),
            payload=b"".join(part.payload for part in parts),
        )
