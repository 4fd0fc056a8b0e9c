"""What targets do wrong with immediate data and unsolicited Data-Out (RFC 7143 sections 4.2.5.2, 11.4.7.2, 13.11)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, FieldIs, Flip, Insert, Of, Part, Relation, Replace, Set, Template
from iscsi_protocol.pdu import NO_TAG, R2T, Opcode
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.stream import Direction
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for

_UNSOLICITED = FieldIs("ttt", NO_TAG)
_OTHER_LUN = bytes((0, 0x63, 0, 0, 0, 0, 0, 0))
"""What the cases put into a LUN field that is reserved."""

_SENSE = Sense(key=SenseKey.ABORTED_COMMAND, code=AdditionalSense.WRITE_ERROR).build()


FAULTS = (
    behaves("unsolicited.accepted", "Unsolicited data is taken whatever was agreed on.", accept_unsolicited_data=True),
    behaves("unsolicited.amount-ignored", "Any amount of unsolicited data is taken.", ignore_data_amount=True),
    sends(
        "unsolicited.sense-unspecific",
        "Unexpected unsolicited data is told as any write error.",
        Opcode.SCSI_RESPONSE,
        Replace(Part.DATA, len(_SENSE).to_bytes(2, "big") + _SENSE),
        tests=(FieldIs("status", 2),),
    ),
    sends(
        "unsolicited.asks-again",
        "An R2T asks for data that came unsolicited.",
        Opcode.R2T,
        Set("buffer_offset", 0),
        tests=(FieldIs("buffer_offset", 0, Relation.ABOVE),),
    ),
    takes_for(
        "unsolicited.discarded",
        "Unsolicited Data-Out is thrown away and asked for by R2T.",
        Opcode.SCSI_DATA_OUT,
        Drop(),
        Insert(
            Template(
                R2T, {"itt": Of("trigger.itt"), "ttt": 0x7700, **NEXT_NUMBERS, "desired_data_transfer_length": 512}
            ),
            direction=Direction.TO_INITIATOR,
        ),
        tests=(_UNSOLICITED,),
    ),
    takes_for(
        "unsolicited.reserved-lun-judged",
        "Unsolicited Data-Out is refused for what its reserved LUN field has.",
        Opcode.SCSI_DATA_OUT,
        Set("ttt", 0x0BADBAD0),
        tests=(_UNSOLICITED, FieldIs("lun", _OTHER_LUN)),
    ),
    takes_for(
        "unsolicited.bit-flipped",
        "The last bit of unsolicited Data-Out is stored wrong.",
        Opcode.SCSI_DATA_OUT,
        Flip(Part.DATA, -1),
        tests=(_UNSOLICITED,),
    ),
)
