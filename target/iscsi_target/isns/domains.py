"""Discovery domains and their sets: DDReg, DDDereg, DDSReg, DDSDereg (RFC 4171 5.6.5.9 to 5.6.5.12, 6.11)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from iscsi_protocol.isns.attributes import NEXT_INDEXES, Tag
from iscsi_protocol.isns.body import Attributes, Request, Response
from iscsi_protocol.isns.codes import Status
from iscsi_protocol.isns.errors import IsnsError, malformed
from iscsi_protocol.isns.tlv import Attribute, number, text
from iscsi_target.isns.listing import invalid
from iscsi_target.isns.removal import put_domain
from iscsi_target.isns.scope import ENABLED, Realm
from iscsi_target.isns.store import Domain, DomainSet, PortalKey, Reserved

DEFAULT = 1
"""The number of the default domain and of its set (R4171-6.11.1.1-01, R4171-6.11.2.1-01)."""


@dataclass(kw_only=True)
class Wanted:
    """What a request says of a domain or set: number, name, features or status, and members."""

    number: int = 0
    name: str = ""
    value: int | None = None
    nodes: list[str] = field(default_factory=list)
    portals: list[PortalKey] = field(default_factory=list)
    domains: list[int] = field(default_factory=list)


def register_domain(realm: Realm, request: Request) -> Response:
    """Carry out a DDReg. Raises IsnsError."""
    realm.check_manager(realm.source(request.source))
    return put(realm, request)


def put(realm: Realm, request: Request) -> Response:
    """Create or update a domain, whoever asks (5.6.5.9). Raises IsnsError (2, 3)."""
    keyed = _keyed(request.key, Tag.DD_ID)
    wanted = _domain_wanted(realm, request.operating)
    store = realm.store
    old = _to_be_changed(store.domains.get(keyed), keyed, wanted, "R4171-5.6.5.9-02", "R4171-5.6.5.9-03")
    if old is None and wanted.number in store.domains:
        raise invalid("R4171-5.6.5.9-05", f"domain {wanted.number} is there already")
    _check_name(realm, wanted.name, [row for row in store.domains.rows() if row is not old], "R4171-5.6.5.9-10")
    told: list[Attribute] = []
    if old is None:
        domain = _new_domain(realm, wanted.number, wanted.name, wanted.value or 0)
        told = [number(Tag.DD_ID, domain.number), text(Tag.DD_NAME, domain.name)]
    else:
        changes = {"name": wanted.name} if wanted.name else {}
        domain = msgspec.structs.replace(old, **changes)
        if wanted.value is not None:
            domain = msgspec.structs.replace(domain, features=wanted.value)
        told = [number(Tag.DD_ID, domain.number)] + ([text(Tag.DD_NAME, domain.name)] if wanted.name else [])
    if wanted.value is not None:
        told.append(number(Tag.DD_FEATURES, wanted.value))
    told += _reserve(realm, wanted)
    before = () if realm.policy.add_replaces_members else domain.nodes
    put_domain(
        realm,
        domain,
        nodes=_joined(before, wanted.nodes),
        portals=tuple(dict.fromkeys((*domain.portals, *wanted.portals))),
    )
    return Response(function=request.function, key=request.key, operating=tuple(told))


def _joined(before: Iterable[str], added: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*before, *added)))


def _new_domain(realm: Realm, wanted: int, name: str, features: int = 0) -> Domain:
    """A domain with a number and a name of its own (R4171-5.6.5.9-06, R4171-5.6.5.9-11)."""
    given = wanted or realm.store.next_number("domain", realm.store.domains)
    name = name or _free_name("domain", given, {row.name for row in realm.store.domains.rows()})
    domain = Domain(number=given, name=name, features=features)
    realm.store.domains.put(given, domain)
    return domain


def _free_name(what: str, given: int, taken: set[str]) -> str:
    name = f"{what}-{given}"
    while name in taken:
        name += "-"
    return name


def _keyed(key: Attributes, tag: Tag) -> int | None:
    """The number in the message key, None without one. Raises IsnsError (2)."""
    if not key:
        return None
    if len(key) != 1 or key[0].tag != tag or key[0].empty:
        raise malformed("R4171-5.6.2-01", f"the message key is one {tag.name}")
    return key[0].number


def _to_be_changed(row: Domain | None, keyed: int | None, wanted: Wanted, unknown: str, other: str) -> Domain | None:
    """The row that the message key names; None without a key. Raises IsnsError (3)."""
    if keyed is None:
        return None
    if row is None:
        raise invalid(unknown, f"there is no number {keyed}")
    if wanted.number not in (0, keyed):
        raise invalid(other, f"{wanted.number} is not the {keyed} of the message key")
    return row


def _check_name(realm: Realm, name: str, others: Iterable[Domain | DomainSet], clause: str) -> None:
    if name and any(row.name == name for row in others) and not realm.policy.same_domain_names:
        raise invalid(clause, f"the name {name} is in use")


def _domain_wanted(realm: Realm, operating: Attributes) -> Wanted:
    """What a DDReg or DDDereg lists. Raises IsnsError (2, 3)."""
    wanted = Wanted()
    left = list(operating)
    while left:
        item = left.pop(0)
        if item.tag == Tag.DD_ID:
            wanted.number = 0 if item.empty else _numbered(item, "R4171-6.11.2.1-01")
        elif item.tag == Tag.DD_NAME:
            wanted.name = "" if item.empty else item.text
        elif item.tag == Tag.DD_FEATURES:
            wanted.value = item.number
        elif item.tag == Tag.DD_MEMBER_NAME:
            wanted.nodes.append(realm.name(item))
        elif item.tag == Tag.DD_MEMBER_INDEX:
            wanted.nodes.append(_node_of_index(realm, item.number))
        elif item.tag == Tag.DD_MEMBER_PORTAL_INDEX:
            wanted.portals.append(_portal_of_index(realm, item.number))
        elif item.tag == Tag.DD_MEMBER_ADDRESS and left and left[0].tag == Tag.DD_MEMBER_PORT:
            wanted.portals.append((item.value, left.pop(0).number))
        else:
            raise _misplaced(item, "R4171-6.11.2.10-01")
    return wanted


def _numbered(item: Attribute, clause: str) -> int:
    if not item.number:
        raise invalid(clause, "the number 0 is reserved")
    return item.number


def _misplaced(item: Attribute, clause: str) -> IsnsError:
    if item.tag in NEXT_INDEXES:
        return invalid(clause, f"{item} is the server's to give")
    return malformed("R4171-5.6.4-01", f"{item} has no place here")


def _node_of_index(realm: Realm, index: int) -> str:
    """Raises IsnsError (3) unless a node with this index is registered (R4171-5.6.5.9-18)."""
    for node in realm.store.nodes.rows():
        if node.index == index:
            return node.name
    raise invalid("R4171-5.6.5.9-18", f"no node has the index {index}")


def _portal_of_index(realm: Realm, index: int) -> PortalKey:
    """Raises IsnsError (3) unless a portal with this index is registered (R4171-6.11.2.6-01)."""
    for portal in realm.store.portals.rows():
        if portal.index == index:
            return portal.key
    raise invalid("R4171-6.11.2.6-01", f"no portal has the index {index}")


def _reserve(realm: Realm, wanted: Wanted) -> list[Attribute]:
    """Indexes of members that are not registered (R4171-5.6.5.9-14, R4171-5.6.5.9-16)."""
    store = realm.store
    told: list[Attribute] = []
    if realm.policy.no_reserved_index:
        return told
    for name in wanted.nodes:
        if name not in store.nodes:
            if name not in store.reserved_nodes:
                store.reserved_nodes.put(name, Reserved(index=store.next_number("node")))
            told.append(number(Tag.DD_MEMBER_INDEX, store.reserved_nodes[name].index))
    for key in wanted.portals:
        if key not in store.portals:
            if key not in store.reserved_portals:
                store.reserved_portals.put(key, Reserved(index=store.next_number("portal")))
            told.append(number(Tag.DD_MEMBER_PORTAL_INDEX, store.reserved_portals[key].index))
    return told


def deregister_domain(realm: Realm, request: Request) -> Response:
    """Carry out a DDDereg. Raises IsnsError."""
    realm.check_manager(realm.source(request.source))
    return take(realm, request)


def take(realm: Realm, request: Request) -> Response:
    """Remove a domain or some of its members, whoever asks (5.6.5.10). Raises IsnsError (2, 3)."""
    keyed = _keyed(request.key, Tag.DD_ID)
    if keyed is None:
        raise malformed("R4171-5.6.5.10-01", "the message key names a domain")
    response = Response(function=request.function, delimited=False)
    old = realm.store.domains.get(keyed)
    if old is None:
        return response
    if request.operating:
        wanted = _domain_wanted(realm, request.operating)
        put_domain(
            realm,
            old,
            nodes=tuple(name for name in old.nodes if name not in wanted.nodes),
            portals=tuple(key for key in old.portals if key not in wanted.portals),
        )
    elif not realm.policy.keep_domains:
        realm.store.domains.remove(keyed)
        for item in realm.store.sets.rows():
            if keyed in item.domains:
                left = tuple(each for each in item.domains if each != keyed)
                realm.store.sets.put(item.number, msgspec.structs.replace(item, domains=left))
    _release(realm)
    return response


def _release(realm: Realm) -> None:
    """Indexes of those that are neither registered nor members are free again (R4171-5.6.5.10-04)."""
    domains = realm.store.domains.rows()
    for name in list(realm.store.reserved_nodes):
        if not any(name in domain.nodes for domain in domains):
            realm.store.reserved_nodes.remove(name)
    for key in list(realm.store.reserved_portals):
        if not any(key in domain.portals for domain in domains):
            realm.store.reserved_portals.remove(key)


def register_set(realm: Realm, request: Request) -> Response:
    """Carry out a DDSReg. Raises IsnsError."""
    realm.check_manager(realm.source(request.source))
    return put_set(realm, request)


def put_set(realm: Realm, request: Request) -> Response:
    """Create or update a set, whoever asks (5.6.5.11). Raises IsnsError (2, 3)."""
    keyed = _keyed(request.key, Tag.DDS_ID)
    wanted = _set_wanted(request.operating)
    store = realm.store
    old = None if keyed is None else store.sets.get(keyed)
    if keyed is not None and old is None:
        raise invalid("R4171-5.6.5.11-02", f"there is no set {keyed}")
    if keyed is not None and wanted.number not in (0, keyed):
        raise invalid("R4171-5.6.5.11-03", f"{wanted.number} is not the {keyed} of the message key")
    if keyed is None and wanted.number in store.sets:
        raise invalid("R4171-5.6.5.11-08", f"set {wanted.number} is there already")
    _check_name(realm, wanted.name, [row for row in store.sets.rows() if row is not old], "R4171-5.6.5.11-10")
    given = keyed or wanted.number or store.next_number("set", store.sets)
    told = [number(Tag.DDS_ID, given)]
    name = wanted.name or (old.name if old else _free_name("set", given, {row.name for row in store.sets.rows()}))
    if wanted.name or old is None:
        told.append(text(Tag.DDS_NAME, name))
    default = ENABLED if realm.policy.enable_new_sets else 0
    status = wanted.value if wanted.value is not None else old.status if old else default
    if wanted.value is not None:
        told.append(number(Tag.DDS_STATUS, status))
    for each in wanted.domains:
        if each not in store.domains:
            domain = _new_domain(realm, each, "")
            told += [
                number(Tag.DD_ID, each),
                text(Tag.DD_NAME, domain.name),
                number(Tag.DD_FEATURES, domain.features),
            ]
    domains = tuple(dict.fromkeys((*(old.domains if old else ()), *wanted.domains)))
    store.sets.put(given, DomainSet(number=given, name=name, status=status, domains=domains))
    return Response(function=request.function, key=request.key, operating=tuple(told))


def _set_wanted(operating: Attributes) -> Wanted:
    """What a DDSReg or DDSDereg lists. Raises IsnsError (2, 3)."""
    wanted = Wanted()
    for item in operating:
        if item.tag == Tag.DDS_ID:
            wanted.number = 0 if item.empty else _numbered(item, "R4171-6.11.1.1-01")
        elif item.tag == Tag.DDS_NAME:
            wanted.name = "" if item.empty else item.text
        elif item.tag == Tag.DDS_STATUS:
            wanted.value = item.number
        elif item.tag == Tag.DD_ID:
            wanted.domains.append(_numbered(item, "R4171-6.11.2.1-01"))
        else:
            raise _misplaced(item, "R4171-6.11.1.4-01")
    if wanted.value is not None and wanted.value & ~ENABLED:
        raise IsnsError(Status.INVALID_REGISTRATION, "R4171-5.7.5.11-04", f"status {wanted.value:#x}")
    return wanted


def deregister_set(realm: Realm, request: Request) -> Response:
    """Carry out a DDSDereg. Raises IsnsError."""
    realm.check_manager(realm.source(request.source))
    return take_set(realm, request)


def take_set(realm: Realm, request: Request) -> Response:
    """Remove a set or some of its domains, whoever asks (5.6.5.12). Raises IsnsError (2, 3)."""
    keyed = _keyed(request.key, Tag.DDS_ID)
    if keyed is None:
        raise malformed("R4171-5.6.5.12-01", "the message key names a set")
    old = realm.store.sets.get(keyed)
    if old is not None and request.operating:
        wanted = _set_wanted(request.operating)
        left = tuple(each for each in old.domains if each not in wanted.domains)
        realm.store.sets.put(keyed, msgspec.structs.replace(old, domains=left))
    elif not realm.policy.keep_domains:
        realm.store.sets.remove(keyed)
    return Response(function=request.function, delimited=False)


def join_default(realm: Realm, name: str) -> None:
    """Put a new node that is in no domain into the default domain of the default set, which is enabled (2.4)."""
    store = realm.store
    if any(name in domain.nodes for domain in store.domains.rows()):
        return
    domain = store.domains.get(DEFAULT) or _new_domain(realm, DEFAULT, "")
    put_domain(realm, domain, nodes=(*domain.nodes, name))
    if DEFAULT not in store.sets:
        store.sets.put(DEFAULT, DomainSet(number=DEFAULT, name="default", status=ENABLED, domains=(DEFAULT,)))
