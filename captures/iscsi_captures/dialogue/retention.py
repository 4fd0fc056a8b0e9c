"""What can be asked for again at ErrorRecoveryLevel 1 and 2, as far as an onlooker has to know it (7.8, 7.9, 11.16).

Of what was sent only a print is kept, and only until it is acknowledged.
"""

from __future__ import annotations

from zlib import crc32

from iscsi_captures.dialogue.loss import logged_out
from iscsi_captures.dialogue.numbers import ask, takes_stat_sn
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import STATUSES_KEPT, Connection, keep
from iscsi_captures.dialogue.task import NO_LIMIT, Recovery, Sent, Status, Task
from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, LogoutReason, Opcode, SnackType

DATA_KEPT = 4096
ACKS_KEPT = 1024


def print_of(sight: Sight) -> int:
    """A number for all that a resent status or Data-In has to repeat: not the counters of 4.2.2.1, and of a SCSI Response
    not ExpDataSN.
    """
    bhs = bytes(sight.bhs)
    behind = 40 if sight.opcode == Opcode.SCSI_RESPONSE else 36
    return crc32(sight.raw.data, crc32(bhs[:28] + bhs[behind:]))


def retain_status(sight: Sight) -> None:
    """A status was sent. Nothing is kept at level 0 with one connection, where nothing ever asks for it."""
    connection, session, number = sight.connection, sight.session, sight.word(24)
    if not takes_stat_sn(sight) or (not session.level and len(session.connections) < 2):
        return
    if connection.acked is not None and serial.lt(number, connection.acked):
        return
    mark = None if sight.raw.data_digest_error or not session.level else print_of(sight)
    former = connection.statuses.get(number)
    damaged = sight.raw.data_digest_error
    if former is not None:
        former.print = mark if former.print is None else former.print
        former.damaged = former.damaged and damaged
        return
    task = sight.task
    lun = task.lun if task is not None and task.opcode == Opcode.SCSI_COMMAND else None
    keep(connection.statuses, number, Status(task, lun, sight.word(28), mark, damaged), STATUSES_KEPT)


def retain_stray(sight: Sight) -> None:
    """A Login Response that nothing asked for may have used up its StatSN: what damaged one has the same is nothing lost."""
    connection, number = sight.connection, sight.word(24)
    status = connection.statuses.get(number)
    if status is None:
        keep(connection.statuses, number, Status(None, None, sight.word(28), None, damaged=False), STATUSES_KEPT)
    else:
        status.damaged = False


def acknowledged(sight: Sight) -> Connection | None:
    """The connection whose statuses a PDU of the initiator acknowledges.

    A Logout Request speaks of the connection to be closed (11.14.4).
    """
    if sight.opcode != Opcode.LOGOUT_REQUEST or sight.bhs[1] & 0x7F == LogoutReason.CLOSE_SESSION:
        return sight.connection
    return logged_out(sight.connection, sight.word(20) >> 16)


def acknowledge(sight: Sight) -> None:
    """The initiator acknowledges statuses; what was kept for them goes."""
    connection, session, number = acknowledged(sight), sight.session, sight.word(28)
    if connection is None or (connection.acked is not None and serial.le(number, connection.acked)):
        return
    if connection is not sight.connection and connection.stat_sn is not None and serial.gt(number, connection.stat_sn):
        return
    connection.acked = number
    fence = session.fence
    if fence is not None and fence[0] is connection and serial.gt(number, fence[1]):
        session.fence = None
    for stat_sn in [stat_sn for stat_sn in connection.statuses if serial.lt(stat_sn, number)]:
        status = connection.statuses.pop(stat_sn)
        if session.confirmed is None or serial.gt(status.exp_cmd_sn, session.confirmed):
            session.confirmed = status.exp_cmd_sn
        task = status.task
        if task is not None and task.connection is connection and session.finished.get(task.itt) is task:
            del session.finished[task.itt]


def retain_data(task: Task, recovery: Recovery, sight: Sight) -> None:
    """A Data-In that was not sent before, or the first of those that a restart brings."""
    number, offset = sight.word(36), sight.word(40)
    if sight.anew:
        _begin_anew(task, recovery, number)
    elif recovery.resumed:
        recovery.resumed = False
    if recovery.segment is None:
        recovery.segment = sight.connection.limits.initiator_segment
    if len(recovery.sent) < DATA_KEPT:
        mark = None if sight.raw.data_digest_error else print_of(sight)
        recovery.sent[number] = Sent(offset, task.in_total, mark)


def want_acknowledgement(task: Task, sight: Sight) -> None:
    """A Data-In with A, sent for the first time or again: its tag may be acknowledged. Where a target has given the same one
    before, the first of them may be meant.
    """
    ttt = sight.word(20)
    if sight.bhs[1] & 0x40 and ttt != NO_TAG:
        number = sight.word(36) + 1
        known = sight.connection.data_acks.get(ttt)
        if known is not None and known[0] is task and task.recovery is not None and known[2] > task.recovery.acked:
            number = min(number, known[2])
        keep(sight.connection.data_acks, ttt, (task, bytes(sight.bhs[8:16]), number), ACKS_KEPT)


def _begin_anew(task: Task, recovery: Recovery, number: int) -> None:
    """The data is sent again from this DataSN on, perhaps in other pieces."""
    first = recovery.sent.get(number)
    if first is not None:
        task.in_total, task.in_offset = first.before, first.offset
    elif not number:
        task.in_total = task.in_offset = 0
    elif number != task.in_sn:
        task.disturbed = True
    if not task.write:
        task.data_in_pdus = number
    else:
        task.disturbed = True
    task.in_sn = number
    task.in_sequence = 0
    task.acknowledge_bytes = NO_LIMIT
    recovery.sent = {sn: sent for sn, sent in recovery.sent.items() if sn < number}
    recovery.segment = None
    recovery.again = recovery.resumed = False
    if task.write:
        recovery.resumed_out = False


def retain_r2t(task: Task, recovery: Recovery, sight: Sight) -> bool:
    """An R2T was sent. Whether it is a new one; one that is sent again opens nothing that is not open."""
    number, offset, length = sight.word(36), sight.word(40), sight.word(44)
    if recovery.resumed_out:
        recovery.resumed_out = False
        recovery.r2ts.clear()
        if task.read:
            # Data-In and R2T of a bidirectional command are numbered together.
            recovery.resumed = False
            task.disturbed = True
    elif number < task.r2t_sn:
        return False
    for burst in task.bursts:
        if offset < burst.offset + burst.length and burst.offset < offset + length:
            burst.superseded = True
    if len(recovery.r2ts) < DATA_KEPT:
        recovery.r2ts[number] = r2t_print(sight)
    return True


def r2t_print(sight: Sight) -> bytes:
    """What a resent R2T repeats: all but the counters."""
    bhs = bytes(sight.bhs)
    return bhs[:24] + bhs[36:]


def snack(sight: Sight) -> None:
    """A SNACK: what may come again because of it."""
    kind, begin, length = sight.bhs[1] & 0x0F, sight.word(40), sight.word(44)
    connection = sight.connection
    if kind == SnackType.STATUS:
        first = connection.acked if not begin and not length and connection.acked is not None else begin
        # More than half of the numbers is whatever there is, and more: they have no order any more (RFC 1982 3.1).
        ask(connection.asked, first, serial.add(begin, length) if 0 < length < serial.HALF else None)
        return
    if kind == SnackType.DATA_ACK:
        known = connection.data_acks.get(sight.word(20))
        if known is not None and known[0].recovery is not None and begin <= known[0].in_sn:
            known[0].recovery.acked = max(known[0].recovery.acked, begin)
        return
    task = sight.task or sight.former
    if task is None:
        return
    if task.opcode != Opcode.SCSI_COMMAND or task.recovery is None:
        task.disturbed = True
        return
    if kind == SnackType.R_DATA:
        task.recovery.tags.append(sight.word(20))
        task.recovery.again = True
    elif kind == SnackType.DATA_OR_R2T:
        ask(task.recovery.asked, begin, begin + length if length else None)
    else:
        task.disturbed = True


def expect_status(task: Task) -> None:
    """The status of a task may come again over another connection, with a StatSN of that one."""
    if task.opcode == Opcode.SCSI_COMMAND and task.recovery is not None:
        ask(task.recovery.asked, 0, None)
        task.recovery.status = None


def refuse(task: Task | None) -> None:
    """A SNACK for this task was answered by a Reject with reason "SNACK reject"."""
    if task is not None and task.opcode == Opcode.SCSI_COMMAND and task.recovery is not None:
        task.recovery.refused = True


def reassign(task: Task, connection: Connection, exp_data_sn: int) -> None:
    """The task belongs to another connection from now on, and goes on from what ExpDataSN acknowledges (7.2.2, 11.5.6)."""
    session = connection.session
    session.finished.pop(task.itt, None)
    if task.itt not in session.tasks:
        session.remember(task)
    task.connection = connection
    task.bursts.clear()
    task.unsolicited = None
    task.aborting = False
    recovery = task.recovery
    if recovery is None:
        task.disturbed = True
        return
    if recovery.acked <= exp_data_sn <= max(task.in_sn, task.r2t_sn):
        # Any other value is ignored (11.5.6).
        recovery.acked = recovery.reassigned = exp_data_sn
    recovery.tags.clear()
    recovery.asked.clear()
    recovery.again = False
    recovery.resumed = recovery.resumed_out = True
    recovery.status = None
