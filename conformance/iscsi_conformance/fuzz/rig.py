"""Both engines joined in memory without an event loop, on a clock that jumps to whatever is due next.

What is due at one time happens in this order: the target's timers and held PDUs, then the initiator's. Bytes travel at once,
in order, and what they bring about is carried out before the clock moves. All of it is plain data: a rig that is logged in
can be kept as a snapshot, and every dialogue forks from it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from iscsi_conformance.fuzz.chunks import WHOLE, Chunks
from iscsi_conformance.fuzz.parrot import Parrot
from iscsi_initiator.engine import ConnectionWanted, InitiatorEngine
from iscsi_initiator.requests import Event
from iscsi_protocol.fault import Fault, FaultyWire, Send
from iscsi_protocol.fault.output import Output
from iscsi_protocol.history import ConnectionTap, Endpoint, Tap, TransportEvent
from iscsi_protocol.pdu.codes import BHS_LENGTH
from iscsi_protocol.stream import Direction
from iscsi_target.completion import FileSlice
from iscsi_target.engine import TargetEngine

TO_TARGET, TO_INITIATOR = Direction.TO_TARGET, Direction.TO_INITIATOR
MOST_DELIVERIES = 5000
"""What no dialogue needs. At half of that the network is healed, since a fault may have the two talk without end."""
MOST_ROUNDS = 50
AT_ONCE, PAUSE = 100, 4.03
"""Deliveries behind which the clock moves by so many seconds; a small segment counts as what it is of a header."""

_FIRST_PORT = 40000


class Stuck(AssertionError):
    """The two sides go on talking without end while no time passes, or talk more than any dialogue needs."""


class Line:
    """One connection. number: the initiator's; peer: the target's, None while it is not up; here, there: whether the
    initiator's and the target's end are open.
    """

    __slots__ = ("due", "endpoint", "here", "leaving", "number", "peer", "recorder", "there", "wire")

    def __init__(self, number: int, endpoint: Endpoint, recorder: ConnectionTap, wire: FaultyWire) -> None:
        self.number = number
        self.endpoint = endpoint
        self.recorder = recorder
        self.wire = wire
        self.peer: int | None = None
        self.here = self.there = self.leaving = False
        self.due: float | None = None


class Rig:
    """The pair. portals: address and portal group tag of each.

    tap: takes the history as the initiator sees it. roads: what becomes of the next attempts to connect; behind them all
    succeed. happened: the initiator's events that nobody has taken yet.
    """

    def __init__(
        self,
        initiator: InitiatorEngine,
        target: TargetEngine | Parrot,
        portals: Sequence[tuple[Endpoint, int]],
        tap: Tap,
    ) -> None:
        self.now = 0.0
        self.initiator = initiator
        self.target = target
        self.lines: dict[int, Line] = {}
        self.faults: tuple[Fault, ...] = ()
        self._left: int | None = None
        self.roads: deque[TransportEvent] = deque()
        self.chunks: Chunks = WHOLE
        self.happened: list[Event] = []
        self.deliveries = 0
        self.attempts = 0
        self._talk = 0.0
        self.fired = 0
        self.said: list[bytes] | None = None
        self._portals = dict(portals)
        self._everywhere = False
        self._taken: int | None = None
        self._tap = tap
        self._of_peer: dict[int, Line] = {}
        self._under_way: deque[tuple[Line, Direction, bytes | TransportEvent]] = deque()

    # What befalls the network.

    def spoil(self, faults: Sequence[Fault], faulty: int | None = None) -> None:
        """From now on these faults and no others, on this many connections, counted from those that are up (None: all)."""
        self.faults, self._left = tuple(faults), faulty
        for number in self.up:
            self.lines[number].wire.arm(self._next_faults())

    def _next_faults(self) -> tuple[Fault, ...]:
        if self._left is None:
            return self.faults
        self._left -= 1
        return self.faults if self._left >= 0 else ()

    def heal(self) -> None:
        """Nothing goes wrong any more: what was silent stays so, what is held comes. Whatever address a redirection gave, the
        target is there.
        """
        self.faults = ()
        self._everywhere = True
        self.roads.clear()
        for line in self.lines.values():
            line.wire.arm(())

    def cut(self, number: int, event: TransportEvent) -> None:
        """The network, or the target, ends a connection: FIN or RST, or TIMED_OUT. Nothing for one that is not up."""
        line = self.lines.get(number)
        if line is not None and line.here:
            self._target_is_gone(line)
            self._under_way.append((line, TO_INITIATOR, event))
            self.pump()

    def have_repeated(self, answers: Sequence[bytes]) -> None:
        """From now on the target says this and nothing else, on the connection that is up, or on the first one to come, and
        takes no other.
        """
        peers = list(self._of_peer)
        self._taken = 0 if peers else 1
        self.target = Parrot(answers, peers[0] if peers else None)

    @property
    def up(self) -> list[int]:
        """The numbers of the connections whose TCP is up, in the order in which they came up."""
        return [number for number, line in self.lines.items() if line.here]

    # Time.

    def run(self, until: float) -> None:
        """Let everything happen that is due until then. Raises Stuck."""
        self.pump()
        rounds = delivered = 0
        while True:
            due = self._next_deadline()
            if due is None or due > until:
                break
            if due > self.now:
                self._talk = 0
            rounds = 0 if due > self.now or self.deliveries > delivered else rounds + 1
            if rounds > MOST_ROUNDS:
                raise Stuck(f"something is due at {due}, is done, and is due again")
            delivered = self.deliveries
            self.now = max(self.now, due)
            self._timers()
        self.now = max(self.now, until)

    def next_deadline(self) -> float | None:
        """When something happens by itself; None for never."""
        return self._next_deadline()

    def _next_deadline(self) -> float | None:
        due = self.initiator.next_deadline()
        for other in (self.target.next_deadline(), *map(_deadline, self.lines.values())):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def _timers(self) -> None:
        now = self.now
        for line in list(self.lines.values()):
            if line.due is not None and line.due <= now:
                self._connect_failed(line, TransportEvent.TIMED_OUT)
            held = line.wire.next_deadline()
            if held is not None and held <= now:
                self._spoilt(line, line.wire.handle_timer(now))
        due = self.target.next_deadline()
        if due is not None and due <= now:
            self.target.handle_timer(now)
        self.pump()
        due = self.initiator.next_deadline()
        if due is not None and due <= now:
            self.initiator.handle_timer(now)
            self.pump()

    # What travels.

    def pump(self) -> None:
        """Let everything happen that needs no time. Raises Stuck."""
        self._flush_initiator()
        self._flush_target()
        under_way = self._under_way
        while under_way:
            self.deliveries += 1
            if self.deliveries == MOST_DELIVERIES // 2:
                self.heal()
            if self.deliveries > MOST_DELIVERIES:
                raise Stuck(f"{MOST_DELIVERIES} deliveries, and no end")
            self._talk += _weight(under_way[0][2])
            if self._talk > AT_ONCE:
                self._let_time_pass()
            line, way, what = under_way.popleft()
            if way is TO_TARGET:
                self._to_target(line, what)
                self._flush_target()
            else:
                self._to_initiator(line, what)

    def _let_time_pass(self) -> None:
        """So much was said at one instant that it took some time: who talks on for ever comes to a time-out."""
        self._talk = 0
        self.now += PAUSE
        for engine in (self.target, self.initiator):
            due = engine.next_deadline()
            if due is not None and due <= self.now:
                engine.handle_timer(self.now)
        self._flush_target()
        self._flush_initiator()

    def _to_initiator(self, line: Line, what: bytes | TransportEvent) -> None:
        if isinstance(what, bytes):
            for piece in self.chunks.pieces(what):
                if not line.here:
                    return
                line.recorder.bytes_crossed(TO_INITIATOR, piece, self.now)
                self.initiator.receive(line.number, piece, self.now)
                self._flush_initiator()
        elif line.peer is None:
            if line.number in self.lines:
                self._attempted(line, what)
        elif line.here:
            self._ended(line, what, TO_INITIATOR)
            self._under_way.append((line, TO_TARGET, TransportEvent.FIN))
            self.initiator.connection_lost(line.number, what, self.now)
            self._flush_initiator()

    def _to_target(self, line: Line, what: bytes | TransportEvent) -> None:
        if not line.there or line.peer is None:
            return
        if isinstance(what, bytes):
            if self.said is not None:
                self.said.append(b"")
            self.target.receive(line.peer, what, self.now)
        else:
            self._target_is_gone(line, what)

    def _target_is_gone(self, line: Line, reason: TransportEvent = TransportEvent.CLOSED_BY_US) -> None:
        if line.there and line.peer is not None:
            line.there = False
            del self._of_peer[line.peer]
            self.target.connection_lost(line.peer, reason.value, self.now)
            self._flush_target()

    def _ended(self, line: Line, event: TransportEvent, way: Direction) -> None:
        """The initiator's end is closed, by whomever."""
        line.here = False
        line.recorder.transport(event, self.now, direction=way)
        line.recorder.finish(self.now)
        self.fired += line.wire.fired
        del self.lines[line.number]

    def _spoilt(self, line: Line, outputs: Sequence[Output]) -> None:
        """What the wire lets through, and whether it hangs up; it does so as the target would."""
        for output in outputs:
            if isinstance(output, Send):
                self._under_way.append((line, output.direction, output.data))
            else:
                self._under_way.append((line, TO_INITIATOR, TransportEvent.RST if output.reset else TransportEvent.FIN))
                self._target_is_gone(line)

    # What the engines want.

    def _flush_initiator(self) -> None:
        engine = self.initiator
        for wanted in engine.connections_wanted():
            self._connect(wanted)
        for number in engine.dirty_connections():
            buffers = engine.data_to_send(number)
            how = engine.wants_close(number)
            line = self.lines.get(number)
            if line is None:
                continue
            if buffers and line.here:
                data = b"".join(buffers)
                line.recorder.bytes_crossed(TO_TARGET, data, self.now)
                self._spoilt(line, line.wire.forward(TO_TARGET, data, self.now))
            if how is not None:
                self._close(line)
        while (event := engine.poll_event()) is not None:
            self.happened.append(event)

    def _close(self, line: Line) -> None:
        if not line.here:
            # The attempt to connect is given up; nobody sees that.
            self.lines.pop(line.number, None)
            return
        self._under_way.append((line, TO_TARGET, TransportEvent.FIN))
        self._ended(line, TransportEvent.CLOSED_BY_US, TO_TARGET)

    def _flush_target(self) -> None:
        target = self.target
        while True:
            dirty, work = target.dirty_connections(), target.work_to_do()
            if not dirty and not work:
                return
            for number in dirty:
                line = self._of_peer.get(number)
                if line is not None:
                    self._flush_peer(line, number)
            if isinstance(target, TargetEngine):
                for item in work:
                    target.work_done(item.token, item.run(), self.now)

    def _flush_peer(self, line: Line, number: int) -> None:
        target = self.target
        while True:
            pieces = target.data_to_send(number)
            if pieces:
                data = b"".join([piece for piece in pieces if not isinstance(piece, FileSlice)])
                if self.said:
                    self.said[-1] += data
                self._spoilt(line, line.wire.forward(TO_INITIATOR, data, self.now))
            if not target.has_backlog(number):
                break
            target.receive(number, b"", self.now)
        how = target.wants_close(number)
        if how == "rst":
            self._under_way.append((line, TO_INITIATOR, TransportEvent.RST))
            self._target_is_gone(line)
        elif how == "fin" and not line.leaving:
            line.leaving = True
            self._under_way.append((line, TO_INITIATOR, TransportEvent.FIN))

    def _connect(self, wanted: ConnectionWanted) -> None:
        self.attempts += 1
        recorder = ConnectionTap(wanted.connection, self._tap)
        recorder.transport(TransportEvent.CONNECT, self.now, target=wanted.endpoint)
        line = Line(wanted.connection, wanted.endpoint, recorder, FaultyWire(()))
        self.lines[line.number] = line
        road = self.roads.popleft() if self.roads else TransportEvent.CONNECTED
        there = self._taken != 0 and (self._everywhere or wanted.endpoint in self._portals)
        if road is TransportEvent.CONNECTED and not there:
            road = TransportEvent.REFUSED
        if road is TransportEvent.TIMED_OUT:
            line.due = self.now + self.initiator.settings.tcp_connect_time
        else:
            if road is TransportEvent.CONNECTED and self._taken is not None:
                self._taken -= 1
            self._under_way.append((line, TO_INITIATOR, road))

    def _attempted(self, line: Line, event: TransportEvent) -> None:
        if event is TransportEvent.CONNECTED:
            self._connected(line)
        else:
            self._connect_failed(line, event)

    def _connected(self, line: Line) -> None:
        line.wire = FaultyWire(self._next_faults(), follows=True)
        local = Endpoint(line.endpoint.host, _FIRST_PORT + line.number % 20000)
        tag = self._portals.get(line.endpoint, 1)
        line.peer = self.target.connection_made(line.endpoint, local, self.now, portal_group_tag=tag)
        self._of_peer[line.peer] = line
        line.here = line.there = True
        line.recorder.transport(TransportEvent.CONNECTED, self.now, initiator=local, target=line.endpoint)
        self.initiator.connection_made(line.number, self.now, local, line.endpoint)
        self._flush_initiator()

    def _connect_failed(self, line: Line, event: TransportEvent) -> None:
        del self.lines[line.number]
        line.recorder.transport(event, self.now, target=line.endpoint)
        self.initiator.connection_lost(line.number, event, self.now)
        self._flush_initiator()


def _weight(what: bytes | TransportEvent) -> float:
    """How much of AT_ONCE it is: the bytes of one PDU take no longer for coming singly."""
    return min(1.0, len(what) / BHS_LENGTH) if isinstance(what, bytes) else 1.0


def _deadline(line: Line) -> float | None:
    held = line.wire.next_deadline()
    return held if line.due is None else line.due
