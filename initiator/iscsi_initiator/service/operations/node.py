"""Operations about the node, its secret, and the service itself (guide, Appendix C: Miscellaneous Commands)."""

from __future__ import annotations

import os

import msgspec

from iscsi_initiator.node_name import DEFAULT, name_node
from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.operations.records import seal
from iscsi_initiator.service.versions import file_versions
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Secrets
from iscsi_protocol.chap import MIN_SECRET_LENGTH


async def chap_secret(core: Core, request: api.CHAPSecret) -> api.Answer:
    """Set the initiator's secret, or take it away. A short one is kept, with the warning SHORT_CHAP_SECRET."""
    sealed = seal(core, request.secret, Secrets.initiator_place)
    core.keep(secrets=msgspec.structs.replace(core.store.state.secrets, initiator=sealed))
    if request.secret is not None and len(request.secret) < MIN_SECRET_LENGTH:
        reason = f"{len(request.secret)} bytes, which do without IPsec only from {MIN_SECRET_LENGTH} on"
        return api.Answer(status=StatusCode.SHORT_CHAP_SECRET, message=reason)
    return api.Answer()


async def node_name(core: Core, request: api.NodeName) -> api.NodeNameSet:
    """Set the node's name. Raises Refused: CONNECTION_ALREADY_EXISTS while there are sessions,
    INITIATOR_NODE_ALREADY_EXISTS where another service of this host has the name, INVALID_ISCSI_NAME.
    """
    node = name_node(request.node_name or DEFAULT, *core.host())
    if node.name == core.node_name:
        core.keep(node=node)
        return api.NodeNameSet(node_name=node.name, fixed=node.fixed)
    _check_no_sessions(core)
    # The old name leaves the iSNS servers before the new one is kept: whoever is killed in between is known there by no name,
    # and not by one that nobody would take off them.
    await core.servers.close()
    try:
        _check_no_sessions(core)
        if not core.claim(node.name):
            raise Refused(StatusCode.INITIATOR_NODE_ALREADY_EXISTS, f"another service here is {node.name}")
        try:
            core.keep(node=node)
        except Refused:
            core.claim(core.node_name)
            raise
    finally:
        core.register_again()
    return api.NodeNameSet(node_name=node.name, fixed=node.fixed)


def _check_no_sessions(core: Core) -> None:
    if core.sessions or core.logging_in:
        raise Refused(StatusCode.CONNECTION_ALREADY_EXISTS, "the name cannot be changed while there are sessions")


async def list_initiators(core: Core, request: api.ListInitiators) -> api.Initiators:
    """The initiator instances that run."""
    del request
    return api.Initiators(initiators=tuple(each.name for each in core.instances))


async def version_info(core: Core, request: api.VersionInfo) -> api.Versions:
    """What the service is made of."""
    del core, request
    return api.Versions(files=file_versions())


async def service_status(core: Core, request: api.ServiceStatus) -> api.ServiceState:
    """How the service is, and what went wrong at its start or in the background."""
    del request
    return api.ServiceState(
        state=core.state,
        pid=os.getpid(),
        node_name=core.node_name,
        sessions=len(core.sessions),
        versions=file_versions(),
        message="" if core.trouble is None else str(core.trouble),
        trouble=0 if core.trouble is None else core.trouble.status,
    )


async def stop_service(core: Core, request: api.StopService) -> api.Answer:
    """End the service. Raises Refused DEVICE_BUSY_ON_SESSION while a device is open, unless forced."""
    if not request.force:
        for session_id in core.sessions:
            core.handles.check_unused(session_id)
    core.state = "stopping"
    core.stop_wanted()
    return api.Answer()
