"""How the bundled initiator does what a case asks of any initiator (`doing`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from iscsi_conformance.clock import passed
from iscsi_conformance.doing import Doing, Wish
from iscsi_conformance.profile import ChapLogin
from iscsi_initiator.client import Client
from iscsi_initiator.settings import PREFER_DIGEST, ChapOptions, SessionOptions, Settings
from iscsi_protocol.chap import Credentials
from iscsi_protocol.scsi.opcodes import TEST_UNIT_READY

if TYPE_CHECKING:
    from iscsi_conformance.scene import Scene, Stage

_READY = TEST_UNIT_READY.build()
_BLOCK = 512
_COMMANDS = 4
_WRITTEN = 64 * 1024
_SIZES = (1, 16, 64)
_ROUNDS, _AT_ONCE = 30, 8
_PAUSE = 0.1
"""Seconds between two rounds of a load."""


async def perform(
    scene: Scene, stage: Stage, wish: Wish, *, settings: Settings | None = None, lun: int = 0, **options: Any
) -> None:
    """Do it, from login to logout. options: of `SessionOptions`; a session does not recover unless they say so.

    Raises ClientError where the initiator gave up.
    """
    discovery = wish.doing is Doing.DISCOVER
    wishes: dict[str, Any] = {"target_name": None if discovery else scene.name, "recover": False}
    if wish.chap is not None:
        wishes["chap"] = chap_options(wish.chap)
    if wish.header_digest:
        wishes["header_digest"] = PREFER_DIGEST
    if wish.data_digest:
        wishes["data_digest"] = PREFER_DIGEST
    session = SessionOptions(portal=stage.endpoints[0], **{**wishes, **options})
    client = await scene.login(settings=settings, lun=lun, options=session)
    await _DEEDS[wish.doing](client)
    await client.logout()


async def _discover(client: Client) -> None:
    await client.send_targets()


async def _log_in(client: Client) -> None:
    for _ in range(_COMMANDS):
        await client.execute(_READY)


async def _read(client: Client) -> None:
    await client.capacity()
    for blocks in _SIZES:
        await client.read(0, blocks)


async def _write(client: Client) -> None:
    await client.write(0, bytes(range(256)) * (_WRITTEN // 256))
    await client.write(0, bytes(_BLOCK))


async def _load(client: Client) -> None:
    await asyncio.gather(*(client.execute(_READY) for _ in range(_AT_ONCE)))
    for _ in range(_ROUNDS):
        await passed(_PAUSE)
        await asyncio.gather(*(client.read(8 * place, 8) for place in range(_AT_ONCE)))


_DEEDS: Mapping[Doing, Callable[[Client], Awaitable[None]]] = {
    Doing.DISCOVER: _discover,
    Doing.LOG_IN: _log_in,
    Doing.READ: _read,
    Doing.WRITE: _write,
    Doing.LOAD: _load,
}


def chap_options(login: ChapLogin) -> ChapOptions:
    """The initiator's side of one-way or mutual CHAP."""
    return ChapOptions(
        credentials=Credentials(name=login.user, secret=login.secret.encode()),
        target_secret=login.target_secret.encode() if login.target_secret else None,
        target_name=login.target_user,
    )
