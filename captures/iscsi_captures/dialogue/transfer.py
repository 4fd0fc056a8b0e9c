"""Following a SCSI command from its request to its status (4.2.5, 11.3, 11.4, 11.7, 11.8).

The functions take plain values, because the read and write path calls them without looking at the whole PDU.
"""

from __future__ import annotations

from iscsi_captures.dialogue.bits import FINAL, READ, WRITE
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection
from iscsi_captures.dialogue.task import NO_LIMIT, Burst, Recovery, Task
from iscsi_protocol.pdu import NO_TAG, AhsError, Opcode, decode_ahs, read_length

_SCSI_COMMAND = int(Opcode.SCSI_COMMAND)


def begin_command(connection: Connection, bhs: bytes, itt: int, edtl: int, cmd_sn: int, immediate_length: int) -> Task:
    """A SCSI Command was sent: its task, filed in the session, with the unsolicited burst that it announces."""
    task = Task(itt, _SCSI_COMMAND, connection, bhs, cmd_sn, bool(bhs[0] & 0x40))
    flags = bhs[1]
    task.lun = bhs[8:16]
    task.edtl = edtl
    task.read = bool(flags & READ)
    task.write = bool(flags & WRITE)
    task.read_length = edtl if task.read and not task.write else 0
    task.out_total = task.unasked_end = immediate_length
    if task.write and not flags & FINAL:
        allowed = task.unasked_end = min(connection.limits.first_burst_length, edtl)
        task.unsolicited = Burst(
            NO_TAG, task.lun, immediate_length, allowed - immediate_length, reached=immediate_length
        )
        connection.unsolicited[itt] = task
    connection.session.remember(task)
    return task


def command_sent(sight: Sight) -> None:
    """A SCSI Command off the hot path: as `begin_command`, with its AHS, and with what recovery needs at level 1."""
    task = begin_command(
        sight.connection, bytes(sight.bhs), sight.itt, sight.word(20), sight.word(24), len(sight.raw.data)
    )
    if sight.connection.limits.error_recovery_level:
        task.recovery = Recovery()
    if len(sight.raw.ahs) and task.read and task.write:
        task.read_length = bidirectional_length(sight)
    elif task.read and task.write:
        task.read_length = NO_LIMIT


def bidirectional_length(sight: Sight) -> int:
    """The read length of a bidirectional command; no limit where its AHS does not say."""
    try:
        length = read_length(decode_ahs(bytes(sight.raw.ahs)))
    except AhsError:
        return NO_LIMIT
    return NO_LIMIT if length is None else length


def find_burst(task: Task, ttt: int) -> Burst | None:
    """The open burst with this Target Transfer Tag; the reserved value means the unsolicited one."""
    if ttt == NO_TAG:
        return task.unsolicited
    return next((burst for burst in task.bursts if burst.ttt == ttt), None)


def data_out_sent(task: Task, burst: Burst, data_sn: int, offset: int, length: int, final: bool) -> None:
    """A Data-Out of a known burst was sent."""
    task.out_total += length
    if final:
        if burst is task.unsolicited:
            task.unsolicited = None
            task.connection.unsolicited.pop(task.itt, None)
        elif burst in task.bursts:
            task.bursts.remove(burst)
        return
    burst.data_sn = (data_sn + 1) & 0xFFFFFFFF
    burst.sent += length
    burst.reached = offset + length


def data_in_sent(task: Task, data_sn: int, offset: int, length: int, final: bool) -> None:
    """A Data-In was sent."""
    task.in_sn = (data_sn + 1) & 0xFFFFFFFF
    task.in_offset = offset + length
    task.in_sequence = 0 if final else task.in_sequence + length
    task.in_total += length
    task.data_in_pdus += 1
    if task.write:
        task.r2t_sn = task.in_sn


def r2t_sent(task: Task, ttt: int, lun: bytes, r2t_sn: int, offset: int, length: int) -> None:
    """An R2T was sent."""
    task.r2t_sn = (r2t_sn + 1) & 0xFFFFFFFF
    if task.read:
        task.in_sn = task.r2t_sn
    if task.r2t_offset is None:
        # Data that came unasked, and damaged, is asked for anew: the others go on behind all of it (7.8).
        if task.recovery is None or offset >= task.unasked_end:
            task.r2t_offset = offset + length
    elif offset + length > task.r2t_offset:
        task.r2t_offset = offset + length
    task.bursts.append(Burst(ttt, lun, offset, length, reached=offset))
