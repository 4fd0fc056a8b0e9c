"""Asynchronous Messages, and the operator's wishes that lead to them (RFC 7143 11.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_protocol.pdu import NO_LUN, NO_TAG, AsyncEvent, AsyncMessage, encode
from iscsi_target.connection import Connection, State
from iscsi_target.session import Session
from iscsi_target.timers import Timer

if TYPE_CHECKING:
    from iscsi_target.core import Core


def send(
    connection: Connection,
    event: int,
    *,
    lun: bytes = NO_LUN,
    vcode: int = 0,
    parameters: tuple[int, int, int] = (0, 0, 0),
    sense: bytes = b"",
    event_data: bytes = b"",
) -> None:
    """An Asynchronous Message; it uses a StatSN. sense: without its length, which always precedes event data."""
    session = connection.in_session
    data = len(sense).to_bytes(2, "big") + sense + event_data if sense or event_data else b""
    raw = encode(
        AsyncMessage(
            lun=lun,
            itt=NO_TAG,
            stat_sn=connection.next_stat_sn() if connection.up else connection.stat_sn,
            exp_cmd_sn=session.exp_cmd_sn,
            max_cmd_sn=session.max_cmd_sn,
            async_event=event,
            async_vcode=vcode,
            parameter1=parameters[0],
            parameter2=parameters[1],
            parameter3=parameters[2],
            data=data,
        )
    )
    connection.send(bytes(raw.bhs), raw.data)


def request_logout(core: Core, connection: Connection, seconds: int) -> None:
    """Event 1 (T11, T12): the initiator is to log out in time. A discovery connection is just dropped (7.4.3)."""
    session = connection.session
    if session is None or connection.state not in (State.LOGGED_IN, State.LOGOUT_REQUESTED):
        return
    if session.discovery:
        core.logout_connection(connection, "logout wanted by the operator")
        return
    connection.state = State.LOGOUT_REQUESTED
    send(connection, AsyncEvent.LOGOUT_REQUESTED, parameters=(0, 0, seconds))
    connection.deadline = core.now + seconds
    core.timers.start(Timer.LOGOUT_REQUEST, connection.number, connection.deadline)


def request_negotiation(connection: Connection, seconds: int) -> None:
    """Event 4: the initiator is to begin a text negotiation in time, or to log out."""
    if connection.session is not None and not connection.session.discovery:
        send(connection, AsyncEvent.NEGOTIATION_REQUESTED, parameters=(0, 0, seconds))


def request_session_logout(core: Core, session: Session, seconds: int) -> None:
    """Event 1 on every connection of a session, since each of them is to be logged out."""
    for connection in session.full_feature_connections:
        request_logout(core, connection, seconds)


def announce_connection_drop(session: Session, connection: Connection, on: Connection) -> None:
    """Event 2 about a connection, on that one or another one of its session."""
    times = (session.parameters.default_time2wait, session.parameters.default_time2retain)
    send(on, AsyncEvent.CONNECTION_DROP, parameters=(connection.cid, *times))


def drop_connection(core: Core, connection: Connection, reason: str) -> None:
    """Event 2 and the end of the connection (T15). Another connection of the session, if there is one, carries the message,
    as for any other loss (7.1.4.3).
    """
    session = connection.session
    if session is None or connection.state in (State.FREE, State.CLEANUP_WAIT):
        core.fail_connection(connection, reason)
        return
    if session.discovery:
        core.logout_connection(connection, reason)
        return
    survivor = session.survivor_of(connection)
    announce_connection_drop(session, connection, survivor or connection)
    if core.policy.stay_after_drop_notice:
        return
    core.fail_connection(connection, reason, how="fin", announce=False)


def announce_session_drop(session: Session) -> None:
    """Event 3: all connections will be dropped, and nothing is kept (Time2Retain 0). One message tells of all."""
    for connection in session.full_feature_connections[:1]:
        times = (session.parameters.default_time2wait, 0)
        send(connection, AsyncEvent.SESSION_DROP, parameters=(0, *times))


def drop_session(core: Core, session: Session, reason: str) -> None:
    """Event 3 and the end of the session; on a discovery session only the end (7.4.3)."""
    if not session.discovery:
        announce_session_drop(session)
    if core.policy.stay_after_drop_notice:
        return
    core.end_session(session, reason)
