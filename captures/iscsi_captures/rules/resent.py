"""PDUs that come again, and PDUs that came damaged (7.8, 11.16): exact replicas, and nothing made of what was discarded."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.dialogue.numbers import NUMBERED, STATUS_OPCODES, is_resent, takes_stat_sn
from iscsi_captures.dialogue.retention import acknowledged, print_of, r2t_print
from iscsi_captures.rules.model import INITIATOR_OPCODES, Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import BHS_LENGTH, NO_TAG, Opcode, RejectReason, opcode_name

RULES = Rules((Phase.FULL,))
_STATUSES = (*(STATUS_OPCODES - {Opcode.LOGIN_RESPONSE}), Opcode.SCSI_DATA_IN, Opcode.NOP_IN)
_ANSWERS = (
    Opcode.SCSI_RESPONSE,
    Opcode.SCSI_DATA_IN,
    Opcode.R2T,
    Opcode.NOP_IN,
    Opcode.TASK_MANAGEMENT_RESPONSE,
    Opcode.TEXT_RESPONSE,
    Opcode.LOGOUT_RESPONSE,
)
_WITH_EXP_STAT_SN = tuple(opcode for opcode in INITIATOR_OPCODES if opcode != Opcode.LOGIN_REQUEST)


@RULES("resent.status-differs", "R7143-11.16-02", *_STATUSES, leans=False, stain=Stain.NOTHING)
def status_differs(sight: Sight) -> str | None:
    """A response that is sent again equals the first, but for ExpCmdSN, MaxCmdSN and ExpDataSN."""
    status, task = sight.connection.statuses.get(sight.word(24)), sight.former or sight.task
    if status is None or status.print is None or not takes_stat_sn(sight) or not is_resent(sight):
        return None
    if task is not None and task.opcode == Opcode.SCSI_COMMAND and task.recovery is not None and task.recovery.tags:
        # After an R-Data SNACK the response is made anew.
        return None
    same = print_of(sight) == status.print
    return None if same else f"StatSN {sight.word(24)} comes again, and is not what it was"


@RULES("resent.old-counters", "R7143-11.16-02", *_STATUSES, stain=Stain.NOTHING)
def old_counters(sight: Sight) -> str | None:
    """A response that is sent again carries the current ExpCmdSN."""
    last, number = sight.connection.exp_cmd_sn, sight.word(28)
    if last is None or serial.ge(number, last) or not takes_stat_sn(sight) or not is_resent(sight):
        return None
    return f"StatSN {sight.word(24)} comes again with ExpCmdSN {number}, which was {last} already"


@RULES("resent.r2t-differs", "R7143-11.16-02", Opcode.R2T, leans=False, stain=Stain.TASK)
def r2t_differs(sight: Sight) -> str | None:
    """An R2T that is sent again equals the first, but for StatSN, ExpCmdSN and MaxCmdSN."""
    task, number = sight.scsi, sight.word(36)
    if task is None or task.recovery is None or task.recovery.resumed_out:
        return None
    former = task.recovery.r2ts.get(number)
    if former is None or former == r2t_print(sight):
        return None
    return f"R2TSN {number} comes again, and is not what it was"


@RULES("resent.data-differs", "R7143-11.16-04", Opcode.SCSI_DATA_IN, leans=False, stain=Stain.TASK)
def data_differs(sight: Sight) -> str | None:
    """Data-In that is sent again equals the first, but for ExpCmdSN and MaxCmdSN."""
    task, number = sight.command, sight.word(36)
    if task is None or task.recovery is None or not sight.repeated or task.aborting:
        # Behind an ABORT TASK on another connection it comes with a StatSN of that one (11.5.1).
        return None
    former = task.recovery.sent.get(number)
    if former is None or former.print is None or former.print == print_of(sight):
        return None
    return f"DataSN {number} comes again, and is not what it was"


@RULES("resent.status-renumbered", "R7143-11.4.9-02", Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, stain=Stain.NOTHING)
def status_renumbered(sight: Sight) -> str | None:
    """A status that is sent again keeps its StatSN."""
    task, number = sight.former, sight.word(24)
    if task is None or task is not sight.command or task.recovery is None or task.recovery.tags:
        return None
    if task.recovery.status in (None, number) or not takes_stat_sn(sight):
        return None
    return f"StatSN {number} for a status that had StatSN {task.recovery.status}"


@RULES("resent.other-connection", "R7143-4.2.5.1-05", Opcode.SCSI_RESPONSE, Opcode.SCSI_DATA_IN, stain=Stain.NOTHING)
def other_connection(sight: Sight) -> str | None:
    """What is sent again goes out on the connection where it was sent first."""
    task = sight.former
    if task is None or task.opcode != Opcode.SCSI_COMMAND or task.connection is sight.connection:
        return None
    return f"the command belongs to connection {task.connection.number}"


@RULES("digest.reject-reason", "R7143-7.8-02", Opcode.REJECT, leans=False, stain=Stain.NOTHING)
def reject_reason(sight: Sight) -> str | None:
    """A request with a wrong data digest is rejected as such."""
    header, reason = bytes(sight.raw.data[:BHS_LENGTH]), sight.bhs[2]
    if header not in sight.connection.damaged or reason == RejectReason.DATA_DIGEST_ERROR:
        return None
    return f"reason {reason:#04x} for a request with a wrong data digest"


@RULES("digest.reject-missing", "R7143-7.8-02", Opcode.LOGOUT_RESPONSE, leans=False, stain=Stain.NOTHING)
def reject_missing(sight: Sight) -> str | None:
    """A request with a wrong data digest is rejected, before the connection is logged out at the latest."""
    damaged, request = sight.connection.damaged, sight.task
    if not damaged or sight.bhs[2] or request is None or request.connection is not sight.connection:
        return None
    first = next(iter(damaged))
    return f"the {opcode_name(first[0] & 0x3F)} with a wrong data digest was never rejected"


def _spoilt(sight: Sight, what: str) -> bool:
    if sight.itt == NO_TAG or sight.task is not None or sight.former is not None:
        return False
    return sight.session.spoilt.get(sight.itt) == what


@RULES("digest.damaged-request-served", "R7143-7.8-03", *_ANSWERS, leans=False, stain=Stain.NOTHING)
def damaged_request_served(sight: Sight) -> str | None:
    """A request with a wrong data digest is discarded."""
    if not _spoilt(sight, "data"):
        return None
    return f"a {opcode_name(sight.opcode)} for a request that came only with a wrong data digest"


@RULES("digest.damaged-header-served", "R7143-7.8-01", *_ANSWERS, leans=False, stain=Stain.NOTHING)
def damaged_header_served(sight: Sight) -> str | None:
    """A PDU with a wrong header digest is dropped."""
    if not _spoilt(sight, "header"):
        return None
    return f"a {opcode_name(sight.opcode)} for a request that came only with a wrong header digest"


@RULES("digest.damaged-status-acknowledged", "R7143-7.8-07", *_WITH_EXP_STAT_SN, leans=False, stain=Stain.NOTHING)
def damaged_status_acknowledged(sight: Sight) -> str | None:
    """A status with a wrong data digest is discarded, not acknowledged."""
    connection, acked = acknowledged(sight), sight.word(28)
    if connection is None:
        return None
    for number, status in connection.statuses.items():
        if status.damaged and serial.lt(number, acked):
            return f"ExpStatSN {acked} acknowledges status {number}, which came with a wrong data digest"
    return None


@RULES("command.retry-needless", "R7143-7.2.1-01", *NUMBERED, stain=Stain.NOTHING)
def retry_needless(sight: Sight) -> str | None:
    """Only what is not acknowledged is sent again."""
    task, confirmed, number = sight.task or sight.former, sight.session.confirmed, sight.word(24)
    if task is None or confirmed is None or sight.immediate or number in sight.session.open_numbers:
        return None
    if task.cmd_sn != number or task.opcode != sight.opcode or task.immediate or serial.ge(number, confirmed):
        return None
    return f"CmdSN {number} again, although ExpCmdSN {confirmed} was received"


@RULES("command.retry-on-other-connection", "R7143-7.2.1-03", *NUMBERED, stain=Stain.NOTHING)
def retry_on_other_connection(sight: Sight) -> str | None:
    """A request is sent again on its own connection, unless that was logged out."""
    task, number = sight.task or sight.former, sight.word(24)
    if task is None or task.connection is sight.connection or task.connection.ended:
        return None
    if sight.immediate or task.immediate or task.cmd_sn != number or task.opcode != sight.opcode:
        return None
    return f"CmdSN {number} was sent on connection {task.connection.number}, which is not logged out"
