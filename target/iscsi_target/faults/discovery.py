"""What targets do wrong with discovery sessions and SendTargets (RFC 7143 sections 4.3, 7.4, 13.8 and Appendix C)."""

from __future__ import annotations

from iscsi_protocol.fault import (
    Action,
    Drop,
    FieldIs,
    HasKey,
    Insert,
    NamedFault,
    Part,
    Replace,
    Set,
    SetKey,
    Template,
    Test,
)
from iscsi_protocol.pdu import NO_TAG, NopIn, Opcode
from iscsi_target.faults import NEXT_NUMBERS, behaves, sends, takes_for


def _answer(
    fault_id: str,
    says: str,
    *what: Action,
    opcode: int = Opcode.TEXT_RESPONSE,
    tests: tuple[Test, ...] = (),
    renumber: bool = False,
) -> NamedFault:
    """A fault that changes what the target sends."""
    return sends(fault_id, says, opcode, *what, tests=tests, renumber=renumber)


def _misread(fault_id: str, says: str, opcode: int, test: Test, *what: Action) -> NamedFault:
    """A fault that makes the target take a request for another."""
    return takes_for(fault_id, says, opcode, *what, tests=(test,))


FAULTS = (
    _misread(
        "discovery.not-offered",
        "Discovery sessions are refused.",
        Opcode.LOGIN_REQUEST,
        HasKey("SessionType", "Discovery"),
        SetKey("SessionType", "Diagnosis"),
    ),
    _answer(
        "discovery.one-portal-a-group",
        "Only the first portal of a target is told.",
        SetKey("TargetAddress", "127.0.0.1:3260,1"),
    ),
    _answer("discovery.no-answer", "SendTargets is not answered.", Drop(), renumber=True),
    _answer(
        "discovery.value-rejected",
        "Whatever SendTargets asks for is rejected.",
        Replace(Part.DATA, b"SendTargets=Reject\0"),
    ),
    _misread(
        "discovery.names-are-not-known",
        "SendTargets with a name finds nothing.",
        Opcode.TEXT_REQUEST,
        HasKey("SendTargets", prefix="iqn."),
        SetKey("SendTargets", "iqn.2026-11.org.example:nobody"),
    ),
    _answer("discovery.paths-left-out", "No addresses are told.", SetKey("TargetAddress", None)),
    _misread(
        "discovery.all-in-a-normal-session",
        "SendTargets=All in a normal session is taken for the empty value.",
        Opcode.TEXT_REQUEST,
        HasKey("SendTargets", "All"),
        SetKey("SendTargets", ""),
    ),
    _answer(
        "discovery.tells-of-others",
        "The empty value is answered with another target as well.",
        SetKey("TargetName", "iqn.2026-11.org.example:another", again=True),
    ),
    _answer(
        "discovery.alias-in-the-answer",
        "The answer to SendTargets tells an alias too.",
        SetKey("TargetAlias", "disk", again=True),
    ),
    _answer(
        "discovery.address-without-a-name",
        "The answer to SendTargets begins with an address.",
        Replace(Part.DATA, b"TargetAddress=127.0.0.1:3260,1\0"),
    ),
    _answer(
        "discovery.tells-of-forbidden-targets",
        "A target that the initiator may not use is told.",
        Replace(Part.DATA, b"TargetName=iqn.2026-11.org.example:forbidden\0"),
    ),
    _answer("discovery.tag-left-out", "Addresses have no portal group tag.", SetKey("TargetAddress", "127.0.0.1:3260")),
    _answer(
        "discovery.long-answer-cut-short",
        "Of an answer that takes several responses only the first is sent.",
        Set("continued", False),
        Set("final", True),
        Set("ttt", NO_TAG),
        tests=(FieldIs("continued", True),),
    ),
    behaves("discovery.serves-everything", "A discovery session takes every request.", serve_discovery_fully=True),
    _answer(
        "discovery.passes-over-other-requests",
        "What a discovery session does not take is passed over in silence.",
        Drop(),
        opcode=Opcode.REJECT,
        renumber=True,
    ),
    _answer(
        "discovery.pings",
        "The target pings on a discovery session.",
        Insert(Template(NopIn, {"ttt": 7, **NEXT_NUMBERS})),
    ),
    _answer(
        "discovery.recovery-level-1",
        "A discovery session agrees on recovery level 1.",
        SetKey("ErrorRecoveryLevel", "1"),
        opcode=Opcode.LOGIN_RESPONSE,
        tests=(HasKey("ErrorRecoveryLevel"),),
    ),
)
