"""What the initiator sends in full feature phase: which tasks begin, and until when they have to be answered."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_captures.events import numbering, transfer
from iscsi_captures.events.declared import OwnTerms
from iscsi_captures.events.dumps import command_block
from iscsi_captures.events.journal import Journal
from iscsi_captures.events.state import Connection, Management, ScsiTask, Session, Task
from iscsi_captures.events.text import TextTask
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    NO_TAG,
    AhsError,
    LogoutReason,
    Opcode,
    RawPdu,
    SnackType,
    TaskFunction,
    decode_ahs,
    read_length,
)

_FINAL, _READ, _WRITE, _IMMEDIATE = 0x80, 0x40, 0x20, 0x40
_command = struct.Struct(">16xIII").unpack_from
_snack = struct.Struct(">16xII16xII").unpack_from
_ALL = 1 << 31
_PROMPT = 1.0
"""Seconds within which a function follows the one whose failure it is an answer to; later it is somebody's wish."""
_TARGET_RESETS = frozenset({TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET})
_LADDER: Mapping[int, int] = MappingProxyType(
    {
        TaskFunction.LOGICAL_UNIT_RESET: TaskFunction.ABORT_TASK,
        TaskFunction.TARGET_WARM_RESET: TaskFunction.LOGICAL_UNIT_RESET,
    }
)
"""What has to fail before the initiator tries this (7.11)."""

SENT_TARGETS = 46
OVERDUE_SCSI, OVERDUE_MANAGEMENT_SCSI = 9, 47


class Requests:
    """Reads the initiator's PDUs of full feature phase."""

    def __init__(self, journal: Journal, terms: OwnTerms) -> None:
        self._journal = journal
        self._terms = terms
        self._read: dict[int, Callable[[Connection, Session, RawPdu, float], None]] = {
            Opcode.SCSI_COMMAND: self._command,
            Opcode.NOP_OUT: self._ping,
            Opcode.TASK_MANAGEMENT_REQUEST: self._management,
            Opcode.TEXT_REQUEST: self._text,
            Opcode.LOGOUT_REQUEST: self._logout,
            Opcode.SNACK_REQUEST: self._snack,
        }

    def take(self, connection: Connection, raw: RawPdu, now: float) -> None:
        """A PDU was sent."""
        connection.sent += 1
        read = self._read.get(raw.bhs[0] & 0x3F)
        if read is not None and connection.session is not None:
            read(connection, connection.session, raw, now)

    def _begin(self, session: Session, task: Task, now: float, allowance: float, event: int) -> None:
        task.event = event
        self._journal.expect(session.begin(task, now, allowance))

    def _command(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        bhs = raw.bhs
        flags = bhs[1]
        itt, length, cmd_sn = _command(bhs, 0)
        known = session.tasks.get(itt)
        write = length if flags & _WRITE else 0
        asked_to = len(raw.data)
        if write and not flags & _FINAL:
            asked_to = min(write, connection.limits.first_burst)
        if isinstance(known, ScsiTask) and known.cmd_sn == cmd_sn:
            # Sent again: behind a Reject or for want of an acknowledgement the clock runs on, behind a loss it begins anew.
            known.connection = connection
            known.restart(asked_to)
            if known.stopped:
                known.stopped = False
                self._journal.expect(session.begin(known, now, known.allowance))
            return
        read = 0
        if flags & _READ:
            read = _bidirectional(raw) if write else length
        task = ScsiTask(connection, itt, cmd_sn, bool(bhs[0] & _IMMEDIATE), bytes(bhs), read, write, asked_to)
        if raw.ahs:
            task.ahs = raw.ahs
        event, allowance = OVERDUE_SCSI, session.declared.scsi
        if self._terms:
            task.terms = terms = self._terms.take(Opcode.SCSI_COMMAND, command_block(bhs, raw.ahs))
            if terms is not None and terms.management:
                event = OVERDUE_MANAGEMENT_SCSI
                allowance = session.declared.text if terms.timeout is None else terms.timeout
            elif terms is not None and terms.timeout is not None:
                allowance = terms.timeout + session.declared.delta
        self._begin(session, task, now, allowance, event)

    def _ping(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        task = _task(connection, raw)
        if task.itt != NO_TAG:
            if not task.immediate:
                task.turn = _turn(session, task)
            allowance = self._own(Opcode.NOP_OUT, session.declared.nop)
            self._begin(session, task, now, allowance, 48)

    def _own(self, opcode: int, usual: float) -> float:
        terms = self._terms.take(opcode, b"")
        return usual if terms is None or terms.timeout is None else terms.timeout

    def _management(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        plain = _task(connection, raw)
        task = Management(connection, plain.itt, plain.cmd_sn, plain.immediate, plain.bhs)
        before = _LADDER.get(task.code)
        # That the target is to be reset was told when the reset of the LUN failed; a reset of a LUN may be anybody's.
        first = before == TaskFunction.ABORT_TASK
        late = first and session.failed_at is not None and now > session.failed_at + _PROMPT
        if before is not None and session.failed is not None and not late:
            code, lun = session.failed
            task.ladder = code == before and (task.code != TaskFunction.LOGICAL_UNIT_RESET or task.lun == lun)
            task.behind = session.failed
        session.failed = None
        allowance = self._own(Opcode.TASK_MANAGEMENT_REQUEST, session.declared.task_management)
        self._begin(session, task, now, allowance, 49)
        moved = session.tasks.get(task.referenced)
        if task.code == TaskFunction.TASK_REASSIGN and isinstance(moved, ScsiTask):
            moved.connection = connection
            transfer.reassign(moved)
        told, session.resetting = session.resetting, False
        if task.code in _TARGET_RESETS and not told:
            self._journal.log(39, connection.number, now, session.target_name)

    def _text(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        plain = _task(connection, raw)
        task = session.tasks.get(plain.itt)
        if not isinstance(task, TextTask):
            task = TextTask(connection, plain, discovery=session.discovery)
            allowance = self._own(Opcode.TEXT_REQUEST, session.declared.text)
            self._begin(session, task, now, allowance, 50)
        task.say(raw)
        if task.send_targets:
            task.event = SENT_TARGETS

    def _logout(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        task = _task(connection, raw)
        reason = task.bhs[1] & 0x7F
        event = 51 if connection.logout_wanted else 44
        if reason == LogoutReason.RECOVERY:
            event = 8
        elif reason == LogoutReason.CLOSE_SESSION:
            session.leaving = connection
        self._begin(session, task, now, session.declared.logout, event)

    def _snack(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        itt, ttt, begin, length = _snack(raw.bhs, 0)
        kind = raw.bhs[1] & 0x0F
        task = session.tasks.get(itt)
        due = now + session.declared.snack
        last = (begin + (length or _ALL) - 1) & 0xFFFFFFFF
        if kind == SnackType.STATUS:
            numbering.ask(connection, None, begin, last, due)
        elif kind == SnackType.DATA_ACK:
            for each in session.tasks.values():
                if isinstance(each, ScsiTask) and each.ack_tag == ttt:
                    each.acknowledged = begin
        elif isinstance(task, ScsiTask) and kind == SnackType.R_DATA:
            transfer.begin_anew(task, ttt)
            if task.status is not None:
                numbering.reopen(connection, task.status)
                task.status = None
        elif isinstance(task, ScsiTask):
            numbering.ask(connection, task, begin, last, due)
        self._journal.expect(due)


def _task(connection: Connection, raw: RawPdu) -> Task:
    bhs = bytes(raw.bhs)
    itt, _, cmd_sn = _command(bhs, 0)
    return Task(connection, bhs[0] & 0x3F, itt, cmd_sn, bool(bhs[0] & _IMMEDIATE), bhs)


def _turn(session: Session, ping: Task) -> int:
    """The last CmdSN that its connection has carried, where a numbered ping takes one that the target lacks."""
    turn = ping.cmd_sn
    for other in session.tasks.values():
        if other.connection is ping.connection and serial.lt(turn, other.turn):
            turn = other.turn
    return turn


def _bidirectional(raw: RawPdu) -> int:
    try:
        return read_length(decode_ahs(bytes(raw.ahs))) or 0
    except (AhsError, ValueError):
        return 0
