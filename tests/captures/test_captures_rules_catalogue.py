"""The rows themselves: their ids, their clauses and roles."""

from __future__ import annotations

import json
import re
from importlib.resources import files

import pytest

from iscsi_captures.rules import RULES, TABLE

CATALOGUE = {
    row["id"]: row
    for row in json.loads((files("iscsi_captures") / "data" / "requirements.json").read_text(encoding="utf-8"))
}


def test_there_are_enough_rules():
    """The rule book does not shrink unnoticed."""
    assert len(RULES) >= 200


def test_ids_are_unique_and_well_formed():
    """An id is an area, a dot and a slug, given once."""
    ids = [rule.id for rule in RULES]
    assert len(ids) == len(set(ids))
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9]+(?:\.[A-Za-z0-9\-]+)+", name)] == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_clause_exists_and_fits(rule):
    """The clause is one of the catalogue's, as strict as the rule says, and binds whom the rule blames."""
    clause = CATALOGUE[rule.clause]
    if rule.level != "ADVICE":
        assert clause["level"] == rule.level
    assert clause["role"] in ("both", *rule.roles)
    if clause["role"] != "both":
        assert rule.roles == (clause["role"],)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_the_rule_is_filed_where_it_applies(rule):
    """Each opcode and phase of a row leads to it, and it says in a sentence what it holds."""
    found = {(opcode, phase) for (_, opcode, phase), filed in TABLE.items() for rows in filed if rule in rows}
    assert found == {(opcode, phase) for opcode in rule.opcodes for phase in rule.phases}
    assert rule.says.endswith(".")
