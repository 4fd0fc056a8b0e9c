"""The initiators of the soak that share a disk by reservations, and one that has the target copy for it."""

from __future__ import annotations

import asyncio
from itertools import count

from crowd import BLOCK, Crowd, Once, Wrong
from iscsi_initiator.client import Client, ScsiError
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.command import Command
from iscsi_protocol.scsi.persistent import BasicFields, ReservationType, build_basic, parse_keys
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.third_party_copy import OWN_UNIT, BlockToBlock, build_copy

RESERVED_LUN, COPIED_LUN = 2, 3
_PAUSE = 0.05
_TYPES = (
    ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY,
    ReservationType.WRITE_EXCLUSIVE,
    ReservationType.EXCLUSIVE_ACCESS,
    ReservationType.EXCLUSIVE_ACCESS_REGISTRANTS_ONLY,
)


def sharers(crowd: Crowd) -> dict[str, Once]:
    """All of them, each once."""
    rounds = count(1)

    async def reservations() -> None:
        first = next(rounds) * 2
        async with (
            await crowd.session(RESERVED_LUN) as one,
            await crowd.session(RESERVED_LUN) as other,
            await crowd.session(RESERVED_LUN) as stranger,
        ):
            await _round(one, other, stranger, (first, first + 1), crowd.dice.choice(_TYPES))
        await asyncio.sleep(_PAUSE)

    async def copies() -> None:
        dice = crowd.dice
        async with await crowd.session(COPIED_LUN) as session:
            for _ in range(8):
                blocks = dice.choice((1, 64, 2048))
                source, there = dice.randrange(4096), 8192 + dice.randrange(4096)
                data = dice.randbytes(blocks * BLOCK)
                await session.write(source, data)
                segment = BlockToBlock(
                    source=OWN_UNIT, destination=OWN_UNIT, blocks=blocks, source_lba=source, destination_lba=there
                )
                parameters = build_copy((), [segment])
                cdb = opcodes.EXTENDED_COPY_LID1.build(parameter_list_length=len(parameters))
                await session.command(cdb, data_out=parameters)
                if await session.read(there, blocks) != data:
                    raise Wrong(f"a copy of {blocks} blocks from LBA {source} to {there} is not what was copied")
        await asyncio.sleep(_PAUSE)

    return {"rounds of reservations": reservations, "rounds of copies": copies}


async def _round(one: Client, other: Client, stranger: Client, keys: tuple[int, int], kind: ReservationType) -> None:
    """Register, reserve, preempt, clear; a stranger may not write while anybody holds it. Raises Wrong."""
    mine, others = keys
    await _out(one, opcodes.REGISTER, 0, mine)
    await _out(other, opcodes.REGISTER, 0, others)
    await _out(one, opcodes.RESERVE, mine, 0, kind)
    await one.write(0, bytes(BLOCK))
    await _must_conflict(stranger)
    await _out(other, opcodes.PREEMPT_AND_ABORT, others, mine, kind)
    await other.write(0, bytes(BLOCK))
    await _must_conflict(stranger)
    await _out(other, opcodes.CLEAR, others, 0)
    await stranger.write(0, bytes(BLOCK))
    cdb = opcodes.READ_KEYS.build(allocation_length=1024)
    left = parse_keys(await stranger.command(cdb, data_in=1024))[1]
    if left:
        raise Wrong(f"keys {left} are left behind CLEAR")


async def _must_conflict(stranger: Client) -> None:
    try:
        await stranger.write(0, bytes(BLOCK))
    except ScsiError as error:
        if error.result.status == Status.RESERVATION_CONFLICT:
            return
        raise
    raise Wrong("a stranger wrote to a reserved disk")


async def _out(session: Client, command: Command, key: int, service_action_key: int, kind: int = 0) -> None:
    parameters = build_basic(BasicFields(key=key, service_action_key=service_action_key))
    fields = {"type": kind} if kind else {}
    await session.command(command.build(parameter_list_length=len(parameters), **fields), data_out=parameters)
