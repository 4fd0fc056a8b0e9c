"""Logout (RFC 7143 11.14, 11.15, 7.5.2): what ends, with which response, and that TCP ends behind it."""

from __future__ import annotations

from iscsi_protocol.pdu import (
    NO_TAG,
    LogoutReason,
    LogoutRequest,
    LogoutResponse,
    LogoutResponseCode,
    Opcode,
    RawPdu,
    RejectReason,
    packer,
    unpacker,
)
from iscsi_target import events
from iscsi_target.connection import Connection, State
from iscsi_target.core import Core
from iscsi_target.session import Session
from iscsi_target.violation import format_error, rejected

_fields = unpacker(LogoutRequest, "@0", "@1", "itt", "cid")
_response = packer(
    LogoutResponse,
    "@0",
    "@1",
    "response",
    "itt",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "time2wait",
    "time2retain",
)


def execute(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A Logout Request whose turn it is. Raises PeerViolation."""
    byte0, byte1, itt, cid = _fields(raw.bhs, 0)
    reason = byte1 & 0x7F
    if len(raw.data):
        raise format_error("a Logout Request has no data", "R7143-11.14.2-01")
    if itt == NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.2.1.8-02", "a logout with the reserved task tag")
    if itt in session.tasks:
        raise rejected(RejectReason.TASK_IN_PROGRESS, "R7143-11.2.1.8-01", f"task tag {itt:#x} is in use")
    if reason > LogoutReason.RECOVERY:
        raise format_error(f"logout reason {reason} is reserved", "R7143-11.14.1-01")
    if session.discovery and reason != LogoutReason.CLOSE_SESSION and not core.policy.serve_discovery_fully:
        raise rejected(
            RejectReason.PROTOCOL_ERROR, "R7143-4.3-01", "a discovery session is logged out as a whole, with reason 0"
        )
    if not byte0 & 0x40:
        session.reopen()
    subject = connection if reason == LogoutReason.CLOSE_SESSION else session.connections.get(cid)
    if subject is None:
        _answer(core, connection, session, itt, reason, LogoutResponseCode.CID_NOT_FOUND)
    elif reason == LogoutReason.RECOVERY:
        _refuse_recovery(core, connection, session, itt, subject)
    else:
        subject.state = State.IN_LOGOUT
        _answer(core, connection, session, itt, reason, LogoutResponseCode.SUCCESS)
        if core.policy.stay_after_logout:
            return
        if reason == LogoutReason.CLOSE_SESSION:
            core.end_session(session, "logout")
        else:
            core.logout_connection(subject, "logout")


def _refuse_recovery(core: Core, connection: Connection, session: Session, itt: int, subject: Connection) -> None:
    """Below recovery level 2 nothing is recovered (11.15.1); the connection waits for a logout or a new login (T17)."""
    if subject is connection:
        connection.state = State.IN_LOGOUT
    reason = LogoutReason.RECOVERY
    _answer(core, connection, session, itt, reason, LogoutResponseCode.RECOVERY_NOT_SUPPORTED)
    if subject is connection and not core.policy.stay_after_logout:
        core.fail_connection(connection, "recovery logout refused", how="fin")


def _answer(
    core: Core, connection: Connection, session: Session, itt: int, reason: int, response: LogoutResponseCode
) -> None:
    times = session.parameters
    known = response != LogoutResponseCode.CID_NOT_FOUND
    # Where nothing is kept there is nothing to wait for (11.15.4).
    kept = response == LogoutResponseCode.RECOVERY_NOT_SUPPORTED
    connection.send(
        _response(
            Opcode.LOGOUT_RESPONSE,
            0x80,
            response,
            itt,
            connection.next_stat_sn(),
            session.exp_cmd_sn,
            session.max_cmd_sn,
            times.default_time2wait if known else 0,
            times.default_time2retain if kept else 0,
        )
    )
    core.tell(events.LoggedOut(connection=connection.number, reason=reason, response=int(response)))
