"""The dispatch table: every command that the device server knows, one row each.

All others are refused with INVALID COMMAND OPERATION CODE, unknown service actions of a known operation code with INVALID
FIELD IN CDB. `usage()` of a row's command is what REPORT SUPPORTED OPERATION CODES tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.cdb import BLOCK_RANGE
from iscsi_protocol.scsi.command import Command, Direction, Transfer, Unit
from iscsi_target.completion import Buffer
from iscsi_target.device.buffers import read_buffer, write_buffer
from iscsi_target.device.cache import pre_fetch, synchronize_cache
from iscsi_target.device.capacity import read_capacity_10, read_capacity_16
from iscsi_target.device.defects import read_defect_data_10, read_defect_data_12
from iscsi_target.device.diagnostic import receive_diagnostic_results, send_diagnostic
from iscsi_target.device.information import keeps_information, report_information, set_information
from iscsi_target.device.inquiry import inquiry
from iscsi_target.device.log import log_select, log_sense
from iscsi_target.device.maintenance import operation_codes_of, task_management_functions
from iscsi_target.device.medium import prevent_allow_medium_removal, start_stop_unit
from iscsi_target.device.mode import mode_select_6, mode_select_10, mode_sense_6, mode_sense_10
from iscsi_target.device.port_groups import report_target_port_groups, set_target_port_groups
from iscsi_target.device.provisioning import get_lba_status, unmap, write_same
from iscsi_target.device.read_write import read_6, reader, write_6, write_atomic, writer
from iscsi_target.device.report import report_luns, request_sense, unit_ready
from iscsi_target.device.reservations.conflict import Access
from iscsi_target.device.reservations.rows import RESERVATION_ROWS
from iscsi_target.device.row import Row
from iscsi_target.device.sanitize import block_erase, exit_failure_mode, overwrite
from iscsi_target.device.third_party_copy import (
    copy_data,
    copy_failure_details,
    copy_operating_parameters,
    copy_status,
    extended_copy,
)
from iscsi_target.device.timestamp import report_timestamp, set_timestamp
from iscsi_target.device.verify import compare_and_write, or_write, verify, write_and_verify

ROWS: list[Row] = [
    Row(command=op.TEST_UNIT_READY, access=Access.STATUS, handler=unit_ready),
    Row(
        command=op.REQUEST_SENSE,
        access=Access.ALWAYS,
        handler=request_sense,
        medium=False,
        passes_attention=True,
        while_sanitizing=True,
    ),
    Row(
        command=op.INQUIRY,
        access=Access.ALWAYS,
        handler=inquiry,
        medium=False,
        passes_attention=True,
        while_sanitizing=True,
    ),
    Row(
        command=op.REPORT_LUNS,
        access=Access.ALWAYS,
        handler=report_luns,
        medium=False,
        passes_attention=True,
        while_sanitizing=True,
    ),
    Row(command=op.MODE_SENSE_6, access=Access.READ, handler=mode_sense_6, medium=False),
    Row(command=op.MODE_SENSE_10, access=Access.READ, handler=mode_sense_10, medium=False),
    Row(command=op.MODE_SELECT_6, access=Access.WRITE, handler=mode_select_6, medium=False),
    Row(command=op.MODE_SELECT_10, access=Access.WRITE, handler=mode_select_10, medium=False),
    Row(command=op.START_STOP_UNIT, access=Access.START, handler=start_stop_unit, medium=False),
    Row(
        command=op.PREVENT_ALLOW_MEDIUM_REMOVAL,
        access=Access.PREVENT,
        handler=prevent_allow_medium_removal,
        medium=False,
    ),
    Row(command=op.READ_CAPACITY_10, access=Access.ALWAYS, handler=read_capacity_10),
    Row(command=op.READ_CAPACITY_16, access=Access.ALWAYS, handler=read_capacity_16),
    Row(command=op.READ_6, access=Access.READ, handler=read_6),
    Row(command=op.READ_10, access=Access.READ, handler=reader(op.READ_10)),
    Row(command=op.READ_12, access=Access.READ, handler=reader(op.READ_12)),
    Row(command=op.READ_16, access=Access.READ, handler=reader(op.READ_16)),
    Row(command=op.WRITE_6, access=Access.WRITE, handler=write_6, writes=True),
    Row(command=op.WRITE_10, access=Access.WRITE, handler=writer(op.WRITE_10), writes=True),
    Row(command=op.WRITE_12, access=Access.WRITE, handler=writer(op.WRITE_12), writes=True),
    Row(command=op.WRITE_16, access=Access.WRITE, handler=writer(op.WRITE_16), writes=True),
    Row(command=op.VERIFY_10, access=Access.READ, handler=verify),
    Row(command=op.VERIFY_12, access=Access.READ, handler=verify),
    Row(command=op.VERIFY_16, access=Access.READ, handler=verify),
    Row(command=op.WRITE_AND_VERIFY_10, access=Access.WRITE, handler=write_and_verify, writes=True),
    Row(command=op.WRITE_AND_VERIFY_12, access=Access.WRITE, handler=write_and_verify, writes=True),
    Row(command=op.WRITE_AND_VERIFY_16, access=Access.WRITE, handler=write_and_verify, writes=True),
    Row(command=op.COMPARE_AND_WRITE, access=Access.WRITE, handler=compare_and_write, writes=True, exact=True),
    Row(command=op.OR_WRITE_16, access=Access.WRITE, handler=or_write, writes=True),
    Row(command=op.WRITE_SAME_10, access=Access.WRITE, handler=write_same, writes=True, exact=True),
    Row(command=op.WRITE_SAME_16, access=Access.WRITE, handler=write_same, writes=True, exact=True),
    Row(
        command=op.WRITE_ATOMIC_16,
        access=Access.WRITE,
        handler=write_atomic,
        writes=True,
        only=lambda unit: unit.max_atomic > 0,
    ),
    Row(command=op.SANITIZE_OVERWRITE, access=Access.WRITE, handler=overwrite, writes=True, sanitizes=True),
    Row(
        command=op.SANITIZE_BLOCK_ERASE,
        access=Access.WRITE,
        handler=block_erase,
        writes=True,
        sanitizes=True,
        thin=True,
    ),
    Row(
        command=op.SANITIZE_EXIT_FAILURE_MODE,
        access=Access.WRITE,
        handler=exit_failure_mode,
        writes=True,
        sanitizes=True,
    ),
    Row(command=op.LOG_SENSE, access=Access.ALWAYS, handler=log_sense, medium=False, while_sanitizing=True),
    Row(command=op.LOG_SELECT, access=Access.WRITE, handler=log_select, medium=False),
    Row(command=op.SEND_DIAGNOSTIC, access=Access.WRITE, handler=send_diagnostic),
    Row(command=op.RECEIVE_DIAGNOSTIC_RESULTS, access=Access.READ, handler=receive_diagnostic_results, medium=False),
    Row(command=op.READ_BUFFER, access=Access.READ, handler=read_buffer, medium=False),
    Row(command=op.WRITE_BUFFER, access=Access.WRITE, handler=write_buffer, medium=False),
    Row(command=op.REPORT_TIMESTAMP, access=Access.ALWAYS, handler=report_timestamp, medium=False),
    Row(command=op.SET_TIMESTAMP, access=Access.WRITE, handler=set_timestamp, medium=False),
    Row(
        command=op.REPORT_IDENTIFYING_INFORMATION,
        access=Access.ALWAYS,
        handler=report_information,
        medium=False,
        only=keeps_information,
    ),
    Row(
        command=op.SET_IDENTIFYING_INFORMATION,
        access=Access.WRITE,
        handler=set_information,
        medium=False,
        only=keeps_information,
    ),
    Row(command=op.READ_DEFECT_DATA_10, access=Access.READ, handler=read_defect_data_10),
    Row(command=op.READ_DEFECT_DATA_12, access=Access.READ, handler=read_defect_data_12),
    Row(command=op.UNMAP, access=Access.WRITE, handler=unmap, writes=True, thin=True),
    Row(command=op.GET_LBA_STATUS, access=Access.READ, handler=get_lba_status, thin=True),
    Row(command=op.EXTENDED_COPY_LID1, access=Access.WRITE, handler=extended_copy, medium=False),
    Row(command=op.RECEIVE_COPY_STATUS_LID1, access=Access.STATUS, handler=copy_status, medium=False),
    Row(command=op.RECEIVE_COPY_DATA_LID1, access=Access.STATUS, handler=copy_data, medium=False),
    Row(
        command=op.RECEIVE_COPY_OPERATING_PARAMETERS,
        access=Access.STATUS,
        handler=copy_operating_parameters,
        medium=False,
    ),
    Row(command=op.RECEIVE_COPY_FAILURE_DETAILS_LID1, access=Access.STATUS, handler=copy_failure_details, medium=False),
    Row(
        command=op.REPORT_TARGET_PORT_GROUPS,
        access=Access.STATUS,
        handler=report_target_port_groups,
        medium=False,
        only=lambda unit: unit.port_groups.management > 0,
    ),
    Row(
        command=op.SET_TARGET_PORT_GROUPS,
        access=Access.WRITE,
        handler=set_target_port_groups,
        medium=False,
        only=lambda unit: unit.port_groups.explicit,
    ),
    Row(command=op.PRE_FETCH_10, access=Access.READ, handler=pre_fetch),
    Row(command=op.PRE_FETCH_16, access=Access.READ, handler=pre_fetch),
    Row(command=op.SYNCHRONIZE_CACHE_10, access=Access.WRITE, handler=synchronize_cache),
    Row(command=op.SYNCHRONIZE_CACHE_16, access=Access.WRITE, handler=synchronize_cache),
    Row(
        command=op.REPORT_SUPPORTED_TASK_MANAGEMENT_FUNCTIONS,
        access=Access.READ,
        handler=task_management_functions,
        medium=False,
        while_sanitizing=True,
    ),
    *RESERVATION_ROWS,
]
ROWS.append(
    Row(
        command=op.REPORT_SUPPORTED_OPERATION_CODES,
        access=Access.READ,
        handler=operation_codes_of(ROWS),
        medium=False,
        while_sanitizing=True,
    )
)

SERVICE_ACTION = 0x1F
"""Of byte 1, where an operation code is split by service action."""

Entry: TypeAlias = Row | dict[int, Row] | None


def _by_opcode() -> tuple[Entry, ...]:
    table: list[Entry] = [None] * 256
    for row in ROWS:
        opcode, action = row.command.opcode, row.command.service_action
        if action is None:
            table[opcode] = row
            continue
        actions = table[opcode]
        if not isinstance(actions, dict):
            table[opcode] = actions = {}
        actions[action] = row
    return tuple(table)


BY_OPCODE = _by_opcode()
"""Operation code to its row, to its rows by service action, or to None."""

Wanted: TypeAlias = Callable[[Buffer, int], int]


def _wanted(command: Command) -> Wanted | None:
    """How many bytes a CDB wants from the initiator: function of CDB and block size; None where it is always none."""
    transfer, ranges = command.transfer, BLOCK_RANGE[command.opcode]
    if isinstance(transfer, Transfer):
        if transfer.direction is not Direction.OUT:
            return None
        if transfer.unit is Unit.BLOCKS and transfer.count == "blocks" and ranges and not transfer.when_zero:
            factor = transfer.factor
            return lambda cdb, block_size: ranges(cdb, 0)[1] * block_size * factor
    return lambda cdb, block_size: command.data(cdb, block_size)[1]


def _wanted_by_action(actions: dict[int, Row]) -> Wanted | None:
    """The same for an operation code that is split by service action; unknown actions want nothing."""
    wanted = {action: found for action, row in actions.items() if (found := _wanted(row.command))}

    def of(cdb: Buffer, block_size: int) -> int:
        found = wanted.get(cdb[1] & SERVICE_ACTION)
        return 0 if found is None else found(cdb, block_size)

    return of if wanted else None


def _wanted_of(entry: Entry) -> Wanted | None:
    if isinstance(entry, dict):
        return _wanted_by_action(entry)
    return None if entry is None else _wanted(entry.command)


WANTED: tuple[Wanted | None, ...] = tuple(map(_wanted_of, BY_OPCODE))
"""By operation code; the CDB given to the function is whole."""
