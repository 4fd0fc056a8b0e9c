"""REPORT TIMESTAMP and SET TIMESTAMP (SPC-4 5.2, 6.38, 6.47)."""

from __future__ import annotations

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.maintenance import Timestamp
from iscsi_protocol.scsi.opcodes import REPORT_TIMESTAMP, SET_TIMESTAMP
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import GOOD, data_in, invalid_parameter, refused
from iscsi_target.device.unit import ItlNexus

_TIMESTAMP_BYTE = 4
_HIGHEST_BYTE = 0xF0
"""Of the most significant byte of a timestamp that can be set (SPC-4 6.46)."""


def report_timestamp(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT TIMESTAMP."""
    clock = path.unit.clock
    data = Timestamp(origin=clock.origin, milliseconds=clock.now())
    return data_in(data.build(), REPORT_TIMESTAMP.parse(cdb)["allocation_length"])


def set_timestamp(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion:
    """SET TIMESTAMP; it has precedence over other clocks (SCSIP), and other nexuses are told."""
    length = SET_TIMESTAMP.parse(cdb)["parameter_list_length"]
    if not length:
        return GOOD
    if length < Timestamp.LENGTH or len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    if data_out[_TIMESTAMP_BYTE] > _HIGHEST_BYTE:
        raise invalid_parameter(_TIMESTAMP_BYTE)
    unit = path.unit
    unit.clock.set(Timestamp.parse(data_out).milliseconds)
    unit.tell_others(path.nexus, AdditionalSense.TIMESTAMP_CHANGED)
    return GOOD
