"""LUN structures: which number each addressing method names, and which structures name none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.lun import decode_lun, encode_extended_lun, encode_flat_lun, encode_lun, same_lun

GOLDEN = [
    (0, "0000000000000000"),
    (1, "0001000000000000"),
    (255, "00ff000000000000"),
    (256, "4100000000000000"),
    (16383, "7fff000000000000"),
    (16384, "d200400000000000"),
    (0xFFFFFF, "d2ffffff00000000"),
    (0x1000000, "e200010000000000"),
    (0xFFFFFFFFFF, "e2ffffffffff0000"),
]


@pytest.mark.parametrize(("lun", "text"), GOLDEN)
def test_each_lun_takes_the_shortest_method(lun: int, text: str) -> None:
    assert encode_lun(lun).hex() == text
    assert decode_lun(memoryview(bytes.fromhex(text))) == lun


@given(st.integers(0, 0xFFFFFFFFFF))
def test_every_lun_survives(lun: int) -> None:
    assert decode_lun(encode_lun(lun)) == lun


@pytest.mark.parametrize(
    ("encode", "lun", "text"),
    [
        (encode_flat_lun, 0, "4000000000000000"),
        (encode_flat_lun, 0x3FFF, "7fff000000000000"),
        (encode_extended_lun, 0, "d200000000000000"),
        (encode_extended_lun, 0xFFFFFF, "d2ffffff00000000"),
    ],
)
def test_a_longer_method_may_be_taken(encode: Callable[[int], bytes], lun: int, text: str) -> None:
    assert encode(lun).hex() == text
    assert decode_lun(encode(lun)) == lun
    for outside in (-1, lun + 1) if lun else (-1,):
        with pytest.raises(ValueError, match="holds 0 to"):
            encode(outside)


@pytest.mark.parametrize(
    ("text", "lun"),
    [
        ("4005000000000000", 5),  # flat space below 256
        ("d200000500000000", 5),  # extended flat space below 256
        ("0101000000000000", None),  # another bus
        ("0001000100000000", None),  # a second level
        ("4005000000000001", None),
        ("d200000501000000", None),
        ("e200000000050001", None),
        ("8000000000000000", None),  # logical unit addressing
        ("c101000000000000", None),  # REPORT LUNS well known logical unit
        ("ffffffffffffffff", None),  # not specified
        ("c200000000000000", None),  # extended flat method in a length that it does not have
        ("00000000000000", None),
        ("000000000000000000", None),
        ("", None),
    ],
)
def test_structures_of_others(text: str, lun: int | None) -> None:
    assert decode_lun(bytes.fromhex(text)) == lun


@given(st.binary(min_size=8, max_size=8))
def test_a_structure_names_a_lun_or_none(structure: bytes) -> None:
    lun = decode_lun(structure)
    assert lun is None or decode_lun(encode_lun(lun)) == lun


@pytest.mark.parametrize("lun", [-1, 1 << 40])
def test_numbers_beyond_40_bits_are_refused(lun: int) -> None:
    with pytest.raises(ValueError, match="a LUN is 0 to"):
        encode_lun(lun)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0001000000000000", "0001000000000000", True),
        ("0001000000000000", "4001000000000000", True),
        ("0001000000000000", "0002000000000000", False),
        ("c101000000000000", "c101000000000000", True),
        ("c101000000000000", "c102000000000000", False),
        ("0001000000000000", "c101000000000000", False),
    ],
)
def test_structures_that_name_one_unit(one: str, other: str, same: bool) -> None:
    assert same_lun(bytes.fromhex(one), bytes.fromhex(other)) is same
