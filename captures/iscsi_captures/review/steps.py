"""What the review notes of each PDU, by opcode: commands and their times, the timeline, and what advice goes by."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING

from iscsi_captures.code_names import (
    ASYNC_EVENTS,
    LOGIN_STATUSES,
    LOGOUT_REASONS,
    LOGOUT_RESPONSES,
    REJECT_REASONS,
    SNACK_TYPES,
    TASK_FUNCTIONS,
    TASK_RESPONSES,
)
from iscsi_captures.reading import FrameNumber
from iscsi_captures.review.commands import Command, start_of
from iscsi_captures.review.facts import ADVERTISED_KEPT, Sighting
from iscsi_captures.review.shown import shown
from iscsi_captures.review.thresholds import CLOSED_WINDOW, SERIAL_R2TS, SMALL_R2T, USUAL_BLOCK
from iscsi_protocol.history import Endpoint, PduRecord
from iscsi_protocol.negotiation.values import parse_target_address
from iscsi_protocol.pdu import Opcode, TaskFunction
from iscsi_protocol.scsi.capacity import ReadCapacity10, ReadCapacity16
from iscsi_protocol.scsi.status import status_name
from iscsi_protocol.text import scan_pairs

if TYPE_CHECKING:
    from iscsi_captures.review.reviewer import Reviewer
    from iscsi_captures.review.watch import Watch

Step = Callable[["Reviewer", "Watch", PduRecord, FrameNumber, FrameNumber], None]

_FINAL = 0x80
_STATUS = 0x01
_READ_CAPACITY_10 = 0x25
_SERVICE_ACTION_IN_16 = 0x9E
_READ_CAPACITY_16 = 0x10
_RESERVING = frozenset({0x16, 0x17, 0x56, 0x57, 0x5E, 0x5F})
_LOOKED_INTO = frozenset({_READ_CAPACITY_10, _SERVICE_ACTION_IN_16}) | _RESERVING
_TEXT_KEPT = 1 << 17
_TOO_MANY_CONNECTIONS = 0x0206
ABORTS_KEPT = 1024
CHALLENGES_KEPT = 4096
_SERIAL_R2TS = int(SERIAL_R2TS.value)
_SMALL_R2T = int(SMALL_R2T.value)
_CLOSED_WINDOW = CLOSED_WINDOW.value
_USUAL_BLOCK = int(USUAL_BLOCK.value)


def place_of(record: PduRecord, first: FrameNumber, last: FrameNumber) -> Sighting:
    """Where something was seen, with its PDU."""
    return Sighting(record.connection, first, last, record.time, pdu=shown(record.raw, record.direction))


# The read and write path.


def _command(reviewer: Reviewer, watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    raw, now = record.raw, record.time
    bhs = bytes(raw.bhs)
    command = Command(now, bhs, [(now, last, bhs)])
    if bhs[32] in _LOOKED_INTO:
        if bhs[32] in _RESERVING:
            reviewer.part.reserves = True
        else:
            command.capacity = bhs[32] == _READ_CAPACITY_10 or bhs[33] & 0x1F == _READ_CAPACITY_16
    watch.begin(bhs[16:20], command)
    session = watch.session
    if session is not None and watch.closed_since is None and session.window_closed:
        watch.closed_since = command


def _data_out(_reviewer: Reviewer, watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    bhs = record.raw.bhs
    if type(bhs) is not bytes:
        bhs = bytes(bhs)
    command = watch.open.get(bhs[16:20])
    if command is not None:
        steps = command.steps
        if len(steps) < command.most:
            steps.append((record.time, last, bhs))
        else:
            command.step(record.time, last, bhs)
        if bhs[1] & _FINAL:
            command.waiting = False


def _data_in(_reviewer: Reviewer, watch: Watch, record: PduRecord, first: FrameNumber, last: FrameNumber) -> None:
    bhs = record.raw.bhs
    if type(bhs) is not bytes:
        bhs = bytes(bhs)
    itt = bhs[16:20]
    command = watch.open.get(itt)
    if command is not None:
        steps = command.steps
        if len(steps) < command.most:
            steps.append((record.time, last, bhs))
        else:
            command.step(record.time, last, bhs)
        if command.capacity:
            _blocks(watch, record, first, last, command)
        if bhs[1] & _STATUS:
            watch.end(itt, command, record.time, status_name(bhs[3]))
    if watch.closed_since is not None:
        _window(watch, record.time)


def _response(_reviewer: Reviewer, watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    bhs = record.raw.bhs
    itt = bytes(bhs[16:20])
    command = watch.open.get(itt)
    if command is not None:
        command.step(record.time, last, bhs)
        status = f"response {bhs[2]:#04x}" if bhs[2] else status_name(bhs[3])
        watch.end(itt, command, record.time, status)
        if command.r2ts >= _SERIAL_R2TS and not command.parallel:
            _serial(watch, command)
    if watch.closed_since is not None:
        _window(watch, record.time)


def _r2t(_reviewer: Reviewer, watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    bhs = record.raw.bhs
    command = watch.open.get(bytes(bhs[16:20]))
    if command is not None:
        command.step(record.time, last, bhs)
        command.r2ts += 1
        command.parallel = command.parallel or command.waiting
        command.waiting = True
        length = int.from_bytes(bhs[44:48], "big")
        command.largest = max(command.largest, length)
    if watch.closed_since is not None:
        _window(watch, record.time)


def _window(watch: Watch, now: float) -> None:
    """The target has spoken while the command window was closed: does it take commands again?"""
    session, since = watch.session, watch.closed_since
    if session is None or since is None:
        return
    if not session.window_closed:
        seconds = now - since.started
        if seconds >= _CLOSED_WINDOW:
            watch.facts.see("closed window", lambda: start_of(watch.number, since), seconds)
        watch.closed_since = None


def _serial(watch: Watch, command: Command) -> None:
    """A write whose R2Ts came one after the other."""
    largest = command.largest
    if largest <= _SMALL_R2T and (watch.facts.max_burst is None or largest * 2 <= watch.facts.max_burst):
        watch.facts.see("small R2Ts", lambda: start_of(watch.number, command), largest)


def _blocks(watch: Watch, record: PduRecord, first: FrameNumber, last: FrameNumber, command: Command) -> None:
    """The data of a READ CAPACITY."""
    data = bytes(record.raw.data)
    command.capacity = False
    layout = ReadCapacity10 if command.bhs[32] == _READ_CAPACITY_10 else ReadCapacity16
    if len(data) < 12 and len(data) < layout.LENGTH:
        return
    length = int.from_bytes(data[4:8] if layout is ReadCapacity10 else data[8:12], "big")
    if length not in (0, _USUAL_BLOCK):
        watch.facts.see("blocks", lambda: place_of(record, first, last), length)


# Everything else, for the timeline.


def _login_request(reviewer: Reviewer, watch: Watch, record: PduRecord, first: FrameNumber, last: FrameNumber) -> None:
    _challenge(reviewer, record)
    if watch.login != "not seen" or watch.dialogue is None:
        return
    connection = watch.dialogue
    if not connection.known or not connection.login.first:
        return
    session = watch.session = connection.session
    watch.login = "unfinished"
    who, target = session.initiator_name or "somebody", session.target_name or "discovery"
    bhs = record.raw.bhs
    reviewer.tell(record.time, last, record.connection, "login", f"{who} logs in: {target}")
    if not int.from_bytes(bhs[14:16], "big"):
        reviewer.attempt(watch, who, session.target_name, Sighting(record.connection, first, last, record.time))


def _login_response(reviewer: Reviewer, watch: Watch, record: PduRecord, first: FrameNumber, last: FrameNumber) -> None:
    _challenge(reviewer, record)
    reviewer.logged_in(watch)
    if watch.negotiated is not None:
        if watch.tell_once("full feature"):
            reviewer.tell(record.time, last, record.connection, "login", "full feature phase")
        return
    code = int.from_bytes(record.raw.bhs[36:38], "big")
    if not code:
        return
    name = LOGIN_STATUSES.get(code, "reserved")
    watch.login = f"refused {code:#06x}" if code >> 8 != 1 else f"redirected {code:#06x}"
    if watch.attempt is not None:
        watch.attempt.outcome = watch.login
    reviewer.tell(record.time, last, record.connection, "login", f"status {code:#06x}: {name}")
    request = watch.dialogue.login.first if watch.dialogue is not None else b""
    if code == _TOO_MANY_CONNECTIONS and int.from_bytes(request[14:16], "big"):
        watch.facts.see("connection refused", lambda: place_of(record, first, last))


def _challenge(reviewer: Reviewer, record: PduRecord) -> None:
    """Note a CHAP challenge: each of them may come once in a capture."""
    data = bytes(record.raw.data)
    at = data.find(b"CHAP_C=")
    challenges = reviewer.part.challenges
    if at >= 0 and len(challenges) < CHALLENGES_KEPT:
        challenges.append(sha256(data[at:].partition(b"\0")[0]).digest())


def _text_response(reviewer: Reviewer, watch: Watch, record: PduRecord, first: FrameNumber, last: FrameNumber) -> None:
    text = watch.text
    if len(text) + len(record.raw.data) <= _TEXT_KEPT:
        text += record.raw.data
    if record.raw.bhs[1] & 0x40:
        return
    pairs, _ = scan_pairs(bytes(text))
    text.clear()
    advertised = reviewer.part.advertised
    for key, value in pairs:
        if key != "TargetAddress" or len(advertised) >= ADVERTISED_KEPT:
            continue
        try:
            address = parse_target_address(value)
        except ValueError:
            continue
        place = Sighting(record.connection, first, last, record.time)
        advertised.setdefault(Endpoint(address.host, address.port), place)


def _task_management(
    reviewer: Reviewer, watch: Watch, record: PduRecord, first: FrameNumber, last: FrameNumber
) -> None:
    bhs = record.raw.bhs
    function = bhs[1] & 0x7F
    name = TASK_FUNCTIONS.get(function, f"task management function {function}")
    reviewer.tell(record.time, last, record.connection, "recovery", name)
    if function != TaskFunction.ABORT_TASK:
        return
    tag = bytes(bhs[20:24])
    command = watch.open.get(tag)
    watch.facts.see("abort", lambda: place_of(record, first, last))
    if command is not None:
        command.step(record.time, last, bhs)
        command.reason = command.reason or "aborted"
        if len(watch.aborts) < ABORTS_KEPT:
            watch.aborts[bytes(bhs[16:20])] = tag


def _task_management_response(
    reviewer: Reviewer, watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber
) -> None:
    bhs = record.raw.bhs
    tag = watch.aborts.pop(bytes(bhs[16:20]), None)
    if bhs[2]:
        what = TASK_RESPONSES.get(bhs[2], f"response {bhs[2]}")
        reviewer.tell(record.time, last, record.connection, "recovery", f"task management: {what}")
    command = None if tag is None else watch.open.get(tag)
    if tag is not None and command is not None:
        command.step(record.time, last, bhs)
        if not bhs[2]:
            watch.leave(tag, "aborted")


def _logout_request(
    reviewer: Reviewer, _watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber
) -> None:
    reason = record.raw.bhs[1] & 0x7F
    what = LOGOUT_REASONS.get(reason, f"reason {reason}")
    reviewer.tell(record.time, last, record.connection, "logout", f"logout: {what}")


def _logout_response(
    reviewer: Reviewer, _watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber
) -> None:
    response = record.raw.bhs[2]
    what = LOGOUT_RESPONSES.get(response, f"response {response}")
    reviewer.tell(record.time, last, record.connection, "logout", f"logout response: {what}")


def _snack(reviewer: Reviewer, _watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    kind = record.raw.bhs[1] & 0x0F
    reviewer.tell(record.time, last, record.connection, "recovery", f"SNACK: {SNACK_TYPES.get(kind, f'type {kind}')}")


def _asynchronous(reviewer: Reviewer, _watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    event = record.raw.bhs[36]
    what = ASYNC_EVENTS.get(event, f"event {event}")
    reviewer.tell(record.time, last, record.connection, "notice", f"asynchronous message: {what}")


def _reject(reviewer: Reviewer, _watch: Watch, record: PduRecord, _first: FrameNumber, last: FrameNumber) -> None:
    reason = record.raw.bhs[2]
    what = REJECT_REASONS.get(reason, f"reason {reason:#04x}")
    reviewer.tell(record.time, last, record.connection, "notice", f"reject: {what}")


def _nop_in(_reviewer: Reviewer, watch: Watch, record: PduRecord, _first: FrameNumber, _last: FrameNumber) -> None:
    if watch.closed_since is not None:
        _window(watch, record.time)


_BY_OPCODE: dict[int, Step] = {
    Opcode.SCSI_COMMAND: _command,
    Opcode.TASK_MANAGEMENT_REQUEST: _task_management,
    Opcode.LOGIN_REQUEST: _login_request,
    Opcode.SCSI_DATA_OUT: _data_out,
    Opcode.LOGOUT_REQUEST: _logout_request,
    Opcode.SNACK_REQUEST: _snack,
    Opcode.NOP_IN: _nop_in,
    Opcode.SCSI_RESPONSE: _response,
    Opcode.TASK_MANAGEMENT_RESPONSE: _task_management_response,
    Opcode.LOGIN_RESPONSE: _login_response,
    Opcode.TEXT_RESPONSE: _text_response,
    Opcode.SCSI_DATA_IN: _data_in,
    Opcode.LOGOUT_RESPONSE: _logout_response,
    Opcode.R2T: _r2t,
    Opcode.ASYNC_MESSAGE: _asynchronous,
    Opcode.REJECT: _reject,
}
STEPS: tuple[Step | None, ...] = tuple(_BY_OPCODE.get(opcode) for opcode in range(64))
"""By opcode; None where nothing is noted."""
