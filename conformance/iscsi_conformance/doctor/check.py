"""One check of the doctor: a line that says what was found, and a remedy where there is something to do."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class State(StrEnum):
    """How a check came out. Only BAD keeps cases from running."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line. remedy: what to do about it, empty where there is nothing to do."""

    name: str
    state: State
    says: str
    remedy: str = ""


def ok(name: str, says: str) -> Check:
    """Nothing stands in the way."""
    return Check(name=name, state=State.OK, says=says)


def warn(name: str, says: str, remedy: str) -> Check:
    """Some cases will not run, or something is not as it should be."""
    return Check(name=name, state=State.WARN, says=says, remedy=remedy)


def bad(name: str, says: str, remedy: str) -> Check:
    """Keeps cases from running at all."""
    return Check(name=name, state=State.BAD, says=says, remedy=remedy)
