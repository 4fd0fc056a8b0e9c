"""One connection as the review follows it: counters, its commands, and what is noted for the lists and the advice."""

from __future__ import annotations

from collections import deque

from iscsi_captures.dialogue import Connection, Session
from iscsi_captures.reading import FrameNumber, frame_of
from iscsi_captures.review.commands import FEW_STEPS, OPEN_KEPT, SCARCE, Budget, Command, Slowest, start_of
from iscsi_captures.review.facts import Attempt, ConnectionFacts
from iscsi_captures.review.model import (
    BUCKETS_KEPT,
    STEPS_KEPT,
    TRACES_KEPT,
    CommandTrace,
    ConnectionReview,
    Digests,
    Load,
    Mark,
)
from iscsi_captures.review.series import Latencies, Series
from iscsi_captures.review.thresholds import STORM
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import opcode_name

OPCODES = 64
DETAILED = 64
"""Connections whose commands are kept with all their steps: the first ones."""
CHARTED = 256
"""Connections that have all their buckets: the first ones."""
FEW_BUCKETS = 16


class Watch:
    """One connection.

    opcodes: PDUs by opcode. first, last: frames. recognised: when and where it got its number. latest: highest time, by
    which results are ordered. dialogue: what the rule book knows of it. open: commands by tag, as on the wire. ended: tag
    and command that ended last. aborts: tag of a task management request → tag of the command that it aborts. text: of a
    Text Response that goes on in the next one. closed_since: the command that closed the window. budget: how many more
    commands of all connections may be followed.
    """

    __slots__ = (
        "_steps",
        "aborts",
        "attempt",
        "begun",
        "budget",
        "closed",
        "closed_since",
        "dialogue",
        "digests",
        "ended",
        "facts",
        "first",
        "initiator",
        "last",
        "latencies",
        "latest",
        "login",
        "marked",
        "negotiated",
        "number",
        "opcodes",
        "open",
        "opened",
        "recognised",
        "retransmissions",
        "series",
        "session",
        "slowest",
        "target",
        "text",
        "told",
    )

    def __init__(self, number: int, time: float, frame: FrameNumber, how: str, budget: Budget) -> None:
        self.number = number
        self.budget = budget
        self._steps = STEPS_KEPT if number <= DETAILED else FEW_STEPS
        self.opened = Mark(how=how, time=time, frame=frame_of(frame))
        self.recognised = time, frame
        self.begun = True
        self.closed: Mark | None = None
        self.initiator: Endpoint | None = None
        self.target: Endpoint | None = None
        self.opcodes = [0] * OPCODES
        self.first = self.last = frame
        self.latest = time
        self.dialogue: Connection | None = None
        self.session: Session | None = None
        self.digests: Digests | None = None
        self.negotiated: dict[str, str] | None = None
        self.login = "not seen"
        self.attempt: Attempt | None = None
        self.series = Series(time, BUCKETS_KEPT if number <= CHARTED else FEW_BUCKETS)
        self.latencies = Latencies()
        self.slowest = Slowest(TRACES_KEPT if number <= DETAILED else FEW_STEPS)
        self.open: dict[bytes, Command] = {}
        self.ended: tuple[bytes, Command, float, str] | None = None
        self.marked: list[CommandTrace] = []
        self.aborts: dict[bytes, bytes] = {}
        self.text = bytearray()
        self.told: set[str] = set()
        self.closed_since: Command | None = None
        self.retransmissions: deque[float] = deque(maxlen=int(STORM.value))
        self.facts = ConnectionFacts(number)

    def begin_at(self, time: float, frame: FrameNumber, how: str) -> None:
        """The first that was seen of it."""
        self.begun = True
        self.opened = Mark(how=how, time=time, frame=frame_of(frame))
        self.first = self.last = frame
        self.latest = time
        self.series.start, self.series.until = time, time + self.series.width

    def tell_once(self, what: str) -> bool:
        """Whether this is the first time that it is asked."""
        if what in self.told:
            return False
        self.told.add(what)
        return True

    def begin(self, itt: bytes, command: Command) -> None:
        """A command was sent."""
        commands, budget = self.open, self.budget
        if len(commands) >= OPEN_KEPT or budget.commands <= 0 or itt in commands:
            former = itt if itt in commands else next(iter(commands), None)
            if former is None:
                return
            self.leave(former)
        budget.commands -= 1
        command.most = self._steps if budget.commands > SCARCE else FEW_STEPS
        commands[itt] = command
        self.series.depth = max(self.series.depth, len(commands))

    def end(self, itt: bytes, command: Command, now: float, status: str) -> None:
        """The status of a command came."""
        del self.open[itt]
        self.budget.commands += 1
        latency = max(0.0, now - command.started)
        self.series.ended(latency)
        self.latencies.add(latency)
        if latency > self.slowest.least:
            self.slowest.add(latency, command, status)
        if command.reason:
            self.mark(command, now, status)
        self.ended = (itt, command, now, status)

    def leave(self, itt: bytes, status: str = "") -> None:
        """A command is followed no further, though it has no status."""
        command = self.open.pop(itt)
        self.budget.commands += 1
        if command.reason:
            self.mark(command, None, status)

    def leave_all(self) -> None:
        """The connection is over, or the capture."""
        for itt in list(self.open):
            self.leave(itt)

    def mark(self, command: Command, ended: float | None, status: str) -> None:
        """Keep the trace of a command for its own sake."""
        if len(self.marked) < TRACES_KEPT:
            self.marked.append(command.trace(self.number, ended, status, command.reason))

    def found(self, itt: bytes, finding: int) -> None:
        """Finding number so and so is about this tag: the trace of its command is wanted."""
        command = self.open.get(itt)
        if command is not None:
            command.reason = command.reason or "finding"
            command.findings.append(finding)
            return
        if self.ended is None or self.ended[0] != itt:
            return
        _, command, now, status = self.ended
        command.findings.append(finding)
        if not command.reason:
            command.reason = "finding"
            self.mark(command, now, status)

    # At the end.

    def review(self) -> ConnectionReview:
        """What the review says of the connection itself."""
        moved = self.series.load(self.number, None)
        return ConnectionReview(
            number=self.number,
            cid=0 if self.dialogue is None else self.dialogue.cid,
            initiator=str(self.initiator or ""),
            target=str(self.target or ""),
            digests=self.digests or Digests(header=False, data=False, known="none", confidence=0.0),
            login=self.login,
            opcodes={opcode_name(opcode): count for opcode, count in enumerate(self.opcodes) if count},
            bytes_to_target=sum(moved.bytes_out),
            bytes_to_initiator=sum(moved.bytes_in),
            opened=self.opened,
            closed=self.closed,
            first=frame_of(self.first),
            last=frame_of(self.last),
        )

    def load(self) -> Load:
        """What it did over time."""
        return self.series.load(self.number, self.latencies.total())

    def facts_at_the_end(self) -> ConnectionFacts:
        """What advice goes by, complete."""
        facts, moved = self.facts, self.series.load(self.number, None)
        facts.moved = sum(moved.bytes_in) + sum(moved.bytes_out)
        facts.latency = self.latencies.total()
        facts.slowest = [(latency, start_of(self.number, command)) for latency, command, _ in self.slowest.commands()]
        return facts

    def traces(self) -> list[CommandTrace]:
        """The traces that are kept: those with findings, and the slowest, none of them twice."""
        slow = [
            command.trace(self.number, command.started + latency, status, "slow")
            for latency, command, status in self.slowest.commands()
            if not command.reason
        ]
        return [*self.marked, *slow]
