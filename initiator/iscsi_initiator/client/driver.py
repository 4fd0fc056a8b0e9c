"""The pump between an InitiatorEngine and the network: connections, timers and events on the running asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from iscsi_initiator.client.service import Service
from iscsi_initiator.engine import ConnectionWanted, InitiatorEngine
from iscsi_initiator.requests import Event, RequestDone
from iscsi_initiator.tracing.session import SessionTrace
from iscsi_initiator.transport import BindFailed, ConnectFailed, Connector, Transport
from iscsi_initiator.upcalls import UpCallWanted
from iscsi_protocol.history import Endpoint, TransportEvent


class Driver:
    """Runs one engine. on_event: takes every event of the engine; clock: seconds, the loop's own where it is None; service:
    answers its up-calls, each of which is refused where it is None; trace: is told what happens. pumps_soon: whether
    `pump` runs in the loop's next turn.
    """

    def __init__(
        self,
        engine: InitiatorEngine,
        connector: Connector,
        on_event: Callable[[Event], None],
        clock: Callable[[], float] | None = None,
        service: Service | None = None,
        trace: SessionTrace | None = None,
    ) -> None:
        self.engine = engine
        self._connector = connector
        self._on_event = on_event
        self._service = service
        self._trace = trace
        self.loop = asyncio.get_running_loop()
        self.clock = self.loop.time if clock is None else clock
        self._lines: dict[int, _Line] = {}
        self._connecting: dict[int, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._pumping = False
        self._again = False
        self.pumps_soon = False
        self._stopped = False

    def pump_soon(self) -> None:
        """As `pump`, once for all that is asked in this turn of the loop, so that it goes out in one send."""
        if not self.pumps_soon:
            self.pumps_soon = True
            self.loop.call_soon(self.pump)

    def pump(self) -> None:
        """Carry out what the engine wants by now. To be called whenever something was asked of it."""
        self.pumps_soon = False
        if self._pumping or self._stopped:
            self._again = True
            return
        self._pumping = True
        try:
            self._again = True
            while self._again:
                self._again = False
                self._round()
        finally:
            self._pumping = False
        if not self.pumps_soon:
            self._arm()

    def _round(self) -> None:
        engine, trace = self.engine, self._trace
        # One test of a number where nothing is traced; see `iscsi_initiator.tracing.teller`.
        if trace is not None and not trace.teller.level:
            trace = None
        for wanted in engine.connections_wanted():
            if trace is not None:
                trace.connecting(wanted.connection, wanted.endpoint, wanted.source)
            self._connecting[wanted.connection] = self.loop.create_task(self._connect(wanted))
        for connection in engine.dirty_connections():
            self._send(connection, trace)
        on_event, finished = self._on_event, False
        while (event := engine.poll_event()) is not None:
            if isinstance(event, RequestDone):
                finished = True
            else:
                self._again = True
                if trace is not None:
                    trace.event(event)
                if isinstance(event, UpCallWanted):
                    self._ask(event)
            on_event(event)
        if finished:
            # Those who waited run in the loop's next turn. What they ask for then goes out at its end, not a turn later.
            self.pump_soon()

    def _send(self, connection: int, trace: SessionTrace | None) -> None:
        """Send what a connection has to send, or close it."""
        engine, line = self.engine, self._lines.get(connection)
        if line is not None and line.blocked and not engine.is_closing(connection):
            # What the network does not take waits in the engine, whose limit it counts against.
            return
        buffers = engine.data_to_send(connection)
        how = engine.wants_close(connection)
        if line is not None and line.transport is not None:
            if buffers:
                line.transport.write(buffers)
                if trace is not None:
                    trace.sent(connection, buffers, blocked=line.transport.blocked)
            if how is not None:
                line.transport.close()
                del self._lines[connection]
                if trace is not None:
                    trace.ended(connection, "closed by us", len(self._lines))
        elif how is not None and connection in self._connecting:
            self._connecting.pop(connection).cancel()

    def _ask(self, call: UpCallWanted) -> None:
        """Pass an up-call on to the service."""

        def answer(result: bytes | None) -> None:
            if self._trace is not None:
                self._trace.answered(call.token, refused=result is None)
            self.engine.up_call_answered(call.token, result, self.clock())
            self.pump()

        if self._service is None:
            answer(None)
        else:
            self._service.take(call, answer)

    async def _connect(self, wanted: ConnectionWanted) -> None:
        number = wanted.connection
        line = _Line(self, number)
        try:
            transport = await self._connector.connect(wanted.endpoint, line, wanted.source)
        except ConnectFailed as error:
            self._connecting.pop(number, None)
            if self._trace is not None:
                self._trace.not_connected(number, str(error))
            self.lost(number, error.event)
            return
        except BindFailed as error:
            self._connecting.pop(number, None)
            if self._trace is not None:
                self._trace.not_connected(number, str(error))
            self.engine.bind_failed(number, error.error, self.clock())
            self.pump()
            return
        self._connecting.pop(number, None)
        if self._stopped:
            transport.abort()
            return
        line.transport = transport
        self._lines[number] = line
        if self._trace is not None:
            self._trace.connected(number, transport.local, transport.remote, len(self._lines))
        self.engine.connection_made(number, self.clock(), transport.local, transport.remote)
        self.pump()

    def received(self, connection: int, view: memoryview, placed: int) -> None:
        """Bytes came on a connection, after `placed` bytes that are in the engine's room."""
        if self.engine.receive(connection, view, self.clock(), placed):
            self.pump()

    def local_of(self, connection: int) -> Endpoint | None:
        """This end of a connection by its number; None while it is not up."""
        line = self._lines.get(connection)
        return line.transport.local if line is not None and line.transport is not None else None

    def lost(self, connection: int, reason: TransportEvent) -> None:
        """A connection did not come up, or is gone."""
        if self._lines.pop(connection, None) is not None and self._trace is not None:
            self._trace.ended(connection, f"ended ({reason.value})", len(self._lines))
        self.engine.connection_lost(connection, reason, self.clock())
        self.pump()

    def send_failed(self, connection: int, error: int) -> None:
        """Bytes could not be sent on a connection."""
        if self._trace is not None:
            self._trace.send_failed(connection, error)
        self.engine.send_failed(connection, error, self.clock())
        self.pump()

    def _arm(self) -> None:
        """Have the engine called when it is due. A timer that fires too early only looks again."""
        deadline = self.engine.next_deadline()
        if self._timer is not None:
            if deadline is not None and self._timer_due <= deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None and not self._stopped:
            self._timer_due = deadline
            self._timer = self.loop.call_later(max(0.0, deadline - self.clock()), self._due)

    def _due(self) -> None:
        self._timer = None
        self.engine.handle_timer(self.clock())
        self.pump()

    def stop(self) -> None:
        """Drop all connections at once; nothing more happens."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._connecting.values():
            task.cancel()
        for number in list(self._lines):
            line = self._lines.pop(number)
            if line.transport is not None:
                line.transport.abort()
                if self._trace is not None:
                    self._trace.ended(number, "reset by us", len(self._lines))
        self._connecting.clear()


class _Line:
    """The receiver of one connection."""

    def __init__(self, driver: Driver, number: int) -> None:
        self._driver = driver
        self._number = number
        self.transport: Transport | None = None

    @property
    def blocked(self) -> bool:
        """Whether the network does not take any more for now."""
        return self.transport is not None and self.transport.blocked

    def room(self) -> memoryview | None:
        """See `Receiver`."""
        return self._driver.engine.room(self._number)

    def data_received(self, view: memoryview, placed: int = 0) -> None:
        """See `Receiver`."""
        self._driver.received(self._number, view, placed)

    def connection_lost(self, reason: TransportEvent) -> None:
        """See `Receiver`."""
        self._driver.lost(self._number, reason)

    def send_failed(self, error: int) -> None:
        """See `Receiver`."""
        self._driver.send_failed(self._number, error)

    def writable(self) -> None:
        """See `Receiver`."""
        self._driver.pump()
