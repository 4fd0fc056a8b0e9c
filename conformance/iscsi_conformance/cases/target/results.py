"""What comes of negotiations and of authentication that fails (RFC 7143 6.2, 6.3.2, 7.12, 9.2.1, 11.10, 11.11 and 11.13.5;
RFC 1994).
"""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.cases.target.chap import Talk, accepted, begin
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Failed, Inconclusive, Unsupported, require
from iscsi_protocol.chap import response as chap_response
from iscsi_protocol.pdu import NO_TAG, LoginResponse, LoginStatus, Reject, Stage, TextResponse
from iscsi_protocol.text import encode_hex

LENGTH = "MaxRecvDataSegmentLength"
SHORT = 512
SECOND = 1024
READ = 4096
NEGOTIATING = (Feature.SCSI_DISK, Feature.TEXT_NEGOTIATION)
TALKS = 4
"""Logins whose challenges are compared; a random octet is the same in all of them once in 16 million times."""


# ---- negotiations that fail in full feature phase (7.12) ----


async def longest_segment(disk: Session, clause: str) -> int:
    """The longest data segment of a read of 4096 bytes."""
    outcome = await disk.read(clause, blocks=max(1, READ // disk.block_size))
    return max((len(pdu.data) for pdu in outcome.data_ins), default=0)


async def short_segments(peer: Peer, clause: str) -> Session:
    """A session whose login declared segments of 512 bytes."""
    disk = await peer.disk([(LENGTH, str(SHORT))])
    if await longest_segment(disk, clause) > SHORT:
        raise Inconclusive("the declared segment length is not kept")
    return disk


@case(
    "results.illegal-value-changes-nothing",
    clauses={"R7143-6.2-15": "results.takes-another-value"},
    role=TARGET,
    needs=NEGOTIATING,
)
async def illegal_value(peer: Peer) -> None:
    """A segment length below the range leaves the one that was declared before, where the session goes on."""
    clause = "R7143-6.2-15"
    disk = await short_segments(peer, clause)
    disk.text((LENGTH, "100"), immediate=True)
    received = await disk.receive_or_none()
    if received is None or disk.raw.closed is not None:
        raise Inconclusive("the session does not go on")
    longest = await longest_segment(disk, clause)
    require(longest <= SHORT, clause, f"segments of at most {SHORT} bytes were due", seen=f"{longest} bytes")


@case(
    "results.failed-negotiation-changes-nothing",
    clauses={"R7143-7.12-03": "results.failed-values-hold", "R7143-7.12-05": "results.partial-values-hold"},
    touches=["R7143-6.2-23"],
    role=TARGET,
    needs=NEGOTIATING,
)
async def failed_negotiation(peer: Peer) -> None:
    """When a sequence fails that declared longer segments, those that were declared before still hold."""
    disk = await short_segments(peer, "R7143-7.12-03")
    first = await disk.text_exchange("R7143-7.12-03", (LENGTH, "65536"), final=False, immediate=True)
    if first.final:
        raise Inconclusive("the target ends the sequence at once")
    again = disk.text((LENGTH, str(SECOND)), itt=first.itt, ttt=first.ttt, lun=first.lun, immediate=True)
    received = await disk.receive_or_none()
    if received is None or not isinstance(received.pdu, Reject):
        raise Inconclusive(f"key {LENGTH} given twice does not fail the sequence of task {again.itt:#x}")
    longest = await longest_segment(disk, "R7143-7.12-03")
    seen = f"{longest} bytes"
    partial = longest > SECOND
    require(not partial, "R7143-7.12-05", "what was declared before the failure is given up", seen=seen)
    require(longest <= SHORT, "R7143-7.12-03", f"segments of at most {SHORT} bytes were due", seen=seen)


# ---- long answers (11.10.4, 11.11.4) ----


async def long_answer(peer: Peer, clause: str) -> tuple[Session, TextResponse]:
    """A discovery session whose answer to SendTargets takes more than one response, and the first of these."""
    session = await peer.discovery([(LENGTH, str(SHORT))])
    first = await session.text_exchange(clause, ("SendTargets", "All"))
    if first.final and len(first.data) <= SHORT:
        raise Unsupported("long-answer", f"the answer to SendTargets has {len(first.data)} bytes")
    return session, first


@case(
    "results.tags-of-a-long-answer",
    clauses={
        "R7143-11.10.4-02": "results.unfinished-without-tag",
        "R7143-11.11.4-01": "results.more-to-come-without-tag",
        "R7143-11.11.4-02": "results.ends-with-a-tag",
    },
    touches=["R7143-6.4-08"],
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def tags_of_a_long_answer(peer: Peer) -> None:
    """Of a long answer every response but the last has a transfer tag, and the last has none."""
    session, answer = await long_answer(peer, "R7143-11.10.4-02")
    for _ in range(64):
        if answer.final:
            break
        clause = "R7143-11.11.4-01" if answer.continued else "R7143-11.10.4-02"
        require(answer.ttt != NO_TAG, clause, "a response with F=0 has a valid TTT")
        answer = await session.text_exchange(clause, itt=answer.itt, ttt=answer.ttt, lun=answer.lun)
    require(answer.ttt == NO_TAG, "R7143-11.11.4-02", "the last response has TTT 0xffffffff", seen=hex(answer.ttt))


@case(
    "results.new-request-begins-anew",
    clauses={"R7143-11.10.4-01": "results.goes-on-instead"},
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def begins_anew(peer: Peer) -> None:
    """A request without a transfer tag in the middle of a long answer is a new one: the answer comes from its beginning."""
    clause = "R7143-11.10.4-01"
    session, first = await long_answer(peer, clause)
    again = await session.text_exchange(clause, ("SendTargets", "All"), itt=first.itt)
    seen = f"{again.data[:40]!r}"
    require(again.data == first.data, clause, "the beginning of the answer was due", seen=seen)


# ---- authentication that fails ----


async def refusal(talk: Talk, clause: str, value: str) -> LoginResponse | None:
    """What a CHAP_R is answered with; None where the connection just ends. Raises Failed for another PDU."""
    pairs = (("CHAP_N", talk.login.user), ("CHAP_R", value))
    wire = talk.wire
    wire.send(wire.login_request(pairs, csg=Stage.SECURITY, nsg=Stage.OPERATIONAL))
    received = await wire.receive_or_none()
    if received is None:
        return None
    if not isinstance(received.pdu, LoginResponse):
        raise Failed(clause, "a Login Response was due", seen=one_line(received.raw))
    return received.pdu


@case(
    "results.failure-has-its-status",
    clauses={"R7143-6.3.2-05": "results.failure-without-a-word", "R7143-11.13.5-17": "results.failure-without-detail"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def failure_has_its_status(peer: Peer) -> None:
    """A response of other bytes than the right one is answered by a Login Response with status 0201."""
    talk = await begin(peer)
    await talk.ask(clause="R7143-6.3.2-05")
    answer = await refusal(talk, "R7143-6.3.2-05", encode_hex(bytes(len(talk.proof()))))
    if answer is None or not answer.status_class:
        raise Failed("R7143-6.3.2-05", "a Login Response with an error status was due")
    due = answer.status == LoginStatus.AUTHENTICATION_FAILURE
    require(due, "R7143-11.13.5-17", "status 0201 was due", seen=f"{answer.status:04x}")


@case(
    "results.reflected-response",
    clauses={"R7143-9.2.1-09": "results.takes-its-own-response"},
    role=TARGET,
    needs=[Feature.MUTUAL_CHAP],
)
async def reflected_response(peer: Peer) -> None:
    """The response that the target itself would give to its challenge, by its own secret, is a failure."""
    clause = "R7143-9.2.1-09"
    talk = await begin(peer, "CHAP", mutual=True)
    await talk.ask(clause=clause)
    secret = (talk.login.target_secret or "").encode()
    own = chap_response(talk.algorithm, talk.identifier, secret, talk.challenge)
    answer = await refusal(talk, clause, encode_hex(own))
    if answer is not None:
        require(not accepted(answer), clause, "the target's own response is refused", seen=f"{answer.status:04x}")
        await talk.wire.expect_closed(clause)


@case(
    "results.challenges-differ",
    clauses={"R1994-2.3-04": "results.challenge-repeats", "R1994-4.1-01": "results.identifier-repeats"},
    role=TARGET,
    needs=[Feature.CHAP],
)
async def challenges_differ(peer: Peer) -> None:
    """Several logins are asked different challenges, with identifiers that change."""
    talks = []
    for _ in range(TALKS):
        talk = await begin(peer)
        await talk.ask()
        talks.append(talk)
    distinct = len({talk.challenge for talk in talks})
    require(distinct == TALKS, "R1994-2.3-04", f"{TALKS} challenges were due", seen=distinct)
    identifiers = {talk.identifier for talk in talks}
    require(len(identifiers) > 1, "R1994-4.1-01", "the identifier changes", seen=f"{talks[0].identifier} each time")
