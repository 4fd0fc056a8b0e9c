"""The documents about the rules say what the rule book does, and every visible requirement is accounted for."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from iscsi_captures.catalogue import requirements
from iscsi_captures.rules import RULES
from iscsi_conformance.corpus.__main__ import main
from iscsi_conformance.corpus.document import (
    REASONS,
    RULES_FILE,
    UNJUDGED_FILE,
    rules_document,
    unjudged,
    unjudged_document,
)

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_list_of_the_rules_is_in_step():
    assert (DOCS / RULES_FILE).read_text(encoding="utf-8") == rules_document()


def test_the_list_of_what_is_not_judged_is_in_step():
    assert (DOCS / UNJUDGED_FILE).read_text(encoding="utf-8") == unjudged_document()


def test_each_visible_requirement_has_a_rule_or_a_reason():
    """Each is a rule's clause, or stands once in the list; what is free to be done is not asked for,
    and neither is iSNS, which these dialogues do not speak."""
    listed = unjudged()
    named = [*listed.same, *(each for ids in listed.reasons.values() for each in ids)]
    assert len(named) == len(set(named))
    dialogue = [row for row in requirements().values() if row.source != "RFC 4171"]
    asked = {row.id for row in dialogue if row.testable != "no" and row.level != "MAY"}
    assert set(named) == asked - {rule.clause for rule in RULES}


def test_reasons_and_rules_that_the_list_names_exist():
    listed = unjudged()
    assert set(listed.reasons) == set(REASONS)
    assert set(listed.same.values()) <= {rule.id for rule in RULES}


def test_the_command_writes_both_documents(tmp_path):
    result = CliRunner().invoke(main, ["--docs", str(tmp_path / "docs")])
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "docs" / RULES_FILE).read_text(encoding="utf-8") == rules_document()
    assert (tmp_path / "docs" / UNJUDGED_FILE).read_text(encoding="utf-8") == unjudged_document()


def test_the_command_wants_to_know_what_to_write():
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "one of --write and --docs is needed" in result.output
