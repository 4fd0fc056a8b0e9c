"""What targets do wrong with SNACK Requests at recovery level 0 (RFC 7143 sections 7.8, 11.16 and Appendix D)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Flip, Part, Replace, Set
from iscsi_protocol.pdu import Opcode, RejectReason
from iscsi_target.faults import sends, takes_for

_CHECK_CONDITION = (FieldIs("status", 2),)


FAULTS = (
    takes_for("snack.ignored", "SNACK Requests are passed over in silence.", Opcode.SNACK_REQUEST, Drop()),
    sends(
        "snack.told-as-digest-error",
        "A SNACK that cannot be served is told as a data digest error.",
        Opcode.REJECT,
        Set("reason", RejectReason.DATA_DIGEST_ERROR),
    ),
    sends(
        "snack.rejection-has-no-consequence",
        "A write of which a SNACK was rejected ends with GOOD.",
        Opcode.SCSI_RESPONSE,
        Set("status", 0),
        Replace(Part.DATA, b""),
        tests=_CHECK_CONDITION,
    ),
    sends(
        "snack.other-sense",
        "The sense of a write of which a SNACK was rejected is that of another error.",
        Opcode.SCSI_RESPONSE,
        Flip(Part.DATA, 14),
        tests=_CHECK_CONDITION,
    ),
)
