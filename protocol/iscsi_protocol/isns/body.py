"""Payloads: what stands before and behind the delimiter, the status of a response, and how a request is judged
(RFC 4171 5.6, 5.7).

`Body` keeps whatever came; `request_of` and `response_of` are strict and say how to answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.codes import FROM_SERVER, RESPONSE, Flag, Function, Status, function_name
from iscsi_protocol.isns.errors import IsnsError, malformed
from iscsi_protocol.isns.pdu import Message
from iscsi_protocol.isns.tlv import Attribute, address_text, check_attribute, decode_all, encode_all, number, text

Attributes: TypeAlias = tuple[Attribute, ...]
DELIMITER = Attribute(Tag.DELIMITER)
SOURCES = (Tag.ISCSI_NAME, Tag.WWPN)
"""What identifies who asks (5.6.1)."""

_NO_DELIMITER = frozenset({Function.SCN, Function.ESI})
_NO_KEY = frozenset({Function.DEV_DEREG})
_ONE_NODE = frozenset({Function.SCN_REG, Function.SCN_DEREG, Function.SCN_EVENT})


@dataclass(frozen=True, kw_only=True, slots=True)
class Body:
    """A payload taken apart, nothing lost. status: of a response; behind: None without a delimiter; rest: no attribute."""

    status: int | None
    before: Attributes
    behind: Attributes | None
    rest: bytes

    def encode(self) -> bytes:
        """The payload."""
        parts = [] if self.status is None else [self.status.to_bytes(4)]
        parts.append(encode_all(self.before))
        if self.behind is not None:
            parts += [DELIMITER.encode(), encode_all(self.behind)]
        return b"".join([*parts, self.rest])


def decode_body(message: Message) -> Body:
    """Take a payload apart. A response too short for a status has none."""
    payload = message.payload
    status = None
    if message.is_response and len(payload) >= 4:
        status, payload = int.from_bytes(payload[:4]), payload[4:]
    attributes, rest = decode_all(payload)
    if DELIMITER not in attributes:
        return Body(status=status, before=attributes, behind=None, rest=rest)
    at = attributes.index(DELIMITER)
    return Body(status=status, before=attributes[:at], behind=attributes[at + 1 :], rest=rest)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request of the usual form: source, message key, delimiter, operating attributes (R4171-5.6-01)."""

    function: int
    source: Attribute
    key: Attributes = ()
    operating: Attributes = ()
    replace: bool = False

    def message(self, transaction: int) -> Message:
        """The message of a client that carries it."""
        payload = encode_all([self.source, *self.key, DELIMITER, *self.operating])
        flags = Flag.CLIENT | (Flag.REPLACE if self.replace else 0)
        return Message(function=self.function, transaction=transaction, flags=flags, payload=payload)


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """A response: status, and, where the function has them, message key and operating attributes."""

    function: int
    status: int = Status.SUCCESSFUL
    key: Attributes = ()
    operating: Attributes = ()
    delimited: bool = True

    def message(self, transaction: int, *, flags: int = Flag.SERVER) -> Message:
        """The message that carries it. flags: who answers."""
        attributes = [*self.key, *((DELIMITER,) if self.delimited else ()), *self.operating]
        payload = self.status.to_bytes(4) + encode_all(attributes)
        return Message(function=self.function | RESPONSE, transaction=transaction, flags=flags, payload=payload)


def request_of(message: Message) -> Request:
    """Judge a request of a client.

    Raises IsnsError: 15 for a function that is none or is a server's, 2 for what breaks the form, 7 without a source, 18 for
    an attribute that is not implemented.
    """
    _check_function(message.function)
    body = decode_body(message)
    if body.rest:
        raise malformed("R4171-5.4-03", f"the payload ends within an attribute, {len(body.rest)} bytes are left over")
    if body.behind is None:
        raise malformed("R4171-5.6.3-01", "there is no delimiter")
    if not body.before or body.before[0].tag not in SOURCES or body.before[0].empty:
        raise IsnsError(Status.SOURCE_ABSENT, "R4171-5.6.1-03", "the message names no source")
    source, *key = body.before
    for attribute in (source, *key, *body.behind):
        if attribute.tag == Tag.DELIMITER:
            raise malformed("R4171-5.6.3-01", "there is more than one delimiter")
        if attribute.tag != Tag.WWPN:
            check_attribute(attribute)
    if key and message.function in _NO_KEY:
        raise malformed("R4171-5.6.5.4-02", f"{function_name(message.function)} has no message key")
    if message.function in _ONE_NODE and [attribute.tag for attribute in key] != [Tag.ISCSI_NAME]:
        raise malformed("R4171-5.6.5.5-03", f"{function_name(message.function)} names one node")
    return Request(
        function=message.function,
        source=source,
        key=tuple(key),
        operating=body.behind,
        replace=bool(message.flags & Flag.REPLACE),
    )


def _check_function(function: int) -> None:
    known = function in Function.__members__.values()
    if not known or function in FROM_SERVER or function >= Function.RQST_DOM_ID:
        raise IsnsError(Status.FUNCTION_NOT_SUPPORTED, "R4171-5.4-04", function_name(function))


def response_of(message: Message) -> Response:
    """Judge a response. Raises IsnsError for one that has no status or does not consist of attributes."""
    body = decode_body(message)
    if body.status is None:
        raise malformed("R4171-5.4-01", f"{function_name(message.function)} without status")
    if body.rest:
        raise malformed("R4171-5.4-03", f"{function_name(message.function)} ends within an attribute")
    function = message.function & ~RESPONSE
    if function in _NO_DELIMITER or body.behind is None:
        return Response(function=function, status=body.status, key=body.before, delimited=False)
    return Response(function=function, status=body.status, key=body.before, operating=body.behind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One notification within an SCN. bitmap: what happened; objects: node, DD and DDS it happened to."""

    bitmap: int
    objects: Attributes = ()

    @property
    def name(self) -> str | None:
        """The node concerned, None where there is none."""
        return next((item.text for item in self.objects if item.tag == Tag.ISCSI_NAME), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """A state change notification (5.6.5.8). destination: the node that it is for; timestamp: seconds since 1970."""

    destination: str
    timestamp: int
    changes: tuple[Change, ...]

    def message(self, transaction: int) -> Message:
        """The message of a server that carries it."""
        attributes = [text(Tag.ISCSI_NAME, self.destination), number(Tag.TIMESTAMP, self.timestamp)]
        for change in self.changes:
            attributes += [number(Tag.SCN_BITMAP, change.bitmap), *change.objects]
        return Message(
            function=Function.SCN, transaction=transaction, flags=Flag.SERVER, payload=encode_all(attributes)
        )


def notification_of(message: Message) -> Notification:
    """Judge an SCN. Raises IsnsError (2) for anything else than destination, timestamp and changes (R4171-5.6.5.8-03)."""
    attributes = _plain(message)
    if [item.tag for item in attributes[:3]] != [Tag.ISCSI_NAME, Tag.TIMESTAMP, Tag.SCN_BITMAP]:
        raise malformed("R4171-5.6.5.8-03", "an SCN begins with destination, timestamp and bitmap")
    changes: list[Change] = []
    for item in attributes[2:]:
        if item.tag == Tag.SCN_BITMAP:
            changes.append(Change(bitmap=item.number))
        else:
            last = changes.pop()
            changes.append(Change(bitmap=last.bitmap, objects=(*last.objects, item)))
    return Notification(destination=attributes[0].text, timestamp=attributes[1].number, changes=tuple(changes))


@dataclass(frozen=True, kw_only=True, slots=True)
class Inquiry:
    """An entity status inquiry (5.6.5.13). address: 16 bytes; port: as in tag 17."""

    timestamp: int
    eid: str
    address: bytes
    port: int

    @property
    def attributes(self) -> Attributes:
        """In the order that the standard asks for (R4171-5.6.5.13-01)."""
        return (
            number(Tag.TIMESTAMP, self.timestamp),
            text(Tag.EID, self.eid),
            Attribute(Tag.PORTAL_ADDRESS, self.address),
            number(Tag.PORTAL_PORT, self.port),
        )

    def message(self, transaction: int) -> Message:
        """The message of a server that carries it."""
        payload = encode_all(self.attributes)
        return Message(function=Function.ESI, transaction=transaction, flags=Flag.SERVER, payload=payload)


_INQUIRY = (Tag.TIMESTAMP, Tag.EID, Tag.PORTAL_ADDRESS, Tag.PORTAL_PORT)


def inquiry_of(attributes: Iterable[Attribute]) -> Inquiry:
    """Judge the attributes of an ESI or of its response. Raises IsnsError (2) for others or another order."""
    found = tuple(attributes)
    if tuple(item.tag for item in found) != _INQUIRY:
        raise malformed("R4171-5.6.5.13-01", "an ESI has timestamp, EID, portal address and portal port")
    address_text(found[2].value)
    return Inquiry(timestamp=found[0].number, eid=found[1].text, address=found[2].value, port=found[3].number)


def inquiry_in(message: Message) -> Inquiry:
    """Judge an ESI. Raises IsnsError (2)."""
    return inquiry_of(_plain(message))


def _plain(message: Message) -> Attributes:
    attributes, rest = decode_all(message.payload)
    if rest:
        raise malformed("R4171-5.4-03", f"{function_name(message.function)} ends within an attribute")
    return attributes


def acknowledgement(message: Message, *, status: int = Status.SUCCESSFUL) -> Message:
    """A client's answer to an SCN (its destination) or an ESI (all of it) (R4171-5.7.5.8-01, R4171-5.7.5.13-01)."""
    attributes, _ = decode_all(message.payload)
    kept = attributes[:1] if message.function == Function.SCN else attributes
    answer = Response(function=message.function, status=status, key=kept, delimited=False)
    return answer.message(message.transaction, flags=Flag.CLIENT)
