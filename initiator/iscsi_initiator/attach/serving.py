"""NBD exports on a Unix socket. One process serves all connections and all of their requests at once, and hands the buffers
that it receives into on to iSCSI as they are, as it does with those that it sends.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from iscsi_initiator.client import ClientError, RequestFailed, ScsiError
from iscsi_initiator.nbd import Command, CommandFlag, Errno, Export, NbdRequest, NbdServer
from iscsi_initiator.requests import Failure
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import parse_sense

AT_ONCE = 128
"""Requests of one connection that are on their way; what comes beyond waits in the socket."""
PENDING_BYTES = 64 * 1024 * 1024
"""Bytes of data of these."""
_BUFFERS_PER_SEND = 512
_BACKLOG = 64
ACCEPT_AGAIN = 1.0
"""Seconds until a client that there was no descriptor for is looked at again."""
FINISH_TIME = 10.0
"""Seconds that requests under way have when the exports are withdrawn."""


class Blocks(Protocol):
    """What is served: see `Disk`, whose methods these are."""

    async def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill a buffer."""

    async def write(self, offset: int, data: memoryview, *, fua: bool = False) -> None:
        """Write."""

    async def flush(self) -> None:
        """Have all reach the medium."""

    async def trim(self, offset: int, length: int, *, fua: bool = False) -> None:
        """Give blocks back."""

    async def write_zeroes(self, offset: int, length: int, *, hole: bool = True, fua: bool = False) -> None:
        """Have a range read as zeros."""


class Handles(Protocol):
    """Who wants to know which devices are in use, such as a service that must not log their sessions out."""

    def opened(self, disk: Blocks) -> None:
        """A client attached to a disk."""

    def closed(self, disk: Blocks) -> None:
        """It is gone."""


class OpenHandles:
    """Counts the clients of each disk."""

    def __init__(self) -> None:
        self._count: Counter[Blocks] = Counter()

    def opened(self, disk: Blocks) -> None:
        """See `Handles`."""
        self._count[disk] += 1

    def closed(self, disk: Blocks) -> None:
        """See `Handles`."""
        self._count[disk] -= 1

    def of(self, disk: Blocks) -> int:
        """How many clients a disk has."""
        return self._count[disk]


class NbdService:
    """Listens, and serves disks. exports, disks: by the names that clients may use; handles: told of every client."""

    def __init__(self, exports: Mapping[str, Export], disks: Mapping[str, Blocks], handles: Handles) -> None:
        self.exports = exports
        self.disks = disks
        self.handles = handles
        self._connections: set[_Connection] = set()
        self._orphans: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._path: Path | None = None
        self._loop = asyncio.get_running_loop()

    def listen(self, path: Path) -> None:
        """Open the socket, for this user alone. A socket that nobody listens at any more is replaced. Raises OSError."""
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            before = os.umask(0o177)
            try:
                listener.bind(os.fspath(path))
            finally:
                os.umask(before)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
        self._listener, self._path = listener, path
        self._watch()

    def _watch(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connected, _ = self._listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionError):
            return
        except OSError:
            # No descriptor is left, and the client waits: to be told so again at once would be of no use.
            self._loop.remove_reader(self._listener)
            self._loop.call_later(ACCEPT_AGAIN, self._watch)
            return
        connected.setblocking(False)
        self.attach(connected)

    def attach(self, connected: socket.socket) -> None:
        """Serve a client at the other end of a socket that does not block."""
        self._connections.add(_Connection(connected, self))

    def ended(self, connection: _Connection) -> None:
        """A client is gone."""
        self._connections.discard(connection)

    @property
    def orphans(self) -> frozenset[asyncio.Task[None]]:
        """Requests of clients that are gone."""
        return frozenset(self._orphans)

    def adopt(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        """Requests lost their client. They go on: what is begun from now on waits for them, so that none of their writes is
        done after a newer one.
        """
        for task in tasks:
            self._orphans.add(task)
            task.add_done_callback(self._orphans.discard)

    async def close(self, patience: float = FINISH_TIME) -> None:
        """Take no more clients and requests, answer those under way, `patience` seconds at most, and be gone."""
        if self._listener is not None and self._path is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._path.unlink(missing_ok=True)
            self._listener = None
        connections = list(self._connections)
        for connection in connections:
            connection.finish()
        if connections:
            await asyncio.wait([connection.over for connection in connections], timeout=patience)
        for connection in connections:
            connection.drop()
        for task in self.orphans:
            task.cancel()
        await asyncio.gather(*self.orphans, return_exceptions=True)


def _remove_stale(path: Path) -> None:
    """Raises OSError (EADDRINUSE, from bind) later where somebody listens there, or it is no socket."""
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            return


class _Connection:
    """One client."""

    def __init__(self, connected: socket.socket, service: NbdService) -> None:
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._socket = connected
        self._service = service
        self._server = NbdServer(service.exports)
        self._disk: Blocks | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._outbox: deque[Buffer] = deque()
        self._reading = False
        self._writing = False
        self._finishing = False
        self._send(self._server.to_send)
        self._server.to_send = []
        self._settle()

    # Receiving.

    def _readable(self) -> None:
        try:
            length = self._socket.recv_into(self._server.buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            length = 0
        if not length:
            self.drop()
            return
        server = self._server
        server.received(length)
        if server.to_send:
            self._send(server.to_send)
            server.to_send = []
        if self._disk is None and server.export is not None:
            self._disk = self._service.disks[server.export.name]
            self._service.handles.opened(self._disk)
        while server.requests:
            self._begin(server.requests.popleft())
        self._settle()

    def _begin(self, request: NbdRequest) -> None:
        self._pending += _moved(request)
        task = self._loop.create_task(self._serve(request, self._service.orphans))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _settle(self) -> None:
        """Read on or not, and be gone when there is nothing left to do."""
        ends = self._server.over or self._finishing
        if self.over.done():
            return
        if ends and not self._tasks and not self._outbox:
            self.drop()
            return
        room = len(self._tasks) < AT_ONCE and self._pending < PENDING_BYTES
        reads = room and not ends
        if reads is not self._reading:
            self._reading = reads
            if reads:
                self._loop.add_reader(self._socket, self._readable)
            else:
                self._loop.remove_reader(self._socket)

    # Requests.

    async def _serve(self, request: NbdRequest, before: frozenset[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        data: Buffer = b""
        error, text = None, ""
        try:
            data = await self._do(request)
        except (ClientError, ValueError) as caught:
            error, text = errno_of(caught), str(caught)
        self._pending -= _moved(request)
        self._send(self._server.answer(request, data, error=error, text=text))
        task = asyncio.current_task()
        if task is not None:
            self._tasks.discard(task)
        self._settle()

    async def _do(self, request: NbdRequest) -> Buffer:
        disk = self._disk
        if disk is None:
            raise RuntimeError("a request came before an export was chosen")
        offset, length = request.offset, request.length
        if request.command == Command.READ:
            buffer = bytearray(length)
            await disk.read_into(offset, memoryview(buffer))
            return buffer
        if request.command == Command.WRITE:
            await disk.write(offset, request.data, fua=request.fua)
        elif request.command == Command.FLUSH:
            await disk.flush()
        elif request.command == Command.TRIM:
            await disk.trim(offset, length, fua=request.fua)
        else:
            hole = not request.flags & CommandFlag.NO_HOLE
            await disk.write_zeroes(offset, length, hole=hole, fua=request.fua)
        return b""

    # Sending.

    def _send(self, buffers: list[Buffer]) -> None:
        if self.over.done():
            return
        self._outbox.extend(buffers)
        if not self._writing:
            self._flush()

    def _flush(self) -> None:
        outbox = self._outbox
        while outbox:
            batch = [outbox[n] for n in range(min(len(outbox), _BUFFERS_PER_SEND))]
            try:
                sent = self._socket.sendmsg(batch)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self.drop()
                return
            while outbox and sent >= len(outbox[0]):
                sent -= len(outbox.popleft())
            if sent:
                outbox[0] = memoryview(outbox[0])[sent:]
        if bool(outbox) is not self._writing:
            self._writing = bool(outbox)
            if self._writing:
                self._loop.add_writer(self._socket, self._drain)
            else:
                self._loop.remove_writer(self._socket)

    def _drain(self) -> None:
        self._flush()
        self._settle()

    # The end.

    def finish(self) -> None:
        """Answer what is under way, and go."""
        self._finishing = True
        self._settle()

    def drop(self) -> None:
        """Close the connection now. What is under way goes on without it."""
        if self.over.done():
            return
        self.over.set_result(None)
        self._service.adopt(task for task in self._tasks if task is not asyncio.current_task())
        self._outbox.clear()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        if self._disk is not None:
            self._service.handles.closed(self._disk)
        self._service.ended(self)


def _moved(request: NbdRequest) -> int:
    """Bytes of data that a request has in memory."""
    return request.length if request.command in {Command.READ, Command.WRITE} else 0


_ERRORS = {
    AdditionalSense.WRITE_PROTECTED: Errno.EPERM,
    AdditionalSense.SPACE_ALLOCATION_FAILED_WRITE_PROTECT: Errno.ENOSPC,
    AdditionalSense.LOGICAL_BLOCK_ADDRESS_OUT_OF_RANGE: Errno.EINVAL,
}


def errno_of(error: Exception) -> Errno:
    """What a client is told of an error."""
    if isinstance(error, RequestFailed) and error.failure is Failure.NOT_CONNECTED:
        return Errno.ESHUTDOWN
    sense = parse_sense(error.result.sense) if isinstance(error, ScsiError) else None
    if sense is None:
        return Errno.EINVAL if isinstance(error, ValueError) else Errno.EIO
    known = _ERRORS.get(AdditionalSense(sense.code)) if sense.code in _ERRORS else None
    return known or (Errno.EPERM if sense.key == SenseKey.DATA_PROTECT else Errno.EIO)
