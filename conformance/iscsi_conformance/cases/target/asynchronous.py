"""Asynchronous Messages (RFC 7143 sections 7.5.2, 8.1.2 and 11.9)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.pending import aftermath, pending_write, rejects_among, response_among
from iscsi_conformance.session import ALIVE, Session
from iscsi_conformance.verdict import require
from iscsi_protocol import serial
from iscsi_protocol.pdu import (
    NO_TAG,
    AsyncEvent,
    AsyncMessage,
    LoginStatus,
    LogoutReason,
    LogoutResponseCode,
    NopIn,
    RejectReason,
    TaskFunction,
    TaskManagementResponse,
)
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.sense import Sense

PROVOKED = (Feature.PROVOKED_EVENTS,)
SENSE = Sense(key=SenseKey.UNIT_ATTENTION, code=0x2A09).build()
TUR = opcodes.TEST_UNIT_READY.build()
OTHER_ISID = bytes.fromhex("800000000002")
SHORT = (("DefaultTime2Wait", "0"), ("DefaultTime2Retain", "20"))


async def message(session: Session, clause: str, event: AsyncEvent) -> AsyncMessage:
    """The next PDU, which has to be a message of this event."""
    return await session.expect(AsyncMessage, clause, f"Asynchronous Message {int(event)}", async_event=event)


@case(
    "async.message-is-well-formed",
    clauses={
        "R7143-11.9-02": "async.with-task-tag",
        "R7143-11.9-01": "async.not-numbered",
        "R7143-11-02": "async.reserved-bytes-set",
    },
    role=TARGET,
    needs=PROVOKED,
)
async def well_formed(peer: Peer, session: Session) -> None:
    """Messages have the reserved task tag, zeros in reserved fields, and each uses up a StatSN."""
    operator = peer.operator
    provocations: tuple[Callable[[], None], ...] = (
        partial(operator.report_scsi_event, SENSE),
        partial(operator.request_negotiation, 3),
        partial(operator.request_logout, 3),
    )
    for provoke in provocations:
        due = session.raw.exp_stat_sn
        provoke()
        seen = await session.expect(AsyncMessage, "R7143-11.9.1-01", "an Asynchronous Message")
        require(seen.itt == NO_TAG, "R7143-11.9-02", "ITT is the reserved value", seen=hex(seen.itt))
        require(seen.stat_sn == due, "R7143-11.9-01", f"StatSN {due} was due", seen=seen.stat_sn)
        require(not seen.reserved, "R7143-11-02", "reserved fields are zero", seen=f"{seen.reserved:096x}")
        ping = session.ping()
        answer = await session.answer(NopIn, ping.itt, ALIVE)
        after = serial.add(due)
        require(answer.stat_sn == after, "R7143-11.9-01", f"StatSN {after} was due behind it", seen=answer.stat_sn)


@case(
    "async.scsi-event-names-the-unit",
    clauses={"R7143-11.9.3-01": "async.event-of-another-unit"},
    role=TARGET,
    needs=PROVOKED,
)
async def names_the_unit(peer: Peer, session: Session) -> None:
    """The LUN field of a SCSI event is that of the logical unit which the event is about."""
    peer.operator.report_scsi_event(SENSE)
    seen = await message(session, "R7143-11.9.3-01", AsyncEvent.SCSI)
    require(seen.lun == encode_lun(0), "R7143-11.9.3-01", "LUN 0 was due", seen=seen.lun.hex())


@case(
    "async.logout-is-asked-for",
    clauses={"R7143-11.9.1-01": "async.logout-not-asked-for"},
    role=TARGET,
    needs=PROVOKED,
)
async def logout_is_asked_for(peer: Peer, session: Session) -> None:
    """A target that wants a connection logged out says so on that connection, and takes the logout."""
    peer.operator.request_logout(3)
    await message(session, "R7143-11.9.1-01", AsyncEvent.LOGOUT_REQUESTED)
    answer = await session.logout("R7143-11.15.1-01", LogoutReason.CLOSE_CONNECTION, cid=0)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-11.15.1-01", "the logout succeeds", seen=answer.response)


@case(
    "async.logout-is-asked-for-again",
    clauses={"R7143-8.1.2-10": "async.logout-asked-for-once"},
    role=TARGET,
    needs=PROVOKED,
)
async def logout_is_asked_for_again(peer: Peer, session: Session) -> None:
    """A request to log out can be repeated while the logout is awaited, and the logout then succeeds."""
    for _ in range(2):
        peer.operator.request_logout(3)
        await message(session, "R7143-8.1.2-10", AsyncEvent.LOGOUT_REQUESTED)
    answer = await session.logout("R7143-8.1.2-10", LogoutReason.CLOSE_SESSION)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-8.1.2-10", "the logout succeeds", seen=answer.response)


@case(
    "async.command-where-logout-is-awaited",
    clauses={"R7143-11.17.1-15": "async.told-as-immediate-commands"},
    role=TARGET,
    needs=PROVOKED,
)
async def command_where_logout_is_awaited(peer: Peer, session: Session) -> None:
    """A new command behind a request to log out is carried out, or rejected with reason 0x0c."""
    peer.operator.request_logout(3)
    await message(session, "R7143-11.9.1-01", AsyncEvent.LOGOUT_REQUESTED)
    command = session.command(TUR)
    seen = await aftermath(session)
    rejects = rejects_among(seen)
    if rejects:
        good = rejects[0].reason == RejectReason.WAITING_FOR_LOGOUT
        require(good, "R7143-11.17.1-15", "reason 0x0c was due", seen=hex(rejects[0].reason))
        return
    answered = response_among(seen, command) is not None
    require(answered, "R7143-11.17.1-15", "the command is answered or rejected")


@case(
    "async.no-logout-in-time",
    clauses={"R7143-11.9.1-06": "async.waits-for-logout-forever"},
    role=TARGET,
    level=SHOULD,
    needs=PROVOKED,
)
async def no_logout_in_time(peer: Peer, session: Session) -> None:
    """Where the logout does not come in time, the target sends event 2 or drops the connection."""
    peer.operator.request_logout(1)
    await message(session, "R7143-11.9.1-01", AsyncEvent.LOGOUT_REQUESTED)
    received = await session.receive_or_none(within=1 + session.response_time)
    if received is None:
        require(session.raw.closed, "R7143-11.9.1-06", "the connection is dropped when the logout does not come")
        return
    announced = isinstance(received.pdu, AsyncMessage) and received.pdu.async_event == AsyncEvent.CONNECTION_DROP
    require(announced, "R7143-11.9.1-06", "event 2 was due", seen=one_line(received.raw))


@case(
    "async.drop-is-announced",
    clauses={"R7143-4.2.6-03": "async.drop-not-announced"},
    role=TARGET,
    level=SHOULD,
    needs=PROVOKED,
)
async def drop_is_announced(peer: Peer, session: Session) -> None:
    """A target that ends a connection announces it."""
    peer.operator.announce_connection_drop()
    await message(session, "R7143-4.2.6-03", AsyncEvent.CONNECTION_DROP)


@case(
    "async.announced-drop-happens",
    clauses={"R7143-8.1.2-13": "async.stays-after-notice"},
    role=TARGET,
    needs=PROVOKED,
)
async def announced_drop_happens(peer: Peer, session: Session) -> None:
    """Behind event 3 the connection ends."""
    peer.operator.announce_session_drop()
    await message(session, "R7143-4.2.6-03", AsyncEvent.SESSION_DROP)
    await session.expect_closed("R7143-8.1.2-13", "the connection ends behind event 3")


async def rejoined(peer: Peer, session: Session) -> int | None:
    """The status of a login that reinstates the session's only connection."""
    _, login = await peer.try_login(tsih=session.tsih, cid=0)
    return login.status


@case(
    "async.told-times-hold",
    clauses={"R7143-7.5.2-01": "async.tells-no-retention"},
    role=TARGET,
    needs=PROVOKED,
)
async def told_times_hold(peer: Peer) -> None:
    """A connection that was dropped with event 2 can be reinstated in the time that the event told, and only then."""
    session = await peer.login(SHORT)
    peer.operator.announce_connection_drop()
    told = await message(session, "R7143-4.2.6-03", AsyncEvent.CONNECTION_DROP)
    require(told.parameter1 == 0, "R7143-7.5.2-01", "Parameter1 is the CID 0", seen=told.parameter1)
    await session.expect_closed("R7143-8.1.2-13")
    due = LoginStatus.SUCCESS if told.parameter3 else LoginStatus.SESSION_DOES_NOT_EXIST
    status = await rejoined(peer, session)
    what = f"with Time2Retain {told.parameter3} told, status {due:04x} was due"
    require(status == due, "R7143-7.5.2-01", what, seen=f"{status or 0:04x}")


@case(
    "async.dropped-session-is-gone",
    clauses={"R7143-7.5.2-01": "async.session-outlives-its-drop"},
    role=TARGET,
    needs=PROVOKED,
)
async def dropped_session_is_gone(peer: Peer) -> None:
    """A session that was dropped with event 3 and Time2Retain 0 cannot be joined any more."""
    session = await peer.login(SHORT)
    peer.operator.announce_session_drop()
    told = await message(session, "R7143-4.2.6-03", AsyncEvent.SESSION_DROP)
    await session.expect_closed("R7143-8.1.2-13")
    due = LoginStatus.SUCCESS if told.parameter3 else LoginStatus.SESSION_DOES_NOT_EXIST
    status = await rejoined(peer, session)
    what = f"with Time2Retain {told.parameter3} told, status {due:04x} was due"
    require(status == due, "R7143-7.5.2-01", what, seen=f"{status or 0:04x}")


@case(
    "async.no-event-5-without-fast-abort",
    clauses={"R7143-11.9.1-12": "async.tells-of-terminated-tasks"},
    role=TARGET,
    needs=[Feature.WRITABLE_LUN],
    destructive=True,
)
async def no_event_5(peer: Peer) -> None:
    """A reset that ends another session's write is told by event 5 to nobody, as FastAbort was not agreed on."""
    mine, other = await peer.disk(), await peer.disk(isid=OTHER_ISID)
    await mine.test_unit_ready(ALIVE)
    await other.test_unit_ready(ALIVE)
    await pending_write(other)
    request = mine.manage_task(TaskFunction.LOGICAL_UNIT_RESET)
    await mine.answer(TaskManagementResponse, request.itt, "R7143-11.5.1-01")
    for session in (mine, other):
        for received in await aftermath(session):
            five = isinstance(received.pdu, AsyncMessage) and received.pdu.async_event == AsyncEvent.TASKS_TERMINATED
            require(not five, "R7143-11.9.1-12", "event 5 belongs to FastAbort", seen=one_line(received.raw))
