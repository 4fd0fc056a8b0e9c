"""Recovery level 2: tasks of a connection that is gone go on by another one (RFC 7143 7.2.2, 7.5, 7.14, 11.5.6, 11.14)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.connections import CLEARED_BY_PROTOCOL, TUR
from iscsi_conformance.cases.target.identity import NO_UNSOLICITED, WRITABLE
from iscsi_conformance.cases.target.level1 import SMALL, TAG, all_anew, read_all
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, give_data, pending_write, response_among
from iscsi_conformance.recovery import (
    LEVEL_2,
    data_out_of,
    data_until_status,
    drop,
    lost,
    only_data,
    reassign,
    remove_for_recovery,
    require_level,
    retained,
    snack_resegmented,
    time2wait,
    withholding,
)
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.several import ISID, two_connections
from iscsi_conformance.task_functions import require_response
from iscsi_conformance.transfer import pattern, write_command
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    LogoutReason,
    ScsiCommand,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
    TaskResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey

LEVEL = (Feature.ERROR_RECOVERY_LEVEL_2, Feature.MULTIPLE_CONNECTIONS)
READING = (*LEVEL, Feature.SCSI_DISK)
WRITING = (*LEVEL, *WRITABLE)
SEGMENTS = (("MaxRecvDataSegmentLength", "512"),)
QUICK = (("ErrorRecoveryLevel", "2"), ("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "1"))
MARGIN = 1
COMPLETE = TaskResponse.FUNCTION_COMPLETE
UNKNOWN = TaskResponse.TASK_DOES_NOT_EXIST


async def pair(peer: Peer, *keys: tuple[str, str]) -> tuple[Session, Session]:
    """A session of two connections at level 2 that take segments of 512 bytes, its logical unit measured."""
    small = [each for each in SMALL if each[0] != "ErrorRecoveryLevel"]
    first, second = await two_connections(peer, [*small, *LEVEL_2, *NO_UNSOLICITED, *keys], second=SEGMENTS, disk=True)
    require_level(first, 2)
    retained(first)
    return first, second


async def recovered(first: Session, second: Session) -> None:
    """The second connection breaks, and is logged out for recovery on the first. What was said about it is read."""
    drop(second)
    await time2wait(first)
    answer = await remove_for_recovery(first, second.cid, "R7143-11.15.1-01")
    await time2wait(first, answer.time2wait)
    await aftermath(first)


async def reassigned(session: Session, task: ScsiCommand, clause: str, exp_data_sn: int = 0) -> None:
    """TASK REASSIGN of the task is answered with function complete."""
    request = reassign(session, task, exp_data_sn)
    answer = await session.task_response(request, clause)
    require_response(answer, clause, COMPLETE, what="TASK REASSIGN")


async def unread(second: Session) -> tuple[ScsiCommand, list[DataIn | ScsiResponse]]:
    """A read of 8 segments on the second connection of which nothing is acknowledged."""
    with withholding(second):
        return await read_all(second, ALIVE)


# ---- what a reassigned task does ----


@case(
    "reassign.read-goes-on",
    clauses={"R7143-11.5.6-02": "reassign.first-data-left-out", "R7143-7.2.2-05": "reassign.no-status"},
    role=TARGET,
    needs=READING,
)
async def read_goes_on(peer: Peer) -> None:
    """A read of which nothing was acknowledged, reassigned, brings all its data and its status on the new connection."""
    first, second = await pair(peer)
    command, pdus = await unread(second)
    await recovered(first, second)
    await reassigned(first, command, ALIVE)
    data: list[DataIn] = []
    while True:
        received = await first.receive("R7143-7.2.2-05", "the data and status of the reassigned read")
        pdu = received.pdu
        if isinstance(pdu, DataIn) and pdu.itt == command.itt:
            data.append(pdu)
        if isinstance(pdu, ScsiResponse) or (isinstance(pdu, DataIn) and pdu.status_present):
            break
    before = b"".join(each.data for each in only_data(pdus))
    content = b"".join(each.data for each in data)
    require(content == before, "R7143-11.5.6-02", f"{len(before)} bytes were due", seen=f"{len(content)} bytes")


@case(
    "reassign.rest-of-a-read",
    clauses={"R7143-7.2.2-03": "reassign.reads-from-the-start"},
    role=TARGET,
    level=SHOULD,
    needs=READING,
)
async def rest_of_a_read(peer: Peer) -> None:
    """With ExpDataSN only the data from there on comes."""
    clause = "R7143-7.2.2-03"
    first, second = await pair(peer)
    command, pdus = await unread(second)
    data = only_data(pdus)
    await recovered(first, second)
    await reassigned(first, command, ALIVE, len(data) - 2)
    resent = only_data(await data_until_status(first, command, clause))
    offsets = [each.buffer_offset for each in resent]
    due = [each.buffer_offset for each in data[-2:]]
    require(offsets == due, clause, f"data from offset {due} was due", seen=offsets)


@case(
    "reassign.number-out-of-range",
    clauses={"R7143-11.5.6-05": "reassign.takes-any-number"},
    role=TARGET,
    needs=READING,
)
async def number_out_of_range(peer: Peer) -> None:
    """An ExpDataSN past all that was sent is ignored: the data comes."""
    clause = "R7143-11.5.6-05"
    first, second = await pair(peer)
    command, pdus = await unread(second)
    await recovered(first, second)
    await reassigned(first, command, clause, len(only_data(pdus)) + 100)
    content = b"".join(each.data for each in only_data(await data_until_status(first, command, clause)))
    before = b"".join(each.data for each in only_data(pdus))
    require(content == before, clause, f"{len(before)} bytes were due", seen=f"{len(content)} bytes")


@case(
    "reassign.status-alone",
    clauses={"R7143-7.2.2-05": "reassign.finished-command-forgotten"},
    role=TARGET,
    needs=LEVEL,
)
async def status_alone(peer: Peer) -> None:
    """A command without data whose status was lost, reassigned, has its status sent again."""
    clause = "R7143-7.2.2-05"
    first, second = await pair(peer)
    with withholding(second):
        outcome = await second.test_unit_ready(ALIVE)
    lost(second, outcome.ending)
    await recovered(first, second)
    await reassigned(first, outcome.command, clause)
    again = await first.answer(ScsiResponse, outcome.command.itt, clause)
    same = again.status == outcome.status
    require(same, clause, f"status {outcome.status:#04x} was due", seen=f"{again.status:#04x}")


@case(
    "reassign.write-goes-on",
    clauses={"R7143-E.1-05": "reassign.logout-clears-tasks", "R7143-7.2.2-08": "reassign.response-comes-late"},
    touches=["R7143-4.2.2.2-02"],
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def write_goes_on(peer: Peer) -> None:
    """A write that waited for data, reassigned, asks for it on the new connection, behind the response, and ends well."""
    first, second = await pair(peer)
    write, _ = await pending_write(second)
    await recovered(first, second)
    request = reassign(first, write)
    received = await first.receive("R7143-E.1-05", "the response to TASK REASSIGN")
    early = isinstance(received.pdu, R2T) and received.pdu.itt == write.itt
    require(not early, "R7143-7.2.2-08", "the response comes before any PDU of the task", seen=one_line(received.raw))
    first.put_back(received)
    answer = await first.answer(TaskManagementResponse, request.itt, "R7143-E.1-05")
    require_response(answer, "R7143-E.1-05", COMPLETE, what="TASK REASSIGN")
    data = pattern(write.expected_data_transfer_length)
    outcome = await first.result(write, "R7143-E.1-05", write_data=data)
    require(outcome.status == 0, "R7143-E.1-05", "the write ends with GOOD", seen=f"status {outcome.status:#04x}")
    found = (await first.read(ALIVE, 0, 2)).data
    require(found == data, "R7143-E.1-05", "what was written is read back", seen=f"{len(found)} bytes")


@case(
    "reassign.response-before-effect",
    clauses={"R7143-11.6-01": "reassign.response-comes-late"},
    role=TARGET,
    needs=READING,
)
async def response_before_effect(peer: Peer) -> None:
    """The response to TASK REASSIGN of a read comes before any of its data."""
    clause = "R7143-11.6-01"
    first, second = await pair(peer)
    command, _ = await unread(second)
    await recovered(first, second)
    request = reassign(first, command)
    received = await first.receive(clause, "the response to TASK REASSIGN")
    due = received.raw.initiator_task_tag == request.itt
    require(due, clause, "the response comes before the data", seen=one_line(received.raw))


@case(
    "reassign.rest-of-a-write",
    clauses={"R7143-7.2.2-02": "reassign.writes-from-the-start"},
    role=TARGET,
    level=SHOULD,
    needs=[*WRITING, Feature.SMALL_BURST],
    destructive=True,
)
async def rest_of_a_write(peer: Peer) -> None:
    """A write of which one burst had come, reassigned, asks for what is left."""
    clause = "R7143-7.2.2-02"
    first, second = await pair(peer, ("MaxOutstandingR2T", "1"))
    data = pattern(4096)
    write = write_command(second, data)
    r2t = await second.expect(R2T, ALIVE, itt=write.itt)
    have = r2t.desired_data_transfer_length
    if have >= len(data):
        raise Inconclusive("all data is asked for at once")
    second.data_out(write, data[:have], r2t=r2t)
    await second.expect(R2T, ALIVE, itt=write.itt)
    await recovered(first, second)
    await reassigned(first, write, ALIVE)
    asked = await first.answer(R2T, write.itt, clause)
    require(asked.buffer_offset == have, clause, f"data from {have} on was due", seen=asked.buffer_offset)


@case(
    "reassign.stands-still-until-then",
    clauses={"R7143-4.2.8-02": "reassign.goes-on-by-itself"},
    role=TARGET,
    needs=READING,
)
async def stands_still(peer: Peer) -> None:
    """Behind the logout for recovery nothing comes of a task until it is reassigned; then it goes on."""
    clause = "R7143-4.2.8-02"
    first, second = await pair(peer)
    command, _ = await unread(second)
    await recovered(first, second)
    await first.silence(clause, "nothing comes of the task", about=command.itt)
    await reassigned(first, command, clause)
    await data_until_status(first, command, clause)


@case(
    "reassign.no-snack-tag",
    clauses={"R7143-7.2.2-09": "reassign.keeps-snack-tag"},
    role=TARGET,
    needs=READING,
)
async def no_snack_tag(peer: Peer) -> None:
    """The SNACK tag of a read does not outlive its connection: reassigned, its status comes without one."""
    clause = "R7143-7.2.2-09"
    first, second = await pair(peer)
    with withholding(second):
        command, _ = await read_all(second, ALIVE)
        snack_resegmented(second, command, TAG)
        await all_anew(second, command, ALIVE)
    await recovered(first, second)
    await reassigned(first, command, ALIVE)
    ending = (await data_until_status(first, command, clause))[-1]
    tag = ending.snack_tag if isinstance(ending, ScsiResponse) else 0
    require(tag == 0, clause, "SNACK tag 0 was due", seen=hex(tag))


@case(
    "reassign.old-transfer-tags-are-gone",
    clauses={"R7143-E.1-01": "reassign.old-transfer-tag-is-taken"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def old_transfer_tags(peer: Peer) -> None:
    """Data for the R2T of a broken connection is not taken on the new one: only what answers the new R2T ends the write."""
    clause = "R7143-E.1-01"
    first, second = await pair(peer)
    write, old = await pending_write(second)
    await recovered(first, second)
    await reassigned(first, write, ALIVE)
    new = await first.answer(R2T, write.itt, ALIVE)
    if new.ttt == old.ttt:
        raise Inconclusive("the new R2T has the tag of the old one")
    first.send(data_out_of(first, write, old, pattern(write.expected_data_transfer_length, "old")))
    response = response_among(await aftermath(first), write)
    taken = response is not None and response.status == 0
    require(not taken, clause, "data for the old tag does not end the write")


# ---- what cannot be reassigned ----


@case(
    "reassign.still-allegiant",
    clauses={"R7143-7.2.2-07": "reassign.steals-tasks"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def still_allegiant(peer: Peer) -> None:
    """TASK REASSIGN of a task whose connection is alive is answered with response 3, and the task stays where it is."""
    clause = "R7143-7.2.2-07"
    first, second = await pair(peer)
    write, r2t = await pending_write(second)
    answer = await first.task_response(reassign(first, write), clause)
    require_response(answer, clause, TaskResponse.TASK_STILL_ALLEGIANT, what="the reassignment of a live task")
    give_data(second, write, r2t)
    response = await second.answer(ScsiResponse, write.itt, clause)
    require(response.status == 0, clause, "the write ends with GOOD", seen=f"status {response.status:#04x}")


@case(
    "reassign.not-logged-out",
    clauses={"R7143-7.2.2-07": "reassign.steals-tasks"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def not_logged_out(peer: Peer) -> None:
    """TASK REASSIGN of a task whose connection broke, and was not logged out, is answered with response 3."""
    clause = "R7143-7.2.2-07"
    first, second = await pair(peer)
    write, _ = await pending_write(second)
    drop(second)
    await time2wait(first)
    answer = await first.task_response(reassign(first, write), clause)
    require_response(answer, clause, TaskResponse.TASK_STILL_ALLEGIANT, what="the reassignment before the logout")


@case(
    "reassign.unknown-task",
    clauses={"R7143-11.6.1-01": "reassign.pretends"},
    role=TARGET,
    needs=LEVEL,
)
async def unknown_task(peer: Peer) -> None:
    """TASK REASSIGN of a task that never was is answered with response 1."""
    clause = "R7143-11.6.1-01"
    first, second = await pair(peer)
    await recovered(first, second)
    stray = ScsiCommand(itt=0x7777, lun=first.lun, cdb=TUR.ljust(16, b"\0"))
    answer = await first.task_response(reassign(first, stray), clause)
    require_response(answer, clause, UNKNOWN, what="the reassignment of no task")


@case(
    "reassign.function-that-waits",
    clauses={"R7143-11.5.1-22": "reassign.pretends", "R7143-11.5.1-21": "reassign.second-response-comes-late"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def function_that_waits(peer: Peer) -> None:
    """A task management function cannot be reassigned, and a write that can goes on behind the response."""
    first, second = await pair(peer)
    write, _ = await pending_write(second)
    gap = first.raw.next_cmd_sn()
    waiting = first.manage_task(TaskFunction.ABORT_TASK_SET)
    await recovered(first, second)
    function = ScsiCommand(itt=waiting.itt, lun=first.lun)
    answer = await first.task_response(reassign(first, function), "R7143-11.5.1-22")
    require(answer.response, "R7143-11.5.1-22", "a function is not reassigned", seen=f"response {answer.response}")
    request = reassign(first, write)
    received = await first.receive("R7143-11.5.1-21", "the response to TASK REASSIGN")
    due = received.raw.initiator_task_tag == request.itt
    require(due, "R7143-11.5.1-21", "the response comes before the effect", seen=one_line(received.raw))
    first.command(TUR, cmd_sn=gap)


@case(
    "reassign.acknowledged-task",
    clauses={"R7143-11.6.1-01": "reassign.pretends"},
    role=TARGET,
    needs=LEVEL,
)
async def acknowledged_task(peer: Peer) -> None:
    """TASK REASSIGN of a command whose status was acknowledged is answered with response 1."""
    clause = "R7143-11.6.1-01"
    first, second = await pair(peer)
    outcome = await second.test_unit_ready(ALIVE)
    await second.alive()
    await recovered(first, second)
    answer = await first.task_response(reassign(first, outcome.command), clause)
    require_response(answer, clause, UNKNOWN, what="the reassignment of a task that is over")


@case(
    "reassign.immediate-commands-are-dropped",
    clauses={"R7143-7.14-05": "reassign.pretends"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def immediate_commands(peer: Peer) -> None:
    """An immediate write does not outlive its connection: its reassignment is answered with response 1."""
    clause = "R7143-7.14-05"
    first, second = await pair(peer)
    size = second.block_size
    write = second.command(opcodes.WRITE_10.build(lba=0, blocks=1), write=size, immediate=True)
    await second.expect(R2T, ALIVE, itt=write.itt)
    await recovered(first, second)
    answer = await first.task_response(reassign(first, write), clause)
    require_response(answer, clause, UNKNOWN, what="the reassignment of an immediate command")


@case(
    "reassign.undelivered-commands-are-discarded",
    clauses={"R7143-11.14-05": "reassign.pretends"},
    role=TARGET,
    needs=LEVEL,
)
async def undelivered(peer: Peer) -> None:
    """The logout for recovery discards a command that waits behind a gap; sent anew with its CmdSN it runs."""
    clause = "R7143-11.14-05"
    first, second = await pair(peer)
    gap = second.raw.next_cmd_sn()
    waiting = second.command(TUR)
    await second.alive()
    await recovered(first, second)
    answer = await first.task_response(reassign(first, waiting), clause)
    require_response(answer, clause, UNKNOWN, what="the reassignment of a command that was never delivered")
    await first.result(first.command(TUR, cmd_sn=gap), clause)
    again = first.command(TUR, cmd_sn=waiting.cmd_sn)
    await first.result(again, clause)


# ---- the ways there, and the time for it ----


@case(
    "reassign.behind-reinstatement",
    clauses={"R7143-E.1-06": "reassign.logout-clears-tasks"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def behind_reinstatement(peer: Peer) -> None:
    """Reinstatement of a broken connection is its logout for recovery: its write can be reassigned to the new one."""
    clause = "R7143-E.1-06"
    first, second = await pair(peer)
    write, _ = await pending_write(second)
    drop(second)
    await time2wait(first)
    again = await peer.join(first, 1, SEGMENTS)
    await reassigned(again, write, clause)
    data = pattern(write.expected_data_transfer_length)
    outcome = await again.result(write, clause, write_data=data)
    require(outcome.status == 0, clause, "the write ends with GOOD", seen=f"status {outcome.status:#04x}")


@case(
    "reassign.in-a-session-of-one",
    clauses={"R7143-11.14-10": "reassign.logout-clears-tasks"},
    role=TARGET,
    needs=[Feature.ERROR_RECOVERY_LEVEL_2, *WRITABLE],
    destructive=True,
)
async def session_of_one(peer: Peer) -> None:
    """The only connection of a session is reinstated, which counts as a logout for recovery: its write is reassigned."""
    clause = "R7143-11.14-10"
    disk = await peer.disk([("MaxConnections", "1"), *LEVEL_2, *NO_UNSOLICITED], isid=ISID)
    retained(disk)
    write, _ = await pending_write(disk)
    drop(disk)
    await time2wait(disk)
    again = await peer.join(disk, 0)
    await reassigned(again, write, clause)
    data = pattern(write.expected_data_transfer_length)
    outcome = await again.result(write, clause, write_data=data)
    require(outcome.status == 0, clause, "the write ends with GOOD", seen=f"status {outcome.status:#04x}")


@case(
    "reassign.behind-a-logout-of-its-own",
    clauses={"R7143-11.15.1-01": "reassign.recovery-refused", "R7143-11.14-06": "reassign.not-closed"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def logout_of_its_own(peer: Peer) -> None:
    """A connection that logs itself out for recovery is closed, and its write is reassigned."""
    first, second = await pair(peer)
    write, _ = await pending_write(second)
    answer = await second.logout("R7143-11.15.1-01", LogoutReason.RECOVERY, cid=1)
    require(answer.response == 0, "R7143-11.15.1-01", "response 0 was due", seen=answer.response)
    await second.expect_closed("R7143-11.14-06")
    await time2wait(first, answer.time2wait)
    await reassigned(first, write, "R7143-11.15.1-01")
    await first.result(write, ALIVE, write_data=pattern(write.expected_data_transfer_length))


async def nearly_too_late(peer: Peer, clause: str, *, by_drop: bool) -> None:
    """A write is reassigned a second before Time2Retain is over."""
    keys = [("ErrorRecoveryLevel", "2"), ("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "4"), *NO_UNSOLICITED]
    first, second = await two_connections(peer, keys, disk=True)
    require_level(first, 2)
    write, _ = await pending_write(second)
    seconds = retained(first)
    if by_drop:
        drop(second)
        await time2wait(first)
        await time2wait(first, max(0, seconds - MARGIN))
    answer = await remove_for_recovery(first, second.cid, clause)
    await time2wait(first, answer.time2wait)
    if not by_drop:
        await time2wait(first, max(0, answer.time2retain - MARGIN))
    await reassigned(first, write, clause)
    await first.result(write, clause, write_data=pattern(write.expected_data_transfer_length))


@case(
    "reassign.kept-for-time2retain",
    clauses={"R7143-7.5-03": "reassign.kept-for-a-second"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def kept_for_time2retain(peer: Peer) -> None:
    """A broken connection and its write are kept for Time2Retain: shortly before its end they can be recovered."""
    await nearly_too_late(peer, "R7143-7.5-03", by_drop=True)


@case(
    "reassign.waits-for-time2retain",
    clauses={"R7143-11.15.4-01": "reassign.kept-shorter-than-told"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def waits_for_time2retain(peer: Peer) -> None:
    """Behind a logout for recovery a write waits as long as the Logout Response says."""
    await nearly_too_late(peer, "R7143-11.15.4-01", by_drop=False)


@case(
    "reassign.too-late",
    clauses={"R7143-7.5-02": "reassign.kept-for-an-hour", "R7143-11.14.5-02": "reassign.cleared-untold"},
    role=TARGET,
    needs=WRITING,
    destructive=True,
)
async def too_late(peer: Peer) -> None:
    """Time2Retain after the logout for recovery a write is gone: its reassignment is answered with 1, and 47h/7Fh tells."""
    first, second = await two_connections(peer, [*QUICK, *NO_UNSOLICITED], disk=True)
    require_level(first, 2)
    retained(first)
    write, _ = await pending_write(second)
    await recovered(first, second)
    await time2wait(first, first.agreed_number("DefaultTime2Retain") + MARGIN)
    answer = await first.task_response(reassign(first, write), "R7143-7.5-02")
    require_response(answer, "R7143-7.5-02", UNKNOWN, what="a reassignment that comes too late")
    outcome = await first.test_unit_ready("R7143-11.14.5-02")
    sense = outcome.sense
    code = None if sense is None else (sense.key, sense.code)
    told = outcome.status == 2 and code == (SenseKey.UNIT_ATTENTION, CLEARED_BY_PROTOCOL)
    require(told, "R7143-11.14.5-02", "CHECK CONDITION with 6/477f was due", seen=code or outcome.status)


@case(
    "reassign.times-are-told",
    clauses={"R7143-7.5.2-01": "reassign.tells-no-time"},
    role=TARGET,
    needs=LEVEL,
)
async def times_are_told(peer: Peer) -> None:
    """The Logout Response for recovery says how long tasks wait: not for no time, where state is kept."""
    clause = "R7143-7.5.2-01"
    first, second = await pair(peer)
    answer = await remove_for_recovery(first, second.cid, clause)
    require(answer.time2retain > 0, clause, "Time2Retain is told where state is kept", seen=answer.time2retain)
