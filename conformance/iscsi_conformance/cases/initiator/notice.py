"""What an initiator does when the target speaks up, or is gone (RFC 7143 sections 7.3, 7.5, 11.9 and 11.17)."""

from __future__ import annotations

from iscsi_conformance.case import INITIATOR, case
from iscsi_conformance.scene import Scene
from iscsi_conformance.stimulus import answer, configured, log_in, request
from iscsi_conformance.verdict import require
from iscsi_initiator.client import Client
from iscsi_initiator.settings import REQUIRE_DIGEST, Settings
from iscsi_protocol.fault import Close, Fault, FieldIs, Flip, Insert, Of, Part, Relation, Set, Template
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
    events=["iScsiPrt:32"],
)
async def logout_wanted(scene: Scene) -> None:
    """Asked to log out, the initiator does so in time, with reason 0 or 1, and begins nothing new before."""
    stage = await scene.target()
    client = await log_in(scene)
    await scene.attempt(client.execute(_READY))
    stage.operator.request_logout(10)
    await scene.until(lambda: scene.sent(LogoutRequest))
    logouts = scene.sent(LogoutRequest)
    require(logouts, "R7143-11.9.1-02", "a Logout Request answers the message")
    reason = logouts[0].reason
    fits = reason in (LogoutReason.CLOSE_SESSION, LogoutReason.CLOSE_CONNECTION)
    require(fits, "R7143-11.9.1-03", "the reason is to close", seen=reason)
    commands = len(scene.sent(ScsiCommand))
    require(commands == 1, "R7143-11.9.1-04", "no command is sent any more", seen=f"{commands - 1} more")


# ---- the target leaves ----


def _wait_of(seconds: int) -> Fault:
    return answer(Opcode.ASYNC_MESSAGE, Set("parameter2", seconds))


@case(
    "iasync.connection-drop",
    clauses={"R7143-11.9.1-07": "iasync.does-not-wait"},
    touches=["R7143-7.5.2-01"],
    role=INITIATOR,
    events=["iScsiPrt:20"],
)
async def connection_drop(scene: Scene) -> None:
    """A connection whose drop was announced is not opened again before the time that the message gives."""
    stage = await scene.target(_wait_of(5), config=configured(DefaultTime2Wait="0"))
    await scene.login(settings=_AT_ONCE)
    stage.operator.announce_connection_drop()
    await scene.until(scene.logged)
    await scene.settle(_WAIT)
    require(_connects(scene) == 1, "R7143-11.9.1-07", "Time2Wait of the message is waited for")


@case(
    "iasync.session-drop",
    clauses={"R7143-11.9.1-08": "iasync.does-not-wait"},
    touches=["R7143-7.5.2-01"],
    role=INITIATOR,
    events=["iScsiPrt:20"],
)
async def session_drop(scene: Scene) -> None:
    """A session whose drop was announced is not made again before the time that the message gives."""
    stage = await scene.target(_wait_of(5), config=configured(DefaultTime2Wait="0"))
    await scene.login(settings=_AT_ONCE)
    stage.operator.announce_session_drop()
    await scene.until(scene.logged)
    await scene.settle(_WAIT)
    require(_connects(scene) == 1, "R7143-11.9.1-08", "Time2Wait of the message is waited for")


# ---- negotiation wanted, tasks ended ----


@case("iasync.negotiation-wanted", clauses={"R7143-11.9.1-09": "iasync.does-not-negotiate"}, role=INITIATOR)
async def negotiation_wanted(scene: Scene) -> None:
    """Asked to negotiate, the initiator sends a Text Request, or logs out."""
    stage = await scene.target()
    await log_in(scene)
    stage.operator.request_negotiation(3)
    answered = await scene.until(lambda: bool(scene.sent(TextRequest)) or bool(scene.sent(LogoutRequest)))
    require(answered, "R7143-11.9.1-09", "a Text Request answers the message")


@case("iasync.tasks-ended", clauses={"R7143-11.9.1-11": "iasync.no-lun"}, role=INITIATOR)
async def tasks_ended(scene: Scene) -> None:
    """The end of a LUN's tasks is acknowledged by a NOP-Out with that LUN and the reserved task tag."""
    message = Template(
        AsyncMessage,
        {
            "async_event": AsyncEvent.TASKS_TERMINATED,
            "lun": _LUN_1,
            "stat_sn": Of("stat_sn"),
            "exp_cmd_sn": Of("exp_cmd_sn"),
            "max_cmd_sn": Of("max_cmd_sn"),
        },
    )
    await scene.target(answer(Opcode.SCSI_RESPONSE, Insert(message), renumber=True))
    client = await log_in(scene)
    await scene.attempt(client.execute(_READY))
    await scene.until(lambda: scene.sent(NopOut))
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
