"""SANITIZE (OVERWRITE) parameter lists and READ DEFECT DATA headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.defects import DefectData10, DefectData12
from iscsi_protocol.scsi.fields import FieldValueError
from iscsi_protocol.scsi.provisioning import ParameterListError
from iscsi_protocol.scsi.sanitize import Overwrite, OverwriteHeader, parse_overwrite
from iscsi_protocol.scsi.sense import FieldPointer


@given(st.binary(min_size=1, max_size=512), st.integers(1, 31), st.booleans())
def test_an_overwrite_is_read_as_written(pattern, count, invert):
    overwrite = Overwrite(pattern=pattern, count=count, invert=invert)
    assert parse_overwrite(overwrite.build(), 512) == overwrite
    first, second = overwrite.block(0, 512), overwrite.block(1, 512)
    assert len(first) == len(second) == 512
    assert first.startswith(pattern)
    assert second == (bytes(each ^ 0xFF for each in first) if invert else first)
    assert overwrite.block(2, 512) == first


def test_the_layout_is_that_of_the_standard():
    assert Overwrite(pattern=b"\xaa\x55", count=3, invert=True).build() == bytes.fromhex("83000002aa55")
    with pytest.raises(FieldValueError):
        Overwrite(pattern=b"x", count=32).build()


@pytest.mark.parametrize(
    ("header", "byte", "bit"),
    [
        (OverwriteHeader(test=1, pattern_length=4), 0, 6),
        (OverwriteHeader(overwrite_count=0, pattern_length=4), 0, 4),
        (OverwriteHeader(pattern_length=0), 2, 7),
        (OverwriteHeader(pattern_length=513), 2, 7),
    ],
)
def test_impossible_fields_are_pointed_at(header, byte, bit):
    with pytest.raises(ParameterListError) as caught:
        parse_overwrite(header.build() + bytes(600), 512)
    assert caught.value.sense.code == AdditionalSense.INVALID_FIELD_IN_PARAMETER_LIST
    assert caught.value.sense.field_pointer == FieldPointer(byte=byte, bit=bit, in_cdb=False)


def test_a_list_that_ends_within_the_pattern_is_too_short():
    with pytest.raises(ParameterListError) as caught:
        parse_overwrite(OverwriteHeader(pattern_length=4).build() + b"abc", 512)
    assert caught.value.sense.code == AdditionalSense.PARAMETER_LIST_LENGTH_ERROR


def test_defect_list_headers():
    assert DefectData10(primary_valid=True, list_format=4, list_length=8).build() == bytes.fromhex("00140008")
    twelve = DefectData12(grown_valid=True, list_format=5, generation=2, list_length=16)
    assert twelve.build() == bytes.fromhex("000d000200000010")
