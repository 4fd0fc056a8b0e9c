"""Every rule has histories that break it and near misses, and finds what it has to find and nothing else."""

from __future__ import annotations

import pytest

from iscsi_captures.rules import RULES
from iscsi_conformance.corpus.rows import COMPANIONS, HISTORIES
from iscsi_conformance.corpus.script import Script

RULE_IDS = [rule.id for rule in RULES]


def test_each_rule_has_its_row_and_each_row_its_rule():
    """A rule without histories would go untested."""
    assert set(HISTORIES) == set(RULE_IDS)
    assert [rule for rule, (breaking, kept) in HISTORIES.items() if not breaking or not kept] == []


@pytest.mark.parametrize("rule", RULE_IDS)
def test_breaking_history_is_found(rule, broken):
    """The rule has histories that break it, and finds each of them."""
    broken(rule, HISTORIES[rule][0])


@pytest.mark.parametrize("rule", RULE_IDS)
def test_near_miss_is_let_pass(rule, kept):
    """The rule has a history that all but breaks it, where nothing is found."""
    kept(rule, HISTORIES[rule][1])


@pytest.mark.parametrize("rule", RULE_IDS)
def test_the_first_breaking_history_breaks_that_rule_alone(rule):
    """No other rule speaks, but for those of which the row says why."""
    found = {finding.rule for finding in HISTORIES[rule][0][0](Script()).findings()}
    assert found == {rule, *COMPANIONS.get(rule, {})}
