"""What a unit says about itself and its neighbours: REPORT LUNS, REQUEST SENSE, TEST UNIT READY (SPC-4 6)."""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_protocol.scsi.capacity import SelectReport, build_luns
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.opcodes import REPORT_LUNS, REQUEST_SENSE
from iscsi_protocol.scsi.sense import Sense, SenseFormat
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import GOOD, data_in, invalid_field
from iscsi_target.device.unit import ItlNexus

_NOTHING_TO_SAY = Sense(key=0)


def unit_ready(_path: ItlNexus, _cdb: Buffer, _data_out: Buffer) -> Completion:
    """TEST UNIT READY; what stands against it is found before any command is carried out."""
    return GOOD


def luns_of(luns: Iterable[int], cdb: Buffer) -> Completion:
    """REPORT LUNS for whoever sees these; there are no well known logical units."""
    fields = REPORT_LUNS.parse(cdb)
    select = fields["select_report"]
    if select not in SelectReport.__members__.values():
        raise invalid_field(2, 7)
    shown = () if select == SelectReport.WELL_KNOWN else sorted(luns)
    return data_in(build_luns(encode_lun(lun) for lun in shown), fields["allocation_length"])


def report_luns(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT LUNS."""
    return luns_of(path.luns, cdb)


def sense_data(sense: Sense, cdb: Buffer) -> Completion:
    """REQUEST SENSE that returns this."""
    fields = REQUEST_SENSE.parse(cdb)
    built = sense.build(SenseFormat.DESCRIPTOR if fields["desc"] else SenseFormat.FIXED)
    return data_in(built, fields["allocation_length"])


def request_sense(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REQUEST SENSE: a pending unit attention, which is thereby cleared, else why the unit is not ready, else nothing."""
    if path.attentions:
        return sense_data(path.take_attention(), cdb)
    return sense_data(path.unit.readiness.sense() or _NOTHING_TO_SAY, cdb)
