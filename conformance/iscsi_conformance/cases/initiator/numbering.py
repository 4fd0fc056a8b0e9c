"""CmdSN, ExpStatSN and task tags of an initiator, and headers in general (RFC 7143 sections 4.2.2, 7.7 and 11.2)."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TypeGuard

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import (
    A_MOMENT,
    answer,
    configured,
    first_dialogue,
    is_a,
    log_in,
    must_drop,
    request,
    require_dropped,
)
from iscsi_conformance.verdict import require
from iscsi_protocol import serial
from iscsi_protocol.fault import Drop, Insert, Of, Part, Plus, Replace, Set, Template
from iscsi_protocol.pdu import (
    NO_TAG,
    DataIn,
    LoginResponse,
    NopIn,
    NopOut,
    Opcode,
    Pdu,
    ScsiCommand,
    ScsiResponse,
    decode,
    is_initiator_opcode,
)
from iscsi_protocol.scsi.lun import encode_lun
from iscsi_protocol.scsi.opcodes import TEST_UNIT_READY
from iscsi_protocol.stream import Direction

_READY = TEST_UNIT_READY.build()
_NUMBERS = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
_MANY = 64


def _commands(scene: Scene) -> list[ScsiCommand]:
    """The commands of the first connection. Raises Inconclusive where there is no second one."""
    sent = [pdu for _, pdu in first_dialogue(scene) if isinstance(pdu, ScsiCommand)]
    return scene.reached(sent if len(sent) > 1 else [], "the initiator sent no two commands on its first connection")


def _ends_task(pdu: Pdu) -> TypeGuard[ScsiResponse | DataIn]:
    return isinstance(pdu, ScsiResponse) or (isinstance(pdu, DataIn) and pdu.status_present)


@case(
    "inumbering.cmd-sn-rises-by-one",
    clauses={"R7143-4.2.2.1-03": "inumbering.number-left-out", "R7143-4.2.2.1-18": "inumbering.number-twice"},
    role=INITIATOR,
    wire_only=True,
)
async def rises_by_one(scene: Scene) -> None:
    """Each command has the CmdSN behind that of the command before."""
    await scene.perform(Doing.LOG_IN)
    numbers = [sent.cmd_sn for sent in _commands(scene)]
    require(len(set(numbers)) == len(numbers), "R7143-4.2.2.1-18", "no number comes twice", seen=numbers)
    steps = [serial.add(one) == other for one, other in pairwise(numbers)]
    require(all(steps), "R7143-4.2.2.1-03", "CmdSN rises by one", seen=numbers)


@case(
    "inumbering.in-order",
    clauses={"R7143-4.2.2.1-08": "inumbering.overtaken"},
    role=INITIATOR,
    wire_only=True,
)
async def in_order(scene: Scene) -> None:
    """Commands given at once leave in the order of their numbers."""
    await scene.perform(Doing.LOAD, until=lambda: len(scene.sent(ScsiCommand)) > _MANY)
    numbers = [sent.cmd_sn for sent in _commands(scene)]
    rising = all(serial.lt(one, other) for one, other in pairwise(numbers))
    require(rising, "R7143-4.2.2.1-08", "CmdSN rises on the connection", seen=numbers)


@case(
    "inumbering.immediate-request",
    clauses={
        "R7143-4.2.2.1-01": "inumbering.immediate-has-any-number",
        "R7143-4.2.2.1-02": "inumbering.immediate-uses-number",
    },
    role=INITIATOR,
)
async def immediate_request(scene: Scene) -> None:
    """An immediate request carries the CmdSN that the next command will have, and does not use it up."""
    client = await log_in(scene)
    await scene.attempt(client.execute(_READY))
    await scene.attempt(client.ping())
    await scene.attempt(client.execute(_READY))
    (first, second), (ping,) = scene.sent(ScsiCommand), scene.sent(NopOut)
    require(ping.immediate, "R7143-4.2.2.1-01", "the ping is immediate")
    due = serial.add(first.cmd_sn)
    require(ping.cmd_sn == due, "R7143-4.2.2.1-01", f"an immediate request has CmdSN {due}", seen=ping.cmd_sn)
    require(second.cmd_sn == due, "R7143-4.2.2.1-02", f"the command behind it has CmdSN {due}", seen=second.cmd_sn)


# ---- the window ----


def _within_window(scene: Scene, clause: str) -> None:
    """No command lay beyond the MaxCmdSN that the target had sent by then, whether or not it had arrived."""
    high = 0
    for _, pdu in first_dialogue(scene):
        if isinstance(pdu, LoginResponse | ScsiResponse | DataIn):
            high = pdu.max_cmd_sn
        elif isinstance(pdu, ScsiCommand):
            require(serial.le(pdu.cmd_sn, high), clause, f"CmdSN is {high} at most", seen=pdu.cmd_sn)


@case(
    "inumbering.window-respected",
    clauses={"R7143-4.2.2.1-14": "inumbering.ignores-window"},
    role=INITIATOR,
    wire_only=True,
)
async def window_respected(scene: Scene) -> None:
    """Of many commands at once only those within the command window are sent."""
    await scene.target(config=configured(commands=2))
    await scene.perform(Doing.LOAD, until=lambda: len(scene.sent(ScsiCommand)) > _MANY)
    _commands(scene)
    _within_window(scene, "R7143-4.2.2.1-14")


_CLOSED = answer(Opcode.LOGIN_RESPONSE, Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -1)), stage=1)


@case(
    "inumbering.closed-window",
    clauses={"R7143-4.2.2.1-16": "inumbering.believes-impossible-window"},
    role=INITIATOR,
)
async def closed_window(scene: Scene) -> None:
    """A MaxCmdSN below ExpCmdSN - 1 opens no window; a proper pair does."""
    impossible = answer(Opcode.NOP_IN, Set("max_cmd_sn", Plus(2)), Set("exp_cmd_sn", Of("trigger.max_cmd_sn", 9)))
    stage = await scene.target(_CLOSED, impossible)
    client = await log_in(scene)
    command = asyncio.ensure_future(client.execute(_READY))
    stage.operator.tell_counters()
    await scene.until(lambda: scene.received(NopIn))
    await scene.settle(A_MOMENT)
    sent = len(scene.sent(ScsiCommand))
    require(sent == 0, "R7143-4.2.2.1-16", "impossible counters leave the window closed", seen=f"{sent} commands")
    stage.operator.tell_counters()
    error = await scene.attempt(command)
    require(error is None, "R7143-4.2.2.1-16", "an open window lets the command out", seen=error)


@case(
    "inumbering.counters-do-not-go-back",
    clauses={"R7143-4.2.2.1-17": "inumbering.window-goes-back"},
    role=INITIATOR,
)
async def counters_stay(scene: Scene) -> None:
    """Counters that are older than those that the initiator has do not close the window."""
    old = answer(Opcode.NOP_IN, Set("exp_cmd_sn", Plus(-1)), Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -2)))
    stage = await scene.target(old)
    client = await log_in(scene)
    await scene.attempt(client.execute(_READY))
    stage.operator.tell_counters()
    await scene.until(lambda: scene.received(NopIn))
    await scene.attempt(client.execute(_READY))
    sent = len(scene.sent(ScsiCommand))
    require(sent == 2, "R7143-4.2.2.1-17", "the window stays open", seen=f"{sent} commands")


# ---- status ----


@case(
    "inumbering.exp-stat-sn-follows",
    clauses={
        "R7143-11.3.3-01": "inumbering.acknowledges-too-much",
        "R7143-4.2.2.2-05": "inumbering.acknowledges-late",
    },
    role=INITIATOR,
    wire_only=True,
)
async def exp_stat_sn_follows(scene: Scene) -> None:
    """ExpStatSN is the number behind that of the latest status, where every command waits for the end of the one before."""
    await scene.perform(Doing.LOG_IN)
    _commands(scene)
    due = 0
    waiting = 0
    for _, pdu in first_dialogue(scene):
        if isinstance(pdu, ScsiResponse | LoginResponse) or _ends_task(pdu):
            due = serial.add(pdu.stat_sn)
            waiting = 0
        elif isinstance(pdu, ScsiCommand):
            ahead = serial.gt(pdu.exp_stat_sn, due)
            require(not ahead, "R7143-11.3.3-01", f"ExpStatSN is {due} at most", seen=pdu.exp_stat_sn)
            seen = pdu.exp_stat_sn
            require(waiting or seen == due, "R7143-4.2.2.2-05", f"ExpStatSN is {due} behind the last status", seen=seen)
            waiting += 1


@case(
    "inumbering.status-gap",
    clauses={"R7143-7.9-03": "inumbering.ignores-status-gap"},
    touches=["R7143-4.2.2.2-03"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:42"],
)
async def status_gap(scene: Scene) -> None:
    """A gap in StatSN at recovery level 0 ends the connection."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("stat_sn", Plus(1))))
    told = is_a(Opcode.SCSI_RESPONSE)
    await must_drop(scene, Doing.LOG_IN, "R7143-7.9-03", "a gap in StatSN", told, logout=True)


# ---- tags ----


@case(
    "inumbering.task-tags",
    clauses={
        "R7143-11.2.1.8-01": "inumbering.one-tag-for-all",
        "R7143-11.2.1.8-02": "inumbering.reserved-tag",
    },
    role=INITIATOR,
    wire_only=True,
)
async def task_tags(scene: Scene) -> None:
    """Tasks that are open at the same time have different tags, and none the reserved one."""
    await scene.perform(Doing.LOAD, until=lambda: len(scene.sent(ScsiCommand)) > _MANY)
    tags = [sent.itt for sent in _commands(scene)]
    require(NO_TAG not in tags, "R7143-11.2.1.8-02", "no task has the reserved tag", seen=[hex(tag) for tag in tags])
    open_tags: set[int] = set()
    for way, pdu in first_dialogue(scene):
        if isinstance(pdu, ScsiCommand):
            require(pdu.itt not in open_tags, "R7143-11.2.1.8-01", "an open task's tag is not used", seen=pdu.itt)
            open_tags.add(pdu.itt)
        elif way is Direction.TO_INITIATOR and _ends_task(pdu):
            open_tags.discard(pdu.itt)


@case(
    "inumbering.unknown-tag",
    clauses={"R7143-4.2.5.3-01": "inumbering.takes-any-tag"},
    role=INITIATOR,
    events=["iScsiPrt:27"],
)
async def unknown_tag(scene: Scene) -> None:
    """A response with a tag that no task has ends no task."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("itt", 0x7E570000)))
    client = await log_in(scene)
    command = asyncio.ensure_future(client.execute(_READY))
    await scene.until(lambda: scene.received(ScsiResponse))
    await scene.settle(A_MOMENT)
    open_still = not command.done()
    command.cancel()
    require(open_still, "R7143-4.2.5.3-01", "the task goes on waiting for its own response")


# ---- headers ----


@case(
    "inumbering.headers",
    clauses={
        "R7143-11.2.1.2-01": "inumbering.target-opcode",
        "R7143-11-02": "inumbering.reserved-bits",
        "R7143-11.2.1.5-01": "inumbering.ahs-length",
        "R7143-11.2.1.7-01": "inumbering.lun-shifted",
    },
    role=INITIATOR,
    wire_only=True,
)
async def headers(scene: Scene) -> None:
    """Opcodes are an initiator's, reserved bits are zero, there is no AHS, and the LUN has the bytes of SAM."""
    # A ping of the target's draws a NOP-Out from every initiator.
    ping = Template(NopIn, {"itt": NO_TAG, "ttt": 0x7A9, **_NUMBERS})
    await scene.target(
        answer(Opcode.SCSI_RESPONSE, Insert(ping, before=True)), request(Opcode.NOP_OUT, Drop()), config=configured()
    )
    await scene.perform(Doing.LOG_IN, lun=scene.lun)
    scene.some(ScsiCommand)
    for raw in scene.raw(Direction.TO_TARGET):
        own = is_initiator_opcode(raw.opcode)
        require(own, "R7143-11.2.1.2-01", "the opcode is an initiator's", seen=hex(raw.opcode))
        require(raw.bhs[4] == 0, "R7143-11.2.1.5-01", "TotalAHSLength is 0", seen=raw.bhs[4])
        pdu: Pdu = decode(raw)
        if isinstance(pdu, ScsiCommand):
            lun = encode_lun(scene.lun)
            require(pdu.lun == lun, "R7143-11.2.1.7-01", f"LUN {scene.lun} is {lun.hex()}", seen=pdu.lun.hex())
        require(pdu.reserved == 0, "R7143-11-02", "reserved bits are zero", seen=raw.bhs.hex())


@case(
    "inumbering.reserved-response-code",
    clauses={"R7143-7.7-01": "inumbering.accepts-invalid-pdus"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:23"],
)
async def reserved_response_code(scene: Scene) -> None:
    """A reserved code in a SCSI Response is a format error: the connection ends."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("response", 0x42)))
    await must_drop(scene, Doing.LOG_IN, "R7143-7.7-01", "response code 0x42", is_a(Opcode.SCSI_RESPONSE))


@case(
    "inumbering.reserved-opcode",
    clauses={"R7143-7.7-02": "inumbering.accepts-invalid-pdus"},
    role=INITIATOR,
    events=["iScsiPrt:24"],
)
async def reserved_opcode(scene: Scene) -> None:
    """An opcode that no target sends ends the connection."""
    await scene.target(answer(Opcode.NOP_IN, Set("opcode", 0x2A)))
    client = await log_in(scene)
    await scene.attempt(client.ping())
    await require_dropped(scene, "R7143-7.7-02", "opcode 0x2a")


@case(
    "inumbering.data-that-is-no-sense",
    clauses={"R7143-7.7-02": "inumbering.accepts-invalid-pdus"},
    role=INITIATOR,
    events=["iScsiPrt:60"],
)
async def data_no_sense(scene: Scene) -> None:
    """A SCSI Response whose data is no sense data ends the connection."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Replace(Part.DATA, bytes.fromhex("00ff70000000"))))
    what = "a sense length beyond the data"
    await must_drop(scene, Doing.LOG_IN, "R7143-7.7-02", what, is_a(Opcode.SCSI_RESPONSE))
