"""What initiators are asked for, and what happens around them, in cases about their own host and several connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from iscsi_conformance.events.acts import BLOCK
from iscsi_conformance.events.play import READY, Play
from iscsi_conformance.pipe import MemoryConnector, MemoryTransport
from iscsi_conformance.verdict import Inconclusive
from iscsi_initiator.client import Client, ClientError, SessionFailed
from iscsi_initiator.requests import SessionClosed, SessionUp
from iscsi_protocol.history import Endpoint, SettingsRecord
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.scsi.opcodes import READ_10, WRITE_10

_OTHER_ISID = bytes.fromhex("801ac5000077")

Make = Callable[[Client], Awaitable[object]]


async def another_session(play: Play) -> None:
    """Have the same initiator open a session more; that it came to nothing is kept as error."""
    client = play.session
    options = replace(client.options, isid=_OTHER_ISID)
    now = client.driver.clock()
    play.scene.recorder.record(SettingsRecord(now, {**client.settings.declared(), **options.declared()}))
    number = client.engine.open_session(options, now)
    client.driver.pump()

    def ended() -> list[SessionClosed | SessionUp]:
        told = play.scene.told
        return [event for event in told if isinstance(event, SessionClosed | SessionUp) and event.session == number]

    await play.scene.until(ended)
    closed = [event for event in ended() if isinstance(event, SessionClosed)]
    play.error = SessionFailed(closed[0]) if closed else None
    play.count_from_here()


async def another_connection(play: Play, portal: Endpoint | None = None) -> None:
    """Have the initiator add a connection to its session."""
    await play.ask(play.session.add_connection(portal))
    play.count_from_here()


async def at_once(play: Play, count: int, make: Make) -> None:
    """So many requests in one turn of the loop; the first error is kept, that of time where they do not end."""
    doing = asyncio.gather(*(make(play.session) for _ in range(count)), return_exceptions=True)
    if await play.ask(doing) is not None:
        return
    ended = doing.result()
    for what in ended:
        if isinstance(what, BaseException) and not isinstance(what, ClientError):
            raise what
    play.error = next((what for what in ended if isinstance(what, ClientError)), None)


async def ready(client: Client) -> object:
    """A command without data."""
    return await client.execute(READY)


async def ping(client: Client) -> object:
    """A NOP-Out that wants an answer."""
    return await client.ping(b"are you there")


async def read_into(play: Play, buffer: bytearray | memoryview) -> None:
    """Read a block into a buffer of the caller's."""
    await play.ask(play.session.execute(READ_10.build(lba=0, blocks=1), data_in=buffer))


async def write_from(play: Play, buffer: Buffer, blocks: int = 1) -> None:
    """Write blocks from a buffer of the caller's."""
    await play.ask(play.session.execute(WRITE_10.build(lba=0, blocks=blocks), data_out=buffer))


async def write_blocks(play: Play, blocks: int) -> None:
    """Write so many blocks in one command."""
    await write_from(play, bytes(blocks * BLOCK), blocks)


# What happens below, in memory.


def connector_of(play: Play) -> MemoryConnector:
    """The way to a target in memory. Raises Inconclusive for another one."""
    connector = play.stage.connector
    if not isinstance(connector, MemoryConnector):
        raise Inconclusive("the network is not ours to spoil")
    return connector


def link_of(play: Play, cid: int) -> MemoryTransport:
    """The connection with this CID of a session that has all of its first connections: they came up in that order."""
    return [link for link in connector_of(play).links if link.is_open][cid]


async def logged(play: Play, count: int) -> None:
    """Let the dialogue go on until so many events are logged."""
    await play.scene.until(lambda: len(play.scene.events) >= count)
