"""Bundles of settings, switches and faults that imitate what products do: `iscsi-target serve --personality NAME`.

One module a personality, each with its PERSONALITY; `apply` puts one under what an operator asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_target.personalities import equallogic, freebsd, hostile, lenient, lio, strict, synology, tgt, windows
from iscsi_target.personalities.model import Personality, Quirk, UnknownPersonality

__all__ = ["PERSONALITIES", "Personality", "Quirk", "UnknownPersonality", "personality"]

PERSONALITIES: Mapping[str, Personality] = MappingProxyType(
    {
        module.PERSONALITY.name: module.PERSONALITY
        for module in (strict, lenient, equallogic, freebsd, lio, tgt, synology, windows, hostile)
    }
)


def personality(name: str) -> Personality:
    """One of them. Raises UnknownPersonality."""
    try:
        return PERSONALITIES[name]
    except KeyError:
        raise UnknownPersonality(name, list(PERSONALITIES)) from None
