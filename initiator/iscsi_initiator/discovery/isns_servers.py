"""The iSNS servers that the service is registered with, and asks: one link each, which stays while the server is in the list
(guide, AddiSNSServer).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from iscsi_initiator.discovery.adapters import Teller
from iscsi_initiator.discovery.instance import Group, Instance, Kind, Source
from iscsi_initiator.discovery.isns import Found, FoundTarget, IsnsFailure
from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import Portal
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.client import Notified
from iscsi_protocol.isns.registrar import Registered, Report

PORT = 3205
"""Where iSNS servers listen (RFC 4171, 2.9.2)."""

LEAVE_TIME = 5.0
"""Seconds that a server has to answer a deregistration."""


class MakeLink(Protocol):
    """Makes what a server is asked by."""

    def __call__(self, server: Endpoint, *, tell: Callable[[Report], None]) -> IsnsLink:
        """See IsnsLink."""


def isns_source(server: str) -> Source:
    """The mechanism that a server is."""
    return Source(Kind.ISNS, server)


def isns_instance(source: Source, target: FoundTarget) -> Instance:
    """A target that a server told of."""
    groups: dict[int | None, list[Portal]] = {}
    for portal in target.portals:
        groups.setdefault(portal.tag, []).append(Portal(address=portal.address, port=portal.port))
    return Instance(
        source=source,
        name=target.name,
        alias=target.alias or None,
        groups=tuple(Group(tag, tuple(portals)) for tag, portals in groups.items()),
    )


def own_address(server: Endpoint, addresses: Sequence[str]) -> str:
    """Where this host is to be found by a server: the first of its own addresses that is of the same family, or the one
    that a connection to it would begin at. Raises OSError where there is none.
    """
    version = ipaddress.ip_address(server.host).version
    for address in addresses:
        if ipaddress.ip_address(address).version == version:
            return address
    if addresses:
        raise OSError(f"no address of this initiator is of IPv{version}")
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.connect((server.host, server.port))
        return str(probe.getsockname()[0])


class Overtaken(Refused):
    """A server was left while it was asked."""


class Servers:
    """tell: logs events of the service. resolve: where a server is, with this port; raises Refused. node_name: the node as it
    is registered. addresses: of the software initiator's ports. changed: a server says that it has other targets
    now.
    """

    def __init__(
        self,
        tell: Teller,
        resolve: Callable[[Portal], Awaitable[Endpoint]],
        node_name: Callable[[], str],
        addresses: Sequence[str],
        changed: Callable[[str], None],
        port: int = PORT,
        make_link: MakeLink = IsnsLink,
    ) -> None:
        self._tell = tell
        self._resolve = resolve
        self._node_name = node_name
        self._addresses = addresses
        self._changed = changed
        self._port = port
        self._make_link = make_link
        self._links: dict[str, IsnsLink] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, server: str, *, stay: bool) -> Found:
        """The targets of a server, with which the node is registered for that. stay: remain registered, also where it cannot
        be asked now. Raises Refused, with event 112 or 119 logged; Overtaken without.
        """
        # One at a time: whoever comes second finds the node registered.
        async with self._asking[server.casefold()]:
            return await self._ask(server, stay=stay)

    async def _ask(self, server: str, *, stay: bool) -> Found:
        there = self._links.get(server.casefold())
        try:
            link = there or await self._open(server)
        except Refused as error:
            self._tell(112, str(error), server)
            raise
        if stay:
            self._links.setdefault(server.casefold(), link)
        try:
            if there is None:
                await self._register(link, server)
            return await link.targets(self._node_name())
        except IsnsFailure as error:
            if link.closed:
                raise Overtaken(error.code, error.reason) from error
            refused = Refused(error.code, error.reason)
            self._tell(112, str(refused), server)
            raise refused from error
        finally:
            if there is None and not stay:
                await _end(link)

    async def _open(self, server: str) -> IsnsLink:
        endpoint = await self._resolve(Portal(address=server, port=self._port))
        known: list[bool] = []

        def told(report: Report) -> None:
            if isinstance(report, Notified) or (isinstance(report, Registered) and known):
                self._changed(server)
            known.append(True)

        return self._make_link(endpoint, tell=told)

    async def _register(self, link: IsnsLink, server: str) -> None:
        try:
            address = own_address(link.server, self._addresses)
            await link.listen(address)
        except OSError as error:
            self._tell(119, str(error))
            raise IsnsFailure(StatusCode.ISNS_SERVER_NOT_FOUND, f"no address to register with {server}") from error
        await link.register_initiator(self._node_name(), address)

    async def leave(self, server: str) -> None:
        """Be registered with a server no more."""
        link = self._links.pop(server.casefold(), None)
        if link is not None:
            await _end(link)

    async def close(self) -> None:
        """Be registered with none."""
        for server in list(self._links):
            await self.leave(server)


async def _end(link: IsnsLink) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(LEAVE_TIME):
            await link.leave()
    await link.close()
