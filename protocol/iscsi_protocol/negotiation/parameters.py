"""The operational parameters that a negotiation results in (RFC 7143 chapter 13), typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from iscsi_protocol.negotiation.keys import Role, SessionType
from iscsi_protocol.text import parse_boolean, parse_number


@dataclass(frozen=True, kw_only=True, slots=True)
class OperationalParameters:
    """What holds on a connection and in its session. The defaults are those of keys that were never exchanged.

    header_digest, data_digest: CRC32C, or none.  max_recv_data_segment_length_SIDE: bytes that this side takes at most in
    a data segment, as it declared.  max_burst_length, first_burst_length: bytes.  default_time2wait, default_time2retain:
    seconds.  task_reporting: RFC3720, ResponseFence or FastAbort.
    """

    header_digest: bool = False
    data_digest: bool = False
    max_recv_data_segment_length_initiator: int = 8192
    max_recv_data_segment_length_target: int = 8192
    max_connections: int = 1
    initial_r2t: bool = True
    immediate_data: bool = True
    max_burst_length: int = 262144
    first_burst_length: int = 65536
    default_time2wait: int = 2
    default_time2retain: int = 20
    max_outstanding_r2t: int = 1
    data_pdu_in_order: bool = True
    data_sequence_in_order: bool = True
    error_recovery_level: int = 0
    session_type: SessionType = SessionType.NORMAL
    task_reporting: str = "RFC3720"
    iscsi_protocol_level: int = 1

    @property
    def fast_abort(self) -> bool:
        """Whether multi-task aborts follow section 4.2.3.4."""
        return self.task_reporting == "FastAbort"

    @property
    def response_fence(self) -> bool:
        """Whether responses are fenced (4.2.2.3.3), which FastAbort implies."""
        return self.task_reporting != "RFC3720"

    def received_by(self, role: Role) -> int:
        """The longest data segment, in bytes, that this side takes."""
        if role is Role.INITIATOR:
            return self.max_recv_data_segment_length_initiator
        return self.max_recv_data_segment_length_target

    def of_new_connection(self) -> OperationalParameters:
        """What a further login into this session begins with: the connection's own parameters at their defaults."""
        return replace(
            self,
            header_digest=False,
            data_digest=False,
            max_recv_data_segment_length_initiator=8192,
            max_recv_data_segment_length_target=8192,
        )

    def with_results(
        self, results: Mapping[str, str], declared: Mapping[Role, str], session_type: SessionType
    ) -> OperationalParameters:
        """These parameters, changed by negotiated values (key -> text) and by each side's MaxRecvDataSegmentLength.

        Dependencies between keys are seen to: a discovery session has one connection and recovery level 0 (13.21); a
        recovery level with sequences in order goes with one outstanding R2T (13.19); a FirstBurstLength that nobody agreed
        upon is not above MaxBurstLength (13.14).
        """
        changes: dict[str, Any] = {"session_type": session_type}
        for key, value in results.items():
            name, read = _FIELDS[key]
            changes[name] = read(value)
        for role, value in declared.items():
            changes[f"max_recv_data_segment_length_{role.value}"] = parse_number(value)
        if session_type is SessionType.DISCOVERY:
            changes.update(max_connections=1, error_recovery_level=0)

        def become(name: str) -> Any:
            return changes.get(name, getattr(self, name))

        if become("error_recovery_level") > 0 and become("data_sequence_in_order"):
            changes["max_outstanding_r2t"] = 1
        changes["first_burst_length"] = min(become("first_burst_length"), become("max_burst_length"))
        return replace(self, **changes)


def _read_digest(value: str) -> bool:
    return value == "CRC32C"


_FIELDS: Mapping[str, tuple[str, Callable[[str], object]]] = MappingProxyType(
    {
        "HeaderDigest": ("header_digest", _read_digest),
        "DataDigest": ("data_digest", _read_digest),
        "MaxConnections": ("max_connections", parse_number),
        "InitialR2T": ("initial_r2t", parse_boolean),
        "ImmediateData": ("immediate_data", parse_boolean),
        "MaxBurstLength": ("max_burst_length", parse_number),
        "FirstBurstLength": ("first_burst_length", parse_number),
        "DefaultTime2Wait": ("default_time2wait", parse_number),
        "DefaultTime2Retain": ("default_time2retain", parse_number),
        "MaxOutstandingR2T": ("max_outstanding_r2t", parse_number),
        "DataPDUInOrder": ("data_pdu_in_order", parse_boolean),
        "DataSequenceInOrder": ("data_sequence_in_order", parse_boolean),
        "ErrorRecoveryLevel": ("error_recovery_level", parse_number),
        "TaskReporting": ("task_reporting", str),
        "iSCSIProtocolLevel": ("iscsi_protocol_level", parse_number),
    }
)
PARAMETER_KEYS = frozenset(_FIELDS)
"""The negotiated keys that end up in OperationalParameters."""
