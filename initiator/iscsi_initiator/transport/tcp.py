"""TCP below iSCSI: own non-blocking sockets, received where the receiver has room or into one buffer, and sent by sendmsg().

Connect and disconnect times are the guide's TCPConnectTime and TCPDisconnectTime (Appendix F).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Sequence

from iscsi_initiator.transport.base import BindFailed, ConnectFailed, Receiver
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import Buffer

TCP_CONNECT_TIME = 15.0
TCP_DISCONNECT_TIME = 15.0
"""Seconds; the guide's defaults."""

FINISH_PATIENCE = 2.0
"""Seconds that `TcpConnector.finish` waits unless told otherwise."""

_RECEIVE_BUFFER = 512 * 1024
_BEHIND_ROOM = 4096
"""Bytes that are received at once behind those that have a place: another header, so that what follows it has one too."""
_MOST_AT_ONCE = 4
"""Receives in one turn of the loop, of which the requesters hear at its end."""

_BUFFERS_PER_SEND = 512
"""Below IOV_MAX, which is 1024 on Linux."""

_LINGER_RESET = struct.pack("ii", 1, 0)
_TIMED_OUT = frozenset({errno.ETIMEDOUT})
_NO_SOCKET_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class TcpConnector:
    """Connects over TCP. connect_time, disconnect_time: seconds. source: where a connection begins that says nothing of it;
    see `Connector`.
    """

    def __init__(
        self,
        *,
        connect_time: float = TCP_CONNECT_TIME,
        disconnect_time: float = TCP_DISCONNECT_TIME,
        source: Endpoint | None = None,
    ) -> None:
        self.connect_time = connect_time
        self.disconnect_time = disconnect_time
        self.source = source
        self._held: set[TcpTransport] = set()

    async def connect(self, endpoint: Endpoint, receiver: Receiver, source: Endpoint | None = None) -> TcpTransport:
        """See `Connector`. Every address of a host name is tried, within connect_time for all of them together."""
        failure: ConnectFailed | BindFailed = ConnectFailed(TransportEvent.UNREACHABLE, endpoint, "no address")
        source = source or self.source
        try:
            async with asyncio.timeout(self.connect_time):
                for family, address in await _addresses(endpoint):
                    try:
                        connected = await _connect_one(family, address, source)
                    except _Unbound as error:
                        failure = BindFailed(error.number, endpoint, source)
                    except _Unconnected as error:
                        failure = ConnectFailed(error.event, endpoint, error.detail)
                    else:
                        transport = TcpTransport(connected, receiver, self.disconnect_time, self._held.discard)
                        self._held.add(transport)
                        return transport
        except TimeoutError:
            raise ConnectFailed(TransportEvent.TIMED_OUT, endpoint) from None
        raise failure

    async def finish(self, patience: float = FINISH_PATIENCE) -> None:
        """Wait, `patience` seconds at most, for the peers' FINs on connections that were closed; reset what is left then."""
        try:
            async with asyncio.timeout(patience):
                for transport in list(self._held):
                    await transport.wait_released()
        except TimeoutError:
            for transport in list(self._held):
                transport.abort()


class _Unconnected(Exception):
    """One address could not be reached."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        # asyncio puts an address of its own into `strerror`.
        self.detail = os.strerror(error.errno) if error.errno else str(error)
        if error.errno == errno.ECONNREFUSED:
            self.event = TransportEvent.REFUSED
        elif error.errno in _TIMED_OUT:
            self.event = TransportEvent.TIMED_OUT
        else:
            self.event = TransportEvent.UNREACHABLE


class _Unbound(Exception):
    """There is no local end for one address."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        # An address of another family than the socket's is told as an error of the resolver, below zero.
        self.number = error.errno if error.errno and error.errno > 0 else errno.EADDRNOTAVAIL


async def _connect_one(family: int, address: tuple[object, ...], source: Endpoint | None) -> socket.socket:
    """A connected socket. Raises _Unbound, _Unconnected."""
    try:
        unconnected = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise (_Unbound if error.errno in _NO_SOCKET_LEFT else _Unconnected)(error) from error
    try:
        unconnected.setblocking(False)
        unconnected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            _bind(unconnected, source)
        await _sock_connect(unconnected, address)
    except BaseException:
        unconnected.close()
        raise
    return unconnected


def _bind(unconnected: socket.socket, source: Endpoint) -> None:
    try:
        unconnected.bind((source.host, source.port))
    except OSError as error:
        raise _Unbound(error) from error


async def _sock_connect(unconnected: socket.socket, address: tuple[object, ...]) -> None:
    try:
        await asyncio.get_running_loop().sock_connect(unconnected, address)
    except OSError as error:
        raise _Unconnected(error) from error


async def _addresses(endpoint: Endpoint) -> list[tuple[int, tuple[object, ...]]]:
    """Family and socket address of every address of the endpoint. Raises ConnectFailed for a name that has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise ConnectFailed(TransportEvent.UNREACHABLE, endpoint, error.strerror or "unknown host") from error
    return [(family, address) for family, _, _, _, address in found]


class TcpTransport:
    """One TCP connection; see `Transport`."""

    def __init__(
        self,
        connected: socket.socket,
        receiver: Receiver,
        disconnect_time: float,
        released: Callable[[TcpTransport], None],
    ) -> None:
        """released: told when the socket is given back."""
        self._socket = connected
        self._over = asyncio.Event()
        self._released = released
        self._receiver: Receiver | None = receiver
        self._disconnect_time = disconnect_time
        self._loop = asyncio.get_running_loop()
        self._buffer = self._next = memoryview(bytearray(_RECEIVE_BUFFER))
        self._behind = self._buffer[:_BEHIND_ROOM]
        self._outbox: list[Buffer] = []
        self._writing = False
        self._closing = False
        self._reset = False
        self._lingering: asyncio.TimerHandle | None = None
        self.local = _endpoint(connected.getsockname())
        self.remote = _endpoint(connected.getpeername())
        self._loop.add_reader(connected, self._readable)

    @property
    def blocked(self) -> bool:
        """See `Transport`."""
        return self._writing

    @property
    def unsent(self) -> int:
        """Bytes queued that the operating system has not taken yet."""
        return sum(map(len, self._outbox))

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Transport`."""
        if self._closing or self._reset:
            return
        self._outbox += buffers
        if not self._writing:
            self._flush()

    def close(self) -> None:
        """See `Transport`. The peer's FIN is waited for, disconnect_time at most."""
        if self._closing:
            return
        self._closing = True
        self._receiver = None
        self._lingering = self._loop.call_later(self._disconnect_time, self._release)
        if self._reset:
            self._release()
        elif not self._outbox:
            self._shut_down()

    def abort(self) -> None:
        """See `Transport`."""
        self._closing = True
        self._receiver = None
        if self._socket.fileno() >= 0:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._release()

    def _shut_down(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._release()

    def _release(self) -> None:
        """Give the socket back."""
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._outbox.clear()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._over.set()
            self._released(self)

    async def wait_released(self) -> None:
        """Return once the socket was given back."""
        await self._over.wait()

    def _drain(self) -> None:
        """The network takes bytes again."""
        self._flush()
        if not self._writing and not self._reset and self._receiver is not None:
            self._receiver.writable()

    def _flush(self) -> None:
        outbox = self._outbox
        while outbox:
            batch = outbox if len(outbox) <= _BUFFERS_PER_SEND else outbox[:_BUFFERS_PER_SEND]
            try:
                sent = self._socket.sendmsg(batch)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                self._send_failed(error.errno or errno.EIO)
                break
            # Mostly the system takes all, and then no buffer has to be looked at by itself.
            if sent == sum(map(len, batch)):
                del outbox[: len(batch)]
            else:
                _drop(outbox, sent)
        if bool(outbox) is not self._writing:
            self._writing = bool(outbox)
            if self._writing:
                self._loop.add_writer(self._socket, self._drain)
            else:
                self._loop.remove_writer(self._socket)
        if self._closing and not outbox:
            self._shut_down()

    def _send_failed(self, error: int) -> None:
        """Nothing more can be sent. What the peer sent before it closed may still lie in the receive queue: the reader gets
        that, and then the end, also where the system itself would keep the socket alive.
        """
        self._reset = True
        self._outbox.clear()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._receiver is not None:
            self._loop.call_soon(self._tell_send_failed, error)

    def _tell_send_failed(self, error: int) -> None:
        if self._receiver is not None:
            self._receiver.send_failed(error)

    def _readable(self) -> None:
        # While a long segment, or what begins one, fills all that is offered to it, there is more of it to be had at once.
        for _ in range(_MOST_AT_ONCE):
            if not self._receive():
                return

    def _receive(self) -> bool:
        """Receive once, and tell whether there is more of long segments."""
        receiver = self._receiver
        room = None if receiver is None else receiver.room()
        try:
            if room is None:
                length, offered = self._socket.recv_into(self._next), len(self._next)
            else:
                length, offered = self._socket.recvmsg_into((room, self._behind))[0], len(room) + _BEHIND_ROOM
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as error:
            self._ended(TransportEvent.TIMED_OUT if error.errno in _TIMED_OUT else TransportEvent.RST)
            return False
        if not length:
            self._ended(TransportEvent.RST if self._reset else TransportEvent.FIN)
        elif receiver is not None:
            placed = 0 if room is None else min(length, len(room))
            # Behind a long segment there is mostly another one. What begins it is looked at before much of it is received.
            self._next, short = (self._behind if placed else self._buffer), placed or self._next is self._behind
            receiver.data_received(self._buffer[: length - placed], placed)
            return bool(short) and length == offered and self._receiver is receiver
        return False

    def _ended(self, reason: TransportEvent) -> None:
        receiver, self._receiver = self._receiver, None
        self._closing = True
        self._release()
        if receiver is not None:
            receiver.connection_lost(reason)


def _drop(buffers: list[Buffer], length: int) -> None:
    """Drop so many bytes from the front; there are more than that."""
    whole = 0
    while length >= len(buffers[whole]):
        length -= len(buffers[whole])
        whole += 1
    del buffers[:whole]
    buffers[0] = memoryview(buffers[0])[length:]


def _endpoint(name: tuple[object, ...]) -> Endpoint:
    host, port = name[:2]
    return Endpoint(str(host), int(str(port)))
