"""What targets do wrong with NOP-In (RFC 7143 section 11.19)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, Fault, FieldIs, Flip, NamedFault, Part, Plus, Relation, Set, Side, When
from iscsi_protocol.pdu import NO_TAG, Opcode
from iscsi_protocol.stream import Direction

_ANSWER = When(
    direction=Direction.TO_INITIATOR,
    opcode=Opcode.NOP_IN,
    tests=(FieldIs("itt", NO_TAG, Relation.DIFFERENT),),
    times=0,
)

FAULTS = (
    NamedFault(
        id="nop.no-answer",
        side=Side.TARGET,
        says="Pings are not answered.",
        faults=(Fault(when=_ANSWER, what=(Drop(),), renumber=True),),
    ),
    NamedFault(
        id="nop.wrong-itt",
        side=Side.TARGET,
        says="The answer to a ping has another task tag.",
        faults=(Fault(when=_ANSWER, what=(Set("itt", Plus(1)),)),),
    ),
    NamedFault(
        id="nop.answer-with-ttt",
        side=Side.TARGET,
        says="The answer to a ping has a transfer tag, as if it were a ping itself.",
        faults=(Fault(when=_ANSWER, what=(Set("ttt", 5),)),),
    ),
    NamedFault(
        id="nop.echo-altered",
        side=Side.TARGET,
        says="One bit of the echoed ping data is wrong.",
        faults=(Fault(when=_ANSWER, what=(Flip(Part.DATA, -1),)),),
    ),
)
