"""What an initiator does when the target speaks up, or is gone (RFC 7143 sections 7.3, 7.5, 11.9 and 11.17)."""

from __future__ import annotations

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.doing import Doing
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, configured, is_a, log_in, request, says
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client
from iscsi_initiator.settings import REQUIRE_DIGEST, Settings
from iscsi_protocol.fault import Close, FieldIs, Flip, Insert, Of, Part, Relation, Template
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import (
    NO_TAG,
    AsyncEvent,
    AsyncMessage,
    LoginRequest,
    LogoutReason,
    LogoutRequest,
    NopOut,
    Opcode,
    ScsiCommand,
    TextRequest,
    decode,
)
from iscsi_protocol.scsi.opcodes import TEST_UNIT_READY
from iscsi_protocol.stream import Direction

_READY = TEST_UNIT_READY.build()
_LUN_1 = bytes.fromhex("0001000000000000")
_WITH_DATA = (FieldIs("data_length", 0, Relation.ABOVE),)
_AT_ONCE = Settings(default_time2wait=0)
_WAIT = 0.3
"""Seconds that are well below every Time2Wait of these cases."""


_ABSENCE = 5
_IN_TIME = 2
"""Seconds that the initiator has to do as it is asked, fewer than `Doing.LOAD` lasts."""


def _message(**values: int | bytes) -> Template:
    """An Asynchronous Message with these fields."""
    numbers = {"stat_sn": Of("stat_sn"), "exp_cmd_sn": Of("exp_cmd_sn"), "max_cmd_sn": Of("max_cmd_sn")}
    return Template(AsyncMessage, {**numbers, **values})


def _connects(scene: Scene) -> int:
    return len(scene.transport(TransportEvent.CONNECT))


# ---- logout wanted ----


@case(
    "iasync.logout-wanted",
    clauses={
        "R7143-11.9.1-02": "iasync.stays",
        "R7143-11.9.1-03": "iasync.logs-out-to-recover",
        "R7143-11.9.1-04": "iasync.one-more-command",
    },
    touches=["R7143-8.1-05"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:32"],
)
async def logout_wanted(scene: Scene) -> None:
    """Asked to log out, the initiator does so in time, with reason 0 or 1, and begins nothing new before."""
    message = _message(async_event=AsyncEvent.LOGOUT_REQUESTED, parameter3=_IN_TIME)
    await scene.target(answer(Opcode.SCSI_RESPONSE, Insert(message), renumber=True))
    await scene.perform(Doing.LOAD, until=lambda: scene.sent(LogoutRequest))
    reaction = scene.reached(scene.reaction(is_a(Opcode.ASYNC_MESSAGE)), "the target did not come to ask for a logout")
    logouts = [pdu for pdu in reaction.within(_IN_TIME) if isinstance(pdu, LogoutRequest)]
    require(logouts, "R7143-11.9.1-02", "a Logout Request answers the message", seen=reaction)
    reason = logouts[0].reason
    fits = reason in (LogoutReason.CLOSE_SESSION, LogoutReason.CLOSE_CONNECTION)
    require(fits, "R7143-11.9.1-03", "the reason is to close", seen=reason)
    commands = sum(isinstance(pdu, ScsiCommand) for pdu in reaction.sent)
    require(commands == 0, "R7143-11.9.1-04", "no command is sent any more", seen=f"{commands} more")


# ---- the target leaves ----


async def _leaves(scene: Scene, event: AsyncEvent, clause: str) -> None:
    """The target announces that it leaves, and leaves; no connection is opened before the time that it gave."""
    message = _message(async_event=event, parameter2=_ABSENCE, parameter3=20)
    await scene.target(
        answer(Opcode.SCSI_RESPONSE, Insert(message), Close(), renumber=True), config=configured(DefaultTime2Wait="0")
    )
    doing = scene.begin(Doing.LOAD, recover=True, settings=_AT_ONCE)
    await scene.until(lambda: doing.done() or scene.reaction(is_a(Opcode.ASYNC_MESSAGE)))
    scene.reached(scene.reaction(is_a(Opcode.ASYNC_MESSAGE)), "the target did not come to announce it")
    await scene.settle(_WAIT)
    reaction = scene.reaction(is_a(Opcode.ASYNC_MESSAGE))
    back = 0 if reaction is None else reaction.connects
    require(not back, clause, f"{_ABSENCE} seconds of Time2Wait are waited for", seen=f"back within {_WAIT} s")


@case(
    "iasync.connection-drop",
    clauses={"R7143-11.9.1-07": "iasync.does-not-wait"},
    touches=["R7143-7.5.2-01"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:20"],
)
async def connection_drop(scene: Scene) -> None:
    """A connection whose drop was announced is not opened again before the time that the message gives."""
    await _leaves(scene, AsyncEvent.CONNECTION_DROP, "R7143-11.9.1-07")


@case(
    "iasync.session-drop",
    clauses={"R7143-11.9.1-08": "iasync.does-not-wait"},
    touches=["R7143-7.5.2-01"],
    role=INITIATOR,
    wire_only=True,
    events=["iScsiPrt:20"],
)
async def session_drop(scene: Scene) -> None:
    """A session whose drop was announced is not made again before the time that the message gives."""
    await _leaves(scene, AsyncEvent.SESSION_DROP, "R7143-11.9.1-08")


# ---- negotiation wanted, tasks ended ----


@case(
    "iasync.negotiation-wanted",
    clauses={"R7143-11.9.1-09": "iasync.does-not-negotiate"},
    role=INITIATOR,
    wire_only=True,
)
async def negotiation_wanted(scene: Scene) -> None:
    """Asked to negotiate, the initiator sends a Text Request, or logs out."""
    message = _message(async_event=AsyncEvent.NEGOTIATION_REQUESTED, parameter3=_IN_TIME)
    await scene.target(answer(Opcode.SCSI_RESPONSE, Insert(message), renumber=True))

    def answered() -> bool:
        reaction = scene.reaction(is_a(Opcode.ASYNC_MESSAGE))
        return reaction is not None and any(isinstance(pdu, TextRequest | LogoutRequest) for pdu in reaction.sent)

    await scene.perform(Doing.LOAD, until=answered)
    reaction = scene.reached(scene.reaction(is_a(Opcode.ASYNC_MESSAGE)), "the target did not come to ask for it")
    answers = [pdu for pdu in reaction.within(_IN_TIME) if isinstance(pdu, TextRequest | LogoutRequest)]
    scene.reached(answers or not reaction.dropped, "the connection ended before the time was over")
    require(answers, "R7143-11.9.1-09", "a Text Request answers the message", seen=reaction)


@case("iasync.tasks-ended", clauses={"R7143-11.9.1-11": "iasync.no-lun"}, role=INITIATOR, wire_only=True)
async def tasks_ended(scene: Scene) -> None:
    """The end of a LUN's tasks is acknowledged by a NOP-Out with that LUN and the reserved task tag."""
    message = _message(async_event=AsyncEvent.TASKS_TERMINATED, lun=_LUN_1)
    await scene.target(answer(Opcode.SCSI_RESPONSE, Insert(message), renumber=True))
    wishes = Settings(task_reporting=("FastAbort", "ResponseFence", "RFC3720"))
    await scene.perform(Doing.LOAD, until=lambda: scene.sent(NopOut), settings=wishes)
    agreed = scene.reaction(says("TaskReporting", "FastAbort"))
    scene.reached(agreed, "TaskReporting=FastAbort was not agreed on, without which no target tells of it")
    scene.reached(scene.received(AsyncMessage), "the target did not come to tell of it")
    said = [(sent.itt, sent.lun) for sent in scene.sent(NopOut)]
    require((NO_TAG, _LUN_1) in said, "R7143-11.9.1-11", "a NOP-Out with the LUN acknowledges it", seen=said)


# ---- rejected ----


async def _digests(scene: Scene) -> Client:
    return await log_in(scene, data_digest=REQUIRE_DIGEST)


@case(
    "ireject.command-is-sent-again",
    clauses={"R7143-4.2.2.1-19": "ireject.number-changes", "R7143-7.2.1-02": "ireject.attribute-changes"},
    role=INITIATOR,
    events=["iScsiPrt:29"],
)
async def sent_again(scene: Scene) -> None:
    """A command that was rejected for its data digest is sent again as it was, under the same CmdSN."""
    await scene.target(request(Opcode.SCSI_COMMAND, Flip(Part.DATA_DIGEST), tests=_WITH_DATA))
    client = await _digests(scene)
    await scene.attempt(client.write(0, bytes(512)))
    first, again = [sent for sent in scene.sent(ScsiCommand) if sent.write][:2]
    require(again.cmd_sn == first.cmd_sn, "R7143-4.2.2.1-19", "the CmdSN stays", seen=again.cmd_sn)
    same = (again.itt, again.attribute, again.lun, again.cdb) == (first.itt, first.attribute, first.lun, first.cdb)
    require(same, "R7143-7.2.1-02", "the command is the same")


@case(
    "ireject.gap-is-filled",
    clauses={"R7143-7.3-04": "ireject.leaves-the-gap"},
    role=INITIATOR,
    events=["iScsiPrt:29"],
)
async def gap_is_filled(scene: Scene) -> None:
    """The CmdSN of a rejected request, which the target has not counted, is used by another one."""
    await scene.target(request(Opcode.TEXT_REQUEST, Flip(Part.DATA_DIGEST)))
    client = await _digests(scene)
    await scene.attempt(client.negotiate(("MaxRecvDataSegmentLength", "32768")))
    await scene.until(lambda: scene.sent(NopOut))
    (rejected,) = scene.sent(TextRequest)
    sent = [decode(raw) for raw in scene.raw(Direction.TO_TARGET)]
    numbers = [pdu.cmd_sn for pdu in sent if isinstance(pdu, NopOut | ScsiCommand) and not pdu.immediate]
    require(rejected.cmd_sn in numbers, "R7143-7.3-04", f"CmdSN {rejected.cmd_sn} is used again", seen=numbers)


# ---- connection lost ----

_GONE = answer(Opcode.NOP_IN, Close())


@case(
    "irecovery.waits",
    clauses={"R7143-7.5-01": "irecovery.does-not-wait"},
    touches=["R7143-7.5.1-01"],
    role=INITIATOR,
    events=["iScsiPrt:20"],
)
async def recovery_waits(scene: Scene) -> None:
    """Behind the loss of a connection the initiator waits for DefaultTime2Wait."""
    await scene.target(_GONE)
    client = await scene.login()
    await scene.attempt(client.ping())
    await scene.until(scene.logged)
    await scene.settle(_WAIT)
    require(_connects(scene) == 1, "R7143-7.5-01", "no new connection is tried within Time2Wait")


async def _reinstated(scene: Scene) -> tuple[LoginRequest, LoginRequest]:
    """Lose the connection and come back. The first request of the first login, and of the second."""
    await scene.target(_GONE, config=configured(DefaultTime2Wait="0"))
    client = await scene.login(settings=_AT_ONCE)
    await scene.attempt(client.execute(_READY))
    await scene.attempt(client.ping())
    await scene.until(scene.logged)
    await scene.attempt(client.execute(_READY))
    logins = [sent for sent in scene.sent(LoginRequest) if sent.csg == 0]
    require(len(logins) > 1, "R7143-7.14-03", "the initiator logs in again")
    return logins[0], logins[1]


@case(
    "irecovery.reinstatement",
    clauses={
        "R7143-7.14-03": "irecovery.never-returns",
        "R7143-6.3.5-01": "irecovery.old-tsih",
        "R7143-7.15-01": "irecovery.another-isid",
    },
    touches=["R7143-4.4.3.1-01", "R7143-7.1.4.4-02"],
    role=INITIATOR,
    events=["iScsiPrt:20", "iScsiPrt:34"],
)
async def reinstatement(scene: Scene) -> None:
    """A session that lost its connection is reinstated: the same ISID logs in again with TSIH 0."""
    first, again = await _reinstated(scene)
    require(again.isid == first.isid, "R7143-7.15-01", f"the ISID is {first.isid.hex()}", seen=again.isid.hex())
    require(again.tsih == 0, "R7143-6.3.5-01", "the TSIH is 0", seen=again.tsih)
