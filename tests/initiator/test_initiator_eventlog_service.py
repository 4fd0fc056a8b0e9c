"""Events of the service: in the log, on the screen, and explained."""

from __future__ import annotations

import json

import pytest

from iscsi_captures.explain.found import Found
from iscsi_captures.explain.sources import events_of
from iscsi_initiator.eventlog import EventLogWriter, LogReader
from iscsi_initiator.eventlog.show import event_json, event_lines
from iscsi_protocol.eventlog import SERVICE_EVENTS, LogError, LoggedEvent, parse_line

NOON = 1769860800.0


@pytest.fixture
def writer(tmp_path):
    made = EventLogWriter(tmp_path / "events.jsonl")
    yield made
    made.close()


def test_events_of_driver_and_service_share_a_log(writer):
    writer.write(1, b"", NOON)
    writer.write_service(113, ("connection failed", "192.0.2.1:3260"), NOON)
    reader = LogReader(writer.path)
    driver, service = reader.read()
    reader.close()
    assert isinstance(driver, LoggedEvent)
    assert isinstance(service, LoggedEvent)
    assert (driver.source, driver.inserts, driver.record.sequence) == ("iScsiPrt", (), 1)
    assert (service.source, service.record.id, service.record.sequence) == ("MSiSCSI", 113, 2)
    assert service.inserts == ("connection failed", "192.0.2.1:3260")
    assert service.message == SERVICE_EVENTS[113].message
    assert parse_line(service.line()) == service


def test_the_strings_are_those_of_the_row(writer):
    with pytest.raises(ValueError, match="event 113 has the strings"):
        writer.write_service(113, ("connection failed",), NOON)
    with pytest.raises(KeyError):
        writer.write_service(1, (), NOON)


def test_strings_are_shown_by_their_names(writer):
    event = writer.write_service(116, ("disk", "1-2", "qemu\x1b"), NOON)
    lines = [line.plain for line in event_lines(event)]
    assert "MSiSCSI 116 error" in lines[0]
    assert [line.split(maxsplit=1)[1].split("  ")[0] for line in lines[1:]] == ["device", "session", "who refused"]
    details = event_json(event)["details"]
    assert isinstance(details, list)
    assert details[2]["value"] == "qemu\\x1b"
    assert len(list(event_lines(writer.write_service(109, (), NOON)))) == 1


@pytest.mark.parametrize("change", [{"source": "Tcpip"}, {"inserts": [1]}])
def test_what_is_no_event_of_ours_is_refused(writer, change):
    entry = writer.write_service(109, (), NOON).as_json()
    with pytest.raises(LogError, match="its source"):
        parse_line(json.dumps(entry | change))


def test_events_of_the_service_are_explained(writer):
    found = next(iter(events_of(writer.write_service(115, ("no answer", "hba0"), NOON).line())))
    assert isinstance(found, Found)
    assert (found.source, found.id, found.strings, found.packet) == ("MSiSCSI", 115, ("no answer", "hba0"), b"")
