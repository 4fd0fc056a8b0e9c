"""Operations about logins, sessions and their connections (guide, Appendix C: Target Operations)."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_initiator.discovery.merging import of_call
from iscsi_initiator.multipath import LoadBalance, Path
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.service.logins import log_in, of_request, same_login
from iscsi_initiator.service.resolving import resolve
from iscsi_initiator.status_codes import Refused, StatusCode


async def login_target(core: Core, request: api.LoginTarget) -> api.LoggedIn:
    """Log in. Raises Refused."""
    session = await log_in(core, of_request(request))
    first = session.client.leading
    return api.LoggedIn(session_id=session.session_id, connection_id=session.connection_id(first or 0))


async def logout_target(core: Core, request: api.LogoutTarget) -> api.Answer:
    """End a session. Raises Refused INVALID_SESSION_ID, DEVICE_BUSY_ON_SESSION."""
    session = core.session(request.session_id)
    core.handles.check_unused(session.session_id)
    core.paths.leave(session)
    await session.logout()
    core.ended(session)
    return api.Answer()


async def session_list(core: Core, request: api.SessionList) -> api.Sessions:
    """All sessions; one that is being tried again has no connections."""
    del request
    return api.Sessions(sessions=tuple(_shown(core, each) for each in core.sessions.values()))


def _shown(core: Core, session: LiveSession) -> api.SessionEntry:
    return api.SessionEntry(
        session_id=session.session_id,
        initiator=session.initiator,
        initiator_node_name=session.node_name,
        target_name=session.target_name,
        isid=session.isid,
        tsih=session.client.tsih,
        reported_to_pnp=session.report_to_pnp,
        connections=session.connections(),
        devices=tuple(
            api.DeviceEntry(
                device_type=device.type,
                number=device.number,
                friendly_name=device.friendly_name,
                lun=device.mapping.target_lun,
                os_bus=device.mapping.os_bus,
                os_target=device.mapping.os_target,
                os_lun=device.mapping.os_lun,
                interface_name=device.interface_name,
                legacy_name=device.legacy_name,
                volume_paths=core.volumes_on(device.interface_name),
            )
            for device in session.devices
        ),
    )


async def add_connection(core: Core, request: api.AddConnection) -> api.ConnectionAdded:
    """Add a connection to a session, which logs in as the session did.

    Raises Refused: INVALID_SESSION_ID, REQUEST_NOT_SUPPORTED for another initiator, port or other options than the
    session's, and for a session that is one of several paths to a device, PORTAL_NOT_FOUND, TOO_MANY_CONNECTIONS,
    DNS_NAME_UNRESOLVED, and how the login failed.
    """
    session = core.session(request.session_id)
    local = core.instance(request.initiator, preferred=session.initiator)
    if local.name != session.initiator or request.initiator_port not in (None, session.port):
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"the session is one of {session.initiator}, with its port")
    options = of_call(request.options)
    ipsec = request.key is not None or request.security_flags not in (0, session.ipsec.flags)
    if ipsec or not same_login(core, session, options):
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "a connection logs in with the options of its session")
    core.paths.check_alone(session)
    portal = None if request.portal is None else await resolve(request.portal, core.resolver)
    return api.ConnectionAdded(connection_id=await session.add_connection(portal))


async def remove_connection(core: Core, request: api.RemoveConnection) -> api.Answer:
    """Log a connection out. Raises Refused: INVALID_SESSION_ID, INVALID_CONNECTION_ID, and what the driver refuses."""
    await core.session(request.session_id).remove_connection(request.connection_id)
    return api.Answer()


async def set_load_balance(core: Core, request: api.SetLoadBalancePolicy) -> api.Answer:
    """Spread the requests of a session over its connections by another policy. Raises Refused: INVALID_SESSION_ID,
    INVALID_PATH_ID, INVALID_LOAD_BALANCE_POLICY, and what else the policy is checked for.
    """
    session = core.session(request.session_id)
    try:
        policy = LoadBalance(request.policy)
    except ValueError as error:
        reason = f"policies have the numbers 1 to {max(LoadBalance)}, not {request.policy}"
        raise Refused(StatusCode.INVALID_LOAD_BALANCE_POLICY, reason) from error
    session.client.set_load_balance(policy, _paths(session, request.paths))
    return api.Answer()


def _paths(session: LiveSession, given: Sequence[api.PathSetting]) -> list[Path]:
    """Paths by CID; one for a connection that is not there has a CID that no connection has."""
    cids = {session.connection_id(cid): cid for cid in session.client.connections}
    unknown = max(cids.values(), default=0) + 1
    strangers = dict.fromkeys(each.connection_id for each in given if each.connection_id not in cids)
    cids |= {name: unknown + place for place, name in enumerate(strangers)}
    return [Path(id=cids[each.connection_id], active=each.active, weight=each.weight) for each in given]


async def report_target_mappings(core: Core, request: api.ReportTargetMappings) -> api.TargetMappings:
    """Where the LUNs of all sessions appear."""
    del request
    return api.TargetMappings(
        sessions=tuple(
            api.MappedSession(
                session_id=each.session_id,
                target_name=each.target_name,
                initiator=each.initiator,
                scsi_device=f"scsi{core.number_of(each.initiator)}",
                mappings=each.mappings,
            )
            for each in core.sessions.values()
        )
    )
