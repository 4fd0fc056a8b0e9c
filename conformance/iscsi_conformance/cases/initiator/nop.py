"""NOP-Out of an initiator (RFC 7143 sections 11.18 and 11.19)."""

from __future__ import annotations

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import A_MOMENT, answer, log_in, request
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Set
from iscsi_protocol.pdu import NO_LUN, NO_TAG, NopIn, NopOut, Opcode

_LUN = bytes.fromhex("0001000000000000")


@case(
    "inop.target-ping",
    clauses={
        "R7143-11.18-01": "inop.silent",
        "R7143-11.18-02": "inop.other-tag",
        "R7143-11.18.2-03": "inop.no-lun",
        "R7143-11.18.1-02": "inop.answer-with-task-tag",
        "R7143-11.18.1-04": "inop.answer-not-immediate",
    },
    role=INITIATOR,
)
async def target_ping(scene: Scene) -> None:
    """A ping of the target's is answered under its transfer tag and LUN, immediately, and asks for nothing itself."""
    stage = await scene.target(answer(Opcode.NOP_IN, Set("lun", _LUN)), request(Opcode.NOP_OUT, Set("lun", NO_LUN)))
    await log_in(scene)
    stage.operator.ping()
    await scene.until(lambda: scene.sent(NopOut))
    (ping,) = scene.received(NopIn)
    sent = scene.sent(NopOut)
    require(len(sent) == 1, "R7143-11.18-01", "the ping is answered once", seen=f"{len(sent)} NOP-Out")
    reply = sent[0]
    require(reply.ttt == ping.ttt, "R7143-11.18-02", "the answer has the ping's TTT", seen=hex(reply.ttt))
    require(reply.lun == ping.lun, "R7143-11.18.2-03", "the answer has the ping's LUN", seen=reply.lun.hex())
    require(reply.itt == NO_TAG, "R7143-11.18.1-02", "the answer has the reserved ITT", seen=hex(reply.itt))
    require(reply.immediate, "R7143-11.18.1-04", "the answer is immediate")


@case("inop.counters", clauses={"R7143-11.18-03": "inop.answers-counters"}, role=INITIATOR)
async def counters(scene: Scene) -> None:
    """A NOP-In that only tells counters is not answered."""
    stage = await scene.target()
    await log_in(scene)
    stage.operator.tell_counters()
    await scene.until(lambda: scene.received(NopIn))
    await scene.settle(A_MOMENT)
    sent = len(scene.sent(NopOut))
    require(sent == 0, "R7143-11.18-03", "counters are not answered", seen=f"{sent} NOP-Out")


@case(
    "inop.own-ping",
    clauses={"R7143-11.18.2-02": "inop.ping-with-transfer-tag", "R7143-11.18.1-01": "inop.ping-without-tag"},
    touches=["R7143-11.18.2-01"],
    role=INITIATOR,
)
async def own_ping(scene: Scene) -> None:
    """A ping of the initiator's has a task tag, and the reserved transfer tag."""
    client = await log_in(scene)
    await scene.attempt(client.ping(b"are you there?"))
    (sent,) = scene.sent(NopOut)
    require(sent.ttt == NO_TAG, "R7143-11.18.2-02", "a ping has the reserved TTT", seen=hex(sent.ttt))
    require(sent.itt != NO_TAG, "R7143-11.18.1-01", "a ping that wants an answer has an ITT")
