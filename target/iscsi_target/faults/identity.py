"""What targets do wrong with sessions, their handles and their names (RFC 7143 sections 4.4, 6.3.1 to 6.3.6 and 7.4.2)."""

from __future__ import annotations

from iscsi_protocol.fault import Drop, Fault, FieldIs, Flip, HasKey, Part, Plus, Relation, Set, SetKey, When
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.stream import Direction
from iscsi_target.faults import behaves, together
from iscsi_target.faults.login import NO_TRANSIT, SUCCESS, answer, misread, status

_JOINS = FieldIs("tsih", 0, Relation.DIFFERENT)
_ONE_ISID = bytes.fromhex("80000000aaaa")
_OTHER_ISID = bytes.fromhex("80000000bbbb")
_IDENTIFICATION = FieldIs("data_length", 164)
"""The bundled target's device identification page."""
_PORT = 92
"""Where the label of the target port name stands in it."""


def _refused(detail: int) -> tuple[FieldIs, FieldIs]:
    return FieldIs("status_class", 2), FieldIs("status_detail", detail)


FAULTS = (
    misread("identity.one-isid-for-all", "The ISID is not looked at.", Set("isid", _ONE_ISID)),
    behaves(
        "identity.keeps-the-old-session",
        "A login with the ISID of a session makes another one beside it.",
        keep_reinstated_session=True,
    ),
    behaves("identity.joins-what-is-not-there", "A TSIH that no session has makes a new one.", accept_any_tsih=True),
    answer(
        "identity.no-session-other-status",
        "A session that does not exist is told as a general initiator error.",
        *status(0x0200),
        tests=_refused(0x0A),
    ),
    misread("identity.overlooks-the-tsih", "Every TSIH is taken for 0.", Set("tsih", 0), tests=(_JOINS,)),
    misread(
        "identity.one-connection-for-ever",
        "A connection in place of an old one is taken for one too many.",
        Set("cid", 0x7FFF),
        tests=(_JOINS,),
    ),
    misread(
        "identity.makes-a-session-instead",
        "A login into a session makes a session of its own.",
        Set("tsih", 0),
        Set("isid", _OTHER_ISID),
        tests=(_JOINS,),
    ),
    answer(
        "identity.joins-under-another-tsih",
        "A login into a session is answered with another TSIH before its end.",
        Set("tsih", Plus(1)),
        tests=(SUCCESS, NO_TRANSIT, _JOINS),
    ),
    together(
        "identity.negotiates-leading-keys-again",
        "A login into a session is told the number of connections, and may answer.",
        Fault(
            when=When(
                direction=Direction.TO_INITIATOR,
                opcode=Opcode.LOGIN_RESPONSE,
                tests=(SUCCESS, NO_TRANSIT, _JOINS),
                times=0,
            ),
            what=(SetKey("MaxConnections", "1"),),
        ),
        Fault(
            when=When(direction=Direction.TO_TARGET, opcode=Opcode.LOGIN_REQUEST, tests=(_JOINS,), times=0),
            what=(SetKey("MaxConnections", None),),
        ),
    ),
    misread("identity.deaf-to-reinstatement", "A login into a session is not heard.", Drop(), tests=(_JOINS,)),
    answer(
        "identity.too-many-other-status",
        "One connection too many is told as a lack of resources.",
        *status(0x0302),
        tests=_refused(0x06),
    ),
    answer(
        "identity.other-group-other-status",
        "A session of another portal group is told as a general initiator error.",
        *status(0x0200),
        tests=_refused(0x08),
    ),
    misread(
        "identity.one-discoverer",
        "All initiators are one to discovery.",
        SetKey("InitiatorName", "iqn.2026-11.org.iscsi-conformance:anybody"),
        tests=(HasKey("SessionType", "Discovery"),),
    ),
    behaves(
        "identity.one-discovery-for-all-portals",
        "A discovery login ends the discovery session at another portal.",
        merge_discovery_portals=True,
    ),
    answer(
        "identity.one-discovery-at-a-time",
        "For a login through portal group 2 there are no resources.",
        *status(0x0302),
        tests=(SUCCESS, HasKey("TargetPortalGroupTag", "2")),
    ),
    answer(
        "identity.discovery-with-recovery",
        "A discovery session gets the recovery level that was offered.",
        SetKey("ErrorRecoveryLevel", "2"),
        tests=(SUCCESS, HasKey("ErrorRecoveryLevel")),
    ),
    answer(
        "identity.discovery-with-connections",
        "A discovery session gets several connections.",
        SetKey("MaxConnections", "8"),
        tests=(SUCCESS, HasKey("MaxConnections")),
    ),
    answer(
        "identity.other-device-name",
        "The device name is not the node's name.",
        Flip(Part.DATA, -2),
        opcode=Opcode.SCSI_DATA_IN,
        tests=(_IDENTIFICATION,),
    ),
    answer(
        "identity.port-of-another-group",
        "The target port name has another portal group tag.",
        Flip(Part.DATA, _PORT + 7),
        opcode=Opcode.SCSI_DATA_IN,
        tests=(_IDENTIFICATION,),
    ),
    answer(
        "identity.port-without-label",
        "The target port name has the label of an initiator port.",
        Flip(Part.DATA, _PORT, 0x1D),
        opcode=Opcode.SCSI_DATA_IN,
        tests=(_IDENTIFICATION,),
    ),
)
