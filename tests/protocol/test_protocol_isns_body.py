from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import (
    DELIMITER,
    Change,
    Inquiry,
    Notification,
    Request,
    Response,
    acknowledgement,
    decode_body,
    inquiry_in,
    inquiry_of,
    notification_of,
    request_of,
    response_of,
)
from iscsi_protocol.isns.codes import Flag, Function, Scn, Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import Message
from iscsi_protocol.isns.tlv import Attribute, encode_all, number, text

NAME = "iqn.2001-04.com.example:disk"
SOURCE = text(Tag.ISCSI_NAME, NAME)
ATTRIBUTES = st.lists(st.builds(Attribute, st.integers(0, 2**32 - 1), st.binary(max_size=12)), max_size=5).map(tuple)


def message(function: int, *attributes: Attribute, tail: bytes = b"", flags: int = 0) -> Message:
    return Message(function=function, transaction=3, flags=flags, payload=encode_all(attributes) + tail)


@given(st.sampled_from([0x0002, 0x8002]), st.binary(max_size=80))
def test_any_payload_comes_back(function: int, payload: bytes) -> None:
    assert decode_body(Message(function=function, transaction=1, payload=payload)).encode() == payload


@given(ATTRIBUTES, ATTRIBUTES)
def test_the_first_delimiter_divides(before, behind) -> None:
    before = tuple(item for item in before if item != DELIMITER)
    made = message(1, *before, DELIMITER, *behind)
    body = decode_body(made)
    assert body.encode() == made.payload
    assert (body.before, body.behind, body.rest, body.status) == (before, behind, b"", None)


@pytest.mark.parametrize("replace", [True, False])
def test_requests_come_back(replace: bool) -> None:
    request = Request(
        function=Function.DEV_ATTR_REG,
        source=SOURCE,
        key=(text(Tag.EID, "a"),),
        operating=(text(Tag.EID, "a"), SOURCE, number(Tag.NODE_TYPE, 1)),
        replace=replace,
    )
    made = request.message(5)
    assert made.flags == Flag.CLIENT | (Flag.REPLACE if replace else 0)
    assert request_of(made) == request


@pytest.mark.parametrize(
    ("bad", "status", "clause"),
    [
        (message(0x0100), Status.FUNCTION_NOT_SUPPORTED, "R4171-5.4-04"),
        (message(Function.SCN), Status.FUNCTION_NOT_SUPPORTED, "R4171-5.4-04"),
        (message(Function.GET_DOM_ID), Status.FUNCTION_NOT_SUPPORTED, "R4171-5.4-04"),
        (message(2, SOURCE, DELIMITER, tail=b"\0\0\0\1"), Status.MESSAGE_FORMAT_ERROR, "R4171-5.4-03"),
        (message(2, SOURCE), Status.MESSAGE_FORMAT_ERROR, "R4171-5.6.3-01"),
        (message(2, SOURCE, DELIMITER, DELIMITER), Status.MESSAGE_FORMAT_ERROR, "R4171-5.6.3-01"),
        (message(2, DELIMITER), Status.SOURCE_ABSENT, "R4171-5.6.1-03"),
        (message(2, Attribute(Tag.ISCSI_NAME), DELIMITER), Status.SOURCE_ABSENT, "R4171-5.6.1-03"),
        (message(2, text(Tag.EID, "a"), DELIMITER), Status.SOURCE_ABSENT, "R4171-5.6.1-03"),
        (message(1, SOURCE, DELIMITER, Attribute(641, b"abcd")), Status.ATTRIBUTE_NOT_IMPLEMENTED, "R4171-5.4-05"),
        (message(4, SOURCE, SOURCE, DELIMITER), Status.MESSAGE_FORMAT_ERROR, "R4171-5.6.5.4-02"),
        (message(5, SOURCE, SOURCE, SOURCE, DELIMITER), Status.MESSAGE_FORMAT_ERROR, "R4171-5.6.5.5-03"),
    ],
)
def test_a_bad_request_is_told_with_its_answer(bad: Message, status: Status, clause: str) -> None:
    with pytest.raises(IsnsError) as caught:
        request_of(bad)
    assert (caught.value.status, caught.value.clause) == (status, clause)


def test_a_port_name_is_a_source_too() -> None:
    wwpn = Attribute(Tag.WWPN, bytes(8))
    assert request_of(message(2, wwpn, DELIMITER)).source == wwpn


def test_responses_come_back() -> None:
    response = Response(function=2, status=Status.SUCCESSFUL, key=(SOURCE,), operating=(number(Tag.NODE_TYPE, 1),))
    made = response.message(9)
    assert (made.function, made.transaction, made.flags) == (0x8002, 9, Flag.SERVER)
    assert made.payload[:4] == bytes(4)
    assert response_of(made) == response
    bare = Response(function=5, status=17, delimited=False)
    assert response_of(bare.message(9)) == bare


@pytest.mark.parametrize("payload", [b"\0\0", bytes(4) + b"\0\0\0\1"])
def test_a_bad_response_is_told(payload: bytes) -> None:
    with pytest.raises(IsnsError):
        response_of(Message(function=0x8002, transaction=1, payload=payload))


def test_notifications_come_back() -> None:
    told = Notification(
        destination=NAME,
        timestamp=2**33,
        changes=(
            Change(bitmap=Scn.ADDED, objects=(SOURCE,)),
            Change(bitmap=Scn.MANAGEMENT | Scn.MEMBER_ADDED, objects=(number(Tag.DD_ID, 3), number(Tag.DDS_ID, 4))),
        ),
    )
    made = told.message(4)
    assert made.flags == Flag.SERVER
    assert notification_of(made) == told
    assert [change.name for change in told.changes] == [NAME, None]
    answer = acknowledgement(made)
    assert (answer.function, answer.transaction, answer.flags) == (0x8008, 4, Flag.CLIENT)
    assert response_of(answer).key == (SOURCE,)


@pytest.mark.parametrize("bad", [message(8, SOURCE), message(8, SOURCE, tail=b"\0")])
def test_a_bad_notification_is_told(bad: Message) -> None:
    with pytest.raises(IsnsError):
        notification_of(bad)


def test_inquiries_come_back() -> None:
    asked = Inquiry(timestamp=7, eid="a", address=bytes(15) + b"\1", port=0x10CBC)
    made = asked.message(4)
    assert [item.tag for item in asked.attributes] == [4, 1, 16, 17]
    assert inquiry_in(made) == asked
    answer = response_of(acknowledgement(made))
    assert answer.status == 0
    assert inquiry_of(answer.key) == asked


@pytest.mark.parametrize(
    "attributes",
    [
        (SOURCE,),
        (
            number(Tag.TIMESTAMP, 1),
            text(Tag.EID, "a"),
            Attribute(Tag.PORTAL_ADDRESS, b"abcd"),
            number(Tag.PORTAL_PORT, 1),
        ),
    ],
)
def test_a_bad_inquiry_is_told(attributes) -> None:
    with pytest.raises(IsnsError):
        inquiry_of(attributes)
