"""INQUIRY data, VPD pages and designators, held against hand-typed bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.designators import (
    Association,
    CodeSet,
    Designator,
    DesignatorType,
    device_identification,
    eui_64,
    naa,
    naa_locally_assigned,
    parse_designators,
    relative_target_port,
    scsi_name,
    t10_vendor_id,
    target_port_group,
)
from iscsi_protocol.scsi.inquiry import NO_UNIT, StandardInquiry, VersionDescriptor, version_descriptors
from iscsi_protocol.scsi.vpd import (
    BlockDeviceCharacteristics,
    BlockLimits,
    ExtendedInquiryData,
    LogicalBlockProvisioning,
    ProvisioningType,
    VpdCode,
    VpdPage,
    VpdStructure,
    parse_vpd,
    supported_pages,
    unit_serial_number,
)


def test_standard_data_has_the_bytes_of_the_standard() -> None:
    claimed = (VersionDescriptor.SAM_5, VersionDescriptor.SPC_4, VersionDescriptor.SBC_3, VersionDescriptor.ISCSI)
    made = StandardInquiry(
        vendor="ACME",
        product="disk",
        revision="1.0",
        target_port_group_support=1,
        third_party_copy=True,
        versions=version_descriptors(*claimed),
    )
    raw = made.build()
    assert raw[:8].hex() == "000006125b180002"
    assert raw[8:36] == b"ACME    disk            1.0 "
    assert raw[36:58] == bytes(22)
    assert raw[58:74].hex() == "00a0046004c00960" + "00" * 8
    assert raw[74:] == bytes(22)
    assert StandardInquiry.parse(raw).versions_claimed == claimed


def test_short_standard_data_of_older_targets_is_read() -> None:
    read = StandardInquiry.parse(bytes.fromhex("000005021f0000026c69622020202020") + b"x" * 20)
    assert (read.vendor, read.product, read.revision) == ("lib", "x" * 16, "x" * 4)
    assert (read.version, read.additional_length, read.versions_claimed) == (5, 31, ())


def test_no_unit_is_qualifier_three_type_1f() -> None:
    assert NO_UNIT == 0x7F
    read = StandardInquiry.parse(bytes((NO_UNIT,)))
    assert (read.peripheral_qualifier, read.peripheral_device_type) == (3, 0x1F)


def test_eight_version_descriptors_are_the_most() -> None:
    assert len(version_descriptors(*range(8))) == 16
    with pytest.raises(ValueError, match="holds 8 version descriptors, got 9"):
        version_descriptors(*range(9))


def test_supported_pages_are_sorted_and_have_page_00() -> None:
    assert supported_pages([0xB0, 0x83, 0x80, 0x83]).build().hex() == "00000004008083b0"
    assert supported_pages([], peripheral=0x7F).build().hex() == "7f00000100"


def test_the_serial_number_is_ascii() -> None:
    assert unit_serial_number("AB1", peripheral=5).build().hex() == "05800003414231"
    with pytest.raises(UnicodeEncodeError):
        unit_serial_number("Ä")


@given(st.builds(VpdPage, page_code=st.integers(0, 255), body=st.binary(max_size=300), peripheral=st.integers(0, 255)))
def test_pages_survive_and_may_be_cut_off(page: VpdPage) -> None:
    raw = page.build()
    assert parse_vpd(raw + b"\xa5") == page
    assert parse_vpd(raw[:6]) == VpdPage(page_code=page.page_code, body=page.body[:2], peripheral=page.peripheral)


def test_a_page_has_at_most_65535_bytes() -> None:
    assert parse_vpd(b"") == VpdPage(page_code=0)
    with pytest.raises(OverflowError):
        VpdPage(page_code=0, body=bytes(65536)).build()


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            ExtendedInquiryData(head_of_queue=True, ordered=True, simple=True, volatile_cache=True, peripheral=1),
            "0186003c" + "00070100" + "00" * 56,
        ),
        (
            ExtendedInquiryData(
                unit_attention_cleared_by_nexus=True,
                referrals=True,
                extended_self_test_minutes=0x0102,
                power_on_activation=True,
                maximum_sense_data_length=252,
            ),
            "0086003c" + "00000001" + "1000" + "0102" + "80fc" + "00" * 50,
        ),
        (
            BlockLimits(
                write_same_non_zero=True,
                maximum_compare_and_write_length=1,
                optimal_transfer_length_granularity=2,
                maximum_transfer_length=3,
                optimal_transfer_length=4,
                maximum_prefetch_length=5,
                maximum_unmap_lba_count=6,
                maximum_unmap_block_descriptor_count=7,
                optimal_unmap_granularity=8,
                unmap_granularity_alignment_valid=True,
                unmap_granularity_alignment=9,
                maximum_write_same_length=10,
                maximum_atomic_transfer_length=11,
                atomic_alignment=12,
                atomic_transfer_length_granularity=13,
            ),
            "00b0003c" + "01010002" + "00000003" + "00000004" + "00000005" + "00000006" + "00000007" + "00000008"
            "80000009" + "000000000000000a" + "0000000b" + "0000000c" + "0000000d" + "00" * 8,
        ),
        (BlockDeviceCharacteristics(nominal_form_factor=3), "00b1003c" + "00010003" + "00" * 56),
        (
            LogicalBlockProvisioning(
                unmap=True,
                unmap_by_write_same_16=True,
                unmap_by_write_same_10=True,
                read_zeros=1,
                anchor=True,
                provisioning_type=ProvisioningType.THIN,
            ),
            "00b20004" + "00e60200",
        ),
    ],
)
def test_fixed_pages_have_the_bytes_of_the_standard(page: VpdStructure, text: str) -> None:
    assert page.build().hex() == text
    assert type(page).parse(bytes.fromhex(text)) == page
    assert parse_vpd(page.build()).page_code == page.PAGE_CODE


IQN = "iqn.2020-01.com.example:disk"
DESIGNATORS = [
    (t10_vendor_id("ACME", "u1"), "0201000a" + b"ACME    u1".hex(), "ACME    u1"),
    (naa_locally_assigned(5), "010300083000000000000005", "3000000000000005"),
    (naa(bytes.fromhex("6001405a" + "00" * 12)), "010300106001405a" + "00" * 12, "6001405a" + "00" * 12),
    (eui_64(bytes(8)), "010200080000000000000000", "00" * 8),
    (scsi_name(IQN, Association.TARGET_DEVICE), "53a80020" + IQN.encode().hex() + "00" * 4, IQN),
    (scsi_name("naa.123", Association.TARGET_PORT), "53980008" + b"naa.123\0".hex(), "naa.123"),
    (scsi_name("naa.1234"), "0308000c" + b"naa.1234\0\0\0\0".hex(), "naa.1234"),
    (relative_target_port(1), "5194000400000001", "00000001"),
    (target_port_group(0x0102), "5195000400000102", "00000102"),
]


@pytest.mark.parametrize(("designator", "text", "shown"), DESIGNATORS)
def test_designators_have_the_bytes_of_the_standard(designator: Designator, text: str, shown: str) -> None:
    assert designator.build().hex() == text
    assert designator.text == shown


def test_page_83_lists_them_in_order() -> None:
    designators = [designator for designator, _, _ in DESIGNATORS]
    page = device_identification(designators, peripheral=2)
    assert page.build()[:2].hex() == "0283"
    assert page.page_code == VpdCode.DEVICE_IDENTIFICATION
    assert parse_designators(memoryview(page.body)) == designators


@given(
    st.lists(
        st.builds(
            Designator,
            designator_type=st.integers(0, 15),
            code_set=st.integers(0, 15),
            value=st.binary(max_size=255),
            association=st.integers(0, 3),
            protocol=st.none() | st.integers(0, 15),
        ),
        max_size=4,
    ),
    st.integers(0, 20),
)
def test_designators_survive_and_may_be_cut_off(designators: list[Designator], cut: int) -> None:
    body = device_identification(designators).body
    assert parse_designators(body) == designators
    assert len(parse_designators(body[: len(body) - cut])) <= len(designators)


def test_a_designator_that_is_cut_off_keeps_what_is_there() -> None:
    body = naa_locally_assigned(5).build()
    assert [each.value.hex() for each in parse_designators(body[:6])] == ["3000"]
    assert parse_designators(body[:3]) == []


def test_text_that_is_not_utf_8_is_shown_all_the_same() -> None:
    odd = Designator(designator_type=DesignatorType.VENDOR_SPECIFIC, code_set=CodeSet.ASCII, value=b"a\xff\0")
    assert odd.text == "a\\xff"


@pytest.mark.parametrize(
    ("message", "make"),
    [
        ("at most 8 characters", lambda: t10_vendor_id("TOO LONG!", "")),
        ("no NAA designator: empty", lambda: naa(b"")),
        ("no NAA designator: 30", lambda: naa(b"\x30")),
        ("no NAA designator: 60", lambda: naa(b"\x60" + bytes(7))),
        ("no NAA designator: 10", lambda: naa(b"\x10" + bytes(7))),
        ("below 2\\^60", lambda: naa_locally_assigned(1 << 60)),
        ("below 2\\^60", lambda: naa_locally_assigned(-1)),
        ("8, 12 or 16 bytes, got 9", lambda: eui_64(bytes(9))),
        ("1 to 65535, got 0", lambda: relative_target_port(0)),
        ("1 to 65535, got 65536", lambda: relative_target_port(65536)),
        ("0 to 65535, got -1", lambda: target_port_group(-1)),
        ("0 to 65535, got 65536", lambda: target_port_group(65536)),
        ("does not fit", lambda: Designator(designator_type=16, code_set=1, value=b"").build()),
        ("does not fit", lambda: Designator(designator_type=1, code_set=16, value=b"").build()),
        ("does not fit", lambda: Designator(designator_type=1, code_set=1, value=b"", association=4).build()),
        ("does not fit", lambda: Designator(designator_type=1, code_set=1, value=b"", protocol=16).build()),
        ("must be in range", lambda: Designator(designator_type=1, code_set=1, value=bytes(256)).build()),
    ],
)
def test_designators_that_do_not_fit_are_refused(message: str, make: object) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
