"""The event packet, and what its extra data says in a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.eventlog import (
    EVENTS,
    FIELDS,
    HEADER_LENGTH,
    SECRETS,
    SERVICE_EVENTS,
    EventRecord,
    RecordError,
    Severity,
    address,
    explain,
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
    assert EventRecord.decode(packet).source == "iScsiPrt"


@given(event=st.sampled_from(sorted(EVENTS)), extra=st.binary(max_size=100), sequence=st.integers(0, 2**32 - 1))
def test_packets_come_back(event, extra, sequence):
    record = EventRecord.of(event, extra, sequence=sequence)
    assert EventRecord.decode(record.encode()) == record
    assert isinstance(explain(event, extra), str)


@pytest.mark.parametrize("cut", [0, 39, 43])
def test_short_packets_are_refused(cut):
    with pytest.raises(RecordError):
        EventRecord.decode(GUIDE[:cut])


def test_a_packet_that_is_cut_is_read_as_far_as_it_goes():
    whole = EventRecord.decode(GUIDE)
    for length in range(len(GUIDE)):
        record, missing = EventRecord.decode_cut(GUIDE[:length])
        # The size of the extra data is known from the fourth byte on.
        assert missing == (44 if length >= 4 else 40) - length
        assert record.id == (5 if length >= 16 else 0)
        assert record.extra == GUIDE[40:length]
    assert EventRecord.decode_cut(GUIDE) == (whole, 0)
    assert EventRecord.decode_cut(GUIDE + b"more") == (whole, 0)


def test_fields_of_the_packet_cover_its_header_but_for_the_gap():
    covered = [place for field in FIELDS for place in range(field.offset, field.end)]
    assert covered == [place for place in range(HEADER_LENGTH) if place not in {0x0A, 0x0B}]


def test_events_that_keep_a_secret_are_known():
    assert {35, 36} == SECRETS


def test_events_of_the_service():
    assert list(SERVICE_EVENTS) == list(range(102, 122))
    # As many strings as the guide's messages have places for them.
    places = {2: {104, 106, 108, 112, 113, 114, 115, 117}, 3: {116}, 0: {103, 109, 118, 120}}
    for number, row in SERVICE_EVENTS.items():
        assert len(row.inserts) == next((count for count, ids in places.items() if number in ids), 1)
    assert len({row.symbol for row in SERVICE_EVENTS.values()}) == 20


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
        (5, words(98), "98 (EADDRINUSE)"),
        (5, words(0xC0000207), "0xc0000207 (STATUS_INVALID_ADDRESS_COMPONENT)"),
        (5, words(0xC0FFEE00), "0xc0ffee00"),
        (20, "iqn.2026-01.a:b\0".encode("utf-16-le"), "iqn.2026-01.a:b"),
        (20, b"i\0q\0n", "i\\x00q\\x00n"),
        (35, words(11), "11 bytes"),
        (36, words(12), "4 bytes, not shown"),
        (35, b"swordfish", "9 bytes, not shown"),
        (36, b"", "0 bytes, not shown"),
        (9, bytes([0x12, 0, 0, 0, 36, 0]), "INQUIRY: allocation_length 36"),
        (9, bytes([0xC1, 2]), "opcode 0xc1: bytes c1 02"),
        (20, b"iqn.2026-01.a:b", "iqn.2026-01.a:b"),
        (25, words(1, 2), "computed 0x00000001, given 0x00000002"),
        (42, words(7, 9), "expected 7, given 9"),
        (43, words(3), "Login Request"),
        (43, words(0x103), "0x103"),
        (27, bytes(encode(NopIn(stat_sn=9)).bhs), "NOP-In: itt 0xffffffff, stat_sn 9"),
        (29, encode(NopIn(ttt=7)).bhs[:24], "NOP-In: itt 0xffffffff, ttt 0x00000007, cut off 24 of 48 bytes"),
        (33, words(1025), "1025 bytes"),
        (25, b"\1", "more bytes 01, cut off 1 of 8 bytes"),
        (25, words(1), "computed 0x00000001, cut off 4 of 8 bytes"),
        (20, b"iqn\x1b[2J\xff", "iqn\\x1b[2J\\xff"),
        (13, b"x" * 400, "x" * 300 + "… (400 in all)"),
        (2, b"", ""),
        (900, b"\1\2", "01 02"),
    ],
)
def test_data_in_words(event, extra, text):
    assert explain(event, extra) == text
