"""Named faults of initiators: one module an area, each with its FAULTS. Ids are permanent."""

from __future__ import annotations

from functools import cache, partial

from iscsi_protocol.fault import NamedFault, Side, named
from iscsi_protocol.fault.discovery import faults_of, find

# Initiators begin things: unless told otherwise only the first such PDU of a connection is wrong.
sends = partial(named.sends, Side.INITIATOR, times=1)
takes_for = partial(named.takes_for, Side.INITIATOR)
behaves = partial(named.behaves, Side.INITIATOR)


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault of initiators by id."""
    return faults_of(__name__, Side.INITIATOR)


def fault(fault_id: str) -> NamedFault:
    """One fault. Raises UnknownFault."""
    return find(all_faults(), fault_id)
