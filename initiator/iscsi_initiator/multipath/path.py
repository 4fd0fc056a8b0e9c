"""Paths, the policies over them, and what a path can be just now (guide, Using Multipathing I/O)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum


class LoadBalance(IntEnum):
    """How requests are spread over the paths; numbered in the guide's order."""

    FAIL_OVER_ONLY = 1
    ROUND_ROBIN = 2
    ROUND_ROBIN_SUBSET = 3
    WEIGHTED_PATHS = 4
    LEAST_QUEUE_DEPTH = 5


class PathStatus(Enum):
    """What a path does at this moment, whatever it was configured as."""

    ACTIVE = "active"
    """Requests go over it."""
    STANDBY = "standby"
    """It is up, but no request goes over it while the paths before it hold."""
    FAILED = "failed"
    """It is not connected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Path:
    """One way to the target, such as a connection of a session.

    active: configured as an active path, where the policy tells active ones from standbys. weight: the lower the sooner,
    for weighted paths. queued: requests on it without an answer yet. up: connected, and in full feature phase.
    """

    id: int
    active: bool = True
    weight: int = 0
    queued: int = 0
    up: bool = True
