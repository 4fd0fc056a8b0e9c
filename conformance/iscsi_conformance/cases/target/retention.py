"""Sessions whose connections are gone: how long they are kept, and what is left of them (RFC 7143 6.3.5, 6.3.6, 7.5, 8.3).

All at recovery level 0, with one connection.
"""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.cases.target.login import OPEN, outcome
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import pending_write
from iscsi_conformance.recovery import drop, require_gone, retained, time2wait
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.task_functions import require_response
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_conformance.wire import Wire
from iscsi_protocol import serial
from iscsi_protocol.pdu import LoginResponse, NopIn, ScsiCommand, TaskFunction, TaskResponse
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey

ISID = bytes.fromhex("80e7a1000001")
OTHER_CID = 1
"""Of the connection that leads a session in the place of another: a CID has no meaning there."""
SHORT = (("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "1"))
LONG = (("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20"))
MARGIN = 1
"""Seconds by which a target may be late in forgetting."""

FAR_AWAY = 0x40000000
"""A CmdSN that no window of another session reaches."""

CLEARED_BY_PROTOCOL = 0x477F
"""SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT."""


async def outlived(session: Session) -> None:
    """The connection breaks, and the time passes for which the target keeps anything."""
    drop(session)
    await time2wait(session)
    await time2wait(session, retained(session) + MARGIN)


async def begin_continuation(peer: Peer, session: Session, clause: str) -> Wire:
    """A login into the session whose first request was taken, and that is not over."""
    wire = await peer.connect()
    wire.isid = session.isid
    begun = wire.login_request(wire.names(leading=False), tsih=session.tsih, transit=False, nsg=0)
    response = await wire.exchange_login(begun, clause)
    require(response.status_class == 0, clause, "the session is continued", seen=f"{response.status:04x}")
    return wire


@case(
    "retention.ends-with-time2retain",
    clauses={"R7143-8.3-03": "retention.for-an-hour"},
    role=TARGET,
    needs=OPEN,
)
async def ends_with_time2retain(peer: Peer) -> None:
    """A session without connections is freed Time2Retain after Time2Wait: its TSIH is refused with 020a then."""
    session = await peer.login(SHORT, isid=ISID)
    await outlived(session)
    _, login = await peer.try_login(into=session)
    require_gone(login, session, "R7143-8.3-03", "behind Time2Retain")


@case(
    "retention.lasts-for-time2retain",
    clauses={"R7143-13.16-02": "retention.for-an-instant", "R7143-7.5.1-01": "retention.default-of-its-own"},
    role=TARGET,
    needs=OPEN,
)
async def lasts_for_time2retain(peer: Peer) -> None:
    """A session whose connection broke can be continued at once, and shortly before the agreed Time2Retain is over."""
    session = await peer.login([("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "4")], isid=ISID)
    seconds = retained(session)
    drop(session)
    await time2wait(session)
    session = await peer.join(session, 0, clause="R7143-13.16-02")
    drop(session)
    await time2wait(session)
    await time2wait(session, max(0, seconds - MARGIN))
    session = await peer.join(session, 0, clause="R7143-7.5.1-01")
    await session.alive("R7143-7.5.1-01")


@case(
    "retention.failed-session-can-be-continued",
    clauses={"R7143-8.3.4-06": "retention.gone-with-the-connection"},
    role=TARGET,
    needs=OPEN,
)
async def failed_session(peer: Peer) -> None:
    """The loss of its last connection leaves a session FAILED: it goes on with its CmdSN once a connection is back."""
    clause = "R7143-8.3.4-06"
    session = await peer.login(LONG, isid=ISID)
    await session.test_unit_ready(ALIVE)
    retained(session)
    drop(session)
    await time2wait(session)
    again = await peer.join(session, 0, clause=clause)
    outcome = await again.test_unit_ready(clause)
    due = serial.add(outcome.command.cmd_sn)
    require(outcome.ending.exp_cmd_sn == due, clause, f"ExpCmdSN {due} was due", seen=outcome.ending.exp_cmd_sn)


@case(
    "retention.continuation-can-be-tried-again",
    clauses={"R7143-8.3.4-08": "retention.one-attempt-only"},
    role=TARGET,
    needs=OPEN,
)
async def tried_again(peer: Peer) -> None:
    """A login into a failed session that breaks off leaves it FAILED: the next attempt continues it."""
    clause = "R7143-8.3.4-08"
    session = await peer.login(LONG, isid=ISID)
    retained(session)
    drop(session)
    await time2wait(session)
    (await begin_continuation(peer, session, clause)).raw.abort()
    await (await peer.join(session, 0, clause=clause)).alive(clause)


@case(
    "retention.reinstatement-frees-failed-session",
    clauses={"R7143-8.3.4-07": "retention.reinstated-beside"},
    role=TARGET,
    needs=OPEN,
)
async def reinstatement_frees(peer: Peer) -> None:
    """Session reinstatement frees a failed session: its TSIH is refused with 020a, and the new session lives."""
    clause = "R7143-8.3.4-07"
    session = await peer.login(LONG, isid=ISID)
    retained(session)
    drop(session)
    await time2wait(session)
    new = await peer.login(LONG, isid=ISID, cid=OTHER_CID, clause=clause)
    if new.tsih == session.tsih:
        raise Inconclusive("the new session has the TSIH of the old one")
    _, login = await peer.try_login(into=session)
    require_gone(login, session, clause, "for the old TSIH")
    await new.alive(clause)


@case(
    "retention.reinstatement-during-continuation",
    clauses={"R7143-8.3.4-10": "retention.reinstated-beside"},
    role=TARGET,
    needs=OPEN,
)
async def reinstatement_during_continuation(peer: Peer) -> None:
    """Session reinstatement while a login into the failed session is under way frees it: that login does not succeed."""
    clause = "R7143-8.3.4-10"
    session = await peer.login(LONG, isid=ISID)
    retained(session)
    drop(session)
    await time2wait(session)
    late = await begin_continuation(peer, session, ALIVE)
    new = await peer.login(LONG, isid=ISID, cid=OTHER_CID, clause=clause)
    late.send(late.login_request(tsih=session.tsih))
    received = await late.receive_or_none()
    response = None if received is None else received.pdu
    joined = isinstance(response, LoginResponse) and not response.status and response.tsih == session.tsih
    require(not joined, clause, "nobody gets into a session that was reinstated")
    await new.alive(clause)


@case(
    "retention.new-session-counts-afresh",
    clauses={"R7143-E.1-02": "retention.old-counters-stay", "R7143-4.2.8-01": "retention.old-digests-stay"},
    role=TARGET,
    needs=[*OPEN, Feature.HEADER_DIGEST],
)
async def counts_afresh(peer: Peer) -> None:
    """A session in the place of another one has the CmdSN of its own login, and only the digests that it agreed on."""
    old = await peer.login([("HeaderDigest", "CRC32C"), *LONG], isid=ISID)
    await old.test_unit_ready(ALIVE)
    drop(old)
    await time2wait(old)
    wire = await peer.connect()
    wire.raw.cmd_sn = FAR_AWAY
    login = await wire.raw.login(wire.names(), isid=ISID, timeout=wire.response_time)
    if not login.full_feature:
        raise Inconclusive(f"no new session ({outcome(login)})")
    new = Session(wire.raw, login, wire, peer.profile.lun)
    for _ in range(2):
        ping = new.ping()
        await new.expect(NopIn, "R7143-4.2.8-01", "an answer without the old session's digests", itt=ping.itt)
    ending = (await new.test_unit_ready("R7143-E.1-02")).ending
    due = FAR_AWAY + 1
    require(ending.exp_cmd_sn == due, "R7143-E.1-02", f"ExpCmdSN {due} was due", seen=ending.exp_cmd_sn)


async def write_left_behind(peer: Peer, *, level: str = "0") -> tuple[Session, ScsiCommand]:
    """A session whose connection broke while a write waited for its data."""
    disk = await peer.disk([*NO_UNSOLICITED, *LONG, ("ErrorRecoveryLevel", level)], isid=ISID)
    retained(disk)
    write, _ = await pending_write(disk)
    drop(disk)
    await time2wait(disk)
    return disk, write


@case(
    "retention.cleared-tasks-are-told",
    clauses={"R7143-11.14.5-02": "retention.no-word-of-cleared-tasks"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def cleared_tasks_are_told(peer: Peer) -> None:
    """A write that ended with its reinstated connection is told by a unit attention, 47h/7Fh, on the next command."""
    clause = "R7143-11.14.5-02"
    disk, _ = await write_left_behind(peer)
    again = await peer.join(disk, 0)
    first = await again.test_unit_ready(clause)
    sense = first.sense
    code = None if sense is None else (sense.key, sense.code)
    told = code == (SenseKey.UNIT_ATTENTION, CLEARED_BY_PROTOCOL)
    require(first.status == 2 and told, clause, "CHECK CONDITION with 6/477f was due", seen=code or first.status)
    second = await again.test_unit_ready(clause)
    require(second.status == 0, clause, "it is told once", seen=f"status {second.status:#04x}")


@case(
    "retention.cleared-tasks-have-no-status",
    clauses={"R7143-7.6-02": "retention.status-of-cleared-task"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def cleared_tasks_have_no_status(peer: Peer) -> None:
    """Of a write that ended with its reinstated connection no status is sent, on the new one either."""
    disk, write = await write_left_behind(peer)
    again = await peer.join(disk, 0)
    await again.silence("R7143-7.6-02", "a task that was ended has no response", about=write.itt)


@case(
    "retention.tag-of-a-cleared-task-is-free",
    clauses={"R7143-11.14-10": "retention.old-tasks-stay"},
    role=TARGET,
    needs=WRITABLE,
    destructive=True,
)
async def tag_is_free(peer: Peer) -> None:
    """Connection reinstatement below level 2 closes the old one: its write is gone, and its task tag can be used again."""
    clause = "R7143-11.14-10"
    disk, write = await write_left_behind(peer)
    again = await peer.join(disk, 0)
    abort = again.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=write.itt, ref_cmd_sn=write.cmd_sn)
    answer = await again.task_response(abort, clause)
    require_response(answer, clause, TaskResponse.TASK_DOES_NOT_EXIST, what="the abort of a task that is gone")
    command = again.command(opcodes.TEST_UNIT_READY.build(), itt=write.itt)
    await again.result(command, clause)
