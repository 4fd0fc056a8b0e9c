"""The structures that stand inside of management classes, and what they are made of here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from iscsi_initiator.discovery.instance import Group
from iscsi_initiator.service.api.values import NO_OPTIONS, LoginOptions
from iscsi_initiator.service.management.schema import Kind, Property, Row, Structure
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LoginOptions as StoredOptions
from iscsi_initiator.store.state import LunMapping, Portal

P, U8, U16, U32, U64 = Property, Kind.UINT8, Kind.UINT16, Kind.UINT32, Kind.UINT64
TEXT, FLAG, OCTETS = Kind.STRING, Kind.BOOLEAN, Kind.OCTETS

ANY_PORT = 0xFFFFFFFF
"""InitiatorPortNumber for any port."""

_TYPE_TEXT, _TYPE_IPV4, _TYPE_IPV6, _TYPE_EMPTY = range(4)

IP_ADDRESS = Structure(
    "ISCSI_IP_Address",
    (
        P("Type", U32),
        P("IpV4Address", U32),
        P("IpV6Address", OCTETS),
        P("IpV6FlowInfo", U32),
        P("IpV6ScopeId", U32),
        P("TextAddress", TEXT),
    ),
)
PORTAL_INFO = Structure(
    "ISCSI_PortalInfo",
    (
        P("Index", U32),
        P("PortalType", U8),
        P("Protocol", U8),
        P("Reserved1", U8),
        P("Reserved2", U8),
        P("IPAddr", IP_ADDRESS),
        P("Port", U32),
        P("PortalTag", U16),
    ),
)
CONNECTION_STATIC = Structure(
    "ISCSI_ConnectionStaticInfo",
    (
        P("UniqueConnectionId", U64),
        P("CID", U16),
        P("State", U8),
        P("Protocol", U8),
        P("HeaderIntegrity", U8),
        P("DataIntegrity", U8),
        P("Reserved", U16),
        P("MaxRecvDataSegmentLength", U32),
        P("AuthType", U32),
        P("LocalAddr", IP_ADDRESS),
        P("LocalPort", U32),
        P("RemoteAddr", IP_ADDRESS),
        P("RemotePort", U32),
        P("EstimatedThroughput", U64),
        P("MaxDatagramSize", U32),
    ),
)
SESSION_STATIC = Structure(
    "ISCSI_SessionStaticInfo",
    (
        P("UniqueSessionId", U64),
        P("InitiatoriSCSIName", TEXT),
        P("TargetiSCSIName", TEXT),
        P("TSID", U16),
        P("ISID", OCTETS),
        P("InitialR2t", FLAG),
        P("ImmediateData", FLAG),
        P("Type", U8),
        P("DataSequenceInOrder", FLAG),
        P("DataPduInOrder", FLAG),
        P("ErrorRecoveryLevel", U8),
        P("MaxOutstandingR2t", U32),
        P("FirstBurstLength", U32),
        P("MaxBurstLength", U32),
        P("MaxConnections", U32),
        P("ConnectionCount", U16),
        P("ConnectionsList", CONNECTION_STATIC, array=True),
    ),
)
PATH = Structure(
    "ISCSI_Path",
    (
        P("UniqueConnectionId", U64, required=True),
        P("EstimatedLinkSpeed", U64),
        P("PathWeight", U32),
        P("PrimaryPath", U32),
        P("ConnectionStatus", U32),
        P("TCPOffLoadAvailable", U32),
    ),
)
LB_POLICIES = Structure(
    "ISCSI_Supported_LB_Policies",
    (
        P("UniqueSessionId", U64, required=True),
        P("LoadBalancePolicy", U32, required=True),
        P("iSCSI_PathCount", U32),
        P("iSCSI_Paths", PATH, array=True),
    ),
)
REDIRECT_PORTAL = Structure(
    "ISCSI_RedirectPortalInfo",
    (
        P("UniqueConnectionId", U64),
        P("OriginalIPAddr", IP_ADDRESS),
        P("OriginalPort", U32),
        P("RedirectedIPAddr", IP_ADDRESS),
        P("RedirectedPort", U32),
        P("Redirected", U8),
        P("TemporaryRedirect", U8),
    ),
)
REDIRECT_SESSION = Structure(
    "ISCSI_RedirectSessionInfo",
    (
        P("UniqueSessionId", U64),
        P("TargetPortalGroupTag", U32),
        P("ConnectionCount", U32),
        P("RedirectPortalList", REDIRECT_PORTAL, array=True),
    ),
)
HBA_PORTAL = Structure("ISCSI_TargetPortal", (P("Socket", U16), P("Address", IP_ADDRESS), P("Reserved", U32)))
HBA_OPTIONS = Structure(
    "ISCSI_LoginOptions",
    (
        P("InformationSpecified", U32),
        P("LoginFlags", U32),
        P("AuthType", U32),
        P("HeaderDigest", U32),
        P("DataDigest", U32),
        P("MaximumConnections", U32),
        P("DefaultTime2Wait", U32),
        P("DefaultTime2Retain", U32),
    ),
)
PORTAL = Structure(
    "MSiSCSIInitiator_Portal",
    (P("Index", U32), P("SymbolicName", TEXT), P("Address", TEXT, required=True), P("Port", U16)),
)
PORTAL_GROUP = Structure("MSiSCSIInitiator_PortalGroup", (P("Index", U32), P("Portals", PORTAL, array=True)))
LUN = Structure("MSiSCSIInitiator_LUNList", (P("OSLunNumber", U32), P("TargetLun", U64)))
MAPPINGS = Structure(
    "MSiSCSIInitiator_TargetMappings",
    (
        P("InitiatorName", TEXT),
        P("TargetName", TEXT),
        P("OSDeviceName", TEXT),
        P("OSBusNumber", U32),
        P("OSTargetNumber", U32),
        P("LUNList", LUN, array=True),
    ),
)
OPTIONS = Structure(
    "MSiSCSIInitiator_TargetLoginOptions",
    (
        P("Version", U32),
        P("InformationSpecified", U32),
        P("LoginFlags", U32),
        P("AuthType", U32),
        P("HeaderDigest", U32),
        P("DataDigest", U32),
        P("MaximumConnections", U32),
        P("DefaultTime2Wait", U32),
        P("DefaultTime2Retain", U32),
        P("Username", OCTETS),
        P("Password", OCTETS, secret=True),
    ),
)
CONNECTION = Structure(
    "MSiSCSIInitiator_ConnectionInformation",
    (
        P("ConnectionId", TEXT),
        P("CID", OCTETS),
        P("InitiatorAddress", TEXT),
        P("InitiatorPort", U16),
        P("TargetAddress", TEXT),
        P("TargetPort", U16),
    ),
)
DEVICE = Structure(
    "MSiSCSIInitiator_DeviceOnSession",
    (
        P("InitiatorName", TEXT),
        P("TargetName", TEXT),
        P("DeviceInterfaceName", TEXT),
        P("LegacyName", TEXT),
        P("ScsiPathId", U8),
        P("ScsiTargetId", U8),
        P("ScsiLun", U8),
        P("ScsiPortNumber", U8),
        P("DeviceInterfaceGuid", TEXT),
        P("DeviceType", U32),
        P("DeviceNumber", U32),
        P("PartitionNumber", U32),
    ),
)
AUTHENTICATION = Structure(
    "MSiSCSIInitiator_IKEPresharedKeyAuthenticationInfo",
    (
        P("AuthMethod", U32),
        P("SecurityFlags", U64),
        P("IdType", U32, required=True),
        P("Id", OCTETS, required=True),
        P("Key", OCTETS, required=True, secret=True),
    ),
)

_SPECIFIED: Mapping[str, int] = {
    "HeaderDigest": 0x01,
    "DataDigest": 0x02,
    "MaximumConnections": 0x04,
    "DefaultTime2Wait": 0x08,
    "DefaultTime2Retain": 0x10,
    "Username": 0x20,
    "Password": 0x40,
    "AuthType": 0x80,
}
"""The bits of InformationSpecified."""


# Out of the service.


def ip_address(address: str | None) -> Row:
    """An address, None for none; what is no number stands as text. IpV4Address: the address as one number."""
    empty = {"IpV4Address": 0, "IpV6Address": bytes(16), "IpV6FlowInfo": 0, "IpV6ScopeId": 0, "TextAddress": ""}
    if address is None:
        return {"Type": _TYPE_EMPTY, **empty}
    text, _, scope = address.partition("%")
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return {"Type": _TYPE_TEXT, **empty, "TextAddress": address}
    if found.version == 4:
        return {"Type": _TYPE_IPV4, **empty, "IpV4Address": int(found), "TextAddress": address}
    scope_id = int(scope) if scope.isdecimal() else 0
    packed = {"IpV6Address": found.packed, "IpV6ScopeId": scope_id, "TextAddress": address}
    return {"Type": _TYPE_IPV6, **empty, **packed}


def shown_portal(portal: Portal | None, index: int = 0) -> Row | None:
    """A portal of a target."""
    if portal is None:
        return None
    return {"Index": index, "SymbolicName": "", "Address": portal.address, "Port": portal.port}


def shown_groups(groups: Iterable[Group]) -> list[Row]:
    """Portal groups; Index is the place, since discovery need not tell a tag."""
    return [
        {"Index": place, "Portals": [shown_portal(portal, number) for number, portal in enumerate(group.portals)]}
        for place, group in enumerate(groups)
    ]


def shown_mappings(mappings: Sequence[LunMapping], initiator: str | None, target_name: str) -> Row | None:
    """Where LUNs appear; None where nothing is said about it."""
    if not mappings:
        return None
    first = mappings[0]
    return {
        "InitiatorName": initiator or "",
        "TargetName": target_name,
        "OSDeviceName": "",
        "OSBusNumber": first.os_bus,
        "OSTargetNumber": first.os_target,
        "LUNList": [{"OSLunNumber": each.os_lun, "TargetLun": each.target_lun} for each in mappings],
    }


def shown_options(options: StoredOptions) -> Row:
    """Options of a login; the password never. InformationSpecified tells which of the others are said, Password included."""
    said: dict[str, Any] = {
        "HeaderDigest": None if options.header_digest is None else int(options.header_digest),
        "DataDigest": None if options.data_digest is None else int(options.data_digest),
        "MaximumConnections": options.maximum_connections,
        "DefaultTime2Wait": options.default_time2wait,
        "DefaultTime2Retain": options.default_time2retain,
        "Username": None if options.user_name is None else options.user_name.encode(),
        "AuthType": int(options.auth_type) or None,
    }
    specified = sum(_SPECIFIED[name] for name, value in said.items() if value is not None)
    specified |= 0 if options.password is None else _SPECIFIED["Password"]
    empty: dict[str, Any] = {**dict.fromkeys(said, 0), "Username": b"", "Password": b""}
    values = {name: value for name, value in said.items() if value is not None}
    return {"Version": 0, "InformationSpecified": specified, "LoginFlags": options.login_flags, **empty, **values}


# Into the service.


def given_portal(value: Row | None) -> Portal | None:
    """A portal that somebody gives. Raises Refused INVALID_PARAMETER."""
    if value is None:
        return None
    port = value.get("Port")
    if port == 0:
        raise Refused(StatusCode.INVALID_PARAMETER, "the TCP port of a portal is 1 to 65535, not 0")
    return Portal(address=value["Address"]) if port is None else Portal(address=value["Address"], port=port)


def given_options(value: Row | None) -> LoginOptions:
    """Options that somebody gives; with InformationSpecified, only those whose bits it has count. Raises Refused."""
    if value is None:
        return NO_OPTIONS
    specified = value.get("InformationSpecified")
    said = {
        name: given
        for name, given in value.items()
        if name not in _SPECIFIED or specified is None or specified & _SPECIFIED[name]
    }
    return LoginOptions(
        login_flags=said.get("LoginFlags", 0),
        header_digest=_digest(said.get("HeaderDigest")),
        data_digest=_digest(said.get("DataDigest")),
        maximum_connections=said.get("MaximumConnections"),
        default_time2wait=said.get("DefaultTime2Wait"),
        default_time2retain=said.get("DefaultTime2Retain"),
        user_name=given_text(said.get("Username"), "Username"),
        password=said.get("Password"),
        auth_type=said.get("AuthType", 0),
    )


def _digest(value: int | None) -> bool | None:
    if value not in (None, 0, 1):
        raise Refused(StatusCode.LOGIN_USER_INFO_BAD, f"a digest is 0 for none or 1 for CRC32C, not {value}")
    return None if value is None else bool(value)


def given_text(value: bytes | None, what: str) -> str | None:
    """Octets that are text. Raises Refused INVALID_PARAMETER."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise Refused(StatusCode.INVALID_PARAMETER, f"{what} is no text in UTF-8") from error


def given_mappings(value: Row | None) -> tuple[LunMapping, ...]:
    """Mappings that somebody gives."""
    if value is None:
        return ()
    return tuple(
        LunMapping(
            target_lun=each.get("TargetLun", 0),
            os_bus=value.get("OSBusNumber", 0),
            os_target=value.get("OSTargetNumber", 0),
            os_lun=each.get("OSLunNumber", 0),
        )
        for each in value.get("LUNList", ())
    )


def given_port(value: int | None) -> int | None:
    """The number of an initiator's port; None for any."""
    return None if value in (None, ANY_PORT) else value
