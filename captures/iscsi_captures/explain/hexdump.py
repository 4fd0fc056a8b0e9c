"""Bytes out of hex as people paste it: the Event Viewer's dumps in bytes and in words, those of other tools, and plain hex.

- `0000: 00 00 04 00 01 00 5e 00   ......^.`: bytes, perhaps with their characters;
- `0000: 00040000 005E0001 00000000 C0000005`: words, which are numbers of 32 bits, little-endian;
- `00000000: 0000 0400 0100 5e00`: bytes in pairs, as xxd has them;
- `00000000  00 00 04 00 01 00 5e 00  |......^.|`: hexdump -C.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from iscsi_protocol.eventlog import Severity

_OFFSET = re.compile(r"\s*(?:0x)?([0-9A-Fa-f]{4,8})(?::\s?|\s{2})(\s*\S.*)")
_GROUP = re.compile(r"(\s*)([0-9A-Fa-f]+)(?!\S)")
_PLAIN = re.compile(r"[0-9A-Fa-f\s,:;-]+")
_DIGITS = re.compile(r"[0-9A-Fa-f]+")
_PREFIX = re.compile(r"\b0[xX](?=[0-9A-Fa-f])")
_WIDTHS = (2, 4, 8)
_WORD = 8
_CHARACTERS_BEHIND = 3
"""Spaces before the column of characters in the Event Viewer; words and pairs have two at most."""
_LONGEST_ROW = 32
SHORTEST = 0x10
"""Bytes that hold an error code, without which plain hex says nothing."""


def is_record(packet: bytes) -> bool:
    """Whether the place of the error code has one: a severity, no facility, a number."""
    return len(packet) >= SHORTEST and packet[0x0F] in set(Severity) and packet[0x0E] == 0


@dataclass(frozen=True, slots=True)
class HexRow:
    """A line of a dump. offset: as it says; groups: digits between spaces, with the number of spaces before each."""

    offset: int
    groups: tuple[tuple[int, str], ...]

    @property
    def in_words(self) -> bool:
        """Whether it shows numbers of 32 bits."""
        return len(self.groups[0][1]) == _WORD

    def data(self, limit: int) -> bytes:
        """Its bytes in the order of the groups' own: words the other way round. limit: no more than these, in bytes."""
        width, found = len(self.groups[0][1]), bytearray()
        for index, (spaces, digits) in enumerate(self.groups):
            if index and (spaces >= _CHARACTERS_BEHIND or (width > 2 and spaces > 1)):
                break
            short = width == _WORD and len(digits) in {2, 4, 6}
            if not short and len(digits) != width:
                break
            piece = bytes.fromhex(digits)
            found += piece[::-1] if width == _WORD else piece
            if len(found) >= limit or short:
                break
        return bytes(found[:limit])


def row_of(line: str) -> HexRow | None:
    """The row in a line, None where it is none."""
    match = _OFFSET.fullmatch(line.rstrip())
    if match is None:
        return None
    rest, place = match[2], 0
    groups: list[tuple[int, str]] = []
    while (group := _GROUP.match(rest, place)) and len(groups) < _LONGEST_ROW:
        groups.append((len(group[1]), group[2]))
        place = group.end()
    if not groups or len(groups[0][1]) not in _WIDTHS:
        return None
    return HexRow(int(match[1], 16), tuple(groups))


@dataclass(frozen=True, slots=True)
class Dump:
    """Bytes that were put together. broken: rows are missing, and with them all that comes behind."""

    data: bytes
    in_words: bool
    broken: bool


def dumps(rows: Sequence[HexRow]) -> list[Dump]:
    """The dumps that rows make up, each from a row with offset 0 on; without bytes where that row is missing.

    The Event Viewer shows the same bytes in words and then in bytes; of two such neighbours the second is left out.
    """
    found: list[Dump] = []
    for piece in _pieces(rows):
        data, broken = bytearray(), False
        stride = piece[1].offset if len(piece) > 1 else _LONGEST_ROW
        for index, row in enumerate(piece):
            broken = row.offset != len(data)
            if broken:
                break
            following = piece[index + 1].offset - row.offset if index + 1 < len(piece) else stride
            data += row.data(following if 0 < following <= _LONGEST_ROW else stride)
        dump = Dump(bytes(data), piece[0].in_words, broken)
        if not (data and found and _same(found[-1], dump)):
            found.append(_turned(dump))
    return found


def _pieces(rows: Sequence[HexRow]) -> list[list[HexRow]]:
    pieces: list[list[HexRow]] = []
    for row in rows:
        if row.offset == 0 or not pieces:
            pieces.append([])
        pieces[-1].append(row)
    return pieces


def _same(one: Dump, other: Dump) -> bool:
    """Whether two dumps show the same bytes, one in words, which may be filled up, and one in bytes."""
    if one.in_words == other.in_words:
        return False
    length = min(len(one.data), len(other.data))
    return one.data[:length] == other.data[:length] and abs(len(one.data) - len(other.data)) < _WORD // 2


def _turned(dump: Dump) -> Dump:
    """The dump with its groups of eight digits read as bytes, where only that makes a record."""
    if not dump.in_words or is_record(dump.data) or not is_record(turned(dump.data)):
        return dump
    return Dump(turned(dump.data), dump.in_words, dump.broken)


def turned(data: bytes) -> bytes:
    """The bytes with every word the other way round."""
    return b"".join(data[place : place + 4][::-1] for place in range(0, len(data), 4))


def digits_of(line: str) -> list[str]:
    """The groups of hex digits in a line that has nothing else but what stands between them; none in any other line."""
    bare = _PREFIX.sub("", line)
    return _DIGITS.findall(bare) if _PLAIN.fullmatch(bare) else []


def plain(groups: Sequence[str]) -> Dump | None:
    """The bytes in groups of digits, None where there are too few to be a record; an odd digit at the end is left out.

    Groups of eight digits may be words: they are, if the error code is found only so.
    """
    digits = "".join(groups)
    data = bytes.fromhex(digits[: len(digits) & ~1])
    if len(data) < SHORTEST:
        return None
    in_words = all(len(group) == _WORD for group in groups) and not is_record(data) and is_record(turned(data))
    return Dump(turned(data) if in_words else data, in_words, broken=bool(len(digits) % 2))
