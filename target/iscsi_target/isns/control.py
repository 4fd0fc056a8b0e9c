"""Managing discovery domains beside the protocol: JSON lines, each an operation with its answer (RFC 4171 2.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Attributes, Request
from iscsi_protocol.isns.codes import Function
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import UDP_PORT, Attribute, address, address_text, number, text
from iscsi_target.config import host_and_port
from iscsi_target.isns import domains
from iscsi_target.isns.scope import ENABLED
from iscsi_target.isns.server import IsnsServer
from iscsi_target.isns.store import PortalKey

Answer: TypeAlias = dict[str, Any]

ADMINISTRATOR = text(Tag.ISCSI_NAME, "iqn.2026-11.org.iscsi-conformance:administrator")


class _Op(msgspec.Struct, tag_field="op", forbid_unknown_fields=True, kw_only=True):
    """An operation."""


class List(_Op, tag="list"):
    """Everything there is: domains and sets."""


class Nodes(_Op, tag="nodes"):
    """The nodes that are registered."""


class PutDomain(_Op, tag="put-domain"):
    """Create a domain (without number), or name it anew and add members. portals: HOST:PORT, with /udp for UDP."""

    number: int | None = None
    name: str = ""
    nodes: list[str] = []
    portals: list[str] = []


class TakeDomain(_Op, tag="take-domain"):
    """Remove members of a domain, or all of it where none are given."""

    number: int
    nodes: list[str] = []
    portals: list[str] = []


class PutSet(_Op, tag="put-set"):
    """Create a set (without number), or name it anew, enable or disable it, and add domains."""

    number: int | None = None
    name: str = ""
    enabled: bool | None = None
    domains: list[int] = []


class TakeSet(_Op, tag="take-set"):
    """Remove domains of a set, or all of it where none are given."""

    number: int
    domains: list[int] = []


_Any: TypeAlias = List | Nodes | PutDomain | TakeDomain | PutSet | TakeSet


def carry_out(engine: IsnsServer, line: bytes, now: float) -> Answer:
    """Do what a line says. The answer has `status` 0, or the code of the protocol and a `message`; 2 for no operation."""
    try:
        operation = msgspec.json.decode(line, type=_Any)
    except msgspec.MsgspecError as error:
        return {"status": 2, "message": str(error)}
    try:
        return {"status": 0, **_DO[type(operation)](engine, operation, now)}
    except IsnsError as error:
        return {"status": int(error.status), "message": error.reason}
    except (ValueError, OverflowError) as error:
        return {"status": 3, "message": str(error)}


def portal_text(key: PortalKey) -> str:
    """A portal as an operation names it."""
    host, port = address_text(key[0]), key[1]
    shown = f"[{host}]" if ":" in host else host
    return f"{shown}:{port & 0xFFFF}{'/udp' if port & UDP_PORT else ''}"


def _portal(text_: str) -> list[Attribute]:
    """Raises ValueError."""
    where, _, kind = text_.partition("/")
    host, port = host_and_port(where)
    if kind not in ("", "tcp", "udp"):
        raise ValueError(f"{text_}: a portal is HOST:PORT, HOST:PORT/tcp or HOST:PORT/udp")
    return [
        address(Tag.DD_MEMBER_ADDRESS, host),
        number(Tag.DD_MEMBER_PORT, port | (UDP_PORT if kind == "udp" else 0)),
    ]


def _members(operation: PutDomain | TakeDomain) -> list[Attribute]:
    members = [text(Tag.DD_MEMBER_NAME, name) for name in operation.nodes]
    return members + [item for portal in operation.portals for item in _portal(portal)]


def _key(tag: Tag, given: int | None) -> Attributes:
    return () if given is None else (number(tag, given),)


def _list(engine: IsnsServer, _operation: Any, _now: float) -> Answer:
    store = engine.realm.store
    return {
        "domains": [
            {
                "number": row.number,
                "name": row.name,
                "features": row.features,
                "nodes": list(row.nodes),
                "portals": [portal_text(key) for key in row.portals],
            }
            for row in store.domains.rows()
        ],
        "sets": [
            {
                "number": row.number,
                "name": row.name,
                "enabled": bool(row.status & ENABLED),
                "domains": list(row.domains),
            }
            for row in store.sets.rows()
        ],
    }


def _nodes(engine: IsnsServer, _operation: Any, _now: float) -> Answer:
    realm = engine.realm
    return {
        "nodes": [
            {
                "name": row.name,
                "entity": row.eid,
                "type": realm.node_type(row),
                "portals": [
                    portal_text(group.portal)
                    for group in realm.groups_of_node(row.name)
                    if realm.has_access(group) and group.portal in realm.store.portals
                ],
            }
            for row in realm.store.nodes.rows()
        ]
    }


def _put_domain(engine: IsnsServer, operation: PutDomain, now: float) -> Answer:
    named = [text(Tag.DD_NAME, operation.name)] if operation.name else []
    request = Request(
        function=Function.DD_REG,
        source=ADMINISTRATOR,
        key=_key(Tag.DD_ID, operation.number),
        operating=(*named, *_members(operation)),
    )
    response = engine.administer(lambda realm: domains.put(realm, request), now)
    return {"number": response.operating[0].number}


def _take_domain(engine: IsnsServer, operation: TakeDomain, now: float) -> Answer:
    request = Request(
        function=Function.DD_DEREG,
        source=ADMINISTRATOR,
        key=_key(Tag.DD_ID, operation.number),
        operating=tuple(_members(operation)),
    )
    engine.administer(lambda realm: domains.take(realm, request), now)
    return {}


def _put_set(engine: IsnsServer, operation: PutSet, now: float) -> Answer:
    operating = [text(Tag.DDS_NAME, operation.name)] if operation.name else []
    if operation.enabled is not None:
        operating.append(number(Tag.DDS_STATUS, ENABLED if operation.enabled else 0))
    operating += [number(Tag.DD_ID, each) for each in operation.domains]
    request = Request(
        function=Function.DDS_REG,
        source=ADMINISTRATOR,
        key=_key(Tag.DDS_ID, operation.number),
        operating=tuple(operating),
    )
    response = engine.administer(lambda realm: domains.put_set(realm, request), now)
    return {"number": response.operating[0].number}


def _take_set(engine: IsnsServer, operation: TakeSet, now: float) -> Answer:
    request = Request(
        function=Function.DDS_DEREG,
        source=ADMINISTRATOR,
        key=_key(Tag.DDS_ID, operation.number),
        operating=tuple(number(Tag.DD_ID, each) for each in operation.domains),
    )
    engine.administer(lambda realm: domains.take_set(realm, request), now)
    return {}


_DO: dict[type[_Op], Callable[[IsnsServer, Any, float], Answer]] = {
    List: _list,
    Nodes: _nodes,
    PutDomain: _put_domain,
    TakeDomain: _take_domain,
    PutSet: _put_set,
    TakeSet: _take_set,
}
