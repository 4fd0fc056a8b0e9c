"""Scripted dialogues, and what a history of the rule book has to show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import pytest

from iscsi_captures import rulebook
from iscsi_captures.dialogue import Sight
from iscsi_captures.rules import RULES, TABLE, Rule
from iscsi_conformance.corpus.script import Script


@pytest.fixture
def script() -> Script:
    """An empty history with one connection."""
    return Script()


@pytest.fixture(scope="session")
def script_class() -> type[Script]:
    """What makes such histories, for tests that need many."""
    return Script


Sample = Callable[[Script], Script]


def check_broken(rule: str, samples: tuple[Sample, ...]) -> None:
    """Each of these histories breaks the rule, and the finding bears its facts."""
    row = next(row for row in RULES if row.id == rule)
    for sample in samples:
        found = [finding for finding in sample(Script()).findings() if finding.rule == rule]
        assert found, f"{rule} found nothing"
        assert {(finding.clause, finding.level) for finding in found} == {(row.clause, row.level)}
        assert {finding.role for finding in found} <= set(row.roles)


WRONG_PLACES = frozenset(
    {
        "framing.target-opcode",
        "framing.initiator-opcode",
        "digest.header",
        "digest.data",
        "login.not-begun",
        "login.other-pdu",
        "login.again",
        "login.response-in-full-feature",
    }
)
"""Rows that are filed only where a PDU is wrong in any case, so that no near miss can lead to them."""


def check_kept(rule: str, samples: tuple[Sample, ...]) -> None:
    """None of these histories, each all but a violation, gives a finding, though the row is looked at."""
    for sample in samples:
        found = [(finding.rule, finding.message) for finding in sample(Script()).findings()]
        assert found == [], f"a near miss of {rule}"
    with looked_at(rule) as looks:
        assert [found for sample in samples for found in sample(Script()).findings()] == []
    assert looks or rule in WRONG_PLACES, f"no near miss of {rule} comes near it"


@contextmanager
def looked_at(rule: str) -> Iterator[list[Sight]]:
    """Go the long way with every PDU, and note what this row is asked about."""
    looks: list[Sight] = []

    def watched(row: Rule) -> Rule:
        def check(sight: Sight) -> str | None:
            looks.append(sight)
            return row.check(sight)

        return replace(row, check=check) if row.id == rule else row

    table = {key: tuple(tuple(map(watched, rows)) for rows in filed) for key, filed in TABLE.items()}
    with patch.object(rulebook, "TABLE", table), patch.object(rulebook, "is_plain", lambda _: False):
        yield looks


@pytest.fixture
def broken() -> Callable[[str, tuple[Sample, ...]], None]:
    """The check of breaking histories."""
    return check_broken


@pytest.fixture
def kept() -> Callable[[str, tuple[Sample, ...]], None]:
    """The check of near misses."""
    return check_kept
