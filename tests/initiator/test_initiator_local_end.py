"""TCP as this host sees it: the local end of a connection, bytes that cannot be sent, and bytes that nobody takes."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from contextlib import contextmanager
from typing import Any

import pytest

from iscsi_initiator.transport import BindFailed, ConnectFailed, TappedConnector, TcpConnector, tcp
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.stream import Direction


class Ear:
    """A receiver that remembers, in order."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self._changed = asyncio.Event()

    def room(self):
        return None

    def data_received(self, view, placed=0):
        self._note(bytes(view))

    def connection_lost(self, reason):
        self._note(reason)

    def send_failed(self, error):
        self._note(error)

    def writable(self):
        self._note("writable")

    def _note(self, what):
        self.heard.append(what)
        self._changed.set()

    async def until(self, *last):
        while self.heard[-len(last) :] != [*last]:
            self._changed.clear()
            await self._changed.wait()


@contextmanager
def listening(host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        listener.listen()
        yield listener, Endpoint(*listener.getsockname()[:2])


def run(test):
    async def limited():
        async with asyncio.timeout(20):
            await test()

    asyncio.run(limited())


async def connected(endpoint, listener, **arguments):
    """A transport, its ear and the other end."""
    ear = Ear()
    transport = await TcpConnector(**arguments).connect(endpoint, ear)
    there, _ = listener.accept()
    return transport, ear, there


def reset(there):
    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    there.close()


@pytest.mark.parametrize(
    ("host", "source", "error"),
    [
        ("127.0.0.1", "192.0.2.77", errno.EADDRNOTAVAIL),
        ("127.0.0.1", "::1", errno.EADDRNOTAVAIL),
        ("::1", "127.0.0.1", errno.EADDRNOTAVAIL),
        ("::1", "2001:db8::77", errno.EADDRNOTAVAIL),
    ],
)
def test_a_source_address_that_this_host_does_not_have(host, source, error):
    async def test():
        with listening(host) as (_, endpoint):
            with pytest.raises(BindFailed) as caught:
                await TcpConnector().connect(endpoint, Ear(), Endpoint(source, 0))
            assert caught.value.error == error
            assert source in str(caught.value)

    run(test)


def test_a_source_port_in_use_and_one_that_is_free():
    async def test():
        with listening() as (listener, endpoint), socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            source = Endpoint(*other.getsockname())
            with pytest.raises(BindFailed) as caught:
                await TcpConnector().connect(endpoint, Ear(), source)
            assert caught.value.error == errno.EADDRINUSE
            other.close()
            transport = await TcpConnector().connect(endpoint, Ear(), source)
            assert transport.local == source
            transport.abort()
            transport, _, there = await connected(endpoint, listener, source=Endpoint("127.0.0.2", 0))
            assert transport.local.host == "127.0.0.2"
            transport.abort()
            there.close()

    run(test)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errno.EMFILE, BindFailed),
        (errno.ENFILE, BindFailed),
        (errno.ENOBUFS, BindFailed),
        (errno.EAFNOSUPPORT, ConnectFailed),
    ],
)
def test_no_socket_is_a_matter_of_this_host_but_for_a_family_that_it_lacks(monkeypatch, error, kind):
    async def test():
        def none_left(*_):
            raise OSError(error, "as asked for")

        monkeypatch.setattr(socket, "socket", none_left)
        with pytest.raises(kind) as caught:
            await TcpConnector().connect(Endpoint("127.0.0.1", 9), Ear())
        if kind is BindFailed:
            assert caught.value.error == error
        else:
            assert caught.value.event is TransportEvent.UNREACHABLE

    run(test)


def test_an_attempt_without_a_local_end_is_recorded_as_ended_here():
    async def test():
        records: list[Any] = []
        connector = TappedConnector(TcpConnector(), tap=records.append)
        with listening() as (_, endpoint), pytest.raises(BindFailed):
            await connector.connect(endpoint, Ear(), Endpoint("192.0.2.77", 0))
        assert [(record.event, record.direction) for record in records] == [
            (TransportEvent.CONNECT, Direction.TO_INITIATOR),
            (TransportEvent.CLOSED_BY_US, Direction.TO_TARGET),
        ]

    run(test)


def test_a_write_into_a_reset_connection_tells_its_error_and_then_the_end():
    async def test():
        with listening() as (listener, endpoint):
            transport, ear, there = await connected(endpoint, listener)
            reset(there)
            transport.write([b"x" * 100])
            transport.write([b"nor is this sent"])
            await ear.until(errno.ECONNRESET, TransportEvent.RST)
            assert len(ear.heard) == 2

    run(test)


def test_what_came_before_the_end_is_heard_although_sending_failed():
    async def test():
        with listening() as (listener, endpoint):
            transport, ear, there = await connected(endpoint, listener)
            there.sendall(b"last words")
            reset(there)
            transport.write([b"x"])
            await ear.until(errno.ECONNRESET, b"last words", TransportEvent.RST)

    run(test)


def test_an_error_that_leaves_the_socket_alive_ends_the_connection_too(monkeypatch):
    async def test():
        with listening() as (listener, endpoint):
            transport, ear, there = await connected(endpoint, listener)
            monkeypatch.setattr(tcp, "_BUFFERS_PER_SEND", 5000)
            transport.write([b"x"] * 2000)  # more than one sendmsg() takes
            await ear.until(errno.EMSGSIZE, TransportEvent.RST)
            there.close()

    run(test)


def test_a_closed_transport_tells_no_error():
    async def test():
        with listening() as (listener, endpoint):
            transport, ear, there = await connected(endpoint, listener)
            reset(there)
            transport.write([b"x"])
            transport.close()
            await transport.wait_released()
            assert ear.heard == []

    run(test)


@pytest.mark.parametrize("tapped", [False, True])
def test_bytes_that_nobody_takes_block_until_somebody_does(tapped):
    async def test():
        with listening() as (listener, endpoint):
            ear = Ear()
            connector = TappedConnector(TcpConnector(), tap=lambda _: None) if tapped else TcpConnector()
            transport = await connector.connect(endpoint, ear)
            there, _ = listener.accept()
            there.setblocking(False)
            total = 0
            for _ in range(1000):
                transport.write([bytes(1 << 16)])
                total += 1 << 16
                if transport.blocked:
                    break
            assert transport.blocked
            taken = 0
            while taken < total:
                taken += len(await asyncio.get_running_loop().sock_recv(there, 1 << 20))
            await ear.until("writable")
            assert not transport.blocked
            assert ear.heard == ["writable"]
            transport.close()
            there.close()

    run(test)
