"""Named faults of targets: one module an area, each with its FAULTS. Ids are permanent."""

from __future__ import annotations

from functools import cache

from iscsi_protocol.fault import NamedFault, Side, UnknownFault
from iscsi_protocol.fault.discovery import faults_of


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of targets by id."""
    return faults_of(__name__, Side.TARGET)


def fault(fault_id: str) -> NamedFault:
    """One fault. Raises UnknownFault."""
    try:
        return all_faults()[fault_id]
    except KeyError:
        raise UnknownFault(fault_id, list(all_faults())) from None
