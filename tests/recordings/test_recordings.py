"""The recordings of the whole run, reviewed again: the same findings as live, and the events that were predicted live.

Every case is played in memory on the clean bundled peer, and with each of its faults; a test is a share of them.
"""

from __future__ import annotations

import pytest
from tests.recordings.recorded import differences

from iscsi_conformance.case import load_cases

SHARES = 64
PLAYS = [
    (case, fault)
    for case in load_cases().values()
    for fault in (None, *dict.fromkeys((*case.clauses.values(), *case.proofs)))
]


@pytest.mark.parametrize("share", range(SHARES))
def test_recordings_say_what_was_found_live(share, tmp_path):
    """Rule, requirement, level and role of each finding, in order; number and extra data of each event, in order."""
    wrong = [line for case, fault in PLAYS[share::SHARES] for line in differences(case, fault, tmp_path)]
    assert wrong == []
