"""The table of attributes (RFC 4171 6.1), as far as iSCSI has use for them, and the names that go into them."""

from __future__ import annotations

from dataclasses import dataclass
from encodings.idna import nameprep
from enum import Enum, IntEnum
from types import MappingProxyType

from iscsi_protocol.isns.codes import Status
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.names import IscsiNameError, prepare_name


class Tag(IntEnum):
    """Attribute tags by name."""

    DELIMITER = 0
    EID = 1
    ENTITY_PROTOCOL = 2
    MANAGEMENT_ADDRESS = 3
    TIMESTAMP = 4
    VERSION_RANGE = 5
    REGISTRATION_PERIOD = 6
    ENTITY_INDEX = 7
    ENTITY_NEXT_INDEX = 8
    ENTITY_PHASE1 = 11
    ENTITY_CERTIFICATE = 12
    PORTAL_ADDRESS = 16
    PORTAL_PORT = 17
    PORTAL_NAME = 18
    ESI_INTERVAL = 19
    ESI_PORT = 20
    PORTAL_INDEX = 22
    SCN_PORT = 23
    PORTAL_NEXT_INDEX = 24
    PORTAL_SECURITY = 27
    PORTAL_PHASE1 = 28
    PORTAL_PHASE2 = 29
    PORTAL_CERTIFICATE = 31
    ISCSI_NAME = 32
    NODE_TYPE = 33
    ALIAS = 34
    SCN_BITMAP = 35
    NODE_INDEX = 36
    WWNN_TOKEN = 37
    NODE_NEXT_INDEX = 38
    AUTH_METHOD = 42
    PG_NAME = 48
    PG_ADDRESS = 49
    PG_PORT = 50
    PGT = 51
    PG_INDEX = 52
    PG_NEXT_INDEX = 53
    WWPN = 64
    SERVER_OUI = 256
    DDS_ID = 2049
    DDS_NAME = 2050
    DDS_STATUS = 2051
    DDS_NEXT_ID = 2052
    DD_ID = 2065
    DD_NAME = 2066
    DD_MEMBER_INDEX = 2067
    DD_MEMBER_NAME = 2068
    DD_MEMBER_PORTAL_INDEX = 2070
    DD_MEMBER_ADDRESS = 2071
    DD_MEMBER_PORT = 2072
    DD_FEATURES = 2078
    DD_NEXT_ID = 2079


class Form(Enum):
    """How a value is written. TEXT and NAME end with NUL; ADDRESS is IPv6, or IPv4 mapped into it (R4171-6.3.1-01)."""

    NOTHING = "nothing"
    TEXT = "text"
    NAME = "name"
    NUMBER = "number"
    LONG = "long"
    ADDRESS = "address"
    BYTES = "bytes"
    PGT = "pgt"


class Kind(Enum):
    """The objects that attributes belong to (3)."""

    ENTITY = "entity"
    PORTAL = "portal"
    NODE = "node"
    GROUP = "portal group"
    DOMAIN = "discovery domain"
    SET = "discovery domain set"
    SERVER = "server"


_LENGTHS = {
    Form.NOTHING: (0, 0),
    Form.TEXT: (4, 256),
    Form.NAME: (4, 224),
    Form.NUMBER: (4, 4),
    Form.LONG: (8, 8),
    Form.ADDRESS: (16, 16),
    Form.BYTES: (0, 65535),
    Form.PGT: (4, 4),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One attribute. registers: the tags of the keys that it is registered behind, () for what only the server sets.

    queried_by: the tags that a query's message key may have for it; least, most: bytes of a value that is there.
    """

    tag: Tag
    kind: Kind
    form: Form
    registers: tuple[int, ...]
    queried_by: tuple[int, ...]

    @property
    def least(self) -> int:
        """The shortest value, in bytes."""
        return _LENGTHS[self.form][0]

    @property
    def most(self) -> int:
        """The longest value, in bytes."""
        return _LENGTHS[self.form][1]


_ENTITY = (1, 2, 16, 17, 32)
_PORTAL = (1, 16, 17, 32)
_NODE = (1, 16, 17, 32)
_GROUP = (1, 16, 17, 32, 52)
_DD = (2065,)
_DDS = (2049,)

_ROWS = (
    Row(Tag.EID, Kind.ENTITY, Form.TEXT, (1,), _ENTITY),
    Row(Tag.ENTITY_PROTOCOL, Kind.ENTITY, Form.NUMBER, (1,), _ENTITY),
    Row(Tag.MANAGEMENT_ADDRESS, Kind.ENTITY, Form.ADDRESS, (1,), _ENTITY),
    Row(Tag.TIMESTAMP, Kind.ENTITY, Form.LONG, (), _ENTITY),
    Row(Tag.VERSION_RANGE, Kind.ENTITY, Form.NUMBER, (1,), _ENTITY),
    Row(Tag.REGISTRATION_PERIOD, Kind.ENTITY, Form.NUMBER, (1,), _ENTITY),
    Row(Tag.ENTITY_INDEX, Kind.ENTITY, Form.NUMBER, (1,), _ENTITY),
    Row(Tag.ENTITY_NEXT_INDEX, Kind.ENTITY, Form.NUMBER, (), _ENTITY),
    Row(Tag.ENTITY_PHASE1, Kind.ENTITY, Form.BYTES, (1,), _ENTITY),
    Row(Tag.ENTITY_CERTIFICATE, Kind.ENTITY, Form.BYTES, (1,), _ENTITY),
    Row(Tag.PORTAL_ADDRESS, Kind.PORTAL, Form.ADDRESS, (1,), _PORTAL),
    Row(Tag.PORTAL_PORT, Kind.PORTAL, Form.NUMBER, (1,), _PORTAL),
    Row(Tag.PORTAL_NAME, Kind.PORTAL, Form.TEXT, (16, 17), _PORTAL),
    Row(Tag.ESI_INTERVAL, Kind.PORTAL, Form.NUMBER, (16, 17), _PORTAL),
    Row(Tag.ESI_PORT, Kind.PORTAL, Form.NUMBER, (16, 17), _PORTAL),
    Row(Tag.PORTAL_INDEX, Kind.PORTAL, Form.NUMBER, (16, 17), _PORTAL),
    Row(Tag.SCN_PORT, Kind.PORTAL, Form.NUMBER, (16, 17), _PORTAL),
    Row(Tag.PORTAL_NEXT_INDEX, Kind.PORTAL, Form.NUMBER, (), _PORTAL),
    Row(Tag.PORTAL_SECURITY, Kind.PORTAL, Form.NUMBER, (16, 17), _PORTAL),
    Row(Tag.PORTAL_PHASE1, Kind.PORTAL, Form.BYTES, (16, 17), _PORTAL),
    Row(Tag.PORTAL_PHASE2, Kind.PORTAL, Form.BYTES, (16, 17), _PORTAL),
    Row(Tag.PORTAL_CERTIFICATE, Kind.PORTAL, Form.BYTES, (16, 17), _PORTAL),
    Row(Tag.ISCSI_NAME, Kind.NODE, Form.NAME, (1,), (1, 16, 17, 32, 33)),
    Row(Tag.NODE_TYPE, Kind.NODE, Form.NUMBER, (32,), _NODE),
    Row(Tag.ALIAS, Kind.NODE, Form.TEXT, (32,), _NODE),
    Row(Tag.SCN_BITMAP, Kind.NODE, Form.NUMBER, (32,), _NODE),
    Row(Tag.NODE_INDEX, Kind.NODE, Form.NUMBER, (32,), _NODE),
    Row(Tag.WWNN_TOKEN, Kind.NODE, Form.LONG, (32,), _NODE),
    Row(Tag.NODE_NEXT_INDEX, Kind.NODE, Form.NUMBER, (), _NODE),
    Row(Tag.AUTH_METHOD, Kind.NODE, Form.TEXT, (32,), _NODE),
    Row(Tag.PG_NAME, Kind.GROUP, Form.NAME, (32, 16, 17), _GROUP),
    Row(Tag.PG_ADDRESS, Kind.GROUP, Form.ADDRESS, (32, 16, 17), _GROUP),
    Row(Tag.PG_PORT, Kind.GROUP, Form.NUMBER, (32, 16, 17), _GROUP),
    Row(Tag.PGT, Kind.GROUP, Form.PGT, (32, 16, 17), _GROUP),
    Row(Tag.PG_INDEX, Kind.GROUP, Form.NUMBER, (32, 16, 17), _GROUP),
    Row(Tag.PG_NEXT_INDEX, Kind.GROUP, Form.NUMBER, (), _GROUP),
    Row(Tag.SERVER_OUI, Kind.SERVER, Form.NUMBER, (), (32,)),
    Row(Tag.DDS_ID, Kind.SET, Form.NUMBER, (2049,), (1, 32, 2049, 2065)),
    Row(Tag.DDS_NAME, Kind.SET, Form.TEXT, (2049,), _DDS),
    Row(Tag.DDS_STATUS, Kind.SET, Form.NUMBER, (2049,), _DDS),
    Row(Tag.DDS_NEXT_ID, Kind.SET, Form.NUMBER, (), _DDS),
    Row(Tag.DD_ID, Kind.DOMAIN, Form.NUMBER, (2049,), (1, 32, 2049, 2065)),
    Row(Tag.DD_NAME, Kind.DOMAIN, Form.TEXT, (2065,), _DD),
    Row(Tag.DD_MEMBER_INDEX, Kind.DOMAIN, Form.NUMBER, (2065,), _DD),
    Row(Tag.DD_MEMBER_NAME, Kind.DOMAIN, Form.NAME, (2065,), _DD),
    Row(Tag.DD_MEMBER_PORTAL_INDEX, Kind.DOMAIN, Form.NUMBER, (2065,), _DD),
    Row(Tag.DD_MEMBER_ADDRESS, Kind.DOMAIN, Form.ADDRESS, (2065,), _DD),
    Row(Tag.DD_MEMBER_PORT, Kind.DOMAIN, Form.NUMBER, (2065,), _DD),
    Row(Tag.DD_FEATURES, Kind.DOMAIN, Form.NUMBER, (2065,), _DD),
    Row(Tag.DD_NEXT_ID, Kind.DOMAIN, Form.NUMBER, (), _DD),
)

ATTRIBUTES = MappingProxyType({int(row.tag): row for row in _ROWS})
"""Every attribute by tag; what is not in it (Fibre Channel, vendors) is not implemented."""

KEYS = MappingProxyType(
    {
        Kind.ENTITY: (Tag.EID,),
        Kind.PORTAL: (Tag.PORTAL_ADDRESS, Tag.PORTAL_PORT),
        Kind.NODE: (Tag.ISCSI_NAME,),
        Kind.GROUP: (Tag.PG_NAME, Tag.PG_ADDRESS, Tag.PG_PORT),
        Kind.DOMAIN: (Tag.DD_ID,),
        Kind.SET: (Tag.DDS_ID,),
    }
)
"""The key attributes of an object, in the order in which they are listed."""

INDEXES = MappingProxyType(
    {
        Tag.ENTITY_INDEX: Kind.ENTITY,
        Tag.PORTAL_INDEX: Kind.PORTAL,
        Tag.NODE_INDEX: Kind.NODE,
        Tag.PG_INDEX: Kind.GROUP,
    }
)
"""Secondary indexes, which can stand for the keys (2.10)."""

NEXT_INDEXES = frozenset(
    {
        Tag.ENTITY_NEXT_INDEX,
        Tag.PORTAL_NEXT_INDEX,
        Tag.NODE_NEXT_INDEX,
        Tag.PG_NEXT_INDEX,
        Tag.DDS_NEXT_ID,
        Tag.DD_NEXT_ID,
    }
)

SERVER_TAGS = range(132, 385)
"""Attributes of the server, which nobody registers (R4171-6.9-01)."""

EID_LIMIT = 255
"""Bytes of an entity identifier without its NUL (R4171-6.2.1-03)."""
OWN_EID_PREFIX = "isns:"
"""Of identifiers that a server makes (R4171-6.2.1-04)."""


def row_of(tag: int) -> Row:
    """The row of an attribute. Raises IsnsError (18) for one that is not implemented."""
    try:
        return ATTRIBUTES[tag]
    except KeyError:
        raise IsnsError(Status.ATTRIBUTE_NOT_IMPLEMENTED, "R4171-5.4-05", f"attribute {tag}") from None


def tag_name(tag: int) -> str:
    """The name of a tag; a number where it has none."""
    try:
        return Tag(tag).name
    except ValueError:
        return f"attribute {tag}"


def normal_name(name: str) -> str:
    """An iSCSI name as it is stored and compared. Raises IsnsError (3) for what is none (R4171-6.4.1-03)."""
    try:
        return prepare_name(name)
    except IscsiNameError as error:
        raise IsnsError(Status.INVALID_REGISTRATION, "R4171-6.4.1-01", str(error)) from None


def normal_eid(eid: str) -> str:
    """An entity identifier as it is stored and compared. Raises IsnsError (3) (R4171-6.2.1-06)."""
    try:
        normal = nameprep(eid)
    except UnicodeError as error:
        raise IsnsError(Status.INVALID_REGISTRATION, "R4171-6.2.1-06", f"{eid!r}: {error}") from None
    if not 0 < len(normal.encode()) <= EID_LIMIT:
        raise IsnsError(Status.INVALID_REGISTRATION, "R4171-6.2.1-03", f"an EID has 1 to {EID_LIMIT} bytes")
    return normal
