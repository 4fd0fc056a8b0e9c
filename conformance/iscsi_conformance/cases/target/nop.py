"""NOP-Out and NOP-In (RFC 7143 sections 11.18 and 11.19)."""

from __future__ import annotations

from iscsi_captures.describe import one_line
from iscsi_conformance.case import SHOULD, TARGET, case
from iscsi_conformance.feature import Feature
from iscsi_conformance.peer import Peer
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import Inconclusive, require
from iscsi_protocol import serial
from iscsi_protocol.pdu import NO_TAG, NopIn

ECHO = bytes(range(256)) * 2


@case("nop.ping-is-answered", clauses={"R7143-11.18.1-03": "nop.no-answer"}, role=TARGET)
async def ping_is_answered(session: Session) -> None:
    """A NOP-Out with a valid task tag is answered by a NOP-In."""
    sent = session.ping()
    await session.answer(NopIn, sent.itt, "R7143-11.18.1-03")


@case(
    "nop.answer-has-the-tags",
    clauses={"R7143-11.19-01": "nop.wrong-itt", "R7143-11.19-03": "nop.answer-with-ttt"},
    role=TARGET,
)
async def answer_has_the_tags(session: Session) -> None:
    """The answer to a ping repeats its task tag and has the reserved transfer tag."""
    sent = session.ping()
    answer = await session.expect(NopIn, "R7143-11.19-01", "the answer to a ping", itt=sent.itt)
    require(answer.ttt == NO_TAG, "R7143-11.19-03", "the answer's TTT is the reserved value", seen=hex(answer.ttt))


@case("nop.ping-data-is-echoed", clauses={"R7143-11.19-02": "nop.echo-altered"}, role=TARGET)
async def ping_data_is_echoed(session: Session) -> None:
    """Ping data comes back unchanged."""
    sent = session.ping(ECHO)
    answer = await session.answer(NopIn, sent.itt, "R7143-11.18.1-03")
    require(answer.data == ECHO, "R7143-11.19-02", "the ping data is echoed", seen=f"{len(answer.data)} bytes")


@case(
    "nop.echo-is-bounded-by-initiator",
    clauses={"R7143-11.18.3-01": "nop.echo-cut-short"},
    role=TARGET,
)
async def echo_is_bounded(peer: Peer) -> None:
    """Of a ping as long as the initiator's MaxRecvDataSegmentLength all data comes back."""
    session = await peer.login([("MaxRecvDataSegmentLength", "1024")])
    data = bytes(range(256)) * 4
    sent = session.ping(data[: min(1024, session.target_segment_limit)])
    answer = await session.answer(NopIn, sent.itt, "R7143-11.18.1-03")
    seen = f"{len(answer.data)} bytes"
    require(answer.data == sent.data, "R7143-11.18.3-01", f"{len(sent.data)} bytes are echoed", seen=seen)


@case(
    "nop.without-tag-is-not-answered", clauses={"R7143-11.19-04": "nop.answers-everything"}, role=TARGET, level=SHOULD
)
async def without_tag(session: Session) -> None:
    """A NOP-Out with the reserved task tag gets no answer."""
    session.ping(itt=NO_TAG)
    fence = session.ping()
    answer = await session.receive("R7143-11.18.1-03", "the answer to the ping behind it")
    tag = answer.raw.initiator_task_tag
    require(
        tag == fence.itt, "R7143-11.19-04", "only the NOP-Out with a task tag is answered", seen=one_line(answer.raw)
    )


@case("nop.numbered-ping-is-answered", clauses={"R7143-11.18.1-03": "nop.numbered-unanswered"}, role=TARGET)
async def numbered_ping(session: Session) -> None:
    """A ping that is not immediate is answered in its turn, and its CmdSN acknowledged."""
    sent = session.ping(immediate=False)
    answer = await session.answer(NopIn, sent.itt, "R7143-11.18.1-03")
    past = answer.exp_cmd_sn == serial.add(sent.cmd_sn)
    require(past, "R7143-11.18.1-03", "the ping's CmdSN is acknowledged", seen=answer.exp_cmd_sn)


@case(
    "nop.target-ping-is-well-formed",
    clauses={
        "R7143-11.19-05": "nop.ping-with-task-tag",
        "R7143-11.19-06": "nop.ping-with-data",
        "R7143-11.19.1-02": "nop.ping-without-tag",
        "R7143-11.19.2-01": "nop.ping-uses-status-number",
    },
    touches=["R7143-11.19-07"],
    role=TARGET,
    needs=[Feature.PROVOKED_EVENTS],
)
async def target_ping(peer: Peer, session: Session) -> None:
    """The target's own ping has the reserved task tag, a transfer tag, no data, and does not use up its StatSN."""
    peer.operator.ping()
    ping = (await session.raw.recv(session.response_time)).pdu
    if not isinstance(ping, NopIn):
        raise Inconclusive("another PDU came first")
    require(ping.itt == NO_TAG, "R7143-11.19-05", "ITT is the reserved value", seen=hex(ping.itt))
    require(ping.ttt != NO_TAG, "R7143-11.19.1-02", "a ping has a valid TTT")
    require(not ping.data, "R7143-11.19-06", "a ping has no data", seen=ping.data.hex())
    sent = session.ping()
    answer = await session.answer(NopIn, sent.itt, "R7143-11.18.1-03")
    same = answer.stat_sn == ping.stat_sn
    require(same, "R7143-11.19.2-01", f"StatSN {ping.stat_sn} was not used up by the ping", seen=answer.stat_sn)


@case(
    "nop.counter-update-wants-no-answer",
    clauses={"R7143-11.19.1-01": "nop.update-with-tag"},
    role=TARGET,
    needs=[Feature.PROVOKED_EVENTS],
)
async def counter_update(peer: Peer, session: Session) -> None:
    """A NOP-In that only tells the counters has both tags reserved."""
    peer.operator.tell_counters()
    update = (await session.raw.recv(session.response_time)).pdu
    if not isinstance(update, NopIn):
        raise Inconclusive("another PDU came first")
    require(update.ttt == NO_TAG, "R7143-11.19.1-01", "TTT is the reserved value", seen=hex(update.ttt))


@case("nop.reserved-bits-are-ignored", clauses={"R7143-11-03": "nop.minds-reserved-fields"}, role=TARGET)
async def reserved_fields(session: Session) -> None:
    """Reserved bits in a NOP-Out do not disturb the target."""
    sent = session.ping(reserved=1 << 8 * 4)
    answer = await session.receive("R7143-11-03", "the answer to a ping with a reserved bit set")
    good = isinstance(answer.pdu, NopIn) and answer.pdu.itt == sent.itt
    require(good, "R7143-11-03", "reserved bits are ignored", seen=one_line(answer.raw))
