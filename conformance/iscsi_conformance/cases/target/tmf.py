"""Task management: requests, responses, ABORT TASK, TASK REASSIGN (RFC 7143 sections 7.2.2, 7.11, 11.5 and 11.6)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.pending import give_data, pending_write
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.task_functions import concluded, no_answer_behind, require_response
from iscsi_conformance.transfer import pattern
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    NopIn,
    Reject,
    RejectReason,
    TaskFunction,
    TaskManagementResponse,
    TaskResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.lun import encode_lun

TUR = opcodes.TEST_UNIT_READY.build()


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
