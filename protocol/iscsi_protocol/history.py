"""The history: whatever crossed a connection, as one stream of records.

Shells write it through a tap, captures are read into it, the rule book consumes it. Times are seconds on the run's own
clock. Engines do not record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from iscsi_protocol.pdu.raw import Buffer, RawPdu
from iscsi_protocol.stream import Direction, StreamPair, Undecodable


class TransportEvent(Enum):
    """What happened to the TCP connection below."""

    CONNECT = "connect"
    CONNECTED = "connected"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    FIN = "FIN"
    RST = "RST"
    CLOSED_BY_US = "closed by us"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One end of a TCP connection: numeric address and port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


# Not frozen like the others, since that makes a record three times as dear, and one is made for every PDU.
@dataclass(slots=True)
class PduRecord:
    """A PDU that crossed. `connection` numbers the connections of a history from 1; `raw` owns its parts. Never changed."""

    connection: int
    time: float
    direction: Direction
    raw: RawPdu


@dataclass(frozen=True, slots=True)
class BytesRecord:
    """Bytes that are no PDU, and why."""

    connection: int
    time: float
    direction: Direction
    data: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class TransportRecord:
    """Something below iSCSI. For FIN and RST `direction` is the way the segment went; "us" is the initiator's side."""

    connection: int
    time: float
    event: TransportEvent
    initiator: Endpoint | None = None
    target: Endpoint | None = None
    direction: Direction = Direction.TO_INITIATOR


@dataclass(frozen=True, slots=True)
class SettingsRecord:
    """What the initiator declares about itself: timers in seconds, required methods, limits (names of Appendix F)."""

    time: float
    settings: Mapping[str, object] = field(default_factory=dict)


Record = PduRecord | BytesRecord | TransportRecord | SettingsRecord
Tap = Callable[[Record], None]


class ConnectionTap:
    """Turns the bytes of one connection into records. Shells call it; where there is no tap they keep None instead."""

    def __init__(self, connection: int, tap: Tap) -> None:
        self.connection = connection
        self._tap = tap
        self._streams = StreamPair()

    def bytes_crossed(self, direction: Direction, data: Buffer, now: float) -> None:
        """Some bytes went this way at this time."""
        for item in self._streams.receive(direction, data):
            if isinstance(item, Undecodable):
                self._tap(BytesRecord(self.connection, now, direction, item.data, item.reason))
            else:
                self._tap(PduRecord(self.connection, now, direction, item.kept()))

    def transport(
        self,
        event: TransportEvent,
        now: float,
        *,
        initiator: Endpoint | None = None,
        target: Endpoint | None = None,
        direction: Direction = Direction.TO_INITIATOR,
    ) -> None:
        """Something happened to the TCP connection."""
        self._tap(TransportRecord(self.connection, now, event, initiator, target, direction))

    def finish(self, now: float) -> None:
        """The connection is over: what was left of unfinished PDUs becomes records."""
        for direction, rest in self._streams.finish():
            self._tap(BytesRecord(self.connection, now, direction, rest.data, rest.reason))
