"""One scripted dialogue for each feature of recovery at level 2, over TCP: it happens, it succeeds, and breaks no rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from tests.target.workloads import CONFIG, engine, exercise, findings

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.workload.plan import Abort, Damage, Gather, Harm, Lose, Read, Setting, Step, Write
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol import serial
from iscsi_protocol.history import PduRecord
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    LoginRequest,
    LogoutReason,
    LogoutRequest,
    Pdu,
    Reject,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskFunction,
    TaskManagementRequest,
    TaskManagementResponse,
    decode,
)
from iscsi_target.portal import TargetServer

Heard = Sequence[Pdu]

SOLICITED = (("InitialR2T", "Yes"), ("ImmediateData", "No"), ("MaxBurstLength", "2048"))
IMMEDIATE = (("InitialR2T", "Yes"), ("ImmediateData", "Yes"))
SEGMENTS = (("MaxRecvDataSegmentLength", "512"), ("MaxBurstLength", "2048"))


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """name: the feature; keys, plan: what is negotiated and done; happened: whether it was to be seen."""

    name: str
    keys: tuple[tuple[str, str], ...]
    plan: tuple[Step, ...]
    happened: Callable[[Heard], bool]
    connections: int = 2


def _snacks(kind: SnackType) -> Callable[[Heard], bool]:
    return lambda heard: any(isinstance(each, SnackRequest) and each.snack_type == kind for each in heard)


def _twice(kind: type[DataIn | R2T]) -> Callable[[Heard], bool]:
    """A numbered PDU came again behind a SNACK."""

    def happened(heard: Heard) -> bool:
        numbers = [
            (each.itt, each.data_sn if isinstance(each, DataIn) else each.r2t_sn)
            for each in heard
            if isinstance(each, kind)
        ]
        return _snacks(SnackType.DATA_OR_R2T)(heard) and len(set(numbers)) < len(numbers)

    return happened


def _status_again(heard: Heard) -> bool:
    statuses = [each.stat_sn for each in heard if isinstance(each, ScsiResponse)]
    return _snacks(SnackType.STATUS)(heard) and len(set(statuses)) < len(statuses)


def _recovery_r2t(heard: Heard) -> bool:
    """Bytes were asked for that had been asked for before, behind a Reject."""
    asked: dict[int, int] = {}
    again = False
    for each in heard:
        if isinstance(each, R2T):
            again |= each.buffer_offset < asked.get(each.itt, 0)
            end = each.buffer_offset + each.desired_data_transfer_length
            asked[each.itt] = max(end, asked.get(each.itt, 0))
    return again and any(isinstance(each, Reject) for each in heard)


def _command_again(heard: Heard) -> bool:
    sent = [(each.itt, each.cmd_sn) for each in heard if isinstance(each, ScsiCommand)]
    return len(set(sent)) < len(sent)


def _reassigned(*, logout: bool) -> Callable[[Heard], bool]:
    def happened(heard: Heard) -> bool:
        asked = [
            each.itt
            for each in heard
            if isinstance(each, TaskManagementRequest) and each.function == TaskFunction.TASK_REASSIGN
        ]
        granted = [each.itt for each in heard if isinstance(each, TaskManagementResponse) and not each.response]
        explicit = any(isinstance(each, LogoutRequest) and each.reason == LogoutReason.RECOVERY for each in heard)
        again = [each.cid for each in heard if isinstance(each, LoginRequest) and each.tsih]
        return bool(asked) and set(asked) <= set(granted) and explicit is logout and (logout or bool(again))

    return happened


def _acknowledged_with_logout(heard: Heard) -> bool:
    """The Logout Request has the ExpStatSN of the connection that it is about (11.14.4)."""
    status = next(each.stat_sn for each in heard if isinstance(each, DataIn) and each.status_present)
    return next(each.exp_stat_sn for each in heard if isinstance(each, LogoutRequest)) == serial.add(status)


LOST = Damage.HEADER_CAME
DIALOGUES = (
    Dialogue(
        name="damaged data is sent again",
        keys=SEGMENTS,
        plan=(Harm(Damage.DATA_CAME, 2), Read(0, 0, 8)),
        happened=_twice(DataIn),
    ),
    Dialogue(
        name="a lost Data-In is sent again",
        keys=SEGMENTS,
        plan=(Harm(Damage.PDU_CAME, 3), Read(0, 0, 8)),
        happened=_twice(DataIn),
    ),
    Dialogue(
        name="a lost R2T is sent again",
        keys=SOLICITED,
        plan=(Harm(Damage.PDU_CAME, 2), Write(0, 0, 12)),
        happened=_twice(R2T),
    ),
    Dialogue(
        name="a lost status is sent again",
        keys=IMMEDIATE,
        plan=(Harm(Damage.PDU_CAME, 1), Write(0, 0, 1)),
        happened=_status_again,
    ),
    Dialogue(
        name="data is acknowledged by DataACK",
        keys=SEGMENTS,
        plan=(Read(0, 0, 16),),
        happened=_snacks(SnackType.DATA_ACK),
    ),
    Dialogue(
        name="damaged Data-Out is asked for again",
        keys=SOLICITED,
        plan=(Harm(Damage.DATA_SENT, 2), Write(0, 0, 8)),
        happened=_recovery_r2t,
    ),
    Dialogue(
        name="a command with damaged data is sent again",
        keys=IMMEDIATE,
        plan=(Harm(Damage.DATA_SENT, 1), Write(0, 0, 1)),
        happened=_command_again,
    ),
    Dialogue(
        name="a command with a damaged header is sent again",
        keys=IMMEDIATE,
        plan=(Harm(Damage.HEADER_SENT, 1), Write(0, 0, 1)),
        happened=_command_again,
    ),
    Dialogue(
        name="a read is continued behind an implicit logout",
        keys=SEGMENTS,
        plan=(Read(0, 40, 8), Gather(), Harm(LOST, 2), Read(1, 0, 16)),
        connections=1,
        happened=_reassigned(logout=False),
    ),
    Dialogue(
        name="a read is continued behind a logout for recovery",
        keys=SEGMENTS,
        plan=(Read(1, 0, 1), Gather(), Read(1, 0, 16), Lose(1, logout=True)),
        happened=_reassigned(logout=True),
    ),
    Dialogue(
        name="a status is acknowledged with the logout of its connection",
        keys=SEGMENTS,
        plan=(Read(1, 0, 1), Gather(), Lose(1, logout=True)),
        happened=_acknowledged_with_logout,
    ),
    Dialogue(
        name="a status with a bad header is not acknowledged with the logout",
        keys=SEGMENTS,
        plan=(Harm(LOST, 1), Read(1, 0, 1)),
        happened=_reassigned(logout=True),
    ),
    Dialogue(
        name="a write is continued behind an implicit logout",
        keys=SOLICITED,
        plan=(Write(1, 0, 12), Lose(1, logout=False)),
        happened=_reassigned(logout=False),
    ),
    Dialogue(
        name="a write is continued behind a logout for recovery",
        keys=SOLICITED,
        plan=(Write(1, 0, 12), Lose(1, logout=True)),
        happened=_reassigned(logout=True),
    ),
    Dialogue(
        name="a status that was lost with its connection is told again",
        keys=IMMEDIATE,
        plan=(Read(0, 0, 1), Read(0, 2, 1), Gather(), Harm(LOST, 1), Write(0, 0, 1)),
        connections=1,
        happened=_reassigned(logout=False),
    ),
    Dialogue(
        name="a task is aborted behind its reassignment",
        keys=SOLICITED,
        plan=(Write(1, 0, 12), Lose(1, logout=True), Gather(), Write(0, 0, 12), Abort(0)),
        happened=_reassigned(logout=True),
    ),
)


async def heard_of(dialogue: Dialogue, book: RuleBook) -> list[Pdu]:
    recorder = Recorder(book.record)
    setting = Setting(level=2, connections=dialogue.connections, digests=True, keys=dialogue.keys)
    async with engine() as made:
        server = TargetServer(made, tap=recorder.record)
        endpoints = await server.start(CONFIG.portals)
        connector = TcpConnector()
        try:
            await exercise(connector, endpoints, setting, [*dialogue.plan, Gather()])
        finally:
            await connector.finish()
            await server.stop()
    return [decode(each.raw) for each in recorder.records if isinstance(each, PduRecord)]


@pytest.mark.parametrize("dialogue", DIALOGUES, ids=lambda each: each.name.replace(" ", "-"))
def test_recovery(dialogue: Dialogue) -> None:
    book = RuleBook()
    heard = asyncio.run(heard_of(dialogue, book))
    assert dialogue.happened(heard)
    assert not findings(book)
