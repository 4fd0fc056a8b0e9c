"""The root path of an iSCSI boot client (RFC 4173, section 5): where its disk is, in one string.

    iscsi:servername:protocol:port:LUN:targetname

All fields but the last may be empty. Splitting is lenient and loses nothing, judging strict; `parse_root_path` does both.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from iscsi_initiator.url import DEFAULT_PORT
from iscsi_protocol.names import IscsiNameError, check_name

TCP = 6
"""The protocol that iSCSI has, by its number at IANA."""

LUN_LENGTH = 8
_PREFIX = "iscsi:"
_BRACKETED = re.compile(r"(\[[^\]]*\]|[^:\[]*):([^:]*):([^:]*):([^:]*):(.*)", re.DOTALL)
_BARE_IPV6 = re.compile(r"([0-9a-fA-F:.%]*):([0-9]*):([0-9]*):([0-9a-fA-F-]*):((?:iqn|eui|naa)\..*)", re.DOTALL)
_GROUP = re.compile(r"[0-9a-fA-F]{1,4}")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class RootPathError(ValueError):
    """No root path, or one that is against RFC 4173; the message says where."""


@dataclass(frozen=True, slots=True)
class RootPath:
    """The fields as they are written. server: with its brackets where it has them; lun: hexadecimal groups."""

    server: str
    protocol: str
    port: str
    lun: str
    target_name: str
    prefix: str = _PREFIX

    def __str__(self) -> str:
        return f"{self.prefix}{self.server}:{self.protocol}:{self.port}:{self.lun}:{self.target_name}"

    @property
    def host(self) -> str | None:
        """The server's name or address without brackets; None where the target has to be discovered by its name."""
        return self.server.removeprefix("[").removesuffix("]") or None

    @property
    def port_number(self) -> int:
        """The TCP port. Raises RootPathError for what is none."""
        if not self.port:
            return DEFAULT_PORT
        if not (self.port.isascii() and self.port.isdecimal()) or not 1 <= int(self.port[:6]) <= 65535:
            raise RootPathError(f"{self.port!r} is no port (1 to 65535)")
        return int(self.port)

    @property
    def lun_structure(self) -> bytes:
        """The 8 bytes of the LUN. Raises RootPathError for what is none."""
        groups = self.lun.split("-") if self.lun else []
        if len(groups) > LUN_LENGTH // 2 or not all(_GROUP.fullmatch(group) for group in groups):
            raise RootPathError(
                f"{self.lun!r} is no LUN: up to four groups of up to four hexadecimal digits, with - between"
            )
        return b"".join(int(group, 16).to_bytes(2, "big") for group in groups).ljust(LUN_LENGTH, b"\0")

    def judge(self) -> Iterator[str]:
        """What of it is against RFC 4173."""
        if self.prefix != _PREFIX:
            yield f"it begins with {self.prefix!r}, not {_PREFIX!r}"
        yield from _judge_server(self.server)
        if self.protocol not in ("", str(TCP)):
            yield f"protocol {self.protocol!r}; {TCP} (TCP) is the one that iSCSI has"
        for field in ("port_number", "lun_structure"):
            try:
                getattr(self, field)
            except RootPathError as error:
                yield str(error)
        try:
            check_name(self.target_name)
        except IscsiNameError as error:
            yield f"no target name: {error.reason}"


def split_root_path(text: str) -> RootPath:
    """The fields of a root path, whatever is in them. An IPv6 address without brackets is found where an iSCSI name follows.

    Raises RootPathError for a string that does not begin with iscsi: or has too few fields.
    """
    prefix, rest = text[: len(_PREFIX)], text[len(_PREFIX) :]
    if prefix.lower() != _PREFIX:
        raise RootPathError(f"it does not begin with {_PREFIX!r}")
    found = _BARE_IPV6.fullmatch(rest)
    if found is None or ":" not in found[1]:
        found = _BRACKETED.fullmatch(rest)
    if found is None:
        raise RootPathError("five fields with colons between them are due: server, protocol, port, LUN and target name")
    server, protocol, port, lun, target_name = found.groups()
    return RootPath(server, protocol, port, lun, target_name, prefix)


def parse_root_path(text: str) -> RootPath:
    """A root path that keeps to RFC 4173. Raises RootPathError with the first thing that does not."""
    found = split_root_path(text)
    for reason in found.judge():
        raise RootPathError(reason)
    return found


def build_root_path(
    target_name: str, *, server: str = "", port: int | None = None, lun: bytes = bytes(LUN_LENGTH)
) -> RootPath:
    """The root path in its shortest form. server: name or address, IPv6 without brackets; port: None for 3260.

    Raises RootPathError where that is against RFC 4173.
    """
    groups = [f"{int.from_bytes(lun[at : at + 2], 'big'):x}" for at in range(0, len(lun), 2)]
    while groups and groups[-1] == "0":
        groups.pop()
    host = f"[{server}]" if ":" in server else server
    text = str(RootPath(host, "", "" if port in (None, DEFAULT_PORT) else str(port), "-".join(groups), target_name))
    return parse_root_path(text)


def _judge_server(server: str) -> Iterator[str]:
    if not server:
        return
    if server.startswith("["):
        inside = server[1:].removesuffix("]")
        if not server.endswith("]") or "%" in inside or not _is_ipv6(inside):
            yield f"{server} is no IPv6 address in brackets"
    elif ":" in server:
        yield "an IPv6 address stands in brackets"
    elif re.fullmatch(r"[0-9.]+", server):
        try:
            ipaddress.IPv4Address(server)
        except ValueError:
            yield f"{server} is no IPv4 address"
    elif len(server) > 253 or not all(_LABEL.fullmatch(label) for label in server.removesuffix(".").split(".")):
        yield f"{server!r} is no domain name"


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
