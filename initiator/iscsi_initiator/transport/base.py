"""What a shell asks of the connection below it (RFC 7143 section 4.2.1: iSCSI runs over one or more TCP connections)."""

from __future__ import annotations

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


class Receiver(Protocol):
    """Who is told what a transport hears."""

    def data_received(self, view: memoryview) -> None:
        """Bytes came. The view is good until this call returns."""

    def connection_lost(self, reason: TransportEvent) -> None:
        """The peer or the network ended the connection: FIN, RST or TIMED_OUT. Said once, and then nothing more.

        CLOSED_BY_US is said only where a layer below the receiver, not the receiver itself, closed the connection.
        """


class Transport(Protocol):
    """One connection that is up. Once close() or abort() was called, its receiver hears nothing more."""

    @property
    def local(self) -> Endpoint:
        """This end."""

    @property
    def remote(self) -> Endpoint:
        """The portal's end."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Send in order. The buffers are not copied and must not change until they went out. Nothing after a close."""

    def close(self) -> None:
        """Send what is queued, then FIN."""

    def abort(self) -> None:
        """Drop what is queued and send RST."""


class Connector(Protocol):
    """Opens connections."""

    async def connect(self, endpoint: Endpoint, receiver: Receiver) -> Transport:
        """A connection whose bytes go to `receiver`, which may hear before this returns. Raises ConnectFailed."""
