"""PDUs as a review keeps them: their first bytes, and where the parts lie."""

from __future__ import annotations

from iscsi_captures.review.model import PDU_KEPT, PduShown, Way
from iscsi_protocol.pdu import RawPdu, opcode_name
from iscsi_protocol.stream import Direction

WAYS: tuple[Way, Way] = ("to target", "to initiator")
"""By direction."""


def shown(raw: RawPdu, direction: Direction) -> PduShown:
    """A PDU as a review keeps it."""
    parts = (raw.bhs, raw.ahs, raw.header_digest, raw.data, raw.padding, raw.data_digest)
    kept, left = [], PDU_KEPT
    for part in parts:
        kept.append(bytes(part[:left]))
        left -= len(kept[-1])
    return PduShown(
        opcode=raw.opcode,
        name=opcode_name(raw.opcode),
        way=WAYS[direction],
        raw=b"".join(kept),
        length=sum(len(part) for part in parts),
        ahs_length=len(raw.ahs),
        header_digest_length=len(raw.header_digest),
        data_length=len(raw.data),
    )
