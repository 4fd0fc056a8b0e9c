"""A client's side of the wire: requests with their answers, repetition, and the server's own requests (RFC 4171).

There is one connection to the server, and there are those that the server opens; both are told by numbers that the shell
gives. Time is an argument.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, TypeAlias

from iscsi_protocol.isns.body import (
    DELIMITER,
    Inquiry,
    Notification,
    Request,
    Response,
    acknowledgement,
    inquiry_in,
    notification_of,
    response_of,
)
from iscsi_protocol.isns.codes import Flag, Function, Status
from iscsi_protocol.isns.description import CONFORMING, ClientPolicy
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import Assembler, IsnsPdu, Message, PduStream, decode_pdu

Peer: TypeAlias = tuple[str, int]
SERVER = 0
"""The number of the connection to the server; those that it opens have others."""


class Trouble(Enum):
    """Why a request has no answer."""

    NO_SERVER = "no server"
    NO_ANSWER = "no answer"
    BAD_ANSWER = "bad answer"
    OTHER_VERSION = "another version"
    CLOSED = "closed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A request was answered, well or not: the response's status tells."""

    token: int
    response: Response


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A request has no answer, and gets none."""

    token: int
    trouble: Trouble


@dataclass(frozen=True, kw_only=True, slots=True)
class Notified:
    """The server told of changes; it was answered."""

    notification: Notification


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquired:
    """The server asked whether a portal is there; it was answered."""

    inquiry: Inquiry


Event: TypeAlias = Answered | Failed | Notified | Inquired


@dataclass(kw_only=True)
class _Open:
    """A request without answer. left: times that it may be repeated."""

    request: Request
    transaction: int
    left: int
    due: float
    sent: bool = False


@dataclass(kw_only=True)
class _Wire:
    stream: PduStream = field(default_factory=PduStream)
    assembler: Assembler = field(default_factory=Assembler)


class IsnsClient:
    """Requests in, events out. timeout: seconds for an answer; retries: how often a request goes out again."""

    def __init__(self, *, timeout: float = 10.0, retries: int = 2, policy: ClientPolicy = CONFORMING) -> None:
        self._timeout = timeout
        self._retries = retries
        self._policy = policy
        self._open: dict[int, _Open] = {}
        self._wires: dict[int, _Wire] = {}
        self._events: deque[Event] = deque()
        self._output: list[tuple[int | Peer, bytes]] = []
        self._token = 0
        self._transaction = 0
        self._drop = False

    def submit(self, request: Request, now: float) -> int:
        """Ask the server; the token comes back in the event."""
        self._token += 1
        entry = _Open(
            request=request, transaction=self._next_transaction(), left=self._retries, due=now + self._timeout
        )
        self._open[self._token] = entry
        if SERVER in self._wires:
            self._send(entry)
        return self._token

    def _next_transaction(self) -> int:
        """A number that no open request has (R4171-5.1.5-01)."""
        if self._policy.one_transaction:
            return 1
        taken = {entry.transaction for entry in self._open.values()}
        self._transaction = self._transaction % 0xFFFF + 1
        while self._transaction in taken:
            self._transaction = self._transaction % 0xFFFF + 1
        return self._transaction

    @property
    def wants_connection(self) -> bool:
        """Whether a connection to the server is missing."""
        return bool(self._open) and SERVER not in self._wires

    @property
    def wants_close(self) -> bool:
        """Whether the connection to the server is to be closed: it does not answer, or the client takes itself as gone."""
        return self._drop and SERVER in self._wires

    def close_server(self) -> None:
        """Have the connection to the server closed (R4171-6.3.4-08)."""
        self._drop = True

    def connection_made(self, connection: int) -> None:
        """A connection is there. That to the server carries what waits, and repeats what was not answered."""
        self._wires[connection] = _Wire()
        if connection == SERVER:
            self._drop = False
            for entry in self._open.values():
                self._send(entry)

    def connect_failed(self) -> None:
        """The server cannot be reached: nothing that waits has hope."""
        for token in list(self._open):
            self._fail(token, Trouble.NO_SERVER)

    def connection_lost(self, connection: int) -> None:
        """A connection is gone. Requests go out again on the next one to the server, as often as they may."""
        del self._wires[connection]
        if connection != SERVER:
            return
        self._drop = False
        for token, entry in list(self._open.items()):
            if not entry.sent:
                continue
            if not entry.left:
                self._fail(token, Trouble.NO_ANSWER)
                continue
            entry.left -= 1
            entry.sent = False
            if self._policy.new_transaction:
                entry.transaction = self._next_transaction()

    def close(self) -> None:
        """Give up everything."""
        for token in list(self._open):
            self._fail(token, Trouble.CLOSED)

    def receive(self, connection: int, data: bytes) -> None:
        """Bytes of a connection."""
        wire = self._wires[connection]
        for pdu in wire.stream.feed(data):
            self._take(pdu, wire.assembler, connection)

    def datagram(self, peer: Peer, data: bytes) -> None:
        """A datagram at the client's port."""
        try:
            pdu = decode_pdu(data)
        except IsnsError:
            return
        self._take(pdu, Assembler(), peer)

    def take_output(self) -> list[tuple[int | Peer, bytes]]:
        """What is to be sent: on which connection, or to whom by UDP."""
        output, self._output = self._output, []
        return output

    def poll_event(self) -> Event | None:
        """What happened next."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        return min((entry.due for entry in self._open.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """Give up what has waited too long; an open connection that does not answer is closed, and the rest repeated."""
        for token, entry in list(self._open.items()):
            if entry.due > now:
                continue
            if entry.sent and entry.left:
                entry.due = now + self._timeout
                self._drop = True
            else:
                self._fail(token, Trouble.NO_ANSWER if entry.sent else Trouble.NO_SERVER)

    def _fail(self, token: int, trouble: Trouble) -> None:
        del self._open[token]
        self._events.append(Failed(token=token, trouble=trouble))

    def _send(self, entry: _Open) -> None:
        entry.sent = True
        message = entry.request.message(entry.transaction)
        if self._policy.no_delimiter:
            message = replace(message, payload=message.payload.replace(DELIMITER.encode(), b"", 1))
        self._write(message, SERVER)

    def _write(self, message: Message, where: int | Peer) -> None:
        pdus = []
        for pdu in message.pdus():
            for name, bits in self._policy.header:
                now = len(pdu.payload) if name == "length" else getattr(pdu, name)
                change: dict[str, Any] = {name: now ^ bits}
                pdu = replace(pdu, **change)
            pdus.append(pdu.encode())
        self._output.append((where, b"".join(pdus)))

    def _take(self, pdu: IsnsPdu, assembler: Assembler, where: int | Peer) -> None:
        try:
            message = assembler.add(pdu)
        except IsnsError as error:
            other = error.status == Status.VERSION_NOT_SUPPORTED
            self._bad(pdu.transaction, Trouble.OTHER_VERSION if other else Trouble.BAD_ANSWER)
            return
        if message is None:
            return
        if message.is_response:
            self._answer(message)
        else:
            self._asked(message, where)

    def _token_of(self, transaction: int) -> int | None:
        return next((token for token, entry in self._open.items() if entry.transaction == transaction), None)

    def _bad(self, transaction: int, trouble: Trouble) -> None:
        token = self._token_of(transaction)
        if token is not None:
            self._fail(token, trouble)

    def _answer(self, message: Message) -> None:
        token = self._token_of(message.transaction)
        if token is None:
            return
        try:
            response = response_of(message)
        except IsnsError:
            self._fail(token, Trouble.BAD_ANSWER)
            return
        if response.function != self._open[token].request.function:
            self._fail(token, Trouble.BAD_ANSWER)
            return
        del self._open[token]
        self._events.append(Answered(token=token, response=response))

    def _asked(self, message: Message, where: int | Peer) -> None:
        """A notification or an inquiry is confirmed (R4171-5.7.5.8-01, R4171-5.7.5.13-01); anything else is refused."""
        if message.function == Function.HEARTBEAT:
            return
        try:
            self._events.append(_told(message))
            status = Status.SUCCESSFUL
        except IsnsError as error:
            status = error.status
        if self._policy.silent:
            return
        answer = acknowledgement(message, status=status)
        if status == Status.FUNCTION_NOT_SUPPORTED or self._policy.bare_answers:
            answer = replace(answer, payload=int(status).to_bytes(4))
        if self._policy.other_answers:
            answer = replace(answer, transaction=answer.transaction ^ 1)
        self._write(replace(answer, flags=Flag.CLIENT), where)


def _told(message: Message) -> Event:
    """Raises IsnsError."""
    if message.function == Function.SCN:
        return Notified(notification=notification_of(message))
    if message.function == Function.ESI:
        return Inquired(inquiry=inquiry_in(message))
    raise IsnsError(Status.FUNCTION_NOT_SUPPORTED, "R4171-5.4-04", f"function {message.function:#x}")
