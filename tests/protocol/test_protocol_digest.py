"""CRC32C against the published vectors, against a bit by bit division, and under every way to cut the input."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol import digest

READ_10 = bytes.fromhex(
    "01c00000000000000000000000000000140000000000040000000014000000182800000000000000" + "0200000000000000"
)

VECTORS = [
    pytest.param(b"\x00" * 32, 0x8A9136AA, "aa36918a", id="zeros"),
    pytest.param(b"\xff" * 32, 0x62A8AB43, "43aba862", id="ones"),
    pytest.param(bytes(range(32)), 0x46DD794E, "4e79dd46", id="rising"),
    pytest.param(bytes(range(31, -1, -1)), 0x113FDB5C, "5cdb3f11", id="falling"),
    pytest.param(READ_10, 0xD9963A56, "563a96d9", id="READ(10)"),
    pytest.param(b"123456789", 0xE3069283, "839206e3", id="check value"),
    pytest.param(b"", 0, "00000000", id="nothing"),
]


def divide(data: bytes) -> int:
    """The remainder R(x) of section 13.1, complemented: plain polynomial division, most significant bit first.

    The reflected reading of RFC 7143 takes bit 0 of each byte first and gives the result turned round.
    """
    register = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            carry = (register >> 31) ^ (byte >> bit & 1)
            register = (register << 1 & 0xFFFFFFFF) ^ (0x1EDC6F41 if carry else 0)
    return int(f"{register ^ 0xFFFFFFFF:032b}"[::-1], 2)


@pytest.mark.parametrize(("data", "value", "wire"), VECTORS)
def test_vectors(data: bytes, value: int, wire: str):
    assert digest.crc32c(data) == value
    assert digest.digest_bytes(data).hex() == wire
    assert digest.digest_value(bytes.fromhex(wire)) == value


@given(st.binary(max_size=100))
def test_equals_the_division_of_the_standard(data: bytes):
    assert digest.crc32c(data) == divide(data)


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_buffers_count_as_one(parts: list[bytes]):
    whole = digest.crc32c(b"".join(parts))
    views = [memoryview(bytearray(part)) for part in parts]
    assert digest.crc32c_of(*parts) == digest.crc32c_of(*views) == whole
    assert digest.digest_bytes(*views) == whole.to_bytes(4, "little")
    value = 0
    for part in parts:
        value = digest.crc32c(bytearray(part), value)
    assert value == whole


@given(st.binary(max_size=100))
def test_residue(data: bytes):
    """Data with its right digest always leaves the same remainder."""
    assert digest.crc32c_of(data, digest.digest_bytes(data)) == digest.RESIDUE


@given(st.binary(min_size=1, max_size=100), st.data())
def test_one_flipped_bit_changes_the_digest(data: bytes, draw: st.DataObject):
    bit = draw.draw(st.integers(0, len(data) * 8 - 1))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    assert digest.digest_bytes(flipped) != digest.digest_bytes(data)


@given(st.integers(0, 2**32 - 1))
def test_value_reads_what_the_wire_carries(value: int):
    assert digest.digest_value(memoryview(value.to_bytes(4, "little"))) == value


@pytest.mark.parametrize("size", [0, 3, 5])
def test_digest_of_another_length_is_refused(size: int):
    with pytest.raises(ValueError, match=f"4 bytes, got {size}"):
        digest.digest_value(bytes(size))
