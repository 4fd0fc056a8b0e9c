"""Additional header segments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    Ahs,
    AhsError,
    AhsType,
    bidirectional_read_length,
    decode_ahs,
    encode_ahs,
    extended_cdb,
    read_length,
    whole_cdb,
)

SEGMENTS = st.builds(Ahs, st.integers(0, 0xFF), st.binary(max_size=40))


@given(st.lists(SEGMENTS, max_size=6))
def test_a_chain_comes_back(segments):
    chain = encode_ahs(segments)
    assert len(chain) % 4 == 0
    assert decode_ahs(chain) == segments


@given(st.binary(max_size=64))
def test_any_bytes_are_a_chain_or_are_refused_at_a_place_in_it(chain):
    covered, offset = 0, None
    try:
        covered = sum(3 + len(each.contents) + 3 & ~3 for each in decode_ahs(chain))
    except AhsError as error:
        offset = error.offset
    assert covered in range(len(chain), len(chain) + 4) if offset is None else 0 <= offset < len(chain)


def test_the_bytes_of_an_extended_cdb():
    cdb = bytes(range(22))
    segment = extended_cdb(cdb)
    # AHSLength is the CDB's length less 15, type 1, a reserved byte, the rest of the CDB, two bytes of padding.
    assert encode_ahs([segment]).hex(" ") == "00 07 01 00 10 11 12 13 14 15 00 00"
    assert segment.code == AhsType.EXTENDED_CDB
    assert whole_cdb(cdb[:16], [bidirectional_read_length(5), segment]) == cdb


def test_the_bytes_of_a_bidirectional_read_length():
    chain = encode_ahs([bidirectional_read_length(0x01020304)])
    assert chain.hex(" ") == "00 05 02 00 01 02 03 04"
    assert read_length(decode_ahs(chain)) == 0x01020304


def test_reserved_bits_of_the_type_stay_and_do_not_count():
    (segment,) = decode_ahs(bytes.fromhex("0005c20000000009"))
    assert segment.ahs_type == 0xC2
    assert segment.code == AhsType.BIDIRECTIONAL_READ_LENGTH
    assert read_length([segment]) == 9


def test_a_command_without_segments_has_the_header_alone():
    assert whole_cdb(bytes(16), [Ahs(9, b"x")]) == bytes(16)
    assert read_length([]) is None


@pytest.mark.parametrize("contents", [b"", b"\0\0\0\1", b"\0\0\0\0\1\2"])
def test_a_read_length_of_the_wrong_size_says_nothing(contents):
    good = bidirectional_read_length(3)
    assert read_length([Ahs(AhsType.BIDIRECTIONAL_READ_LENGTH, contents)]) is None
    assert read_length([Ahs(AhsType.EXTENDED_CDB, good.contents)]) is None
    assert read_length([Ahs(AhsType.BIDIRECTIONAL_READ_LENGTH, contents), good]) == 3


@pytest.mark.parametrize(
    ("chain", "offset", "complaint"),
    [
        ("000201", 0, "AHS byte 0: less than a word is left"),
        ("00020100 00000000 0100", 8, "AHS byte 8: less than a word"),
        ("00060100 01020304", 0, "AHS byte 0: length 6 runs past the end"),
        ("00010100 ffff0200", 4, "AHS byte 4: length 65535 runs past"),
    ],
)
def test_a_chain_that_its_lengths_do_not_describe(chain, offset, complaint):
    with pytest.raises(AhsError, match=complaint) as caught:
        decode_ahs(bytes.fromhex(chain))
    assert caught.value.offset == offset


def test_a_length_of_zero_is_a_segment_of_a_word():
    assert decode_ahs(bytes.fromhex("00000300 00000401")) == [Ahs(3, b""), Ahs(4, b"")]


@pytest.mark.parametrize("length", [0, 15, 16])
def test_a_cdb_that_fits_the_header_has_no_extension(length):
    with pytest.raises(ValueError, match=f"a CDB of {length} bytes needs no extension"):
        extended_cdb(bytes(length))


@pytest.mark.parametrize("length", [-1, 1 << 32])
def test_a_read_length_has_32_bits(length):
    with pytest.raises(ValueError, match="does not fit 32 bits"):
        bidirectional_read_length(length)


def test_contents_have_a_length_of_16_bits():
    assert len(encode_ahs([Ahs(9, bytes(0xFFFF))])) == 0xFFFF + 5
    with pytest.raises(ValueError, match="cannot say 65536 bytes"):
        encode_ahs([Ahs(9, bytes(0x10000))])
