"""Moving the dialogue on by one PDU, after it was judged (RFC 7143 section 11, opcode by opcode)."""

from __future__ import annotations

from collections.abc import Callable

from iscsi_captures.dialogue import login, transfer
from iscsi_captures.dialogue.agreement import declare_segments
from iscsi_captures.dialogue.bits import ACKNOWLEDGE, FINAL, STATUS
from iscsi_captures.dialogue.numbers import NUMBERED, advance_cmd_sn, advance_stat_sn, advance_window
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection, Exchange, Phase, Side, Task
from iscsi_protocol import serial
from iscsi_protocol.history import TransportEvent, TransportRecord
from iscsi_protocol.pdu import (
    BHS_LENGTH,
    NO_TAG,
    AsyncEvent,
    LogoutReason,
    Opcode,
    RawPdu,
    SnackType,
    TaskFunction,
)
from iscsi_protocol.stream import Direction

PINGS_KEPT = 1024
_GONE = frozenset({TransportEvent.RST, TransportEvent.CLOSED_BY_US})
_ONE_TASK = frozenset({TaskFunction.ABORT_TASK, TaskFunction.TASK_REASSIGN, TaskFunction.QUERY_TASK})
_WHOLE_UNIT = frozenset({TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET})
_WHOLE_TARGET = frozenset(
    {TaskFunction.TARGET_WARM_RESET, TaskFunction.TARGET_COLD_RESET, TaskFunction.I_T_NEXUS_RESET}
)


class Dialogue:
    """All connections and sessions of a history. Connections that are closed are forgotten."""

    def __init__(self) -> None:
        self.connections: dict[int, Connection] = {}
        self.sessions: login.Sessions = {}
        self._half_closed: set[int] = set()

    def transport(self, record: TransportRecord) -> None:
        """Something happened to a TCP connection."""
        number, event = record.connection, record.event
        if event is TransportEvent.CONNECTED:
            self.connections[number] = Connection(number, known=True)
            self._half_closed.discard(number)
        elif event in _GONE or (event is TransportEvent.FIN and number in self._half_closed):
            self._half_closed.discard(number)
            gone = self.connections.pop(number, None)
            if gone is not None:
                self._forget(gone)
        elif event is TransportEvent.FIN:
            self._half_closed.add(number)

    def _forget(self, connection: Connection) -> None:
        session = connection.session
        session.recovering = True
        for itt in [itt for itt, task in session.tasks.items() if task.connection is connection]:
            del session.tasks[itt]
        if session.connections.get(connection.cid) is connection:
            del session.connections[connection.cid]

    def begin_in_the_middle(self, number: int, raw: RawPdu) -> Connection:
        """The connection of a PDU that no connect came before: known when the PDU opens a login, else seen from here on."""
        opens = raw.opcode == Opcode.LOGIN_REQUEST and b"InitiatorName=" in bytes(raw.data)
        connection = self.connections[number] = Connection(number, known=opens)
        connection.session.recovering = not opens
        if not opens and not login.is_login(raw.opcode):
            connection.phase = Phase.FULL
        return connection

    def look(self, connection: Connection, raw: RawPdu, direction: Direction, time: float) -> Sight:
        """The PDU with its text read and its session found; nothing else has moved yet."""
        opcode = raw.opcode
        if opcode == Opcode.LOGIN_REQUEST and not connection.login.first and connection.phase is Phase.LOGIN:
            login.join_session(self.sessions, connection, bytes(raw.bhs))
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
            connection.headers.append(bytes(sight.bhs))
        if raw.header_digest_error or (raw.data_digest_error and sight.from_initiator):
            sight.session.recovering = True
            connection.stat_sn = None if not sight.from_initiator else connection.stat_sn
            return
        if login.is_login(sight.opcode):
            if connection.phase is Phase.LOGIN:
                if sight.opcode == Opcode.LOGIN_REQUEST:
                    login.after_request(sight)
                else:
                    login.after_response(sight, self.sessions)
            return
        if connection.phase is not Phase.FULL:
            return
        if sight.opcode in NUMBERED:
            advance_cmd_sn(sight)
        elif not sight.from_initiator:
            advance_stat_sn(sight)
            advance_window(connection, sight.word(28), sight.word(32))
        step = _STEPS.get((sight.side, sight.opcode))
        if step is not None:
            step(sight)


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
    if sight.itt == NO_TAG or sight.itt in sight.session.tasks:
        return None
    task = Task(sight.itt, sight.opcode, sight.connection, bytes(sight.bhs), sight.word(24), sight.immediate)
    sight.session.remember(task)
    return task


def _nop_out(sight: Sight) -> None:
    task = _file(sight)
    if task is not None:
        task.ping = bytes(sight.raw.data)


def _scsi_command(sight: Sight) -> None:
    if sight.task is None and sight.itt != NO_TAG:
        transfer.command_sent(sight)


def _task_management(sight: Sight) -> None:
    referenced = sight.session.tasks.get(sight.word(20))
    if sight.bhs[1] & 0x7F == TaskFunction.ABORT_TASK and (referenced is None or referenced.cmd_sn != sight.word(32)):
        # An aborted command that never came counts as received (7.11): from here on holes may be filled so.
        sight.session.holes_count = False
    if _file(sight) is None:
        return
    for task in covered(sight.session.tasks[sight.itt]):
        task.aborting = True


def covered(request: Task) -> list[Task]:
    """The SCSI tasks that a task management request aims at (11.5.1): those of lower CmdSN."""
    bhs, session = request.bhs, request.connection.session
    function = bhs[1] & 0x7F
    if function in _ONE_TASK:
        task = session.tasks.get(int.from_bytes(bhs[20:24], "big"))
        return [task] if task is not None and task.opcode == Opcode.SCSI_COMMAND else []
    if function not in _WHOLE_UNIT and function not in _WHOLE_TARGET:
        return []
    return [
        task
        for task in session.tasks.values()
        if task.opcode == Opcode.SCSI_COMMAND
        and (function in _WHOLE_TARGET or task.lun == bhs[8:16])
        and serial.le(task.cmd_sn, request.cmd_sn)
    ]


def _text_request(sight: Sight) -> None:
    _file(sight)
    exchange = sight.connection.exchange = sight.exchange
    if exchange is None:
        return
    exchange.asked = True
    exchange.request_final = sight.final
    exchange.request_continued = sight.continued
    for pair in sight.pairs or ():
        if pair.key == "SendTargets":
            exchange.send_targets = pair.value


def _data_out(sight: Sight) -> None:
    task = sight.scsi
    burst = None if task is None else transfer.find_burst(task, sight.word(20))
    if task is not None and burst is not None:
        transfer.data_out_sent(task, burst, sight.word(36), sight.word(40), sight.length, sight.final)


def _logout_request(sight: Sight) -> None:
    if _file(sight) is not None:
        sight.connection.logout_asked = sight.bhs[1] & 0x7F


def _snack(sight: Sight) -> None:
    sight.connection.resent = True
    kind = sight.bhs[1] & 0x0F
    if kind in (SnackType.DATA_OR_R2T, SnackType.R_DATA) and sight.task is not None:
        sight.task.snacked = True


def _nop_in(sight: Sight) -> None:
    if sight.itt != NO_TAG:
        sight.session.end(sight.itt)
    ttt = sight.word(20)
    if ttt != NO_TAG:
        pings = sight.connection.pings
        if len(pings) >= PINGS_KEPT:
            del pings[next(iter(pings))]
        pings[ttt] = bytes(sight.bhs[8:16])


def _scsi_response(sight: Sight) -> None:
    if sight.task is not None and sight.task.opcode == Opcode.SCSI_COMMAND:
        sight.session.end(sight.itt)


def _task_management_response(sight: Sight) -> None:
    request = sight.task
    if request is None or request.opcode != Opcode.TASK_MANAGEMENT_REQUEST:
        return
    function = request.bhs[1] & 0x7F
    aimed_at = covered(request)
    sight.session.end(sight.itt)
    for task in aimed_at:
        if function in (TaskFunction.TASK_REASSIGN, TaskFunction.QUERY_TASK):
            task.aborting = False
            task.snacked = True
            if function == TaskFunction.TASK_REASSIGN and not sight.bhs[2]:
                task.connection = sight.connection
        elif not sight.bhs[2]:
            sight.session.abort(task.itt, function)
        else:
            task.aborting = False


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
        connection.exchange = None
        sight.session.end(exchange.itt)


def _data_in(sight: Sight) -> None:
    task = sight.scsi
    if task is None:
        return
    flags = sight.bhs[1]
    transfer.data_in_sent(task, sight.word(36), sight.word(40), sight.length, bool(flags & FINAL))
    if flags & ACKNOWLEDGE:
        task.acknowledge_bytes = 0
    elif task.acknowledge_bytes < sight.connection.limits.max_burst_length:
        task.acknowledge_bytes += sight.length
    if flags & STATUS:
        sight.session.end(sight.itt)


def _logout_response(sight: Sight) -> None:
    request = sight.task
    if request is None or request.opcode != Opcode.LOGOUT_REQUEST:
        return
    sight.session.end(sight.itt)
    connection, reason = sight.connection, request.bhs[1] & 0x7F
    if sight.bhs[2]:
        connection.logout_asked = None
        return
    cid = int.from_bytes(request.bhs[20:22], "big")
    if reason == LogoutReason.CLOSE_SESSION:
        sight.session.tasks.clear()
        for other in sight.session.connections.values():
            other.ended = True
        connection.ended = connection.logout_answered = True
    elif reason == LogoutReason.CLOSE_CONNECTION and cid == connection.cid:
        connection.ended = connection.logout_answered = True
    elif cid in sight.session.connections:
        sight.session.connections[cid].ended = True
        sight.session.recovering = True


def _r2t(sight: Sight) -> None:
    task = sight.scsi
    if task is not None:
        transfer.r2t_sent(task, sight.word(20), bytes(sight.bhs[8:16]), sight.word(36), sight.word(40), sight.word(44))


def _asynchronous(sight: Sight) -> None:
    event = sight.bhs[36]
    if event == AsyncEvent.TASKS_TERMINATED:
        lun = sight.bhs[8:16]
        for task in list(sight.session.tasks.values()):
            if task.opcode == Opcode.SCSI_COMMAND and task.lun == lun:
                sight.session.end(task.itt)
    elif event == AsyncEvent.LOGOUT_REQUESTED:
        sight.connection.logout_wanted = True
    elif event in (AsyncEvent.CONNECTION_DROP, AsyncEvent.SESSION_DROP):
        sight.session.recovering = True


def _reject(sight: Sight) -> None:
    header = bytes(sight.raw.data)[:BHS_LENGTH]
    if len(header) < BHS_LENGTH:
        return
    sight.session.recovering = True
    task = sight.session.tasks.get(int.from_bytes(header[16:20], "big"))
    if header[0] & 0x3F in NUMBERED and task is not None and task.bhs == header:
        sight.session.end(task.itt)
    if header[0] & 0x3F == Opcode.TEXT_REQUEST:
        sight.connection.exchange = None
        sight.session.end(int.from_bytes(header[16:20], "big"))
    if header[0] & 0x3F == Opcode.LOGOUT_REQUEST:
        sight.connection.logout_asked = None


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
