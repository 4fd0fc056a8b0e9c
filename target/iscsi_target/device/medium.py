"""START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL (SBC-3 5.13, 5.25)."""

from __future__ import annotations

from collections.abc import Mapping

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.opcodes import PREVENT_ALLOW_MEDIUM_REMOVAL, START_STOP_UNIT
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import GOOD, invalid_field, refused
from iscsi_target.device.read_write import flushed
from iscsi_target.device.readiness import PowerCondition
from iscsi_target.device.unit import ItlNexus, LogicalUnit

_CONDITIONS: Mapping[int, PowerCondition | None] = {
    0x1: PowerCondition.ACTIVE,
    0x2: PowerCondition.IDLE,
    0x3: PowerCondition.STANDBY,
    0x7: None,
}
"""POWER CONDITION; the rest is reserved, obsolete, or about timers that there are not (FORCE_IDLE_0, FORCE_STANDBY_0)."""


def start_stop_unit(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion | Work:
    """START STOP UNIT: start, stop, rest, and for removable media load and eject. Stopping makes what was written stable.

    While removal is prevented LOEJ is refused both ways, as users of removable units have come to expect.
    """
    unit = path.unit
    fields = START_STOP_UNIT.parse(cdb)
    lax = unit.config.start_stop == "ignored"
    if fields["power_condition"]:
        return GOOD if lax else _rest(unit, fields)
    start = bool(fields["start"])
    if fields["loej"]:
        if not unit.config.removable:
            raise invalid_field(4, 1)
        if unit.preventing:
            raise refused(AdditionalSense.MEDIUM_REMOVAL_PREVENTED)
        if start and not unit.readiness.loaded:
            unit.statistics.loads += 1
            unit.tell_others(path.nexus, AdditionalSense.NOT_READY_TO_READY_CHANGE_MEDIUM_MAY_HAVE_CHANGED)
        unit.set_medium(loaded=start, started=start)
    elif not lax:
        if start and not unit.readiness.started:
            unit.statistics.starts += 1
        unit.set_medium(loaded=unit.readiness.loaded, started=start)
    if start or fields["no_flush"]:
        return GOOD
    return unit.slowly(lambda: flushed(unit))


def _rest(unit: LogicalUnit, fields: dict[str, int]) -> Completion | Work:
    """A power condition (SBC-3 5.25): idle_a, standby_z and active. There are no timers: none is started anew (LU_CONTROL),
    and to force one to its end is refused. START and LOEJ are ignored.
    """
    condition = fields["power_condition"]
    if condition not in _CONDITIONS:
        raise invalid_field(4, 7)
    if fields["power_condition_modifier"]:
        raise invalid_field(3, 3)
    wanted = _CONDITIONS[condition]
    if wanted is None:
        return GOOD
    unit.set_medium(loaded=unit.readiness.loaded, started=True)
    unit.readiness.power = wanted
    unit.ready = unit.readiness.active
    if wanted is not PowerCondition.STANDBY or fields["no_flush"]:
        return GOOD
    return unit.slowly(lambda: flushed(unit))


def prevent_allow_medium_removal(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """PREVENT ALLOW MEDIUM REMOVAL: kept for each nexus until it allows, ends, or the unit is reset."""
    prevent = PREVENT_ALLOW_MEDIUM_REMOVAL.parse(cdb)["prevent"]
    if prevent > 1:
        raise invalid_field(4, 1)
    if prevent:
        path.unit.preventing.add(path.nexus)
    else:
        path.unit.preventing.discard(path.nexus)
    return GOOD
