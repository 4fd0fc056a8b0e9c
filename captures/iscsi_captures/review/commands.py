"""SCSI commands on their way, as the review follows them: what each one's PDUs were, and which took longest."""

from __future__ import annotations

from heapq import heappush, heapreplace

import msgspec

from iscsi_captures.describe import one_line
from iscsi_captures.reading import FrameNumber, frame_of
from iscsi_captures.review.facts import Sighting
from iscsi_captures.review.model import STEPS_KEPT, CommandTrace, Step
from iscsi_captures.review.shown import WAYS, shown
from iscsi_protocol.pdu import Buffer, RawPdu
from iscsi_protocol.scsi.cdb import opcode_name as cdb_name
from iscsi_protocol.stream import Direction

OPEN_KEPT = 1024
"""Commands of a connection that are followed at once. Those that are never answered make room for new ones."""

FOLLOWED = 16384
"""Commands of all connections that are followed at once."""

SCARCE = FOLLOWED - 1024
"""While more than these may still be followed, all the steps of a command are kept, else FEW_STEPS."""

FEW_STEPS = 4

_FROM_TARGET = 0x20
Seen = tuple[float, FrameNumber, Buffer]


class Budget:
    """How many more commands may be followed."""

    __slots__ = ("commands",)

    def __init__(self) -> None:
        self.commands = FOLLOWED


class Command(msgspec.Struct, eq=False):
    """One SCSI command that is open, or just over.

    steps: time, frame and header of its PDUs, `most` of them, where the last place is that of the latest one. r2ts: how many,
    largest: bytes that one of them asked for; waiting: an R2T is not answered whole; parallel: two were open at once.
    capacity: its data tells the length of a block. reason: why its trace is wanted, "" where it is not.
    """

    started: float
    bhs: bytes
    steps: list[Seen]
    most: int = STEPS_KEPT
    omitted: int = 0
    r2ts: int = 0
    largest: int = 0
    waiting: bool = False
    parallel: bool = False
    capacity: bool = False
    reason: str = ""
    findings: list[int] = []

    def step(self, time: float, frame: FrameNumber, bhs: Buffer) -> None:
        """One more PDU of it."""
        steps = self.steps
        if len(steps) < self.most:
            steps.append((time, frame, bytes(bhs)))
        else:
            steps[-1] = (time, frame, bytes(bhs))
            self.omitted += 1

    def trace(self, connection: int, ended: float | None, status: str, reason: str) -> CommandTrace:
        """What the review keeps of it; the session is not known here."""
        bhs = self.bhs
        return CommandTrace(
            session=0,
            connection=connection,
            itt=int.from_bytes(bhs[16:20], "big"),
            lun=bhs[8:16].hex(),
            cdb=bhs[32:48],
            name=cdb_name(bhs[32:48]),
            length=int.from_bytes(bhs[20:24], "big"),
            started=self.started,
            ended=ended,
            status=status,
            reason=reason,
            steps=[_step(*seen) for seen in self.steps],
            omitted=self.omitted,
            findings=self.findings,
        )


def start_of(connection: int, command: Command) -> Sighting:
    """Where a command began."""
    time, frame, bhs = command.steps[0]
    return Sighting(connection, frame, frame, time, pdu=shown(RawPdu(bhs), Direction.TO_TARGET))


def _step(time: float, frame: FrameNumber, bhs: Buffer) -> Step:
    raw = RawPdu(bhs)
    way = WAYS[Direction.TO_INITIATOR if raw.opcode >= _FROM_TARGET else Direction.TO_TARGET]
    return Step(time=time, frame=frame_of(frame), way=way, label=one_line(raw))


class Slowest:
    """The `most` commands of a connection that took longest. Of two that took as long the earlier one stays."""

    __slots__ = ("_heap", "_most", "_ordinal", "least")

    def __init__(self, most: int) -> None:
        self._most = most
        self._heap: list[tuple[float, int, Command, str]] = []
        self._ordinal = 0
        self.least = -1.0

    def add(self, latency: float, command: Command, status: str) -> None:
        """One that took longer than `least`."""
        self._ordinal -= 1
        entry = (latency, self._ordinal, command, status)
        if len(self._heap) < self._most:
            heappush(self._heap, entry)
        else:
            heapreplace(self._heap, entry)
        if len(self._heap) == self._most:
            self.least = self._heap[0][0]

    def commands(self) -> list[tuple[float, Command, str]]:
        """Seconds, command and status; the slowest first."""
        ranked = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))
        return [(latency, command, status) for latency, _, command, status in ranked]
