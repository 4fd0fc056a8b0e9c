"""Named faults of targets: one module an area, each with its FAULTS. Ids are permanent."""

from __future__ import annotations

from functools import cache, partial

from iscsi_protocol.fault import Fault, NamedFault, Of, Side, named
from iscsi_protocol.fault.discovery import faults_of, find

changes = partial(named.changes, Side.TARGET)
sends = partial(named.sends, Side.TARGET)
takes_for = partial(named.takes_for, Side.TARGET)
behaves = partial(named.behaves, Side.TARGET)


def together(fault_id: str, says: str, *faults: Fault) -> NamedFault:
    """A fault of several steps, each of which waits for PDUs of its own."""
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=faults)


NEXT_NUMBERS = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
"""What an inserted response takes that has a StatSN of its own (11.4.9 to 11.4.11)."""

SAME_NUMBERS = {
    "stat_sn": Of("trigger.stat_sn"),
    "exp_cmd_sn": Of("trigger.exp_cmd_sn"),
    "max_cmd_sn": Of("trigger.max_cmd_sn"),
}
"""What it takes where it stands for the response that it was inserted at."""


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of targets by id."""
    return faults_of(__name__, Side.TARGET)


def fault(fault_id: str) -> NamedFault:
    """One fault. Raises UnknownFault."""
    return find(all_faults(), fault_id)
