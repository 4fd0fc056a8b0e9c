"""The numbered requirements: RFC 7143 with RFC 1994, RFC 3722 and RFC 7144, each restated, with a permanent id."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import msgspec


class Level(StrEnum):
    """How strongly a requirement binds."""

    MUST = "MUST"
    SHOULD = "SHOULD"
    MAY = "MAY"


class Requirement(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the catalogue. role: target, initiator or both; testable: yes, partial or no (on the wire)."""

    id: str
    source: str
    section: str
    level: Level
    keyword: str
    role: str
    area: str
    statement: str
    testable: str
    how: str


class UnknownRequirement(KeyError):
    """No requirement has this id."""

    def __init__(self, requirement: str) -> None:
        super().__init__(requirement)
        self.requirement = requirement

    def __str__(self) -> str:
        return f"no requirement has the id {self.requirement!r}"


@cache
def requirements() -> Mapping[str, Requirement]:
    """All requirements by id, in the catalogue's order."""
    text = files("iscsi_captures").joinpath("data/requirements.json").read_bytes()
    return MappingProxyType({row.id: row for row in msgspec.json.decode(text, type=list[Requirement])})


def requirement(requirement_id: str) -> Requirement:
    """One requirement. Raises UnknownRequirement."""
    try:
        return requirements()[requirement_id]
    except KeyError:
        raise UnknownRequirement(requirement_id) from None
