"""Text keys as an onlooker follows them (6.1, 6.2, chapter 13): who proposed what, who answered, what came of it.

Results are worked out here from the key table alone; no code is shared with the engines that negotiate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from iscsi_protocol.negotiation.keys import (
    AUTHENTICATION_PREFIXES,
    KEYS,
    PRIVATE_KEY,
    PRIVATE_PREFIX,
    Function,
    KeyRule,
)
from iscsi_protocol.text import PairError, scan_pairs

TEXT_KEPT = 1 << 17
REFUSALS: Final = frozenset({"Reject", "Irrelevant", "NotUnderstood"})


def row_of(key: str) -> KeyRule | None:
    """The key's row of the table; that of all X- keys for one of them; None for keys of methods and unknown ones."""
    row = KEYS.get(key)
    if row is None and key.startswith(PRIVATE_PREFIX):
        return PRIVATE_KEY
    return row


def is_authentication(key: str) -> bool:
    """Whether the key belongs to an authentication method (12.1)."""
    return key.startswith(AUTHENTICATION_PREFIXES) or key == "TargetAuth"


@dataclass(slots=True)
class Pair:
    """One key=value as it was said. answers: the other side's proposal that it answers, if it does."""

    key: str
    value: str
    row: KeyRule | None
    answers: str | None
    repeated: bool

    @property
    def refusal(self) -> bool:
        """Whether the value is one of the words that are answers only (6.2)."""
        return self.value in REFUSALS


class Negotiation:
    """The text of both sides, from 0 (initiator) to 1 (target), in one negotiation."""

    __slots__ = ("buffers", "offers", "results", "said")

    def __init__(self) -> None:
        self.buffers = (bytearray(), bytearray())
        self.said: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.offers: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.results: dict[str, str] = {}

    def gather(self, side: int, data: bytes, continued: bool) -> bytes | None:
        """Join the data segments of a C-bit chain; the whole text when it is complete, else None.

        Of a chain above TEXT_KEPT bytes what came so far is dropped.
        """
        buffer = self.buffers[side]
        if len(buffer) + len(data) > TEXT_KEPT:
            buffer.clear()
            return None
        buffer += data
        if continued:
            return None
        text = bytes(buffer)
        buffer.clear()
        return text

    def hear(self, side: int, text: bytes) -> tuple[list[Pair], list[PairError]]:
        """Read one whole text of a side and take note of what it proposes, declares and answers."""
        found, faults = scan_pairs(text)
        return [self._note(side, key, value) for key, value in found], faults

    def _note(self, side: int, key: str, value: str) -> Pair:
        row = row_of(key)
        said, theirs = self.said[side], self.offers[1 - side]
        proposal = theirs.get(key)
        if proposal is None and value in REFUSALS and key in self.said[1 - side]:
            proposal = self.said[1 - side][key]
        repeated = key in said and not (row is not None and row.target_may_repeat)
        said[key] = value
        if proposal is not None:
            theirs.pop(key, None)
            if value not in REFUSALS:
                self.results[key] = value
            return Pair(key, value, row, proposal, repeated)
        if _wants_answer(row, key):
            self.offers[side][key] = value
        return Pair(key, value, row, None, repeated)

    def unanswered(self, side: int) -> list[str]:
        """The proposals of that side that had to be answered and were not."""
        return [key for key, value in self.offers[side].items() if not answer_is_optional(key, value)]

    def agreed(self) -> Mapping[str, str]:
        """The result of every negotiated key, with those that a proposal settles without an answer (6.2.2)."""
        settled = dict(self.results)
        for offers in self.offers:
            for key, value in offers.items():
                row = KEYS.get(key)
                if row is not None and _fixed_by(row, value):
                    settled[key] = value
        return settled


def _wants_answer(row: KeyRule | None, key: str) -> bool:
    if row is None:
        return not is_authentication(key)
    return row.negotiated or row.function is Function.OBSOLETE or row is PRIVATE_KEY


def _fixed_by(row: KeyRule, value: str) -> bool:
    return (row.function is Function.AND and value == "No") or (row.function is Function.OR and value == "Yes")


def answer_is_optional(key: str, value: str) -> bool:
    """Whether this proposal may go unanswered (6.2.2, and the key's own section)."""
    row = row_of(key)
    return row is not None and (row.answer_optional or _fixed_by(row, value))
