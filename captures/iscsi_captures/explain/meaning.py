"""What a meaning consists of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Meaning:
    """says: what an event tells whoever finds it, in plain words; causes: what usually leads to it, the likeliest first."""

    says: str
    causes: tuple[str, ...]
