"""The task management functions of RFC 7144, at iSCSIProtocolLevel 2 (sections 4.1, 6.3 to 6.5)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import give_data, pending_write
from iscsi_conformance.recovery import acknowledge, require_gone
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import two_connections
from iscsi_conformance.task_functions import concluded, held_back, no_answer_behind, require_response
from iscsi_conformance.verdict import Inconclusive, Unsupported, require
from iscsi_protocol.pdu import (
    ScsiCommand,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    TaskResponse,
)
from iscsi_protocol.scsi.codes import SenseKey

LEVEL_2 = (("iSCSIProtocolLevel", "2"),)
NEEDS = (Feature.PROTOCOL_LEVEL_2,)
WRITING = (*NEEDS, *WRITABLE)
ISID = bytes.fromhex("807144000001")
OTHER_ISID = bytes.fromhex("807144000002")
COMPLETE = TaskResponse.FUNCTION_COMPLETE
SUCCEEDED = TaskResponse.FUNCTION_SUCCEEDED
UNSUPPORTED = TaskResponse.FUNCTION_NOT_SUPPORTED
I_T_NEXUS_LOSS = 0x2907


async def at_level_2(peer: Peer, isid: bytes = ISID) -> Session:
    """A session at level 2 without unsolicited data, its logical unit measured and without a unit attention."""
    disk = await peer.disk([*LEVEL_2, *NO_UNSOLICITED], isid=isid)
    await disk.test_unit_ready(ALIVE)
    return disk


async def asked(session: Session, function: TaskFunction, clause: str, **fields: int) -> TaskManagementResponse:
    """The response to a function. Raises Unsupported where it is answered with 5, as it may be."""
    answer = await concluded(session, session.manage_task(function, **fields), clause)
    if answer.response == UNSUPPORTED:
        raise Unsupported(f"task-management-{int(function)}", "the function is answered with response 5")
    return answer


def about(task: ScsiCommand | TaskManagementRequest) -> dict[str, int]:
    """The fields that name a task of which a function is about."""
    return {"referenced_task_tag": task.itt, "ref_cmd_sn": task.cmd_sn}


@case(
    "queries.every-function-is-answered",
    clauses={"R7144-6.3-03": "queries.unanswered", "R7144-4.1-02": "queries.rejected"},
    role=TARGET,
    needs=NEEDS,
)
async def every_function_is_answered(peer: Peer) -> None:
    """At level 2 the new functions are answered by a response, not by a Reject; it may say that they are not supported."""
    session = await peer.login(LEVEL_2)
    for function in (TaskFunction.QUERY_TASK, TaskFunction.QUERY_TASK_SET, TaskFunction.QUERY_ASYNCHRONOUS_EVENT):
        fields = {"referenced_task_tag": 0x7777, "ref_cmd_sn": session.raw.cmd_sn}
        request = session.manage_task(function, **(fields if function == TaskFunction.QUERY_TASK else {}))
        received = await session.receive("R7144-6.3-03", f"the response to function {int(function)}")
        answered = isinstance(received.pdu, TaskManagementResponse) and received.pdu.itt == request.itt
        require(answered, "R7144-4.1-02", "a response to the function was due", seen=one_line(received.raw))


@case(
    "queries.task",
    clauses={"R7144-6.4.2-02": "queries.task-not-found"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def query_task(peer: Peer) -> None:
    """QUERY TASK of a write that waits for data is answered with 7, and with 0 once the write is over."""
    clause = "R7144-6.4.2-02"
    disk = await at_level_2(peer)
    write, r2t = await pending_write(disk)
    answer = await asked(disk, TaskFunction.QUERY_TASK, clause, **about(write))
    require_response(answer, clause, SUCCEEDED, what="QUERY TASK of a live task")
    give_data(disk, write, r2t)
    await disk.result(write, ALIVE)
    answer = await asked(disk, TaskFunction.QUERY_TASK, clause, **about(write))
    require_response(answer, clause, COMPLETE, what="QUERY TASK of a task that is over")


@case(
    "queries.task-set",
    clauses={"R7144-6.4.2-02": "queries.always-a-task"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def query_task_set(peer: Peer) -> None:
    """QUERY TASK SET is answered with 7 while a write waits for data, and with 0 when there is no task."""
    clause = "R7144-6.4.2-02"
    disk = await at_level_2(peer)
    write, r2t = await pending_write(disk)
    answer = await asked(disk, TaskFunction.QUERY_TASK_SET, clause)
    require_response(answer, clause, SUCCEEDED, what="QUERY TASK SET with a task")
    give_data(disk, write, r2t)
    await disk.result(write, ALIVE)
    answer = await asked(disk, TaskFunction.QUERY_TASK_SET, clause)
    require_response(answer, clause, COMPLETE, what="QUERY TASK SET without a task")


@case(
    "queries.asynchronous-event",
    clauses={"R7144-6.4.2-03": "queries.no-event", "R7144-6.4.1-01": "queries.tells-nothing-more"},
    role=TARGET,
    needs=NEEDS,
    destructive=True,
)
async def asynchronous_event(peer: Peer) -> None:
    """QUERY ASYNCHRONOUS EVENT is answered with 7 and the unit attention that waits, and with 0 once that was told."""
    clause = "R7144-6.4.2-03"
    session, other = await at_level_2(peer), await at_level_2(peer, OTHER_ISID)
    answer = await asked(session, TaskFunction.QUERY_ASYNCHRONOUS_EVENT, clause)
    require_response(answer, clause, COMPLETE, what="QUERY ASYNCHRONOUS EVENT without an event")
    await concluded(other, other.manage_task(TaskFunction.LOGICAL_UNIT_RESET), ALIVE)
    answer = await asked(session, TaskFunction.QUERY_ASYNCHRONOUS_EVENT, clause)
    sense = (await session.test_unit_ready(ALIVE)).sense
    if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
        raise Inconclusive("no unit attention tells of the reset")
    require_response(answer, clause, SUCCEEDED, what="QUERY ASYNCHRONOUS EVENT with a unit attention")
    told = answer.additional_response_information & 0x0FFFFF
    due = SenseKey.UNIT_ATTENTION << 16 | sense.code
    require(told == due, "R7144-6.4.1-01", f"{due:06x} was due in bytes 8 to 10", seen=f"{told:06x}")
    answer = await asked(session, TaskFunction.QUERY_ASYNCHRONOUS_EVENT, clause)
    require_response(answer, clause, COMPLETE, what="QUERY ASYNCHRONOUS EVENT behind it")


@case(
    "queries.of-a-function",
    clauses={"R7144-6.3-07": "queries.function-found", "R7144-6.3-08": "queries.function-unknown"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def of_a_function(peer: Peer) -> None:
    """QUERY TASK of a task management function that waits is not carried out, and answered with 255."""
    disk = await at_level_2(peer)
    write, r2t = await pending_write(disk)
    waiting = disk.manage_task(TaskFunction.ABORT_TASK_SET)
    await held_back(disk, waiting, ALIVE, "the function waits for the data of an open R2T")
    answer = await asked(disk, TaskFunction.QUERY_TASK, "R7144-6.3-08", **about(waiting))
    done = answer.response in (COMPLETE, SUCCEEDED)
    require(not done, "R7144-6.3-07", "a function is not queried", seen=f"response {answer.response}")
    what = "QUERY TASK of a function"
    require_response(answer, "R7144-6.3-08", TaskResponse.FUNCTION_REJECTED, what=what)
    give_data(disk, write, r2t)
    await concluded(disk, waiting, ALIVE)


@case(
    "queries.queried-task-goes-on",
    clauses={"R7144-6.3-04": "queries.answers-behind-response"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def queried_task_goes_on(peer: Peer) -> None:
    """A write that was queried still ends; one that ABORT TASK SET ended has no response behind the function's."""
    clause = "R7144-6.3-04"
    disk = await at_level_2(peer)
    write, r2t = await pending_write(disk)
    await asked(disk, TaskFunction.QUERY_TASK, clause, **about(write))
    give_data(disk, write, r2t)
    await disk.result(write, clause)
    write, r2t = await pending_write(disk)
    request = disk.manage_task(TaskFunction.ABORT_TASK_SET)
    give_data(disk, write, r2t)
    await concluded(disk, request, clause)
    await no_answer_behind(disk, clause, write)


# ---- I_T NEXUS RESET ----


@case(
    "queries.nexus-reset-waits-for-data",
    clauses={"R7144-6.5-01": "queries.nexus-reset-at-once"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def nexus_reset_waits(peer: Peer) -> None:
    """With the standard semantics I_T NEXUS RESET waits for the data of an open R2T."""
    clause = "R7144-6.5-01"
    disk = await at_level_2(peer)
    await pending_write(disk)
    request = disk.manage_task(TaskFunction.I_T_NEXUS_RESET, lun=bytes(8))
    await held_back(disk, request, clause, "the function waits for the data of an open R2T")


async def after_nexus_reset(peer: Peer) -> Session:
    """A session that I_T NEXUS RESET ended. Raises Unsupported where the function is answered with 5."""
    session = await at_level_2(peer)
    request = session.manage_task(TaskFunction.I_T_NEXUS_RESET, lun=bytes(8))
    received = await session.receive_or_none()
    pdu = None if received is None else received.pdu
    if isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt and pdu.response == UNSUPPORTED:
        raise Unsupported("task-management-11", "the function is answered with response 5")
    return session


@case(
    "queries.nexus-reset-drops-connections",
    clauses={"R7144-6.3-10": "queries.nexus-reset-is-a-query"},
    role=TARGET,
    needs=[*NEEDS, Feature.MULTIPLE_CONNECTIONS],
    destructive=True,
)
async def nexus_reset_drops(peer: Peer) -> None:
    """I_T NEXUS RESET drops all connections of its session."""
    clause = "R7144-6.3-10"
    first, second = await two_connections(peer, LEVEL_2, disk=True)
    for session in (first, second):
        await session.alive()
        acknowledge(session)
    request = first.manage_task(TaskFunction.I_T_NEXUS_RESET, lun=bytes(8))
    received = await first.receive_or_none()
    pdu = None if received is None else received.pdu
    if isinstance(pdu, TaskManagementResponse) and pdu.itt == request.itt and pdu.response == UNSUPPORTED:
        raise Unsupported("task-management-11", "the function is answered with response 5")
    await first.expect_closed(clause, "the connection of the function is dropped")
    await second.expect_closed(clause, "the session's other connection is dropped")


@case(
    "queries.nexus-reset-ends-the-session",
    clauses={"R7144-6.3-11": "queries.session-outlives-reset"},
    role=TARGET,
    needs=[*NEEDS, Feature.OPEN_ACCESS],
    destructive=True,
)
async def nexus_reset_ends_the_session(peer: Peer) -> None:
    """Behind I_T NEXUS RESET the session is gone at once, whatever Time2Retain was agreed on."""
    clause = "R7144-6.3-11"
    session = await after_nexus_reset(peer)
    await session.expect_closed("R7144-6.3-10")
    _, login = await peer.try_login(into=session)
    require_gone(login, session, clause, "at once")


@case(
    "queries.nexus-reset-is-a-loss",
    clauses={"R7144-6.3-09": "queries.loss-untold"},
    role=TARGET,
    needs=[*NEEDS, Feature.SCSI_DISK],
    destructive=True,
)
async def nexus_reset_is_a_loss(peer: Peer) -> None:
    """Behind I_T NEXUS RESET the nexus counts as lost: a unit attention tells the same initiator port of it."""
    clause = "R7144-6.3-09"
    session = await after_nexus_reset(peer)
    await session.expect_closed("R7144-6.3-10")
    again = await peer.login(LEVEL_2, isid=ISID)
    result = await again.test_unit_ready(clause)
    sense = result.sense
    told = result.status == 2 and sense is not None and sense.key == SenseKey.UNIT_ATTENTION
    seen = f"status {result.status:#04x}" if sense is None else f"{sense.key:x}/{sense.code:04x}"
    require(told, clause, "a unit attention tells of the loss", seen=seen)
