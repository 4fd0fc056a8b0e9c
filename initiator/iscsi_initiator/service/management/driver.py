"""The classes that drivers of initiators have, software and adapters alike: one instance for each initiator instance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from iscsi_initiator.connection import Connection, State
from iscsi_initiator.discovery.adapters import KeyCache, management
from iscsi_initiator.multipath import LoadBalance
from iscsi_initiator.service.api.balance import PathSetting, SetLoadBalancePolicy
from iscsi_initiator.service.management.schema import ManagementClass, Method, Property, Row, taken
from iscsi_initiator.service.management.shapes import (
    FLAG,
    IP_ADDRESS,
    LB_POLICIES,
    OCTETS,
    PORTAL_INFO,
    REDIRECT_SESSION,
    SESSION_STATIC,
    TEXT,
    U8,
    U32,
    U64,
    P,
    ip_address,
)
from iscsi_initiator.service.versions import PROJECT, project_version
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_protocol.negotiation.keys import SessionType

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core
    from iscsi_initiator.service.live import LiveSession
    from iscsi_initiator.service.ports import LocalInstance

INSTANCE = (P("InstanceName", TEXT, key=True), P("Active", FLAG))
ADAPTER_ID = P("UniqueAdapterId", U64)

_TCP = 6
_MAX_CDB = 260
_KEY_CACHE, _TUNNEL_MODE = 0x1, 0x4
_LOGIN, _FULL, _LOGOUT = range(3)
_CONNECTED, _DISCONNECTED, _RECONNECTING = 1, 2, 3

POLICIES: Mapping[int, LoadBalance] = MappingProxyType(
    {
        1: LoadBalance.FAIL_OVER_ONLY,
        2: LoadBalance.ROUND_ROBIN,
        3: LoadBalance.ROUND_ROBIN_SUBSET,
        4: LoadBalance.LEAST_QUEUE_DEPTH,
        5: LoadBalance.WEIGHTED_PATHS,
    }
)
"""The classes' numbers of the policies; those of the operation have the last two the other way round."""

_NUMBERS = {policy: number for number, policy in POLICIES.items()}


def head(local: LocalInstance) -> dict[str, Any]:
    """What every instance of these classes begins with."""
    return {"InstanceName": local.name, "Active": True}


def sessions_of(core: Core, local: LocalInstance) -> list[LiveSession]:
    """The sessions of an initiator instance that are logged in."""
    return [each for each in core.sessions.values() if each.initiator == local.name]


def told(local: LocalInstance, name: str, properties: Iterable[Property]) -> list[dict[str, Any]]:
    """What an adapter tells of itself for a class; nothing where it does not. Raises Refused DRIVER_BUG for what does not
    fit the properties, and what the adapter says.
    """
    if local.adapter is None:
        return []
    every = tuple(properties)
    try:
        return [taken(every, row, name) for row in management(local.name, local.adapter, name)]
    except Refused as error:
        if error.status is not StatusCode.INVALID_PARAMETER:
            raise
        raise Refused(StatusCode.DRIVER_BUG, f"adapter {local.name}: {error.reason}") from error


# What the initiator is, and what it begins a session with.


def _information(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        adapter: object = local.adapter
        functions = 0 if core.ipsec is None else _TUNNEL_MODE
        if isinstance(adapter, KeyCache):
            functions |= _KEY_CACHE
        row = {
            **head(local),
            "UniqueAdapterId": core.adapter_id(local.name),
            "IntegratedTCPIP": True,
            "RequiresBinaryIpAddresses": True,
            "VersionMin": 0,
            "VersionMax": 0,
            "MultifunctionDevice": False,
            "CacheValid": True,
            "NumberOfPorts": max(1, len(local.addresses)),
            "Status": 0,
            "FunctionalitySupported": functions,
            "GenerationalGuid": bytes(16),
            "MaxCDBLength": _MAX_CDB,
            "BiDiScsiCommands": True,
            "VendorID": PROJECT,
            "VendorModel": "software initiator" if local.record.plug_in is None else local.record.plug_in,
            "VendorVersion": project_version(),
            "FirmwareVersion": "",
            "AsicVersion": "",
            "OptionRomVersion": "",
            "SerialNumber": "",
            "DriverName": "iscsi_initiator",
        }
        for own in told(local, "MSiSCSI_HBAInformation", _INFORMATION[3:]):
            row.update(own)
        rows.append(row)
    return rows


_INFORMATION = (
    *INSTANCE,
    ADAPTER_ID,
    P("IntegratedTCPIP", FLAG),
    P("RequiresBinaryIpAddresses", FLAG),
    P("VersionMin", U8),
    P("VersionMax", U8),
    P("MultifunctionDevice", FLAG),
    P("CacheValid", FLAG),
    P("NumberOfPorts", U32),
    P("Status", U32),
    P("FunctionalitySupported", U32),
    P("GenerationalGuid", OCTETS),
    P("MaxCDBLength", U32),
    P("BiDiScsiCommands", FLAG),
    P("VendorID", TEXT),
    P("VendorModel", TEXT),
    P("VendorVersion", TEXT),
    P("FirmwareVersion", TEXT),
    P("AsicVersion", TEXT),
    P("OptionRomVersion", TEXT),
    P("SerialNumber", TEXT),
    P("DriverName", TEXT),
)


def _session_defaults(core: Core) -> list[Row]:
    settings = core.settings
    return [
        {
            **head(local),
            "InitialR2T": settings.initial_r2t,
            "ImmediateData": settings.immediate_data,
            "MaxRecvDataSegmentLength": settings.max_recv_data_segment_length,
            "MaxBurstLength": settings.max_burst_length,
            "FirstBurstLength": settings.first_burst_length,
            "MaxOutstandingR2T": settings.max_outstanding_r2t,
        }
        for local in core.instances
    ]


def _portals(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        portals = [
            {
                "Index": number,
                "PortalType": 0,
                "Protocol": _TCP,
                "Reserved1": 0,
                "Reserved2": 0,
                "IPAddr": ip_address(address),
                "Port": 0,
                "PortalTag": number,
            }
            for number, address in enumerate(local.addresses or (None,))
        ]
        rows.append({**head(local), "PortalInfoCount": len(portals), "PortalInformation": portals})
    return rows


# Sessions and connections.


def _session_info(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        sessions = [_static(each) for each in sessions_of(core, local)]
        counted = {"UniqueAdapterId": core.adapter_id(local.name), "SessionCount": len(sessions)}
        rows.append({**head(local), **counted, "SessionsList": sessions})
    return rows


_SESSION_TYPES = {SessionType.NORMAL: 0, SessionType.DISCOVERY: 2}


def _static(session: LiveSession) -> Row:
    client = session.client
    agreed = client.parameters
    connections = [_connection(session, each) for each in client.session.connections.values()]
    return {
        "UniqueSessionId": session.usid,
        "InitiatoriSCSIName": session.node_name,
        "TargetiSCSIName": session.target_name,
        "TSID": client.tsih,
        "ISID": session.isid,
        "InitialR2t": agreed.initial_r2t,
        "ImmediateData": agreed.immediate_data,
        "Type": _SESSION_TYPES[agreed.session_type],
        "DataSequenceInOrder": agreed.data_sequence_in_order,
        "DataPduInOrder": agreed.data_pdu_in_order,
        "ErrorRecoveryLevel": agreed.error_recovery_level,
        "MaxOutstandingR2t": agreed.max_outstanding_r2t,
        "FirstBurstLength": agreed.first_burst_length,
        "MaxBurstLength": agreed.max_burst_length,
        "MaxConnections": agreed.max_connections,
        "ConnectionCount": len(connections),
        "ConnectionsList": connections,
    }


def _connection(session: LiveSession, connection: Connection) -> Row:
    local, remote = session.client.ends_of(connection.cid)
    agreed = session.client.parameters if connection.link is None else connection.link.parameters
    state = _LOGOUT if connection.state is State.LOGOUT else _FULL if connection.up else _LOGIN
    return {
        "UniqueConnectionId": session.unique_connection_id(connection.cid),
        "CID": connection.cid,
        "State": state,
        "Protocol": _TCP,
        "HeaderIntegrity": int(agreed.header_digest),
        "DataIntegrity": int(agreed.data_digest),
        "Reserved": 0,
        "MaxRecvDataSegmentLength": agreed.max_recv_data_segment_length_initiator,
        "AuthType": int(session.options.authentication.type),
        "LocalAddr": ip_address(None if local is None else local.host),
        "LocalPort": 0 if local is None else local.port,
        "RemoteAddr": ip_address(remote.host),
        "RemotePort": remote.port,
        "EstimatedThroughput": 0,
        "MaxDatagramSize": 0,
    }


def _redirects(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        sessions = []
        for session in sessions_of(core, local):
            portals = [
                {
                    "UniqueConnectionId": session.unique_connection_id(each.cid),
                    "OriginalIPAddr": ip_address(each.redirect.original.host),
                    "OriginalPort": each.redirect.original.port,
                    "RedirectedIPAddr": ip_address(each.redirect.there.host),
                    "RedirectedPort": each.redirect.there.port,
                    "Redirected": 1,
                    "TemporaryRedirect": int(each.redirect.temporary),
                }
                for each in session.client.session.connections.values()
                if each.redirect is not None
            ]
            if portals:
                tag = {"UniqueSessionId": session.usid, "TargetPortalGroupTag": session.group_tag}
                sessions.append({**tag, "ConnectionCount": len(portals), "RedirectPortalList": portals})
        counted = {"UniqueAdapterId": core.adapter_id(local.name), "SessionCount": len(sessions)}
        rows.append({**head(local), **counted, "RedirectSessionList": sessions})
    return rows


# Load balancing between the connections of a session.


def _policies(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        policies = [_policy(each) for each in sessions_of(core, local)]
        counted = {"UniqueAdapterId": core.adapter_id(local.name), "Reserved": 0, "SessionCount": len(policies)}
        rows.append({**head(local), **counted, "LoadBalancePolicies": policies})
    return rows


def _policy(session: LiveSession) -> Row:
    found = session.client.session
    paths = [
        {
            "UniqueConnectionId": session.unique_connection_id(path.id),
            "EstimatedLinkSpeed": 0,
            "PathWeight": path.weight,
            "PrimaryPath": int(path.active),
            "ConnectionStatus": _status(found.connections[path.id]),
            "TCPOffLoadAvailable": 0,
        }
        for path in found.balance.paths
    ]
    return {
        "UniqueSessionId": session.usid,
        "LoadBalancePolicy": _NUMBERS[found.balance.policy],
        "iSCSI_PathCount": len(paths),
        "iSCSI_Paths": paths,
    }


def _status(connection: Connection) -> int:
    if connection.up:
        return _CONNECTED
    return _DISCONNECTED if connection.state in (State.NEW, State.OVER) else _RECONNECTING


def _set_policy(row: Row, arguments: Row) -> SetLoadBalancePolicy:
    """The operation, whose ids have the adapter's id in front of the numbers of the class."""
    wanted, prefix = arguments["LoadBalancePolicies"], row["UniqueAdapterId"]
    policy, paths = wanted["LoadBalancePolicy"], wanted.get("iSCSI_Paths", [])
    if wanted.get("iSCSI_PathCount", len(paths)) != len(paths):
        reason = f"{len(paths)} paths stand where iSCSI_PathCount says {wanted['iSCSI_PathCount']}"
        raise Refused(StatusCode.PATH_COUNT_MISMATCH, reason)
    if policy not in POLICIES:
        reason = f"policies have the numbers 1 to {max(POLICIES)}, not {policy}"
        raise Refused(StatusCode.INVALID_LOAD_BALANCE_POLICY, reason)
    return SetLoadBalancePolicy(
        session_id=f"{prefix:x}-{wanted['UniqueSessionId']:x}",
        policy=int(POLICIES[policy]),
        paths=tuple(
            PathSetting(
                connection_id=f"{prefix:x}-{each['UniqueConnectionId']:x}",
                active=bool(each.get("PrimaryPath", 1)),
                weight=each.get("PathWeight", 0),
            )
            for each in paths
        ),
    )


def _operations(core: Core) -> list[Row]:
    return [{**head(local), "UniqueAdapterId": core.adapter_id(local.name)} for local in core.instances]


CLASSES = (
    ManagementClass(
        name="MSiSCSI_HBAInformation",
        says="what the initiator can do",
        properties=_INFORMATION,
        instances=_information,
    ),
    ManagementClass(
        name="MSiSCSI_HBASessionConfig",
        says="what sessions are begun with",
        properties=(
            *INSTANCE,
            P("InitialR2T", FLAG),
            P("ImmediateData", FLAG),
            P("MaxRecvDataSegmentLength", U32),
            P("MaxBurstLength", U32),
            P("FirstBurstLength", U32),
            P("MaxOutstandingR2T", U32),
        ),
        instances=_session_defaults,
    ),
    ManagementClass(
        name="MSiSCSI_PortalInfoClass",
        says="the ports that connections begin at",
        properties=(*INSTANCE, P("PortalInfoCount", U32), P("PortalInformation", PORTAL_INFO, array=True)),
        instances=_portals,
    ),
    ManagementClass(
        name="MSiSCSI_InitiatorSessionInfo",
        says="sessions and their connections, with what was agreed on",
        properties=(*INSTANCE, ADAPTER_ID, P("SessionCount", U32), P("SessionsList", SESSION_STATIC, array=True)),
        instances=_session_info,
    ),
    ManagementClass(
        name="MSiSCSI_QueryLBPolicy",
        says="how requests are spread over the connections of each session",
        properties=(
            *INSTANCE,
            ADAPTER_ID,
            P("Reserved", U32),
            P("SessionCount", U32),
            P("LoadBalancePolicies", LB_POLICIES, array=True),
        ),
        instances=_policies,
    ),
    ManagementClass(
        name="MSiSCSI_LB_Operations",
        says="sets how requests are spread over the connections of a session",
        properties=(*INSTANCE, ADAPTER_ID),
        instances=_operations,
        methods=(
            Method(
                name="SetLoadBalancePolicy",
                says="policy, and the connections of a session as paths; no paths for all alike",
                arguments=(P("LoadBalancePolicies", LB_POLICIES, required=True),),
                request=_set_policy,
            ),
        ),
    ),
    ManagementClass(
        name="MSiSCSI_Redirect_PortalInfoClass",
        aliases=("MSiSCSI_RedirectPortalInfoClass",),
        says="sessions whose logins were sent on to another portal",
        properties=(
            *INSTANCE,
            ADAPTER_ID,
            P("SessionCount", U32),
            P("RedirectSessionList", REDIRECT_SESSION, array=True),
        ),
        instances=_redirects,
    ),
    ManagementClass(
        name="MSiSCSI_InitiatorNodeFailureEvent",
        says="a login or a logout came to nothing",
        properties=(
            *INSTANCE,
            P("FailureTime", U64),
            P("FailureType", U8),
            P("TargetFailureName", TEXT),
            P("TargetFailureAddr", IP_ADDRESS),
        ),
    ),
    ManagementClass(
        name="MSiSCSI_InitiatorInstanceFailureEvent",
        says="a session failed",
        properties=(*INSTANCE, P("FailureType", U8), P("RemoteNodeName", TEXT)),
    ),
)
