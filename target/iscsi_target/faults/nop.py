"""What targets do wrong with NOP-In (RFC 7143 section 11.19)."""

from __future__ import annotations

from dataclasses import replace

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    Flip,
    Insert,
    NamedFault,
    Of,
    Part,
    Plus,
    Relation,
    Replace,
    Set,
    Side,
    Template,
    When,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, Reject, RejectReason
from iscsi_protocol.stream import Direction

_ANSWER = When(
    direction=Direction.TO_INITIATOR,
    opcode=Opcode.NOP_IN,
    tests=(FieldIs("itt", NO_TAG, Relation.DIFFERENT),),
    times=0,
)

_PING = When(
    direction=Direction.TO_INITIATOR,
    opcode=Opcode.NOP_IN,
    tests=(FieldIs("itt", NO_TAG), FieldIs("ttt", NO_TAG, Relation.DIFFERENT)),
    times=0,
)
_UPDATE = When(
    direction=Direction.TO_INITIATOR,
    opcode=Opcode.NOP_IN,
    tests=(FieldIs("itt", NO_TAG), FieldIs("ttt", NO_TAG)),
    times=0,
)
_NOP_OUT = When(direction=Direction.TO_TARGET, opcode=Opcode.NOP_OUT, times=0)


def _target(fault_id: str, says: str, when: When, *what: Action) -> NamedFault:
    return NamedFault(id=fault_id, side=Side.TARGET, says=says, faults=(Fault(when=when, what=what),))


FAULTS = (
    _target("nop.ping-with-task-tag", "A ping of the target's has a task tag.", _PING, Set("itt", 0x51)),
    _target("nop.ping-with-data", "A ping of the target's has data.", _PING, Replace(Part.DATA, b"are you there?..")),
    _target("nop.ping-without-tag", "A ping of the target's has no transfer tag.", _PING, Set("ttt", NO_TAG)),
    _target("nop.ping-uses-status-number", "A ping of the target's uses up a StatSN.", _PING, Set("stat_sn", Plus(-1))),
    _target("nop.update-with-tag", "A counter update has a transfer tag.", _UPDATE, Set("ttt", 9)),
    _target(
        "nop.echo-cut-short",
        "Of longer ping data only the first 512 bytes come back.",
        replace(_ANSWER, tests=(*_ANSWER.tests, FieldIs("data_length", 512, Relation.ABOVE))),
        Replace(Part.DATA, bytes(512)),
    ),
    _target(
        "nop.answers-everything",
        "A NOP-Out without a task tag is answered too.",
        replace(_NOP_OUT, tests=(FieldIs("itt", NO_TAG),)),
        Set("itt", 0x1234),
    ),
    _target(
        "nop.numbered-unanswered",
        "A ping that is not immediate is not answered.",
        replace(_NOP_OUT, tests=(FieldIs("immediate", False),)),
        Set("itt", NO_TAG),
        Set("immediate", True),
    ),
    _target(
        "nop.minds-reserved-fields",
        "A NOP-Out with a reserved bit set is answered by a Reject.",
        _ANSWER,
        Drop(),
        Insert(
            Template(
                Reject,
                {
                    "reason": RejectReason.PROTOCOL_ERROR,
                    "stat_sn": Of("trigger.stat_sn"),
                    "exp_cmd_sn": Of("exp_cmd_sn"),
                    "max_cmd_sn": Of("max_cmd_sn"),
                    "data": bytes(48),
                },
            )
        ),
    ),
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
