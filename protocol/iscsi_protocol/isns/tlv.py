"""Attributes on the wire: tag, length and value, padded to four bytes (RFC 4171 5.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from iscsi_protocol.isns.attributes import Form, row_of, tag_name
from iscsi_protocol.isns.errors import malformed

_HEAD = struct.Struct(">II")
UDP_PORT = 0x10000
"""In the value of a port: it is one of UDP (R4171-6.3.2-01)."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute. value: its bytes with the padding; none at all asks for the attribute, or says NULL."""

    tag: int
    value: bytes = b""

    def encode(self) -> bytes:
        """Tag, length, value."""
        return _HEAD.pack(self.tag, len(self.value)) + self.value

    @property
    def empty(self) -> bool:
        """Whether it has no value."""
        return not self.value

    @property
    def number(self) -> int:
        """The value as a number of 4 or 8 bytes. Raises IsnsError (2) for another length."""
        if len(self.value) not in (4, 8):
            raise malformed("R4171-5.4-03", f"{tag_name(self.tag)} has {len(self.value)} bytes and is a number")
        return int.from_bytes(self.value)

    @property
    def text(self) -> str:
        """The text before the first NUL (R4171-5.3.1-02). Raises IsnsError (2) without a NUL and for what is not UTF-8."""
        text, nul, _ = self.value.partition(b"\0")
        if not nul:
            raise malformed("R4171-5.3.1-02", f"{tag_name(self.tag)} does not end with NUL")
        try:
            return text.decode()
        except UnicodeDecodeError:
            raise malformed("R4171-5.4-03", f"{tag_name(self.tag)} is not UTF-8") from None

    @property
    def address(self) -> str:
        """The value as an address: dotted where IPv4 is mapped into it. Raises IsnsError (2) for another length than 16."""
        return address_text(self.value)

    def __str__(self) -> str:
        shown = self.value.hex() if self.value else "empty"
        return f"{tag_name(self.tag)}={shown}"


def address_text(value: bytes) -> str:
    """16 bytes as an address, dotted where IPv4 is mapped into them. Raises IsnsError (2) for another length."""
    if len(value) != 16:
        raise malformed("R4171-6.3.1-01", f"an address has 16 bytes, not {len(value)}")
    address = IPv6Address(value)
    return str(address.ipv4_mapped or address)


def address_bytes(text: str) -> bytes:
    """The 16 bytes of an IPv4 or IPv6 address in text (R4171-6.3.1-01). Raises ValueError."""
    address = ip_address(text.partition("%")[0])
    return address.packed if address.version == 6 else b"\0" * 10 + b"\xff\xff" + address.packed


def padded(value: bytes) -> bytes:
    """The value with zeros up to the next multiple of four bytes (R4171-5.3.1-01)."""
    return value + b"\0" * (-len(value) % 4)


def text(tag: int, value: str) -> Attribute:
    """A text or name, with its NUL and padding."""
    return Attribute(tag, padded(value.encode() + b"\0"))


def number(tag: int, value: int) -> Attribute:
    """A number of 4 bytes, or of 8 where the attribute has so many. Raises OverflowError."""
    return Attribute(tag, value.to_bytes(8 if row_of(tag).form is Form.LONG else 4))


def address(tag: int, value: str) -> Attribute:
    """An address. Raises ValueError for what is none."""
    return Attribute(tag, address_bytes(value))


def encode_all(attributes: Iterable[Attribute]) -> bytes:
    """Attributes, one behind the other."""
    return b"".join(attribute.encode() for attribute in attributes)


def decode_all(data: bytes) -> tuple[tuple[Attribute, ...], bytes]:
    """The attributes, and what is left over because it ends within one."""
    attributes = []
    start = 0
    while len(data) - start >= _HEAD.size:
        tag, length = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + length
        if end > len(data):
            break
        attributes.append(Attribute(tag, data[start + _HEAD.size : end]))
        start = end
    return tuple(attributes), data[start:]


def check_attribute(attribute: Attribute) -> None:
    """Judge length and form of a value that is there. Raises IsnsError: 18 for an unknown tag, 2 for a form that is wrong."""
    row = row_of(attribute.tag)
    length = len(attribute.value)
    if length % 4:
        raise malformed("R4171-5.3.1-01", f"{tag_name(attribute.tag)} has {length} bytes, which are not aligned")
    if not length:
        return
    if not row.least <= length <= row.most:
        raise malformed("R4171-5.4-03", f"{tag_name(attribute.tag)} cannot have {length} bytes")
    if row.form in (Form.TEXT, Form.NAME):
        _ = attribute.text
