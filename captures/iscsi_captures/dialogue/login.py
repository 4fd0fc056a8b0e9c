"""Following the login phase (6.3, 11.12, 11.13): which session, which stage, and what comes into force at its end."""

from __future__ import annotations

from iscsi_captures.dialogue.agreement import settle_login
from iscsi_captures.dialogue.chap import binary
from iscsi_captures.dialogue.logins import Refusal, login_mark
from iscsi_captures.dialogue.loss import end_connection, forget_expired
from iscsi_captures.dialogue.numbers import advance_stat_sn, advance_window
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection, Phase, Session
from iscsi_protocol import serial
from iscsi_protocol.pdu import LoginStatus, Opcode, RawPdu, Stage

SESSIONS_KEPT = 1024
_INITIATOR_ERROR = 2

Sessions = dict[tuple[bytes, int], list[Session]]
"""By ISID and TSIH; more than one where initiators or targets differ."""


def join_session(sessions: Sessions, connection: Connection, raw: RawPdu) -> None:
    """The first Login Request of a connection: find the session that its names, ISID and TSIH name, or begin one (6.3.1)."""
    request = bytes(raw.bhs)
    isid, tsih = request[8:14], int.from_bytes(request[14:16], "big")
    session = _find(sessions.get((isid, tsih), []), bytes(raw.data)) if tsih else None
    if session is None:
        session = Session()
        session.isid, session.tsih = isid, tsih
        # Other connections of a session that began before the history may use its numbers too.
        session.uncertain = bool(tsih)
    connection.session = session
    connection.cid = int.from_bytes(request[20:22], "big")


def _find(candidates: list[Session], text: bytes) -> Session | None:
    """The session whose names this text gives; names that are not in it do not count."""
    said = dict(part.split(b"=", 1) for part in text.split(b"\0") if b"=" in part)
    for session in candidates:
        names = ((b"InitiatorName", session.initiator_name), (b"TargetName", session.target_name))
        if all(said.get(key, name.encode()) == name.encode() for key, name in names):
            return session
    return None


def hear_login(sight: Sight) -> None:
    """Join and read the text of a login PDU, before it is judged."""
    login = sight.connection.login
    text = login.negotiation.gather(int(sight.direction), bytes(sight.raw.data), sight.continued)
    if text is None:
        return
    sight.pairs, sight.faults = login.negotiation.hear(int(sight.direction), text)
    if sight.from_initiator and login.whole_requests == 0:
        said = login.negotiation.said[0]
        session = sight.session
        if session.discovery is None:
            session.discovery = said.get("SessionType") == "Discovery"
            session.initiator_name = said.get("InitiatorName", "")
            session.target_name = said.get("TargetName", "")


def note_challenge(sight: Sight) -> None:
    """Remember a challenge, to know it again."""
    session, side = sight.session, int(sight.direction)
    for pair in sight.pairs or ():
        challenge = binary(pair.value) if pair.key == "CHAP_C" else None
        if challenge:
            name = session.target_name if side else session.initiator_name
            sight.connection.login.chap.issue(side, name, challenge, sight.connection.number)


def after_request(sight: Sight) -> None:
    """Take over what a Login Request says."""
    login, session = sight.connection.login, sight.session
    if not login.first:
        login.first = bytes(sight.bhs)
        login.stage = sight.stage
        if session.cmd_sn is None:
            session.cmd_sn = sight.word(24)
    login.last = bytes(sight.bhs)
    login.asked = True
    if not sight.continued:
        login.whole_requests += 1
    _note_text(sight)


def _note_text(sight: Sight) -> None:
    """Remember how the login began, and keys that came again."""
    login = sight.connection.login
    if sight.pairs is None:
        return
    if sight.from_initiator and not login.mark:
        login.mark = login_mark(sight.bhs, sight.connection)
    again = (pair.key for pair in sight.pairs if pair.repeated and pair.key not in ("InitiatorName", "TargetName"))
    login.repeated[int(sight.direction)] = next(again, None)


def after_response(sight: Sight, sessions: Sessions) -> None:
    """Take over what a Login Response says; the last one begins the full feature phase."""
    login = sight.connection.login
    login.asked = False
    login.answered = bytes(sight.bhs)
    login.first_answer = login.first_answer or login.answered
    _note_text(sight)
    if sight.bhs[36]:
        login.refused = True
        status = sight.bhs[36] << 8 | sight.bhs[37]
        if status >> 8 == _INITIATOR_ERROR and status != LoginStatus.AUTHENTICATION_FAILURE and login.mark:
            login.logins.refuse(login.mark, Refusal(sight.connection.number, sight.time, status))
        return
    advance_stat_sn(sight)
    advance_window(sight)
    if sight.pairs is not None and login.last and not login.last[1] & 0x40:
        login.whole_answers += 1
    if not sight.final or sight.continued:
        return
    login.stage = sight.bhs[1] & 3
    if login.stage == Stage.FULL_FEATURE:
        _enter_full_feature(sight, sessions)


def _enter_full_feature(sight: Sight, sessions: Sessions) -> None:
    connection, session = sight.connection, sight.session
    connection.phase = Phase.FULL
    connection.login_stat_sn = sight.word(24)
    former = session.connections.get(connection.cid)
    if former is not None and former is not connection:
        # The login does what a logout would: for recovery at level 2, else to close the connection (6.3.4). Where
        # Time2Retain is 0, nothing is kept (11.15.4).
        kept = session.level > 1 and former.limits.time2retain > 0
        end_connection(former, kept=kept, exp_cmd_sn=sight.word(28))
    if connection.known:
        settle_login(connection)
    forget_expired(session, sight.time)
    session.connections[connection.cid] = connection
    tsih = int.from_bytes(sight.bhs[14:16], "big")
    session.tsih = tsih
    if len(sessions) >= SESSIONS_KEPT:
        del sessions[next(iter(sessions))]
    _reinstate(sessions, session)
    alike = sessions.setdefault((session.isid, tsih), [])
    if session not in alike:
        alike.append(session)
    connection.cmd_sn = None if session.cmd_sn is None else serial.add(session.cmd_sn, -1)


def _names(session: Session) -> tuple[str, str, bool | None]:
    return session.initiator_name, session.target_name, session.discovery


def _reinstate(sessions: Sessions, session: Session) -> None:
    """A new session with the names and ISID of an old one replaces it (6.3.5)."""
    for key, alike in list(sessions.items()):
        for old in list(alike):
            same = old.isid == session.isid and _names(old) == _names(session)
            if same and old is not session:
                old.tasks.clear()
                alike.remove(old)
        if not alike:
            del sessions[key]


def is_login(opcode: int) -> bool:
    """Whether the PDU belongs to the login phase."""
    return opcode in (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)
