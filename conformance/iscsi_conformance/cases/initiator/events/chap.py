"""Events 13 to 17 and 33: what is wrong with a target's side of CHAP (RFC 7143 9.2 and 12.1.3, RFC 1994)."""

from __future__ import annotations

import hashlib

from iscsi_conformance.bundled import CHAP, bundled_config
from iscsi_conformance.events import EventCase, Then, register
from iscsi_conformance.events.dumps import words
from iscsi_conformance.events.logins import (
    SECURITY,
    chap_session,
    ends_login,
    mutual_session,
    response,
    says,
)
from iscsi_conformance.events.play import Play, perform
from iscsi_conformance.stimulus import chap_options, request
from iscsi_conformance.verdict import require
from iscsi_conformance.wire import pairs_of
from iscsi_protocol.fault import Fault, SetKey
from iscsi_protocol.negotiation.keys import KEYS, Use
from iscsi_protocol.pdu import LoginRequest, Opcode
from iscsi_protocol.text import encode_base64, encode_hex

_GIVES_UP = ("R7143-9.2-03",)
_METHOD, _CHALLENGE, _PROOF = 1, 2, 3
"""Which Login Response of the security stage carries AuthMethod, CHAP_C, and the target's own CHAP_R."""

_HASHES = {5: ("md5", 16), 6: ("sha1", 20), 7: ("sha256", 32), 8: ("sha3_256", 32)}
"""CHAP_A to hash and bytes of a response (IANA, PPP authentication algorithms)."""


def _adds(key: str, value: str, nth: int, *, again: bool = False) -> Fault:
    """A pair more in a response of the security stage."""
    return response(SetKey(key, value, again=again), stage=SECURITY, nth=nth)


# ---- 13: the method ----

_METHODS = tuple(
    ends_login(
        13,
        name,
        f"AuthMethod={method} was not offered, and ends the login.",
        says("AuthMethod", method),
        variation=variation,
        touches=("R7143-6.2.1-06",),
        **(chap_session() if chap else {}),
    )
    for name, variation, method, chap in (
        ("unknown", "unknown-method", "Foo", True),
        ("unknown-without-chap", "unknown-method", "Foo", False),
        ("empty", "unknown-method", "", True),
        ("lower-case", "unknown-method", "chap", True),
        ("private", "unknown-method", "Z-org.example.method", True),
        ("kerberos", "not-offered", "KRB5", True),
        ("kerberos-without-chap", "not-offered", "KRB5", False),
        ("srp", "not-offered", "SRP", True),
        ("list", "list", "CHAP,None", True),
        ("list-without-chap", "list", "None,CHAP", False),
    )
)

# ---- 14: the algorithm ----

_ALGORITHMS = tuple(
    ends_login(
        14,
        name,
        f"CHAP_A={value} was not offered, and ends the login.",
        says("CHAP_A", value),
        variation=variation,
        touches=_GIVES_UP,
        **mutual_session(algorithms=offered),
    )
    for name, variation, value, offered in (
        ("number-99", "unknown-number", "99", (5,)),
        ("number-0", "unknown-number", "0", (5, 6, 7, 8)),
        ("number-too-long", "unknown-number", "5" * 30, (5,)),
        ("letter", "not-a-number", "x", (5,)),
        ("negative", "not-a-number", "-5", (5,)),
        ("empty", "not-a-number", "", (5,)),
        ("list", "not-a-number", "5,7", (5, 7)),
        *((f"{_HASHES[each][0].replace('_', '-')}-not-offered", "not-offered", str(each), (5,)) for each in (6, 7, 8)),
    )
)

# ---- 15 and 33: the challenge ----

_CHALLENGES = (
    *(
        ends_login(
            15,
            name,
            f"CHAP_C={value or 'nothing'} is no binary value, and ends the login.",
            says("CHAP_C", value),
            variation=variation,
            touches=_GIVES_UP,
            **chap_session(),
        )
        for name, variation, value in (
            ("no-hex", "bad-hex", "0xZZ"),
            ("hex-with-space", "bad-hex", "0x12 34"),
            ("last-digit-no-hex", "bad-hex", "0x" + "5a" * 15 + "5g"),
            ("hex-without-digits", "odd-encoding", "0x"),
            ("base64-without-digits", "odd-encoding", "0b"),
            ("two-prefixes", "odd-encoding", "0x0x12"),
            ("no-base64", "bad-base64", "0b****"),
            ("base64-too-short", "bad-base64", "0bAAA"),
            ("base64-padding-within", "bad-base64", "0bAA==AAAA"),
            ("base64-all-padding", "bad-base64", "0b===="),
            ("no-prefix", "no-prefix", "5a5a5a5a5a5a5a5a"),
            ("decimal", "no-prefix", "1234567890"),
            ("empty", "no-prefix", ""),
        )
    ),
    EventCase(
        event=15,
        name="odd-digits",
        says="A challenge of an odd number of hexadecimal digits is one (RFC 7143 6.1), and is answered.",
        spoils=(says("CHAP_C", "0x123456789abcdef"),),
        then=Then.GOES_ON,
        proofs=("event.15.takes-odd-for-bad",),
        config=bundled_config({"accept_any_chap_response": True}),
        options={"target_name": CHAP, "chap": chap_options()},
    ),
    *(
        ends_login(
            33,
            name,
            f"A challenge of {size} bytes ({notation}) is too long, and ends the login.",
            says("CHAP_C", encode(b"\x7e" * size)),
            variation=notation,
            dumps={33: lambda _, size=size: words(size)},
            touches=_GIVES_UP,
            **chap_session(),
        )
        for notation, encode in (("hex", encode_hex), ("base64", encode_base64))
        for name, size in ((f"{notation}-1025", 1025), (f"{notation}-2048", 2048))
    ),
    *(
        EventCase(
            event=33,
            name=f"longest-{notation}",
            variation="longest",
            says=f"A challenge of 1024 bytes ({notation}) is answered.",
            spoils=(says("CHAP_C", encode(b"\x7e" * 1024)),),
            then=Then.GOES_ON,
            proofs=("event.33.takes-longest-for-longer",),
            config=bundled_config({"accept_any_chap_response": True}),
            options={"target_name": CHAP, "chap": chap_options()},
        )
        for notation, encode in (("hex", encode_hex), ("base64", encode_base64))
    ),
)

# ---- 16: the other keys ----


def _pair(key: str, value: str, *spoils: Fault, name: str, variation: str, mutual: bool = False) -> EventCase:
    dump = f"{key}={value}".encode()
    shown = value if len(value) < 20 else f"{value[:8]}..."
    return ends_login(
        16,
        name,
        f"{key}={shown} has no place in the exchange, and ends the login.",
        *spoils,
        variation=variation,
        dumps={16: lambda _: dump},
        touches=_GIVES_UP,
        **(mutual_session() if mutual else chap_session()),
    )


_STRANGE = (
    *(
        _pair("CHAP_Q", "1", _adds("CHAP_Q", "1", nth), name=f"unknown-{place}", variation="unknown-key", mutual=True)
        for place, nth in (("with-method", _METHOD), ("with-challenge", _CHALLENGE), ("with-response", _PROOF))
    ),
    *(
        _pair(key, value, _adds(key, value, nth), name=f"early-{key[5:].lower()}", variation="unknown-key")
        for key, value, nth in (
            ("CHAP_A", "5", _METHOD),
            ("CHAP_N", "bundled", _CHALLENGE),
            ("CHAP_R", "0x" + "ee" * 16, _CHALLENGE),
        )
    ),
    _pair("CHAP_C", "0x1234", _adds("CHAP_C", "0x1234", _PROOF), name="late-c", variation="unknown-key", mutual=True),
    *(
        _pair("CHAP_I", value, says("CHAP_I", value), name=name, variation=variation)
        for name, variation, value in (
            ("identifier-256", "identifier-out-of-range", "256"),
            ("identifier-0x100", "identifier-out-of-range", "0x100"),
            ("identifier-negative", "identifier-not-a-number", "-1"),
            ("identifier-letters", "identifier-not-a-number", "seven"),
            ("identifier-empty", "identifier-not-a-number", ""),
        )
    ),
    *(
        _pair(
            key,
            value,
            _adds(key, value, nth, again=True),
            name=f"twice-{key[5:].lower()}",
            variation="key-twice",
            mutual=True,
        )
        for key, value, nth in (
            ("CHAP_A", "5", _CHALLENGE),
            ("CHAP_I", "7", _CHALLENGE),
            ("CHAP_C", "0x1234", _CHALLENGE),
            ("CHAP_N", "bundled", _PROOF),
            ("CHAP_R", "0x" + "ee" * 16, _PROOF),
        )
    ),
    _pair("CHAP_N", "", says("CHAP_N", ""), name="empty-name", variation="unknown-key", mutual=True),
)

_OPERATIONAL_KEYS = tuple(
    name
    for name, rule in sorted(KEYS.items())
    if rule.negotiated and not rule.any_stage and rule.initiator_use is not Use.SECURITY
)
_OPERATIONAL = tuple(
    _pair(key, "1", _adds(key, "1", _CHALLENGE), name=f"early-{key.lower()}", variation="operational-key")
    for key in (*_OPERATIONAL_KEYS, "MaxRecvDataSegmentLength")
)


_GROUP_TAG, _EXTENSION = "TargetPortalGroupTag", "X-org.example.mood"


def _not_understood(play: Play) -> None:
    answers = [value for sent in play.sent(LoginRequest) for key, value in pairs_of(sent) if key.startswith("X-")]
    require(answers == ["NotUnderstood"], play.name, "an extension key is answered NotUnderstood", seen=answers)


_PASSED_OVER = tuple(
    EventCase(
        event=16,
        name=name,
        variation=name,
        says=f"{key} beside the keys of CHAP is no mistake.",
        spoils=spoils,
        then=Then.GOES_ON,
        watch=watch,
        proofs=(f"event.16.takes-{fault}-for-chap",),
        **chap_session(),
    )
    for name, key, fault, spoils, watch in (
        ("target-alias", "TargetAlias", "alias", (_adds("TargetAlias", "guarded disk", _CHALLENGE),), None),
        (
            "portal-group-tag",
            _GROUP_TAG,
            "group-tag",
            (response(SetKey(_GROUP_TAG, None), stage=SECURITY), _adds(_GROUP_TAG, "1", _CHALLENGE)),
            None,
        ),
        (
            "extension-key",
            _EXTENSION,
            "extension",
            (_adds(_EXTENSION, "fine", _CHALLENGE), request(Opcode.LOGIN_REQUEST, SetKey(_EXTENSION, None), times=0)),
            _not_understood,
        ),
    )
)

# ---- 17: the target's response ----

_OWN_CHALLENGE, _OWN_IDENTIFIER = b"\x5a" * 16, 77
"""What the initiator is told to prove itself with where its response is to be known beforehand."""


def _reflected(algorithm: int) -> tuple[Fault, ...]:
    """The target sends the initiator's own response back."""
    secret = bytes([_OWN_IDENTIFIER]) + chap_options().credentials.secret + _OWN_CHALLENGE
    proof = hashlib.new(_HASHES[algorithm][0], secret, usedforsecurity=False).hexdigest()
    return (
        response(
            SetKey("CHAP_C", encode_hex(_OWN_CHALLENGE)),
            SetKey("CHAP_I", str(_OWN_IDENTIFIER)),
            stage=SECURITY,
            nth=_CHALLENGE,
        ),
        response(SetKey("CHAP_N", "bundled"), SetKey("CHAP_R", f"0x{proof}"), stage=SECURITY, nth=_PROOF),
    )


def _proof(length: int) -> Fault:
    return says("CHAP_R", encode_hex(b"\xee" * length))


_UNPROVEN = tuple(
    ends_login(
        17,
        f"{name}-{_HASHES[algorithm][0].replace('_', '-')}",
        f"With {_HASHES[algorithm][0]}, {what} does not prove the target, and ends the login.",
        *spoils,
        variation=variation,
        touches=("R7143-12.1.3-06",),
        **mutual_session(
            {"accept_any_chap_response": name == "reflected"},
            algorithms=tuple(dict.fromkeys((algorithm, 5))),
            **changes,
        ),
    )
    for algorithm in _HASHES
    for name, variation, what, spoils, changes in (
        ("wrong-secret", "wrong-secret", "another secret", (), {"target_secret": b"not-that-secret"}),
        ("short", "wrong-length", "a byte less", (_proof(_HASHES[algorithm][1] - 1),), {}),
        ("long", "wrong-length", "a byte more", (_proof(_HASHES[algorithm][1] + 1),), {}),
        ("reflected", "reflected", "the initiator's own response", _reflected(algorithm), {}),
    )
)

_NO_PROOF = tuple(
    ends_login(
        17,
        name,
        f"CHAP_R={value or 'nothing'} does not prove the target, and ends the login.",
        says("CHAP_R", value),
        variation="wrong-length",
        touches=("R7143-12.1.3-06",),
        **mutual_session(),
    )
    for name, value in (("empty", ""), ("no-binary-value", "0xZZ"), ("without-digits", "0x"))
)

_OTHER_NAME = ends_login(
    17,
    "other-name",
    "A target that has another name than the one whose secret it is does not prove itself.",
    variation="wrong-secret",
    **mutual_session(target_name="somebody-else"),
)

register(
    __name__,
    (
        *(*_METHODS, *_ALGORITHMS, *_CHALLENGES, *_STRANGE, *_OPERATIONAL, *_PASSED_OVER),
        *(*_UNPROVEN, *_NO_PROOF, _OTHER_NAME),
    ),
    perform,
)
