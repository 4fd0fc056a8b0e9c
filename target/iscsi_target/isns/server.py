"""The iSNS server's engine: messages in, messages out, with time as an argument (RFC 4171)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Body, Inquiry, Notification, Request, Response, decode_body, request_of
from iscsi_protocol.isns.codes import RESPONSE, Function, Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.pdu import Assembler, IsnsPdu, Message, PduStream, decode_pdu
from iscsi_protocol.isns.tlv import UDP_PORT, address_text
from iscsi_target.isns import domains, notify, query, registration
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.inquiry import Inquiries, bury
from iscsi_target.isns.removal import remove_entity, remove_if_empty
from iscsi_target.isns.scope import Realm
from iscsi_target.isns.store import Change, Portal, PortalKey, Store

Address: TypeAlias = tuple[str, int]
"""Host and port."""

BARE = frozenset({Function.SCN_REG, Function.SCN_DEREG, Function.SCN_EVENT, Function.DD_DEREG, Function.DDS_DEREG})
"""Functions whose response is a status alone (R4171-5.7.5.5-01)."""
REMEMBERED = 256
"""Answers to datagrams that are kept for requests that come again, and peers whose messages may be unfinished."""
DATAGRAM_LIMIT = 1 << 20
"""Bytes of a message that comes in datagrams."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Send:
    """Bytes to go out: on a connection that is there, in a datagram, or on a connection to be opened to `tcp`."""

    data: bytes
    connection: int | None = None
    udp: Address | None = None
    tcp: Address | None = None


@dataclass(kw_only=True)
class _Pending:
    """A notification that was not confirmed yet."""

    sends: list[Send]
    due: float
    left: int


@dataclass(kw_only=True)
class _Connection:
    stream: PduStream
    assembler: Assembler


class IsnsServer:
    """Feed it with what comes; take what goes out, and what has to be on disk before that goes out."""

    def __init__(self, config: IsnsConfig, store: Store | None = None) -> None:
        self.realm = Realm(store=Store() if store is None else store, config=config)
        self._inquiries = Inquiries(self.realm)
        self._connections: dict[int, _Connection] = {}
        self._datagrams: OrderedDict[Address, Assembler] = OrderedDict()
        self._speakers: dict[str, int] = {}
        self._pending: dict[int, _Pending] = {}
        self._answered: OrderedDict[tuple[Address, bytes], list[Send]] = OrderedDict()
        self._transaction = 0
        self._output: list[Send] = []
        self._changes: list[Change] = []

    def start(self, now: float) -> None:
        """Begin with what the store holds: every registration counts from now."""
        for eid in self.realm.store.entities:
            self.realm.seen[eid] = self.realm.registered[eid] = now
        self._inquiries.follow(now)

    def connection_made(self, connection: int) -> None:
        """A TCP connection, accepted or opened for `Send.tcp`."""
        self._connections[connection] = _Connection(stream=PduStream(), assembler=Assembler())

    def connection_lost(self, connection: int) -> None:
        """A TCP connection is gone."""
        del self._connections[connection]
        self._speakers = {name: each for name, each in self._speakers.items() if each != connection}

    def receive(self, connection: int, data: bytes, now: float) -> None:
        """Bytes of a connection."""
        state = self._connections[connection]
        for pdu in state.stream.feed(data):
            self._take(pdu, state.assembler, lambda out: Send(data=out, connection=connection), now, connection)

    def datagram(self, peer: Address, data: bytes, now: float) -> None:
        """One datagram. A request that comes again gets the answer that it got (R4171-5.1.5-03)."""
        again = self._answered.get((peer, data))
        if again is not None:
            self._output += again
            return
        try:
            pdu = decode_pdu(data)
        except IsnsError:
            return
        before = len(self._output)
        assembler = self._datagrams.setdefault(peer, Assembler(DATAGRAM_LIMIT))
        if len(self._datagrams) > REMEMBERED:
            self._datagrams.popitem(last=False)
        self._take(pdu, assembler, lambda out: Send(data=out, udp=peer), now, None)
        answer = [send for send in self._output[before:] if send.udp == peer]
        if answer and not pdu.function & RESPONSE:
            self._answered[peer, data] = answer
            if len(self._answered) > REMEMBERED:
                self._answered.popitem(last=False)

    def take_output(self) -> list[Send]:
        """What is to be sent, after `take_changes` is safe."""
        output, self._output = self._output, []
        return output

    def take_changes(self) -> list[Change]:
        """Rows to be written, all or none."""
        changes, self._changes = self._changes, []
        return changes

    def next_deadline(self) -> float | None:
        """When `handle_timer` has something to do."""
        deadlines = [pending.due for pending in self._pending.values()]
        inquiry = self._inquiries.next_deadline()
        if inquiry is not None:
            deadlines.append(inquiry)
        if not self.realm.policy.ignore_period:
            entities = self.realm.store.entities.rows()
            deadlines += [self.realm.seen[row.eid] + row.period for row in entities if row.period]
        return min(deadlines, default=None)

    def handle_timer(self, now: float) -> None:
        """Expire registrations, inquire, repeat notifications."""
        self._expire(now)
        ask, dead = self._inquiries.due(now)
        for portal, watch in ask:
            if watch.sent == 1 or self.realm.policy.new_transaction:
                watch.transaction = self._next_transaction()
            self._inquire(portal, watch.transaction, now)
        for portal in dead:
            bury(self.realm, portal, now)
            remove_if_empty(self.realm, portal.eid)
        if dead:
            self._commit(now)
        for transaction, pending in list(self._pending.items()):
            if pending.due > now:
                continue
            if not pending.left:
                del self._pending[transaction]
                continue
            pending.left -= 1
            pending.due = now + self.realm.config.scn_retry_interval
            self._output += pending.sends

    def administer(self, work: Callable[[Realm], Response], now: float) -> Response:
        """Do something on the administrator's behalf, as a whole or not at all. Raises IsnsError."""
        try:
            response = work(self.realm)
        except IsnsError:
            self.realm.store.rollback()
            raise
        self._commit(now)
        return response

    def _expire(self, now: float) -> None:
        """R4171-6.2.6-03."""
        if self.realm.policy.ignore_period:
            return
        gone = [
            entity.eid
            for entity in self.realm.store.entities.rows()
            if entity.period and self.realm.seen[entity.eid] + entity.period <= now
        ]
        for eid in gone:
            remove_entity(self.realm, eid)
        if gone:
            self._commit(now)

    def _take(
        self,
        pdu: IsnsPdu,
        assembler: Assembler,
        reply: Callable[[bytes], Send],
        now: float,
        connection: int | None,
    ) -> None:
        try:
            message = assembler.add(pdu)
        except IsnsError as error:
            if not pdu.function & RESPONSE:
                self._say(Response(function=pdu.function, status=error.status, delimited=False), pdu.transaction, reply)
            return
        if message is None:
            return
        if message.is_response:
            self._answer(message, now)
        else:
            self._request(message, reply, now, connection)

    def _answer(self, message: Message, now: float) -> None:
        """The answer to an ESI or SCN."""
        self._pending.pop(message.transaction, None)
        eid = self._inquiries.answered(message.transaction, now)
        if eid is not None and not self.realm.policy.expire_despite_esi:
            self.realm.seen[eid] = now

    def _request(self, message: Message, reply: Callable[[bytes], Send], now: float, connection: int | None) -> None:
        if message.function in self.realm.policy.silent_functions:
            return
        request: Request | None = None
        event: tuple[str, int] | None = None
        try:
            request = request_of(message)
            response, event = self._carry_out(request, now)
        except IsnsError as error:
            response = self._refusal(message.function, error.status, request)
        if response.status and not self.realm.policy.keep_failed_changes:
            self.realm.store.rollback()
        if request is not None:
            self._heard(request, now, connection)
        self._say(response, message.transaction, reply)
        self._commit(now, event)

    def _refusal(self, function: int, status: Status, request: Request | None) -> Response:
        if request is None or function in BARE:
            return Response(function=function, status=status, delimited=False)
        return Response(function=function, status=status, key=request.key)

    def _carry_out(self, request: Request, now: float) -> tuple[Response, tuple[str, int] | None]:
        if request.function == Function.DEV_ATTR_REG:
            return registration.register(self.realm, request, now), None
        if request.function == Function.SCN_EVENT:
            response, name, bits = notify.notification_event(self.realm, request)
            return response, (name, bits)
        return _WORK[request.function](self.realm, request), None

    def _heard(self, request: Request, now: float, connection: int | None) -> None:
        """Any message of a node refreshes the registration of its entity (R4171-6.2.6-04, R4171-6.2.4-02)."""
        if request.source.tag != Tag.ISCSI_NAME:
            return
        try:
            name = self.realm.name(request.source)
        except IsnsError:
            return
        node = self.realm.store.nodes.get(name)
        if node is None:
            return
        if not self.realm.policy.expire_regardless:
            self.realm.seen[node.eid] = now
        if connection is not None:
            self._speakers[name] = connection

    def _commit(self, now: float, event: tuple[str, int] | None = None) -> None:
        """Keep what changed, and tell those concerned."""
        changes = self.realm.store.commit()
        self._changes += changes
        if changes or event:
            self._forget()
            self._inquiries.follow(now)
            happening = notify.happening_of(self.realm, changes, event)
            for notification in notify.notifications_of(self.realm, happening, now):
                self._notify(notification, happening.subjects, now)
        self.realm.reborn.clear()

    def _forget(self) -> None:
        entities = self.realm.store.entities
        for times in (self.realm.seen, self.realm.registered):
            for eid in [each for each in times if each not in entities]:
                del times[eid]

    def _next_transaction(self) -> int:
        """A number that no request of this server has that is still open (R4171-5.1.5-01)."""
        self._transaction = self._transaction % 0xFFFF + 1
        while self._transaction in self._pending:
            self._transaction = self._transaction % 0xFFFF + 1
        return self._transaction

    def _notify(self, notification: Notification, subjects: set[PortalKey], now: float) -> None:
        """By the connection that the node speaks on, or to one of its portals (R4171-5.6.5.8-01)."""
        transaction = self._next_transaction()
        message = notification.message(transaction)
        if self.realm.policy.scn_bitmap_last:
            message = _swapped(message, 2, 3)
        speaker = self._speakers.get(notification.destination)
        portal = None if speaker else notify.notification_portal(self.realm, notification.destination, subjects)
        if speaker is None and portal is None:
            return
        sends = self._sends(message, speaker, portal, Tag.SCN_PORT)
        self._output += sends
        config = self.realm.config
        due = now + config.scn_retry_interval
        left = config.scn_retries if sends[0].udp else 0
        self._pending[transaction] = _Pending(sends=sends, due=due, left=left)

    def _inquire(self, portal: Portal, transaction: int, now: float) -> None:
        inquiry = Inquiry(timestamp=int(now), eid=portal.eid, address=portal.address, port=portal.port)
        message = inquiry.message(transaction)
        if self.realm.policy.scrambled_inquiries:
            message = _swapped(message, 0, 1)
        self._output += self._sends(message, None, portal, Tag.ESI_PORT)

    def _sends(self, message: Message, speaker: int | None, portal: Portal | None, tag: Tag) -> list[Send]:
        if speaker is not None or portal is None:
            return [Send(data=data, connection=speaker) for data in [b"".join(self._pdus(message))]]
        port = int.from_bytes(portal.values[tag])
        where = address_text(portal.address), port & 0xFFFF
        if port & UDP_PORT:
            return [Send(data=data, udp=where) for data in self._pdus(message)]
        return [Send(data=b"".join(self._pdus(message)), tcp=where)]

    def _say(self, response: Response, transaction: int, reply: Callable[[bytes], Send]) -> None:
        policy = self.realm.policy
        function = response.function & ~RESPONSE
        response = replace(
            response,
            status=policy.answers.get((function, response.status), response.status),
            key=() if function in policy.without_key else response.key,
            operating=tuple(item for item in response.operating if (function, item.tag) not in policy.leaves_out),
        )
        for data in self._pdus(response.message(transaction)):
            self._output.append(reply(data))

    def _pdus(self, message: Message) -> Iterable[bytes]:
        policy = self.realm.policy
        for pdu in message.pdus():
            if policy.same_sequence:
                pdu = replace(pdu, sequence=0)
            for name, bits in policy.xor_header.items():
                now = len(pdu.payload) if name == "length" else getattr(pdu, name)
                change: dict[str, Any] = {name: now ^ bits}
                pdu = replace(pdu, **change)
            yield pdu.encode()


_WORK: dict[int, Callable[[Realm, Request], Response]] = {
    Function.DEV_ATTR_QRY: query.query,
    Function.DEV_GET_NEXT: query.get_next,
    Function.DEV_DEREG: registration.deregister,
    Function.SCN_REG: notify.register_notifications,
    Function.SCN_DEREG: notify.deregister_notifications,
    Function.DD_REG: domains.register_domain,
    Function.DD_DEREG: domains.deregister_domain,
    Function.DDS_REG: domains.register_set,
    Function.DDS_DEREG: domains.deregister_set,
}


def _swapped(message: Message, one: int, other: int) -> Message:
    """The message with two of its attributes changing places."""
    body: Body = decode_body(message)
    attributes = list(body.before)
    attributes[one], attributes[other] = attributes[other], attributes[one]
    return replace(message, payload=replace(body, before=tuple(attributes)).encode())
