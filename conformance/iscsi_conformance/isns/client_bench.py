"""An iSNS client in memory, with a scripted server in front of it that lets the case answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iscsi_conformance.isns.words import NOTES, line, nothing_came
from iscsi_conformance.verdict import Inconclusive
from iscsi_protocol.isns.agent import IsnsAgent
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Body, Request, Response, decode_body
from iscsi_protocol.isns.client import SERVER, Peer, Trouble
from iscsi_protocol.isns.codes import NodeType, Scn
from iscsi_protocol.isns.description import ClientPolicy, Description, NodeSpec, PortalSpec, Writer
from iscsi_protocol.isns.pdu import IsnsPdu, Message, PduStream
from iscsi_protocol.isns.registrar import Report
from iscsi_protocol.isns.tlv import Attribute, number, text

TIMEOUT = 10.0
PERIOD = 600
TYPED = "iqn.2026-11.org.iscsi-conformance:HOST"
"""The client's name as its user typed it."""
EID = "Host"
"""Its entity identifier, likewise."""
SCN_PORT = 0x10000 | 5000
ESI_PORT = 0x10000 | 5001


class ClientBench:
    """A client under test and what it did. `connected` tells whether it has a connection to the server."""

    def __init__(self, switches: Mapping[str, Any], notes: list[str]) -> None:
        self.policy = ClientPolicy(**switches)
        self.agent = IsnsAgent(self, tell=self._told, timeout=TIMEOUT, retries=2, policy=self.policy)
        self.writer = Writer(self.policy)
        self.sent: list[tuple[int | Peer, IsnsPdu]] = []
        self.reports: list[Report] = []
        self.outcomes: list[Response | Trouble] = []
        self.connected = False
        self.closed = 0
        self.time = 0.0
        self._alarm: float | None = None
        self._notes = notes
        self._wanted = False

    def now(self) -> float:
        """See `Ground`."""
        return self.time

    def connect(self) -> None:
        """See `Ground`: the connection is there at the next step."""
        self._wanted = True

    def write(self, connection: int, data: bytes) -> None:
        """See `Ground`."""
        self._sent(connection, data)

    def send_datagram(self, peer: Peer, data: bytes) -> None:
        """See `Ground`."""
        self._sent(peer, data)

    def close_connection(self, connection: int) -> None:
        """See `Ground`."""
        self.closed += 1
        self.connected = False
        self.agent.connection_lost(connection)

    def wake_at(self, deadline: float | None) -> None:
        """See `Ground`."""
        self._alarm = deadline

    def _sent(self, where: int | Peer, data: bytes) -> None:
        for pdu in PduStream().feed(data):
            self.sent.append((where, pdu))
            if len(self._notes) < NOTES:
                self._notes.append(line("client:", pdu))

    def _told(self, report: Report) -> None:
        self.reports.append(report)

    def settle(self) -> None:
        """Give the client the connection that it waits for."""
        while self._wanted:
            self._wanted = False
            self.connected = True
            self.agent.connection_made(SERVER)

    def description(self, **changes: Any) -> Description:
        """What the client registers, unless `changes` say otherwise."""
        fields: dict[str, Any] = {
            "eid": EID,
            "portals": (PortalSpec(address="192.0.2.2", port=0, esi=ESI_PORT, esi_interval=60, scn=SCN_PORT, tag=1),),
            "nodes": (
                NodeSpec(
                    name=TYPED, type=NodeType.INITIATOR, alias="me", bitmap=Scn.ADDED | Scn.REMOVED | Scn.TARGET_ONLY
                ),
            ),
            "period": PERIOD,
        }
        return Description(**{**fields, **changes})

    async def register(self, **changes: Any) -> IsnsPdu:
        """Have the client register; its request."""
        self.agent.register(self.description(**changes))
        self.settle()
        return self.last("R4171-4.1.3-02")

    async def registered(self, **changes: Any) -> None:
        """Have it register, and let it."""
        first = await self.register(**changes)
        await self.answer(first, text(Tag.EID, EID.lower()), number(Tag.REGISTRATION_PERIOD, PERIOD))
        if self.sent:
            await self.answer(self.last("R4171-6.3.7-01"))

    async def ask(self, request: Request) -> None:
        """Have it ask."""
        self.agent.ask(request, self.outcomes.append)
        self.settle()

    async def answer(self, pdu: IsnsPdu, *operating: Attribute, status: int = 0) -> None:
        """Answer a request of the client."""
        response = Response(function=pdu.function, status=status, operating=operating)
        await self.receive(response.message(pdu.transaction))

    async def receive(self, message: Message, connection: int = SERVER) -> None:
        """Let the client have a message."""
        data = message.encode()
        for pdu in PduStream().feed(data):
            if len(self._notes) < NOTES:
                self._notes.append(line("server:", pdu))
        self.agent.receive(connection, data)
        self.settle()

    async def datagram(self, message: Message) -> None:
        """Let it have a datagram."""
        self.agent.datagram(("192.0.2.200", 3205), message.encode())
        self.settle()

    async def wait(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.time + seconds
        while self._alarm is not None and self._alarm <= end:
            self.time = max(self.time, self._alarm)
            self._alarm = None
            self.agent.wake()
            self.settle()
        self.time = end

    def last(self, clause: str) -> IsnsPdu:
        """The PDU that the client sent, the only one since the last time. Raises Failed, Inconclusive."""
        if not self.sent:
            raise nothing_came("the client had something to send", clause)
        if len(self.sent) > 1:
            raise Inconclusive(f"the client sent {len(self.sent)} PDUs at once")
        return self.sent.pop()[1]

    @staticmethod
    def body(pdu: IsnsPdu) -> Body:
        """The payload of a PDU taken apart."""
        return decode_body(Message(function=pdu.function, transaction=pdu.transaction, payload=pdu.payload))
