"""SCSI Response, and the status part of Data-In: residuals, sense, ExpDataSN (11.4, 11.7.3)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight, Task
from iscsi_captures.dialogue.bits import BIDI_UNDERFLOW, OVERFLOW, STATUS, UNDERFLOW
from iscsi_captures.dialogue.numbers import is_resent
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import Opcode

RULES = Rules((Phase.FULL,))
_RESPONSE = Opcode.SCSI_RESPONSE
_IN = Opcode.SCSI_DATA_IN
_TASK = Stain.TASK
_GOOD = 0
_CHECK_CONDITION = 2


def _has_status(sight: Sight) -> bool:
    return sight.opcode == _RESPONSE or bool(sight.bhs[1] & STATUS)


def _one_way(sight: Sight) -> Task | None:
    """The task of a status whose residual can be held against the data: one direction, nothing sent twice, GOOD."""
    task = sight.scsi
    if task is None or not _has_status(sight) or (task.read and task.write) or task.disturbed:
        return None
    if (
        (sight.opcode == _RESPONSE and sight.bhs[2])
        or sight.bhs[3] != _GOOD
        or (task.write and sight.connection.limits.error_recovery_level)
    ):
        return None
    return task


def _moved(sight: Sight, task: Task) -> int:
    """Bytes that moved for the task, this PDU's included."""
    if task.write:
        return task.out_total
    return task.in_total + (sight.length if sight.opcode == _IN else 0)


@RULES("response.unknown-tag", "R7143-4.2.5.3-03", _RESPONSE, from_start=True, stain=Stain.NOTHING)
def unknown_tag(sight: Sight) -> str | None:
    """A SCSI Response belongs to a SCSI Command that is not over."""
    task, session = sight.task, sight.session
    if task is not None and task.opcode == Opcode.SCSI_COMMAND:
        return None
    if session.uncertain or sight.former is not None or sight.itt in session.aborted:
        return None
    if sight.itt in session.forgotten or sight.itt in session.spoilt or is_resent(sight):
        return None
    over = "is over" if sight.itt in session.ended else "was never sent"
    return f"SCSI Response for Initiator Task Tag {sight.itt:#010x}, whose command {over}"


@RULES("residual.both-flags", "R7143-11.4.1-01", _RESPONSE, _IN, leans=False, stain=_TASK)
def both_flags(sight: Sight) -> str | None:
    """O and U exclude each other, and so do o and u."""
    flags = sight.bhs[1]
    if flags & 0x06 == 0x06 and _has_status(sight):
        return "O and U are both set"
    return "o and u are both set" if sight.opcode == _RESPONSE and flags & 0x18 == 0x18 else None


@RULES("residual.on-failure", "R7143-11.4.1-02", _RESPONSE, leans=False, stain=_TASK)
def on_failure(sight: Sight) -> str | None:
    """A response other than completed has no residual flags."""
    if not sight.bhs[2] or not sight.bhs[1] & 0x1E:
        return None
    return f"residual flags {sight.bhs[1] & 0x1E:#04x} with response {sight.bhs[2]:#04x}"


@RULES("residual.count-without-flag", "R7143-11.4.5.1-03", _RESPONSE, _IN, level="SHOULD", leans=False)
def count_without_flag(sight: Sight) -> str | None:
    """Without O and U the residual count is 0."""
    count = sight.word(44)
    if not count or sight.bhs[1] & 0x06 or not _has_status(sight):
        return None
    return f"residual count {count} with neither O nor U"


@RULES("residual.overflow-before-end", "R7143-11.4.5.2-01", _RESPONSE, _IN, stain=_TASK)
def overflow_before_end(sight: Sight) -> str | None:
    """An overflow is told only where all of the expected length has moved."""
    task = _one_way(sight)
    if task is None or not sight.bhs[1] & OVERFLOW or not (task.read or task.write):
        return None
    moved = _moved(sight, task)
    return f"overflow after {moved} of {task.edtl} bytes" if moved < task.edtl else None


@RULES("residual.overflow-count", "R7143-11.4.5.2-02", _RESPONSE, _IN, leans=False, stain=_TASK)
def overflow_count(sight: Sight) -> str | None:
    """The residual of an overflow is what was presented over the expected length, so it is not 0."""
    if not _has_status(sight) or sight.bhs[1] & 0x06 != OVERFLOW or sight.word(44):
        return None
    return "O is set with a residual count of 0"


@RULES("residual.underflow-missing", "R7143-11.4.5.2-03", _RESPONSE, _IN, stain=_TASK)
def underflow_missing(sight: Sight) -> str | None:
    """Less data than expected is told as an underflow."""
    task = _one_way(sight)
    if task is None or sight.bhs[1] & 0x06 or not (task.read or task.write):
        return None
    moved = _moved(sight, task)
    return f"{moved} of {task.edtl} bytes moved and U is not set" if moved < task.edtl else None


@RULES("residual.underflow-count", "R7143-11.4.5.2-04", _RESPONSE, _IN, stain=_TASK)
def underflow_count(sight: Sight) -> str | None:
    """The residual of an underflow is the expected length less what was presented."""
    task = _one_way(sight)
    if task is None or sight.bhs[1] & 0x06 != UNDERFLOW:
        return None
    residual, moved = sight.word(44), _moved(sight, task)
    presented = task.edtl - residual
    if presented < 0:
        return f"residual count {residual} of {task.edtl} expected bytes"
    wrong = presented != moved if task.read else presented > moved
    return f"residual count {residual} of {task.edtl} expected bytes, but {moved} moved" if wrong else None


@RULES("residual.bidirectional-count", "R7143-11.4.6-01", _RESPONSE, stain=_TASK)
def bidirectional_count(sight: Sight) -> str | None:
    """The bidirectional read residual of an underflow is no more than the read length."""
    task, residual = sight.scsi, sight.word(40)
    if task is None or sight.bhs[2] or not sight.bhs[1] & BIDI_UNDERFLOW or residual <= task.read_length:
        return None
    return f"bidirectional read residual {residual} of {task.read_length} bytes"


@RULES("response.reserved-code", "R7143-11.4.3-03", _RESPONSE, leans=False, stain=_TASK)
def reserved_code(sight: Sight) -> str | None:
    """Response codes other than 0, 1 and 0x80 to 0xff are reserved."""
    code = sight.bhs[2]
    return f"response code {code:#04x} is reserved" if 1 < code < 0x80 else None


@RULES("response.sense-missing", "R7143-11.4.7-02", _RESPONSE, leans=False, stain=_TASK)
def sense_missing(sight: Sight) -> str | None:
    """CHECK CONDITION comes with sense data."""
    if sight.bhs[2] or sight.bhs[3] != _CHECK_CONDITION:
        return None
    if sight.length < 2 or not int.from_bytes(sight.raw.data[:2], "big"):
        return "CHECK CONDITION without sense data"
    return None


@RULES("response.sense-length", "R7143-11.4.7-04", _RESPONSE, leans=False, stain=_TASK)
def sense_length(sight: Sight) -> str | None:
    """The data segment begins with the length of the sense data within it."""
    if not sight.length:
        return None
    length = int.from_bytes(sight.raw.data[:2], "big")
    if sight.length >= 2 and length <= sight.length - 2:
        return None
    return f"SenseLength {length} in a data segment of {sight.length} bytes"


@RULES("response.exp-data-sn", "R7143-11.4.8-01", _RESPONSE, stain=_TASK)
def exp_data_sn(sight: Sight) -> str | None:
    """ExpDataSN is the number of Data-In PDUs of the command."""
    task, number = sight.scsi, sight.word(36)
    if task is None or sight.bhs[2] or task.disturbed or not task.data_in_pdus or number == task.data_in_pdus:
        return None
    if task.write and number == task.in_sn:
        return None
    return f"ExpDataSN {number} after {task.data_in_pdus} Data-In PDUs"


@RULES("response.exp-data-sn-without-data", "R7143-11.4.8-02", _RESPONSE, stain=_TASK)
def exp_data_sn_without_data(sight: Sight) -> str | None:
    """ExpDataSN is 0 without Data-In, or when the command did not complete."""
    task, number = sight.scsi, sight.word(36)
    if task is None or not number or task.disturbed or (task.data_in_pdus and not sight.bhs[2]):
        return None
    return f"ExpDataSN {number} with response {sight.bhs[2]:#04x} after {task.data_in_pdus} Data-In PDUs"


@RULES("response.snack-tag", "R7143-11.4.4-01", _RESPONSE, stain=_TASK)
def snack_tag(sight: Sight) -> str | None:
    """The SNACK Tag is 0 where no R-Data SNACK came."""
    task, tag = sight.command, sight.word(20)
    if task is None or not tag or task.disturbed or (task.recovery is not None and tag in task.recovery.tags):
        return None
    return f"SNACK Tag {tag:#010x} is that of no R-Data SNACK for the command"


def _gave_up(sight: Sight) -> bool:
    """Whether the sense data says that data was lost or did not come (11.4.7.2), for which a target does not wait forever."""
    sense = bytes(sight.raw.data[2:])
    if len(sense) < 4:
        return False
    code = sense[2:4] if sense[0] & 0x7E == 0x72 else sense[12:14]
    return code in (b"\x47\x05", b"\x0c\x0d")


@RULES("response.before-the-data", "R7143-11.4.2-01", _RESPONSE, stain=_TASK)
def before_the_data(sight: Sight) -> str | None:
    """An error is answered only after the F bit of the last sequence that is expected."""
    task = sight.scsi
    if task is None or sight.bhs[2] or not sight.bhs[3] or task.aborting or task.disturbed or sight.session.uncertain:
        return None
    if _gave_up(sight):
        return None
    waiting = sum(not burst.complete for burst in (*task.bursts, task.unsolicited) if burst and not burst.superseded)
    return f"status {sight.bhs[3]:#04x} while {waiting} data sequence is not finished" if waiting else None


@RULES("tmf.answer-after-abort", "R7143-11.5.1-05", _RESPONSE, _IN, stain=Stain.NOTHING)
def answer_after_abort(sight: Sight) -> str | None:
    """No response of a task follows the task management response that ended it."""
    function = sight.session.aborted.get(sight.itt)
    if function is None or sight.task is not None:
        return None
    return f"the task ended with the response to task management function {function}"
