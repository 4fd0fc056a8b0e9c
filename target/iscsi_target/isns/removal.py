"""Taking objects out of the store, with what depends on them (RFC 4171 5.6.5.4)."""

from __future__ import annotations

from iscsi_target.isns.scope import Realm
from iscsi_target.isns.store import Domain, Group, PortalKey, Reserved


def remove_entity(realm: Realm, eid: str) -> None:
    """Remove an entity with all that it has (R4171-5.6.5.4-01)."""
    if not realm.policy.keep_dependents:
        for node in realm.nodes_of(eid):
            remove_node(realm, node.name)
        for portal in realm.portals_of(eid):
            remove_portal(realm, portal.key)
    realm.store.entities.remove(eid)


def remove_node(realm: Realm, name: str) -> None:
    """Remove a node; it stays a member of its domains, and keeps its index there (R4171-5.6.5.4-09, R4171-6.4.5-02)."""
    node = realm.store.nodes.get(name)
    if node is None:
        return
    realm.store.nodes.remove(name)
    domains = [domain for domain in realm.store.domains.rows() if name in domain.nodes]
    if realm.policy.forget_membership:
        for domain in domains:
            put_domain(realm, domain, nodes=tuple(item for item in domain.nodes if item != name))
    elif domains:
        realm.store.reserved_nodes.put(name, Reserved(index=node.index))
    for group in realm.groups_of_node(name):
        _settle(realm, group)


def remove_portal(realm: Realm, key: PortalKey) -> None:
    """Remove a portal; like a node it stays a member of its domains."""
    portal = realm.store.portals.get(key)
    if portal is None:
        return
    realm.store.portals.remove(key)
    if any(key in domain.portals for domain in realm.store.domains.rows()):
        realm.store.reserved_portals.put(key, Reserved(index=portal.index))
    for group in realm.groups_of_portal(key):
        _settle(realm, group)


def _settle(realm: Realm, group: Group) -> None:
    """A portal group stays as long as its node or its portal does (R4171-5.6.5.4-06, R4171-5.6.5.4-07)."""
    kept = group.name in realm.store.nodes or group.portal in realm.store.portals
    if not kept or realm.policy.remove_groups_early:
        realm.store.groups.remove(group.key)


def remove_if_empty(realm: Realm, eid: str) -> None:
    """Remove an entity that has neither node nor portal (R4171-5.6.5.4-05)."""
    if realm.policy.keep_entities or realm.nodes_of(eid) or realm.portals_of(eid):
        return
    realm.store.entities.remove(eid)


def put_domain(
    realm: Realm,
    domain: Domain,
    *,
    nodes: tuple[str, ...] | None = None,
    portals: tuple[PortalKey, ...] | None = None,
) -> None:
    """Give a domain other members."""
    changed = Domain(
        number=domain.number,
        name=domain.name,
        features=domain.features,
        nodes=domain.nodes if nodes is None else nodes,
        portals=domain.portals if portals is None else portals,
    )
    realm.store.domains.put(domain.number, changed)
