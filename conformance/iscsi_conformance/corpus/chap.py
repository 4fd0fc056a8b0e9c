"""Each rule about CHAP that leans on secrets or on other logins: broken, and all but broken."""

from __future__ import annotations

from typing import Any

from iscsi_conformance.corpus.script import NAMES, TAG, KeyValue, Script
from iscsi_conformance.corpus.secrets import DISK, MUTUAL, SHORT, TWIN, USER, USERS
from iscsi_conformance.corpus.table import Table
from iscsi_protocol.chap import MD5, SHA256, response

CHALLENGE, COUNTER = bytes(range(16)), bytes(range(16, 32))
ANOTHER = bytes(range(32, 48))
REFUSED: dict[str, Any] = {"status_class": 2, "status_detail": 1, "transit": False, "nsg": 0, "csg": 0}
WRONG = ("CHAP_R", "0x" + "00" * 16)
BACK = [("CHAP_I", "2"), ("CHAP_C", f"0x{COUNTER.hex()}")]
TWO: dict[str, Any] = {"MaxConnections": "2"}


def challenged(
    s: Script, challenge: bytes = CHALLENGE, algorithm: int = MD5, names: tuple[KeyValue, ...] = NAMES
) -> Script:
    """CHAP is chosen, and the target sends its challenge."""
    s.security([*names, ("AuthMethod", "CHAP")]).security_response([*TAG, ("AuthMethod", "CHAP")])
    s.security([("CHAP_A", "8,7,6,5")])
    return s.security_response([("CHAP_A", str(algorithm)), ("CHAP_I", "1"), ("CHAP_C", f"0x{challenge.hex()}")])


def proof(
    name: str, secret: str, challenge: bytes = CHALLENGE, identifier: int = 1, algorithm: int = MD5
) -> list[KeyValue]:
    """CHAP_N and the CHAP_R of that secret."""
    return [("CHAP_N", name), ("CHAP_R", f"0x{response(algorithm, identifier, secret.encode(), challenge).hex()}")]


OWN = proof(USER, USERS[USER])
THEIRS = proof(DISK, MUTUAL[DISK], COUNTER, 2)
OF_THE_USER = proof(TWIN, MUTUAL[TWIN], COUNTER, 2)


def answered(s: Script, *pairs: KeyValue) -> Script:
    """The initiator's second step, which asks to leave the stage."""
    return s.login_request(pairs, csg=0, nsg=1)


def accepted(s: Script, *pairs: KeyValue) -> Script:
    """The target leaves the stage with these keys."""
    return s.login_response(pairs, csg=0, nsg=1)


def ended(s: Script, **keys: str) -> Script:
    """The operational stage."""
    return s.login_request(keys.items()).login_response(keys.items())


def authenticated(s: Script, challenge: bytes = CHALLENGE, user: str = USER, **keys: str) -> Script:
    """A whole login that is as it should be."""
    challenged(s, challenge)
    return ended(accepted(answered(s, *proof(user, USERS.get(user, "?"), challenge))), **keys)


def second(s: Script) -> Script:
    """A further connection of the session, from which the verbs go on."""
    s.cid = 1
    return s.connect(2)


TABLE: Table = {
    "chap.reflection-answered": (
        (
            lambda s: accepted(
                answered(challenged(s), *OWN, ("CHAP_I", "1"), ("CHAP_C", f"0x{CHALLENGE.hex()}")),
                *proof(DISK, MUTUAL[DISK]),
            ),
        ),
        (lambda s: ended(accepted(answered(challenged(s), *OWN, *BACK), *THEIRS)),),
    ),
    "chap.mutual-without-response": (
        (lambda s: accepted(answered(challenged(s), *BACK), *THEIRS),),
        (
            lambda s: answered(challenged(s), *BACK).login_response((), **REFUSED | {"status_detail": 7}),
            lambda s: ended(accepted(answered(challenged(s), *OWN, *BACK), *THEIRS)),
        ),
    ),
    "chap.challenge-repeated": (
        (
            lambda s: authenticated(second(authenticated(s, **TWO))),
            lambda s: answered(
                challenged(
                    second(ended(accepted(answered(challenged(s), *OWN, *BACK), *THEIRS), **TWO)), challenge=ANOTHER
                ),
                *proof(USER, USERS[USER], ANOTHER),
                *BACK,
            ),
        ),
        (lambda s: authenticated(second(authenticated(s, **TWO)), ANOTHER),),
    ),
    "chap.challenge-short": (
        (lambda s: authenticated(s, CHALLENGE[:15]),),
        (lambda s: authenticated(s, CHALLENGE[:16]),),
    ),
    "chap.response-wrong": (
        (
            lambda s: answered(challenged(s), ("CHAP_N", USER), WRONG).login_response((), **REFUSED),
            lambda s: answered(challenged(s), *proof(USER, MUTUAL[DISK])).login_response((), **REFUSED),
            lambda s: answered(challenged(s, algorithm=SHA256), *OWN).login_response((), **REFUSED),
        ),
        (
            authenticated,
            lambda s: ended(
                accepted(answered(challenged(s, algorithm=SHA256), *proof(USER, USERS[USER], algorithm=SHA256)))
            ),
            lambda s: answered(challenged(s), ("CHAP_N", "user.unknown"), WRONG).login_response((), **REFUSED),
        ),
    ),
    "chap.target-response-wrong": (
        (lambda s: accepted(answered(challenged(s), *OWN, *BACK), ("CHAP_N", DISK), WRONG),),
        (lambda s: ended(accepted(answered(challenged(s), *OWN, *BACK), *THEIRS)),),
    ),
    "chap.right-response-refused": (
        (lambda s: answered(challenged(s), *OWN).login_response((), **REFUSED),),
        (lambda s: answered(challenged(s), *OWN).login_response((), **REFUSED | {"status_detail": 2}),),
    ),
    "chap.wrong-response-accepted": (
        (lambda s: accepted(answered(challenged(s), ("CHAP_N", USER), WRONG)),),
        (lambda s: accepted(answered(challenged(s), ("CHAP_N", "user.unknown"), WRONG)),),
    ),
    "chap.failure-status": (
        (
            lambda s: answered(challenged(s), ("CHAP_N", USER), WRONG).login_response(
                (), **REFUSED | {"status_detail": 2}
            ),
        ),
        (
            lambda s: answered(challenged(s), ("CHAP_N", "user.unknown"), WRONG).login_response(
                (), **REFUSED | {"status_detail": 2}
            ),
        ),
    ),
    "chap.wrong-target-accepted": (
        (lambda s: accepted(answered(challenged(s), *OWN, *BACK), ("CHAP_N", DISK), WRONG).login_request(()),),
        (lambda s: accepted(answered(challenged(s), *OWN, *BACK), *THEIRS).login_request(()),),
    ),
    "chap.secret-shared": (
        (lambda s: accepted(answered(challenged(s), *OWN, *BACK), *OF_THE_USER),),
        (lambda s: ended(accepted(answered(challenged(s), *OWN, *BACK), *THEIRS)),),
    ),
    "chap.own-response-accepted": (
        (lambda s: accepted(answered(challenged(s), *OWN, *BACK), *OF_THE_USER).login_request(()),),
        (lambda s: accepted(answered(challenged(s), *OWN, *BACK), *THEIRS).login_request(()),),
    ),
    "chap.secret-short": (
        (lambda s: authenticated(s, user=SHORT),),
        (authenticated,),
    ),
    "chap.session-mixed": (
        (
            lambda s: authenticated(second(authenticated(s, **TWO)), ANOTHER, user="user.unknown"),
            lambda s: second(authenticated(s, **TWO)).login_request().login_response(),
        ),
        (lambda s: authenticated(second(authenticated(s, **TWO)), ANOTHER),),
    ),
}
