"""Following the login phase (6.3, 11.12, 11.13): which session, which stage, and what comes into force at its end."""

from __future__ import annotations

from iscsi_captures.dialogue.agreement import settle_login
from iscsi_captures.dialogue.numbers import advance_stat_sn, advance_window
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection, Phase, Session
from iscsi_protocol import serial
from iscsi_protocol.pdu import Opcode, Stage

SESSIONS_KEPT = 1024

Sessions = dict[tuple[bytes, int], Session]


def join_session(sessions: Sessions, connection: Connection, request: bytes) -> None:
    """The first Login Request of a connection: find the session that its ISID and TSIH name, or begin one (6.3.1)."""
    isid, tsih = request[8:14], int.from_bytes(request[14:16], "big")
    session = sessions.get((isid, tsih)) if tsih else None
    if session is None:
        session = Session()
        session.isid, session.tsih = isid, tsih
        # Other connections of a session that began before the history may use its numbers too.
        session.recovering = bool(tsih)
    cid = int.from_bytes(request[20:22], "big")
    former = session.connections.get(cid)
    if former is not None and former is not connection:
        former.ended = True
        for itt in [itt for itt, task in session.tasks.items() if task.connection is former]:
            del session.tasks[itt]
        session.recovering = True
    connection.session = session
    connection.cid = cid


def hear_login(sight: Sight) -> None:
    """Join and read the text of a login PDU, before it is judged."""
    login = sight.connection.login
    text = login.negotiation.gather(int(sight.direction), bytes(sight.raw.data), sight.continued)
    if text is None:
        return
    sight.pairs, sight.faults = login.negotiation.hear(int(sight.direction), text)
    if sight.from_initiator and login.whole_requests == 0:
        said = login.negotiation.said[0]
        sight.session.discovery = said.get("SessionType") == "Discovery"
        sight.session.initiator_name = said.get("InitiatorName", "")


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


def after_response(sight: Sight, sessions: Sessions) -> None:
    """Take over what a Login Response says; the last one begins the full feature phase."""
    connection, login = sight.connection, sight.connection.login
    login.asked = False
    login.answered = bytes(sight.bhs)
    login.first_answer = login.first_answer or login.answered
    if sight.bhs[36]:
        login.refused = True
        return
    advance_stat_sn(sight)
    advance_window(connection, sight.word(28), sight.word(32))
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
    if connection.known:
        settle_login(connection)
    session.connections[connection.cid] = connection
    tsih = int.from_bytes(sight.bhs[14:16], "big")
    session.tsih = tsih
    if len(sessions) >= SESSIONS_KEPT:
        del sessions[next(iter(sessions))]
    _reinstate(sessions, session)
    sessions[session.isid, tsih] = session
    connection.cmd_sn = serial.add(session.cmd_sn or 0, -1) if session.cmd_sn is not None else None


def _reinstate(sessions: Sessions, session: Session) -> None:
    """A new session with the names and ISID of an old one replaces it (6.3.5)."""
    for key, old in list(sessions.items()):
        same = old.isid == session.isid and old.initiator_name == session.initiator_name
        if same and old is not session and old.tsih != session.tsih and old.discovery == session.discovery:
            old.tasks.clear()
            del sessions[key]


def is_login(opcode: int) -> bool:
    """Whether the PDU belongs to the login phase."""
    return opcode in (Opcode.LOGIN_REQUEST, Opcode.LOGIN_RESPONSE)
