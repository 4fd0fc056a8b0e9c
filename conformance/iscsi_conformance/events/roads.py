"""Roads to a portal that lead nowhere, in memory and over TCP alike: what rows about connect attempts are played on.

Nothing of it leaves the host: over TCP the portals are on loopback, and what cannot be reached is an address that TCP does
not go to.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from iscsi_conformance.events.play import Play
from iscsi_conformance.pipe import MemoryConnector, MemoryTransport, Road
from iscsi_conformance.verdict import Inconclusive
from iscsi_initiator.transport import TcpConnector
from iscsi_protocol.history import Endpoint

CLOSED = Endpoint("127.0.0.1", 1)
CLOSED_IPV6 = Endpoint("::1", 1)
BROADCAST = Endpoint("127.255.255.255", 3260)
MULTICAST_IPV6 = Endpoint("ff02::1", 3260)


async def swallowed(play: Play, host: str = "127.0.0.1") -> None:
    """Log in to a portal that does not answer a connect attempt: over TCP one whose accept queue is full."""
    connector = (await play.bring_up()).connector
    if isinstance(connector, MemoryConnector):
        connector.connect_time = play.settings.tcp_connect_time
        play.options["portal"] = Endpoint(host, 3260)
        await _on(connector, Road.BLACKHOLE, play)
    elif isinstance(connector, TcpConnector):
        connector.connect_time = play.settings.tcp_connect_time
        with _full_portal(host) as portal:
            play.options["portal"] = portal
            await play.log_in()
    else:
        raise Inconclusive("there is no such road to this target")


async def unreachable(play: Play) -> None:
    """Log in to a portal that the network has no way to; the row's options name one that TCP does not go to."""
    connector = (await play.bring_up()).connector
    if isinstance(connector, MemoryConnector):
        await _on(connector, Road.UNREACHABLE, play)
    else:
        await play.log_in()


async def slammed(play: Play) -> None:
    """Log in to a portal that ends every connection as soon as it is up."""
    connector = (await play.bring_up()).connector
    if isinstance(connector, MemoryConnector):
        connector.on_connected = _cut_soon
        await play.log_in()
        connector.on_connected = None
        return
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        play.options["portal"] = Endpoint(host, port)
        await play.log_in()


async def opened_later(play: Play, attempts: int) -> None:
    """Log in to a portal, in memory, that refuses so many connect attempts and takes the next."""
    connector = (await play.bring_up()).connector
    if not isinstance(connector, MemoryConnector):
        raise Inconclusive("only a portal in memory is opened meanwhile")
    connector.road = Road.REFUSED
    login = asyncio.ensure_future(play.log_in())
    await play.scene.until(lambda: len(play.scene.events) >= attempts)
    connector.road = Road.OPEN
    await login


def _cut_soon(link: MemoryTransport) -> None:
    asyncio.get_running_loop().call_soon(link.cut)


async def _on(connector: MemoryConnector, road: Road, play: Play) -> None:
    connector.road = road
    await play.log_in()
    connector.road = Road.OPEN


@contextmanager
def _full_portal(host: str) -> Iterator[Endpoint]:
    """A listener that has accepted all that it will: what comes now is dropped, and its sender tries until it gives up."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as first, socket.socket(family) as second:
        listener.bind((host, 0))
        listener.listen(0)
        portal = Endpoint(host, listener.getsockname()[1])
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex((host, portal.port))
        yield portal
