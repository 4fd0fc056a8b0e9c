"""The name service heartbeat and the authentication block, which alone have no attributes (RFC 4171 5.5, 5.6.5.14)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from iscsi_protocol.isns.codes import Flag, Function
from iscsi_protocol.isns.errors import malformed
from iscsi_protocol.isns.pdu import Message

_FIXED = struct.Struct(">16sHHIIHH")
_BACKUP = struct.Struct(">16sHH")
_BLOCK = struct.Struct(">IIQI")

DSA_SHA1 = 0x0002
"""The block structure that everyone knows (R4171-7.2-02)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """Where a server is. address: 16 bytes; udp: 0 where it has no such port."""

    address: bytes
    tcp: int
    udp: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Heartbeat:
    """A heartbeat. interval: seconds; counter: how many went before; rest: what vendors add, and the authentication block."""

    active: Server
    interval: int
    counter: int
    backups: tuple[Server, ...] = ()
    reserved: int = 0
    rest: bytes = b""

    def message(self, transaction: int) -> Message:
        """The message that carries it; it is never answered (R4171-5.6.5.14-01)."""
        active = self.active
        payload = _FIXED.pack(
            active.address, active.tcp, active.udp, self.interval, self.counter, self.reserved, len(self.backups)
        )
        payload += b"".join(_BACKUP.pack(backup.address, backup.tcp, backup.udp) for backup in self.backups)
        return Message(
            function=Function.HEARTBEAT, transaction=transaction, flags=Flag.SERVER, payload=payload + self.rest
        )


def heartbeat_of(message: Message) -> Heartbeat:
    """Read a heartbeat. Raises IsnsError (2) for one that ends too early."""
    payload = message.payload
    if len(payload) < _FIXED.size:
        raise malformed("R4171-5.6.5.14-01", f"a heartbeat of {len(payload)} bytes")
    address, tcp, udp, interval, counter, reserved, count = _FIXED.unpack_from(payload)
    end = _FIXED.size + count * _BACKUP.size
    if len(payload) < end:
        raise malformed("R4171-5.6.5.14-01", f"a heartbeat of {len(payload)} bytes with {count} backup servers")
    backups = tuple(
        Server(address=fields[0], tcp=fields[1], udp=fields[2])
        for fields in _BACKUP.iter_unpack(payload[_FIXED.size : end])
    )
    return Heartbeat(
        active=Server(address=address, tcp=tcp, udp=udp),
        interval=interval,
        counter=counter,
        backups=backups,
        reserved=reserved,
        rest=payload[end:],
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AuthenticationBlock:
    """What a multicast message is signed with (5.5). timestamp: seconds since 1970; spi: says which key."""

    structure: int
    timestamp: int
    spi: bytes
    authenticator: bytes

    def encode(self) -> bytes:
        """The block with its lengths."""
        length = _BLOCK.size + len(self.spi) + len(self.authenticator)
        return _BLOCK.pack(self.structure, length, self.timestamp, len(self.spi)) + self.spi + self.authenticator


def decode_block(data: bytes) -> AuthenticationBlock:
    """The block that these bytes are. Raises IsnsError (2) where lengths do not fit."""
    if len(data) < _BLOCK.size:
        raise malformed("R4171-5.5-02", f"an authentication block of {len(data)} bytes")
    structure, length, timestamp, spi_length = _BLOCK.unpack_from(data)
    if length != len(data) or _BLOCK.size + spi_length > length:
        raise malformed("R4171-5.5-02", f"lengths {length} and {spi_length} in a block of {len(data)} bytes")
    split = _BLOCK.size + spi_length
    return AuthenticationBlock(
        structure=structure, timestamp=timestamp, spi=data[_BLOCK.size : split], authenticator=data[split:]
    )
