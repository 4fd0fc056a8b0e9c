"""Logout (RFC 7143 sections 11.14 and 11.15)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol.pdu import LogoutReason, LogoutRequest, LogoutResponse, LogoutResponseCode, Reject, RejectReason
from iscsi_protocol.scsi import opcodes


@case(
    "logout.session-is-closed",
    clauses={"R7143-11.14-06": "logout.connection-stays-open", "R7143-11.15.1-01": "logout.success-denied"},
    role=TARGET,
)
async def session_is_closed(session: Session) -> None:
    """A logout for closing the session succeeds, and the target closes the connection behind its answer."""
    answer = await session.logout("R7143-11.15.1-01", LogoutReason.CLOSE_SESSION)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-11.15.1-01", "response 0 was due", seen=answer.response)
    await session.expect_closed("R7143-11.14-06", "the target closes its side behind the Logout Response")


@case("logout.connection-is-closed", clauses={"R7143-11.15-01": "logout.connection-stays-open"}, role=TARGET)
async def connection_is_closed(session: Session) -> None:
    """A logout for closing the only connection, named by its CID, succeeds and ends it."""
    answer = await session.logout("R7143-11.15.1-01", LogoutReason.CLOSE_CONNECTION, cid=0)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-11.15.1-01", "response 0 was due", seen=answer.response)
    await session.expect_closed("R7143-11.15-01")


@case("logout.cid-is-ignored-for-the-session", clauses={"R7143-11.14.3-01": "logout.minds-cid"}, role=TARGET)
async def cid_is_ignored(session: Session) -> None:
    """A logout for closing the session succeeds whatever CID it names."""
    answer = await session.logout("R7143-11.14.3-01", LogoutReason.CLOSE_SESSION, cid=0x7FFF)
    good = answer.response == LogoutResponseCode.SUCCESS
    require(good, "R7143-11.14.3-01", "response 0 was due", seen=answer.response)


@case("logout.unknown-cid", clauses={"R7143-11.15.1-02": "logout.any-cid-will-do"}, role=TARGET)
async def unknown_cid(session: Session) -> None:
    """A logout that names a CID which the session does not have is answered with response 1, and the session lives on."""
    answer = await session.logout("R7143-11.15.1-02", LogoutReason.CLOSE_CONNECTION, cid=0x7FFF)
    good = answer.response == LogoutResponseCode.CID_NOT_FOUND
    require(good, "R7143-11.15.1-02", "response 1 was due", seen=answer.response)
    await session.alive()


@case("logout.recovery-below-level-2", clauses={"R7143-11.15.1-03": "logout.pretends-recovery"}, role=TARGET)
async def recovery_below_level_2(session: Session) -> None:
    """At recovery level 0 a logout for recovery is answered with response 2, or 1 for a CID that is not there."""
    answer = await session.logout("R7143-11.15.1-03", LogoutReason.RECOVERY, cid=0)
    good = answer.response == LogoutResponseCode.RECOVERY_NOT_SUPPORTED
    require(good, "R7143-11.15.1-03", "response 2 was due", seen=answer.response)


@case("logout.reserved-reason", clauses={"R7143-11.14.1-01": "logout.takes-any-reason"}, role=TARGET)
async def reserved_reason(session: Session) -> None:
    """A reserved reason code is no logout: a Reject, a failed response or a close, but no success."""
    session.send(LogoutRequest(reason=0x55, **session.numbered()))
    received = await session.receive_or_none()
    if received is None:
        return
    accepted = isinstance(received.pdu, LogoutResponse) and received.pdu.response == LogoutResponseCode.SUCCESS
    require(not accepted, "R7143-11.14.1-01", "a reserved reason is not carried out", seen=one_line(received.raw))
    if isinstance(received.pdu, Reject):
        fine = received.pdu.reason in (RejectReason.PROTOCOL_ERROR, RejectReason.INVALID_PDU_FIELD)
        require(fine, "R7143-11.14.1-01", "a Reject for a protocol error", seen=hex(received.pdu.reason))


@case(
    "logout.response-is-well-formed",
    clauses={"R7143-11.15.2-01": "logout.response-with-data", "R7143-11.4.9-01": "logout.response-not-numbered"},
    role=TARGET,
)
async def response_is_well_formed(session: Session) -> None:
    """The Logout Response has neither AHS nor data, and takes the next StatSN."""
    due = session.raw.exp_stat_sn
    answer = await session.logout("R7143-11.15.2-01")
    require(not answer.data and not answer.ahs, "R7143-11.15.2-01", "neither AHS nor data", seen=answer.data.hex())
    require(answer.stat_sn == due, "R7143-11.4.9-01", f"StatSN {due} was due", seen=answer.stat_sn)


@case(
    "logout.pending-commands-end",
    clauses={"R7143-11.14-04": "logout.commands-go-on"},
    role=TARGET,
    needs=[Feature.SCSI_DISK],
    destructive=True,
)
async def pending_commands_end(disk: Session) -> None:
    """A write that waits for its data is not answered any more once the session was logged out."""
    pending = disk.command(opcodes.WRITE_10.build(lba=0, blocks=8), write=8 * disk.block_size)
    await disk.receive("R7143-11.8-01", "an R2T for the pending write")
    sent = LogoutRequest(immediate=True, reason=0, itt=disk.raw.next_itt(), cmd_sn=disk.raw.cmd_sn)
    disk.send(sent)
    answered = False
    while (received := await disk.receive_or_none()) is not None:
        tag = received.raw.initiator_task_tag
        if isinstance(received.pdu, LogoutResponse):
            answered = True
        else:
            late = answered and tag == pending.itt
            require(
                not late, "R7143-11.14-04", "nothing comes for a task behind the logout", seen=one_line(received.raw)
            )
    require(answered, "R7143-11.15.1-01", "the logout is answered")


@case("logout.session-is-gone", clauses={"R7143-8.1-04": "logout.session-lives-on"}, role=TARGET)
async def session_is_gone(peer: Peer, session: Session) -> None:
    """After the logout the session's TSIH is not known any more."""
    await session.logout("R7143-11.15.1-01")
    await session.expect_closed("R7143-11.14-06")
    _, login = await peer.try_login(tsih=session.tsih, cid=1)
    if login.full_feature and login.tsih != session.tsih:
        raise Inconclusive("any TSIH makes a new session here, so the old one's cannot tell")
    require(login.status == 0x020A, "R7143-8.1-04", "status 020a was due", seen=f"{login.status or 0:04x}")
