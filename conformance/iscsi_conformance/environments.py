"""The three places where cases run: the bundled target over TCP, the bundled target in memory, and a foreign product."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Literal

from iscsi_conformance.peer import Environment, RandomBytes
from iscsi_conformance.profile import Profile
from iscsi_protocol.fault import NamedFault

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
