"""Named faults of initiators: one module an area, each with its FAULTS. Ids are permanent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from iscsi_protocol.fault import Action, Fault, NamedFault, Side, Test, UnknownFault, When
from iscsi_protocol.fault.discovery import faults_of
from iscsi_protocol.stream import Direction


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of initiators by id."""
    return faults_of(__name__, Side.INITIATOR)


def fault(fault_id: str) -> NamedFault:
    """One fault. Raises UnknownFault."""
    try:
        return all_faults()[fault_id]
    except KeyError:
        raise UnknownFault(fault_id, list(all_faults())) from None


def sends(
    fault_id: str,
    says: str,
    opcode: int,
    *what: Action,
    tests: Sequence[Test] = (),
    nth: int = 1,
    times: int = 1,
    stage: int | None = None,
    renumber: bool = False,
) -> NamedFault:
    """A fault in what the initiator sends. Without other wishes only the first such PDU has it; times 0: all."""
    when = When(direction=Direction.TO_TARGET, opcode=opcode, tests=tuple(tests), nth=nth, times=times, stage=stage)
    wrong = Fault(when=when, what=what, renumber=renumber)
    return NamedFault(id=fault_id, side=Side.INITIATOR, says=says, faults=(wrong,))


def takes_for(
    fault_id: str,
    says: str,
    opcode: int,
    *what: Action,
    tests: Sequence[Test] = (),
    nth: int = 1,
    times: int = 0,
    stage: int | None = None,
) -> NamedFault:
    """A fault in how the initiator reads what it gets: it acts as though something else had come. All such PDUs."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, tests=tuple(tests), nth=nth, times=times, stage=stage)
    return NamedFault(id=fault_id, side=Side.INITIATOR, says=says, faults=(Fault(when=when, what=what),))


def behaves(fault_id: str, says: str, **switches: object) -> NamedFault:
    """A fault that a switch of the engine's policy makes."""
    return NamedFault(id=fault_id, side=Side.INITIATOR, says=says, policy=switches)
