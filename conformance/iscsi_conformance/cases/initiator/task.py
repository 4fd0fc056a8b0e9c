"""Task management and logout of an initiator (RFC 7143 sections 7.11, 11.5 and 11.14)."""

from __future__ import annotations

import asyncio

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.case import INITIATOR, SHOULD, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.reaction import by_connection
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import A_MOMENT, answer, configured, first_dialogue, is_a, log_in, request
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client
from iscsi_initiator.requests import ScsiRequest
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_protocol import serial
from iscsi_protocol.fault import Drop, Reset
from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    LogoutReason,
    LogoutRequest,
    Opcode,
    ScsiCommand,
    ScsiResponse,
    TaskFunction,
    TaskManagementRequest,
    decode,
)
from iscsi_protocol.scsi.opcodes import TEST_UNIT_READY
from iscsi_protocol.stream import Direction

_READY = TEST_UNIT_READY.build()
_LUN_1 = bytes.fromhex("0001000000000000")


async def _abort(scene: Scene) -> tuple[ScsiCommand, TaskManagementRequest]:
    """Have the second command aborted, which the target never sees. It, and the request to abort it."""
    await scene.target(request(Opcode.SCSI_COMMAND, Drop(), nth=2), config=configured())
    client = await log_in(scene, lun=1)
    await scene.attempt(client.execute(_READY))
    lost = ScsiRequest(1, _READY)
    waiting = asyncio.ensure_future(client.submit(lost))
    await scene.settle(A_MOMENT)
    await scene.attempt(client.task_management(TaskFunction.ABORT_TASK, 1, lost))
    await scene.attempt(waiting)
    return scene.sent(ScsiCommand)[1], scene.sent(TaskManagementRequest)[0]


@case(
    "itask.abort",
    clauses={"R7143-11.5.1-11": "itask.other-ref-cmd-sn", "R7143-11.5.3-01": "itask.no-lun"},
    role=INITIATOR,
)
async def abort(scene: Scene) -> None:
    """ABORT TASK names the LUN and the CmdSN of the command."""
    command, abort_task = await _abort(scene)
    ref = abort_task.ref_cmd_sn
    require(ref == command.cmd_sn, "R7143-11.5.1-11", f"RefCmdSN is {command.cmd_sn}", seen=ref)
    require(abort_task.lun == command.lun, "R7143-11.5.3-01", "the LUN is that of the task", seen=abort_task.lun.hex())


@case("itask.abort-looks-back", clauses={"R7143-11.5.5-02": "itask.ref-cmd-sn-ahead"}, role=INITIATOR)
async def abort_looks_back(scene: Scene) -> None:
    """RefCmdSN is below the CmdSN of the request."""
    _, abort_task = await _abort(scene)
    below = serial.lt(abort_task.ref_cmd_sn, abort_task.cmd_sn)
    seen = f"{abort_task.ref_cmd_sn} with CmdSN {abort_task.cmd_sn}"
    require(below, "R7143-11.5.5-02", "RefCmdSN lies before CmdSN", seen=seen)


async def _lun_reset(scene: Scene) -> TaskManagementRequest:
    await scene.target(config=configured())
    client: Client = await log_in(scene)
    await scene.attempt(client.task_management(TaskFunction.LOGICAL_UNIT_RESET, 1))
    (sent,) = scene.sent(TaskManagementRequest)
    return sent


@case(
    "itask.lun-reset",
    clauses={
        "R7143-11.5.4-01": "itask.tag-without-need",
        "R7143-11.5.5-01": "itask.ref-cmd-sn-without-need",
        "R7143-11.5.3-01": "itask.no-lun",
        "R7143-11.5.2-01": "itask.with-data",
    },
    role=INITIATOR,
)
async def lun_reset(scene: Scene) -> None:
    """LOGICAL UNIT RESET names the LUN, refers to no task and has no data."""
    sent = await _lun_reset(scene)
    tag = sent.referenced_task_tag
    require(tag == NO_TAG, "R7143-11.5.4-01", "the Referenced Task Tag is reserved", seen=hex(tag))
    require(sent.ref_cmd_sn == 0, "R7143-11.5.5-01", "RefCmdSN is reserved", seen=sent.ref_cmd_sn)
    require(sent.lun == _LUN_1, "R7143-11.5.3-01", "the LUN is named", seen=sent.lun.hex())
    require(not sent.data and not sent.ahs, "R7143-11.5.2-01", "there is no data segment", seen=sent.data.hex())


@case(
    "itask.target-reset",
    clauses={"R7143-11.5.3-01": "itask.lun-for-target"},
    role=INITIATOR,
    events=["iScsiPrt:39"],
)
async def target_reset(scene: Scene) -> None:
    """TARGET WARM RESET names no LUN."""
    client = await log_in(scene)
    await scene.attempt(client.task_management(TaskFunction.TARGET_WARM_RESET, 1))
    (sent,) = scene.sent(TaskManagementRequest)
    require(sent.lun == NO_LUN, "R7143-11.5.3-01", "the LUN is reserved", seen=sent.lun.hex())


@case(
    "itask.late-command",
    clauses={"R7143-7.11-02": "itask.forgets-late-commands"},
    role=INITIATOR,
    events=["iScsiPrt:47"],
)
async def late_command(scene: Scene) -> None:
    """A command that gets no answer in time is aborted."""
    await scene.target(request(Opcode.SCSI_COMMAND, Drop()))
    client = await log_in(scene)
    await scene.attempt(client.execute(_READY, timeout=A_MOMENT, management=True))
    aborts = [sent.function for sent in scene.sent(TaskManagementRequest)]
    require(aborts == [TaskFunction.ABORT_TASK], "R7143-7.11-02", "ABORT TASK follows", seen=aborts)


# ---- logout ----


@case(
    "ilogout.fields",
    clauses={"R7143-11.14.2-01": "ilogout.with-data"},
    role=INITIATOR,
    wire_only=True,
)
async def logout_fields(scene: Scene) -> None:
    """A Logout Request has neither data nor AHS."""
    await scene.perform(Doing.LOG_IN)
    sent = scene.some(LogoutRequest)[0]
    require(not sent.data and not sent.ahs, "R7143-11.14.2-01", "there is no data segment", seen=sent.data.hex())


@case(
    "ilogout.is-the-last",
    clauses={
        "R7143-11.14-02": "ilogout.ping-behind",
        "R7143-11.14-03": "ilogout.command-behind",
    },
    role=INITIATOR,
    wire_only=True,
)
async def logout_is_last(scene: Scene) -> None:
    """Behind a logout of the session no request goes out any more."""
    await scene.perform(Doing.LOG_IN)
    await scene.settle(A_MOMENT)
    scene.some(LogoutRequest)
    said = first_dialogue(scene)
    scene.reached(any(isinstance(pdu, LogoutRequest) for _, pdu in said), "the first connection was not logged out")
    sent = [pdu for way, pdu in said if way is Direction.TO_TARGET]
    behind = sent[next(place for place, pdu in enumerate(sent) if isinstance(pdu, LogoutRequest)) + 1 :]
    commands = [type(pdu).__name__ for pdu in behind if isinstance(pdu, ScsiCommand)]
    require(not commands, "R7143-11.14-03", "no command follows in the session", seen=commands)
    names = [type(pdu).__name__ for pdu in behind]
    require(not names, "R7143-11.14-02", "nothing follows on the connection", seen=names)


@case(
    "ilogout.closes",
    clauses={"R7143-11.14-07": "ilogout.stays"},
    touches=["R7143-11.15-01", "R7143-8.1-04"],
    role=INITIATOR,
    wire_only=True,
)
async def logout_closes(scene: Scene) -> None:
    """Behind the Logout Response the initiator closes the connection."""
    await scene.perform(Doing.LOG_IN)
    scene.some(LogoutRequest)
    reaction = scene.reached(scene.reaction(is_a(Opcode.LOGOUT_RESPONSE)), "the target sent no Logout Response")
    require(reaction.closed, "R7143-11.14-07", "the initiator closes the connection behind the logout", seen=reaction)


_CUT_LATE = answer(Opcode.SCSI_RESPONSE, Drop(), Reset(), nth=2, cid=1)
_RECOVERABLE = configured(ErrorRecoveryLevel="2", MaxConnections="2", DefaultTime2Wait="0")


def _responses(scene: Scene, place: int) -> list[ScsiResponse]:
    """What came over the connection that was used as the place-th, counted from 0."""
    dialogue = list(by_connection(scene.recorder.records))[place]
    came = [decode(each.raw) for each in dialogue if each.direction is Direction.TO_INITIATOR]
    return [pdu for pdu in came if isinstance(pdu, ScsiResponse)]


@case(
    "ilogout.recovery-acknowledges-for-the-lost",
    clauses={"R7143-11.3.3-01": "ilogout.acknowledges-for-carrier"},
    touches=["R7143-11.14-09"],
    level=SHOULD,
    role=INITIATOR,
    events=["iScsiPrt:20"],
)
async def recovery_acknowledges_for_the_lost(scene: Scene) -> None:
    """A logout for recovery has the last ExpStatSN of the connection that it closes, not that of its own."""
    stage = await scene.target(_CUT_LATE, config=_RECOVERABLE)
    options = SessionOptions(portal=stage.endpoints[0], target_name=PLAIN, connections=2)
    settings = Settings(error_recovery_level=2, default_time2wait=0)
    client = await scene.login(settings=settings, options=options)
    await scene.until(lambda: len(client.connections) == 2)
    for _ in range(4):
        await scene.attempt(client.execute(_READY))
    await scene.until(lambda: scene.sent(LogoutRequest))
    sent = scene.some(LogoutRequest)[0]
    scene.reached((sent.reason, sent.cid) == (LogoutReason.RECOVERY, 1), "the lost connection was not logged out")
    came = scene.reached(_responses(scene, 1), "the lost connection brought no response")
    due = serial.add(came[-1].stat_sn)
    require(sent.exp_stat_sn == due, "R7143-11.3.3-01", f"ExpStatSN is {due}, as on CID 1", seen=sent.exp_stat_sn)
