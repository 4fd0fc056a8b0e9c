"""What targets do wrong with NOP-In (RFC 7143 section 11.19)."""

from __future__ import annotations

from dataclasses import replace

from iscsi_protocol.fault import Drop, FieldIs, Flip, Insert, Of, Part, Plus, Relation, Replace, Set, Template, When
from iscsi_protocol.pdu import NO_TAG, Opcode, Reject, RejectReason
from iscsi_protocol.stream import Direction
from iscsi_target.faults import changes

_ANSWER = When(
    direction=Direction.TO_INITIATOR, opcode=Opcode.NOP_IN, tests=(FieldIs("itt", NO_TAG, Relation.DIFFERENT),), times=0
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


FAULTS = (
    changes("nop.ping-with-task-tag", "A ping of the target's has a task tag.", _PING, Set("itt", 0x51)),
    changes("nop.ping-with-data", "A ping of the target's has data.", _PING, Replace(Part.DATA, b"are you there?..")),
    changes("nop.ping-without-tag", "A ping of the target's has no transfer tag.", _PING, Set("ttt", NO_TAG)),
    changes("nop.ping-uses-status-number", "A ping of the target's uses up a StatSN.", _PING, Set("stat_sn", Plus(-1))),
    changes("nop.update-with-tag", "A counter update has a transfer tag.", _UPDATE, Set("ttt", 9)),
    changes(
        "nop.echo-cut-short",
        "Of longer ping data only the first 512 bytes come back.",
        replace(_ANSWER, tests=(*_ANSWER.tests, FieldIs("data_length", 512, Relation.ABOVE))),
        Replace(Part.DATA, bytes(512)),
    ),
    changes(
        "nop.answers-everything",
        "A NOP-Out without a task tag is answered too.",
        replace(_NOP_OUT, tests=(FieldIs("itt", NO_TAG),)),
        Set("itt", 0x1234),
    ),
    changes(
        "nop.numbered-unanswered",
        "A ping that is not immediate is not answered.",
        replace(_NOP_OUT, tests=(FieldIs("immediate", False),)),
        Set("itt", NO_TAG),
        Set("immediate", True),
    ),
    changes(
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
    changes("nop.no-answer", "Pings are not answered.", _ANSWER, Drop(), renumber=True),
    changes("nop.wrong-itt", "The answer to a ping has another task tag.", _ANSWER, Set("itt", Plus(1))),
    changes(
        "nop.answer-with-ttt",
        "The answer to a ping has a transfer tag, as if it were a ping itself.",
        _ANSWER,
        Set("ttt", 5),
    ),
    changes("nop.echo-altered", "One bit of the echoed ping data is wrong.", _ANSWER, Flip(Part.DATA, -1)),
)
