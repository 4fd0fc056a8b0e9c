"""The initiators of the soak: those that work and check what they read, those that only are there, and bad ones."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress

from iscsi_initiator.client import Client, ClientError
from iscsi_initiator.raw import PeerClosed, RawConnection, SilentPeer
from iscsi_initiator.requests import TaskManagement
from iscsi_initiator.transport import ConnectFailed, TcpConnector
from iscsi_initiator.url import parse_url
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import LoginRequest, ScsiCommand, TaskFunction, encode
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.text import encode_pairs

BLOCK = 512
_PIECE = 8
"""Blocks of which each has one generation: 4 KiB."""
_PIECES_EACH = 128
_LUNS = (0, 1)

Once = Callable[[], Awaitable[None]]


class Wrong(Exception):
    """The target gave other data than it was given, or failed a command that has to succeed."""


class Crowd:
    """What the sessions share: where the target is, dice, and the regions that are written."""

    def __init__(self, portal: str, name: str, dice: random.Random) -> None:
        self.portal, self.name, self.dice = portal, name, dice
        host, _, port = portal.rpartition(":")
        self.endpoint = Endpoint(host, int(port))
        self.regions: list[Region] = []

    async def session(self, lun: int = 0, **options: object) -> Client:
        """A session of its own."""
        return await Client.connect(parse_url(f"iscsi://{self.portal}/{self.name}/{lun}"), **options)  # type: ignore[arg-type]

    async def raw(self) -> RawConnection:
        """A connection with nothing said yet."""
        return await RawConnection.open(TcpConnector(connect_time=10.0, disconnect_time=1.0), self.endpoint)

    async def settle(self, count: int) -> list[Client]:
        """Log in so many sessions that do nothing, 50 at a time."""
        found: list[Client] = []
        while len(found) < count:
            found += await asyncio.gather(*(self.session() for _ in range(min(50, count - len(found)))))
        return found

    async def answers(self, session: Client) -> bool:
        """Whether a session is still there, by its first and only life."""
        try:
            await session.command(opcodes.TEST_UNIT_READY.build())
        except ClientError:
            return False
        return session.recoveries == 0

    async def check_all(self) -> list[str]:
        """Read every region again from a new session: what is wrong."""
        found: list[str] = []
        for lun in _LUNS:
            async with await self.session(lun) as session:
                for region in self.regions:
                    if region.lun == lun:
                        try:
                            for place in range(_PIECES_EACH):
                                await region.check(session, place)
                        except (Wrong, ClientError) as error:
                            found.append(f"at the end: {error}")
        return found


class Region:
    """Blocks that one worker owns. generations: what each piece holds; 0 is zeros, None is not known."""

    def __init__(self, number: int, lun: int) -> None:
        self.lun = lun
        self.start = number * _PIECES_EACH * _PIECE
        self.generations: list[int | None] = [None] * _PIECES_EACH
        self._last = 0

    def content(self, place: int, generation: int) -> bytes:
        """What a piece holds in a generation."""
        if not generation:
            return bytes(_PIECE * BLOCK)
        return (self.start + place).to_bytes(8, "big") * 256 + generation.to_bytes(8, "big") * 256

    async def write(self, session: Client, place: int, count: int) -> None:
        """Write so many pieces in one command."""
        self._last += 1
        generation = self._last
        self.generations[place : place + count] = [None] * count
        data = b"".join(self.content(each, generation) for each in range(place, place + count))
        await session.write(self.start + place * _PIECE, data)
        self.generations[place : place + count] = [generation] * count

    async def check(self, session: Client, place: int) -> None:
        """Read a piece. Raises Wrong."""
        generation = self.generations[place]
        if generation is None:
            return
        found = await session.read(self.start + place * _PIECE, _PIECE)
        if found != self.content(place, generation):
            raise Wrong(f"LUN {self.lun}, LBA {self.start + place * _PIECE}: not generation {generation}")

    async def unmap(self, session: Client, place: int) -> None:
        """Give a piece back."""
        self.generations[place] = None
        descriptor = (self.start + place * _PIECE).to_bytes(8, "big") + _PIECE.to_bytes(4, "big") + bytes(4)
        parameters = b"\0\x16\0\x10" + bytes(4) + descriptor
        await session.command(opcodes.UNMAP.build(parameter_list_length=len(parameters)), data_out=parameters)
        self.generations[place] = 0


async def worker(crowd: Crowd, number: int) -> Once:
    """A session that writes and reads its own region; every fourth has digests."""
    lun = _LUNS[number % len(_LUNS)]
    digest = ("CRC32C",) if number % 4 == 3 else ("None",)
    session = await crowd.session(lun, header_digest=digest, data_digest=digest)
    region = Region(number, lun)
    crowd.regions.append(region)
    dice = random.Random(number)

    async def once() -> None:
        place = dice.randrange(_PIECES_EACH)
        kind = dice.random()
        try:
            if kind < 0.45:
                await region.write(session, place, min(dice.choice((1, 1, 4, 64)), _PIECES_EACH - place))
            elif kind < 0.96:
                places = [dice.randrange(_PIECES_EACH) for _ in range(8)]
                await asyncio.gather(*(region.check(session, each) for each in places))
            elif kind < 0.98 and lun == 1:
                await region.unmap(session, place)
            else:
                await session.flush()
        except ClientError as error:
            raise Wrong(f"LUN {lun}: {error}") from error

    return once


def visitors(crowd: Crowd) -> dict[str, Once]:
    """Those that come and go, by what they do."""
    dice = crowd.dice

    async def come_and_go() -> None:
        async with await crowd.session(2) as session:
            await session.read(0, 8)
        await asyncio.sleep(0.02)

    async def reset_in_the_middle() -> None:
        raw = await crowd.raw()
        try:
            await raw.login(_names(crowd), isid=b"\x80" + secrets.token_bytes(5), timeout=10.0)
            cdb = opcodes.WRITE_10.build(lba=0, blocks=2048)
            command = ScsiCommand(
                write=True,
                itt=1,
                lun=b"\0\2" + bytes(6),
                expected_data_transfer_length=1 << 20,
                cmd_sn=raw.cmd_sn,
                exp_stat_sn=raw.exp_stat_sn,
                cdb=cdb.ljust(16, b"\0"),
                data=bytes(512),
            )
            raw.send(encode(command))
            await asyncio.sleep(dice.random() / 50)
        except (PeerClosed, SilentPeer):
            pass
        raw.close()

    async def half_a_login() -> None:
        raw = await crowd.raw()
        request = encode(LoginRequest(isid=secrets.token_bytes(6), itt=1, data=encode_pairs(_names(crowd))))
        raw.send(bytes(request.bhs)[: dice.randrange(48)])
        await asyncio.sleep(dice.random())
        raw.close()

    async def garbage() -> None:
        raw = await crowd.raw()
        raw.send(dice.randbytes(dice.randrange(1, 4096)))
        with suppress(PeerClosed, SilentPeer):
            await raw.recv(timeout=0.2)
        raw.close()

    async def discovery() -> None:
        async with await Client.connect(crowd.endpoint) as session:
            await session.send_targets()
        await asyncio.sleep(0.05)

    async def aborts_and_resets() -> None:
        async with await crowd.session(2) as session:
            for _ in range(20):
                writing = asyncio.create_task(session.write(dice.randrange(4096) * 4, bytes(1 << 18)))
                await asyncio.sleep(0)
                writing.cancel()
                with suppress(asyncio.CancelledError, ClientError):
                    await writing
            with suppress(ClientError):
                await session.submit(TaskManagement(TaskFunction.LOGICAL_UNIT_RESET, 2))
        await asyncio.sleep(0.1)

    once = {
        "logins and logouts": come_and_go,
        "resets in the middle of a write": reset_in_the_middle,
        "halves of a login": half_a_login,
        "pieces of garbage": garbage,
        "discoveries": discovery,
        "rounds of aborts and resets": aborts_and_resets,
    }
    return {name: _tolerant(each) for name, each in once.items()}


def _names(crowd: Crowd) -> list[tuple[str, str]]:
    return [("InitiatorName", "iqn.2026-01.org.example.soak:visitor"), ("TargetName", crowd.name)]


def _tolerant(once: Once) -> Once:
    """Visitors disturb each other on purpose: an error of theirs proves nothing."""

    async def tolerant() -> None:
        with suppress(ClientError, ConnectFailed, ConnectionError):
            await once()

    return tolerant
