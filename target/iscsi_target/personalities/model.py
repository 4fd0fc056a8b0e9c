"""Personalities: what is the matter with a product, as rows. A row is data; nothing here is done for one product alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from iscsi_protocol.fault import Action, Fault, Test, When
from iscsi_protocol.stream import Direction


@dataclass(frozen=True, kw_only=True, slots=True)
class Quirk:
    """One habit. says: one sentence; sources: addresses of those who reported it, or of the code that does it.

    keys, node, lun, chap, limits, timers, policy: settings by the names of the configuration file; node, lun and chap are
    those of every node, every logical unit and every CHAP that is configured. faults: ids of named faults. own: faults
    that have no name. portals: where to listen, unless somebody says. targets: further nodes, as in the configuration file.
    """

    says: str
    sources: tuple[str, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    node: Mapping[str, object] = field(default_factory=dict)
    lun: Mapping[str, object] = field(default_factory=dict)
    chap: Mapping[str, object] = field(default_factory=dict)
    limits: Mapping[str, object] = field(default_factory=dict)
    timers: Mapping[str, object] = field(default_factory=dict)
    policy: Mapping[str, object] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    own: tuple[Fault, ...] = ()
    portals: tuple[str, ...] = ()
    targets: tuple[Mapping[str, object], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Personality:
    """A bundle of quirks under a name. says: one sentence."""

    name: str
    says: str
    quirks: tuple[Quirk, ...]


class UnknownPersonality(KeyError):
    """No personality has this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.known = tuple(known)

    def __str__(self) -> str:
        return f"no personality is named {self.name!r}; there are {', '.join(self.known)}"


def sent(opcode: int, *what: Action, tests: Sequence[Test] = (), nth: int = 1, times: int = 1, **more: bool) -> Fault:
    """A fault in the nth PDU of this kind that the target sends on a connection, and `times` in all (0: from there on)."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, tests=tuple(tests), nth=nth, times=times)
    return Fault(when=when, what=what, **more)


def taken(opcode: int, *what: Action, tests: Sequence[Test] = (), nth: int = 1, times: int = 1) -> Fault:
    """A fault in how the target takes the nth PDU of this kind, likewise."""
    when = When(direction=Direction.TO_TARGET, opcode=opcode, tests=tuple(tests), nth=nth, times=times)
    return Fault(when=when, what=what)
