"""What targets do wrong with response fences (RFC 7143 sections 4.2.2.3, 4.2.3.3 and 13.23)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, Fault, HasKey, Hold, NamedFault, Of, Set, SetKey, Side, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction
from iscsi_target.faults import behaves, sends, takes_for, together

_KEY = "TaskReporting"
_OUT, _BACK = Direction.TO_TARGET, Direction.TO_INITIATOR


def understands(fault_id: str, says: str, value: str, told: str) -> NamedFault:
    """A fault of a target that agrees to one value of TaskReporting and works by another."""
    return together(
        fault_id,
        says,
        Fault(
            when=When(direction=_OUT, opcode=Opcode.LOGIN_REQUEST, tests=(HasKey(_KEY, told),), times=0),
            what=(SetKey(_KEY, value),),
        ),
        Fault(
            when=When(direction=_BACK, opcode=Opcode.LOGIN_RESPONSE, tests=(HasKey(_KEY),), times=0),
            what=(SetKey(_KEY, told),),
        ),
    )


def _acknowledged(fault_id: str, says: str, cid: int) -> NamedFault:
    """A fault of a target that takes any NOP-Out of that connection for an acknowledgement of all."""
    return takes_for(fault_id, says, Opcode.NOP_OUT, Set("exp_stat_sn", Of("stat_sn")), cid=cid)


FAULTS = (
    _acknowledged(
        "fences.any-ping-acknowledges",
        "A ping on the second connection counts as the acknowledgement of all that was sent there.",
        1,
    ),
    _acknowledged(
        "fences.lifted-by-any-ping",
        "A ping on the first connection counts as the acknowledgement of a fenced response.",
        0,
    ),
    _acknowledged(
        "fences.attention-at-once", "The unit attention behind a reset is not waited for by later responses.", 0
    ),
    _acknowledged("fences.one-way-only", "A fence waits for earlier responses and holds up no later ones.", 0),
    behaves(
        "fences.functions-are-not-fenced",
        "A function that ends a set of tasks is answered before earlier responses are acknowledged.",
        skip_abort_fence=True,
    ),
    understands("fences.agreed-on-for-show", "ResponseFence is agreed on, and not kept.", "RFC3720", "ResponseFence"),
    sends(
        "fences.lose-later-responses",
        "A response that a fence held back never comes.",
        Opcode.SCSI_RESPONSE,
        Drop(),
        cid=1,
        renumber=True,
    ),
    sends(
        "fences.overtaken",
        "A fenced response comes behind the response to a later command.",
        Opcode.TASK_MANAGEMENT_RESPONSE,
        Hold(pdus=2),
    ),
    NamedFault(
        id="fences.overtake",
        side=Side.TARGET,
        says="A fenced response comes before the response to an earlier command.",
        faults=(
            Fault(
                when=When(direction=_BACK, opcode=Opcode.SCSI_RESPONSE, cid=0, nth=2),
                what=(Hold(pdus=1),),
            ),
        ),
        policy={"skip_abort_fence": True},
    ),
)
