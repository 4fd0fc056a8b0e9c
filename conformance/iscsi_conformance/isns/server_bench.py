"""An iSNS server in memory, with clients that say what they want in few words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from iscsi_conformance.isns.words import (
    ADMIN,
    DISK,
    HOST,
    NOTES,
    eid,
    line,
    messages,
    name,
    node,
    nothing_came,
    portal,
    want,
)
from iscsi_conformance.verdict import Failed, Inconclusive
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Inquiry, Notification, Request, Response, inquiry_in, notification_of, response_of
from iscsi_protocol.isns.codes import Function, Scn
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import IsnsPdu, Message, PduStream, decode_pdu
from iscsi_protocol.isns.tlv import Attribute, number, text
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.policy import IsnsPolicy
from iscsi_target.isns.server import IsnsServer, Send

BEGINNING = 1_800_000_000.0
PEER = ("192.0.2.200", 40000)


class ServerBench:
    """A server, a TCP connection that all clients use, and a list of what goes elsewhere.

    `about` is the requirement that a silent or unreadable answer breaks, for the step at hand.
    """

    def __init__(self, switches: Mapping[str, Any], notes: list[str]) -> None:
        config = IsnsConfig(control_nodes=[ADMIN], policy=IsnsPolicy(**switches))
        self.config = config
        self.server = IsnsServer(config)
        self.now = BEGINNING
        self.server.start(self.now)
        self.server.connection_made(1)
        self.elsewhere: list[Send] = []
        self.about = "R4171-4.1.3-01"
        self._notes = notes
        self._transaction = 0

    def _note(self, who: str, data: bytes) -> None:
        for pdu in PduStream().feed(data):
            if len(self._notes) < NOTES:
                self._notes.append(line(who, pdu))

    def exchange(self, data: bytes) -> list[bytes]:
        """Send bytes on the connection, and take the PDUs that come back on it."""
        self._note("client:", data)
        self.server.receive(1, data, self.now)
        return self._answers()

    def _answers(self) -> list[bytes]:
        answers = []
        for send in self.server.take_output():
            self._note("server:", send.data)
            function = int.from_bytes(send.data[2:4])
            if send.connection == 1 and function not in (Function.SCN, Function.ESI):
                answers.append(send.data)
            else:
                self.elsewhere.append(send)
        return answers

    def number(self) -> int:
        """A transaction ID that no request had."""
        self._transaction += 1
        return self._transaction

    async def pdus(self, request: Request) -> list[IsnsPdu]:
        """Ask, and take the answer as it came. Raises Failed when nothing came."""
        answers = self.exchange(request.message(self.number()).encode())
        if not answers:
            raise nothing_came("a request was sent", self.about)
        return [decode_pdu(data) for data in answers]

    async def raw(self, data: bytes) -> Response:
        """Send bytes and take the answer. Raises Failed."""
        answers = self.exchange(data)
        if not answers:
            raise nothing_came("a request was sent", self.about)
        try:
            (message,) = messages(b"".join(answers))
            return response_of(message)
        except (IsnsError, ValueError) as error:
            raise Failed(self.about, f"the answer cannot be read: {error}") from None

    async def ask(self, request: Request) -> Response:
        """Ask. Raises Failed."""
        return await self.raw(request.message(self.number()).encode())

    async def datagram(self, request: Request) -> list[Send]:
        """Ask by UDP."""
        data = request.message(self.number()).encode()
        self._note("client, UDP:", data)
        self.server.datagram(PEER, data, self.now)
        sends = self.server.take_output()
        for send in sends:
            self._note("server:", send.data)
        return sends

    async def do(self, function: int, source: str, *operating: Attribute, key: Iterable[Attribute] = ()) -> Response:
        """Ask in few words."""
        return await self.ask(Request(function=function, source=name(source), key=tuple(key), operating=operating))

    async def register(
        self, source: str, *operating: Attribute, key: Iterable[Attribute] = (), replace: bool = False
    ) -> Response:
        """DevAttrReg."""
        return await self.ask(
            Request(
                function=Function.DEV_ATTR_REG,
                source=name(source),
                key=tuple(key),
                operating=operating,
                replace=replace,
            )
        )

    async def query(self, source: str, *operating: Attribute, key: Iterable[Attribute] = ()) -> Response:
        """DevAttrQry."""
        return await self.do(Function.DEV_ATTR_QRY, source, *operating, key=key)

    async def names(self, source: str) -> list[str]:
        """The nodes that the source sees."""
        return [item.text for item in (await self.query(source, *want(Tag.ISCSI_NAME))).operating]

    async def disk(self, *more: Attribute) -> Response:
        """Register a target with one portal as the entity "disk"."""
        return self._reached(await self.register(DISK, eid("disk"), *portal(), *more, *node(DISK), key=[eid("disk")]))

    async def host(self, *more: Attribute) -> Response:
        """Register an initiator as the entity "host"."""
        where = portal("192.0.2.2", 0)
        return self._reached(await self.register(HOST, eid("host"), *where, *more, *node(HOST, 2), key=[eid("host")]))

    @staticmethod
    def _reached(response: Response) -> Response:
        if response.status:
            raise Inconclusive(f"a registration that the case begins with has status {response.status}")
        return response

    async def share(self, *members: str, enabled: bool = True) -> int:
        """Put nodes into a new domain of a new set; the domain's number."""
        listed = [text(Tag.DD_MEMBER_NAME, each) for each in members]
        made = self._reached(await self.do(Function.DD_REG, ADMIN, *listed))
        domain = next((item.number for item in made.operating if item.tag == Tag.DD_ID), 1)
        status = number(Tag.DDS_STATUS, int(enabled))
        self._reached(await self.do(Function.DDS_REG, ADMIN, status, number(Tag.DD_ID, domain)))
        self.elsewhere.clear()
        return domain

    async def listener(self, bitmap: int = Scn.ADDED | Scn.REMOVED | Scn.UPDATED) -> None:
        """A host that is told by UDP of what happens in the domain that it shares with the disk."""
        await self.host(number(Tag.SCN_PORT, UDP_LISTENER))
        self._reached(await self.do(Function.SCN_REG, HOST, number(Tag.SCN_BITMAP, bitmap), key=[name(HOST)]))
        await self.share(HOST, DISK)
        await self.reconnect()

    async def reconnect(self) -> None:
        """Close the connection and open it again, so that the server knows nobody by it."""
        self.server.connection_lost(1)
        self.server.connection_made(1)
        self.elsewhere.clear()

    async def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.now + seconds
        while (due := self.server.next_deadline()) is not None and due <= end:
            self.now = max(self.now, due)
            self.server.handle_timer(self.now)
            self._answers()
        self.now = end

    def told(self) -> list[Message]:
        """SCNs since the last time, repetitions left out."""
        found: dict[int, Message] = {}
        for send in self.elsewhere:
            for message in messages(send.data):
                if message.function == Function.SCN:
                    found.setdefault(message.transaction, message)
        self.elsewhere.clear()
        return list(found.values())

    def changes(self, clause: str) -> list[Notification]:
        """What was told since the last time. Raises Failed for an SCN of another form."""
        try:
            return [notification_of(message) for message in self.told()]
        except IsnsError as error:
            raise Failed(clause, f"an SCN cannot be read: {error}") from None

    def inquiries(self) -> list[tuple[Message, Send]]:
        """ESIs since the last time."""
        asked = [(message, send) for send in self.elsewhere for message in messages(send.data)]
        self.elsewhere.clear()
        return [(message, send) for message, send in asked if message.function == Function.ESI]

    def inquiry(self, message: Message, clause: str) -> Inquiry:
        """What an ESI says. Raises Failed for one of another form."""
        try:
            return inquiry_in(message)
        except IsnsError as error:
            raise Failed(clause, f"an ESI cannot be read: {error}") from None


UDP_LISTENER = 0x10000 | 5000
"""Where the listener of `ServerBench.listener` listens, as in tag 23."""
