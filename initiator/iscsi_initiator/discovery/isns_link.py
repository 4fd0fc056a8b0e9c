"""An iSNS client on asyncio: one TCP connection to the server, and a port of its own for what the server asks and tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from iscsi_initiator.discovery.isns import Found, IsnsFailure, describe, failure_of, target_query, targets_of
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.agent import IsnsAgent
from iscsi_protocol.isns.body import Request, Response
from iscsi_protocol.isns.client import SERVER, Peer, Trouble
from iscsi_protocol.isns.description import CONFORMING, ClientPolicy, Description
from iscsi_protocol.isns.errors import IsnsError
from iscsi_protocol.isns.registrar import Left, Refused, Registered, Report

CONNECT_TIME = 15.0
"""Seconds for a connection to the server."""


class _Connection(asyncio.Protocol):
    """A TCP connection, to the server or from it."""

    def __init__(self, link: IsnsLink, number: int) -> None:
        self._link = link
        self._number = number

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self._link.made(self._number, transport)

    def data_received(self, data: bytes) -> None:
        """Bytes."""
        self._link.agent.receive(self._number, data)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._link.lost(self._number)


class _Datagrams(asyncio.DatagramProtocol):
    """UDP of the client's own port."""

    def __init__(self, link: IsnsLink) -> None:
        self._link = link

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """One PDU."""
        self._link.agent.datagram((addr[0], addr[1]), data)


class IsnsLink:
    """A client of one server. tell: takes notifications, inquiries and what becomes of the registration.

    timeout: seconds for an answer; retries: how often a request is repeated.
    """

    def __init__(
        self,
        server: Endpoint,
        *,
        tell: Callable[[Report], None] = lambda _: None,
        timeout: float = 10.0,
        retries: int = 2,
        policy: ClientPolicy = CONFORMING,
    ) -> None:
        self.server = server
        self._user = tell
        self.agent = IsnsAgent(self, tell=self._told, timeout=timeout, retries=retries, policy=policy)
        self._transports: dict[int, asyncio.Transport] = {}
        self._all_gone = asyncio.Event()
        self._all_gone.set()
        self._count = 0
        self.closed = False
        self._listener: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[Registered | Refused | Left] | None = None

    async def listen(self, host: str, port: int = 0) -> int:
        """Take inquiries and notifications at this address, by TCP and UDP; the port. Raises OSError, and IsnsFailure where
        the link is closed meanwhile.
        """
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(self._accepted, host, port)
        port = int(listener.sockets[0].getsockname()[1])
        try:
            udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), local_addr=(host, port))
        except OSError:
            listener.close()
            raise
        self._listener, self._udp = listener, udp
        if self.closed:
            listener.close()
            udp.close()
        self._check_open()
        return port

    def _check_open(self) -> None:
        if self.closed:
            raise IsnsFailure(StatusCode.ISNS_SERVER_NOT_FOUND, f"{self.server} was left")

    async def ask(self, request: Request) -> Response:
        """Ask the server. Raises IsnsFailure unless it answers with status 0."""
        self._check_open()
        future: asyncio.Future[Response | Trouble] = asyncio.get_running_loop().create_future()

        def answered(outcome: Response | Trouble) -> None:
            if not future.done():
                future.set_result(outcome)

        self.agent.ask(request, answered)
        outcome = await future
        failure = failure_of(outcome)
        if failure is not None or isinstance(outcome, Trouble):
            raise failure or AssertionError(outcome)
        return outcome

    async def register(self, description: Description) -> Registered:
        """Register, and stay registered until `leave`. Raises IsnsFailure; it is tried again all the same."""
        self._check_open()
        self._waiting = asyncio.get_running_loop().create_future()
        self.agent.register(description)
        outcome = await self._waiting
        if isinstance(outcome, Registered):
            return outcome
        trouble = outcome.trouble if isinstance(outcome, Refused) else Trouble.CLOSED
        status = outcome.status or 0
        failure = failure_of(trouble if trouble is not None else Response(function=1, status=status))
        raise failure or AssertionError(outcome)

    async def register_initiator(self, name: str, address: str, *, alias: str = "", udp: bool = False) -> Registered:
        """Register an initiator that takes notifications where `listen` said. Raises IsnsFailure."""
        self._check_open()
        port = self._listener.sockets[0].getsockname()[1] if self._listener is not None else 0
        return await self.register(describe(name, address, alias=alias, port=port, udp=udp))

    async def targets(self, name: str) -> Found:
        """The targets that the initiator of this name may see. Raises IsnsFailure."""
        try:
            return targets_of(await self.ask(target_query(name)))
        except IsnsError as error:
            raise IsnsFailure(StatusCode.NON_SPECIFIC_ERROR, f"the iSNS server's answer: {error.reason}") from None

    async def leave(self) -> None:
        """Deregister, as far as the server can be told. A registration that is being made fails."""
        if self.agent.registrar is not None:
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(Left(status=None))
            self._waiting = asyncio.get_running_loop().create_future()
            self.agent.leave()
            await self._waiting

    async def close(self) -> None:
        """Close everything; what is open fails, and so does what is asked afterwards."""
        self.closed = True
        self.agent.close()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._listener is not None:
            self._listener.close()
        if self._udp is not None:
            self._udp.close()
        for transport in list(self._transports.values()):
            transport.close()
        await self._all_gone.wait()
        self.wake_at(None)

    def now(self) -> float:
        """Seconds of the event loop."""
        return asyncio.get_running_loop().time()

    def connect(self) -> None:
        """See `Ground`."""
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIME):
                await loop.create_connection(lambda: _Connection(self, SERVER), self.server.host, self.server.port)
        except (OSError, TimeoutError):
            self.agent.connect_failed()

    def write(self, connection: int, data: bytes) -> None:
        """See `Ground`."""
        self._transports[connection].write(data)

    def send_datagram(self, peer: Peer, data: bytes) -> None:
        """See `Ground`."""
        if self._udp is not None:
            self._udp.sendto(data, peer)

    def close_connection(self, connection: int) -> None:
        """Close a connection at once."""
        self._transports[connection].abort()

    def wake_at(self, deadline: float | None) -> None:
        """See `Ground`."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self.agent.wake)

    def _accepted(self) -> _Connection:
        self._count += 1
        return _Connection(self, self._count)

    def made(self, number: int, transport: asyncio.BaseTransport) -> None:
        """A connection is there."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream protocol gets
        self._transports[number] = transport
        self._all_gone.clear()
        self.agent.connection_made(number)

    def lost(self, number: int) -> None:
        """A connection is gone."""
        del self._transports[number]
        if not self._transports:
            self._all_gone.set()
        self.agent.connection_lost(number)

    def _told(self, report: Report) -> None:
        if isinstance(report, Registered | Refused | Left) and self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(report)
        self._user(report)
