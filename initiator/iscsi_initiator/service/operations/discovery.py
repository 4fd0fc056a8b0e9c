"""Operations about where targets are looked for and what was found (guide, Appendix C: Target Portals, Target Operations)."""

from __future__ import annotations

from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.operations.records import shown_instance, shown_portal, stored_options
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Portal, TargetPortal


def _same(entry: TargetPortal, portal: Portal, initiator: str | None, port: int | None) -> bool:
    return (
        (entry.portal.address.casefold(), entry.portal.port) == (portal.address.casefold(), portal.port)
        and (entry.initiator or "").casefold() == (initiator or "").casefold()
        and entry.initiator_port == port
    )


async def add_target_portal(core: Core, request: api.AddTargetPortal) -> api.Answer:
    """Ask a portal, and keep it in the list where that went well. Raises Refused TARGET_PORTAL_ALREADY_EXISTS, and why it
    could not be asked.
    """
    _check_new(core, request)
    plain = TargetPortal(
        portal=request.portal,
        initiator=request.initiator,
        initiator_port=request.initiator_port,
        security_flags=request.security_flags,
    )
    portal = TargetPortal(
        portal=plain.portal,
        initiator=plain.initiator,
        initiator_port=plain.initiator_port,
        security_flags=plain.security_flags,
        options=stored_options(core, request.options, plain.place),
    )
    await core.discovery.portal(portal)
    _check_new(core, request)
    core.keep(target_portals=(*core.store.state.target_portals, portal))
    return api.Answer()


def _check_new(core: Core, request: api.AddTargetPortal) -> None:
    known = core.store.state.target_portals
    if any(_same(each, request.portal, request.initiator, request.initiator_port) for each in known):
        raise Refused(StatusCode.TARGET_PORTAL_ALREADY_EXISTS, f"{request.portal.address} is in the list")


async def remove_target_portal(core: Core, request: api.RemoveTargetPortal) -> api.Answer:
    """Ask a portal no more; what it told stays known. Raises Refused PORTAL_NOT_FOUND."""
    known = core.store.state.target_portals
    left = tuple(e for e in known if not _same(e, request.portal, request.initiator, request.initiator_port))
    if len(left) == len(known):
        raise Refused(StatusCode.PORTAL_NOT_FOUND, f"{request.portal.address} is not in the list")
    core.keep(status=StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA, target_portals=left)
    return api.Answer()


async def refresh_target_portal(core: Core, request: api.RefreshTargetPortal) -> api.Answer:
    """Ask a portal once: as the list has it, or else without any options. Raises Refused."""
    listed = next(
        (
            each
            for each in core.store.state.target_portals
            if _same(each, request.portal, request.initiator, request.initiator_port)
        ),
        None,
    )
    await core.discovery.portal(
        listed
        or TargetPortal(portal=request.portal, initiator=request.initiator, initiator_port=request.initiator_port)
    )
    return api.Answer()


async def list_target_portals(core: Core, request: api.ListTargetPortals) -> api.TargetPortals:
    """The portals of the list."""
    del request
    return api.TargetPortals(portals=tuple(shown_portal(each) for each in core.store.state.target_portals))


async def list_targets(core: Core, request: api.ListTargets) -> api.TargetNames:
    """The targets that are known. Raises Refused where every mechanism fails; some of them are a warning."""
    told = await core.refresh_all() if request.update else None
    if told is not None and not told.status.is_warning:
        raise told
    return api.TargetNames(
        targets=tuple(core.discovery.catalogue.names()),
        status=0 if told is None else told.status,
        message="" if told is None else told.reason,
    )


async def target_info(core: Core, request: api.TargetInfo) -> api.TargetInformation:
    """By what a target was found. Raises Refused TARGET_NOT_FOUND, DISCOVERY_MECHANISM_NOT_FOUND."""
    catalogue = core.discovery.catalogue
    mechanisms = tuple(str(each.source) for each in catalogue.known(request.target_name))
    found = (
        None
        if request.discovery_mechanism is None
        else shown_instance(catalogue.by_mechanism(request.target_name, request.discovery_mechanism))
    )
    return api.TargetInformation(discovery_mechanisms=mechanisms, target=found)
