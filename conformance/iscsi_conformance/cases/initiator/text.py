"""Text Requests of an initiator, and discovery (RFC 7143 sections 6.4, 11.10, 11.11 and 13.3, Appendix C)."""

from __future__ import annotations

import asyncio

import msgspec

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import (
    answer,
    configured,
    dialogue,
    log_in,
    login_keys,
    logins,
    request,
    text_of,
    values,
)
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client
from iscsi_initiator.settings import Settings
from iscsi_protocol.fault import Set
from iscsi_protocol.pdu import NO_LUN, Opcode, TextRequest, TextResponse
from iscsi_target.config import TargetNode

_LENGTH = ("MaxRecvDataSegmentLength", "32768")
_LUN = bytes.fromhex("0001000000000000")


@case("itext.final", clauses={"R7143-6.4-03": "itext.not-final"}, role=INITIATOR, wire_only=True)
async def final(scene: Scene) -> None:
    """The only request of an exchange says by F that the initiator is done."""
    await scene.perform(Doing.DISCOVER)
    require(scene.some(TextRequest)[0].final, "R7143-6.4-03", "F is set")


@case(
    "itext.goes-on",
    clauses={
        "R7143-6.4-05": "itext.gives-up-f",
        "R7143-11.10.3-01": "itext.itt-changes",
        "R7143-11.10.3-02": "itext.i-changes",
        "R7143-11.11.4-03": "itext.transfer-tag-lost",
    },
    role=INITIATOR,
    wire_only=True,
)
async def goes_on(scene: Scene) -> None:
    """Where the target has not said F yet the initiator asks again, under the same task tag and the target's own tag."""
    await scene.target(request(Opcode.TEXT_REQUEST, Set("final", False)))
    await scene.perform(Doing.DISCOVER)
    response = scene.reached(scene.received(TextResponse), "there was no text exchange")[0]
    first, *others = scene.some(TextRequest)
    require(others, "R7143-6.4-05", "the initiator asks again where the target has not said F")
    second = others[0]
    require(second.final, "R7143-6.4-05", "F is repeated until the target has F")
    require(second.itt == first.itt, "R7143-11.10.3-01", "the ITT stays", seen=second.itt)
    require(second.immediate == first.immediate, "R7143-11.10.3-02", "the I bit stays")
    require(second.ttt == response.ttt, "R7143-11.11.4-03", "the TTT of the response is copied", seen=hex(second.ttt))


@case("itext.lun", clauses={"R7143-11.11.4-03": "itext.lun-lost"}, role=INITIATOR, wire_only=True)
async def lun(scene: Scene) -> None:
    """The next request of an exchange has the LUN of the response."""
    await scene.target(
        request(Opcode.TEXT_REQUEST, Set("final", False)),
        answer(Opcode.TEXT_RESPONSE, Set("lun", _LUN)),
        request(Opcode.TEXT_REQUEST, Set("lun", NO_LUN), nth=2),
    )
    await scene.perform(Doing.DISCOVER)
    scene.some(TextRequest)
    second = scene.reached(scene.sent(TextRequest)[1:], "the initiator did not ask again")[0]
    require(second.lun == _LUN, "R7143-11.11.4-03", "the LUN of the response is copied", seen=second.lun.hex())


@case(
    "itext.long-text",
    clauses={"R7143-11.10.2-01": "itext.final-with-more", "R7143-11.10.5-01": "itext.long-segments"},
    role=INITIATOR,
)
async def long_text(scene: Scene) -> None:
    """Text over the target's MaxRecvDataSegmentLength goes into several requests, all but the last with C=1 and F=0."""
    await scene.target(config=configured(MaxRecvDataSegmentLength="512"))
    client = await log_in(scene)
    pairs = [(f"X-org.example.key{number}", "v" * 250) for number in range(4)]
    await scene.attempt(client.negotiate(*pairs))
    for sent in scene.sent(TextRequest):
        require(not (sent.continued and sent.final), "R7143-11.10.2-01", "C=1 goes with F=0")
        require(len(sent.data) <= 512, "R7143-11.10.5-01", "512 bytes are the most", seen=len(sent.data))


@case(
    "itext.one-at-a-time",
    clauses={"R7143-11.10-01": "itext.two-at-once"},
    touches=["R7143-6.2-05"],
    role=INITIATOR,
)
async def one_at_a_time(scene: Scene) -> None:
    """Of two exchanges that are wanted at once the second one waits for the end of the first."""
    client = await log_in(scene)
    await scene.attempt(asyncio.gather(client.negotiate(_LENGTH), client.negotiate(("InitiatorAlias", "tester"))))
    outstanding = 0
    for _, pdu in dialogue(scene):
        outstanding += isinstance(pdu, TextRequest)
        outstanding -= isinstance(pdu, TextResponse)
        require(outstanding <= 1, "R7143-11.10-01", "one Text Request is outstanding", seen=outstanding)


# ---- discovery ----


async def _discover(scene: Scene, settings: Settings | None = None) -> None:
    client: Client = await scene.login(target_name=None, settings=settings)
    await client.send_targets()
    await client.logout()


@case("idiscovery.send-targets-alone", clauses={"R7143-C-07": "idiscovery.more-keys"}, role=INITIATOR, wire_only=True)
async def send_targets_alone(scene: Scene) -> None:
    """SendTargets is the only key of its Text Request."""
    await scene.perform(Doing.DISCOVER)
    keys = [key for key, _ in text_of(scene.some(TextRequest)[:1])]
    require(keys == ["SendTargets"], "R7143-C-07", "SendTargets stands alone", seen=keys)


@case(
    "idiscovery.login",
    clauses={
        "R7143-13.21-04": "idiscovery.no-session-type",
        "R7143-13.22-02": "idiscovery.vendor-key",
        "R7143-13.21-03": "idiscovery.recovery-level-1",
    },
    touches=["R7143-7.4.1-02"],
    role=INITIATOR,
    wire_only=True,
)
async def discovery_login(scene: Scene) -> None:
    """A discovery session is asked for as such in the first request, without vendors' keys, at recovery level 0."""
    await scene.perform(Doing.DISCOVER)
    first = text_of(logins(scene)[0][:1])
    scene.reached(not values(first, "TargetName"), "the first session was no discovery session")
    require(values(first, "SessionType") == ["Discovery"], "R7143-13.21-04", "SessionType=Discovery comes first")
    keys = login_keys(scene)
    vendors = [key for key, _ in keys if key.startswith("X-")]
    require(not vendors, "R7143-13.22-02", "vendors' keys are for normal sessions", seen=vendors)
    levels = values(keys, "ErrorRecoveryLevel")
    require(set(levels) <= {"0"}, "R7143-13.21-03", "the recovery level is 0", seen=levels)


@case("idiscovery.answer-in-parts", clauses={"R7143-6.2-03": "itext.talks-into-the-answer"}, role=INITIATOR)
async def answer_in_parts(scene: Scene) -> None:
    """The parts of an answer that comes in several (C=1) are fetched with empty requests."""
    nodes = [TargetNode(name=f"{PLAIN}-{number}") for number in range(8)]
    await scene.target(config=msgspec.structs.replace(configured(), targets=nodes))
    await scene.attempt(_discover(scene, Settings(max_recv_data_segment_length=512)))
    parts = [response for response in scene.received(TextResponse) if response.continued]
    require(parts, "R7143-6.2-03", "the answer comes in parts")
    sent = [len(pdu.data) for pdu in scene.sent(TextRequest)[1:]]
    require(not any(sent), "R7143-6.2-03", "parts are fetched with empty requests", seen=sent)
