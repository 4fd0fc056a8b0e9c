"""Who has reserved a logical unit and who is registered with it (SPC-4 5.12): plain data, which can be copied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from iscsi_protocol.scsi.persistent import ReservationType
from iscsi_target.nexus import Nexus


class Registrant(NamedTuple):
    """An I_T nexus by its ends, whichever session makes it. Without an ISID: every port of that initiator (a TransportID
    of format 00b) that is not registered by itself.
    """

    initiator_name: str
    isid: bytes | None
    target_port: int


@dataclass(slots=True)
class Reservations:
    """The reservations of one logical unit.

    keys: what is registered, in the order of registration. type: of the persistent reservation, None without one; holder:
    who holds it, None where every registered nexus does. generation: PRGENERATION. aptpl: whether all this outlives a
    loss of power. reserved_by: the nexus of a RESERVE; never together with a registration.
    """

    keys: dict[Registrant, int] = field(default_factory=dict)
    type: ReservationType | None = None
    holder: Registrant | None = None
    generation: int = 0
    aptpl: bool = False
    reserved_by: Nexus | None = None

    @property
    def in_force(self) -> bool:
        """Whether commands have to be looked at."""
        return self.type is not None or self.reserved_by is not None

    def find(self, port: Registrant) -> Registrant | None:
        """As whom an initiator port is registered at a target port, None where it is not."""
        if port in self.keys:
            return port
        port = port._replace(isid=None)
        return port if port in self.keys else None

    def registrant(self, nexus: Nexus) -> Registrant | None:
        """As whom a nexus is registered, None where it is not."""
        return self.find(registrant_of(nexus))

    def holds(self, registrant: Registrant | None) -> bool:
        """Whether this one is a persistent reservation holder (SPC-4 5.12.10)."""
        if registrant is None or self.type is None:
            return False
        return self.type.all_registrants or registrant == self.holder


def registrant_of(nexus: Nexus) -> Registrant:
    """The nexus by its ends."""
    return Registrant(nexus.initiator_name, nexus.isid, nexus.target_portal_group_tag)
