"""PERSISTENT RESERVE IN (SPC-4 6.15): READ KEYS, READ RESERVATION, REPORT CAPABILITIES, READ FULL STATUS."""

from __future__ import annotations

from iscsi_protocol.scsi.opcodes import READ_KEYS
from iscsi_protocol.scsi.persistent import (
    Capabilities,
    FullStatus,
    Reservation,
    ReservationType,
    build_full_status,
    build_keys,
    build_reservation,
    type_mask,
)
from iscsi_protocol.scsi.transport_id import TransportId
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import data_in
from iscsi_target.device.unit import ItlNexus

_STATUS_THROUGH_ALL_TYPES = 4
"""ALLOW COMMANDS: TEST UNIT READY and RECEIVE COPY RESULTS go through every type, MODE SENSE and the like through Write
Exclusive (SPC-4 table 208).
"""


def _answer(data: bytes, cdb: Buffer) -> Completion:
    return data_in(data, READ_KEYS.parse(cdb)["allocation_length"])


def read_keys(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ KEYS: one key for each registered nexus."""
    state = path.unit.reservations
    return _answer(build_keys(state.generation, state.keys.values()), cdb)


def read_reservation(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ RESERVATION."""
    state = path.unit.reservations
    held = None
    if state.type is not None:
        held = Reservation(key=0 if state.holder is None else state.keys[state.holder], type=state.type)
    return _answer(build_reservation(state.generation, held), cdb)


def report_capabilities(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT CAPABILITIES."""
    unit = path.unit
    capabilities = Capabilities(
        compatible_reservation_handling=unit.config.reservations == "both",
        specify_initiator_ports=True,
        all_target_ports=True,
        persist_through_power_loss=unit.store.persistent,
        type_mask_valid=True,
        allow_commands=_STATUS_THROUGH_ALL_TYPES,
        persist_through_power_loss_activated=unit.reservations.aptpl,
        type_mask=type_mask(ReservationType),
    )
    return _answer(capabilities.build(), cdb)


def read_full_status(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ FULL STATUS: a descriptor for each registered nexus, also for those of one ALL_TG_PT."""
    state = path.unit.reservations
    descriptors = [
        FullStatus(
            key=key,
            transport_id=TransportId(each.initiator_name, each.isid),
            relative_target_port=each.target_port,
            holder=state.holds(each),
            type=(state.type or 0) if state.holds(each) else 0,
        )
        for each, key in state.keys.items()
    ]
    return _answer(build_full_status(state.generation, descriptors), cdb)
