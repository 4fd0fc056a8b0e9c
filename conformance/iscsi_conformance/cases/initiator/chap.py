"""CHAP as an initiator does it (RFC 7143 sections 9.2 and 12.1.3, RFC 1994)."""

from __future__ import annotations

import hashlib

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import (
    answer,
    guarded,
    login_keys,
    logins,
    must_drop,
    mutual_login,
    one_way_login,
    says,
    text_of,
    values,
)
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Fault, HasKey, SetKey
from iscsi_protocol.pdu import LoginResponse, Opcode, RawPdu
from iscsi_protocol.text import TextError, parse_binary, scan_pairs

_RESPONSE = Opcode.LOGIN_RESPONSE
_LONGEST = 1024


def _binary(value: str) -> bytes | None:
    """What a value stands for; None where it is no binary value."""
    try:
        return parse_binary(value, max_length=4 * _LONGEST)
    except TextError:
        return None


def _received(scene: Scene, key: str) -> str:
    """The first value of a key that the target sent. Raises Inconclusive when it sent none."""
    pairs = [pair for pdu in scene.received(LoginResponse) for pair in scan_pairs(pdu.data)[0]]
    return scene.reached(values(pairs, key), f"the target sent no {key}")[0]


async def _log_in(scene: Scene, *stimulus: Fault, login: ChapLogin | None = None) -> None:
    """Have the initiator log in to a target with CHAP, one-way unless the login has the target prove itself."""
    who = login or one_way_login()
    await scene.target(*stimulus, config=guarded(mutual=who.target_secret is not None))
    await scene.perform(Doing.LOG_IN, chap=who)


def _offers_chap_alone(scene: Scene) -> None:
    offers = values(login_keys(scene), "AuthMethod")
    scene.reached(offers == ["CHAP"], f"the initiator offers AuthMethod {offers}, not CHAP alone")


@case(
    "ichap.one-way",
    clauses={
        "R7143-12.1.3-01": "ichap.no-algorithms",
        "R7143-12.1.3-10": "ichap.without-md5",
        "R7143-12.1.3-03": "ichap.no-name",
        "R1994-4.1-05": "ichap.empty-name",
        "R1994-4.1-04": "ichap.wrong-response",
    },
    role=INITIATOR,
    wire_only=True,
)
async def one_way(scene: Scene) -> None:
    """The initiator offers its algorithms, MD5 among them, and answers the challenge with its name and the hash."""
    await _log_in(scene)
    security = [text_of([pdu]) for pdu in logins(scene)[0] if pdu.csg == 0]
    scene.reached(values(security[0], "AuthMethod"), "the initiator offers no AuthMethod")
    _, second, third = [*security, [], []][:3]
    require(values(second, "CHAP_A"), "R7143-12.1.3-01", "CHAP_A follows the choice of CHAP", seen=second)
    algorithms = values(second, "CHAP_A")[0].split(",")
    require("5" in algorithms, "R7143-12.1.3-10", "algorithm 5 is offered", seen=algorithms)
    names, responses = values(third, "CHAP_N"), values(third, "CHAP_R")
    require(names and responses, "R7143-12.1.3-03", "CHAP_N and CHAP_R answer the challenge", seen=third)
    require(names[0], "R1994-4.1-05", "the name has a byte at least")
    hashed = bytes([int(_received(scene, "CHAP_I"), 0)]) + one_way_login().secret.encode()
    hashed += parse_binary(_received(scene, "CHAP_C"), max_length=_LONGEST)
    due = "0x" + hashlib.md5(hashed, usedforsecurity=False).hexdigest()
    given = responses[0]
    require(_binary(given) == _binary(due), "R1994-4.1-04", f"CHAP_R is {due}, the hash of the challenge", seen=given)


@case(
    "ichap.challenge-for-the-target",
    clauses={"R1994-4.1-06": "ichap.empty-challenge", "R7143-12.1.3-07": "ichap.long-challenge"},
    role=INITIATOR,
    wire_only=True,
)
async def challenge_for_target(scene: Scene) -> None:
    """With mutual CHAP the initiator sends a challenge of 1 to 1024 bytes."""
    await _log_in(scene, login=mutual_login())
    challenge = scene.reached(values(login_keys(scene), "CHAP_C"), "the initiator sent no CHAP_C")[0]
    require(len(challenge) > 2, "R1994-4.1-06", "the challenge has a byte at least", seen=challenge)
    size = len(_binary(challenge) or b"")
    require(0 < size <= _LONGEST, "R7143-12.1.3-07", "the challenge has 1024 bytes at most", seen=size)


@case(
    "ichap.fresh-challenges",
    clauses={"R1994-4.1-03": "ichap.same-challenge", "R1994-4.1-01": "ichap.same-identifier"},
    role=INITIATOR,
    wire_only=True,
)
async def fresh_challenges(scene: Scene) -> None:
    """Each login has a challenge and an identifier of its own for the target."""
    await _log_in(scene, login=mutual_login())
    await scene.perform(Doing.LOG_IN, chap=mutual_login())
    pairs = [pair for requests in logins(scene)[:2] for pair in text_of(requests)]
    challenges, identifiers = values(pairs, "CHAP_C"), values(pairs, "CHAP_I")
    scene.reached(len(challenges) == 2, "the initiator did not challenge the target in two logins")
    require(len(set(challenges)) == 2, "R1994-4.1-03", "challenges change", seen=challenges)
    require(len(set(identifiers)) == 2, "R1994-4.1-01", "identifiers change", seen=identifiers)


@case(
    "ichap.challenge-not-reflected",
    clauses={"R7143-9.2.1-11": "ichap.same-challenge"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:10"],
)
async def challenge_not_reflected(scene: Scene) -> None:
    """The initiator does not send the target's challenge back as its own.

    The target knows nothing of the challenge that the initiator was told, and so refuses the response.
    """
    constant = "0x" + "5a" * 16
    stimulus = answer(_RESPONSE, SetKey("CHAP_C", constant), tests=[HasKey("CHAP_C")])
    await _log_in(scene, stimulus, login=mutual_login())
    own = scene.reached(values(login_keys(scene), "CHAP_C"), "the initiator sent no CHAP_C")
    require(own[0].lower() != constant, "R7143-9.2.1-11", "the challenge is not the target's own", seen=own)


# ---- targets that fail ----


@case(
    "ichap.wrong-target-response",
    clauses={"R7143-12.1.3-06": "ichap.trusts-any-target"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:17"],
)
async def wrong_target_response(scene: Scene) -> None:
    """A target that does not prove itself loses the connection."""
    wrong = SetKey("CHAP_R", "0x" + "ee" * 16)
    await scene.target(answer(_RESPONSE, wrong, tests=[HasKey("CHAP_R")]), config=guarded(mutual=True))
    what = "a wrong CHAP_R of the target's"
    await must_drop(scene, Doing.LOG_IN, "R7143-12.1.3-06", what, says("CHAP_R"), chap=mutual_login())


@case(
    "ichap.unknown-algorithm",
    clauses={"R7143-9.2-03": "ichap.accepts-any-algorithm"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:14"],
)
async def unknown_algorithm(scene: Scene) -> None:
    """An algorithm that was not offered ends the login."""
    await scene.target(answer(_RESPONSE, SetKey("CHAP_A", "99"), tests=[HasKey("CHAP_A")]), config=guarded())
    told = says("CHAP_A", "99")
    await must_drop(scene, Doing.LOG_IN, "R7143-9.2-03", "CHAP_A=99", told, chap=one_way_login())


async def _not_answered(scene: Scene, key: str, value: str, what: str) -> None:
    """The target's CHAP_I or CHAP_C has this value, and no CHAP_R comes."""
    await _log_in(scene, answer(_RESPONSE, SetKey(key, value), tests=[HasKey(key)]))
    scene.reached(_received(scene, key) == value, f"the target did not come to send {what}")
    answered = values(login_keys(scene), "CHAP_R")
    require(not answered, "R7143-9.2-03", f"{what} is not answered", seen=answered)


@case(
    "ichap.oversize-challenge",
    clauses={"R7143-9.2-03": "ichap.accepts-long-challenge"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:33"],
)
async def oversize_challenge(scene: Scene) -> None:
    """A challenge over 1024 bytes is not answered."""
    await _not_answered(scene, "CHAP_C", "0x" + "7e" * 1025, "a challenge of 1025 bytes")


@case(
    "ichap.challenge-is-no-number",
    clauses={"R7143-9.2-03": "ichap.mends-challenge"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:15"],
)
async def challenge_no_number(scene: Scene) -> None:
    """A challenge that is no binary value is not answered."""
    await _not_answered(scene, "CHAP_C", "0xZZ", "a challenge that is no number")


@case(
    "ichap.identifier-out-of-range",
    clauses={"R7143-9.2-03": "ichap.mends-identifier"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:16"],
)
async def identifier_out_of_range(scene: Scene) -> None:
    """An identifier over 255 is not answered."""
    await _not_answered(scene, "CHAP_I", "256", "an identifier of 256")


@case(
    "ichap.unknown-method",
    clauses={"R7143-6.2.1-06": "ichap.accepts-any-method"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:13"],
)
async def unknown_method(scene: Scene) -> None:
    """A method that was not offered is not gone along with."""
    await _log_in(scene, answer(_RESPONSE, SetKey("AuthMethod", "Foo"), tests=[HasKey("AuthMethod")]))
    _received(scene, "AuthMethod")
    sent = len(logins(scene)[0])
    require(sent == 1, "R7143-6.2.1-06", "AuthMethod=Foo ends the login", seen=f"{sent} requests")


@case(
    "ichap.none-not-offered",
    clauses={"R7143-6.2.1-06": "ichap.accepts-none"},
    touches=["R7143-6.2.1-03"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:38"],
)
async def none_not_offered(scene: Scene) -> None:
    """A target that goes without CHAP is left where CHAP alone was offered."""
    await _log_in(scene, answer(_RESPONSE, SetKey("AuthMethod", "None"), tests=[HasKey("AuthMethod")]))
    _offers_chap_alone(scene)
    sent = len(logins(scene)[0])
    require(sent == 1, "R7143-6.2.1-06", "AuthMethod=None ends the login", seen=f"{sent} requests")


def _without_method(raw: RawPdu) -> bool:
    return raw.opcode == _RESPONSE and not values(scan_pairs(bytes(raw.data))[0], "AuthMethod")


@case(
    "ichap.no-method-named",
    clauses={"R7143-7.12-01": "ichap.needs-no-method"},
    role=INITIATOR,
    events=["iScsiPrt:41"],
)
async def no_method_named(scene: Scene) -> None:
    """A security stage in which the target names no method ends the login."""
    await scene.target(answer(_RESPONSE, SetKey("AuthMethod", None), stage=0))
    await must_drop(scene, Doing.LOG_IN, "R7143-7.12-01", "no AuthMethod in answer to one", _without_method)
