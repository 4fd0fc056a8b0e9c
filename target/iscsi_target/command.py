"""SCSI Commands: judged, given their data, executed, answered (RFC 7143 11.3, 4.2.5).

Commands that need nothing more than their own PDU run at once and leave no object behind. The others become tasks.
"""

from __future__ import annotations

from iscsi_protocol.pdu import (
    NO_TAG,
    AhsError,
    AhsType,
    RawPdu,
    RejectReason,
    ScsiCommand,
    decode_ahs,
    read_length,
    unpacker,
    whole_cdb,
)
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.status import Status
from iscsi_target import data_out, taskmgmt
from iscsi_target.completion import Buffer, Completion, Work
from iscsi_target.connection import Connection, State
from iscsi_target.core import Core
from iscsi_target.data_in import respond
from iscsi_target.session import Session
from iscsi_target.task import Burst, ScsiTask
from iscsi_target.task_set import CONSTRAINED
from iscsi_target.violation import FailTask, PeerViolation, format_error, rejected

_READ = 0x40
_WRITE = 0x20
_FINAL = 0x80
_MASK = 0xFFFFFFFF

IMMEDIATE_TASKS = 16
"""Immediate commands in progress on a connection, above which the next one is refused (4.2.2.1; at least one is taken)."""

PRIORITY_LEVEL = 2
"""The iSCSIProtocolLevel from which on commands have a priority (RFC 7144 5.1.1)."""

_UNEXPECTED = FailTask(sense_code=AdditionalSense.WRITE_ERROR_UNEXPECTED_UNSOLICITED_DATA)
_AMOUNT = FailTask(sense_code=AdditionalSense.WRITE_ERROR_NOT_ENOUGH_UNSOLICITED_DATA)

_fields = unpacker(ScsiCommand, "@0", "@1", "lun", "itt", "expected_data_transfer_length", "cmd_sn", "cdb")


def execute_slowly(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A SCSI Command whose turn it is, on a connection that takes no more data for now: it becomes a task that can wait,
    so that those behind it in CmdSN order, on other connections, need not. Raises PeerViolation.
    """
    execute(core, connection, session, raw, slow=True)


def execute(core: Core, connection: Connection, session: Session, raw: RawPdu, slow: bool = False) -> None:
    """A SCSI Command whose turn it is. slow: make a task of it in any case. Raises PeerViolation."""
    byte0, flags, lun, itt, expected, cmd_sn, cdb = _fields(raw.bhs, 0)
    immediate = byte0 & 0x40
    _check(connection, session, itt, flags, expected, immediate)
    read_expected = 0
    if raw.ahs:
        cdb, read_expected = _with_ahs(raw, cdb, flags)
    elif flags & 0x60 == 0x60:
        raise format_error("a bidirectional command without its read length", "R7143-11.3.4-01")
    if session.forgotten:
        session.forgotten.pop(itt, None)
    if session.functions and taskmgmt.covers(connection, session, lun, cmd_sn, immediate):
        _swallow(session, itt, flags, immediate)
        return
    ordered = flags & CONSTRAINED or session.task_sets.active or slow
    if flags & _WRITE or raw.data:
        _write(core, connection, session, raw, flags, lun, itt, expected, read_expected, cmd_sn, cdb, bool(ordered))
        return
    if ordered:
        task = _make_task(connection, session, itt, lun, cdb, flags, cmd_sn, immediate, expected, read_expected, 0)
        task.failure = _enter(core, session, raw, task)
        data_out.proceed(core, session, task)
        return
    result = session.device.execute(session.nexus, lun, cdb, b"")
    if type(result) is Work:
        task = _make_task(connection, session, itt, lun, cdb, flags, cmd_sn, immediate, expected, read_expected, 0)
        core.claim(session, task, result)
        return
    if not immediate:
        session.max_cmd_sn = (session.max_cmd_sn + 1) & _MASK
    respond(connection, session, itt, lun, flags, expected, read_expected, 0, result)  # type: ignore[arg-type] # narrowed by `type`


def _check(connection: Connection, session: Session, itt: int, flags: int, expected: int, immediate: int) -> None:
    """Rules that hold for every command (11.3.1, 11.2.1.8)."""
    if itt in session.tasks:
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")
    if itt == NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.2.1.8-02", "a command with the reserved task tag")
    if not flags & (_FINAL | _WRITE):
        raise format_error("neither W nor F is set", "R7143-11.3.1-01")
    if expected and not flags & (_READ | _WRITE):
        raise format_error("a transfer length, but neither R nor W", "R7143-11.3.1-03")
    if flags & 7 > 4:
        raise format_error(f"task attribute {flags & 7} is reserved", "R7143-7.7-01")
    if connection.state is State.LOGOUT_REQUESTED and len(session.connections) == 1:
        # Beside other connections it is taken: the hole in the CmdSNs that a Reject leaves would hold those up.
        raise rejected(RejectReason.WAITING_FOR_LOGOUT, "R7143-11.9.1-04", "a new command where a logout is awaited")
    if immediate and connection.immediate_tasks >= IMMEDIATE_TASKS:
        raise rejected(
            RejectReason.IMMEDIATE_COMMAND_REJECT, "R7143-4.2.2.1-05", "too many immediate commands in progress"
        )
    if (session.functions or connection.text is not None) and session.uses(itt):
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")


def _with_ahs(raw: RawPdu, cdb: bytes, flags: int) -> tuple[bytes, int]:
    """The whole CDB and the bidirectional read length (11.2.2)."""
    try:
        segments = decode_ahs(bytes(raw.ahs))
    except AhsError as error:
        raise format_error(str(error), "R7143-11.2.2.2-01") from error
    codes = [segment.code for segment in segments]
    for code in codes:
        if code not in (AhsType.EXTENDED_CDB, AhsType.BIDIRECTIONAL_READ_LENGTH):
            raise format_error(f"AHS type {code} is reserved", "R7143-11.2.2.1-01")
        if codes.count(code) > 1:
            raise format_error("two additional header segments of one type", "R7143-7.7-01")
    length = read_length(segments)
    bidirectional = flags & 0x60 == 0x60
    if bidirectional and length is None:
        raise format_error("a bidirectional command without its read length", "R7143-11.3.4-01")
    if not bidirectional and AhsType.BIDIRECTIONAL_READ_LENGTH in codes:
        raise format_error("a bidirectional read length for a command of one direction", "R7143-7.7-01")
    return whole_cdb(cdb, segments), length or 0


def _swallow(session: Session, itt: int, flags: int, immediate: int) -> None:
    """A command that a task management function before it has already ended (4.2.2.1, 4.2.3.3 b)."""
    if not flags & _FINAL:
        session.forget(itt)
    if not immediate:
        session.reopen()


def _make_task(
    connection: Connection,
    session: Session,
    itt: int,
    lun: bytes,
    cdb: bytes,
    flags: int,
    cmd_sn: int,
    immediate: int,
    expected: int,
    read_expected: int,
    wanted: int,
) -> ScsiTask:
    task = ScsiTask(
        connection=connection,
        itt=itt,
        lun=lun,
        cdb=cdb,
        flags=flags,
        cmd_sn=cmd_sn,
        immediate=bool(immediate),
        expected=expected,
        read_expected=read_expected,
        wanted=wanted,
    )
    if immediate:
        connection.immediate_tasks += 1
    session.tasks[itt] = task
    return task


def _write(
    core: Core,
    connection: Connection,
    session: Session,
    raw: RawPdu,
    flags: int,
    lun: bytes,
    itt: int,
    expected: int,
    read_expected: int,
    cmd_sn: int,
    cdb: bytes,
    ordered: bool,
) -> None:
    """A command with data from the initiator: immediate, unsolicited or asked for (4.2.5.2)."""
    immediate = raw.bhs[0] & 0x40
    device = session.device
    wanted = device.data_out_length(lun, cdb) if flags & _WRITE else 0
    held = len(raw.data)
    problem = _unsolicited_problem(core, session, flags, expected, held)
    refusal = device.length_refusal(session.nexus, lun, cdb, expected) if expected != wanted else None
    # A response that may need a fence is that of a task (`data_out.finish`).
    ordered = ordered or cdb[0] == data_out.PERSISTENT_RESERVE_OUT
    if flags & _FINAL and problem is None and refusal is None and held >= min(expected, wanted) and not ordered:
        data: Buffer = raw.data if held <= wanted else raw.data[:wanted]
        result = device.execute(session.nexus, lun, cdb, data)
        if not isinstance(result, Work):
            if not immediate:
                session.max_cmd_sn = (session.max_cmd_sn + 1) & _MASK
            respond(connection, session, itt, lun, flags, expected, read_expected, wanted, result)
            return
        task = _make_task(connection, session, itt, lun, cdb, flags, cmd_sn, immediate, expected, read_expected, wanted)
        core.claim(session, task, result)
        return
    task = _make_task(connection, session, itt, lun, cdb, flags, cmd_sn, immediate, expected, read_expected, wanted)
    task.touched = core.now
    task.failure = refusal
    if problem is not None:
        data_out.fail(core, connection, raw, task, problem)
    elif refusal is None and ordered:
        task.failure = _enter(core, session, raw, task)
    if problem is None and task.failure is None:
        _reserve(core, session, task)
    if task.failure is None:
        kept = min(held, task.needed)
        task.buffer[:kept] = raw.data[:kept]
    task.next_offset = held
    if not flags & _FINAL:
        length = min(session.parameters.first_burst_length, expected) - held
        task.unsolicited = Burst(NO_TAG, held, max(length, 0))
        data_out.watch(core, connection)
    data_out.proceed(core, session, task)


def _unsolicited_problem(core: Core, session: Session, flags: int, expected: int, held: int) -> PeerViolation | None:
    """What is wrong with the data that the initiator sends, or announces, unasked (4.2.5.2, 11.4.7.2, 13.11)."""
    parameters = session.parameters
    if held:
        if not flags & _WRITE:
            return PeerViolation("R7143-11.3.6-01", "data with a command that takes none", _UNEXPECTED)
        if not parameters.immediate_data and not core.policy.accept_unsolicited_data:
            return PeerViolation("R7143-13.11-02", "immediate data, which was not agreed upon", _UNEXPECTED)
        if held > min(expected, parameters.first_burst_length) and not core.policy.ignore_data_amount:
            return PeerViolation("R7143-4.2.5.2-06", f"{held} bytes of immediate data", _AMOUNT)
    if not flags & _FINAL and parameters.initial_r2t and not core.policy.accept_unsolicited_data:
        return PeerViolation("R7143-4.2.5.2-05", "unsolicited data, which was not agreed upon", _UNEXPECTED)
    return None


def _enter(core: Core, session: Session, raw: RawPdu, task: ScsiTask) -> Completion | None:
    """Have the task wait for its turn in the task set; what it is refused with, if it is (SAM-5 8)."""
    if session.parameters.iscsi_protocol_level >= PRIORITY_LEVEL:
        task.priority = raw.bhs[2] >> 4
    others = (each for other in core.sessions if other.node is session.node for each in other.tasks.values())
    return session.task_sets.enter(session, task, others)


def _reserve(core: Core, session: Session, task: ScsiTask) -> None:
    """Make room for the task's data; a server without room says so with the command's status."""
    if task.needed > core.limits.data_out_bytes:
        sense = Sense(key=SenseKey.ILLEGAL_REQUEST, code=AdditionalSense.INSUFFICIENT_RESOURCES).build()
        task.failure = Completion(Status.CHECK_CONDITION, sense=sense)
    elif core.data_out_bytes + task.needed > core.limits.data_out_bytes:
        # Who has no other command here to wait for is told to try again (SAM-5 5.3.1).
        task.failure = Completion(Status.TASK_SET_FULL if len(session.tasks) > 1 else Status.BUSY)
    else:
        core.data_out_bytes += task.needed
        task.reserved = task.needed
        task.buffer = bytearray(task.needed)
