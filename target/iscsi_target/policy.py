"""Named misbehaviour of the engine that no transform of the byte stream can express; every default conforms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """The engine's switches."""
