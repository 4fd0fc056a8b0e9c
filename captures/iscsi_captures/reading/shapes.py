"""What a PDU looks like to one who does not know where it starts: patterns of the headers, and chains of them (11.2 to 11.18).

A pattern holds what every PDU of an opcode has: flags that exist, reserved bytes that are 0, no AHS where there is none.
One header by itself proves little; its length has to lead to another one, or to the end of a segment.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Container
from dataclasses import dataclass

from iscsi_protocol.digest import crc32c
from iscsi_protocol.pdu.codes import BHS_LENGTH, NO_TAG
from iscsi_protocol.pdu.raw import Buffer
from iscsi_protocol.stream import Direction

LONGEST = 1 << 22
"""Data segments above this many bytes are not believed of a header that was found by its looks."""

LOGIN = re.compile(rb"[\x03\x43][\x00-\x0f\x40-\x4f\x80-\x8f]\x00\x00\x00\x00")
"""How a Login Request starts: version 0 is the only one, no AHS, less than 64 KiB of text."""

# Byte 0, byte 1, bytes 2 and 3, TotalAHSLength.
_TO_TARGET = (
    rb"[\x00\x40]\x80\x00\x00\x00",
    rb"[\x01\x41][\x00-\x04\x20-\x24\x40-\x44\x60-\x64\x80-\x84\xa0-\xa4\xc0-\xc4\xe0-\xe4][\x00-\x0f]\x00[\x00-\x40]",
    rb"[\x02\x42][\x81-\x8c]\x00\x00\x00\x00\x00\x00",
    rb"[\x03\x43][\x00-\x0f\x40-\x4f\x80-\x8f]\x00\x00\x00\x00",
    rb"[\x04\x44][\x00\x40\x80]\x00\x00\x00\x00",
    rb"\x05[\x00\x80]\x00\x00\x00",
    rb"[\x06\x46][\x80-\x82]\x00\x00\x00\x00\x00\x00",
    rb"\x10[\x80-\x83]\x00\x00\x00\x00\x00\x00",
)
_TO_INITIATOR = (
    rb"\x20\x80\x00\x00\x00",
    rb"\x21[\x80-\x9e][\x00\x01\x80-\xff]\x00\x00|\x21[\x80-\x9e]\x00[\x02\x04\x08\x18\x28\x30\x40]\x00",
    rb"\x22\x80[\x00-\x07\xff]\x00\x00\x00\x00\x00",
    rb"\x23[\x00-\x0f\x40-\x4f\x80-\x8f]\x00\x00\x00\x00",
    rb"\x24[\x00\x40\x80]\x00\x00\x00\x00",
    rb"\x25[\x00\x40\x80-\x87\xc0-\xc7]\x00[\x00\x02\x04\x08\x18\x28\x30\x40]\x00",
    rb"\x26\x80[\x00-\x03]\x00\x00\x00\x00\x00",
    rb"\x31\x80\x00\x00\x00\x00\x00\x00",
    rb"\x32\x80\x00\x00\x00\x00",
    rb"\x3f\x80[\x02-\x0c]\x00\x00\x00",
)
HEADERS = tuple(re.compile(b"|".join(patterns), re.DOTALL) for patterns in (_TO_TARGET, _TO_INITIATOR))
"""Indexed by direction."""

_LENGTHS = struct.Struct(">4xI8xI").unpack_from
_DIGEST = 4
_DEEPEST = 4
_ENOUGH = 3
_BULK = frozenset((0x05, 0x25))

Combination = tuple[bool, bool]
"""Header digest, data digest."""

COMBINATIONS: tuple[Combination, ...] = ((False, False), (True, False), (False, True), (True, True))


def is_header(direction: Direction, buffer: Buffer, at: int = 0) -> bool:
    """Whether a header may start there, with all of its 48 bytes there."""
    return len(buffer) - at >= BHS_LENGTH and HEADERS[direction].match(buffer, at) is not None


def pdu_size(buffer: Buffer, at: int, digests: Combination) -> int:
    """Length in bytes of the PDU whose header is there."""
    lengths, _tag = _LENGTHS(buffer, at)
    segment = lengths & 0xFFFFFF
    size: int = BHS_LENGTH + (lengths >> 24) * 4 + (segment + 3 & ~3)
    if digests[0]:
        size += _DIGEST
    if digests[1] and segment:
        size += _DIGEST
    return size


@dataclass(frozen=True, slots=True)
class Chain:
    """How far headers lead to each other. headers: seen; proofs: digests that are right; ends: it stops with the bytes;
    broken: something else stands where a header should; data: whether one of the PDUs has a data segment.
    """

    headers: int
    proofs: int
    ends: bool
    broken: bool
    data: bool
    known: bool

    @property
    def weight(self) -> int:
        """The more the surer; below 0 for what cannot be."""
        if self.broken:
            return -1
        return 3 * (self.headers - 1) + 2 * self.ends + 2 * self.known + 3 * min(self.proofs, 3)


def chain(  # noqa: C901 - a walk with all its ways to stop
    direction: Direction, buffer: Buffer, at: int, digests: Combination, tags: Container[int], deepest: int = _DEEPEST
) -> Chain:
    """Follow the headers from there on. tags: Initiator Task Tags that are in use."""
    pattern = HEADERS[direction]
    end = len(buffer)
    headers = proofs = 0
    ends = broken = data = known = False
    while headers < deepest:
        if at == end:
            ends = True
            break
        if end - at < BHS_LENGTH:
            broken = pattern.match(buffer, at) is None and end - at >= 8
            break
        if pattern.match(buffer, at) is None:
            broken = True
            break
        lengths, tag = _LENGTHS(buffer, at)
        segment = lengths & 0xFFFFFF
        if segment > LONGEST:
            broken = True
            break
        size = pdu_size(buffer, at, digests)
        header_end = at + BHS_LENGTH + (lengths >> 24) * 4
        if digests[0] and header_end + _DIGEST <= end:
            if not _right(buffer, at, header_end):
                broken = True
                break
            proofs += 1
        if segment:
            data = True
            if digests[1] and at + size <= end:
                if not _right(buffer, at + size - _DIGEST - (segment + 3 & ~3), at + size - _DIGEST):
                    broken = True
                    break
                proofs += 1
        known = known or (tag in tags and tag != NO_TAG)
        headers += 1
        if at + size > end:
            break
        at += size
    return Chain(headers, proofs, ends, broken, data, known)


def _right(buffer: Buffer, start: int, end: int) -> bool:
    with memoryview(buffer)[start:end] as covered:
        value = crc32c(covered)
    return value == int.from_bytes(buffer[end : end + _DIGEST], "little")


@dataclass(frozen=True, slots=True)
class Found:
    """Where the next PDU starts, how sure that is, and with which digests."""

    at: int
    confidence: float
    digests: Combination
    evidence: Chain


def confidence_of(weight: int) -> float:
    """0 to 1, rounded."""
    return round(1 - 0.5 ** (weight + 1), 3)


def seek(
    direction: Direction,
    buffer: Buffer,
    start: int,
    *,
    combinations: tuple[Combination, ...],
    tags: Container[int],
    step: int,
    phase: int,
    last: bool,
    count: Callable[[int], None] | None = None,
) -> tuple[Found | None, int]:
    """The first place from `start` on where PDUs begin, and from where to look on when more bytes have come.

    combinations: of digests that may be in force; step, phase: PDUs start where (position - phase) is a multiple of step;
    last: no more bytes come, so less evidence has to do. Work is linear in the bytes: a place that was refused is
    not looked at again.
    """
    pattern = HEADERS[direction]
    at = start
    while True:
        match = pattern.search(buffer, at)
        if match is None:
            return None, max(at, len(buffer) - BHS_LENGTH + 1)
        at = match.start()
        if len(buffer) - at < BHS_LENGTH:
            return None, at
        if (at - phase) % step:
            at += 1
            continue
        if count is not None:
            count(1)
        best: tuple[int, Combination, Chain] | None = None
        for combination in combinations:
            found = chain(direction, buffer, at, combination, tags)
            weight = found.weight
            if weight >= 0 and (best is None or weight > best[0]):
                best = (weight, combination, found)
        if best is not None:
            weight, combination, found = best
            weight += at == start == 0
            if weight >= _ENOUGH or (last and weight >= 1):
                return Found(at, confidence_of(weight), combination, found), at
            if not last:
                return None, at
        at += 1
