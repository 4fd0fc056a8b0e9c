"""Flags of debug messages: the guide's masks, how they are written, levels, and the file with the driver's GUID."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_initiator.tracing import flags, guids
from iscsi_initiator.tracing.flags import CATEGORIES, MESSAGES, effective, name_of, names_of, parse_flags

GUIDE = {
    "SPEW_FATAL": 0x00000001,
    "SPEW_ERROR": 0x00000002,
    "SPEW_WARNING": 0x00000004,
    "SPEW_INFORMATION": 0x00000008,
    "SPEW_RECURRING": 0x00000010,
    "SPEW_DRIVER_PROBLEM": 0x00010000,
    "SPEW_WMI_API": 0x00020000,
    "SPEW_MEMORY": 0x00040000,
    "SPEW_TCP": 0x00080000,
    "SPEW_REFCOUNT": 0x00100000,
    "SPEW_PROCTHREADIDS": 0x00200000,
    "SPEW_TIMESTAMP": 0x00400000,
}
"""As they stand in the guide, typed by hand."""

LINE = b"{1babefb4-59cb-49e5-9698-fd38ac830a91} 0x00000007 0\r\n"


def test_masks_are_those_of_the_guide():
    assert {row.name: row.mask for row in CATEGORIES} == GUIDE
    assert flags.SPEW_ALL == 0xFFFFFFFF
    assert names_of(0x006F0007) == [
        name for name in GUIDE if name.split("_", 1)[1] not in {"INFORMATION", "RECURRING", "REFCOUNT"}
    ]
    assert name_of(0x80000) == "SPEW_TCP"
    assert name_of(0x80) == "0x00000080"


def test_document_has_the_table():
    """docs/tracing.md has each row as it is."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "tracing.md").read_text(encoding="utf-8")
    rows = [f"| `{row.name}` | `{row.mask:#010x}` | {row.level} | {row.tells} |" for row in CATEGORIES]
    table = text.partition("<!-- flags -->")[2].partition("<!-- end of flags -->")[0]
    assert [line for line in table.splitlines() if line.startswith("| `")] == rows


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("0x006f0007", 0x006F0007),
        ("7", 7),
        ("SPEW_ERROR|SPEW_TCP", 0x80002),
        ("error, tcp ,0x10", 0x80012),
        ("all", 0xFFFFFFFF),
        ("0", 0),
    ],
)
def test_flags_are_read(text, mask):
    assert parse_flags(text) == mask


@pytest.mark.parametrize("text", ["", "nothing", "0x1ffffffff", "4294967296", "0xg", "1x", "error,", "-1", "error tcp"])
def test_what_are_no_flags(text):
    with pytest.raises(ValueError, match=r"flag|number|bits"):
        parse_flags(text)


@given(st.sets(st.sampled_from(CATEGORIES), min_size=1))
def test_names_are_read_back(rows):
    mask = flags.merged(row.mask for row in rows)
    assert parse_flags(",".join(names_of(mask))) == mask


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 5))
def test_level_takes_away_and_never_adds(mask, level):
    """A level lets through the flags of the table up to it; 0 lets through all that there are messages for."""
    found = effective(mask, level)
    assert found == sum(row.mask for row in CATEGORIES if row.level and row.mask & mask and row.level <= (level or 5))
    assert found & ~effective(mask) == 0
    assert effective(mask, 5) == effective(mask) == mask & MESSAGES


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (LINE, (7, 0)),
        (b"\xef\xbb\xbf\n" + LINE.upper().replace(b"0X", b"0x"), (7, 0)),
        (LINE.decode().encode("utf-16"), (7, 0)),
        (b"1babefb4-59cb-49e5-9698-fd38ac830a91\t65551 5", (0x1000F, 5)),
    ],
)
def test_guid_file_is_read(data, found):
    assert guids.parse_providers(data) == found


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not 0"),
        (LINE + LINE, "not 2"),
        (b"{1babefb4} 7 0", "no GUID, flags and level"),
        (b"\xff\xff\x00", "no GUID, flags and level"),
        (LINE.replace(b"1b", b"2b"), "no driver here"),
        (LINE.replace(b" 0\r", b" 6\r"), "a level is 0 to 5"),
        (LINE.replace(b"0x00000007", b"4294967296"), "32 bits"),
    ],
)
def test_what_is_no_guid_file(data, reason):
    with pytest.raises(ValueError, match=reason):
        guids.parse_providers(data)
