"""What targets do wrong with SNACK Requests at recovery level 0 (RFC 7143 sections 7.8, 11.16 and Appendix D)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    Flip,
    NamedFault,
    Part,
    Replace,
    Set,
    Side,
    Test,
    When,
)
from iscsi_protocol.pdu import Opcode, RejectReason
from iscsi_protocol.stream import Direction

_CHECK_CONDITION = (FieldIs("status", 2),)


def _sent(fault_id: str, says: str, opcode: int, *what: Action, tests: tuple[Test, ...] = ()) -> NamedFault:
    """A fault that changes what the target sends."""
    when = When(direction=Direction.TO_INITIATOR, opcode=opcode, tests=tests, times=0)
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=(Fault(when=when, what=what),))


FAULTS = (
    NamedFault(
        id="snack.ignored",
        side=Side.TARGET,
        says="SNACK Requests are passed over in silence.",
        faults=(
            Fault(
                when=When(direction=Direction.TO_TARGET, opcode=Opcode.SNACK_REQUEST, times=0),
                what=(Drop(),),
            ),
        ),
    ),
    _sent(
        "snack.told-as-digest-error",
        "A SNACK that cannot be served is told as a data digest error.",
        Opcode.REJECT,
        Set("reason", RejectReason.DATA_DIGEST_ERROR),
    ),
    _sent(
        "snack.rejection-has-no-consequence",
        "A write of which a SNACK was rejected ends with GOOD.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=_CHECK_CONDITION,
    ),
    _sent(
        "snack.other-sense",
        "The sense of a write of which a SNACK was rejected is that of another error.",
        Opcode.SCSI_RESPONSE,
        Flip(Part.DATA, 14),
        tests=_CHECK_CONDITION,
    ),
)
