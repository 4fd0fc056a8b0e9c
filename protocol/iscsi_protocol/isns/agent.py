"""A client with its registration, in front of a ground that connects, writes and keeps time for it.

What a shell has to do is `Ground`, and to call in when something happened; what to do is decided here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from iscsi_protocol.isns.body import Request, Response
from iscsi_protocol.isns.client import SERVER, Answered, Failed, IsnsClient, Peer, Trouble
from iscsi_protocol.isns.description import CONFORMING, ClientPolicy, Description
from iscsi_protocol.isns.registrar import Registrar, Report

Answer = Callable[[Response | Trouble], None]


class Ground(Protocol):
    """What a shell does for an agent."""

    def now(self) -> float:
        """Seconds, on a clock that never goes back."""

    def connect(self) -> None:
        """Open a TCP connection to the server; `connection_made` or `connect_failed` tells how it went."""

    def write(self, connection: int, data: bytes) -> None:
        """Send on a connection."""

    def send_datagram(self, peer: Peer, data: bytes) -> None:
        """Send by UDP from the port that inquiries and notifications come to."""

    def close_connection(self, connection: int) -> None:
        """Close a connection; `connection_lost` follows."""

    def wake_at(self, deadline: float | None) -> None:
        """Call `wake` then; None: not at all."""


class IsnsAgent:
    """One client at one server. tell: takes what becomes of the registration, notifications and inquiries."""

    def __init__(
        self,
        ground: Ground,
        *,
        tell: Callable[[Report], None],
        timeout: float = 10.0,
        retries: int = 2,
        policy: ClientPolicy = CONFORMING,
    ) -> None:
        self._ground = ground
        self._tell = tell
        self._policy = policy
        self._client = IsnsClient(timeout=timeout, retries=retries, policy=policy)
        self._answers: dict[int, Answer] = {}
        self._connecting = False
        self.registrar: Registrar | None = None

    def register(self, description: Description) -> None:
        """Keep this registered from now on."""
        self.registrar = Registrar(self._client, description, policy=self._policy)
        self.registrar.start(self._ground.now())
        self.settle()

    def leave(self) -> None:
        """Deregister; `Left` is told at its end. Without a registration there is nothing to do."""
        if self.registrar is not None:
            self.registrar.leave(self._ground.now())
            self.settle()

    def ask(self, request: Request, answer: Answer) -> None:
        """Ask the server, and hand over its response, or why there is none."""
        self._answers[self._client.submit(request, self._ground.now())] = answer
        self.settle()

    def close(self) -> None:
        """Give up all requests."""
        self._client.close()
        self._events()
        self._ground.wake_at(None)

    def connection_made(self, connection: int) -> None:
        """A connection is there: `SERVER`, or one that the server opened."""
        self._connecting &= connection != SERVER
        self._client.connection_made(connection)
        self.settle()

    def connect_failed(self) -> None:
        """There is no connection to be had."""
        self._connecting = False
        self._client.connect_failed()
        self.settle()

    def connection_lost(self, connection: int) -> None:
        """A connection is gone."""
        self._client.connection_lost(connection)
        self.settle()

    def receive(self, connection: int, data: bytes) -> None:
        """Bytes of a connection."""
        self._client.receive(connection, data)
        self.settle()

    def datagram(self, peer: Peer, data: bytes) -> None:
        """A datagram."""
        self._client.datagram(peer, data)
        self.settle()

    def wake(self) -> None:
        """Time has come."""
        now = self._ground.now()
        self._client.handle_timer(now)
        if self.registrar is not None:
            self.registrar.handle_timer(now)
        self.settle()

    def settle(self) -> None:
        """Do everything that there is to do now."""
        self._events()
        for where, data in self._client.take_output():
            if isinstance(where, int):
                self._ground.write(where, data)
            else:
                self._ground.send_datagram(where, data)
        if self._client.wants_close:
            self._ground.close_connection(SERVER)
        elif self._client.wants_connection and not self._connecting:
            self._connecting = True
            self._ground.connect()
        deadlines = [self._client.next_deadline(), self.registrar.next_deadline() if self.registrar else None]
        self._ground.wake_at(min((each for each in deadlines if each is not None), default=None))

    def _events(self) -> None:
        while (event := self._client.poll_event()) is not None:
            reports: list[Report] = [event]
            if self.registrar is not None:
                reports = self.registrar.handle(event, self._ground.now())
            for report in reports:
                if isinstance(report, Answered):
                    self._answers.pop(report.token)(report.response)
                elif isinstance(report, Failed):
                    self._answers.pop(report.token)(report.trouble)
                else:
                    self._tell(report)
