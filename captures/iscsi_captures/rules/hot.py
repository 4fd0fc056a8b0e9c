"""The cheap test for the PDUs that reads and writes are made of: whether one is as it should be in every way.

A PDU that passes breaks no row, and the dialogue has moved on. Everything else takes the long way through the rows, so a
test may be stricter than they are and never laxer. The tests run only on a connection where nothing unusual has happened
(`is_plain`): one connection in its session, nothing refused, resent, logged out or broken.
"""

from __future__ import annotations

from collections.abc import Callable

from iscsi_captures.dialogue import Connection, Phase
from iscsi_captures.dialogue.bits import FINAL, READ, STATUS, WRITE
from iscsi_captures.dialogue.cdb import WATCHED, fits
from iscsi_captures.dialogue.transfer import begin_command, data_in_sent, data_out_sent, r2t_sent
from iscsi_captures.rules.framing import RESERVED
from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    DataIn,
    DataOut,
    Opcode,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    unpacker,
)

Test = Callable[[Connection, RawPdu], bool]

_MASK = 0xFFFFFFFF
_HALF = 1 << 31
_BOTH_WAYS = READ | WRITE
_COMMAND = int(Opcode.SCSI_COMMAND)


def _begins(opcode: Opcode, flags: int) -> int:
    """The first four bytes of a header with these flags and nothing else, as a number."""
    return opcode << 24 | flags << 16


_PRIORITY = 0xF000
_UNUSUAL_COMMAND = RESERVED[Opcode.SCSI_COMMAND] >> 352 | _PRIORITY
"""Of the first four bytes, which are the only ones with reserved bits."""
_DATA_OUT, _LAST_DATA_OUT = _begins(Opcode.SCSI_DATA_OUT, 0), _begins(Opcode.SCSI_DATA_OUT, FINAL)
_DATA_IN, _LAST_DATA_IN = _begins(Opcode.SCSI_DATA_IN, 0), _begins(Opcode.SCSI_DATA_IN, FINAL)
_STATUS_IN = _begins(Opcode.SCSI_DATA_IN, FINAL | STATUS)
_GOOD_RESPONSE = _begins(Opcode.SCSI_RESPONSE, FINAL)
_USUAL_R2T = _begins(Opcode.R2T, FINAL)

# What a format reserves is unpacked too, where it is not in the first four bytes, which are compared as a whole. "@4:8" is
# the length of the AHS and that of the data.
_command_fields = unpacker(ScsiCommand, "@0:4", "@4", "itt", "expected_data_transfer_length", "cmd_sn", "exp_stat_sn")
_data_out_fields = unpacker(
    DataOut,
    "@0:4",
    "@4:8",
    "lun",
    "itt",
    "ttt",
    "@24:28",
    "exp_stat_sn",
    "@32:36",
    "data_sn",
    "buffer_offset",
    "@44:48",
)
_data_in_fields = unpacker(
    DataIn,
    "@0:4",
    "@4:8",
    "itt",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "data_sn",
    "buffer_offset",
    "residual_count",
)
_response_fields = unpacker(
    ScsiResponse,
    "@0:4",
    "@4",
    "@8:16",
    "itt",
    "snack_tag",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "exp_data_sn",
    "bidi_residual_count",
    "residual_count",
)
_r2t_fields = unpacker(
    R2T,
    "@0:4",
    "@4",
    "lun",
    "itt",
    "ttt",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "r2t_sn",
    "buffer_offset",
    "desired_data_transfer_length",
)


def is_plain(connection: Connection) -> bool:
    """Whether the tests of this module may judge the connection."""
    session = connection.session
    return (
        connection.phase is Phase.FULL
        and connection.limits.known
        and not connection.broken
        and not session.broken
        and not session.uncertain
        and not session.open_numbers
        and not session.gap_allowed
        and not session.discovery
        and not connection.resent
        and not connection.ended
        and connection.logout_asked is None
        and connection.logout_wanted is None
        and connection.lost_at is None
        and session.closing is None
        and session.reset is None
        and not session.reserved
        and connection.text_by is None
        and len(session.connections) == 1
        and connection.exp_cmd_sn is not None
        and connection.stat_sn is not None
        and session.cmd_sn is not None
        and not connection.limits.error_recovery_level
    )


def _intact(raw: RawPdu) -> bool:
    """No digest error, and no padding but zeros."""
    return not (raw.header_digest_error or raw.data_digest_error or (raw.padding and any(raw.padding)))


def _window(connection: Connection, exp_cmd_sn: int, max_cmd_sn: int) -> bool:
    """The two counters stand still or go forward, and acknowledge nothing that was not sent. Takes them over."""
    expected, highest = connection.exp_cmd_sn, connection.max_cmd_sn
    if exp_cmd_sn == expected and max_cmd_sn == highest:
        return True
    session = connection.session
    sent = session.cmd_sn
    if (
        expected is None
        or highest is None
        or sent is None
        or (exp_cmd_sn - expected) & _MASK >= _HALF
        or (sent - exp_cmd_sn) & _MASK >= _HALF
        or (max_cmd_sn - highest) & _MASK >= _HALF
        or (max_cmd_sn - exp_cmd_sn + 1) & _MASK >= _HALF
    ):
        return False
    connection.exp_cmd_sn = session.exp_cmd_sn = exp_cmd_sn
    connection.max_cmd_sn = session.max_cmd_sn = max_cmd_sn
    return True


def _acknowledges(connection: Connection, exp_stat_sn: int) -> bool:
    following = connection.stat_sn
    return following is not None and (following - exp_stat_sn) & _MASK < _HALF


def command_is_normal(connection: Connection, raw: RawPdu) -> bool:
    """A SCSI Command in its turn, within the window, with what the login allows as immediate data."""
    begins, ahs, itt, edtl, cmd_sn, exp_stat_sn = _command_fields(raw.bhs, 0)
    session, limits, length = connection.session, connection.limits, len(raw.data)
    highest, flags = session.max_cmd_sn, begins >> 16 & 0xFF
    if (
        begins & _UNUSUAL_COMMAND
        or ahs
        or cmd_sn != session.cmd_sn
        or itt == NO_TAG
        or itt in session.tasks
        or flags & 7 > 4
        or highest is None
        or (highest - cmd_sn) & _MASK >= _HALF
        or not _acknowledges(connection, exp_stat_sn)
        or not _intact(raw)
    ):
        return False
    if raw.bhs[32] in WATCHED or (session.block_lengths and not fits(session.block_lengths, raw.bhs, edtl)):
        return False
    direction = flags & _BOTH_WAYS
    if direction == WRITE:
        if length and not (
            limits.immediate_data
            and length <= edtl
            and length <= limits.first_burst_length
            and length <= limits.target_segment
        ):
            return False
        if not flags & FINAL and (limits.initial_r2t or length == edtl):
            return False
    elif direction == _BOTH_WAYS or not flags & FINAL or length or (edtl and not direction):
        return False
    bhs = bytes(raw.bhs)
    connection.headers.append(bhs)
    begin_command(connection, bhs, itt, edtl, cmd_sn, length)
    connection.cmd_sn = cmd_sn
    session.cmd_sn = (cmd_sn + 1) & _MASK
    return True


def data_out_is_normal(connection: Connection, raw: RawPdu) -> bool:
    """A Data-Out that goes on where its burst stands, with F exactly at the burst's end."""
    begins, lengths, lun, itt, ttt, zero, exp_stat_sn, zeros, data_sn, offset, nought = _data_out_fields(raw.bhs, 0)
    task = connection.session.tasks.get(itt)
    if task is None or task.opcode != _COMMAND or not task.write or task.broken or task.aborting:
        return False
    if ttt == NO_TAG:
        burst = task.unsolicited
        if burst is not None and next(iter(connection.unsolicited), itt) != itt:
            return False
    else:
        burst = task.bursts[0] if task.bursts else None
        if burst is not None and (burst.ttt != ttt or burst.lun != lun):
            return False
    length, final = len(raw.data), begins == _LAST_DATA_OUT
    if (
        burst is None
        or task.connection is not connection
        or not (final or begins == _DATA_OUT)
        or lengths != length
        or zero
        or zeros
        or nought
        or data_sn != burst.data_sn
        or offset != burst.reached
        or offset + length > task.edtl
        or length > connection.limits.target_segment
        or (burst.sent + length == burst.length) != final
        or burst.sent + length > burst.length
        or (length & 3 and not final)
        or not _acknowledges(connection, exp_stat_sn)
        or not _intact(raw)
    ):
        return False
    connection.headers.append(bytes(raw.bhs))
    data_out_sent(task, burst, data_sn, offset, length, final)
    return True


def data_in_is_normal(connection: Connection, raw: RawPdu) -> bool:
    """A Data-In that goes on where the last one ended; with status, the whole length has come."""
    begins, lengths, itt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset, residual = _data_in_fields(raw.bhs, 0)
    task = connection.session.tasks.get(itt)
    if task is None or task.opcode != _COMMAND or not task.read or task.write or task.broken:
        return False
    limits, length = connection.limits, len(raw.data)
    final, over = begins == _LAST_DATA_IN, begins == _STATUS_IN
    if (
        not (final or over or (begins == _DATA_IN and not length & 3))
        or lengths != length
        or task.connection is not connection
        or data_sn != task.in_sn
        or offset != task.in_offset
        or offset + length > task.edtl
        or length > limits.initiator_segment
        or task.in_sequence + length > limits.max_burst_length
        or task.disturbed
        or not _intact(raw)
        or not _window(connection, exp_cmd_sn, max_cmd_sn)
    ):
        return False
    if over:
        acknowledged = (exp_cmd_sn - task.cmd_sn - 1) & _MASK < _HALF
        if residual or stat_sn != connection.stat_sn or not acknowledged or task.in_total + length != task.edtl:
            return False
        connection.stat_sn = (stat_sn + 1) & _MASK
        connection.session.end(itt)
        return True
    data_in_sent(task, data_sn, offset, length, final)
    return True


def response_is_normal(connection: Connection, raw: RawPdu) -> bool:
    """A SCSI Response: GOOD, nothing residual, nothing else to say."""
    (
        begins,
        ahs,
        zeros,
        itt,
        snack_tag,
        stat_sn,
        exp_cmd_sn,
        max_cmd_sn,
        exp_data_sn,
        bidi_residual,
        residual,
    ) = _response_fields(raw.bhs, 0)
    task = connection.session.tasks.get(itt)
    if task is None or task.opcode != _COMMAND or task.broken or task.connection is not connection:
        return False
    if begins != _GOOD_RESPONSE or ahs or zeros or snack_tag or bidi_residual or residual:
        return False
    if task.read:
        moved = task.in_total
        if task.write or exp_data_sn != task.data_in_pdus:
            return False
    else:
        moved = task.out_total
        if exp_data_sn:
            return False
    if (
        len(raw.data)
        or moved != task.edtl
        or task.disturbed
        or stat_sn != connection.stat_sn
        or (exp_cmd_sn - task.cmd_sn - 1) & _MASK >= _HALF
        or not _intact(raw)
        or not _window(connection, exp_cmd_sn, max_cmd_sn)
    ):
        return False
    connection.stat_sn = (stat_sn + 1) & _MASK
    connection.session.end(itt)
    return True


def r2t_is_normal(connection: Connection, raw: RawPdu) -> bool:
    """An R2T in its turn for data that the command has, behind what was asked for before."""
    (
        begins,
        ahs,
        lun,
        itt,
        ttt,
        stat_sn,
        exp_cmd_sn,
        max_cmd_sn,
        r2t_sn,
        offset,
        length,
    ) = _r2t_fields(raw.bhs, 0)
    task = connection.session.tasks.get(itt)
    if task is None or task.opcode != _COMMAND or not task.write or task.read or task.broken:
        return False
    limits = connection.limits
    if (
        ahs
        or begins != _USUAL_R2T
        or len(raw.data)
        or task.connection is not connection
        or ttt == NO_TAG
        or lun != task.lun
        or r2t_sn != task.r2t_sn
        or not 0 < length <= limits.max_burst_length
        or offset + length > task.edtl
        or (task.r2t_offset is not None and offset != task.r2t_offset)
        or len(task.bursts) >= limits.max_outstanding_r2t
        or stat_sn != connection.stat_sn
        or task.disturbed
        or not _intact(raw)
        or not _window(connection, exp_cmd_sn, max_cmd_sn)
    ):
        return False
    r2t_sent(task, ttt, lun, r2t_sn, offset, length)
    return True


FAST: tuple[dict[int, Test], dict[int, Test]] = (
    {Opcode.SCSI_COMMAND: command_is_normal, Opcode.SCSI_DATA_OUT: data_out_is_normal},
    {
        Opcode.SCSI_DATA_IN: data_in_is_normal,
        Opcode.SCSI_RESPONSE: response_is_normal,
        Opcode.R2T: r2t_is_normal,
    },
)
"""By direction, then by byte 0 of the header."""
