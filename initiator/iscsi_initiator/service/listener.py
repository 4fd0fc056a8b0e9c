"""The service's end of the socket: requests come in, a handler answers them.

Who may open the socket may ask for everything: its mode 0600 is the access control. Each connection has one request in work
at a time; a request that was begun is finished even when its caller is gone, so that no change is left half done.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import cast

from iscsi_initiator.service.answering import Answering, Handler
from iscsi_initiator.service.api.answers import Failure, Stream, failure_of
from iscsi_initiator.service.api.wire import MAX_REQUEST, NoRequest
from iscsi_initiator.status_codes import StatusCode

MAX_CONNECTIONS = 64
SOCKET_MODE = 0o600
STREAM_BUFFER = 1 << 16
"""Bytes of a stream that are given to the socket before its caller takes them."""

LINGER = 2.0
"""Seconds that a caller has to take the last answer of a connection."""


class Listener:
    """Listens at a Unix socket from `start` to `close`.

    max_connections: what comes beyond is told OUT_OF_RESOURCES and closed; max_request: bytes of a line; defect: is handed
    what a handler should not have raised.
    """

    def __init__(
        self,
        path: Path,
        handler: Handler,
        *,
        defect: Callable[[Exception], None],
        max_connections: int = MAX_CONNECTIONS,
        max_request: int = MAX_REQUEST,
    ) -> None:
        self.path = path
        self._answering = Answering(handler, defect)
        self._defect = defect
        self._max_connections = max_connections
        self._max_request = max_request
        self._server: asyncio.Server | None = None
        self._identity = (0, 0)
        self._tasks: dict[asyncio.Task[None], bool] = {}

    async def start(self) -> None:
        """Listen. Raises OSError: EADDRINUSE where another service answers, FileExistsError where the path is no socket."""
        listening = _bind(self.path)
        self._identity = _identity(self.path)
        self._server = await asyncio.start_unix_server(self._serve, sock=listening, limit=self._max_request)

    async def close(self, patience: float | None = None) -> None:
        """Listen no more, let requests that are in work finish, and leave no socket behind.

        patience: seconds for those, behind which they are cancelled; None for as long as they take.
        """
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task, busy in self._tasks.items():
            if not busy:
                task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=patience)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        with suppress(FileNotFoundError):
            if _identity(self.path) == self._identity:
                self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        try:
            if len(self._tasks) >= self._max_connections:
                reason = f"the service has {self._max_connections} connections already"
                await self._dismiss(reader, writer, Failure(status=StatusCode.OUT_OF_RESOURCES, message=reason))
                return
            self._tasks[task] = False
            while self._server is not None and await self._answer_one(task, reader, writer):
                pass
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.pop(task, None)
            writer.close()

    async def _answer_one(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Take one request; whether another may follow on this connection."""
        try:
            line = await reader.readline()
        except ValueError:
            reason = f"a request has at most {self._max_request} bytes"
            await self._dismiss(reader, writer, Failure(status=StatusCode.INVALID_PARAMETER, message=reason))
            return False
        if not line:
            return False
        self._tasks[task] = True
        try:
            answer = await self._answering.answer(line)
        except NoRequest as error:
            await self._dismiss(reader, writer, failure_of(error))
            return False
        if not isinstance(answer, bytes):
            self._tasks[task] = False
            await self._tell(reader, writer, answer)
            return False
        writer.write(answer)
        await writer.drain()
        self._tasks[task] = False
        return True

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, stream: Stream) -> None:
        """Tell the answers of a stream until the caller hangs up, or says anything else."""
        writer.transport.set_write_buffer_limits(high=STREAM_BUFFER)

        async def tell() -> None:
            async for answer in stream:
                writer.write(self._answering.told(answer))
                await writer.drain()

        loop = asyncio.get_running_loop()
        both = [loop.create_task(tell()), loop.create_task(reader.read(1))]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stream.close()
            for each in both:
                each.cancel()
            for outcome in await asyncio.gather(*both, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                    self._defect(outcome)

    async def _dismiss(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, failure: Failure) -> None:
        """Say why, and read on for a while: closed with unread data, a socket takes back what it said last."""
        writer.write(self._answering.refusal(failure))
        writer.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await reader.read(1 << 16):
                    pass


def _identity(path: Path) -> tuple[int, int]:
    """What tells a socket from another in its place; an inode alone is used again at once."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _bind(path: Path) -> socket.socket:
    """A socket that nobody else may open, in the place of one that nobody answers at."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        made.bind(str(path))
    except OSError:
        made.close()
        raise
    finally:
        os.umask(mask)
    return made


def _clear(path: Path) -> None:
    """Remove a socket that a service left behind."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(17, "is there and is no socket", str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(98, "another service listens there", str(path))
