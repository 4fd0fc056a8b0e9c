"""A relay between two foreign products: TCP both ways, with named faults in between.

Every connection gets the faults afresh. What is recorded is what the receivers saw. Nothing piles up: a side that does
not read stops the side that writes to it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from iscsi_protocol.fault import FaultyWire, Hangup, NamedFault, Output
from iscsi_protocol.history import ConnectionTap, Endpoint, Tap, TransportEvent
from iscsi_protocol.stream import Direction

READ_SIZE = 256 * 1024
CONNECT_TIME = 15.0
DISCONNECT_TIME = 15.0
"""Seconds for the upstream to take a connection, and for both ends to answer a FIN of the relay's."""

_LINGER_RESET = struct.pack("ii", 1, 0)


class NotOnTheWire(ValueError):
    """A fault that a relay cannot show, because it lies in what an engine decides."""


def check_relayable(faults: Iterable[NamedFault]) -> None:
    """Raise NotOnTheWire for a fault that needs a switch of the bundled engines."""
    for fault in faults:
        if fault.policy or not fault.faults:
            raise NotOnTheWire(
                f"{fault.id} is a switch inside the bundled {fault.side.value}; no change of passing bytes shows it"
            )


class Relay:
    """Listens, and passes each connection on to `upstream`. connections: how many came so far."""

    def __init__(
        self,
        upstream: Endpoint,
        faults: Sequence[NamedFault] = (),
        *,
        tap: Tap | None = None,
        complain: Callable[[str], None] = lambda _: None,
    ) -> None:
        """tap: takes the records of all connections. complain: told in a line what went wrong. Raises NotOnTheWire."""
        check_relayable(faults)
        self.upstream = upstream
        self.connections = 0
        self.trouble: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the OSError that ends the relay's work: a recording that cannot be written."""
        self._complain = complain
        self._faults = [fault for named in faults for fault in named.faults]
        self._tap = tap
        self._fired = 0
        self._links: dict[asyncio.Task[None], _Link | None] = {}
        self._server: asyncio.Server | None = None

    @property
    def fired(self) -> int:
        """How many times a fault has changed something."""
        return self._fired + sum(link.wire.fired for link in self._links.values() if link is not None)

    async def start(self, listen: Endpoint) -> list[Endpoint]:
        """Listen; where, with the ports that were free. Raises OSError."""
        self._server = await asyncio.start_server(self._accepted, listen.host, listen.port, limit=READ_SIZE)
        return [Endpoint(*each.getsockname()[:2]) for each in self._server.sockets]

    async def stop(self) -> None:
        """Take no more connections, and reset those that are there."""
        if self._server is not None:
            self._server.close()
        links = list(self._links)
        for task in links:
            task.cancel()
        await asyncio.gather(*links, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self.trouble.cancel()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection from its beginning to its end; a task of its own, which `stop` may cancel."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("connections are handled by tasks")
        self.connections += 1
        self._links[task] = None
        try:
            upstream = await self._connect(self.connections)
            if upstream is None:
                _reset(writer)
                await _closed(writer)
                return
            link = _Link(self.connections, (reader, writer), upstream, FaultyWire(self._faults), self._tap)
            self._links[task] = link
            await link.run()
        except OSError as error:
            if not self.trouble.done():
                self.trouble.set_exception(error)
        except asyncio.CancelledError:
            _reset(writer)
        finally:
            ended = self._links.pop(task)
            self._fired += 0 if ended is None else ended.wire.fired

    async def _connect(self, number: int) -> _Stream | None:
        """The connection to the upstream, None when there is none."""
        try:
            async with asyncio.timeout(CONNECT_TIME):
                return await asyncio.open_connection(self.upstream.host, self.upstream.port, limit=READ_SIZE)
        except TimeoutError:
            reason = "timed out"
        except OSError as error:
            reason = error.strerror or str(error)
        self._complain(f"connection {number}: {self.upstream}: {reason}")
        return None


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection on its way through. Readers and writers go by the direction in which the bytes flow."""

    def __init__(self, number: int, client: _Stream, upstream: _Stream, wire: FaultyWire, tap: Tap | None) -> None:
        self.wire = wire
        self._loop = asyncio.get_running_loop()
        self._readers = {Direction.TO_TARGET: client[0], Direction.TO_INITIATOR: upstream[0]}
        self._writers = {Direction.TO_TARGET: upstream[1], Direction.TO_INITIATOR: client[1]}
        self._tap = None if tap is None else ConnectionTap(number, tap)
        self._hangup: Hangup | None = None
        self._over = asyncio.Event()
        self._closed: set[Direction] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._ticked = asyncio.Event()
        for writer in self._writers.values():
            # `drain` then waits until the operating system has everything.
            writer.transport.set_write_buffer_limits(high=0)

    async def run(self) -> None:
        """Pass on until both ends have closed. Raises OSError when the tap cannot write."""
        pumps = {asyncio.ensure_future(self._pump(way)) for way in Direction}
        over = asyncio.ensure_future(self._over.wait())
        try:
            if self._tap is not None:
                initiator, target = (_peer(self._writers[way]) for way in reversed(Direction))
                self._tap.transport(TransportEvent.CONNECTED, time.time(), initiator=initiator, target=target)
            await _all_done(pumps, over)
        finally:
            # Another cancellation may come at the wait; everything is given back before.
            finished = all(pump.done() for pump in pumps)
            for task in (*pumps, over):
                task.cancel()
            if self._alarm is not None:
                self._alarm.cancel()
            for writer in self._writers.values():
                if finished:
                    writer.close()
                else:
                    _reset(writer)
            if self._tap is not None:
                self._tap.finish(time.time())
            await asyncio.gather(*pumps, over, *map(_closed, self._writers.values()), return_exceptions=True)

    async def _pump(self, way: Direction) -> None:
        """Everything that goes one way, to its FIN or RST. Behind a hang-up it is read and forgotten."""
        while True:
            try:
                data = await self._readers[way].read(READ_SIZE)
            except OSError:
                self._reset_both(way)
                return
            if not data:
                break
            if self._over.is_set():
                continue
            self._put(self.wire.forward(way, data, self._loop.time()))
            self._set_alarm()
            await self._settle()
        while self.wire.next_deadline() is not None and not self._over.is_set():
            self._ticked.clear()
            await self._ticked.wait()
        self._put(self.wire.finish(way))
        await self._settle()
        self._close(way)

    def _put(self, outputs: Iterable[Output]) -> None:
        for output in outputs:
            if isinstance(output, Hangup):
                self._hangup = output
            elif output.direction not in self._closed and not self._writers[output.direction].is_closing():
                self._writers[output.direction].write(output.data)
                if self._tap is not None:
                    self._tap.bytes_crossed(output.direction, output.data, time.time())

    async def _settle(self) -> None:
        """Wait until both ends have taken what is theirs, then do what a fault wants done to the connection."""
        for way in Direction:
            try:
                await self._writers[way].drain()
            except OSError:
                self._reset_both(way.other)
        if self._hangup is None or self._over.is_set():
            return
        if self._hangup.reset:
            self._reset_both(self._hangup.direction)
            return
        # The sender's own connection ends too: what it may have left to say would not be passed on.
        self._close(self._hangup.direction)
        self._close(self._hangup.direction.other)
        self._over.set()

    def _close(self, way: Direction) -> None:
        """FIN, once."""
        if way in self._closed or self._writers[way].is_closing():
            return
        self._closed.add(way)
        if self._tap is not None:
            self._tap.transport(TransportEvent.FIN, time.time(), direction=way)
        with suppress(OSError):
            self._writers[way].write_eof()

    def _reset_both(self, way: Direction) -> None:
        """RST to both ends, because the one that sends this way did so, or is said to."""
        if self._over.is_set():
            return
        self._over.set()
        if self._tap is not None:
            self._tap.transport(TransportEvent.RST, time.time(), direction=way)
        for writer in self._writers.values():
            _reset(writer)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        due = self.wire.next_deadline()
        self._alarm = None if due is None else self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._put(self.wire.handle_timer(self._loop.time()))
        self._set_alarm()
        self._ticked.set()


async def _all_done(pumps: set[asyncio.Task[None]], over: asyncio.Task[bool]) -> None:
    """Wait for the pumps; once it is over, no longer than DISCONNECT_TIME. Raises what a pump raised."""
    pending: set[asyncio.Task[Any]] = {*pumps, over}
    while over in pending and len(pending) > 1:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    rest = pending - {over}
    if rest:
        await asyncio.wait(rest, timeout=DISCONNECT_TIME)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST at once, whatever was still to be sent."""
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    writer.transport.abort()


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Return once the socket was given back."""
    with suppress(OSError):
        await writer.wait_closed()


def _peer(writer: asyncio.StreamWriter) -> Endpoint | None:
    """Who is at the other end; None where it has gone already."""
    name = writer.get_extra_info("peername")
    return None if name is None else Endpoint(*name[:2])
