"""What a shell asks of the connection below it (RFC 7143 section 4.2.1: iSCSI runs over one or more TCP connections)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import Buffer


class ConnectFailed(ConnectionError):
    """No connection came up. event: REFUSED, TIMED_OUT or UNREACHABLE; endpoint: what was to be reached."""

    def __init__(self, event: TransportEvent, endpoint: Endpoint, detail: str = "") -> None:
        super().__init__(event, endpoint, detail)
        self.event = event
        self.endpoint = endpoint
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.endpoint}: {self.event.value}" + (f" ({self.detail})" if self.detail else "")


class BindFailed(ConnectionError):
    """The local end of a connection could not be set up, and nothing was sent. error: the system's errno."""

    def __init__(self, error: int, endpoint: Endpoint, source: Endpoint | None = None) -> None:
        super().__init__(error, endpoint, source)
        self.error = error
        self.endpoint = endpoint
        self.source = source

    def __str__(self) -> str:
        at = f" at {self.source}" if self.source else ""
        return f"{self.endpoint}: no local end{at} ({os.strerror(self.error)})"


class Receiver(Protocol):
    """Who is told what a transport hears."""

    def room(self) -> memoryview | None:
        """Where the next bytes belong, if that is known. Whoever puts bytes there tells data_received() at once. None, and
        they are only handed over; a transport may do that always.
        """

    def data_received(self, view: memoryview, placed: int = 0) -> None:
        """Bytes came. The view is good until this call returns. placed: how many came before them and are in room()."""

    def connection_lost(self, reason: TransportEvent) -> None:
        """The peer or the network ended the connection: FIN, RST or TIMED_OUT. Said once, and then nothing more.

        CLOSED_BY_US is said only where a layer below the receiver, not the receiver itself, closed the connection.
        """

    def send_failed(self, error: int) -> None:
        """Bytes that were written could not be sent; error: the system's errno. Said once at most.

        What was received before may still come, and then connection_lost() tells the end.
        """

    def writable(self) -> None:
        """A transport that was `blocked` is so no longer."""


class Transport(Protocol):
    """One connection that is up. Once close() or abort() was called, its receiver hears nothing more."""

    @property
    def local(self) -> Endpoint:
        """This end."""

    @property
    def remote(self) -> Endpoint:
        """The portal's end."""

    @property
    def blocked(self) -> bool:
        """Whether bytes that were written wait for the network to take them."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send in order. The buffers are not copied and must not change until they went out; views are of single bytes.
        Nothing after a close.
        """

    def close(self) -> None:
        """Send what is queued, then FIN."""

    def abort(self) -> None:
        """Drop what is queued and send RST."""


class Connector(Protocol):
    """Opens connections."""

    async def connect(self, endpoint: Endpoint, receiver: Receiver, source: Endpoint | None = None) -> Transport:
        """A connection whose bytes go to `receiver`, which may hear before this returns.

        source: local address and port to connect from, port 0 for any; None leaves both to the system. Raises
        ConnectFailed, BindFailed.
        """
