"""What goes back for a SCSI command: Data-In sequences, status, sense, residuals (RFC 7143 11.4, 11.7).

Good status of a read rides in the last Data-In PDU (11.7.3). `length` of a completion is what the SCSI layer presents; what
exceeds the initiator's expectation is cut and counted as overflow, what falls short is underflow (11.4.5).
"""

from __future__ import annotations

import os
from typing import cast

from iscsi_protocol.pdu import NO_TAG, DataIn, Opcode, ScsiResponse, packer
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.status import Status
from iscsi_target.completion import Completion, FileSlice, Piece
from iscsi_target.connection import Connection
from iscsi_target.session import Session

_READ = 0x40
_WRITE = 0x20
_BIDIRECTIONAL = _READ | _WRITE
_FINAL = 0x80
_OVERFLOW = 0x04
_UNDERFLOW = 0x02
_STATUS = 0x01
_BIDI_OVERFLOW = 0x10
_BIDI_UNDERFLOW = 0x08
_MASK = 0xFFFFFFFF

_GOOD = frozenset({0x00, 0x04, 0x10, 0x14})
"""GOOD, CONDITION MET and the two INTERMEDIATE ones, which may ride in Data-In (11.7.3)."""

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
_response = packer(
    ScsiResponse,
    "@0",
    "@1",
    "status",
    "@5",
    "@6",
    "@7",
    "itt",
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
    flags: int,
    expected: int,
    read_expected: int,
    wanted: int,
    completion: Completion,
) -> None:
    """Answer a command. flags: byte 1 of the command; expected: its Expected Data Transfer Length; read_expected: the
    bidirectional read length; wanted: bytes that the CDB took from the initiator. The window was moved by the caller.
    """
    if connection.data_digest and type(completion.data) is not bytes:
        completion = _in_memory(completion)
    length = completion.length
    direction = flags & _BIDIRECTIONAL
    if direction == _READ:
        if length and length <= expected and length <= connection.max_send and completion.status in _GOOD:
            data = completion.data
            if type(data) is not tuple and length <= session.parameters.max_burst_length:
                _one_pdu(connection, session, itt, expected, completion.status, cast("Piece", data), length)
                return
        _read(connection, session, itt, expected, completion)
        return
    if direction == _BIDIRECTIONAL:
        _bidirectional(connection, session, itt, expected, read_expected, wanted, completion)
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
            Opcode.SCSI_DATA_IN,
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
    good = completion.status in _GOOD
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
) -> None:
    """Status always has a PDU of its own, with two residuals (11.4.1, 11.7.3)."""
    sent = _send_data(connection, session, itt, completion, min(completion.length, read_expected), None)
    flag, count = residual(wanted, expected)
    read_flag, read_count = residual(completion.length, read_expected)
    bidirectional_flag = {_OVERFLOW: _BIDI_OVERFLOW, _UNDERFLOW: _BIDI_UNDERFLOW}.get(read_flag, 0)
    _send_status(connection, session, itt, _FINAL | flag | bidirectional_flag, completion, sent, read_count, count)


def _send_data(
    connection: Connection,
    session: Session,
    itt: int,
    completion: Completion,
    total: int,
    status: tuple[int, int] | None,
) -> int:
    """Send `total` bytes as sequences of at most MaxBurstLength bytes (11.7.1); the last PDU carries the status if
    `status` gives its residual. Returns the number of PDUs.
    """
    pieces = _pieces(completion)
    burst = session.parameters.max_burst_length
    step = min(connection.max_send, burst)
    if step > 3:
        step &= ~3
    offset = data_sn = 0
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
    return data_sn


def cut(pieces: tuple[Piece, ...], start: int, stop: int) -> list[Piece]:
    """Bytes start to stop of the pieces, not copied."""
    found: list[Piece] = []
    position = 0
    for piece in pieces:
        size = piece.length if type(piece) is FileSlice else len(piece)
        low, high = max(start - position, 0), min(stop - position, size)
        if low < high:
            found.append(_cut_one(piece, low, high, size))
        position += size
        if position >= stop:
            break
    return found


def _cut_one(piece: Piece, low: int, high: int, size: int) -> Piece:
    if isinstance(piece, FileSlice):
        return piece.slice(low, high)
    if low == 0 and high == size:
        return piece
    return memoryview(piece)[low:high]


def _pieces(completion: Completion) -> tuple[Piece, ...]:
    data = completion.data
    # A FileSlice is a tuple of its own kind, and one piece.
    return (data,) if isinstance(data, (FileSlice, bytes, bytearray, memoryview)) else data


def _in_memory(completion: Completion) -> Completion:
    """The same completion with pieces of files read, because a digest is to be computed; MEDIUM ERROR where that fails."""
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


def _send_status(
    connection: Connection,
    session: Session,
    itt: int,
    flags: int,
    completion: Completion,
    exp_data_sn: int,
    read_count: int,
    count: int,
) -> None:
    sense = completion.sense
    data = len(sense).to_bytes(2, "big") + sense if sense else b""
    length = len(data)
    connection.send(
        _response(
            Opcode.SCSI_RESPONSE,
            flags,
            completion.status,
            0,
            length >> 8,
            length & 0xFF,
            itt,
            connection.next_stat_sn(),
            session.exp_cmd_sn,
            session.max_cmd_sn,
            exp_data_sn,
            read_count,
            count,
        ),
        data,
    )
