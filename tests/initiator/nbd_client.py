"""A small NBD client for tests: simple replies, one request at a time unless the test sends by itself."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path
from typing import Self

from iscsi_initiator.nbd import Command
from iscsi_initiator.nbd.wire import (
    CLIENT_FLAGS,
    GREETING,
    OPTION,
    OPTION_MAGIC,
    REQUEST,
    REQUEST_MAGIC,
    SIMPLE_REPLY,
    Option,
)


class NbdClient:
    """A client that has an export. size: its bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.size = 0
        self._reader = reader
        self._writer = writer

    @classmethod
    async def at(cls, socket: str | Path, export: str = "") -> Self:
        """Connect and take an export."""
        client = cls(*await asyncio.open_unix_connection(socket))
        await client._reader.readexactly(GREETING.size)
        name = export.encode()
        client._writer.write(CLIENT_FLAGS.pack(3) + OPTION.pack(OPTION_MAGIC, Option.EXPORT_NAME, len(name)) + name)
        client.size, _ = struct.unpack(">QH", await client._reader.readexactly(10))
        return client

    async def ask(self, command: Command, offset: int = 0, length: int = 0, data: bytes = b"") -> tuple[int, bytes]:
        """(error, data) of the answer."""
        self._writer.write(REQUEST.pack(REQUEST_MAGIC, 0, command, 1, offset, length) + data)
        _, error, _ = SIMPLE_REPLY.unpack(await self._reader.readexactly(SIMPLE_REPLY.size))
        reads = command is Command.READ and not error
        return error, await self._reader.readexactly(length) if reads else b""

    async def read(self, offset: int, length: int) -> bytes:
        """What stands there; it has to be there."""
        error, data = await self.ask(Command.READ, offset, length)
        assert error == 0
        return data

    async def write(self, offset: int, data: bytes) -> None:
        """Write; it has to be done."""
        assert await self.ask(Command.WRITE, offset, len(data), data) == (0, b"")

    async def closed(self) -> bool:
        """Whether the other end closes, which is waited for."""
        return await self._reader.read() == b""

    async def close(self) -> None:
        """Be gone."""
        self._writer.close()
        await self._writer.wait_closed()
