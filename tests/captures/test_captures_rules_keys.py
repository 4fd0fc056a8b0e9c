"""Text keys in dialogues that no row of the histories tells."""

from __future__ import annotations

from iscsi_conformance.corpus.keys import proposed


def test_a_name_is_that_of_the_side_that_brought_it_up(script):
    history = proposed(("X#word", "1"))(script, ("X#word", "NotUnderstood"))
    found = [finding.role for finding in history.findings() if finding.rule == "keys.name-form"]
    assert found == ["target"]
