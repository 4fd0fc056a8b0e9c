"""An iSNS server in memory, with clients that say what they want in few words."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Notification, Request, Response, inquiry_in, notification_of, response_of
from iscsi_protocol.isns.codes import Function
from iscsi_protocol.isns.pdu import Assembler, Message, PduStream
from iscsi_protocol.isns.tlv import Attribute, address, number, text
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.server import IsnsServer, Send

DISK = "iqn.2001-04.com.example:disk"
HOST = "iqn.2001-04.com.example:host"
OTHER = "iqn.2001-04.com.example:other"
ADMIN = "iqn.2001-04.com.example:admin"
START = 1_700_000_000.0


def name(value: str) -> Attribute:
    return text(Tag.ISCSI_NAME, value)


def eid(value: str = "") -> Attribute:
    return text(Tag.EID, value) if value else Attribute(Tag.EID)


def portal(host: str = "192.0.2.1", port: int = 3260) -> tuple[Attribute, Attribute]:
    return address(Tag.PORTAL_ADDRESS, host), number(Tag.PORTAL_PORT, port)


def node(value: str, type_: int = 1) -> tuple[Attribute, Attribute]:
    return name(value), number(Tag.NODE_TYPE, type_)


def want(*tags: int) -> tuple[Attribute, ...]:
    return tuple(Attribute(tag) for tag in tags)


class Bench:
    """A server with one TCP connection for all clients; UDP and opened connections are lists."""

    def __init__(self, **settings) -> None:
        settings.setdefault("control_nodes", [ADMIN])
        self.config = IsnsConfig(**settings)
        self.server = IsnsServer(self.config)
        self.now = START
        self.server.start(self.now)
        self.server.connection_made(1)
        self.sent: list[Send] = []
        self._transaction = 0

    def ask(self, request: Request, connection: int = 1) -> Response:
        self._transaction += 1
        message = request.message(self._transaction)
        self.server.receive(connection, message.encode(), self.now)
        return self._answer(connection)

    def raw(self, data: bytes, connection: int = 1) -> Response:
        self.server.receive(connection, data, self.now)
        return self._answer(connection)

    def _answer(self, connection: int) -> Response:
        answers = []
        for send in self.server.take_output():
            (message, *_) = messages([send])
            if send.connection == connection and message.is_response:
                answers.append(message)
            else:
                self.sent.append(send)
        (answer,) = answers
        return response_of(answer)

    def register(self, source: str, *operating: Attribute, key: Iterable[Attribute] = (), replace=False) -> Response:
        return self.ask(
            Request(
                function=Function.DEV_ATTR_REG,
                source=name(source),
                key=tuple(key),
                operating=operating,
                replace=replace,
            )
        )

    def query(self, source: str, *operating: Attribute, key: Iterable[Attribute] = ()) -> Response:
        return self.ask(
            Request(function=Function.DEV_ATTR_QRY, source=name(source), key=tuple(key), operating=operating)
        )

    def do(self, function: int, source: str, *operating: Attribute, key: Iterable[Attribute] = ()) -> Response:
        return self.ask(Request(function=function, source=name(source), key=tuple(key), operating=operating))

    def names(self, source: str) -> list[str]:
        """The nodes that the source sees."""
        return [item.text for item in self.query(source, *want(Tag.ISCSI_NAME)).operating]

    def disk(self, *more: Attribute) -> Response:
        """A target with one portal."""
        return self.register(DISK, eid("disk"), *portal(), *more, *node(DISK), key=[eid("disk")])

    def host(self, *more: Attribute) -> Response:
        """An initiator that can be told of changes by UDP."""
        return self.register(HOST, eid("host"), *portal("192.0.2.2", 0), *more, *node(HOST, 2), key=[eid("host")])

    def share(self, *names: str, enabled: bool = True) -> int:
        """Put nodes into a new domain of a new set."""
        members = [text(Tag.DD_MEMBER_NAME, each) for each in names]
        domain = self.do(Function.DD_REG, ADMIN, *members).operating[0].number
        status = number(Tag.DDS_STATUS, int(enabled))
        assert self.do(Function.DDS_REG, ADMIN, status, number(Tag.DD_ID, domain)).status == 0
        self.sent.clear()
        return domain

    def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while (due := self.server.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.server.handle_timer(self.now)
            self.sent += self.server.take_output()
        self.now = end

    def notifications(self) -> list[Notification]:
        """What was told since the last time, repetitions included."""
        told = [notification_of(message) for message in messages(self.sent) if message.function == Function.SCN]
        self.sent.clear()
        return told

    def inquiries(self) -> list[tuple[Message, Send]]:
        """ESIs since the last time."""
        asked = [(message, send) for send in self.sent for message in messages([send])]
        self.sent.clear()
        return [
            (message, send)
            for message, send in asked
            if message.function == Function.ESI and inquiry_in(message) is not None
        ]


def messages(sends: Iterable[Send]) -> list[Message]:
    """The messages of what was sent."""
    found = []
    for send in sends:
        assembler = Assembler()
        found += [message for pdu in PduStream().feed(send.data) if (message := assembler.add(pdu)) is not None]
    return found


def values(response: Response, tag: int) -> list[Attribute]:
    """The attributes of one tag behind the delimiter."""
    return [item for item in response.operating if item.tag == tag]
