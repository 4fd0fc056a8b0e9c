"""What a side makes of the other's violation or refusal: it does not go on as if nothing had been (4.2.4, 6.3, 6.4)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Side, Sight
from iscsi_captures.dialogue.logins import login_mark
from iscsi_captures.rules.model import TARGET_OPCODES, Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import LoginStatus, Opcode, TaskFunction, opcode_name

RULES = Rules((Phase.LOGIN,), from_start=True)
_REQUEST = Opcode.LOGIN_REQUEST
_RESPONSE = Opcode.LOGIN_RESPONSE
_FULL = (Phase.FULL,)
_NOTHING = Stain.NOTHING
SOON = 60.0
"""Seconds within which the same request again is a repetition, and no new attempt."""
SLACK = 0.25
"""Seconds by which connections may see the end of their session apart from each other."""


@RULES("login.other-pdu-served", "R7143-4.2.4-07", _RESPONSE, leans=False, stain=_NOTHING)
def other_pdu_served(sight: Sight) -> str | None:
    """A PDU that does not belong into the login is answered with status 020b."""
    login, status = sight.connection.login, sight.bhs[36] << 8 | sight.bhs[37]
    if not login.first or not login.intruded & Side.INITIATOR or status == LoginStatus.INVALID_DURING_LOGIN:
        return None
    return f"login status {status:04x} in answer to a PDU that is no Login Request"


@RULES("login.intruder-accepted", "R7143-4.2.4-08", _REQUEST, leans=False, stain=_NOTHING)
def intruder_accepted(sight: Sight) -> str | None:
    """An initiator that hears something else than a Login Response goes no further."""
    if not sight.connection.login.intruded & Side.TARGET:
        return None
    return "the login goes on although the target sent a PDU that is no Login Response"


@RULES("keys.repetition-accepted", "R7143-6.3-22", _RESPONSE, leans=False, stain=_NOTHING)
def repetition_accepted(sight: Sight) -> str | None:
    """A key that comes again in a login is answered with a refusal for an initiator's error."""
    repeated = sight.connection.login.repeated[Side.INITIATOR >> 1]
    return (
        None
        if sight.bhs[36] == 2 or not repeated
        else f"{repeated} came again, and the login status is {_status(sight)}"
    )


def _status(sight: Sight) -> str:
    return bytes(sight.bhs[36:38]).hex()


@RULES("keys.target-repetition-accepted", "R7143-6.3-23", _REQUEST, leans=False, stain=_NOTHING)
def target_repetition_accepted(sight: Sight) -> str | None:
    """An initiator to which a key comes again in a login goes no further."""
    repeated = sight.connection.login.repeated[Side.TARGET >> 1]
    return f"the login goes on although {repeated} came again" if repeated else None


@RULES("text.repetition-accepted", "R7143-6.4-12", Opcode.TEXT_RESPONSE, phases=_FULL, leans=False, stain=_NOTHING)
def text_repetition_accepted(sight: Sight) -> str | None:
    """A key that comes again in a text sequence is rejected."""
    exchange = sight.exchange
    repeated = None if exchange is None else exchange.repeated
    return f"{repeated} came again, and is not rejected" if repeated else None


@RULES("login.repeated-after-refusal", "R7143-11.13.5-24", _REQUEST, level="ADVICE", leans=False)
def repeated_after_refusal(sight: Sight) -> str | None:
    """A login that was refused for an initiator's error is not simply tried again and again."""
    login = sight.connection.login
    if sight.pairs is None or login.whole_requests:
        return None
    refused = login.logins.refused.get(login_mark(sight.bhs, sight.connection))
    if refused is None or refused.times < 2 or sight.time - refused.time > SOON:
        return None
    return f"the login comes again that was refused {refused.times} times, last with {refused.status:04x}"


_SERVED = (Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, Opcode.R2T)


@RULES("cmdsn.outside-window-served", "R7143-4.2.2.1-12", *_SERVED, phases=_FULL, leans=False, stain=_NOTHING)
def outside_window_served(sight: Sight) -> str | None:
    """A request outside of the window is passed over."""
    number, highest = sight.session.outside.get(sight.itt), sight.session.max_cmd_sn
    if number is None or highest is None:
        return None
    if serial.gt(sight.word(32), highest):
        highest = sight.word(32)
    return f"CmdSN {number} is served, MaxCmdSN is {highest}" if serial.gt(number, highest) else None


def _alive(sight: Sight, function: TaskFunction) -> str | None:
    """What the target sends after a reset that ends the connection."""
    reset = sight.session.reset
    if reset is None or reset.function != function:
        return None
    if reset.connection is not sight.connection and sight.time <= reset.time + SLACK:
        return None
    return f"{opcode_name(sight.opcode)} after the response to task management function {int(function)}"


@RULES("tmf.alive-after-cold-reset", "R7143-11.6.1-04", *TARGET_OPCODES, phases=_FULL, leans=False, stain=_NOTHING)
def alive_after_cold_reset(sight: Sight) -> str | None:
    """After the response to TARGET COLD RESET the target closes all connections."""
    return _alive(sight, TaskFunction.TARGET_COLD_RESET)


@RULES("tmf.alive-after-nexus-reset", "R7144-6.3-10", *TARGET_OPCODES, phases=_FULL, leans=False, stain=_NOTHING)
def alive_after_nexus_reset(sight: Sight) -> str | None:
    """After the response to I_T NEXUS RESET the target drops all connections of the session."""
    return _alive(sight, TaskFunction.I_T_NEXUS_RESET)
