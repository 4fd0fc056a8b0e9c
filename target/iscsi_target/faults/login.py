"""What targets do wrong in the login phase (RFC 7143 sections 6.2, 6.3, 11.12 and 11.13)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Close,
    Drop,
    FieldIs,
    Flip,
    HasKey,
    Insert,
    NamedFault,
    Part,
    Plus,
    Poke,
    Relation,
    Repeat,
    Replace,
    Set,
    SetKey,
    Template,
    Test,
)
from iscsi_protocol.pdu import LoginResponse, Opcode, Stage
from iscsi_target.faults import SAME_NUMBERS, behaves, sends, takes_for

REFUSAL = FieldIs("status_class", 0, Relation.DIFFERENT)
SUCCESS = FieldIs("status_class", 0)
TRANSIT = FieldIs("transit", True)
NO_TRANSIT = FieldIs("transit", False)
FINAL: tuple[Test, ...] = (SUCCESS, TRANSIT, FieldIs("nsg", Stage.FULL_FEATURE))
"""The response that ends a login well."""
INITIATOR_ERROR: tuple[Test, ...] = (FieldIs("status_class", 2), FieldIs("status_detail", 0))
_MOVED = (FieldIs("status_class", 1),)
_VERSION = (FieldIs("status_class", 2), FieldIs("status_detail", 5))


def answer(
    fault_id: str,
    says: str,
    *what: Action,
    tests: tuple[Test, ...] = (SUCCESS,),
    opcode: int = Opcode.LOGIN_RESPONSE,
    stage: int | None = None,
    nth: int = 1,
    times: int = 0,
    renumber: bool = False,
) -> NamedFault:
    """A fault of PDUs that the target sends; Login Responses of class 0 unless told otherwise."""
    return sends(fault_id, says, opcode, *what, tests=tests, stage=stage, nth=nth, times=times, renumber=renumber)


def misread(
    fault_id: str,
    says: str,
    *what: Action,
    tests: tuple[Test, ...] = (),
    opcode: int = Opcode.LOGIN_REQUEST,
    stage: int | None = None,
    nth: int = 1,
    times: int = 0,
) -> NamedFault:
    """A fault that makes the target take a request for another, or not see it; Login Requests unless told otherwise."""
    return takes_for(fault_id, says, opcode, *what, tests=tests, stage=stage, nth=nth, times=times)


def status(value: int) -> tuple[Action, Action]:
    """Another status, class << 8 | detail."""
    return Set("status_class", value >> 8), Set("status_detail", value & 0xFF)


_FIELDS = (
    answer(
        "login.never-succeeds", "Where a login would end well it runs out of resources.", *status(0x0302), tests=FINAL
    ),
    answer(
        "login.closes-behind-final-response",
        "The connection is closed behind the final Login Response.",
        Close(),
        tests=FINAL,
    ),
    misread(
        "login.deaf-behind-it",
        "Behind the login no ping is heard.",
        Drop(),
        opcode=Opcode.NOP_OUT,
        stage=Stage.FULL_FEATURE,
    ),
    answer("login.other-version", "Version-active is 1.", Set("version_active", 1)),
    answer("login.reserved-bytes-set", "Reserved bytes of a Login Response are not 0.", Poke(40, b"\x5a")),
    answer("login.version-max-changes", "Later responses have another Version-max.", Set("version_max", 1), nth=2),
    answer(
        "login.version-active-changes", "Later responses have another Version-active.", Set("version_active", 1), nth=2
    ),
    answer("login.final-response-without-tsih", "The final response has TSIH 0.", Set("tsih", 0), tests=FINAL),
    answer(
        "login.tsih-too-early",
        "A new session's TSIH is told before the login is over.",
        Set("tsih", 7),
        tests=(SUCCESS, NO_TRANSIT, FieldIs("tsih", 0)),
    ),
    answer("login.stat-sn-jumps", "Behind the first response StatSN jumps.", Set("stat_sn", Plus(1)), nth=2),
    answer(
        "login.stat-sn-restarts",
        "The full feature phase has StatSNs of its own.",
        Set("stat_sn", Plus(0x4000)),
        opcode=Opcode.NOP_IN,
        tests=(),
    ),
    answer(
        "login.exp-cmd-sn-of-its-own",
        "ExpCmdSN is one more than the CmdSN of the leading login.",
        Set("exp_cmd_sn", Plus(1)),
    ),
)

_TEXT = (
    answer("login.no-portal-group-tag", "TargetPortalGroupTag is never told.", SetKey("TargetPortalGroupTag", None)),
    answer(
        "login.wide-portal-group-tag",
        "TargetPortalGroupTag has more than 16 bits.",
        SetKey("TargetPortalGroupTag", "65536"),
        tests=(SUCCESS, HasKey("TargetPortalGroupTag")),
    ),
    answer(
        "login.portal-group-tag-at-once",
        "TargetPortalGroupTag is told in the very first response, or not at all.",
        SetKey("TargetPortalGroupTag", None),
        nth=2,
    ),
    answer(
        "login.no-portal-group-tag-in-security",
        "TargetPortalGroupTag is not told in the security stage.",
        SetKey("TargetPortalGroupTag", None),
        stage=Stage.SECURITY,
    ),
    answer(
        "login.answers-unfinished-text",
        "Text that goes on in the next request is answered at once.",
        SetKey("TargetAlias", "early"),
        tests=(SUCCESS, NO_TRANSIT, FieldIs("data_length", 0)),
    ),
    misread(
        "login.forgets-unfinished-text",
        "The first piece of a text is forgotten when the next one comes.",
        Replace(Part.DATA, b""),
        tests=(FieldIs("continued", True),),
        times=1,
    ),
    misread(
        "login.loses-long-text",
        "A Login Request with more than 4096 bytes of text is not taken.",
        Set("version_min", 9),
        tests=(FieldIs("data_length", 4096, Relation.ABOVE),),
    ),
    answer(
        "login.oversized-segment",
        "A Login Response has more than 8192 bytes of text.",
        SetKey("X-org.example.more", "m" * 8192),
        tests=(SUCCESS, FieldIs("data_length", 1024, Relation.ABOVE)),
        times=1,
    ),
    answer(
        "login.transit-with-continue",
        "A Login Response with C=1 has T=1 too.",
        Set("transit", True),
        Set("nsg", Stage.FULL_FEATURE),
        tests=(SUCCESS, FieldIs("continued", True)),
    ),
    answer(
        "login.skips-unknown-keys",
        "An unknown key is passed over without an answer.",
        SetKey("X-org.example.k007", None),
    ),
    answer(
        "login.last-pair-open", "A space stands where the NUL behind the last pair belongs.", Flip(Part.DATA, -1, 0x20)
    ),
    answer(
        "login.knows-not-all-keys",
        "MaxOutstandingR2T is not understood.",
        SetKey("MaxOutstandingR2T", "NotUnderstood"),
        tests=(SUCCESS, HasKey("MaxOutstandingR2T")),
    ),
    answer(
        "login.says-it-twice",
        "Later responses declare TargetPortalGroupTag once more.",
        SetKey("TargetPortalGroupTag", "1", again=True),
        nth=2,
    ),
    answer(
        "login.tells-target-name",
        "Login Responses repeat the TargetName.",
        SetKey("TargetName", "iqn.2026-11.org.iscsi-conformance:plain"),
        times=1,
    ),
)

_SEQUENCE = (
    answer("login.answers-twice", "The final Login Response comes twice.", Repeat(), tests=FINAL),
    misread(
        "login.waits-for-a-login",
        "What comes before the first Login Request is passed over.",
        Drop(),
        opcode=Opcode.NOP_OUT,
        stage=Stage.SECURITY,
    ),
    misread(
        "login.forgives-other-pdus",
        "A PDU other than a Login Request during login is passed over.",
        Drop(),
        opcode=Opcode.NOP_OUT,
        stage=Stage.OPERATIONAL,
    ),
    answer(
        "login.other-pdu-other-status",
        "A PDU other than a Login Request is told as a general initiator error.",
        Set("status_detail", 0),
        tests=(FieldIs("status_class", 2), FieldIs("status_detail", 0x0B)),
    ),
    answer(
        "login.logs-in-again",
        "A Login Request in the full feature phase is answered as if it were the first.",
        Drop(),
        Insert(
            Template(
                LoginResponse,
                {
                    "transit": True,
                    "csg": Stage.OPERATIONAL,
                    "nsg": Stage.FULL_FEATURE,
                    "tsih": 1,
                    "itt": 0x50494E47,
                    **SAME_NUMBERS,
                },
            )
        ),
        opcode=Opcode.REJECT,
        tests=(),
    ),
    answer(
        "login.first-answer-without-digest",
        "The first PDU behind the login has no header digest yet.",
        Replace(Part.HEADER_DIGEST, b""),
        opcode=Opcode.NOP_IN,
        tests=(),
        times=1,
    ),
    answer(
        "login.gives-up-early",
        "The fourth exchange of a login is the last one.",
        *status(0x0200),
        tests=(SUCCESS, NO_TRANSIT),
        nth=4,
    ),
)

_STAGES = (
    answer(
        "login.answers-in-another-stage",
        "A response of the security stage names the operational one as current.",
        Set("csg", Stage.OPERATIONAL),
        Set("nsg", Stage.FULL_FEATURE),
        stage=Stage.SECURITY,
    ),
    answer(
        "login.goes-further-than-asked",
        "A transition leads to the full feature phase, whatever was asked for.",
        Set("nsg", Stage.FULL_FEATURE),
        tests=(SUCCESS, TRANSIT),
    ),
    answer(
        "login.asks-while-leaving-security",
        "A response that leaves the security stage offers a hash algorithm.",
        SetKey("CHAP_A", "5"),
        tests=(SUCCESS, TRANSIT),
        stage=Stage.SECURITY,
    ),
    answer(
        "login.forgets-the-second-stage",
        "Behind the security stage there is no operational one to go to.",
        *status(0x0300),
        stage=Stage.OPERATIONAL,
    ),
    answer(
        "login.ends-in-the-wrong-stage",
        "The final response names the operational stage as the next one.",
        Set("nsg", Stage.OPERATIONAL),
        tests=FINAL,
    ),
    answer(
        "login.no-tsih-behind-security",
        "A login that ends with the security stage has no TSIH.",
        Set("tsih", 0),
        tests=FINAL,
        stage=Stage.SECURITY,
    ),
    answer(
        "login.leaves-security-unasked",
        "The security stage is left without being asked to.",
        Set("transit", True),
        Set("nsg", Stage.OPERATIONAL),
        tests=(SUCCESS, NO_TRANSIT),
        stage=Stage.SECURITY,
    ),
    answer(
        "login.leaves-operational-unasked",
        "The operational stage is left without being asked to.",
        Set("transit", True),
        Set("nsg", Stage.FULL_FEATURE),
        tests=(SUCCESS, NO_TRANSIT),
        stage=Stage.OPERATIONAL,
    ),
    misread(
        "login.accepts-too-early",
        "Every request is taken for one that ends the login.",
        Set("transit", True),
        Set("nsg", Stage.FULL_FEATURE),
        tests=(NO_TRANSIT,),
    ),
    answer(
        "login.names-a-stage-without-transit",
        "A response with T=0 has an NSG.",
        Set("nsg", Stage.OPERATIONAL),
        tests=(SUCCESS, NO_TRANSIT),
    ),
    misread(
        "login.remembers-the-first-transit",
        "Behind a first request no T is seen any more.",
        Set("transit", False),
        Set("nsg", 0),
        nth=2,
    ),
    answer(
        "login.asks-in-the-last-response",
        "The final response offers a key.",
        SetKey("MaxOutstandingR2T", "4"),
        tests=FINAL,
    ),
    misread(
        "login.needs-no-stage",
        "A login may begin in the full feature phase.",
        Set("csg", Stage.OPERATIONAL),
        tests=(FieldIs("csg", Stage.FULL_FEATURE),),
    ),
    behaves(
        "login.turns-back", "Stages and tags may change during a login as they like.", accept_any_login_request=True
    ),
    misread(
        "login.takes-a-reserved-stage",
        "The reserved stage 2 is taken for the next one.",
        Set("nsg", Stage.FULL_FEATURE),
        tests=(FieldIs("nsg", 2),),
    ),
    misread(
        "login.takes-any-current-stage",
        "A request without names belongs to the current stage, whatever it says.",
        Set("csg", Stage.OPERATIONAL),
        Set("nsg", Stage.FULL_FEATURE),
        SetKey("AuthMethod", None),
        tests=(FieldIs("data_length", 32, Relation.BELOW),),
        stage=Stage.SECURITY,
    ),
    misread(
        "login.overlooks-early-keys",
        "Operational keys in the security stage are overlooked.",
        SetKey("MaxBurstLength", None),
        stage=Stage.SECURITY,
    ),
    answer(
        "login.blames-itself",
        "An initiator error is told as one of the target.",
        *status(0x0300),
        tests=INITIATOR_ERROR,
    ),
    misread("login.overlooks-continue", "C is overlooked where T is set.", Set("continued", False), tests=(TRANSIT,)),
    misread(
        "login.negotiates-again",
        "A key that was negotiated already is overlooked.",
        SetKey("MaxBurstLength", None),
        nth=2,
    ),
    answer(
        "login.renegotiation-other-status",
        "An initiator error is told as a missing parameter.",
        *status(0x0207),
        tests=INITIATOR_ERROR,
    ),
    answer(
        "login.leaves-without-a-word",
        "A login that fails ends without a Login Response.",
        Drop(),
        Close(),
        tests=(REFUSAL,),
    ),
    behaves(
        "login.stays-after-refusal", "The connection stays open behind a refused login.", stay_after_login_reject=True
    ),
    answer(
        "login.judges-each-version-range",
        "A later request with another version range is told that its version is not supported.",
        *status(0x0205),
        tests=INITIATOR_ERROR,
    ),
    misread("login.mistakes-the-cid", "Connections get a CID of the target's own.", Set("cid", 0x4321)),
)

_STATUS = (
    answer(
        "login.unknown-target-other-status",
        "A target that does not exist is told as removed.",
        *status(0x0204),
        tests=(FieldIs("status_class", 2), FieldIs("status_detail", 3)),
    ),
    answer(
        "login.denied-other-status",
        "An initiator that is not allowed is told that it is not authenticated.",
        *status(0x0201),
        tests=(FieldIs("status_class", 2), FieldIs("status_detail", 2)),
    ),
    answer("login.moved-nowhere", "A redirection has no address.", SetKey("TargetAddress", None), tests=_MOVED),
    answer(
        "login.moved-to-a-group",
        "A redirection names a portal group.",
        SetKey("TargetAddress", "127.0.0.1:3260,1"),
        tests=_MOVED,
    ),
    answer(
        "login.moved-to-a-bare-ipv6-address",
        "An IPv6 address of a redirection has no brackets.",
        SetKey("TargetAddress", "2001:db8::1:3260"),
        tests=_MOVED,
    ),
    answer(
        "login.removed-other-status",
        "A target that was removed is told as a general initiator error.",
        *status(0x0200),
        tests=(FieldIs("status_class", 2), FieldIs("status_detail", 4)),
    ),
    misread("login.serves-any-version", "The version range is not looked at.", Set("version_min", 0)),
    answer(
        "login.version-other-status",
        "A version that is not supported is told as a general initiator error.",
        *status(0x0200),
        tests=_VERSION,
    ),
    answer(
        "login.version-refused-for-another",
        "A refusal for the version says that version 2 is the lowest.",
        Set("version_active", 2),
        tests=_VERSION,
    ),
    answer(
        "login.missing-name-other-status",
        "A missing name is told as a general initiator error.",
        *status(0x0200),
        tests=(FieldIs("status_class", 2), FieldIs("status_detail", 7)),
    ),
    misread(
        "login.folds-keys",
        "Keys are compared without regard to case.",
        SetKey("InitiatorName", "iqn.2026-11.org.iscsi-conformance:tester"),
        SetKey("initiatorName", None),
        tests=(HasKey("initiatorName"),),
    ),
    misread(
        "login.takes-any-session-type",
        "Every SessionType but Discovery is Normal.",
        SetKey("SessionType", "Normal"),
        tests=(HasKey("SessionType", "Backup"),),
    ),
    misread(
        "login.sleeps-through-the-first-request",
        "The first Login Request of a connection is not heard.",
        Drop(),
        times=1,
    ),
)

FAULTS = (*_FIELDS, *_TEXT, *_SEQUENCE, *_STAGES, *_STATUS)
