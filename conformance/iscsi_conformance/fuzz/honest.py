"""Whether an initiator can know that something is wrong with data: where it cannot, data are not held against it.

Without a digest nobody sees a flipped bit, and a target that says GOOD for another task's tag is believed.
"""

from __future__ import annotations

from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.plan import Plan
from iscsi_protocol.fault import Action, Fault, Flip, Insert, Part, Replace, Set, SetKey, Truncate
from iscsi_protocol.fault.action import Close, Drop, Hold, Repeat, Reset, Segment, Silence, Split
from iscsi_protocol.pdu import R2T, AsyncMessage, NopIn, Reject, TextResponse
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

_SEEN = frozenset(
    {
        *("stat_sn", "exp_cmd_sn", "max_cmd_sn", "data_sn", "r2t_sn", "exp_data_sn", "lun", "ttt", "buffer_offset"),
        *("desired_data_transfer_length", "continued"),
    }
)
"""Fields whose wrong value an initiator sees, or that decide nothing about data."""

_HARMLESS = (AsyncMessage, NopIn, R2T, Reject, TextResponse)
_MOVES = (Close, Drop, Hold, Repeat, Reset, Segment, Silence, Split)
_DIGEST_KEYS = ("HeaderDigest", "DataDigest")


def honest(plan: Plan) -> bool:
    """Whether what is read, and what is acknowledged, is what the disk holds as far as the initiator is asked."""
    return not plan.mutations and all(is_seen(fault, plan.ground) for fault in plan.faults)


def is_seen(fault: Fault, ground: Ground) -> bool:
    """Whether what a fault does to data can be known."""
    ends = any(isinstance(action, Close | Reset) for action in fault.what)
    return all(_action_honest(action, fault, ground, ends=ends) for action in fault.what)


def _action_honest(action: Action, fault: Fault, ground: Ground, *, ends: bool) -> bool:
    login = fault.when.opcode == Opcode.LOGIN_RESPONSE
    match action:
        case Truncate():
            return ends
        case Set(name=name):
            return login or (fault.when.direction is Direction.TO_INITIATOR and name in _SEEN)
        case SetKey(key=key):
            return key not in _DIGEST_KEYS
        case Flip(part=part):
            return _flip_is_seen(part, fault, ground)
        case Replace(part=part):
            return part in (Part.HEADER_DIGEST, Part.DATA_DIGEST) or login
        case Insert(template=template):
            return issubclass(template.pdu, _HARMLESS)
        case _:
            return isinstance(action, _MOVES)


def _flip_is_seen(part: Part, fault: Fault, ground: Ground) -> bool:
    if part in (Part.HEADER_DIGEST, Part.DATA_DIGEST):
        return True
    digest = ground.data_digest if part in (Part.DATA, Part.PADDING) else ground.header_digest
    return fault.raw and digest != "none"
