"""The initiators of the soak that lose connections, PDUs and bytes, and recover: random plans at every level."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from crowd import Crowd, Once, Wrong
from iscsi_conformance.workload.exerciser import Exerciser
from iscsi_conformance.workload.model import ModelDisk
from iscsi_conformance.workload.plan import Abort, Damage, Function, Gather, Harm, Lose, Read, Setting, Step, Write
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.pdu import TaskFunction

LEVELS = (0, 1, 2)
BLOCKS = 512
"""Of the disk, which is the initiator's own."""

_STEPS = 40
_PAUSE = 0.2
_KEYS = {
    "MaxRecvDataSegmentLength": ("512", "8192"),
    "MaxBurstLength": ("4096", "65536"),
    "FirstBurstLength": ("512", "2048"),
    "InitialR2T": ("Yes", "No"),
    "ImmediateData": ("Yes", "No"),
    "MaxOutstandingR2T": ("1", "4"),
    "DataPDUInOrder": ("Yes", "No"),
    "DataSequenceInOrder": ("Yes", "No"),
    "TaskReporting": ("RFC3720,ResponseFence", "ResponseFence,RFC3720", "FastAbort,ResponseFence,RFC3720"),
}
_FUNCTIONS = (TaskFunction.ABORT_TASK_SET, TaskFunction.CLEAR_TASK_SET, TaskFunction.LOGICAL_UNIT_RESET)


def exercisers(crowd: Crowd, name_of: Callable[[int], str]) -> dict[str, Once]:
    """One for each level. name_of: the target of a level, with nothing but a LUN 0 of BLOCKS blocks of zeros."""
    return {f"plans at level {level}": _exerciser(crowd, name_of(level), level, ModelDisk(BLOCKS)) for level in LEVELS}


def _exerciser(crowd: Crowd, name: str, level: int, disk: ModelDisk) -> Once:
    dice = random.Random(level)
    names = [
        ("InitiatorName", f"iqn.2026-01.org.example.soak:level-{level}"),
        ("TargetName", name),
        ("SessionType", "Normal"),
    ]

    async def once() -> None:
        setting = _setting(dice, level)
        plan = [_step(dice) for _ in range(_STEPS)]
        connector = TcpConnector(disconnect_time=1.0)
        try:
            await Exerciser(connector, [crowd.endpoint], names, setting, disk).run(plan)
        except AssertionError as error:
            raise Wrong(f"{error} ({setting}, {plan})") from error
        finally:
            await connector.finish()
        await asyncio.sleep(_PAUSE)

    return once


def _setting(dice: random.Random, level: int) -> Setting:
    keys = tuple((key, dice.choice(values)) for key, values in _KEYS.items())
    return Setting(level=level, connections=dice.randint(1, 4), digests=dice.random() < 0.7, keys=keys)


def _step(dice: random.Random) -> Step:
    connection, lba, blocks = dice.randrange(4), dice.randrange(BLOCKS), dice.randint(1, 64)
    steps: tuple[Step, ...] = (
        Read(connection, lba, blocks),
        Read(connection, lba, blocks),
        Write(connection, lba, blocks),
        Write(connection, lba, blocks),
        Write(connection, lba, blocks),
        Harm(dice.choice(list(Damage)), dice.randint(1, 6)),
        Gather(),
        Abort(dice.randrange(8)),
        Function(connection, dice.choice(_FUNCTIONS)),
        Lose(connection, dice.random() < 0.5),
    )
    return dice.choice(steps)
