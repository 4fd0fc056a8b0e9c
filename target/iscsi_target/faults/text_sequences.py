"""What targets do wrong with sequences of Text Requests (RFC 7143 sections 6.2 to 6.4, 7.12, 11.10, 11.11 and 13)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    Fault,
    FieldIs,
    HasKey,
    Insert,
    NamedFault,
    Part,
    Plus,
    Repeat,
    Replace,
    Set,
    SetKey,
    Template,
    Test,
    When,
)
from iscsi_protocol.pdu import NO_TAG, Opcode, Reject, RejectReason, encode
from iscsi_protocol.pdu import TextRequest as Request
from iscsi_protocol.stream import Direction
from iscsi_target.faults import SAME_NUMBERS, sends, takes_for, together

_FINAL = FieldIs("final", True)
_OPEN = FieldIs("final", False)
_UNKNOWN = "X-org.iscsi-conformance.unknown"


def _says(fault_id: str, says: str, *what: Action, tests: tuple[Test, ...] = (), nth: int = 1) -> NamedFault:
    """A fault of Text Responses."""
    return sends(fault_id, says, Opcode.TEXT_RESPONSE, *what, tests=tests, nth=nth)


def _request(*tests: Test, nth: int = 1, times: int = 0) -> When:
    return When(direction=Direction.TO_TARGET, opcode=Opcode.TEXT_REQUEST, tests=tests, nth=nth, times=times)


def _response(*tests: Test) -> When:
    return When(direction=Direction.TO_INITIATOR, opcode=Opcode.TEXT_RESPONSE, tests=tests, times=0)


def _agrees(fault_id: str, says: str, key: str, value: str) -> NamedFault:
    """A key of the login is agreed on in full feature phase."""
    return together(
        fault_id,
        says,
        Fault(when=_request(HasKey(key)), what=(SetKey(key, None),)),
        Fault(when=_response(), what=(SetKey(key, value),)),
    )


_REJECTED = Insert(
    Template(
        Reject,
        {"reason": RejectReason.PROTOCOL_ERROR, "data": encode(Request(itt=NO_TAG)).to_bytes(), **SAME_NUMBERS},
    )
)

FAULTS = (
    _says(
        "text.final-at-once",
        "A response whose text goes on has F=1 too.",
        Set("final", True),
        tests=(FieldIs("continued", True),),
    ),
    _says("text.does-not-wait", "A response whose text goes on comes twice.", Repeat(), tests=(_OPEN,)),
    _says(
        "text.tag-of-no-use",
        "The transfer tag of a response is not the one that the target waits for.",
        Set("ttt", Plus(1)),
        tests=(_OPEN,),
    ),
    _says(
        "text.puts-off-its-end",
        "F=1 is answered by an empty response with F=0 first.",
        Set("final", False),
        Set("ttt", 77),
        Replace(Part.DATA, b""),
        tests=(_FINAL,),
    ),
    _says(
        "text.asks-at-its-end",
        "The last response proposes a key.",
        SetKey("MaxOutstandingR2T", "4"),
        tests=(_FINAL,),
    ),
    _says(
        "text.asks-behind-the-list",
        "A proposal follows the list of targets.",
        SetKey("X-org.example.order", "by-name"),
        tests=(_FINAL,),
    ),
    _says(
        "text.says-it-again",
        "A sequence's last response repeats what an earlier one said.",
        SetKey(_UNKNOWN, "NotUnderstood"),
        nth=2,
    ),
    _says(
        "text.remembers-the-old-sequence",
        "A new sequence counts as the old one's continuation.",
        Drop(),
        _REJECTED,
        nth=2,
    ),
    takes_for(
        "text.keeps-half-a-result",
        "What a failed sequence declared takes effect with the next one.",
        Opcode.TEXT_REQUEST,
        SetKey("MaxRecvDataSegmentLength", "512"),
        nth=3,
    ),
    together(
        "text.heeds-half-a-request",
        "Of a rejected request the keys before the offending one take effect.",
        Fault(when=_request(HasKey("InitiatorAlias")), what=(SetKey("InitiatorAlias", None),)),
        Fault(when=_response(_FINAL), what=(Drop(), _REJECTED)),
    ),
    _agrees("text.digest-anew", "HeaderDigest is negotiated anew.", "HeaderDigest", "None"),
    _agrees("text.authenticates-late", "AuthMethod is negotiated behind the login.", "AuthMethod", "None"),
)
