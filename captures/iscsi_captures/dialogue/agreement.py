"""From text to limits: what a finished login or text exchange means for the data path (chapter 13)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from iscsi_captures.dialogue.negotiation import Negotiation
from iscsi_captures.dialogue.state import Connection, Limits
from iscsi_protocol.negotiation.keys import KEYS
from iscsi_protocol.text import NumberError, parse_number

_NUMBERS = {
    "MaxBurstLength": "max_burst_length",
    "FirstBurstLength": "first_burst_length",
    "MaxOutstandingR2T": "max_outstanding_r2t",
    "ErrorRecoveryLevel": "error_recovery_level",
    "iSCSIProtocolLevel": "protocol_level",
    "MaxConnections": "max_connections",
    "DefaultTime2Wait": "time2wait",
    "DefaultTime2Retain": "time2retain",
}
_BOOLEANS = {
    "InitialR2T": "initial_r2t",
    "ImmediateData": "immediate_data",
    "DataPDUInOrder": "data_pdu_in_order",
    "DataSequenceInOrder": "data_sequence_in_order",
}
_SEGMENTS = ("initiator_segment", "target_segment")


@lru_cache(maxsize=512)
def number(value: str) -> int | None:
    """A number in either notation, None for anything else."""
    try:
        return parse_number(value)
    except NumberError:
        return None


def default_number(key: str) -> int:
    """The default of a numerical key of the table."""
    return int(KEYS[key].default or 0)


def settle_login(connection: Connection) -> None:
    """The login is over: defaults first, then what was agreed on, for the connection and what its session shares."""
    session = connection.session
    leading = session.limits
    limits = connection.limits = Limits()
    limits.known = True
    agreed = connection.login.negotiation.agreed()
    for key, name in _NUMBERS.items():
        inherited = default_number(key) if leading is None else getattr(leading, name)
        setattr(limits, name, _number_of(agreed, key, inherited))
    for key, name in _BOOLEANS.items():
        inherited = KEYS[key].default == "Yes" if leading is None else getattr(leading, name)
        setattr(limits, name, agreed[key] == "Yes" if key in agreed else inherited)
    limits.task_reporting = agreed.get("TaskReporting", "RFC3720" if leading is None else leading.task_reporting)
    if session.discovery:
        limits.error_recovery_level = 0
    if leading is None and not session.uncertain:
        session.limits = limits
    for name in _SEGMENTS:
        setattr(limits, name, default_number("MaxRecvDataSegmentLength"))
    declare_segments(limits, connection.login.negotiation)


def declare_segments(limits: Limits, negotiation: Negotiation) -> None:
    """Take over what each side declared as its MaxRecvDataSegmentLength (13.12)."""
    for name, said in zip(_SEGMENTS, negotiation.said, strict=True):
        value = number(said.get("MaxRecvDataSegmentLength", ""))
        if value is not None:
            setattr(limits, name, value)


def _number_of(agreed: Mapping[str, str], key: str, otherwise: int) -> int:
    value = number(agreed.get(key, ""))
    return otherwise if value is None else value
