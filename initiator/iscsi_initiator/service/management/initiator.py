"""The classes of the initiator service, with the methods that do what its commands do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iscsi_initiator.discovery.instance import portal_text
from iscsi_initiator.service import api
from iscsi_initiator.service.devices import DISK
from iscsi_initiator.service.management.schema import Kind, ManagementClass, Method, Row
from iscsi_initiator.service.management.shapes import (
    ANY_PORT,
    AUTHENTICATION,
    CONNECTION,
    DEVICE,
    FLAG,
    MAPPINGS,
    OCTETS,
    OPTIONS,
    PORTAL,
    PORTAL_GROUP,
    TEXT,
    U8,
    U32,
    U64,
    P,
    given_mappings,
    given_options,
    given_port,
    given_portal,
    given_text,
    shown_groups,
    shown_mappings,
    shown_options,
    shown_portal,
)
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Portal

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core
    from iscsi_initiator.service.live import LiveSession

_DEVICE_DISK, _DEVICE_TAPE, _DEVICE_CD, _DEVICE_OTHER = 0x07, 0x1F, 0x02, 0x22
_DEVICE_TYPES = {DISK: _DEVICE_DISK, "Tape": _DEVICE_TAPE, "CD": _DEVICE_CD}
_PRESHARED_KEY = 1
_PORT = Kind.UINT16
_LUN = P("Lun", U64, required=True)
_SCSI = (P("ScsiStatus", U8), P("ResponseBuffer", OCTETS))
_PERSIST = P("Persist", FLAG)
_INITIATOR = (P("InitiatorName", TEXT), P("InitiatorPortNumber", U32))
_LOGIN = (P("SecurityFlags", U64), P("LoginOptions", OPTIONS), P("Key", OCTETS, secret=True))


# Targets and where they are looked for.


def _targets(core: Core) -> list[Row]:
    catalogue = core.discovery.catalogue
    return [
        {
            "TargetName": each.name,
            "DiscoveryMechanism": str(each.source),
            "InitiatorName": each.source.initiator or "",
            "ProtocolType": 0,
            "TargetAlias": each.alias or "",
            "PortalGroups": shown_groups(each.groups),
            "Mappings": shown_mappings(each.mappings, each.source.initiator, each.name),
            "TargetFlags": each.flags,
            "LoginOptions": shown_options(each.options),
        }
        for name in catalogue.names()
        for each in catalogue.instances(name)
    ]


def _log_in(row: Row, given: Row) -> api.LoginTarget | api.PersistentLoginTarget:
    kind = api.PersistentLoginTarget if given.get("IsPersistent", False) else api.LoginTarget
    return kind(
        target_name=row["TargetName"],
        report_to_pnp=not given.get("IsInformationalSession", False),
        portal=given_portal(given.get("TargetPortal")),
        initiator=given.get("InitiatorName"),
        initiator_port=given_port(given.get("InitiatorPortNumber")),
        security_flags=given.get("SecurityFlags", 0),
        options=given_options(given.get("LoginOptions")),
        key=given.get("Key"),
        mappings=given_mappings(given.get("Mappings")),
    )


def _logged_in(answer: api.Answer) -> Row:
    """A persistent login is made at the next start, and has no ids yet."""
    if isinstance(answer, api.LoggedIn):
        return {"UniqueSessionId": answer.session_id, "UniqueConnectionId": answer.connection_id}
    return {"UniqueSessionId": "", "UniqueConnectionId": ""}


def _persistent_logins(core: Core) -> list[Row]:
    return [
        {
            "TargetName": each.name,
            "IsInformationalSession": not each.report_to_pnp,
            "InitiatorInstance": each.initiator or "",
            "InitiatorPortNumber": ANY_PORT if each.initiator_port is None else each.initiator_port,
            "TargetPortal": shown_portal(each.portal),
            "SecurityFlags": each.security_flags,
            "Mappings": shown_mappings(each.mappings, each.initiator, each.target_name),
            "LoginOptions": shown_options(each.options),
        }
        for each in core.store.state.persistent_logins
    ]


def _servers(core: Core) -> list[Row]:
    return [{"iSNSServerAddress": server} for server in core.store.state.isns_servers]


def _send_targets(core: Core) -> list[Row]:
    return [
        {
            "PortalAddress": each.portal.address,
            "PortalPort": each.portal.port,
            "PortalSymbolicName": "",
            "PortalIdentifierString": portal_text(each.portal),
            "InitiatorName": each.initiator or "",
            "InitiatorPortNumber": ANY_PORT if each.initiator_port is None else each.initiator_port,
            "SecurityFlags": each.security_flags,
            "LoginOptions": shown_options(each.options),
        }
        for each in core.store.state.target_portals
    ]


def _refresh_portal(row: Row, _given: Row) -> api.RefreshTargetPortal:
    return api.RefreshTargetPortal(
        portal=Portal(address=row["PortalAddress"], port=row["PortalPort"]),
        initiator=row["InitiatorName"] or None,
        initiator_port=given_port(row["InitiatorPortNumber"]),
    )


def _initiators(core: Core) -> list[Row]:
    return [{"InitiatorName": each.name} for each in core.instances]


# Sessions.


def _sessions(core: Core) -> list[Row]:
    return [
        {
            "SessionId": each.session_id,
            "InitiatorName": each.initiator,
            "TargetNodeName": each.target_name,
            "TargetName": each.target_name,
            "ISID": each.isid,
            "TSID": each.client.tsih.to_bytes(2, "big"),
            "ConnectionInformation": _connections(each),
            "Devices": _devices(core, each),
        }
        for each in core.sessions.values()
    ]


def _connections(session: LiveSession) -> list[Row]:
    return [
        {
            "ConnectionId": each.connection_id,
            "CID": each.cid.to_bytes(2, "big"),
            "InitiatorAddress": "" if each.initiator_portal is None else each.initiator_portal.address,
            "InitiatorPort": 0 if each.initiator_portal is None else each.initiator_portal.port,
            "TargetAddress": each.target_portal.address,
            "TargetPort": each.target_portal.port,
        }
        for each in session.connections()
    ]


def _devices(core: Core, session: LiveSession) -> list[Row]:
    return [
        {
            "InitiatorName": session.initiator,
            "TargetName": session.target_name,
            "DeviceInterfaceName": each.interface_name,
            "LegacyName": each.legacy_name,
            "ScsiPathId": each.mapping.os_bus,
            "ScsiTargetId": each.mapping.os_target,
            "ScsiLun": each.mapping.os_lun,
            "ScsiPortNumber": core.number_of(session.initiator),
            "DeviceInterfaceGuid": "",
            "DeviceType": _DEVICE_TYPES.get(each.type, _DEVICE_OTHER),
            "DeviceNumber": each.number,
            "PartitionNumber": 0,
        }
        for each in session.devices
    ]


def _add_connection(row: Row, given: Row) -> api.AddConnection:
    return api.AddConnection(
        session_id=row["SessionId"],
        initiator_port=given_port(given.get("InitiatorPortNumber")),
        portal=given_portal(given.get("TargetPortal")),
        security_flags=given.get("SecurityFlags", 0),
        options=given_options(given.get("LoginOptions")),
        key=given.get("Key"),
    )


def _inquiry(row: Row, given: Row) -> api.ScsiInquiry:
    return api.ScsiInquiry(
        session_id=row["SessionId"],
        lun=given["Lun"],
        evpd_cmddt=given.get("EvpdCmddt", 0),
        page_code=given.get("PageCode", 0),
    )


_SESSION_METHODS = (
    Method(
        name="Logout",
        says="ends the session",
        request=lambda row, _given: api.LogoutTarget(session_id=row["SessionId"]),
    ),
    Method(
        name="SendScsiInquiry",
        says="sends INQUIRY; EvpdCmddt: bit 0 is EVPD, bit 1 CmdDt",
        arguments=(_LUN, P("EvpdCmddt", U8), P("PageCode", U8)),
        gives=_SCSI,
        request=_inquiry,
        results=lambda answer: {"ScsiStatus": answer.scsi_status, "ResponseBuffer": answer.data},
    ),
    Method(
        name="SendScsiReadCapacity",
        says="sends READ CAPACITY",
        arguments=(_LUN,),
        gives=(P("LastBlock", U64), P("BlockLength", U32)),
        request=lambda row, given: api.ReadCapacity(session_id=row["SessionId"], lun=given["Lun"]),
        results=lambda answer: {"LastBlock": answer.last_block, "BlockLength": answer.block_length},
    ),
    Method(
        name="SendScsiReportLuns",
        says="sends REPORT LUNS",
        gives=(P("Luns", U64, array=True),),
        request=lambda row, _given: api.ReportLUNs(session_id=row["SessionId"]),
        results=lambda answer: {"Luns": list(answer.luns)},
    ),
    Method(
        name="AddConnection",
        says="adds a connection, which logs in as the session did",
        arguments=(P("InitiatorPortNumber", U32), P("TargetPortal", PORTAL), *_LOGIN),
        gives=(P("UniqueConnectionId", TEXT),),
        request=_add_connection,
        results=lambda answer: {"UniqueConnectionId": answer.connection_id},
    ),
    Method(
        name="RemoveConnection",
        says="logs a connection out; the last one stays",
        arguments=(P("UniqueConnectionId", TEXT, required=True),),
        request=lambda row, given: api.RemoveConnection(
            session_id=row["SessionId"], connection_id=given["UniqueConnectionId"]
        ),
    ),
)


# What fits nowhere else.


def _node(core: Core) -> list[Row]:
    return [{"iSCSINodeName": core.node_name}]


def _tunnel(_row: Row, given: Row) -> api.TunnelAddr:
    return api.TunnelAddr(
        initiator=given.get("InitiatorName"),
        initiator_port=given_port(given.get("InitiatorPortNumber")),
        destination=given["DestinationAddress"],
        tunnel=given["OuterModeAddress"],
        persist=given.get("Persist", False),
    )


def _ike(_row: Row, given: Row) -> api.PSKey:
    info = given["AuthInfo"]
    if info.get("AuthMethod", _PRESHARED_KEY) != _PRESHARED_KEY:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "IKE authenticates by preshared keys (AuthMethod 1) alone")
    return api.PSKey(
        initiator=given.get("InitiatorName"),
        initiator_port=given_port(given.get("InitiatorPortNumber")),
        id_type=info["IdType"],
        id=given_text(info["Id"], "Id") or "",
        security_flags=info.get("SecurityFlags", 0),
        key=info["Key"],
        persist=given.get("Persist", False),
    )


def _secret(_row: Row, given: Row) -> api.CHAPSecret:
    return api.CHAPSecret(secret=given.get("SharedSecret") or None)


_METHODS: tuple[Method, ...] = (
    Method(
        name="RefreshTargetList",
        says="asks every discovery mechanism",
        gives=(P("Targets", TEXT, array=True),),
        request=lambda _row, _given: api.ListTargets(update=True),
        results=lambda answer: {"Targets": list(answer.targets)},
    ),
    Method(
        name="SetIScsiTunnelModeOuterAddress",
        says="sets the outer address of IPsec tunnels to a destination",
        arguments=(
            *_INITIATOR,
            P("DestinationAddress", TEXT, required=True),
            P("OuterModeAddress", TEXT, required=True),
            _PERSIST,
        ),
        request=_tunnel,
    ),
    Method(
        name="SetIScsiIKEInfo",
        says="sets the preshared key for an IKE identity",
        arguments=(*_INITIATOR, P("AuthInfo", AUTHENTICATION, required=True), _PERSIST),
        request=_ike,
    ),
    Method(
        name="SetIScsiGroupPresharedKey",
        says="sets the key that IKE uses where there is no other",
        arguments=(P("Key", OCTETS, required=True, secret=True), _PERSIST),
        request=lambda _row, given: api.GroupKey(key=given["Key"], persist=given.get("Persist", False)),
    ),
    Method(
        name="SetIScsiInitiatorCHAPSharedSecret",
        says="sets the secret by which targets prove themselves; without one it is taken away",
        arguments=(P("SharedSecret", OCTETS, secret=True),),
        request=_secret,
    ),
    Method(
        name="SetIScsiInitiatorNodeName",
        says="fixes the node's name; without one it follows the host's",
        arguments=(P("InitiatorNodeName", TEXT),),
        gives=(P("iSCSINodeName", TEXT),),
        request=lambda _row, given: api.NodeName(node_name=given.get("InitiatorNodeName")),
        results=lambda answer: {"iSCSINodeName": answer.node_name},
    ),
    Method(
        name="SetupPersistentIScsiVolumes",
        says="has the next start wait for every device that there is now",
        gives=(P("DevicePaths", TEXT, array=True),),
        request=lambda _row, _given: api.BindPersistentDevices(),
        results=lambda answer: {"DevicePaths": [each.path for each in answer.devices]},
    ),
)


def _persistent_devices(core: Core) -> list[Row]:
    return [{"DevicePath": each.path} for each in core.store.state.persistent_devices]


def _refresh(request: Any) -> tuple[Method, ...]:
    return (Method(name="Refresh", says="asks it now for its targets", request=request),)


CLASSES = (
    ManagementClass(
        name="MSiSCSIInitiator_TargetClass",
        says="the targets that are known, an instance for each mechanism that found one",
        properties=(
            P("TargetName", TEXT, key=True),
            P("DiscoveryMechanism", TEXT, key=True),
            P("InitiatorName", TEXT),
            P("ProtocolType", U32),
            P("TargetAlias", TEXT),
            P("PortalGroups", PORTAL_GROUP, array=True),
            P("Mappings", MAPPINGS),
            P("TargetFlags", U32),
            P("LoginOptions", OPTIONS),
        ),
        instances=_targets,
        methods=(
            Method(
                name="Login",
                says="logs in; with IsPersistent at each start, and not now",
                arguments=(
                    P("IsInformationalSession", FLAG),
                    *_INITIATOR,
                    P("TargetPortal", PORTAL),
                    P("Mappings", MAPPINGS),
                    *_LOGIN,
                    P("IsPersistent", FLAG),
                ),
                gives=(P("UniqueSessionId", TEXT), P("UniqueConnectionId", TEXT)),
                request=_log_in,
                results=_logged_in,
            ),
        ),
        missing=StatusCode.TARGET_NOT_FOUND,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_PersistentLoginClass",
        says="the logins that are made at each start",
        properties=(
            P("TargetName", TEXT, key=True),
            P("IsInformationalSession", FLAG),
            P("InitiatorInstance", TEXT),
            P("InitiatorPortNumber", U32),
            P("TargetPortal", PORTAL),
            P("SecurityFlags", U64),
            P("Mappings", MAPPINGS),
            P("LoginOptions", OPTIONS),
        ),
        instances=_persistent_logins,
        missing=StatusCode.TARGET_NOT_FOUND,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_iSNSServerClass",
        says="the iSNS servers that are asked",
        properties=(P("iSNSServerAddress", TEXT, key=True),),
        instances=_servers,
        methods=_refresh(lambda row, _given: api.RefreshiSNSServer(server=row["iSNSServerAddress"])),
        missing=StatusCode.ISNS_SERVER_NOT_FOUND,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_SendTargetPortalClass",
        says="the portals that SendTargets asks",
        properties=(
            P("PortalAddress", TEXT, key=True),
            P("PortalPort", _PORT, key=True),
            P("PortalSymbolicName", TEXT),
            P("PortalIdentifierString", TEXT),
            P("InitiatorName", TEXT, key=True),
            P("InitiatorPortNumber", U32, key=True),
            P("SecurityFlags", U64),
            P("LoginOptions", OPTIONS),
        ),
        instances=_send_targets,
        methods=_refresh(_refresh_portal),
        missing=StatusCode.PORTAL_NOT_FOUND,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_InitiatorClass",
        says="the initiator instances",
        properties=(P("InitiatorName", TEXT, key=True),),
        instances=_initiators,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_SessionClass",
        says="the sessions, with their connections and devices",
        properties=(
            P("SessionId", TEXT, key=True),
            P("InitiatorName", TEXT),
            P("TargetNodeName", TEXT),
            P("TargetName", TEXT),
            P("ISID", OCTETS),
            P("TSID", OCTETS),
            P("ConnectionInformation", CONNECTION, array=True),
            P("Devices", DEVICE, array=True),
        ),
        instances=_sessions,
        methods=_SESSION_METHODS,
        missing=StatusCode.INVALID_SESSION_ID,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_MethodClass",
        says="the node, and what fits into no other class",
        properties=(P("iSCSINodeName", TEXT, key=True),),
        instances=_node,
        methods=_METHODS,
        missing=StatusCode.INITIATOR_NODE_NOT_FOUND,
    ),
    ManagementClass(
        name="MSiSCSIInitiator_PersistentDevices",
        says="the devices that the start waits for",
        properties=(P("DevicePath", TEXT, key=True),),
        instances=_persistent_devices,
        missing=StatusCode.VOLUME_NOT_FOUND,
    ),
)
