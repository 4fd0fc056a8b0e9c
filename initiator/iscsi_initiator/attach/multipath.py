"""Multipath devices over sessions of the client: what their cores want done is done here, on the running asyncio loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from iscsi_initiator.client import Client, ClientError, RequestFailed, ScsiError
from iscsi_initiator.devices import (
    Aggregate,
    Attempt,
    Device,
    DeviceKey,
    DeviceRequest,
    Ended,
    Identity,
    Notice,
    Send,
    identify,
)
from iscsi_initiator.requests import (
    ConnectionLost,
    ConnectionUp,
    DeviceGone,
    Event,
    Failure,
    ScsiRequest,
    ScsiResult,
    SessionClosed,
    SessionLost,
    SessionUp,
)
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.scsi.cdb import opcode_name
from iscsi_protocol.scsi.inquiry import PeripheralDeviceType, PeripheralQualifier
from iscsi_protocol.scsi.lun import decode_lun
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.scsi.vpd import VpdCode, parse_vpd
from iscsi_protocol.status_codes import StatusCode

ASK_AGAIN = 1.0
LOGOUT_TIME = 5.0
"""Seconds until a logical unit that gave no answer is asked again, and that a logout may take."""
_PAGES_LENGTH = 1024
_DISK = bytes((PeripheralQualifier.CONNECTED << 5 | PeripheralDeviceType.DIRECT_ACCESS,))
Lun = int | bytes
"""A number, or the 8 bytes of the structure."""
Connect = Callable[[Callable[[Event], None]], Awaitable[Client]]
Told = Callable[["MultipathDevice", Notice], None]


class _Turn:
    """Where a request's own coroutine gets its attempts from: it carries them out itself, so that no task is made."""

    __slots__ = ("attempt", "waiting")

    def __init__(self) -> None:
        self.attempt: Attempt | None = None
        self.waiting: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)


class MultipathDevice:
    """A device with its sessions. key: target and identifier; core: the policy, the paths and their state."""

    def __init__(self, key: DeviceKey, core: Device, multipath: Multipath) -> None:
        self.key = key
        self.core = core
        self._multipath = multipath
        self._loop = multipath.loop
        self._timer: asyncio.TimerHandle | None = None
        self._own: set[asyncio.Task[None]] = set()

    async def execute(
        self, cdb: bytes, *, data_in: memoryview | bytearray | int = 0, data_out: Buffer = b"", replayable: bool = True
    ) -> tuple[ScsiResult, memoryview]:
        """A SCSI command over whichever path there is: its result whatever the status, and the data that came.

        Raises RequestFailed where no path came back in time, or nobody knows what became of a command that is not
        replayable. Cancelled, the command is aborted.
        """
        turn = _Turn()
        request = DeviceRequest(cdb, data_in=data_in, data_out=data_out, replayable=replayable, token=turn)
        self.core.submit(request)
        self.pump()
        try:
            while not request.ended:
                attempt, turn.attempt = turn.attempt, None
                if attempt is None:
                    turn.waiting = self._loop.create_future()
                    await turn.waiting
                else:
                    await self._carry_out(attempt)
        except asyncio.CancelledError:
            self.core.cancel(request)
            raise
        if request.result is None:
            raise RequestFailed(request.failure or Failure.NO_DEVICE, opcode_name(cdb))
        return request.result, memoryview(request.data_in)[: request.result.received]

    async def command(
        self, cdb: bytes, *, data_in: memoryview | bytearray | int = 0, data_out: Buffer = b"", replayable: bool = True
    ) -> memoryview:
        """A SCSI command that is to end with GOOD: the data that came. Raises ScsiError, RequestFailed."""
        result, data = await self.execute(cdb, data_in=data_in, data_out=data_out, replayable=replayable)
        if result.status != Status.GOOD or result.response:
            raise ScsiError(result, opcode_name(cdb))
        return data

    async def _carry_out(self, attempt: Attempt) -> None:
        outcome = await self._multipath.attempt(attempt)
        self.core.completed(attempt, outcome, self._loop.time())
        self.pump()

    def pump(self) -> None:
        """Do what the core wants by now. To be called whenever something was told to it."""
        core = self.core
        while (action := core.poll()) is not None:
            if isinstance(action, Notice):
                self._multipath.told(self, action)
                continue
            request = action.request if isinstance(action, Ended) else action.attempt.request
            turn = request.token
            if isinstance(turn, _Turn):
                if isinstance(action, Send):
                    turn.attempt = action.attempt
                turn.wake()
            elif isinstance(action, Send):
                task = self._loop.create_task(self._carry_out(action.attempt))
                self._own.add(task)
                task.add_done_callback(self._own.discard)
        deadline = core.next_deadline()
        if self._timer is not None:
            if deadline == self._timer.when():
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._due)

    def _due(self) -> None:
        self._timer = None
        self.core.handle_timer(self._loop.time())
        self.pump()

    def halt(self) -> None:
        """Nothing is begun by itself any more; what was comes to its end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._own:
            task.cancel()

    async def stop(self) -> None:
        """Nothing happens by itself any more."""
        self.halt()
        await asyncio.gather(*self._own, return_exceptions=True)


class _Session:
    """One session, and the devices that it is a path of, by its LUNs. on_event: takes what the client tells of it.

    A session that has several connections is lost with the last of them: what becomes of one alone is its own business.
    """

    def __init__(self, number: int, multipath: Multipath) -> None:
        self.number = number
        self.client: Client | None = None
        self.devices: dict[Lun, MultipathDevice] = {}
        self._lost = False
        self._multipath = multipath
        self._looking: asyncio.Task[None] | None = None

    def on_event(self, event: Event) -> None:
        """Take what the client's engine tells of the session."""
        if isinstance(event, SessionUp | ConnectionUp):
            if self._lost and self.devices and self._looking is None:
                self._looking = self._multipath.loop.create_task(self._look())
        elif isinstance(event, SessionLost) or (isinstance(event, ConnectionLost) and not self._has_connections):
            self._lost = True
            self.stop_looking()
            self._each(lambda device, now: device.core.path_down(self.number, now))
        elif isinstance(event, DeviceGone | SessionClosed):
            self._lost = True
            self.stop_looking()
            self._each(lambda device, now: device.core.path_gone(self.number, now))

    @property
    def _has_connections(self) -> bool:
        return self.client is not None and bool(self.client.connections)

    def _each(self, tell: Callable[[MultipathDevice, float], object]) -> None:
        now = self._multipath.loop.time()
        for device in self.devices.values():
            if self.number in device.core:
                tell(device, now)
                device.pump()

    def stop_looking(self) -> None:
        """Leave the logical units as they are."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look(self) -> None:
        """See what the logical units are now that the session is back, before anything is written to them."""
        for lun, device in list(self.devices.items()):
            found = await self._identity(lun)
            now = self._multipath.loop.time()
            if found is None:
                device.core.path_gone(self.number, now)
            else:
                device.core.path_up(self.number, found, now)
            device.pump()
        self._looking, self._lost = None, False

    async def _identity(self, lun: Lun) -> Identity | None:
        """The identifier, None where there is none any more; asked for until there is an answer, or the session is lost."""
        while self.client is not None:
            try:
                return await identity_of(self.client, lun)
            except (Refused, ScsiError):
                break
            except ClientError:
                await asyncio.sleep(ASK_AGAIN)
        return None

    async def close(self) -> None:
        """Log out."""
        self.stop_looking()
        self.devices.clear()
        if self.client is None:
            return
        try:
            async with asyncio.timeout(LOGOUT_TIME):
                await self.client.logout()
        except TimeoutError:
            self.client.abort()


class Multipath:
    """Sessions and the devices that they have in common. make: a device's core. told: hears what becomes of paths."""

    def __init__(self, make: Callable[[DeviceKey], Device], told: Told = lambda _device, _notice: None) -> None:
        self.loop = asyncio.get_running_loop()
        self.told = told
        self.devices: dict[DeviceKey, MultipathDevice] = {}
        self._aggregate = Aggregate(make)
        self._sessions: dict[int, _Session] = {}

    async def add(self, connect: Connect, luns: Sequence[int] | None = None) -> int:
        """Log in, find the logical units and add the session to their devices; the session's number.

        connect: makes the client, and gives it what it is called with as `on_event`. luns: those that are wanted, None for
        all that the target reports. Raises Refused as `Aggregate.found` and `identify`, SessionFailed, ScsiError,
        RequestFailed; the session is over then.
        """
        session = _Session(len(self._sessions) + 1, self)
        self._sessions[session.number] = session
        session.client = await connect(session.on_event)
        try:
            await self._find(session, session.client, luns)
        except BaseException:
            self._aggregate.session_ended(session.number, self.loop.time())
            await session.close()
            raise
        return session.number

    async def _find(self, session: _Session, client: Client, luns: Sequence[int] | None) -> None:
        if luns is None:
            luns = await _disks(client)
        for lun in luns:
            key = DeviceKey(client.options.target_name or "", await identity_of(client, lun))
            self._join(session, key, lun, client.options.connections)

    def _join(self, session: _Session, key: DeviceKey, lun: Lun, connections: int) -> MultipathDevice:
        core = self._aggregate.found(session.number, key, lun, connections, self.loop.time())
        device = self.devices.get(key)
        if device is None:
            device = self.devices[key] = MultipathDevice(key, core, self)
        session.devices[lun] = device
        device.pump()
        return device

    def join(self, number: int, client: Client, key: DeviceKey, lun: Lun, connections: int) -> MultipathDevice:
        """Add a logical unit of a session that somebody else made, as `Aggregate.found`; `tell` then has to be told what
        becomes of the session, and `leave` of its end. number: the session's, of the caller's choice. Raises Refused.
        """
        session = self._sessions.setdefault(number, _Session(number, self))
        session.client = client
        try:
            return self._join(session, key, lun, connections)
        finally:
            if not session.devices:
                del self._sessions[number]

    def tell(self, number: int, event: Event) -> None:
        """An event of a session, which may have joined nothing."""
        session = self._sessions.get(number)
        if session is not None:
            session.on_event(event)

    def leave(self, number: int) -> None:
        """A session is over, or is to be logged out: it is no path of anything any more."""
        session = self._sessions.pop(number, None)
        if session is not None:
            session.stop_looking()
            self._aggregate.session_ended(number, self.loop.time())
            for device in session.devices.values():
                device.pump()

    def forget(self, device: MultipathDevice) -> None:
        """Nobody needs a device that has no path."""
        device.halt()
        self._aggregate.forget(device.key)
        del self.devices[device.key]

    def lun_of(self, device: MultipathDevice) -> Lun:
        """The LUN of a device on its first path."""
        return next(
            lun for session in self._sessions.values() for lun, other in session.devices.items() if other is device
        )

    async def close(self) -> None:
        """Log out of all sessions. What still runs comes to nothing."""
        for device in self.devices.values():
            await device.stop()
        await asyncio.gather(*(session.close() for session in self._sessions.values()))

    async def attempt(self, attempt: Attempt) -> ScsiResult | Failure:
        """Carry out an attempt over its session."""
        session = self._sessions.get(attempt.path)
        if session is None or session.client is None:
            return Failure.NOT_CONNECTED
        request = attempt.request
        scsi = ScsiRequest(attempt.lun, request.cdb, data_in=request.data_in, data_out=request.data_out)
        try:
            result = await session.client.submit(scsi)
        except RequestFailed as error:
            return error.failure
        if not isinstance(result, ScsiResult):
            raise TypeError(f"a SCSI command ended with {result!r}")
        return result


async def _disks(client: Client) -> list[int]:
    """The LUNs behind which the target reports disks."""
    reported = [lun for lun in map(decode_lun, await client.report_luns()) if lun is not None]
    return [lun for lun in reported if (await client.inquiry(lun=lun))[:1] == _DISK]


async def identity_of(client: Client, lun: Lun, standard: bytes | None = None) -> Identity:
    """The device identifier of a logical unit. standard: its INQUIRY data, asked for where it is None. Raises Refused where
    there is no identifier, ScsiError, RequestFailed.
    """
    if standard is None:
        standard = await client.inquiry(lun=lun)
    if not standard or standard[0] >> 5 != PeripheralQualifier.CONNECTED:
        raise Refused(StatusCode.INVALID_PARAMETER, f"the target has no LUN {shown_lun(lun)}")
    try:
        supported = parse_vpd(await client.inquiry(VpdCode.SUPPORTED_PAGES, lun=lun)).body
    except ScsiError:
        supported = b""
    pages = [
        await client.inquiry(page, lun=lun, length=_PAGES_LENGTH) if page in supported else None
        for page in (VpdCode.DEVICE_IDENTIFICATION, VpdCode.UNIT_SERIAL_NUMBER)
    ]
    return identify(pages[0], pages[1], standard)


def shown_lun(lun: Lun) -> str:
    """A LUN as people read it: a number, the whole structure in hexadecimal where it is no plain one."""
    number = lun if isinstance(lun, int) else decode_lun(lun)
    return f"0x{bytes(lun).hex()}" if number is None else str(number)
