"""Storms over the initiator, short ones: over TCP, in real time. And that what is held in them can fail."""

from __future__ import annotations

import asyncio

import pytest

from iscsi_captures.rulebook import PredictedEvent
from iscsi_conformance.oracle import JUDGED
from iscsi_conformance.storm.kinds import BY_NAME, KINDS
from iscsi_conformance.storm.lane import FAIR, LONGEST_END, NAME, Lane, Tally
from iscsi_conformance.storm.story import HERE, Story, Strike
from iscsi_conformance.workload.model import BLOCK
from iscsi_initiator.client import Client
from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import EventLogged
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_protocol.history import Endpoint

ONE, OTHER = Endpoint("127.0.0.1", 50001), Endpoint("127.0.0.1", 50002)


def storm(level, sessions, *, tally=None, seed=1, seconds=0.5, between=None, **options):
    """Sessions one after another against a target of their own."""
    tally = tally or Tally()

    async def run():
        async with Lane(level, 4, seed, tally, **options) as lane:
            for _ in range(sessions):
                await lane.run_one(seconds)
                if between is not None:
                    between(lane)

    asyncio.run(run())
    return tally


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_short_storm(level):
    tally = storm(level, 2)
    assert tally.wrong == []
    assert tally.done["good"]
    assert tally.strikes
    assert tally.verified


def test_fair_weather_logs_nothing():
    tally = storm(2, 1, tally=Tally(sessions=FAIR - 1))
    assert tally.wrong == []
    assert (tally.events, tally.strikes) == ({}, {})


def test_an_initiator_that_logs_nothing_is_caught():
    tally = storm(0, 3, policy=Policy(never_logs=JUDGED))
    assert any("events differ" in each for each in tally.wrong)


def test_another_disk_is_caught():
    def forge(lane):
        lane._devices[0].unit(0).backend.write(0, (b"forged " * BLOCK)[:BLOCK])

    tally = storm(0, 2, tally=Tally(sessions=FAIR - 1), between=forge)
    assert any("block 0 holds 666f7267" in each for each in tally.wrong)


def test_a_session_whose_logout_was_lost_has_the_time_to_end():
    kept: list[int] = []

    async def run():
        async with Lane(1, 1, 1, Tally()) as lane:
            options = SessionOptions(portal=lane._endpoints[0], target_name=NAME)
            client = await Client.connect(
                options.portal, options=options, settings=Settings(error_recovery_level=1, default_time2wait=1)
            )
            kept.extend(session.patience for session in lane._engine.sessions)
            await client.logout()

    asyncio.run(run())
    assert kept == [21]
    assert kept[0] < LONGEST_END


# Causes.


def logged(event):
    return EventLogged(1, event, b"", 0.0)


def struck(name, end=ONE):
    return Strike(end, BY_NAME[name])


def unexplained(*happened, on=1):
    story = Story(list(happened), {1: ONE, 2: OTHER})
    predicted = [
        PredictedEvent(source="", id=each.id, connection=on, index=0, time=0.0, dump=b"")
        for each in happened
        if isinstance(each, EventLogged) and each.id in JUDGED
    ]
    return [int(each.split()[0]) for each in story.unexplained(predicted)]


@pytest.mark.parametrize(
    ("happened", "found"),
    [
        ([struck("reset"), logged(7), logged(20), logged(34)], []),
        ([logged(20)], [20]),
        ([logged(34)], [34]),
        ([logged(20), struck("reset")], [20]),
        ([struck("reset", OTHER), logged(20)], [20]),
        ([struck("reset"), logged(25)], [25]),
        ([struck("data damaged"), logged(25), logged(34)], []),
        ([struck("request lost", OTHER), logged(9), logged(49)], []),
        ([struck("reset"), logged(9)], [9]),
        ([struck("login lost"), logged(45)], []),
        ([struck("a Reject"), logged(29), logged(7)], [7]),
    ],
)
def test_what_explains_an_event(happened, found):
    assert unexplained(*happened) == found


def test_each_kind_explains_something():
    assert len(BY_NAME) == len(KINDS)
    for kind in KINDS:
        assert kind.events
    assert set().union(*(kind.events for kind in KINDS)) & HERE >= HERE - {60}
