"""Which way an initiator is authenticated, and what CHAP's values are like (RFC 7143 6.3.2, 9, 9.2, 12.1; RFC 1994)."""

from __future__ import annotations

from itertools import pairwise

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.cases.target.chap import CHALLENGE, Talk, accepted, begin
from iscsi_conformance.cases.target.connection_identity import NEEDS, authenticated
from iscsi_conformance.cases.target.login import outcome
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_conformance.wire import value_of
from iscsi_protocol.chap import response as chap_response
from iscsi_protocol.pdu import LoginResponse, LoginStatus
from iscsi_protocol.text import encode_hex, parse_binary

CHAP = [Feature.CHAP]
MUTUAL = [Feature.MUTUAL_CHAP]
LONG_SECRET = 16
"""Bytes of a secret of 128 bits."""
STRANGER = "nobody-has-this-name"


async def unasked(peer: Peer) -> tuple[Talk, LoginResponse]:
    """A security stage in which the initiator does not speak of methods, and the target's first response."""
    login = peer.profile.chap
    if login is None:
        raise Inconclusive("the profile has no secrets")
    wire = await peer.connect(target_name=peer.node("chap_target", Feature.CHAP))
    talk = Talk(wire, login)
    return talk, await talk.say(*wire.names(), leave=True, clause="R7143-9-01")


async def proposal(peer: Peer) -> tuple[Talk, list[str]]:
    """The same with the methods that the target proposes. Raises Inconclusive when it proposes none."""
    talk, answer = await unasked(peer)
    methods = value_of(answer, "AuthMethod")
    if answer.status_class or methods is None:
        raise Inconclusive(f"the target proposes no method: status {answer.status:04x}")
    return talk, methods.split(",")


@case(
    "chap.silence-lets-nobody-in",
    clauses={"R7143-9-01": "chap.optional-after-all"},
    role=TARGET,
    level=SHOULD,
    needs=CHAP,
)
async def silence_lets_nobody_in(peer: Peer) -> None:
    """An initiator that does not speak of methods does not leave the security stage of a node with CHAP."""
    _, answer = await unasked(peer)
    require(not accepted(answer), "R7143-9-01", "authentication is not passed over", seen=f"{answer.status:04x}")


@case(
    "chap.authentication-comes-before-none",
    clauses={"R7143-9.1-02": "chap.prefers-none"},
    role=TARGET,
    level=SHOULD,
    needs=CHAP,
)
async def before_none(peer: Peer) -> None:
    """Offered None,CHAP a node with CHAP takes CHAP."""
    answer = (await begin(peer, "None,CHAP")).first
    chosen = value_of(answer, "AuthMethod") if answer else None
    require(chosen == "CHAP", "R7143-9.1-02", "AuthMethod=CHAP was due", seen=chosen)


@case("chap.no-password-in-the-clear", clauses={"R7143-9.2-02": "chap.takes-passwords"}, role=TARGET, needs=CHAP)
async def no_password(peer: Peer) -> None:
    """Of a list that begins with a method of passwords in the clear, CHAP is taken."""
    answer = (await begin(peer, "PAP,CHAP")).first
    chosen = value_of(answer, "AuthMethod") if answer else None
    require(chosen != "PAP", "R7143-9.2-02", "passwords do not travel in the clear", seen=chosen)


@case(
    "chap.proposal-has-chap",
    clauses={"R7143-12.1-05": "chap.proposes-extension-or-none"},
    role=TARGET,
    needs=CHAP,
)
async def proposal_has_chap(peer: Peer) -> None:
    """Where the target proposes methods of its own making, CHAP is one of its list and None is not."""
    _, methods = await proposal(peer)
    if any(method.startswith("Z-") for method in methods):
        good = "CHAP" in methods and "None" not in methods
        require(good, "R7143-12.1-05", "CHAP was due beside extensions, and None not", seen=methods)


async def wrong_choice(peer: Peer, method: str, clause: str, what: str) -> None:
    """A target that proposed methods refuses this answer, though what follows it would do for CHAP."""
    talk, methods = await proposal(peer)
    if method in methods:
        raise Inconclusive(f"the target proposes {method}")
    answer = await talk.say(("AuthMethod", method), ("CHAP_A", "5"), clause=clause)
    require(answer.status_class == 2, clause, what, seen=f"{answer.status:04x}")


@case(
    "chap.own-proposal-is-understood",
    clauses={"R7143-6.2-11": "chap.not-understood-is-good-enough"},
    role=TARGET,
    needs=CHAP,
)
async def own_proposal_is_understood(peer: Peer) -> None:
    """NotUnderstood in answer to AuthMethod is a protocol error, and ends the login."""
    await wrong_choice(peer, "NotUnderstood", "R7143-6.2-11", "everybody understands AuthMethod")


@case(
    "chap.choice-is-of-the-proposal",
    clauses={"R7143-6.2.1-06": "chap.any-choice-is-good-enough"},
    role=TARGET,
    needs=CHAP,
)
async def choice_is_of_the_proposal(peer: Peer) -> None:
    """A method that the target did not propose is a protocol error, and ends the login."""
    await wrong_choice(peer, "KRB5", "R7143-6.2.1-06", "a method that was not proposed is no choice")


@case(
    "chap.leads-to-full-feature",
    clauses={"R7143-12.1-02": "chap.forgets-who-it-was", "R7143-9.2.1-02": "chap.refuses-everybody"},
    role=TARGET,
    needs=CHAP,
)
async def leads_to_full_feature(peer: Peer) -> None:
    """A login with CHAP and a secret of 128 bits leads to a session that works."""
    chap = peer.profile.chap
    if chap is None or len(chap.secret.encode()) < LONG_SECRET:
        raise Inconclusive("the profile has no secret of 128 bits")
    name = peer.node("chap_target", Feature.CHAP)
    _, login = await peer.try_login(chap=chap, target_name=name)
    right = login.status != LoginStatus.AUTHENTICATION_FAILURE
    require(right, "R7143-9.2.1-02", "a secret of 128 bits is supported", seen=outcome(login))
    require(login.full_feature, "R7143-12.1-02", "CHAP is supported", seen=outcome(login))
    await (await peer.login(chap=chap, target_name=name, clause="R7143-12.1-02")).alive("R7143-12.1-02")


@case(
    "chap.failure-has-its-status",
    clauses={"R7143-6.3.2-05": "chap.fails-without-a-word"},
    role=TARGET,
    needs=CHAP,
)
async def failure_has_its_status(peer: Peer) -> None:
    """An initiator that nobody knows is told of its failed authentication by a Login Response with 0201."""
    clause = "R7143-6.3.2-05"
    talk = await begin(peer)
    await talk.ask()
    pairs = (("CHAP_N", STRANGER), ("CHAP_R", encode_hex(talk.proof())))
    status = (await talk.say(*pairs, leave=True, clause=clause)).status
    require(status == LoginStatus.AUTHENTICATION_FAILURE, clause, "status 0201 was due", seen=f"{status:04x}")


@case(
    "chap.one-way-node-says-so",
    clauses={"R7143-11.13.5-17": "chap.passes-over-challenges"},
    role=TARGET,
    needs=CHAP,
)
async def one_way_node(peer: Peer) -> None:
    """Asked to prove itself, a target that cannot refuses the login with 0201."""
    clause = "R7143-11.13.5-17"
    talk = await begin(peer)
    await talk.ask()
    answer = await talk.prove(("CHAP_I", "17"), ("CHAP_C", encode_hex(CHALLENGE)), clause=clause)
    if value_of(answer, "CHAP_R") is not None:
        raise Inconclusive("the target can prove itself")
    status = answer.status
    require(status == LoginStatus.AUTHENTICATION_FAILURE, clause, "status 0201 was due", seen=f"{status:04x}")


@case(
    "chap.each-connection-by-itself",
    clauses={"R7143-12-03": "chap.once-for-all"},
    role=TARGET,
    needs=NEEDS,
)
async def each_connection(peer: Peer) -> None:
    """A further connection of a session is asked a challenge of its own."""
    clause = "R7143-12-03"
    session = await authenticated(peer)
    first = session.login.value("CHAP_C")
    _, login = await peer.try_login(into=session, cid=1, chap=peer.profile.chap)
    second = login.value("CHAP_C")
    require(second is not None and second != first, clause, "another challenge was due", seen=second or outcome(login))


# ---- values (RFC 1994 2.3, 4.1; RFC 7143 6.1, 9.2.1) ----


async def several(peer: Peer, count: int) -> list[Talk]:
    """So many challenges, one a connection."""
    talks = []
    for _ in range(count):
        talk = await begin(peer)
        await talk.ask()
        talk.wire.raw.close()
        talks.append(talk)
    return talks


@case("chap.challenge-is-no-decimal", clauses={"R7143-6.1-11": "chap.decimal-challenge"}, role=TARGET, needs=CHAP)
async def challenge_is_no_decimal(peer: Peer) -> None:
    """A challenge of more than 64 bits is not written as a decimal number."""
    talk = await begin(peer)
    answer = await talk.say(("CHAP_A", "5"), clause="R7143-6.1-11")
    shown = value_of(answer, "CHAP_C") or ""
    decimal = shown.isdigit() and len(shown) > 1 and shown[:1] != "0"
    require(not decimal or int(shown) < 1 << 64, "R7143-6.1-11", "hexadecimal or base64 was due", seen=shown)


@case(
    "chap.challenges-follow-no-step",
    clauses={"R1994-2.3-04": "chap.counts-challenges"},
    role=TARGET,
    level=SHOULD,
    needs=CHAP,
)
async def follow_no_step(peer: Peer) -> None:
    """Of eight challenges not each is the same step from the one before."""
    challenges = [int.from_bytes(talk.challenge, "big") for talk in await several(peer, 8)]
    steps = {after - before for before, after in pairwise(challenges)}
    require(len(steps) > 1, "R1994-2.3-04", "a challenge cannot be foretold", seen=f"steps of {steps}")


@case("chap.identifier-changes", clauses={"R1994-4.1-01": "chap.same-identifier"}, role=TARGET, needs=CHAP)
async def identifier_changes(peer: Peer) -> None:
    """Eight challenges do not all have the same identifier."""
    identifiers = {talk.identifier for talk in await several(peer, 8)}
    require(len(identifiers) > 1, "R1994-4.1-01", "the identifier changes with each challenge", seen=identifiers)


@case("chap.identifier-counts", clauses={"R1994-4.1-02": "chap.other-identifier-shown"}, role=TARGET, needs=CHAP)
async def identifier_counts(peer: Peer) -> None:
    """A response over the identifier that was sent with the challenge is the right one."""
    talk = await begin(peer)
    await talk.ask()
    answer = await talk.prove(clause="R1994-4.1-02")
    require(accepted(answer), "R1994-4.1-02", "CHAP_I is the identifier", seen=f"{answer.status:04x}")


@case("chap.target-has-a-name", clauses={"R1994-4.1-05": "chap.name-of-two-lines"}, role=TARGET, needs=MUTUAL)
async def target_has_a_name(peer: Peer) -> None:
    """The name by which the target proves itself has a character at least and no line end."""
    clause = "R1994-4.1-05"
    talk = await begin(peer, mutual=True)
    await talk.ask()
    answer = await talk.prove(("CHAP_I", "17"), ("CHAP_C", encode_hex(CHALLENGE)), clause=clause)
    name = value_of(answer, "CHAP_N")
    if name is None:
        raise Inconclusive(f"the target does not prove itself: status {answer.status:04x}")
    require(name and not set(name) & set("\r\n"), clause, "a name is one line, and not empty", seen=repr(name))


@case(
    "chap.each-direction-its-secret",
    clauses={"R7143-9.2.1-08": "chap.one-secret-for-both"},
    role=TARGET,
    needs=MUTUAL,
)
async def each_direction_its_secret(peer: Peer) -> None:
    """The target does not prove itself by the secret that the initiator has to know."""
    clause = "R7143-9.2.1-08"
    talk = await begin(peer, mutual=True)
    await talk.ask()
    answer = await talk.prove(("CHAP_I", "17"), ("CHAP_C", encode_hex(CHALLENGE)), clause=clause)
    shown = value_of(answer, "CHAP_R")
    if shown is None:
        raise Inconclusive(f"the target does not prove itself: status {answer.status:04x}")
    same = chap_response(talk.algorithm, 17, talk.login.secret.encode(), CHALLENGE)
    require(parse_binary(shown, 1024) != same, clause, "each direction has a secret of its own", seen=shown)


@case(
    "chap.own-response-is-no-proof",
    clauses={"R7143-9.2.1-09": "chap.accepts-any-response"},
    role=TARGET,
    needs=MUTUAL,
)
async def own_response(peer: Peer) -> None:
    """A response that the target itself would give is a failure, and ends the connection."""
    clause = "R7143-9.2.1-09"
    talk = await begin(peer, mutual=True)
    await talk.ask()
    if not talk.login.target_secret:
        raise Inconclusive("the profile does not tell the target's secret")
    own = chap_response(talk.algorithm, talk.identifier, talk.login.target_secret.encode(), talk.challenge)
    answer = await talk.prove(clause=clause, value=encode_hex(own))
    if answer.status_class == 0:
        raise Failed(clause, "the target's own response is no proof", seen=f"{answer.status:04x}")
    await talk.wire.expect_closed(clause)
