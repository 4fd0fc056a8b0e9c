from __future__ import annotations

from typing import Any

from iscsi_protocol.isns.agent import IsnsAgent
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Change, Notification, Request, Response
from iscsi_protocol.isns.client import SERVER, Notified, Trouble
from iscsi_protocol.isns.codes import Function, NodeType, Scn
from iscsi_protocol.isns.description import Description, NodeSpec
from iscsi_protocol.isns.pdu import Assembler, Message, PduStream
from iscsi_protocol.isns.registrar import RETRY, Left, Lost, Refused, Registered
from iscsi_protocol.isns.tlv import Attribute, number, text

NAME = "iqn.2001-04.com.example:host"
SOURCE = text(Tag.ISCSI_NAME, NAME)
QUERY = Request(function=Function.DEV_ATTR_QRY, source=SOURCE, operating=(Attribute(32),))
ENTITY = Description(eid="host", portals=(), nodes=(NodeSpec(name=NAME, type=NodeType.INITIATOR),))
TOLD = Notification(destination=NAME, timestamp=1, changes=(Change(bitmap=Scn.ADDED, objects=(SOURCE,)),))


class Floor:
    """A ground that writes down what it is asked for."""

    def __init__(self) -> None:
        self.time = 0.0
        self.done: list[Any] = []
        self.alarm: float | None = None
        self.reports: list[Any] = []
        self.agent = IsnsAgent(self, tell=self.reports.append, timeout=10, retries=1)

    def now(self) -> float:
        return self.time

    def connect(self) -> None:
        self.done.append("connect")

    def write(self, connection: int, data: bytes) -> None:
        self.done.append((connection, data))

    def send_datagram(self, peer, data: bytes) -> None:
        self.done.append((peer, data))

    def close_connection(self, connection: int) -> None:
        self.done.append(f"close {connection}")
        self.agent.connection_lost(connection)

    def wake_at(self, deadline: float | None) -> None:
        self.alarm = deadline

    def ring(self) -> None:
        assert self.alarm is not None
        self.time = self.alarm
        self.agent.wake()

    def reply(self, status: int = 0, *operating: Attribute) -> None:
        connection, data = self.done[-1]
        assembler = Assembler()
        (message,) = [found for pdu in PduStream().feed(data) if (found := assembler.add(pdu)) is not None]
        assert isinstance(message, Message)
        response = Response(function=message.function, status=status, operating=operating)
        self.agent.receive(connection, response.message(message.transaction).encode())


def test_a_question_opens_a_connection_and_gets_its_answer() -> None:
    floor = Floor()
    answers: list[Response | Trouble] = []
    floor.agent.ask(QUERY, answers.append)
    floor.agent.ask(QUERY, answers.append)
    assert floor.done == ["connect"]
    assert floor.alarm == 10
    floor.agent.connection_made(SERVER)
    floor.reply(0, SOURCE)
    assert isinstance(answers[0], Response)
    assert answers[0].operating == (SOURCE,)


def test_why_there_is_no_answer() -> None:
    floor = Floor()
    answers: list[Response | Trouble] = []
    floor.agent.ask(QUERY, answers.append)
    floor.agent.connect_failed()
    floor.agent.ask(QUERY, answers.append)
    floor.agent.close()
    assert answers == [Trouble.NO_SERVER, Trouble.CLOSED]
    assert floor.done == ["connect", "connect"]
    assert floor.alarm is None


def test_a_silent_server_is_tried_on_a_new_connection() -> None:
    floor = Floor()
    answers: list[Response | Trouble] = []
    floor.agent.ask(QUERY, answers.append)
    floor.agent.connection_made(SERVER)
    floor.ring()
    assert floor.done[2:] == ["close 0", "connect"]
    floor.agent.connection_made(SERVER)
    floor.ring()
    assert answers == [Trouble.NO_ANSWER]


def test_the_server_speaks_first() -> None:
    floor = Floor()
    floor.agent.connection_made(4)
    floor.agent.receive(4, TOLD.message(1).encode())
    floor.agent.datagram(("192.0.2.1", 9), TOLD.message(2).encode())
    assert [place for place, _ in floor.done] == [4, ("192.0.2.1", 9)]
    assert floor.reports == [Notified(notification=TOLD)] * 2
    floor.agent.connection_lost(4)


def test_a_registration_is_kept_and_ended() -> None:
    floor = Floor()
    floor.agent.leave()
    floor.agent.register(ENTITY)
    floor.agent.connection_made(SERVER)
    floor.reply(0, number(Tag.REGISTRATION_PERIOD, 100))
    assert floor.reports == [Registered(eid="host", period=100)]
    assert floor.alarm == 50
    floor.ring()
    floor.reply(9)
    assert floor.reports[-1] == Lost()
    floor.ring()
    floor.agent.connection_made(SERVER)
    floor.reply(3)
    assert floor.reports[-1] == Refused(status=3)
    assert floor.alarm == 50 + RETRY
    floor.agent.leave()
    floor.reply()
    assert floor.reports[-1] == Left(status=0)


def test_a_registration_that_is_left_before_it_is_answered() -> None:
    """The late answer is nobody's any more, and the end is told."""
    floor = Floor()
    floor.agent.register(ENTITY)
    floor.agent.connection_made(SERVER)
    floor.agent.leave()
    registering, leaving = floor.done[-2:]
    for floor.done[-1] in (registering, leaving):
        floor.reply(0, number(Tag.REGISTRATION_PERIOD, 100))
    assert floor.reports == [Left(status=0)]
    assert floor.alarm is None
