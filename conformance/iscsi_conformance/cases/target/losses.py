"""The loss of one connection of several, its cleanup, and the ways back (RFC 7143 6.3.4, 6.3.5, 7.1.4, 7.14, 8.1.2, 8.2)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.connections import CLEARED_BY_PROTOCOL, SEVERAL, SEVERAL_WRITABLE
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, give_data, pending_write
from iscsi_conformance.recovery import LEVEL_2, drop, require_gone, retained, time2wait
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import ISID, TWO, close_connection, two_connections
from iscsi_conformance.task_functions import require_response
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol.pdu import (
    AsyncEvent,
    AsyncMessage,
    LogoutReason,
    LogoutResponseCode,
    ScsiResponse,
    TaskFunction,
    TaskResponse,
)
from iscsi_protocol.scsi.codes import SenseKey

QUICK = (("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "1"))
LONG = (("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20"))
LEVEL_0 = (("ErrorRecoveryLevel", "0"),)
MARGIN = 1


async def one_of_two_lost(peer: Peer, *keys: tuple[str, str], disk: bool = False) -> tuple[Session, Session]:
    """A session of two connections, the second of which broke; Time2Wait is over.

    Raises Inconclusive where the target gives the whole session up, as it may (7.14).
    """
    first, second = await two_connections(peer, [*keys, *LEVEL_0], disk=disk)
    retained(first)
    drop(second)
    await time2wait(first)
    await aftermath(first)
    if first.raw.closed:
        raise Inconclusive("the target gives the session up when it loses one connection")
    return first, second


async def whose_other_failed_to_log_out(peer: Peer) -> Session:
    """A connection beside which CID 1 waits for its cleanup, its own logout for recovery having failed at level 0."""
    first, second = await two_connections(peer, [*LONG, *LEVEL_0])
    await first.test_unit_ready(ALIVE)
    answer = await second.logout("R7143-11.15.1-03", LogoutReason.RECOVERY, cid=1)
    if answer.response == LogoutResponseCode.SUCCESS:
        raise Inconclusive("the logout for recovery succeeds at level 0")
    if not answer.time2retain:
        raise Inconclusive("the target keeps nothing for a new logout")
    second.raw.close()
    await time2wait(first, answer.time2wait)
    return first


@case(
    "losses.announced-on-another-connection",
    clauses={"R7143-7.1.4.3-06": "losses.unannounced"},
    role=TARGET,
    level=SHOULD,
    needs=SEVERAL,
)
async def announced(peer: Peer) -> None:
    """The loss of a connection is announced on another one: Asynchronous Message 2 with its CID."""
    clause = "R7143-7.1.4.3-06"
    first, second = await two_connections(peer, LONG)
    drop(second)
    received = await first.receive(clause, "Asynchronous Message 2")
    pdu, seen = received.pdu, one_line(received.raw)
    told = isinstance(pdu, AsyncMessage) and pdu.async_event == AsyncEvent.CONNECTION_DROP and pdu.parameter1 == 1
    require(told, clause, "Asynchronous Message 2 about CID 1", seen=seen)


@case(
    "losses.session-goes-on",
    clauses={"R7143-7.14-03": "losses.no-way-back"},
    role=TARGET,
    needs=SEVERAL,
)
async def session_goes_on(peer: Peer) -> None:
    """A session that lost one connection goes on: that one can be logged out, and another one joins in its place."""
    clause = "R7143-7.14-03"
    first, _ = await one_of_two_lost(peer, *LONG)
    await close_connection(first, 1, clause)
    third = await peer.join(first, 2, clause=clause)
    await third.test_unit_ready(clause)


@case(
    "losses.cleaned-up-by-logout",
    clauses={"R7143-8.2.2-02": "losses.unknown-when-lost", "R7143-8.2-02": "losses.never-clean"},
    role=TARGET,
    needs=SEVERAL,
)
async def cleaned_up_by_logout(peer: Peer) -> None:
    """A lost connection can be logged out on another one, and is gone then: a second logout does not find it."""
    first, _ = await one_of_two_lost(peer, *LONG)
    answer = await first.logout("R7143-8.2.2-02", LogoutReason.CLOSE_CONNECTION, cid=1)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-8.2.2-02", "the logout of the lost connection succeeds", seen=answer.response)
    answer = await first.logout("R7143-8.2-02", LogoutReason.CLOSE_CONNECTION, cid=1)
    gone = answer.response == LogoutResponseCode.CID_NOT_FOUND
    require(gone, "R7143-8.2-02", "response 1 was due once the connection is gone", seen=answer.response)


@case(
    "losses.cleaned-up-by-reinstatement",
    clauses={"R7143-8.2.2-04": "losses.one-too-many"},
    role=TARGET,
    needs=SEVERAL,
)
async def cleaned_up_by_reinstatement(peer: Peer) -> None:
    """A login with the CID of a lost connection takes its place, though there is room for no further one."""
    clause = "R7143-8.2.2-04"
    first, _ = await one_of_two_lost(peer, *LONG)
    await first.test_unit_ready(ALIVE)
    again = await peer.join(first, 1, clause=clause)
    await again.test_unit_ready(clause)
    await first.test_unit_ready(clause)


@case(
    "losses.recovery-logout-fails-below-level-2",
    clauses={"R7143-8.2.2-03": "losses.failed-logout-forgets", "R7143-11.15.1-03": "losses.pretends-recovery"},
    role=TARGET,
    needs=SEVERAL,
)
async def recovery_logout_fails(peer: Peer) -> None:
    """A logout of a lost connection for recovery fails at level 0, and it can be logged out otherwise after that."""
    first, _ = await one_of_two_lost(peer, *LONG)
    answer = await first.logout("R7143-11.15.1-03", LogoutReason.RECOVERY, cid=1)
    refused = answer.response == LogoutResponseCode.RECOVERY_NOT_SUPPORTED
    require(refused, "R7143-11.15.1-03", "response 2 was due", seen=answer.response)
    await time2wait(first, answer.time2wait)
    answer = await first.logout("R7143-8.2.2-03", LogoutReason.CLOSE_CONNECTION, cid=1)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-8.2.2-03", "the cleanup can be tried again", seen=answer.response)


@case(
    "losses.failed-logout-of-its-own",
    clauses={"R7143-8.1.2-14": "losses.nothing-to-clean-up"},
    role=TARGET,
    needs=SEVERAL,
)
async def failed_logout_of_its_own(peer: Peer) -> None:
    """A connection whose own logout for recovery failed waits for its cleanup: it is found by CID on another one."""
    first = await whose_other_failed_to_log_out(peer)
    answer = await first.logout("R7143-8.1.2-14", LogoutReason.CLOSE_CONNECTION, cid=1)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-8.1.2-14", "the connection waits for its cleanup", seen=answer.response)


@case(
    "losses.failed-logout-can-be-reinstated",
    clauses={"R7143-8.1-06": "losses.failed-logout-blocks"},
    role=TARGET,
    needs=SEVERAL,
)
async def failed_logout_can_be_reinstated(peer: Peer) -> None:
    """A connection whose own logout for recovery failed waits for its cleanup: a login with its CID takes its place."""
    clause = "R7143-8.1-06"
    first = await whose_other_failed_to_log_out(peer)
    again = await peer.join(first, 1, clause=clause)
    await again.test_unit_ready(clause)


@case(
    "losses.state-times-out",
    clauses={"R7143-8.2-03": "losses.kept-for-an-hour"},
    role=TARGET,
    needs=SEVERAL,
)
async def state_times_out(peer: Peer) -> None:
    """The state of a lost connection is freed Time2Retain after Time2Wait: a logout does not find its CID any more."""
    clause = "R7143-8.2-03"
    first, _ = await one_of_two_lost(peer, *QUICK)
    await time2wait(first, retained(first) + MARGIN)
    answer = await first.logout(clause, LogoutReason.CLOSE_CONNECTION, cid=1)
    gone = answer.response == LogoutResponseCode.CID_NOT_FOUND
    require(gone, clause, "response 1 was due behind Time2Retain", seen=answer.response)


@case(
    "losses.tasks-time-out",
    clauses={"R7143-8.2.2-01": "losses.kept-for-an-hour"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def tasks_time_out(peer: Peer) -> None:
    """A write of a lost connection ends when its state times out; the next command is told by 47h/7Fh."""
    clause = "R7143-8.2.2-01"
    first, second = await two_connections(peer, [*QUICK, *NO_UNSOLICITED, *LEVEL_0], disk=True)
    seconds = retained(first)
    await pending_write(second)
    drop(second)
    await time2wait(first)
    await time2wait(first, seconds + MARGIN)
    result = await first.test_unit_ready(clause)
    sense = result.sense
    code = None if sense is None else (sense.key, sense.code)
    told = result.status == 2 and code == (SenseKey.UNIT_ATTENTION, CLEARED_BY_PROTOCOL)
    require(told, clause, "CHECK CONDITION with 6/477f was due", seen=code or result.status)


@case(
    "losses.session-recovery",
    clauses={"R7143-7.1.4.4-02": "losses.session-recovered-beside"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def session_recovery(peer: Peer) -> None:
    """Session recovery closes all connections, lost or not, and ends all tasks."""
    clause = "R7143-7.1.4.4-02"
    first, second = await two_connections(peer, [*LONG, *NO_UNSOLICITED, *LEVEL_0], disk=True)
    write, _ = await pending_write(first)
    drop(second)
    new = await peer.login([*TWO, *LONG], isid=ISID, cid=9, clause=clause)
    await first.expect_closed(clause, "the old session's other connection is closed")
    await new.silence(clause, "a task of the old session has no response", about=write.itt)


@case(
    "losses.session-recovery-comes-first",
    clauses={"R7143-7.14-04": "losses.session-recovered-beside"},
    role=TARGET,
    needs=SEVERAL,
)
async def session_recovery_comes_first(peer: Peer) -> None:
    """Session recovery goes before connection recovery: behind it the old session's TSIH brings no connection in."""
    clause = "R7143-7.14-04"
    first, _ = await one_of_two_lost(peer, *LONG)
    new = await peer.login([*TWO, *LONG], isid=ISID, cid=9, clause=clause)
    if new.tsih == first.tsih:
        raise Inconclusive("the new session has the TSIH of the old one")
    _, login = await peer.try_login(into=first, cid=1)
    require_gone(login, first, clause, "for the session that was given up")
    await new.alive(clause)


@case(
    "losses.one-more-for-recovery",
    clauses={"R7143-6.3.4-02": "losses.no-second-connection"},
    role=TARGET,
    needs=[Feature.ERROR_RECOVERY_LEVEL_2],
)
async def one_more_for_recovery(peer: Peer) -> None:
    """At level 2 a connection can be reinstated where the session has room for one only."""
    clause = "R7143-6.3.4-02"
    session = await peer.login([("MaxConnections", "1"), *LEVEL_2], isid=ISID)
    again = await peer.join(session, 0, clause=clause)
    await again.test_unit_ready(clause)


@case(
    "losses.all-come-back",
    clauses={"R7143-6.3.6-01": "losses.last-one-only"},
    role=TARGET,
    needs=SEVERAL,
)
async def all_come_back(peer: Peer) -> None:
    """A session that lost both connections is continued by one, and takes the other one back as well."""
    clause = "R7143-6.3.6-01"
    first, second = await two_connections(peer, [*LONG, *LEVEL_0])
    retained(first)
    drop(first)
    drop(second)
    await time2wait(first)
    one = await peer.join(first, 0, clause=clause)
    await one.test_unit_ready(clause)
    other = await peer.join(first, 1, clause=clause)
    await other.test_unit_ready(clause)


@case(
    "losses.tasks-end-with-the-logout",
    clauses={"R7143-7.6-01": "losses.tasks-of-the-lost-stay"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def tasks_end_with_the_logout(peer: Peer) -> None:
    """A write of a lost connection that was logged out is gone, and the numbers of the other connection go on."""
    clause = "R7143-7.6-01"
    first, second = await two_connections(peer, [*LONG, *NO_UNSOLICITED, *LEVEL_0], disk=True)
    kept, r2t = await pending_write(first)
    lost_write, _ = await pending_write(second)
    drop(second)
    await time2wait(first)
    await close_connection(first, 1, ALIVE)
    abort = first.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=lost_write.itt, ref_cmd_sn=lost_write.cmd_sn)
    answer = await first.task_response(abort, clause)
    require_response(answer, clause, TaskResponse.TASK_DOES_NOT_EXIST, what="the abort of a task that is gone")
    give_data(first, kept, r2t)
    await first.answer(ScsiResponse, kept.itt, clause)
