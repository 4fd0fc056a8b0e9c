"""Sequence numbers in dialogues that no row of the histories tells."""

from __future__ import annotations

from dataclasses import replace

from iscsi_conformance.corpus.numbers import LAST_IN_WINDOW, STATUS, filled


def test_a_damaged_status_does_not_take_the_count_back(script):
    def damaged(raw):
        return replace(raw.with_digests(header=False, data=True), data_digest_error=True)

    s = script.ready(ErrorRecoveryLevel="1").read(512)
    s.response(stat_sn=STATUS - 100, data=bytes(4), edit=damaged).command(exp_stat_sn=STATUS)
    assert "expstatsn.ahead" not in [finding.rule for finding in s.findings()]


def test_counting_on_beyond_the_window_is_one_violation(script):
    """Whoever leaves the window has not left out a number as well: the command behind it brings no second finding."""
    beyond = LAST_IN_WINDOW + 1
    history = filled(script.ready(), beyond).response(exp_cmd_sn=beyond + 1, max_cmd_sn=beyond + 8).command()
    assert [finding.rule for finding in history.findings() if finding.role == "initiator"] == ["cmdsn.outside-window"]
