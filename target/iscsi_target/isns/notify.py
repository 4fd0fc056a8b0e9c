"""State change notifications: who registered for them, and what a message's changes mean to whom (RFC 4171 5.6.5.5 to
5.6.5.8, 6.4.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Change, Notification, Request, Response
from iscsi_protocol.isns.codes import NodeType, Scn, Status
from iscsi_protocol.isns.errors import IsnsError, malformed
from iscsi_protocol.isns.tlv import Attribute, number, text
from iscsi_target.isns import store as rows
from iscsi_target.isns.scope import ENABLED, Realm
from iscsi_target.isns.store import Domain, DomainSet, Node, Portal, PortalKey

EVENTS = Scn.REMOVED | Scn.ADDED | Scn.UPDATED
MEMBERS = Scn.MEMBER_REMOVED | Scn.MEMBER_ADDED
KNOWN = int(EVENTS | MEMBERS | Scn.MANAGEMENT | Scn.TARGET_ONLY | Scn.INITIATOR_ONLY)


def _rejected(clause: str, reason: str) -> IsnsError:
    return IsnsError(Status.SCN_REGISTRATION_REJECTED, clause, reason)


def check_bitmap(realm: Realm, name: str, bitmap: int) -> None:
    """Raise IsnsError (17) for a registration that this node cannot have (R4171-2.2.3-04, R4171-6.4.4-01)."""
    if bitmap & ~KNOWN:
        raise _rejected("R4171-6.4.4-01", f"reserved bits {bitmap & ~KNOWN:#x}")
    if bitmap & MEMBERS and not bitmap & Scn.MANAGEMENT:
        raise _rejected("R4171-6.4.4-01", "changes of members are for management registrations")
    if bitmap & Scn.MANAGEMENT and not (realm.is_control(name) and realm.config.management_notifications):
        raise _rejected("R4171-2.2.3-04", f"{name} may not register for management notifications")


def _own_node(realm: Realm, request: Request, unknown: Status) -> Node:
    """The node of the message key, which has to be the source's. Raises IsnsError (8, `unknown`)."""
    source = realm.source(request.source)
    name = realm.name(request.key[0])
    node = realm.store.nodes.get(name)
    if node is None:
        raise IsnsError(unknown, "R4171-5.6.5.5-01", f"{name} is not registered")
    realm.check_owner(source, node.eid, "R4171-5.6.1-02")
    return node


def _bitmap(request: Request, clause: str) -> int:
    if [item.tag for item in request.operating] != [Tag.SCN_BITMAP] or request.operating[0].empty:
        raise malformed(clause, "the only operating attribute is the bitmap")
    return request.operating[0].number


def register_notifications(realm: Realm, request: Request) -> Response:
    """Carry out an SCNReg (5.6.5.5). Raises IsnsError."""
    node = _own_node(realm, request, Status.NO_SUCH_ENTRY)
    bitmap = _bitmap(request, "R4171-5.6.5.5-03")
    check_bitmap(realm, node.name, bitmap)
    if not any(Tag.SCN_PORT in portal.values for portal in realm.portals_of(node.eid)):
        raise _rejected("R4171-5.6.5.5-02", f"no portal of {node.eid} has an SCN port")
    if realm.policy.add_scn_bits:
        bitmap |= node.bitmap
    realm.store.nodes.put(node.name, msgspec.structs.replace(node, bitmap=bitmap))
    return Response(function=request.function, delimited=False)


def deregister_notifications(realm: Realm, request: Request) -> Response:
    """Carry out an SCNDereg (5.6.5.6). Raises IsnsError."""
    node = _own_node(realm, request, Status.NO_SUCH_ENTRY)
    if request.operating:
        raise malformed("R4171-5.6.5.6-02", "an SCNDereg has no operating attributes")
    if not realm.policy.notify_after_deregistration:
        realm.store.nodes.put(node.name, msgspec.structs.replace(node, bitmap=0))
    return Response(function=request.function, delimited=False)


def notification_event(realm: Realm, request: Request) -> tuple[Response, str, int]:
    """Carry out an SCNEvent (5.6.5.7): the answer, and which node had which event. Raises IsnsError."""
    node = _own_node(realm, request, Status.SCN_EVENT_REJECTED)
    bitmap = _bitmap(request, "R4171-5.6.5.7-01")
    if not bitmap & EVENTS:
        raise IsnsError(Status.SCN_EVENT_REJECTED, "R4171-5.6.5.7-01", f"bitmap {bitmap:#x} is no event")
    return Response(function=request.function, delimited=False), node.name, bitmap & EVENTS


@dataclass(kw_only=True)
class Happening:
    """What a message came to. nodes: name to the events of that node, in order; types: of nodes, gone ones included.

    subjects: portals that it is about; before: domains and sets as they were, by number, where they changed.
    """

    nodes: dict[str, list[int]] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    subjects: set[PortalKey] = field(default_factory=set)
    old_domains: dict[int, Domain] = field(default_factory=dict)
    old_sets: dict[int, DomainSet] = field(default_factory=dict)
    members: set[str] = field(default_factory=set)
    management: list[Change] = field(default_factory=list)


def happening_of(realm: Realm, changes: Sequence[rows.Change], event: tuple[str, int] | None = None) -> Happening:
    """Read a journal. event: what an SCNEvent told of a node."""
    happening = Happening(
        old_domains={row.number: row for row in realm.store.domains.rows()},
        old_sets={row.number: row for row in realm.store.sets.rows()},
    )
    for table, _, before, after in changes:
        if table == "node":
            _read_node(happening, before, after)
    for name in realm.reborn:
        if name in realm.store.nodes:
            happening.nodes[name] = [Scn.REMOVED, Scn.ADDED]
    for table, key, before, after in changes:
        if table == "portal":
            happening.subjects.add(key)
            _update(happening, {group.name for group in realm.groups_of_portal(key)})
        elif table == "group":
            _update(happening, {key[0]})
        elif table == "entity" and before and after and before.values != after.values:
            _update(happening, {node.name for node in realm.nodes_of(key)})
        elif table == "domain":
            _restore(happening.old_domains, key, before)
            _read_domain(happening, before, after)
        elif table == "set":
            _restore(happening.old_sets, key, before)
            _read_set(realm, happening, before, after)
    if event is not None:
        happening.nodes[event[0]] = [event[1]]
    for node in realm.store.nodes.rows():
        happening.types[node.name] = realm.node_type(node)
    return happening


def _restore(old: dict[int, rows.R], key: int, before: rows.R | None) -> None:
    if before is None:
        old.pop(key, None)
    else:
        old[key] = before


def _read_node(happening: Happening, before: Node | None, after: Node | None) -> None:
    name = (before or after).name  # type: ignore[union-attr]  # one of them is there
    if before is None:
        happening.nodes[name] = [Scn.ADDED]
    elif after is None:
        happening.nodes[name] = [Scn.REMOVED]
        happening.types[name] = before.type
    elif msgspec.structs.replace(before, bitmap=after.bitmap) != after:
        happening.nodes[name] = [Scn.UPDATED]


def _update(happening: Happening, names: Iterable[str]) -> None:
    for name in names:
        happening.nodes.setdefault(name, [Scn.UPDATED])


def _read_domain(happening: Happening, before: Domain | None, after: Domain | None) -> None:
    number_ = (before or after).number  # type: ignore[union-attr]  # one of them is there
    told = number(Tag.DD_ID, number_)
    old = set(before.nodes) if before else set()
    new = set(after.nodes) if after else set()
    happening.members |= old ^ new
    bits = Scn.ADDED if before is None else Scn.REMOVED if after is None else Scn.UPDATED
    if before is None or after is None or (before.name, before.features) != (after.name, after.features):
        happening.management.append(Change(bitmap=Scn.MANAGEMENT | bits, objects=(told,)))
    for names, bit in ((old - new, Scn.MEMBER_REMOVED), (new - old, Scn.MEMBER_ADDED)):
        for name in sorted(names):
            objects = (text(Tag.ISCSI_NAME, name), told)
            happening.management.append(Change(bitmap=Scn.MANAGEMENT | bit, objects=objects))


def _read_set(realm: Realm, happening: Happening, before: DomainSet | None, after: DomainSet | None) -> None:
    number_ = (before or after).number  # type: ignore[union-attr]  # one of them is there
    told = number(Tag.DDS_ID, number_)
    old = set(before.domains) if before else set()
    new = set(after.domains) if after else set()
    for each in old | new:
        for domain in (realm.store.domains.get(each), happening.old_domains.get(each)):
            happening.members |= set(domain.nodes) if domain else set()
    bits = Scn.ADDED if before is None else Scn.REMOVED if after is None else Scn.UPDATED
    if before is None or after is None or (before.name, before.status) != (after.name, after.status):
        happening.management.append(Change(bitmap=Scn.MANAGEMENT | bits, objects=(told,)))
    for numbers, bit in ((old - new, Scn.MEMBER_REMOVED), (new - old, Scn.MEMBER_ADDED)):
        for each in sorted(numbers):
            objects = (number(Tag.DD_ID, each), told)
            happening.management.append(Change(bitmap=Scn.MANAGEMENT | bit, objects=objects))


def _linked(domains: Mapping[int, Domain], sets: Mapping[int, DomainSet], one: str, other: str) -> bool:
    """Whether two nodes share a domain of an enabled set."""
    enabled = {each for item in sets.values() if item.status & ENABLED for each in item.domains}
    return any(one in row.nodes and other in row.nodes for row in domains.values() if row.number in enabled)


def notifications_of(realm: Realm, happening: Happening, now: float) -> list[Notification]:
    """What is to be told to whom: at most one notification for each node that registered (R4171-5.6.5.8-05)."""
    domains = {row.number: row for row in realm.store.domains.rows()}
    sets = {row.number: row for row in realm.store.sets.rows()}
    told = []
    for node in realm.store.nodes.rows():
        if not node.bitmap or realm.policy.silent_changes:
            continue
        if node.bitmap & Scn.MANAGEMENT:
            changes = _for_manager(realm, happening, node)
        else:
            before = {
                name
                for name in (*happening.nodes, *happening.members)
                if _linked(happening.old_domains, happening.old_sets, node.name, name)
            }
            after = {name for name in (*happening.nodes, *happening.members) if _linked(domains, sets, node.name, name)}
            changes = _for_member(realm, happening, node, before, after)
        if changes:
            told.append(Notification(destination=node.name, timestamp=int(now), changes=tuple(changes)))
    return told


def _for_member(realm: Realm, happening: Happening, node: Node, before: set[str], after: set[str]) -> list[Change]:
    """Events of nodes that share a domain with this one, and of itself (R4171-2.2.3-01)."""
    events = {name: list(bits) for name, bits in happening.nodes.items()}
    for name in (before ^ after) - events.keys():
        if name in realm.store.nodes and name != node.name:
            events[name] = [Scn.ADDED if name in after else Scn.REMOVED]
    everything = realm.is_control(node.name) or realm.policy.notify_everybody
    changes = []
    for name, bits in events.items():
        if not (everything or name == node.name or name in before or name in after):
            continue
        if not _wants(node, name, happening.types.get(name, 0)):
            continue
        objects: tuple[Attribute, ...] = (text(Tag.ISCSI_NAME, name),)
        if realm.policy.scn_with_domains:
            objects += tuple(number(Tag.DD_ID, row.number) for row in realm.enabled_domains(name))
        changes += [Change(bitmap=bit, objects=objects) for bit in bits if bit & node.bitmap]
    return changes


def _wants(node: Node, name: str, type_: int) -> bool:
    """Whether a node cares for changes of nodes of this type (6.4.4)."""
    wanted = 0
    if node.bitmap & Scn.TARGET_ONLY:
        wanted |= NodeType.TARGET
    if node.bitmap & Scn.INITIATOR_ONLY:
        wanted |= NodeType.INITIATOR
    return not wanted or name == node.name or bool(type_ & wanted)


def _for_manager(realm: Realm, happening: Happening, node: Node) -> list[Change]:
    """All events, with the domains that they have to do with (R4171-5.6.5.5-01, R4171-5.6.5.8-04)."""
    changes = []
    for name, bits in happening.nodes.items():
        objects = [text(Tag.ISCSI_NAME, name)]
        objects += [number(Tag.DD_ID, row.number) for row in realm.enabled_domains(name)]
        changes += [Change(bitmap=Scn.MANAGEMENT | bit, objects=tuple(objects)) for bit in bits]
    changes += happening.management
    wanted = node.bitmap & (EVENTS | MEMBERS)
    changes = [change for change in changes if change.bitmap & wanted]
    if realm.policy.scn_without_domains:
        return [
            Change(bitmap=change.bitmap, objects=tuple(item for item in change.objects if item.tag == Tag.ISCSI_NAME))
            for change in changes
        ]
    return changes


def notification_portal(realm: Realm, name: str, subjects: set[PortalKey]) -> Portal | None:
    """The portal that a node's notification goes to: one with an SCN port that it is not about (R4171-5.6.5.8-02)."""
    node = realm.store.nodes[name]
    for portal in sorted(realm.portals_of(node.eid), key=lambda row: row.index):
        group = realm.store.groups.get((name, *portal.key))
        reaches = group is not None and realm.has_access(group)
        if Tag.SCN_PORT in portal.values and reaches and (portal.key not in subjects or realm.policy.scn_about_itself):
            return portal
    return None
