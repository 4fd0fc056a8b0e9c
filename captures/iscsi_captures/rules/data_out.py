"""SCSI Data-Out: unsolicited bursts and answers to R2Ts (4.2.2.4, 4.2.5.2, 11.7, 11.8)."""

from __future__ import annotations

from iscsi_captures.dialogue import Burst, Phase, Sight
from iscsi_captures.dialogue.transfer import find_burst
from iscsi_captures.rules.model import Rules, Stain, above_segment
from iscsi_protocol.pdu import NO_TAG, Opcode

RULES = Rules((Phase.FULL,))
_OUT = Opcode.SCSI_DATA_OUT
_TASK = Stain.TASK


def _burst(sight: Sight) -> Burst | None:
    task = sight.scsi
    return None if task is None or task.disturbed else find_burst(task, sight.word(20))


def _solicited(sight: Sight) -> Burst | None:
    return None if sight.word(20) == NO_TAG else _burst(sight)


def _unsolicited(sight: Sight) -> Burst | None:
    return _burst(sight) if sight.word(20) == NO_TAG else None


@RULES("dataout.unknown-tag", "R7143-4.2.5.3-03", _OUT, from_start=True)
def unknown_tag(sight: Sight) -> str | None:
    """Data-Out belongs to a SCSI Command that was sent."""
    task = sight.task
    session = sight.session
    if task is None and (sight.itt in session.ended or sight.itt in session.spoilt or session.uncertain):
        return None
    if task is not None and task.opcode == Opcode.SCSI_COMMAND:
        return None
    return f"Data-Out for Initiator Task Tag {sight.itt:#010x}, which is no SCSI Command's"


@RULES("dataout.other-connection", "R7143-4.2.5.1-03", _OUT)
def other_connection(sight: Sight) -> str | None:
    """Write data is sent on the connection of the command."""
    task = sight.task
    if task is None or task.connection is sight.connection:
        return None
    return f"the command went out on connection {task.connection.number}"


@RULES("dataout.no-write", "R7143-4.2.5.3-01", _OUT, stain=_TASK)
def no_write(sight: Sight) -> str | None:
    """Data-Out belongs to a command with W."""
    task = sight.scsi
    return None if task is None or task.write else "Data-Out for a command that writes nothing"


@RULES("dataout.data-sn", "R7143-4.2.2.4-03", _OUT, stain=_TASK)
def data_sn(sight: Sight) -> str | None:
    """DataSN starts at 0 for each sequence and rises by one."""
    burst, number = _burst(sight), sight.word(36)
    if burst is None or number == burst.data_sn:
        return None
    return f"DataSN {number} where {burst.data_sn} was next in the sequence"


@RULES("dataout.segment-too-long", "R7143-13.12-02", _OUT, Opcode.SCSI_COMMAND)
def segment_too_long(sight: Sight) -> str | None:
    """A data segment stays within the target's MaxRecvDataSegmentLength."""
    return above_segment(sight)


@RULES("dataout.unsolicited-in-r2t-mode", "R7143-13.11-07", _OUT, stain=_TASK, from_start=True)
def unsolicited_in_r2t_mode(sight: Sight) -> str | None:
    """With InitialR2T=Yes no Data-Out goes unsolicited."""
    if sight.scsi is None or sight.word(20) != NO_TAG or not sight.connection.limits.initial_r2t:
        return None
    return "unsolicited Data-Out with InitialR2T=Yes"


@RULES("dataout.unsolicited-after-final", "R7143-11.3.1-04", _OUT, stain=_TASK, from_start=True)
def unsolicited_after_final(sight: Sight) -> str | None:
    """After F nothing more comes unsolicited."""
    task = sight.scsi
    if task is None or not task.write or sight.word(20) != NO_TAG or task.unsolicited is not None or task.disturbed:
        return None
    if sight.connection.limits.initial_r2t:
        return None
    return "unsolicited Data-Out after the F bit of the command or of the burst"


@RULES("dataout.first-burst-too-long", "R7143-11.7.1-03", _OUT, stain=_TASK)
def first_burst_too_long(sight: Sight) -> str | None:
    """Unsolicited data, immediate data included, stays within FirstBurstLength."""
    burst, limit = _unsolicited(sight), sight.connection.limits.first_burst_length
    if burst is None or burst.offset + burst.sent + sight.length <= limit:
        return None
    return f"{burst.offset + burst.sent + sight.length} bytes unsolicited, FirstBurstLength is {limit}"


@RULES("dataout.first-burst-too-short", "R7143-4.2.5.2-04", _OUT, stain=_TASK, from_start=True)
def first_burst_too_short(sight: Sight) -> str | None:
    """Separate unsolicited data brings the total to FirstBurstLength, or to all there is."""
    burst = _unsolicited(sight)
    if burst is None or not sight.final or burst.sent + sight.length >= burst.length:
        return None
    total = burst.offset + burst.sent + sight.length
    return f"the unsolicited burst ends after {total} bytes, {burst.offset + burst.length} were due"


@RULES("dataout.unsolicited-out-of-turn", "R7143-4.2.5.2-12", _OUT, stain=_TASK)
def unsolicited_out_of_turn(sight: Sight) -> str | None:
    """Unsolicited bursts follow the order of their commands."""
    task, burst = sight.scsi, _unsolicited(sight)
    if task is None or burst is None:
        return None
    first = next((other for other in sight.connection.unsolicited.values() if not other.aborting), task)
    if first is task or first.unsolicited is None or first.unsolicited.complete:
        return None
    return f"unsolicited data of CmdSN {task.cmd_sn} while that of CmdSN {first.cmd_sn} is due"


@RULES("dataout.beyond-expected-length", "R7143-11.7.6-01", _OUT, level="SHOULD")
def beyond_expected_length(sight: Sight) -> str | None:
    """Offset and length stay within the expected transfer length."""
    task = sight.scsi
    end = sight.word(40) + sight.length
    if task is None or not task.write or end <= task.edtl:
        return None
    return f"data up to offset {end}, {task.edtl} bytes are expected"


@RULES("dataout.pdu-order", "R7143-11.7.6-02", _OUT, stain=_TASK)
def pdu_order(sight: Sight) -> str | None:
    """With DataPDUInOrder=Yes the unsolicited burst goes on where its last byte was."""
    burst, offset = _unsolicited(sight), sight.word(40)
    if burst is None or not sight.connection.limits.data_pdu_in_order or offset == burst.reached:
        return None
    return f"unsolicited data at offset {offset} where {burst.reached} was next"


@RULES("dataout.unknown-transfer-tag", "R7143-11.7.4-01", _OUT, from_start=True, stain=_TASK)
def unknown_transfer_tag(sight: Sight) -> str | None:
    """Solicited data repeats the Target Transfer Tag of an R2T that is not answered yet."""
    task, ttt = sight.scsi, sight.word(20)
    if task is None or not task.write or ttt == NO_TAG or task.disturbed or find_burst(task, ttt) is not None:
        return None
    return f"Target Transfer Tag {ttt:#010x} is that of no open R2T of the task"


@RULES("dataout.lun", "R7143-11.7.4-01", _OUT, stain=_TASK)
def lun(sight: Sight) -> str | None:
    """Solicited data repeats the LUN of its R2T."""
    burst = _solicited(sight)
    if burst is None or sight.bhs[8:16] == burst.lun:
        return None
    return f"LUN {bytes(sight.bhs[8:16]).hex()} in the answer to an R2T for LUN {burst.lun.hex()}"


@RULES("dataout.outside-r2t", "R7143-11.8-04", _OUT, stain=_TASK)
def outside_r2t(sight: Sight) -> str | None:
    """The answer to an R2T stays within its range."""
    burst, offset = _solicited(sight), sight.word(40)
    if burst is None or (burst.offset <= offset and offset + sight.length <= burst.offset + burst.length):
        return None
    return f"bytes {offset} to {offset + sight.length} for an R2T of {burst.offset} to {burst.offset + burst.length}"


@RULES("dataout.not-the-single-answer", "R7143-11.8-03", _OUT, stain=_TASK)
def single_answer(sight: Sight) -> str | None:
    """A single PDU that answers an R2T has its offset and length."""
    burst, offset = _solicited(sight), sight.word(40)
    if burst is None or not sight.final or burst.data_sn or burst.sent:
        return None
    if offset == burst.offset and sight.length == burst.length:
        return None
    return f"{sight.length} bytes at {offset} answer an R2T for {burst.length} at {burst.offset}"


@RULES("dataout.answer-incomplete", "R7143-4.2.5.2-07", _OUT, stain=_TASK)
def answer_incomplete(sight: Sight) -> str | None:
    """The answer to an R2T brings all that was asked for."""
    burst, task = _solicited(sight), sight.scsi
    if burst is None or task is None or task.aborting or not sight.final or not burst.data_sn:
        return None
    total = burst.sent + sight.length
    return None if total >= burst.length else f"F after {total} of the {burst.length} bytes that the R2T asks for"


@RULES("dataout.answer-not-continuous", "R7143-11.8-07", _OUT, stain=_TASK)
def answer_not_continuous(sight: Sight) -> str | None:
    """With DataPDUInOrder=Yes the PDUs of an answer form one rising range."""
    burst, offset = _solicited(sight), sight.word(40)
    if burst is None or not burst.data_sn or not sight.connection.limits.data_pdu_in_order or offset == burst.reached:
        return None
    return f"data at offset {offset} where {burst.reached} was next"


@RULES("dataout.final-missing", "R7143-11.8-05", _OUT, stain=_TASK)
def final_missing(sight: Sight) -> str | None:
    """The last PDU of an answer has F, be it one without data."""
    task, burst = sight.scsi, _solicited(sight)
    if task is None or burst is None:
        return None
    first = task.bursts[0]
    if first is burst or not first.complete:
        return None
    return f"the answer to Target Transfer Tag {first.ttt:#010x} has all its data and no F, and the next one begins"


@RULES("dataout.r2t-order", "R7143-11.8-09", _OUT, stain=_TASK)
def r2t_order(sight: Sight) -> str | None:
    """The R2Ts of a task are answered in the order in which they came."""
    task, burst = sight.scsi, _solicited(sight)
    if task is None or burst is None or task.bursts[0] is burst or task.bursts[0].complete:
        return None
    if task.recovery is not None and not task.bursts[0].data_sn:
        # The R2T may have been lost, which does not show here.
        return None
    first = task.bursts[0].ttt
    return f"Target Transfer Tag {burst.ttt:#010x} is answered while {first:#010x} came before it"
