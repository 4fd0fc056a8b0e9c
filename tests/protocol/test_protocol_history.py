"""The tap: what crosses a connection becomes records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.history import (
    BytesRecord,
    ConnectionTap,
    Endpoint,
    PduRecord,
    Record,
    SettingsRecord,
    TransportEvent,
    TransportRecord,
)
from iscsi_protocol.pdu import LoginRequest, LoginResponse, NopIn, NopOut, encode, join
from iscsi_protocol.stream import Direction

OUT, BACK = Direction.TO_TARGET, Direction.TO_INITIATOR


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [(Endpoint("192.0.2.1", 3260), "192.0.2.1:3260"), (Endpoint("2001:db8::1", 860), "[2001:db8::1]:860")],
)
def test_an_endpoint_as_text(endpoint, text):
    assert str(endpoint) == text


@given(st.integers(1, 150))
def test_pdus_become_records_that_own_their_bytes(size):
    records: list[Record] = []
    tap = ConnectionTap(4, records.append)
    sent = [encode(NopOut(itt=itt, data=b"x" * itt)) for itt in range(4)]
    stream = join(sent)
    for index, start in enumerate(range(0, len(stream), size)):
        buffer = bytearray(stream[start : start + size])
        tap.bytes_crossed(OUT, memoryview(buffer), float(index))
        buffer[:] = bytes(len(buffer))
    ends = [len(join(sent[: count + 1])) - 1 for count in range(4)]
    assert records == [PduRecord(4, float(end // size), OUT, raw) for end, raw in zip(ends, sent, strict=True)]


def test_both_directions_and_the_leftovers():
    records: list[Record] = []
    tap = ConnectionTap(1, records.append)
    answer = encode(NopIn())
    tap.bytes_crossed(BACK, answer.to_bytes() + b"rest", 1.5)
    tap.bytes_crossed(OUT, b"half", 2.0)
    tap.finish(3.0)
    assert records == [
        PduRecord(1, 1.5, BACK, answer),
        BytesRecord(1, 3.0, OUT, b"half", "the stream ended within a PDU"),
        BytesRecord(1, 3.0, BACK, b"rest", "the stream ended within a PDU"),
    ]


def test_what_follows_a_damaged_header_is_bytes():
    records: list[Record] = []
    tap = ConnectionTap(1, records.append)
    text = b"HeaderDigest=CRC32C\0"
    tap.bytes_crossed(OUT, encode(LoginRequest(csg=1, nsg=3, transit=True, data=text)).to_bytes(), 0.0)
    tap.bytes_crossed(BACK, encode(LoginResponse(csg=1, nsg=3, transit=True, data=text)).to_bytes(), 0.0)
    records.clear()
    bad = encode(NopOut(data=b"ping.")).with_digests(header=True, data=False)
    bad.header_digest = b"oops"
    tap.bytes_crossed(OUT, bad.to_bytes(), 1.0)
    head, rest = records
    assert isinstance(head, PduRecord)
    assert head.raw.header_digest_error
    assert rest == BytesRecord(1, 1.0, OUT, b"ping.\0\0\0", "the data of a header whose digest is wrong")


def test_transport_records():
    records: list[Record] = []
    tap = ConnectionTap(2, records.append)
    one, other = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
    tap.transport(TransportEvent.CONNECTED, 1.0, initiator=one, target=other)
    tap.transport(TransportEvent.FIN, 2.0, direction=OUT)
    assert records == [
        TransportRecord(2, 1.0, TransportEvent.CONNECTED, one, other),
        TransportRecord(2, 2.0, TransportEvent.FIN, direction=OUT),
    ]
    assert records[0].direction is BACK  # type: ignore[union-attr]  # it is a TransportRecord


def test_settings_have_no_values_of_their_own():
    assert SettingsRecord(0.0).settings == {}
    assert SettingsRecord(0.0).settings is not SettingsRecord(0.0).settings
