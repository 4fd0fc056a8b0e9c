"""What a command's arguments are: how each is written, what `*` stands for, and where its value goes.

What is read here is the writing alone: whether text is a number, a LUN, a truth value. Whether the number is one that can be
is judged by the request that is made of it (`service.api.values`), which has the guide's status code for it.

Numbers are decimal; those with 0x in front are hexadecimal. Errors tell the form and not what was given: an argument in the
wrong place may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.scsi.lun import MAX_LONG_EXTENDED_FLAT_LUN, encode_lun

_NUMBER = re.compile(r"0[xX]([0-9a-fA-F]{1,64})|([0-9]{1,64})", re.ASCII)
LUN_DIGITS = 13
"""Characters of the longest number of a LUN, 2^40 - 1 in decimal."""

_LUN = re.compile(r"0[xX]([0-9a-fA-F]{16})", re.ASCII)


class Usage(Exception):
    """A command that is not written as it has to be. status: the code to tell; reason: one line."""

    def __init__(self, status: StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Malformed(ValueError):
    """An argument that is not written as its kind asks. status: the code to tell."""

    def __init__(self, status: StatusCode = StatusCode.INVALID_PARAMETER) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to write a value. form: what to call it; read: makes the value, raises Malformed; secret: read is given bytes;
    hint: what to tell besides where it was written otherwise.
    """

    form: str
    read: Callable[[Any], Any]
    secret: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Star:
    """What `*` stands for in a parameter's place."""

    value: Any
    meaning: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One place of a command. name: the guide's; field: where the value goes (a field of the request, of its LoginOptions or
    its Portal); about: what it is; star: None where `*` is no default; optional: may be left out with all behind it.
    """

    name: str
    field: str
    kind: Kind
    about: str
    star: Star | None = None
    optional: bool = False

    @property
    def usage(self) -> str:
        """In angle brackets, or square ones where it may be left out."""
        return f"[{self.name}]" if self.optional else f"<{self.name}>"


def _text(text: str) -> str:
    return text


def _number(text: str) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise Malformed
    return int(match[1], 16) if match[1] else int(match[2])


def _truth(text: str) -> bool:
    return text in ("T", "t")


def _nonzero(text: str) -> bool:
    return _number(text) != 0


def _lun_structure(text: str) -> int:
    match = _LUN.fullmatch(text)
    if match is None:
        raise Malformed
    return int(match[1], 16)


def _lun(text: str) -> int:
    if _LUN.fullmatch(text):
        return _lun_structure(text)
    if len(text) > LUN_DIGITS:
        # neither a number nor eight bytes: a digit too many or too few is not to become another LUN
        raise Malformed
    number = _number(text)
    if number > MAX_LONG_EXTENDED_FLAT_LUN:
        raise Malformed
    return int.from_bytes(encode_lun(number), "big")


def _hex_or_text(secret: bytes) -> bytes:
    if secret[:2].lower() != b"0x":
        return secret
    try:
        return bytes.fromhex(secret[2:].decode("ascii"))
    except ValueError as error:
        raise Malformed(StatusCode.INVALID_CHAP_SECRET) from error


TEXT = Kind("text", _text)
NUMBER = Kind("a number", _number, hint=", decimal or hexadecimal with 0x in front")
FLAGS = Kind("flags, a number such as 0x2", _number)
TRUTH = Kind("T or t for yes, anything else for no", _truth)
DIGEST = Kind("a number, 0 for no and any other for yes", _nonzero)
LUN_STRUCTURE = Kind("a LUN in the form 0x0123456789abcdef", _lun_structure)
LUN = Kind("a LUN, its number or its 8 bytes in the form 0x0123456789abcdef", _lun)
SESSION = Kind("a session id", _text)
CONNECTION = Kind("a connection id", _text)
SECRET = Kind("a secret, ? to be asked for it, or @FILE", bytes, secret=True)
HEX_SECRET = Kind("a secret, hexadecimal with 0x in front; ? to be asked for it, or @FILE", _hex_or_text, secret=True)
