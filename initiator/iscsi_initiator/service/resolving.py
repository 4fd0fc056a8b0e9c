"""Portals by name: the numeric address that a connection goes to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Portal
from iscsi_protocol.history import Endpoint

Resolver = Callable[[str], Awaitable[list[str]]]
"""The numeric addresses of a host name, the preferred one first. Raises OSError."""


async def system_resolver(name: str) -> list[str]:
    """What this host's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def resolve(portal: Portal, resolver: Resolver) -> Endpoint:
    """Where a portal is. Raises Refused DNS_NAME_UNRESOLVED."""
    try:
        ipaddress.ip_address(portal.address)
    except ValueError:
        try:
            addresses = await resolver(portal.address)
        except OSError as error:
            reason = f"{portal.address}: {error.strerror or error}"
            raise Refused(StatusCode.DNS_NAME_UNRESOLVED, reason) from error
        if not addresses:
            raise Refused(StatusCode.DNS_NAME_UNRESOLVED, f"{portal.address} has no address") from None
        return Endpoint(addresses[0], portal.port)
    return Endpoint(portal.address, portal.port)
