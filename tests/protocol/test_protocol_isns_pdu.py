from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.isns.codes import Flag, Function, Status, function_name, status_name
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import Assembler, IsnsPdu, Message, PduStream, check_pdu, decode_pdu

U16 = st.integers(0, 0xFFFF)
WORDS = st.binary(max_size=64).map(lambda data: data[: len(data) // 4 * 4])


def pdu(**fields) -> IsnsPdu:
    values = {"function": 1, "transaction": 7, "flags": Flag.FIRST | Flag.LAST} | fields
    return IsnsPdu(**values)


@given(st.binary(min_size=12, max_size=80))
def test_any_pdu_comes_back_byte_for_byte(data: bytes) -> None:
    assert decode_pdu(data).encode() == data


@given(U16, U16, WORDS, U16)
def test_header_fields_are_where_the_standard_has_them(function, transaction, payload, sequence) -> None:
    made = pdu(function=function, transaction=transaction, payload=payload, sequence=sequence).encode()
    assert made[:2] == b"\0\1"
    assert made[2:4] == function.to_bytes(2)
    assert made[4:6] == len(payload).to_bytes(2)
    assert made[6:8] == b"\x0c\0"
    assert made[8:10] == transaction.to_bytes(2)
    assert made[10:12] == sequence.to_bytes(2)
    assert decode_pdu(made).payload == payload


def test_less_than_a_header_is_no_pdu() -> None:
    with pytest.raises(IsnsError, match="11 bytes") as caught:
        decode_pdu(bytes(11))
    assert caught.value.status == Status.MESSAGE_FORMAT_ERROR


@pytest.mark.parametrize(
    ("change", "status", "clause"),
    [
        ({"version": 2}, Status.VERSION_NOT_SUPPORTED, "R4171-5.1.1-02"),
        ({"length": 8}, Status.MESSAGE_FORMAT_ERROR, "R4171-2.9.2-05"),
        ({"payload": b"abc"}, Status.MESSAGE_FORMAT_ERROR, "R4171-5.1.3-01"),
        ({"flags": 0x0C01}, Status.MESSAGE_FORMAT_ERROR, "R4171-5.1.4-01"),
    ],
)
def test_a_bad_header_is_told_with_its_answer(change, status, clause) -> None:
    with pytest.raises(IsnsError) as caught:
        check_pdu(pdu(**change))
    assert (caught.value.status, caught.value.clause) == (status, clause)
    assert f"status {int(status)}" in str(caught.value)


@given(st.lists(WORDS, max_size=5), st.integers(1, 30))
def test_a_stream_is_cut_wherever_it_comes_apart(payloads: list[bytes], step: int) -> None:
    sent = [pdu(payload=payload, sequence=number) for number, payload in enumerate(payloads)]
    data = b"".join(item.encode() for item in sent)
    stream = PduStream()
    got = [item for start in range(0, len(data), step) for item in stream.feed(data[start : start + step])]
    assert got == sent
    assert stream.held == 0


def test_a_stream_holds_what_is_not_whole() -> None:
    stream = PduStream()
    data = pdu(payload=b"abcd").encode()
    assert stream.feed(data[:-1]) == []
    assert stream.held == len(data) - 1
    assert [item.payload for item in stream.feed(data[-1:])] == [b"abcd"]


@given(st.binary(max_size=200).map(lambda data: data[: len(data) // 4 * 4]), st.integers(1, 20).map(lambda n: n * 4))
def test_messages_survive_being_split(payload: bytes, limit: int) -> None:
    message = Message(function=2, transaction=9, flags=Flag.CLIENT | Flag.REPLACE, payload=payload)
    pdus = message.pdus(limit)
    assert [item.sequence for item in pdus] == list(range(len(pdus)))
    assert [bool(item.flags & Flag.FIRST) for item in pdus] == [True] + [False] * (len(pdus) - 1)
    assert [bool(item.flags & Flag.LAST) for item in pdus] == [False] * (len(pdus) - 1) + [True]
    assembler = Assembler()
    got = [assembler.add(item) for item in pdus]
    assert got == [None] * (len(pdus) - 1) + [message]


def test_two_messages_may_mix() -> None:
    one = Message(function=2, transaction=1, payload=b"abcdefgh")
    two = Message(function=2, transaction=2, payload=b"ijklmnop")
    assembler = Assembler()
    (a, b), (c, d) = one.pdus(4), two.pdus(4)
    assert [assembler.add(item) for item in (a, c, d, b)] == [None, None, two, one]


def test_a_message_is_encoded_as_its_pdus() -> None:
    message = Message(function=0x8001, transaction=1, payload=bytes(70000))
    assert [len(item.payload) for item in PduStream().feed(message.encode())] == [65532, 4468]
    assert message.is_response


@pytest.mark.parametrize("limit", [0, 6, 65536])
def test_a_limit_is_a_number_of_words(limit: int) -> None:
    with pytest.raises(ValueError, match="in steps of 4"):
        Message(function=1, transaction=1).pdus(limit)


@pytest.mark.parametrize(
    "pdus",
    [
        [pdu(flags=Flag.LAST)],
        [pdu(flags=Flag.FIRST), pdu(flags=Flag.FIRST | Flag.LAST, sequence=1)],
        [pdu(flags=Flag.FIRST), pdu(flags=Flag.LAST, sequence=2)],
        [pdu(flags=Flag.FIRST | Flag.LAST, sequence=1)],
    ],
)
def test_parts_that_do_not_follow_each_other_are_refused(pdus: list[IsnsPdu]) -> None:
    assembler = Assembler()
    for item in pdus[:-1]:
        assert assembler.add(item) is None
    with pytest.raises(IsnsError) as caught:
        assembler.add(pdus[-1])
    assert caught.value.status == Status.MESSAGE_FORMAT_ERROR
    assert assembler.add(pdu()) is not None, "what was begun is forgotten"


def test_a_message_has_a_limit() -> None:
    assembler = Assembler(limit=8)
    assembler.add(pdu(flags=Flag.FIRST, payload=bytes(8)))
    with pytest.raises(IsnsError, match="more than 8 bytes"):
        assembler.add(pdu(flags=Flag.LAST, sequence=1, payload=bytes(4)))


def test_numbers_have_names() -> None:
    assert function_name(Function.ESI) == "ESI"
    assert function_name(0x8001) == "DEV_ATTR_REG_RSP"
    assert function_name(0x0100) == "function 0x0100"
    assert status_name(9) == "NO_SUCH_ENTRY"
    assert status_name(4) == "status 4"
