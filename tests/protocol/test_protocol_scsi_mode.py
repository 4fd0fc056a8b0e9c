"""Mode parameters: headers, pages, lenient reading, and what MODE SELECT may change."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.scsi.fields import FieldValueError
from iscsi_protocol.scsi.mode import (
    DPO_FUA,
    WRITE_PROTECT,
    CachingPage,
    CdbSize,
    ControlPage,
    InformationalExceptionsControlPage,
    LongBlockDescriptor,
    ModePage,
    ModePageCode,
    ModeParameters,
    PageControl,
    ReadWriteErrorRecoveryPage,
    ShortBlockDescriptor,
    page_key,
    page_length,
    parse_mode,
    unchangeable_byte,
)

SIZES: tuple[CdbSize, ...] = get_args(CdbSize)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (
            ReadWriteErrorRecoveryPage(automatic_write_reassignment=True, read_retry_count=5, recovery_time_limit=9),
            "010a80050000000000000009",
        ),
        (
            ReadWriteErrorRecoveryPage(provisioning_error_reporting=True, write_retry_count=8, disable_correction=True),
            "010a01000000008008000000",
        ),
        (CachingPage(write_cache_enable=True), "081204" + "00" * 17),
        (
            CachingPage(
                parameters_saveable=True,
                read_cache_disable=True,
                write_retention_priority=2,
                maximum_pre_fetch_ceiling=0xFFFF,
                disable_read_ahead=True,
                cache_segments=8,
            ),
            "88120102" + "00" * 6 + "ffff2008" + "00" * 6,
        ),
        (
            ControlPage(descriptor_sense=True, queue_algorithm_modifier=1, queue_error=3, software_write_protect=True),
            "0a0a0416080000000000" + "0000",
        ),
        (
            ControlPage(
                task_set_type=1, task_aborted_status=True, busy_timeout_period=0x0102, unit_attention_interlocks=3
            ),
            "0a0a2000304000000102" + "0000",
        ),
        (
            InformationalExceptionsControlPage(disable_exception_control=True, method_of_reporting=6, report_count=1),
            "1c0a08060000000000000001",
        ),
    ],
)
def test_pages_have_the_bytes_of_the_standard(page: ModePage, text: str) -> None:
    assert page.build().hex() == text
    assert type(page).parse(bytes.fromhex(text)) == page
    assert page_key(page.build()) == (page.PAGE_CODE, 0)


def test_headers_and_block_descriptors_have_the_bytes_of_the_standard() -> None:
    made = ModeParameters(
        device_specific=WRITE_PROTECT | DPO_FUA,
        block_descriptors=ShortBlockDescriptor(blocks=77, block_length=512).build(),
        pages=(ControlPage().build(),),
    )
    descriptor, page = "0000004d00000200", "0a0a" + "00" * 10
    assert made.build(6).hex() == "17009008" + descriptor + page
    assert made.build(10).hex() == "001a009000000008" + descriptor + page
    assert made.build(6, select=True).hex() == "00009008" + descriptor + page
    assert made.build(10, select=True).hex() == "0000009000000008" + descriptor + page


def test_the_long_block_descriptor_is_marked_in_the_header() -> None:
    long = LongBlockDescriptor(blocks=1 << 40, block_length=4096).build()
    made = ModeParameters(long_lba=True, block_descriptors=long)
    assert long.hex() == "0000010000000000" + "00000000" + "00001000"
    assert made.build(10).hex() == "0016000001000010" + long.hex()
    assert parse_mode(made.build(10), 10) == made
    with pytest.raises(FieldValueError, match="no LONGLBA"):
        made.build(6)


page_bytes = st.one_of(
    st.builds(lambda code, body: bytes((code, len(body))) + body, st.integers(0, 0x3F), st.binary(max_size=20)),
    st.builds(
        lambda code, subpage, body: bytes((0x40 | code, subpage)) + len(body).to_bytes(2, "big") + body,
        st.integers(0, 0x3F),
        st.integers(0, 255),
        st.binary(max_size=20),
    ),
)
parameters = st.builds(
    ModeParameters,
    medium_type=st.integers(0, 255),
    device_specific=st.integers(0, 255),
    block_descriptors=st.sampled_from((b"", bytes(range(8)))),
    pages=st.lists(page_bytes, max_size=4).map(tuple),
)


@given(parameters, st.sampled_from(SIZES), st.booleans())
def test_what_is_built_is_read_back(made: ModeParameters, size: CdbSize, select: bool) -> None:
    raw = made.build(size, select=select)
    assert parse_mode(memoryview(raw), size) == made


@given(parameters, st.sampled_from(SIZES), st.data())
def test_what_is_cut_off_is_told(made: ModeParameters, size: CdbSize, data: st.DataObject) -> None:
    raw = made.build(size)
    cut = data.draw(st.integers(0, len(raw) - 1))
    read = parse_mode(raw[:cut], size)
    ends = [(4 if size == 6 else 8) + len(made.block_descriptors)]
    for page in made.pages:
        ends.append(ends[-1] + len(page))
    assert read.pages[:-1] == made.pages[: max(len(read.pages) - 1, 0)]
    if cut >= (4 if size == 6 else 8):
        assert read.truncated == (cut not in ends)


@given(st.binary(max_size=40), st.sampled_from(SIZES))
def test_arbitrary_bytes_are_read(raw: bytes, size: CdbSize) -> None:
    read = parse_mode(raw, size)
    header = 4 if size == 6 else 8
    body = read.block_descriptors + b"".join(read.pages)
    assert raw[header:].startswith(body)
    assert not any(not page for page in read.pages)


def test_the_mode_data_length_ends_the_data() -> None:
    page = CachingPage().build()
    raw = ModeParameters(pages=(page,)).build(6) + b"\0" * 40
    assert parse_mode(raw, 6).pages == (page,)
    raw = ModeParameters(pages=(page,)).build(10) + b"\0" * 40
    assert parse_mode(raw, 10).pages == (page,)


def test_headers_say_no_more_than_they_can() -> None:
    big = ModeParameters(pages=(bytes((0x40, 1)) + (300).to_bytes(2, "big") + bytes(300),))
    assert parse_mode(big.build(10), 10) == big
    with pytest.raises(FieldValueError, match="mode_data_length"):
        big.build(6)
    assert parse_mode(big.build(6, select=True), 6) == big


@pytest.mark.parametrize(
    ("head", "length", "key"),
    [("080a", 12, (8, 0)), ("88ff", 257, (8, 0)), ("4a01012c", 304, (10, 1)), ("4a01", 4, (10, 1)), ("4a", 4, (10, 0))],
)
def test_pages_tell_their_length_and_key(head: str, length: int, key: tuple[int, int]) -> None:
    raw = bytes.fromhex(head)
    assert page_length(raw) == length
    assert page_key(raw) == key


CURRENT = CachingPage(write_cache_enable=True, parameters_saveable=True).build()
CHANGEABLE = CachingPage(write_cache_enable=True).build()


@pytest.mark.parametrize(
    ("received", "byte"),
    [
        (CachingPage(write_cache_enable=True).build(), None),
        (CachingPage(write_cache_enable=False).build(), None),
        (CachingPage(read_cache_disable=True).build(), 2),
        (CachingPage(cache_segments=1).build(), 13),
        (ControlPage().build(), 1),
        (b"\x09" + CURRENT[1:], 0),
        (CURRENT[:1] + b"\x13" + CURRENT[2:], 1),
    ],
)
def test_only_changeable_bits_may_change(received: bytes, byte: int | None) -> None:
    assert unchangeable_byte(CURRENT, CHANGEABLE, received) == byte


def test_another_length_of_a_sub_page_is_in_its_fourth_byte() -> None:
    assert unchangeable_byte(bytes.fromhex("4a01000100"), bytes(5), bytes.fromhex("4a010000")) == 3


def test_page_codes() -> None:
    assert {page.PAGE_CODE for page in (ReadWriteErrorRecoveryPage, CachingPage, ControlPage)} == {1, 8, 10}
    assert InformationalExceptionsControlPage.PAGE_CODE == 0x1C
    assert (ModePageCode.ALL_PAGES, PageControl.SAVED) == (0x3F, 3)
