from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.isns.attributes import (
    ATTRIBUTES,
    INDEXES,
    KEYS,
    Form,
    Tag,
    normal_eid,
    normal_name,
    row_of,
    tag_name,
)
from iscsi_protocol.isns.codes import Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import (
    Attribute,
    address,
    address_bytes,
    address_text,
    check_attribute,
    decode_all,
    encode_all,
    number,
    padded,
    text,
)

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)


@given(st.binary(max_size=100))
def test_any_bytes_come_back(data: bytes) -> None:
    attributes, rest = decode_all(data)
    assert encode_all(attributes) + rest == data


@given(TEXT)
def test_text_ends_with_nul_and_is_padded(value: str) -> None:
    made = text(Tag.ALIAS, value)
    assert len(made.value) % 4 == 0
    assert made.text == value


@given(st.integers(0, 2**32 - 1))
def test_numbers_have_the_length_of_their_attribute(value: int) -> None:
    assert number(Tag.NODE_TYPE, value) == Attribute(33, value.to_bytes(4))
    assert number(Tag.TIMESTAMP, value) == Attribute(4, value.to_bytes(8))
    assert number(Tag.NODE_TYPE, value).number == value


@given(st.ip_addresses())
def test_addresses_come_back(value) -> None:
    assert address_text(address_bytes(str(value))) == str(getattr(value, "ipv4_mapped", None) or value)


def test_ipv4_is_mapped() -> None:
    made = address(Tag.PORTAL_ADDRESS, "192.0.2.1")
    assert made.value == bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
    assert made.address == "192.0.2.1"


def test_padding() -> None:
    assert [len(padded(bytes(length))) for length in range(6)] == [0, 4, 4, 4, 4, 8]


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda: Attribute(33, b"abc").number, "NODE_TYPE has 3 bytes"),
        (lambda: Attribute(34, b"abcd").text, "ALIAS does not end with NUL"),
        (lambda: Attribute(34, b"\xff\xff\xff\0").text, "ALIAS is not UTF-8"),
        (lambda: Attribute(16, b"abcd").address, "an address has 16 bytes"),
    ],
)
def test_a_value_of_another_form_is_told(read, reason: str) -> None:
    with pytest.raises(IsnsError, match=reason) as caught:
        read()
    assert caught.value.status == Status.MESSAGE_FORMAT_ERROR


@pytest.mark.parametrize(
    ("attribute", "status"),
    [
        (Attribute(641, b"abcd"), Status.ATTRIBUTE_NOT_IMPLEMENTED),
        (Attribute(34, b"ab\0"), Status.MESSAGE_FORMAT_ERROR),
        (Attribute(33, bytes(8)), Status.MESSAGE_FORMAT_ERROR),
        (Attribute(32, bytes(228)), Status.MESSAGE_FORMAT_ERROR),
        (Attribute(32, b"abcd"), Status.MESSAGE_FORMAT_ERROR),
    ],
)
def test_a_bad_attribute_is_told_with_its_answer(attribute: Attribute, status: Status) -> None:
    with pytest.raises(IsnsError) as caught:
        check_attribute(attribute)
    assert caught.value.status == status


@pytest.mark.parametrize("attribute", [Attribute(51), Attribute(51, bytes(4)), Attribute(34, b"a\0\0\0"), Attribute(0)])
def test_a_good_attribute_passes(attribute: Attribute) -> None:
    if attribute.tag:
        check_attribute(attribute)
    assert attribute.empty == (not attribute.value)


def test_attributes_print_as_what_they_are() -> None:
    assert str(Attribute(33, bytes(4))) == "NODE_TYPE=00000000"
    assert str(Attribute(641)) == "attribute 641=empty"


def test_the_table_holds_together() -> None:
    for row in ATTRIBUTES.values():
        assert row.least % 4 == row.most % 4 == 0 or row.form is Form.BYTES
        assert row.kind.value
    for kind, keys in KEYS.items():
        assert all(row_of(tag).kind is kind for tag in keys)
    assert all(row_of(tag).kind is kind for tag, kind in INDEXES.items())
    assert tag_name(Tag.PGT) == "PGT"


def test_names_and_eids_are_normalised() -> None:
    assert normal_name("IQN.2001-04.com.Example:Disk") == "iqn.2001-04.com.example:disk"
    assert normal_eid("Host.Example.COM") == "host.example.com"


@pytest.mark.parametrize("name", ["", "disk", "iqn.2001-04.com.example:" + "a" * 220])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(IsnsError) as caught:
        normal_name(name)
    assert caught.value.status == Status.INVALID_REGISTRATION


@pytest.mark.parametrize("eid", ["", "a" * 256, "a\u00a0b\u2028"])
def test_what_is_no_eid_is_refused(eid: str) -> None:
    with pytest.raises(IsnsError) as caught:
        normal_eid(eid)
    assert caught.value.status == Status.INVALID_REGISTRATION
