"""The iSNS server on sockets: TCP and UDP on one port, the database, and the control socket."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from iscsi_protocol.history import Endpoint
from iscsi_target.config import host_and_port
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.control import carry_out
from iscsi_target.isns.database import Database
from iscsi_target.isns.server import Address, IsnsServer, Send

log = logging.getLogger(__name__)

READ_SIZE = 1 << 16
MAX_LINE = 1 << 20
PORTS_TRIED = 5
MAX_UNSENT = 32 << 20
"""Bytes that a client may leave unread before its connection is given up."""


class _Datagrams(asyncio.DatagramProtocol):
    """UDP of the server's port."""

    def __init__(self, shell: IsnsShell) -> None:
        self._shell = shell

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One PDU."""
        self._shell.datagram((addr[0], addr[1]), data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens where a datagram went; the engine repeats it or gives up."""
        log.debug("datagram: %s", exc)


class IsnsShell:
    """A running server. Raises OSError from `start` where it cannot listen, ConfigError for a database that is none."""

    def __init__(self, config: IsnsConfig) -> None:
        self._config = config
        self._database = Database(Path(config.database)) if config.database else None
        self.engine = IsnsServer(config, self._database.load() if self._database else None)
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._dialled: dict[Address, int] = {}
        self._dialling: dict[Address, list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tcp: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._unix: asyncio.Server | None = None
        self._epoch = 0.0
        self._failed: Callable[[], object] = lambda: None
        self.failure: OSError | None = None

    def on_failure(self, call: Callable[[], object]) -> None:
        """Be told when the database cannot be written any more; `failure` says why."""
        self._failed = call

    def now(self) -> float:
        """Seconds since 1970 that never go back."""
        return self._epoch + asyncio.get_running_loop().time()

    async def start(self) -> Endpoint:
        """Listen; where."""
        loop = asyncio.get_running_loop()
        self._epoch = time.time() - loop.time()
        address, port = await self._listen()
        try:
            if self._config.control:
                before = os.umask(0o177)
                try:
                    self._unix = await asyncio.start_unix_server(self._control, self._config.control, limit=MAX_LINE)
                finally:
                    os.umask(before)
        except OSError:
            await self.stop()
            raise
        self.engine.start(self.now())
        self._flush()
        return Endpoint(address, port)

    async def _listen(self) -> Address:
        """TCP and UDP on one port; for any port another one is tried where UDP has it taken."""
        loop = asyncio.get_running_loop()
        host, wanted = host_and_port(self._config.listen)
        for attempt in range(PORTS_TRIED):
            self._tcp = await asyncio.start_server(self._serve, host, wanted, limit=READ_SIZE)
            address, port = self._tcp.sockets[0].getsockname()[:2]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(address, port))
            except OSError:
                self._tcp.close()
                if wanted or attempt == PORTS_TRIED - 1:
                    await self.stop()
                    raise
            else:
                break
        return address, port

    async def stop(self) -> None:
        """Close everything."""
        for server in (self._tcp, self._unix):
            if server is not None:
                server.close()
        if self._udp is not None:
            self._udp.close()
        if self._timer is not None:
            self._timer.cancel()
        for writer in list(self._writers.values()):
            writer.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._unix is not None and self._config.control:
            _remove(Path(self._config.control))
        if self._database is not None:
            self._database.close()

    def datagram(self, peer: Address, data: bytes) -> None:
        """Bytes from UDP."""
        self.engine.datagram(peer, data, self.now())
        self._flush()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._keep(asyncio.current_task())
        # What `stop` cancels ends without an error, of which asyncio's streams would complain.
        with suppress(asyncio.CancelledError):
            await self._read(self._opened(writer), reader)

    def _keep(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _opened(self, writer: asyncio.StreamWriter) -> int:
        self._count += 1
        self._writers[self._count] = writer
        self.engine.connection_made(self._count)
        return self._count

    async def _read(self, connection: int, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(READ_SIZE):
                self.engine.receive(connection, data, self.now())
                self._flush()
        except OSError as error:
            log.debug("connection %d: %s", connection, error)
        finally:
            self.engine.connection_lost(connection)
            self._writers.pop(connection).close()
            self._dialled = {where: each for where, each in self._dialled.items() if each != connection}

    def _flush(self) -> None:
        """First to disk, then to the network."""
        changes = self.engine.take_changes()
        if self._database is not None:
            try:
                self._database.write(changes)
            except sqlite3.Error as error:
                self._fail(OSError(f"{self._database.path}: {error}"))
                return
        for send in self.engine.take_output():
            self._send(send)
        self._arm()

    def _fail(self, error: OSError) -> None:
        """What cannot be kept is not promised: nothing more goes out."""
        self.engine.take_output()
        self.failure = error
        self._failed()

    def _send(self, send: Send) -> None:
        if send.udp is not None and self._udp is not None:
            self._udp.sendto(send.data, send.udp)
        elif send.tcp is not None:
            connection = self._dialled.get(send.tcp)
            if connection is not None:
                self._write(connection, send.data)
            elif send.tcp in self._dialling:
                self._dialling[send.tcp].append(send.data)
            else:
                self._dialling[send.tcp] = [send.data]
                self._keep(asyncio.get_running_loop().create_task(self._dial(send.tcp)))
        elif send.connection in self._writers:
            self._write(send.connection, send.data)

    def _write(self, connection: int, data: bytes) -> None:
        """Send on a connection, unless its client reads nothing any more."""
        transport = self._writers[connection].transport
        if transport.get_write_buffer_size() > MAX_UNSENT:
            log.info("connection %d: too much is unread", connection)
            transport.abort()
        else:
            transport.write(data)

    async def _dial(self, where: Address) -> None:
        """Open a connection to a portal that wants ESI or SCN by TCP (R4171-2.9.1-03)."""
        try:
            reader, writer = await asyncio.open_connection(*where)
        except OSError as error:
            log.debug("%s:%d: %s", *where, error)
            return
        finally:
            waiting = self._dialling.pop(where)
        connection = self._opened(writer)
        self._dialled[where] = connection
        for data in waiting:
            self._write(connection, data)
        await self._read(connection, reader)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.engine.next_deadline()
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - self.now()), self._ring)

    def _ring(self) -> None:
        self.engine.handle_timer(self.now())
        self._flush()

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One JSON object a line, each with its answer."""
        self._keep(asyncio.current_task())
        with suppress(OSError, ValueError, asyncio.CancelledError):
            while line := await reader.readline():
                answer = carry_out(self.engine, line, self.now())
                self._flush()
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
