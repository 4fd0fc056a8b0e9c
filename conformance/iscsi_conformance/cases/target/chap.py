"""CHAP of a target (RFC 7143 sections 9.2, 9.2.1 and 12.1.3; RFC 1994)."""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.profile import ChapLogin
from iscsi_conformance.verdict import Failed, Inconclusive, require
from iscsi_conformance.wire import Wire, pairs_of, value_of
from iscsi_protocol.chap import response as chap_response
from iscsi_protocol.pdu import LoginResponse, LoginStatus, Stage
from iscsi_protocol.text import BinaryError, NumberError, encode_base64, encode_hex, parse_binary, parse_number

MD5 = 5
CHALLENGE = bytes(range(100, 124))
REFUSALS = (LoginStatus.INITIATOR_ERROR, LoginStatus.AUTHENTICATION_FAILURE, LoginStatus.MISSING_PARAMETER)


@dataclass(slots=True)
class Talk:
    """A security stage under way. login: the secrets; identifier, challenge: what the target asked."""

    wire: Wire
    login: ChapLogin
    algorithm: int = MD5
    identifier: int = 0
    challenge: bytes = b""
    first: LoginResponse | None = None

    async def say(self, *pairs: tuple[str, str], leave: bool = False, clause: str) -> LoginResponse:
        """Send pairs in the security stage and take the answer."""
        following = Stage.OPERATIONAL if leave else 0
        request = self.wire.login_request(pairs, csg=Stage.SECURITY, nsg=following, transit=leave)
        return await self.wire.exchange_login(request, clause)

    async def ask(self, algorithms: str = "5", *, clause: str = "R7143-12.1.3-02") -> LoginResponse:
        """Offer algorithms and take the challenge. Raises Failed for an answer that is no usable challenge."""
        answer = await self.say(("CHAP_A", algorithms), clause=clause)
        require(answer.status_class == 0, clause, "a challenge was due", seen=f"status {answer.status:04x}")
        try:
            self.algorithm = parse_number(value_of(answer, "CHAP_A") or "")
            self.identifier = parse_number(value_of(answer, "CHAP_I") or "")
            self.challenge = parse_binary(value_of(answer, "CHAP_C") or "", 1024)
        except (BinaryError, NumberError) as error:
            raise Failed(clause, f"CHAP_A, CHAP_I and CHAP_C were due: {error}") from None
        return answer

    def proof(self) -> bytes:
        """The right response to the target's challenge."""
        return chap_response(self.algorithm, self.identifier, self.login.secret.encode(), self.challenge)

    async def prove(self, *more: tuple[str, str], clause: str, value: str | None = None) -> LoginResponse:
        """Send CHAP_N and CHAP_R (the right one unless given) and take the answer."""
        shown = encode_hex(self.proof()) if value is None else value
        return await self.say(("CHAP_N", self.login.user), ("CHAP_R", shown), *more, leave=True, clause=clause)


async def begin(peer: Peer, methods: str = "CHAP,None", *, mutual: bool = False) -> Talk:
    """Connect to the node with CHAP and offer methods."""
    which, feature = ("mutual_target", Feature.MUTUAL_CHAP) if mutual else ("chap_target", Feature.CHAP)
    login = peer.profile.mutual if mutual else peer.profile.chap
    if login is None:
        raise Inconclusive("the profile has no secrets")
    wire = await peer.connect(target_name=peer.node(which, feature))
    talk = Talk(wire, login)
    talk.first = await talk.say(*wire.names(), ("AuthMethod", methods), clause="R7143-6.3.2-02")
    return talk


def accepted(answer: LoginResponse) -> bool:
    """Whether the target lets the initiator leave the security stage."""
    return answer.status_class == 0 and answer.transit


@case(
    "chap.method-is-chosen",
    clauses={"R7143-6.3.2-02": "chap.method-not-offered"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def method_is_chosen(peer: Peer) -> None:
    """A target that requires CHAP chooses it from the initiator's list."""
    talk = await begin(peer, "CHAP,None")
    answer = talk.first
    chosen = value_of(answer, "AuthMethod") if answer else None
    require(chosen == "CHAP", "R7143-6.3.2-02", "AuthMethod=CHAP was due", seen=chosen)


@case(
    "chap.no-usable-method-is-rejected",
    clauses={"R7143-6.3.2-03": "chap.settles-for-none"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def no_usable_method(peer: Peer) -> None:
    """Offered only None, a target that requires CHAP refuses: by AuthMethod=Reject, an authentication failure, or both."""
    talk = await begin(peer, "None")
    answer = talk.first
    if answer is None:
        raise Inconclusive("no answer")
    value = value_of(answer, "AuthMethod")
    refused = answer.status == LoginStatus.AUTHENTICATION_FAILURE or value == "Reject"
    require(refused, "R7143-6.3.2-03", "a refusal was due", seen=f"status {answer.status:04x}, AuthMethod={value}")


@case(
    "chap.challenge-is-complete",
    clauses={"R7143-12.1.3-02": "chap.challenge-without-identifier", "R1994-4.1-06": "chap.empty-challenge"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def challenge_is_complete(peer: Peer) -> None:
    """The target answers CHAP_A with one algorithm of the list, an identifier and a challenge that is not empty."""
    talk = await begin(peer)
    answer = await talk.say(("CHAP_A", "5"), clause="R7143-12.1.3-02")
    names = {key for key, _ in pairs_of(answer)}
    missing = {"CHAP_A", "CHAP_I", "CHAP_C"} - names
    require(
        not missing, "R7143-12.1.3-02", "CHAP_A, CHAP_I and CHAP_C were due", seen=f"no {', '.join(sorted(missing))}"
    )
    require(len(value_of(answer, "CHAP_C") or "") > 2, "R1994-4.1-06", "a challenge has at least one octet")


@case(
    "chap.algorithm-is-one-of-the-list",
    clauses={"R7143-12.1.3-09": "chap.unoffered-algorithm"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def algorithm_of_the_list(peer: Peer) -> None:
    """Offered an unknown algorithm and MD5, the target takes MD5."""
    talk = await begin(peer)
    await talk.ask("250,5", clause="R7143-12.1.3-09")
    require(talk.algorithm == MD5, "R7143-12.1.3-09", "CHAP_A=5 was due", seen=talk.algorithm)


@case(
    "chap.unknown-algorithms-are-refused",
    clauses={"R7143-12.1.3-04": "chap.refuses-with-wrong-status"},
    touches=["R7143-12.1.3-02"],
    role=TARGET,
    needs=[Feature.CHAP],
)
async def unknown_algorithms(peer: Peer) -> None:
    """Without a common algorithm the login ends with an authentication failure."""
    talk = await begin(peer)
    answer = await talk.say(("CHAP_A", "250"), clause="R7143-12.1.3-04")
    status = answer.status
    require(
        status == LoginStatus.AUTHENTICATION_FAILURE, "R7143-12.1.3-04", "status 0201 was due", seen=f"{status:04x}"
    )


@case(
    "chap.right-response-is-accepted",
    clauses={"R1994-4.2-01": "chap.refuses-everybody", "R7143-12.1-03": "chap.method-rejected"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def right_response(peer: Peer) -> None:
    """A right response to the challenge ends the security stage."""
    talk = await begin(peer)
    method = value_of(talk.first, "AuthMethod") if talk.first else None
    require(method == "CHAP", "R7143-12.1-03", "CHAP is implemented", seen=f"AuthMethod={method}")
    await talk.ask()
    answer = await talk.prove(clause="R1994-4.2-01")
    require(accepted(answer), "R1994-4.2-01", "the login goes on", seen=f"status {answer.status:04x}")


@case(
    "chap.wrong-response-is-refused",
    clauses={"R1994-4.2-02": "chap.accepts-any-response", "R7143-9.2-05": "chap.refuses-with-wrong-status"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def wrong_response(peer: Peer) -> None:
    """A response that does not match ends the login with an authentication failure."""
    talk = await begin(peer)
    await talk.ask()
    wrong = bytes([talk.proof()[0] ^ 1]) + talk.proof()[1:]
    answer = await talk.prove(clause="R1994-4.2-02", value=encode_hex(wrong))
    require(
        not accepted(answer) and answer.status_class, "R1994-4.2-02", "a refusal was due", seen=f"{answer.status:04x}"
    )
    status = answer.status
    require(status == LoginStatus.AUTHENTICATION_FAILURE, "R7143-9.2-05", "status 0201 was due", seen=f"{status:04x}")


@case(
    "chap.failure-ends-the-connection",
    clauses={"R1994-4.2-03": "chap.stays-after-failure"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.CHAP],
)
async def failure_ends(peer: Peer) -> None:
    """After a wrong response the target closes the connection."""
    talk = await begin(peer)
    await talk.ask()
    await talk.prove(clause="R1994-4.2-03", value=encode_hex(bytes(16)))
    await talk.wire.expect_closed("R1994-4.2-03")


@case(
    "chap.response-hash-order",
    clauses={"R1994-4.1-04": "chap.other-challenge-shown"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def response_hash_order(peer: Peer) -> None:
    """The response is the hash over identifier, secret and challenge as the target sent them."""
    talk = await begin(peer)
    await talk.ask()
    answer = await talk.prove(clause="R1994-4.1-04")
    require(
        accepted(answer), "R1994-4.1-04", "the hash over CHAP_I, secret and CHAP_C fits", seen=f"{answer.status:04x}"
    )


@case(
    "chap.base64-response-is-accepted",
    clauses={"R7143-6.1-12": "chap.refuses-base64"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def base64_response(peer: Peer) -> None:
    """A response in base64 is as good as one in hexadecimal."""
    talk = await begin(peer)
    await talk.ask()
    answer = await talk.prove(clause="R7143-6.1-12", value=encode_base64(talk.proof()))
    require(accepted(answer), "R7143-6.1-12", "the login goes on", seen=f"status {answer.status:04x}")


@case(
    "chap.response-without-name-is-refused",
    clauses={"R7143-9.2-04": "chap.forgives-missing-name"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def response_without_name(peer: Peer) -> None:
    """CHAP_R without CHAP_N ends the login with an initiator error or a missing parameter."""
    talk = await begin(peer)
    await talk.ask()
    answer = await talk.say(("CHAP_R", encode_hex(talk.proof())), leave=True, clause="R7143-9.2-04")
    good = answer.status in REFUSALS
    require(good, "R7143-9.2-04", "status 0200, 0207 or 0201 was due", seen=f"{answer.status:04x}")


@case(
    "chap.challenge-changes",
    clauses={"R1994-4.1-03": "chap.same-challenge"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def challenge_changes(peer: Peer) -> None:
    """Two connections are asked different challenges."""
    first, second = await begin(peer), await begin(peer)
    await first.ask()
    await second.ask()
    different = first.challenge != second.challenge
    require(different, "R1994-4.1-03", "the challenge changes each time", seen=first.challenge.hex())


@case(
    "chap.challenges-are-unique",
    clauses={"R1994-2.3-03": "chap.same-challenge"},
    role=TARGET,
    level=SHOULD,
    needs=[Feature.CHAP],
)
async def challenges_are_unique(peer: Peer) -> None:
    """Eight connections are asked eight challenges."""
    seen = set()
    for _ in range(8):
        talk = await begin(peer)
        await talk.ask()
        seen.add(talk.challenge)
        talk.wire.raw.close()
    require(len(seen) == 8, "R1994-2.3-03", "each challenge is unique", seen=f"{len(seen)} different ones of 8")


@case(
    "chap.security-cannot-be-skipped",
    clauses={"R7143-6.3.1-08": "chap.optional-after-all"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def security_cannot_be_skipped(peer: Peer) -> None:
    """A login that starts in the operational stage is refused where authentication is required."""
    wire = await peer.connect(target_name=peer.node("chap_target", Feature.CHAP))
    answer = await wire.exchange_login(wire.login_request(wire.names()), "R7143-6.3.1-08")
    require(answer.status_class == 2, "R7143-6.3.1-08", "a refusal was due", seen=f"{answer.status:04x}")


@case(
    "chap.target-proves-itself",
    clauses={"R7143-12.1.3-05": "chap.mutual-unanswered", "R7143-9.2.1-01": "chap.mutual-wrong"},
    role=TARGET,
    needs=[Feature.MUTUAL_CHAP],
)
async def target_proves_itself(peer: Peer) -> None:
    """Asked to, the target answers the initiator's challenge with CHAP_N and the right CHAP_R."""
    talk = await begin(peer, mutual=True)
    await talk.ask()
    answer = await talk.prove(("CHAP_I", "17"), ("CHAP_C", encode_hex(CHALLENGE)), clause="R7143-12.1.3-05")
    shown = value_of(answer, "CHAP_R")
    complete = shown is not None and value_of(answer, "CHAP_N") is not None
    require(complete, "R7143-12.1.3-05", "CHAP_N and CHAP_R were due", seen=f"status {answer.status:04x}")
    due = chap_response(talk.algorithm, 17, (talk.login.target_secret or "").encode(), CHALLENGE)
    right = parse_binary(shown or "", 1024) == due
    require(right, "R7143-9.2.1-01", "the target's response fits its secret", seen=shown)


@case(
    "chap.reflected-challenge-is-refused",
    clauses={"R7143-9.2.1-12": "chap.answers-reflection"},
    role=TARGET,
    needs=[Feature.MUTUAL_CHAP],
)
async def reflected_challenge(peer: Peer) -> None:
    """A challenge that only repeats the target's own is not answered, and the connection ends."""
    talk = await begin(peer, mutual=True)
    await talk.ask()
    back = encode_hex(talk.challenge)
    request = talk.wire.login_request(
        [("CHAP_N", talk.login.user), ("CHAP_R", encode_hex(talk.proof())), ("CHAP_I", "17"), ("CHAP_C", back)],
        csg=Stage.SECURITY,
        nsg=Stage.OPERATIONAL,
    )
    talk.wire.send(request)
    received = await talk.wire.receive_or_none()
    if received is not None and isinstance(received.pdu, LoginResponse):
        answered = value_of(received.pdu, "CHAP_R") is not None
        require(not answered, "R7143-9.2.1-12", "the reflected challenge is not answered")
    await talk.wire.expect_closed("R7143-9.2.1-12")


@case(
    "chap.mutual-without-response-is-refused",
    clauses={"R7143-9.2-06": "chap.answers-before-proof"},
    role=TARGET,
    needs=[Feature.MUTUAL_CHAP],
)
async def mutual_without_response(peer: Peer) -> None:
    """A challenge for the target that comes without CHAP_R is refused as a missing parameter."""
    talk = await begin(peer, mutual=True)
    await talk.ask()
    answer = await talk.say(
        ("CHAP_N", talk.login.user), ("CHAP_I", "17"), ("CHAP_C", encode_hex(CHALLENGE)), clause="R7143-9.2-06"
    )
    status = answer.status
    require(status == LoginStatus.MISSING_PARAMETER, "R7143-9.2-06", "status 0207 was due", seen=f"{status:04x}")


@case(
    "chap.oversized-response-is-refused",
    clauses={"R7143-12.1.3-07": "chap.shows-oversized-challenge"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def sizes_are_bounded(peer: Peer) -> None:
    """The challenge has at most 1024 bytes, and a response of more is refused."""
    talk = await begin(peer)
    answer = await talk.say(("CHAP_A", "5"), clause="R7143-12.1.3-07")
    shown = value_of(answer, "CHAP_C") or ""
    size = len(shown[2:]) // 2 if shown[:2].lower() == "0x" else len(shown[2:]) * 3 // 4
    require(size <= 1024, "R7143-12.1.3-07", "a challenge has at most 1024 bytes", seen=f"{size} bytes")
    refused = await talk.prove(clause="R7143-12.1.3-07", value="0x" + "5a" * 1025)
    require(
        refused.status_class == 2,
        "R7143-12.1.3-07",
        "a response of 1025 bytes is refused",
        seen=f"{refused.status:04x}",
    )
