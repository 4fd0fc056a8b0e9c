"""Functions that end sets of tasks: what they wait for, other sessions, resets (RFC 7143 sections 4.2.3.3 and 11.5)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import give_data, pending_write
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.task_functions import concluded, held_back, no_answer_behind, require_response
from iscsi_conformance.verdict import Unsupported, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    R2T,
    NopIn,
    Reject,
    ScsiCommand,
    ScsiResponse,
    TaskFunction,
    TaskManagementRequest,
    TaskResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey

TUR = opcodes.TEST_UNIT_READY.build()
OTHER_ISID = bytes.fromhex("800000000002")
RESET_CODES = range(0x2900, 0x2A00)
"""Sense codes of unit attentions that tell of a reset or power on."""


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
