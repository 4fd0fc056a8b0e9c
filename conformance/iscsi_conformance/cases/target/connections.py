"""Sessions of several connections: how they begin, what goes over which, and how they are logged out (RFC 7143 4.2, 6.3.1,
8.1.2, 11.14).
"""

from __future__ import annotations

from typing import Any

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, give_data, pending_write, response_among
from iscsi_conformance.session import ALIVE
from iscsi_conformance.several import ISID, close_connection, nothing_on, two_connections
from iscsi_conformance.task_functions import require_response
from iscsi_conformance.transfer import pattern, read_command, write_command
from iscsi_conformance.verdict import Failed, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    R2T,
    LogoutReason,
    LogoutResponseCode,
    NopIn,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
    TaskResponse,
    TextResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey

SEVERAL = (Feature.MULTIPLE_CONNECTIONS,)
SEVERAL_WRITABLE = (*SEVERAL, *WRITABLE)
TUR = opcodes.TEST_UNIT_READY.build()
CLEARED_BY_PROTOCOL = 0x477F
"""SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT."""


@case(
    "connections.another-one-joins",
    clauses={"R7143-6.3.1-04": "connections.takes-the-first-ones-place"},
    touches=["R7143-4.2.1-02"],
    role=TARGET,
    needs=SEVERAL,
)
async def another_one_joins(peer: Peer) -> None:
    """A login with the session's ISID and TSIH and a new CID adds a connection; both work."""
    clause = "R7143-6.3.1-04"
    first, second = await two_connections(peer, clause=clause)
    await second.test_unit_ready(clause)
    await first.test_unit_ready(clause)


@case(
    "connections.through-another-portal",
    clauses={"R7143-6.3.1-04": "connections.takes-the-first-ones-place"},
    role=TARGET,
    needs=[*SEVERAL, Feature.GROUP_PORTAL],
)
async def through_another_portal(peer: Peer) -> None:
    """A connection through another portal of the same group joins the session."""
    clause = "R7143-6.3.1-04"
    first = await peer.login([("MaxConnections", "2")], isid=ISID)
    second = await peer.join(first, 1, portal=peer.group_portal, clause=clause)
    await second.test_unit_ready(clause)
    await first.test_unit_ready(clause)


@case(
    "connections.as-many-as-agreed",
    clauses={"R7143-6.3.1-04": "connections.two-at-most"},
    role=TARGET,
    needs=SEVERAL,
)
async def as_many_as_agreed(peer: Peer) -> None:
    """As many connections join as were agreed on, up to 4, and each of them works."""
    clause = "R7143-6.3.1-04"
    first, second = await two_connections(peer, count=4)
    agreed = min(4, first.agreed_number("MaxConnections"))
    session = [first, second, *[await peer.join(first, cid, clause=clause) for cid in range(2, agreed)]]
    for connection in session:
        await connection.test_unit_ready(clause)


@case(
    "connections.read-stays-on-its-connection",
    clauses={"R7143-4.2.5.1-02": "connections.data-goes-elsewhere"},
    role=TARGET,
    needs=[*SEVERAL, Feature.SCSI_DISK],
)
async def read_stays(peer: Peer) -> None:
    """Data and status of reads on two connections at once come on the connection of their command."""
    clause = "R7143-4.2.5.1-02"
    first, second = await two_connections(peer, disk=True)
    here, there = read_command(first, 8), read_command(second, 8)
    for session, command in ((second, there), (first, here)):
        outcome = await session.result(command, clause)
        whole = len(outcome.data) == command.expected_data_transfer_length
        require(outcome.status == 0 and whole, clause, "the data comes there", seen=f"{len(outcome.data)} bytes")
    await nothing_on(first, there.itt, clause, "nothing of the second connection's read comes here")
    await nothing_on(second, here.itt, clause, "nothing of the first connection's read comes here")


@case(
    "connections.write-stays-on-its-connection",
    clauses={"R7143-4.2.5.1-04": "connections.r2t-goes-elsewhere"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def write_stays(peer: Peer) -> None:
    """R2Ts and status of writes on two connections at once come on the connection of their command."""
    clause = "R7143-4.2.5.1-04"
    first, second = await two_connections(peer, NO_UNSOLICITED, disk=True)
    data = pattern(2 * first.block_size)
    here, there = write_command(first, data), write_command(second, data, 8)
    await nothing_on(first, there.itt, clause, "nothing of the second connection's write comes here")
    for session, command in ((second, there), (first, here)):
        outcome = await session.result(command, clause, write_data=data)
        require(outcome.status == 0, clause, "the write ends there", seen=f"status {outcome.status:#04x}")
    await nothing_on(first, there.itt, clause, "nothing of the second connection's write comes here")


@case(
    "connections.other-requests-stay",
    clauses={"R7143-4.2.5.1-01": "connections.functions-answered-elsewhere"},
    role=TARGET,
    needs=SEVERAL,
)
async def other_requests_stay(peer: Peer) -> None:
    """Pings, task management and text are answered on the connection on which they were sent."""
    clause = "R7143-4.2.5.1-01"
    first, second = await two_connections(peer)
    unknown: dict[str, Any] = {"referenced_task_tag": 0x7777, "ref_cmd_sn": first.raw.cmd_sn}
    for session, other in ((second, first), (first, second)):
        ping = session.ping()
        function = session.manage_task(TaskFunction.ABORT_TASK, **unknown)
        await session.answer(NopIn, ping.itt, clause)
        await session.answer(TaskManagementResponse, function.itt, clause)
        for request in (ping, function):
            await nothing_on(other, request.itt, clause, "it is not answered on another connection")


@case(
    "connections.commands-run-in-order",
    clauses={"R7143-4.2.2.1-07": "connections.each-in-its-own-order"},
    role=TARGET,
    needs=SEVERAL,
)
async def commands_run_in_order(peer: Peer) -> None:
    """A command waits for one with a lower CmdSN, whichever connection that one comes on."""
    clause = "R7143-4.2.2.1-07"
    first, second = await two_connections(peer)
    gap = first.raw.next_cmd_sn()
    later = first.command(TUR)
    await first.silence(clause, "the command behind the gap waits", about=later.itt)
    missing = second.command(TUR, cmd_sn=gap)
    await second.result(missing, clause)
    await first.result(later, clause)


@case(
    "connections.one-window-for-all",
    clauses={"R7143-4.2.2.1-18": "connections.window-of-its-own", "R7143-4.2.2.1-09": "connections.counts-its-own-gap"},
    role=TARGET,
    needs=SEVERAL,
)
async def one_window(peer: Peer) -> None:
    """ExpCmdSN counts the session's commands, and is told alike on both connections, behind a gap as well."""
    first, second = await two_connections(peer)
    for session in (first, second, second, first):
        ending = (await session.test_unit_ready("R7143-4.2.2.1-18")).ending
        due = session.raw.cmd_sn
        require(ending.exp_cmd_sn == due, "R7143-4.2.2.1-18", f"ExpCmdSN {due} was due", seen=ending.exp_cmd_sn)
    gap = first.raw.next_cmd_sn()
    later = first.command(TUR)
    await first.alive()
    answer = await second.answer(NopIn, second.ping().itt, ALIVE)
    require(answer.exp_cmd_sn == gap, "R7143-4.2.2.1-09", f"ExpCmdSN stays at {gap}", seen=answer.exp_cmd_sn)
    await second.result(second.command(TUR, cmd_sn=gap), "R7143-4.2.2.1-09")
    await first.result(later, "R7143-4.2.2.1-09")


@case(
    "connections.each-has-status-numbers",
    clauses={"R7143-4.2.2.2-01": "connections.one-status-count"},
    role=TARGET,
    needs=SEVERAL,
)
async def each_has_status_numbers(peer: Peer) -> None:
    """StatSN is counted for each connection: what goes on on one does not move the other's."""
    clause = "R7143-4.2.2.2-01"
    first, second = await two_connections(peer)
    before = (await second.test_unit_ready(clause)).ending.stat_sn
    for _ in range(3):
        await first.test_unit_ready(clause)
    after = (await second.test_unit_ready(clause)).ending.stat_sn
    due = serial.add(before)
    require(after == due, clause, f"StatSN {due} was due", seen=after)


@case(
    "connections.keys-of-one-connection",
    clauses={"R7143-13.1-02": "connections.digests-of-the-first"},
    role=TARGET,
    needs=[*SEVERAL, Feature.HEADER_DIGEST],
)
async def keys_of_one_connection(peer: Peer) -> None:
    """Digests are agreed on for each connection: one with and one without them work in one session."""
    clause = "R7143-13.1-02"
    first, second = await two_connections(peer, [("HeaderDigest", "CRC32C")], second=[("HeaderDigest", "None")])
    for _ in range(2):
        ping = second.ping()
        await second.expect(NopIn, clause, "an answer without header digest", itt=ping.itt)
    first.ping()
    raw = (await first.receive(clause, "the answer to a ping")).raw
    good = raw.header_digest and not raw.header_digest_error
    require(good, clause, "an answer with header digest on the first connection")


@case(
    "connections.join-leaves-tasks-alone",
    clauses={"R7143-E.1-06": "connections.join-clears-tasks"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def join_leaves_tasks_alone(peer: Peer) -> None:
    """A write goes on on its connection while another connection joins the session."""
    clause = "R7143-E.1-06"
    first = await peer.disk([("MaxConnections", "2"), *NO_UNSOLICITED], isid=ISID)
    write, r2t = await pending_write(first)
    second = await peer.join(first, 1)
    give_data(first, write, r2t)
    response = await first.answer(ScsiResponse, write.itt, clause)
    require(response.status == 0, clause, "the write ends with GOOD", seen=f"status {response.status:#04x}")
    await second.alive()


# ---- logout ----


@case(
    "connections.one-is-logged-out",
    clauses={
        "R7143-8.1.2-09": "connections.logout-unanswered",
        "R7143-8.1.2-11": "connections.stays-behind-logout",
        "R7143-E.1-03": "connections.logout-restarts-numbers",
    },
    role=TARGET,
    needs=SEVERAL,
)
async def one_is_logged_out(peer: Peer) -> None:
    """A logout of one connection closes it, and the other goes on with the session's CmdSN."""
    first, second = await two_connections(peer)
    answer = await second.logout("R7143-8.1.2-09", LogoutReason.CLOSE_CONNECTION, cid=1)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-8.1.2-09", "response 0 was due", seen=answer.response)
    await second.expect_closed("R7143-8.1.2-11")
    ending = (await first.test_unit_ready("R7143-E.1-03")).ending
    due = first.raw.cmd_sn
    require(ending.exp_cmd_sn == due, "R7143-E.1-03", f"ExpCmdSN {due} was due", seen=ending.exp_cmd_sn)


@case(
    "connections.cid-can-be-used-again",
    clauses={"R7143-11.15-01": "connections.logged-out-for-show"},
    role=TARGET,
    needs=SEVERAL,
)
async def cid_again(peer: Peer) -> None:
    """Behind the logout of one of two connections there is room for another one in its place."""
    clause = "R7143-11.15-01"
    first, second = await two_connections(peer)
    await close_connection(second, 1, clause)
    await second.expect_closed(clause)
    third = await peer.join(first, 2, clause=clause)
    await third.test_unit_ready(clause)
    await first.test_unit_ready(clause)


@case(
    "connections.leading-one-is-logged-out",
    clauses={"R7143-E.1-03": "connections.ends-with-the-leading-one"},
    role=TARGET,
    needs=SEVERAL,
)
async def leading_one_is_logged_out(peer: Peer) -> None:
    """The session goes on when its first connection was logged out."""
    clause = "R7143-E.1-03"
    first, second = await two_connections(peer)
    await close_connection(first, 0, clause)
    await first.expect_closed(clause)
    await second.test_unit_ready(clause)


@case(
    "connections.logout-ends-tasks-of-its-connection",
    clauses={
        "R7143-11.14.5-01": "connections.logout-leaves-tasks",
        "R7143-E.1-03": "connections.logout-ends-all-tasks",
    },
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def logout_ends_tasks(peer: Peer) -> None:
    """The logout of one connection ends its write; a write of the other one goes on."""
    first, second = await two_connections(peer, NO_UNSOLICITED, disk=True)
    kept, r2t = await pending_write(first)
    ended, _ = await pending_write(second)
    await close_connection(second, 1, ALIVE)
    abort = first.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=ended.itt, ref_cmd_sn=ended.cmd_sn)
    answer = await first.task_response(abort, "R7143-11.14.5-01")
    require_response(answer, "R7143-11.14.5-01", TaskResponse.TASK_DOES_NOT_EXIST, what="the abort of an ended task")
    give_data(first, kept, r2t)
    await first.answer(ScsiResponse, kept.itt, "R7143-E.1-03")  # GOOD, or a unit attention that tells of the other


@case(
    "connections.cleared-tasks-are-told-elsewhere",
    clauses={"R7143-11.14.5-02": "connections.cleared-untold"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def cleared_told_elsewhere(peer: Peer) -> None:
    """A write that ended with its logged-out connection is told by 47h/7Fh to the next command on another connection."""
    clause = "R7143-11.14.5-02"
    first, second = await two_connections(peer, NO_UNSOLICITED, disk=True)
    await pending_write(second)
    await close_connection(second, 1, ALIVE)
    outcome = await first.test_unit_ready(clause)
    sense = outcome.sense
    code = None if sense is None else (sense.key, sense.code)
    told = outcome.status == 2 and code == (SenseKey.UNIT_ATTENTION, CLEARED_BY_PROTOCOL)
    require(told, clause, "CHECK CONDITION with 6/477f was due", seen=code or outcome.status)


@case(
    "connections.session-logout-closes-all",
    clauses={"R7143-8.1.2-08": "connections.session-logout-closes-one"},
    role=TARGET,
    needs=SEVERAL,
)
async def session_logout_closes_all(peer: Peer) -> None:
    """A logout of the session on one connection closes the other one too."""
    clause = "R7143-8.1.2-08"
    first, second = await two_connections(peer)
    answer = await second.logout(clause, LogoutReason.CLOSE_SESSION, cid=1)
    require(answer.response == LogoutResponseCode.SUCCESS, clause, "response 0 was due", seen=answer.response)
    await first.expect_closed(clause, "the session's other connection is closed")
    await second.expect_closed(clause)


@case(
    "connections.session-logout-ends-all-tasks",
    clauses={"R7143-7.6-01": "connections.session-logout-closes-one"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def session_logout_ends_all_tasks(peer: Peer) -> None:
    """A logout of the session on one connection ends the write of another one, whose data brings no status."""
    clause = "R7143-7.6-01"
    first, second = await two_connections(peer, NO_UNSOLICITED, disk=True)
    write, r2t = await pending_write(first)
    await second.logout(clause, LogoutReason.CLOSE_SESSION, cid=1)
    give_data(first, write, r2t)
    ended = response_among(await aftermath(first), write)
    require(ended is None, clause, "a task that the logout ended has no response", seen=ended)


@case(
    "connections.session-logout-answers-the-request-for-one",
    clauses={"R7143-8.1.2-15": "connections.session-logout-closes-one"},
    role=TARGET,
    needs=[*SEVERAL, Feature.PROVOKED_EVENTS],
)
async def session_logout_elsewhere(peer: Peer) -> None:
    """A connection that was asked to log out is closed when the session is logged out on another one."""
    clause = "R7143-8.1.2-15"
    first, second = await two_connections(peer)
    peer.operator.request_logout(60, cid=0)
    await first.receive(ALIVE, "Asynchronous Message 1")
    await second.logout(clause, LogoutReason.CLOSE_SESSION, cid=1)
    await first.expect_closed(clause, "the connection that was asked to log out is closed")


@case(
    "connections.logout-of-another-one",
    clauses={"R7143-11.14-06": "connections.closes-the-wrong-one"},
    touches=["R7143-11.14-08"],
    role=TARGET,
    needs=SEVERAL,
)
async def logout_of_another_one(peer: Peer) -> None:
    """A logout on one connection for the CID of another closes that one, and is answered where it was sent."""
    clause = "R7143-11.14-06"
    first, second = await two_connections(peer)
    await close_connection(first, 1, clause)
    await second.expect_closed(clause, "the connection that was named is closed")
    await first.alive(clause)


@case(
    "connections.logout-of-an-unknown-one",
    clauses={"R7143-11.15.1-02": "connections.any-cid-is-there"},
    role=TARGET,
    needs=SEVERAL,
)
async def logout_of_unknown(peer: Peer) -> None:
    """A logout for a CID that the session does not have is answered with response 1, and both connections stay."""
    clause = "R7143-11.15.1-02"
    first, second = await two_connections(peer)
    answer = await second.logout(clause, LogoutReason.CLOSE_CONNECTION, cid=7)
    require(answer.response == LogoutResponseCode.CID_NOT_FOUND, clause, "response 1 was due", seen=answer.response)
    await first.alive(clause)
    await second.alive(clause)


@case(
    "connections.function-of-the-session",
    clauses={"R7143-11.5.1-02": "connections.aborts-its-own-tasks-only"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def function_of_the_session(peer: Peer) -> None:
    """ABORT TASK SET ends the tasks of all connections of the session."""
    clause = "R7143-11.5.1-02"
    first, second = await two_connections(peer, NO_UNSOLICITED, disk=True)
    write, r2t = await pending_write(first)
    request = second.manage_task(TaskFunction.ABORT_TASK_SET)
    give_data(first, write, r2t)
    answer = await second.task_response(request, clause)
    require_response(answer, clause, TaskResponse.FUNCTION_COMPLETE, what="ABORT TASK SET")
    outcome = response_among(await aftermath(first), write)
    if outcome is not None:
        raise Failed(clause, "nothing comes for a task that the function ended", seen=f"status {outcome.status:#04x}")


@case(
    "connections.request-for-one-connection",
    clauses={"R7143-11.9.1-01": "connections.asks-on-another-one"},
    role=TARGET,
    needs=[*SEVERAL, Feature.PROVOKED_EVENTS],
)
async def request_for_one(peer: Peer) -> None:
    """The request to log one connection out comes on that connection."""
    clause = "R7143-11.9.1-01"
    first, second = await two_connections(peer)
    peer.operator.request_logout(3, cid=0)
    received = await first.receive(clause, "Asynchronous Message 1")
    require(received.raw.opcode == 0x32, clause, "Asynchronous Message 1", seen=hex(received.raw.opcode))
    await second.alive()
    await close_connection(first, 0, clause)


@case(
    "connections.interleaved",
    clauses={"R7143-4.2.5.1-01": "connections.data-taken-on-the-first-only"},
    role=TARGET,
    needs=SEVERAL_WRITABLE,
    destructive=True,
)
async def interleaved(peer: Peer) -> None:
    """Writes on two connections whose data is given in the other order, each by its own tag, end with what was written."""
    clause = "R7143-4.2.5.1-01"
    first, second = await two_connections(peer, NO_UNSOLICITED, disk=True)
    size = 2 * first.block_size
    one, two = pattern(size, "one"), pattern(size, "two")
    here, there = write_command(first, one), write_command(second, two, 2)
    asked = await first.expect(R2T, clause, itt=here.itt), await second.expect(R2T, clause, itt=there.itt)
    second.data_out(there, two, r2t=asked[1])
    first.data_out(here, one, r2t=asked[0])
    for session, command in ((first, here), (second, there)):
        response = await session.answer(ScsiResponse, command.itt, clause)
        require(response.status == 0, clause, "the write ends with GOOD", seen=f"status {response.status:#04x}")
    found = (await second.read(clause, 0, 4)).data
    require(found == one + two, clause, "what was written on both is read back", seen=f"{len(found)} bytes")
    await first.alive()


@case(
    "connections.text-on-the-second",
    clauses={"R7143-4.2.5.1-01": "connections.text-answered-elsewhere"},
    role=TARGET,
    needs=[*SEVERAL, Feature.TEXT_NEGOTIATION],
)
async def text_on_the_second(peer: Peer) -> None:
    """A Text Request on the second connection is answered there."""
    clause = "R7143-4.2.5.1-01"
    first, second = await two_connections(peer)
    sent = second.text(("SendTargets", ""))
    await second.answer(TextResponse, sent.itt, clause)
    await nothing_on(first, sent.itt, clause, "it is not answered on another connection")
