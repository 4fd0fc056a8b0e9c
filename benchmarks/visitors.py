"""The initiators of the soak that come and go, by what they do: orderly ones, rude ones, and those that end others' work."""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import suppress

from crowd import Crowd, Once
from iscsi_initiator.client import Client, ClientError
from iscsi_initiator.raw import PeerClosed, SilentPeer
from iscsi_initiator.requests import TaskManagement
from iscsi_protocol.pdu import LoginRequest, ScsiCommand, TaskFunction, encode
from iscsi_protocol.text import encode_pairs

_PAUSE = 0.05
_WRITE = 1 << 18
_ENDINGS = (TaskFunction.LOGICAL_UNIT_RESET, TaskFunction.TARGET_WARM_RESET, TaskFunction.ABORT_TASK_SET)


def visitors(crowd: Crowd, name: str) -> dict[str, Once]:
    """All of them, each once. name: a target that nobody works with."""
    dice = crowd.dice
    names = [("InitiatorName", "iqn.2026-01.org.example.soak:visitor"), ("TargetName", name)]

    async def come_and_go() -> None:
        async with await crowd.session(name=name) as session:
            await session.read(0, 8)
        await asyncio.sleep(_PAUSE)

    async def reset_in_the_middle() -> None:
        raw = await crowd.raw()
        try:
            await raw.login(names, isid=b"\x80" + secrets.token_bytes(5), timeout=10.0)
            command = ScsiCommand(
                write=True,
                itt=1,
                expected_data_transfer_length=1 << 20,
                cmd_sn=raw.cmd_sn,
                exp_stat_sn=raw.exp_stat_sn,
                cdb=_write_cdb(0, 2048),
                data=bytes(512),
            )
            raw.send(encode(command))
            await asyncio.sleep(dice.random() * _PAUSE)
        except (PeerClosed, SilentPeer):
            pass
        raw.abort()

    async def half_a_login() -> None:
        raw = await crowd.raw()
        request = encode(LoginRequest(isid=secrets.token_bytes(6), itt=1, data=encode_pairs(names)))
        raw.send(bytes(request.bhs)[: dice.randrange(48)])
        await asyncio.sleep(dice.random())
        raw.close()

    async def garbage() -> None:
        raw = await crowd.raw()
        raw.send(dice.randbytes(dice.randrange(1, 4096)))
        with suppress(PeerClosed, SilentPeer):
            await raw.recv(timeout=0.2)
        raw.close()
        await asyncio.sleep(_PAUSE)

    async def discovery() -> None:
        async with await Client.connect(crowd.endpoint) as session:
            await session.send_targets()
        await asyncio.sleep(_PAUSE)

    async def aborts_and_resets() -> None:
        async with await crowd.session(name=name) as session:
            for _ in range(20):
                writing = asyncio.create_task(session.write(dice.randrange(4096) * 4, bytes(_WRITE)))
                await asyncio.sleep(0)
                writing.cancel()
                await asyncio.wait([writing])
            await _under_way(session, dice)
        await asyncio.sleep(_PAUSE)

    return {
        "logins and logouts": come_and_go,
        "resets in the middle of a write": reset_in_the_middle,
        "halves of a login": half_a_login,
        "pieces of garbage": garbage,
        "discoveries": discovery,
        "rounds of aborts and resets": aborts_and_resets,
    }


async def _under_way(session: Client, dice: random.Random) -> None:
    """Writes that a function ends."""
    writes = [asyncio.create_task(session.write(each * 512, bytes(_WRITE))) for each in range(4)]
    await asyncio.sleep(0)
    try:
        with suppress(ClientError):
            await session.submit(TaskManagement(dice.choice(_ENDINGS), 0))
    finally:
        for writing in writes:
            writing.cancel()
        await asyncio.wait(writes)


def _write_cdb(lba: int, blocks: int) -> bytes:
    return (b"\x2a\0" + lba.to_bytes(4, "big") + b"\0" + blocks.to_bytes(2, "big")).ljust(16, b"\0")
