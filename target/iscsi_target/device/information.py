"""REPORT and SET IDENTIFYING INFORMATION (SPC-4 5.6, 6.32, 6.44): what a user calls the unit, kept in the state file.

Information has to outlive the process, so units without a state file do not know the commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_protocol.scsi.maintenance import (
    InformationType,
    SupportedInformation,
    build_information,
    build_supported_information,
)
from iscsi_protocol.scsi.opcodes import REPORT_IDENTIFYING_INFORMATION, SET_IDENTIFYING_INFORMATION
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.device.answer import data_in, invalid_field, invalid_parameter, refused
from iscsi_target.device.unit import ItlNexus, LogicalUnit

SUBJECT = "information"
"""Under which the store keeps it: information type in decimal to its bytes in hexadecimal."""

_LENGTHS: Mapping[int, int] = {InformationType.PERIPHERAL_DEVICE: 64, InformationType.TEXT: 256}


def keeps_information(unit: LogicalUnit) -> bool:
    """Whether a unit knows the commands."""
    return unit.store.persistent


def check_kept(unit: LogicalUnit) -> None:
    """Raises ConfigError, which names the state file, for information that cannot have been set."""
    for kind, text in _kept(unit).items():
        try:
            fits = len(bytes.fromhex(text)) <= _LENGTHS[int(kind)]
        except (KeyError, ValueError):
            fits = False
        if not fits:
            raise unit.store.damaged(unit.target_name, unit.lun, SUBJECT, f"there is no type {kind!r} of {text!r}")


def _kept(unit: LogicalUnit) -> dict[str, str]:
    return unit.store.read(unit.target_name, unit.lun, SUBJECT, dict[str, str]) or {}


def report_information(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT IDENTIFYING INFORMATION."""
    fields = REPORT_IDENTIFYING_INFORMATION.parse(cdb)
    kind = fields["information_type"]
    if kind == InformationType.SUPPORTED:
        types = [SupportedInformation(information_type=each, maximum_length=most) for each, most in _LENGTHS.items()]
        return data_in(build_supported_information(types), fields["allocation_length"])
    if kind not in _LENGTHS:
        raise invalid_field(10, 7)
    information = bytes.fromhex(_kept(path.unit).get(str(kind), ""))
    return data_in(build_information(information), fields["allocation_length"])


def set_information(path: ItlNexus, cdb: Buffer, data_out: Buffer) -> Completion | Work:
    """SET IDENTIFYING INFORMATION; no bytes remove it. Text ends with a NUL and has none before."""
    fields = SET_IDENTIFYING_INFORMATION.parse(cdb)
    kind, length = fields["information_type"], fields["parameter_list_length"]
    if kind not in _LENGTHS:
        raise invalid_field(10, 7)
    if length > _LENGTHS[kind]:
        raise invalid_field(6, 7)
    if len(data_out) < length:
        raise refused(AdditionalSense.PARAMETER_LIST_LENGTH_ERROR)
    information = bytes(data_out[:length])
    if kind == InformationType.TEXT and information:
        _check_text(information)
    unit = path.unit
    kept = _kept(unit)
    if kept.get(str(kind), "") != information.hex():
        unit.store.put(unit.target_name, unit.lun, SUBJECT, {**kept, str(kind): information.hex()})
        unit.tell_others(path.nexus, AdditionalSense.DEVICE_IDENTIFIER_CHANGED)
    return unit.saved()


def _check_text(text: bytes) -> None:
    end = text.find(b"\0")
    if end < 0 or any(text[end:]):
        raise invalid_parameter(len(text) - 1 if end < 0 else end)
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise invalid_parameter(error.start) from error
