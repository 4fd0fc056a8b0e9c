"""Recordings of cases, a selection with every kind of fault, reviewed again: the same findings and events as live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.recordings.recorded import differences

from iscsi_captures.pcapng import settings_comment, settings_in
from iscsi_conformance.case import Case, load_cases
from iscsi_conformance.faults import fault_of

ALSO = (
    ("event.21.largest", None),
    ("event.47.inquiry", None),
    ("event.1.black-hole", None),
    ("event.17.wrong-secret", None),
    ("recovery.connection-reinstated", None),
)
"""Cases whose recordings once said something else, and some that need the initiator's settings or several connections."""


def _kinds(case: Case, fault_id: str) -> Iterator[str]:
    """What a fault does: kinds of actions, and whether a switch of the engine's policy makes it."""
    named = fault_of(case.role, fault_id)
    if named.policy:
        yield "policy"
    for fault in named.faults:
        yield from (type(action).__name__ for action in fault.what)


def _selection() -> list[tuple[str, str | None]]:
    """For each role the first play with each kind of fault, and those that are named above."""
    cases = load_cases()
    chosen: dict[tuple[str, str], tuple[str, str | None]] = {}
    for case in cases.values():
        for fault_id in (*case.clauses.values(), *case.proofs):
            for kind in _kinds(case, fault_id):
                chosen.setdefault((case.role.value, kind), (case.id, fault_id))
    return list(dict.fromkeys([*chosen.values(), *(play for play in ALSO if play[0] in cases)]))


SELECTION = _selection()


def test_selection_has_every_kind_of_fault():
    """And is not so long that it would not be run."""
    assert 20 <= len(SELECTION) <= 60
    assert sum(fault is None for _, fault in SELECTION) >= 3


@pytest.mark.parametrize(("case_id", "fault"), SELECTION, ids=[f"{case}-{fault}" for case, fault in SELECTION])
def test_recording_says_what_was_found_live(case_id, fault, tmp_path):
    """Rule, requirement, level and role of each finding, number and extra data of each event, in order."""
    assert differences(load_cases()[case_id], fault, tmp_path) == []


def test_settings_keep_their_bytes():
    """Secrets are bytes, and what they predict depends on them."""
    settings = {"CHAPSecret": b"\x00secret\xff", "ISID": "80", "Connections": 2, "Other": {"bytes": 7}}
    assert settings_in(settings_comment(settings)) == settings
