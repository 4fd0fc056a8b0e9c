"""The values that a login put into force, as text (RFC 7143 chapter 13)."""

from __future__ import annotations

from iscsi_captures.dialogue import Connection
from iscsi_captures.dialogue.task import NO_LIMIT

_LIMITS = {
    "DataPDUInOrder": "data_pdu_in_order",
    "DataSequenceInOrder": "data_sequence_in_order",
    "DefaultTime2Retain": "time2retain",
    "DefaultTime2Wait": "time2wait",
    "ErrorRecoveryLevel": "error_recovery_level",
    "FirstBurstLength": "first_burst_length",
    "ImmediateData": "immediate_data",
    "InitialR2T": "initial_r2t",
    "MaxBurstLength": "max_burst_length",
    "MaxConnections": "max_connections",
    "MaxOutstandingR2T": "max_outstanding_r2t",
    "MaxRecvDataSegmentLength of the initiator": "initiator_segment",
    "MaxRecvDataSegmentLength of the target": "target_segment",
    "TaskReporting": "task_reporting",
    "iSCSIProtocolLevel": "protocol_level",
}
_OTHERS = ("AuthMethod", "CHAP_A", "HeaderDigest", "DataDigest")
_UNLESS_SAID = {"AuthMethod": "None", "HeaderDigest": "None", "DataDigest": "None"}


def values_in_force(connection: Connection) -> dict[str, str]:
    """Each key with its value, by name; `known` is true for the connection's limits."""
    login, limits = connection.login.negotiation, connection.limits
    agreed = login.agreed()
    values = {}
    for key in _OTHERS:
        value = agreed.get(key) or login.said[1].get(key) or _UNLESS_SAID.get(key)
        if value:
            values[key] = value
    for key, name in _LIMITS.items():
        if connection.session.discovery and not key.startswith("MaxRecv"):
            continue
        value = getattr(limits, name)
        if value != NO_LIMIT:
            values[key] = ("Yes" if value else "No") if isinstance(value, bool) else str(value)
    return dict(sorted(values.items()))
