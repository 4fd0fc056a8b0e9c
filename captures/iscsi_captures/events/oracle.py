"""The oracle: from the records of a history alone, the events that the initiator has to log.

It takes the records as they come, in bounded memory, and tells each event by `emit`. Connections whose beginning the history
does not show predict nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from iscsi_captures.events import closes, deadlines
from iscsi_captures.events.agreed import settle
from iscsi_captures.events.chap import Authentication
from iscsi_captures.events.declared import REQUEST, Declared, OwnTerms
from iscsi_captures.events.journal import NEVER, Emit, Journal
from iscsi_captures.events.login import Finished, Login, Redirected
from iscsi_captures.events.reception import Reception
from iscsi_captures.events.requests import Requests
from iscsi_captures.events.state import Connection, Session
from iscsi_protocol.history import BytesRecord, PduRecord, Record, SettingsRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import BHS_LENGTH, Opcode, RawPdu
from iscsi_protocol.stream import Direction
from iscsi_protocol.text import scan_pairs

SESSIONS_KEPT = 1024
CONNECTIONS_KEPT = 4096
CLOSED_KEPT = 64
CHALLENGES_KEPT = 4096
_DIGEST = 4
_FROM_TARGET = frozenset(int(opcode) for opcode in Opcode if opcode >= Opcode.NOP_IN)
Key = tuple[bytes, str]


class EventOracle:
    """Predicts the events of one history. settings: as a SettingsRecord would have them; such records add to them."""

    def __init__(self, emit: Emit, settings: Mapping[str, object] | None = None) -> None:
        self._settings: dict[str, object] = dict(settings or {})
        self._of_isid: dict[str, dict[str, object]] = {}
        self._journal = Journal(emit)
        self._terms = OwnTerms()
        self._requests = Requests(self._journal, self._terms)
        self._reception = Reception(self._journal)
        self._sessions: dict[Key, Session] = {}
        self._connections: dict[int, Connection] = {}
        self._logins: dict[int, Connection] = {}
        self._closed: dict[int, Connection] = {}
        self._challenges: deque[bytes] = deque(maxlen=CHALLENGES_KEPT)

    def record(self, record: Record) -> None:
        """Take the next record."""
        if record.time >= self._journal.due:
            self._pass_time(record)
        if type(record) is PduRecord:
            connection = self._connections.get(record.connection)
            if connection is None:
                return
            if record.direction:
                if connection.full:
                    self._reception.take(connection, record.raw, record.time)
                elif not connection.silent:
                    self._login_response(connection, record.raw, record.time)
            elif connection.full:
                self._requests.take(connection, record.raw, record.time)
            else:
                self._login_request(connection, record.raw, record.time)
        elif isinstance(record, TransportRecord):
            self._transport(record)
        elif isinstance(record, SettingsRecord):
            self._declare(record.settings)
        elif isinstance(record, BytesRecord) and record.direction is Direction.TO_INITIATOR:
            self._rest(record)

    def finish(self, now: float) -> None:
        """The history is over at this time: what has run out of time by then is logged."""
        self._fire_before(now, inclusive=True)

    # Time.

    def _pass_time(self, record: Record) -> None:
        """What has run out of time before the record; at its own time too, where it is something that the initiator did."""
        ours = isinstance(record, PduRecord) and record.direction is Direction.TO_TARGET
        closed = isinstance(record, TransportRecord) and record.event is TransportEvent.CLOSED_BY_US
        self._fire_before(record.time, inclusive=ours or closed)

    def _fire_before(self, now: float, *, inclusive: bool) -> None:
        sessions, journal = self._sessions.values(), self._journal
        while True:
            due = deadlines.earliest(sessions, self._logins.values())
            if due == NEVER or due > now or (due == now and not inclusive):
                journal.due = due
                return
            deadlines.fire(sessions, list(self._logins.values()), due, journal)

    # Settings.

    def _declare(self, settings: Mapping[str, object]) -> None:
        if REQUEST in settings:
            self._terms.say(settings[REQUEST])
            return
        self._settings.update(settings)
        isid = settings.get("ISID")
        if isinstance(isid, str):
            # A session that is opened anew under this name is no recovery of one before.
            self._of_isid[isid] = dict(self._settings)
            if len(self._of_isid) > SESSIONS_KEPT:
                del self._of_isid[next(iter(self._of_isid))]
            for key in [key for key in self._sessions if key[0].hex() == isid]:
                self._forget(key)

    # Connections.

    def _transport(self, record: TransportRecord) -> None:
        number = record.connection
        if record.event is TransportEvent.CONNECT:
            return
        connection = self._connections.get(number)
        if record.event is TransportEvent.CONNECTED:
            connection = self._connections[number] = Connection(number)
            connection.made_at = record.time
            connection.target = record.target
            if len(self._connections) > CONNECTIONS_KEPT:
                del self._connections[next(iter(self._connections))]
        elif connection is None:
            if record.event in closes.NOT_UP:
                closes.not_up(record, self._journal)
                self._redirect_failed(record)
        else:
            self._end(connection, record)

    def _end(self, connection: Connection, record: TransportRecord) -> None:
        self._connections.pop(connection.number, None)
        self._logins.pop(connection.number, None)
        session = connection.session
        if connection.full and not connection.explained and closes.by_us(record):
            if record.event is TransportEvent.CLOSED_BY_US:
                self._closed[connection.number] = connection
                if len(self._closed) > CLOSED_KEPT:
                    del self._closed[next(iter(self._closed))]
            elif session is not None:
                self._forget(session.key)  # the host has dropped it without a word
        closes.ended(connection, record, self._journal)

    def _redirect_failed(self, record: TransportRecord) -> None:
        for session in self._sessions.values():
            for cid, where in list(session.redirected.items()):
                if where == record.target:
                    del session.redirected[cid]
                    session.redirects.pop(cid, None)
                    return

    def _forget(self, key: Key) -> None:
        session = self._sessions.pop(key, None)
        if session is not None:
            session.forget_tasks()

    def _rest(self, record: BytesRecord) -> None:
        """What was left of a PDU when the initiator ended the connection: its header may be why."""
        connection = self._closed.pop(record.connection, None)
        if connection is None:
            return
        data = record.data
        if len(data) < BHS_LENGTH:
            return
        digests = connection.limits.header_digest
        whole = not digests or len(data) >= BHS_LENGTH + data[4] * 4 + _DIGEST
        if whole and self._reception.broken_off(connection, RawPdu(data[:BHS_LENGTH]), record.time):
            self._closed.clear()

    # Login.

    def _login_request(self, connection: Connection, raw: RawPdu, now: float) -> None:
        if raw.bhs[0] & 0x3F != Opcode.LOGIN_REQUEST:
            return
        login = connection.login
        if login is not None:
            login.request(raw)
        else:
            login = self._begin(connection, raw)
            due = connection.made_at if connection.made_at is not None else now
            session = connection.session
            if session is not None:
                connection.login_due = due + session.declared.logout
                self._journal.expect(connection.login_due)
        challenge = login.authentication.challenge
        if challenge is not None and challenge not in self._challenges:
            self._challenges.append(challenge)

    def _begin(self, connection: Connection, raw: RawPdu) -> Login:
        """The first request of a connection says which session it belongs to."""
        isid = bytes(raw.bhs[8:14])
        tsih = int.from_bytes(raw.bhs[14:16], "big")
        pairs, _ = scan_pairs(bytes(raw.data))
        key = (isid, next((value for name, value in pairs if name == "TargetName"), ""))
        session = self._sessions.get(key)
        alive = session is not None and session.up and not session.lost and bool(session.connections)
        if session is None or (alive and not tsih):
            declared = Declared(self._of_isid.get(isid.hex(), self._settings))
            session = self._sessions[key] = Session(key, declared, self._terms)
            if len(self._sessions) > SESSIONS_KEPT:
                self._forget(next(iter(self._sessions)))
        cid = int.from_bytes(raw.bhs[20:22], "big")
        session.redirected.pop(cid, None)
        declared = session.declared
        authentication = Authentication(
            declared.secret("CHAPSecret"), declared.secret("MutualCHAPSecret"), declared.text_of("MutualCHAPName")
        )
        login = Login(raw, authentication, leading=not tsih)
        session.discovery = login.keys.discovery
        connection.session = session
        connection.login = login
        connection.cid = cid
        self._logins[connection.number] = connection
        return login

    def _login_response(self, connection: Connection, raw: RawPdu, now: float) -> None:
        login, session = connection.login, connection.session
        if login is None or session is None:
            return
        opcode = raw.bhs[0] & 0x3F
        if opcode not in _FROM_TARGET:
            self._login_failed(connection, session, 24, bytes(raw.bhs), now)
            return
        outcome = login.response(raw, self._challenges)
        match outcome:
            case Finished() as finished:
                self._up(connection, session, login, finished, now)
            case Redirected() as redirected:
                followed = session.redirects.get(connection.cid, 0) + 1
                session.redirects[connection.cid] = followed
                if followed > session.declared.redirects:
                    self._login_failed(connection, session, 12, redirected.data, now)
                    return
                session.redirected[connection.cid] = redirected.where
                self._over(connection)
            case (event, dump):
                self._login_failed(connection, session, event, raw.to_bytes() if dump is None else dump, now)
            case None:
                pass

    def _login_failed(self, connection: Connection, session: Session, event: int, dump: bytes, now: float) -> None:
        self._journal.log(event, connection.number, now, dump)
        session.redirects.pop(connection.cid, None)
        self._over(connection)

    def _over(self, connection: Connection) -> None:
        connection.silent = True
        connection.login_due = None
        self._logins.pop(connection.number, None)

    def _up(self, connection: Connection, session: Session, login: Login, finished: Finished, now: float) -> None:
        connection.full = True
        connection.login_due = None
        self._logins.pop(connection.number, None)
        connection.high = finished.exp_stat_sn
        leading = not login.tsih
        connection.limits = settle(login.keys, None if leading else session.limits)
        if leading:
            session.limits = connection.limits
        session.tsih = finished.tsih
        closes.up(session, connection, leading, now, self._journal)
