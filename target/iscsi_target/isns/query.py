"""DevAttrQry and DevGetNext (RFC 4171 5.6.5.2, 5.6.5.3, 5.7.5.2, 5.7.5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from iscsi_protocol.isns.attributes import INDEXES, KEYS, Form, Kind, Tag, normal_eid, row_of
from iscsi_protocol.isns.body import Attributes, Request, Response
from iscsi_protocol.isns.codes import Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import Attribute, number
from iscsi_target.isns.scope import Realm
from iscsi_target.isns.store import Domain, DomainSet, Entity, Group, Node, Portal
from iscsi_target.isns.telling import LINKED, Found, attributes_of, tags_of

Part = tuple[Kind, tuple[int, ...]]
"""Attributes of one kind that are asked for one behind the other."""


def _invalid(clause: str, reason: str) -> IsnsError:
    return IsnsError(Status.INVALID_QUERY, clause, reason)


def visible(realm: Realm, source: str, kind: Kind) -> list[Found]:
    """All objects of a kind that the source may see, in the order of their keys (R4171-3.6-01)."""
    store = realm.store
    rows: list[Any]
    if kind is Kind.ENTITY:
        rows = [row for row in store.entities.rows() if realm.sees_entity(source, row)]
    elif kind is Kind.PORTAL:
        rows = [row for row in store.portals.rows() if realm.sees_portal(source, row)]
    elif kind is Kind.NODE:
        rows = [row for row in store.nodes.rows() if realm.sees_node(source, row.name)]
    elif kind is Kind.GROUP:
        rows = [row for row in store.groups.rows() if realm.sees_group(source, row)]
    elif kind is Kind.DOMAIN:
        rows = [row for row in store.domains.rows() if realm.sees_domain(source, row)]
    else:
        rows = [row for row in store.sets.rows() if realm.sees_set(source, row)]
    return [(kind, row) for row in rows]


def _nodes_of(realm: Realm, found: Found) -> set[str]:
    """The names of the nodes that an object has to do with."""
    _, row = found
    if isinstance(row, Entity):
        return {node.name for node in realm.nodes_of(row.eid)}
    if isinstance(row, Portal):
        return {group.name for group in realm.groups_of_portal(row.key) if realm.has_access(group)}
    if isinstance(row, Node | Group):
        return {row.name}
    if isinstance(row, Domain):
        return set(row.nodes)
    return {name for number_ in row.domains for name in realm.store.domains[number_].nodes}


def _is_related(realm: Realm, one: Found, other: Found) -> bool:
    """Whether a query for `one` tells of `other` (R4171-5.6.5.2-03, R4171-5.6.5.2-07)."""
    mine, row = one[1], other[1]
    if one[0] is other[0]:
        return bool(mine == row)
    if isinstance(mine, Domain | DomainSet) or isinstance(row, Domain | DomainSet):
        return _is_member(realm, mine, row)
    if Kind.ENTITY in (one[0], other[0]):
        return bool(mine.eid == row.eid)
    if isinstance(row, Group):
        return realm.has_access(row) and (row.name == mine.name if isinstance(mine, Node) else row.portal == mine.key)
    if isinstance(mine, Group):
        return _is_related(realm, other, one)
    node, portal = (mine, row) if isinstance(mine, Node) else (row, mine)
    group = realm.store.groups.get((node.name, *portal.key))
    return group is not None and realm.has_access(group)


def _is_member(realm: Realm, mine: Any, row: Any) -> bool:
    """Relations of domains and sets: by members, and by each other."""
    if isinstance(mine, DomainSet) and isinstance(row, Domain):
        return row.number in mine.domains
    if isinstance(mine, Domain) and isinstance(row, DomainSet):
        return mine.number in row.domains
    if isinstance(mine, Domain) and isinstance(row, Portal):
        return row.key in mine.portals
    if isinstance(row, Domain) and isinstance(mine, Portal):
        return mine.key in row.portals
    kinds = Kind.ENTITY, mine
    return bool(_nodes_of(realm, kinds) & _nodes_of(realm, (Kind.ENTITY, row)))


def _parts(operating: Attributes) -> list[Part]:
    """The attributes asked for, by runs of one kind."""
    return [
        (kind, tuple(item.tag for item in run))
        for kind, run in groupby(operating, key=lambda item: row_of(item.tag).kind)
    ]


def _check_key(key: Attributes) -> Kind | None:
    """The kind of the message key (R4171-5.6.5.2-02). Raises IsnsError (5)."""
    kinds = {row_of(item.tag).kind for item in key}
    if len(kinds) > 1:
        raise _invalid("R4171-5.6.5.2-02", "the message key is of several kinds")
    return next(iter(kinds), None)


def query(realm: Realm, request: Request) -> Response:
    """Carry out a DevAttrQry. Raises IsnsError."""
    source = realm.source(request.source)
    operating = request.operating
    if any(row_of(item.tag).kind is Kind.SERVER for item in operating):
        return _server_query(realm, request, source)
    kind = _check_key(request.key)
    if any(not item.empty for item in operating):
        raise _invalid("R4171-5.6.4.1-01", "what a query asks for has no value")
    parts = _parts(operating)
    told: list[Attribute] = []
    if kind is None:
        for part in parts or [(each, tags_of(each)) for each in Kind if each is not Kind.SERVER]:
            for found in visible(realm, source, part[0]):
                told += _told(realm, found, part[1])
    else:
        _check_kinds(kind, parts)
        asked = parts or [(each, tags_of(each)) for each in (LINKED if kind in LINKED else (kind,))]
        seen = {part[0]: visible(realm, source, part[0]) for part in asked}
        for match in visible(realm, source, kind):
            if _matches(realm, match, request.key):
                for part in asked:
                    for found in seen[part[0]]:
                        if _is_related(realm, match, found):
                            told += _told(realm, found, part[1])
    if realm.policy.sort_results:
        told.sort(key=lambda item: item.tag)
    return Response(function=request.function, key=request.key, operating=tuple(told))


def _told(realm: Realm, found: Found, tags: Sequence[int]) -> list[Attribute]:
    return [item for tag in tags for item in attributes_of(realm, found, tag)]


def _check_kinds(kind: Kind, parts: Sequence[Part]) -> None:
    """Which attributes a key leads to (6.1): members by their domain too, ends of a portal group by it.

    Raises IsnsError (5) (R4171-5.4-06).
    """
    for _, tags in parts:
        for tag in tags:
            row = row_of(tag)
            by = {row_of(each).kind for each in row.queried_by}
            if row.kind in (Kind.NODE, Kind.PORTAL):
                by |= {Kind.DOMAIN, Kind.GROUP}
            if kind not in by:
                raise _invalid("R4171-5.4-06", f"{row.tag.name} is not found by a key of the {kind.value}")


def _matches(realm: Realm, found: Found, key: Attributes) -> bool:
    """Whether the object has all that the message key says; what is empty there matches everything."""
    for item in key:
        if item.empty:
            continue
        wanted = _normal(realm, item)
        if wanted not in [one.value for one in attributes_of(realm, found, item.tag)]:
            return item.tag == Tag.NODE_TYPE and _has_type(realm, found, item)
    return True


def _has_type(realm: Realm, found: Found, item: Attribute) -> bool:
    """A node may be of more types than the one that is asked for (6.4.2)."""
    row = found[1]
    return isinstance(row, Node) and bool(item.number) and realm.node_type(row) & item.number == item.number


def _normal(realm: Realm, item: Attribute) -> bytes:
    """The value as it is stored."""
    form = row_of(item.tag).form
    if form is Form.NAME:
        return _encoded(realm.name(item))
    if item.tag == Tag.EID:
        return _encoded(normal_eid(item.text))
    return item.value


def _encoded(value: str) -> bytes:
    data = value.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def _server_query(realm: Realm, request: Request, source: str) -> Response:
    """Attributes of the server are asked for by the node itself (R4171-5.6.5.2-13, R4171-6.9-02)."""
    key = request.key
    if len(key) != 1 or key[0].tag != Tag.ISCSI_NAME or key[0].empty or realm.name(key[0]) != source:
        raise _invalid("R4171-6.9-02", "the message key is the node that asks")
    told = [number(Tag.SERVER_OUI, realm.config.vendor_oui << 8)] if realm.config.vendor_oui else []
    return Response(function=request.function, key=key, operating=tuple(told))


def get_next(realm: Realm, request: Request) -> Response:
    """Carry out a DevGetNext. Raises IsnsError: 9 behind the last object, 5 for what cannot be asked."""
    source = realm.source(request.source)
    kind = _check_key(request.key)
    tags = tuple(item.tag for item in request.key)
    if kind is None or (tags != KEYS.get(kind) and not (len(tags) == 1 and tags[0] in INDEXES)):
        raise _invalid("R4171-5.6.2-01", "the message key is the key of an object")
    filters, asked = _split(kind, request.operating)
    objects = visible(realm, source, kind)
    keyed = [(_key_of(realm, found, tags), found) for found in objects]
    if tags[0] in INDEXES:
        keyed.sort(key=lambda pair: pair[0])
    if realm.policy.reverse_order:
        keyed = keyed[::2]
    after = (
        None
        if any(item.empty for item in request.key)
        else [_sortable(_normal(realm, item), item) for item in request.key]
    )
    for key, found in keyed:
        if after is not None and key <= after:
            continue
        if _matches(realm, found, filters) or realm.policy.ignore_filter:
            return Response(
                function=request.function,
                key=tuple(_told(realm, found, tags)),
                operating=tuple(_told(realm, found, asked)),
            )
    raise IsnsError(Status.NO_SUCH_ENTRY, "R4171-5.6.5.3-03", "there is no further object")


def _split(kind: Kind, operating: Attributes) -> tuple[Attributes, tuple[int, ...]]:
    """What limits the result, and what is asked for (R4171-5.6.5.3-04, R4171-5.6.5.3-07). Raises IsnsError (5)."""
    for item in operating:
        if row_of(item.tag).kind is not kind:
            raise _invalid("R4171-5.6.5.3-04", f"{item} is no attribute of the {kind.value}")
    full = [not item.empty for item in operating]
    if full != sorted(full, reverse=True):
        raise _invalid("R4171-5.6.5.3-07", "what limits the result comes first")
    filters = tuple(item for item in operating if not item.empty)
    return filters, tuple(item.tag for item in operating)


def _key_of(realm: Realm, found: Found, tags: Sequence[int]) -> list[Any]:
    """The key in the order that objects are stored in."""
    return [_sortable(item.value, item) for item in _told(realm, found, tags)]


def _sortable(value: bytes, item: Attribute) -> bytes:
    form = row_of(item.tag).form
    return value.rstrip(b"\0") if form in (Form.TEXT, Form.NAME) else value
