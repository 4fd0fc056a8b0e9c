"""Discovery through an iSNS server: what is registered, what is asked, what the answers say, and the status codes of
failures (RFC 4171; guide, Appendix D).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.isns.attributes import Tag
from iscsi_protocol.isns.body import Request, Response
from iscsi_protocol.isns.client import Trouble
from iscsi_protocol.isns.codes import NodeType, Scn, Status, status_name
from iscsi_protocol.isns.description import Description, NodeSpec, PortalSpec, Writer, tcp_or_udp
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.tlv import UDP_PORT, Attribute, host_of, number
from iscsi_protocol.names import IscsiNameError, check_name

ISCSI_PORT = 3260
"""What port 0 of a portal stands for (R4171-6.3.2-01)."""

ASKED = (
    Tag.ISCSI_NAME,
    Tag.NODE_TYPE,
    Tag.ALIAS,
    Tag.PORTAL_ADDRESS,
    Tag.PORTAL_PORT,
    Tag.PORTAL_SECURITY,
    Tag.PG_ADDRESS,
    Tag.PG_PORT,
    Tag.PGT,
)
"""What is asked of every target, in this order; portals and their groups follow the node that they belong to."""

NOTICED = Scn.ADDED | Scn.REMOVED | Scn.UPDATED | Scn.TARGET_ONLY
"""What an initiator wants to be told of."""

SECURITY_VALID = 0x01
"""Of a portal's security bitmap; without it the bitmap says nothing (R4171-6.3.9-01)."""


class IsnsFailure(Exception):
    """A request that an iSNS server did not fulfil. code: the status code that says so; reason: one line."""

    def __init__(self, code: StatusCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


_TROUBLE_CODES = {
    Trouble.NO_SERVER: StatusCode.ISNS_SERVER_NOT_FOUND,
    Trouble.NO_ANSWER: StatusCode.ISNS_SERVER_NOT_FOUND,
    Trouble.CLOSED: StatusCode.ISNS_SERVER_NOT_FOUND,
    Trouble.OTHER_VERSION: StatusCode.INCOMPATIBLE_ISNS_VERSION,
    Trouble.BAD_ANSWER: StatusCode.NON_SPECIFIC_ERROR,
}
_STATUS_CODES = {
    Status.VERSION_NOT_SUPPORTED: StatusCode.INCOMPATIBLE_ISNS_VERSION,
    Status.BUSY: StatusCode.ISNS_SERVER_NOT_FOUND,
}


def failure_of(outcome: Response | Trouble) -> IsnsFailure | None:
    """What is wrong with an outcome, None for a response with status 0."""
    if isinstance(outcome, Trouble):
        return IsnsFailure(_TROUBLE_CODES[outcome], f"the iSNS server: {outcome.value}")
    if not outcome.status:
        return None
    code = next((code for status, code in _STATUS_CODES.items() if status == outcome.status), None)
    return IsnsFailure(code or StatusCode.NON_SPECIFIC_ERROR, f"the iSNS server says {status_name(outcome.status)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPortal:
    """A portal of a target. tag: its portal group; security: the bitmap of tag 27, 0 where it does not count."""

    address: str
    port: int
    tag: int = 1
    security: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundTarget:
    """A target that the server told of."""

    name: str
    alias: str = ""
    portals: tuple[FoundPortal, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """All targets of an answer. invalid: names that are no iSCSI names and were left out (event 114)."""

    targets: tuple[FoundTarget, ...]
    invalid: tuple[str, ...]


def describe(
    name: str, address: str, *, alias: str = "", port: int = 0, udp: bool = False, eid: str = "", esi_interval: int = 0
) -> Description:
    """An initiator as it registers itself. port: where it takes notifications, and inquiries every esi_interval seconds
    where that is not 0; 0 for nowhere.

    Raises IsnsError for a bad name, ValueError for a bad address.
    """
    where = tcp_or_udp(port, udp=udp) if port else 0
    esi = where if esi_interval else 0
    return Description(
        eid=eid or name,
        # A port of its own tells its portal from those of other initiators and targets of the host (R4171-6.3.2-01).
        portals=(PortalSpec(address=address, port=port, scn=where, esi=esi, esi_interval=esi_interval),),
        nodes=(NodeSpec(name=name, type=NodeType.INITIATOR, alias=alias, bitmap=NOTICED if port else 0),),
    )


def target_query(name: str, writer: Writer | None = None) -> Request:
    """The question for all targets that the initiator may see."""
    key = (number(Tag.NODE_TYPE, NodeType.TARGET),)
    return (writer or Writer()).query(name, key, ASKED)


@dataclass(kw_only=True)
class _Node:
    """A node while its attributes come in. groups: the tag of each portal that a group names."""

    name: str
    type: int = int(NodeType.TARGET)
    alias: str = ""
    portals: list[FoundPortal] = field(default_factory=list)
    groups: dict[tuple[str, int], int] = field(default_factory=dict)


def targets_of(response: Response) -> Found:
    """Read an answer to `target_query`. Raises IsnsError where attributes have wrong forms."""
    nodes: list[_Node] = []
    invalid: list[str] = []
    left = list(response.operating)
    while left:
        item = left.pop(0)
        if item.tag == Tag.ISCSI_NAME:
            nodes.append(_Node(name=item.text))
        elif nodes:
            _add(nodes[-1], item, left)
    targets = []
    for node in nodes:
        try:
            check_name(node.name, upper_hex=True)
        except IscsiNameError:
            invalid.append(node.name)
            continue
        if node.type & NodeType.TARGET:
            portals = tuple(
                FoundPortal(
                    address=portal.address,
                    port=portal.port & 0xFFFF or ISCSI_PORT,
                    tag=node.groups.get((portal.address, portal.port), 1),
                    security=portal.security,
                )
                for portal in node.portals
                if not portal.port & UDP_PORT
            )
            targets.append(FoundTarget(name=node.name, alias=node.alias, portals=portals))
    return Found(targets=tuple(targets), invalid=tuple(invalid))


def _next(left: list[Attribute], tag: Tag) -> int:
    """The number that has to follow. Raises IsnsError (2)."""
    if not left or left[0].tag != tag:
        raise IsnsError(Status.MESSAGE_FORMAT_ERROR, "R4171-5.6.4-04", f"{tag.name} is missing")
    return left.pop(0).number


def _add(node: _Node, item: Attribute, left: list[Attribute]) -> None:
    if item.tag == Tag.NODE_TYPE:
        node.type = item.number
    elif item.tag == Tag.ALIAS:
        node.alias = item.text
    elif item.tag == Tag.PORTAL_ADDRESS:
        port = _next(left, Tag.PORTAL_PORT)
        node.portals.append(FoundPortal(address=host_of(item.value), port=port))
    elif item.tag == Tag.PORTAL_SECURITY and node.portals:
        last = node.portals.pop()
        security = item.number if item.number & SECURITY_VALID else 0
        node.portals.append(FoundPortal(address=last.address, port=last.port, security=security))
    elif item.tag == Tag.PG_ADDRESS:
        port = _next(left, Tag.PG_PORT)
        tag = _next(left, Tag.PGT) if left and left[0].tag == Tag.PGT else 1
        node.groups[host_of(item.value), port] = tag
