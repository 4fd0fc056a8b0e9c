"""SNACK: what the initiator missed goes out again (RFC 7143 7.8, 11.16, Appendix D); at recovery level 0 nothing can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, Opcode, RawPdu, RejectReason, SnackRequest, SnackType, unpacker
from iscsi_protocol.scsi.codes import AdditionalSense
from iscsi_target import data_in, data_out, notices, recovery, reject
from iscsi_target.connection import Connection
from iscsi_target.core import Core
from iscsi_target.retained import Exchange, Retained, Sent
from iscsi_target.session import Session
from iscsi_target.violation import DropConnection, FailTask, PeerViolation, format_error, rejected

_READ = 0x40

R_DATA_TRIES = 64
"""R-Data SNACKs for one task, each of which costs all of its data, and a tag that must not come again."""

_fields = unpacker(SnackRequest, "@1", "lun", "itt", "ttt", "beg_run", "run_length")


def receive(core: Core, connection: Connection, session: Session, raw: RawPdu) -> None:
    """A SNACK Request. Raises PeerViolation."""
    byte1, lun, itt, ttt, begin, length = _fields(raw.bhs, 0)
    snack_type = byte1 & 0x0F
    if snack_type > SnackType.R_DATA:
        raise format_error(f"SNACK type {snack_type} is reserved")
    if connection.retained is None:
        _refuse(core, connection, session, raw, snack_type, itt)
    elif snack_type == SnackType.DATA_ACK:
        _acknowledge_data(connection.retained, lun, itt, ttt, begin, length)
    else:
        _check_tags(snack_type, itt, ttt)
        _AGAIN[snack_type](connection, session, connection.retained, raw)


def _refuse(core: Core, connection: Connection, session: Session, raw: RawPdu, snack_type: int, itt: int) -> None:
    """Level 0: the task in question, if it has not ended, ends with "SNACK rejected" (7.8)."""
    if snack_type == SnackType.STATUS:
        core.note(connection, raw, PeerViolation("R7143-D-02", "a status SNACK at level 0", DropConnection()))
        notices.drop_connection(core, connection, "status SNACK at recovery level 0")
        return
    if snack_type == SnackType.DATA_ACK:
        raise rejected(RejectReason.INVALID_DATA_ACK, "R7143-11.17.1-13", "no Data-In asked for an acknowledgement")
    refusal = rejected(RejectReason.SNACK_REJECT, "R7143-7.8-09", "recovery level 0 has no SNACK")
    task = session.tasks.get(itt)
    if task is None or task.aborted:
        raise refusal
    reject.answer(core, connection, raw, refusal)
    failure = FailTask(sense_code=AdditionalSense.READ_ERROR_FAILED_RETRANSMISSION_REQUEST)
    data_out.fail(core, connection, raw, task, PeerViolation("R7143-7.8-10", "SNACK rejected", failure))
    data_out.proceed(core, session, task)


def _check_tags(snack_type: int, itt: int, ttt: int) -> None:
    """The tags that each type has to carry (11.16.4, 11.16.5)."""
    if (itt == NO_TAG) != (snack_type == SnackType.STATUS):
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.16.4-01", f"task tag {itt:#x} in that type of SNACK")
    if snack_type == SnackType.R_DATA:
        if ttt in (0, NO_TAG):
            raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.16.5-01", f"a SNACK Tag of {ttt:#x}")
    elif ttt != NO_TAG:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.16.5-04", f"tag {ttt:#x} in that type of SNACK")


def _protocol_error(message: str, data_sn: int = 0) -> PeerViolation:
    return rejected(RejectReason.PROTOCOL_ERROR, "R7143-11.16-05", message, data_sn=data_sn)


def _too_long() -> PeerViolation:
    """Data-In cut for a MaxRecvDataSegmentLength that is no more; only an R-Data SNACK can have it (11.16.3)."""
    return rejected(RejectReason.SNACK_REJECT, "R7143-11.16.3-01", "the data was longer than the initiator now takes")


def _find(session: Session, connection: Connection, itt: int) -> Exchange | None:
    """What was sent for a task; None where it was nothing so far. Raises PeerViolation for a task that is not here."""
    exchange = recovery.exchange_of(session, connection, itt)
    if exchange is not None:
        return exchange
    task = session.tasks.get(itt)
    if task is not None and not task.aborted and task.connection is connection:
        return None
    if (task is not None and not task.aborted) or recovery.find(session, itt) is not None:
        raise rejected(RejectReason.PROTOCOL_ERROR, "R7143-4.2.5.1-05", "a SNACK on another connection than its task")
    raise _protocol_error(f"nothing is unacknowledged of task {itt:#x}")


def _send_data(connection: Connection, session: Session, _retained: Retained, raw: RawPdu) -> None:
    """Data/R2T SNACK: Data-In and R2T PDUs as they were."""
    _, _, itt, _, begin, length = _fields(raw.bhs, 0)
    exchange = _find(session, connection, itt)
    if exchange is None:
        if begin or length:
            raise _protocol_error(f"nothing was sent for task {itt:#x} so far")
        return
    low, high = exchange.acknowledged, exchange.next_sn
    if begin or length:
        low = begin
        high = begin + length if length else max(high, begin + 1)
    if low < exchange.acknowledged or high > exchange.next_sn:
        message = f"numbers {low} to {high - 1} where {exchange.acknowledged} to {exchange.next_sn - 1} can be had"
        raise _protocol_error(message, exchange.next_sn)
    wanted = [exchange.sent[sn] for sn in range(low, high) if sn in exchange.sent]
    if not wanted and (begin or length):
        raise _protocol_error("R2Ts that were answered", exchange.next_sn)
    if any(sent.length > connection.max_send for sent in wanted):
        raise _too_long()
    for sent in wanted:
        _again(connection, session, sent)


def _send_status(connection: Connection, session: Session, retained: Retained, raw: RawPdu) -> None:
    """Status SNACK: numbered responses as they were, whatever they answered."""
    _, _, _, _, begin, length = _fields(raw.bhs, 0)
    if not begin and not length:
        wanted = list(retained.responses)
    else:
        first = connection.acknowledged
        if serial.lt(begin, first):
            raise _protocol_error(f"StatSN {begin} was acknowledged")
        count = length or max((connection.stat_sn - begin) & 0xFFFFFFFF, 1)
        sent = (connection.stat_sn - first) & 0xFFFFFFFF
        if (begin - first) & 0xFFFFFFFF >= sent or ((begin - first) & 0xFFFFFFFF) + count > sent:
            raise _protocol_error(f"StatSN {begin} and on, {count} in number, where {connection.stat_sn} comes next")
        # No more than there are: the numbers that a peer never acknowledged may be any many.
        wanted = [(begin + index) & 0xFFFFFFFF for index in range(min(count, len(retained.responses) + 1))]
        if any(stat_sn not in retained.responses for stat_sn in wanted):
            raise rejected(RejectReason.SNACK_REJECT, "R7143-7.8-09", "the responses are no longer kept")
    responses = [retained.responses[stat_sn] for stat_sn in wanted]
    if any(sent.length > connection.max_send and sent.bhs[0] == Opcode.SCSI_DATA_IN for sent in responses):
        raise _too_long()
    for response in responses:
        _again(connection, session, response)


def _again(connection: Connection, session: Session, sent: Sent) -> None:
    """An exact replica with the window of now, and in an R2T the StatSN of now (11.16)."""
    header = bytearray(sent.bhs)
    if header[0] & 0x3F == Opcode.R2T:
        header[24:28] = connection.stat_sn.to_bytes(4, "big")
    header[28:36] = (session.exp_cmd_sn << 32 | session.max_cmd_sn).to_bytes(8, "big")
    if sent.length:
        pieces = sent.pieces
        if sent.exchange is not None and header[0] == Opcode.SCSI_DATA_IN:
            pieces = sent.exchange.data(int.from_bytes(header[40:44], "big"), sent.length)
        connection.send_pieces(bytes(header), pieces, sent.length)
    else:
        connection.send(bytes(header))


def _acknowledge_data(retained: Retained, lun: bytes, itt: int, ttt: int, begin: int, length: int) -> None:
    """DataACK: everything before BegRun can be let go of (11.16.2). It asks for nothing."""
    exchange = retained.tags.get(ttt)
    message = ""
    if exchange is None and ttt in retained.settled:
        return
    if exchange is None:
        message = f"no Data-In has the tag {ttt:#x}"
    elif itt != NO_TAG or length:
        message = "a DataACK has no task tag and no RunLength"
    elif lun != exchange.lun:
        message = "the LUN is not that of the Data-In"
    elif not 0 < begin <= exchange.next_sn:
        message = f"DataSN {begin} where {exchange.next_sn} at most can be acknowledged"
    else:
        # One that was overtaken by another, or that answers a PDU which was sent again, says nothing new.
        retained.acknowledge_data(exchange, max(begin, exchange.acknowledged))
        return
    raise rejected(RejectReason.INVALID_DATA_ACK, "R7143-11.17.1-13", message)


def _send_data_anew(connection: Connection, session: Session, retained: Retained, raw: RawPdu) -> None:
    """R-Data SNACK: all unacknowledged data, cut for the MaxRecvDataSegmentLength of now; status in a SCSI Response of its
    own with the SNACK Tag (11.16.3).
    """
    _, _, itt, tag, begin, length = _fields(raw.bhs, 0)
    if begin or length:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.16.6-01", "an R-Data SNACK names no run")
    exchange = _find(session, connection, itt)
    task = session.tasks.get(itt)
    if exchange is None or exchange.completion is None:
        if task is None or not task.flags & _READ:
            raise _protocol_error("an R-Data SNACK for a task that reads nothing")
        exchange = exchange or retained.begin(itt)
    elif not exchange.flags & _READ:
        raise _protocol_error("an R-Data SNACK for a task that reads nothing", exchange.next_sn)
    if tag in exchange.snack_tags:
        raise rejected(RejectReason.INVALID_PDU_FIELD, "R7143-11.16.5-01", f"SNACK Tag {tag:#x} was used before")
    if len(exchange.snack_tags) >= R_DATA_TRIES:
        raise rejected(RejectReason.SNACK_REJECT, "R7143-7.8-09", "the data was sent anew often enough")
    exchange.snack_tag = tag
    exchange.snack_tags.add(tag)
    if exchange.told:
        data_in.deliver(connection, session, retained, exchange)


_AGAIN: Mapping[int, Callable[[Connection, Session, Retained, RawPdu], None]] = MappingProxyType(
    {
        SnackType.DATA_OR_R2T: _send_data,
        SnackType.STATUS: _send_status,
        SnackType.R_DATA: _send_data_anew,
    }
)
