"""Events as lines and as objects."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.eventlog.show import event_json, event_lines
from iscsi_protocol.eventlog import EVENTS, EventRecord, parse_line, words

WHEN = "2026-01-31T12:00:00.000000+00:00"


def logged(event, extra, text=""):
    packet = EventRecord.of(event, extra, sequence=1).encode().hex()
    return parse_line(json.dumps({"time": WHEN, "dump": packet, "text": text}))


def test_an_event_as_lines_and_as_an_object():
    event = logged(42, words(7, 9))
    assert [line.plain for line in event_lines(event)] == [
        f"{WHEN} iScsiPrt 42 error       invalid StatSN #1",
        "      0x00  expected  7",
        "      0x04  given     9",
    ]
    assert event_json(event)["details"] == [
        {"part": "data", "offset": 0, "name": "expected", "value": 7, "text": "7"},
        {"part": "data", "offset": 4, "name": "given", "value": 9, "text": "9"},
    ]


@pytest.mark.parametrize("event", EVENTS)
@given(extra=st.binary(max_size=80), text=st.text(max_size=10))
def test_whatever_stands_in_an_event_is_shown_on_printable_lines(event, extra, text):
    found = logged(event, extra, text)
    assert json.loads(json.dumps(event_json(found)))["id"] == event
    assert all(line.plain.isprintable() for line in event_lines(found))
