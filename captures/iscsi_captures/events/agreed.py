"""What the judging of a connection's PDUs needs of what its login agreed on (RFC 7143 chapter 13)."""

from __future__ import annotations

from iscsi_captures.events.keys import Negotiated
from iscsi_captures.events.state import Limits
from iscsi_captures.events.values import number
from iscsi_protocol.negotiation.keys import KEYS

_NUMBERS = (
    ("ErrorRecoveryLevel", "level"),
    ("MaxBurstLength", "max_burst"),
    ("FirstBurstLength", "first_burst"),
    ("MaxOutstandingR2T", "max_r2t"),
    ("iSCSIProtocolLevel", "protocol_level"),
)
_BOOLEANS = (("DataPDUInOrder", "data_pdu_in_order"), ("DataSequenceInOrder", "data_sequence_in_order"))


def settle(keys: Negotiated, session: Limits | None) -> Limits:
    """The results of a login. session: what the session's first connection agreed on, for one that is added to it."""
    limits = Limits()
    for key, name in _NUMBERS:
        value = number(keys.result(key) or "")
        setattr(limits, name, getattr(session, name) if session is not None else value or 0)
    for key, name in _BOOLEANS:
        setattr(limits, name, getattr(session, name) if session is not None else keys.result(key) == "Yes")
    if keys.discovery:
        limits.level = 0
    limits.header_digest = keys.result("HeaderDigest") == "CRC32C"
    declared = number(keys.offered.get("MaxRecvDataSegmentLength", ""))
    limits.max_recv = int(KEYS["MaxRecvDataSegmentLength"].default or 0) if declared is None else declared
    return limits
