"""Random work over one to four connections at every recovery level, through losses and damage: nothing is lost or wrong."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.initiator.storms import Storm, Weather, faults_of

from iscsi_initiator.settings import Settings

SETTINGS = st.builds(
    Settings,
    max_burst_length=st.sampled_from([2048, 8192, 262144]),
    first_burst_length=st.sampled_from([512, 2048]),
    max_recv_data_segment_length=st.sampled_from([512, 1024, 4096, 65536]),
    max_outstanding_r2t=st.sampled_from([1, 4]),
    immediate_data=st.booleans(),
    initial_r2t=st.booleans(),
)
WEATHER = st.builds(
    Weather,
    level=st.integers(0, 2),
    connections=st.integers(1, 4),
    faults=st.builds(
        lambda seed, count: faults_of(random.Random(seed), count), st.integers(0, 9999), st.integers(0, 4)
    ),
    cuts=st.integers(0, 3),
    settings=SETTINGS,
    time2wait=st.integers(0, 2),
    seed=st.integers(0, 9999),
)


def pass_over(weather: Weather) -> Storm:
    storm = Storm(weather).run()
    assert storm.trouble == []
    assert storm.findings == []
    return storm


@given(WEATHER)
def test_a_storm(weather):
    pass_over(weather)


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("connections", [1, 4])
def test_connections_are_cut(level, connections):
    storm = pass_over(Weather(level=level, connections=connections, cuts=4, rounds=40, seed=level + connections))
    assert storm.failed == 0
    assert 20 in storm.logged
    assert set(storm.logged) == {20, 34}


def test_fair_weather_logs_nothing():
    assert pass_over(Weather(connections=4)).logged == []
