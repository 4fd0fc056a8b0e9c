"""Connections that do not come up or end, and sessions that come back: events 1, 20, 34 and 59.

A close that the initiator decides logs nothing. CIDs whose connection ended without being given up are awaited; the final
login response of one of them, or of the session as a whole, is the end of its recovery.
"""

from __future__ import annotations

from iscsi_captures.events.dumps import address
from iscsi_captures.events.journal import Journal
from iscsi_captures.events.state import Connection, Session
from iscsi_protocol.history import TransportEvent, TransportRecord
from iscsi_protocol.stream import Direction

NOT_UP = frozenset({TransportEvent.REFUSED, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE})
_BY_PEER = frozenset({TransportEvent.FIN, TransportEvent.RST, TransportEvent.TIMED_OUT, TransportEvent.UNREACHABLE})


def by_us(record: TransportRecord) -> bool:
    """Whether the initiator ended the connection."""
    if record.event in (TransportEvent.FIN, TransportEvent.RST):
        return record.direction is Direction.TO_TARGET
    return record.event is TransportEvent.CLOSED_BY_US


def not_up(record: TransportRecord, journal: Journal) -> None:
    """No TCP connection came about."""
    dump = address(record.target) if record.target is not None else b""
    journal.log(1, record.connection, record.time, dump)


def ended(connection: Connection, record: TransportRecord, journal: Journal) -> None:
    """A connection that was up is not any more."""
    session = connection.session
    peer = not by_us(record) and record.event in _BY_PEER and not connection.silent
    if not connection.full:
        if peer:
            journal.log(59, record.connection, record.time)
            if session is not None:
                session.redirects.pop(connection.cid, None)
        return
    if session is None:
        return
    if session.connections.get(connection.cid) is connection:
        del session.connections[connection.cid]
    if peer and session.leaving not in (None, connection):
        session.end_of(connection)  # the target ends them all
        return
    if peer:
        journal.log(20, record.connection, record.time, session.target_name)
    if not connection.gone:
        _lose(session, connection, explained=peer or connection.explained)


def _lose(session: Session, connection: Connection, *, explained: bool) -> None:
    """The connection is to come back, and below level 2 the session with it."""
    session.lost.add(connection.cid)
    if connection.limits.level < 2 or session.down or session.leaving is not None:
        session.silence(explained=explained)
    else:
        session.suspend(connection)


def up(session: Session, connection: Connection, leading: bool, now: float, journal: Journal) -> None:
    """The final login response: 34 where it ends a recovery."""
    if leading:
        recovered = session.up
        session.lost.clear()
        session.down = False
        session.forget_tasks()
        session.connections.clear()
    else:
        recovered = connection.cid in session.lost
        session.lost.discard(connection.cid)
    session.up = True
    session.redirects.pop(connection.cid, None)
    session.connections[connection.cid] = connection
    if recovered:
        journal.log(34, connection.number, now, session.target_name)
