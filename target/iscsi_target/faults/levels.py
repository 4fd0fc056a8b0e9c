"""What targets do wrong with the levels that a session agreed on (RFC 7144 4.1, 4.2 and 7.1.1; RFC 7143 4.2.3.4, 6.3.3, 7.1.5
and 10.7).
"""

from __future__ import annotations

from iscsi_protocol.fault import Drop, Fault, FieldIs, Flip, HasKey, NamedFault, Part, Relation, SetKey, When
from iscsi_protocol.pdu import AsyncEvent, Opcode
from iscsi_protocol.stream import Direction
from iscsi_target.faults import sends, together
from iscsi_target.faults.fences import understands
from iscsi_target.faults.login import status

_LEVEL = "iSCSIProtocolLevel"
_RECOVERY = "ErrorRecoveryLevel"


def _mistakes(fault_id: str, says: str, key: str, by: str, takes: str, tells: str | None) -> NamedFault:
    """A fault of a target that works by one value of a key and tells another, in logins with the key `by`."""
    return together(
        fault_id,
        says,
        Fault(
            when=When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=(HasKey(by),), times=0),
            what=(SetKey(key, takes),),
        ),
        Fault(
            when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGIN_RESPONSE, tests=(HasKey(key),), times=0),
            what=(SetKey(key, tells),),
        ),
    )


FAULTS = (
    sends(
        "levels.version-of-no-level",
        "INQUIRY data names iSCSI without regard to the level.",
        Opcode.SCSI_DATA_IN,
        Flip(Part.DATA, 61, 0x03),
        tests=(FieldIs("data_length", 96),),
    ),
    _mistakes(
        "levels.level-2-where-1-was-agreed", "Level 2 holds where level 1 was agreed on.", _LEVEL, _LEVEL, "2", "1"
    ),
    _mistakes(
        "levels.level-2-unasked",
        "Level 2 holds where nothing was said of the level.",
        _LEVEL,
        "MaxBurstLength",
        "2",
        None,
    ),
    understands(
        "levels.fast-abort-for-show", "FastAbort is agreed on, and functions wait for data.", "RFC3720", "FastAbort"
    ),
    sends(
        "levels.one-unit-is-told",
        "Of tasks at several logical units that were terminated event 5 tells for the first alone.",
        Opcode.ASYNC_MESSAGE,
        Drop(),
        tests=(FieldIs("async_event", AsyncEvent.TASKS_TERMINATED),),
        nth=2,
        renumber=True,
    ),
    sends(
        "levels.recovery-above-offer",
        "A recovery level above the initiator's is told as the result.",
        Opcode.LOGIN_RESPONSE,
        SetKey(_RECOVERY, "1"),
        tests=(HasKey(_RECOVERY),),
    ),
    sends(
        "levels.wants-recovery",
        "An initiator without recovery is not let in.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0200),
        tests=(HasKey(_RECOVERY, "0"),),
    ),
    _mistakes("levels.recovery-for-show", "Level 1 is agreed on, and not kept.", _RECOVERY, _RECOVERY, "0", "1"),
    sends(
        "levels.half-a-login-is-joined",
        "A connection joins a session whose leading login is not over.",
        Opcode.LOGIN_RESPONSE,
        *status(0),
        tests=(FieldIs("status_class", 0, Relation.DIFFERENT),),
        cid=1,
    ),
    sends(
        "levels.broken-connection-counts",
        "A connection whose TCP was reset still counts among the session's.",
        Opcode.LOGIN_RESPONSE,
        *status(0x0206),
        cid=2,
    ),
)
