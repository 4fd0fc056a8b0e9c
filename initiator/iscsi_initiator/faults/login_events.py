"""How initiators see events in logins where there are none: what is just right is taken for what is just wrong."""

from __future__ import annotations

from iscsi_initiator.faults import behaves, takes_for
from iscsi_protocol.fault import FieldIs, HasKey, Part, Plus, Replace, Set, SetKey
from iscsi_protocol.pdu import Opcode

_RESPONSE = Opcode.LOGIN_RESPONSE
_FINAL = (FieldIs("transit", True), FieldIs("nsg", 3))

FAULTS = (
    takes_for(
        "event.3.takes-open-window-for-less",
        "MaxCmdSN of the final Login Response is read two lower.",
        _RESPONSE,
        Set("max_cmd_sn", Plus(-2)),
        tests=_FINAL,
    ),
    takes_for(
        "event.3.takes-closed-window-for-less",
        "MaxCmdSN of the final Login Response is read one lower.",
        _RESPONSE,
        Set("max_cmd_sn", Plus(-1)),
        tests=_FINAL,
    ),
    takes_for(
        "event.4.takes-equal-for-less",
        "A MaxBurstLength of 65536 is read one lower.",
        _RESPONSE,
        SetKey("MaxBurstLength", "65535"),
        tests=(HasKey("MaxBurstLength", "65536"),),
    ),
    takes_for(
        "event.12.takes-any-address-for-none",
        "The address of a redirection is not seen.",
        _RESPONSE,
        Replace(Part.DATA, b""),
        tests=(FieldIs("status_class", 1),),
    ),
    takes_for(
        "event.15.takes-odd-for-bad",
        "A challenge is read as one that is no number.",
        _RESPONSE,
        SetKey("CHAP_C", "0xZZ"),
        tests=(HasKey("CHAP_C"),),
    ),
    takes_for(
        "event.33.takes-longest-for-longer",
        "A challenge is read with 1025 bytes.",
        _RESPONSE,
        SetKey("CHAP_C", "0x" + "7e" * 1025),
        tests=(HasKey("CHAP_C"),),
    ),
    behaves("event.35.takes-twelve-for-short", "A CHAP secret of 12 bytes is refused.", shortest_chap_secret=13),
    *(
        takes_for(
            f"event.16.takes-{name}-for-chap",
            f"{key} beside the keys of CHAP is taken for one of them.",
            _RESPONSE,
            SetKey("CHAP_Q", "1"),
            tests=(HasKey(key), HasKey("CHAP_A")),
        )
        for name, key in (
            ("alias", "TargetAlias"),
            ("group-tag", "TargetPortalGroupTag"),
            ("extension", "X-org.example.mood"),
        )
    ),
)
