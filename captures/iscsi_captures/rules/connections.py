"""Connections of a session: how they join it, leave it and are recovered (4.2.5.1, 6.3, 7.5, 11.9.1, 11.14, 11.15)."""

from __future__ import annotations

from iscsi_captures.dialogue import Connection, Phase, Sight
from iscsi_captures.dialogue.loss import logged_out
from iscsi_captures.dialogue.numbers import NUMBERED, is_retry
from iscsi_captures.dialogue.tracker import PROMPT, is_up
from iscsi_captures.rules.model import INITIATOR_OPCODES, Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import LogoutReason, LogoutResponseCode, Opcode, Stage, TaskFunction, opcode_name

RULES = Rules((Phase.FULL,))
_LOGIN = (Phase.LOGIN,)
_LOGIN_REQUEST = Opcode.LOGIN_REQUEST
_LOGIN_RESPONSE = Opcode.LOGIN_RESPONSE
_LOGOUT = Opcode.LOGOUT_REQUEST
_LOGOUT_RESPONSE = Opcode.LOGOUT_RESPONSE
_TMF = Opcode.TASK_MANAGEMENT_REQUEST
_OTHER_ANSWERS = (Opcode.NOP_IN, Opcode.TASK_MANAGEMENT_RESPONSE, Opcode.TEXT_RESPONSE, _LOGOUT_RESPONSE)
SLACK = 0.25
"""Seconds by which the two ends may see a connection end apart from each other."""


@RULES("mcs.answer-on-other-connection", "R7143-4.2.5.1-01", *_OTHER_ANSWERS, stain=Stain.TASK)
def answer_on_other_connection(sight: Sight) -> str | None:
    """A request is answered on the connection that it came over."""
    task = sight.task
    if task is None or task.connection is sight.connection or task.opcode == Opcode.SCSI_COMMAND:
        return None
    return f"the {opcode_name(task.opcode)} went out on connection {task.connection.number}"


def _accepted(sight: Sight) -> bool:
    return sight.final and sight.bhs[1] & 3 == Stage.FULL_FEATURE and not sight.bhs[36]


@RULES("login.joined-other-tsih", "R7143-6.3.1-04", _LOGIN_RESPONSE, phases=_LOGIN, from_start=True)
def joined_other_tsih(sight: Sight) -> str | None:
    """A login that joins a session is accepted with the TSIH of that session."""
    first, tsih = sight.connection.login.first, sight.word(12) & 0xFFFF
    if not first or not _accepted(sight):
        return None
    asked = int.from_bytes(first[14:16], "big")
    return f"TSIH {tsih} for a connection that joins the session {asked}" if asked and tsih and tsih != asked else None


@RULES("login.too-many-connections", "R7143-13.2-01", _LOGIN_RESPONSE, phases=_LOGIN, from_start=True)
def too_many_connections(sight: Sight) -> str | None:
    """A session has no more connections than MaxConnections."""
    session, cid = sight.session, sight.connection.cid
    if session.limits is None or session.uncertain or session.discovery or not _accepted(sight):
        return None
    others = sum(other.cid != cid for other in session.live())
    if others + 1 <= session.limits.max_connections:
        return None
    return f"connection {others + 1} of a session with MaxConnections={session.limits.max_connections}"


def _replaced(sight: Sight) -> Connection | None:
    """The connection that the first Login Request of a login is about to take the place of."""
    if sight.connection.login.first:
        return None
    former = sight.session.connections.get(sight.connection.cid)
    return None if former is sight.connection else former


@RULES("login.reinstates-live-connection", "R7143-6.3.4-05", _LOGIN_REQUEST, level="ADVICE", phases=_LOGIN)
def reinstates_live_connection(sight: Sight) -> str | None:
    """An initiator takes the place only of a connection that it knows to have failed."""
    former = _replaced(sight)
    if former is None or former.lost_at is not None or former.logout_asked is not None or former.broken:
        return None
    return f"CID {former.cid} is up, as connection {former.number}"


@RULES("recovery.before-time2wait", "R7143-7.5-01", _LOGIN_REQUEST, level="SHOULD", phases=_LOGIN, from_start=True)
def login_before_time2wait(sight: Sight) -> str | None:
    """A failed connection is not reinstated before Time2Wait has passed."""
    former = _replaced(sight)
    return None if former is None or former.ended else _early(former, sight)


def _early(connection: Connection, sight: Sight) -> str | None:
    begin = connection.recover_from
    if begin is None or sight.time >= begin - SLACK:
        return None
    return f"{begin - sight.time:.2f} s before Time2Wait of CID {connection.cid} is over"


@RULES("recovery.logout-before-time2wait", "R7143-7.5-01", _LOGOUT, level="SHOULD", from_start=True)
def logout_before_time2wait(sight: Sight) -> str | None:
    """A failed connection is not logged out before Time2Wait has passed."""
    subject = _subject(sight)
    if subject is None or subject is sight.connection or subject.lost_at is None:
        return None
    return _early(subject, sight)


def _former_of_task(sight: Sight) -> Connection | None:
    """The connection that a TASK REASSIGN wants its task to leave."""
    if sight.bhs[1] & 0x7F != TaskFunction.TASK_REASSIGN or sight.session.level < 2:
        return None
    tag = sight.word(20)
    task = sight.session.tasks.get(tag) or sight.session.finished.get(tag)
    return None if task is None else task.connection


@RULES("recovery.reassign-before-time2wait", "R7143-7.5-01", _TMF, level="SHOULD", from_start=True)
def reassign_before_time2wait(sight: Sight) -> str | None:
    """A task is not reassigned before Time2Wait has passed."""
    former = _former_of_task(sight)
    return None if former is None or not former.ended else _early(former, sight)


@RULES("recovery.after-time2retain", "R7143-7.5-02", _TMF, level="ADVICE", from_start=True)
def after_time2retain(sight: Sight) -> str | None:
    """Tasks are reassigned before Time2Retain is over."""
    former = _former_of_task(sight)
    if former is None or former.recover_until is None or sight.time <= former.recover_until + SLACK:
        return None
    return f"{sight.time - former.recover_until:.2f} s after Time2Retain of CID {former.cid} is over"


def _subject(sight: Sight) -> Connection | None:
    if sight.bhs[1] & 0x7F == LogoutReason.CLOSE_SESSION:
        return None
    return logged_out(sight.connection, sight.word(20) >> 16)


@RULES("logout.request-after-session-logout", "R7143-11.14-03", *NUMBERED, from_start=True)
def request_after_session_logout(sight: Sight) -> str | None:
    """After a Logout Request for the session no new request goes out on any of its connections."""
    closing = sight.session.closing
    if closing is None or sight.immediate or sight.connection.logout_asked is not None or is_retry(sight):
        return None
    number = sight.word(24)
    return f"CmdSN {number} after the Logout Request with {closing}" if serial.ge(number, closing) else None


def _asked(sight: Sight) -> tuple[int, int] | None:
    """Reason and CID of the Logout Request that is answered."""
    request = sight.task
    if request is None or request.opcode != _LOGOUT:
        return None
    return request.bhs[1] & 0x7F, int.from_bytes(request.bhs[20:22], "big")


@RULES("logout.cid-denied", "R7143-11.15.1-01", _LOGOUT_RESPONSE, from_start=True)
def cid_denied(sight: Sight) -> str | None:
    """The CID of a connection that is up is found."""
    asked = _asked(sight)
    if asked is None or asked[0] == LogoutReason.CLOSE_SESSION or sight.bhs[2] != LogoutResponseCode.CID_NOT_FOUND:
        return None
    subject = logged_out(sight.connection, asked[1])
    if subject is None or not is_up(subject):
        return None
    return f"CID {asked[1]} is not found, and is that of connection {subject.number}"


@RULES("logout.session-cid-denied", "R7143-11.14.3-01", _LOGOUT_RESPONSE, leans=False)
def session_cid_denied(sight: Sight) -> str | None:
    """Closing a session takes no CID."""
    asked = _asked(sight)
    if asked is None or asked[0] != LogoutReason.CLOSE_SESSION or sight.bhs[2] != LogoutResponseCode.CID_NOT_FOUND:
        return None
    return "the CID is not found in a request to close the session"


@RULES("logout.recovery-denied", "R7143-11.15.1-01", _LOGOUT_RESPONSE, from_start=True)
def recovery_denied(sight: Sight) -> str | None:
    """Only a logout for recovery below ErrorRecoveryLevel 2 is answered with 2."""
    asked, level = _asked(sight), sight.session.level
    if asked is None or sight.bhs[2] != LogoutResponseCode.RECOVERY_NOT_SUPPORTED:
        return None
    if asked[0] != LogoutReason.RECOVERY:
        return f"response 2 to a logout with reason {asked[0]}"
    return f"a logout for recovery is not supported at ErrorRecoveryLevel {level}" if level > 1 else None


@RULES("async.command-after-logout-request", "R7143-11.9.1-04", Opcode.SCSI_COMMAND, level="SHOULD")
def command_after_logout_request(sight: Sight) -> str | None:
    """Once the initiator has seen event 1 it sends no new command on the connection."""
    wanted, acked = sight.connection.logout_wanted, sight.connection.acked
    if wanted is None or acked is None or serial.le(acked, wanted) or is_retry(sight):
        return None
    return f"a command after event 1 (StatSN {wanted}) was acknowledged"


@RULES("discovery.second-connection", "R7143-13.21-02", _LOGIN_RESPONSE, phases=_LOGIN, from_start=True)
def second_of_discovery(sight: Sight) -> str | None:
    """A discovery session has one connection."""
    session, cid = sight.session, sight.connection.cid
    if not session.discovery or session.uncertain or not _accepted(sight):
        return None
    others = [other.number for other in session.live() if other.cid != cid]
    return f"a second connection joins the discovery session of connection {others[0]}" if others else None


@RULES("async.logout-late", "R7143-11.9.1-02", *INITIATOR_OPCODES, stain=Stain.NOTHING)
def logout_late(sight: Sight) -> str | None:
    """The logout that event 1 asks for comes within the time that it tells."""
    return _late(sight, sight.connection.logout_by, "logout that event 1 asks for")


@RULES("async.negotiation-late", "R7143-11.9.1-09", *INITIATOR_OPCODES, stain=Stain.NOTHING)
def negotiation_late(sight: Sight) -> str | None:
    """The Text Request that event 4 asks for comes within the time that it tells, unless a logout does."""
    return _late(sight, sight.connection.text_by, "Text Request that event 4 asks for")


def _late(sight: Sight, by: float | None, what: str) -> str | None:
    if by is None or sight.time <= by + PROMPT:
        return None
    return f"the {what} was due {sight.time - by:.2f} s ago"
