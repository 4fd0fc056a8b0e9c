"""The places where cases run: the bundled pair over TCP or in memory, a foreign target, stages for a foreign initiator."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal

from iscsi_conformance.bundled import GROUP_PORTAL, LOGIN_TIME, bundled_config
from iscsi_conformance.case import BENCH_ROLES, Role
from iscsi_conformance.certify.scene import ForeignScene, Way
from iscsi_conformance.peer import Environment, RandomBytes
from iscsi_conformance.pipe import MemoryConnector
from iscsi_conformance.probe import probe
from iscsi_conformance.profile import DEFAULT_PORT, Profile
from iscsi_conformance.provocation import BundledOperator
from iscsi_conformance.scene import OpenStage, Stage
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.fault import Fault, NamedFault, Side
from iscsi_protocol.history import Endpoint, Tap
from iscsi_target.config import TargetConfig, Timers, host_and_port
from iscsi_target.engine import TargetEngine
from iscsi_target.loopback import MemoryPortal
from iscsi_target.portal import TargetServer
from iscsi_target.shell import close_devices, make_engine

HASTY = Timers(login=LOGIN_TIME)
"""Of the target under test; one that an initiator is tested against has its defaults."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """Which environment, in words that another process can be told."""

    kind: Literal["bundled", "memory", "foreign", "initiator"]
    profile: Profile
    seed: int = 0
    way: Way | None = None
    """Of a foreign initiator: how it is brought to each case."""


def seeded(seed: int) -> RandomBytes:
    """Entropy that a seed repeats: for challenges of a test run, not for secrets."""
    return Random(seed).randbytes


@asynccontextmanager
async def open_environment(
    spec: EnvironmentSpec, *, fault: NamedFault | None = None, role: Role = Role.TARGET
) -> AsyncIterator[Environment]:
    """The environment, probed. fault: what the bundled side does wrong, after the probe saw it whole. role: who is under test
    in memory; where it is the initiator there is no target but those that the cases bring up.

    Raises PeerGone when a foreign product cannot be reached, WrongProfile when it is not as its profile says, OSError when
    the bundled one cannot listen.
    """
    match spec.kind:
        case "foreign":
            async with _foreign(spec) as environment:
                yield environment
        case "bundled":
            async with _bundled(spec) as environment:
                yield environment
        case "memory" if role is Role.INITIATOR:
            yield _stages(spec, fault)
        case "memory" if role in BENCH_ROLES:
            yield _benches(spec, fault)
        case "memory":
            async with _memory(spec, fault) as environment:
                yield environment
        case "initiator":
            yield _certification(spec)


def _certification(spec: EnvironmentSpec) -> Environment:
    """No target under test; each case has a stage of its own, to which the product is brought."""
    way = spec.way
    if way is None:
        raise ValueError("a foreign initiator needs a way to be brought to the cases")
    open_stage = partial(tcp_stage, seed=spec.seed)
    random_bytes = seeded(spec.seed)
    return Environment(
        profile=spec.profile,
        connector=TcpConnector(),
        endpoints=[way.portal],
        transport="tcp",
        clock="real",
        random_bytes=random_bytes,
        make_scene=lambda case_id, recorder: ForeignScene(open_stage, recorder, random_bytes, case_id=case_id, way=way),
    )


@asynccontextmanager
async def _foreign(spec: EnvironmentSpec) -> AsyncIterator[Environment]:
    """A product that somebody else runs."""
    portals = [spec.profile.portal or f"127.0.0.1:{DEFAULT_PORT}"]
    if spec.profile.second_portal is not None:
        portals.append(spec.profile.second_portal)
    connector = TcpConnector()
    environment = Environment(
        profile=spec.profile,
        connector=connector,
        endpoints=[Endpoint(*host_and_port(portal)) for portal in portals],
        group_portal=Endpoint(*host_and_port(spec.profile.group_portal)) if spec.profile.group_portal else None,
        transport="tcp",
        clock="real",
        random_bytes=seeded(spec.seed),
    )
    try:
        await probe(environment)
        yield environment
    finally:
        await connector.finish()


@asynccontextmanager
async def tcp_stage(
    config: TargetConfig, faults: Sequence[Fault] = (), *, seed: int = 0, tap: Tap | None = None
) -> AsyncIterator[Stage]:
    """The bundled target behind TCP portals, on the same event loop. Raises OSError when it cannot listen."""
    with _engine(config, seed) as engine:
        server = TargetServer(engine, faults=faults, tap=tap)
        endpoints = await server.start(config.portals)
        try:
            yield Stage(connector=TcpConnector(), endpoints=endpoints, operator=BundledOperator(engine, server.driver))
        finally:
            await server.stop()


@asynccontextmanager
async def memory_stage(config: TargetConfig, faults: Sequence[Fault] = (), *, seed: int = 0) -> AsyncIterator[Stage]:
    """The bundled target in memory."""
    with _engine(config, seed) as engine:
        portal = MemoryPortal(engine, config.portals, faults=faults)
        yield Stage(
            connector=MemoryConnector(portal),
            endpoints=portal.endpoints,
            operator=BundledOperator(engine, portal.driver),
        )
        portal.close()


@contextmanager
def _engine(config: TargetConfig, seed: int) -> Iterator[TargetEngine]:
    engine, devices = make_engine(config, random_bytes=seeded(seed + 1))
    try:
        yield engine
    finally:
        close_devices(devices)


def _on(stage: Stage, spec: EnvironmentSpec, open_stage: OpenStage, transport: str) -> Environment:
    return Environment(
        profile=spec.profile,
        connector=stage.connector,
        endpoints=stage.endpoints,
        group_portal=stage.endpoints[GROUP_PORTAL],
        transport=transport,
        clock="virtual" if transport == "memory" else "real",
        random_bytes=seeded(spec.seed),
        operator=stage.operator,
        open_stage=open_stage,
    )


@asynccontextmanager
async def _bundled(spec: EnvironmentSpec) -> AsyncIterator[Environment]:
    """One bundled target for the target-role cases; each initiator-role case gets one of its own."""
    open_stage = partial(tcp_stage, seed=spec.seed)
    async with open_stage(bundled_config(timers=HASTY)) as stage:
        environment = _on(stage, spec, open_stage, "tcp")
        await probe(environment)
        yield environment


def _stages(spec: EnvironmentSpec, fault: NamedFault | None) -> Environment:
    """No target but those that the cases bring up in memory."""
    return Environment(
        profile=spec.profile,
        connector=TcpConnector(),
        endpoints=(),
        transport="memory",
        clock="virtual",
        random_bytes=seeded(spec.seed),
        open_stage=partial(memory_stage, seed=spec.seed),
        initiator_fault=fault,
    )


def _benches(spec: EnvironmentSpec, fault: NamedFault | None) -> Environment:
    """Nothing at all: these cases bring what they need with them."""
    return Environment(
        profile=spec.profile,
        connector=TcpConnector(),
        endpoints=(),
        transport="memory",
        clock="virtual",
        random_bytes=seeded(spec.seed),
        bench_fault=fault,
    )


@asynccontextmanager
async def _memory(spec: EnvironmentSpec, fault: NamedFault | None) -> AsyncIterator[Environment]:
    """The bundled pair in memory. The probe sees the target whole; what a case sees has the fault."""
    open_stage = partial(memory_stage, seed=spec.seed)
    async with open_stage(bundled_config()) as stage:
        clean = _on(stage, spec, open_stage, "memory")
        await probe(clean)
    of_target = fault if fault is not None and fault.side is Side.TARGET else None
    config = bundled_config(of_target.policy if of_target else None, timers=HASTY)
    async with open_stage(config, of_target.faults if of_target else ()) as stage:
        environment = _on(stage, spec, open_stage, "memory")
        environment.offers = clean.offers
        yield environment
