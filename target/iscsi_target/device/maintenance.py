"""REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.34, 6.35)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.opcodes import (
    REPORT_SUPPORTED_OPERATION_CODES,
    REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
)
from iscsi_protocol.scsi.supported import (
    CommandTimeouts,
    OneCommand,
    ReportingOptions,
    Support,
    SupportedTaskManagement,
    build_all_commands,
)
from iscsi_target.completion import Buffer, Completion
from iscsi_target.device.answer import data_in, invalid_field
from iscsi_target.device.row import Handler, Row
from iscsi_target.device.unit import ItlNexus

LEVEL_OF_QUERIES = 2
"""The iSCSIProtocolLevel that has QUERY TASK and the like (RFC 7144 6.3)."""

_TASK_MANAGEMENT = SupportedTaskManagement(
    abort_task=True, abort_task_set=True, clear_task_set=True, logical_unit_reset=True, target_reset=True
)
_OF_LEVEL_2 = replace(
    _TASK_MANAGEMENT, query_task=True, query_task_set=True, i_t_nexus_reset=True, query_asynchronous_event=True
)
"""With the functions of RFC 7144."""


_NACA = 0x04
"""What is looked at in the control byte (SAM-5 5.2)."""

_IGNORED = ("fua_nv", "group_number", "rarc", "reladr", "sync_nv")
"""Fields that change nothing here: obsolete ones, and advice about caches and groups that there are not."""


def usage(command: Command) -> bytes:
    """CDB usage data: ones for the bits that the device server looks at."""
    data = bytearray(command.usage())
    for name in _IGNORED:
        if name in command.fields:
            command.fields[name].put(data, 0, name)
    data[command.fields["control"].offset] = _NACA
    return bytes(data)


def operation_codes_of(rows: Sequence[Row]) -> Handler:
    """The handler that reports these rows, as far as a unit knows them."""

    def report(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
        fields = REPORT_SUPPORTED_OPERATION_CODES.parse(cdb)
        commands = [row.command for row in rows if row.known_to(path.unit)]
        timeouts = CommandTimeouts() if fields["rctd"] else None
        if fields["reporting_options"] == ReportingOptions.ALL:
            data = build_all_commands(commands, timeouts)
        else:
            data = _one(commands, fields, timeouts).build()
        return data_in(data, fields["allocation_length"])

    return report


def _one(commands: Sequence[Command], fields: dict[str, int], timeouts: CommandTimeouts | None) -> OneCommand:
    """The command that was asked for. Raises CheckCondition when the question does not fit its operation code."""
    option = fields["reporting_options"]
    action = fields["requested_service_action"]
    found = [each for each in commands if each.opcode == fields["requested_operation_code"]]
    split = any(each.service_action is not None for each in found)
    if option == ReportingOptions.ONE_OPERATION_CODE:
        if split:
            raise invalid_field(2, 2)
    elif option == ReportingOptions.ONE_SERVICE_ACTION:
        if found and not split:
            raise invalid_field(2, 2)
        found = [each for each in found if each.service_action == action]
    elif option == ReportingOptions.ONE_EITHER:
        found = [each for each in found if (each.service_action or 0) == action]
    else:
        raise invalid_field(2, 2)
    if not found:
        return OneCommand(support=Support.NOT_SUPPORTED)
    return OneCommand(support=Support.STANDARD, usage=usage(found[0]), timeouts=timeouts)


def task_management_functions(path: ItlNexus, cdb: Buffer, _data_out: Buffer) -> Completion:
    """REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS: those of RFC 7143 11.5.1 but CLEAR ACA, and those of
    RFC 7144 where the session agreed on its level.
    """
    fields = REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS.parse(cdb)
    supported = _OF_LEVEL_2 if path.nexus.protocol_level >= LEVEL_OF_QUERIES else _TASK_MANAGEMENT
    data = supported.build() if fields["repd"] else supported.build_short()
    return data_in(data, fields["allocation_length"])
