"""From a frame to the TCP segment in it, for every frame that the short way does not know.

Link types: Ethernet with VLAN tags (IEEE 802.1Q, 802.1ad), Linux cooked v1 and v2, BSD null and loop, raw IP. IPv4 (RFC 791)
with options and fragments, IPv6 (RFC 8200) with extension headers and fragments, VXLAN (RFC 7348) around Ethernet.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from dataclasses import dataclass, field

ETHERNET, NULL, LOOP, COOKED, COOKED_2 = 1, 0, 108, 113, 276
RAW = frozenset((12, 14, 101, 228, 229))
LINK_TYPES = frozenset((ETHERNET, NULL, LOOP, COOKED, COOKED_2)) | RAW

_VLAN = frozenset((0x8100, 0x88A8, 0x9100, 0x9200))
_IPV4, _IPV6, _MAC_CONTROL = 0x0800, 0x86DD, 0x8808
_FAMILIES = {2: _IPV4, 10: _IPV6, 24: _IPV6, 28: _IPV6, 30: _IPV6}
_TCP, _UDP = 6, 17
_VXLAN_PORT = 4789
_EXTENSIONS = frozenset((0, 43, 60, 135, 139, 140))
_FRAGMENT, _AUTHENTICATION = 44, 51
_MOST_EXTENSIONS = 16
_MOST_TAGS = 8
_MOST_DATAGRAMS = 64
_MOST_PARTS = 64
_LONGEST_DATAGRAM = 0xFFFF
_JUMBO = 0xFFFF

_short = struct.Struct(">H").unpack_from
_tcp = struct.Struct(">HHIIHH").unpack_from


@dataclass(slots=True)
class Segment:
    """A TCP segment. key: source and destination address, source and destination port, as they follow each other on the
    wire, in front of it what tells overlays apart; flags: the low byte; cut_off: bytes of payload that were not captured.
    """

    key: bytes
    sequence: int
    acknowledgement: int
    flags: int
    window: int
    options: bytes
    payload: bytes
    cut_off: int


@dataclass(slots=True)
class PauseFrame:
    """An 802.3x pause frame. source: the MAC address that sent it."""

    quanta: int
    source: bytes


@dataclass(slots=True)
class _Datagram:
    """Fragments of one datagram, and its length once that is known."""

    parts: dict[int, bytes] = field(default_factory=dict)
    length: int | None = None


class Network:
    """Takes frames apart; keeps fragments until they are whole. lost: datagrams that never were."""

    def __init__(self) -> None:
        self.lost = 0
        self._datagrams: OrderedDict[bytes, _Datagram] = OrderedDict()

    def finish(self) -> int:
        """Datagrams that were not whole, when the capture ends."""
        return self.lost + len(self._datagrams)

    def segment(self, link: int, buffer: bytes, start: int, end: int, length: int) -> Segment | PauseFrame | None:
        """What is in the frame buffer[start:end], `length` bytes long on the wire; None for anything else than TCP."""
        wire_end = start + max(length, end - start)
        try:
            return self._frame(link, buffer, start, end, wire_end, b"")
        except (struct.error, IndexError):
            return None

    def _frame(
        self, link: int, buffer: bytes, at: int, end: int, wire_end: int, prefix: bytes
    ) -> Segment | PauseFrame | None:
        if link == ETHERNET:
            source = buffer[at + 6 : at + 12]
            (kind,) = _short(buffer, at + 12)
            at += 14
            return self._tagged(kind, source, buffer, at, end, wire_end, prefix)
        if link == COOKED:
            (kind,) = _short(buffer, at + 14)
            return self._tagged(kind, b"", buffer, at + 16, end, wire_end, prefix)
        if link == COOKED_2:
            (kind,) = _short(buffer, at)
            return self._tagged(kind, b"", buffer, at + 20, end, wire_end, prefix)
        if link in (NULL, LOOP):
            family = buffer[at : at + 4]
            number = max(family[0], family[3]) if link == NULL else family[3]
            kind = _FAMILIES.get(number, 0)
            return self._packet(kind, buffer, at + 4, end, wire_end, prefix)
        kind = _IPV6 if buffer[at] >> 4 == 6 else _IPV4
        return self._packet(kind, buffer, at, end, wire_end, prefix)

    def _tagged(
        self, kind: int, source: bytes, buffer: bytes, at: int, end: int, wire_end: int, prefix: bytes
    ) -> Segment | PauseFrame | None:
        for _ in range(_MOST_TAGS):
            if kind not in _VLAN:
                break
            (kind,) = _short(buffer, at + 2)
            at += 4
        if kind == _MAC_CONTROL and at + 4 <= end:
            opcode, quanta = struct.unpack_from(">HH", buffer, at)
            return PauseFrame(quanta, source) if opcode == 1 else None
        return self._packet(kind, buffer, at, end, wire_end, prefix)

    def _packet(
        self, kind: int, buffer: bytes, at: int, end: int, wire_end: int, prefix: bytes
    ) -> Segment | PauseFrame | None:
        if at >= end:
            return None
        if kind == _IPV4 and buffer[at] >> 4 == 4:
            return self._ipv4(buffer, at, end, wire_end, prefix)
        if kind == _IPV6 and buffer[at] >> 4 == 6:
            return self._ipv6(buffer, at, end, wire_end, prefix)
        return None

    def _ipv4(self, buffer: bytes, at: int, end: int, wire_end: int, prefix: bytes) -> Segment | PauseFrame | None:
        header = (buffer[at] & 15) * 4
        if header < 20 or at + header > end:
            return None
        total, fragment, protocol = *struct.unpack_from(">2xH2xH", buffer, at), buffer[at + 9]
        # A network card that cuts segments is handed super-segments, whose length may not fit and then is 0.
        stop = at + total if total else wire_end
        if stop < at + header:
            return None
        addresses = buffer[at + 12 : at + 20]
        if fragment & 0x3FFF:
            name = prefix + addresses + buffer[at + 4 : at + 6] + bytes([protocol])
            body = buffer[at + header : min(stop, end)]
            whole = self._fragment(name, (fragment & 0x1FFF) * 8, body, stop <= end, more=bool(fragment & 0x2000))
            if whole is None:
                return None
            return self._transport(protocol, addresses, whole, 0, len(whole), len(whole), prefix)
        return self._transport(protocol, addresses, buffer, at + header, end, stop, prefix)

    def _ipv6(self, buffer: bytes, at: int, end: int, wire_end: int, prefix: bytes) -> Segment | PauseFrame | None:
        if at + 40 > end:
            return None
        length, protocol = struct.unpack_from(">4xHB", buffer, at)
        addresses = buffer[at + 8 : at + 40]
        at += 40
        stop = at + length if length else wire_end
        for _ in range(_MOST_EXTENSIONS):
            if at + 8 > min(end, stop):
                return None
            if protocol in _EXTENSIONS:
                protocol, at = buffer[at], at + 8 + buffer[at + 1] * 8
            elif protocol == _AUTHENTICATION:
                protocol, at = buffer[at], at + 8 + buffer[at + 1] * 4
            elif protocol == _FRAGMENT:
                protocol, offset, name = *struct.unpack_from(">BxH", buffer, at), buffer[at + 4 : at + 8]
                at += 8
                if offset & 0xFFF9:
                    name = prefix + addresses + name
                    body = buffer[at : min(stop, end)]
                    whole = self._fragment(name, offset & 0xFFF8, body, stop <= end, more=bool(offset & 1))
                    if whole is None:
                        return None
                    return self._transport(protocol, addresses, whole, 0, len(whole), len(whole), prefix)
            else:
                return self._transport(protocol, addresses, buffer, at, end, stop, prefix)
        return None

    def _fragment(self, name: bytes, offset: int, body: bytes, complete: bool, *, more: bool) -> bytes | None:
        """Keep a fragment; the datagram's contents once they are all there."""
        datagram = self._datagrams.setdefault(name, _Datagram())
        if offset + len(body) <= _LONGEST_DATAGRAM and complete:
            datagram.parts.setdefault(offset, body)
            if not more:
                datagram.length = offset + len(body)
        if len(datagram.parts) > _MOST_PARTS or len(self._datagrams) > _MOST_DATAGRAMS:
            victim = name if len(datagram.parts) > _MOST_PARTS else next(iter(self._datagrams))
            del self._datagrams[victim]
            self.lost += 1
            return None
        if datagram.length is None:
            return None
        whole = bytearray()
        for start in sorted(datagram.parts):
            if start > len(whole):
                return None
            whole[start:] = datagram.parts[start]
        if len(whole) < datagram.length:
            return None
        del self._datagrams[name]
        return bytes(whole[: datagram.length])

    def _transport(
        self, protocol: int, addresses: bytes, buffer: bytes, at: int, end: int, stop: int, prefix: bytes
    ) -> Segment | PauseFrame | None:
        if protocol == _TCP:
            return _segment(prefix + addresses, buffer, at, end, stop)
        if protocol == _UDP and not prefix and at + 30 <= end and _short(buffer, at + 2)[0] == _VXLAN_PORT:
            if not buffer[at + 8] & 0x08:
                return None
            return self._frame(ETHERNET, buffer, at + 16, min(end, stop), stop, b"v" + buffer[at + 12 : at + 15])
        return None


def _segment(addresses: bytes, buffer: bytes, at: int, end: int, stop: int) -> Segment | None:
    if at + 20 > min(end, stop):
        return None
    _source, _destination, sequence, acknowledgement, flags, window = _tcp(buffer, at)
    header = flags >> 10 & 0x3C
    data = at + header
    if header < 20 or data > stop:
        return None
    captured = min(end, stop)
    return Segment(
        key=addresses + buffer[at : at + 4],
        sequence=sequence,
        acknowledgement=acknowledgement,
        flags=flags & 0xFF,
        window=window,
        options=buffer[at + 20 : min(data, captured)],
        payload=buffer[data:captured],
        cut_off=max(0, stop - max(captured, data)),
    )


def reverse(key: bytes) -> bytes:
    """The key of the other direction."""
    prefix, rest = (key[:4], key[4:]) if len(key) in (16, 40) else (b"", key)
    size = len(rest) - 4 >> 1
    return prefix + rest[size : 2 * size] + rest[:size] + rest[-2:] + rest[-4:-2]


def ends(key: bytes) -> tuple[bytes, int, bytes, int]:
    """Source address and port, destination address and port."""
    rest = key[4:] if len(key) in (16, 40) else key
    size = len(rest) - 4 >> 1
    return rest[:size], _short(rest, 2 * size)[0], rest[size : 2 * size], _short(rest, 2 * size + 2)[0]
