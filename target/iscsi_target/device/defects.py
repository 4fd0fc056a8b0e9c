"""READ DEFECT DATA(10) and (12) (SBC-3 5.17, 5.18): storage in files and memory has no defects, so both lists are empty."""

from __future__ import annotations

from iscsi_protocol.scsi.defects import LAST_DEFECT_LIST_FORMAT, DefectData10, DefectData12
from iscsi_protocol.scsi.opcodes import READ_DEFECT_DATA_10, READ_DEFECT_DATA_12
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import data_in, invalid_field
from iscsi_target.device.unit import ItlNexus


def read_defect_data_10(_path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ DEFECT DATA(10)."""
    fields = READ_DEFECT_DATA_10.parse(cdb)
    list_format = _format(fields, 2)
    found = DefectData10(
        primary_valid=bool(fields["req_plist"]), grown_valid=bool(fields["req_glist"]), list_format=list_format
    )
    return data_in(found.build(), fields["allocation_length"])


def read_defect_data_12(_path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """READ DEFECT DATA(12). An address descriptor index beyond the empty list tells of an empty list as well."""
    fields = READ_DEFECT_DATA_12.parse(cdb)
    list_format = _format(fields, 1)
    found = DefectData12(
        primary_valid=bool(fields["req_plist"]), grown_valid=bool(fields["req_glist"]), list_format=list_format
    )
    return data_in(found.build(), fields["allocation_length"])


def _format(fields: dict[str, int], byte: int) -> int:
    """The format that was asked for, in which nothing is told. Raises CheckCondition for the reserved one."""
    if fields["defect_list_format"] > LAST_DEFECT_LIST_FORMAT:
        raise invalid_field(byte, 2)
    return fields["defect_list_format"]
