"""The event packet, its reading, and the file."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.eventlog import (
    EVENTS,
    EventLogWriter,
    EventRecord,
    LogError,
    RecordError,
    Severity,
    address,
    explain,
    parse_line,
    read_log,
    words,
)
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import NopIn, encode

GUIDE = bytes.fromhex("0000040001005e0000000000050000c0" + "00" * 24 + "070200c0")
"""The guide's example of event 5."""


def test_the_guides_example_decodes():
    record = EventRecord.decode(GUIDE)
    assert (record.id, record.severity, record.number_of_strings, record.string_offset) == (5, Severity.ERROR, 1, 0x5E)
    assert record.extra == bytes.fromhex("070200c0")
    assert record.encode() == GUIDE


def test_every_event_has_a_row_and_severities_are_those_of_the_catalogue():
    assert sorted(EVENTS) == list(range(1, 65))
    assert {i for i, row in EVENTS.items() if row.severity is Severity.WARNING} == {32, 39, 63}
    assert {i for i, row in EVENTS.items() if row.severity is Severity.INFORMATION} == {34, 64}


def test_places_in_the_packet():
    packet = EventRecord.of(39, b"name", sequence=0x01020304).encode()
    assert packet[0x02:0x04] == b"\4\0"
    assert packet[0x0C:0x10] == bytes([39, 0, 0, 0x80])
    assert packet[0x18:0x1C] == bytes([4, 3, 2, 1])
    assert packet[0x28:] == b"name"


@given(event=st.sampled_from(sorted(EVENTS)), extra=st.binary(max_size=100), sequence=st.integers(0, 2**32 - 1))
def test_packets_come_back(event, extra, sequence):
    record = EventRecord.of(event, extra, sequence=sequence)
    assert EventRecord.decode(record.encode()) == record
    assert isinstance(explain(event, extra), str)


@pytest.mark.parametrize("cut", [0, 39, 43])
def test_short_packets_are_refused(cut):
    with pytest.raises(RecordError):
        EventRecord.decode(GUIDE[:cut])


def test_long_data_is_cut():
    assert len(EventRecord.of(11, bytes(70000)).extra) == 65535


@pytest.mark.parametrize(
    ("event", "extra", "text"),
    [
        (1, address(Endpoint("192.0.2.1", 3260)), "192.0.2.1:3260"),
        (1, address(Endpoint("2001:db8::1", 3260)), "[2001:db8::1]:3260"),
        (1, address(Endpoint("disks.example.org", 1)), "disks.example.org:1"),
        (3, words(5, 2), "ExpCmdSN 5, MaxCmdSN 2"),
        (4, words(8192, 4096), "FirstBurstLength 8192, MaxBurstLength 4096"),
        (9, bytes([0x12, 0, 0, 0, 36, 0]), "INQUIRY: 120000002400"),
        (20, b"iqn.2026-01.a:b", "iqn.2026-01.a:b"),
        (25, words(1, 2), "computed 0x00000001, given 0x00000002"),
        (42, words(7, 9), "expected 7, given 9"),
        (43, words(3), "Login Request"),
        (27, bytes(encode(NopIn()).bhs), f"NOP-In: {encode(NopIn()).bhs.hex()}"),
        (33, words(1025), "bytes 1025"),
        (25, b"\1", "01"),
        (900, b"\1\2", "01 02"),
    ],
)
def test_data_in_words(event, extra, text):
    assert explain(event, extra) == text


def test_the_file_appears_with_the_first_event_and_reads_back(tmp_path):
    path = tmp_path / "state" / "events.jsonl"
    log = EventLogWriter(path)
    assert not path.exists()
    log.write(20, b"iqn.2026-01.a:b", 0.5)
    log.write(34, b"iqn.2026-01.a:b", 1.5)
    log.close()
    log.write(1, address(Endpoint("192.0.2.1", 3260)), 2)
    log.close()
    with path.open() as lines:
        events = list(read_log(lines))
    assert [(e.record.id, e.record.sequence, e.time.timestamp()) for e in events] == [
        (20, 1, 0.5),
        (34, 2, 1.5),
        (1, 3, 2),
    ]
    entry = json.loads(path.read_text().splitlines()[0])
    assert (entry["source"], entry["severity"], entry["data"]) == ("iScsiPrt", "error", "iqn.2026-01.a:b")


@pytest.mark.parametrize("line", ["{}", "no json", '{"time": "2026-01-01", "dump": "zz"}', "[]"])
def test_lines_that_are_no_events(line):
    with pytest.raises(LogError, match="line 2"):
        list(read_log(io.StringIO("\n" + line + "\n")))
    with pytest.raises(LogError):
        parse_line(line)
