"""Ready To Transfer (4.2.2.4, 4.2.5.3, 11.8)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import NO_TAG, Opcode

RULES = Rules((Phase.FULL,))
_R2T = Opcode.R2T
_TASK = Stain.TASK


@RULES("r2t.r2t-sn", "R7143-4.2.2.4-04", _R2T, stain=_TASK)
def r2t_sn(sight: Sight) -> str | None:
    """R2TSN starts at 0 for each command and rises by one."""
    task, number = sight.scsi, sight.word(36)
    if task is None or not task.write or task.disturbed or number == task.r2t_sn:
        return None
    if (
        task.recovery is not None
        and number < task.r2t_sn
        and (task.recovery.resumed_out or number in task.recovery.r2ts)
    ):
        return None
    return f"R2TSN {number} where {task.r2t_sn} was next"


def _is_new(sight: Sight) -> bool:
    """Whether it is not one that was sent before, or the first one behind a reassignment."""
    task = sight.scsi
    if task is None or task.recovery is None:
        return True
    return not task.recovery.resumed_out and sight.word(36) >= task.r2t_sn


@RULES("r2t.unknown-tag", "R7143-4.2.5.3-03", _R2T, from_start=True, stain=_TASK)
def unknown_tag(sight: Sight) -> str | None:
    """An R2T belongs to a SCSI Command that is not over."""
    session = sight.session
    if sight.task is not None or sight.former is not None or sight.itt in session.aborted:
        return None
    if session.uncertain or sight.itt in session.forgotten or sight.itt in session.spoilt:
        return None
    over = "is over" if sight.itt in sight.session.ended else "was never sent"
    return f"R2T for Initiator Task Tag {sight.itt:#010x}, whose command {over}"


@RULES("r2t.other-connection", "R7143-4.2.5.1-04", _R2T, stain=_TASK)
def other_connection(sight: Sight) -> str | None:
    """R2Ts use the connection of the command."""
    task = sight.task
    if task is None or task.connection is sight.connection:
        return None
    return f"the command belongs to connection {task.connection.number}"


@RULES("r2t.no-write", "R7143-4.2.5.3-01", _R2T, stain=_TASK)
def no_write(sight: Sight) -> str | None:
    """An R2T asks for the data of a write."""
    task = sight.task
    return None if task is None or task.write else "R2T for a request that writes nothing"


@RULES("r2t.zero-length", "R7143-11.8.4-01", _R2T, leans=False, stain=_TASK)
def zero_length(sight: Sight) -> str | None:
    """The desired length is not 0."""
    return None if sight.word(44) else "the Desired Data Transfer Length is 0"


@RULES("r2t.too-long", "R7143-11.8.4-02", _R2T, stain=_TASK)
def too_long(sight: Sight) -> str | None:
    """The desired length stays within MaxBurstLength."""
    length, limit = sight.word(44), sight.connection.limits.max_burst_length
    return f"{length} bytes are asked for, MaxBurstLength is {limit}" if length > limit else None


@RULES("r2t.tag-reserved", "R7143-11.8.5-01", _R2T, leans=False, stain=_TASK)
def tag_reserved(sight: Sight) -> str | None:
    """The Target Transfer Tag is not 0xffffffff."""
    return "the Target Transfer Tag is 0xffffffff" if sight.word(20) == NO_TAG else None


@RULES("r2t.lun", "R7143-4.2.5.3-02", _R2T, stain=_TASK)
def lun(sight: Sight) -> str | None:
    """The LUN is that of the command."""
    task = sight.scsi
    if task is None or sight.bhs[8:16] == task.lun:
        return None
    return f"LUN {bytes(sight.bhs[8:16]).hex()} in an R2T for a command to LUN {task.lun.hex()}"


@RULES("r2t.too-many", "R7143-11.8-08", _R2T, stain=_TASK)
def too_many(sight: Sight) -> str | None:
    """Outstanding R2Ts of a task stay within MaxOutstandingR2T."""
    task, limits, offset, end = sight.scsi, sight.connection.limits, sight.word(40), sight.word(40) + sight.word(44)
    if task is None or task.disturbed or not _is_new(sight):
        return None
    recovery = task.recovery is not None
    waiting = 1 + sum(
        not (
            burst.complete
            or burst.superseded
            or (recovery and offset < burst.offset + burst.length and burst.offset < end)
        )
        for burst in task.bursts
    )
    if waiting <= limits.max_outstanding_r2t:
        return None
    return f"{waiting} R2Ts are outstanding, MaxOutstandingR2T is {limits.max_outstanding_r2t}"


@RULES("r2t.order", "R7143-11.8-12", _R2T, stain=_TASK)
def order(sight: Sight) -> str | None:
    """With DataSequenceInOrder=Yes consecutive R2Ts ask for continuous ranges, recovery excepted."""
    task, limits, offset = sight.scsi, sight.connection.limits, sight.word(40)
    if task is None or task.r2t_offset is None or not limits.data_sequence_in_order or not _is_new(sight):
        return None
    if task.recovery is not None and offset < task.r2t_offset:
        # It asks for data anew that an R2T before it had asked for.
        return None
    return None if offset == task.r2t_offset else f"an R2T at offset {offset} after one that ended at {task.r2t_offset}"


@RULES("r2t.beyond-expected-length", "R7143-4.2.5.3-03", _R2T, level="ADVICE", stain=_TASK)
def beyond_expected_length(sight: Sight) -> str | None:
    """An R2T asks for data within the bounds of the command; what else comes is not specified."""
    task = sight.scsi
    end = sight.word(40) + sight.word(44)
    return (
        f"data up to {end} is asked for, the command has {task.edtl}"
        if task and task.write and end > task.edtl
        else None
    )
