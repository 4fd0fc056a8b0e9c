"""Reservations: what one nexus holds keeps the others out (4.4.3.2; SPC-4 5.9, SPC-2 5.5)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.dialogue.bits import STATUS
from iscsi_captures.dialogue.reservations import Reservation
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import Opcode

RULES = Rules((Phase.FULL,), from_start=True)
_RESPONSE = Opcode.SCSI_RESPONSE
_IN = Opcode.SCSI_DATA_IN


def _executed_against(sight: Sight) -> Reservation | None:
    """The reservation of another nexus that held from before the command was sent until this GOOD status of it."""
    task = sight.scsi
    if task is None or sight.bhs[3] or (sight.opcode == _IN and not sight.bhs[1] & STATUS):
        return None
    if sight.opcode == _RESPONSE and sight.bhs[2]:
        return None
    held = sight.session.conflicts.get(task.itt)
    now = sight.connection.login.logins.reservations.conflicting(sight.session, task)
    return held if held is now else None


def _words(sight: Sight, held: Reservation) -> str:
    task = sight.scsi
    what = f"persistent reservation of type {held.kind}" if held.kind else "reservation"
    return (
        f"operation code {0 if task is None else task.bhs[32]:#04x} is executed against the {what} of {held.nexus[0]},"
        f" ISID {held.nexus[1].hex()}"
    )


@RULES("reservation.conflict-served", "R7143-4.4.3.2-01", _RESPONSE, _IN, level="ADVICE")
def conflict_served(sight: Sight) -> str | None:
    """A command that another nexus's reservation forbids ends with RESERVATION CONFLICT; the SCSI standards say so."""
    held = _executed_against(sight)
    return None if held is None or held.lost else _words(sight, held)


@RULES("reservation.lost-with-nexus", "R7143-4.4.3.2-01", _RESPONSE, _IN, stain=Stain.NOTHING)
def lost_with_nexus(sight: Sight) -> str | None:
    """A persistent reservation outlives the nexus that made it."""
    held = _executed_against(sight)
    if held is None or not held.lost or sight.connection.number > held.newest:
        return None  # who came later cannot tell that the target was not started anew
    return f"{_words(sight, held)}, whose session has ended"
