"""iSCSI names: RFC 7143 section 4.2.7 with the stringprep profile of RFC 3722 (over RFC 3454 and Unicode 3.2).

`parse_name` judges a name as it came; `prepare_name` makes one out of what a user typed. RFC 7143 asks for NFC and RFC 3722
for NFKC: what is normalised by KC is normalised by C too, so KC is asked for. Section 7 of the profile (bidirectional text)
is taken by the letter: the type designator is written left to right, hence a name holds no right-to-left character.
"""

from __future__ import annotations

import re
import stringprep
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from unicodedata import ucd_3_2_0

from iscsi_protocol.text import TextError

NAME_LIMIT = 223
"""Bytes of a name in UTF-8 (4.2.7.2)."""

LABEL_LIMIT = 63


class IscsiNameError(TextError):
    """No iSCSI name. offender: the name."""


class NameTooLong(IscsiNameError):
    """Over 223 bytes in UTF-8."""


class NameCharacterError(IscsiNameError):
    """A character that no name has, or that is not normalised."""


class NameTypeError(IscsiNameError):
    """None of the type designators iqn., eui. and naa."""


class NameStructureError(IscsiNameError):
    """What follows the type designator is not built as that type asks."""


class NameType(Enum):
    """The naming authority: the type designator without its dot (4.2.7.3)."""

    IQN = "iqn"
    EUI = "eui"
    NAA = "naa"


@dataclass(frozen=True, kw_only=True, slots=True)
class IscsiName:
    """A name that was found good, with its parts.

    text: the name as it came. iqn: year, month, authority (the reversed domain name) and suffix (what follows the colon;
    None without a colon). eui, naa: identifier, 8 or 16 bytes.
    """

    text: str
    type: NameType
    year: int = 0
    month: int = 0
    authority: str = ""
    suffix: str | None = None
    identifier: bytes = b""

    @property
    def canonical(self) -> str:
        """The name in the only spelling to be sent and compared: lower-case hex digits in eui and naa names."""
        return self.text if self.type is NameType.IQN else self.text.lower()

    def __str__(self) -> str:
        return self.text


def parse_name(name: str, *, upper_hex: bool = False) -> IscsiName:
    """The parts of a name. Raises NameTooLong, NameCharacterError, NameTypeError or NameStructureError.

    upper_hex: whether the digits of eui and naa names may be capital letters. Names have no upper case (4.2.7.1), yet the
    examples of sections 4.2.7.5 and 4.2.7.6 have.
    """
    _check_length(name)
    folded = name.lower() if upper_hex and _ANY_CASE_HEX.fullmatch(name) else name
    if not _PLAIN.fullmatch(folded):
        _check_characters(folded)
    parse = _PARSERS.get(folded[:4])
    if parse is None:
        raise NameTypeError("a name of no known type", "R7143-4.2.7.1-01", name)
    return parse(name)


def check_name(name: str, *, upper_hex: bool = False) -> None:
    """Raise IscsiNameError unless `name` is a name; see `parse_name`."""
    parse_name(name, upper_hex=upper_hex)


def same_name(one: str, other: str, *, upper_hex: bool = False) -> bool:
    """Whether two names are equal, byte by byte (4.2.7.2); with upper_hex, eui and naa digits in either case are the same."""
    if upper_hex and _ANY_CASE_HEX.fullmatch(one) and _ANY_CASE_HEX.fullmatch(other):
        return one.lower() == other.lower()
    return one == other


def prepare_name(typed: str) -> str:
    """The name that a user meant: mapped to lower case and normalised by the profile of RFC 3722, then judged.

    Raises IscsiNameError when the outcome is no name.
    """
    mapped = "".join(stringprep.map_table_b2(c) for c in typed if not stringprep.in_table_b1(c))
    return parse_name(ucd_3_2_0.normalize("NFKC", mapped)).text


def make_iqn(year: int, month: int, authority: str, suffix: str | None = None) -> str:
    """An iqn. name, judged. authority: the reversed domain name; suffix: goes behind a colon. Raises IscsiNameError."""
    name = f"iqn.{year:04d}-{month:02d}.{authority}"
    return parse_name(name if suffix is None else f"{name}:{suffix}").text


def make_eui(identifier: bytes) -> str:
    """The eui. name of an EUI-64, 8 bytes. Raises NameStructureError for another length."""
    return parse_name(f"eui.{identifier.hex()}").text


def make_naa(identifier: bytes) -> str:
    """The naa. name of an NAA identifier, 8 or 16 bytes. Raises NameStructureError for another length."""
    return parse_name(f"naa.{identifier.hex()}").text


_PLAIN = re.compile(r"[a-z0-9.:\-]*")
_ANY_CASE_HEX = re.compile(r"(?:eui|naa)\.[0-9a-fA-F]*")
_IQN = re.compile(r"iqn\.([0-9]{4})-([0-9]{2})\.([^:]*)(?::(.*))?", re.DOTALL)


def _check_length(name: str) -> None:
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise NameCharacterError("a name that is not UTF-8", "R7143-4.2.7.2-01", name) from error
    if size > NAME_LIMIT:
        raise NameTooLong(f"a name of {size} bytes", "R7143-4.2.7.2-01", name)


def _is_white_space(c: str) -> bool:
    return c in "\t\n\v\f\r" or stringprep.in_table_c11_c12(c)


def _is_upper_case(c: str) -> bool:
    return ucd_3_2_0.category(c) in ("Lu", "Lt")


def _is_reserved_ascii(c: str) -> bool:
    return c < "\x80" and not _PLAIN.fullmatch(c)


def _is_prohibited(c: str) -> bool:
    return any(inside(c) for inside in _PROHIBITED_TABLES)


def _is_mapped(c: str) -> bool:
    return stringprep.in_table_b1(c) or stringprep.map_table_b2(c) != c


_PROHIBITED_TABLES: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)

_CHARACTER_RULES: tuple[tuple[Callable[[str], bool], str, str], ...] = (
    (_is_white_space, "white space", "R7143-4.2.7.1-07"),
    (_is_upper_case, "an upper-case character", "R7143-4.2.7.1-07"),
    (_is_reserved_ascii, "an ASCII character that names do not have", "R3722-6.2-01"),
    ("\u3002".__eq__, "an ideographic full stop", "R3722-6.1-01"),
    (_is_prohibited, "a prohibited character", "R3722-6-01"),
    (stringprep.in_table_a1, "a code point that Unicode 3.2 does not assign", "R7143-4.2.7.2-01"),
    (_is_mapped, "a character that stringprep maps to another", "R3722-4-01"),
    (stringprep.in_table_d1, "a right-to-left character beside the left-to-right designator", "R7143-4.2.7.2-01"),
)
"""Which characters a name does not have: the test, what to call it, the rule. The first that applies is reported."""


def _check_characters(name: str) -> None:
    for c in name:
        for applies, what, clause in _CHARACTER_RULES:
            if applies(c):
                raise NameCharacterError(f"{what}, U+{ord(c):04X}", clause, name)
    if ucd_3_2_0.normalize("NFKC", name) != name:
        raise NameCharacterError("a name that is not normalised", "R3722-5-01", name)


def _parse_iqn(name: str) -> IscsiName:
    parts = _IQN.fullmatch(name)
    if not parts:
        raise NameStructureError("not iqn.yyyy-mm. and a reversed domain name", "R7143-4.2.7.4-01", name)
    year, month, authority, suffix = parts.groups()
    if not 1 <= int(month) <= 12:
        raise NameStructureError(f"a month {month}", "R7143-4.2.7.4-01", name)
    for label in authority.split("."):
        if not 1 <= len(label) <= LABEL_LIMIT or label[0] == "-" or label[-1] == "-":
            raise NameStructureError(f"{label!r} in the domain name", "R7143-4.2.7.4-01", name)
    return IscsiName(text=name, type=NameType.IQN, year=int(year), month=int(month), authority=authority, suffix=suffix)


def _parse_eui(name: str) -> IscsiName:
    if not re.fullmatch(r"[0-9a-fA-F]{16}", name[4:]):
        raise NameStructureError("not eui. and 16 hexadecimal digits", "R7143-4.2.7.5-01", name)
    return IscsiName(text=name, type=NameType.EUI, identifier=bytes.fromhex(name[4:]))


def _parse_naa(name: str) -> IscsiName:
    if not re.fullmatch(r"(?:[0-9a-fA-F]{16}){1,2}", name[4:]):
        raise NameStructureError("not naa. and 16 or 32 hexadecimal digits", "R7143-4.2.7.6-01", name)
    return IscsiName(text=name, type=NameType.NAA, identifier=bytes.fromhex(name[4:]))


_PARSERS: Mapping[str, Callable[[str], IscsiName]] = MappingProxyType(
    {"iqn.": _parse_iqn, "eui.": _parse_eui, "naa.": _parse_naa}
)
