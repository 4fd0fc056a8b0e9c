"""Reservations of logical units as the nexuses of a history make them (SPC-2 RESERVE, SPC-4 PERSISTENT RESERVE OUT).

Only what a history shows from its beginning is known: a reservation is one whose command ended with GOOD. Whatever cannot
be followed for certain, such as PREEMPT, makes the unit's state unknown, and nothing is said of it until the next one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from iscsi_captures.dialogue.cdb import PERSISTENT_RESERVE_OUT, READS, WRITES

if TYPE_CHECKING:
    from iscsi_captures.dialogue.state import Session
    from iscsi_captures.dialogue.task import Task

Nexus = tuple[str, bytes]
"""Initiator name and ISID, at one target."""

_RESERVE = frozenset({0x16, 0x56})
_RELEASE = frozenset({0x17, 0x57})
COMMANDS = _RESERVE | _RELEASE | {PERSISTENT_RESERVE_OUT}
_CDB = 32
_SA_REGISTER, _SA_RESERVE, _SA_RELEASE, _SA_CLEAR, _SA_REGISTER_AND_IGNORE = 0, 1, 2, 3, 6
_WRITE_EXCLUSIVE = frozenset({1, 5, 7})
_EXCLUSIVE = frozenset({3, 6, 8})
_REGISTRANTS = frozenset({5, 6, 7, 8})
_ALL_REGISTRANTS = frozenset({7, 8})
_KEY = slice(8, 16)
_OPTIONS, _SPEC_I_PT = 20, 0x08
UNITS_KEPT = 1024
PARAMETERS_KEPT = 24


class Reservation:
    """One that holds. kind: the type of a persistent one, 0 for RESERVE. holder: the session; lost: its nexus has ended.

    newest: the highest number of a connection when it was made.
    """

    __slots__ = ("holder", "kind", "lost", "newest", "nexus")

    def __init__(self, kind: int, holder: Session, newest: int) -> None:
        self.kind = kind
        self.newest = newest
        self.holder = holder
        self.nexus = nexus_of(holder)
        self.lost = False


class Unit:
    """One logical unit of a target: its reservation, and the nexuses that are registered.

    pending: commands about reservations that have no status. parameters: the last parameter list. named: whether ports were
    registered by their TransportIDs, so that any may be registered.
    """

    __slots__ = ("named", "parameters", "pending", "registered", "reservation")

    def __init__(self) -> None:
        self.reservation: Reservation | None = None
        self.registered: set[Nexus] = set()
        self.named = False
        self.pending = 0
        self.parameters = b""


def nexus_of(session: Session) -> Nexus:
    """The session's nexus, as its target tells nexuses apart."""
    return session.initiator_name, session.isid


class Reservations:
    """By target name and LUN. What a command may not do is asked for when it is sent, and again when it is answered."""

    def __init__(self) -> None:
        self._units: dict[tuple[str, bytes], Unit] = {}

    def conflicting(self, session: Session, task: Task) -> Reservation | None:
        """The reservation of another nexus that keeps this command from being executed."""
        unit = self._units.get((session.target_name, task.lun))
        if unit is None or unit.reservation is None or unit.pending:
            return None
        held, nexus, code = unit.reservation, nexus_of(session), task.bhs[_CDB]
        if nexus == held.nexus or (held.kind in _REGISTRANTS and (unit.named or nexus in unit.registered)):
            return None
        conflicts = code in WRITES or (code in READS and held.kind not in _WRITE_EXCLUSIVE)
        return held if conflicts else None

    def sent(self, session: Session, task: Task, data: bytes) -> None:
        """A command about reservations was sent, with this immediate data."""
        unit = self._unit(session, task)
        if unit is not None:
            unit.pending += 1
            unit.parameters = data[:PARAMETERS_KEPT]

    def parameters(self, session: Session, task: Task, data: bytes) -> None:
        """The parameter list of such a command, as far as it comes first."""
        unit = self._unit(session, task)
        if unit is not None:
            unit.parameters = data[:PARAMETERS_KEPT]

    def answered(self, session: Session, task: Task, newest: int, *, good: bool) -> None:
        """A command about reservations has its status. newest: the highest number of a connection by now."""
        unit = self._unit(session, task)
        if unit is None:
            return
        data = unit.parameters if unit.pending == 1 else b""
        unit.pending = max(unit.pending - 1, 0)
        if good:
            _change(unit, session, task, data, newest)

    def reset(self, session: Session, lun: bytes | None) -> None:
        """A unit, or with None the target, was reset: what is not persistent is gone."""
        for (target, each), unit in self._units.items():
            if target == session.target_name and lun in (None, each):
                unit.pending = 0
                if unit.reservation is not None and not unit.reservation.kind:
                    unit.reservation = None

    def lose(self, session: Session) -> None:
        """The nexus of a session is lost; what it reserved persistently stays."""
        for (target, _), unit in self._units.items():
            held = unit.reservation
            if target == session.target_name and held is not None and held.holder is session:
                held.lost = True
                if not held.kind:
                    unit.reservation = None

    def touches(self, session: Session) -> bool:
        """Whether a reservation of another nexus may keep this one from something."""
        nexus = nexus_of(session)
        return any(
            target == session.target_name and unit.reservation is not None and unit.reservation.nexus != nexus
            for (target, _), unit in self._units.items()
        )

    def mark(self, sessions: Iterable[Session]) -> None:
        """Note in the sessions whether they have to be watched for conflicts."""
        for session in sessions:
            session.reserved = bool(self._units) and self.touches(session)

    def _unit(self, session: Session, task: Task) -> Unit | None:
        if task.bhs[_CDB] not in COMMANDS or not session.target_name:
            return None
        key = session.target_name, task.lun
        if key not in self._units and len(self._units) >= UNITS_KEPT:
            return None
        return self._units.setdefault(key, Unit())


def _change(unit: Unit, session: Session, task: Task, data: bytes, newest: int) -> None:
    code, nexus = task.bhs[_CDB], nexus_of(session)
    held = unit.reservation
    if code in _RESERVE:
        unit.reservation = Reservation(0, session, newest)
        return
    if code in _RELEASE:
        if held is not None and held.nexus == nexus:
            unit.reservation = None
        return
    action, kind = task.bhs[_CDB + 1] & 0x1F, task.bhs[_CDB + 2] & 0x0F
    if action in (_SA_REGISTER, _SA_REGISTER_AND_IGNORE) and len(data) >= _KEY.stop:
        unit.named = unit.named or (len(data) > _OPTIONS and bool(data[_OPTIONS] & _SPEC_I_PT))
        if any(data[_KEY]):
            unit.registered.add(nexus)
            return
        unit.registered.discard(nexus)
        if held is not None and held.kind and (held.nexus == nexus or held.kind in _ALL_REGISTRANTS):
            unit.reservation = None
    elif action == _SA_RESERVE and kind in _WRITE_EXCLUSIVE | _EXCLUSIVE:
        if held is None or held.nexus != nexus:
            unit.reservation = Reservation(kind, session, newest)
    elif action == _SA_RELEASE:
        if held is not None and (held.nexus == nexus or held.kind in _ALL_REGISTRANTS):
            unit.reservation = None
    else:
        # CLEAR, PREEMPT and the rest: what holds now is not followed.
        unit.reservation = None
        if action == _SA_CLEAR:
            unit.registered.clear()
            unit.named = False
