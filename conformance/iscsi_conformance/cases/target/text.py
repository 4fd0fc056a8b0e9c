"""Text negotiation in full feature phase (RFC 7143 sections 6.4, 11.10 and 11.11)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_conformance.wire import value_of
from iscsi_protocol.pdu import NO_TAG, Reject, RejectReason, TextResponse

UNKNOWN = "X-org.iscsi-conformance.unknown"
LENGTH = "MaxRecvDataSegmentLength"


@case(
    "text.response-is-well-formed",
    clauses={
        "R7143-11.11.3-01": "text.other-itt",
        "R7143-11.11.1-03": "text.final-with-tag",
        "R7143-11.11.5-01": "text.not-numbered",
    },
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def response_is_well_formed(session: Session) -> None:
    """A whole request is answered by a response with its task tag, the next StatSN, and the reserved transfer tag."""
    due = session.raw.exp_stat_sn
    sent = session.text((LENGTH, "65536"))
    answer = await session.expect(TextResponse, "R7143-11.11.3-01")
    require(answer.itt == sent.itt, "R7143-11.11.3-01", f"ITT {sent.itt:#x} was due", seen=hex(answer.itt))
    require(answer.stat_sn == due, "R7143-11.11.5-01", f"StatSN {due} was due", seen=answer.stat_sn)
    require(answer.final, "R7143-11.11.3-01", "nothing is left to say")
    require(answer.ttt == NO_TAG, "R7143-11.11.1-03", "TTT is the reserved value", seen=hex(answer.ttt))


@case("text.request-is-answered", clauses={"R7143-6.2-14": "text.no-answer"}, role=TARGET)
async def request_is_answered(session: Session) -> None:
    """An empty Text Request is answered."""
    sent = session.text()
    await session.answer(TextResponse, sent.itt, "R7143-6.2-14")


@case(
    "text.unknown-key-is-not-understood",
    clauses={"R7143-6.2-08": "text.unknown-key-ignored"},
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def unknown_key(session: Session) -> None:
    """A key that the target cannot know is answered with NotUnderstood."""
    answer = await session.text_exchange("R7143-6.2-08", (UNKNOWN, "1"))
    value = value_of(answer, UNKNOWN)
    require(value == "NotUnderstood", "R7143-6.2-08", "NotUnderstood was due", seen=value)


@case(
    "text.sequence-goes-on",
    clauses={
        "R7143-11.11.1-01": "text.ends-unasked",
        "R7143-11.11.1-04": "text.goes-on-without-tag",
    },
    touches=["R7143-6.4-08"],
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def sequence_goes_on(session: Session) -> None:
    """F=0 is answered with F=0 and a transfer tag; the sequence ends when the initiator sets F."""
    first = await session.text_exchange("R7143-11.11.1-01", (LENGTH, "65536"), final=False)
    require(not first.final, "R7143-11.11.1-01", "F=1 does not answer F=0")
    require(first.ttt != NO_TAG, "R7143-11.11.1-04", "a response with F=0 has a transfer tag")
    again = await session.text_exchange("R7143-11.11.1-01", itt=first.itt, ttt=first.ttt, lun=first.lun)
    require(again.final, "R7143-11.11.1-01", "the sequence ends once the initiator has no more to say")


@case(
    "text.repeated-key-is-rejected",
    clauses={"R7143-6.4-12": "text.repetition-overlooked"},
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def repeated_key(session: Session) -> None:
    """A key that is declared twice in one sequence is rejected as a protocol error."""
    session.text((LENGTH, "4096"), (LENGTH, "8192"))
    received = await session.receive("R7143-6.4-12", "a Reject")
    right = isinstance(received.pdu, Reject) and received.pdu.reason == RejectReason.PROTOCOL_ERROR
    require(right, "R7143-6.4-12", "a Reject for a protocol error was due", seen=one_line(received.raw))


@case(
    "text.login-keys-stay-fixed",
    clauses={"R7143-13-01": "text.login-key-accepted"},
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def login_keys(session: Session) -> None:
    """A key of the leading login is not negotiated anew: it is rejected, as a value or as a PDU."""
    session.text(("MaxBurstLength", "4096"))
    received = await session.receive("R7143-13-01", "an answer")
    value = value_of(received.pdu, "MaxBurstLength") if isinstance(received.pdu, TextResponse) else None
    refused = isinstance(received.pdu, Reject) or value in (None, "Reject", "Irrelevant")
    require(refused, "R7143-13-01", "a refusal was due", seen=value)


@case(
    "text.abandoned-values-do-not-hold",
    clauses={"R7143-7.12-04": "text.applies-at-once"},
    role=TARGET,
    needs=[Feature.SCSI_DISK, Feature.TEXT_NEGOTIATION],
)
async def abandoned_values(disk: Session) -> None:
    """A declaration in a sequence that is broken off by a new one does not change what the target sends."""
    first = await disk.text_exchange("R7143-7.12-04", (LENGTH, "512"), final=False)
    if first.final:
        raise Inconclusive("the target ends the sequence at once")
    blocks = max(1, 4096 // disk.block_size)
    outcome = await disk.read("R7143-7.12-04", blocks=blocks)
    longest = max((len(pdu.data) for pdu in outcome.data_ins), default=0)
    require(longest > 512, "R7143-7.12-04", "the earlier segment length still holds", seen=f"{longest} bytes at most")


@case(
    "text.declared-length-holds-afterwards",
    clauses={"R7143-6.4-14": "text.declaration-forgotten"},
    role=TARGET,
    needs=[Feature.SCSI_DISK, Feature.TEXT_NEGOTIATION],
)
async def declared_length_holds(disk: Session) -> None:
    """A segment length declared in full feature phase holds once the sequence has ended."""
    await disk.text_exchange("R7143-6.4-14", (LENGTH, "512"))
    outcome = await disk.read("R7143-6.4-14", blocks=max(1, 4096 // disk.block_size))
    longest = max((len(pdu.data) for pdu in outcome.data_ins), default=0)
    require(longest <= 512, "R7143-6.4-14", "512 bytes at most were due", seen=f"{longest} bytes")


@case(
    "text.response-keeps-to-segment-length",
    clauses={"R7143-11.11.6-01": "text.response-too-long", "R7143-11.11.2-01": "text.continued-and-final"},
    role=TARGET,
    needs=[Feature.DISCOVERY],
)
async def response_length(peer: Peer) -> None:
    """A long answer to SendTargets comes in responses within the initiator's segment length; C=1 goes with F=0."""
    session = await peer.discovery([(LENGTH, "512")])
    answer = await session.text_exchange("R7143-11.11.6-01", ("SendTargets", "All"))
    for _ in range(64):
        seen = f"{len(answer.data)} bytes"
        require(len(answer.data) <= 512, "R7143-11.11.6-01", "a response has 512 bytes at most", seen=seen)
        require(not (answer.continued and answer.final), "R7143-11.11.2-01", "C=1 goes with F=0")
        if answer.final:
            break
        answer = await session.text_exchange("R7143-11.11.6-01", itt=answer.itt, ttt=answer.ttt, lun=answer.lun)


@case(
    "text.half-a-text-is-answered-empty",
    clauses={"R7143-6.2-02": "text.answers-half-a-text"},
    role=TARGET,
    needs=[Feature.TEXT_NEGOTIATION],
)
async def half_a_text(session: Session) -> None:
    """A request with C=1 is answered by an empty response with F=0, and its pairs once they are whole."""
    text = f"{UNKNOWN}=1\0".encode()
    first = await session.text_exchange("R7143-6.2-02", data=text[:9], final=False, continued=True)
    require(not first.data, "R7143-6.2-02", "an empty response was due", seen=first.data)
    require(not first.final, "R7143-6.2-02", "F=0 was due")
    answer = await session.text_exchange("R7143-6.2-02", data=text[9:], itt=first.itt, ttt=first.ttt, lun=first.lun)
    value = value_of(answer, UNKNOWN)
    require(value == "NotUnderstood", "R7143-6.2-02", "the joined text is answered", seen=value)
