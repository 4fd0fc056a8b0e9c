"""The key table, held against one that was typed by hand from chapters 12 and 13 and RFC 7144 section 7.1.1."""

from __future__ import annotations

import pytest

from iscsi_protocol.negotiation.keys import (
    AUTHENTICATION_KEYS,
    KEYS,
    PRIVATE_KEY,
    Function,
    KeyRule,
    Kind,
    Role,
    Scope,
    Use,
)

# name | kind | range or values | default | function | initiator, target use | scope | marks
# marks: A any stage, D irrelevant in discovery, F irrelevant when InitialR2T=Yes and ImmediateData=No,
#        * the target may repeat it, ? NotUnderstood is a legal answer, o the answer may be missing, i informative
GOLDEN = """
AuthMethod               | LIST       | KRB5 SRP CHAP None Z-              | -       | FIRST_SUPPORTED | SEC  SEC  | CO |
HeaderDigest             | LIST       | CRC32C None Y-                     | None    | FIRST_SUPPORTED | IO   IO   | CO |
DataDigest               | LIST       | CRC32C None Y-                     | None    | FIRST_SUPPORTED | IO   IO   | CO |
MaxConnections           | NUMBER     | 1 65535                            | 1       | MINIMUM         | LO   LO   | SW | D
SendTargets              | ISCSI_NAME |                                    | -       | REQUEST         | FFPO -    | SW |
TargetName               | ISCSI_NAME |                                    | -       | DECLARATION     | IO   FFPO | SW | A*
InitiatorName            | ISCSI_NAME |                                    | -       | DECLARATION     | IO   -    | SW | A
TargetAlias              | LOCAL_NAME |                                    | -       | DECLARATION     | -    ALL  | SW | A
InitiatorAlias           | LOCAL_NAME |                                    | -       | DECLARATION     | ALL  -    | SW | A
TargetAddress            | ADDRESS    |                                    | -       | DECLARATION     | -    ALL  | SW | A*
TargetPortalGroupTag     | BINARY     | 0 65535                            | -       | DECLARATION     | -    IO   | SW | A
InitialR2T               | BOOLEAN    |                                    | Yes     | OR              | LO   LO   | SW | D
ImmediateData            | BOOLEAN    |                                    | Yes     | AND             | LO   LO   | SW | D
MaxRecvDataSegmentLength | NUMBER     | 512 16777215                       | 8192    | DECLARATION     | ALL  ALL  | CO |
MaxBurstLength           | NUMBER     | 512 16777215                       | 262144  | MINIMUM         | LO   LO   | SW | D
FirstBurstLength         | NUMBER     | 512 16777215                       | 65536   | MINIMUM         | LO   LO   | SW | DF
DefaultTime2Wait         | NUMBER     | 0 3600                             | 2       | MAXIMUM         | LO   LO   | SW |
DefaultTime2Retain       | NUMBER     | 0 3600                             | 20      | MINIMUM         | LO   LO   | SW |
MaxOutstandingR2T        | NUMBER     | 1 65535                            | 1       | MINIMUM         | LO   LO   | SW | D
DataPDUInOrder           | BOOLEAN    |                                    | Yes     | OR              | LO   LO   | SW | D
DataSequenceInOrder      | BOOLEAN    |                                    | Yes     | OR              | LO   LO   | SW | D
ErrorRecoveryLevel       | NUMBER     | 0 2                                | 0       | MINIMUM         | LO   LO   | SW |
SessionType              | CHOICE     | Discovery Normal                   | Normal  | DECLARATION     | LO   -    | SW | A
TaskReporting            | LIST       | RFC3720 ResponseFence FastAbort    | RFC3720 | FIRST_SUPPORTED | LO   LO   | SW | D
iSCSIProtocolLevel       | NUMBER     | 0 31                               | 1       | MINIMUM         | LO   LO   | SW | D?o
X#NodeArchitecture       | LIST       |                                    | None    | DECLARATION     | LO   LO   | SW | ?i
IFMarker                 | ANY        | Reject No                          | -       | OBSOLETE        | IO   IO   | CO |
OFMarker                 | ANY        | Reject No                          | -       | OBSOLETE        | IO   IO   | CO |
IFMarkInt                | ANY        | Reject                             | -       | OBSOLETE        | IO   IO   | CO |
OFMarkInt                | ANY        | Reject                             | -       | OBSOLETE        | IO   IO   | CO |
"""

USES = {
    "LO": Use.LEADING_ONLY,
    "IO": Use.INITIALIZE_ONLY,
    "ALL": Use.ALL,
    "FFPO": Use.FULL_FEATURE_ONLY,
    "SEC": Use.SECURITY,
    "-": None,
}
LINES = [[cell.strip() for cell in line.split("|")] for line in GOLDEN.strip().splitlines()]


def test_the_table_has_these_keys_and_no_others() -> None:
    assert sorted(KEYS) == sorted(line[0] for line in LINES)
    assert all(name == rule.name for name, rule in KEYS.items())


@pytest.mark.parametrize("line", LINES, ids=lambda line: line[0])
def test_row(line: list[str]) -> None:
    name, kind, values, default, function, uses, scope, marks = line
    rule = KEYS[name]
    assert rule.kind is Kind[kind]
    assert rule.default == (None if default == "-" else default)
    assert rule.function is Function[function]
    assert [rule.initiator_use, rule.target_use] == [USES[use] for use in uses.split()]
    assert rule.scope is Scope(scope)
    assert stated_values(rule) == values.split()
    assert stated_marks(rule) == marks


def stated_values(rule: KeyRule) -> list[str]:
    bounds = [str(rule.low), str(rule.high)] if rule.high else []
    return [*bounds, *rule.values, *rule.refusals, *([rule.extension_prefix] if rule.extension_prefix else [])]


def stated_marks(rule: KeyRule) -> str:
    discovery = (("SessionType", "Discovery"),)
    no_unsolicited = (("InitialR2T", "Yes"), ("ImmediateData", "No"))
    assert set(rule.irrelevant_when) <= {discovery, no_unsolicited}
    present = {
        "A": rule.any_stage,
        "D": discovery in rule.irrelevant_when,
        "F": no_unsolicited in rule.irrelevant_when,
        "*": rule.target_may_repeat,
        "?": rule.may_be_unknown,
        "o": rule.answer_optional,
        "i": rule.informative,
    }
    return "".join(mark for mark, set_ in present.items() if set_)


def test_names_are_bounded_at_223_bytes_and_everything_else_at_255() -> None:
    longest = {name: rule.max_length for name, rule in KEYS.items()}
    assert {name for name, length in longest.items() if length == 223} == {
        "InitiatorName",
        "TargetName",
        "SendTargets",
    }
    assert set(longest.values()) == {223, 255}


def test_a_key_stands_behind_those_that_its_result_depends_on() -> None:
    order = list(KEYS)
    for name, rule in KEYS.items():
        for condition in rule.irrelevant_when:
            assert all(order.index(key) < order.index(name) for key, _ in condition)
    for first, second in (
        ("MaxBurstLength", "FirstBurstLength"),
        ("ErrorRecoveryLevel", "MaxOutstandingR2T"),
        ("DataSequenceInOrder", "MaxOutstandingR2T"),
    ):
        assert order.index(first) < order.index(second)


def test_senders_follow_from_the_uses() -> None:
    assert KEYS["SendTargets"].senders == (Role.INITIATOR,)
    assert KEYS["TargetAlias"].senders == (Role.TARGET,)
    assert KEYS["InitialR2T"].senders == (Role.INITIATOR, Role.TARGET)
    assert KEYS["TargetName"].use_by(Role.TARGET) is Use.FULL_FEATURE_ONLY
    assert Role.INITIATOR.peer is Role.TARGET
    assert Role.TARGET.peer is Role.INITIATOR


def test_declarations_requests_and_obsolete_keys_are_not_negotiated() -> None:
    assert {name for name, rule in KEYS.items() if not rule.negotiated} == {
        "SendTargets",
        "TargetName",
        "InitiatorName",
        "TargetAlias",
        "InitiatorAlias",
        "TargetAddress",
        "TargetPortalGroupTag",
        "MaxRecvDataSegmentLength",
        "SessionType",
        "X#NodeArchitecture",
        "IFMarker",
        "OFMarker",
        "IFMarkInt",
        "OFMarkInt",
    }


def test_private_keys_belong_to_normal_sessions_and_may_be_unknown() -> None:
    assert PRIVATE_KEY.irrelevant_when == ((("SessionType", "Discovery"),),)
    assert PRIVATE_KEY.initiator_use is PRIVATE_KEY.target_use is Use.ALL
    assert PRIVATE_KEY.may_be_unknown
    assert not PRIVATE_KEY.negotiated


def test_keys_of_the_authentication_methods() -> None:
    assert dict(AUTHENTICATION_KEYS) == {
        "KRB5": ("KRB_AP_REQ", "KRB_AP_REP"),
        "SRP": ("SRP_U", "TargetAuth", "SRP_GROUP", "SRP_A", "SRP_s", "SRP_B", "SRP_M", "SRP_HM"),
        "CHAP": ("CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"),
    }
