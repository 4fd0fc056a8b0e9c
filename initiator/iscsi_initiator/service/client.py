"""Ask the service from inside an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from iscsi_initiator.service.api.answers import Answer
from iscsi_initiator.service.api.management import Notice, Watch
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.wire import MAX_ANSWER, encode_request
from iscsi_initiator.service.place import read_answer, silent, unreachable
from iscsi_initiator.service.policy import CONFORMING, ServicePolicy

A = TypeVar("A", bound=Answer)


@dataclass(frozen=True, slots=True)
class Client:
    """Speaks to the service at a socket. timeout: seconds that an answer may take, None for as long as it takes; policy: what
    it does wrong where there is no service.
    """

    path: Path
    timeout: float | None = None
    policy: ServicePolicy = CONFORMING

    async def ask(self, request: Operation[A]) -> A:
        """One request over a connection of its own. Raises Refused as BlockingClient.ask does."""
        try:
            async with asyncio.timeout(self.timeout):
                line = await self._exchange(encode_request(request))
        except TimeoutError as error:
            raise silent(self.timeout) from error
        except OSError as error:
            raise unreachable(self.path, error, self.policy) from error
        return read_answer(line, request, self.path)

    async def watch(self, request: Watch) -> AsyncIterator[Notice]:
        """The events of management classes as they happen, until the service ends; the first notice, of no class, says that
        nothing is missed from then on. Raises Refused as BlockingClient.watch does.
        """
        try:
            reader, writer = await asyncio.open_unix_connection(self.path, limit=MAX_ANSWER)
        except OSError as error:
            raise unreachable(self.path, error) from error
        try:
            writer.write(encode_request(request))
            while True:
                async with asyncio.timeout(self.timeout):
                    line = await reader.readline()
                yield read_answer(line, request, self.path)
        except TimeoutError as error:
            raise silent(self.timeout) from error
        except OSError as error:
            raise unreachable(self.path, error) from error
        finally:
            writer.close()

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=MAX_ANSWER)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError:
            return bytes(MAX_ANSWER + 1)
        finally:
            writer.close()
