"""CmdSN, ExpCmdSN, MaxCmdSN, StatSN and ExpStatSN (4.2.2, 11.12.8, 11.12.9, 11.13.4)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Side, Sight
from iscsi_captures.dialogue.bits import STATUS
from iscsi_captures.dialogue.numbers import NUMBERED, STATUS_OPCODES, is_resent, is_retry, passed_by, single
from iscsi_captures.dialogue.retention import acknowledged
from iscsi_captures.rules.model import INITIATOR_OPCODES, TARGET_OPCODES, Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import BHS_LENGTH, NO_TAG, Opcode

RULES = Rules((Phase.FULL,))
_LOGIN = (Phase.LOGIN,)
_WITH_WINDOW = tuple(opcode for opcode in TARGET_OPCODES if opcode != Opcode.LOGIN_RESPONSE)
_WITH_EXP_STAT_SN = tuple(opcode for opcode in INITIATOR_OPCODES if opcode != Opcode.LOGIN_REQUEST)


@RULES("cmdsn.gap", "R7143-4.2.2.1-03", *NUMBERED, stain=Stain.SESSION)
def cmd_sn_gap(sight: Sight) -> str | None:
    """Each non-immediate request raises CmdSN by exactly one."""
    expected, number, session = sight.session.cmd_sn, sight.word(24), sight.session
    if sight.immediate or expected is None or session.uncertain:
        return None
    if not single(session):
        missing = passed_by(sight)
        return None if missing is None else f"CmdSN {missing} was left out: every connection of the session is past it"
    if session.gap_allowed or serial.le(number, expected):
        return None
    return f"CmdSN {number} follows where {expected} was next"


@RULES("cmdsn.order", "R7143-4.2.2.1-08", *NUMBERED, stain=Stain.SESSION)
def cmd_sn_order(sight: Sight) -> str | None:
    """On a connection non-immediate requests go out in rising CmdSN order, retries excepted."""
    last, number = sight.connection.cmd_sn, sight.word(24)
    if sight.immediate or last is None or sight.session.uncertain or serial.gt(number, last):
        return None
    if number in sight.session.open_numbers or is_retry(sight):
        return None
    return f"CmdSN {number} after {last} on the same connection"


@RULES("cmdsn.reused", "R7143-4.2.2.1-03", *NUMBERED, stain=Stain.SESSION)
def cmd_sn_reused(sight: Sight) -> str | None:
    """A CmdSN that went out over one connection does not go to another request over another one."""
    following, number, last = sight.session.cmd_sn, sight.word(24), sight.connection.cmd_sn
    if sight.immediate or following is None or sight.session.uncertain or serial.ge(number, following):
        return None
    if last is None or serial.le(number, last) or number in sight.session.open_numbers or is_retry(sight):
        return None
    return f"CmdSN {number} was given to another request before"


@RULES("cmdsn.immediate", "R7143-4.2.2.1-01", *NUMBERED, stain=Stain.SESSION)
def cmd_sn_immediate(sight: Sight) -> str | None:
    """An immediate request carries the CmdSN that the next non-immediate one will take."""
    session, number, last = sight.session, sight.word(24), sight.connection.cmd_sn
    expected = session.cmd_sn
    if not sight.immediate or expected is None or session.uncertain or number in session.open_numbers:
        return None
    if not single(session):
        # What the other connections bring before it cannot be told.
        return f"immediate request with CmdSN {number} after {last}" if last and serial.le(number, last) else None
    if number == expected or (session.gap_allowed and serial.gt(number, expected)):
        return None
    return f"immediate request with CmdSN {number} where {expected} is current"


@RULES("cmdsn.outside-window", "R7143-4.2.2.1-14", *NUMBERED, stain=Stain.SESSION)
def outside_window(sight: Sight) -> str | None:
    """A non-immediate request is sent only while its CmdSN does not exceed MaxCmdSN."""
    limit, number = sight.session.max_cmd_sn, sight.word(24)
    if sight.immediate or limit is None or serial.le(number, limit):
        return None
    return f"CmdSN {number} is above MaxCmdSN {limit}"


@RULES("cmdsn.acknowledged-too-far", "R7143-4.2.2.1-09", *_WITH_WINDOW, stain=Stain.SESSION)
def acknowledged_too_far(sight: Sight) -> str | None:
    """ExpCmdSN acknowledges no request that was not sent."""
    sent, number = sight.session.cmd_sn, sight.word(28)
    if sent is None or sight.session.uncertain or sight.session.gap_allowed or serial.le(number, sent):
        return None
    return f"ExpCmdSN {number} acknowledges past {sent}, the next CmdSN to come"


@RULES("cmdsn.hole-acknowledged", "R7143-4.2.2.1-09", *_WITH_WINDOW, leans=False, stain=Stain.SESSION)
def hole_acknowledged(sight: Sight) -> str | None:
    """ExpCmdSN stops at the first CmdSN that is missing."""
    number, session = sight.word(28), sight.session
    if not session.open_numbers or session.uncertain or sight.connection.broken & Side.INITIATOR:
        return None
    for missing, received in session.open_numbers.items():
        if not received and serial.gt(number, missing):
            return f"ExpCmdSN {number} acknowledges CmdSN {missing}, which the target does not have"
    return None


@RULES("cmdsn.rejected-acknowledged", "R7143-7.3-03", Opcode.REJECT, stain=Stain.SESSION)
def rejected_acknowledged(sight: Sight) -> str | None:
    """The CmdSN of a command that is rejected does not count as received."""
    header, number = bytes(sight.raw.data[:BHS_LENGTH]), sight.word(28)
    if len(header) < BHS_LENGTH or header[0] != Opcode.SCSI_COMMAND or sight.session.exp_cmd_sn is None:
        return None
    task = sight.session.tasks.get(int.from_bytes(header[16:20], "big"))
    if task is None or task.bhs != header or serial.lt(task.cmd_sn, sight.session.exp_cmd_sn):
        return None
    if serial.le(number, task.cmd_sn):
        return None
    return f"ExpCmdSN {number} acknowledges CmdSN {task.cmd_sn}, which this Reject refuses"


@RULES("cmdsn.acknowledgement-back", "R7143-4.2.2.1-09", *_WITH_WINDOW, stain=Stain.SESSION)
def acknowledgement_back(sight: Sight) -> str | None:
    """ExpCmdSN does not go back on a connection: what is acknowledged stays so."""
    last, number = sight.connection.exp_cmd_sn, sight.word(28)
    if last is None or serial.ge(number, last) or is_resent(sight):
        return None
    return f"ExpCmdSN {number} after {last}"


@RULES("cmdsn.window-shrinks", "R7143-4.2.2.1-18", *_WITH_WINDOW, level="ADVICE")
def window_shrinks(sight: Sight) -> str | None:
    """MaxCmdSN does not go back: an initiator would not hear of it (4.2.2.1 has it ignore the lower value)."""
    last, number = sight.connection.max_cmd_sn, sight.word(32)
    if last is None or serial.ge(number, last):
        return None
    return f"MaxCmdSN {number} after {last}"


@RULES("cmdsn.window-below-zero", "R7143-4.2.2.1-11", *_WITH_WINDOW, leans=False, stain=Stain.SESSION)
def window_below_zero(sight: Sight) -> str | None:
    """MaxCmdSN is not less than ExpCmdSN - 1."""
    exp_cmd_sn, max_cmd_sn = sight.word(28), sight.word(32)
    if serial.ge(max_cmd_sn, serial.add(exp_cmd_sn, -1)):
        return None
    return f"MaxCmdSN {max_cmd_sn} with ExpCmdSN {exp_cmd_sn}"


@RULES(
    "cmdsn.answer-before-acknowledgement",
    "R7143-4.2.2.1-22",
    Opcode.SCSI_RESPONSE,
    Opcode.SCSI_DATA_IN,
    stain=Stain.TASK,
)
def answer_before_acknowledgement(sight: Sight) -> str | None:
    """No status goes out before its command is acknowledged."""
    task = sight.scsi
    if task is None or task.immediate or sight.session.uncertain or task.disturbed:
        return None
    if sight.opcode == Opcode.SCSI_DATA_IN and not sight.bhs[1] & STATUS:
        return None
    known = sight.session.exp_cmd_sn
    acknowledged = sight.word(28)
    if known is not None and serial.gt(known, acknowledged):
        acknowledged = known
    if serial.gt(acknowledged, task.cmd_sn):
        return None
    return f"status for CmdSN {task.cmd_sn} while ExpCmdSN is {acknowledged}"


_STAT_SN_CLAUSES = {
    Opcode.SCSI_RESPONSE: ("statsn.scsi-response", "R7143-11.4.9-01"),
    Opcode.SCSI_DATA_IN: ("statsn.data-in", "R7143-4.2.2.2-05"),
    Opcode.TASK_MANAGEMENT_RESPONSE: ("statsn.tmf-response", "R7143-4.2.2.2-05"),
    Opcode.TEXT_RESPONSE: ("statsn.text-response", "R7143-11.11.5-01"),
    Opcode.LOGOUT_RESPONSE: ("statsn.logout-response", "R7143-4.2.2.2-05"),
    Opcode.ASYNC_MESSAGE: ("statsn.async", "R7143-11.9-01"),
    Opcode.REJECT: ("statsn.reject", "R7143-11.17.3-01"),
    Opcode.NOP_IN: ("statsn.nop-in", "R7143-11.19.2-01"),
    Opcode.R2T: ("statsn.r2t", "R7143-11.8.3-01"),
}


def _stat_sn(sight: Sight) -> str | None:
    """StatSN counts the statuses of the connection on by one; what uses none carries the next."""
    expected, number = sight.connection.stat_sn, sight.word(24)
    if expected is None or number == expected:
        return None
    if sight.opcode == Opcode.SCSI_DATA_IN and not sight.bhs[1] & STATUS:
        return None
    if is_resent(sight):
        return None
    uses = sight.opcode in STATUS_OPCODES or sight.opcode == Opcode.SCSI_DATA_IN or sight.itt != NO_TAG
    return f"StatSN {number} where {expected} was next" + ("" if uses else ", though it is not used up")


for _opcode, (_id, _clause) in _STAT_SN_CLAUSES.items():
    RULES(_id, _clause, _opcode, leans=False, stain=Stain.CONNECTION)(_stat_sn)


@RULES("statsn.login-response", "R7143-11.13.4-01", Opcode.LOGIN_RESPONSE, phases=_LOGIN, leans=False, from_start=True)
def login_stat_sn(sight: Sight) -> str | None:
    """Login Responses after the first count StatSN on by one."""
    return None if sight.bhs[36] else _stat_sn(sight)


@RULES("expstatsn.ahead", "R7143-11.3.3-01", *_WITH_EXP_STAT_SN)
def exp_stat_sn_ahead(sight: Sight) -> str | None:
    """ExpStatSN acknowledges no status that was not sent."""
    following, number, subject = sight.connection.stat_sn, sight.word(28), acknowledged(sight)
    if following is None or serial.le(number, following):
        return None
    if subject is not sight.connection and (
        subject is None or subject.stat_sn is None or serial.le(number, subject.stat_sn)
    ):
        return None
    return f"ExpStatSN {number} while {following} is the next StatSN"


@RULES("expstatsn.of-other-connection", "R7143-11.3.3-01", Opcode.LOGOUT_REQUEST, level="ADVICE", from_start=True)
def exp_stat_sn_of_other_connection(sight: Sight) -> str | None:
    """A Logout Request for another connection carries the last ExpStatSN of that one, not its own connection's."""
    subject, number = acknowledged(sight), sight.word(28)
    if subject is None or subject is sight.connection or subject.stat_sn is None or subject.broken:
        return None
    # What was on its way when the connection broke may not have come: any of these can be the last (11.14.4).
    first = subject.login_stat_sn if subject.acked is None else subject.acked
    if first is None or (serial.le(first, number) and serial.le(number, subject.stat_sn)):
        return None
    if exp_stat_sn_ahead(sight) is not None:
        return None  # neither connection's, and told already
    return f"ExpStatSN {number}, on connection {subject.number} it is {first} to {subject.stat_sn}"


@RULES("login.status-not-acknowledged", "R7143-11.12.9-01", Opcode.LOGIN_REQUEST, phases=_LOGIN, from_start=True)
def login_exp_stat_sn(sight: Sight) -> str | None:
    """Each later Login Request acknowledges the response before it."""
    following, number = sight.connection.stat_sn, sight.word(28)
    if following is None or not sight.connection.login.answered or number == following:
        return None
    return f"ExpStatSN {number} where {following} acknowledges the response"


@RULES("login.cmd-sn-advanced", "R7143-11.12.8-02", Opcode.LOGIN_REQUEST, phases=_LOGIN, from_start=True)
def login_cmd_sn(sight: Sight) -> str | None:
    """CmdSN does not advance during login."""
    first = sight.connection.login.first
    if not first or len(sight.session.connections) > 0:
        return None
    begun, number = int.from_bytes(first[24:28], "big"), sight.word(24)
    return None if number == begun else f"CmdSN {number} in a login that began with {begun}"


@RULES("login.exp-cmd-sn", "R7143-11.12.8-01", Opcode.LOGIN_RESPONSE, phases=_LOGIN, from_start=True)
def login_exp_cmd_sn(sight: Sight) -> str | None:
    """The leading login's CmdSN becomes ExpCmdSN."""
    first = sight.connection.login.first
    if not first or sight.bhs[36] or int.from_bytes(first[14:16], "big"):
        return None
    begun, number = int.from_bytes(first[24:28], "big"), sight.word(28)
    return None if number == begun else f"ExpCmdSN {number} in answer to a leading login with CmdSN {begun}"
