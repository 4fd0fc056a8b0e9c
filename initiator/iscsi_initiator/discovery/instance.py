"""A target as one mechanism found it. One target may have several such instances, which differ in what is known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from iscsi_initiator.store.state import LoginOptions, LunMapping, Portal, TargetFlag

NO_OPTIONS = LoginOptions()


class Kind(IntEnum):
    """The mechanisms; the lower the number, the earlier an instance is chosen for a login (guide, the list of four)."""

    HBA = 1
    SEND_TARGETS = 2
    ISNS = 3
    STATIC = 4


_WORDS = {Kind.HBA: "HBA", Kind.SEND_TARGETS: "SendTargets", Kind.ISNS: "iSNS", Kind.STATIC: "Static"}


@dataclass(frozen=True, slots=True)
class Source:
    """What found targets. detail: the adapter, portal or iSNS server, empty for static targets; initiator: the instance
    through which it was asked, None for none in particular; port: its port.
    """

    kind: Kind
    detail: str = ""
    initiator: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        """The name of the mechanism as TargetInfo shows and takes it."""
        text = _WORDS[self.kind] + (f":{self.detail}" if self.detail else "")
        if self.kind is not Kind.SEND_TARGETS or (self.initiator is None and self.port is None):
            return text
        return f"{text}@{self.initiator or '*'}/{'*' if self.port is None else self.port}"


STATIC = Source(Kind.STATIC)


def portal_text(portal: Portal) -> str:
    """address:port, an IPv6 address in brackets."""
    address = f"[{portal.address}]" if ":" in portal.address else portal.address
    return f"{address}:{portal.port}"


@dataclass(frozen=True, slots=True)
class Group:
    """Portals of a target with one portal group tag, None where discovery does not tell it."""

    tag: int | None
    portals: tuple[Portal, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A target as `source` found it. flags: of TargetFlag. options: how it is to be logged in to; password_place: what the
    password in them is sealed for.
    """

    source: Source
    name: str
    alias: str | None = None
    flags: int = 0
    persistent: bool = False
    groups: tuple[Group, ...] = ()
    options: LoginOptions = NO_OPTIONS
    password_place: str = ""
    mappings: tuple[LunMapping, ...] = ()

    @property
    def portals(self) -> tuple[Portal, ...]:
        """All portals, in the order in which they were told."""
        return tuple(portal for group in self.groups for portal in group.portals)

    @property
    def hidden(self) -> bool:
        """Whether it is told of only where something else finds the target too."""
        return self.source.kind is Kind.STATIC and bool(self.flags & TargetFlag.HIDE_STATIC_TARGET)

    def group_of(self, portal: Portal) -> int | None:
        """The portal group tag of a portal; None where it is not known."""
        return next((group.tag for group in self.groups if portal in group.portals), None)
