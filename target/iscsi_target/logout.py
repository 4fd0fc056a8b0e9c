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

_RECOVERY_LEVEL = 2
"""ErrorRecoveryLevel from which on connections are recovered (7.1.5)."""

_fields = unpacker(LogoutRequest, "@0", "@1", "itt", "cid", "exp_stat_sn")
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
    byte0, byte1, itt, cid, exp_stat_sn = _fields(raw.bhs, 0)
    reason = byte1 & 0x7F
    if len(raw.data):
        raise format_error("a Logout Request has no data", "R7143-11.14.2-01")
    if itt == NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.2.1.8-02", "a logout with the reserved task tag")
    if session.uses(itt):
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
        return
    core.acknowledge(subject, exp_stat_sn)
    if reason == LogoutReason.RECOVERY:
        _recover(core, connection, session, itt, subject)
    elif reason == LogoutReason.CLOSE_SESSION:
        _close_session(core, connection, session, itt)
    else:
        _close_connection(core, connection, session, itt, subject)


def _close_session(core: Core, connection: Connection, session: Session, itt: int) -> None:
    """Everything of the session ends, logins into it included (T7 f, T8, T13, T18, M1)."""
    connection.state = State.IN_LOGOUT
    _answer(core, connection, session, itt, LogoutReason.CLOSE_SESSION, LogoutResponseCode.SUCCESS)
    if core.policy.stay_after_logout:
        return
    for each in list(session.joining.values()):
        core.end_connection(each, "logout of the session")
    for each in session.connections.values():
        _drop_partial(each, connection)
    core.end_session(session, "logout")


def _close_connection(core: Core, connection: Connection, session: Session, itt: int, subject: Connection) -> None:
    """A connection leaves the session, this one or another. The response says that the cleanup is over (11.15), so that
    comes first, and the window of the response has room for the commands that ended.
    """
    if subject.state is not State.CLEANUP_WAIT:
        subject.state = State.IN_LOGOUT
    if not core.policy.stay_after_logout:
        core.terminate_tasks(session, subject)
    _answer(core, connection, session, itt, LogoutReason.CLOSE_CONNECTION, LogoutResponseCode.SUCCESS)
    if not core.policy.stay_after_logout:
        _drop_partial(subject, connection)
        core.logout_connection(subject, "logout")


def _recover(core: Core, connection: Connection, session: Session, itt: int, subject: Connection) -> None:
    """A connection leaves the session and its tasks stay, to be reassigned: at recovery level 2. Below nothing is recovered
    (11.15.1), and the connection waits for another logout or a login in its place, for as long as the response says (T17,
    M3, 11.15.4).
    """
    reason = LogoutReason.RECOVERY
    level2 = session.parameters.error_recovery_level >= _RECOVERY_LEVEL
    if subject.state is not State.CLEANUP_WAIT:
        subject.state = State.IN_LOGOUT
    if level2:
        core.suspend_tasks(session, subject)
    code = LogoutResponseCode.SUCCESS if level2 else LogoutResponseCode.RECOVERY_NOT_SUPPORTED
    _answer(core, connection, session, itt, reason, code)
    if core.policy.stay_after_logout:
        return
    _drop_partial(subject, connection)
    if level2:
        core.logout_for_recovery(subject, "recovery logout")
    elif subject.state is State.CLEANUP_WAIT:
        core.await_cleanup(subject)
    else:
        core.fail_connection(subject, "recovery logout refused", how="fin", announce=False)


def _drop_partial(subject: Connection, connection: Connection) -> None:
    """What is not sent on a connection goes with it, when another one carries the logout (Appendix E.1, note 13)."""
    if subject is not connection:
        subject.shed()


def _answer(
    core: Core, connection: Connection, session: Session, itt: int, reason: int, response: LogoutResponseCode
) -> None:
    times = session.parameters
    known = response != LogoutResponseCode.CID_NOT_FOUND
    # Where nothing is kept there is nothing to wait for (11.15.4).
    kept = known and reason == LogoutReason.RECOVERY
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
