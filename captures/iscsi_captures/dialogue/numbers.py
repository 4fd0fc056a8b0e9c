"""Moving the counters of a dialogue (4.2.2): what a PDU uses up, seen from beside the wire."""

from __future__ import annotations

from iscsi_captures.dialogue.bits import STATUS
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection
from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, Opcode

NUMBERED = frozenset(
    {
        Opcode.NOP_OUT,
        Opcode.SCSI_COMMAND,
        Opcode.TASK_MANAGEMENT_REQUEST,
        Opcode.TEXT_REQUEST,
        Opcode.LOGOUT_REQUEST,
    }
)
STATUS_OPCODES = frozenset(
    {
        Opcode.SCSI_RESPONSE,
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Opcode.LOGIN_RESPONSE,
        Opcode.TEXT_RESPONSE,
        Opcode.LOGOUT_RESPONSE,
        Opcode.ASYNC_MESSAGE,
        Opcode.REJECT,
    }
)


def takes_stat_sn(sight: Sight) -> bool:
    """Whether this target PDU uses up a StatSN (section 2 of the wire: all statuses, Data-In with S, answers to pings)."""
    if sight.opcode == Opcode.SCSI_DATA_IN:
        return bool(sight.bhs[1] & STATUS)
    if sight.opcode == Opcode.NOP_IN:
        return sight.itt != NO_TAG
    return sight.opcode in STATUS_OPCODES


def advance_cmd_sn(sight: Sight) -> None:
    """A numbered request was sent."""
    number, session = sight.word(24), sight.session
    if sight.immediate:
        if session.cmd_sn is None:
            session.cmd_sn = number
        return
    if session.max_cmd_sn is not None and serial.gt(number, session.max_cmd_sn):
        # The target passes over it as if it had never come (4.2.2.1).
        return
    if number == session.hole or not session.holes_count:
        session.hole = None
    elif session.hole is None and session.cmd_sn is not None and serial.gt(number, session.cmd_sn):
        session.hole = session.cmd_sn
    if session.cmd_sn is None or serial.ge(number, session.cmd_sn):
        session.cmd_sn = serial.add(number)
    if sight.connection.cmd_sn is None or serial.gt(number, sight.connection.cmd_sn):
        sight.connection.cmd_sn = number


def advance_stat_sn(sight: Sight) -> None:
    """A target PDU was sent that carries a StatSN."""
    connection, number = sight.connection, sight.word(24)
    if not takes_stat_sn(sight):
        return
    if is_resent(connection, number):
        return
    connection.stat_sn = serial.add(number)


def is_resent(connection: Connection, number: int) -> bool:
    """Whether a StatSN below the next one can be a status that was asked for again (11.16)."""
    return connection.resent and connection.stat_sn is not None and serial.lt(number, connection.stat_sn)


def advance_window(connection: Connection, exp_cmd_sn: int, max_cmd_sn: int) -> None:
    """The initiator's rules for the two counters (4.2.2.1)."""
    if serial.lt(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
        return
    session = connection.session
    if session.exp_cmd_sn is None or serial.gt(exp_cmd_sn, session.exp_cmd_sn):
        session.exp_cmd_sn = exp_cmd_sn
    if session.max_cmd_sn is None or serial.gt(max_cmd_sn, session.max_cmd_sn):
        session.max_cmd_sn = max_cmd_sn
    if connection.exp_cmd_sn is None or serial.gt(exp_cmd_sn, connection.exp_cmd_sn):
        connection.exp_cmd_sn = exp_cmd_sn
    if connection.max_cmd_sn is None or serial.gt(max_cmd_sn, connection.max_cmd_sn):
        connection.max_cmd_sn = max_cmd_sn
