"""What a unit says about itself and its neighbours: REPORT LUNS, REQUEST SENSE, TEST UNIT READY (SPC-4 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from iscsi_protocol.scsi.capacity import SelectReport, build_luns
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.lun import WELL_KNOWN_REPORT_LUNS, encode_extended_lun, encode_flat_lun, encode_lun
from iscsi_protocol.scsi.opcodes import REPORT_LUNS, REQUEST_SENSE
from iscsi_protocol.scsi.sense import Sense, SenseFormat
from iscsi_target.access import visible_luns
from iscsi_target.completion import Buffer, Completion
from iscsi_target.config import TargetNode
from iscsi_target.device.answer import GOOD, data_in, invalid_field
from iscsi_target.device.mode_pages import exception_code
from iscsi_target.device.unit import ItlNexus


def unit_ready(_path: ItlNexus, _cdb: Buffer, _data_out: Buffer) -> Completion:
    """TEST UNIT READY; what stands against it is found before any command is carried out."""
    return GOOD


_ENCODINGS: Mapping[str, Callable[[int], bytes]] = MappingProxyType(
    {"shortest": encode_lun, "flat": encode_flat_lun, "extended": encode_extended_lun}
)
_WITH_UNITS = frozenset({SelectReport.LUNS, SelectReport.ALL, SelectReport.NOT_SUBSIDIARY})
_WITH_WELL_KNOWN = frozenset({SelectReport.WELL_KNOWN, SelectReport.ALL})


def shown_luns(node: TargetNode, initiator_name: str) -> tuple[bytes, ...]:
    """The structures by which REPORT LUNS tells an initiator of the logical units that it sees."""
    encode = _ENCODINGS[node.lun_addressing]
    return tuple(encode(lun) for lun in sorted(visible_luns(node, initiator_name) or ()))


def luns_of(luns: Iterable[bytes], cdb: Buffer) -> Completion:
    """REPORT LUNS for whoever sees these; all see the well known logical unit. There are no conglomerates (SAM-5 4.6.3), so
    no unit is an administrative or a subsidiary one.
    """
    fields = REPORT_LUNS.parse(cdb)
    select = fields["select_report"]
    if select not in SelectReport.__members__.values():
        raise invalid_field(2, 7)
    shown = list(luns) if select in _WITH_UNITS else []
    if select in _WITH_WELL_KNOWN:
        shown.append(WELL_KNOWN_REPORT_LUNS)
    return data_in(build_luns(shown), fields["allocation_length"])


def report_luns(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT LUNS, behind which it is no news any more that they have changed (SPC-4 6.33)."""
    changed = AdditionalSense.REPORTED_LUNS_DATA_HAS_CHANGED
    if changed in path.attentions:
        path.attentions.remove(changed)
    return luns_of(path.luns, cdb)


def sense_data(sense: Sense, cdb: Buffer) -> Completion:
    """REQUEST SENSE that returns this."""
    fields = REQUEST_SENSE.parse(cdb)
    built = sense.build(SenseFormat.DESCRIPTOR if fields["desc"] else SenseFormat.FIXED)
    return data_in(built, fields["allocation_length"])


def request_sense(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REQUEST SENSE: a pending unit attention, which is thereby cleared, else why the unit is not ready, else what there is
    to tell of a unit that is (SPC-4 6.39).
    """
    if path.attentions:
        return sense_data(path.take_attention(), cdb)
    unit = path.unit
    sense = unit.readiness.sense()
    if sense is None:
        code = exception_code(unit.pages) or unit.readiness.power.value
        sense = Sense(key=SenseKey.NO_SENSE, code=code)
    return sense_data(sense, cdb)
