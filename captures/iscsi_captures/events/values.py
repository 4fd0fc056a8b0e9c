"""Whether a value of a text key is well formed, and possible as an answer (RFC 7143 6.1, 6.2, chapter 13).

Worked out from the key table alone; binary values are read here too, character by character.
"""

from __future__ import annotations

import ipaddress
import string
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from iscsi_protocol.history import Endpoint
from iscsi_protocol.negotiation.keys import KeyRule, Kind
from iscsi_protocol.text import NumberError, encode_text, parse_number

DEFAULT_PORT = 3260
_BASE64 = {
    character: value
    for value, character in enumerate(string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/")
}
_HEX = frozenset(string.hexdigits)
_LABEL = frozenset(string.ascii_letters + string.digits + "_-")
_HOST_LENGTH = 253


@lru_cache(maxsize=512)
def number(value: str) -> int | None:
    """A number in either notation, None for anything else."""
    try:
        return parse_number(value)
    except NumberError:
        return None


def binary(value: str) -> bytes | None:
    """The bytes of a hex or base64 constant, None for what is none; an empty constant is none."""
    prefix, body = value[:2].lower(), value[2:]
    if prefix == "0x":
        if not body or not _HEX.issuperset(body):
            return None
        return bytes.fromhex(body if len(body) % 2 == 0 else f"0{body}")
    return _from_base64(body) if prefix == "0b" else None


def _from_base64(body: str) -> bytes | None:
    digits = body.rstrip("=")
    padding = len(body) - len(digits)
    if not digits or len(body) % 4 or padding > 2 or any(digit not in _BASE64 for digit in digits):
        return None
    bits = 0
    for digit in digits:
        bits = bits << 6 | _BASE64[digit]
    surplus = padding * 2
    if bits & (1 << surplus) - 1:
        return None
    return (bits >> surplus).to_bytes(len(digits) * 6 // 8, "big")


def endpoint(value: str) -> Endpoint | None:
    """Where a redirect leads: host[:port], without a portal group tag. None for what is no such address."""
    if value.startswith("["):
        host, bracket, rest = value[1:].partition("]")
        if not bracket or not _is_address(host, 6):
            return None
    else:
        host, colon, port = value.partition(":")
        rest = colon + port
        numeric = bool(host) and set(host) <= set(string.digits + ".")
        if not (_is_address(host, 4) if numeric else _is_name(host)):
            return None
    if not rest:
        return Endpoint(host, DEFAULT_PORT)
    port_number = number(rest[1:]) if rest[0] == ":" else None
    return Endpoint(host, port_number) if port_number is not None and 0 < port_number < 1 << 16 else None


def tagged_address(value: str) -> bool:
    """Whether this is host[:port][,portal group tag]."""
    place, comma, tag = value.partition(",")
    return endpoint(place) is not None and (not comma or _is_tag(tag))


def _is_address(host: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(host).version == version
    except ValueError:
        return False


def _is_name(host: str) -> bool:
    labels = host.removesuffix(".").split(".")
    return len(host) <= _HOST_LENGTH and all(
        label and _LABEL.issuperset(label) and label[0] != "-" and label[-1] != "-" for label in labels
    )


def _is_tag(value: str) -> bool:
    if value[:2].lower() == "0b":
        data = binary(value)
        return data is not None and len(data) <= 2
    tag = number(value)
    return tag is not None and tag < 1 << 16


def _is_local_name(rule: KeyRule, value: str) -> bool:
    try:
        encoded = value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return len(encoded) <= rule.max_length


def _in_bounds(rule: KeyRule, value: str) -> bool:
    given = number(value)
    return given is not None and rule.low <= given <= rule.high


_FORMS: Mapping[Kind, Callable[[KeyRule, str], bool]] = MappingProxyType(
    {
        Kind.LIST: lambda rule, value: all(len(encode_text(item)) <= rule.max_length for item in value.split(",")),
        Kind.BOOLEAN: lambda _, value: value in ("Yes", "No"),
        Kind.NUMBER: _in_bounds,
        Kind.BINARY: lambda _, value: _is_tag(value),
        Kind.ISCSI_NAME: lambda rule, value: bool(value) and _is_local_name(rule, value),
        Kind.LOCAL_NAME: _is_local_name,
        Kind.ADDRESS: lambda _, value: tagged_address(value),
        Kind.CHOICE: lambda rule, value: value in rule.values,
        Kind.ANY: lambda _rule, _value: True,
    }
)


def well_formed(rule: KeyRule, value: str) -> bool:
    """Whether the key can have this value at all."""
    return _FORMS[rule.kind](rule, value)
