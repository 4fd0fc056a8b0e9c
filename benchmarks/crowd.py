"""The initiators of the soak that work and check what they read, and those that only are there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from iscsi_initiator.client import Client, ClientError
from iscsi_initiator.raw import RawConnection
from iscsi_initiator.transport import TcpConnector
from iscsi_initiator.url import parse_url
from iscsi_protocol.history import Endpoint
from iscsi_protocol.scsi import opcodes

BLOCK = 512
_PIECE = 8
"""Blocks of which each has one generation: 4 KiB."""
_PIECES_EACH = 128
_LUNS = (0, 1)
_AT_ONCE = 50
"""Logins under way at a time while the crowd settles."""

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

    async def session(self, lun: int = 0, *, name: str | None = None, **options: object) -> Client:
        """A session of its own, with another target where a name is given."""
        return await Client.connect(parse_url(f"iscsi://{self.portal}/{name or self.name}/{lun}"), **options)  # type: ignore[arg-type]

    async def raw(self) -> RawConnection:
        """A connection with nothing said yet."""
        return await RawConnection.open(TcpConnector(connect_time=10.0, disconnect_time=1.0), self.endpoint)

    async def settle(self, count: int) -> list[Client]:
        """Log in so many sessions that do nothing."""
        found: list[Client] = []
        while len(found) < count:
            found += await asyncio.gather(*(self.session() for _ in range(min(_AT_ONCE, count - len(found)))))
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
                            await asyncio.gather(*(region.check(session, place) for place in range(_PIECES_EACH)))
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


async def worker(crowd: Crowd, number: int, pause: float) -> Once:
    """A session that writes and reads its own region; every fourth has digests. pause: seconds behind a piece of work, on
    the average.
    """
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
        await asyncio.sleep(dice.random() * 2 * pause)

    return once
