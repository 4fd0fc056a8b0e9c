"""SCSI Command: flags, lengths, immediate data, tags (11.2.1.8, 11.3, 13.10, 13.11, 13.14, 7.2.1)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.dialogue.bits import FINAL, READ, WRITE
from iscsi_captures.dialogue.cdb import BASIC_CDB, CHANGING, variable_length
from iscsi_captures.dialogue.numbers import NUMBERED, is_retry
from iscsi_captures.dialogue.task import NO_LIMIT
from iscsi_captures.dialogue.transfer import bidirectional_length
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import NO_TAG, AhsError, AhsType, Opcode, decode_ahs

RULES = Rules((Phase.FULL,))
_COMMAND = Opcode.SCSI_COMMAND


@RULES("command.final-or-write", "R7143-11.3.1-01", _COMMAND, leans=False, stain=Stain.TASK)
def final_or_write(sight: Sight) -> str | None:
    """A SCSI Command has F or W or both."""
    return None if sight.bhs[1] & (FINAL | WRITE) else "neither F nor W is set"


@RULES("command.no-direction", "R7143-11.3.1-03", _COMMAND, leans=False, stain=Stain.TASK)
def no_direction(sight: Sight) -> str | None:
    """A SCSI Command that expects data to move has R or W."""
    length = sight.word(20)
    if not length or sight.bhs[1] & (READ | WRITE):
        return None
    return f"neither R nor W is set with an expected length of {length}"


@RULES("command.reserved-attribute", "R7143-11-04", _COMMAND, leans=False, stain=Stain.TASK)
def attribute(sight: Sight) -> str | None:
    """Task attributes 5 to 7 are reserved."""
    code = sight.bhs[1] & 7
    return f"task attribute {code} is reserved" if code > 4 else None


@RULES("command.immediate-data-refused", "R7143-13.11-02", _COMMAND, stain=Stain.TASK, from_start=True)
def immediate_data_in_r2t_mode(sight: Sight) -> str | None:
    """With ImmediateData=No and InitialR2T=Yes nothing goes unsolicited."""
    limits = sight.connection.limits
    if not sight.length or limits.immediate_data or not limits.initial_r2t:
        return None
    return f"{sight.length} bytes of immediate data with ImmediateData=No and InitialR2T=Yes"


@RULES("command.immediate-data-not-agreed", "R7143-13.11-04", _COMMAND, stain=Stain.TASK, from_start=True)
def immediate_data_not_agreed(sight: Sight) -> str | None:
    """With ImmediateData=No and InitialR2T=No there is no immediate data."""
    limits = sight.connection.limits
    if not sight.length or limits.immediate_data or limits.initial_r2t:
        return None
    return f"{sight.length} bytes of immediate data with ImmediateData=No"


@RULES("command.immediate-data-too-long", "R7143-4.2.5.2-06", _COMMAND, stain=Stain.TASK)
def immediate_data_too_long(sight: Sight) -> str | None:
    """Immediate data does not exceed FirstBurstLength."""
    limit = sight.connection.limits.first_burst_length
    return f"{sight.length} bytes of immediate data, FirstBurstLength is {limit}" if sight.length > limit else None


@RULES("command.immediate-data-beyond-length", "R7143-11.7.6-01", _COMMAND, level="SHOULD")
def immediate_data_beyond_length(sight: Sight) -> str | None:
    """Immediate data does not exceed the expected transfer length."""
    expected = sight.word(20)
    return f"{sight.length} bytes of immediate data, {expected} are expected" if sight.length > expected else None


@RULES("command.data-without-write", "R7143-11.3.6-01", _COMMAND, leans=False, stain=Stain.TASK)
def data_without_write(sight: Sight) -> str | None:
    """A data segment is immediate data, which only a write has."""
    return f"{sight.length} bytes of data without W" if sight.length and not sight.bhs[1] & WRITE else None


@RULES("command.unsolicited-not-agreed", "R7143-4.2.5.2-05", _COMMAND, stain=Stain.TASK, from_start=True)
def unsolicited_not_agreed(sight: Sight) -> str | None:
    """F is 0 only where InitialR2T=No lets unsolicited Data-Out follow."""
    if sight.final or not sight.bhs[1] & WRITE or not sight.connection.limits.initial_r2t:
        return None
    return "F is 0 on a write with InitialR2T=Yes"


@RULES("command.final-with-all-data", "R7143-11.3.4-02", _COMMAND, leans=False, stain=Stain.TASK)
def final_with_all_data(sight: Sight) -> str | None:
    """F is 1 when the immediate data is all there is."""
    if sight.final or not sight.length or sight.length != sight.word(20):
        return None
    return f"F is 0 although the {sight.length} bytes of immediate data are the whole expected length"


@RULES("command.bidirectional-without-length", "R7143-11.3.4-01", _COMMAND, leans=False, stain=Stain.TASK)
def bidirectional_without_length(sight: Sight) -> str | None:
    """A bidirectional command carries its read length in an AHS."""
    both = READ | WRITE
    if sight.bhs[1] & both != both or bidirectional_length(sight) != NO_LIMIT:
        return None
    return "R and W are set and no AHS gives the read length"


@RULES("command.tag-reserved", "R7143-11.2.1.8-02", *(NUMBERED - {Opcode.NOP_OUT}), leans=False)
def tag_reserved(sight: Sight) -> str | None:
    """0xffffffff is no Initiator Task Tag of a task."""
    return "the Initiator Task Tag is 0xffffffff" if sight.itt == NO_TAG else None


@RULES("command.tag-in-use", "R7143-11.2.1.8-01", *NUMBERED)
def tag_in_use(sight: Sight) -> str | None:
    """An Initiator Task Tag is unique in the session while its task lives."""
    task = sight.task
    if task is None or sight.itt == NO_TAG or is_retry(sight) or task.aborting:
        return None
    if task.connection.lost_at is not None or task.connection.ended:
        return None
    if sight.opcode == Opcode.TEXT_REQUEST and task.opcode == Opcode.TEXT_REQUEST:
        return None
    return f"Initiator Task Tag {sight.itt:#010x} belongs to a request that is not answered yet (CmdSN {task.cmd_sn})"


@RULES("command.retry-changed", "R7143-7.2.1-02", _COMMAND, stain=Stain.TASK)
def retry_changed(sight: Sight) -> str | None:
    """A retry repeats flags, LUN, tag and CDB of the original."""
    task = sight.task or sight.former
    if task is None or not is_retry(sight):
        return None
    new, old = sight.bhs, task.bhs
    if new[:28] == old[:28] and new[32:] == old[32:]:
        return None
    return f"the retry of CmdSN {task.cmd_sn} differs from the original"


@RULES("command.immediate-change", "R7143-10.6-01", _COMMAND, leans=False, stain=Stain.TASK)
def immediate_change(sight: Sight) -> str | None:
    """What changes the state of a device is not immediate."""
    code = sight.bhs[32]
    return f"operation code {code:#04x} in an immediate command" if sight.immediate and code in CHANGING else None


@RULES("command.cdb-cut", "R7143-11.3.5-01", _COMMAND, leans=False, stain=Stain.TASK)
def cdb_cut(sight: Sight) -> str | None:
    """What a CDB has beyond 16 bytes goes into an extended CDB segment."""
    length = variable_length(sight.bhs)
    if length is None or length <= BASIC_CDB or _extended(sight) is not None:
        return None
    return f"a CDB of {length} bytes without an extended CDB segment"


@RULES("ahs.extended-cdb-length", "R7143-11.2.2.3-02", _COMMAND, leans=False, stain=Stain.TASK)
def extended_cdb_length(sight: Sight) -> str | None:
    """The extended CDB segment has the rest of the CDB, whose length the CDB tells."""
    length, carried = variable_length(sight.bhs), _extended(sight)
    if length is None or carried is None or length == carried:
        return None
    return f"a CDB of {length} bytes of which {carried} are there"


def _extended(sight: Sight) -> int | None:
    """Bytes of the CDB with those of an extended CDB segment, None without one."""
    try:
        segments = decode_ahs(bytes(sight.raw.ahs))
    except AhsError:
        return None
    for segment in segments:
        if segment.code == AhsType.EXTENDED_CDB:
            return BASIC_CDB + len(segment.contents) - 1
    return None
