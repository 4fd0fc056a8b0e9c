"""One direction of a TCP connection: how far it has come, and what waits (RFC 9293 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_captures.reading.cutter import Cutter

if TYPE_CHECKING:
    from iscsi_captures.reading.connection import Connection

MASK = 0xFFFFFFFF
NO_LIMIT = 1 << 30
_SIGN = 0x80000000

Waiting = tuple[int, int, bytes, int | None, float, int, int]
"""Position, serial, bytes, acknowledged position, time, frame, flags."""


class Half:
    """One direction of a connection.

    quick: the sequence number at which the next segment may take the short way, -1 where none may; position: of the next
    byte in order; limit: bytes of payload above which a segment is looked at twice.
    """

    __slots__ = (
        "acknowledgement",
        "connection",
        "cutter",
        "direction",
        "feed",
        "fin",
        "handshake_time",
        "hole",
        "last_time",
        "limit",
        "mss",
        "next",
        "peer",
        "position",
        "quick",
        "seen",
        "shut_since",
        "stalled",
        "start",
        "told_coalesced",
        "told_truncated",
        "waiting",
        "waiting_bytes",
    )

    peer: Half

    def __init__(self, connection: Connection, cutter: Cutter) -> None:
        self.connection = connection
        self.cutter = cutter
        self.feed = cutter.feed
        self.direction = cutter.direction
        self.quick = -1
        self.next = 0
        self.position = 0
        self.start: int | None = None
        self.seen = False
        self.fin = False
        self.hole = (0, 0)
        self.acknowledgement: int | None = None
        self.waiting: list[Waiting] = []
        self.waiting_bytes = 0
        self.last_time = 0.0
        self.stalled = 0.0
        self.shut_since: float | None = None
        self.mss: int | None = None
        self.limit = NO_LIMIT
        self.told_coalesced = False
        self.told_truncated = False
        self.handshake_time: float | None = None

    def begin(self, sequence: int) -> None:
        """The next byte has this sequence number."""
        self.start = self.position = self.next = sequence

    def unwrap(self, sequence: int) -> int:
        """The position nearest to the one reached that has this sequence number."""
        delta = (sequence - self.position) & MASK
        return self.position + delta - ((delta & _SIGN) << 1)

    @property
    def acked(self) -> int | None:
        """What the other side has acknowledged of this direction, as a position."""
        acknowledgement = self.peer.acknowledgement
        return None if acknowledgement is None else self.unwrap(acknowledgement)

    @property
    def sent(self) -> bool:
        """Whether it sent any byte of its stream."""
        return self.start is not None and self.position > self.start

    def advance(self, position: int) -> None:
        """The next byte in order is there."""
        self.position = position
        self.next = position & MASK


def syn_options(options: bytes) -> dict[str, int | bool]:
    """The options of a SYN that matter here (RFC 9293 3.2, RFC 7323, RFC 2018); lenient."""
    found: dict[str, int | bool] = {}
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == 0:
            break
        if kind == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            break
        value = options[at + 2 : at + length]
        if kind == 2 and length == 4:
            found["mss"] = int.from_bytes(value, "big")
        elif kind == 3 and length == 3:
            found["window_scale"] = value[0]
        elif kind == 4:
            found["selective_ack"] = True
        elif kind == 8:
            found["timestamps"] = True
        at += length
    return found
