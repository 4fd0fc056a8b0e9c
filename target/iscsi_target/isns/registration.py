"""DevAttrReg and DevDereg (RFC 4171 5.6.5.1, 5.6.5.4, 5.7.5.1, 5.7.5.4)."""

from __future__ import annotations

from typing import Any

import msgspec

from iscsi_protocol.isns.attributes import INDEXES, OWN_EID_PREFIX, Kind, Tag, normal_eid
from iscsi_protocol.isns.body import Attributes, Request, Response
from iscsi_protocol.isns.codes import Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import Attribute, number, text
from iscsi_target.isns import domains
from iscsi_target.isns.listing import Listed, Lister, invalid
from iscsi_target.isns.notify import check_bitmap
from iscsi_target.isns.removal import remove_entity, remove_if_empty, remove_node, remove_portal
from iscsi_target.isns.scope import Realm
from iscsi_target.isns.store import Entity, Group, GroupKey, Node, Portal

INDEX_TABLES = {Kind.ENTITY: "entity", Kind.PORTAL: "portal", Kind.NODE: "node", Kind.GROUP: "group"}


def register(realm: Realm, request: Request, now: float) -> Response:
    """Carry out a DevAttrReg. Raises IsnsError."""
    return Registration(realm, request, now).run()


class Registration:
    """One DevAttrReg at work."""

    def __init__(self, realm: Realm, request: Request, now: float) -> None:
        self._realm = realm
        self._store = realm.store
        self._request = request
        self._now = now
        self._source = realm.name(request.source) if request.source.tag == Tag.ISCSI_NAME else ""
        self._objects = Lister(request.operating, realm.name).read()
        self._replace = request.replace and not realm.policy.replace_is_update
        self._new = False

    def run(self) -> Response:
        """Raises IsnsError."""
        if not self._objects:
            raise invalid("R4171-5.6.5.1-17", "nothing is listed")
        eid = self._entity()
        self._check_source(eid)
        if not self._new and (self._replace or self._realm.policy.update_is_replace):
            self._take_away(eid)
        self._put_entity(eid)
        for item in self._objects:
            if item.kind is Kind.PORTAL:
                self._put_portal(item, eid)
            elif item.kind is Kind.NODE:
                self._put_node(item, eid)
        for item in self._objects:
            for key, tag in item.tags:
                self._put_group(key, tag, eid, explicit=True)
        self._complete_groups(eid)
        self._settle_monitoring(eid)
        self._realm.registered[eid] = self._realm.seen[eid] = self._now
        return self._response(eid)

    def _entity(self) -> str:
        """The entity that it is about; says in `_new` whether there is none yet."""
        first = self._objects[0]
        listed = first.key if first.kind is Kind.ENTITY else None
        key = self._request.key
        if key and key[0].tag != Tag.EID:
            return self._keyed_by_part(listed)
        given = None
        if key and not key[0].empty:
            given = normal_eid(key[0].text)
        if given is not None and listed != given:
            raise invalid("R4171-5.6.5.1-03", "the object of the message key is listed first")
        eid = given or listed or ""
        if eid in self._store.entities:
            return eid
        if not any(item.kind in (Kind.PORTAL, Kind.NODE) for item in self._objects):
            raise invalid("R4171-5.6.5.1-33", "a new entity has a portal or a node")
        if eid.startswith(OWN_EID_PREFIX):
            raise invalid("R4171-6.2.1-05", f"identifiers that begin with {OWN_EID_PREFIX} are the server's to give")
        self._new = True
        return eid or self._made_up()

    def _made_up(self) -> str:
        """An identifier that no entity has (R4171-5.6.5.1-28, R4171-6.2.1-04)."""
        prefix = "entity:" if self._realm.policy.foreign_eids else OWN_EID_PREFIX
        return f"{prefix}{self._store.next_number('eid'):08x}"

    def _keyed_by_part(self, listed: str | None) -> str:
        """The entity of the portal or node in the message key (R4171-5.6.5.1-06)."""
        row = find_part(self._realm, self._request.key)
        if row is None:
            raise invalid("R4171-5.6.5.1-06", "the message key matches nothing")
        key = row.key if isinstance(row, Portal) else row.name
        if listed is not None or any(item.kind is not Kind.GROUP and item.key != key for item in self._objects):
            raise invalid("R4171-5.6.5.1-18", "what is listed is no part of the message key's object")
        if not any(item.key == key for item in self._objects):
            raise invalid("R4171-5.6.5.1-03", "the object of the message key is listed")
        return row.eid

    def _check_source(self, eid: str) -> None:
        """R4171-5.6.1-02, R4171-5.6.5.1-21."""
        nodes = [item.key for item in self._objects if item.kind is Kind.NODE]
        if self._new or not self._realm.nodes_of(eid):
            if not nodes or self._source in nodes:
                return
        elif self._source not in self._store.nodes and not self._realm.is_control(self._source):
            self._realm.source(self._request.source)
        self._realm.check_owner(self._source, eid, "R4171-5.6.5.1-21")

    def _take_away(self, eid: str) -> None:
        """The keyed object goes before it is set anew (R4171-5.6.5.1-09)."""
        key = self._request.key
        before = {node.name for node in self._realm.nodes_of(eid)}
        if self._realm.policy.replace_everything:
            for other in list(self._store.entities):
                remove_entity(self._realm, other)
        elif key and key[0].tag in (Tag.PORTAL_ADDRESS, Tag.PORTAL_INDEX):
            remove_portal(self._realm, self._objects[0].key)
        elif key and key[0].tag in (Tag.ISCSI_NAME, Tag.NODE_INDEX):
            before = {self._objects[0].key}
            remove_node(self._realm, self._objects[0].key)
        else:
            remove_entity(self._realm, eid)
        self._realm.reborn |= before

    def _put_entity(self, eid: str) -> None:
        first = self._objects[0]
        listed = first.values if first.kind is Kind.ENTITY else {}
        old = self._store.entities.get(eid)
        values = _merged(old.values if old else {Tag.ENTITY_PROTOCOL: (2).to_bytes(4)}, listed)
        period = old.period if old else 0
        if Tag.REGISTRATION_PERIOD in values:
            period = int.from_bytes(values.pop(Tag.REGISTRATION_PERIOD))
        index = old.index if old else self._index(Kind.ENTITY)
        self._store.entities.put(eid, Entity(eid=eid, index=index, period=period, values=values))

    def _index(self, kind: Kind) -> int:
        policy = self._realm.policy
        if policy.one_index:
            return 1
        return self._store.next_number(INDEX_TABLES[kind], soon=policy.reuse_indexes)

    def _put_portal(self, item: Listed, eid: str) -> None:
        old = self._store.portals.get(item.key)
        self._check_home(old, eid, item.kind)
        reserved = self._store.reserved_portals.get(item.key)
        self._store.reserved_portals.remove(item.key)
        index = old.index if old else reserved.index if reserved else self._index(Kind.PORTAL)
        values = _merged(old.values if old else {}, item.values)
        interval = int.from_bytes(values.get(Tag.ESI_INTERVAL, b""))
        shortest = self._realm.config.shortest_esi_interval
        if interval and not self._realm.config.inquiries:
            raise IsnsError(Status.ESI_NOT_AVAILABLE, "R4171-6.3.4-06", "this server does not inquire")
        if 0 < interval < shortest:
            values[Tag.ESI_INTERVAL] = shortest.to_bytes(4)
        address, port = item.key
        self._store.portals.put(item.key, Portal(address=address, port=port, eid=eid, index=index, values=values))

    def _check_home(self, old: Portal | Node | None, eid: str, kind: Kind) -> None:
        """No object moves to another entity (R4171-3.1-01, R4171-5.6.5.1-13)."""
        if old is not None and old.eid != eid and not self._realm.policy.share_objects:
            raise invalid("R4171-3.1-01", f"the {kind.value} belongs to {old.eid}")

    def _put_node(self, item: Listed, eid: str) -> None:
        old = self._store.nodes.get(item.key)
        self._check_home(old, eid, item.kind)
        if old is not None and old.eid != eid:
            remove_node(self._realm, item.key)
            remove_if_empty(self._realm, old.eid)
        reserved = self._store.reserved_nodes.get(item.key)
        self._store.reserved_nodes.remove(item.key)
        index = old.index if old else reserved.index if reserved else self._index(Kind.NODE)
        values = _merged(old.values if old else {}, item.values)
        type_ = int.from_bytes(values.pop(Tag.NODE_TYPE, b"")) or (old.type if old else 0)
        if not type_:
            raise invalid("R4171-6.4.2-04", f"{item.key} is of no type")
        bitmap = old.bitmap if old else 0
        if Tag.SCN_BITMAP in values:
            bitmap = int.from_bytes(values.pop(Tag.SCN_BITMAP))
            check_bitmap(self._realm, item.key, bitmap)
        node = Node(name=item.key, eid=eid, index=index, type=type_, bitmap=bitmap, values=values)
        self._store.nodes.put(item.key, node)
        if old is None and self._realm.config.default_domain:
            domains.join_default(self._realm, item.key)

    def _put_group(self, key: GroupKey, tag: int | None, eid: str, *, explicit: bool) -> None:
        """A portal group of this entity; one of its ends may be missing (R4171-6.5.1-01, R4171-6.5.2-01)."""
        node, portal = self._store.nodes.get(key[0]), self._store.portals.get(key[1:])
        if any(end is not None and end.eid != eid for end in (node, portal)):
            raise invalid("R4171-3.1-01", f"{key[0]} and its portal belong to different entities")
        old = self._store.groups.get(key)
        if old is not None and (not explicit or self._realm.policy.keep_explicit_tags):
            return
        index = old.index if old else self._index(Kind.GROUP)
        name, address, port = key
        self._store.groups.put(key, Group(name=name, address=address, port=port, eid=eid, index=index, tag=tag))

    def _complete_groups(self, eid: str) -> None:
        """Each pair has a group, with tag 1 where nobody said otherwise (R4171-3.4-03, R4171-5.6.5.1-24)."""
        tag = self._realm.policy.default_tag
        for node in self._realm.nodes_of(eid):
            for portal in self._realm.portals_of(eid):
                self._put_group((node.name, *portal.key), tag, eid, explicit=False)

    def _settle_monitoring(self, eid: str) -> None:
        """Either the server inquires, or the registration has a period (R4171-6.2.6-01, R4171-6.3.5-02)."""
        portals = self._realm.portals_of(eid)
        wanted = any(int.from_bytes(portal.values.get(Tag.ESI_INTERVAL, b"")) for portal in portals)
        if wanted and not any(Tag.ESI_PORT in portal.values for portal in portals):
            raise invalid("R4171-6.3.5-02", "an ESI interval needs an ESI port")
        entity = self._store.entities[eid]
        config = self._realm.config
        period = entity.period
        if period:
            period = min(max(period, config.shortest_period), config.longest_period)
        elif not wanted and not self._realm.policy.no_period:
            period = config.registration_period
        if period != entity.period:
            self._store.entities.put(eid, msgspec.structs.replace(entity, period=period))

    def _response(self, eid: str) -> Response:
        """The message key or the identifier that was made up, then what was registered (R4171-5.7.5.1-01 and following)."""
        entity = self._store.entities[eid]
        named = text(Tag.EID, eid)
        key = self._request.key
        if not key or key[0].empty:
            key = (named,)
        operating: list[Attribute] = []
        first = self._objects[0]
        asked = first.values.get(Tag.REGISTRATION_PERIOD) if first.kind is Kind.ENTITY else None
        if first.kind is Kind.ENTITY or self._new:
            listed = first.attributes[1:] if first.kind is Kind.ENTITY else []
            operating = [named, *(item for item in listed if item.tag != Tag.REGISTRATION_PERIOD)]
            if self._new or asked is not None:
                operating.append(number(Tag.REGISTRATION_PERIOD, entity.period))
        for item in self._objects:
            if item.kind is not Kind.ENTITY:
                operating += self._as_stored(item)
        return Response(function=self._request.function, key=key, operating=tuple(operating))

    def _as_stored(self, item: Listed) -> list[Attribute]:
        """What was listed, with the values that the server changed (R4171-5.7.5.1-11)."""
        attributes = list(item.attributes)
        if item.kind is Kind.NODE:
            attributes[0] = text(Tag.ISCSI_NAME, item.key)
        if item.kind is Kind.PORTAL:
            values = self._store.portals[item.key].values
            attributes = [
                Attribute(one.tag, values[one.tag]) if one.tag == Tag.ESI_INTERVAL and one.tag in values else one
                for one in attributes
            ]
        return attributes


def _merged(old: dict[int, bytes], new: dict[int, bytes]) -> dict[int, bytes]:
    """The old values with the new ones over them; an empty one takes a value away."""
    merged = {**old, **new}
    return {tag: merged[tag] for tag in sorted(merged) if merged[tag]}


def find_part(realm: Realm, key: Attributes) -> Portal | Node | None:
    """The portal or node that key attributes or an index name; None where there is none. Raises IsnsError (3)."""
    tags = [item.tag for item in key]
    store = realm.store
    if any(item.empty for item in key):
        return None
    if tags == [Tag.PORTAL_ADDRESS, Tag.PORTAL_PORT]:
        return store.portals.get((key[0].value, key[1].number))
    if tags == [Tag.ISCSI_NAME]:
        return store.nodes.get(realm.name(key[0]))
    if tags == [Tag.PORTAL_INDEX]:
        return next((row for row in store.portals.rows() if row.index == key[0].number), None)
    if tags == [Tag.NODE_INDEX]:
        return next((row for row in store.nodes.rows() if row.index == key[0].number), None)
    raise invalid("R4171-5.6.2-01", "the message key is no key of a registration")


def deregister(realm: Realm, request: Request) -> Response:
    """Carry out a DevDereg: what exists goes, all of it or nothing (5.6.5.4). Raises IsnsError.

    What may not be removed is answered with status 8 and listed (R4171-5.7.5.4-02).
    """
    source = realm.source(request.source)
    found = [(keys, row) for keys in _dereg_objects(request.operating) if (row := _find(realm, keys)) is not None]
    refused: list[Attribute] = []
    for keys, row in found:
        try:
            realm.check_owner(source, row.eid, "R4171-5.6.5.4-03")
        except IsnsError:
            refused += keys
    if refused:
        return Response(function=request.function, status=Status.SOURCE_UNAUTHORIZED, operating=tuple(refused))
    for _, row in found:
        _remove(realm, row)
    return Response(function=request.function)


def _dereg_objects(operating: Attributes) -> list[tuple[Attribute, ...]]:
    """The keys of each object. Raises IsnsError (22) for anything else."""
    objects: list[tuple[Attribute, ...]] = []
    left = list(operating)
    while left:
        item = left.pop(0)
        if item.tag == Tag.PORTAL_ADDRESS and left and left[0].tag == Tag.PORTAL_PORT:
            objects.append((item, left.pop(0)))
        elif item.tag in (Tag.EID, Tag.ISCSI_NAME) or item.tag in INDEXES:
            objects.append((item,))
        else:
            raise IsnsError(Status.INVALID_DEREGISTRATION, "R4171-5.6.5.4-01", f"{item} names no object")
    if not objects or any(item.empty for keys in objects for item in keys):
        raise IsnsError(Status.INVALID_DEREGISTRATION, "R4171-5.6.5.4-01", "an object is named by its key")
    return objects


def _find(realm: Realm, keys: tuple[Attribute, ...]) -> Any:
    if keys[0].tag == Tag.EID:
        return realm.store.entities.get(normal_eid(keys[0].text))
    if keys[0].tag in (Tag.ENTITY_INDEX, Tag.PG_INDEX):
        raise IsnsError(Status.INVALID_DEREGISTRATION, "R4171-5.6.5.4-01", f"{keys[0]} names no object")
    return find_part(realm, keys)


def _remove(realm: Realm, row: Entity | Portal | Node) -> None:
    if isinstance(row, Entity):
        remove_entity(realm, row.eid)
        return
    if isinstance(row, Node):
        remove_node(realm, row.name)
    else:
        remove_portal(realm, row.key)
    remove_if_empty(realm, row.eid)
