"""What a change of reservations means to the logical unit around them: unit attentions, ended commands, and what is kept."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_target.completion import Completion, Work
from iscsi_target.device.answer import GOOD, check
from iscsi_target.device.attention import establish
from iscsi_target.device.reservations.changes import Told
from iscsi_target.device.reservations.keeping import keep
from iscsi_target.device.reservations.state import Registrant
from iscsi_target.device.unit import ItlNexus, LogicalUnit
from iscsi_target.nexus import Nexus

_NOT_KEPT = Sense(key=SenseKey.HARDWARE_ERROR, code=AdditionalSense.INTERNAL_TARGET_FAILURE)


def _good() -> Completion:
    return GOOD


Seats = dict[Nexus, Registrant | None]


def seats(unit: LogicalUnit) -> Seats:
    """As whom each nexus that is there is registered. Taken before a change, it says whom the change is about."""
    return {nexus: unit.reservations.registrant(nexus) for nexus in unit.paths}


def tell(path: ItlNexus, before: Seats, told: Told) -> None:
    """Establish the unit attentions of a change, for all but the nexus that made it."""
    for nexus, registrant in before.items():
        code = None if registrant is None or nexus == path.nexus else told.get(registrant)
        if code is not None:
            establish(path.unit.paths[nexus].attentions, code)


def end_commands(path: ItlNexus, before: Seats, registrants: Iterable[Registrant]) -> None:
    """PREEMPT AND ABORT: commands of these end without a response, and they no longer prevent removal (SPC-4 5.12.11.5)."""
    gone = set(registrants)
    for nexus, registrant in before.items():
        if registrant in gone:
            path.unit.abort_tasks(nexus, path.nexus)
            path.unit.preventing.discard(nexus)


def settle(unit: LogicalUnit, *, later: bool = False) -> Completion | Work:
    """Let the new state count, and keep what has to be kept. GOOD says that it is on stable storage.

    later: answer with work in any case, which the engine may hold back.
    """
    unit.guard_commands()
    if not unit.store.persistent:
        return Work(_good) if later else GOOD
    keep(unit.store, unit.target_name, unit.lun, unit.reservations)
    descriptor = unit.descriptor_sense

    def save() -> Completion:
        try:
            unit.store.save()
        except OSError:
            return check(_NOT_KEPT, descriptor=descriptor)
        return GOOD

    return Work(save)
