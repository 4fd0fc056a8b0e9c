"""What targets do wrong with iSCSI names (RFC 7143 section 4.2.7)."""

from __future__ import annotations

from iscsi_protocol.fault import HasKey, NamedFault, SetKey
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults.login import answer, misread


def _lists(fault_id: str, says: str, name: str) -> NamedFault:
    """SendTargets tells this name for every target."""
    return answer(
        fault_id, says, SetKey("TargetName", name), opcode=Opcode.TEXT_RESPONSE, tests=(HasKey("TargetName"),)
    )


FAULTS = (
    misread(
        "name.takes-shorter-ones-only",
        "A name of 223 bytes is too long.",
        SetKey("InitiatorName", "iqn.2026-11.org.iscsi-conformance:" + "x" * 200),
        tests=(HasKey("InitiatorName", prefix="iqn.2026-11.org.iscsi-conformance:long."),),
    ),
    _lists("name.target-without-type", "A target's name has no type.", "disk-one"),
    _lists("name.target-in-capitals", "A target's name has capital letters.", "iqn.2026-11.org.Example:disk"),
    _lists("name.target-too-long", "A target's name has 224 bytes.", "iqn.2026-11.org.example:".ljust(224, "x")),
    _lists("name.iqn-without-date", "An iqn name has no date.", "iqn.org.example:disk"),
    _lists("name.short-eui", "An eui name has 15 digits.", "eui.0123456789abcde"),
    _lists("name.short-naa", "An naa name has 15 digits.", "naa.5000c50012345"),
)
