"""SCSI Data-In: order, lengths, flags (4.2.2.4, 11.7)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.dialogue.bits import ACKNOWLEDGE, STATUS
from iscsi_captures.dialogue.numbers import is_resent
from iscsi_captures.dialogue.task import NO_LIMIT
from iscsi_captures.rules.model import Rules, Stain, above_segment
from iscsi_protocol.pdu import NO_TAG, Opcode

RULES = Rules((Phase.FULL,))
_IN = Opcode.SCSI_DATA_IN
_TASK = Stain.TASK
GOOD_STATUSES = frozenset({0x00, 0x04, 0x10, 0x14})
"""GOOD, CONDITION MET, INTERMEDIATE, INTERMEDIATE-CONDITION MET: the ends without exception (11.7)."""


def _again(sight: Sight) -> bool:
    """Whether the Data-In is one that a SNACK or a reassignment brings again, of which the order is another matter."""
    return sight.repeated or sight.anew


@RULES("datain.data-sn", "R7143-4.2.2.4-02", _IN, stain=_TASK)
def data_sn(sight: Sight) -> str | None:
    """DataSN starts at 0 for each command and rises by one."""
    task, number = sight.scsi, sight.word(36)
    if task is None or task.write or task.disturbed or number == task.in_sn or _again(sight):
        return None
    return f"DataSN {number} where {task.in_sn} was next"


@RULES("datain.shared-data-sn", "R7143-4.2.2.4-05", _IN, stain=_TASK)
def shared_data_sn(sight: Sight) -> str | None:
    """Data-In and R2T of a bidirectional command share one numbering."""
    task, number = sight.scsi, sight.word(36)
    if task is None or not (task.write and task.read) or task.disturbed or number == task.in_sn or _again(sight):
        return None
    return f"DataSN {number} where {task.in_sn} was next for Data-In and R2T together"


@RULES("datain.unknown-tag", "R7143-4.2.5.3-03", _IN, from_start=True, stain=_TASK)
def unknown_tag(sight: Sight) -> str | None:
    """Data-In belongs to a SCSI Command that is not over."""
    session, former = sight.session, sight.former
    if sight.task is not None or sight.itt in session.aborted:
        return None
    if former is not None and former.opcode == Opcode.SCSI_COMMAND:
        recovery = former.recovery
        if recovery is None or recovery.asked or recovery.tags or is_resent(sight):
            return None
    if session.uncertain or sight.itt in session.forgotten or sight.itt in session.spoilt:
        return None
    over = "is over" if sight.itt in sight.session.ended else "was never sent"
    return f"Data-In for Initiator Task Tag {sight.itt:#010x}, whose command {over}"


@RULES("datain.other-connection", "R7143-4.2.5.1-02", _IN, Opcode.SCSI_RESPONSE, stain=_TASK)
def other_connection(sight: Sight) -> str | None:
    """Read data and status return on the connection of the command."""
    task = sight.task
    if task is None or task.connection is sight.connection or task.opcode != Opcode.SCSI_COMMAND:
        return None
    return f"the command belongs to connection {task.connection.number}"


@RULES("datain.no-read", "R7143-4.2.5.3-01", _IN, stain=_TASK)
def no_read(sight: Sight) -> str | None:
    """Data-In answers a command with R."""
    task = sight.task
    if task is None or (task.opcode == Opcode.SCSI_COMMAND and task.read):
        return None
    if task.opcode == Opcode.SCSI_COMMAND and not sight.length:
        return None
    return "Data-In for a request that reads nothing"


@RULES("datain.segment-too-long", "R7143-11.7.1-02", _IN)
def segment_too_long(sight: Sight) -> str | None:
    """A data segment stays within the receiver's MaxRecvDataSegmentLength."""
    return above_segment(sight)


@RULES("datain.beyond-expected-length", "R7143-11.7.6-01", _IN, level="SHOULD")
def beyond_expected_length(sight: Sight) -> str | None:
    """Offset and length stay within the expected transfer length."""
    task = sight.scsi
    end = sight.word(40) + sight.length
    if task is None or not task.read or end <= task.read_length:
        return None
    return f"data up to offset {end}, {task.read_length} bytes are expected"


@RULES("datain.pdu-order", "R7143-11.7.6-02", _IN, stain=_TASK)
def pdu_order(sight: Sight) -> str | None:
    """With DataPDUInOrder=Yes offsets rise without overlap within a sequence."""
    task, offset = sight.scsi, sight.word(40)
    if (
        task is None
        or task.disturbed
        or _again(sight)
        or not task.in_sequence
        or not sight.connection.limits.data_pdu_in_order
    ):
        return None
    return None if offset >= task.in_offset else f"offset {offset} after data up to {task.in_offset}"


@RULES("datain.sequence-order", "R7143-11.7.6-03", _IN, stain=_TASK)
def sequence_order(sight: Sight) -> str | None:
    """With DataSequenceInOrder=Yes sequences rise without overlap."""
    task, offset = sight.scsi, sight.word(40)
    if (
        task is None
        or task.disturbed
        or _again(sight)
        or task.in_sequence
        or not sight.connection.limits.data_sequence_in_order
    ):
        return None
    return None if offset >= task.in_offset else f"a sequence begins at {offset} after data up to {task.in_offset}"


@RULES("datain.burst-too-long", "R7143-11.7.1-03", _IN, stain=_TASK)
def burst_too_long(sight: Sight) -> str | None:
    """A sequence stays within MaxBurstLength."""
    task = sight.scsi
    limit = sight.connection.limits.max_burst_length
    if task is None or task.disturbed or _again(sight) or task.in_sequence + sight.length <= limit:
        return None
    return f"a sequence of {task.in_sequence + sight.length} bytes, MaxBurstLength is {limit}"


@RULES("data.segment-not-whole-words", "R7143-11.7.7-02", _IN, Opcode.SCSI_DATA_OUT, level="SHOULD", leans=False)
def whole_words(sight: Sight) -> str | None:
    """A data segment that is not the last of its sequence is a multiple of 4 bytes."""
    if sight.final or not sight.length & 3:
        return None
    return f"a data segment of {sight.length} bytes without F"


@RULES("datain.status-without-final", "R7143-11.7.3-03", _IN, leans=False, stain=_TASK)
def status_without_final(sight: Sight) -> str | None:
    """S=1 goes with F=1."""
    return "S is set and F is not" if sight.bhs[1] & STATUS and not sight.final else None


@RULES("datain.status-not-good", "R7143-11.7-03", _IN, leans=False, stain=_TASK)
def status_not_good(sight: Sight) -> str | None:
    """Only a status without exception rides in a Data-In."""
    status = sight.bhs[3]
    if not sight.bhs[1] & STATUS or status in GOOD_STATUSES:
        return None
    return f"status {status:#04x} in a Data-In"


@RULES("datain.status-of-bidirectional", "R7143-11.7.3-02", _IN, stain=_TASK)
def status_of_bidirectional(sight: Sight) -> str | None:
    """The status of a bidirectional command goes in a SCSI Response."""
    task = sight.scsi
    if task is None or not (task.read and task.write) or not sight.bhs[1] & STATUS:
        return None
    return "S is set for a bidirectional command"


@RULES("datain.acknowledge-at-level-0", "R7143-11.7.2-03", _IN, from_start=True, stain=Stain.NOTHING)
def acknowledge_at_level_0(sight: Sight) -> str | None:
    """The A bit is not used at ErrorRecoveryLevel 0."""
    if not sight.bhs[1] & ACKNOWLEDGE or sight.connection.limits.error_recovery_level:
        return None
    return "A is set on a session of ErrorRecoveryLevel 0"


@RULES("datain.acknowledge-too-often", "R7143-11.7.2-02", _IN, from_start=True, stain=Stain.NOTHING)
def acknowledge_too_often(sight: Sight) -> str | None:
    """The A bit comes at most once in MaxBurstLength bytes, or with the last data."""
    task, limits = sight.scsi, sight.connection.limits
    if task is None or not sight.bhs[1] & ACKNOWLEDGE or task.disturbed or task.acknowledge_bytes == NO_LIMIT:
        return None
    if _again(sight):
        return None
    since = task.acknowledge_bytes + sight.length
    if since >= limits.max_burst_length or sight.bhs[1] & STATUS or task.in_total + sight.length >= task.read_length:
        return None
    return f"A again after {since} bytes, MaxBurstLength is {limits.max_burst_length}"


@RULES("datain.acknowledge-without-tag", "R7143-11.7.4-03", _IN, leans=False, stain=Stain.NOTHING)
def acknowledge_without_tag(sight: Sight) -> str | None:
    """A=1 comes with a valid Target Transfer Tag."""
    if not sight.bhs[1] & ACKNOWLEDGE or sight.word(20) != NO_TAG:
        return None
    return "A is set and the Target Transfer Tag is 0xffffffff"


@RULES("datain.lun", "R7143-11.7.4-04", _IN, stain=Stain.NOTHING)
def lun(sight: Sight) -> str | None:
    """With a Target Transfer Tag the LUN is that of the command."""
    task = sight.scsi
    if task is None or sight.word(20) == NO_TAG or not sight.bhs[1] & ACKNOWLEDGE or sight.bhs[8:16] == task.lun:
        return None
    return f"LUN {bytes(sight.bhs[8:16]).hex()} in a Data-In for LUN {task.lun.hex()}"
