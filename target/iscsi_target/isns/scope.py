"""Who sees what, and who may change what (RFC 4171 2.2.2, 5.6.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from iscsi_protocol.isns.attributes import Tag, normal_name
from iscsi_protocol.isns.codes import NodeType, Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import Attribute
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.policy import IsnsPolicy
from iscsi_target.isns.store import Domain, DomainSet, Entity, Group, Node, Portal, PortalKey, Store

ENABLED = 0x01
"""Of a set's status (6.11.1.3)."""

MODIFIERS = {"target": NodeType.TARGET, "initiator": NodeType.INITIATOR}


@dataclass(kw_only=True)
class Realm:
    """The store with the administrator's settings. seen: when the client of an entity last said anything, by EID.

    registered: when it last registered anything; reborn: nodes that this message took away to set them anew.
    """

    store: Store
    config: IsnsConfig
    seen: dict[str, float] = field(default_factory=dict)
    registered: dict[str, float] = field(default_factory=dict)
    reborn: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.control_nodes = frozenset(normal_name(name) for name in self.config.control_nodes)

    @property
    def policy(self) -> IsnsPolicy:
        """The switches."""
        return self.config.policy

    def name(self, attribute: Attribute) -> str:
        """A name as it is stored (R4171-6.4.1-03). Raises IsnsError (2, 3)."""
        name = normal_name(attribute.text)
        return attribute.text if self.policy.raw_names else name

    def is_control(self, name: str) -> bool:
        """Whether the administrator made this node a control node (R4171-6.4.2-03)."""
        return name in self.control_nodes

    def node_type(self, node: Node) -> int:
        """The type that is told: the control bit comes from the administrator."""
        return node.type | (NodeType.CONTROL if self.is_control(node.name) else 0)

    def source(self, attribute: Attribute) -> str:
        """The node that asks. Raises IsnsError: 6 for one that is not known (R4171-5.6.1-03)."""
        name = self.name(attribute) if attribute.tag == Tag.ISCSI_NAME else ""
        if name not in self.store.nodes and not self.is_control(name):
            raise IsnsError(Status.SOURCE_UNKNOWN, "R4171-5.6.1-03", f"{name or attribute} is not registered")
        return name

    def check_owner(self, source: str, eid: str, clause: str) -> None:
        """Raise IsnsError (8) unless the source may change this entity (R4171-5.6.1-02)."""
        node = self.store.nodes.get(source)
        if self.is_control(source) or (node is not None and node.eid == eid) or self.policy.skip_source_check:
            return
        raise IsnsError(Status.SOURCE_UNAUTHORIZED, clause, f"{source} is no node of {eid}")

    def check_manager(self, source: str) -> None:
        """Raise IsnsError (8) unless the source may change discovery domains (R4171-2.4-02, R4171-5.6.5.9-20)."""
        node = self.store.nodes.get(source)
        kinds = self.config.domain_managers
        allowed = "control" in kinds and self.is_control(source)
        for kind, bit in MODIFIERS.items():
            allowed |= kind in kinds and node is not None and bool(node.type & bit)
        if not allowed:
            raise IsnsError(Status.SOURCE_UNAUTHORIZED, "R4171-2.4-02", f"{source} may not change discovery domains")

    def _is_enabled(self, domain: Domain) -> bool:
        return any(
            domain.number in item.domains and (item.status & ENABLED or self.policy.ignore_set_status)
            for item in self.store.sets.rows()
        )

    def enabled_domains(self, name: str) -> list[Domain]:
        """The domains of at least one enabled set that have this node (R4171-2.2.2-05)."""
        return [item for item in self.store.domains.rows() if name in item.nodes and self._is_enabled(item)]

    def common_domains(self, source: str, name: str) -> list[Domain]:
        """The enabled domains that have both."""
        return [item for item in self.enabled_domains(source) if name in item.nodes]

    def sees_everything(self, source: str) -> bool:
        """Whether domains do not limit this source."""
        return self.is_control(source) or self.policy.ignore_domains

    def sees_node(self, source: str, name: str) -> bool:
        """Whether a query of the source may tell of the node; its own it always sees (R4171-5.6.5.2-01)."""
        return self.sees_everything(source) or source == name or bool(self.common_domains(source, name))

    def has_access(self, group: Group) -> bool:
        """Whether the group relates its node and portal (R4171-3.4-02)."""
        return group.tag is not None or self.policy.null_tag_gives_access

    def _domain_has_portal(self, domain: Domain, portal: Portal) -> bool:
        """Portals that are members limit a domain to them, entity by entity (R4171-2.2.2-01, R4171-2.2.2-02)."""
        if self.policy.ignore_portal_members:
            return True
        entity = [key for key in domain.portals if (row := self.store.portals.get(key)) and row.eid == portal.eid]
        return portal.key in entity or (not entity and not self.policy.portals_by_membership)

    def sees_portal(self, source: str, portal: Portal) -> bool:
        """Whether a query of the source may tell of the portal."""
        if self.sees_everything(source):
            return True
        own = self.store.nodes.get(source)
        if own is not None and own.eid == portal.eid:
            return True
        return any(
            self._domain_has_portal(domain, portal)
            for group in self.groups_of_portal(portal.key)
            if self.has_access(group) and group.name in self.store.nodes
            for domain in self.common_domains(source, group.name)
        )

    def sees_entity(self, source: str, entity: Entity) -> bool:
        """Whether a query of the source may tell of the entity: where it sees one of its nodes."""
        if self.sees_everything(source):
            return True
        return any(self.sees_node(source, node.name) for node in self.nodes_of(entity.eid))

    def sees_group(self, source: str, group: Group) -> bool:
        """Whether a query of the source may tell of the group: where it sees all of it that is registered."""
        portal = self.store.portals.get(group.portal)
        return self.sees_node(source, group.name) and (portal is None or self.sees_portal(source, portal))

    def sees_domain(self, source: str, domain: Domain) -> bool:
        """Whether a query of the source may tell of the domain: where it is a member."""
        return self.sees_everything(source) or source in domain.nodes

    def sees_set(self, source: str, item: DomainSet) -> bool:
        """Whether a query of the source may tell of the set: where it is a member of one of its domains."""
        if self.sees_everything(source):
            return True
        return any(source in self.store.domains[number].nodes for number in item.domains)

    def nodes_of(self, eid: str) -> list[Node]:
        """The nodes of an entity."""
        return [row for row in self.store.nodes.rows() if row.eid == eid]

    def portals_of(self, eid: str) -> list[Portal]:
        """The portals of an entity."""
        return [row for row in self.store.portals.rows() if row.eid == eid]

    def groups_of_node(self, name: str) -> list[Group]:
        """The portal groups of a node."""
        return [row for row in self.store.groups.rows() if row.name == name]

    def groups_of_portal(self, key: PortalKey) -> list[Group]:
        """The portal groups of a portal."""
        return [row for row in self.store.groups.rows() if row.portal == key]
