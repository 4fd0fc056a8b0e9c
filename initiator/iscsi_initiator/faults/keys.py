"""What initiators do wrong with text keys (RFC 7143 chapters 6 and 13)."""

from __future__ import annotations

from iscsi_initiator.faults import sends, takes_for
from iscsi_protocol.fault import Flip, HasKey, NamedFault, Part, SetKey
from iscsi_protocol.pdu import Opcode

_LOGIN = Opcode.LOGIN_REQUEST
_RESPONSE = Opcode.LOGIN_RESPONSE


def _offers(fault_id: str, key: str, value: str) -> NamedFault:
    """Another value in place of the one that the initiator offers or declares."""
    return sends(fault_id, f"{key}={value} is offered.", _LOGIN, SetKey(key, value), tests=(HasKey(key),))


def _says(fault_id: str, says: str, key: str, value: str | None, stage: int, *, again: bool = False) -> NamedFault:
    """A pair more, or less, in each request of a stage."""
    return sends(fault_id, says, _LOGIN, SetKey(key, value, again=again), stage=stage, times=0)


def _answers(fault_id: str, says: str, key: str, value: str | None) -> NamedFault:
    """Another answer to what the target offers."""
    return sends(fault_id, says, _LOGIN, SetKey(key, value), stage=1, nth=2)


def _swallows(fault_id: str, key: str, value: str, meant: str | None) -> NamedFault:
    """A value of the target's that is none, taken for another or passed over."""
    says = f"{key}={value} from the target does not matter."
    return takes_for(fault_id, says, _RESPONSE, SetKey(key, meant), tests=(HasKey(key, value),))


FAULTS = (
    sends("ikeys.last-pair-open", "The last pair has no NUL behind it.", _LOGIN, Flip(Part.DATA, -1, 0x41)),
    _says("ikeys.small-letter", "A key begins with a small letter.", "anything", "1", 1),
    _says("ikeys.long-key", "A key has 64 characters.", "X-" + "a" * 62, "1", 1),
    _offers("ikeys.boolean-in-capitals", "ImmediateData", "YES"),
    _offers("ikeys.leading-zero", "MaxBurstLength", "0262144"),
    _offers("ikeys.long-value", "InitiatorAlias", "a" * 256),
    _offers("ikeys.name-with-capitals", "InitiatorName", "iqn.2026-01.org.Example:initiator"),
    _offers("ikeys.name-without-type", "InitiatorName", "org.example.initiator"),
    _offers("ikeys.long-name", "InitiatorName", "iqn.2026-01.org.example:" + "a" * 200),
    _offers("ikeys.segment-length-511", "MaxRecvDataSegmentLength", "511"),
    _offers("ikeys.burst-length-511", "MaxBurstLength", "511"),
    _offers("ikeys.first-burst-length-511", "FirstBurstLength", "511"),
    _offers("ikeys.first-burst-over-burst", "FirstBurstLength", "524288"),
    _offers("ikeys.time2wait-3601", "DefaultTime2Wait", "3601"),
    _offers("ikeys.time2retain-3601", "DefaultTime2Retain", "3601"),
    _offers("ikeys.no-r2t-outstanding", "MaxOutstandingR2T", "0"),
    _offers("ikeys.no-connections", "MaxConnections", "0"),
    _offers("ikeys.recovery-level-3", "ErrorRecoveryLevel", "3"),
    _says("ikeys.name-again", "InitiatorName is declared twice.", "InitiatorName", "iqn.2026-01.org.example:b", 1),
    _says("ikeys.target-again", "TargetName is declared twice.", "TargetName", "iqn.2026-01.org.example:t", 1),
    _says("ikeys.offered-twice", "A key is offered twice.", "DefaultTime2Wait", "1", 1, again=True),
    _says("ikeys.operational-too-early", "MaxBurstLength comes in the security stage.", "MaxBurstLength", "65536", 0),
    _says("ikeys.send-targets-in-login", "SendTargets comes in the login.", "SendTargets", "All", 1),
    _answers("ikeys.unknown-key-ignored", "An unknown key is not answered.", "TargetMood", None),
    _answers("ikeys.marker-accepted", "IFMarker is agreed to.", "IFMarker", "Yes"),
    _answers("ikeys.marker-not-understood", "IFMarker is not understood.", "OFMarker", "NotUnderstood"),
    _answers("ikeys.interval-accepted", "OFMarkInt is agreed to.", "OFMarkInt", "2048"),
    _answers("ikeys.interval-not-understood", "IFMarkInt is not understood.", "IFMarkInt", "NotUnderstood"),
    _answers("ikeys.list-answered-off-list", "A list is answered with a value of its own.", "TaskReporting", "None"),
    _answers("ikeys.level-raised", "The protocol level is answered with a higher one.", "iSCSIProtocolLevel", "2"),
    _answers("ikeys.list-not-answered", "A list is not answered.", "TaskReporting", None),
    _swallows("ikeys.accepts-not-understood", "MaxBurstLength", "NotUnderstood", "262144"),
    _swallows("ikeys.accepts-more-than-offered", "MaxBurstLength", "524288", "262144"),
    _swallows("ikeys.accepts-less-time2wait", "DefaultTime2Wait", "0", "2"),
    _swallows("ikeys.accepts-initial-r2t-no", "InitialR2T", "No", "Yes"),
    _swallows("ikeys.accepts-burst-below-first", "MaxBurstLength", "1024", "262144"),
    _swallows("ikeys.accepts-any-order", "DataPDUInOrder", "No", "Yes"),
    _swallows("ikeys.accepts-any-sequence-order", "DataSequenceInOrder", "No", "Yes"),
    _swallows("ikeys.accepts-send-targets", "SendTargets", "All", None),
    _swallows("ikeys.accepts-text-for-boolean", "ImmediateData", "maybe", "Yes"),
    _swallows("ikeys.accepts-out-of-range", "MaxOutstandingR2T", "0", "1"),
)
