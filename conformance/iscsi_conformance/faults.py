"""All named faults, whoever has them."""

from __future__ import annotations

from functools import cache

from iscsi_conformance.case import Role
from iscsi_initiator import faults as initiator_faults
from iscsi_initiator.discovery import isns_faults as client_faults
from iscsi_initiator.service import faults as service_faults
from iscsi_protocol.fault import NamedFault, UnknownFault
from iscsi_target import faults as target_faults
from iscsi_target.isns import faults as server_faults


@cache
def all_faults() -> dict[str, NamedFault]:
    """Every named fault by id."""
    return {
        **target_faults.all_faults(),
        **initiator_faults.all_faults(),
        **server_faults.all_faults(),
        **client_faults.all_faults(),
        **service_faults.all_faults(),
    }


def fault_of(role: Role, fault_id: str) -> NamedFault:
    """The fault that a case of this role names. Raises UnknownFault."""
    own = {name: fault for name, fault in all_faults().items() if fault.side.value == role.value}
    if fault_id not in own:
        raise UnknownFault(fault_id, list(own))
    return own[fault_id]
