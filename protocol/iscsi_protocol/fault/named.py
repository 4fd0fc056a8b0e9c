"""How the fault tables of a side are written: named faults of one step each, by what the faulty product does."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_protocol.fault.action import Action
from iscsi_protocol.fault.model import Fault, NamedFault, Side, Test, When
from iscsi_protocol.stream import Direction


def changes(
    side: Side, fault_id: str, says: str, when: When, *what: Action, raw: bool = False, renumber: bool = False
) -> NamedFault:
    """A fault that does this to the PDUs that `when` tells."""
    return NamedFault(
        id=fault_id, side=side, says=says, faults=(Fault(when=when, what=what, raw=raw, renumber=renumber),)
    )


def sends(
    side: Side,
    fault_id: str,
    says: str,
    opcode: int,
    *what: Action,
    tests: Sequence[Test] = (),
    stage: int | None = None,
    cid: int | None = None,
    nth: int = 1,
    times: int = 0,
    raw: bool = False,
    renumber: bool = False,
) -> NamedFault:
    """A fault in what the side sends. times 0: in all such PDUs from the nth on."""
    way = Direction.TO_INITIATOR if side is Side.TARGET else Direction.TO_TARGET
    when = When(direction=way, opcode=opcode, tests=tuple(tests), stage=stage, cid=cid, nth=nth, times=times)
    return changes(side, fault_id, says, when, *what, raw=raw, renumber=renumber)


def takes_for(
    side: Side,
    fault_id: str,
    says: str,
    opcode: int,
    *what: Action,
    tests: Sequence[Test] = (),
    stage: int | None = None,
    cid: int | None = None,
    nth: int = 1,
    times: int = 0,
    raw: bool = False,
) -> NamedFault:
    """A fault in how the side reads what it gets: it acts as though something else had come, or nothing."""
    way = Direction.TO_TARGET if side is Side.TARGET else Direction.TO_INITIATOR
    when = When(direction=way, opcode=opcode, tests=tuple(tests), stage=stage, cid=cid, nth=nth, times=times)
    return changes(side, fault_id, says, when, *what, raw=raw)


def behaves(side: Side, fault_id: str, says: str, **switches: object) -> NamedFault:
    """A fault that switches of the engine's policy make."""
    return NamedFault(id=fault_id, side=side, says=says, policy=switches)
