"""Parameter lists and data of third-party copies, held against hand-typed bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.designators import naa_locally_assigned, relative_target_port, scsi_name, t10_vendor_id
from iscsi_protocol.scsi.fields import FieldValueError
from iscsi_protocol.scsi.third_party_copy import (
    CSCD_LENGTH,
    SEGMENTS,
    BlockToBlock,
    BlockToBlockOffset,
    CopyHeader,
    CopyState,
    CopyStatus,
    FailureDetails,
    IdentificationCscd,
    ListIdUsage,
    OperatingParameters,
    build_copy,
    cscd_of,
    failure_details,
    operating_parameters,
    split_segments,
    third_party_copy_page,
    transfer_count,
)

NAA = naa_locally_assigned(0x123456789ABCDEF)
LIMITS = OperatingParameters(
    supports_no_list_identifier=True,
    maximum_cscd_count=0x0102,
    maximum_segment_count=0x0304,
    maximum_list_length=0x05060708,
    maximum_segment_length=0x090A0B0C,
    total_concurrent_copies=0x0D0E,
    maximum_concurrent_copies=0x0F,
    data_segment_granularity=9,
)


def test_a_parameter_list_has_the_bytes_of_the_standard() -> None:
    segment = BlockToBlock(dc=True, source=1, destination=2, blocks=3, source_lba=4, destination_lba=5)
    raw = build_copy([cscd_of(NAA, 512)], [segment], list_identifier=7, list_id_usage=ListIdUsage.DISCARD)
    assert raw.hex() == (
        "0710002000000000" + "0000001c00000000"
        "e400000001030008" + "3123456789abcdef" + "00" * 12 + "00000200"
        "02020018" + "00010002" + "00000003" + "0000000000000004" + "0000000000000005"
    )
    header = CopyHeader.parse(raw)
    assert (header.cscd_list_length, header.segment_list_length) == (CSCD_LENGTH, BlockToBlock.LENGTH)
    assert SEGMENTS[raw[48]].parse(raw, 48) == segment


def test_a_segment_with_offsets_has_the_bytes_of_the_standard() -> None:
    segment = BlockToBlockOffset(
        cat=True,
        source=1,
        destination=2,
        byte_count=3,
        source_lba=4,
        destination_lba=5,
        source_offset=6,
        destination_offset=7,
    )
    assert (
        segment.build().hex() == "0a01001c" + "00010002" + "00000003" + "00" * 7 + "04" + "00" * 7 + "05" + "00060007"
    )
    assert SEGMENTS[0x0A].parse(segment.build()) == segment


@pytest.mark.parametrize(
    "other", [naa_locally_assigned(1), t10_vendor_id("ACME", ""), relative_target_port(1), scsi_name("x")]
)
def test_a_descriptor_names_its_own_designator_alone(other) -> None:
    descriptor = IdentificationCscd.parse(cscd_of(NAA, 4096, pad=True).build())
    assert descriptor.names(NAA)
    assert not descriptor.names(other)
    assert (descriptor.block_length, descriptor.pad) == (4096, True)
    with pytest.raises(FieldValueError):
        cscd_of(t10_vendor_id("ACME", "x" * 13), 512).build()


def test_segments_are_split_by_their_lengths() -> None:
    parts = [BlockToBlock().build(), bytes.fromhex("0300001000000000") + bytes(12), BlockToBlockOffset().build()]
    assert split_segments(b"".join(parts)) == parts
    assert split_segments(b"") == []


@given(st.integers(1, 27))
def test_a_segment_that_was_cut_off_is_told(missing: int) -> None:
    assert split_segments((BlockToBlock().build() * 2)[:-missing]) is None


def test_results_have_the_bytes_of_the_standard() -> None:
    status = CopyStatus(
        state=CopyState.FAILED, held_data_discarded=True, segments_processed=2, transfer_count_units=1, transfer_count=3
    )
    assert status.build().hex() == "00000008" + "82" + "0002" + "01" + "00000003"
    details = failure_details(2, b"\x70\x00\x0a")
    assert details.hex() == "0000003b" + "00" * 52 + "02000003" + "70000a"
    assert FailureDetails.parse(details).sense_length == 3


@pytest.mark.parametrize(
    ("count", "told"),
    [(0, (0, 0)), (0xFFFFFFFF, (0, 0xFFFFFFFF)), (1 << 32, (1, 1 << 22)), (1 << 42, (2, 1 << 22))],
)
def test_great_transfers_are_counted_in_greater_units(count: int, told: tuple[int, int]) -> None:
    assert transfer_count(count) == told


def test_limits_have_the_bytes_of_the_standard() -> None:
    raw = operating_parameters(LIMITS, [0xE4, 0x0A, 0x02])
    assert raw.hex() == (
        "0000002b" + "01000000" + "01020304" + "05060708" + "090a0b0c" + "00000000" * 3 + "00000d0e" + "0f090000"
        "00000003" + "020ae4"
    )


def test_the_page_has_the_bytes_of_the_standard() -> None:
    page = third_party_copy_page({0x84: [3, 0], 0x83: [0]}, LIMITS, [0x02, 0xE4], [0xFFFF, 0])
    assert page.build().hex() == (
        "008f0064"
        "0001" + "0008" + "07" + "830100" + "84020003"
        "0004"
        + "001c"
        + "00000000"
        + "01020304"
        + "05060708"
        + "00000000"
        + "00" * 12
        + "0008"
        + "0004"
        + "02"
        + "02e4"
        "00"
        "000c" + "0008" + "0004" + "0000ffff" + "0000"
        "8001" + "0020" + "00000d0e" + "0000000f" + "090a0b0c" + "0900" + "00" * 18
    )
    assert page.build()[4:].count(b"\x80\x01") == 1
