"""The parts of a PDU as they are on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.digest import digest_bytes
from iscsi_protocol.pdu import RawPdu, join, padding_for

FULL = RawPdu(bytes(range(48)), b"ahs.", b"data!", b"pad", b"hdig", b"ddig", True, True)


@given(st.integers(0, 1 << 24))
def test_padding_ends_on_a_word(length):
    assert padding_for(length) in range(4)
    assert (length + padding_for(length)) % 4 == 0


def test_the_order_on_the_wire():
    assert FULL.to_bytes() == bytes(range(48)) + b"ahs." + b"hdig" + b"data!pad" + b"ddig"
    assert FULL.buffers() == [bytes(range(48)), b"ahs.", b"hdig", b"data!", b"pad", b"ddig"]
    assert RawPdu(bytes(48), data=b"1234").buffers() == [bytes(48), b"1234"]
    assert join([FULL, RawPdu(bytes(48))]) == FULL.to_bytes() + bytes(48)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_the_header_says(kind):
    raw = RawPdu(kind(bytes([0xC1, 0, 0, 0, 0, 1, 2, 3]) + bytes(8) + b"\x0a\x0b\x0c\x0d" + bytes(28)))
    assert raw.opcode == 1
    assert raw.immediate is True
    assert raw.data_segment_length == 0x010203
    assert raw.initiator_task_tag == 0x0A0B0C0D
    assert RawPdu(kind(bytes([0x81]) + bytes(47))).immediate is False


def test_kept_owns_its_parts():
    buffer = bytearray(FULL.to_bytes())
    view = memoryview(buffer)
    raw = RawPdu(view[:48], view[48:52], view[56:61], view[61:64], view[52:56], view[64:68], False, True)
    kept = raw.kept()
    buffer[:] = bytes(len(buffer))
    assert kept.to_bytes() == FULL.to_bytes()
    assert all(isinstance(part, bytes) for part in kept.buffers())
    assert (kept.header_digest_error, kept.data_digest_error) == (False, True)


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("data", [False, True])
def test_digests_where_asked_for(header, data):
    raw = FULL.with_digests(header=header, data=data)
    assert raw.header_digest == (digest_bytes(bytes(range(48)) + b"ahs.") if header else b"")
    assert raw.data_digest == (digest_bytes(b"data!pad") if data else b"")
    assert not raw.header_digest_error
    assert not raw.data_digest_error
    assert FULL.header_digest == b"hdig"


def test_no_data_no_data_digest():
    assert RawPdu(bytes(48)).with_digests(header=True, data=True).data_digest == b""


def test_header_bytes_are_replaced_and_nothing_else():
    changed = FULL.with_bytes(46, b"\xee\xff")
    assert changed.bhs == bytes(range(46)) + b"\xee\xff"
    assert changed.to_bytes()[48:] == FULL.to_bytes()[48:]
    assert changed.header_digest_error


@pytest.mark.parametrize(("offset", "value"), [(-1, b"a"), (48, b"a"), (47, b"ab")])
def test_bytes_outside_of_the_header_are_refused(offset, value):
    with pytest.raises(ValueError, match="outside of the BHS"):
        FULL.with_bytes(offset, value)
