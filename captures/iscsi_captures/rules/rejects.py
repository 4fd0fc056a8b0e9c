"""What the reasons of a Reject stand for, and whether this PDU can be rejected for it (11.17.1, 4.2.2.1)."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.rules.framing import UNASSIGNED
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import BHS_LENGTH, Opcode, RejectReason, SnackType, opcode_name

RULES = Rules((Phase.FULL,))
_REJECT = Opcode.REJECT
_TMF = Opcode.TASK_MANAGEMENT_REQUEST
_LEVEL_2 = frozenset({9, 10, 11, 12})


def _rejected(sight: Sight, reason: RejectReason) -> bytes | None:
    """The header of the PDU that is rejected for this reason."""
    header = bytes(sight.raw.data[:BHS_LENGTH])
    return header if sight.bhs[2] == reason and len(header) == BHS_LENGTH else None


def _name(header: bytes) -> str:
    return opcode_name(header[0] & 0x3F)


@RULES("reject.digest-without-digest", "R7143-11.17.1-07", _REJECT, from_start=True, stain=Stain.NOTHING)
def digest_without_digest(sight: Sight) -> str | None:
    """Reason 0x02 needs a data digest, and so a DataDigest that was agreed on."""
    header = _rejected(sight, RejectReason.DATA_DIGEST_ERROR)
    if header is None or sight.connection.login.negotiation.agreed().get("DataDigest", "None") != "None":
        return None
    return f"a {_name(header)} is rejected for its data digest with DataDigest=None"


@RULES("reject.snack-reason", "R7143-11.17.1-08", _REJECT, leans=False, stain=Stain.NOTHING)
def snack_reason(sight: Sight) -> str | None:
    """Reason 0x03 is for a SNACK."""
    header = _rejected(sight, RejectReason.SNACK_REJECT)
    if header is None or header[0] & 0x3F == Opcode.SNACK_REQUEST:
        return None
    return f"reason 0x03 for a {_name(header)}"


@RULES("reject.immediate-reason", "R7143-11.17.1-11", _REJECT, leans=False, stain=Stain.NOTHING)
def immediate_reason(sight: Sight) -> str | None:
    """Reason 0x06 is for an immediate request."""
    header = _rejected(sight, RejectReason.IMMEDIATE_COMMAND_REJECT)
    return None if header is None or header[0] & 0x40 else f"reason 0x06 for a {_name(header)} that is not immediate"


@RULES("reject.immediate-room", "R7143-4.2.2.1-06", _REJECT, from_start=True, stain=Stain.NOTHING)
def immediate_room(sight: Sight) -> str | None:
    """There is room for one immediate task management request and one other immediate request on each connection."""
    header = _rejected(sight, RejectReason.IMMEDIATE_COMMAND_REJECT)
    if header is None or not header[0] & 0x40 or sight.session.uncertain:
        return None
    if header[28:32] != sight.bhs[24:28] or any(each.statuses for each in sight.session.connections.values()):
        # Responses that the initiator has not acknowledged take the room away (4.2.2.2): on any connection, since those
        # behind a fence wait for all of them (4.2.3.3).
        return None
    management = header[0] & 0x3F == _TMF
    others = sum(
        task.immediate and task.connection is sight.connection and (task.opcode == _TMF) is management
        for task in sight.session.tasks.values()
    )
    return f"the only immediate {_name(header)} is one too many" if others < 2 else None


@RULES("reject.data-ack-reason", "R7143-11.17.1-13", _REJECT, leans=False, stain=Stain.NOTHING)
def data_ack_reason(sight: Sight) -> str | None:
    """Reason 0x08 is for a DataACK."""
    header = _rejected(sight, RejectReason.INVALID_DATA_ACK)
    if header is None or (header[0] & 0x3F == Opcode.SNACK_REQUEST and header[1] & 0x0F == SnackType.DATA_ACK):
        return None
    return f"reason 0x08 for a {_name(header)}"


@RULES("reject.logout-reason", "R7143-11.17.1-15", _REJECT, leans=False, from_start=True, stain=Stain.NOTHING)
def logout_reason(sight: Sight) -> str | None:
    """Reason 0x0c needs an Asynchronous Message that asks for a logout."""
    header = _rejected(sight, RejectReason.WAITING_FOR_LOGOUT)
    if header is None or sight.connection.logout_wanted is not None:
        return None
    return f"a {_name(header)} is rejected for a logout that was not asked for"


@RULES("reject.unknown-opcode", "R7143-11.2.1.2-03", _REJECT, leans=False, stain=Stain.NOTHING)
def unknown_opcode(sight: Sight) -> str | None:
    """A PDU whose opcode is none is rejected with reason 0x05."""
    header = bytes(sight.raw.data[:BHS_LENGTH])
    if len(header) < BHS_LENGTH or header[0] & 0x3F not in UNASSIGNED:
        return None
    if sight.bhs[2] == RejectReason.COMMAND_NOT_SUPPORTED:
        return None
    return f"reason {sight.bhs[2]:#04x} for opcode {header[0] & 0x3F:#04x}, which is none"


@RULES("reject.level-2-function", "R7144-4.1-02", _REJECT, from_start=True, stain=Stain.NOTHING)
def level_2_function(sight: Sight) -> str | None:
    """At iSCSIProtocolLevel 2 the functions of RFC 7144 get a response, not a Reject for their code."""
    header = bytes(sight.raw.data[:BHS_LENGTH])
    if len(header) < BHS_LENGTH or sight.connection.limits.protocol_level < 2 or header[0] & 0x3F != _TMF:
        return None
    if sight.bhs[2] != RejectReason.COMMAND_NOT_SUPPORTED or header[1] & 0x7F not in _LEVEL_2:
        return None
    return f"task management function {header[1] & 0x7F} is rejected at iSCSIProtocolLevel 2"
