"""The pump between the engine and whatever carries bytes: sends, closes, timers, slow work, faults, the recording tap.

One driver serves all connections of an engine. It never waits and owns no sockets; `Lower` is what it asks of a carrier.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Protocol

from iscsi_protocol.fault import Fault, FaultyWire, Output, Send
from iscsi_protocol.history import ConnectionTap, Endpoint, Tap, TransportEvent
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.stream import Direction
from iscsi_target import completion
from iscsi_target.completion import Completion, FileSlice, Piece
from iscsi_target.engine import TargetEngine, Work
from iscsi_target.events import Event

FAILED = Completion(
    Status.CHECK_CONDITION,
    sense=Sense(key=SenseKey.HARDWARE_ERROR, code=AdditionalSense.INTERNAL_TARGET_FAILURE).build(),
)
"""The end of a command whose work broke off for a reason of our own, which is reported."""


class Lower(Protocol):
    """One connection below."""

    blocked: bool
    """Whether bytes handed over are still waiting to be taken by the network."""

    def write(self, pieces: list[Piece]) -> None:
        """Send in order; pieces are not copied and do not change until sent."""

    def half_close(self) -> None:
        """FIN behind what was written; bytes of the peer are still wanted."""

    def abort(self) -> None:
        """RST, at once. Nothing is heard of the connection any more."""

    def hold(self, held: bool) -> None:
        """Stop, or go on, taking bytes from the peer."""


WireMaker = Callable[[Endpoint], FaultyWire | None]
"""What stands between the engine and a connection from this endpoint; None for nothing."""


class Line:
    """One connection of the driver."""

    __slots__ = ("closed", "held", "lower", "number", "recorder", "wire")

    def __init__(self, number: int, lower: Lower, recorder: ConnectionTap | None, wire: FaultyWire | None) -> None:
        self.number = number
        self.lower = lower
        self.recorder = recorder
        self.wire = wire
        self.held = False
        self.closed: str | None = None


class Driver:
    """Runs an engine on the event loop that runs when it is made.

    tap: takes the records of all connections. faults: every connection gets them afresh; with `spoilt_connections` the next
    so many alone. make_wire: instead of faults, what each connection gets. on_event: takes the engine's events. executor:
    does slow work; None does it in line.
    """

    def __init__(
        self,
        engine: TargetEngine,
        *,
        tap: Tap | None = None,
        faults: Sequence[Fault] = (),
        make_wire: WireMaker | None = None,
        on_event: Callable[[Event], None] | None = None,
        executor: Executor | None = None,
    ) -> None:
        self.engine = engine
        self.loop = asyncio.get_running_loop()
        self.lines: dict[int, Line] = {}
        self._tap = tap
        self._faults = tuple(faults)
        self._make_wire = make_wire or self._wire_of
        self._has_wires = bool(faults) or make_wire is not None
        self.spoilt_connections: int | None = None
        self._on_event = on_event
        self._executor = executor
        self._alarm: asyncio.TimerHandle | None = None
        self._pumping = False
        self._dirty: list[int] = []
        self._work: list[Work] = []

    @property
    def fired(self) -> int:
        """How many times a fault has changed something, over the connections that are up."""
        return sum(line.wire.fired for line in self.lines.values() if line.wire is not None)

    # What the carriers say

    def connected(self, lower: Lower, local: Endpoint, remote: Endpoint, portal_group_tag: int) -> int:
        """A connection was accepted; its number."""
        now = self.loop.time()
        number = self.engine.connection_made(local, remote, now, portal_group_tag=portal_group_tag)
        recorder = None if self._tap is None else ConnectionTap(number, self._tap)
        self.lines[number] = Line(number, lower, recorder, self._make_wire(remote))
        if recorder is not None:
            recorder.transport(TransportEvent.CONNECTED, now, initiator=remote, target=local)
        self.pump()
        return number

    def _wire_of(self, _: Endpoint) -> FaultyWire | None:
        """The faults for the connection that was just accepted, if it gets them."""
        if not self._faults:
            return None
        if self.spoilt_connections is not None:
            self.spoilt_connections -= 1
            if self.spoilt_connections < 0:
                return None
        return FaultyWire(self._faults)

    def received(self, number: int, view: Buffer) -> None:
        """Bytes came; they are the carrier's again when this returns."""
        line = self.lines.get(number)
        if line is None:
            return
        now = self.loop.time()
        if line.recorder is not None:
            line.recorder.bytes_crossed(Direction.TO_TARGET, view, now)
        if line.wire is not None:
            self._spoilt(line, line.wire.forward(Direction.TO_TARGET, view, now))
        else:
            self._feed(line, view, now)
        self.pump()

    def _feed(self, line: Line, data: Buffer, now: float) -> None:
        """Bytes for the engine. Where that fails, for a reason of our own, which is reported, the connection is reset: what
        it was in the middle of cannot go on, and its peer is not to wait for ever.
        """
        taken = False
        try:
            self.engine.receive(line.number, data, now)
            taken = True
        finally:
            if not taken:
                self._close(line, "rst")

    def writable(self, number: int) -> None:
        """Everything that was waiting is sent."""
        line = self.lines.get(number)
        if line is not None:
            self._flush(line)
            self.pump()

    def lost(self, number: int, event: TransportEvent) -> None:
        """The connection is over: FIN or RST of the peer, or the end of a close of ours."""
        line = self.lines.pop(number, None)
        if line is None:
            return
        now = self.loop.time()
        if line.recorder is not None:
            if event is not TransportEvent.CLOSED_BY_US:
                line.recorder.transport(event, now, direction=Direction.TO_TARGET)
            line.recorder.finish(now)
        if line.wire is not None and event is not TransportEvent.CLOSED_BY_US:
            self._spoilt(line, line.wire.finish(Direction.TO_TARGET))
        self.engine.connection_lost(number, event.value, now)
        self.pump()

    # The pump

    def pump(self) -> None:
        """Do everything that the engine wants done now. To be called behind every verb of the engine."""
        if self._pumping:
            return
        self._pumping = True
        try:
            engine = self.engine
            dirty, work = self._dirty, self._work
            while True:
                # Named by the engine once: what an error leaves of them is for the next call.
                dirty += engine.dirty_connections()
                work += engine.work_to_do()
                if not dirty and not work:
                    break
                while dirty:
                    line = self.lines.get(dirty.pop(0))
                    if line is not None:
                        self._flush(line)
                while work:
                    self._do(work.pop(0))
            if self._on_event is not None:
                while (event := engine.poll_event()) is not None:
                    self._on_event(event)
            self._set_alarm()
        finally:
            self._pumping = False

    def _flush(self, line: Line) -> None:
        """Hand over what is queued, unless the network has not taken what it got before."""
        engine, number = self.engine, line.number
        while not line.lower.blocked:
            pieces = engine.data_to_send(number)
            if pieces:
                self._write(line, pieces)
            if not engine.has_backlog(number):
                break
            self._feed(line, b"", self.loop.time())
        how = engine.wants_close(number)
        if how == "rst" or (how == "fin" and not line.lower.blocked):
            self._close(line, how)
        held = not engine.takes_bytes(number)
        if held != line.held:
            line.held = held
            line.lower.hold(held)

    def _write(self, line: Line, pieces: list[Piece]) -> None:
        if line.closed is not None:
            return
        if line.recorder is None and line.wire is None:
            line.lower.write(pieces)
            return
        try:
            data = b"".join(read(piece) if isinstance(piece, FileSlice) else piece for piece in pieces)
        except (OSError, EOFError):
            self._close(line, "rst")  # the PDU that promised these bytes is on its way
            return
        now = self.loop.time()
        if line.wire is not None:
            self._spoilt(line, line.wire.forward(Direction.TO_INITIATOR, data, now))
        else:
            self._send(line, data, now)

    def _send(self, line: Line, data: bytes, now: float) -> None:
        if line.recorder is not None:
            line.recorder.bytes_crossed(Direction.TO_INITIATOR, data, now)
        line.lower.write([data])

    def _spoilt(self, line: Line, outputs: Iterable[Output]) -> None:
        """What a fault made of some bytes; it may send in both directions, and hang up."""
        now = self.loop.time()
        for output in outputs:
            if line.closed is not None:
                return
            if isinstance(output, Send):
                if output.direction is Direction.TO_TARGET:
                    self._feed(line, output.data, now)
                else:
                    self._send(line, output.data, now)
            else:
                self._close(line, "rst" if output.reset else "fin")

    def _close(self, line: Line, how: str) -> None:
        if line.closed in ("rst", how):
            return
        first = line.closed is None
        line.closed = how
        if line.recorder is not None and first:
            event = TransportEvent.FIN if how == "fin" else TransportEvent.RST
            line.recorder.transport(event, self.loop.time(), direction=Direction.TO_INITIATOR)
        if how == "fin":
            line.lower.half_close()
            return
        line.lower.abort()
        self.loop.call_soon(self.lost, line.number, TransportEvent.CLOSED_BY_US)

    # Slow work

    def _do(self, work: Work) -> None:
        if self._executor is None:
            result: Completion | completion.Work = FAILED
            try:
                result = work.run()
            finally:
                self.engine.work_done(work.token, result, self.loop.time())
            return
        future = self.loop.run_in_executor(self._executor, work.run)
        future.add_done_callback(lambda done: self._done(work.token, done))

    def _done(self, token: int, done: asyncio.Future[Completion | completion.Work]) -> None:
        if done.cancelled():
            return
        error = done.exception()
        self.engine.work_done(token, FAILED if error is not None else done.result(), self.loop.time())
        self.pump()
        if error is not None:
            raise error

    # Time

    def _set_alarm(self) -> None:
        """Have the earliest deadline of the engine, or of a fault, wake us. Too early does no harm."""
        deadline = self.engine.next_deadline()
        if self._has_wires:
            for line in self.lines.values():
                due = None if line.wire is None else line.wire.next_deadline()
                if due is not None and (deadline is None or due < deadline):
                    deadline = due
        alarm = self._alarm
        if deadline is None or (alarm is not None and alarm.when() <= deadline):
            return
        if alarm is not None:
            alarm.cancel()
        self._alarm = self.loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now = self.loop.time()
        for line in list(self.lines.values()):
            if line.wire is not None:
                self._spoilt(line, line.wire.handle_timer(now))
        self.engine.handle_timer(now)
        self.pump()

    def close(self) -> None:
        """Abort every connection and forget the alarm."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for line in list(self.lines.values()):
            self._close(line, "rst")
            self.lost(line.number, TransportEvent.CLOSED_BY_US)
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None


def read(piece: FileSlice) -> bytes:
    """The bytes of a piece of a file. Raises OSError, EOFError for a file that has become shorter."""
    try:
        data = os.pread(piece.fd, piece.length, piece.offset)
        if len(data) != piece.length:
            raise EOFError(f"{len(data)} of {piece.length} bytes are left in the file")
    except (OSError, EOFError):
        if piece.failed is not None:
            piece.failed()
        raise
    return data
