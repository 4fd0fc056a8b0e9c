"""Each event that the history decides, raised by every target that a strategy can think of, and by no near miss."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conformance.fuzz.hand import plans
from tests.conformance.fuzz.raising import TABLE

from iscsi_conformance.fuzz.check import run
from iscsi_conformance.oracle import JUDGED

EXAMPLES = max(4, settings().max_examples // 12)
tried = settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])


def test_every_event_that_the_history_decides_has_its_strategies() -> None:
    assert set(TABLE) == JUDGED


@pytest.mark.parametrize("event", TABLE)
@tried
@given(data=st.data())
def test_it_is_logged_where_it_must_be(event, data) -> None:
    plan = data.draw(plans(TABLE[event][0]))
    outcome = run(plan)
    assert outcome.wrong == ()
    assert event in outcome.events


@pytest.mark.parametrize("event", TABLE)
@tried
@given(data=st.data())
def test_it_is_not_logged_for_what_is_all_but_that(event, data) -> None:
    plan = data.draw(plans(TABLE[event][1]))
    outcome = run(plan)
    assert outcome.wrong == ()
    assert event not in outcome.events
