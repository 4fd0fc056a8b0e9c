"""What the target sends in full feature phase, judged and acted on (RFC 7143 chapters 7 and 11).

One PDU raises one event at most, the first that applies: opcode (24), data digest (25), fields (23), StatSN (42), tag (27),
then what the PDU means for its task (28, 26, 60, 29). What broke the framing (22, 21) the connection says. What is out of its
order at recovery level 1 and above is left to `snack`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar

from iscsi_initiator.judge import excess_data, fault_of, sense_length
from iscsi_initiator.link import Link
from iscsi_initiator.requests import AsyncReceived, Failure, PingResult, ScsiResult, TaskManagementResult
from iscsi_initiator.tasks import DataMissing, Reassignment, RecoveryLogout, ScsiTask, SendBufferFull, Task, Violation
from iscsi_initiator.work import MAX_RESENDS
from iscsi_protocol import serial
from iscsi_protocol.digest import crc32c_of, digest_value
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.pdu import NO_TAG, AsyncMessage, NopIn, NopOut, RawPdu, Reject, decode
from iscsi_protocol.pdu.codes import AsyncEvent, Flag, Opcode, RejectReason
from iscsi_protocol.scsi.status import Status

if TYPE_CHECKING:
    from iscsi_initiator.connection import Connection

_numbers = struct.Struct(">16xI4xIII").unpack_from
"""Initiator Task Tag, StatSN, ExpCmdSN, MaxCmdSN of a response."""
_data_in = struct.Struct(">16xI4xIIIII").unpack_from
"""The same, and DataSN and buffer offset of a Data-In."""
_residuals = struct.Struct(">36xIII").unpack_from
"""ExpDataSN or DataSN, bidirectional read residual or offset, residual."""

# Plain integers, as in tasks.
_STATUS, _ACKNOWLEDGE = int(Flag.STATUS), 0x40
_UNDERFLOW, _OVERFLOW = int(Flag.UNDERFLOW), int(Flag.OVERFLOW)
_BIDI_UNDERFLOW, _BIDI_OVERFLOW = int(Flag.BIDI_UNDERFLOW), int(Flag.BIDI_OVERFLOW)
_DATA_IN, _R2T, _NOP_IN, _SCSI_RESPONSE = (
    int(Opcode.SCSI_DATA_IN),
    int(Opcode.R2T),
    int(Opcode.NOP_IN),
    int(Opcode.SCSI_RESPONSE),
)
_MASK = 0xFFFFFFFF
_PLAIN = bytes((Flag.FINAL, 0, 0, 0, 0, 0, 0))
"""Bytes 1 to 7 of a SCSI Response that says GOOD and nothing else, which breaks no rule."""
_ALL_AT_ONCE = int(Flag.FINAL | Flag.STATUS)
_WITHOUT_STATUS = (0, int(Flag.FINAL))

_FAILS_THE_TASK = frozenset({23, 26, 28, 60})
"""Events whose task would provoke them again if it were sent again."""

_GOOD: dict[int, ScsiResult] = {}
"""What reads end with that got all they wanted, by their length; they share it."""
_MOST_GOOD = 256
_GOOD_WRITE = ScsiResult(0)


def _good(received: int) -> ScsiResult:
    result = _GOOD.get(received)
    if result is None:
        if len(_GOOD) >= _MOST_GOOD:
            _GOOD.clear()
        result = _GOOD[received] = ScsiResult(0, received=received)
    return result


class Reception:
    """The receiving half of a connection in full feature phase."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._session = connection.session

    def take(self, raw: RawPdu, link: Link, now: float) -> None:
        """Act on one PDU."""
        bhs = raw.bhs
        opcode = bhs[0] & 0x3F
        task = None
        try:
            if opcode == _DATA_IN:
                task = self._data_in(raw, link, now)
                return
            plain = opcode == _SCSI_RESPONSE and bhs[1:8] == _PLAIN
            if not plain:
                self._check(raw, opcode)
                if raw.data_digest_error and self._damaged(raw, opcode, now):
                    return
            itt, stat_sn, exp_cmd_sn, max_cmd_sn = _numbers(bhs)
            consumes = opcode != _R2T and (opcode != _NOP_IN or itt != NO_TAG)
            if not self._stat_sn(link, stat_sn, now, consumes=consumes):
                return
            work = self._session.work
            work.take_command_numbers(exp_cmd_sn, max_cmd_sn)
            task = work.tasks.get(itt)
            if plain and self._plainly_over(task, link):
                return
            task = None
            notice = _NOTICES.get(opcode)
            if notice is not None:
                notice(self, raw, link, now)
                return
            if itt == NO_TAG and opcode == _NOP_IN:
                self._nop_in(raw, link)
                return
            task = work.tasks.get(itt)
            if (
                task is None
                or task.link is not link
                or (task.answer != opcode and not (opcode == _R2T and isinstance(task, ScsiTask)))
            ):
                task = None
                if opcode == Opcode.TEXT_RESPONSE:
                    self._connection.text.heard(itt)
                raise Violation(27, bytes(bhs), f"no task {itt:#x}")
            _ANSWERS[opcode](self, raw, task, now)
        except Violation as violation:
            if task is None and violation.event in _FAILS_THE_TASK:
                task = self._connection.task_of(raw.initiator_task_tag)
            culprit = task if violation.event in _FAILS_THE_TASK else None
            self._connection.violated(violation, culprit, now)

    def place(self, bhs: bytes) -> memoryview | None:
        """Where the payload of a PDU may be received whose header came: in the buffer of the read that it is for, if it is
        just what is due next and breaks no rule by its header. It is judged when it is there, as any other.
        """
        flags = bhs[1]
        if bhs[0] != _DATA_IN or (flags not in _WITHOUT_STATUS and (flags != _ALL_AT_ONCE or bhs[3])):
            return None
        itt, stat_sn, _, _, data_sn, offset = _data_in(bhs)
        link, task = self._connection.link, self._session.work.tasks.get(itt)
        if not isinstance(task, ScsiTask) or link is None or task.link is not link:
            return None
        if flags & _STATUS and (stat_sn != link.exp_stat_sn or link.holes is not None):
            return None
        return task.land(data_sn, offset, (bhs[5] << 16) | (bhs[6] << 8) | bhs[7])

    # Judging.

    def _check(self, raw: RawPdu, opcode: int) -> None:
        if opcode not in _ANSWERS and opcode not in _NOTICES:
            raise Violation(24, bytes(raw.bhs), f"opcode {opcode:#04x}")
        if raw.data_digest_error:
            return
        fault = fault_of(raw, opcode)
        if fault and not self._session.policy.accept_invalid_pdus:
            raise Violation(23, bytes(raw.bhs), fault)

    def _damaged(self, raw: RawPdu, opcode: int, now: float) -> bool:
        """Whether a PDU whose data digest is wrong is done with. Raises Violation (25) at recovery level 0."""
        session, snacks = self._session, self._connection.snacks
        if not session.policy.accept_data_digest_errors:
            computed = crc32c_of(raw.data, raw.padding)
            extra, text = words(computed, digest_value(raw.data_digest)), "data digest error"
            if snacks is None:
                raise Violation(25, extra, text)
            if session.log(25, extra, now, text):
                snacks.damaged(raw, opcode, now)
            return True
        fault = fault_of(raw, opcode)
        if fault and not session.policy.accept_invalid_pdus:
            raise Violation(23, bytes(raw.bhs), fault)
        return False

    def _stat_sn(self, link: Link, stat_sn: int, now: float, *, consumes: bool) -> bool:
        """Whether the PDU with this StatSN is to be used (4.2.2.2); one that does not consume it names the next one.

        Raises Violation (42).
        """
        expected = link.exp_stat_sn
        if stat_sn == expected and link.holes is None:
            if consumes:
                link.exp_stat_sn = (stat_sn + 1) & _MASK
            return True
        if self._session.policy.accept_any_stat_sn:
            if consumes and serial.ge(stat_sn, expected):
                link.exp_stat_sn = (stat_sn + 1) & _MASK
            return True
        snacks = self._connection.snacks
        if snacks is None:
            raise Violation(42, words(expected, stat_sn), f"StatSN {stat_sn}, expected {expected}")
        return snacks.take_stat_sn(stat_sn, consumes=consumes, now=now)

    # SCSI.

    def _data_in(self, raw: RawPdu, link: Link, now: float) -> Task | None:
        """A Data-In, the most frequent of all PDUs."""
        bhs = raw.bhs
        flags = bhs[1]
        if raw.data_digest_error and self._damaged(raw, _DATA_IN, now):
            return None
        if flags & _STATUS and (flags & 0x87 != 0x81 or bhs[3]):
            self._check(raw, _DATA_IN)
        itt, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn, offset = _data_in(bhs)
        if flags & _STATUS and not self._stat_sn(link, stat_sn, now, consumes=True):
            return None
        work = self._session.work
        work.take_command_numbers(exp_cmd_sn, max_cmd_sn)
        task = work.tasks.get(itt)
        if task is None or task.link is not link or not isinstance(task, ScsiTask):
            raise Violation(27, bytes(bhs), f"no task {itt:#x}")
        if flags == _ALL_AT_ONCE and not (data_sn or offset or bhs[3]) and self._at_once(task, raw):
            return task
        try:
            if data_sn == task.next_sn and task.trouble is None:
                task.take_data(raw, offset, lenient=self._session.policy.accept_excess_data)
            else:
                self._out_of_order(task, raw, data_sn, now)
        except DataMissing:
            self._connection.data_missing(task, now)
        except Violation as violation:
            self._connection.violated(violation, task, now)
            return task
        if flags & _STATUS:
            if link.level and not self._whole(task, raw, None, now):
                return task
            if flags == 0x81 and not bhs[3] and task.ending is None and task.received == len(task.read_into):
                work.finish(task, result=_good(task.received))
            else:
                self._end(task, raw, ScsiResult(bhs[3], received=task.received))
        elif link.level:
            self._acknowledge_or_end(task, raw, now)
        return task

    def _at_once(self, task: ScsiTask, raw: RawPdu) -> bool:
        """Whether all that a read wants came in its first Data-In, with GOOD status, as most do."""
        data, buffer = raw.data, task.read_into
        length = len(data)
        if (
            not length
            or length != len(buffer)
            or task.next_sn
            or task.trouble is not None
            or task.ending is not None
            or length > task.link.parameters.max_burst_length
        ):
            return False
        if data is task.landing:
            task.landing = None
        else:
            buffer[:] = data
        self._session.work.finish(task, result=_good(length))
        return True

    def _out_of_order(self, task: ScsiTask, raw: RawPdu, data_sn: int, now: float) -> None:
        """A Data-In that is not simply the next. Raises Violation (26), DataMissing."""
        snacks, lenient = self._connection.snacks, self._session.policy.accept_excess_data
        if snacks is not None:
            snacks.take_data(task, raw, now, lenient=lenient)
        elif serial.gt(data_sn, task.next_sn):
            raise DataMissing
        elif not lenient:
            raise Violation(26, bytes(raw.bhs), f"Data-In {data_sn} again")

    def _acknowledge_or_end(self, task: ScsiTask, raw: RawPdu, now: float) -> None:
        """Data without status at level 1 and above: what waited for it may be due."""
        snacks = self._connection.snacks
        if snacks is None:
            return
        if raw.bhs[1] & _ACKNOWLEDGE:
            snacks.acknowledgement_wanted(task, raw)
        elif task.trouble is not None:
            snacks.acknowledge(task)
        kept = snacks.kept_response(task)
        if kept is not None:
            self._conclude(task, kept, now)

    def _whole(self, task: ScsiTask, raw: RawPdu, due: int | None, now: float) -> bool:
        snacks = self._connection.snacks
        return snacks is None or task.ending is not None or snacks.complete(task, raw, due, now)

    def _r2t(self, raw: RawPdu, task: Task, now: float) -> None:
        if not isinstance(task, ScsiTask):
            return
        snacks, lenient = self._connection.snacks, self._session.policy.accept_invalid_r2t
        try:
            if snacks is None or task.in_order(int.from_bytes(raw.bhs[36:40], "big")):
                task.take_r2t(raw, lenient=lenient)
            else:
                snacks.take_r2t(task, raw, now, lenient=lenient)
        except SendBufferFull as full:
            self._session.work.admission.no_room(task, full, now)

    def _scsi_response(self, raw: RawPdu, task: Task, now: float) -> None:
        session = self._session
        if not isinstance(task, ScsiTask):
            return
        if len(raw.data):
            fault = excess_data(raw, task.link.parameters.iscsi_protocol_level)
            if fault and not session.policy.accept_invalid_pdus:
                raise Violation(60, bytes(raw.bhs), fault)
        exp_data_sn = _residuals(raw.bhs)[0]
        reads = bool(len(task.read_into)) and not len(task.write_from)
        if task.link.level:
            if not self._whole(task, raw, exp_data_sn if reads else None, now):
                return
        elif reads and serial.gt(exp_data_sn, task.next_sn):
            task.ending = task.ending or Failure.DATA_MISSING
        self._conclude(task, raw, now)

    def _plainly_over(self, task: Task | None, link: Link) -> bool:
        """Whether a response without data, residual or fault, as most are, ends a command that only writes."""
        if (
            not isinstance(task, ScsiTask)
            or task.link is not link
            or link.level
            or task.ending is not None
            or len(task.read_into)
        ):
            return False
        self._session.work.finish(task, result=_GOOD_WRITE)
        return True

    def _conclude(self, task: ScsiTask, raw: RawPdu, now: float) -> None:
        """All is there that a response, or a Data-In with status, ends."""
        bhs, data = raw.bhs, raw.data
        if bhs[0] & 0x3F == _DATA_IN:
            self._end(task, raw, ScsiResult(bhs[3], received=task.received))
            return
        sense = response_data = b""
        if len(data):
            length = max(0, sense_length(data))
            sense, response_data = bytes(data[2 : 2 + length]), bytes(data[2 + length :])
        self._end(task, raw, ScsiResult(bhs[3], bhs[2], sense, task.received, response_data=response_data))

    def _end(self, task: ScsiTask, raw: RawPdu, result: ScsiResult) -> None:
        """Status came: the task is over, with the residuals of the PDU."""
        flags = raw.bhs[1]
        if flags & 0x1E:
            _, read_residual, residual = _residuals(raw.bhs)
            bidirectional = raw.bhs[0] & 0x3F == _SCSI_RESPONSE
            result = ScsiResult(
                result.status,
                result.response,
                result.sense,
                result.received,
                residual if flags & _UNDERFLOW else 0,
                residual if flags & _OVERFLOW else 0,
                read_residual if bidirectional and flags & _BIDI_UNDERFLOW else 0,
                read_residual if bidirectional and flags & _BIDI_OVERFLOW else 0,
                result.response_data,
            )
        failure = None if task.ending is Failure.TIMED_OUT else task.ending
        if failure is None and result.status == Status.GOOD and not result.response and len(task.read_into):
            left = result.read_underflow if task.bidirectional else result.underflow
            if task.received + left != len(task.read_into):
                failure = Failure.DATA_MISSING
        self._session.work.finish(task, result=result, failure=failure)

    # Answers to other requests.

    def _task_management_response(self, raw: RawPdu, task: Task, now: float) -> None:
        if isinstance(task.request, Reassignment):
            self._session.work.forget(task)
            self._session.recovery.reassigned(task.request, raw.bhs[2], now)
            return
        self._session.work.task_management_answered(task, TaskManagementResult(raw.bhs[2]), now)

    def _text_response(self, raw: RawPdu, task: Task, now: float) -> None:
        self._connection.text.answered(raw, task)

    def _logout_response(self, raw: RawPdu, task: Task, now: float) -> None:
        if isinstance(task.request, RecoveryLogout):
            self._session.work.forget(task)
            self._session.recovery.logout_answered(task.request, raw, now)
            return
        self._connection.logged_out(raw, now)

    def _login_response(self, raw: RawPdu, task: Task, now: float) -> None:
        """Never reached: no task waits for a login response in full feature phase."""

    def _ping_answer(self, raw: RawPdu, task: Task, now: float) -> None:
        pdu = decode(raw)
        sent = getattr(task.request, "data", b"")
        self._session.work.finish(task, result=PingResult(pdu.data, pdu.data == sent))
        self._session.work.ping_answered(task)

    # What the target says unasked.

    def _nop_in(self, raw: RawPdu, link: Link) -> None:
        pdu = decode(raw)
        session = self._session
        if isinstance(pdu, NopIn) and pdu.ttt != NO_TAG and not session.policy.ignore_target_ping:
            link.send_pdu(
                NopOut(
                    immediate=True,
                    lun=pdu.lun,
                    ttt=pdu.ttt,
                    cmd_sn=session.work.cmd_sn,
                    exp_stat_sn=link.exp_stat_sn,
                )
            )

    def _async_message(self, raw: RawPdu, link: Link, now: float) -> None:
        message = decode(raw)
        if not isinstance(message, AsyncMessage):
            return
        session = self._session
        match message.async_event:
            case AsyncEvent.LOGOUT_REQUESTED:
                session.logout_requested(self._connection, message.parameter3, now)
            case AsyncEvent.CONNECTION_DROP | AsyncEvent.SESSION_DROP:
                session.drop_announced(message, now)
            case AsyncEvent.NEGOTIATION_REQUESTED:
                session.negotiation_requested(self._connection, now)
            case AsyncEvent.TASKS_TERMINATED:
                session.tasks_terminated(link, message.lun)
            case event:
                session.emit(AsyncReceived(session.number, event, message.lun, message.data, message.async_vcode))

    def _reject(self, raw: RawPdu, link: Link, now: float) -> None:
        reject = decode(raw)
        if not isinstance(reject, Reject):
            return
        session = self._session
        header = reject.data[: 48 + reject.data[4] * 4]
        if not session.log(29, header, now, f"reason {reject.reason:#04x}"):
            return
        rejected = RawPdu(header[:48])
        if rejected.opcode == Opcode.SNACK_REQUEST and self._connection.snacks is not None:
            self._connection.snacks.rejected(reject, now)
            return
        if rejected.opcode in (Opcode.SCSI_DATA_OUT, Opcode.SNACK_REQUEST):
            return  # the task goes on: the target ends it with a response (7.8, 11.17.1)
        task = self._connection.task_of(rejected.initiator_task_tag)
        if task is None or task.opcode != rejected.opcode:
            if rejected.opcode == Opcode.TEXT_REQUEST:
                self._connection.text.heard(rejected.initiator_task_tag)
            return
        if isinstance(task, ScsiTask) and reject.reason == RejectReason.DATA_DIGEST_ERROR and task.tries <= MAX_RESENDS:
            session.work.resend(task)
            return
        session.work.rejected(task, reject.reason, now)

    ANSWERS: ClassVar[Mapping[int, Callable[[Reception, RawPdu, Task, float], None]]] = MappingProxyType(
        {
            Opcode.SCSI_RESPONSE: _scsi_response,
            Opcode.SCSI_DATA_IN: _r2t,
            Opcode.R2T: _r2t,
            Opcode.TASK_MANAGEMENT_RESPONSE: _task_management_response,
            Opcode.TEXT_RESPONSE: _text_response,
            Opcode.LOGOUT_RESPONSE: _logout_response,
            Opcode.LOGIN_RESPONSE: _login_response,
            Opcode.NOP_IN: _ping_answer,
        }
    )
    """By opcode, what acts on an answer; of Data-In, which `take` has on a way of its own, it only says that there is one."""
    NOTICES: ClassVar[Mapping[int, Callable[[Reception, RawPdu, Link, float], None]]] = MappingProxyType(
        {Opcode.ASYNC_MESSAGE: _async_message, Opcode.REJECT: _reject}
    )


_ANSWERS, _NOTICES = Reception.ANSWERS, Reception.NOTICES


def knows(opcode: int) -> bool:
    """Whether a target sends such PDUs."""
    return opcode in _ANSWERS or opcode in _NOTICES
