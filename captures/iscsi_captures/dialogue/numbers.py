"""Moving the counters of a dialogue (4.2.2): what a PDU uses up, seen from beside the wire.

Over several connections the order in which the two ends saw the PDUs is unknown. Still certain: what one connection
carried came in order, nothing is acknowledged that no connection has brought, and a number that every connection has
passed does not come any more.
"""

from __future__ import annotations

from iscsi_captures.dialogue.bits import STATUS
from iscsi_captures.dialogue.sight import Sight
from iscsi_captures.dialogue.state import Connection, Session, keep
from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, Opcode

NUMBERED = frozenset(
    {
        Opcode.NOP_OUT,
        Opcode.SCSI_COMMAND,
        Opcode.TASK_MANAGEMENT_REQUEST,
        Opcode.TEXT_REQUEST,
        Opcode.LOGOUT_REQUEST,
    }
)
STATUS_OPCODES = frozenset(
    {
        Opcode.SCSI_RESPONSE,
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Opcode.LOGIN_RESPONSE,
        Opcode.TEXT_RESPONSE,
        Opcode.LOGOUT_RESPONSE,
        Opcode.ASYNC_MESSAGE,
        Opcode.REJECT,
    }
)
HOLES_KEPT = 1024
RUNS_KEPT = 64


def takes_stat_sn(sight: Sight) -> bool:
    """Whether this target PDU uses up a StatSN (section 2 of the wire: all statuses, Data-In with S, answers to pings)."""
    if sight.opcode == Opcode.SCSI_DATA_IN:
        return bool(sight.bhs[1] & STATUS)
    if sight.opcode == Opcode.NOP_IN:
        return sight.itt != NO_TAG
    return sight.opcode in STATUS_OPCODES


def is_retry(sight: Sight) -> bool:
    """Whether a request repeats one that was sent before (7.2.1). What crosses with its status counts too."""
    former = sight.task or sight.former
    if former is not None:
        return former.cmd_sn == sight.word(24) and former.opcode == sight.opcode and not former.immediate
    session = sight.session
    return bool(session.level) and (sight.itt in session.ended or sight.itt in session.forgotten)


def single(session: Session) -> bool:
    """Whether all requests of the session come over one connection, in one order."""
    return not session.uncertain and len(session.connections) == 1


def passed_by(sight: Sight) -> int | None:
    """A number that was left out and that no connection can bring any more, with this request gone past it too."""
    left_out, number = sight.session.left_out, sight.word(24)
    if not left_out or sight.immediate:
        return None
    for missing in left_out:
        if missing != number and all(_is_past(other, sight, missing) for other in sight.session.live()):
            return missing
    return None


def _is_past(connection: Connection, sight: Sight, missing: int) -> bool:
    if connection is sight.connection and serial.gt(sight.word(24), missing):
        return True
    return connection.numbered and connection.cmd_sn is not None and serial.gt(connection.cmd_sn, missing)


def advance_cmd_sn(sight: Sight) -> None:
    """A numbered request was sent; with a wrong data digest the target does not take it (7.8)."""
    number, session = sight.word(24), sight.session
    if sight.immediate:
        if session.cmd_sn is None:
            session.cmd_sn = number
        elif serial.gt(number, session.cmd_sn) and not _is_outside(session, serial.add(number, -1)):
            # The numbers below it are given out, though they have not come.
            _leave_out(session, session.cmd_sn, number)
            session.cmd_sn = number
        return
    if _is_outside(session, number):
        # The target passes over it as if it had never come (4.2.2.1). The initiator may well count on behind it: that is
        # the same violation, and no second one.
        session.gap_allowed = True
        keep(session.outside, sight.itt, number)
        return
    expected = session.cmd_sn
    held = expected is not None and serial.lt(number, expected)
    if not held:
        if expected is not None and number != expected:
            _leave_out(session, expected, number)
        session.cmd_sn = serial.add(number)
        session.gap_allowed = False
    missing = passed_by(sight)
    if missing is not None:
        del session.left_out[missing]
    if sight.raw.data_digest_error:
        # It adds nothing to what the target has.
        if not held and len(session.open_numbers) < HOLES_KEPT:
            session.open_numbers[number] = False
    elif session.open_numbers:
        session.open_numbers.pop(number, None)
    session.left_out.pop(number, None)
    if session.outside:
        session.outside.pop(sight.itt, None)
    connection = sight.connection
    connection.numbered = True
    if connection.cmd_sn is None or serial.gt(number, connection.cmd_sn):
        connection.cmd_sn = number


def _is_outside(session: Session, number: int) -> bool:
    return session.max_cmd_sn is not None and serial.gt(number, session.max_cmd_sn)


def _leave_out(session: Session, first: int, number: int) -> None:
    """The numbers up to this one were passed over."""
    span = (number - first) & 0xFFFFFFFF
    blamed = not session.gap_allowed and not single(session)
    for step in range(min(span, HOLES_KEPT - len(session.open_numbers))):
        missing = serial.add(first, step)
        session.open_numbers[missing] = False
        if blamed:
            session.left_out[missing] = None


def advance_stat_sn(sight: Sight) -> None:
    """A target PDU was sent that carries a StatSN."""
    if not takes_stat_sn(sight) or is_resent(sight):
        return
    number, expected = sight.word(24), sight.connection.stat_sn
    if sight.raw.data_digest_error and expected is not None and number != expected:
        return  # where the data came wrong, the header may not be one either
    sight.connection.stat_sn = serial.add(number)


def is_resent(sight: Sight) -> bool:
    """Whether a StatSN below the next one is that of a status that was asked for again, or goes with such data (11.16)."""
    connection, number = sight.connection, sight.word(24)
    if not connection.resent or connection.stat_sn is None or not serial.lt(number, connection.stat_sn):
        return False
    for begin, end in connection.asked:
        if serial.ge(number, begin) and (end is None or serial.lt(number, end)):
            return True
    task = sight.former or sight.task
    if task is None or task.opcode != Opcode.SCSI_COMMAND or task.recovery is None:
        return False
    if sight.opcode == Opcode.SCSI_DATA_IN:
        return bool(task.recovery.asked) or bool(task.recovery.tags)
    return sight.opcode == Opcode.SCSI_RESPONSE and bool(task.recovery.tags)


def advance_window(sight: Sight) -> None:
    """The initiator's rules for the two counters (4.2.2.1)."""
    connection, exp_cmd_sn, max_cmd_sn = sight.connection, sight.word(28), sight.word(32)
    if serial.lt(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
        return
    session = connection.session
    if session.exp_cmd_sn is None or serial.gt(exp_cmd_sn, session.exp_cmd_sn):
        session.exp_cmd_sn = exp_cmd_sn
        if session.open_numbers:
            for number in [number for number in session.open_numbers if serial.lt(number, exp_cmd_sn)]:
                del session.open_numbers[number]
                session.left_out.pop(number, None)
    if session.max_cmd_sn is None or serial.gt(max_cmd_sn, session.max_cmd_sn):
        session.max_cmd_sn = max_cmd_sn
    if connection.exp_cmd_sn is None or serial.gt(exp_cmd_sn, connection.exp_cmd_sn):
        connection.exp_cmd_sn = exp_cmd_sn
    if connection.max_cmd_sn is None or serial.gt(max_cmd_sn, connection.max_cmd_sn):
        connection.max_cmd_sn = max_cmd_sn


def open_again(session: Session, number: int, *, received: bool) -> None:
    """A request is to be sent again, or may be; `received`: the target may have taken it all the same."""
    if session.exp_cmd_sn is not None and serial.lt(number, session.exp_cmd_sn):
        return
    if len(session.open_numbers) < HOLES_KEPT:
        session.open_numbers[number] = received


def plug(session: Session, number: int) -> None:
    """From now on the target counts this request as received (7.11)."""
    if number in session.open_numbers:
        session.open_numbers[number] = True
        session.left_out.pop(number, None)


def ask(runs: list[tuple[int, int | None]], begin: int, end: int | None) -> None:
    """A SNACK asks for the numbers from `begin` to before `end`, or for all there are."""
    if len(runs) >= RUNS_KEPT:
        del runs[0]
    runs.append((begin, end))
