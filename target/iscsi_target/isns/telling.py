"""The attributes of objects as a query returns them (RFC 4171 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from iscsi_protocol.isns.attributes import ATTRIBUTES, Kind, Tag
from iscsi_protocol.isns.tlv import Attribute, number, text
from iscsi_target.isns.scope import Realm
from iscsi_target.isns.store import Domain, DomainSet, Entity, Group, Node, Portal

Object: TypeAlias = Entity | Portal | Node | Group | Domain | DomainSet
Found: TypeAlias = tuple[Kind, Any]
"""A kind and a row of it."""

ORDER = (Kind.ENTITY, Kind.PORTAL, Kind.NODE, Kind.GROUP, Kind.DOMAIN, Kind.SET)
LINKED = (Kind.ENTITY, Kind.PORTAL, Kind.NODE, Kind.GROUP)
"""Kinds that a query without operating attributes goes over, where its key is one of them."""


def tags_of(kind: Kind) -> tuple[int, ...]:
    """All attributes of a kind, in the order of their tags."""
    return tuple(tag for tag, row in ATTRIBUTES.items() if row.kind is kind)


def attributes_of(realm: Realm, found: Found, tag: int) -> list[Attribute]:
    """An attribute of an object: one, none where it has no value (R4171-5.6.5.2-11), several for members."""
    kind, row = found
    special = _SPECIAL.get(tag)
    if special is not None:
        return special(realm, row)
    if kind in (Kind.ENTITY, Kind.PORTAL, Kind.NODE) and tag in row.values:
        return [Attribute(tag, row.values[tag])]
    return []


def _timestamp(realm: Realm, row: Entity) -> list[Attribute]:
    times = realm.registered if realm.policy.stale_timestamps else realm.seen
    return [number(Tag.TIMESTAMP, int(times.get(row.eid, 0)))]


def _period(_realm: Realm, row: Entity) -> list[Attribute]:
    return [number(Tag.REGISTRATION_PERIOD, row.period)]


def _next(tag: Tag, table: str) -> Callable[[Realm, Any], list[Attribute]]:
    """The index that the next object will get."""

    def told(realm: Realm, _row: Any) -> list[Attribute]:
        counter = realm.store.counters.get(table)
        return [number(tag, (counter.last if counter else 0) + 1)]

    return told


def _number(tag: Tag, field: str) -> Callable[[Realm, Any], list[Attribute]]:
    def told(_realm: Realm, row: Any) -> list[Attribute]:
        return [number(tag, getattr(row, field))]

    return told


def _text(tag: Tag, field: str) -> Callable[[Realm, Any], list[Attribute]]:
    def told(_realm: Realm, row: Any) -> list[Attribute]:
        return [text(tag, getattr(row, field))]

    return told


def _address(tag: Tag) -> Callable[[Realm, Any], list[Attribute]]:
    def told(_realm: Realm, row: Any) -> list[Attribute]:
        return [Attribute(tag, row.address)]

    return told


def _node_type(realm: Realm, row: Node) -> list[Attribute]:
    return [number(Tag.NODE_TYPE, realm.node_type(row))]


def _bitmap(_realm: Realm, row: Node) -> list[Attribute]:
    return [number(Tag.SCN_BITMAP, row.bitmap)] if row.bitmap else []


def _tag(_realm: Realm, row: Group) -> list[Attribute]:
    return [] if row.tag is None else [number(Tag.PGT, row.tag)]


def _kept(realm: Realm, registered: bool) -> bool:
    return registered or not realm.policy.drop_unregistered_members


def _member_index(realm: Realm, row: Domain) -> list[Attribute]:
    told = []
    for name in row.nodes:
        known = realm.store.nodes.get(name) or realm.store.reserved_nodes.get(name)
        if known is not None and _kept(realm, name in realm.store.nodes):
            told.append(number(Tag.DD_MEMBER_INDEX, known.index))
    return told


def _member_name(realm: Realm, row: Domain) -> list[Attribute]:
    return [text(Tag.DD_MEMBER_NAME, name) for name in row.nodes if _kept(realm, name in realm.store.nodes)]


def _member_portal_index(realm: Realm, row: Domain) -> list[Attribute]:
    known = [realm.store.portals.get(key) or realm.store.reserved_portals.get(key) for key in row.portals]
    return [number(Tag.DD_MEMBER_PORTAL_INDEX, item.index) for item in known if item is not None]


def _member_address(_realm: Realm, row: Domain) -> list[Attribute]:
    """Address and port go together."""
    told: list[Attribute] = []
    for address, port in row.portals:
        told += [Attribute(Tag.DD_MEMBER_ADDRESS, address), number(Tag.DD_MEMBER_PORT, port)]
    return told


def _nothing(_realm: Realm, _row: Any) -> list[Attribute]:
    return []


_SPECIAL: dict[int, Callable[[Realm, Any], list[Attribute]]] = {
    Tag.EID: _text(Tag.EID, "eid"),
    Tag.TIMESTAMP: _timestamp,
    Tag.REGISTRATION_PERIOD: _period,
    Tag.ENTITY_INDEX: _number(Tag.ENTITY_INDEX, "index"),
    Tag.ENTITY_NEXT_INDEX: _next(Tag.ENTITY_NEXT_INDEX, "entity"),
    Tag.PORTAL_ADDRESS: _address(Tag.PORTAL_ADDRESS),
    Tag.PORTAL_PORT: _number(Tag.PORTAL_PORT, "port"),
    Tag.PORTAL_INDEX: _number(Tag.PORTAL_INDEX, "index"),
    Tag.PORTAL_NEXT_INDEX: _next(Tag.PORTAL_NEXT_INDEX, "portal"),
    Tag.ISCSI_NAME: _text(Tag.ISCSI_NAME, "name"),
    Tag.NODE_TYPE: _node_type,
    Tag.SCN_BITMAP: _bitmap,
    Tag.NODE_INDEX: _number(Tag.NODE_INDEX, "index"),
    Tag.NODE_NEXT_INDEX: _next(Tag.NODE_NEXT_INDEX, "node"),
    Tag.PG_NAME: _text(Tag.PG_NAME, "name"),
    Tag.PG_ADDRESS: _address(Tag.PG_ADDRESS),
    Tag.PG_PORT: _number(Tag.PG_PORT, "port"),
    Tag.PGT: _tag,
    Tag.PG_INDEX: _number(Tag.PG_INDEX, "index"),
    Tag.PG_NEXT_INDEX: _next(Tag.PG_NEXT_INDEX, "group"),
    Tag.DDS_ID: _number(Tag.DDS_ID, "number"),
    Tag.DDS_NAME: _text(Tag.DDS_NAME, "name"),
    Tag.DDS_STATUS: _number(Tag.DDS_STATUS, "status"),
    Tag.DDS_NEXT_ID: _next(Tag.DDS_NEXT_ID, "set"),
    Tag.DD_ID: _number(Tag.DD_ID, "number"),
    Tag.DD_NAME: _text(Tag.DD_NAME, "name"),
    Tag.DD_MEMBER_INDEX: _member_index,
    Tag.DD_MEMBER_NAME: _member_name,
    Tag.DD_MEMBER_PORTAL_INDEX: _member_portal_index,
    Tag.DD_MEMBER_ADDRESS: _member_address,
    Tag.DD_MEMBER_PORT: _nothing,
    Tag.DD_FEATURES: _number(Tag.DD_FEATURES, "features"),
    Tag.DD_NEXT_ID: _next(Tag.DD_NEXT_ID, "domain"),
}
