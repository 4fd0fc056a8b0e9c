"""Command and status numbering, and the command window (RFC 7143 sections 4.2.2.1 and 4.2.2.2)."""

from __future__ import annotations

from itertools import pairwise

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import require
from iscsi_protocol import serial
from iscsi_protocol.pdu import LoginResponse, NopIn, ScsiResponse, TaskFunction, TaskManagementResponse
from iscsi_protocol.scsi import opcodes

TUR = opcodes.TEST_UNIT_READY.build()


async def counters(session: Session, clause: str) -> NopIn:
    """The target's counters now, from the answer to an immediate ping."""
    sent = session.ping()
    return await session.answer(NopIn, sent.itt, clause)


@case("numbering.status-numbers-rise", clauses={"R7143-11.4.9-01": "numbering.status-number-skipped"}, role=TARGET)
async def status_numbers_rise(session: Session) -> None:
    """Every response takes the next StatSN."""
    last: int | None = None
    for _ in range(5):
        ending = (await session.test_unit_ready("R7143-11.4.9-01")).ending
        if last is not None:
            due = serial.add(last)
            require(ending.stat_sn == due, "R7143-11.4.9-01", f"StatSN {due} was due", seen=ending.stat_sn)
        last = ending.stat_sn


@case(
    "numbering.pings-take-status-numbers",
    clauses={"R7143-4.2.2.2-05": "numbering.ping-takes-no-number"},
    role=TARGET,
)
async def pings_take_numbers(session: Session) -> None:
    """The answer to a ping uses up a StatSN, as every response does."""
    first = await counters(session, "R7143-4.2.2.2-05")
    second = await counters(session, "R7143-4.2.2.2-05")
    due = serial.add(first.stat_sn)
    require(second.stat_sn == due, "R7143-4.2.2.2-05", f"StatSN {due} was due", seen=second.stat_sn)


@case(
    "numbering.login-responses-are-numbered",
    clauses={"R7143-11.13.4-01": "numbering.login-number-jumps", "R7143-4.2.2.2-01": "numbering.restarts-after-login"},
    role=TARGET,
)
async def login_responses_are_numbered(peer: Peer) -> None:
    """StatSN starts in the first Login Response and goes on by one through the login and behind it."""
    session = await peer.login([("AuthMethod", "None")])
    pdus = [response.pdu for response in session.login.responses]
    numbers = [pdu.stat_sn for pdu in pdus if isinstance(pdu, LoginResponse)]
    for before, after in pairwise(numbers):
        right = after == serial.add(before)
        require(right, "R7143-11.13.4-01", f"StatSN {serial.add(before)} was due in the login", seen=after)
    answer = await counters(session, "R7143-4.2.2.2-01")
    due = serial.add(numbers[-1])
    require(answer.stat_sn == due, "R7143-4.2.2.2-01", f"StatSN {due} was due behind the login", seen=answer.stat_sn)


@case("numbering.window-is-never-negative", clauses={"R7143-4.2.2.1-11": "numbering.window-negative"}, role=TARGET)
async def window_is_never_negative(session: Session) -> None:
    """MaxCmdSN is never below ExpCmdSN - 1, whatever the target answers."""
    for _ in range(4):
        for pdu in (
            (await session.test_unit_ready("R7143-4.2.2.1-11")).ending,
            await counters(session, "R7143-4.2.2.1-11"),
        ):
            floor = serial.add(pdu.exp_cmd_sn, -1)
            good = serial.ge(pdu.max_cmd_sn, floor)
            require(good, "R7143-4.2.2.1-11", f"MaxCmdSN of {floor} or more was due", seen=pdu.max_cmd_sn)


@case(
    "numbering.response-acknowledges-its-command",
    clauses={"R7143-4.2.2.1-22": "numbering.response-before-acknowledgement"},
    role=TARGET,
)
async def response_acknowledges(session: Session) -> None:
    """When the response to a command comes, ExpCmdSN is past that command."""
    outcome = await session.test_unit_ready("R7143-4.2.2.1-22")
    past = serial.gt(outcome.ending.exp_cmd_sn, outcome.command.cmd_sn)
    require(past, "R7143-4.2.2.1-22", "the command is acknowledged with its response", seen=outcome.ending.exp_cmd_sn)


@case(
    "numbering.numbered-request-moves-exp-cmd-sn-by-one",
    clauses={"R7143-4.2.2.1-18": "numbering.acknowledges-two"},
    role=TARGET,
)
async def moves_by_one(session: Session) -> None:
    """A numbered request moves ExpCmdSN by one, an immediate one by nothing."""
    before = await counters(session, "R7143-4.2.2.1-18")
    between = await counters(session, "R7143-4.2.2.1-18")
    same = between.exp_cmd_sn == before.exp_cmd_sn
    require(same, "R7143-4.2.2.1-18", "an immediate ping moves nothing", seen=between.exp_cmd_sn)
    outcome = await session.test_unit_ready("R7143-4.2.2.1-18")
    due = serial.add(between.exp_cmd_sn)
    seen = outcome.ending.exp_cmd_sn
    require(seen == due, "R7143-4.2.2.1-18", f"ExpCmdSN {due} was due", seen=seen)


@case(
    "numbering.gap-is-not-acknowledged",
    clauses={
        "R7143-4.2.2.1-09": "numbering.acknowledges-across-gap",
        "R7143-4.2.2.1-07": "numbering.delivers-across-gap",
    },
    role=TARGET,
)
async def gap_is_not_acknowledged(session: Session) -> None:
    """A command behind a gap waits, ExpCmdSN stays at the gap, and both are answered once the gap is filled."""
    gap = session.raw.next_cmd_sn()
    later = session.command(TUR)
    await session.silence("R7143-4.2.2.1-07", "the command behind the gap waits for the missing one", about=later.itt)
    answer = await counters(session, "R7143-4.2.2.1-09")
    require(answer.exp_cmd_sn == gap, "R7143-4.2.2.1-09", f"ExpCmdSN stays at {gap}", seen=answer.exp_cmd_sn)
    missing = session.command(TUR, cmd_sn=gap)
    await session.result(missing, "R7143-4.2.2.1-07")
    await session.result(later, "R7143-4.2.2.1-07")


@case(
    "numbering.above-window-is-ignored",
    clauses={"R7143-4.2.2.1-12": "numbering.accepts-any-number"},
    role=TARGET,
)
async def above_window_is_ignored(session: Session) -> None:
    """A command numbered past MaxCmdSN is not answered and moves no counter."""
    before = await counters(session, "R7143-4.2.2.1-12")
    stray = session.command(TUR, cmd_sn=serial.add(before.max_cmd_sn, 1))
    await session.silence("R7143-4.2.2.1-12", "a command past MaxCmdSN is dropped silently", about=stray.itt)
    after = await counters(session, "R7143-4.2.2.1-12")
    same = after.exp_cmd_sn == before.exp_cmd_sn
    require(same, "R7143-4.2.2.1-12", f"ExpCmdSN stays at {before.exp_cmd_sn}", seen=after.exp_cmd_sn)


@case(
    "numbering.below-window-is-ignored",
    clauses={"R7143-4.2.2.1-12": "numbering.accepts-any-number"},
    role=TARGET,
)
async def below_window_is_ignored(session: Session) -> None:
    """A command with a CmdSN that was used before is not answered."""
    done = await session.test_unit_ready("R7143-4.2.2.1-12")
    stray = session.command(TUR, cmd_sn=done.command.cmd_sn)
    await session.silence("R7143-4.2.2.1-12", "a command below ExpCmdSN is dropped silently", about=stray.itt)
    await session.test_unit_ready("R7143-4.2.2.1-12")


@case(
    "numbering.duplicate-inside-window-is-ignored",
    clauses={"R7143-4.2.2.1-13": "numbering.accepts-any-number"},
    role=TARGET,
)
async def duplicate_is_ignored(session: Session) -> None:
    """Of two commands with one CmdSN inside the window only the first is answered."""
    gap = session.raw.next_cmd_sn()
    waiting = session.command(TUR)
    twin = session.command(TUR, cmd_sn=waiting.cmd_sn)
    missing = session.command(TUR, cmd_sn=gap)
    await session.result(missing, "R7143-4.2.2.1-13")
    await session.result(waiting, "R7143-4.2.2.1-13")
    await session.silence("R7143-4.2.2.1-13", "a duplicate inside the window is dropped silently", about=twin.itt)


@case("numbering.wraps", clauses={"R7143-4.2.2.1-10": "numbering.stuck-at-wrap"}, role=TARGET)
async def wraps(peer: Peer) -> None:
    """CmdSN goes from 2^32 - 1 to 0 like any other step."""
    wire = await peer.connect()
    wire.raw.cmd_sn = 0xFFFFFFFE
    login = await wire.raw.login(wire.names(), timeout=wire.response_time)
    require(login.full_feature, "R7143-4.2.2.1-10", "a login with CmdSN 2^32 - 2 succeeds", seen=login.status)
    session = Session(wire.raw, login, wire, peer.profile.lun)
    for _ in range(4):
        outcome = await session.test_unit_ready("R7143-4.2.2.1-10")
        due = serial.add(outcome.command.cmd_sn)
        seen = outcome.ending.exp_cmd_sn
        require(seen == due, "R7143-4.2.2.1-10", f"ExpCmdSN {due} was due", seen=seen)


@case(
    "numbering.two-immediate-requests",
    clauses={"R7143-4.2.2.1-06": "numbering.one-immediate-request-only"},
    role=TARGET,
)
async def two_immediate_requests(session: Session) -> None:
    """An immediate task management request and an immediate ping can be outstanding together; both are answered."""
    abort = session.manage_task(TaskFunction.ABORT_TASK, referenced_task_tag=0x7777, ref_cmd_sn=session.raw.cmd_sn)
    ping = session.ping()
    await session.answer(TaskManagementResponse, abort.itt, "R7143-4.2.2.1-06")
    await session.answer(NopIn, ping.itt, "R7143-4.2.2.1-06")


@case(
    "numbering.first-number-is-kept-through-login",
    clauses={"R7143-4.2.2.1-20": "numbering.first-command-lost"},
    role=TARGET,
)
async def first_number(peer: Peer) -> None:
    """The first numbered request has the CmdSN of the leading login, and is executed at once."""
    session = await peer.login()
    sent = session.command(TUR)
    answer = await session.expect(ScsiResponse, "R7143-4.2.2.1-20", "the answer to the first command", itt=sent.itt)
    past = answer.exp_cmd_sn == serial.add(sent.cmd_sn)
    require(past, "R7143-4.2.2.1-20", "ExpCmdSN is one past the first command", seen=answer.exp_cmd_sn)
