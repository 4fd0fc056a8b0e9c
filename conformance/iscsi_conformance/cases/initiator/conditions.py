"""What an initiator makes of a target's ordinary troubles: a narrow window, BUSY, unit attentions, a cut connection
(RFC 7143 sections 4.2.2, 6.3.5, 7.5, 7.7 and 11.4).
"""

from __future__ import annotations

from itertools import pairwise

from iscsi_conformance.case import INITIATOR, SHOULD, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, configured, first_dialogue, is_a, logins, must_drop, with_node
from iscsi_conformance.verdict import require
from iscsi_initiator.settings import Settings
from iscsi_protocol import serial
from iscsi_protocol.fault import Close, Of, Part, Replace, Set
from iscsi_protocol.pdu import (
    LoginResponse,
    Opcode,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    decode,
)
from iscsi_protocol.scsi.status import Status

_A_WHILE = 0.3
_SOON = Settings(default_time2wait=1)
_READS = 40
"""The read at which the connection is cut; the initiator is not that far again when the case ends."""


# ---- the window ----


@case(
    "icondition.closed-window",
    clauses={"R7143-4.2.2.1-14": "inumbering.ignores-window"},
    role=INITIATOR,
    wire_only=True,
)
async def closed_window(scene: Scene) -> None:
    """Behind a login that leaves the command window closed no command comes until the target opens it."""
    shut = answer(Opcode.LOGIN_RESPONSE, Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -1)), stage=1)
    stage = await scene.target(shut)
    doing = scene.begin(Doing.LOG_IN)
    await scene.until(lambda: doing.done() or any(pdu.tsih for pdu in scene.received(LoginResponse)))
    await scene.settle(_A_WHILE)
    scene.reached(scene.received(LoginResponse), "nobody logged in")
    early = len(scene.sent(ScsiCommand))
    require(not early, "R7143-4.2.2.1-14", "no command is sent into a closed window", seen=f"{early} commands")
    stage.operator.tell_counters()
    await scene.until(lambda: scene.sent(ScsiCommand))
    scene.some(ScsiCommand)


@case(
    "icondition.impossible-counters",
    clauses={"R7143-4.2.2.1-17": "inumbering.window-goes-back"},
    touches=["R7143-4.2.2.1-16"],
    role=INITIATOR,
    wire_only=True,
)
async def impossible_counters(scene: Scene) -> None:
    """Counters that went back, or that cannot be, do not close the window."""
    old = Set("exp_cmd_sn", Of("trigger.exp_cmd_sn", -9)), Set("max_cmd_sn", Of("trigger.exp_cmd_sn", -2))
    await scene.target(answer(Opcode.SCSI_RESPONSE, *old))
    await scene.perform(Doing.LOG_IN)
    reaction = scene.reached(scene.reaction(is_a(Opcode.SCSI_RESPONSE)), "the target did not come to send a response")
    behind = [pdu for pdu in reaction.sent if isinstance(pdu, ScsiCommand)]
    require(behind, "R7143-4.2.2.1-17", "commands are sent in the window of the login", seen=reaction)


# ---- statuses ----


def _in_turn(scene: Scene, clause: str) -> None:
    """Each command of the first connection has the CmdSN behind that of the one before."""
    numbers = [pdu.cmd_sn for _, pdu in first_dialogue(scene) if isinstance(pdu, ScsiCommand) and not pdu.immediate]
    scene.reached(len(numbers) > 1, "the initiator sent no two commands")
    steps = all(serial.add(one) == other for one, other in pairwise(numbers))
    require(steps, clause, "CmdSN rises by one", seen=numbers)


def _acknowledged(scene: Scene, clause: str, kind: int) -> None:
    """The first response with this SCSI status is acknowledged by what the initiator sends next."""

    def told(raw: RawPdu) -> bool:
        response = decode(raw)
        return isinstance(response, ScsiResponse) and response.status == kind

    reaction = scene.reached(scene.reaction(told), f"the target did not come to answer with status {kind:#04x}")
    response = decode(reaction.to.raw)
    following = scene.reached(reaction.sent, "the initiator sent nothing more")[0]
    due = serial.add(response.stat_sn if isinstance(response, ScsiResponse) else 0)
    seen = getattr(following, "exp_stat_sn", None)
    require(seen == due, clause, f"ExpStatSN {due} acknowledges the status", seen=seen)


@case(
    "icondition.busy",
    clauses={
        "R7143-4.2.2.1-03": "inumbering.number-left-out",
        "R7143-4.2.2.2-05": "inumbering.acknowledges-late",
    },
    role=INITIATOR,
    wire_only=True,
)
async def busy(scene: Scene) -> None:
    """BUSY ends a command like any status: it is acknowledged, and what follows has the next CmdSN."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("status", Status.BUSY)))
    await scene.perform(Doing.LOG_IN)
    _acknowledged(scene, "R7143-4.2.2.2-05", Status.BUSY)
    _in_turn(scene, "R7143-4.2.2.1-03")


@case(
    "icondition.task-set-full",
    clauses={
        "R7143-4.2.2.1-03": "inumbering.number-left-out",
        "R7143-4.2.2.2-05": "inumbering.acknowledges-late",
    },
    role=INITIATOR,
    wire_only=True,
)
async def task_set_full(scene: Scene) -> None:
    """TASK SET FULL ends a command like any status: it is acknowledged, and what follows has the next CmdSN."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("status", Status.TASK_SET_FULL)))
    await scene.perform(Doing.LOG_IN)
    _acknowledged(scene, "R7143-4.2.2.2-05", Status.TASK_SET_FULL)
    _in_turn(scene, "R7143-4.2.2.1-03")


@case(
    "icondition.unit-attention",
    clauses={
        "R7143-4.2.2.1-03": "inumbering.number-left-out",
        "R7143-4.2.2.2-05": "inumbering.acknowledges-late",
    },
    role=INITIATOR,
    wire_only=True,
)
async def unit_attention(scene: Scene) -> None:
    """A unit attention condition at the first command is acknowledged, and what follows has the next CmdSN."""
    await scene.target(config=with_node(initial_unit_attention=True))
    await scene.perform(Doing.LOG_IN)
    _acknowledged(scene, "R7143-4.2.2.2-05", Status.CHECK_CONDITION)
    _in_turn(scene, "R7143-4.2.2.1-03")


@case(
    "icondition.no-sense",
    clauses={"R7143-7.7-01": "inumbering.accepts-invalid-pdus"},
    touches=["R7143-7.7-02"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:23"],
)
async def no_sense(scene: Scene) -> None:
    """CHECK CONDITION without sense data is a format error: the connection ends."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("status", Status.CHECK_CONDITION), Replace(Part.DATA, b"")))
    told = is_a(Opcode.SCSI_RESPONSE)
    await must_drop(scene, Doing.LOG_IN, "R7143-7.7-01", "CHECK CONDITION without sense data", told)


@case(
    "icondition.both-residuals",
    clauses={"R7143-7.7-01": "inumbering.accepts-invalid-pdus"},
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:23"],
)
async def both_residuals(scene: Scene) -> None:
    """Overflow and underflow at once are inconsistent: the connection ends."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Set("overflow", True), Set("underflow", True)))
    told = is_a(Opcode.SCSI_RESPONSE)
    await must_drop(scene, Doing.LOG_IN, "R7143-7.7-01", "a response with O and U", told)


# ---- cut off ----


@case(
    "icondition.cut-connection",
    clauses={"R7143-6.3.5-01": "irecovery.old-tsih", "R7143-4.4.3.1-01": "irecovery.another-isid"},
    touches=["R7143-7.15-01"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:20", "iScsiPrt:34"],
)
async def cut_connection(scene: Scene) -> None:
    """An initiator that comes back when the connection was cut among reads makes its session anew, by the former ISID."""
    await scene.target(answer(Opcode.SCSI_DATA_IN, Close(), nth=_READS), config=configured(DefaultTime2Wait="1"))
    await _comes_back(scene)
    first, again, *_ = logins(scene)
    isid, seen = first[0].isid.hex(), again[0].isid.hex()
    require(again[0].tsih == 0, "R7143-6.3.5-01", "the TSIH is 0", seen=again[0].tsih)
    require(seen == isid, "R7143-4.4.3.1-01", f"the ISID is {isid}", seen=seen)


async def _comes_back(scene: Scene) -> None:
    """Have the initiator read, and log in again where it does. Raises Inconclusive where it does not."""
    await scene.perform(Doing.LOAD, until=lambda: _full_feature(scene) > 1, recover=True, settings=_SOON)
    scene.reached(len(logins(scene)) > 1, "the initiator did not come back")


def _full_feature(scene: Scene) -> int:
    return sum(pdu.tsih != 0 for pdu in scene.received(LoginResponse))


@case(
    "icondition.waits-to-come-back",
    clauses={"R7143-7.5-01": "irecovery.does-not-wait"},
    touches=["R7143-7.5.1-01"],
    level=SHOULD,
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:20"],
)
async def waits_to_come_back(scene: Scene) -> None:
    """A connection that was cut is not opened again within the DefaultTime2Wait that was agreed on."""
    await scene.target(answer(Opcode.SCSI_RESPONSE, Close()), config=configured(DefaultTime2Wait="3"))
    told = is_a(Opcode.SCSI_RESPONSE)
    doing = scene.begin(Doing.LOAD, recover=True)
    await scene.until(lambda: doing.done() or scene.reaction(told))
    await scene.settle(_A_WHILE)
    reaction = scene.reached(scene.reaction(told), "the target did not come to cut the connection")
    require(
        not reaction.connects, "R7143-7.5-01", "3 seconds of Time2Wait are waited for", seen=f"back in {_A_WHILE} s"
    )
