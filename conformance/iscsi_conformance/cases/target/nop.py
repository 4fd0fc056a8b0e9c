"""NOP-Out and NOP-In (RFC 7143 sections 11.18 and 11.19)."""

from __future__ import annotations

from iscsi_conformance.case import TARGET, case
from iscsi_conformance.session import Session
from iscsi_conformance.verdict import require
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
