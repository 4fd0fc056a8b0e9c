"""DHCP options as far as booting by iSCSI needs them: 12, the client's host name, and 17, its root path (RFC 2132, 3.14 and
3.19; the guide has them set for each client). An option of more than 255 bytes is in several pieces (RFC 3396).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from iscsi_initiator.boot.root_path import RootPath, RootPathError, parse_root_path

PAD, HOST_NAME, ROOT_PATH, END = 0, 12, 17, 255
_LONGEST = 255
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class DhcpError(ValueError):
    """Bytes that are no options, or an option that does not say what it has to."""


@dataclass(frozen=True, slots=True)
class Option:
    """One piece as it came. code: 1 to 254; PAD and END have no data."""

    code: int
    data: bytes = b""


def read_options(data: bytes) -> tuple[Option, ...]:
    """The options in their order, paddings and what follows the end among them. Raises DhcpError for one that is cut off."""
    found: list[Option] = []
    at = 0
    while at < len(data):
        code = data[at]
        if code == PAD:
            found.append(Option(PAD))
            at += 1
        elif code == END:
            found.append(Option(END, data[at + 1 :]))
            break
        else:
            length = data[at + 1] if at + 1 < len(data) else None
            if length is None or at + 2 + length > len(data):
                raise DhcpError(f"option {code} at {at:#x} is cut off")
            found.append(Option(code, data[at + 2 : at + 2 + length]))
            at += 2 + length
    return tuple(found)


def write_options(options: tuple[Option, ...]) -> bytes:
    """Their bytes; the inverse of `read_options`. Raises DhcpError for a piece of more than 255 bytes."""
    return b"".join(_written(option) for option in options)


def _written(option: Option) -> bytes:
    if option.code in (PAD, END):
        return bytes([option.code]) + option.data
    if len(option.data) > _LONGEST:
        raise DhcpError(f"option {option.code} has {len(option.data)} bytes; {_LONGEST} go into one piece")
    return bytes([option.code, len(option.data)]) + option.data


def option(options: tuple[Option, ...], code: int) -> bytes | None:
    """What an option says, its pieces put together; None where it is not there."""
    pieces = [each.data for each in options if each.code == code]
    return b"".join(pieces) if pieces else None


def pieces(code: int, data: bytes) -> Iterator[Option]:
    """An option in pieces of 255 bytes at most."""
    for at in range(0, max(1, len(data)), _LONGEST):
        yield Option(code, data[at : at + _LONGEST])


def host_name(options: tuple[Option, ...]) -> str | None:
    """The client's name, None where no option 12 is there. Raises DhcpError for what is no host name."""
    data = option(options, HOST_NAME)
    if data is None:
        return None
    text = _text(HOST_NAME, data)
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise DhcpError(f"option {HOST_NAME}: {text!r} is no host name")
    return text


def root_path(options: tuple[Option, ...]) -> RootPath | None:
    """Where the client boots from; None where no option 17 is there, or where it is of another kind than iSCSI's.

    Raises DhcpError for one that is against RFC 4173.
    """
    data = option(options, ROOT_PATH)
    if data is None or not data.lower().startswith(b"iscsi:"):
        return None
    try:
        return parse_root_path(_text(ROOT_PATH, data))
    except RootPathError as error:
        raise DhcpError(f"option {ROOT_PATH}: {error}") from None


def build_options(*, host: str = "", path: RootPath | None = None) -> bytes:
    """Options 12 and 17, as far as there is something for them, and the end. Raises DhcpError for what is no host name."""
    options: list[Option] = []
    if host:
        options += pieces(HOST_NAME, host.encode())
    if path is not None:
        options += pieces(ROOT_PATH, str(path).encode())
    host_name(tuple(options))
    return write_options((*options, Option(END)))


def _text(code: int, data: bytes) -> str:
    """The text; some servers end it with a NUL (RFC 2132, 2)."""
    try:
        return data.rstrip(b"\0").decode()
    except UnicodeDecodeError:
        raise DhcpError(f"option {code} is no UTF-8") from None
