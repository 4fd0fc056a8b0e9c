"""What a reservation lets through (SPC-4 5.12.1, tables 65 to 67; SBC-3 4.17; SPC-2 5.5.1 for RESERVE).

Every row of the dispatch table names its `Access`; the table here says for each kind of reservation what a nexus may do
that has no part in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.opcodes import PREVENT_ALLOW_MEDIUM_REMOVAL, START_STOP_UNIT
from iscsi_protocol.scsi.persistent import ReservationType
from iscsi_target.completion import Buffer
from iscsi_target.device.reservations.state import Reservations
from iscsi_target.nexus import Nexus


class Access(Enum):
    """What a command is to a reservation of somebody else's."""

    ALWAYS = auto()
    """Goes through all: INQUIRY, REPORT LUNS, READ CAPACITY; also what judges for itself: RESERVE and RELEASE."""
    STATUS = auto()
    """Goes through persistent reservations, not through RESERVE: TEST UNIT READY, RECEIVE COPY RESULTS."""
    READ = auto()
    """Goes through Write Exclusive: READ, VERIFY, MODE SENSE."""
    WRITE = auto()
    """Goes through none: WRITE, MODE SELECT, SYNCHRONIZE CACHE."""
    PERSISTENT = auto()
    """PERSISTENT RESERVE IN and OUT: stopped by RESERVE, whoever sent it; OUT judges persistent reservations for itself."""
    PREVENT = auto()
    """PREVENT ALLOW MEDIUM REMOVAL: allowing is ALWAYS, preventing WRITE."""
    START = auto()
    """START STOP UNIT: to start is ALWAYS, all else WRITE."""


BEFORE_CONFLICT = frozenset(
    {
        AdditionalSense.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED,
        AdditionalSense.POWER_ON_OCCURRED,
        AdditionalSense.SCSI_BUS_RESET_OCCURRED,
        AdditionalSense.BUS_DEVICE_RESET_FUNCTION_OCCURRED,
        AdditionalSense.DEVICE_INTERNAL_RESET,
        AdditionalSense.I_T_NEXUS_LOSS_OCCURRED,
    }
)
"""Unit attentions that are reported ahead of RESERVATION CONFLICT (SAM-5 5.3.3)."""


class _Kind(Enum):
    RESERVE = auto()
    WRITE_EXCLUSIVE = auto()
    EXCLUSIVE_ACCESS = auto()


_PASSES: Mapping[_Kind, frozenset[Access]] = {
    _Kind.RESERVE: frozenset({Access.ALWAYS}),
    _Kind.WRITE_EXCLUSIVE: frozenset({Access.ALWAYS, Access.STATUS, Access.PERSISTENT, Access.READ}),
    _Kind.EXCLUSIVE_ACCESS: frozenset({Access.ALWAYS, Access.STATUS, Access.PERSISTENT}),
}


def _preventing(cdb: Buffer) -> Access:
    return Access.WRITE if PREVENT_ALLOW_MEDIUM_REMOVAL.parse(cdb)["prevent"] else Access.ALWAYS


def _starting(cdb: Buffer) -> Access:
    fields = START_STOP_UNIT.parse(cdb)
    return Access.ALWAYS if fields["start"] and not fields["power_condition"] else Access.WRITE


_BY_CDB: Mapping[Access, Callable[[Buffer], Access]] = {Access.PREVENT: _preventing, Access.START: _starting}


def _kind(reservation: ReservationType) -> _Kind:
    return _Kind.EXCLUSIVE_ACCESS if reservation.exclusive_access else _Kind.WRITE_EXCLUSIVE


def conflicts(reservations: Reservations, nexus: Nexus, access: Access, cdb: Buffer) -> bool:
    """Whether a command of this nexus ends with RESERVATION CONFLICT. The CDB is whole."""
    judge = _BY_CDB.get(access)
    if judge is not None:
        access = judge(cdb)
    if reservations.reserved_by is not None:
        if access is Access.PERSISTENT:
            return True
        return reservations.reserved_by != nexus and access not in _PASSES[_Kind.RESERVE]
    reservation = reservations.type
    if reservation is None or access in _PASSES[_kind(reservation)]:
        return False
    registrant = reservations.registrant(nexus)
    return not (reservations.holds(registrant) or (reservation.registrants and registrant is not None))
