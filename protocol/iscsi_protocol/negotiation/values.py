"""The values of keys: what each kind of chapter 13 allows, read into Python values.

iSCSI names are only measured here; `names` judges them. The reserved words of section 6.2 are the engine's matter.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from iscsi_protocol.negotiation.keys import Function, KeyRule, Kind
from iscsi_protocol.text import (
    ValueFormError,
    ValueType,
    check_value,
    encode_text,
    parse_binary,
    parse_boolean,
    parse_list,
    parse_number,
)

REFUSALS = frozenset({"Reject", "Irrelevant", "NotUnderstood"})
"""The answers that are no values and never proposals (6.2)."""

DEFAULT_PORT = 3260


@dataclass(frozen=True, kw_only=True, slots=True)
class TargetAddress:
    """The value of TargetAddress (13.8). host: name, IPv4, or IPv6 without its brackets; port 1..65535; tag 0..65535."""

    host: str
    port: int = DEFAULT_PORT
    tag: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + ("" if self.tag is None else f",{self.tag}")


Value = int | bool | str | tuple[str, ...] | TargetAddress

_ADDRESS = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^\[\]:,]*))(?::(?P<port>[^:,]*))?(?:,(?P<tag>[^,]*))?")
_DOTTED = re.compile(r"[0-9.]+")
_HOST_NAME = re.compile(
    r"(?!.{254})[A-Za-z0-9_](?:[A-Za-z0-9_\-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_\-]*[A-Za-z0-9_])?)*\.?"
)


def parse_target_address(value: str) -> TargetAddress:
    """Read domainname[:port][,portal-group-tag] (13.8). Port and tag are 16-bit numbers, decimal or hex.

    Raises ValueFormError: no host, an IPv6 address without brackets, a port of 0 or over 65535, a tag over 65535.
    """
    parts = _ADDRESS.fullmatch(value)
    if parts is None:
        raise ValueFormError("no target address", "R7143-13.8-03", value)
    host = parts["v6"] if parts["v6"] is not None else parts["name"]
    try:
        if parts["v6"] is not None:
            ipaddress.IPv6Address(host)
        elif _DOTTED.fullmatch(host):
            ipaddress.IPv4Address(host)
        elif not _HOST_NAME.fullmatch(host):
            raise ValueFormError("no host name", "R7143-13.8-03", value)
    except ipaddress.AddressValueError as error:
        raise ValueFormError("no IP address", "R7143-13.8-03", value) from error
    port = DEFAULT_PORT if parts["port"] is None else parse_number(parts["port"], 1, 65535)
    tag = None if parts["tag"] is None else parse_tag(parts["tag"])
    return TargetAddress(host=host, port=port, tag=tag)


def parse_tag(value: str) -> int:
    """A 16-bit binary-value, as TargetPortalGroupTag has it (13.9): decimal, hex or base64. Raises ValueFormError."""
    if value[:2] in ("0b", "0B"):
        return int.from_bytes(parse_binary(value, max_length=2), "big")
    return parse_number(value, 0, 65535)


def parse_value(rule: KeyRule, value: str) -> Value:
    """The value as the key's kind has it: int, bool, tuple of list items, TargetAddress, or the text itself.

    Raises ValueFormError with the clause that is broken. Items of a list are not judged, because a receiver passes over
    those that it does not understand (6.2.1); only their length is (6.1).
    """
    kind = rule.kind
    if kind is Kind.NUMBER:
        return _parse_bounded(rule, value)
    if kind is Kind.BOOLEAN:
        return parse_boolean(value)
    if kind is Kind.BINARY:
        return parse_tag(value)
    if kind is Kind.ADDRESS:
        return parse_target_address(value)
    if kind is Kind.LIST:
        return _parse_items(rule, value)
    if kind is Kind.CHOICE:
        if value not in rule.values:
            raise ValueFormError(f"neither {' nor '.join(rule.values)}", rule.clause, value)
    elif kind is not Kind.ANY:
        check_value(value, ValueType.LOCAL_NAME, rule.max_length)
        # SendTargets may be empty: it then asks for the session's own target (Appendix C).
        if kind is Kind.ISCSI_NAME and not value and rule.function is not Function.REQUEST:
            raise ValueFormError("an empty name", rule.clause, value)
    return value


def _parse_bounded(rule: KeyRule, value: str) -> int:
    number = parse_number(value)
    if not rule.low <= number <= rule.high:
        raise ValueFormError(f"a number outside {rule.low} to {rule.high}", rule.clause, value)
    return number


def _parse_items(rule: KeyRule, value: str) -> tuple[str, ...]:
    items = tuple(parse_list(value))
    if any(len(encode_text(item)) > rule.max_length for item in items):
        raise ValueFormError(f"a list item over {rule.max_length} bytes", "R7143-6.1-15", value)
    return items
