"""What a client registers, as its user says it, and the messages that say it to a server (RFC 4171 5.6.5.1)."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_protocol.isns.attributes import OWN_EID_PREFIX, Tag, normal_eid, normal_name
from iscsi_protocol.isns.body import Attributes, Request
from iscsi_protocol.isns.codes import EntityProtocol, Function, NodeType
from iscsi_protocol.isns.tlv import UDP_PORT, Attribute, address, number, text


@dataclass(frozen=True, kw_only=True, slots=True)
class ClientPolicy:
    """Named misbehaviour of a client; every default conforms. Each comment names the requirement that is broken."""

    header: tuple[tuple[str, int], ...] = ()
    """Header fields of every PDU sent, by name, with the bits to be turned over (R4171-5.1.1-01, R4171-5.1.4-01)."""
    leaves_out: frozenset[int] = frozenset()
    """Tags that are missing among the operating attributes (R4171-5.6.5.1-03, R4171-6.4.2-04)."""
    adds: tuple[Attribute, ...] = ()
    """Attributes behind all others (R4171-6.4.2-02, R4171-5.6.5.1-20)."""
    before_delimiter: tuple[Attribute, ...] = ()
    """Attributes behind the message key (R4171-5.6.5.4-02)."""
    no_delimiter: bool = False
    """There is no delimiter (R4171-5.6.3-01)."""
    no_key: bool = False
    """There is no message key (R4171-5.6.5.1-01)."""
    values_first: bool = False
    """Keys follow the other attributes (R4171-5.6.4-01)."""
    swap_portal_keys: bool = False
    """The port goes before the address (R4171-5.6.4-04)."""
    nodes_first: bool = False
    """The entity comes last (R4171-5.6.4-08)."""
    raw_names: bool = False
    """Names and identifiers are sent as they were typed (R4171-5.6.2-02, R4171-5.6.2-03)."""
    plain_ipv4: bool = False
    """An IPv4 address is not mapped (R4171-6.3.1-01)."""
    unpadded: bool = False
    """Text is not padded (R4171-5.3-01, R4171-5.3.1-01)."""
    one_transaction: bool = False
    """Every request has the same transaction ID (R4171-5.1.5-01)."""
    new_transaction: bool = False
    """A repeated request has a new transaction ID (R4171-5.1.5-03)."""
    silent: bool = False
    """Notifications and inquiries are not answered (R4171-5.7.5.8-01, R4171-6.3.5-01)."""
    bare_answers: bool = False
    """Answers to the server lack the attributes (R4171-5.7.5.8-01, R4171-5.7.5.13-01)."""
    other_answers: bool = False
    """Answers to the server have another transaction ID (R4171-5.1.5-02)."""
    stay_connected: bool = False
    """A registration that is gone is not noticed (R4171-6.3.4-08)."""
    never_refresh: bool = False
    """The registration runs out (R4171-6.2.6-06)."""


CONFORMING = ClientPolicy()


@dataclass(frozen=True, kw_only=True, slots=True)
class PortalSpec:
    """A portal to be registered. port: of TCP; 0 for the canonical one; esi, scn: ports to be reached at, as in tag 17.

    esi_interval: seconds, 0 for no inquiries; tag: the portal group tag for all nodes, None for the server's default.
    """

    address: str
    port: int
    esi: int = 0
    esi_interval: int = 0
    scn: int = 0
    tag: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSpec:
    """A node to be registered. bitmap: of notifications that it wants, 0 for none."""

    name: str
    type: NodeType
    alias: str = ""
    bitmap: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """A network entity. eid: empty, and the server makes one up; period: seconds, 0 leaves it to the server.

    Raises IsnsError for names and identifiers that cannot be, ValueError for addresses.
    """

    eid: str
    portals: tuple[PortalSpec, ...]
    nodes: tuple[NodeSpec, ...]
    period: int = 0

    def __post_init__(self) -> None:
        if not self.nodes:
            raise ValueError("an entity is registered with a node")
        for node in self.nodes:
            normal_name(node.name)
        if self.eid and normal_eid(self.eid).startswith(OWN_EID_PREFIX):
            raise ValueError(f"identifiers that begin with {OWN_EID_PREFIX} are a server's to give")
        for portal in self.portals:
            address(Tag.PORTAL_ADDRESS, portal.address)
            if portal.esi_interval and not portal.esi:
                raise ValueError("inquiries need a port")

    @property
    def source(self) -> str:
        """The node that speaks for all."""
        return self.nodes[0].name


class Writer:
    """Makes requests of descriptions."""

    def __init__(self, policy: ClientPolicy = CONFORMING) -> None:
        self._policy = policy

    def name(self, tag: int, value: str) -> Attribute:
        """A name, normalised (R4171-5.6.2-02, R4171-5.6.4-02)."""
        return self._text(tag, value if self._policy.raw_names else normal_name(value))

    def eid(self, value: str) -> Attribute:
        """An identifier, normalised (R4171-5.6.2-03); empty where the server is to make one up."""
        if not value:
            return Attribute(Tag.EID)
        return self._text(Tag.EID, value if self._policy.raw_names else normal_eid(value))

    def _text(self, tag: int, value: str) -> Attribute:
        if self._policy.unpadded:
            return Attribute(tag, value.encode() + b"\0")
        return text(tag, value)

    def register(self, description: Description, eid: str, *, replace: bool = False) -> Request:
        """DevAttrReg of all of it, under the identifier that it has by now."""
        policy = self._policy
        entity = self._entity(description, eid)
        parts = [self._portal(portal, description) for portal in description.portals]
        parts += [self._node(node) for node in description.nodes]
        ordered = [*parts, entity] if policy.nodes_first else [entity, *parts]
        operating = [item for part in ordered for item in part if item.tag not in policy.leaves_out]
        return Request(
            function=Function.DEV_ATTR_REG,
            source=self.name(Tag.ISCSI_NAME, description.source),
            key=() if policy.no_key else (self.eid(eid),),
            operating=(*operating, *policy.adds),
            replace=replace,
        )

    def _entity(self, description: Description, eid: str) -> list[Attribute]:
        key = [self.eid(eid)]
        values = [number(Tag.ENTITY_PROTOCOL, EntityProtocol.ISCSI)]
        if description.period:
            values.append(number(Tag.REGISTRATION_PERIOD, description.period))
        return values + key if self._policy.values_first else key + values

    def _portal(self, portal: PortalSpec, description: Description) -> list[Attribute]:
        where = address(Tag.PORTAL_ADDRESS, portal.address)
        if self._policy.plain_ipv4:
            where = Attribute(Tag.PORTAL_ADDRESS, bytes(12) + where.value[12:])
        listed = [where, number(Tag.PORTAL_PORT, portal.port)]
        if self._policy.swap_portal_keys:
            listed.reverse()
        if portal.esi_interval:
            listed.append(number(Tag.ESI_INTERVAL, portal.esi_interval))
        if portal.esi:
            listed.append(number(Tag.ESI_PORT, portal.esi))
        if portal.scn:
            listed.append(number(Tag.SCN_PORT, portal.scn))
        if portal.tag is not None:
            listed.append(number(Tag.PGT, portal.tag))
            listed += [self.name(Tag.PG_NAME, node.name) for node in description.nodes]
        return listed

    def _node(self, node: NodeSpec) -> list[Attribute]:
        listed = [self.name(Tag.ISCSI_NAME, node.name), number(Tag.NODE_TYPE, node.type)]
        if node.alias:
            listed.append(self._text(Tag.ALIAS, node.alias))
        return listed

    def listen(self, node: NodeSpec) -> Request:
        """SCNReg of a node."""
        name = self.name(Tag.ISCSI_NAME, node.name)
        bitmap = number(Tag.SCN_BITMAP, node.bitmap)
        return Request(function=Function.SCN_REG, source=name, key=(name,), operating=(bitmap,))

    def own_entity(self, description: Description, eid: str) -> Request:
        """A query for the client's own entity: a sign of life, and whether it is still registered (R4171-6.3.4-07)."""
        return self.query(description.source, (self.eid(eid),), (Tag.EID, Tag.REGISTRATION_PERIOD))

    def query(self, source: str, key: Attributes, tags: tuple[int, ...]) -> Request:
        """DevAttrQry."""
        wanted = tuple(Attribute(tag) for tag in tags)
        return Request(
            function=Function.DEV_ATTR_QRY, source=self.name(Tag.ISCSI_NAME, source), key=key, operating=wanted
        )

    def get_next(self, source: str, key: Attributes, tags: tuple[int, ...]) -> Request:
        """DevGetNext."""
        wanted = tuple(Attribute(tag) for tag in tags)
        return Request(
            function=Function.DEV_GET_NEXT, source=self.name(Tag.ISCSI_NAME, source), key=key, operating=wanted
        )

    def deregister(self, description: Description, eid: str) -> Request:
        """DevDereg of the whole entity."""
        source = self.name(Tag.ISCSI_NAME, description.source)
        key = self._policy.before_delimiter
        return Request(function=Function.DEV_DEREG, source=source, key=key, operating=(self.eid(eid),))


def tcp_or_udp(port: int, *, udp: bool) -> int:
    """A port as in tag 17 (R4171-6.3.2-01)."""
    return port | UDP_PORT if udp else port
