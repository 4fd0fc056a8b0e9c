"""An event as a line of a log."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from iscsi_protocol.eventlog import EventRecord, LogError, LoggedEvent, parse_line

EVENT = LoggedEvent(
    datetime(2026, 1, 31, tzinfo=UTC), EventRecord.of(42, bytes([7, 0, 0, 0, 9, 0, 0, 0]), sequence=3), "why"
)


def test_a_line_has_the_packet_and_words_beside_it():
    assert json.loads(EVENT.line()) == {
        "time": "2026-01-31T00:00:00.000000+00:00",
        "source": "iScsiPrt",
        "id": 42,
        "severity": "error",
        "sequence": 3,
        "message": "invalid StatSN",
        "text": "why",
        "data": "expected 7, given 9",
        "dump": EVENT.record.encode().hex(),
    }
    assert parse_line(EVENT.line()) == EVENT


def test_what_counts_is_the_packet():
    entry = EVENT.as_json()
    assert parse_line(json.dumps({"time": entry["time"], "dump": entry["dump"]})) == LoggedEvent(
        EVENT.time, EVENT.record
    )
    with pytest.raises(LogError, match="its text is none"):
        parse_line(json.dumps({**entry, "text": 3}))


def test_the_beginning_of_a_line_is_known_for_one():
    whole = EVENT.line().strip()
    for length in range(len(whole)):
        for source in (whole[:length], whole[:length].decode()):
            with pytest.raises(LogError, match="line 4: the line breaks off") as refused:
                parse_line(source, 4)
            assert (refused.value.torn, refused.value.line, refused.value.reason) == (True, 4, "the line breaks off")


def test_a_severity_without_a_name_is_a_number():
    assert LoggedEvent(EVENT.time, EventRecord(error_code=0x12000001)).severity == "0x12"


@pytest.mark.parametrize("line", ["{}", "no json", '{"time": "2026-01-01", "dump": "zz"}', "[]", "[" * 100000, "nul\0"])
def test_lines_that_are_no_events(line):
    with pytest.raises(LogError, match="line 7") as refused:
        parse_line(line, 7)
    assert not refused.value.torn


def test_a_time_without_its_zone_is_no_time():
    dump = EventRecord.of(2).encode().hex()
    with pytest.raises(LogError, match="zone"):
        parse_line(json.dumps({"time": "2026-01-01T00:00:00", "dump": dump}))


def test_an_event_without_a_row_is_read():
    dump = EventRecord(error_code=0xC0000385, extra=b"\1\2").encode().hex()
    event = parse_line(json.dumps({"time": "2026-01-01T00:00:00+00:00", "dump": dump}))
    assert (event.message, event.as_json()["data"]) == ("event 901", "01 02")
