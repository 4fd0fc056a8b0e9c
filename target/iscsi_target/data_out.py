"""Data from the initiator: R2Ts, unsolicited bursts, and every check on a Data-Out PDU (RFC 7143 11.7, 11.8, 7.8, 7.9).

A task that is to fail still waits for the F bit of every burst that is on its way (11.4.2, 11.17.1). At recovery level 1 and
above what a burst lacks when it is over is asked for again by recovery R2Ts (7.8, 7.9, 11.8).
"""

from __future__ import annotations

from iscsi_protocol.pdu import NO_TAG, R2T, DataOut, Opcode, RawPdu, RejectReason, packer, unpacker
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.status import Status
from iscsi_target import affected, events, fence, reject
from iscsi_target.completion import Completion, Work
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.data_in import respond
from iscsi_target.extents import cover
from iscsi_target.session import Session
from iscsi_target.task import Burst, ScsiTask, TaskState
from iscsi_target.timers import Timer
from iscsi_target.violation import Discard, DropSession, FailTask, PeerViolation, discarded, rejected

_FINAL = 0x80
_READ = 0x40
_DIRECTIONS = 0x60

PERSISTENT_RESERVE_OUT = 0x5F
_PREEMPT_AND_ABORT = 0x05
"""The service action whose response is fenced (4.2.2.3.4 f)."""

_AMOUNT = FailTask(sense_code=AdditionalSense.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA)
_UNEXPECTED = FailTask(sense_code=AdditionalSense.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA)
_CRC = FailTask(sense_code=AdditionalSense.PROTOCOL_SERVICE_CRC_ERROR)

EARLY_PDUS = 4096
"""Data-Out PDUs that are kept for a command whose turn has not come: none of them need carry much."""

RECOVERY_TRIES = 8
"""Recovery R2Ts, or time-outs, in a row that bring no new byte, after which the task fails."""

_fields = unpacker(DataOut, "@1", "lun", "itt", "ttt", "data_sn", "buffer_offset")
_r2t = packer(
    R2T,
    "@0",
    "@1",
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


def receive(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A Data-Out PDU. Raises PeerViolation."""
    flags, lun, itt, ttt, data_sn, offset = _fields(raw.bhs, 0)
    task = session.tasks.get(itt)
    if task is None or task.aborted:
        if task is None and itt in session.early:
            _keep_early(connection, session, raw, itt, ttt)
            return
        if task is not None or itt in session.forgotten:
            raise discarded("R7143-10.7-02", "data for a task that has ended")
        raise _invalid(f"no task {itt:#x} takes data")
    if task.connection is not connection:
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-4.2.5.1-03", "data on another connection than its command")
    burst = task.burst_of(ttt)
    if burst is None and ttt in task.void:
        raise discarded("R7143-7.9-02", "data that came too late and is asked for again")
    if burst is None and ttt == NO_TAG and connection.retained is not None and not task.flags & _FINAL:
        raise discarded("R7143-4.2.2.1-13", "unsolicited data once more, with a command that was sent again")
    if burst is None:
        if ttt != NO_TAG:
            raise _invalid(f"no R2T has the tag {ttt:#x}")
        violation = PeerViolation("R7143-4.2.5.2-01", "unsolicited data that was not announced", _UNEXPECTED)
        fail(core, connection, raw, task, violation)
        proceed(core, session, task)
        return
    task.touched = core.now
    if ttt != NO_TAG:
        task.heard = max(task.heard, burst.r2t_sn + 1)
    try:
        _take(core, connection, session, raw, task, burst, lun, data_sn, offset)
    except PeerViolation as violation:
        if core.policy.drop_bad_data_out:
            raise PeerViolation(violation.clause, violation.message, DropSession()) from violation
        # The Reject goes out before the response that the same PDU may bring about (11.17.1).
        reject.answer(core, connection, raw, violation)
    if flags & _FINAL:
        _burst_over(core, connection, raw, task, burst)
        proceed(core, session, task)


def _keep_early(connection: Connection, session: Session, raw: RawPdu, itt: int, ttt: int) -> None:
    """Unsolicited data whose command waits for its turn, as any does behind a CmdSN of another connection, waits with it."""
    early = session.early[itt]
    if early.connection is not connection:
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-4.2.5.1-03", "data on another connection than its command")
    if ttt != NO_TAG:
        raise _invalid(f"no R2T has the tag {ttt:#x}")
    if early.complete:
        raise discarded("R7143-4.2.2.1-13", "data behind the last of its burst")
    if early.length + len(raw.data) > session.parameters.first_burst_length or len(early.data) >= EARLY_PDUS:
        raise _invalid("more unsolicited data than was agreed upon, or in smaller pieces than anybody needs")
    session.keep_data(itt, raw.kept())


def receive_early(core: Core, connection: Connection, session: Session, early: list[RawPdu]) -> None:
    """The command had its turn: now its data has."""
    for raw in early:
        if not session.live or raw.initiator_task_tag not in session.tasks:
            return
        try:
            receive(core, connection, session, raw)
        except PeerViolation as violation:
            reject.answer(core, connection, raw, violation)


def _take(
    core: Core,
    connection: Connection,
    session: Session,
    raw: RawPdu,
    task: ScsiTask,
    burst: Burst,
    lun: bytes,
    data_sn: int,
    offset: int,
) -> None:
    data = raw.data
    length = len(data)
    if connection.retained is not None and task.failure is None:
        _note_loss(core, connection, session, raw, burst, data_sn, offset)
    if raw.data_digest_error and not core.policy.ignore_data_digest:
        burst.data_sn = data_sn + 1
        burst.received += length
        if connection.retained is None:
            # Nothing is asked for again; the task fails once all data has come (7.8 b).
            violation = PeerViolation("R7143-7.8-04", "data digest error", _CRC)
            fail(core, connection, raw, task, violation)
        raise _spoilt()
    if data_sn != burst.data_sn and not core.policy.ignore_data_sn:
        message = f"DataSN {data_sn} where {burst.data_sn} was due"
        _fail_or_drop(core, connection, raw, task, PeerViolation("R7143-7.9-02", message, _CRC))
    burst.data_sn = data_sn + 1
    if not core.policy.ignore_data_out_tags:
        _check_place(session, task, burst, lun, offset, length)
    burst.received += length
    if task.failure is None:
        end = min(offset + length, task.needed)
        if offset < end:
            task.buffer[offset:end] = data if end - offset == length else data[: end - offset]
            if connection.retained is not None and cover(burst.got, offset, end):
                task.fruitless = 0


def _note_loss(
    core: Core, connection: Connection, session: Session, raw: RawPdu, burst: Burst, data_sn: int, offset: int
) -> None:
    """At recovery level 1 a DataSN ahead of the next one means that PDUs were lost, and no more (7.9). Raises PeerViolation
    for one that was had.
    """
    if data_sn == burst.data_sn or core.policy.ignore_data_sn:
        return
    message = f"DataSN {data_sn} where {burst.data_sn} was due"
    if data_sn < burst.data_sn:
        if raw.data_digest_error and not core.policy.ignore_data_digest:
            raise _spoilt()
        raise discarded("R7143-7.9-02", message)
    core.note(connection, raw, PeerViolation("R7143-7.9-02", message, Discard()))
    burst.data_sn = data_sn
    if session.parameters.data_pdu_in_order and offset >= burst.offset + burst.received:
        burst.received = offset - burst.offset


def _check_place(session: Session, task: ScsiTask, burst: Burst, lun: bytes, offset: int, length: int) -> None:
    """LUN, offset and length against what was asked for (11.7.4, 11.7.6, 4.2.5.3)."""
    if burst.ttt != NO_TAG and lun != task.lun:
        task.failure = task.failure or _failure(_AMOUNT)
        raise _invalid("the LUN is not that of the R2T")
    due = burst.offset + burst.received
    if session.parameters.data_pdu_in_order and offset != due:
        task.failure = task.failure or _failure(_AMOUNT)
        raise _invalid(f"buffer offset {offset} where {due} was due")
    if offset < burst.offset or offset + length > burst.offset + burst.length:
        task.failure = task.failure or _failure(_AMOUNT)
        raise _invalid(f"bytes {offset} to {offset + length} are not within the range of the burst")
    if burst.ttt != NO_TAG and session.parameters.data_sequence_in_order and next(iter(task.r2ts)) != burst.ttt:
        task.failure = task.failure or _failure(_AMOUNT)
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-11.8-09", "R2Ts answered out of order")


def _burst_over(core: Core, connection: Connection, raw: RawPdu, task: ScsiTask, burst: Burst) -> None:
    """The F bit came: the burst has to be complete (11.4.7.2), or is completed (7.8)."""
    if connection.retained is not None and task.failure is None:
        if task.burst_over(burst) and task.state is TaskState.GATHERING:
            task.fruitless += 1
            if task.fruitless > RECOVERY_TRIES:
                fail(core, connection, raw, task, PeerViolation("R7143-7.8-04", "data that never comes", _CRC))
        return
    if burst.ttt == NO_TAG:
        task.unsolicited = None
        task.next_offset = burst.offset + burst.received
    else:
        task.r2ts.pop(burst.ttt, None)
        if task.state is TaskState.DRAINING and burst.received != burst.length:
            # No violation (11.5.1), but should the function be lost, the task lacks this data.
            task.failure = task.failure or _failure(_AMOUNT)
    if burst.received != burst.length and task.state is TaskState.GATHERING and not core.policy.ignore_data_amount:
        clause = "R7143-4.2.5.2-04" if burst.ttt == NO_TAG else "R7143-11.8-03"
        message = f"{burst.received} bytes where {burst.length} were due"
        _fail_or_drop(core, connection, raw, task, PeerViolation(clause, message, _AMOUNT))


def _fail_or_drop(core: Core, connection: Connection, raw: RawPdu, task: ScsiTask, violation: PeerViolation) -> None:
    if core.policy.drop_bad_data_out:
        raise PeerViolation(violation.clause, violation.message, DropSession())
    fail(core, connection, raw, task, violation)


def _invalid(message: str) -> PeerViolation:
    return rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.17.1-02", message)


def _failure(answer: FailTask) -> Completion:
    sense = Sense(key=SenseKey.ABORTED_COMMAND, code=answer.sense_code).build()
    return Completion(Status.CHECK_CONDITION, sense=sense)


def fail(core: Core, connection: Connection, raw: RawPdu, task: ScsiTask, violation: PeerViolation) -> None:
    """Have the task end with the sense data of the violation; the first failure counts."""
    core.note(connection, raw, violation)
    if task.failure is None and isinstance(violation.answer, FailTask):
        task.failure = _failure(violation.answer)


def proceed(core: Core, session: Session, task: ScsiTask) -> None:
    """Ask for more data, execute, or end the task, whichever is next."""
    if task.state is TaskState.EXECUTING:
        return
    if not task.connection.up:
        # Nothing moves until the task is reassigned, if it is (4.2.8).
        task.interrupt()
    elif task.failure is None and task.state is TaskState.GATHERING and task.unsolicited is None:
        _solicit(core, session, task)
    if task.data_outstanding:
        return
    if task.state is TaskState.DRAINING:
        affected.progress(core, session)
    elif task.failure is not None:
        finish(core, session, task, task.failure)
    elif task.next_offset >= task.needed and not task.dormant and not task.missing:
        _execute(core, session, task)


def _solicit(core: Core, session: Session, task: ScsiTask) -> None:
    """Send R2Ts up to MaxOutstandingR2T, each for at most MaxBurstLength bytes, in rising order but for what was lost, which
    comes first (11.8).
    """
    connection = task.connection
    parameters = session.parameters
    while (
        (task.missing or task.next_offset < task.needed)
        and len(task.r2ts) < parameters.max_outstanding_r2t
        and not core.policy.never_ask_for_data
    ):
        offset, end = task.missing.pop(0) if task.missing else (task.next_offset, task.needed)
        length = min(parameters.max_burst_length, end - offset)
        if offset == task.next_offset:
            task.next_offset += length
        elif offset + length < end:
            task.missing.insert(0, (offset + length, end))
        ttt = core.new_tag()
        task.r2ts[ttt] = Burst(ttt, offset, length, task.r2t_sn)
        connection.send(
            _r2t(
                Opcode.R2T,
                _FINAL,
                task.lun,
                task.itt,
                ttt,
                connection.stat_sn,
                session.exp_cmd_sn,
                session.max_cmd_sn,
                task.r2t_sn,
                offset,
                length,
            )
        )
        task.r2t_sn += 1
        task.touched = core.now
        watch(core, connection)


def _execute(core: Core, session: Session, task: ScsiTask) -> None:
    connection = task.connection
    if task.flags & _DIRECTIONS == _READ and connection.up and connection.queued > core.limits.send_buffer:
        # What was read before is not sent yet: the task keeps its place, and no memory, until there is room.
        connection.held.append(task)
        connection.congest()
        return
    result = session.device.execute(session.nexus, task.lun, task.cdb, task.buffer)
    if isinstance(result, Work):
        core.claim(session, task, result)
    else:
        finish(core, session, task, result)


def go_on(core: Core, connection: Connection) -> None:
    """The outbox was sent: run the reads that waited for it, as far as there is room again."""
    held, connection.held = connection.held, []
    session = connection.in_session
    for task in held:
        if session.tasks.get(task.itt) is task:
            proceed(core, session, task)


def finish(core: Core, session: Session, task: ScsiTask, completion: Completion) -> None:
    """The task is over, and the initiator hears of it."""
    if task.cdb[0] == PERSISTENT_RESERVE_OUT and task.cdb[1] & 0x1F == _PREEMPT_AND_ABORT:
        fence.arm(core, session, task.lun)
    core.release(session, task)
    respond(
        task.connection,
        session,
        task.itt,
        task.lun,
        task.flags,
        task.expected,
        task.read_expected,
        task.wanted,
        completion,
        task.r2t_sn,
    )


def work_done(core: Core, session: Session, task: ScsiTask, completion: Completion) -> None:
    """The device has finished what it was slow with; a task aborted meanwhile just ends."""
    if task.aborted and not core.policy.execute_aborted_tasks:
        core.release(session, task)
        core.disturbed = True
        return
    if task.failure is not None:
        core.disturbed = True
    finish(core, session, task, task.failure or completion)


def watch(core: Core, connection: Connection) -> None:
    """See to it that data which never comes is noticed (10.7, Appendix D.2.3)."""
    patience = core.config.timers.data_out
    if patience and not connection.data_watched:
        connection.data_watched = True
        core.timers.start(Timer.DATA_OUT, connection.number, core.now + patience)


def timed_out(core: Core, connection: Connection) -> None:
    """Tasks whose data has not moved for too long fail, or the connection does; the others are looked at again later."""
    connection.data_watched = False
    session = connection.session
    if session is None or not connection.up:
        return
    patience = core.config.timers.data_out
    oldest = None
    for task in list(session.tasks.values()):
        if task.connection is not connection or not task.data_outstanding:
            continue
        if task.touched + patience > core.now:
            oldest = task.touched if oldest is None else min(oldest, task.touched)
            continue
        core.tell(events.TimedOut(connection=connection.number, timer=Timer.DATA_OUT.value))
        if task.state is TaskState.DRAINING:
            # A function waits for it, and goes on without it only where the connection goes (11.5.1).
            core.fail_connection(connection, "no data for a task that a function is to end")
            return
        if connection.retained is not None and task.failure is None:
            task.interrupt()
            task.fruitless += 1
            if task.fruitless <= RECOVERY_TRIES:
                proceed(core, session, task)
                continue
        session.forget(task.itt)
        task.unsolicited = None
        task.r2ts.clear()
        task.failure = task.failure or _failure(_CRC)
        proceed(core, session, task)
    if oldest is not None:
        connection.data_watched = True
        core.timers.start(Timer.DATA_OUT, connection.number, oldest + patience)


def lost(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A Data-Out PDU with a wrong data digest is always rejected (7.8); it counts for the burst that it belongs to, if that
    still goes on. Raises PeerViolation.
    """
    _, _, itt, ttt, _, _ = _fields(raw.bhs, 0)
    task = session.tasks.get(itt)
    if itt not in session.early and (task is None or task.burst_of(ttt) is None):
        raise _spoilt()
    try:
        receive(core, connection, session, raw)
    except PeerViolation as violation:
        if isinstance(violation.answer, Discard):
            raise _spoilt() from violation
        raise


def _spoilt() -> PeerViolation:
    return rejected(RejectReason.DATA_DIGEST_ERROR, "R7143-7.8-04", "data digest error in Data-Out")
