"""RESERVE and RELEASE of 6 and 10 bytes (SPC-2 7.16, 7.21), with the exceptions of SPC-4 5.12.3 beside persistent ones.

Extents and third parties are refused. Where somebody is registered both commands conflict, except that they do nothing,
and end well, for who holds a persistent reservation or shares in it.
"""

from __future__ import annotations

from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import CONFLICT, GOOD, invalid_field
from iscsi_target.device.unit import ItlNexus

_THIRD_PARTY, _LONG_ID, _EXTENT = 0x10, 0x02, 0x01


def _check_fields(cdb: Buffer, lists: int) -> None:
    """Refuse what would reserve less than the unit, or for somebody else. lists: where the list's length stands."""
    for bit, mask in ((4, _THIRD_PARTY), (0, _EXTENT)):
        if cdb[1] & mask:
            raise invalid_field(1, bit)
    if any(cdb[lists : lists + 2]):
        raise invalid_field(lists)


def _persistent(path: ItlNexus) -> Completion | None:
    """The answer where somebody is registered, None where nobody is."""
    state = path.unit.reservations
    if not state.keys:
        return None
    registrant = state.registrant(path.nexus)
    shares = registrant is not None and state.type is not None and state.type.registrants
    return GOOD if state.holds(registrant) or shares else CONFLICT


def _reserve(path: ItlNexus) -> Completion:
    answer = _persistent(path)
    state = path.unit.reservations
    if answer is None:
        if state.reserved_by not in (None, path.nexus):
            return CONFLICT
        state.reserved_by = path.nexus
        path.unit.guard_commands()
    return answer or GOOD


def _release(path: ItlNexus) -> Completion:
    answer = _persistent(path)
    state = path.unit.reservations
    if answer is None and state.reserved_by == path.nexus:
        state.reserved_by = None
        path.unit.guard_commands()
    return answer or GOOD


def reserve_6(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RESERVE(6)."""
    _check_fields(cdb, 3)
    return _reserve(path)


def reserve_10(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RESERVE(10)."""
    _check_fields(cdb, 7)
    return _reserve(path)


def release_6(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RELEASE(6); of what somebody else reserved it does nothing."""
    _check_fields(cdb, 3)
    return _release(path)


def release_10(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """RELEASE(10)."""
    _check_fields(cdb, 7)
    return _release(path)
