"""The values that requests are made of, and what each has to be: one check, with the status code that its failure is.

The checks stand in the requests themselves (`__post_init__`), so the same code comes out whether a request is made in Python
or read off the socket. What depends on the state of the service (whether a target is there, what an adapter can map) is not
judged here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import AuthType, LoginFlag, LunMapping, Portal, SecurityFlag, TargetFlag
from iscsi_protocol.names import IscsiNameError, prepare_name

ULONG_MAX = 0xFFFFFFFF
LUN_MAX = 0xFFFF_FFFF_FFFF_FFFF
MAX_USER_NAME = 223
"""Characters of a CHAP user name (guide, "Security")."""

MAX_SECRET = 1024
"""Bytes of a CHAP secret or an IPsec key; a CHAP response hashes any length, this is a bound on memory alone."""

MAX_MAPPINGS = 256
MAX_TEXT = 4096
"""Bytes of a path, an alias or any other free text."""

MAX_DNS_NAME = 255

Ulong = Annotated[int, Meta(ge=0, le=ULONG_MAX)]
Lun = Annotated[int, Meta(ge=0)]
"""The 8 bytes of a LUN structure as a number, big-endian: 0x0001000000000000 is LUN 1."""

_UNIQUE_ID = re.compile(r"(?:0x)?([0-9a-f]{1,16})-(?:0x)?([0-9a-f]{1,16})", re.IGNORECASE)
_DUPLICATE = re.compile(r"(.*)(#[0-9]{1,10})", re.DOTALL)


def flags_of(kind: type[LoginFlag] | type[TargetFlag] | type[SecurityFlag]) -> int:
    """Every bit that a set of flags has."""
    return reduce(or_, (int(each) for each in kind))


class Discreet(Struct, frozen=True, kw_only=True):
    """A struct that does not tell the fields named in `secret_fields` when it is shown."""

    secret_fields: ClassVar[frozenset[str]] = frozenset()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        shown = []
        for name in self.__struct_fields__:
            value = getattr(self, name)
            shown.append((name, "***" if name in self.secret_fields and value is not None else value))
        return shown

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({inside})"


def check_range(value: int | None, low: int, high: int, what: str, status: StatusCode) -> None:
    """None, which stands for a default, is in every range. Raises Refused with the status."""
    if value is not None and not low <= value <= high:
        raise Refused(status, f"{what} is {low} to {high}, not {value}")


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be. low, high: inclusive; what: its name in messages; status: the code outside."""

    low: int
    high: int
    what: str
    status: StatusCode

    def check(self, value: int | None) -> None:
        """Raises Refused."""
        check_range(value, self.low, self.high, self.what, self.status)


RANGES: Mapping[str, Range] = MappingProxyType(
    {
        "buffer_size": Range(0, 1 << 24, "buffer_size", StatusCode.INVALID_PARAMETER),
        "port": Range(1, 65535, "the TCP port of a portal", StatusCode.INVALID_PARAMETER),
        "initiator_port": Range(0, ULONG_MAX, "the port number of an initiator", StatusCode.INVALID_PORT_NUMBER),
        "maximum_connections": Range(1, 65535, "the number of connections", StatusCode.LOGIN_USER_INFO_BAD),
        "default_time2wait": Range(0, 3600, "DefaultTime2Wait", StatusCode.LOGIN_USER_INFO_BAD),
        "default_time2retain": Range(0, 3600, "DefaultTime2Retain", StatusCode.LOGIN_USER_INFO_BAD),
        "auth_type": Range(0, 2, "the authentication type", StatusCode.INVALID_LOGON_AUTH_TYPE),
        "target_lun": Range(0, LUN_MAX, "a target LUN", StatusCode.INVALID_TARGET_MAPPING),
        "os_bus": Range(0, ULONG_MAX, "an OS bus", StatusCode.TARGET_MAPPING_OUT_OF_RANGE),
        "os_target": Range(0, 0xFF, "an OS target", StatusCode.INVALID_TARGET_ID),
        "os_lun": Range(0, ULONG_MAX, "an OS LUN", StatusCode.TARGET_MAPPING_OUT_OF_RANGE),
        "lun": Range(0, LUN_MAX, "a LUN", StatusCode.INVALID_PARAMETER),
        "evpd_cmddt": Range(0, 3, "EvpdCmddt", StatusCode.INVALID_PARAMETER),
        "page_code": Range(0, 0xFF, "a page code", StatusCode.INVALID_PARAMETER),
        "length": Range(0, 8192, "the length of an inquiry", StatusCode.INVALID_PARAMETER),
        "id_type": Range(0, 0xFF, "an id type", StatusCode.IKE_ID_PAYLOAD_TYPE_NOT_SUPPORTED),
    }
)
"""Every number of a request by the name of its field, flags left out. SCSI target numbers of a host are one byte."""


def check_ranges(struct: Struct, *fields: str) -> None:
    """Raises Refused for the first of a struct's fields that is not in its range."""
    for name in fields:
        RANGES[name].check(getattr(struct, name))


def check_flags(
    value: int,
    kind: type[LoginFlag] | type[TargetFlag] | type[SecurityFlag],
    what: str,
    status: StatusCode = StatusCode.INVALID_PARAMETER,
) -> None:
    """Raises Refused for a bit that the flags do not have."""
    if value < 0 or value & ~flags_of(kind):
        raise Refused(status, f"the {what} are any of {flags_of(kind):#x}, not {value:#x}")


def check_secret(secret: bytes) -> None:
    """Raises Refused INVALID_CHAP_SECRET; a short secret is not judged, as it may do over IPsec."""
    if not 1 <= len(secret) <= MAX_SECRET:
        raise Refused(StatusCode.INVALID_CHAP_SECRET, f"a CHAP secret has 1 to {MAX_SECRET} bytes, not {len(secret)}")


def check_key(key: bytes | None) -> None:
    """An IPsec key. Raises Refused INVALID_PARAMETER."""
    if key is not None and not 1 <= len(key) <= MAX_SECRET:
        raise Refused(StatusCode.INVALID_PARAMETER, f"an IPsec key has 1 to {MAX_SECRET} bytes, not {len(key)}")


def check_text(value: str | None, what: str) -> None:
    """None or something printable. Raises Refused INVALID_PARAMETER."""
    if value is None:
        return
    if not value or not value.isprintable() or len(value.encode("utf-8", "replace")) > MAX_TEXT:
        raise Refused(StatusCode.INVALID_PARAMETER, f"{what} is printable text of 1 to {MAX_TEXT} bytes")


def node_name(name: str) -> str:
    """The name as it is sent and compared. Raises Refused INVALID_ISCSI_NAME."""
    try:
        return prepare_name(name)
    except IscsiNameError as error:
        raise Refused(StatusCode.INVALID_ISCSI_NAME, f"{error.reason} ({error.clause})") from error


def persistent_name(name: str) -> str:
    """A target's name, which may end with #N to tell its persistent logins apart. Raises Refused INVALID_ISCSI_NAME."""
    parts = _DUPLICATE.fullmatch(name)
    return node_name(parts[1]) + parts[2] if parts else node_name(name)


def unique_id(text: str, status: StatusCode) -> str:
    """A session's or connection's id, two 64-bit hexadecimal numbers and a dash, in lower case without 0x.

    Raises Refused with the status.
    """
    parts = _UNIQUE_ID.fullmatch(text)
    if parts is None:
        raise Refused(status, "an id is two hexadecimal numbers with a dash between, such as 1f-4000013700000002")
    return f"{parts[1]}-{parts[2]}".lower()


def check_address(address: str, what: str) -> None:
    """An IP address or DNS name, IPv6 without brackets. Raises Refused INVALID_PARAMETER."""
    if not 1 <= len(address) <= MAX_DNS_NAME or not all(c.isprintable() and not c.isspace() for c in address):
        raise Refused(StatusCode.INVALID_PARAMETER, f"{what} is an IP address or a DNS name")
    if any(c in "[]/,;\"'" for c in address):
        raise Refused(StatusCode.INVALID_PARAMETER, f"{what} has no brackets, quotes, slashes or lists")


def check_portal(portal: Portal | None) -> None:
    """Raises Refused INVALID_PARAMETER."""
    if portal is not None:
        check_address(portal.address, "the address of a portal")
        check_ranges(portal, "port")


def check_ip_address(address: str, what: str) -> None:
    """A numeric address. Raises Refused INVALID_PARAMETER."""
    try:
        ipaddress.ip_address(address)
    except ValueError as error:
        raise Refused(StatusCode.INVALID_PARAMETER, f"{what} is an IP address, not {address!r}") from error


def check_initiator(name: str | None, port: int | None) -> None:
    """An initiator instance and its physical port. Raises Refused: INVALID_PARAMETER, INVALID_PORT_NUMBER."""
    check_text(name, "the name of an initiator instance")
    RANGES["initiator_port"].check(port)


def check_mappings(mappings: tuple[LunMapping, ...]) -> None:
    """The rules of the guide's "Mappings Values". Raises Refused.

    TARGET_MAPPING_OUT_OF_RANGE, INVALID_TARGET_ID, TARGET_MAPPING_EXISTS (a mapping stands there twice),
    INVALID_TARGET_MAPPING (buses or targets differ, a LUN is given twice on either side).
    """
    if len(mappings) > MAX_MAPPINGS:
        raise Refused(StatusCode.INVALID_TARGET_MAPPING, f"at most {MAX_MAPPINGS} mappings, not {len(mappings)}")
    for each in mappings:
        check_ranges(each, "target_lun", "os_bus", "os_lun", "os_target")
    if len(set(mappings)) < len(mappings):
        raise Refused(StatusCode.TARGET_MAPPING_EXISTS, "a mapping is given twice")
    for field, what in (("os_bus", "OS bus"), ("os_target", "OS target")):
        if len({getattr(each, field) for each in mappings}) > 1:
            raise Refused(StatusCode.INVALID_TARGET_MAPPING, f"all mappings of a command have the same {what}")
    for field, what in (("os_lun", "OS LUN"), ("target_lun", "target LUN")):
        if len({getattr(each, field) for each in mappings}) < len(mappings):
            raise Refused(StatusCode.INVALID_TARGET_MAPPING, f"each mapping of a command has its own {what}")


def set_field(struct: Struct, name: str, value: object) -> None:
    """Put a value into the one form that it is compared in; for `__post_init__` of a frozen struct alone."""
    msgspec.structs.force_setattr(struct, name, value)


class LoginOptions(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to log in; None is what the guide's `*` is: the driver chooses, and user_name is the node name.

    login_flags: of LoginFlag. default_time2wait, default_time2retain: seconds, 0 to 3600. maximum_connections: 1 to 65535.
    password: the secret that the target knows. Raises Refused: LOGIN_USER_INFO_BAD, INVALID_CHAP_USER_NAME,
    INVALID_CHAP_SECRET, INVALID_LOGON_AUTH_TYPE.
    """

    secret_fields: ClassVar[frozenset[str]] = frozenset({"password"})

    login_flags: int = 0
    header_digest: bool | None = None
    data_digest: bool | None = None
    maximum_connections: int | None = None
    default_time2wait: int | None = None
    default_time2retain: int | None = None
    user_name: str | None = None
    password: bytes | None = None
    auth_type: int = AuthType.NONE

    def __post_init__(self) -> None:
        check_flags(self.login_flags, LoginFlag, "login flags", StatusCode.LOGIN_USER_INFO_BAD)
        check_ranges(self, "maximum_connections", "default_time2wait", "default_time2retain")
        if self.user_name is not None and not (
            self.user_name.isprintable() and 1 <= len(self.user_name) <= MAX_USER_NAME
        ):
            raise Refused(
                StatusCode.INVALID_CHAP_USER_NAME, f"a CHAP user name has 1 to {MAX_USER_NAME} printable characters"
            )
        if self.password is not None:
            check_secret(self.password)
        check_ranges(self, "auth_type")


NO_OPTIONS = LoginOptions()
