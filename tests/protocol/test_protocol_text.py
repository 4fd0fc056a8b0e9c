"""The text format: pairs, chains and value notations, each rule of section 6.1 kept and broken."""

from __future__ import annotations

import base64
import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol import text
from iscsi_protocol.text import ValueType

ANY_TEXT = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
KEYS = ANY_TEXT.map(lambda key: key.replace("=", "")).filter(bool)
PAIRS = st.lists(st.tuples(KEYS, ANY_TEXT), max_size=6)
HEX_DIGITS = "0123456789abcdefABCDEF"


# Pairs.


def test_pairs_on_the_wire():
    data = b"InitiatorName=iqn.2001-04.com.example:a\0CHAP_C=0bAA==\0Empty=\0"
    pairs = [("InitiatorName", "iqn.2001-04.com.example:a"), ("CHAP_C", "0bAA=="), ("Empty", "")]
    assert text.decode_pairs(data) == pairs
    assert text.encode_pairs(pairs) == data


@given(PAIRS)
def test_pairs_come_back(pairs: list[tuple[str, str]]):
    assert text.decode_pairs(text.encode_pairs(pairs)) == pairs


@given(st.lists(st.binary(max_size=12), max_size=5))
def test_bytes_come_back(values: list[bytes]):
    """Whatever the bytes: what decodes is encoded to the same bytes, NUL for NUL."""
    data = b"".join(b"K=" + value.replace(b"\0", b"\xff") + b"\0" for value in values)
    assert text.encode_pairs(text.decode_pairs(data)) == data


@given(st.binary(max_size=60))
def test_scanning_never_fails_and_agrees_with_decoding(data: bytes):
    pairs, faults = text.scan_pairs(data)
    if faults:
        with pytest.raises(text.PairError) as caught:
            text.decode_pairs(data)
        assert str(caught.value) == str(faults[0])
    else:
        assert text.encode_pairs(pairs) == data
    kept = b"".join(text.encode_pairs([pair]) for pair in pairs)
    assert len(kept) <= len(data) + 1


@pytest.mark.parametrize(
    ("data", "pairs", "faults"),
    [
        (b"", [], []),
        (b"A=1", [("A", "1")], [("R7143-6.1-02", "A=1")]),
        (b"A=1\0B=2", [("A", "1"), ("B", "2")], [("R7143-6.1-02", "B=2")]),
        (b"A=1\0\0B=2\0", [("A", "1"), ("B", "2")], [("R7143-6.1-03", "")]),
        (b"\0", [], [("R7143-6.1-03", "")]),
        (b"word\0A=1\0", [("A", "1")], [("R7143-6.1-03", "word")]),
        (b"=1\0A=1\0", [("A", "1")], [("R7143-6.1-03", "=1")]),
        (b"word", [], [("R7143-6.1-03", "word"), ("R7143-6.1-02", "word")]),
        (b"A=b=c\0", [("A", "b=c")], []),
    ],
)
def test_malformed_text(data: bytes, pairs: list[tuple[str, str]], faults: list[tuple[str, str]]):
    found, errors = text.scan_pairs(data)
    assert found == pairs
    assert [(error.clause, error.offender) for error in errors] == faults


@pytest.mark.parametrize(
    ("pair", "clause"),
    [
        (("", "1"), "R7143-6.1-03"),
        (("A=B", "1"), "R7143-6.1-03"),
        (("A\0", "1"), "R7143-6.1-02"),
        (("A", "1\0"), "R7143-6.1-02"),
    ],
)
def test_pair_that_could_not_be_read_back_is_not_written(pair: tuple[str, str], clause: str):
    with pytest.raises(text.PairError) as caught:
        text.encode_pairs([("Good", "1"), pair])
    assert caught.value.clause == clause


# Chains.


@given(st.binary(max_size=200), st.integers(1, 64))
def test_chain_comes_back(data: bytes, limit: int):
    chunks = text.split_text(data, limit)
    assert all(len(chunk) == limit for chunk in chunks[:-1])
    assert 0 < len(chunks[-1]) <= limit or chunks == [b""]
    assembler = text.TextAssembler()
    for chunk in chunks[:-1]:
        assert assembler.add(chunk, True) is None
        assert assembler.pending
    assert assembler.add(memoryview(chunks[-1]), False) == data
    assert not assembler.pending
    assert assembler.total == len(data)


@given(PAIRS, st.lists(st.integers(0, 30), max_size=12))
def test_pairs_survive_any_chunking(pairs: list[tuple[str, str]], sizes: list[int]):
    """Cut anywhere, also in the middle of a character, and with empty segments on the way."""
    data = text.encode_pairs(pairs)
    assembler = text.TextAssembler()
    start = 0
    for size in sizes:
        assert assembler.add(bytearray(data[start : start + size]), True) is None
        start += size
    whole = assembler.add(data[start:], False)
    assert whole is not None
    assert text.decode_pairs(whole) == pairs


@pytest.mark.parametrize("limit", [0, -1])
def test_no_segment_is_cut_to_nothing(limit: int):
    with pytest.raises(ValueError, match="cannot be cut"):
        text.split_text(b"A=1\0", limit)


def test_negotiation_is_bounded_over_its_segments():
    assembler = text.TextAssembler(limit=10)
    assert assembler.add(b"123456", False) == b"123456"
    assert assembler.add(b"1234", True) is None
    with pytest.raises(text.TextTooLong) as caught:
        assembler.add(b"5", True)
    assert (caught.value.length, caught.value.limit, caught.value.clause) == (11, 10, "R7143-6.1-17")
    assert str(caught.value) == "11 bytes of text where 10 are taken: '' (R7143-6.1-17)"
    assert (assembler.total, assembler.pending) == (10, True)
    assert assembler.add(b"", False) == b"1234"
    assembler.reset()
    assert assembler.total == 0
    assert assembler.add(b"1234567890", False) == b"1234567890"


def test_reset_forgets_an_unfinished_chain():
    assembler = text.TextAssembler()
    assembler.add(b"half", True)
    assembler.reset()
    assert not assembler.pending
    assert assembler.add(b"whole", False) == b"whole"


def test_default_bound_is_64_kib():
    assembler = text.TextAssembler()
    assert assembler.add(bytes(65536), True) is None
    with pytest.raises(text.TextTooLong):
        assembler.add(b"x", False)


# Key names.


@pytest.mark.parametrize(
    "name",
    [
        "A",
        "InitiatorName",
        "X-com.example.bar_foo+1@x",
        "A" * 63,
        "iSCSIProtocolLevel",
        "X#NodeArchitecture",
        "Z9.-+@_",
    ],
)
def test_key_name(name: str):
    text.check_key_name(name)


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("", "R7143-6.1-04"),
        ("initiatorName", "R7143-6.1-04"),
        ("1A", "R7143-6.1-04"),
        ("ÄB", "R7143-6.1-04"),
        ("A" * 64, "R7143-6.1-05"),
        ("A B", "R7143-6.1-05"),
        ("X#Other", "R7143-6.1-05"),
        ("Aé", "R7143-6.1-05"),
        ("A:", "R7143-6.1-05"),
        ("A\n", "R7143-6.1-05"),
        ("iSCSIProtocolLevels", "R7143-6.1-04"),
    ],
)
def test_no_key_name(name: str, clause: str):
    with pytest.raises(text.KeyNameError) as caught:
        text.check_key_name(name)
    assert (caught.value.clause, caught.value.offender) == (clause, name)


# Numbers.


@given(st.integers(0, 2**64 - 1))
def test_numbers_in_either_notation(number: int):
    for written in (str(number), hex(number), f"0X{number:X}", f"0x000{number:x}"):
        assert text.parse_number(written) == number


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ("00", "R7143-6.1-10"),
        ("01", "R7143-6.1-10"),
        (str(2**64), "R7143-6.1-11"),
        ("9" * 5000, "R7143-6.1-11"),
        (hex(2**64), "R7143-6.1-13"),
        ("", "R7143-6.1-13"),
        ("0x", "R7143-6.1-13"),
        ("0b1", "R7143-6.1-13"),
        ("-1", "R7143-6.1-13"),
        ("+1", "R7143-6.1-13"),
        (" 1", "R7143-6.1-13"),
        ("1 ", "R7143-6.1-13"),
        ("1\n", "R7143-6.1-13"),
        ("1_0", "R7143-6.1-13"),
        ("x1", "R7143-6.1-13"),
        ("0xg", "R7143-6.1-13"),
        ("٣", "R7143-6.1-13"),
        ("1.0", "R7143-6.1-13"),
    ],
)
def test_no_number(value: str, clause: str):
    with pytest.raises(text.NumberError) as caught:
        text.parse_number(value)
    assert (caught.value.clause, caught.value.offender) == (clause, value)


@pytest.mark.parametrize(("value", "within"), [("511", False), ("512", True), ("16777215", True), ("0x1000000", False)])
def test_number_bounds(value: str, within: bool):
    if within:
        assert text.parse_number(value, 512, 2**24 - 1) == int(value, 0)
    else:
        with pytest.raises(text.NumberError, match="outside 512 to 16777215") as caught:
            text.parse_number(value, 512, 2**24 - 1)
        assert caught.value.clause == "R7143-6.2.2-04"


@pytest.mark.parametrize(("value", "ends"), [("1~2", (1, 2)), ("0x10~16", (16, 16)), ("0~0", (0, 0))])
def test_range(value: str, ends: tuple[int, int]):
    assert text.parse_range(value) == ends


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ("2~1", "R7143-6.1-14"),
        ("1", "R7143-6.1-14"),
        ("1~", "R7143-6.1-13"),
        ("~1", "R7143-6.1-13"),
        ("1~2~3", "R7143-6.1-13"),
        ("01~2", "R7143-6.1-10"),
    ],
)
def test_no_range(value: str, clause: str):
    with pytest.raises(text.NumberError) as caught:
        text.parse_range(value)
    assert caught.value.clause == clause


def test_boolean():
    assert text.parse_boolean("Yes") is True
    assert text.parse_boolean("No") is False


@pytest.mark.parametrize("value", ["yes", "YES", "no", "", "True", "1", "Yes ", "Y"])
def test_no_boolean(value: str):
    with pytest.raises(text.ValueFormError) as caught:
        text.parse_boolean(value)
    assert caught.value.clause == "R7143-6.1-08"


@pytest.mark.parametrize(("value", "items"), [("", [""]), ("A", ["A"]), ("A,B", ["A", "B"]), ("A,,B", ["A", "", "B"])])
def test_list(value: str, items: list[str]):
    assert text.parse_list(value) == items


# Binary values.


@given(st.binary(min_size=1, max_size=300))
def test_binary_comes_back(data: bytes):
    for written in (text.encode_hex(data), text.encode_base64(data)):
        assert text.parse_binary(written, 300) == data
        assert text.parse_binary(written, 300, length=len(data)) == data
        text.check_value(written, ValueType.BINARY, 300)
    assert text.parse_binary(f"0X{data.hex().upper()}", 300) == data
    assert text.parse_binary(f"0B{base64.b64encode(data).decode()}", 300) == data


@given(st.text(HEX_DIGITS, min_size=1, max_size=64))
def test_hex_digits_give_half_as_many_bytes(digits: str):
    data = text.parse_binary(f"0x{digits}")
    assert len(data) == (len(digits) + 1) // 2
    assert int.from_bytes(data, "big") == int(digits, 16)


@given(st.text(f"{HEX_DIGITS}xXbB+/=gzZ \n", max_size=10))
def test_binary_is_accepted_only_as_it_is_written(digits: str):
    """Against the strictest decoder of the standard library, and its encoder for the bits that padding leaves over."""
    try:
        data = base64.b64decode(digits, validate=True)
        right = data != b"" and base64.b64encode(data).decode() == digits
    except ValueError:
        right = False
    if right:
        assert text.parse_binary(f"0b{digits}") == data
    else:
        with pytest.raises(text.BinaryError):
            text.parse_binary(f"0b{digits}")


@pytest.mark.parametrize(
    ("value", "clause"),
    [
        ("", "R7143-6.1-09"),
        ("0x", "R7143-6.1-09"),
        ("0xZZ", "R7143-6.1-09"),
        ("0x 12", "R7143-6.1-09"),
        ("0x12\n", "R7143-6.1-09"),
        ("0x1_2", "R7143-6.1-09"),
        ("AB", "R7143-6.1-09"),
        ("x12", "R7143-6.1-09"),
        ("0b", "R7143-6.1-12"),
        ("0B", "R7143-6.1-12"),
        ("0b====", "R7143-6.1-12"),
        ("0bA", "R7143-6.1-12"),
        ("0bAA", "R7143-6.1-12"),
        ("0bAA=", "R7143-6.1-12"),
        ("0bAA===", "R7143-6.1-12"),
        ("0bAB==", "R7143-6.1-12"),
        ("0bAAB=", "R7143-6.1-12"),
        ("0bAA==AAAA", "R7143-6.1-12"),
        ("0bAA-_", "R7143-6.1-12"),
        ("0bAA A", "R7143-6.1-12"),
        ("17", "R7143-6.1-11"),
    ],
)
def test_no_binary(value: str, clause: str):
    with pytest.raises(text.BinaryError) as caught:
        text.parse_binary(value)
    assert (caught.value.clause, caught.value.offender) == (clause, value)
    assert not isinstance(caught.value, text.BinaryTooLong)


@pytest.mark.parametrize("length", [255, 256])
def test_binary_limit_counts_decoded_bytes(length: int):
    for written in (text.encode_hex(bytes(length)), text.encode_base64(bytes(length))):
        if length == 255:
            assert text.parse_binary(written) == bytes(length)
            continue
        with pytest.raises(text.BinaryTooLong) as caught:
            text.parse_binary(written)
        assert (caught.value.length, caught.value.limit, caught.value.clause) == (256, 255, "R7143-6.1-15")


def test_bad_characters_are_judged_before_the_length():
    with pytest.raises(text.BinaryError) as caught:
        text.parse_binary("0x" + "00" * 2000 + "g", 1024)
    assert not isinstance(caught.value, text.BinaryTooLong)


@pytest.mark.parametrize(
    ("value", "length", "data"),
    [
        ("0", 1, b"\0"),
        ("255", 1, b"\xff"),
        ("256", 2, b"\x01\x00"),
        ("1", 4, b"\0\0\0\x01"),
        (str(2**64 - 1), 8, b"\xff" * 8),
        ("0x0001", 2, b"\0\x01"),
    ],
)
def test_binary_of_a_length_that_the_key_defines(value: str, length: int, data: bytes):
    assert text.parse_binary(value, length=length) == data


@pytest.mark.parametrize(
    ("value", "length", "clause"),
    [
        ("256", 1, "R7143-6.1-11"),
        ("1", 9, "R7143-6.1-11"),
        ("01", 4, "R7143-6.1-10"),
        (str(2**64), 8, "R7143-6.1-11"),
        ("0x0001", 1, "R7143-6.1-09"),
        ("0bAA==", 2, "R7143-6.1-09"),
    ],
)
def test_binary_of_another_length_than_the_key_defines(value: str, length: int, clause: str):
    with pytest.raises(text.BinaryError) as caught:
        text.parse_binary(value, length=length)
    assert caught.value.clause == clause


def test_decimal_binary_keeps_to_the_limit():
    with pytest.raises(text.BinaryTooLong):
        text.parse_binary("1", max_length=3, length=4)


def test_nothing_has_no_notation():
    with pytest.raises(text.BinaryError):
        text.encode_hex(b"")
    with pytest.raises(text.BinaryError):
        text.encode_base64(b"")


# Values by kind.


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ValueType.TEXT, ""),
        (ValueType.TEXT, "aZ9.-+@_/[]:"),
        (ValueType.TEXT, "x" * 255),
        (ValueType.LOCAL_NAME, "Ünser Rechner, №5\n"),
        (ValueType.LOCAL_NAME, "é" * 127 + "x"),
        (ValueType.BOOLEAN, "Yes"),
        (ValueType.NUMBER, "0x10"),
        (ValueType.RANGE, "1~2"),
        (ValueType.BINARY, "0bAA=="),
        (ValueType.LIST, "KRB5,CHAP,None"),
        (ValueType.LIST, ",".join(["x" * 255] * 3)),
    ],
)
def test_value(kind: ValueType, value: str):
    text.check_value(value, kind)


@pytest.mark.parametrize(
    ("kind", "value", "clause"),
    [
        (ValueType.TEXT, "a b", "R7143-6.1-06"),
        (ValueType.TEXT, "a,b", "R7143-6.1-06"),
        (ValueType.TEXT, "a~b", "R7143-6.1-06"),
        (ValueType.TEXT, "é", "R7143-6.1-06"),
        (ValueType.TEXT, "a\n", "R7143-6.1-06"),
        (ValueType.TEXT, "x" * 256, "R7143-6.1-15"),
        (ValueType.LOCAL_NAME, "a\0b", "R7143-6.1-07"),
        (ValueType.LOCAL_NAME, "\udcff", "R7143-6.1-01"),
        (ValueType.LOCAL_NAME, "é" * 128, "R7143-6.1-15"),
        (ValueType.BOOLEAN, "yes", "R7143-6.1-08"),
        (ValueType.NUMBER, "ten", "R7143-6.1-13"),
        (ValueType.RANGE, "2~1", "R7143-6.1-14"),
        (ValueType.BINARY, "0bA", "R7143-6.1-12"),
        (ValueType.BINARY, "0x" + "0" * 512, "R7143-6.1-15"),
        (ValueType.LIST, "a,b c", "R7143-6.1-06"),
        (ValueType.LIST, "a," + "x" * 256, "R7143-6.1-15"),
    ],
)
def test_no_value(kind: ValueType, value: str, clause: str):
    with pytest.raises(text.ValueFormError) as caught:
        text.check_value(value, kind)
    assert caught.value.clause == clause
    assert caught.value.offender == (value.split(",")[1] if kind is ValueType.LIST else value)


def test_text_is_the_kind_unless_said_otherwise():
    text.check_value("a:b")
    with pytest.raises(text.ValueFormError):
        text.check_value("a:b", max_length=2)


def test_every_reserved_word_is_a_text_value():
    for word in text.RESERVED_VALUES:
        text.check_value(word)


# Errors.


@pytest.mark.parametrize(
    "error",
    [
        text.PairError("no equals sign", "R7143-6.1-03", "word"),
        text.BinaryTooLong("too much", "R7143-6.1-15", "0x00", 1, 0),
        text.TextTooLong(2, 1),
    ],
)
def test_errors_can_be_copied(error: text.TextError):
    for twin in (copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)


def test_long_offenders_are_shown_shortened():
    error = text.ValueFormError("bad", "R7143-6.1-06", "x" * 81)
    assert str(error) == f"bad: '{'x' * 77}...' (R7143-6.1-06)"
    assert error.offender == "x" * 81
