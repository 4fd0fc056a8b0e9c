"""What the target sends in full feature phase, as the initiator has to judge it: one event for a PDU at most.

The first that holds counts: 22, 24, 21, 25, 23, 42, 27, and last 28, 26, 60 or 29. REACH says what the initiator ends for it,
so that nothing behind it is read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

from iscsi_captures.events import numbering, transfer
from iscsi_captures.events.dumps import words
from iscsi_captures.events.fields import invalid, is_no_sense
from iscsi_captures.events.journal import Journal
from iscsi_captures.events.numbering import USED, WRONG
from iscsi_captures.events.state import Asked, Connection, Management, ScsiTask, Session, Task
from iscsi_captures.events.tasks import answered, logout_failed, reassigned, rejected
from iscsi_captures.events.text import TextTask
from iscsi_protocol.digest import crc32c_of, digest_value
from iscsi_protocol.pdu import NO_TAG, AsyncEvent, LogoutReason, Opcode, RawPdu, SnackType, TaskFunction

_DATA_IN, _R2T, _NOP_IN = int(Opcode.SCSI_DATA_IN), int(Opcode.R2T), int(Opcode.NOP_IN)
_ASYNC, _REJECT = int(Opcode.ASYNC_MESSAGE), int(Opcode.REJECT)
_STATUS, _ACKNOWLEDGE = 0x01, 0x40
_FROM_TARGET = frozenset(int(opcode) for opcode in Opcode if opcode >= Opcode.NOP_IN)
_numbers = struct.Struct(">16xI4xI").unpack_from
_exp_data_sn = struct.Struct(">36xI").unpack_from
_SCSI_ANSWERS = frozenset({Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, Opcode.R2T})


class Reach(Enum):
    """What the initiator ends because of an event."""

    NOTHING = "nothing"
    CONNECTION = "the connection, at level 2; the session below"
    SESSION = "all connections of the session"
    LEVEL_0 = "all connections at level 0, nothing above"


REACH: Mapping[int, Reach] = MappingProxyType(
    {
        21: Reach.SESSION,
        22: Reach.CONNECTION,
        23: Reach.SESSION,
        24: Reach.SESSION,
        25: Reach.LEVEL_0,
        26: Reach.SESSION,
        27: Reach.NOTHING,
        28: Reach.SESSION,
        29: Reach.NOTHING,
        32: Reach.NOTHING,
        39: Reach.NOTHING,
        42: Reach.SESSION,
        48: Reach.CONNECTION,
        49: Reach.NOTHING,
        60: Reach.SESSION,
        63: Reach.SESSION,
    }
)
"""By event, for those that a PDU or its absence raises."""


def end(connection: Connection, session: Session, reach: Reach) -> None:
    """The initiator ends what an event reaches."""
    level = connection.limits.level
    if reach is Reach.NOTHING or (reach is Reach.LEVEL_0 and level):
        return
    if reach is Reach.CONNECTION and level > 1:
        session.suspend(connection)
    else:
        session.silence()


def given_up(connection: Connection, session: Session, asked: Asked, left: int, now: float, journal: Journal) -> None:
    """What SNACK asked for does not come: 42 for statuses; of data nothing is logged, and the task ends or is aborted."""
    if asked.task is not None:
        if asked.task.status is not None:
            session.end(asked.task)
        return
    journal.log(42, connection.number, now, words(left, asked.shown))
    end(connection, session, Reach.CONNECTION)


class Reception:
    """Reads the target's PDUs of full feature phase."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._meanings: dict[int, Callable[[Connection, Session, Task, RawPdu, float], int]] = {
            Opcode.SCSI_RESPONSE: self._response,
            Opcode.SCSI_DATA_IN: self._data_in,
            Opcode.R2T: self._r2t,
            Opcode.TASK_MANAGEMENT_RESPONSE: self._managed,
            Opcode.TEXT_RESPONSE: self._text,
            Opcode.LOGOUT_RESPONSE: self._logged_out,
            Opcode.NOP_IN: self._pong,
        }

    def take(self, connection: Connection, raw: RawPdu, now: float) -> None:
        """A PDU came."""
        session = connection.session
        if session is None or connection.silent:
            return
        bhs = raw.bhs
        opcode = bhs[0] & 0x3F
        if opcode == _DATA_IN and transfer.take_next(connection, session.tasks, raw):
            return
        event = 0
        if raw.header_digest_error or opcode not in _FROM_TARGET or len(raw.data) > connection.limits.max_recv:
            event = self.header_fault(connection, raw)
        elif raw.data_digest_error:
            event = 25
        elif invalid(raw, opcode):
            event = 23
        if event:
            self._raise(connection, session, event, raw, now)
            return
        itt, stat_sn = _numbers(bhs, 0)
        if opcode != _DATA_IN or bhs[1] & _STATUS:
            uses = opcode != _R2T and (opcode != _NOP_IN or itt != NO_TAG)
            took = numbering.take(connection, stat_sn, uses=uses)
            if took is not USED:
                if took is WRONG:  # and nothing was taken
                    self._log(connection, session, 42, words(connection.exp_stat_sn, stat_sn), now)
                return
        if opcode == _ASYNC:
            self._notice(connection, session, raw, now)
        elif opcode == _REJECT:
            self._rejected(connection, session, raw, now)
        elif opcode != _NOP_IN or itt != NO_TAG:
            self._answer(connection, session, raw, opcode, itt, now)

    def header_fault(self, connection: Connection, raw: RawPdu) -> int:
        """The event that a header raises by itself: 22, 24 or 21; 0 for none."""
        if raw.header_digest_error:
            return 22
        if raw.bhs[0] & 0x3F not in _FROM_TARGET:
            return 24
        return 21 if raw.data_segment_length > connection.limits.max_recv else 0

    def broken_off(self, connection: Connection, raw: RawPdu, now: float) -> bool:
        """All that came of a PDU is its header: whether it raises an event."""
        event = self.header_fault(connection, raw)
        if event == 24 and raw.data_segment_length <= connection.limits.max_recv:
            event = 0
        if event and connection.session is not None:
            self._raise(connection, connection.session, event, raw, now)
        return bool(event)

    def _answer(self, connection: Connection, session: Session, raw: RawPdu, opcode: int, itt: int, now: float) -> None:
        task = session.tasks.get(itt)
        if task is not None and task.connection is not connection:
            task = None
        elif task is not None and task.opcode | 0x20 != opcode:
            task = task if isinstance(task, ScsiTask) and opcode in _SCSI_ANSWERS else None
        event = 27 if task is None else self._meanings[opcode](connection, session, task, raw, now)
        if event:
            self._raise(connection, session, event, raw, now)

    def _raise(self, connection: Connection, session: Session, event: int, raw: RawPdu, now: float) -> None:
        bhs = bytes(raw.bhs)
        dump = bhs
        if event == 22:
            dump = bhs + bytes(raw.header_digest)
        elif event == 25:
            dump = words(crc32c_of(raw.data, raw.padding), digest_value(raw.data_digest))
            if connection.limits.level:
                _damaged(connection, session, raw)
        self._log(connection, session, event, dump, now)

    def _log(self, connection: Connection, session: Session, event: int, dump: bytes, now: float) -> None:
        self._journal.log(event, connection.number, now, dump)
        end(connection, session, REACH[event])

    # What a PDU means for its task; the event that it raises, 0 for none.

    def _data_in(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        if not isinstance(task, ScsiTask):
            return 27
        if transfer.take_data(connection, task, raw):
            return 26
        flags = raw.bhs[1]
        if flags & _STATUS:
            self._status(connection, session, task, raw)
        elif connection.limits.level:
            if flags & _ACKNOWLEDGE:
                task.ack_tag = int.from_bytes(raw.bhs[20:24], "big")
            if task.status is not None and not task.holes and not task.anew:
                session.end(task)
        return 0

    def _status(self, connection: Connection, session: Session, task: ScsiTask, raw: RawPdu) -> None:
        """Status came: the task is over, unless data is missing that SNACK can ask for; the status waits for it then."""
        if not connection.limits.level or not (task.holes or task.anew or task.tag):
            session.end(task)
            return
        stat_sn = _numbers(raw.bhs, 0)[1]
        if task.tag and (raw.bhs[0] & 0x3F == _DATA_IN or int.from_bytes(raw.bhs[20:24], "big") != task.tag):
            numbering.reopen(connection, stat_sn)  # from before an R-Data SNACK: another comes in its place
        elif task.holes or task.anew:
            task.status = stat_sn
            connection.withheld[stat_sn] = None
        else:
            session.end(task)

    def _r2t(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        return 28 if isinstance(task, ScsiTask) and transfer.take_r2t(connection, task, raw) else 0

    def _response(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        if len(raw.data) and is_no_sense(raw, connection.limits.protocol_level):
            return 60
        if isinstance(task, ScsiTask):
            if connection.limits.level:
                transfer.take_tail(task, _exp_data_sn(raw.bhs, 0)[0])
            self._status(connection, session, task, raw)
        return 0

    def _managed(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        if isinstance(task, Management) and task.code == TaskFunction.TASK_REASSIGN:
            due = reassigned(session, task, raw.bhs[2], now)
            if due is not None:
                self._journal.expect(due)
        elif isinstance(task, Management):
            self._climb(connection, session, answered(session, task, raw.bhs[2], now), now)
        return 0

    def _text(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        if isinstance(task, TextTask) and not task.hear(raw):
            session.end(task)
        return 0

    def _logged_out(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        """Whatever the response says, the initiator reads no more of what it wanted to log out."""
        session.end(task)
        reason = task.bhs[1] & 0x7F
        if raw.bhs[2]:
            logout_failed(session, task)
        elif reason == LogoutReason.CLOSE_SESSION:
            session.up = connection.logout_wanted
            session.silence()
        elif reason == LogoutReason.CLOSE_CONNECTION:
            connection.silent = connection.explained = connection.gone = True
            session.end_of(connection)
            if connection.logout_wanted:
                session.lost.add(connection.cid)
        return 0

    def _pong(self, connection: Connection, session: Session, task: Task, raw: RawPdu, now: float) -> int:
        session.end(task)
        return 0

    # What the target says unasked.

    def _notice(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        event = raw.bhs[36]
        if event == AsyncEvent.LOGOUT_REQUESTED:
            self._log(connection, session, 32, session.target_name, now)
            connection.logout_wanted = True
        elif event == AsyncEvent.TASKS_TERMINATED:
            session.end_scsi(bytes(raw.bhs[8:16]))

    def _rejected(self, connection: Connection, session: Session, raw: RawPdu, now: float) -> None:
        header = bytes(raw.data[: 48 + raw.data[4] * 4])
        self._log(connection, session, 29, header, now)
        if header[0] & 0x3F == Opcode.SNACK_REQUEST:
            self._snack_rejected(connection, session, header, now)
        else:
            self._climb(connection, session, rejected(session, connection, raw, header, now), now)

    def _climb(self, connection: Connection, session: Session, event: int, now: float) -> None:
        """What follows on the ladder from a function that failed."""
        if event:
            self._log(connection, session, event, session.target_name, now)

    def _snack_rejected(self, connection: Connection, session: Session, header: bytes, now: float) -> None:
        """By what the target says was its kind, whatever it was: no other was asked for then."""
        kind, begin = header[1] & 0x0F, int.from_bytes(header[40:44], "big")
        task = session.tasks.get(int.from_bytes(header[16:20], "big")) if kind == SnackType.DATA_OR_R2T else None
        if kind != SnackType.STATUS and not isinstance(task, ScsiTask):
            return
        refused = numbering.refused(connection, task if isinstance(task, ScsiTask) else None, begin)
        if refused is not None:
            asked, left = refused
            given_up(connection, session, asked, left, now, self._journal)


def _damaged(connection: Connection, session: Session, raw: RawPdu) -> None:
    """A PDU with a wrong data digest above level 0: it is asked for again, by StatSN or by DataSN (7.8)."""
    opcode = raw.bhs[0] & 0x3F
    itt, stat_sn = _numbers(raw.bhs, 0)
    if opcode == _DATA_IN and not raw.bhs[1] & _STATUS:
        task = session.tasks.get(itt)
        if isinstance(task, ScsiTask):
            transfer.take_damaged_data(task, raw)
    elif opcode != _R2T and (opcode != _NOP_IN or itt != NO_TAG):
        numbering.take_damaged(connection, stat_sn)
