"""The client between its service, its host and the network: in memory on virtual time, and once over TCP."""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from dataclasses import replace
from typing import Any

import pytest

from iscsi_conformance.bundled import CHAP, PLAIN, bundled_config
from iscsi_conformance.clock import passed
from iscsi_conformance.environments import tcp_stage
from iscsi_conformance.pipe import MemoryConnector, Road
from iscsi_conformance.service_peer import Reaction, ScriptedService, turned_over
from iscsi_conformance.virtual import run_virtual
from iscsi_initiator.client import Client, RequestFailed, SessionFailed
from iscsi_initiator.limits import Limits
from iscsi_initiator.requests import Failure, SecretSealed
from iscsi_initiator.settings import ChapOptions, SessionOptions, Settings
from iscsi_initiator.upcalls import UpCallKind
from iscsi_protocol.chap import SHA256, Credentials, approved_hasher
from iscsi_protocol.eventlog import words
from iscsi_protocol.history import Endpoint
from iscsi_target.loopback import MemoryPortal
from iscsi_target.shell.serving import close_devices, make_engine

SECRET = b"one-way-secret-1"


def with_target(test):
    """Run a coroutine that takes a connector to a fresh bundled target."""

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


def options(where, name=PLAIN, **changes):
    return SessionOptions(portal=where, target_name=name, **changes)


async def connect(connector, events=None, where=None, name=PLAIN, settings=None, service=None, hasher=None, **changes):
    """Log in; events: a list that takes what the engine says."""
    arguments = {} if hasher is None else {"hasher": hasher}
    return await Client.connect(
        where or connector.portal.endpoints[0],
        lun=0,
        connector=connector,
        settings=settings,
        options=options(where or connector.portal.endpoints[0], name, **changes),
        service=service,
        on_event=None if events is None else events.append,
        **arguments,
    )


def logged(client):
    return [event.id for event in client.events]


async def failing(connecting):
    """The error of a login that has to fail, and the events that were logged."""
    with pytest.raises(SessionFailed) as caught:
        await connecting
    return caught.value.closed


def ids(events):
    return [event.id for event in events if hasattr(event, "extra")]


# Sending


@pytest.mark.parametrize("behind", [0, 1, 5000, 60_000])
def test_a_send_that_fails_in_the_middle_of_a_write_and_the_write_is_done_all_the_same(behind):
    async def test(connector):
        client = await connect(connector)
        _, size = await client.capacity()
        data = random.Random(7).randbytes(600 * size)
        connector.links[-1].fail_send(behind, errno.EPIPE)
        await client.write(3, data)
        assert logged(client) == [7, 20, 34]
        assert client.events[0].extra == words(errno.EPIPE)
        assert await client.read(3, 600) == data
        await client.logout()

    with_target(test)


def test_what_the_network_does_not_take_waits_in_the_engine_up_to_its_limit():
    async def test(connector):
        client = await connect(connector, settings=Settings(limits=Limits(send_buffer=8192)))
        _, size = await client.capacity()
        link = connector.links[-1]
        link.open_window(False)
        first = asyncio.ensure_future(client.write(0, bytes(8192)))
        await passed(0.1)
        assert link.blocked
        second = asyncio.ensure_future(client.write(0, bytes([1]) * 8192))
        await passed(0.1)
        assert logged(client) == []
        with pytest.raises(RequestFailed) as caught:
            await client.write(0, bytes(size))
        assert caught.value.failure is Failure.NO_RESOURCES
        assert logged(client) == [55]
        link.open_window(True)
        await asyncio.gather(first, second)
        assert await client.read(0, 8192 // size) == bytes([1]) * 8192
        await client.logout()
        assert logged(client) == [55]

    with_target(test)


def test_a_network_that_swallows_everything_is_noticed_by_the_clock_alone():
    async def test(connector):
        settings = Settings(scsi_request_timeout=1, srb_timeout_delta=5, task_management_timeout=1)
        client = await connect(connector, settings=settings)
        await client.capacity()
        connector.links[-1].swallow()
        with pytest.raises(RequestFailed):
            await client.read(0, 1)
        assert logged(client)[0] == 9
        assert 20 not in logged(client)
        client.abort()

    with_target(test)


def test_an_unreachable_network():
    async def test(connector):
        connector.road = Road.UNREACHABLE
        events: list[Any] = []
        closed = await failing(connect(connector, events, settings=Settings(portal_retry_count=0)))
        assert closed.unreachable
        assert ids(events) == [1]

    with_target(test)


# The local end


def test_5_a_source_address_that_the_host_does_not_have_until_it_does():
    async def test(connector):
        source = Endpoint("192.0.2.77", 700)
        events: list[Any] = []
        settings = Settings(network_ready_retry_count=2, delay_between_reconnect=3)
        start = asyncio.get_running_loop().time()
        closed = await failing(connect(connector, events, settings=settings, source=source))
        assert (closed.event, ids(events)) == (5, [5])
        assert next(event.extra for event in events if hasattr(event, "extra")) == words(errno.EADDRNOTAVAIL)
        assert asyncio.get_running_loop().time() - start == 6
        asyncio.get_running_loop().call_later(5, connector.addresses.add, "192.0.2.77")
        async with await connect(connector, settings=settings, source=source) as client:
            assert connector.links[-1].local == source
            assert logged(client) == []

    with_target(test)


# The service


def answering(**script):
    return ScriptedService({UpCallKind[name.upper()]: reaction for name, reaction in script.items()})


def test_ipsec_is_configured_before_and_released_behind():
    async def test(connector):
        service = answering(configure_ipsec=14.9, release_ipsec=14.9)
        client = await connect(connector, ipsec=True, service=service)
        assert [call.kind for call in service.calls] == [UpCallKind.CONFIGURE_IPSEC]
        await client.logout()
        assert [call.payload for call in service.asked(UpCallKind.RELEASE_IPSEC)] == [connector.portal.endpoints[0]]
        assert logged(client) == []

    with_target(test)


def test_52_and_53_where_the_service_stalls():
    async def test(connector):
        events: list[Any] = []
        closed = await failing(
            connect(connector, events, ipsec=True, service=answering(configure_ipsec=Reaction.STALL))
        )
        assert (closed.event, ids(events)) == (52, [52])
        assert connector.links == []
        client = await connect(connector, ipsec=True, service=answering(release_ipsec=Reaction.STALL))
        await client.logout()
        assert logged(client) == [53]

    with_target(test)


@pytest.mark.parametrize("service", [None, answering(configure_ipsec=Reaction.REFUSE)])
def test_without_ipsec_nothing_is_sent(service):
    async def test(connector):
        events: list[Any] = []
        closed = await failing(connect(connector, events, ipsec=True, service=service))
        assert "IPsec" in closed.reason
        assert ids(events) == []
        assert connector.links == []

    with_target(test)


def chap(secret, **changes):
    return ChapOptions(credentials=Credentials(name="tester", secret=secret), **changes)


def test_a_secret_goes_to_the_store_and_comes_back():
    async def test(connector):
        service = ScriptedService()
        events: list[Any] = []
        async with await connect(
            connector, events, name=CHAP, chap=chap(SECRET), persistent=True, service=service
        ) as client:
            await client.ping()
        (kept,) = [event for event in events if isinstance(event, SecretSealed)]
        assert kept.secret == turned_over(SECRET) != SECRET
        async with await connect(
            connector, name=CHAP, chap=chap(kept.secret, sealed=True), persistent=True, service=service
        ) as client:
            assert logged(client) == []
        kinds = [call.kind for call in service.calls]
        assert kinds == [UpCallKind.ENCRYPT, UpCallKind.DECRYPT]

    with_target(test)


def test_54_where_the_store_stalls_at_a_persistent_login():
    async def test(connector):
        events: list[Any] = []
        closed = await failing(
            connect(
                connector,
                events,
                name=CHAP,
                chap=chap(turned_over(SECRET), sealed=True),
                persistent=True,
                service=answering(decrypt=Reaction.STALL),
            )
        )
        assert (closed.event, ids(events)) == (54, [54])
        assert connector.links == []

    with_target(test)


def test_37_a_host_without_md5():
    async def test(connector):
        events: list[Any] = []
        secret = chap(SECRET)
        arguments = {"name": CHAP, "persistent": True, "hasher": approved_hasher, "service": ScriptedService()}
        closed = await failing(connect(connector, events, chap=secret, **arguments))
        assert (closed.event, ids(events)) == (37, [37])
        client = await connect(connector, chap=replace(secret, algorithms=(5, SHA256)), **arguments)
        assert logged(client) == []
        await client.logout()

    with_target(test)


# TCP


def over_tcp(test):
    async def run():
        async with asyncio.timeout(30), tcp_stage(bundled_config()) as stage:
            await test(stage.connector, stage.endpoints[0])

    asyncio.run(run())


@pytest.mark.parametrize("in_use", [False, True])
def test_5_over_tcp(in_use):
    async def test(connector, endpoint):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            source = Endpoint(*other.getsockname()) if in_use else Endpoint("192.0.2.77", 0)
            events: list[Any] = []
            settings = Settings(network_ready_retry_count=1, delay_between_reconnect=0)
            closed = await failing(connect(connector, events, endpoint, settings=settings, source=source))
            assert (closed.event, ids(events)) == (5, [5])
            expected = errno.EADDRINUSE if in_use else errno.EADDRNOTAVAIL
            assert next(event.extra for event in events if hasattr(event, "extra")) == words(expected)

    over_tcp(test)


def test_a_source_over_tcp():
    async def test(connector, endpoint):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            source = Endpoint("127.0.0.1", free.getsockname()[1])
        client = await connect(connector, where=endpoint, source=source)
        assert [line.transport.local for line in client.driver._lines.values()] == [source]
        await client.logout()
        assert logged(client) == []

    over_tcp(test)


def test_a_reset_during_a_write_over_tcp():
    async def test(connector, endpoint):
        client = await connect(connector, where=endpoint, settings=Settings(default_time2wait=0))
        _, size = await client.capacity()
        data = random.Random(7).randbytes(4096 * size)
        writing = asyncio.ensure_future(client.write(0, data))
        await asyncio.sleep(0)
        (line,) = client.driver._lines.values()
        line.transport._socket.shutdown(socket.SHUT_WR)
        await writing
        assert logged(client) in ([7, 20, 34], [20, 34])
        assert await client.read(0, 4096) == data
        await client.logout()
        await connector.finish()

    over_tcp(test)
