"""Task management functions (RFC 7143 sections 4.2.3.3, 7.2.2, 7.11, 11.5 and 11.6)."""

from __future__ import annotations

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.describe import one_line
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import give_data, pending_write
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.transfer import pattern
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    NopIn,
    Reject,
    RejectReason,
    ScsiCommand,
    ScsiResponse,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.lun import encode_lun

TUR = opcodes.TEST_UNIT_READY.build()
OTHER_ISID = bytes.fromhex("800000000002")
RESET_CODES = range(0x2900, 0x2A00)
"""Sense codes of unit attentions that tell of a reset or power on."""


async def concluded(session: Session, request: TaskManagementRequest, clause: str) -> TaskManagementResponse:
    """The response to the function; answers of tasks that came before it, as they may, are passed over."""
    while True:
        pdu = (await session.receive(clause, "the response to the function")).pdu
        if isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt:
            return pdu


async def no_answer_behind(session: Session, clause: str, *tasks: ScsiCommand) -> None:
    """Nothing comes any more for these tasks: proved by two fences."""
    tags = {task.itt for task in tasks}
    for _ in range(2):
        fence = session.ping()
        while True:
            received = await session.receive(ALIVE, "the answer to a ping")
            if received.raw.initiator_task_tag == fence.itt:
                break
            late = isinstance(received.pdu, ScsiResponse | DataIn | R2T) and received.raw.initiator_task_tag in tags
            require(not late, clause, "nothing comes for an ended task", seen=one_line(received.raw))


async def held_back(session: Session, request: TaskManagementRequest, clause: str, what: str) -> None:
    """The function is not answered yet: proved by two fences. Raises Unsupported where it is answered with 5."""
    for _ in range(2):
        fence = session.ping()
        while True:
            received = await session.receive(ALIVE, "the answer to a ping")
            if received.raw.initiator_task_tag == fence.itt:
                break
            pdu = received.pdu
            if isinstance(pdu, TaskManagementResponse) and pdu.response == TaskResponse.FUNCTION_NOT_SUPPORTED:
                raise Unsupported(f"task-management-{request.function}", "the function is answered with response 5")
            early = received.raw.initiator_task_tag == request.itt
            require(not early, clause, what, seen=one_line(received.raw))


def require_response(
    answer: TaskManagementResponse, clause: str, *allowed: TaskResponse, what: str = "the function"
) -> None:
    """The response is one of these."""
    names = " or ".join(str(int(code)) for code in allowed)
    require(answer.response in allowed, clause, f"{what} is answered with {names}", seen=answer.response)


@case(
    "tmf.every-function-is-answered",
    clauses={"R7143-11.5.1-01": "tmf.unanswered"},
    role=TARGET,
    needs=[Feature.NORMAL_SESSION],
    destructive=True,
)
async def every_function(session: Session) -> None:
    """Each function that a single session can be asked for without ending it gets a response with its task tag."""
    for function in (
        TaskFunction.ABORT_TASK,
        TaskFunction.ABORT_TASK_SET,
        TaskFunction.CLEAR_ACA,
        TaskFunction.CLEAR_TASK_SET,
        TaskFunction.LOGICAL_UNIT_RESET,
        TaskFunction.TASK_REASSIGN,
    ):
        request = session.manage_task(function, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn)
        await session.task_response(request, "R7143-11.5.1-01")


@case("tmf.codes-are-defined", clauses={"R7143-11.6.1-01": "tmf.unknown-code"}, role=TARGET, destructive=True)
async def codes_are_defined(session: Session) -> None:
    """A response code is one of those that are defined."""
    for function in (TaskFunction.ABORT_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET):
        request = session.manage_task(function)
        answer = await session.task_response(request, "R7143-11.5.1-01")
        known = answer.response in set(TaskResponse)
        require(known, "R7143-11.6.1-01", "a defined response code was due", seen=answer.response)


@case(
    "tmf.response-is-well-formed",
    clauses={
        "R7143-11.6.2-01": "tmf.response-with-data",
        "R7143-11.4.9-01": "tmf.response-not-numbered",
        "R7143-11-02": "tmf.reserved-bytes-set",
    },
    role=TARGET,
)
async def response_is_well_formed(session: Session) -> None:
    """The response has neither AHS nor data, the next StatSN, and zeros in its reserved fields."""
    due = session.raw.exp_stat_sn
    request = session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn)
    answer = await session.task_response(request, "R7143-11.5.1-01")
    require(not answer.data and not answer.ahs, "R7143-11.6.2-01", "neither AHS nor data", seen=answer.data.hex())
    require(answer.stat_sn == due, "R7143-11.4.9-01", f"StatSN {due} was due", seen=answer.stat_sn)
    require(not answer.reserved, "R7143-11-02", "reserved fields are zero", seen=f"{answer.reserved:096x}")


@case(
    "tmf.abort-of-live-task",
    clauses={"R7143-11.6.1-06": "tmf.live-task-unknown", "R7143-11.5.1-05": "tmf.aborted-task-goes-on"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def abort_of_live_task(disk: Session) -> None:
    """ABORT TASK of a write that waits for data succeeds, and no response to the write follows, whatever data still comes."""
    write, r2t = await pending_write(disk)
    abort = disk.manage_task(
        TaskFunction.ABORT_TASK, lun=write.lun, referenced_task_tag=write.itt, ref_cmd_sn=write.cmd_sn
    )
    answer = await concluded(disk, abort, "R7143-11.6.1-06")
    require_response(answer, "R7143-11.6.1-06", TaskResponse.FUNCTION_COMPLETE, what="the abort of a live task")
    give_data(disk, write, r2t)
    await no_answer_behind(disk, "R7143-11.5.1-05", write)


@case("tmf.abort-of-answered-task", clauses={"R7143-7.11-04": "tmf.ended-task-aborted"}, role=TARGET)
async def abort_of_answered_task(session: Session) -> None:
    """ABORT TASK of a command that was answered is told that there is no such task."""
    done = (await session.test_unit_ready(ALIVE)).command
    abort = session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=done.itt, ref_cmd_sn=done.cmd_sn)
    answer = await session.task_response(abort, "R7143-7.11-04")
    require_response(answer, "R7143-7.11-04", TaskResponse.TASK_DOES_NOT_EXIST, what="the abort of an ended task")


@case("tmf.abort-of-unknown-task", clauses={"R7143-11.6.1-08": "tmf.unknown-task-rejected"}, role=TARGET)
async def abort_of_unknown_task(session: Session) -> None:
    """ABORT TASK of a tag that was never used, with a RefCmdSN below the window, is told that there is no such task."""
    await session.test_unit_ready(ALIVE)
    old = serial.add(session.raw.cmd_sn, -1)
    abort = session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=old)
    answer = await session.task_response(abort, "R7143-11.6.1-08")
    require_response(answer, "R7143-11.6.1-08", TaskResponse.TASK_DOES_NOT_EXIST, what="the abort of an unknown task")
    await session.alive()


@case(
    "tmf.abort-of-missing-command",
    clauses={"R7143-7.11-03": "tmf.missing-command-unknown", "R7143-11.6.1-07": "tmf.gap-stays"},
    role=TARGET,
)
async def abort_of_missing_command(session: Session) -> None:
    """ABORT TASK of a command that never came succeeds, and its CmdSN counts as received."""
    missing = session.raw.next_cmd_sn()
    abort = session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=missing)
    answer = await session.task_response(abort, "R7143-7.11-03")
    require_response(answer, "R7143-7.11-03", TaskResponse.FUNCTION_COMPLETE, what="the abort of a missing command")
    ping = session.ping()
    counters = await session.answer(NopIn, ping.itt, ALIVE)
    past = counters.exp_cmd_sn == serial.add(missing)
    require(past, "R7143-11.6.1-07", f"ExpCmdSN is past {missing}", seen=counters.exp_cmd_sn)


@case("tmf.aborted-missing-command-comes-late", clauses={"R7143-11.6.1-07": "tmf.gap-stays"}, role=TARGET)
async def aborted_missing_command(session: Session) -> None:
    """A command that was aborted before it came is not answered when it comes."""
    missing = session.raw.next_cmd_sn()
    tag = session.raw.next_itt()
    abort = session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=tag, ref_cmd_sn=missing)
    await session.task_response(abort, "R7143-7.11-03")
    late = session.command(TUR, cmd_sn=missing, itt=tag)
    await session.silence("R7143-11.6.1-07", "an aborted command is not answered when it comes late", about=late.itt)


@case(
    "tmf.abort-of-a-function",
    clauses={
        "R7143-11.5.1-15": "tmf.function-on-function-done",
        "R7143-11.5.1-14": "tmf.aborted-function-lost",
    },
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def abort_of_a_function(disk: Session) -> None:
    """ABORT TASK of a function that waits is rejected with 255, and the function still gets its response."""
    write, r2t = await pending_write(disk)
    waiting = disk.manage_task(TaskFunction.ABORT_TASK_SET)
    abort = disk.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=waiting.itt, ref_cmd_sn=waiting.cmd_sn)
    first = await disk.receive("R7143-11.5.1-15", "the response to ABORT TASK")
    if first.raw.initiator_task_tag == waiting.itt:
        raise Inconclusive("the function did not wait for the write's data, so that none was there to abort")
    disk.put_back(first)
    answer = await disk.task_response(abort, "R7143-11.5.1-15")
    require_response(answer, "R7143-11.5.1-15", TaskResponse.FUNCTION_REJECTED, what="the abort of a function")
    give_data(disk, write, r2t)
    await concluded(disk, waiting, "R7143-11.5.1-14")


@case(
    "tmf.reassignment-of-a-function",
    clauses={"R7143-11.5.1-23": "tmf.function-on-function-done"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def reassignment_of_a_function(disk: Session) -> None:
    """TASK REASSIGN of a function that waits is rejected with 255, or as not supported at all."""
    write, r2t = await pending_write(disk)
    waiting = disk.manage_task(TaskFunction.ABORT_TASK_SET)
    request = disk.manage_task(TaskFunction.TASK_REASSIGN, referenced_task_tag=waiting.itt)
    answer = await disk.task_response(request, "R7143-11.5.1-23")
    allowed = [TaskResponse.FUNCTION_REJECTED, TaskResponse.REASSIGNMENT_NOT_SUPPORTED]
    allowed += [TaskResponse.FUNCTION_NOT_SUPPORTED]
    require_response(answer, "R7143-11.5.1-23", *allowed, what="the reassignment of a function")
    give_data(disk, write, r2t)
    await concluded(disk, waiting, "R7143-11.5.1-01")


@case(
    "tmf.reassignment-below-level-2",
    clauses={"R7143-7.2.2-06": "tmf.pretends-reassignment"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def reassignment_below_level_2(disk: Session) -> None:
    """At recovery level 0 TASK REASSIGN of a live write is refused with 4, or with 3 or 5, and the write goes on."""
    write, r2t = await pending_write(disk)
    request = disk.manage_task(TaskFunction.TASK_REASSIGN, lun=write.lun, referenced_task_tag=write.itt)
    answer = await disk.task_response(request, "R7143-7.2.2-06")
    allowed = [TaskResponse.REASSIGNMENT_NOT_SUPPORTED, TaskResponse.TASK_STILL_ALLEGIANT]
    allowed += [TaskResponse.FUNCTION_NOT_SUPPORTED]
    require_response(answer, "R7143-7.2.2-06", *allowed, what="TASK REASSIGN at level 0")
    give_data(disk, write, r2t)
    await disk.result(write, "R7143-7.2.2-06", write_data=pattern(write.expected_data_transfer_length))


async def absent_lun(session: Session) -> int:
    """A logical unit number that REPORT LUNS does not list."""
    outcome = await session.execute(opcodes.REPORT_LUNS.build(allocation_length=4096), ALIVE, read=4096)
    listed = {outcome.data[at : at + 8] for at in range(8, len(outcome.data), 8)}
    return next(lun for lun in range(250, 0, -1) if encode_lun(lun) not in listed)


@case(
    "tmf.lun-not-there",
    clauses={"R7143-11.6.1-02": "tmf.any-lun-will-do"},
    role=TARGET,
)
async def lun_not_there(session: Session) -> None:
    """LOGICAL UNIT RESET of a logical unit that is not there is answered with response 2."""
    lun = encode_lun(await absent_lun(session))
    request = session.manage_task(TaskFunction.LOGICAL_UNIT_RESET, lun=lun)
    answer = await session.task_response(request, "R7143-11.6.1-02")
    require_response(answer, "R7143-11.6.1-02", TaskResponse.LUN_DOES_NOT_EXIST, what="a reset of no logical unit")


@case(
    "tmf.unsupported-function",
    clauses={"R7143-11.6.1-03": "tmf.unsupported-function-done"},
    role=TARGET,
)
async def unsupported_function(session: Session) -> None:
    """CLEAR ACA is answered with response 5 where INQUIRY says that there is no ACA, else with function complete."""
    inquiry = await session.execute(opcodes.INQUIRY.build(allocation_length=36), ALIVE, read=36)
    supported = len(inquiry.data) > 3 and bool(inquiry.data[3] & 0x20)
    request = session.manage_task(TaskFunction.CLEAR_ACA)
    answer = await session.task_response(request, "R7143-11.6.1-03")
    due = TaskResponse.FUNCTION_COMPLETE if supported else TaskResponse.FUNCTION_NOT_SUPPORTED
    require_response(answer, "R7143-11.6.1-03", due, what="CLEAR ACA")


@case(
    "tmf.reserved-function",
    clauses={"R7143-11-04": "tmf.reserved-function-is-an-abort"},
    role=TARGET,
)
async def reserved_function(session: Session) -> None:
    """A reserved function code is refused: by response 5 or 255, a Reject for a protocol error, or a close."""
    request = session.manage_task(0x7F, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn)
    received = await session.receive_or_none()
    if received is None:
        require(session.raw.closed, "R7143-11-04", "a reserved function code is refused, not passed over")
        return
    pdu, seen = received.pdu, one_line(received.raw)
    if isinstance(pdu, Reject):
        reasons = (RejectReason.PROTOCOL_ERROR, RejectReason.COMMAND_NOT_SUPPORTED, RejectReason.INVALID_PDU_FIELD)
        require(pdu.reason in reasons, "R7143-11-04", "a Reject for a protocol error", seen=seen)
        return
    require(isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt, "R7143-11-04", "a refusal", seen=seen)
    refused = received.raw.bhs[2] in (TaskResponse.FUNCTION_NOT_SUPPORTED, TaskResponse.FUNCTION_REJECTED)
    require(refused, "R7143-11-04", "a reserved function code is refused", seen=seen)


async def waits_for_data(disk: Session, function: TaskFunction, clause: str) -> None:
    """A function that ends a write waits for the data of its R2T, then it is answered, and the write is not."""
    write, r2t = await pending_write(disk)
    request = disk.manage_task(function)
    await held_back(disk, request, clause, "the function waits for the data of an open R2T")
    give_data(disk, write, r2t)
    answer = await concluded(disk, request, clause)
    require_response(answer, "R7143-11.6.1-01", TaskResponse.FUNCTION_COMPLETE)
    await no_answer_behind(disk, "R7143-11.5.1-03", write)


@case(
    "tmf.abort-task-set-waits-for-data",
    clauses={"R7143-4.2.3.3-07": "tmf.does-not-wait", "R7143-11.5.1-03": "tmf.answers-behind-response"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def abort_task_set_waits(disk: Session) -> None:
    """ABORT TASK SET is answered behind the data of an open R2T, and then nothing comes for the write."""
    await waits_for_data(disk, TaskFunction.ABORT_TASK_SET, "R7143-4.2.3.3-07")


@case(
    "tmf.clear-task-set-waits-for-data",
    clauses={"R7143-11.5.1-08": "tmf.does-not-wait"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def clear_task_set_waits(disk: Session) -> None:
    """CLEAR TASK SET is answered behind the data of an open R2T, and then nothing comes for the write."""
    await waits_for_data(disk, TaskFunction.CLEAR_TASK_SET, "R7143-11.5.1-08")


@case(
    "tmf.reset-waits-for-data",
    clauses={"R7143-13.23-05": "tmf.does-not-wait"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def reset_waits(disk: Session) -> None:
    """LOGICAL UNIT RESET without FastAbort is answered behind the data of an open R2T."""
    await waits_for_data(disk, TaskFunction.LOGICAL_UNIT_RESET, "R7143-13.23-05")


@case(
    "tmf.all-lower-commands-end",
    clauses={"R7143-11.5.1-02": "tmf.answers-behind-response"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def all_lower_commands_end(disk: Session) -> None:
    """A numbered ABORT TASK SET ends every write with a lower CmdSN, and none with a higher one."""
    pending = [await pending_write(disk) for _ in range(2)]
    request = disk.manage_task(TaskFunction.ABORT_TASK_SET, immediate=False)
    for write, r2t in pending:
        give_data(disk, write, r2t)
    answer = await concluded(disk, request, "R7143-11.5.1-01")
    require_response(answer, "R7143-11.6.1-01", TaskResponse.FUNCTION_COMPLETE)
    await no_answer_behind(disk, "R7143-11.5.1-02", *(write for write, _ in pending))
    await disk.test_unit_ready("R7143-11.5.1-02")


@case(
    "tmf.waits-for-missing-commands",
    clauses={
        "R7143-4.2.3.3-09": "tmf.does-not-wait",
        "R7143-4.2.2.1-04": "tmf.answers-behind-response",
    },
    role=TARGET,
)
async def waits_for_missing_commands(session: Session) -> None:
    """An immediate ABORT TASK SET waits for a missing command before it, and that one is not answered behind it."""
    gap = session.raw.next_cmd_sn()
    request = session.manage_task(TaskFunction.ABORT_TASK_SET)
    await session.silence("R7143-4.2.3.3-09", "the function waits for the missing command", about=request.itt)
    missing = session.command(TUR, cmd_sn=gap)
    await concluded(session, request, "R7143-4.2.3.3-09")
    await no_answer_behind(session, "R7143-4.2.2.1-04", missing)


@case(
    "tmf.clear-task-set-waits-for-commands",
    clauses={"R7143-11.6.1-05": "tmf.does-not-wait"},
    role=TARGET,
    destructive=True,
)
async def clear_task_set_waits_for_commands(session: Session) -> None:
    """An immediate CLEAR TASK SET is answered only when the commands before it have come."""
    gap = session.raw.next_cmd_sn()
    request = session.manage_task(TaskFunction.CLEAR_TASK_SET)
    await held_back(session, request, "R7143-11.6.1-05", "the function waits for the missing command")
    session.command(TUR, cmd_sn=gap)
    await concluded(session, request, "R7143-11.6.1-05")


async def two_disks(peer: Peer) -> tuple[Session, Session]:
    """Two sessions to one logical unit, both without a unit attention."""
    one, other = await peer.disk(), await peer.disk(isid=OTHER_ISID)
    for session in (one, other):
        await session.test_unit_ready(ALIVE)
    return one, other


@case(
    "tmf.reset-ends-tasks-of-others",
    clauses={"R7143-E.1-04": "tmf.reset-is-own-abort"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def reset_ends_tasks_of_others(peer: Peer) -> None:
    """LOGICAL UNIT RESET ends the write of another session: it is not answered when its data comes."""
    mine, other = await two_disks(peer)
    write, r2t = await pending_write(other)
    request = mine.manage_task(TaskFunction.LOGICAL_UNIT_RESET)
    await after_reset(mine, other, request, write, r2t, "R7143-E.1-04")


async def after_reset(
    mine: Session, other: Session, request: TaskManagementRequest, write: ScsiCommand, r2t: R2T, clause: str
) -> None:
    """The function is done, before the other session's data or behind it, and the other's write is not carried out.

    The write may be told as aborted (TASK ABORTED where the TAS bit says so), but not as GOOD.
    """
    received = await mine.receive_or_none(within=1.0)
    give_data(other, write, r2t)
    if received is not None:
        mine.put_back(received)
    answer = await mine.task_response(request, "R7143-11.5.1-01")
    if answer.response == TaskResponse.FUNCTION_NOT_SUPPORTED:
        raise Unsupported(f"task-management-{request.function}", "the function is answered with response 5")
    require_response(answer, "R7143-11.6.1-01", TaskResponse.FUNCTION_COMPLETE)
    fence = other.ping()
    while (received := await other.receive(ALIVE, "the answer to a ping")).raw.initiator_task_tag != fence.itt:
        pdu = received.pdu
        good = isinstance(pdu, ScsiResponse) and pdu.itt == write.itt and not pdu.status
        require(not good, clause, "the other session's write is not carried out", seen=one_line(received.raw))


@case(
    "tmf.clear-task-set-ends-tasks-of-others",
    clauses={"R7143-4.2.3.3-12": "tmf.clear-is-own-abort"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def clear_task_set_ends_others(peer: Peer) -> None:
    """When CLEAR TASK SET is told as done, the write of another session is gone."""
    mine, other = await two_disks(peer)
    write, r2t = await pending_write(other)
    request = mine.manage_task(TaskFunction.CLEAR_TASK_SET)
    await after_reset(mine, other, request, write, r2t, "R7143-4.2.3.3-12")


@case(
    "tmf.late-data-of-others-is-discarded",
    clauses={"R7143-10.7-02": "tmf.late-data-rejected"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def late_data_is_discarded(peer: Peer) -> None:
    """Data for a write that another session's reset ended is not rejected."""
    mine, other = await two_disks(peer)
    write, r2t = await pending_write(other)
    request = mine.manage_task(TaskFunction.LOGICAL_UNIT_RESET)
    early = await mine.receive_or_none(within=1.0)
    give_data(other, write, r2t)
    if early is None:
        await mine.task_response(request, "R7143-11.5.1-01")
    fence = other.ping()
    while (received := await other.receive(ALIVE, "the answer to a ping")).raw.initiator_task_tag != fence.itt:
        rejected = isinstance(received.pdu, Reject)
        require(not rejected, "R7143-10.7-02", "late data is discarded silently", seen=one_line(received.raw))


@case(
    "tmf.reset-is-told-to-others",
    clauses={"R7143-11.5.1-16": "tmf.reset-is-own-abort"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
    destructive=True,
)
async def reset_is_told(peer: Peer) -> None:
    """The next command of another session gets a unit attention that tells of the LOGICAL UNIT RESET."""
    mine, other = await two_disks(peer)
    request = mine.manage_task(TaskFunction.LOGICAL_UNIT_RESET)
    await mine.task_response(request, "R7143-11.5.1-01")
    sense = (await other.test_unit_ready("R7143-11.5.1-16")).sense
    seen = "no sense" if sense is None else f"{sense.key:x}/{sense.code:04x}"
    told = sense is not None and sense.key == SenseKey.UNIT_ATTENTION and sense.code in RESET_CODES
    require(told, "R7143-11.5.1-16", "a unit attention 6/29xx was due", seen=seen)


@case(
    "tmf.reset-does-not-wait-for-others",
    clauses={"R7143-4.2.3.3-10": "tmf.reset-hangs"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.SCSI_DISK],
    destructive=True,
)
async def reset_does_not_wait(peer: Peer) -> None:
    """LOGICAL UNIT RESET does not wait for a command that is missing in another session."""
    mine, other = await two_disks(peer)
    other.raw.next_cmd_sn()
    other.command(TUR)
    request = mine.manage_task(TaskFunction.LOGICAL_UNIT_RESET)
    await mine.task_response(request, "R7143-4.2.3.3-10")


@case(
    "tmf.warm-reset-keeps-the-numbers",
    clauses={"R7143-E.1-07": "tmf.numbers-start-anew"},
    role=TARGET,
    destructive=True,
)
async def warm_reset(session: Session) -> None:
    """TARGET WARM RESET is done, or refused with 5 or 6; StatSN and CmdSN go on in either case."""
    request = session.manage_task(TaskFunction.TARGET_WARM_RESET)
    answer = await session.task_response(request, "R7143-11.5.1-01")
    allowed = [TaskResponse.FUNCTION_COMPLETE, TaskResponse.FUNCTION_NOT_SUPPORTED, TaskResponse.AUTHORIZATION_FAILED]
    require_response(answer, "R7143-11.6.1-01", *allowed)
    ping = session.ping()
    counters = await session.answer(NopIn, ping.itt, "R7143-E.1-07")
    due = serial.add(answer.stat_sn)
    require(counters.stat_sn == due, "R7143-E.1-07", f"StatSN {due} was due", seen=counters.stat_sn)
    same = counters.exp_cmd_sn == session.raw.cmd_sn
    require(same, "R7143-E.1-07", f"ExpCmdSN stays at {session.raw.cmd_sn}", seen=counters.exp_cmd_sn)


async def cold_reset(session: Session) -> bool:
    """Ask for TARGET COLD RESET; whether the target does it."""
    request = session.manage_task(TaskFunction.TARGET_COLD_RESET)
    answer = await session.task_response(request, "R7143-11.5.1-01")
    allowed = [TaskResponse.FUNCTION_COMPLETE, TaskResponse.FUNCTION_NOT_SUPPORTED, TaskResponse.AUTHORIZATION_FAILED]
    require_response(answer, "R7143-11.6.1-01", *allowed)
    return answer.response == TaskResponse.FUNCTION_COMPLETE


@case(
    "tmf.cold-reset-closes-the-connection",
    clauses={"R7143-11.6.1-04": "tmf.cold-reset-is-warm"},
    role=TARGET,
    destructive=True,
)
async def cold_reset_closes(session: Session) -> None:
    """TARGET COLD RESET is refused with 5 or 6, or done, and then the target closes the connection."""
    if await cold_reset(session):
        await session.expect_closed("R7143-11.6.1-04")


@case(
    "tmf.cold-reset-closes-all-sessions",
    clauses={"R7143-11.5.1-19": "tmf.cold-reset-is-warm"},
    role=TARGET,
    destructive=True,
)
async def cold_reset_closes_all(peer: Peer, session: Session) -> None:
    """TARGET COLD RESET, where it is done, ends the connections of other initiators too."""
    other = await peer.login(isid=OTHER_ISID)
    if await cold_reset(session):
        await other.expect_closed("R7143-11.5.1-19", "the connection of another session is closed")


@case(
    "tmf.cold-reset-is-power-on",
    clauses={"R7143-E.2-02": "tmf.no-power-on-attention"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
    destructive=True,
)
async def cold_reset_is_power_on(peer: Peer, session: Session) -> None:
    """Behind a TARGET COLD RESET the first command of a new session gets a unit attention for power on or reset."""
    if not await cold_reset(session):
        return
    await session.raw.wait_closed(session.response_time)
    again = await peer.login(clause="R7143-7.15-02")
    sense = (await again.test_unit_ready("R7143-E.2-02")).sense
    seen = "no sense" if sense is None else f"{sense.key:x}/{sense.code:04x}"
    told = sense is not None and sense.key == SenseKey.UNIT_ATTENTION and sense.code in RESET_CODES
    require(told, "R7143-E.2-02", "a unit attention 6/29xx was due", seen=seen)
