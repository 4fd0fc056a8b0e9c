from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Change, Inquiry, Notification, Request, Response, request_of, response_of
from iscsi_protocol.isns.client import SERVER, Answered, Event, Failed, Inquired, IsnsClient, Notified, Trouble, _Wire
from iscsi_protocol.isns.codes import Flag, Function, NodeType, Scn, Status
from iscsi_protocol.isns.description import ClientPolicy, Description, NodeSpec, PortalSpec
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.heartbeat import Heartbeat, Server
from iscsi_protocol.isns.pdu import Assembler, Message, PduStream
from iscsi_protocol.isns.registrar import MISSED, RETRY, Left, Lost, Refused, Registered, Registrar, Report, State
from iscsi_protocol.isns.tlv import Attribute, number, text

NAME = "iqn.2001-04.com.example:disk"
SOURCE = text(Tag.ISCSI_NAME, NAME)
QUERY = Request(function=Function.DEV_ATTR_QRY, source=SOURCE, operating=(Attribute(32),))
TOLD = Notification(destination=NAME, timestamp=1, changes=(Change(bitmap=Scn.ADDED, objects=(SOURCE,)),))
ASKED = Inquiry(timestamp=1, eid="disk", address=bytes(15) + b"\1", port=3260)


def messages(data: bytes) -> list[Message]:
    assembler = Assembler()
    return [message for pdu in PduStream().feed(data) if (message := assembler.add(pdu)) is not None]


class Pair:
    """A client with a hand that plays the server."""

    def __init__(self, connected: bool = True, **options) -> None:
        self.client = IsnsClient(**options)
        if connected:
            self.client.connection_made(SERVER)

    def sent(self) -> list[Message]:
        return [message for _, data in self.client.take_output() for message in messages(data)]

    def answer(self, message: Message, **fields) -> None:
        response = Response(function=message.function, **fields)
        self.client.receive(SERVER, response.message(message.transaction).encode())

    def events(self) -> list[Event]:
        found = []
        while (event := self.client.poll_event()) is not None:
            found.append(event)
        return found


def test_a_question_and_its_answer() -> None:
    pair = Pair()
    token = pair.client.submit(QUERY, 0)
    (message,) = pair.sent()
    assert request_of(message) == QUERY
    pair.answer(message, operating=(SOURCE,))
    (event,) = pair.events()
    assert isinstance(event, Answered)
    assert (event.token, event.response.operating) == (token, (SOURCE,))
    pair.answer(message)
    assert pair.events() == [], "a second answer is nothing"


def test_questions_wait_for_a_connection() -> None:
    pair = Pair(connected=False)
    pair.client.submit(QUERY, 0)
    assert pair.client.wants_connection
    pair.client.connection_made(SERVER)
    assert not pair.client.wants_connection
    assert len(pair.sent()) == 1


def test_open_questions_have_numbers_of_their_own() -> None:
    pair = Pair()
    pair.client._transaction = 0xFFFE
    for _ in range(3):
        pair.client.submit(QUERY, 0)
    assert [message.transaction for message in pair.sent()] == [0xFFFF, 1, 2]
    pair.client._transaction = 0
    pair.client.submit(QUERY, 0)
    assert [message.transaction for message in pair.sent()] == [3]


def test_no_server_is_told() -> None:
    pair = Pair(connected=False)
    token = pair.client.submit(QUERY, 0)
    pair.client.connect_failed()
    assert pair.events() == [Failed(token=token, trouble=Trouble.NO_SERVER)]


def test_a_lost_connection_repeats_with_the_same_number() -> None:
    pair = Pair(retries=1)
    token = pair.client.submit(QUERY, 0)
    (first,) = pair.sent()
    pair.client.connection_lost(SERVER)
    pair.client.connection_made(SERVER)
    (second,) = pair.sent()
    assert second == first
    pair.client.connection_lost(SERVER)
    assert pair.events() == [Failed(token=token, trouble=Trouble.NO_ANSWER)]


def test_what_was_not_sent_is_not_counted() -> None:
    pair = Pair(retries=0)
    pair.client.connection_lost(SERVER)
    pair.client.submit(QUERY, 0)
    pair.client.connection_made(SERVER)
    pair.sent()
    pair.client.connection_made(5)
    pair.client.connection_lost(5)
    assert pair.events() == []


def test_requests_wait_through_a_lost_connection() -> None:
    pair = Pair(connected=False)
    pair.client.submit(QUERY, 0)
    pair.client._wires[SERVER] = _Wire()
    pair.client.connection_lost(SERVER)
    assert pair.client.wants_connection


def test_a_server_that_does_not_answer_is_left() -> None:
    pair = Pair(timeout=10, retries=1)
    token = pair.client.submit(QUERY, 0)
    later = pair.client.submit(QUERY, 5)
    assert pair.client.next_deadline() == 10
    pair.client.handle_timer(9)
    assert not pair.client.wants_close
    pair.client.handle_timer(10)
    assert pair.client.wants_close
    pair.client.connection_lost(SERVER)
    assert not pair.client.wants_close
    pair.client.connection_made(SERVER)
    assert pair.client.next_deadline() == 15
    pair.client.handle_timer(15)
    pair.client.handle_timer(20)
    assert pair.events() == [
        Failed(token=later, trouble=Trouble.NO_ANSWER),
        Failed(token=token, trouble=Trouble.NO_ANSWER),
    ]
    assert pair.client.next_deadline() is None


def test_waiting_for_a_connection_has_an_end() -> None:
    pair = Pair(connected=False, timeout=10)
    token = pair.client.submit(QUERY, 0)
    pair.client.handle_timer(10)
    assert pair.events() == [Failed(token=token, trouble=Trouble.NO_SERVER)]


def test_closing_gives_up() -> None:
    pair = Pair()
    token = pair.client.submit(QUERY, 0)
    pair.client.close()
    assert pair.events() == [Failed(token=token, trouble=Trouble.CLOSED)]


def bad_answers(message: Message) -> list[bytes]:
    answer = Response(function=message.function).message(message.transaction)
    pdu = answer.pdus()[0]
    return [
        replace(pdu, version=2).encode(),
        replace(pdu, sequence=2).encode(),
        replace(answer, function=0x8001).encode(),
        replace(answer, payload=bytes(4) + b"\0\0\0\1").encode(),
    ]


@pytest.mark.parametrize("which", range(4))
def test_a_bad_answer_is_told(which: int) -> None:
    pair = Pair()
    token = pair.client.submit(QUERY, 0)
    (message,) = pair.sent()
    pair.client.receive(SERVER, bad_answers(message)[which])
    trouble = Trouble.BAD_ANSWER if which else Trouble.OTHER_VERSION
    assert pair.events() == [Failed(token=token, trouble=trouble)]
    pair.client.receive(SERVER, bad_answers(message)[which])
    assert pair.events() == []


def test_answers_may_take_several_pdus() -> None:
    pair = Pair()
    pair.client.submit(QUERY, 0)
    (message,) = pair.sent()
    answer = Response(function=message.function, operating=(SOURCE,)).message(message.transaction)
    for pdu in answer.pdus(8):
        assert pair.events() == []
        pair.client.receive(SERVER, pdu.encode())
    assert len(pair.events()) == 1


@pytest.mark.parametrize("where", [SERVER, 3, ("192.0.2.1", 5)])
def test_the_servers_requests_are_answered_where_they_came_from(where) -> None:
    pair = Pair()
    if where == 3:
        pair.client.connection_made(3)
    for told, event in ((TOLD, Notified(notification=TOLD)), (ASKED, Inquired(inquiry=ASKED))):
        data = told.message(77).encode()
        if isinstance(where, int):
            pair.client.receive(where, data)
        else:
            pair.client.datagram(where, data)
        assert pair.events() == [event]
        ((place, answer),) = pair.client.take_output()
        (message,) = messages(answer)
        assert place == where
        assert (message.transaction, message.flags, response_of(message).status) == (77, Flag.CLIENT, 0)


def test_what_a_client_does_not_know_it_refuses() -> None:
    pair = Pair()
    pair.client.receive(SERVER, QUERY.message(5).encode())
    (message,) = pair.sent()
    assert response_of(message).status == Status.FUNCTION_NOT_SUPPORTED
    pair.client.receive(SERVER, replace(TOLD.message(5), payload=SOURCE.encode()).encode())
    (message,) = pair.sent()
    assert response_of(message).status == Status.MESSAGE_FORMAT_ERROR
    beat = Heartbeat(active=Server(address=bytes(16), tcp=3205), interval=1, counter=0)
    pair.client.receive(SERVER, beat.message(1).encode())
    pair.client.datagram(("192.0.2.1", 5), b"abc")
    assert pair.sent() == []


def test_the_policy_breaks_one_thing() -> None:
    one = Pair(policy=ClientPolicy(one_transaction=True, no_delimiter=True, header=(("version", 3), ("length", 0))))
    one.client.submit(QUERY, 0)
    one.client.submit(QUERY, 0)
    pdus = [pdu for _, data in one.client.take_output() for pdu in PduStream().feed(data)]
    assert [(pdu.transaction, pdu.version) for pdu in pdus] == [(1, 2), (1, 2)]
    with pytest.raises(IsnsError):
        request_of(Message(function=2, transaction=1, payload=pdus[0].payload))
    two = Pair(policy=ClientPolicy(new_transaction=True))
    two.client.submit(QUERY, 0)
    two.client.connection_lost(SERVER)
    two.client.connection_made(SERVER)
    assert len({message.transaction for message in two.sent()}) == 2
    three = Pair(policy=ClientPolicy(silent=True))
    three.client.receive(SERVER, TOLD.message(7).encode())
    assert three.sent() == []
    four = Pair(policy=ClientPolicy(bare_answers=True, other_answers=True))
    four.client.receive(SERVER, TOLD.message(7).encode())
    (message,) = four.sent()
    assert (message.transaction, message.payload) == (6, bytes(4))


class Kept(Pair):
    """A registrar in front of the pair."""

    def __init__(self, policy=None, **changes) -> None:
        policy = policy or ClientPolicy()
        super().__init__(policy=policy)
        portal = changes.pop("portal", {})
        fields: dict[str, Any] = {
            "eid": "disk",
            "portals": (PortalSpec(address="192.0.2.1", port=3260, **portal),),
            "nodes": (
                NodeSpec(name=NAME, type=NodeType.TARGET, bitmap=Scn.ADDED),
                NodeSpec(name=f"{NAME}2", type=NodeType.TARGET),
            ),
        }
        self.registrar = Registrar(self.client, Description(**fields | changes), policy=policy)
        self.now = 0.0

    def state(self) -> State:
        return self.registrar.state

    def reports(self) -> list[Report]:
        return [report for event in self.events() for report in self.registrar.handle(event, self.now)]

    def reply(self, status: int = 0, *operating: Attribute, key=()) -> list[Report]:
        (message,) = self.sent()
        self.answer(message, status=status, key=key, operating=operating)
        return self.reports()

    def registered(self, period: int = 600) -> Kept:
        self.registrar.start(self.now)
        assert self.reply(0, number(Tag.REGISTRATION_PERIOD, period), key=(text(Tag.EID, "disk"),)) == []
        assert self.registrar.state is State.LISTENING
        assert self.reply() == [Registered(eid="disk", period=period)]
        return self


def test_registering_listening_refreshing_and_leaving() -> None:
    kept = Kept().registered()
    assert kept.registrar.next_deadline() == 300
    kept.now = 299.0
    kept.registrar.handle_timer(kept.now)
    assert kept.sent() == []
    kept.now = 300.0
    kept.registrar.handle_timer(kept.now)
    assert kept.state() is State.CHECKING
    assert kept.reply(0, text(Tag.EID, "disk")) == []
    assert kept.registrar.next_deadline() == 600
    kept.registrar.leave(kept.now)
    assert kept.registrar.next_deadline() is None
    assert kept.reply() == [Left(status=0)]
    assert kept.state() is State.GONE
    kept.registrar.handle_timer(10**9)


@pytest.mark.parametrize("status", [0, Status.NO_SUCH_ENTRY, Status.SOURCE_UNKNOWN])
def test_a_lost_registration_is_made_again(status: int) -> None:
    kept = Kept().registered()
    kept.now = 300.0
    kept.registrar.handle_timer(kept.now)
    assert kept.reply(status) == [Lost()]
    assert kept.client.wants_close
    kept.registrar.handle_timer(kept.now)
    assert kept.registrar.state is State.REGISTERING


def test_an_identifier_that_was_made_up_is_not_kept_over_a_loss() -> None:
    kept = Kept(eid="").registered()
    kept.now = 300.0
    kept.registrar.handle_timer(kept.now)
    kept.reply(9)
    assert kept.registrar.eid == ""


def test_a_client_that_does_not_notice() -> None:
    kept = Kept(policy=ClientPolicy(stay_connected=True)).registered()
    kept.now = 300.0
    kept.registrar.handle_timer(kept.now)
    assert kept.reply(9) == []
    assert not kept.client.wants_close
    assert Kept(policy=ClientPolicy(never_refresh=True)).registered().registrar.next_deadline() is None


def test_a_refused_registration_is_tried_again() -> None:
    kept = Kept()
    kept.registrar.start(0)
    assert kept.reply(3) == [Refused(status=3)]
    assert kept.registrar.next_deadline() == RETRY
    kept.registrar.handle_timer(RETRY)
    assert kept.reply(0, key=(Attribute(Tag.EID),)) == []
    assert kept.reply(17) == [Refused(status=17)]
    assert kept.registrar.state is State.IDLE


def test_no_server_is_tried_again() -> None:
    kept = Kept()
    kept.registrar.start(0)
    kept.client.connect_failed()
    assert kept.reports() == [Refused(trouble=Trouble.NO_SERVER)]
    assert kept.registrar.next_deadline() == RETRY


def test_trouble_while_checking_and_leaving() -> None:
    kept = Kept().registered()
    kept.now = 300.0
    kept.registrar.handle_timer(kept.now)
    kept.client.connect_failed()
    assert kept.reports() == [Refused(trouble=Trouble.NO_SERVER)]
    assert kept.registrar.state is State.REGISTERED
    assert kept.registrar.next_deadline() == 300 + RETRY
    kept.registrar.leave(kept.now)
    kept.client.connect_failed()
    assert kept.reports() == [Left(status=None)]


def test_inquiries_put_the_sign_of_life_off() -> None:
    kept = Kept(portal={"esi": 4000, "esi_interval": 60}).registered(period=0)
    assert kept.registrar.next_deadline() == MISSED * 60
    kept.now = 60.0
    kept.client.receive(SERVER, ASKED.message(5).encode())
    assert kept.reports() == [Inquired(inquiry=ASKED)]
    assert kept.registrar.next_deadline() == 60 + MISSED * 60
    assert Kept().registered(period=0).registrar.next_deadline() is None


def test_others_events_are_passed_on() -> None:
    kept = Kept().registered()
    kept.client.receive(SERVER, TOLD.message(5).encode())
    token = kept.client.submit(QUERY, 0)
    kept.client.connect_failed()
    assert kept.reports() == [Notified(notification=TOLD), Failed(token=token, trouble=Trouble.NO_SERVER)]
