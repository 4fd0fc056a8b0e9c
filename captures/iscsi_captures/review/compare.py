"""How two reviews differ in what they found, whatever frames and times it was found at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from iscsi_captures.review.model import Review
from iscsi_captures.review.schema import SCHEMA

Findings = Counter[tuple[str, str, str]]
"""How often, by rule, level and role."""


class ComparedError(Exception):
    """A file that looks like JSON and is no review: one clear line."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of finding: how often it stands in the first review, and in the second."""

    rule: str
    level: str
    role: str
    first: int
    second: int


@dataclass(slots=True)
class Comparison:
    """What differs. It is true where anything does. same: kinds of findings that are as often in both."""

    new: list[Row] = field(default_factory=list)
    gone: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    same: int = 0

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.new or self.gone or self.changed)

    def as_json(self) -> dict[str, Any]:
        """The comparison as values that JSON has."""
        made: dict[str, Any] = msgspec.to_builtins(
            {"new": self.new, "gone": self.gone, "changed": self.changed, "same": self.same}
        )
        return made


class _Finding(msgspec.Struct):
    rule: str
    level: str
    role: str
    counted: int = 1


class _File(msgspec.Struct):
    schema: str
    findings: list[_Finding]
    dropped_findings: dict[str, int] = {}


def findings_in(name: str, reviewed: Callable[[str], Review]) -> Findings:
    """The findings of a file: a review in JSON, or a capture, which `reviewed` reviews. Raises ComparedError."""
    path = Path(name)
    try:
        with path.open("rb") as stream:
            begins = stream.read(1)
        if begins == b"{":
            return _of_json(name, path.read_bytes())
    except OSError:
        # The reading says in its own words what is wrong with the file; "-" is no file at all.
        pass
    return Counter((finding.rule, finding.level, finding.role) for finding in reviewed(name).findings)


def _of_json(name: str, text: bytes) -> Findings:
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ComparedError(f"{name}: no review in JSON: {error}") from None
    if file.schema != SCHEMA:
        raise ComparedError(f"{name}: its schema is {file.schema!r}, not {SCHEMA!r}")
    return Counter((finding.rule, finding.level, finding.role) for finding in file.findings)


def compare(first: Findings, second: Findings) -> Comparison:
    """What is new, gone or of another number in the second."""
    found = Comparison()
    for key in sorted(first.keys() | second.keys()):
        row = Row(*key, first[key], second[key])
        if row.first == row.second:
            found.same += 1
        else:
            (found.changed if row.first and row.second else found.gone if row.first else found.new).append(row)
    return found
