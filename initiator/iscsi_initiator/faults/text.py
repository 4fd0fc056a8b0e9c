"""What initiators do wrong with Text Requests (RFC 7143 sections 6.4 and 11.10, Appendix C)."""

from __future__ import annotations

from iscsi_initiator.faults import sends, takes_for
from iscsi_protocol.fault import FieldIs, HasKey, Insert, Of, Part, Plus, Replace, Set, SetKey, Template
from iscsi_protocol.pdu import NO_LUN, Opcode, TextRequest

_TEXT = Opcode.TEXT_REQUEST
_LOGIN = Opcode.LOGIN_REQUEST

FAULTS = (
    sends("itext.itt-changes", "The task tag changes within an exchange.", _TEXT, Set("itt", Plus(1)), nth=2),
    sends("itext.i-changes", "The I bit changes within an exchange.", _TEXT, Set("immediate", True), nth=2),
    sends("itext.transfer-tag-lost", "The target's transfer tag is not repeated.", _TEXT, Set("ttt", Plus(1)), nth=2),
    sends("itext.lun-lost", "The target's LUN is not repeated.", _TEXT, Set("lun", NO_LUN), nth=2),
    sends("itext.gives-up-f", "An F that was not answered with F is not repeated.", _TEXT, Set("final", False), nth=2),
    sends("itext.not-final", "The only request of an exchange has no F.", _TEXT, Set("final", False)),
    sends("itext.final-with-more", "F comes with C.", _TEXT, Set("final", True), tests=(FieldIs("continued", True),)),
    takes_for(
        "itext.long-segments",
        "The target's MaxRecvDataSegmentLength does not matter.",
        Opcode.LOGIN_RESPONSE,
        SetKey("MaxRecvDataSegmentLength", "65536"),
        tests=(HasKey("MaxRecvDataSegmentLength"),),
    ),
    sends(
        "itext.two-at-once",
        "A second exchange begins before the first one has ended.",
        _TEXT,
        Insert(Template(TextRequest, {"immediate": True, "itt": 0x71, "cmd_sn": Of("cmd_sn")})),
    ),
    sends(
        "itext.talks-into-the-answer",
        "A part of an answer is answered with text.",
        _TEXT,
        Replace(Part.DATA, b"X-org.example.more=1\0"),
        nth=2,
    ),
    sends("idiscovery.more-keys", "SendTargets comes with another key.", _TEXT, SetKey("X-org.example.key", "1")),
    sends(
        "idiscovery.no-session-type",
        "A discovery session is asked for without saying so.",
        _LOGIN,
        SetKey("SessionType", None),
        tests=(HasKey("SessionType"),),
    ),
    sends(
        "idiscovery.vendor-key", "A vendor's key comes in discovery.", _LOGIN, SetKey("X-org.example.key", "1"), stage=1
    ),
    sends(
        "idiscovery.recovery-level-1",
        "Recovery level 1 is offered for discovery.",
        _LOGIN,
        SetKey("ErrorRecoveryLevel", "1"),
        stage=1,
    ),
)
