"""iSCSI names: every rule of section 4.2.7 and of the stringprep profile, kept and broken."""

from __future__ import annotations

import stringprep
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol import names
from iscsi_protocol.names import NameType

PREFIX = "iqn.2001-04.com.example:"

PLAIN = st.text("abcxyz0189-.:", max_size=40)
LABELS = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
AUTHORITIES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)


# Good names.


@pytest.mark.parametrize(
    ("name", "authority", "suffix"),
    [
        ("iqn.2001-04.com.example:storage:diskarrays-sn-a8675309", "com.example", "storage:diskarrays-sn-a8675309"),
        ("iqn.2001-04.com.example", "com.example", None),
        ("iqn.2001-04.com.example:", "com.example", ""),
        ("iqn.2001-04.com.example:storage.tape1.sys1.xyz", "com.example", "storage.tape1.sys1.xyz"),
        ("iqn.2001-04.com.3-com.a-b", "com.3-com.a-b", None),
        ("iqn.2001-04.org.企業:é", "org.企業", "é"),
    ],
)
def test_qualified_name(name: str, authority: str, suffix: str | None):
    parsed = names.parse_name(name)
    assert (parsed.type, parsed.year, parsed.month) == (NameType.IQN, 2001, 4)
    assert (parsed.authority, parsed.suffix, parsed.identifier) == (authority, suffix, b"")
    assert parsed.text == parsed.canonical == str(parsed) == name


@pytest.mark.parametrize(
    ("name", "kind", "identifier"),
    [
        ("eui.02004567a425678d", NameType.EUI, "02004567a425678d"),
        ("naa.52004567ba64678d", NameType.NAA, "52004567ba64678d"),
        ("naa.62004567ba64678d0123456789abcdef", NameType.NAA, "62004567ba64678d0123456789abcdef"),
    ],
)
def test_name_out_of_hex_digits(name: str, kind: NameType, identifier: str):
    parsed = names.parse_name(name)
    assert (parsed.type, parsed.identifier) == (kind, bytes.fromhex(identifier))
    assert (parsed.authority, parsed.suffix, parsed.year, parsed.month) == ("", None, 0, 0)
    assert parsed.canonical == name


@given(st.integers(0, 9999), st.integers(1, 12), AUTHORITIES, st.none() | PLAIN)
def test_built_names_are_read_back(year: int, month: int, authority: str, suffix: str | None):
    parsed = names.parse_name(names.make_iqn(year, month, authority, suffix))
    assert (parsed.year, parsed.month, parsed.authority, parsed.suffix) == (year, month, authority, suffix)


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=16, max_size=16))
def test_built_hex_names_are_lower_case_and_read_back(short: bytes, long: bytes):
    for name, identifier in (
        (names.make_eui(short), short),
        (names.make_naa(short), short),
        (names.make_naa(long), long),
    ):
        assert name == name.lower()
        assert names.parse_name(name).identifier == identifier


# The examples of the standard have capital digits.


@pytest.mark.parametrize(
    "name", ["eui.02004567A425678D", "naa.52004567BA64678D", "naa.62004567BA64678D0123456789ABCDEF"]
)
def test_capital_hex_digits_by_policy(name: str):
    with pytest.raises(names.NameCharacterError) as caught:
        names.check_name(name)
    assert caught.value.clause == "R7143-4.2.7.1-07"
    parsed = names.parse_name(name, upper_hex=True)
    assert (parsed.text, parsed.canonical) == (name, name.lower())
    assert names.prepare_name(name) == name.lower()
    assert not names.same_name(name, name.lower())
    assert names.same_name(name, name.lower(), upper_hex=True)


@pytest.mark.parametrize(
    "name", ["EUI.02004567A425678D", "NAA.52004567BA64678D", "iqn.2001-04.com.example:A", "iqn.2001-04.COM"]
)
def test_policy_is_for_the_digits_alone(name: str):
    with pytest.raises(names.NameCharacterError):
        names.check_name(name, upper_hex=True)
    assert not names.same_name(name, name.lower(), upper_hex=True)


def test_policy_does_not_forgive_a_wrong_length():
    with pytest.raises(names.NameStructureError) as caught:
        names.check_name("eui.02004567A425678", upper_hex=True)
    assert caught.value.offender == "eui.02004567A425678"


def test_names_of_different_types_differ():
    assert not names.same_name("eui.02004567a425678d", "naa.02004567a425678d", upper_hex=True)
    assert names.same_name("iqn.2001-04.com.example", "iqn.2001-04.com.example")
    assert names.same_name("iqn.2001-04.com.example", "iqn.2001-04.com.example", upper_hex=True)
    assert not names.same_name("iqn.2001-04.com.example", "iqn.2001-04.com.example:")


# Length.


@pytest.mark.parametrize("filler", ["a", "é", "企"])
def test_223_bytes_are_the_most(filler: str):
    width = len(filler.encode())
    room = 223 - len(PREFIX)
    longest = PREFIX + filler * (room // width) + "x" * (room % width)
    assert len(longest.encode()) == 223
    names.check_name(longest)
    with pytest.raises(names.NameTooLong, match="224 bytes") as caught:
        names.check_name(longest + "y")
    assert (caught.value.clause, caught.value.offender) == ("R7143-4.2.7.2-01", longest + "y")


def test_length_is_judged_first():
    with pytest.raises(names.NameTooLong):
        names.check_name("X " * 200)


# Structure.


@pytest.mark.parametrize(
    ("name", "kind", "clause"),
    [
        ("", names.NameTypeError, "R7143-4.2.7.1-01"),
        ("iqn", names.NameTypeError, "R7143-4.2.7.1-01"),
        ("disk", names.NameTypeError, "R7143-4.2.7.1-01"),
        ("wwn.02004567a425678d", names.NameTypeError, "R7143-4.2.7.1-01"),
        ("iqn-2001-04.com.example", names.NameTypeError, "R7143-4.2.7.1-01"),
        ("iqn.", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-4.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.01-04.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.200104.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-00.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-13.com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04.", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04.:x", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04:com.example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04.com..example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04.com.example.", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04.com.-example", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("iqn.2001-04.com.example-", names.NameStructureError, "R7143-4.2.7.4-01"),
        (f"iqn.2001-04.com.{'x' * 64}", names.NameStructureError, "R7143-4.2.7.4-01"),
        ("eui.", names.NameStructureError, "R7143-4.2.7.5-01"),
        ("eui.02004567a425678", names.NameStructureError, "R7143-4.2.7.5-01"),
        ("eui.02004567a425678d0", names.NameStructureError, "R7143-4.2.7.5-01"),
        ("eui.02004567a425678g", names.NameStructureError, "R7143-4.2.7.5-01"),
        ("eui.62004567ba64678d0123456789abcdef", names.NameStructureError, "R7143-4.2.7.5-01"),
        ("naa.", names.NameStructureError, "R7143-4.2.7.6-01"),
        ("naa.52004567ba64678d0", names.NameStructureError, "R7143-4.2.7.6-01"),
        ("naa.52004567ba64678d01234567", names.NameStructureError, "R7143-4.2.7.6-01"),
        ("naa.52004567:ba64678", names.NameStructureError, "R7143-4.2.7.6-01"),
        ("naa.62004567ba64678d0123456789abcdef0", names.NameStructureError, "R7143-4.2.7.6-01"),
    ],
)
def test_no_name(name: str, kind: type[names.IscsiNameError], clause: str):
    with pytest.raises(names.IscsiNameError) as caught:
        names.check_name(name)
    assert (type(caught.value), caught.value.clause, caught.value.offender) == (kind, clause, name)


def test_label_of_63_characters():
    names.check_name(f"iqn.2001-04.com.{'x' * 63}")


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (names.make_iqn, (2001, 13, "com.example")),
        (names.make_iqn, (10000, 1, "com.example")),
        (names.make_iqn, (2001, 1, "com.example_")),
        (names.make_iqn, (2001, 1, "com.example", "A")),
        (names.make_iqn, (2001, 1, "com.exa:mple", " ")),
        (names.make_eui, (bytes(7),)),
        (names.make_eui, (bytes(16),)),
        (names.make_naa, (bytes(9),)),
        (names.make_naa, (b"",)),
    ],
)
def test_bad_names_are_not_built(make: Any, arguments: tuple[Any, ...]):
    with pytest.raises(names.IscsiNameError):
        make(*arguments)


# Characters.


def test_ascii_characters():
    """Of ASCII there are lower-case letters, digits, dash, dot and colon; the rest has a rule against it."""
    for code in range(0x80):
        name = f"{PREFIX}{chr(code)}"
        if chr(code) in "abcdefghijklmnopqrstuvwxyz0123456789-.:":
            names.check_name(name)
            continue
        with pytest.raises(names.NameCharacterError, match=f"U\\+{code:04X}") as caught:
            names.check_name(name)
        upper_or_space = chr(code).isupper() or chr(code) in "\t\n\v\f\r "
        assert caught.value.clause == ("R7143-4.2.7.1-07" if upper_or_space else "R3722-6.2-01")


@pytest.mark.parametrize(
    ("character", "clause", "table"),
    [
        ("\u00a0", "R7143-4.2.7.1-07", "C.1.2"),
        ("\u3000", "R7143-4.2.7.1-07", "C.1.2"),
        ("É", "R7143-4.2.7.1-07", "upper case"),
        ("ǅ", "R7143-4.2.7.1-07", "title case"),
        ("\u3002", "R3722-6.1-01", "ideographic full stop"),
        ("\u0085", "R3722-6-01", "C.2.2"),
        ("\u2028", "R3722-6-01", "C.2.2"),
        ("\ue000", "R3722-6-01", "C.3"),
        ("\ufdd0", "R3722-6-01", "C.4"),
        ("\ufffd", "R3722-6-01", "C.6"),
        ("\u2ff0", "R3722-6-01", "C.7"),
        ("\u0340", "R3722-6-01", "C.8"),
        ("\u202e", "R3722-6-01", "C.8"),
        ("\U000e0041", "R3722-6-01", "C.9"),
        ("\u0378", "R7143-4.2.7.2-01", "A.1"),
        ("\U0001f600", "R7143-4.2.7.2-01", "A.1"),
        ("\u00ad", "R3722-4-01", "B.1"),
        ("\u200b", "R7143-4.2.7.1-07", "C.1.2"),
        ("\ufe00", "R3722-4-01", "B.1"),
        ("ß", "R3722-4-01", "B.2"),
        ("ς", "R3722-4-01", "B.2"),
        ("\u05d0", "R7143-4.2.7.2-01", "D.1"),
        ("\u0627", "R7143-4.2.7.2-01", "D.1"),
    ],
)
def test_character_that_names_do_not_have(character: str, clause: str, table: str):
    for name in (f"{PREFIX}{character}", f"iqn.2001-04.com.x{character}x"):
        with pytest.raises(names.NameCharacterError, match=f"U\\+{ord(character):04X}") as caught:
            names.check_name(name)
        assert (caught.value.clause, caught.value.offender) == (clause, name)


@pytest.mark.parametrize(
    "written", ["e\u0301", "ﬁ", "２", "①", "\u1100\u1161", "a\u0323\u0301".replace("\u0323\u0301", "\u0301\u0323")]
)
def test_name_that_is_not_normalised(written: str):
    with pytest.raises(names.NameCharacterError) as caught:
        names.check_name(PREFIX + written)
    assert caught.value.clause in ("R3722-5-01", "R3722-4-01")
    prepared = names.prepare_name(PREFIX + written)
    assert prepared == PREFIX + unicodedata.normalize("NFKC", written)
    names.check_name(prepared)


@pytest.mark.parametrize("written", ["e\u0301", "\u1100\u1161"])
def test_rule_of_the_form_of_composition(written: str):
    with pytest.raises(names.NameCharacterError, match="not normalised") as caught:
        names.check_name(PREFIX + written)
    assert caught.value.clause == "R3722-5-01"


def test_name_that_is_not_utf_8():
    name = f"{PREFIX}\udcff"
    with pytest.raises(names.NameCharacterError, match="not UTF-8") as caught:
        names.check_name(name)
    assert caught.value.clause == "R7143-4.2.7.2-01"
    with pytest.raises(names.NameCharacterError):
        names.prepare_name(name)


@given(st.characters(exclude_categories=["Cs"]))
def test_character_by_character_against_the_tables(character: str):
    """A character is admitted exactly if the profile gives it back as it is, and no table is against it."""
    mapped = "" if stringprep.in_table_b1(character) else stringprep.map_table_b2(character)
    unchanged = unicodedata.ucd_3_2_0.normalize("NFKC", mapped) == character
    reserved = character < "\x80" and not (character.isalnum() or character in "-.:")
    tables = [
        stringprep.in_table_c11_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
        stringprep.in_table_d1,
    ]
    admitted = unchanged and not reserved and character != "\u3002" and not any(table(character) for table in tables)
    name = f"{PREFIX}x{character}"
    if admitted:
        names.check_name(name)
    else:
        with pytest.raises(names.NameCharacterError):
            names.check_name(name)


# Preparing what was typed.


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("IQN.2001-04.COM.Example:Disk1", "iqn.2001-04.com.example:disk1"),
        ("iqn.2001-04.com.example:Straße", "iqn.2001-04.com.example:strasse"),
        ("iqn.2001-04.com.example:soft\u00adhyphen", "iqn.2001-04.com.example:softhyphen"),
        ("iqn.2001-04.com.example:ｆｕｌｌ", "iqn.2001-04.com.example:full"),
        ("iqn.2001-04.com.example:Ⅻ", "iqn.2001-04.com.example:xii"),
        ("NAA.52004567BA64678D", "naa.52004567ba64678d"),
    ],
)
def test_prepared_name(typed: str, name: str):
    assert names.prepare_name(typed) == name


@pytest.mark.parametrize(
    ("typed", "clause"),
    [
        (f"{PREFIX}two words", "R7143-4.2.7.1-07"),
        (f"{PREFIX}under_score", "R3722-6.2-01"),
        (f"{PREFIX}half\uff61stop", "R3722-6.1-01"),
        ("Disk One", "R7143-4.2.7.1-07"),
        ("diskone", "R7143-4.2.7.1-01"),
        (f"{PREFIX}{'ﬃ' * 70}", "R7143-4.2.7.2-01"),
    ],
)
def test_what_cannot_be_prepared(typed: str, clause: str):
    with pytest.raises(names.IscsiNameError) as caught:
        names.prepare_name(typed)
    assert caught.value.clause == clause


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_prepared_names_are_names_and_stay_as_they_are(typed: str):
    try:
        name = names.prepare_name(PREFIX + typed)
    except names.IscsiNameError:
        return
    names.check_name(name)
    assert names.prepare_name(name) == name
    assert unicodedata.is_normalized("NFC", name)


@given(PLAIN)
def test_upper_case_input_is_the_same_name(suffix: str):
    assert names.prepare_name((PREFIX + suffix).upper()) == PREFIX + suffix


@given(st.text(max_size=240))
def test_judging_never_fails_by_accident(text: str):
    for name in (text, PREFIX + text, f"eui.{text}", f"naa.{text}"):
        try:
            parsed = names.parse_name(name, upper_hex=True)
        except names.IscsiNameError as error:
            parsed = None
            clause = error.clause
        if parsed is None:
            assert clause
        else:
            assert parsed.text == name
            assert len(name.encode()) <= names.NAME_LIMIT
            names.check_name(parsed.canonical)
