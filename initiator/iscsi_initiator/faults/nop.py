"""What initiators do wrong with NOP-Out (RFC 7143 section 11.18)."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, sends, takes_for
from iscsi_protocol.fault import FieldIs, Plus, Set
from iscsi_protocol.pdu import NO_LUN, NO_TAG, Opcode

_OUT = Opcode.NOP_OUT

FAULTS = (
    behaves("inop.silent", "The target's pings are not answered.", ignore_target_ping=True),
    sends("inop.other-tag", "The answer to a ping has another transfer tag.", _OUT, Set("ttt", Plus(1))),
    sends("inop.no-lun", "The answer to a ping does not have its LUN.", _OUT, Set("lun", NO_LUN)),
    sends("inop.answer-with-task-tag", "The answer to a ping wants an answer.", _OUT, Set("itt", 0x66)),
    sends("inop.answer-not-immediate", "The answer to a ping is not immediate.", _OUT, Set("immediate", False)),
    takes_for(
        "inop.answers-counters",
        "A NOP-In that asks for nothing is answered.",
        Opcode.NOP_IN,
        Set("ttt", 5),
        tests=(FieldIs("itt", NO_TAG), FieldIs("ttt", NO_TAG)),
    ),
    sends("inop.ping-with-transfer-tag", "A ping has a transfer tag.", _OUT, Set("ttt", 5)),
    sends("inop.ping-without-tag", "A ping has no task tag.", _OUT, Set("itt", NO_TAG)),
)
