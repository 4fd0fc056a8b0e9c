"""What the target sends in full feature phase, judged and acted on (RFC 7143 chapters 7 and 11).

One PDU raises one event at most, the first that applies: opcode (24), data digest (25), fields (23), StatSN (42), tag (27),
then what the PDU means for its task (28, 26, 60, 29). What came before the framing broke (22, 21) the session says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from iscsi_initiator.eventlog.dump import words
from iscsi_initiator.judge import excess_data, fault_of, sense_length
from iscsi_initiator.requests import AsyncReceived, Failure, PingResult, ScsiResult, TaskManagementResult
from iscsi_initiator.tasks import DataMissing, ScsiTask, SendBufferFull, Task, Violation
from iscsi_protocol import serial
from iscsi_protocol.digest import crc32c_of, digest_value
from iscsi_protocol.pdu import NO_TAG, AsyncMessage, NopIn, NopOut, RawPdu, Reject, decode
from iscsi_protocol.pdu.codes import AsyncEvent, Flag, Opcode, RejectReason
from iscsi_protocol.scsi.status import Status

if TYPE_CHECKING:
    from iscsi_initiator.session import Session

_numbers = struct.Struct(">16xI4xIII").unpack_from
"""Initiator Task Tag, StatSN, ExpCmdSN, MaxCmdSN of a response."""
_residuals = struct.Struct(">36xIII").unpack_from
"""ExpDataSN or DataSN, bidirectional read residual or offset, residual."""

# Plain integers, as in tasks.
_STATUS = int(Flag.STATUS)
_UNDERFLOW, _OVERFLOW = int(Flag.UNDERFLOW), int(Flag.OVERFLOW)
_BIDI_UNDERFLOW, _BIDI_OVERFLOW = int(Flag.BIDI_UNDERFLOW), int(Flag.BIDI_OVERFLOW)
_DATA_IN, _R2T, _NOP_IN = int(Opcode.SCSI_DATA_IN), int(Opcode.R2T), int(Opcode.NOP_IN)

MAX_RESENDS = 3
"""How many times a command that was rejected for its data digest is sent again."""

_FAILS_THE_TASK = frozenset({23, 26, 28, 60})
"""Events whose task would provoke them again if it were sent again."""

Handler = Callable[[RawPdu, Task, float], None]
Notice = Callable[[RawPdu, float], None]


class Reception:
    """The receiving half of a session in full feature phase."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._answers: dict[int, Handler] = {
            Opcode.SCSI_RESPONSE: self._scsi_response,
            Opcode.SCSI_DATA_IN: self._data_in,
            Opcode.R2T: self._r2t,
            Opcode.TASK_MANAGEMENT_RESPONSE: self._task_management_response,
            Opcode.TEXT_RESPONSE: self._text_response,
            Opcode.LOGOUT_RESPONSE: self._logout_response,
            Opcode.LOGIN_RESPONSE: self._login_response,
            Opcode.NOP_IN: self._ping_answer,
        }
        self._notices: dict[int, Notice] = {
            Opcode.ASYNC_MESSAGE: self._async_message,
            Opcode.REJECT: self._reject,
        }

    def knows(self, opcode: int) -> bool:
        """Whether a target sends such PDUs."""
        return opcode in self._answers or opcode in self._notices

    def take(self, raw: RawPdu, now: float) -> None:
        """Act on one PDU."""
        session = self._session
        opcode = raw.bhs[0] & 0x3F
        task = None
        try:
            self._check(raw, opcode)
            itt, stat_sn, exp_cmd_sn, max_cmd_sn = _numbers(raw.bhs)
            if opcode != _DATA_IN or raw.bhs[1] & _STATUS:
                self._check_stat_sn(opcode, itt, stat_sn)
            session.work.take_command_numbers(exp_cmd_sn, max_cmd_sn)
            notice = self._notices.get(opcode)
            if notice is not None:
                notice(raw, now)
                return
            if itt == NO_TAG and opcode == _NOP_IN:
                self._nop_in(raw)
                return
            task = session.work.tasks.get(itt)
            if task is None or (
                task.answer != opcode and not (isinstance(task, ScsiTask) and opcode in (_DATA_IN, _R2T))
            ):
                task = None
                raise Violation(27, bytes(raw.bhs), f"no task {itt:#x}")
            self._answers[opcode](raw, task, now)
        except Violation as violation:
            if task is None and violation.event in _FAILS_THE_TASK:
                task = session.work.tasks.get(raw.initiator_task_tag)
            culprit = task if violation.event in _FAILS_THE_TASK else None
            session.violated(violation, culprit, now)

    # Judging.

    def _check(self, raw: RawPdu, opcode: int) -> None:
        policy = self._session.policy
        if opcode not in self._answers and opcode not in self._notices:
            raise Violation(24, bytes(raw.bhs), f"opcode {opcode:#04x}")
        if raw.data_digest_error and not policy.accept_data_digest_errors:
            computed = crc32c_of(raw.data, raw.padding)
            raise Violation(25, words(computed, digest_value(raw.data_digest)), "data digest error")
        fault = fault_of(raw, opcode)
        if fault and not policy.accept_invalid_pdus:
            raise Violation(23, bytes(raw.bhs), fault)

    def _check_stat_sn(self, opcode: int, itt: int, stat_sn: int) -> None:
        """4.2.2.2; an R2T and a NOP-In that answers nothing carry the next StatSN without using it up."""
        session = self._session
        link = session.link
        if link is None:
            return
        if stat_sn != link.exp_stat_sn:
            if not session.policy.accept_any_stat_sn:
                extra = words(link.exp_stat_sn, stat_sn)
                raise Violation(42, extra, f"StatSN {stat_sn}, expected {link.exp_stat_sn}")
            if serial.lt(stat_sn, link.exp_stat_sn):
                return
        if opcode != _R2T and (opcode != _NOP_IN or itt != NO_TAG):
            link.exp_stat_sn = serial.add(stat_sn)

    # SCSI.

    def _data_in(self, raw: RawPdu, task: Task, now: float) -> None:
        session = self._session
        link = session.link
        if link is None or not isinstance(task, ScsiTask):
            return
        try:
            task.take_data(raw, link, lenient=session.policy.accept_excess_data)
        except DataMissing:
            self._data_missing(task, now)
        if raw.bhs[1] & _STATUS:
            self._end(task, raw, ScsiResult(raw.bhs[3], received=task.received))

    def _r2t(self, raw: RawPdu, task: Task, now: float) -> None:
        session = self._session
        if session.link is not None and isinstance(task, ScsiTask):
            try:
                task.take_r2t(raw, session.link, lenient=session.policy.accept_invalid_r2t)
            except SendBufferFull:
                session.work.out_of_send_buffer(task, now)

    def _scsi_response(self, raw: RawPdu, task: Task, now: float) -> None:
        session = self._session
        if session.link is None or not isinstance(task, ScsiTask):
            return
        bhs, data = raw.bhs, raw.data
        sense = response_data = b""
        if len(data):
            fault = excess_data(raw, session.link.parameters.iscsi_protocol_level)
            if fault and not session.policy.accept_invalid_pdus:
                raise Violation(60, bytes(bhs), fault)
            length = max(0, sense_length(data))
            sense, response_data = bytes(data[2 : 2 + length]), bytes(data[2 + length :])
        exp_data_sn = _residuals(bhs)[0]
        if len(task.read_into) and not task.bidirectional and serial.gt(exp_data_sn, task.data_sn):
            task.ending = task.ending or Failure.DATA_MISSING
        result = ScsiResult(bhs[3], bhs[2], sense, task.received, response_data=response_data)
        self._end(task, raw, result)

    def _end(self, task: ScsiTask, raw: RawPdu, result: ScsiResult) -> None:
        """Status came: the task is over, with the residuals of the PDU."""
        flags = raw.bhs[1]
        if flags & 0x1E:
            _, read_residual, residual = _residuals(raw.bhs)
            bidirectional = raw.bhs[0] & 0x3F == Opcode.SCSI_RESPONSE
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

    def _data_missing(self, task: ScsiTask, now: float) -> None:
        if task.ending is None:
            self._session.work.escalation.end(task, Failure.DATA_MISSING, now)

    # Answers to other requests.

    def _task_management_response(self, raw: RawPdu, task: Task, now: float) -> None:
        self._session.work.task_management_answered(task, TaskManagementResult(raw.bhs[2]), now)

    def _text_response(self, raw: RawPdu, task: Task, now: float) -> None:
        self._session.work.text.answered(raw, task)

    def _logout_response(self, raw: RawPdu, task: Task, now: float) -> None:
        self._session.logged_out(raw, now)

    def _login_response(self, raw: RawPdu, task: Task, now: float) -> None:
        """Never reached: no task waits for a login response in full feature phase."""

    def _ping_answer(self, raw: RawPdu, task: Task, now: float) -> None:
        pdu = decode(raw)
        sent = getattr(task.request, "data", b"")
        self._session.work.finish(task, result=PingResult(pdu.data, pdu.data == sent))

    # What the target says unasked.

    def _nop_in(self, raw: RawPdu) -> None:
        pdu = decode(raw)
        session = self._session
        if isinstance(pdu, NopIn) and pdu.ttt != NO_TAG and session.link and not session.policy.ignore_target_ping:
            session.link.send_pdu(
                NopOut(
                    immediate=True,
                    lun=pdu.lun,
                    ttt=pdu.ttt,
                    cmd_sn=session.work.cmd_sn,
                    exp_stat_sn=session.link.exp_stat_sn,
                )
            )

    def _async_message(self, raw: RawPdu, now: float) -> None:
        message = decode(raw)
        if not isinstance(message, AsyncMessage):
            return
        session = self._session
        match message.async_event:
            case AsyncEvent.LOGOUT_REQUESTED:
                session.logout_requested(message.parameter3, now)
            case AsyncEvent.CONNECTION_DROP | AsyncEvent.SESSION_DROP:
                session.drop_announced(message, now)
            case AsyncEvent.NEGOTIATION_REQUESTED:
                session.negotiation_requested(now)
            case AsyncEvent.TASKS_TERMINATED:
                session.tasks_terminated(message.lun)
            case event:
                session.emit(AsyncReceived(session.number, event, message.lun, message.data, message.async_vcode))

    def _reject(self, raw: RawPdu, now: float) -> None:
        reject = decode(raw)
        if not isinstance(reject, Reject):
            return
        session = self._session
        header = reject.data[: 48 + reject.data[4] * 4]
        text = f"reason {reject.reason:#04x}"
        session.log(29, header, now, text)
        rejected = RawPdu(header[:48])
        if rejected.opcode in (Opcode.SCSI_DATA_OUT, Opcode.SNACK_REQUEST):
            return  # the task goes on: the target ends it with a response (7.8, 11.17.1)
        task = session.work.tasks.get(rejected.initiator_task_tag)
        if task is None or task.opcode != rejected.opcode:
            return
        if isinstance(task, ScsiTask) and reject.reason == RejectReason.DATA_DIGEST_ERROR and task.tries <= MAX_RESENDS:
            task.tries += 1
            task.restart()
            if session.link is not None:
                task.send(session.link)
            return
        session.work.rejected(task, now)
