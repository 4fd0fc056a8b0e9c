"""CHAP as an onlooker sees it: which keys come when (12.1.3). Secrets are not known here, so responses are not judged."""

from __future__ import annotations

from iscsi_captures.dialogue import Phase, Sight
from iscsi_captures.rules.model import Rules
from iscsi_protocol.pdu import Opcode
from iscsi_protocol.text import BinaryError, BinaryTooLong, parse_binary

RULES = Rules((Phase.LOGIN,), from_start=True)
_REQUEST = Opcode.LOGIN_REQUEST
_RESPONSE = Opcode.LOGIN_RESPONSE
_LONGEST = 1024


def _values(sight: Sight) -> dict[str, str]:
    return {pair.key: pair.value for pair in sight.pairs or ()}


def _said(sight: Sight, side: int) -> dict[str, str]:
    return sight.connection.login.negotiation.said[side]


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
    """The initiator's challenge is not the target's."""
    own, theirs = _values(sight).get("CHAP_C"), _said(sight, 1).get("CHAP_C")
    return f"CHAP_C={own} is the target's own challenge" if own is not None and own == theirs else None


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
            parse_binary(value, max_length=_LONGEST)
        except BinaryTooLong as error:
            return f"{key} of {error.length} bytes"
        except BinaryError:
            continue
    return None
