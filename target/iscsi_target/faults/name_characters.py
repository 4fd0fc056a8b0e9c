"""What targets do wrong with what names are made of, and with LUNs (RFC 7143 4.5, 11.2.1.7; RFC 3722)."""

from __future__ import annotations

from iscsi_protocol.fault import Close, FieldIs, HasKey, NamedFault, Set, SetKey
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import sends, takes_for

_BEGINNING = "iqn.2026-11.org.example:"
_LUN_1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))


def _lists(fault_id: str, says: str, rest: str) -> NamedFault:
    """SendTargets tells this name for every target."""
    name = SetKey("TargetName", _BEGINNING + rest)
    return sends(fault_id, says, Opcode.TEXT_RESPONSE, name, tests=(HasKey("TargetName"),))


FAULTS = (
    _lists("name.with-soft-hyphen", "A target's name has a character that is mapped to nothing.", "di\u00adsk"),
    _lists("name.in-full-width", "A target's name has full-width letters.", "\uff44\uff49\uff53\uff4b"),
    _lists("name.with-prohibited-character", "A target's name has a replacement character.", "disk\ufffd"),
    _lists("name.with-ideographic-full-stop", "A target's name has an ideographic full stop.", "disk\u3002one"),
    _lists("name.with-underscore", "A target's name has an underscore.", "disk_one"),
    sends(
        "name.two-a-node",
        "A node has a second name.",
        Opcode.TEXT_RESPONSE,
        SetKey("TargetName", _BEGINNING + "alias", again=True),
        tests=(HasKey("TargetName"),),
    ),
    takes_for(
        "identity.lun-backwards",
        "The LUN field is read from its last byte on.",
        Opcode.SCSI_COMMAND,
        Set("lun", _LUN_1[::-1]),
        tests=(FieldIs("lun", _LUN_1),),
    ),
    sends("logout.leaves-unasked", "After some pings the connection is closed.", Opcode.NOP_IN, Close(), nth=4),
)
