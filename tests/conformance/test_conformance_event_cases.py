"""The events' catalogue, and the cases that its variations have."""

from __future__ import annotations

from collections import Counter

import pytest

from iscsi_conformance.case import INITIATOR, SERVICE, load_cases
from iscsi_conformance.events.catalogue import OF_SERVICE, events, name_of
from iscsi_conformance.faults import all_faults
from iscsi_protocol.eventlog import EVENTS

ABOUT = {case.id: case for case in load_cases().values() if case.about}
VARIATIONS = [(row, each) for row in events().values() for each in row.variations]


def test_catalogue_and_event_log_know_the_same_events():
    assert list(events()) == list(EVENTS)
    assert {row.id: row.severity for row in events().values()} == {
        row.id: row.severity.name.lower() for row in EVENTS.values()
    }


def test_every_event_has_variations():
    assert all(any(not each.near_miss for each in row.variations) for row in events().values())
    names = Counter((row.id, each.id) for row, each in VARIATIONS)
    assert set(names.values()) == {1}


@pytest.mark.parametrize(("row", "variation"), VARIATIONS, ids=[f"{row.id}-{each.id}" for row, each in VARIATIONS])
def test_every_variation_has_a_case(row, variation):
    own = [case for case in ABOUT.values() if case.about == (name_of(row.id), variation.id)]
    assert own
    for case in own:
        assert (name_of(row.id) in case.events) is not variation.near_miss


@pytest.mark.parametrize("case", ABOUT.values(), ids=list(ABOUT))
def test_every_case_is_about_a_variation_and_can_fail(case):
    event, variation = case.about
    row = events()[int(event.partition(":")[2])]
    assert case.role is (SERVICE if row.id in OF_SERVICE else INITIATOR)
    assert variation in {each.id for each in row.variations}
    assert case.proofs
    assert set(case.proofs) <= all_faults().keys()


def test_each_event_is_kept_back_doubled_spoilt_and_without_effect_in_some_case():
    used = {fault for case in ABOUT.values() for fault in case.proofs}
    for event in events():
        assert {f"event.{event}.{kind}" for kind in ("silent", "twice", "wrong-dump")} <= used
