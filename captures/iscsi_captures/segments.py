"""One TCP segment as an Ethernet frame: IPv4 (RFC 791) or IPv6 (RFC 8200), TCP (RFC 9293), checksums (RFC 1071)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address

IpAddress = IPv4Address | IPv6Address
Buffer = bytes | memoryview

_TCP_HEADER = 20
_TCP = 6
_HOPS = 64
_DO_NOT_FRAGMENT = 0x4000
_ETHER_TYPES = {4: b"\x08\x00", 6: b"\x86\xdd"}
_IP_HEADERS = {4: 20, 6: 40}


class TcpFlag(IntFlag):
    """Control bits of a segment."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10


@dataclass(frozen=True, slots=True)
class Station:
    """One end as a frame needs it: MAC of 6 bytes, IP address, TCP port."""

    mac: bytes
    address: IpAddress
    port: int


def maximum_segment_size(version: int, mtu: int) -> int:
    """Payload bytes that fit into a frame of this MTU with IP of this version."""
    return mtu - _IP_HEADERS[version] - _TCP_HEADER


def checksum(data: Buffer) -> int:
    """The internet checksum over an even number of bytes: ones' complement of their ones' complement sum."""
    return -int.from_bytes(data, "big") % 0xFFFF


class Path:
    """One way between two stations of the same IP version; makes the frames that go it."""

    def __init__(self, source: Station, destination: Station) -> None:
        self.version = source.address.version
        self._ports = (source.port, destination.port)
        self._addresses = source.address.packed + destination.address.packed
        self._ethernet = destination.mac + source.mac + _ETHER_TYPES[self.version]
        self._identification = 0

    def frame(
        self, flags: TcpFlag, sequence: int, acknowledgement: int, window: int, *, options: bytes = b"", payload: Buffer
    ) -> bytes:
        """A segment. window: the 16 bits as sent; options: a multiple of 4 bytes; payload: within the MSS."""
        words = (_TCP_HEADER + len(options)) >> 2
        header = struct.pack("!HHIIBBHHH", *self._ports, sequence, acknowledgement, words << 4, flags, window, 0, 0)
        length = 4 * words + len(payload)
        pseudo = self._addresses + struct.pack("!HH", _TCP, length)
        total = checksum(b"".join((pseudo, header, options, payload, bytes(length & 1))))
        header = header[:16] + total.to_bytes(2, "big") + header[18:]
        return b"".join((self._ethernet, self._ip_header(length), header, options, payload))

    def _ip_header(self, length: int) -> bytes:
        if self.version == 6:
            return struct.pack("!IHBB", 6 << 28, length, _TCP, _HOPS) + self._addresses
        self._identification = self._identification + 1 & 0xFFFF
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, self._identification, _DO_NOT_FRAGMENT, _HOPS, _TCP, 0)
        total = checksum(header + self._addresses)
        return header[:10] + total.to_bytes(2, "big") + self._addresses
