"""What comes out of a faulty wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iscsi_protocol.pdu.raw import Buffer
from iscsi_protocol.stream import Direction


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to go on this way, in one send."""

    direction: Direction
    data: bytes


@dataclass(frozen=True, slots=True)
class Hangup:
    """The connection ends: whoever sends in this direction closes it (FIN), or resets it."""

    direction: Direction
    reset: bool


Output = Send | Hangup


class Outputs:
    """What comes out of one call. Bytes that go the same way share a send unless a fault wants them apart."""

    def __init__(self) -> None:
        self._done: list[Output] = []
        self._way = Direction.TO_TARGET
        self._run: list[Buffer] = []

    def send(self, way: Direction, buffers: Iterable[Buffer]) -> None:
        if way is not self._way:
            self._flush()
            self._way = way
        self._run += buffers

    def send_pieces(self, way: Direction, data: bytes, size: int) -> None:
        self._flush()
        self._done += [Send(way, data[start : start + size]) for start in range(0, len(data), size)]

    def hang_up(self, hangup: Hangup) -> None:
        self._flush()
        self._done.append(hangup)

    def all(self) -> list[Output]:
        self._flush()
        return self._done

    def _flush(self) -> None:
        if data := b"".join(self._run):
            self._done.append(Send(self._way, data))
        self._run = []
