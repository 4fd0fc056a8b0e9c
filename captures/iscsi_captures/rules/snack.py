"""SNACK: what an initiator may ask for again or acknowledge, and what the target has to do about it (7.8, 11.16)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight, Task
from iscsi_captures.dialogue.task import Recovery
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol import serial
from iscsi_protocol.pdu import BHS_LENGTH, NO_TAG, Opcode, RejectReason, SnackType

RULES = Rules((Phase.FULL,))
_SNACK = Opcode.SNACK_REQUEST
_REJECT = Opcode.REJECT
_IN = Opcode.SCSI_DATA_IN
_RESPONSE = Opcode.SCSI_RESPONSE
_FOR_A_COMMAND = (SnackType.DATA_OR_R2T, SnackType.R_DATA)


def _kind(sight: Sight) -> int:
    return sight.bhs[1] & 0x0F


def _subject(sight: Sight) -> Task | None:
    """The command that a SNACK for data is about, if its connection is this one."""
    task = sight.task or sight.former
    if _kind(sight) not in _FOR_A_COMMAND or task is None or task.opcode != Opcode.SCSI_COMMAND:
        return None
    return task if task.connection is sight.connection else None


def _recovery(sight: Sight) -> tuple[Task, Recovery] | None:
    task = _subject(sight)
    return None if task is None or task.recovery is None else (task, task.recovery)


@RULES("snack.at-level-0", "R7143-7.1.5-05", _SNACK, level="ADVICE", from_start=True, stain=Stain.CONNECTION)
def snack_at_level_0(sight: Sight) -> str | None:
    """SNACK belongs to ErrorRecoveryLevel 1 and above."""
    return None if sight.connection.limits.error_recovery_level else "SNACK at ErrorRecoveryLevel 0"


@RULES("snack.tag", "R7143-11.16.4-01", _SNACK, leans=False)
def snack_tag(sight: Sight) -> str | None:
    """The Initiator Task Tag is 0xffffffff in a status SNACK and a DataACK."""
    kind = sight.bhs[1] & 0x0F
    if kind not in (SnackType.STATUS, SnackType.DATA_ACK) or sight.itt == NO_TAG:
        return None
    return f"Initiator Task Tag {sight.itt:#010x} in a SNACK of type {kind}"


@RULES("snack.task", "R7143-11.16.4-02", _SNACK)
def snack_task(sight: Sight) -> str | None:
    """Other SNACKs have the tag of a command."""
    kind = sight.bhs[1] & 0x0F
    return "a SNACK for data with Initiator Task Tag 0xffffffff" if kind in (0, 3) and sight.itt == NO_TAG else None


@RULES("snack.r-data-tag", "R7143-11.16.5-01", _SNACK, leans=False)
def r_data_tag(sight: Sight) -> str | None:
    """An R-Data SNACK has a SNACK Tag other than 0 and 0xffffffff."""
    tag = sight.word(20)
    return f"SNACK Tag {tag:#010x}" if sight.bhs[1] & 0x0F == SnackType.R_DATA and tag in (0, NO_TAG) else None


@RULES("snack.transfer-tag", "R7143-11.16.5-04", _SNACK, leans=False)
def snack_transfer_tag(sight: Sight) -> str | None:
    """Data and status SNACKs have 0xffffffff in the tag field."""
    tag = sight.word(20)
    return f"tag {tag:#010x} at byte 20" if sight.bhs[1] & 0x0F in (0, 1) and tag != NO_TAG else None


@RULES("snack.r-data-run", "R7143-11.16.6-01", _SNACK, leans=False)
def r_data_run(sight: Sight) -> str | None:
    """BegRun is 0 in an R-Data SNACK."""
    return f"BegRun {sight.word(40)}" if sight.bhs[1] & 0x0F == SnackType.R_DATA and sight.word(40) else None


@RULES("snack.run-length", "R7143-11.16.7-01", _SNACK, leans=False)
def run_length(sight: Sight) -> str | None:
    """RunLength is 0 in a DataACK and an R-Data SNACK."""
    return f"RunLength {sight.word(44)}" if sight.bhs[1] & 0x0F in (2, 3) and sight.word(44) else None


@RULES("snack.reserved-type", "R7143-11-04", _SNACK, leans=False)
def reserved_type(sight: Sight) -> str | None:
    """SNACK types are 0 to 3."""
    kind = _kind(sight)
    return None if kind in frozenset(SnackType) else f"SNACK type {kind} is reserved"


@RULES("snack.unknown-task", "R7143-11.16.4-02", _SNACK, from_start=True)
def unknown_task(sight: Sight) -> str | None:
    """A SNACK for data or R2Ts names a command that was sent."""
    session, task = sight.session, sight.task or sight.former
    if _kind(sight) not in _FOR_A_COMMAND or sight.itt == NO_TAG or session.uncertain:
        return None
    if task is not None:
        return None if task.opcode == Opcode.SCSI_COMMAND else f"the tag {sight.itt:#010x} is that of no SCSI Command"
    if any(sight.itt in gone for gone in (session.ended, session.forgotten, session.aborted, session.spoilt)):
        return None
    return f"a SNACK for Initiator Task Tag {sight.itt:#010x}, which was never sent"


@RULES("snack.other-connection", "R7143-4.2.5.1-05", _SNACK)
def other_connection(sight: Sight) -> str | None:
    """A SNACK goes out on the connection of its command."""
    task = sight.task or sight.former
    if _kind(sight) not in _FOR_A_COMMAND or task is None or task.connection is sight.connection:
        return None
    return f"the command belongs to connection {task.connection.number}"


@RULES("snack.after-acknowledgement", "R7143-11.16.1-01", _SNACK)
def after_acknowledgement(sight: Sight) -> str | None:
    """A SNACK comes before the acknowledgement of the status that it asks for, or of its command's status."""
    connection, begin = sight.connection, sight.word(40)
    acked = sight.word(28)
    if connection.acked is not None and serial.gt(connection.acked, acked):
        acked = connection.acked
    if _kind(sight) == SnackType.STATUS:
        if not begin and not sight.word(44):
            return None
        return f"status {begin} is asked for, {acked} is acknowledged already" if serial.lt(begin, acked) else None
    task = _subject(sight)
    status = None if task is None or task.recovery is None else task.recovery.status
    if sight.task is None and status is not None:
        late = serial.lt(status, acked)
        return f"data of a command whose status {status} the SNACK acknowledges" if late else None
    ended = sight.task is None and task is None and sight.itt in sight.session.ended
    if _kind(sight) not in _FOR_A_COMMAND or not ended:
        return None
    if sight.itt in sight.session.forgotten or sight.itt in sight.session.aborted:
        return None
    return "data of a command whose status is acknowledged" if connection.limits.error_recovery_level else None


@RULES("snack.acknowledged-data", "R7143-11.16.2-04", _SNACK, stain=Stain.TASK)
def acknowledged_data(sight: Sight) -> str | None:
    """Data that a DataACK acknowledged is not asked for again."""
    found, begin = _recovery(sight), sight.word(40)
    if found is None or _kind(sight) != SnackType.DATA_OR_R2T or not (begin or sight.word(44)):
        return None
    acked, reassigned = found[1].acked, found[1].reassigned
    if begin >= acked or reassigned == acked:
        return None
    return f"DataSN {begin} is asked for, those below {acked} are acknowledged"


@RULES("snack.below-reassignment", "R7143-7.2.2-04", _SNACK, stain=Stain.TASK)
def below_reassignment(sight: Sight) -> str | None:
    """After a reassignment nothing below its ExpDataSN is asked for."""
    found, begin = _recovery(sight), sight.word(40)
    if found is None or _kind(sight) != SnackType.DATA_OR_R2T or not (begin or sight.word(44)):
        return None
    reassigned = found[1].reassigned
    if reassigned is None or begin >= reassigned:
        return None
    return f"DataSN {begin} is asked for after a reassignment with ExpDataSN {reassigned}"


@RULES("snack.data-after-resize", "R7143-11.16.3-01", _SNACK, stain=Stain.TASK)
def data_after_resize(sight: Sight) -> str | None:
    """Data that went out under another MaxRecvDataSegmentLength is asked for by R-Data SNACK."""
    found, limit = _recovery(sight), sight.connection.limits.initiator_segment
    if found is None or _kind(sight) != SnackType.DATA_OR_R2T or found[0].write:
        return None
    before = found[1].segment
    if before is None or before == limit or found[1].again:
        return None
    resized_by = sight.connection.resized_by
    if resized_by is not None and serial.le(sight.word(28), resized_by):
        return None  # it does not acknowledge the Text Response: the two may have crossed
    return f"a Data SNACK for data sent with MaxRecvDataSegmentLength {before}, which is {limit} now"


@RULES("snack.r-data-tag-reused", "R7143-11.16.5-01", _SNACK, stain=Stain.TASK)
def r_data_tag_reused(sight: Sight) -> str | None:
    """Each R-Data SNACK of a command has a SNACK Tag of its own."""
    found, tag = _recovery(sight), sight.word(20)
    if found is None or _kind(sight) != SnackType.R_DATA or tag not in found[1].tags:
        return None
    return f"SNACK Tag {tag:#010x} again"


@RULES("snack.data-ack-tag", "R7143-11.16.5-03", _SNACK, from_start=True)
def data_ack_tag(sight: Sight) -> str | None:
    """A DataACK copies Target Transfer Tag and LUN of the Data-In with A."""
    connection, ttt, lun = sight.connection, sight.word(20), bytes(sight.bhs[8:16])
    if _kind(sight) != SnackType.DATA_ACK or not connection.limits.error_recovery_level or connection.lost:
        return None
    known = connection.data_acks.get(ttt)
    if known is None:
        return f"Target Transfer Tag {ttt:#010x} is that of no Data-In with A to be acknowledged"
    return None if lun == known[1] else f"LUN {lun.hex()} acknowledges data of LUN {known[1].hex()}"


@RULES("snack.data-ack-run", "R7143-11.16.6-02", _SNACK)
def data_ack_run(sight: Sight) -> str | None:
    """BegRun of a DataACK is the next expected DataSN."""
    known, begin = sight.connection.data_acks.get(sight.word(20)), sight.word(40)
    if _kind(sight) != SnackType.DATA_ACK or known is None or known[0].disturbed:
        return None
    task, least = known[0], known[2]
    if least <= begin <= max(task.in_sn, least):
        return None
    return f"BegRun {begin} acknowledges data up to DataSN {least - 1}, of {task.in_sn} sent"


@RULES("snack.data-ack-late", "R7143-11.7.2-07", _SNACK)
def data_ack_late(sight: Sight) -> str | None:
    """A DataACK does not follow the acknowledgement of the command's status."""
    connection = sight.connection
    known = connection.data_acks.get(sight.word(20))
    if _kind(sight) != SnackType.DATA_ACK or known is None or known[0].recovery is None:
        return None
    status, acked = known[0].recovery.status, connection.acked
    if status is None or acked is None or known[0].connection is not connection or serial.ge(status, acked):
        return None
    return f"a DataACK for a command whose status {status} is acknowledged"


def _rejected(sight: Sight) -> bytes | None:
    """The header of the SNACK that a Reject is about."""
    header = bytes(sight.raw.data[:BHS_LENGTH])
    return header if len(header) == BHS_LENGTH and header[0] & 0x3F == _SNACK else None


@RULES("snack.not-supported", "R7143-11.16-01", _REJECT)
def not_supported(sight: Sight) -> str | None:
    """Above level 0 every type of SNACK is supported."""
    header, level = _rejected(sight), sight.connection.limits.error_recovery_level
    if header is None or not level or sight.bhs[2] != RejectReason.COMMAND_NOT_SUPPORTED:
        return None
    return f'a SNACK of type {header[1] & 0x0F} is "not supported" at ErrorRecoveryLevel {level}'


@RULES("snack.reject-data-sn", "R7143-11.17.2-01", _REJECT, from_start=True)
def reject_data_sn(sight: Sight) -> str | None:
    """The Reject of a Data/R2T SNACK as a protocol error tells the next number that the target would send."""
    header = _rejected(sight)
    if header is None or sight.bhs[2] != RejectReason.PROTOCOL_ERROR or header[1] & 0x0F != SnackType.DATA_OR_R2T:
        return None
    # Of a task that has ended, or is to be ended by a function, a target may know nothing more.
    task = sight.session.tasks.get(int.from_bytes(header[16:20], "big"))
    if task is None or task.aborting or task.opcode != Opcode.SCSI_COMMAND or task.disturbed or task.recovery is None:
        return None
    if task.recovery.again or task.recovery.resumed or task.recovery.resumed_out:
        return None
    following, number = max(task.in_sn, task.r2t_sn), sight.word(36)
    return None if number == following else f"DataSN/R2TSN {number} where {following} is the next to be sent"


@RULES("snack.good-after-reject", "R7143-7.8-10", _RESPONSE, _IN, leans=False, stain=Stain.TASK)
def good_after_reject(sight: Sight) -> str | None:
    """A command whose SNACK was rejected before its status ends with CHECK CONDITION."""
    task = sight.scsi
    if task is None or task.recovery is None or not task.recovery.refused:
        return None
    if sight.opcode == _IN and not sight.bhs[1] & 1:
        return None
    if sight.bhs[3] == 2 or (sight.opcode == _RESPONSE and sight.bhs[2]):
        return None
    return f'status {sight.bhs[3]:#04x} after a "SNACK reject"'


@RULES("snack.r-data-start", "R7143-11.16.3-03", _IN, stain=Stain.TASK)
def r_data_start(sight: Sight) -> str | None:
    """Data sent anew begins with the DataSN that the last DataACK acknowledged, or with 0."""
    task, number = sight.command, sight.word(36)
    if task is None or task.recovery is None or not task.recovery.again or task.disturbed or task.recovery.resumed:
        return None
    if number in (task.in_sn, task.recovery.acked) or sight.repeated:
        return None
    return f"DataSN {number} after an R-Data SNACK, {task.recovery.acked} was to begin with"


@RULES("snack.r-data-status", "R7143-11.16.3-05", _RESPONSE, stain=Stain.TASK)
def r_data_status(sight: Sight) -> str | None:
    """All responses of a command after R-Data SNACKs share one StatSN."""
    task, number = sight.former, sight.word(24)
    if task is None or task.opcode != Opcode.SCSI_COMMAND or task.recovery is None or not task.recovery.tags:
        return None
    if task.connection is not sight.connection or task.recovery.status in (None, number):
        return None
    return f"StatSN {number} for a status that had StatSN {task.recovery.status}"


@RULES("snack.r-data-response-tag", "R7143-11.16.5-02", _RESPONSE, stain=Stain.TASK)
def r_data_response_tag(sight: Sight) -> str | None:
    """The response behind data that was sent anew repeats the SNACK Tag of the R-Data SNACK."""
    task, tag = sight.command, sight.word(20)
    if task is None or task.recovery is None or not task.recovery.tags or task.recovery.again or task.disturbed:
        return None
    tags = ", ".join(f"{each:#010x}" for each in task.recovery.tags)
    return None if tag in task.recovery.tags else f"SNACK Tag {tag:#010x} after R-Data SNACKs with {tags}"
