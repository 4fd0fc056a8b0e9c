"""The bundled target at an iSNS server: registration, signs of life, answers to inquiries, deregistration at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_address

from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.agent import IsnsAgent
from iscsi_protocol.isns.client import SERVER, Inquired, Peer
from iscsi_protocol.isns.codes import NodeType, status_name
from iscsi_protocol.isns.description import Description, NodeSpec, PortalSpec
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.registrar import Left, Lost, Refused, Registered, Report
from iscsi_target.config import ConfigError, IsnsRegistration, PortalConfig, TargetConfig, host_and_port, isns_server

log = logging.getLogger(__name__)

LEAVE_TIME = 5.0
"""Seconds that a deregistration may take when the target stops."""


def describe(
    config: TargetConfig, section: IsnsRegistration, endpoints: Sequence[Endpoint], esi_port: int
) -> Description:
    """The entity that a target is. endpoints: where its portals listen, in their order. Raises ConfigError."""
    nodes = [node for node in config.targets if not node.removed]
    portals = []
    for portal, endpoint in zip(config.portals, endpoints, strict=True):
        host, port = host_and_port(portal.advertised) if portal.advertised else (endpoint.host, endpoint.port)
        if _is_open(host):
            raise ConfigError(f"portal {portal.address} needs `advertised`, an address that an iSNS server can tell")
        portals.append(_portal(portal, host, port, section, esi_port))
    try:
        return Description(
            eid=section.entity or nodes[0].name,
            portals=tuple(portals),
            nodes=tuple(NodeSpec(name=node.name, type=NodeType.TARGET, alias=node.alias or "") for node in nodes),
            period=section.period,
        )
    except (IsnsError, ValueError, IndexError) as error:
        raise ConfigError(f"isns: {error}") from None


def _is_open(host: str) -> bool:
    """Whether it is no address that leads anywhere."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return True


def _portal(portal: PortalConfig, host: str, port: int, section: IsnsRegistration, esi_port: int) -> PortalSpec:
    return PortalSpec(
        address=host,
        port=port,
        esi=esi_port if section.esi_interval else 0,
        esi_interval=section.esi_interval,
        tag=portal.group_tag,
    )


class _Connection(asyncio.Protocol):
    """A TCP connection, to the server or from it."""

    def __init__(self, registrar: TargetRegistrar, number: int) -> None:
        self._registrar = registrar
        self._number = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._registrar.made(self._number, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        self._registrar.agent.receive(self._number, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._registrar.lost(self._number)


class TargetRegistrar:
    """Keeps a target registered from `start` to `stop`. A server that is not there is tried again and again."""

    def __init__(self, config: TargetConfig, section: IsnsRegistration) -> None:
        self._config = config
        self._section = section
        self._server = isns_server(section.server)
        self.agent = IsnsAgent(self, tell=self._told)
        self._transports: dict[int, asyncio.Transport] = {}
        self._count = 0
        self._listener: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._left = asyncio.Event()
        self.registered = asyncio.Event()

    async def start(self, endpoints: Sequence[Endpoint]) -> None:
        """Begin. endpoints: where the target's portals listen. Raises ConfigError, OSError."""
        port = 0
        if self._section.esi_interval:
            loop = asyncio.get_running_loop()
            hosts = sorted({endpoint.host for endpoint in endpoints})
            self._listener = await loop.create_server(self._accepted, hosts[0] if len(hosts) == 1 else None, 0)
            port = self._listener.sockets[0].getsockname()[1]
        self.agent.register(describe(self._config, self._section, endpoints, port))

    async def stop(self) -> None:
        """Deregister, if the server takes it in time, and close."""
        if self.registered.is_set():
            self.agent.leave()
            try:
                await asyncio.wait_for(self._left.wait(), LEAVE_TIME)
            except TimeoutError:
                log.warning("iSNS server %s: no answer to the deregistration", self._server)
        self.agent.close()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._listener is not None:
            self._listener.close()
        for transport in list(self._transports.values()):
            transport.abort()

    def now(self) -> float:
        """See `Ground`."""
        return asyncio.get_running_loop().time()

    def connect(self) -> None:
        """See `Ground`."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: _Connection(self, SERVER), self._server.host, self._server.port)
        except OSError as error:
            log.info("iSNS server %s: %s", self._server, error)
            self.agent.connect_failed()

    def write(self, connection: int, data: bytes) -> None:
        """See `Ground`."""
        self._transports[connection].write(data)

    def send_datagram(self, peer: Peer, data: bytes) -> None:
        """See `Ground`; a target has no UDP port."""
        raise AssertionError(f"{len(data)} bytes for {peer}")

    def close_connection(self, connection: int) -> None:
        """See `Ground`."""
        self._transports[connection].abort()

    def wake_at(self, deadline: float | None) -> None:
        """See `Ground`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self.agent.wake)

    def _accepted(self) -> _Connection:
        self._count += 1
        return _Connection(self, self._count)

    def made(self, number: int, transport: asyncio.BaseTransport) -> None:
        """A connection is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream protocol gets
        self._transports[number] = transport
        self.agent.connection_made(number)

    def lost(self, number: int) -> None:
        """A connection is gone."""
        del self._transports[number]
        self.agent.connection_lost(number)

    def _told(self, report: Report) -> None:
        if isinstance(report, Registered):
            log.info("registered at the iSNS server %s as %s", self._server, report.eid)
            self.registered.set()
        elif isinstance(report, Refused):
            why = status_name(report.status) if report.status is not None else report.trouble
            log.warning("iSNS server %s: not registered: %s", self._server, why)
        elif isinstance(report, Lost):
            log.warning("iSNS server %s has forgotten this target; it is registered anew", self._server)
        elif isinstance(report, Left):
            self._left.set()
        elif isinstance(report, Inquired):
            log.debug("iSNS server %s inquired", self._server)
