"""The names and attributes that cases about iSNS speak in, and what they expect."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_conformance.verdict import Failed, require
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Response, decode_body
from iscsi_protocol.isns.codes import function_name, status_name
from iscsi_protocol.isns.pdu import Assembler, IsnsPdu, Message, PduStream
from iscsi_protocol.isns.tlv import Attribute, address, number, text

DISK = "iqn.2026-11.org.iscsi-conformance:disk"
HOST = "iqn.2026-11.org.iscsi-conformance:host"
OTHER = "iqn.2026-11.org.iscsi-conformance:other"
ADMIN = "iqn.2026-11.org.iscsi-conformance:admin"
LATER = "iqn.2026-11.org.iscsi-conformance:later"
UDP = 0x10000
NOTES = 40
"""Lines of what crossed that a result keeps."""


def name(value: str) -> Attribute:
    """An iSCSI name."""
    return text(Tag.ISCSI_NAME, value)


def eid(value: str = "") -> Attribute:
    """An entity identifier, empty without value."""
    return text(Tag.EID, value) if value else Attribute(Tag.EID)


def portal(host: str = "192.0.2.1", port: int = 3260) -> tuple[Attribute, Attribute]:
    """The two keys of a portal."""
    return address(Tag.PORTAL_ADDRESS, host), number(Tag.PORTAL_PORT, port)


def node(value: str, type_: int = 1) -> tuple[Attribute, Attribute]:
    """A node with its type."""
    return name(value), number(Tag.NODE_TYPE, type_)


def want(*tags: int) -> tuple[Attribute, ...]:
    """Attributes that are asked for."""
    return tuple(Attribute(tag) for tag in tags)


def values(response: Response, tag: int) -> list[Attribute]:
    """The attributes of one tag behind the delimiter."""
    return [item for item in response.operating if item.tag == tag]


def tags(attributes: Iterable[Attribute]) -> list[int]:
    """Their tags."""
    return [item.tag for item in attributes]


def expect(response: Response, clause: str, *statuses: int, what: str) -> Response:
    """The response, if its status is one of these. Raises Failed."""
    allowed = statuses or (0,)
    require(response.status in allowed, clause, what, seen=status_name(response.status))
    return response


def require_each(clauses: Iterable[str], condition: object, reason: str, *, seen: object = "") -> None:
    """Raise Failed for all of these requirements, which say the same, unless the condition holds."""
    if not condition:
        first, *others = clauses
        raise Failed(first, reason, seen=str(seen), also=others)


def expect_each(clauses: Iterable[str], response: Response, *statuses: int, what: str) -> None:
    """Raise Failed for all of these requirements unless the response has one of the statuses, 0 where none is given."""
    require_each(clauses, response.status in (statuses or (0,)), what, seen=status_name(response.status))


def require_rows(rows: Iterable[tuple[str, object, str]]) -> None:
    """Raise Failed for the requirements of all rows (requirement, condition, in words) whose condition does not hold."""
    broken = [(clause, reason) for clause, condition, reason in rows if not condition]
    if broken:
        raise Failed(broken[0][0], broken[0][1], also=[clause for clause, _ in broken[1:]])


def messages(data: bytes, assembler: Assembler | None = None) -> list[Message]:
    """The messages that these bytes are. Raises IsnsError."""
    assembler = assembler or Assembler()
    return [message for pdu in PduStream().feed(data) if (message := assembler.add(pdu)) is not None]


def line(who: str, pdu: IsnsPdu) -> str:
    """A PDU on one line, for the evidence."""
    body = decode_body(Message(function=pdu.function, transaction=pdu.transaction, payload=pdu.payload))
    status = "" if body.status is None else f" {status_name(body.status)}"
    shown = " ".join(str(item) for item in (*body.before, *(body.behind or ()))[:12])
    return f"{who} {function_name(pdu.function)} {pdu.transaction}.{pdu.sequence}{status} {shown}"


def nothing_came(what: str, clause: str) -> Failed:
    """The failure of a product that stays silent."""
    return Failed(clause, f"{what}, and nothing came")
