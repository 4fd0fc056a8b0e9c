"""NOP-Out of an initiator (RFC 7143 sections 11.18 and 11.19)."""

from __future__ import annotations

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, log_in, request
from iscsi_conformance.verdict import require
from iscsi_protocol.fault import Drop, Insert, Of, Template
from iscsi_protocol.pdu import NO_TAG, NopIn, NopOut, Opcode

_LUN = bytes.fromhex("0001000000000000")
_TAG = 0x7A9


def _notice(**values: int | bytes) -> Template:
    """A NOP-In of the target's own, with these fields."""
    numbers = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
    return Template(NopIn, {"itt": NO_TAG, **numbers, **values})


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
    wire_only=True,
)
async def target_ping(scene: Scene) -> None:
    """A ping of the target's is answered under its transfer tag and LUN, immediately, and asks for nothing itself."""
    ping = _notice(ttt=_TAG, lun=_LUN)
    # The target has not asked itself, so the answer is none to it.
    await scene.target(answer(Opcode.SCSI_RESPONSE, Insert(ping, before=True)), request(Opcode.NOP_OUT, Drop()))
    await scene.perform(Doing.LOG_IN)
    scene.reached(scene.received(NopIn), "the target did not come to ping")
    sent = [pdu for pdu in scene.sent(NopOut) if pdu.itt == NO_TAG or pdu.ttt != NO_TAG]
    require(len(sent) == 1, "R7143-11.18-01", "the ping is answered once", seen=f"{len(sent)} NOP-Out")
    reply = sent[0]
    require(reply.ttt == _TAG, "R7143-11.18-02", "the answer has the ping's TTT", seen=hex(reply.ttt))
    require(reply.lun == _LUN, "R7143-11.18.2-03", "the answer has the ping's LUN", seen=reply.lun.hex())
    require(reply.itt == NO_TAG, "R7143-11.18.1-02", "the answer has the reserved ITT", seen=hex(reply.itt))
    require(reply.immediate, "R7143-11.18.1-04", "the answer is immediate")


@case("inop.counters", clauses={"R7143-11.18-03": "inop.answers-counters"}, role=INITIATOR, wire_only=True)
async def counters(scene: Scene) -> None:
    """A NOP-In that only tells counters is not answered."""
    await scene.target(
        answer(Opcode.SCSI_RESPONSE, Insert(_notice(ttt=NO_TAG), before=True)), request(Opcode.NOP_OUT, Drop())
    )
    await scene.perform(Doing.LOG_IN)
    scene.reached(scene.received(NopIn), "the target did not come to tell its counters")
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
