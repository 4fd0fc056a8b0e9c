"""What goes back for a SCSI command: Data-In sequences, status, sense, residuals (RFC 7143 11.4, 11.7).

Good status of a read rides in the last Data-In PDU (11.7.3). `length` of a completion is what the SCSI layer presents; what
exceeds the initiator's expectation is cut and counted as overflow, what falls short is underflow (11.4.5).

At recovery level 1 and above all of it is retained, and may go out again in part (`deliver`): behind an R-Data SNACK, or
when the task was reassigned (11.16.3, 7.2.2).
"""

from __future__ import annotations

import os
from functools import partial
from typing import cast

from iscsi_protocol.pdu import NO_TAG, DataIn, Opcode, ScsiResponse, packer
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import Completion, FileSlice, Piece, QualifiedCompletion, cut
from iscsi_target.connection import Connection
from iscsi_target.retained import Exchange, Retained
from iscsi_target.session import Session

# Plain integers, since members of an enum are slower to pack.
_SCSI_RESPONSE, _SCSI_DATA_IN = int(Opcode.SCSI_RESPONSE), int(Opcode.SCSI_DATA_IN)
_READ = 0x40
_WRITE = 0x20
_BIDIRECTIONAL = _READ | _WRITE
_FINAL = 0x80
_OVERFLOW = 0x04
_UNDERFLOW = 0x02
_STATUS = 0x01
_ACKNOWLEDGE = 0x40
_BIDI_OVERFLOW = 0x10
_BIDI_UNDERFLOW = 0x08
_MASK = 0xFFFFFFFF

_UNREADABLE = Sense(key=SenseKey.MEDIUM_ERROR, code=AdditionalSense.UNRECOVERED_READ_ERROR).build()

_data_in = packer(
    DataIn,
    "@0",
    "@1",
    "status",
    "@5",
    "@6",
    "@7",
    "itt",
    "ttt",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "data_sn",
    "buffer_offset",
    "residual_count",
)
_data_in_to_acknowledge = packer(
    DataIn,
    "@0",
    "@1",
    "@5",
    "@6",
    "@7",
    "lun",
    "itt",
    "ttt",
    "exp_cmd_sn",
    "max_cmd_sn",
    "data_sn",
    "buffer_offset",
)
_response = packer(
    ScsiResponse,
    "@0",
    "@1",
    "status",
    "@5",
    "@6",
    "@7",
    "status_qualifier",
    "itt",
    "snack_tag",
    "stat_sn",
    "exp_cmd_sn",
    "max_cmd_sn",
    "exp_data_sn",
    "bidi_residual_count",
    "residual_count",
)


def residual(presented: int, expected: int) -> tuple[int, int]:
    """The O or U flag and the residual count of one direction (11.4.5); (0, 0) where all went as expected."""
    if presented > expected:
        return _OVERFLOW, presented - expected
    if presented < expected:
        return _UNDERFLOW, expected - presented
    return 0, 0


def respond(
    connection: Connection,
    session: Session,
    itt: int,
    lun: bytes,
    flags: int,
    expected: int,
    read_expected: int,
    wanted: int,
    completion: Completion,
    r2ts: int = 0,
) -> None:
    """Answer a command. flags: byte 1 of the command; expected: its Expected Data Transfer Length; read_expected: the
    bidirectional read length; wanted: bytes that the CDB took from the initiator; r2ts: how many R2Ts it was sent. The
    window was moved by the caller.
    """
    if connection.in_memory:
        if type(completion.data) is not bytes:
            completion = _in_memory(completion)
        if connection.retained is not None:
            exchange = connection.retained.complete(itt, lun, flags, expected, read_expected, wanted, completion, r2ts)
            send = partial(_deliver_first, connection, session, exchange)
            if session.fence is None or not session.fence.holds(connection, lun, completion, send):
                send()
            return
    if session.fence is not None:
        send = partial(respond, connection, session, itt, lun, flags, expected, read_expected, wanted, completion, r2ts)
        if session.fence.holds(connection, lun, completion, send):
            return
    length = completion.length
    direction = flags & _BIDIRECTIONAL
    if direction == _READ:
        if length and length <= expected and length <= connection.max_send and completion.status in connection.riding:
            data = completion.data
            if type(data) is not tuple and length <= session.parameters.max_burst_length:
                _one_pdu(connection, session, itt, expected, completion.status, cast("Piece", data), length)
                return
        _read(connection, session, itt, expected, completion)
        return
    if direction == _BIDIRECTIONAL:
        _bidirectional(connection, session, itt, expected, read_expected, wanted, completion, r2ts)
        return
    flag, count = residual(wanted if direction else length or wanted, expected)
    _send_status(connection, session, itt, _FINAL | flag, completion, 0, 0, count)


def _one_pdu(
    connection: Connection,
    session: Session,
    itt: int,
    expected: int,
    status: int,
    data: Piece,
    length: int,
) -> None:
    stat_sn = connection.stat_sn
    connection.stat_sn = (stat_sn + 1) & _MASK
    connection.send(
        _data_in(
            _SCSI_DATA_IN,
            _FINAL | _STATUS if length == expected else _FINAL | _STATUS | _UNDERFLOW,
            status,
            length >> 16,
            length >> 8 & 0xFF,
            length & 0xFF,
            itt,
            NO_TAG,
            stat_sn,
            session.exp_cmd_sn,
            session.max_cmd_sn,
            0,
            0,
            expected - length,
        ),
        data,
    )


def _read(connection: Connection, session: Session, itt: int, expected: int, completion: Completion) -> None:
    flag, count = residual(completion.length, expected)
    good = completion.status in connection.riding
    sent = _send_data(
        connection, session, itt, completion, min(completion.length, expected), (flag, count) if good else None
    )
    if not good or not sent:
        _send_status(connection, session, itt, _FINAL | flag, completion, sent, 0, count)


def _bidirectional(
    connection: Connection,
    session: Session,
    itt: int,
    expected: int,
    read_expected: int,
    wanted: int,
    completion: Completion,
    r2ts: int,
) -> None:
    """Status always has a PDU of its own, with two residuals (11.4.1, 11.7.3); Data-In is numbered on from the R2Ts
    (4.2.2.4).
    """
    total = min(completion.length, read_expected)
    sent = _send_data(connection, session, itt, completion, total, None, r2ts)
    flags, read_count, count = _residuals(_BIDIRECTIONAL, expected, read_expected, wanted, completion.length)
    _send_status(connection, session, itt, flags, completion, sent, read_count, count)


def _residuals(flags: int, expected: int, read_expected: int, wanted: int, length: int) -> tuple[int, int, int]:
    """Byte 1, Bidirectional Read Residual Count and Residual Count of a SCSI Response (11.4.1, 11.4.5, 11.4.6)."""
    direction = flags & _BIDIRECTIONAL
    if direction != _BIDIRECTIONAL:
        moved = length if direction == _READ else wanted if direction else length or wanted
        flag, count = residual(moved, expected)
        return _FINAL | flag, 0, count
    flag, count = residual(wanted, expected)
    read_flag, read_count = residual(length, read_expected)
    return _FINAL | flag | {_OVERFLOW: _BIDI_OVERFLOW, _UNDERFLOW: _BIDI_UNDERFLOW}.get(read_flag, 0), read_count, count


def _send_data(
    connection: Connection,
    session: Session,
    itt: int,
    completion: Completion,
    total: int,
    status: tuple[int, int] | None,
    first_sn: int = 0,
) -> int:
    """Send `total` bytes as sequences of at most MaxBurstLength bytes (11.7.1), numbered from `first_sn` on; the last PDU
    carries the status if `status` gives its residual. Returns the number of PDUs.
    """
    pieces = _pieces(completion)
    burst = session.parameters.max_burst_length
    step = _step(connection, burst)
    offset, data_sn = 0, first_sn
    burst_end = min(burst, total)
    while offset < total:
        end = min(offset + step, burst_end)
        flags, status_byte, stat_sn, count = 0, 0, 0, 0
        if end == burst_end:
            flags = _FINAL
            burst_end = min(end + burst, total)
        if end == total and status is not None:
            flags |= _STATUS | status[0]
            status_byte, count = completion.status, status[1]
            stat_sn = connection.next_stat_sn()
        length = end - offset
        bhs = _data_in(
            Opcode.SCSI_DATA_IN,
            flags,
            status_byte,
            length >> 16,
            length >> 8 & 0xFF,
            length & 0xFF,
            itt,
            NO_TAG,
            stat_sn,
            session.exp_cmd_sn,
            session.max_cmd_sn,
            data_sn,
            offset,
            count,
        )
        connection.send_pieces(bhs, cut(pieces, offset, end), length)
        offset = end
        data_sn += 1
    return data_sn - first_sn


def _step(connection: Connection, burst: int) -> int:
    """Bytes of a Data-In PDU: as many as the initiator takes, in whole words (11.7.7)."""
    step = min(connection.max_send, burst)
    return step & ~3 if step > 3 else step


def _deliver_first(connection: Connection, session: Session, exchange: Exchange) -> None:
    """Send it unless the connection is gone, and perhaps another one has it; then it waits there (7.2.2)."""
    retained = connection.retained
    if connection.up and retained is not None and retained.exchanges.get(exchange.itt) is exchange:
        deliver(connection, session, retained, exchange)


def deliver(connection: Connection, session: Session, retained: Retained, exchange: Exchange) -> None:
    """Send what is not acknowledged of a finished command: data from the reference number on, cut as the connection takes
    it now, and the status, with the StatSN that it had here before.
    """
    completion = exchange.completion
    if completion is None:
        raise RuntimeError(f"task {exchange.itt:#x} is not over")
    exchange.rewind()
    flags, read_count, count = _residuals(
        exchange.flags, exchange.expected, exchange.read_expected, exchange.wanted, completion.length
    )
    rides = (
        exchange.flags & _BIDIRECTIONAL == _READ
        and completion.status in connection.riding
        and not exchange.snack_tag
        and exchange.offset < exchange.total
    )
    stat_sn = connection.next_stat_sn() if exchange.stat_sn is None else exchange.stat_sn
    _send_sequences(
        connection, session, retained, exchange, (flags, completion.status, stat_sn, count) if rides else None
    )
    if not rides:
        sent = exchange.next_sn - exchange.first_sn
        tag = exchange.snack_tag
        _send_status(connection, session, exchange.itt, flags, completion, sent, read_count, count, tag, stat_sn)


def _send_sequences(
    connection: Connection,
    session: Session,
    retained: Retained,
    exchange: Exchange,
    status: tuple[int, int, int, int] | None,
) -> None:
    """Data-In from the exchange's offset on. Each sequence but the last asks for an acknowledgement (11.7.2); status, which
    acknowledges the rest, may ride in the last PDU: its flags, the SCSI status, StatSN and residual count.
    """
    burst = session.parameters.max_burst_length
    step = _step(connection, burst)
    offset, total = exchange.offset, exchange.total
    burst_end = min(offset + burst, total)
    while offset < total:
        end = min(offset + step, burst_end)
        length = end - offset
        size = (length >> 16, length >> 8 & 0xFF, length & 0xFF)
        window = (session.exp_cmd_sn, session.max_cmd_sn, exchange.next_sn, offset)
        if end == burst_end < total:
            ttt = retained.new_tag(exchange)
            flags = _FINAL | _ACKNOWLEDGE
            bhs = _data_in_to_acknowledge(Opcode.SCSI_DATA_IN, flags, *size, exchange.lun, exchange.itt, ttt, *window)
            burst_end = min(end + burst, total)
        elif end == total and status is not None:
            flags, scsi_status, stat_sn, count = status
            flags |= _STATUS
            bhs = _data_in(
                Opcode.SCSI_DATA_IN, flags, scsi_status, *size, exchange.itt, NO_TAG, stat_sn, *window, count
            )
        else:
            flags = _FINAL if end == total else 0
            bhs = _data_in(Opcode.SCSI_DATA_IN, flags, 0, *size, exchange.itt, NO_TAG, 0, *window, 0)
        connection.send_pieces(bhs, exchange.data(offset, length), length)
        offset = end


def _pieces(completion: Completion) -> tuple[Piece, ...]:
    data = completion.data
    # A FileSlice is a tuple of its own kind, and one piece.
    return (data,) if isinstance(data, (FileSlice, bytes, bytearray, memoryview)) else data


def _in_memory(completion: Completion) -> Completion:
    """The same completion with pieces of files read, because a digest is to be computed or the data is to be kept; MEDIUM
    ERROR where that fails.
    """
    pieces = _pieces(completion)
    if FileSlice not in map(type, pieces):
        return completion
    loaded: list[Piece] = []
    for piece in pieces:
        if not isinstance(piece, FileSlice):
            loaded.append(piece)
            continue
        try:
            data = os.pread(piece.fd, piece.length, piece.offset)
        except OSError:
            data = b""
        if len(data) != piece.length:
            return Completion(Status.CHECK_CONDITION, sense=_UNREADABLE)
        loaded.append(data)
    return Completion(completion.status, tuple(loaded), completion.length, completion.sense)


def _qualifier(session: Session, completion: Completion) -> int:
    """The status qualifier, 0 below iSCSIProtocolLevel 2 (RFC 7144 5.2.1)."""
    qualified = isinstance(completion, QualifiedCompletion) and session.parameters.iscsi_protocol_level >= 2
    return completion.qualifier if qualified and isinstance(completion, QualifiedCompletion) else 0


def _send_status(
    connection: Connection,
    session: Session,
    itt: int,
    flags: int,
    completion: Completion,
    exp_data_sn: int,
    read_count: int,
    count: int,
    snack_tag: int = 0,
    stat_sn: int | None = None,
) -> None:
    sense = completion.sense
    data = len(sense).to_bytes(2, "big") + sense if sense else b""
    length = len(data)
    if stat_sn is None:
        stat_sn = connection.stat_sn
        connection.stat_sn = (stat_sn + 1) & _MASK
    connection.send(
        _response(
            _SCSI_RESPONSE,
            flags,
            completion.status,
            0,
            length >> 8,
            length & 0xFF,
            0 if completion.__class__ is Completion else _qualifier(session, completion),
            itt,
            snack_tag,
            stat_sn,
            session.exp_cmd_sn,
            session.max_cmd_sn,
            exp_data_sn,
            read_count,
            count,
        ),
        data,
    )
