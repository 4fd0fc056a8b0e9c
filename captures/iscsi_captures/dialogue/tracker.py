"""Moving the dialogue on by one PDU, after it was judged (RFC 7143 section 11, opcode by opcode)."""

from __future__ import annotations

from collections.abc import Callable

from iscsi_captures.chap_secrets import NO_SECRETS, ChapSecrets
from iscsi_captures.dialogue import cdb, login, loss, retention, transfer
from iscsi_captures.dialogue.agreement import declare_segments
from iscsi_captures.dialogue.bits import ACKNOWLEDGE, FINAL, STATUS
from iscsi_captures.dialogue.logins import Logins
from iscsi_captures.dialogue.numbers import (
    HOLES_KEPT,
    NUMBERED,
    advance_cmd_sn,
    advance_stat_sn,
    advance_window,
    is_retry,
    open_again,
    plug,
)
from iscsi_captures.dialogue.reservations import COMMANDS, PARAMETERS_KEPT
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection, Exchange, Phase, Reset, Session, Side, keep
from iscsi_captures.dialogue.task import WATCHED, Task
from iscsi_protocol import serial
from iscsi_protocol.history import TransportEvent, TransportRecord
from iscsi_protocol.pdu import (
    BHS_LENGTH,
    NO_TAG,
    AsyncEvent,
    LogoutReason,
    Opcode,
    RawPdu,
    RejectReason,
    TaskFunction,
)
from iscsi_protocol.stream import Direction

PINGS_KEPT = 1024
PROMPT = 1.0
"""Seconds by which an answer may come later than an Asynchronous Message asks for."""
_GONE = frozenset({TransportEvent.RST, TransportEvent.CLOSED_BY_US})
_CARRIED_ON = frozenset({Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, Opcode.R2T})
_ONE_TASK = frozenset({TaskFunction.ABORT_TASK, TaskFunction.TASK_REASSIGN, TaskFunction.QUERY_TASK})
_COUNTS = frozenset({TaskFunction.ABORT_TASK, TaskFunction.QUERY_TASK})
_WHOLE_UNIT = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_WHOLE_TARGET = frozenset(
    {TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET, TaskFunction.I_T_NEXUS_RESET}
)
MULTI_TASK = _WHOLE_UNIT | _WHOLE_TARGET
RESETS = _WHOLE_TARGET | {TaskFunction.LOGICAL_UNIT_RESET}


class Dialogue:
    """All connections and sessions of a history. Connections that are closed are forgotten."""

    def __init__(self, chap_secrets: ChapSecrets = NO_SECRETS) -> None:
        """chap_secrets: what is known of the secrets of either side."""
        self.connections: dict[int, Connection] = {}
        self._logins = Logins(chap_secrets)
        self.sessions: login.Sessions = {}
        self._half_closed: set[int] = set()

    def transport(self, record: TransportRecord) -> None:
        """Something happened to a TCP connection."""
        number, event = record.connection, record.event
        if event is TransportEvent.CONNECTED:
            self.connections[number] = Connection(number, known=True, logins=self._logins)
            self._half_closed.discard(number)
        elif event in _GONE or (event is TransportEvent.FIN and number in self._half_closed):
            self._half_closed.discard(number)
            gone = self.connections.pop(number, None)
            if gone is not None:
                loss.lose(gone, record.time)
                loss.go(gone)
                if not gone.session.live():
                    self._logins.reservations.lose(gone.session)
        elif event is TransportEvent.FIN:
            self._half_closed.add(number)
            going = self.connections.get(number)
            if going is not None:
                loss.lose(going, record.time)

    def begin_in_the_middle(self, number: int, raw: RawPdu) -> Connection:
        """The connection of a PDU that no connect came before: known when the PDU opens a login, else seen from here on."""
        opens = raw.opcode == Opcode.LOGIN_REQUEST and b"InitiatorName=" in bytes(raw.data)
        connection = self.connections[number] = Connection(number, known=opens, logins=self._logins)
        connection.session.uncertain = not opens
        if not opens and not login.is_login(raw.opcode):
            connection.phase = Phase.FULL
        return connection

    def look(self, connection: Connection, raw: RawPdu, direction: Direction, time: float) -> Sight:
        """The PDU with its text read and its session found; nothing else has moved yet."""
        opcode = raw.opcode
        if opcode == Opcode.LOGIN_REQUEST and not connection.login.first and connection.phase is Phase.LOGIN:
            login.join_session(self.sessions, connection, raw)
        if connection.session.queried and opcode in _CARRIED_ON:
            _follow_query(connection, raw.initiator_task_tag)
        sight = Sight(connection, raw, direction, time)
        if raw.header_digest_error or raw.data_digest_error:
            return sight
        if login.is_login(opcode) and connection.phase is Phase.LOGIN:
            login.hear_login(sight)
        elif opcode in (Opcode.TEXT_REQUEST, Opcode.TEXT_RESPONSE) and connection.phase is Phase.FULL:
            _hear_text(sight)
        return sight

    def advance(self, sight: Sight) -> None:
        """Take over what the PDU says."""
        raw, connection = sight.raw, sight.connection
        if sight.from_initiator:
            header = bytes(sight.bhs)
            connection.headers.append(header)
            if connection.damaged and not raw.data_digest_error:
                connection.damaged.pop(header, None)
        if raw.header_digest_error:
            self._unreadable(sight)
            return
        if login.is_login(sight.opcode):
            if connection.phase is Phase.LOGIN and not raw.data_digest_error:
                login.note_challenge(sight)
                if sight.opcode == Opcode.LOGIN_REQUEST:
                    login.after_request(sight)
                else:
                    login.after_response(sight, self.sessions)
                    self._mark_reserved()
            elif sight.opcode == Opcode.LOGIN_RESPONSE and not raw.data_digest_error:
                retention.retain_stray(sight)
            return
        if connection.phase is not Phase.FULL:
            connection.login.intruded |= sight.side
            return
        if sight.from_initiator:
            _keep_promises(sight)
            retention.acknowledge(sight)
            if sight.opcode in NUMBERED:
                advance_cmd_sn(sight)
            if raw.data_digest_error:
                _damaged(sight)
                return
        else:
            retention.retain_status(sight)
            advance_stat_sn(sight)
            advance_window(sight)
        step = _STEPS.get((sight.side, sight.opcode))
        if step is not None:
            step(sight)
        self._follow_reservations(sight)

    def _follow_reservations(self, sight: Sight) -> None:
        """What the commands about them come to, and which others run against them."""
        held, session, opcode = self._logins.reservations, sight.session, sight.opcode
        task = session.tasks.get(sight.itt) if opcode == Opcode.SCSI_COMMAND else sight.task
        if task is None or task.opcode != Opcode.SCSI_COMMAND:
            if opcode == Opcode.TASK_MANAGEMENT_RESPONSE and task is not None and not sight.bhs[2]:
                function = task.bhs[1] & 0x7F
                if function in RESETS:
                    held.reset(session, None if function in _WHOLE_TARGET else task.bhs[8:16])
            return
        about, data = task.bhs[32] in COMMANDS, bytes(sight.raw.data[:PARAMETERS_KEPT])
        ends = opcode == Opcode.SCSI_RESPONSE or (opcode == Opcode.SCSI_DATA_IN and sight.bhs[1] & STATUS)
        if opcode == Opcode.SCSI_COMMAND:
            if about:
                held.sent(session, task, data)
            elif session.reserved and (against := held.conflicting(session, task)) is not None:
                keep(session.conflicts, task.itt, against)
        elif about and opcode == Opcode.SCSI_DATA_OUT and not sight.word(40):
            held.parameters(session, task, data)
        elif ends:
            session.conflicts.pop(task.itt, None)
            if about:
                good = not sight.bhs[3] and not (opcode == Opcode.SCSI_RESPONSE and sight.bhs[2])
                held.answered(session, task, max(self.connections), good=good)
                self._mark_reserved()

    def _mark_reserved(self) -> None:
        """Watch the sessions that somebody's reservation may keep from something."""
        self._logins.reservations.mark(connection.session for connection in self.connections.values())
        for connection in self.connections.values():
            if connection.session.reserved:
                connection.plain = False

    def _unreadable(self, sight: Sight) -> None:
        """A header with a wrong digest: what it counted, and what it was about, cannot be told."""
        session = sight.session
        if sight.from_initiator:
            session.gap_allowed = True
            if sight.task is None and sight.former is None and sight.itt not in session.ended and sight.itt != NO_TAG:
                keep(session.spoilt, sight.itt, "header")
        else:
            sight.connection.stat_sn = None
        for task in session.tasks.values():
            task.disturbed = True


def _follow_query(connection: Connection, tag: int) -> None:
    """A command goes on where QUERY TASK asked after it, once its connection was logged out (RFC 7144 6.3)."""
    session = connection.session
    if session.queried.get(tag) is connection:
        del session.queried[tag]
        task = session.tasks.get(tag) or session.finished.get(tag)
        if task is not None and task.connection.ended:
            retention.reassign(task, connection, 0)


def _damaged(sight: Sight) -> None:
    """A request with a wrong data digest: the target discards it (7.8). The initiator goes on behind it."""
    if sight.opcode == Opcode.SCSI_DATA_OUT:
        if sight.task is not None:
            sight.task.disturbed = True
        _data_out(sight)
    elif sight.task is None and sight.former is None and sight.itt != NO_TAG:
        keep(sight.session.spoilt, sight.itt, "data")
    keep_header(sight.connection, bytes(sight.bhs))


def keep_header(connection: Connection, header: bytes) -> None:
    """Note that this request came with a wrong data digest and waits for its Reject."""
    if len(connection.damaged) < PINGS_KEPT:
        connection.damaged[header] = None


def _hear_text(sight: Sight) -> None:
    exchange = sight.exchange
    if sight.from_initiator and (exchange is None or sight.word(20) == NO_TAG):
        exchange = sight.exchange = Exchange(sight.itt, sight.immediate)
    if exchange is None:
        return
    text = exchange.negotiation.gather(int(sight.direction), bytes(sight.raw.data), sight.continued)
    if text is not None:
        sight.pairs, sight.faults = exchange.negotiation.hear(int(sight.direction), text)


def _file(sight: Sight) -> Task | None:
    """A task for a request that is no SCSI Command; None for a tag that is taken already or none at all."""
    former = sight.task
    if former is not None and former.connection.ended and is_retry(sight):
        former.connection = sight.connection
    if sight.itt == NO_TAG or former is not None:
        return None
    task = Task(sight.itt, sight.opcode, sight.connection, bytes(sight.bhs), sight.word(24), sight.immediate)
    sight.session.remember(task)
    return task


def _nop_out(sight: Sight) -> None:
    task = _file(sight)
    if task is not None:
        task.ping = bytes(sight.raw.data)
    elif sight.itt == NO_TAG:
        sight.connection.terminations.pop(bytes(sight.bhs[8:16]), None)


def _scsi_command(sight: Sight) -> None:
    task = sight.task
    if task is not None and is_retry(sight) and task.recovery is not None and not (task.in_sn or task.r2t_sn):
        # It may be the first that arrives, so that its data goes with it once more.
        task.connection.unsolicited.pop(task.itt, None)
        transfer.command_sent(sight)
    elif task is None and sight.itt != NO_TAG:
        transfer.command_sent(sight)
    else:
        return
    bhs, begun = sight.bhs, sight.session.tasks[sight.itt]
    if bhs[32] in cdb.WATCHED or not cdb.fits(sight.session.block_lengths, bhs, begun.edtl):
        begun.broken |= WATCHED


def _task_management(sight: Sight) -> None:
    session, function, tag = sight.session, sight.bhs[1] & 0x7F, sight.word(20)
    referenced = session.tasks.get(tag)
    if function in _COUNTS and (referenced is None or referenced.cmd_sn != sight.word(32)):
        # A command that is aborted or queried and never came counts as received (7.11; RFC 7144 6.3.3).
        plug(session, sight.word(32))
    elif function in _WHOLE_TARGET:
        for number in session.open_numbers:
            if serial.lt(number, sight.word(24)):
                plug(session, number)
    over = referenced is None and tag in session.ended and tag not in session.forgotten
    request = _file(sight)
    if request is None:
        return
    known = session.exp_cmd_sn
    request.late = over and tag not in session.finished and known is not None and serial.lt(sight.word(32), known)
    if function in (TaskFunction.TASK_REASSIGN, TaskFunction.QUERY_TASK):
        # Whether its turn had come by now, an answer that has to wait does not tell.
        request.disturbed = referenced is None or known is None or serial.ge(referenced.cmd_sn, known)
        return
    for task in covered(request):
        # An earlier function may have ended it, though nobody has heard of that.
        task.disturbed |= task.aborting
        task.aborting = True
        if function == TaskFunction.ABORT_TASK and not is_up(task.connection):
            # It gives the task a new allegiance, too, and brings its status again (11.5.1).
            task.connection = sight.connection
            retention.expect_status(task)


def is_up(connection: Connection) -> bool:
    """Whether it is neither broken nor logged out."""
    return connection.lost_at is None and not connection.ended


def covered(request: Task) -> list[Task]:
    """The SCSI tasks that a task management request aims at (11.5.1): those of lower CmdSN."""
    bhs, session = request.bhs, request.connection.session
    function = bhs[1] & 0x7F
    if function in _ONE_TASK:
        tag = int.from_bytes(bhs[20:24], "big")
        task = session.tasks.get(tag) or session.finished.get(tag)
        return [task] if task is not None and task.opcode == Opcode.SCSI_COMMAND else []
    if function not in _WHOLE_UNIT and function not in _WHOLE_TARGET:
        return []
    return [
        task
        for task in session.tasks.values()
        if task.opcode == Opcode.SCSI_COMMAND
        and (function in _WHOLE_TARGET or task.lun == bhs[8:16])
        and (serial.lt(task.cmd_sn, request.cmd_sn) or (task.immediate and task.cmd_sn == request.cmd_sn))
    ]


def _text_request(sight: Sight) -> None:
    _file(sight)
    exchange = sight.connection.exchange = sight.exchange
    if exchange is None:
        return
    exchange.asked = True
    exchange.request_final = sight.final
    exchange.request_continued = sight.continued
    exchange.repeated = next((pair.key for pair in sight.pairs or () if pair.repeated), None)
    for pair in sight.pairs or ():
        if pair.key == "SendTargets":
            exchange.send_targets = pair.value


def _data_out(sight: Sight) -> None:
    task = sight.scsi
    burst = None if task is None else transfer.find_burst(task, sight.word(20))
    if task is not None and burst is not None:
        transfer.data_out_sent(task, burst, sight.word(36), sight.word(40), sight.length, sight.final)


def _logout_request(sight: Sight) -> None:
    if _file(sight) is None:
        return
    session, reason = sight.session, sight.bhs[1] & 0x7F
    if reason == LogoutReason.CLOSE_SESSION:
        session.closing = sight.word(24) if sight.immediate else serial.add(sight.word(24))
        sight.connection.logout_asked = reason
        return
    subject = loss.logged_out(sight.connection, sight.word(20) >> 16)
    if subject is not None:
        subject.logout_asked = reason


def _snack(sight: Sight) -> None:
    connection = sight.connection
    connection.resent = True
    retention.snack(sight)


def _nop_in(sight: Sight) -> None:
    if sight.itt != NO_TAG and sight.task is not None:
        sight.session.finish(sight.task, sight.word(24))
    ttt = sight.word(20)
    if ttt != NO_TAG:
        pings = sight.connection.pings
        if len(pings) >= PINGS_KEPT:
            del pings[next(iter(pings))]
        pings[ttt] = bytes(sight.bhs[8:16])


def _scsi_response(sight: Sight) -> None:
    if sight.task is not None and sight.task.opcode == Opcode.SCSI_COMMAND:
        sight.session.finish(sight.task, sight.word(24))


def _task_management_response(sight: Sight) -> None:
    request, session = sight.task, sight.session
    if request is None or request.opcode != Opcode.TASK_MANAGEMENT_REQUEST:
        return
    function, done = request.bhs[1] & 0x7F, not sight.bhs[2]
    aimed_at = covered(request)
    session.finish(request, sight.word(24))
    if function == TaskFunction.TASK_REASSIGN:
        for task in aimed_at:
            if done:
                retention.reassign(task, sight.connection, int.from_bytes(request.bhs[36:40], "big"))
        return
    if function == TaskFunction.QUERY_TASK:
        for task in aimed_at:
            if session.level > 1 and task.connection.ended and task.connection.kept:
                keep(session.queried, task.itt, sight.connection)
        return
    if (
        done
        and function in MULTI_TASK
        and len(session.live()) > 1
        and sight.connection.limits.task_reporting != "RFC3720"
    ):
        lun = request.bhs[8:16] if function in _WHOLE_UNIT else None
        session.fence = (sight.connection, sight.word(24), lun)
    if done and function in (TaskFunction.TARGET_COLD_RESET, TaskFunction.I_T_NEXUS_RESET):
        session.reset = Reset(function, sight.connection, sight.time)
    for task in aimed_at:
        if not done:
            task.aborting = False
        elif task.aborting:
            session.abort(task.itt, function)
    if done and function in RESETS:
        _reach_behind(session, request)


def _reach_behind(session: Session, request: Task) -> None:
    """A reset may have ended commands that came behind it as well (11.5.1)."""
    for task in session.tasks.values():
        task.disturbed |= request.bhs[1] & 0x7F in _WHOLE_TARGET or task.lun == request.bhs[8:16]


def _text_response(sight: Sight) -> None:
    exchange, connection = sight.exchange, sight.connection
    if exchange is None:
        return
    exchange.asked = False
    exchange.answer_continued = sight.continued
    exchange.ttt = sight.word(20)
    exchange.lun = bytes(sight.bhs[8:16])
    if sight.final and not sight.continued:
        declare_segments(connection.limits, exchange.negotiation)
        connection.resized_by = sight.word(24)
        connection.exchange = None
        if sight.task is not None:
            sight.session.finish(sight.task, sight.word(24))


def _data_in(sight: Sight) -> None:
    task = sight.command
    if task is not None and task.recovery is not None:
        retention.want_acknowledgement(task, sight)
    if task is None or sight.repeated or (sight.former is not None and not _sent_anew(sight)):
        return
    if task.recovery is not None:
        retention.retain_data(task, task.recovery, sight)
    if task.broken & WATCHED and not sight.word(40):
        told = cdb.block_length(task.bhs, bytes(sight.raw.data[:12]))
        if told is not None:
            sight.session.block_lengths[task.lun] = told
    flags = sight.bhs[1]
    transfer.data_in_sent(task, sight.word(36), sight.word(40), sight.length, bool(flags & FINAL))
    if flags & ACKNOWLEDGE:
        task.acknowledge_bytes = 0
    elif task.acknowledge_bytes < sight.connection.limits.max_burst_length:
        task.acknowledge_bytes += sight.length
    if flags & STATUS and sight.task is not None:
        sight.session.finish(task, sight.word(24))


def _sent_anew(sight: Sight) -> bool:
    """Whether the Data-In of a finished command belongs to a run that an R-Data SNACK brought."""
    task = sight.former
    if task is None or task.recovery is None or not task.recovery.tags:
        return False
    return sight.anew or (not task.recovery.again and sight.word(36) == task.in_sn)


def _logout_response(sight: Sight) -> None:
    request = sight.task
    if request is None or request.opcode != Opcode.LOGOUT_REQUEST:
        return
    session, connection, reason = sight.session, sight.connection, request.bhs[1] & 0x7F
    session.finish(request, sight.word(24))
    subject = loss.logged_out(connection, int.from_bytes(request.bhs[20:22], "big"))
    if sight.bhs[2]:
        if reason == LogoutReason.CLOSE_SESSION:
            session.closing = connection.logout_asked = None
        elif subject is not None:
            subject.logout_asked = None
        return
    if reason == LogoutReason.CLOSE_SESSION:
        session.tasks.clear()
        for other in list(session.connections.values()):
            loss.end_connection(other, kept=False, exp_cmd_sn=sight.word(28))
        connection.ended = connection.logout_answered = True
    elif subject is not None:
        # Nothing is kept for no time (11.15.4).
        kept = reason == LogoutReason.RECOVERY and bool(session.level < 2 or sight.word(40) & 0xFFFF)
        loss.end_connection(subject, kept=kept, exp_cmd_sn=sight.word(28))
        subject.logout_answered = subject is connection
        if kept and session.level > 1:
            subject.recover_from = sight.time + (sight.word(40) >> 16)
            subject.recover_until = subject.recover_from + (sight.word(40) & 0xFFFF)


def _r2t(sight: Sight) -> None:
    task = sight.scsi
    if task is None:
        return
    if task.recovery is not None and not retention.retain_r2t(task, task.recovery, sight):
        return
    transfer.r2t_sent(task, sight.word(20), bytes(sight.bhs[8:16]), sight.word(36), sight.word(40), sight.word(44))


def _asynchronous(sight: Sight) -> None:
    event, session, connection = sight.bhs[36], sight.session, sight.connection
    if event == AsyncEvent.TASKS_TERMINATED:
        lun = bytes(sight.bhs[8:16])
        connection.terminations[lun] = sight.word(24)
        for task in loss.tasks_of(connection):
            if task.opcode == Opcode.SCSI_COMMAND and task.lun == lun and serial.lt(task.cmd_sn, sight.word(28)):
                session.forget(task.itt)
                keep(session.terminated, task.itt, (connection, sight.word(24)))
    elif event == AsyncEvent.LOGOUT_REQUESTED:
        connection.logout_wanted = sight.word(24)
        connection.logout_by = _due(sight)
    elif event == AsyncEvent.NEGOTIATION_REQUESTED and connection.exchange is None:
        connection.text_by = _due(sight)
    elif event == AsyncEvent.CONNECTION_DROP:
        dropped = session.connections.get(sight.word(36) & 0xFFFF)
        if dropped is not None:
            loss.lose(dropped, sight.time, sight.word(40) >> 16, sight.word(40) & 0xFFFF)
    elif event == AsyncEvent.SESSION_DROP:
        for other in list(session.connections.values()):
            loss.lose(other, sight.time, sight.word(40) >> 16, sight.word(40) & 0xFFFF)


def _due(sight: Sight) -> float | None:
    """When the time that Parameter3 tells is over; None where it tells none."""
    seconds = sight.word(40) & 0xFFFF
    return sight.time + seconds if seconds else None


def _keep_promises(sight: Sight) -> None:
    """What an Asynchronous Message asked for comes, or is late once and for all."""
    connection, opcode = sight.connection, sight.opcode
    logout = opcode == Opcode.LOGOUT_REQUEST
    if connection.logout_by is not None and (logout or sight.time > connection.logout_by + PROMPT):
        connection.logout_by = None
    by, asked = connection.text_by, logout or opcode == Opcode.TEXT_REQUEST
    if by is not None and (asked or sight.time > by + PROMPT):
        connection.text_by = None


def _reject(sight: Sight) -> None:
    header = bytes(sight.raw.data)[:BHS_LENGTH]
    if len(header) < BHS_LENGTH:
        return
    session, connection, reason = sight.session, sight.connection, sight.bhs[2]
    opcode, tag = header[0] & 0x3F, int.from_bytes(header[16:20], "big")
    connection.damaged.pop(header, None)
    task = session.tasks.get(tag)
    if opcode in NUMBERED and task is not None and task.bhs == header:
        if not task.immediate:
            taken = opcode != Opcode.SCSI_COMMAND and reason != RejectReason.DATA_DIGEST_ERROR
            open_again(session, task.cmd_sn, received=taken)
        session.forget(tag)
    elif opcode in NUMBERED and not header[0] & 0x40:
        number = int.from_bytes(header[24:28], "big")
        # Whether it was acknowledged or not, a Reject asks for it.
        if len(session.open_numbers) < HOLES_KEPT:
            session.open_numbers.setdefault(number, True)
    elif task is not None and opcode == Opcode.SCSI_DATA_OUT:
        task.disturbed = True
    elif opcode == Opcode.SNACK_REQUEST and reason == RejectReason.SNACK_REJECT:
        retention.refuse(task)
    if opcode == Opcode.TEXT_REQUEST:
        connection.exchange = None
        session.forget(tag)
    if opcode == Opcode.LOGOUT_REQUEST:
        session.closing = None
        for other in (connection, *session.connections.values()):
            other.logout_asked = None


_STEPS: dict[tuple[Side, int], Callable[[Sight], None]] = {
    (Side.INITIATOR, Opcode.NOP_OUT): _nop_out,
    (Side.INITIATOR, Opcode.SCSI_COMMAND): _scsi_command,
    (Side.INITIATOR, Opcode.TASK_MANAGEMENT_REQUEST): _task_management,
    (Side.INITIATOR, Opcode.TEXT_REQUEST): _text_request,
    (Side.INITIATOR, Opcode.SCSI_DATA_OUT): _data_out,
    (Side.INITIATOR, Opcode.LOGOUT_REQUEST): _logout_request,
    (Side.INITIATOR, Opcode.SNACK_REQUEST): _snack,
    (Side.TARGET, Opcode.NOP_IN): _nop_in,
    (Side.TARGET, Opcode.SCSI_RESPONSE): _scsi_response,
    (Side.TARGET, Opcode.TASK_MANAGEMENT_RESPONSE): _task_management_response,
    (Side.TARGET, Opcode.TEXT_RESPONSE): _text_response,
    (Side.TARGET, Opcode.SCSI_DATA_IN): _data_in,
    (Side.TARGET, Opcode.LOGOUT_RESPONSE): _logout_response,
    (Side.TARGET, Opcode.R2T): _r2t,
    (Side.TARGET, Opcode.ASYNC_MESSAGE): _asynchronous,
    (Side.TARGET, Opcode.REJECT): _reject,
}
