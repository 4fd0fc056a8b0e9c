"""What the service does for each request: a table from the type of a request to a function (core, request) -> answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

from iscsi_initiator.service import api
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.operations import (
    devices,
    discovery,
    ipsec,
    management,
    multipath,
    node,
    persistent,
    scsi,
    servers,
    sessions,
    settings,
    targets,
    tracing,
)
from iscsi_initiator.service.telling import told, words
from iscsi_initiator.tracing.flags import WMI_API

Function = Callable[[Core, Any], Awaitable[api.Answer]]

TABLE: Mapping[type[Operation[Any]], Function] = MappingProxyType(
    {
        api.AddTarget: targets.add_target,
        api.RemoveTarget: targets.remove_target,
        api.AddTargetPortal: discovery.add_target_portal,
        api.RemoveTargetPortal: discovery.remove_target_portal,
        api.RefreshTargetPortal: discovery.refresh_target_portal,
        api.ListTargetPortals: discovery.list_target_portals,
        api.AddiSNSServer: servers.add_isns_server,
        api.RemoveiSNSServer: servers.remove_isns_server,
        api.RefreshiSNSServer: servers.refresh_isns_server,
        api.FirewallExemptiSNSServer: servers.firewall_exempt,
        api.ListiSNSServers: servers.list_isns_servers,
        api.ListTargets: discovery.list_targets,
        api.TargetInfo: discovery.target_info,
        api.LoginTarget: sessions.login_target,
        api.LogoutTarget: sessions.logout_target,
        api.SessionList: sessions.session_list,
        api.AddConnection: sessions.add_connection,
        api.RemoveConnection: sessions.remove_connection,
        api.SetLoadBalancePolicy: sessions.set_load_balance,
        api.DeviceList: multipath.device_list,
        api.SetDevicePolicy: multipath.set_device_policy,
        api.Attach: multipath.attach,
        api.Detach: multipath.detach,
        api.ListAttached: multipath.list_attached,
        api.ReportTargetMappings: sessions.report_target_mappings,
        api.ScsiInquiry: scsi.scsi_inquiry,
        api.ReadCapacity: scsi.read_capacity,
        api.ReportLUNs: scsi.report_luns,
        api.PersistentLoginTarget: persistent.persistent_login_target,
        api.ListPersistentTargets: persistent.list_persistent_targets,
        api.RemovePersistentTarget: persistent.remove_persistent_target,
        api.BindPersistentDevices: devices.bind_persistent_devices,
        api.ReportPersistentDevices: devices.report_persistent_devices,
        api.AddPersistentDevice: devices.add_persistent_device,
        api.RemovePersistentDevice: devices.remove_persistent_device,
        api.ClearPersistentDevices: devices.clear_persistent_devices,
        api.TunnelAddr: ipsec.tunnel_addr,
        api.GroupKey: ipsec.group_key,
        api.PSKey: ipsec.ps_key,
        api.GetPSKey: ipsec.get_ps_key,
        api.ImportSettings: settings.import_settings,
        api.ListClasses: management.list_classes,
        api.Query: management.query,
        api.Invoke: management.invoke,
        api.Metrics: management.metrics,
        api.StartTrace: tracing.start_trace,
        api.StopTrace: tracing.stop_trace,
        api.QueryTrace: tracing.query_trace,
        api.CHAPSecret: node.chap_secret,
        api.NodeName: node.node_name,
        api.ListInitiators: node.list_initiators,
        api.VersionInfo: node.version_info,
        api.ServiceStatus: node.service_status,
        api.StopService: node.stop_service,
    }
)
"""Every operation of the API that has one answer."""


STREAMS: Mapping[type[Operation[Any]], Callable[[Core, Any], api.Stream]] = MappingProxyType(
    {api.Watch: management.watch}
)
"""Every operation whose answers come one after the other; they may raise Refused."""


async def perform(core: Core, request: Operation[Any]) -> api.Answer:
    """Do what is asked, where that has one answer. Raises Refused."""
    work = TABLE[type(request)](core, request)
    return await (told(core.teller, request, work) if core.teller.level else work)


async def carry_out(core: Core, request: Operation[Any]) -> api.Answer | api.Stream:
    """Do what is asked. Raises Refused."""
    stream = STREAMS.get(type(request))
    if stream is None:
        return await perform(core, request)
    if core.teller.level & WMI_API:
        core.teller.tell(WMI_API, f"asked: {words(request)}")
    return stream(core, request)
