"""The in-memory network: each way in which it can be broken, seen from the initiator's transport."""

from __future__ import annotations

import asyncio
import errno
import random

import pytest

from iscsi_conformance.bundled import bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.pipe import MemoryConnector, Road
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.raw import RawConnection
from iscsi_initiator.transport import BindFailed, ConnectFailed
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import NopOut
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine


class Ear:
    """A receiver that remembers, in order."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def room(self):
        return None

    def data_received(self, view, placed=0):
        self.heard.append(bytes(view))

    def connection_lost(self, reason):
        self.heard.append(reason)

    def send_failed(self, error):
        self.heard.append(error)

    def writable(self):
        self.heard.append("writable")


class Sink:
    """In place of the target's driver: keeps what arrives."""

    def __init__(self) -> None:
        self.data = b""
        self.ended: list[TransportEvent] = []

    def received(self, number, data):
        self.data += bytes(data)

    def lost(self, number, event):
        self.ended.append(event)


def with_target(test):
    async def run():
        config = bundled_config()
        engine, devices = make_engine(config, random_bytes=random.Random(1).randbytes)
        portal = MemoryPortal(engine, config.portals)
        try:
            await test(MemoryConnector(portal))
        finally:
            portal.close()
            close_devices(devices)

    run_virtual(run())


async def to_a_sink(connector):
    """A transport whose bytes a sink takes, and its ear."""
    ear, sink = Ear(), Sink()
    transport = await connector.connect(connector.portal.endpoints[0], ear)
    transport._link._driver = sink
    return transport, ear, sink


@pytest.mark.parametrize(
    ("road", "event", "seconds"),
    [
        (Road.REFUSED, TransportEvent.REFUSED, 0),
        (Road.UNREACHABLE, TransportEvent.UNREACHABLE, 0),
        (Road.BLACKHOLE, TransportEvent.TIMED_OUT, 7),
    ],
)
def test_roads_that_lead_nowhere(road, event, seconds):
    async def test(connector):
        connector.road = road
        connector.connect_time = 7
        start = asyncio.get_running_loop().time()
        with pytest.raises(ConnectFailed) as caught:
            await connector.connect(connector.portal.endpoints[0], Ear())
        assert caught.value.event is event
        assert asyncio.get_running_loop().time() - start == seconds

    with_target(test)


def test_a_local_end_that_is_not_there_or_in_use():
    async def test(connector):
        endpoint = connector.portal.endpoints[0]
        with pytest.raises(BindFailed) as caught:
            await connector.connect(endpoint, Ear(), Endpoint("192.0.2.77", 0))
        assert caught.value.error == errno.EADDRNOTAVAIL
        connector.addresses.add("192.0.2.77")
        source = Endpoint("192.0.2.77", 700)
        first = await connector.connect(endpoint, Ear(), source)
        assert first.local == source
        with pytest.raises(BindFailed) as caught:
            await connector.connect(endpoint, Ear(), source)
        assert caught.value.error == errno.EADDRINUSE
        first.abort()
        assert (await connector.connect(endpoint, Ear(), source)).local == source
        assert (await connector.connect(endpoint, Ear(), Endpoint("192.0.2.77", 0))).local.port != 700

    with_target(test)


@pytest.mark.parametrize(("behind", "arrives"), [(0, b""), (1, b"a"), (5, b"abcde"), (6, b"abcdef"), (9, b"abcdefghi")])
def test_a_send_that_fails_in_the_middle(behind, arrives):
    async def test(connector):
        transport, ear, sink = await to_a_sink(connector)
        transport.fail_send(behind, errno.EPIPE)
        transport.write([b"ab", b"cd"])
        transport.write([b"efgh", b"ij"])
        transport.write([b"never"])
        await passed(1)
        assert sink.data == arrives
        assert ear.heard == [errno.EPIPE, TransportEvent.RST]
        assert sink.ended == [TransportEvent.RST]
        assert not transport.is_open

    with_target(test)


def test_a_send_that_just_does_not_fail():
    async def test(connector):
        transport, ear, sink = await to_a_sink(connector)
        transport.fail_send(4)
        transport.write([b"abcd"])
        await passed(1)
        assert (sink.data, ear.heard) == (b"abcd", [])
        transport.close()
        transport.write([b"e"])
        await passed(1)
        assert (sink.data, sink.ended, ear.heard) == (b"abcd", [TransportEvent.FIN], [])

    with_target(test)


def test_a_closed_window_holds_bytes_back_and_says_when_it_opens():
    async def test(connector):
        transport, ear, sink = await to_a_sink(connector)
        transport.open_window(False)
        assert not transport.blocked
        transport.write([b"ab"])
        transport.write([b"cd"])
        await passed(1)
        assert transport.blocked
        assert (sink.data, ear.heard) == (b"", [])
        transport.open_window(True)
        await passed(1)
        assert (sink.data, ear.heard) == (b"abcd", ["writable"])
        assert not transport.blocked

    with_target(test)


def test_a_close_behind_a_closed_window_still_delivers():
    async def test(connector):
        transport, ear, sink = await to_a_sink(connector)
        transport.open_window(False)
        transport.write([b"ab"])
        transport.close()
        await passed(1)
        assert (sink.data, sink.ended, ear.heard) == (b"ab", [TransportEvent.FIN], [])

    with_target(test)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_network_that_swallows_all_tells_nobody(end):
    async def test(connector):
        transport, ear, sink = await to_a_sink(connector)
        transport.swallow()
        transport.write([b"ab"])
        transport._received(b"x")
        transport._closed(TransportEvent.FIN)
        getattr(transport, end)()
        await passed(1)
        assert (sink.data, sink.ended, ear.heard) == (b"", [], [])

    with_target(test)


def test_each_connection_can_be_broken_as_it_comes_up():
    async def test(connector):
        connector.on_connected = lambda link: link.fail_send(100)
        connection = await RawConnection.open(connector, connector.portal.endpoints[0])
        connection.send(NopOut(data=b"x" * 200))
        assert await connection.wait_closed() is TransportEvent.RST
        connector.on_connected = None
        connection = await RawConnection.open(connector, connector.portal.endpoints[0])
        name, kind = ("InitiatorName", "iqn.2026-01.org.example:i"), ("SessionType", "Discovery")
        await connection.login([name, kind, ("AuthMethod", "None")])
        assert connection.full_feature

    with_target(test)
