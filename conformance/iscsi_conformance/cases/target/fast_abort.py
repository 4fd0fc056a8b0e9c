"""TaskReporting=FastAbort: functions that end sets of tasks do not wait for data (RFC 7143 4.2.3.4, 4.2.3.5, 13.23, E.1)."""

from __future__ import annotations

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.connections import TUR
from iscsi_conformance.cases.target.fences import OTHER_ISID, attention_waits, fenced, waits_for_the_other
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, give_data, pending_write, rejects_among
from iscsi_conformance.recovery import acknowledge, withholding
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import ISID, two_connections
from iscsi_conformance.task_functions import carried_out, concluded, held_back, require_response
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_initiator.raw import Received
from iscsi_protocol.pdu import (
    NO_TAG,
    AsyncEvent,
    AsyncMessage,
    TaskFunction,
    TaskResponse,
)

FAST = (("TaskReporting", "FastAbort"),)
STANDARD = (("TaskReporting", "RFC3720"),)
NEEDS = (Feature.FAST_ABORT,)
WRITING = (*NEEDS, *WRITABLE)
SEVERAL = (*WRITING, Feature.MULTIPLE_CONNECTIONS)
COMPLETE = TaskResponse.FUNCTION_COMPLETE


async def fast(peer: Peer, isid: bytes = ISID) -> Session:
    """A session with FastAbort and without unsolicited data, its logical unit measured."""
    disk = await peer.disk([*FAST, *NO_UNSOLICITED], isid=isid)
    if disk.agreed("TaskReporting") != "FastAbort":
        raise Inconclusive(f"TaskReporting={disk.agreed('TaskReporting')} was agreed on")
    return disk


async def standard(peer: Peer, isid: bytes = OTHER_ISID) -> Session:
    """A session with the standard semantics and without unsolicited data, its logical unit measured."""
    return await peer.disk([*STANDARD, *NO_UNSOLICITED], isid=isid)


def events_of(seen: list[Received]) -> list[AsyncMessage]:
    """The messages that tasks of a logical unit were terminated (event 5)."""
    messages = [each.pdu for each in seen if isinstance(each.pdu, AsyncMessage)]
    return [each for each in messages if each.async_event == AsyncEvent.TASKS_TERMINATED]


async def ended(session: Session, function: TaskFunction, clause: str) -> None:
    """A function is answered with function complete, whatever data is outstanding."""
    answer = await concluded(session, session.manage_task(function), clause)
    require_response(answer, clause, COMPLETE, what="the function")


def stop(session: Session, message: AsyncMessage) -> None:
    """The NOP-Out that confirms a message of event 5 (11.9.1)."""
    session.ping(itt=NO_TAG, lun=message.lun)


@case("fast-abort.is-agreed-on", clauses={"R7143-4.2.3.4-01": "fast-abort.declined"}, role=TARGET, level=SHOULD)
async def is_agreed_on(peer: Peer) -> None:
    """FastAbort is agreed on where the initiator wants it before the others."""
    session = await peer.login([("TaskReporting", "FastAbort,ResponseFence,RFC3720")])
    agreed = session.agreed("TaskReporting")
    require(agreed == "FastAbort", "R7143-4.2.3.4-01", "TaskReporting=FastAbort was due", seen=agreed)


@case(
    "fast-abort.does-not-wait-for-data",
    clauses={"R7143-4.2.3.4-02": "fast-abort.agreed-on-for-show"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def does_not_wait_for_data(peer: Peer) -> None:
    """LOGICAL UNIT RESET is answered while an R2T is open, without its data."""
    disk = await fast(peer)
    await pending_write(disk)
    await ended(disk, TaskFunction.LOGICAL_UNIT_RESET, "R7143-4.2.3.4-02")


@case(
    "fast-abort.function-before-response",
    clauses={"R7143-4.2.3.4-09": "fast-abort.goes-on-behind-response"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def function_before_response(peer: Peer) -> None:
    """ABORT TASK SET has been carried out when it is answered: the data of a write brings no status any more."""
    clause = "R7143-4.2.3.4-09"
    disk = await fast(peer)
    write, r2t = await pending_write(disk)
    await ended(disk, TaskFunction.ABORT_TASK_SET, clause)
    give_data(disk, write, r2t)
    await disk.silence(clause, "nothing comes for an ended task", about=write.itt)


async def late_data(peer: Peer, function: TaskFunction, clause: str) -> None:
    """Data for an R2T of a task that the function ended is passed over: it brings no Reject and no end of the connection."""
    disk = await fast(peer)
    write, r2t = await pending_write(disk)
    await ended(disk, function, clause)
    give_data(disk, write, r2t)
    rejects = rejects_among(await aftermath(disk))
    require(not rejects, clause, "late data is not rejected", seen=[hex(reject.reason) for reject in rejects])
    require(not disk.raw.closed, clause, "late data does not end the connection")


@case(
    "fast-abort.late-data-is-taken",
    clauses={"R7143-4.2.3.4-10": "fast-abort.late-data-rejected"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def late_data_is_taken(peer: Peer) -> None:
    """The transfer tag of a write that ABORT TASK SET ended stays valid: its data does no harm."""
    await late_data(peer, TaskFunction.ABORT_TASK_SET, "R7143-4.2.3.4-10")


@case(
    "fast-abort.late-data-behind-reset",
    clauses={"R7143-E.1-08": "fast-abort.late-data-rejected"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def late_data_behind_reset(peer: Peer) -> None:
    """LOGICAL UNIT RESET leaves the transfer tags valid: data for them does no harm."""
    await late_data(peer, TaskFunction.LOGICAL_UNIT_RESET, "R7143-E.1-08")


@case(
    "fast-abort.waits-for-missing-commands",
    clauses={"R7143-4.2.3.4-07": "fast-abort.does-not-wait-for-commands"},
    role=TARGET,
    needs=NEEDS,
)
async def waits_for_missing_commands(peer: Peer) -> None:
    """ABORT TASK SET waits for a missing command with a lower CmdSN."""
    clause = "R7143-4.2.3.4-07"
    session = await peer.login(FAST)
    gap = session.raw.next_cmd_sn()
    request = session.manage_task(TaskFunction.ABORT_TASK_SET)
    await held_back(session, request, clause, "the function waits for the missing command")
    session.command(TUR, cmd_sn=gap)
    await concluded(session, request, clause)


@case(
    "fast-abort.others-gaps-do-not-count",
    clauses={"R7143-4.2.3.4-08": "fast-abort.waits-for-ever"},
    role=TARGET,
    level=SHOULD,
    needs=NEEDS,
    destructive=True,
)
async def others_gaps(peer: Peer) -> None:
    """A reset does not wait for missing commands of another session."""
    clause = "R7143-4.2.3.4-08"
    session, third = await peer.login(FAST, isid=ISID), await peer.login(FAST, isid=OTHER_ISID)
    gap = third.raw.next_cmd_sn()
    third.command(TUR)
    await third.alive()
    await ended(session, TaskFunction.LOGICAL_UNIT_RESET, clause)
    third.command(TUR, cmd_sn=gap)


# ---- who is told (4.2.3.4 d, 4.2.3.5) ----


@case(
    "fast-abort.third-party-is-told",
    clauses={"R7143-4.2.3.4-11": "fast-abort.nobody-is-told", "R7143-4.2.3.4-14": "fast-abort.other-lun"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def third_party_is_told(peer: Peer) -> None:
    """Another session with FastAbort whose write a reset ended is sent event 5 with the LUN."""
    disk, third = await fast(peer), await fast(peer, OTHER_ISID)
    write, _ = await pending_write(third)
    await ended(disk, TaskFunction.LOGICAL_UNIT_RESET, ALIVE)
    messages = events_of(await aftermath(third))
    require(messages, "R7143-4.2.3.4-11", "Asynchronous Message 5 was due")
    luns = {message.lun for message in messages}
    require(luns == {write.lun}, "R7143-4.2.3.4-14", f"LUN {write.lun.hex()} was due", seen=[lun.hex() for lun in luns])
    stop(third, messages[0])
    await third.alive()


@case(
    "fast-abort.other-connection-is-told",
    clauses={"R7143-4.2.3.4-12": "fast-abort.nobody-is-told"},
    role=TARGET,
    needs=SEVERAL,
    destructive=True,
)
async def other_connection_is_told(peer: Peer) -> None:
    """Another connection of the issuing session whose write a function ended is sent event 5."""
    clause = "R7143-4.2.3.4-12"
    first, second = await two_connections(peer, [*FAST, *NO_UNSOLICITED], disk=True)
    await pending_write(second)
    request = first.manage_task(TaskFunction.ABORT_TASK_SET)
    messages = events_of(await aftermath(second))
    require(messages, clause, "Asynchronous Message 5 was due on the connection of the write")
    stop(second, messages[0])
    await concluded(first, request, ALIVE)


@case(
    "fast-abort.told-for-a-standard-session",
    clauses={"R7143-4.2.3.5-01": "fast-abort.nobody-is-told"},
    role=TARGET,
    level=SHOULD,
    needs=WRITING,
    destructive=True,
)
async def told_for_standard(peer: Peer) -> None:
    """A reset of a session with standard semantics is told by event 5 to one with FastAbort whose write it ended."""
    clause = "R7143-4.2.3.5-01"
    disk, third = await standard(peer, ISID), await fast(peer, OTHER_ISID)
    await pending_write(third)
    await carried_out(disk, TaskFunction.LOGICAL_UNIT_RESET)
    require(events_of(await aftermath(third)), clause, "Asynchronous Message 5 was due")


@case(
    "fast-abort.lun-for-a-standard-session",
    clauses={"R7143-4.2.3.5-02": "fast-abort.other-lun"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def lun_for_standard(peer: Peer) -> None:
    """Event 5 on behalf of a session with standard semantics names the logical unit."""
    clause = "R7143-4.2.3.5-02"
    disk, third = await standard(peer, ISID), await fast(peer, OTHER_ISID)
    write, _ = await pending_write(third)
    await carried_out(disk, TaskFunction.LOGICAL_UNIT_RESET)
    messages = events_of(await aftermath(third))
    if not messages:
        raise Inconclusive("no Asynchronous Message 5 is sent for a session with standard semantics")
    luns = [message.lun.hex() for message in messages]
    require(set(luns) == {write.lun.hex()}, clause, f"LUN {write.lun.hex()} was due", seen=luns)


@case(
    "fast-abort.standard-session-is-not-told",
    clauses={"R7143-4.2.3.5-03": "fast-abort.tells-everybody"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def standard_is_not_told(peer: Peer) -> None:
    """A session with standard semantics whose write a FastAbort session's reset ended is sent no event 5."""
    clause = "R7143-4.2.3.5-03"
    disk, third = await fast(peer), await standard(peer)
    await pending_write(third)
    await ended(disk, TaskFunction.LOGICAL_UNIT_RESET, ALIVE)
    messages = events_of(await aftermath(third))
    require(not messages, clause, "no Asynchronous Message 5 without FastAbort", seen=len(messages))


# ---- the standard semantics, and fences ----


@case(
    "fast-abort.standard-is-the-default",
    clauses={"R7143-4.2.3.3-01": "fast-abort.always"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def standard_is_the_default(peer: Peer) -> None:
    """Where nothing was said of TaskReporting, ABORT TASK SET waits for the data of an open R2T."""
    clause = "R7143-4.2.3.3-01"
    disk = await peer.disk(NO_UNSOLICITED)
    write, r2t = await pending_write(disk)
    request = disk.manage_task(TaskFunction.ABORT_TASK_SET)
    await held_back(disk, request, clause, "the function waits for the data of an open R2T")
    give_data(disk, write, r2t)
    await concluded(disk, request, clause)


@case(
    "fast-abort.implies-fences",
    clauses={"R7143-13.23-04": "fast-abort.functions-are-not-fenced"},
    role=TARGET,
    needs=[*NEEDS, Feature.MULTIPLE_CONNECTIONS],
)
async def implies_fences(peer: Peer) -> None:
    """With FastAbort functions are fenced: the response waits for what is not acknowledged on another connection."""
    first, second = await fenced(peer, FAST)
    await waits_for_the_other(first, second, TaskFunction.ABORT_TASK_SET, "R7143-13.23-04")


@case(
    "fast-abort.fence-on-the-response",
    clauses={"R7143-4.2.3.4-15": "fast-abort.functions-are-not-fenced"},
    role=TARGET,
    needs=[*NEEDS, Feature.MULTIPLE_CONNECTIONS],
    destructive=True,
)
async def fence_on_the_response(peer: Peer) -> None:
    """The response to LOGICAL UNIT RESET with FastAbort is fenced."""
    first, second = await fenced(peer, FAST)
    await waits_for_the_other(first, second, TaskFunction.LOGICAL_UNIT_RESET, "R7143-4.2.3.4-15")


@case(
    "fast-abort.response-behind-acknowledgement",
    clauses={"R7143-4.2.3.4-18": "fast-abort.functions-are-not-fenced"},
    role=TARGET,
    needs=SEVERAL,
    destructive=True,
)
async def response_behind_acknowledgement(peer: Peer) -> None:
    """A function that ended another connection's write is not answered before event 5 was acknowledged there."""
    clause = "R7143-4.2.3.4-18"
    first, second = await two_connections(peer, [*FAST, *NO_UNSOLICITED], disk=True)
    await pending_write(second)
    with withholding(second):
        request = first.manage_task(TaskFunction.ABORT_TASK_SET)
        if not events_of(await aftermath(second)):
            raise Inconclusive("no Asynchronous Message 5 came")
        await held_back(first, request, clause, "the response waits for the acknowledgement")
    acknowledge(second)
    await concluded(first, request, clause)


@case(
    "fast-abort.third-partys-attention-is-fenced",
    clauses={"R7143-4.2.3.4-16": "fences.any-ping-acknowledges"},
    role=TARGET,
    needs=[*NEEDS, Feature.MULTIPLE_CONNECTIONS],
    destructive=True,
)
async def third_partys_attention(peer: Peer) -> None:
    """The unit attention that tells another session with FastAbort of a reset is fenced there."""
    issuing = await peer.login(FAST, isid=OTHER_ISID)
    await issuing.test_unit_ready(ALIVE)
    first, second = await fenced(peer, FAST)
    await attention_waits(first, second, issuing, "R7143-4.2.3.4-16")
