"""Portals over TCP: own non-blocking sockets, one pooled receive buffer, sendmsg in batches, sendfile for pieces of files."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from iscsi_protocol.fault import Fault
from iscsi_protocol.history import Endpoint, Tap, TransportEvent
from iscsi_target.completion import FileSlice, Piece
from iscsi_target.config import PortalConfig, host_and_port
from iscsi_target.engine import TargetEngine
from iscsi_target.events import Event
from iscsi_target.shell.driver import Driver, WireMaker

RECEIVE_BUFFER = 1 << 20
PIECES_PER_SEND = 1024
"""Linux takes this many buffers in one sendmsg (IOV_MAX)."""

BACKLOG = 1024
"""Connections that may wait to be accepted: one that finds no room tries again only after a second."""

_ACCEPTED_AT_ONCE = 64
"""So many of them before others have their turn."""

STOP_PATIENCE = 2.0
"""Seconds for initiators to close their side when the server stops."""

_LINGER_RESET = struct.pack("ii", 1, 0)
_OF_SOCKETS = frozenset(
    {
        errno.EAGAIN,
        errno.EINTR,
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENETDOWN,
        errno.ENOBUFS,
    }
)
"""What sendfile says when it is not the file that is at fault."""


class PortalError(OSError):
    """A portal that cannot listen; the message names it."""


class TargetServer:
    """An engine behind TCP portals.

    tap: takes the records of all connections. faults: every connection gets them afresh. make_wire: instead of faults, what
    each connection gets. on_event: takes the engine's events. workers: threads for slow work.
    """

    def __init__(
        self,
        engine: TargetEngine,
        *,
        tap: Tap | None = None,
        faults: Sequence[Fault] = (),
        make_wire: WireMaker | None = None,
        on_event: Callable[[Event], None] | None = None,
        workers: int = 4,
    ) -> None:
        self.engine = engine
        self._tap = tap
        self._faults = faults
        self._make_wire = make_wire
        self._on_event = on_event
        self._workers = workers
        self._executor: ThreadPoolExecutor | None = None
        self._driver: Driver | None = None
        self._listeners: list[tuple[socket.socket, int]] = []
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._links: set[TcpLink] = set()

    @property
    def driver(self) -> Driver:
        """The pump; there from `start` on."""
        if self._driver is None:
            raise RuntimeError("the server was not started")
        return self._driver

    async def start(self, portals: Sequence[PortalConfig]) -> list[Endpoint]:
        """Listen on every portal, all or none; the endpoints that came of them, in order. Raises PortalError."""
        loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(self._workers, thread_name_prefix="lun")
        self._driver = Driver(
            self.engine,
            tap=self._tap,
            faults=self._faults,
            make_wire=self._make_wire,
            on_event=self._on_event,
            executor=self._executor,
        )
        try:
            for portal in portals:
                self._listeners.append((_listener(portal), portal.group_tag))
        except PortalError:
            self._close_listeners()
            raise
        endpoints = [_endpoint(listener.getsockname()) for listener, _ in self._listeners]
        self.engine.set_portals(
            (portal.group_tag, portal.advertised or str(endpoint))
            for portal, endpoint in zip(portals, endpoints, strict=True)
            if portal.advertised or not _is_any(endpoint.host)
        )
        for listener, tag in self._listeners:
            loop.add_reader(listener, self._accept, listener, tag)
        return endpoints

    async def stop(self) -> None:
        """Announce the end to every session, give initiators a moment to close, and close."""
        if self._driver is None:
            return
        self._close_listeners()
        now = self._driver.loop.time()
        for session in self.engine.sessions:
            self.engine.drop_session(session.tsih, now)
        self._driver.pump()
        if self._links:
            try:
                async with asyncio.timeout(STOP_PATIENCE):
                    await asyncio.gather(*(link.over.wait() for link in list(self._links)))
            except TimeoutError:
                pass  # whoever still holds on is reset below
        self._driver.close()
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _close_listeners(self) -> None:
        loop = asyncio.get_running_loop()
        for listener, _ in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket, tag: int) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                accepted, _ = listener.accept()
            except OSError:
                return  # no more of them, the peer went away meanwhile, or descriptors are short: the backlog waits
            self._begin(accepted, tag)

    def _begin(self, accepted: socket.socket, tag: int) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            remote = _endpoint(accepted.getpeername())
        except OSError:
            accepted.close()
            return
        link = TcpLink(accepted, self.driver, self._buffer, self._links)
        link.begin(_endpoint(accepted.getsockname()), remote, tag)


class TcpLink:
    """One accepted connection; see `Lower`."""

    def __init__(self, accepted: socket.socket, driver: Driver, buffer: bytearray, links: set[TcpLink]) -> None:
        self.blocked = False
        self.over = asyncio.Event()
        self._socket = accepted
        self._descriptor = accepted.fileno()
        self._driver = driver
        self._loop = driver.loop
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._links = links
        self._unsent: deque[Piece] = deque()
        self._number = 0
        self._fin_wanted = False
        self._open = True
        links.add(self)

    def begin(self, local: Endpoint, remote: Endpoint, tag: int) -> None:
        """Make the connection known and listen to it."""
        self._number = self._driver.connected(self, local, remote, tag)
        if self._open:
            self._loop.add_reader(self._descriptor, self._readable)

    def _readable(self) -> None:
        try:
            count = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end(TransportEvent.RST)
            return
        if count:
            self._driver.received(self._number, self._view[:count])
        else:
            self._end(TransportEvent.FIN)

    def write(self, pieces: list[Piece]) -> None:
        """See `Lower`."""
        if not self._open or self._fin_wanted:
            return
        if not self._unsent and len(pieces) <= PIECES_PER_SEND:
            try:
                sent = self._socket.sendmsg(pieces)  # type: ignore[arg-type] # a FileSlice raises TypeError
            except TypeError:
                sent = 0
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._loop.call_soon(self._end, TransportEvent.RST)
                return
            if sent == sum(map(len, pieces)) and sent:
                return
            self._unsent.extend(pieces)
            self._drop(sent)
        else:
            self._unsent.extend(pieces)
        self._send_on()

    def _send_on(self) -> None:
        """Send what waits until it is gone or the network takes no more."""
        try:
            while self._unsent:
                if isinstance(self._unsent[0], FileSlice):
                    self._send_file(self._unsent[0])
                else:
                    self._drop(self._socket.sendmsg(self._batch()))
        except (BlockingIOError, InterruptedError):
            if not self.blocked:
                self.blocked = True
                self._loop.add_writer(self._descriptor, self._writable)
            return
        except (OSError, EOFError):
            self._unsent.clear()
            self._loop.call_soon(self._end, TransportEvent.RST)
            return
        if self.blocked:
            self.blocked = False
            self._loop.remove_writer(self._descriptor)

    def _batch(self) -> list[bytes | bytearray | memoryview]:
        found: list[bytes | bytearray | memoryview] = []
        for piece in self._unsent:
            if isinstance(piece, FileSlice) or len(found) == PIECES_PER_SEND:
                break
            found.append(piece)
        return found

    def _drop(self, sent: int) -> None:
        """Forget so many bytes from the front of what waits."""
        unsent = self._unsent
        while sent:
            first = unsent[0]
            if isinstance(first, FileSlice):
                raise TypeError("a piece of a file is not sent by sendmsg")
            if sent < len(first):
                unsent[0] = memoryview(first)[sent:]
                return
            sent -= len(first)
            unsent.popleft()

    def _send_file(self, piece: FileSlice) -> None:
        try:
            sent = os.sendfile(self._descriptor, piece.fd, piece.offset, piece.length)
        except OSError as error:
            if piece.failed is not None and error.errno not in _OF_SOCKETS:
                piece.failed()
            raise
        if sent == 0:
            if piece.failed is not None:
                piece.failed()
            raise EOFError("the file has become shorter")
        if sent == piece.length:
            self._unsent.popleft()
        else:
            self._unsent[0] = piece.slice(sent, piece.length)

    def _writable(self) -> None:
        self._send_on()
        if self.blocked or not self._open:
            return
        if self._fin_wanted:
            self._shut()
        else:
            self._driver.writable(self._number)

    def half_close(self) -> None:
        """See `Lower`."""
        if self._open and not self._fin_wanted:
            self._fin_wanted = True
            if not self.blocked:
                self._shut()

    def _shut(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._loop.call_soon(self._end, TransportEvent.RST)

    def abort(self) -> None:
        """See `Lower`."""
        if self._open:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            finally:
                self._release()

    def hold(self, held: bool) -> None:
        """See `Lower`."""
        if not self._open:
            return
        if held:
            self._loop.remove_reader(self._descriptor)
        else:
            self._loop.add_reader(self._descriptor, self._readable)

    def _end(self, event: TransportEvent) -> None:
        if self._open:
            self._release()
            self._driver.lost(self._number, event)

    def _release(self) -> None:
        self._open = False
        self._unsent.clear()
        self._loop.remove_reader(self._descriptor)
        self._loop.remove_writer(self._descriptor)
        self._socket.close()
        self._links.discard(self)
        self.over.set()


def _listener(portal: PortalConfig) -> socket.socket:
    host, port = host_and_port(portal.address)
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICHOST
        )[0]
    except socket.gaierror as error:
        raise PortalError(f"portal {portal.address}: not an address of this host: {error.strerror}") from error
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PortalError(f"portal {portal.address}: {error.strerror}") from error
    return listener


def _endpoint(address: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    return Endpoint(address[0], address[1])


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")
