"""CHAP as an onlooker sees it (9.2, 12.1.3, RFC 1994): which keys come when, and what challenges are worth.

What needs the secrets, that of a response being right above all, is silent where they are not known.
"""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.dialogue.chap import LONGEST, Chap, binary, is_response
from iscsi_captures.rules.model import Rules, Stain
from iscsi_protocol.pdu import LoginStatus, Opcode
from iscsi_protocol.text import BinaryError, BinaryTooLong, parse_binary

RULES = Rules((Phase.LOGIN,), from_start=True)
_REQUEST = Opcode.LOGIN_REQUEST
_RESPONSE = Opcode.LOGIN_RESPONSE
_NOTHING = Stain.NOTHING
SHORT_CHALLENGE = 16
"""Bytes of a challenge below which guessing and collecting answers becomes worth while: those of an MD5 response."""
SHORT_SECRET = 12
"""Bytes; 96 bits (9.2.1)."""
_REFUSED = 2
LAST_STAGE = 3


def _values(sight: Sight) -> dict[str, str]:
    return {pair.key: pair.value for pair in sight.pairs or ()}


def _said(sight: Sight, side: int) -> dict[str, str]:
    return sight.connection.login.negotiation.said[side]


def _chap(sight: Sight) -> Chap:
    return sight.connection.login.chap


def _is_right(sight: Sight, side: int) -> bool | None:
    """Whether the CHAP_R of this side (0: initiator) is right; None where that cannot be told."""
    return _chap(sight).is_right(sight.connection.login.negotiation.said, side)


def _reflected(sight: Sight) -> bool:
    own = binary(_said(sight, 0).get("CHAP_C", ""))
    return bool(own) and own == binary(_said(sight, 1).get("CHAP_C", ""))


@RULES("chap.md5-not-offered", "R7143-12.1.3-10", _REQUEST, leans=False)
def md5_not_offered(sight: Sight) -> str | None:
    """The initiator's list of algorithms has 5 in it."""
    offer = _values(sight).get("CHAP_A")
    return f"CHAP_A={offer}" if offer is not None and "5" not in offer.split(",") else None


@RULES("chap.first-step", "R7143-12.1.3-01", _REQUEST)
def first_step(sight: Sight) -> str | None:
    """After CHAP was chosen the initiator sends CHAP_A."""
    if sight.pairs is None or _said(sight, 1).get("AuthMethod") != "CHAP" or sight.stage != 0:
        return None
    return None if "CHAP_A" in _said(sight, 0) else "AuthMethod=CHAP was chosen and CHAP_A does not follow"


@RULES("chap.challenge-incomplete", "R7143-12.1.3-02", _RESPONSE)
def challenge_incomplete(sight: Sight) -> str | None:
    """The target answers CHAP_A with one of its algorithms, CHAP_I and CHAP_C."""
    said, values = _said(sight, 0), _values(sight)
    if sight.bhs[36] or "CHAP_A" not in values or "CHAP_A" not in said:
        return None
    if values["CHAP_A"] not in said["CHAP_A"].split(","):
        return f"CHAP_A={values['CHAP_A']} in answer to {said['CHAP_A']}"
    missing = [key for key in ("CHAP_I", "CHAP_C") if key not in values]
    return f"CHAP_A={values['CHAP_A']} without {missing[0]}" if missing else None


@RULES("chap.response-incomplete", "R7143-12.1.3-03", _REQUEST)
def response_incomplete(sight: Sight) -> str | None:
    """CHAP_N and CHAP_R come together, and CHAP_I with CHAP_C."""
    values = _values(sight)
    for one, other in (("CHAP_N", "CHAP_R"), ("CHAP_R", "CHAP_N"), ("CHAP_I", "CHAP_C"), ("CHAP_C", "CHAP_I")):
        if one in values and other not in values:
            return f"{one} without {other}"
    return None


@RULES("chap.mutual-not-answered", "R7143-12.1.3-05", _RESPONSE)
def mutual_not_answered(sight: Sight) -> str | None:
    """A challenge of the initiator is answered with CHAP_N and CHAP_R before the stage ends."""
    if sight.bhs[36] or not sight.final or "CHAP_C" not in _said(sight, 0):
        return None
    missing = [key for key in ("CHAP_N", "CHAP_R") if key not in _said(sight, 1)]
    return f"the initiator's challenge is not answered: {missing[0]} is missing" if missing else None


@RULES("chap.challenge-reflected", "R7143-9.2.1-11", _REQUEST, leans=False)
def challenge_reflected(sight: Sight) -> str | None:
    """The initiator's challenge is not the target's, of this connection or another one."""
    own = _values(sight).get("CHAP_C")
    challenge = None if own is None else binary(own)
    if not challenge:
        return None
    if _reflected(sight):
        return f"CHAP_C={own} is the target's own challenge"
    number = _chap(sight).issued(1, sight.session.target_name, challenge)
    return None if number is None else f"CHAP_C={own} is the target's own challenge of connection {number}"


@RULES("chap.challenge-empty", "R1994-4.1-06", _REQUEST, _RESPONSE, leans=False)
def challenge_empty(sight: Sight) -> str | None:
    """A challenge has one byte at least."""
    value = _values(sight).get("CHAP_C")
    return f"CHAP_C={value}" if value is not None and value.lower() in ("", "0x", "0b") else None


@RULES("chap.name-empty", "R1994-4.1-05", _REQUEST, _RESPONSE, leans=False)
def name_empty(sight: Sight) -> str | None:
    """A name has one character at least."""
    return "CHAP_N is empty" if _values(sight).get("CHAP_N") == "" else None


@RULES("chap.asks-at-the-end", "R7143-6.3-16", _RESPONSE, leans=False)
def asks_at_the_end(sight: Sight) -> str | None:
    """A response with T=1 asks for no further step of the authentication."""
    if sight.bhs[36] or not sight.final:
        return None
    asked = [key for key in ("CHAP_A", "CHAP_C") if key in _values(sight)]
    return f"{asked[0]} in a response that leaves the stage" if asked else None


@RULES("chap.too-long", "R7143-12.1.3-07", _REQUEST, _RESPONSE, leans=False)
def too_long(sight: Sight) -> str | None:
    """CHAP_C and CHAP_R are at most 1024 bytes long."""
    for key in ("CHAP_C", "CHAP_R"):
        value = _values(sight).get(key)
        if value is None:
            continue
        try:
            parse_binary(value, max_length=LONGEST)
        except BinaryTooLong as error:
            return f"{key} of {error.length} bytes"
        except BinaryError:
            continue
    return None


@RULES("chap.reflection-answered", "R7143-9.2.1-12", _RESPONSE, leans=False)
def reflection_answered(sight: Sight) -> str | None:
    """A target whose own challenge comes back refuses the login."""
    if sight.bhs[36] or "CHAP_R" not in _values(sight) or not _reflected(sight):
        return None
    return "the target answers its own challenge"


@RULES("chap.mutual-without-response", "R7143-9.2-06", _RESPONSE, leans=False)
def mutual_without_response(sight: Sight) -> str | None:
    """A challenge of an initiator that did not answer the target's is refused."""
    said = _said(sight, 0)
    if sight.bhs[36] or "CHAP_R" not in _values(sight) or "CHAP_R" in said or "CHAP_C" not in said:
        return None
    return "the target proves itself to an initiator that gave no CHAP_R"


@RULES("chap.challenge-repeated", "R1994-4.1-03", _REQUEST, _RESPONSE, leans=False, stain=_NOTHING)
def challenge_repeated(sight: Sight) -> str | None:
    """A node's challenge is another one in each login."""
    value, session, side = _values(sight).get("CHAP_C"), sight.session, int(sight.direction)
    challenge = None if value is None else binary(value)
    if not challenge:
        return None
    number = _chap(sight).issued(side, session.target_name if side else session.initiator_name, challenge)
    return None if number is None else f"CHAP_C={value} was the challenge of connection {number}"


@RULES("chap.challenge-short", "R1994-2.3-04", _REQUEST, _RESPONSE, level="ADVICE", leans=False)
def challenge_short(sight: Sight) -> str | None:
    """A challenge is long enough that nobody can foresee it."""
    value = _values(sight).get("CHAP_C")
    challenge = None if value is None else binary(value)
    if not challenge or len(challenge) >= SHORT_CHALLENGE:
        return None
    return f"a challenge of {len(challenge)} bytes, where {SHORT_CHALLENGE} and more are usual"


@RULES("chap.response-wrong", "R1994-4.1-04", _REQUEST, leans=False)
def response_wrong(sight: Sight) -> str | None:
    """The initiator's response is the hash over identifier, secret and challenge."""
    if "CHAP_R" not in _values(sight) or _is_right(sight, 0) is not False:
        return None
    return f"the CHAP_R of {_said(sight, 0)['CHAP_N']} is not that of its secret"


@RULES("chap.target-response-wrong", "R1994-4.1-04", _RESPONSE, leans=False)
def target_response_wrong(sight: Sight) -> str | None:
    """The target's response is the hash over identifier, secret and challenge."""
    if "CHAP_R" not in _values(sight) or _is_right(sight, 1) is not False:
        return None
    return f"the CHAP_R of {_said(sight, 1)['CHAP_N']} is not that of its secret"


@RULES("chap.right-response-refused", "R1994-4.2-01", _RESPONSE)
def right_response_refused(sight: Sight) -> str | None:
    """A response that is right does not fail the authentication."""
    status = sight.bhs[36] << 8 | sight.bhs[37]
    if status != LoginStatus.AUTHENTICATION_FAILURE or _is_right(sight, 0) is not True or _reflected(sight):
        return None
    return f"login status {status:04x} although the CHAP_R of {_said(sight, 0)['CHAP_N']} is right"


@RULES("chap.wrong-response-accepted", "R1994-4.2-02", _RESPONSE, leans=False)
def wrong_response_accepted(sight: Sight) -> str | None:
    """A response that is wrong ends the login."""
    if sight.bhs[36] or sight.pairs is None or _is_right(sight, 0) is not False:
        return None
    if sight.stage:
        return None
    return f"the login goes on although the CHAP_R of {_said(sight, 0)['CHAP_N']} is wrong"


@RULES("chap.failure-status", "R7143-12.1.3-04", _RESPONSE, leans=False)
def failure_status(sight: Sight) -> str | None:
    """A login that fails for a wrong response is refused with status 0201."""
    status = sight.bhs[36] << 8 | sight.bhs[37]
    if sight.bhs[36] != _REFUSED or status == LoginStatus.AUTHENTICATION_FAILURE or _is_right(sight, 0) is not False:
        return None
    return f"login status {status:04x} for a wrong CHAP_R"


@RULES("chap.wrong-target-accepted", "R7143-12.1.3-06", _REQUEST, leans=False)
def wrong_target_accepted(sight: Sight) -> str | None:
    """An initiator to which the target's response is wrong goes no further."""
    if _is_right(sight, 1) is not False:
        return None
    return f"the login goes on although the CHAP_R of {_said(sight, 1)['CHAP_N']} is wrong"


def _proven_by_the_initiators_secret(sight: Sight) -> bool:
    said = sight.connection.login.negotiation.said
    secret = _chap(sight).secret(said, 0)
    return secret is not None and bool(is_response(said, 1, secret))


@RULES("chap.secret-shared", "R7143-9.2.1-08", _RESPONSE, leans=False)
def secret_shared(sight: Sight) -> str | None:
    """The target does not prove itself by the initiator's secret."""
    if "CHAP_R" not in _values(sight) or not _proven_by_the_initiators_secret(sight):
        return None
    return f"the target's CHAP_R is that of the secret of {_said(sight, 0)['CHAP_N']}"


@RULES("chap.own-response-accepted", "R7143-9.2.1-09", _REQUEST, leans=False)
def own_response_accepted(sight: Sight) -> str | None:
    """An initiator goes no further after a response that it would have given itself."""
    if not _proven_by_the_initiators_secret(sight):
        return None
    return "the login goes on although the target's CHAP_R is that of the initiator's own secret"


@RULES("chap.secret-short", "R7143-9.2.1-07", _REQUEST, _RESPONSE, level="SHOULD", leans=False)
def secret_short(sight: Sight) -> str | None:
    """A response is sent only where the secret has 96 bits or more."""
    side = int(sight.direction)
    if "CHAP_R" not in _values(sight) or not _is_right(sight, side):
        return None
    secret = _chap(sight).secret(sight.connection.login.negotiation.said, side)
    if secret is None or len(secret) >= SHORT_SECRET:
        return None
    return f"the secret of {_said(sight, side)['CHAP_N']} has fewer than {SHORT_SECRET} bytes"


def _of_session(sight: Sight, key: str) -> tuple[str, str] | None:
    """What this login and the first other one of its session say of a key: AuthMethod as chosen, CHAP_N of the initiator."""
    side = 1 if key == "AuthMethod" else 0
    for other in sight.session.connections.values():
        if other is not sight.connection and other.known:
            return _said(sight, side).get(key, "None"), other.login.negotiation.said[side].get(key, "None")
    return None


@RULES("chap.session-mixed", "R7143-9.2-13", _RESPONSE, level="SHOULD", stain=_NOTHING)
def session_mixed(sight: Sight) -> str | None:
    """A connection joins a session only with the method and the identity of the others."""
    if sight.bhs[36] or not sight.final or sight.bhs[1] & 3 != LAST_STAGE:
        return None
    for key in ("AuthMethod", "CHAP_N"):
        found = _of_session(sight, key)
        if found is not None and found[0] != found[1]:
            return f"{key}={found[0]} in a session with {found[1]}"
    return None
