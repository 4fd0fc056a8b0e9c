"""The rows of the reservation commands, which a unit knows as its setting `reservations` says."""

from __future__ import annotations

from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.command import Command
from iscsi_target.device.reservations import persistent_in, persistent_out
from iscsi_target.device.reservations.conflict import Access
from iscsi_target.device.reservations.persistent_out import Action
from iscsi_target.device.reservations.reserve import release_6, release_10, reserve_6, reserve_10
from iscsi_target.device.row import Handler, Row
from iscsi_target.device.unit import LogicalUnit


def _spc2(unit: LogicalUnit) -> bool:
    return unit.config.reservations in ("spc2", "both")


def _persistent(unit: LogicalUnit) -> bool:
    return unit.config.reservations in ("persistent", "both")


def _legacy_row(command: Command, handler: Handler) -> Row:
    return Row(command=command, access=Access.ALWAYS, handler=handler, medium=False, only=_spc2)


def _in(command: Command, handler: Handler) -> Row:
    return Row(command=command, access=Access.PERSISTENT, handler=handler, medium=False, only=_persistent)


def _out(command: Command, action: Action, *, aborts: bool = False) -> Row:
    return _in(command, persistent_out.persistent_out(action, aborts=aborts))


RESERVATION_ROWS: list[Row] = [
    _legacy_row(op.RESERVE_6, reserve_6),
    _legacy_row(op.RELEASE_6, release_6),
    _legacy_row(op.RESERVE_10, reserve_10),
    _legacy_row(op.RELEASE_10, release_10),
    _in(op.READ_KEYS, persistent_in.read_keys),
    _in(op.READ_RESERVATION, persistent_in.read_reservation),
    _in(op.REPORT_CAPABILITIES, persistent_in.report_capabilities),
    _in(op.READ_FULL_STATUS, persistent_in.read_full_status),
    _out(op.REGISTER, persistent_out.register),
    _out(op.RESERVE, persistent_out.reserve),
    _out(op.RELEASE, persistent_out.release),
    _out(op.CLEAR, persistent_out.clear),
    _out(op.PREEMPT, persistent_out.preempt),
    _out(op.PREEMPT_AND_ABORT, persistent_out.preempt_and_abort, aborts=True),
    _out(op.REGISTER_AND_IGNORE_EXISTING_KEY, persistent_out.register_and_ignore_existing_key),
    _out(op.REGISTER_AND_MOVE, persistent_out.register_and_move),
]
