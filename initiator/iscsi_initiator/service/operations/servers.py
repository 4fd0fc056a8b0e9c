"""Operations about iSNS servers (guide, Appendix C: iSNS)."""

from __future__ import annotations

from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.status_codes import Refused, StatusCode


def _listed(core: Core, server: str) -> bool:
    return server.casefold() in {each.casefold() for each in core.store.state.isns_servers}


async def add_isns_server(core: Core, request: api.AddiSNSServer) -> api.Answer:
    """Register with a server, query it, and keep it in the list where that went well. Raises Refused."""
    try:
        await core.ask_server(request.server)
        if not _listed(core, request.server):
            core.keep(isns_servers=(*core.store.state.isns_servers, request.server))
    except Refused:
        if not _listed(core, request.server):
            await core.servers.leave(request.server)
        raise
    return api.Answer()


async def remove_isns_server(core: Core, request: api.RemoveiSNSServer) -> api.Answer:
    """Query a server no more; what it told stays known. Raises Refused ISNS_SERVER_NOT_FOUND."""
    if not _listed(core, request.server):
        raise Refused(StatusCode.ISNS_SERVER_NOT_FOUND, f"{request.server} is not in the list")
    left = tuple(e for e in core.store.state.isns_servers if e.casefold() != request.server.casefold())
    core.keep(status=StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA, isns_servers=left)
    await core.servers.leave(request.server)
    return api.Answer()


async def refresh_isns_server(core: Core, request: api.RefreshiSNSServer) -> api.Answer:
    """Query a server once, listed or not. Raises Refused."""
    await core.ask_server(request.server, stay=_listed(core, request.server))
    return api.Answer()


async def firewall_exempt(core: Core, request: api.FirewallExemptiSNSServer) -> api.Answer:
    """Let notifications of servers through the firewall. Raises Refused REQUEST_NOT_SUPPORTED where there is none, or it
    does not take the service.
    """
    del request
    if core.hooks.exempt is None:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "this host has no firewall with a list of programs")
    try:
        core.hooks.exempt()
    except OSError as error:
        raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"the firewall does not take the service: {error}") from error
    return api.Answer()


async def list_isns_servers(core: Core, request: api.ListiSNSServers) -> api.ISNSServers:
    """The servers of the list."""
    del request
    return api.ISNSServers(servers=core.store.state.isns_servers)
