"""A recorder and a fault injector between a shell and its transport; either may be absent.

The recorder sits next to the network: the history is what crossed the wire, after the faults of our own side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from iscsi_initiator.transport.base import BindFailed, ConnectFailed, Connector, Receiver, Transport
from iscsi_protocol.fault import Fault, FaultyWire, Output, Send
from iscsi_protocol.history import ConnectionTap, Endpoint, Tap, TransportEvent
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.stream import Direction


class TappedConnector:
    """A connector whose connections are recorded and spoilt.

    tap: takes the records of all connections; None records nothing. faults: every connection gets them afresh; `faulty`
    says how many connections do (0 = all), counted from the first. clock: seconds, the loop's own where it is None. first:
    number of the first connection in the history.
    """

    def __init__(
        self,
        connector: Connector,
        *,
        tap: Tap | None = None,
        faults: Sequence[Fault] = (),
        faulty: int = 0,
        clock: Callable[[], float] | None = None,
        first: int = 1,
    ) -> None:
        self.connector = connector
        self.tap = tap
        self.faults = tuple(faults)
        self.faulty = faulty
        self.clock = clock
        self.next_connection = first
        self._opened = 0
        self._wires: list[FaultyWire] = []

    @property
    def fired(self) -> int:
        """How many times a fault has changed something, over all connections."""
        return sum(wire.fired for wire in self._wires)

    async def connect(self, endpoint: Endpoint, receiver: Receiver, source: Endpoint | None = None) -> Transport:
        """See `Connector`."""
        clock = asyncio.get_running_loop().time if self.clock is None else self.clock
        recorder = None
        if self.tap is not None:
            recorder = ConnectionTap(self.next_connection, self.tap)
            recorder.transport(TransportEvent.CONNECT, clock(), target=endpoint)
        self.next_connection += 1
        self._opened += 1
        wire = None
        if self.faults and (not self.faulty or self._opened <= self.faulty):
            wire = FaultyWire(self.faults)
            self._wires.append(wire)
        middle = TappedTransport(receiver, recorder, wire, clock)
        try:
            middle.attach(await self.connector.connect(endpoint, middle, source))
        except ConnectFailed as error:
            if recorder is not None:
                recorder.transport(error.event, clock(), target=endpoint)
            raise
        except BindFailed:
            if recorder is not None:
                # Nothing left this host: the attempt ended on our side.
                recorder.transport(TransportEvent.CLOSED_BY_US, clock(), target=endpoint, direction=Direction.TO_TARGET)
            raise
        return middle


class TappedTransport:
    """Stands between a receiver and its transport; see `Transport` and `Receiver`, of which it is both."""

    def __init__(
        self,
        receiver: Receiver,
        recorder: ConnectionTap | None,
        wire: FaultyWire | None,
        clock: Callable[[], float],
    ) -> None:
        self._receiver: Receiver | None = receiver
        self._recorder = recorder
        self._wire = wire
        self._clock = clock
        self._below: Transport | None = None
        self._early: list[bytes | TransportEvent] = []
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def attach(self, below: Transport) -> None:
        """The connection below is up. What it said before is passed on now."""
        self._below = below
        if self._recorder is not None:
            self._recorder.transport(
                TransportEvent.CONNECTED, self._clock(), initiator=below.local, target=below.remote
            )
        early, self._early = self._early, []
        for item in early:
            if isinstance(item, bytes):
                self.data_received(memoryview(item))
            else:
                self.connection_lost(item)

    @property
    def _transport(self) -> Transport:
        if self._below is None:
            raise RuntimeError("the connection is not up yet")
        return self._below

    @property
    def local(self) -> Endpoint:
        """This end."""
        return self._transport.local

    @property
    def remote(self) -> Endpoint:
        """The portal's end."""
        return self._transport.remote

    @property
    def blocked(self) -> bool:
        """See `Transport`."""
        return self._transport.blocked

    def write(self, buffers: Sequence[Buffer]) -> None:
        """See `Transport`."""
        if self._over:
            return
        if self._wire is None:
            self._write_below(buffers)
        else:
            self._deliver(self._wire.forward(Direction.TO_TARGET, b"".join(buffers), self._clock()))

    def close(self) -> None:
        """See `Transport`."""
        self._receiver = None
        self._pass_rest(Direction.TO_TARGET)
        if not self._over:
            self._record_end(TransportEvent.CLOSED_BY_US, Direction.TO_TARGET)
            self._transport.close()

    def abort(self) -> None:
        """See `Transport`."""
        self._receiver = None
        if not self._over:
            self._record_end(TransportEvent.RST, Direction.TO_TARGET)
            self._transport.abort()

    def room(self) -> memoryview | None:
        """See `Receiver`. None: all bytes go by here."""
        return None

    def data_received(self, view: memoryview, placed: int = 0) -> None:
        """See `Receiver`."""
        if self._below is None:
            self._early.append(bytes(view))
            return
        if self._over:
            return
        if self._recorder is not None:
            self._recorder.bytes_crossed(Direction.TO_INITIATOR, view, self._clock())
        if self._wire is not None:
            self._deliver(self._wire.forward(Direction.TO_INITIATOR, view, self._clock()))
        elif self._receiver is not None:
            self._receiver.data_received(view)

    def connection_lost(self, reason: TransportEvent) -> None:
        """See `Receiver`."""
        if self._below is None:
            self._early.append(reason)
            return
        self._pass_rest(Direction.TO_INITIATOR)
        if self._over:
            return
        self._record_end(reason, Direction.TO_INITIATOR)
        self._tell_lost(reason)

    def send_failed(self, error: int) -> None:
        """See `Receiver`."""
        if self._receiver is not None and not self._over:
            self._receiver.send_failed(error)

    def writable(self) -> None:
        """See `Receiver`."""
        if self._receiver is not None and not self._over:
            self._receiver.writable()

    def _pass_rest(self, direction: Direction) -> None:
        """The sender closes: what it left of an unfinished PDU goes on before. Its receiver may close meanwhile."""
        if self._wire is not None and not self._over:
            self._deliver(self._wire.finish(direction))

    def _tell_lost(self, reason: TransportEvent) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.connection_lost(reason)

    def _write_below(self, buffers: Sequence[Buffer]) -> None:
        if self._recorder is not None:
            now = self._clock()
            for buffer in buffers:
                self._recorder.bytes_crossed(Direction.TO_TARGET, buffer, now)
        self._transport.write(buffers)

    def _record_end(self, event: TransportEvent, direction: Direction) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._recorder is not None:
            now = self._clock()
            self._recorder.transport(event, now, direction=direction)
            self._recorder.finish(now)

    def _deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            if self._over:
                return
            if isinstance(output, Send):
                if output.direction is Direction.TO_TARGET:
                    self._write_below([output.data])
                elif self._receiver is not None:
                    self._receiver.data_received(memoryview(output.data))
            else:
                self._hang_up(output.direction, reset=output.reset)
        self._arm()

    def _hang_up(self, direction: Direction, *, reset: bool) -> None:
        """A fault ends the connection: for the wire we did, for the receiver whoever the fault says."""
        event = TransportEvent.RST if reset else TransportEvent.CLOSED_BY_US
        self._record_end(event, Direction.TO_TARGET)
        if reset:
            self._transport.abort()
        else:
            self._transport.close()
        if direction is Direction.TO_TARGET:
            self._tell_lost(TransportEvent.CLOSED_BY_US)
        else:
            self._tell_lost(TransportEvent.RST if reset else TransportEvent.FIN)

    def _arm(self) -> None:
        """Have the fault injector called when a PDU that it holds back is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = None if self._wire is None or self._over else self._wire.next_deadline()
        if deadline is not None:
            delay = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        if self._wire is not None:
            self._deliver(self._wire.handle_timer(self._clock()))
