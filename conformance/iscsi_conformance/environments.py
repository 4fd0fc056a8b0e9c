"""The three places where cases run: the bundled target over TCP, the bundled target in memory, and a foreign product."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal

from iscsi_conformance.bundled import bundled_config
from iscsi_conformance.peer import Environment, RandomBytes
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.probe import probe
from iscsi_conformance.profile import Profile
from iscsi_conformance.provocation import BundledOperator
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.fault import NamedFault
from iscsi_protocol.history import Endpoint
from iscsi_target.config import TargetConfig, host_and_port
from iscsi_target.engine import TargetEngine
from iscsi_target.loopback import MemoryPortal
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

DEFAULT_PORT = 3260


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """Which environment, in words that another process can be told."""

    kind: Literal["bundled", "memory", "foreign"]
    profile: Profile
    seed: int = 0


def seeded(seed: int) -> RandomBytes:
    """Entropy that a seed repeats: for challenges of a test run, not for secrets."""
    return Random(seed).randbytes


@asynccontextmanager
async def open_environment(spec: EnvironmentSpec, *, fault: NamedFault | None = None) -> AsyncIterator[Environment]:
    """The environment, probed. fault: what the bundled target does wrong, after the probe saw it whole.

    Raises PeerGone when a foreign product cannot be reached, OSError when the bundled one cannot listen.
    """
    match spec.kind:
        case "foreign":
            async with _foreign(spec) as environment:
                yield environment
        case "bundled":
            async with _bundled(spec) as environment:
                yield environment
        case "memory":
            async with _memory(spec, fault) as environment:
                yield environment


@asynccontextmanager
async def _foreign(spec: EnvironmentSpec) -> AsyncIterator[Environment]:
    """A product that somebody else runs."""
    portals = [spec.profile.portal or f"127.0.0.1:{DEFAULT_PORT}"]
    if spec.profile.second_portal is not None:
        portals.append(spec.profile.second_portal)
    environment = Environment(
        profile=spec.profile,
        connector=TcpConnector(),
        endpoints=[Endpoint(*host_and_port(portal)) for portal in portals],
        transport="tcp",
        clock="real",
        random_bytes=seeded(spec.seed),
    )
    await probe(environment)
    yield environment


@contextmanager
def _engine(config: TargetConfig, seed: int) -> Iterator[TargetEngine]:
    engine, devices = make_engine(config, random_bytes=seeded(seed + 1))
    try:
        yield engine
    finally:
        close_devices(devices)


@asynccontextmanager
async def _bundled(spec: EnvironmentSpec) -> AsyncIterator[Environment]:
    """The bundled target behind TCP portals on loopback, on the same event loop."""
    config = bundled_config()
    with _engine(config, spec.seed) as engine:
        server = TargetServer(engine)
        endpoints = await server.start(config.portals)
        environment = Environment(
            profile=spec.profile,
            connector=TcpConnector(),
            endpoints=endpoints,
            transport="tcp",
            clock="real",
            random_bytes=seeded(spec.seed),
            operator=BundledOperator(engine, server.driver),
        )
        try:
            await probe(environment)
            yield environment
        finally:
            await server.stop()


@asynccontextmanager
async def _memory(spec: EnvironmentSpec, fault: NamedFault | None) -> AsyncIterator[Environment]:
    """The bundled target in memory. The probe sees it whole; what a case sees has the fault."""
    async with _memory_target(spec, None) as clean:
        await probe(clean)
    async with _memory_target(spec, fault) as environment:
        environment.offers = clean.offers
        yield environment


@asynccontextmanager
async def _memory_target(spec: EnvironmentSpec, fault: NamedFault | None) -> AsyncIterator[Environment]:
    config = bundled_config(fault.policy if fault else None)
    with _engine(config, spec.seed) as engine:
        portal = MemoryPortal(engine, config.portals, faults=fault.faults if fault else ())
        yield Environment(
            profile=spec.profile,
            connector=MemoryConnector(portal),
            endpoints=portal.endpoints,
            transport="memory",
            clock="virtual",
            random_bytes=seeded(spec.seed),
            operator=BundledOperator(engine, portal.driver),
        )
        portal.close()
