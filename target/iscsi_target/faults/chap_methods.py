"""What targets do wrong in choosing a method, and with CHAP's values (RFC 7143 6.3.2, 9, 9.2, 12.1; RFC 1994)."""

from __future__ import annotations

from iscsi_protocol.fault import Close, Drop, HasKey, NamedFault, SetKey
from iscsi_protocol.pdu import Opcode
from iscsi_target.faults import sends
from iscsi_target.faults.login import FINAL, REFUSAL, answer, misread, status

_METHOD = HasKey("AuthMethod")
_CHALLENGE = HasKey("CHAP_C")

_SAME_PROOF = "0x2d47a3e69b0c16e0f5f05b6058c3687a"
"""The response to the cases' challenge with the secret by which the bundled target knows its initiator."""


def _chooses(fault_id: str, says: str, method: str) -> NamedFault:
    """This method is chosen or proposed, whatever was offered."""
    return answer(fault_id, says, SetKey("AuthMethod", method), tests=(_METHOD,))


def _forgives(fault_id: str, says: str, method: str) -> NamedFault:
    """This answer to a proposal of CHAP is as good as CHAP."""
    return misread(fault_id, says, SetKey("AuthMethod", "CHAP"), tests=(HasKey("AuthMethod", method),))


FAULTS = (
    _chooses("chap.prefers-none", "None is chosen where it is offered.", "None"),
    _chooses("chap.takes-passwords", "A method of passwords in the clear is chosen.", "PAP"),
    _chooses(
        "chap.proposes-extension-or-none",
        "An extension is proposed, and None beside it.",
        "Z-org.example.way,None",
    ),
    _forgives(
        "chap.not-understood-is-good-enough",
        "NotUnderstood counts as consent to what was proposed.",
        "NotUnderstood",
    ),
    _forgives(
        "chap.any-choice-is-good-enough",
        "A method that was not proposed counts as consent to CHAP.",
        "KRB5",
    ),
    answer("chap.forgets-who-it-was", "Behind CHAP the login runs out of resources.", *status(0x0302), tests=FINAL),
    answer(
        "chap.fails-without-a-word",
        "A failed authentication ends the connection without a Login Response.",
        Drop(),
        Close(),
        tests=(REFUSAL,),
    ),
    misread(
        "chap.passes-over-challenges",
        "A target that cannot prove itself goes on as if it was not asked to.",
        SetKey("CHAP_I", None),
        SetKey("CHAP_C", None),
        tests=(_CHALLENGE,),
    ),
    sends(
        "chap.once-for-all",
        "Further connections of a session are not asked a challenge.",
        Opcode.LOGIN_RESPONSE,
        SetKey("AuthMethod", "None"),
        cid=1,
        tests=(_METHOD,),
    ),
    answer(
        "chap.decimal-challenge",
        "The challenge is written as a decimal number.",
        SetKey("CHAP_C", str(3**80)),
        tests=(_CHALLENGE,),
    ),
    answer(
        "chap.counts-challenges",
        "Challenges do not depend on chance.",
        SetKey("CHAP_C", "0x" + "10" * 16),
        tests=(_CHALLENGE,),
    ),
    answer(
        "chap.same-identifier",
        "Every challenge has the same identifier.",
        SetKey("CHAP_I", "7"),
        tests=(_CHALLENGE,),
    ),
    answer(
        "chap.other-identifier-shown",
        "The response is checked with another identifier than the one sent.",
        SetKey("CHAP_I", "211"),
        tests=(_CHALLENGE,),
    ),
    answer(
        "chap.name-of-two-lines",
        "The target's name has a line end in it.",
        SetKey("CHAP_N", "bundled\ntarget"),
        tests=(HasKey("CHAP_N"),),
    ),
    answer(
        "chap.one-secret-for-both",
        "The target proves itself by the initiator's secret.",
        SetKey("CHAP_R", _SAME_PROOF),
        tests=(HasKey("CHAP_R"),),
    ),
)
