"""What targets do wrong with CHAP (RFC 7143 sections 9.2 and 12.1.3)."""

from __future__ import annotations

from iscsi_protocol.fault import Action, FieldIs, HasKey, NamedFault, Relation, Set, SetKey, Test
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import behaves, sends, takes_for

_REFUSAL = FieldIs("status_class", 0, Relation.DIFFERENT)
_SOME_CHALLENGE = "0x" + "5c" * 16
_SOME_RESPONSE = "0x" + "3a" * 16


def _answer(fault_id: str, says: str, test: Test, *what: Action) -> NamedFault:
    """A fault that changes every Login Response that passes the test."""
    return sends(fault_id, says, Opcode.LOGIN_RESPONSE, *what, tests=(test,))


def _misread(fault_id: str, says: str, test: Test, *what: Action) -> NamedFault:
    """A fault that makes the target take a Login Request for another."""
    return takes_for(fault_id, says, Opcode.LOGIN_REQUEST, *what, tests=(test,))


FAULTS = (
    _answer(
        "chap.method-not-offered",
        "A method is chosen that was not offered.",
        HasKey("AuthMethod"),
        SetKey("AuthMethod", "KRB5"),
    ),
    _answer("chap.method-rejected", "CHAP is rejected.", HasKey("AuthMethod"), SetKey("AuthMethod", "Reject")),
    _answer(
        "chap.settles-for-none",
        "Without a usable method the login goes on unauthenticated.",
        _REFUSAL,
        Set("status_class", 0),
        Set("status_detail", 0),
        SetKey("AuthMethod", "None"),
    ),
    _answer(
        "chap.challenge-without-identifier",
        "The challenge comes without CHAP_I.",
        HasKey("CHAP_I"),
        SetKey("CHAP_I", None),
    ),
    _answer("chap.empty-challenge", "The challenge has no octets.", HasKey("CHAP_C"), SetKey("CHAP_C", "0x")),
    _answer(
        "chap.unoffered-algorithm",
        "An algorithm is chosen that was not offered.",
        HasKey("CHAP_A"),
        SetKey("CHAP_A", "7"),
    ),
    _answer(
        "chap.refuses-with-wrong-status",
        "A failed authentication is told as an authorization failure.",
        _REFUSAL,
        Set("status_detail", 2),
    ),
    _misread(
        "chap.refuses-everybody", "No response is ever right.", HasKey("CHAP_R"), SetKey("CHAP_R", _SOME_RESPONSE)
    ),
    _misread(
        "chap.refuses-base64",
        "A response in base64 is never right.",
        HasKey("CHAP_R", prefix="0b"),
        SetKey("CHAP_R", _SOME_RESPONSE),
    ),
    behaves("chap.accepts-any-response", "Any response of a known user is right.", accept_any_chap_response=True),
    behaves(
        "chap.stays-after-failure", "The connection stays open behind a refused login.", stay_after_login_reject=True
    ),
    behaves(
        "chap.optional-after-all",
        "A login that leaves out the security stage gets in where authentication is required.",
        skip_authentication=True,
    ),
    _answer(
        "chap.other-challenge-shown",
        "The response is checked against another challenge than the one sent.",
        HasKey("CHAP_C"),
        SetKey("CHAP_C", _SOME_CHALLENGE),
    ),
    _answer(
        "chap.same-challenge",
        "Every connection is asked the same challenge.",
        HasKey("CHAP_C"),
        SetKey("CHAP_C", "0x" + "77" * 16),
    ),
    _misread(
        "chap.forgives-missing-name",
        "A response without a name is taken for the only user's.",
        HasKey("CHAP_R"),
        SetKey("CHAP_N", "tester"),
    ),
    _answer(
        "chap.mutual-unanswered", "The initiator's challenge is not answered.", HasKey("CHAP_R"), SetKey("CHAP_R", None)
    ),
    _answer(
        "chap.mutual-wrong",
        "The target's own response does not fit its secret.",
        HasKey("CHAP_R"),
        SetKey("CHAP_R", _SOME_RESPONSE),
    ),
    _misread(
        "chap.answers-reflection",
        "A challenge that repeats the target's own is answered as any other.",
        HasKey("CHAP_C"),
        SetKey("CHAP_C", _SOME_CHALLENGE),
    ),
    _misread(
        "chap.answers-before-proof",
        "A missing CHAP_R is taken for a wrong one.",
        HasKey("CHAP_C"),
        SetKey("CHAP_R", _SOME_RESPONSE),
    ),
    _answer(
        "chap.shows-oversized-challenge",
        "The challenge has 1025 bytes.",
        HasKey("CHAP_C"),
        SetKey("CHAP_C", "0x" + "ab" * 1025),
    ),
)
