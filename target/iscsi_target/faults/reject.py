"""What targets do wrong with Reject (RFC 7143 sections 7.3, 7.7 and 11.17)."""

from __future__ import annotations

from iscsi_protocol.fault import Action, Drop, FieldIs, Flip, NamedFault, Part, Plus, Poke, Relation, Set, SetKey
from iscsi_protocol.pdu import NO_TAG, Opcode, RejectReason
from iscsi_target.faults import behaves, sends, takes_for


def _reject(fault_id: str, says: str, *what: Action, renumber: bool = False) -> NamedFault:
    return sends(fault_id, says, Opcode.REJECT, *what, renumber=renumber)


_ANSWERED = (FieldIs("itt", NO_TAG, Relation.DIFFERENT),)

FAULTS = (
    _reject("reject.silence-instead", "What is to be rejected is passed over in silence.", Drop(), renumber=True),
    _reject(
        "reject.always-protocol-error",
        "Whatever is rejected is told as a protocol error.",
        Set("reason", RejectReason.PROTOCOL_ERROR),
    ),
    _reject(
        "reject.never-protocol-error",
        "A protocol error is told as an invalid field.",
        Set("reason", RejectReason.INVALID_PDU_FIELD),
    ),
    _reject(
        "reject.always-too-many-immediate",
        "Whatever is rejected is told as one immediate command too many.",
        Set("reason", RejectReason.IMMEDIATE_COMMAND_REJECT),
    ),
    _reject(
        "reject.deprecated-reason", "Reason 0x0b is used.", Set("reason", RejectReason.DEPRECATED_NEGOTIATION_RESET)
    ),
    _reject("reject.undefined-reason", "A reason is used that nobody defined.", Set("reason", 0x55)),
    _reject("reject.with-task-tag", "The Reject has a task tag.", Set("itt", 5)),
    _reject("reject.not-numbered", "The Reject repeats a StatSN.", Set("stat_sn", Plus(-1))),
    _reject("reject.header-altered", "The header in the Reject is not that of the bad PDU.", Flip(Part.DATA, 20)),
    _reject("reject.reserved-bytes-set", "A reserved byte of the Reject is not zero.", Poke(44, b"\x01")),
    sends(
        "reject.ends-the-task",
        "A task of which a PDU was rejected gets no response any more.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        renumber=True,
    ),
    sends(
        "reject.counts-as-received",
        "The CmdSN of a rejected command counts as received.",
        Opcode.NOP_IN,
        Set("exp_cmd_sn", Plus(1)),
        Set("max_cmd_sn", Plus(1)),
        tests=_ANSWERED,
    ),
    sends(
        "reject.initiator-opcode",
        "Pings are answered with the opcode of NOP-Out.",
        Opcode.NOP_IN,
        Set("opcode", Opcode.NOP_OUT),
        tests=_ANSWERED,
    ),
    takes_for(
        "reject.repetition-unnoticed",
        "That a key comes twice in one negotiation goes unnoticed.",
        Opcode.TEXT_REQUEST,
        SetKey("MaxRecvDataSegmentLength", None),
    ),
    behaves(
        "reject.format-error-survived",
        "A PDU with a format error is dropped, and the session lives on.",
        survive_format_errors=True,
    ),
)
