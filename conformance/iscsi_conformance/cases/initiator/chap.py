"""CHAP as an initiator does it (RFC 7143 sections 9.2 and 12.1.3, RFC 1994)."""

from __future__ import annotations

import hashlib

from iscsi_conformance.bundled import CHAP, MUTUAL, bundled_profile
from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, chap_options, give_up, log_in, login_keys, values
from iscsi_conformance.verdict import require
from iscsi_conformance.wire import pairs_of
from iscsi_protocol.fault import HasKey, SetKey
from iscsi_protocol.pdu import LoginRequest, LoginResponse, Opcode
from iscsi_protocol.text import parse_binary

_RESPONSE = Opcode.LOGIN_RESPONSE
_LONGEST = 1024


def _mutual() -> ChapLogin:
    login = bundled_profile().mutual
    if login is None:
        raise LookupError("the bundled target has mutual CHAP")
    return login


def _received(scene: Scene, key: str) -> str:
    return next(value for pdu in scene.received(LoginResponse) for value in values(pairs_of(pdu), key))


def _binary(value: str) -> bytes:
    return parse_binary(value, max_length=4096)


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
)
async def one_way(scene: Scene) -> None:
    """The initiator offers its algorithms, MD5 among them, and answers the challenge with its name and the hash."""
    await scene.attempt(log_in(scene, target_name=CHAP, chap=chap_options()))
    second = pairs_of(scene.sent(LoginRequest)[1])
    require(values(second, "CHAP_A"), "R7143-12.1.3-01", "CHAP_A follows the choice of CHAP", seen=second)
    algorithms = values(second, "CHAP_A")[0].split(",")
    require("5" in algorithms, "R7143-12.1.3-10", "algorithm 5 is offered", seen=algorithms)
    third = pairs_of(scene.sent(LoginRequest)[2])
    names, responses = values(third, "CHAP_N"), values(third, "CHAP_R")
    require(names and responses, "R7143-12.1.3-03", "CHAP_N and CHAP_R answer the challenge", seen=third)
    require(names[0], "R1994-4.1-05", "the name has a byte at least")
    hashed = bytes([int(_received(scene, "CHAP_I"), 0)]) + chap_options().credentials.secret
    hashed += _binary(_received(scene, "CHAP_C"))
    due = hashlib.md5(hashed, usedforsecurity=False).digest()
    given = _binary(responses[0])
    require(given == due, "R1994-4.1-04", "CHAP_R is the hash of identifier, secret and challenge", seen=given.hex())


@case(
    "ichap.challenge-for-the-target",
    clauses={"R1994-4.1-06": "ichap.empty-challenge", "R7143-12.1.3-07": "ichap.long-challenge"},
    role=INITIATOR,
)
async def challenge_for_target(scene: Scene) -> None:
    """With mutual CHAP the initiator sends a challenge of 1 to 1024 bytes."""
    await scene.attempt(log_in(scene, target_name=MUTUAL, chap=chap_options(_mutual())))
    (challenge,) = values(login_keys(scene), "CHAP_C")
    require(len(challenge) > 2, "R1994-4.1-06", "the challenge has a byte at least", seen=challenge)
    size = len(_binary(challenge))
    require(size <= _LONGEST, "R7143-12.1.3-07", "the challenge has 1024 bytes at most", seen=size)


async def _in_and_out(scene: Scene) -> None:
    client = await log_in(scene, target_name=MUTUAL, chap=chap_options(_mutual()))
    await client.logout()


@case(
    "ichap.fresh-challenges",
    clauses={"R1994-4.1-03": "ichap.same-challenge", "R1994-4.1-01": "ichap.same-identifier"},
    role=INITIATOR,
)
async def fresh_challenges(scene: Scene) -> None:
    """Each login has a challenge and an identifier of its own for the target."""
    for _ in range(2):
        await scene.attempt(_in_and_out(scene))
    challenges, identifiers = values(login_keys(scene), "CHAP_C"), values(login_keys(scene), "CHAP_I")
    require(len(set(challenges)) == 2, "R1994-4.1-03", "challenges change", seen=challenges)
    require(len(set(identifiers)) == 2, "R1994-4.1-01", "identifiers change", seen=identifiers)


@case(
    "ichap.challenge-not-reflected",
    clauses={"R7143-9.2.1-11": "ichap.same-challenge"},
    role=INITIATOR,
    events=["iScsiPrt:10"],
)
async def challenge_not_reflected(scene: Scene) -> None:
    """The initiator does not send the target's challenge back as its own.

    The target knows nothing of the challenge that the initiator was told, and so refuses the response.
    """
    constant = "0x" + "5a" * 16
    stimulus = answer(_RESPONSE, SetKey("CHAP_C", constant), tests=[HasKey("CHAP_C")])
    await scene.target(stimulus)
    await scene.attempt(log_in(scene, target_name=MUTUAL, chap=chap_options(_mutual())))
    own = values(login_keys(scene), "CHAP_C")
    require(own and own[0].lower() != constant, "R7143-9.2.1-11", "the challenge is not the target's own", seen=own)


# ---- targets that fail ----


@case(
    "ichap.wrong-target-response",
    clauses={"R7143-12.1.3-06": "ichap.trusts-any-target"},
    role=INITIATOR,
    events=["iScsiPrt:17"],
)
async def wrong_target_response(scene: Scene) -> None:
    """A target that does not prove itself loses the connection."""
    wrong = SetKey("CHAP_R", "0x" + "ee" * 16)
    await scene.target(answer(_RESPONSE, wrong, tests=[HasKey("CHAP_R")]))
    what = "a wrong CHAP_R of the target ends the login"
    await give_up(scene, "R7143-12.1.3-06", what, target_name=MUTUAL, chap=chap_options(_mutual()))


@case(
    "ichap.unknown-algorithm",
    clauses={"R7143-9.2-03": "ichap.accepts-any-algorithm"},
    role=INITIATOR,
    events=["iScsiPrt:14"],
)
async def unknown_algorithm(scene: Scene) -> None:
    """An algorithm that was not offered ends the login."""
    await scene.target(answer(_RESPONSE, SetKey("CHAP_A", "99"), tests=[HasKey("CHAP_A")]))
    await give_up(scene, "R7143-9.2-03", "CHAP_A=99 ends the login", target_name=CHAP, chap=chap_options())
    sent = len(scene.sent(LoginRequest))
    require(sent == 2, "R7143-9.2-03", "no response is given to it", seen=f"{sent} requests")


async def _not_answered(scene: Scene, key: str, value: str, what: str) -> None:
    """The target's CHAP_I or CHAP_C has this value, and no CHAP_R comes."""
    await scene.target(answer(_RESPONSE, SetKey(key, value), tests=[HasKey(key)]))
    await scene.attempt(log_in(scene, target_name=CHAP, chap=chap_options()))
    answered = values(login_keys(scene), "CHAP_R")
    require(not answered, "R7143-9.2-03", f"{what} is not answered", seen=answered)


@case(
    "ichap.oversize-challenge",
    clauses={"R7143-9.2-03": "ichap.accepts-long-challenge"},
    role=INITIATOR,
    events=["iScsiPrt:33"],
)
async def oversize_challenge(scene: Scene) -> None:
    """A challenge over 1024 bytes is not answered."""
    await _not_answered(scene, "CHAP_C", "0x" + "7e" * 1025, "a challenge of 1025 bytes")


@case(
    "ichap.challenge-is-no-number",
    clauses={"R7143-9.2-03": "ichap.mends-challenge"},
    role=INITIATOR,
    events=["iScsiPrt:15"],
)
async def challenge_no_number(scene: Scene) -> None:
    """A challenge that is no binary value is not answered."""
    await _not_answered(scene, "CHAP_C", "0xZZ", "a challenge that is no number")


@case(
    "ichap.identifier-out-of-range",
    clauses={"R7143-9.2-03": "ichap.mends-identifier"},
    role=INITIATOR,
    events=["iScsiPrt:16"],
)
async def identifier_out_of_range(scene: Scene) -> None:
    """An identifier over 255 is not answered."""
    await _not_answered(scene, "CHAP_I", "256", "an identifier of 256")


@case(
    "ichap.unknown-method",
    clauses={"R7143-6.2.1-06": "ichap.accepts-any-method"},
    role=INITIATOR,
    events=["iScsiPrt:13"],
)
async def unknown_method(scene: Scene) -> None:
    """A method that was not offered is not gone along with."""
    await scene.target(answer(_RESPONSE, SetKey("AuthMethod", "Foo"), stage=0))
    await scene.attempt(log_in(scene, target_name=CHAP, chap=chap_options()))
    sent = len(scene.sent(LoginRequest))
    require(sent == 1, "R7143-6.2.1-06", "AuthMethod=Foo ends the login", seen=f"{sent} requests")


@case(
    "ichap.none-not-offered",
    clauses={"R7143-6.2.1-06": "ichap.accepts-none"},
    touches=["R7143-6.2.1-03"],
    role=INITIATOR,
    events=["iScsiPrt:38"],
)
async def none_not_offered(scene: Scene) -> None:
    """A target that goes without CHAP is left where CHAP alone was offered."""
    await scene.target(answer(_RESPONSE, SetKey("AuthMethod", "None"), stage=0))
    await scene.attempt(log_in(scene, target_name=CHAP, chap=chap_options()))
    sent = len(scene.sent(LoginRequest))
    require(sent == 1, "R7143-6.2.1-06", "AuthMethod=None ends the login", seen=f"{sent} requests")


@case(
    "ichap.no-method-named",
    clauses={"R7143-7.12-01": "ichap.needs-no-method"},
    role=INITIATOR,
    events=["iScsiPrt:41"],
)
async def no_method_named(scene: Scene) -> None:
    """A security stage in which the target names no method ends the login."""
    await scene.target(answer(_RESPONSE, SetKey("AuthMethod", None), stage=0))
    await give_up(scene, "R7143-7.12-01", "no AuthMethod ends the login")
