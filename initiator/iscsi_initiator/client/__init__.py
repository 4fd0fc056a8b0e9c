"""The initiator for programs: one session to a target over asyncio, with as many requests at once as one likes.

async with await Client.connect("iscsi://127.0.0.1/iqn.2026-01.org.example:disk/1") as client:
    data = await client.read(0, 8)
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any, Self

from iscsi_initiator.client.cdbs import read_cdb, write_cdb
from iscsi_initiator.client.driver import Driver
from iscsi_initiator.client.errors import ClientError, ConnectionFailed, RequestFailed, ScsiError, SessionFailed
from iscsi_initiator.client.service import Service
from iscsi_initiator.counters import NodeCounters
from iscsi_initiator.engine import InitiatorEngine
from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.multipath import LoadBalance, Path
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.requests import (
    ConnectionRemoved,
    ConnectionUp,
    Event,
    EventLogged,
    Ping,
    PingResult,
    Request,
    RequestDone,
    ScsiRequest,
    ScsiResult,
    SessionClosed,
    SessionLost,
    SessionUp,
    TaskManagement,
    TaskManagementResult,
    TextNegotiation,
    TextResult,
)
from iscsi_initiator.session import Session
from iscsi_initiator.settings import NO_DIGEST, ChapOptions, SessionOptions, Settings
from iscsi_initiator.tracing.session import SessionTrace
from iscsi_initiator.transport import Connector, TappedConnector, TcpConnector
from iscsi_initiator.url import IscsiUrl, parse_url
from iscsi_protocol.chap import Hasher, hashlib_hasher
from iscsi_protocol.fault import Fault
from iscsi_protocol.history import Endpoint, SettingsRecord, Tap
from iscsi_protocol.identity import Isid
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import Buffer, Opcode
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.capacity import CAPACITY_10_LIMIT, ReadCapacity10, ReadCapacity16, parse_luns
from iscsi_protocol.scsi.cdb import opcode_name
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import Status

__all__ = [
    "Client",
    "ClientError",
    "ConnectionFailed",
    "Driver",
    "RequestFailed",
    "ScsiError",
    "Service",
    "SessionFailed",
]

REQUEST_OPCODES: Mapping[type[Request], Opcode] = MappingProxyType(
    {
        ScsiRequest: Opcode.SCSI_COMMAND,
        TaskManagement: Opcode.TASK_MANAGEMENT_REQUEST,
        Ping: Opcode.NOP_OUT,
        TextNegotiation: Opcode.TEXT_REQUEST,
    }
)
"""The PDU that carries a request."""

_UNIT_ATTENTIONS = 8
"""How many unit attention conditions in a row are taken note of before a command is given up."""


class Client:
    """One session. Made by `connect`. on_event, when set, sees every event of the engine."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        options: SessionOptions,
        lun: int,
        *,
        hasher: Hasher = hashlib_hasher,
        counters: NodeCounters | None = None,
        trace: SessionTrace | None = None,
    ) -> None:
        self.settings = settings
        self.options = options
        self.lun = lun
        self.engine = InitiatorEngine(
            settings, random_bytes=secrets.token_bytes, policy=policy, hasher=hasher, counters=counters, watch=trace
        )
        self.on_event: Callable[[Event], None] | None = None
        self.events: list[EventLogged] = []
        self.recoveries = 0
        self.closed: SessionClosed | None = None
        self._driver: Driver | None = None
        self._own_connector: TcpConnector | None = None
        self._log: EventLogWriter | None = None
        self._tap: Tap | None = None
        self._session = 0
        self._up: asyncio.Future[None] | None = None
        self._over = asyncio.Event()
        self._waiting: dict[Request, asyncio.Future[None]] = {}
        self._moving: list[tuple[int, asyncio.Future[Event]]] = []
        self._geometry: tuple[int, int] | None = None

    @classmethod
    async def connect(
        cls,
        where: str | IscsiUrl | Endpoint,
        *,
        target_name: str | None = None,
        lun: int | None = None,
        settings: Settings | None = None,
        chap: ChapOptions | None = None,
        header_digest: tuple[str, ...] = NO_DIGEST,
        data_digest: tuple[str, ...] = NO_DIGEST,
        isid: bytes | None = None,
        options: SessionOptions | None = None,
        connector: Connector | None = None,
        policy: Policy = CONFORMING,
        tap: Tap | None = None,
        faults: Sequence[Fault] = (),
        clock: Callable[[], float] | None = None,
        event_log: EventLogWriter | None = None,
        on_event: Callable[[Event], None] | None = None,
        service: Service | None = None,
        hasher: Hasher = hashlib_hasher,
        counters: NodeCounters | None = None,
        trace: SessionTrace | None = None,
    ) -> Self:
        """Log in. where: URL, or portal with target_name beside it; without a target's name a discovery session is made.

        isid: one of the random kind where it is None, so that clients do not reinstate each other's sessions (6.3.5).
        options: instead of all that they say. connector: TCP where it is None. tap: takes the history. event_log: takes
        the driver's events. service: answers the driver's up-calls; where it is None each is refused. hasher: what this
        host hashes with for CHAP. counters: of the initiator, which clients may share. trace: is told
        what happens. Raises UrlError, SessionFailed.
        """
        url = parse_url(where) if isinstance(where, str) else where
        if isinstance(url, Endpoint):
            url = IscsiUrl(portal=url, target_name=target_name, lun=lun)
        settings = settings or Settings()
        options = options or SessionOptions(
            portal=url.portal,
            target_name=target_name or url.target_name,
            chap=chap,
            header_digest=header_digest,
            data_digest=data_digest,
            isid=bytes(Isid.draw(secrets.token_bytes)) if isid is None else isid,
        )
        client = cls(
            settings,
            policy,
            options,
            (url.lun or 0) if lun is None else lun,
            hasher=hasher,
            counters=counters,
            trace=trace,
        )
        client._log = event_log
        client._tap = tap
        client.on_event = on_event
        if connector is None:
            connector = client._own_connector = TcpConnector(
                connect_time=settings.tcp_connect_time, disconnect_time=settings.tcp_disconnect_time
            )
        if tap is not None or faults:
            connector = TappedConnector(connector, tap=tap, faults=faults, clock=clock)
        driver = client._driver = Driver(client.engine, connector, client._take, clock, service, trace)
        if tap is not None:
            tap(SettingsRecord(driver.clock(), {**settings.declared(), **options.declared()}))
        client._up = asyncio.get_running_loop().create_future()
        client._session = client.engine.open_session(options, driver.clock())
        driver.pump()
        try:
            await client._up
        except BaseException:
            driver.stop()
            await client._finish()
            raise
        return client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.logout()
        else:
            self.abort()

    @property
    def driver(self) -> Driver:
        """The pump below."""
        if self._driver is None:
            raise RuntimeError("a Client is made by connect()")
        return self._driver

    @property
    def parameters(self) -> OperationalParameters:
        """What was agreed on."""
        return self.engine.parameters(self._session)

    @property
    def tsih(self) -> int:
        """The session's handle at the target."""
        return self.engine.session(self._session).tsih

    @property
    def connections(self) -> tuple[int, ...]:
        """The CIDs of the connections that are in full feature phase."""
        session = self.engine.session(self._session)
        return tuple(cid for cid, connection in session.connections.items() if connection.up)

    def ends_of(self, cid: int) -> tuple[Endpoint | None, Endpoint]:
        """Where a connection begins, None while it is not up, and the portal that it goes to. Raises KeyError."""
        connection = self.engine.session(self._session).connections[cid]
        local = None if connection.number is None else self.driver.local_of(connection.number)
        return local, connection.portal

    @property
    def leading(self) -> int | None:
        """The CID of the leading connection; None while the session has none."""
        return next(iter(self.engine.session(self._session).connections), None)

    @property
    def device_gone(self) -> bool:
        """Whether requests fail at once, because the session did not come back in time."""
        return self.engine.session(self._session).device_gone

    async def add_connection(self, portal: Endpoint | None = None) -> int:
        """Add a connection, to this portal or the next of options.portals; its CID once it is up. Raises Refused,
        ConnectionFailed.
        """
        cid = self.engine.add_connection(self._session, portal, self.driver.clock())
        await self._connection_over(cid, ConnectionUp)
        return cid

    async def remove_connection(self, cid: int) -> None:
        """Log a connection out and be rid of it. Raises Refused."""
        self.engine.remove_connection(self._session, cid, self.driver.clock())
        await self._connection_over(cid, ConnectionRemoved)

    def set_load_balance(self, policy: LoadBalance, paths: Sequence[Path] = ()) -> None:
        """Spread requests by another policy from now on. paths: one a connection, by CID; empty for all alike. Raises
        Refused.
        """
        self.engine.set_load_balance(self._session, policy, paths, self.driver.clock())

    def set_multipath(self) -> None:
        """Other sessions reach the target as well: LinkDownTime holds requests in the place of MaxRequestHoldTime."""
        self.engine.set_multipath(self._session)

    async def _connection_over(self, cid: int, wanted: type[ConnectionUp | ConnectionRemoved]) -> None:
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        waits = (cid, future)
        self._moving.append(waits)
        self.driver.pump()
        try:
            event = await future
        finally:
            self._moving.remove(waits)
        if not isinstance(event, wanted):
            raise ConnectionFailed(cid, event if isinstance(event, ConnectionRemoved | SessionClosed) else None)

    @property
    def session(self) -> Session:
        """The session, to look at."""
        return self.engine.session(self._session)

    def use_lun(self, lun: int) -> None:
        """Address another LUN from now on."""
        self.lun = lun
        self._geometry = None

    # Requests.

    async def submit(self, request: Request) -> object:
        """Have a request done, and give its result. Raises RequestFailed. When cancelled, the request is aborted."""
        future = self._begin(request)
        try:
            await future
        except asyncio.CancelledError:
            self._give_up(request)
            raise
        if request.failure is not None:
            raise RequestFailed(request.failure, _what(request))
        return request.result

    def _begin(self, request: Request) -> asyncio.Future[None]:
        """Hand a request over; the future tells when it is done."""
        driver = self._driver or self.driver
        future = self._waiting[request] = driver.loop.create_future()
        if self._tap is not None:
            self._declare(request)
        self.engine.submit(self._session, request, driver.clock())
        if not driver.pumps_soon:
            driver.pump_soon()
        return future

    def _give_up(self, request: Request) -> None:
        self._waiting.pop(request, None)
        self.engine.cancel(request, self.driver.clock())
        self.driver.pump()

    def _declare(self, request: Request) -> None:
        """Have the history tell what no PDU does: that a request has a time-out of its own, or is the management's."""
        management = isinstance(request, ScsiRequest) and request.management
        opcode = REQUEST_OPCODES.get(type(request))
        if self._tap is None or opcode is None or (request.timeout is None and not management):
            return
        cdb = request.cdb.hex() if isinstance(request, ScsiRequest) else None
        said = {"Opcode": int(opcode), "CDB": cdb, "Timeout": request.timeout, "Management": management}
        self._tap(SettingsRecord(self.driver.clock(), {"Request": said}))

    async def execute(
        self,
        cdb: bytes,
        *,
        data_in: int | bytearray | memoryview = 0,
        data_out: Buffer = b"",
        lun: int | bytes | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - the initiator's own, with its escalation
        management: bool = False,
    ) -> tuple[ScsiResult, memoryview]:
        """A SCSI command as it is: its result whatever the status, and the data that came. Raises RequestFailed."""
        request = ScsiRequest(
            self.lun if lun is None else lun,
            cdb,
            data_in=data_in,
            data_out=data_out,
            timeout=timeout,
            management=management,
        )
        result = await self.submit(request)
        if not isinstance(result, ScsiResult):
            raise TypeError(f"a SCSI command ended with {result!r}")
        return result, memoryview(request.data_in)[: result.received]

    async def command(
        self,
        cdb: bytes,
        *,
        data_in: int | bytearray | memoryview = 0,
        data_out: Buffer = b"",
        lun: int | bytes | None = None,
    ) -> memoryview:
        """A SCSI command that is to end with GOOD: the data that came. Unit attention conditions are taken note of, and the
        command is repeated. Raises ScsiError, RequestFailed.
        """
        for _ in range(_UNIT_ATTENTIONS):
            result, data = await self.execute(cdb, data_in=data_in, data_out=data_out, lun=lun)
            if result.status == Status.GOOD and not result.response:
                return data
            sense = parse_sense(result.sense)
            if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
                break
        raise ScsiError(result, opcode_name(cdb))

    async def inquiry(self, page: int | None = None, *, lun: int | bytes | None = None, length: int = 255) -> bytes:
        """Standard INQUIRY data, or that of a vital product data page."""
        cdb = opcodes.INQUIRY.build(evpd=0 if page is None else 1, page_code=page or 0, allocation_length=length)
        return bytes(await self.command(cdb, data_in=length, lun=lun))

    async def report_luns(self) -> list[bytes]:
        """The 8-byte LUN structures of the target."""
        length = 4096
        cdb = opcodes.REPORT_LUNS.build(allocation_length=length)
        return parse_luns(await self.command(cdb, data_in=length, lun=0))[1]

    async def capacity(self) -> tuple[int, int]:
        """(blocks, bytes in a block) of the LUN; asked once."""
        if self._geometry is None:
            ten = ReadCapacity10.parse(await self.command(opcodes.READ_CAPACITY_10.build(), data_in=8))
            last, size = ten.last_lba, ten.block_length
            if last == CAPACITY_10_LIMIT:
                cdb = opcodes.READ_CAPACITY_16.build(allocation_length=32)
                sixteen = ReadCapacity16.parse(await self.command(cdb, data_in=32))
                last, size = sixteen.last_lba, sixteen.block_length
            self._geometry = (last + 1, size)
        return self._geometry

    async def read(self, lba: int, blocks: int) -> bytearray:
        """Blocks, in commands of at most MaxTransferLength bytes. Raises ScsiError, RequestFailed."""
        _, size = await self.capacity()
        data = bytearray(blocks * size)
        await self.read_into(lba, memoryview(data))
        return data

    def read_into(self, lba: int, buffer: memoryview) -> Coroutine[Any, Any, None]:
        """Fill a buffer, a multiple of the block size long, with the blocks from lba on."""
        # What is awaited here is the transfer itself: one coroutine less to go through for every read.
        blocks = self._in_one(len(buffer))
        return self._transfer(read_cdb(lba, blocks), data_in=buffer) if blocks else self._read_pieces(lba, buffer)

    async def _read_pieces(self, lba: int, buffer: memoryview) -> None:
        pieces = await self._pieces(lba, len(buffer))
        await _together(
            self.command(read_cdb(at, count), data_in=buffer[start:stop]) for at, count, start, stop in pieces
        )

    def write(self, lba: int, data: Buffer) -> Coroutine[Any, Any, None]:
        """Write data, a multiple of the block size long, from lba on. Raises ScsiError, RequestFailed."""
        view = memoryview(data)
        blocks = self._in_one(len(view))
        return self._transfer(write_cdb(lba, blocks), data_out=view) if blocks else self._write_pieces(lba, view)

    async def _write_pieces(self, lba: int, view: memoryview) -> None:
        pieces = await self._pieces(lba, len(view))
        await _together(
            self.command(write_cdb(at, count), data_out=view[start:stop]) for at, count, start, stop in pieces
        )

    async def _transfer(self, cdb: bytes, *, data_in: memoryview | int = 0, data_out: Buffer = b"") -> None:
        """As `command`, in as few steps as can be where all goes well."""
        request = ScsiRequest(self.lun, cdb, data_in=data_in, data_out=data_out)
        try:
            await self._begin(request)
        except asyncio.CancelledError:
            self._give_up(request)
            raise
        result = request.result
        if request.failure is not None:
            raise RequestFailed(request.failure, _what(request))
        if result.status or result.response:
            sense = parse_sense(result.sense)
            if sense is None or sense.key != SenseKey.UNIT_ATTENTION:
                raise ScsiError(result, opcode_name(cdb))
            await self.command(cdb, data_in=data_in, data_out=data_out)

    async def flush(self) -> None:
        """SYNCHRONIZE CACHE over the whole LUN."""
        await self.command(opcodes.SYNCHRONIZE_CACHE_10.build())

    def _in_one(self, length: int) -> int:
        """How many blocks they are where one command moves `length` bytes; 0 where that cannot be said at once."""
        if self._geometry is None or length > self.settings.max_transfer_length:
            return 0
        size = self._geometry[1]
        return 0 if length % size else length // size

    async def _pieces(self, lba: int, length: int) -> list[tuple[int, int, int, int]]:
        """(lba, blocks, start, stop) of each command that moves `length` bytes."""
        _, size = await self.capacity()
        if length % size:
            raise ValueError(f"{length} bytes are no whole number of blocks of {size} bytes")
        step = max(1, self.settings.max_transfer_length // size) * size
        return [
            (lba + start // size, (min(start + step, length) - start) // size, start, min(start + step, length))
            for start in range(0, length, step)
        ]

    async def task_management(
        self, function: int, lun: int | bytes | None = None, referenced: ScsiRequest | None = None
    ) -> int:
        """The response code of a task management function. Raises RequestFailed."""
        request = TaskManagement(function, self.lun if lun is None else lun, referenced)
        result = await self.submit(request)
        return result.response if isinstance(result, TaskManagementResult) else -1

    async def ping(self, data: bytes = b"") -> PingResult:
        """A NOP-Out and its answer. Raises RequestFailed."""
        result = await self.submit(Ping(data))
        if not isinstance(result, PingResult):
            raise TypeError(f"a ping ended with {result!r}")
        return result

    async def send_targets(self, value: str = "All") -> list[tuple[str, list[str]]]:
        """(target name, its addresses) of each target. Raises RequestFailed."""
        result = await self.submit(TextNegotiation((("SendTargets", value),)))
        targets: list[tuple[str, list[str]]] = []
        for key, text in result.pairs if isinstance(result, TextResult) else ():
            if key == "TargetName":
                targets.append((text, []))
            elif key == "TargetAddress" and targets:
                targets[-1][1].append(text)
        return targets

    async def negotiate(self, *pairs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
        """A text negotiation in full feature phase; what the target answered. Raises RequestFailed."""
        result = await self.submit(TextNegotiation(pairs))
        return result.pairs if isinstance(result, TextResult) else ()

    async def logout(self) -> None:
        """Log out and be done."""
        if self.closed is None:
            self.engine.close_session(self._session, self.driver.clock())
            self.driver.pump()
            await self._over.wait()
        await self._finish()

    async def _finish(self) -> None:
        """Give the sockets back that were opened here, closed ones included, which wait for the target's FIN."""
        if self._own_connector is not None:
            await self._own_connector.finish()

    def abort(self) -> None:
        """Drop the connection without a word."""
        self.driver.stop()
        for future in self._waiting.values():
            future.cancel()

    # From the engine.

    def _take(self, event: Event) -> None:
        if isinstance(event, RequestDone):
            future = self._waiting.pop(event.request, None)
            if future is not None and not future.done():
                future.set_result(None)
        elif isinstance(event, EventLogged):
            self.events.append(event)
            if self._log is not None:
                self._log.attempt(event.id, event.extra, time.time(), event.text)
        elif event.session == self._session:
            self._of_session(event)
        if self.on_event is not None:
            self.on_event(event)

    def _of_session(self, event: Event) -> None:
        """What the engine tells of this client's session; it may have been asked for others besides."""
        if isinstance(event, SessionUp):
            if self._up is not None and not self._up.done():
                self._up.set_result(None)
        elif isinstance(event, SessionLost):
            self.recoveries += 1
        elif isinstance(event, ConnectionUp | ConnectionRemoved):
            self._moved(event, event.cid)
        elif isinstance(event, SessionClosed):
            self.closed = event
            self._over.set()
            for cid, _ in self._moving:
                self._moved(event, cid)
            if self._up is not None and not self._up.done():
                self._up.set_exception(SessionFailed(event))

    def _moved(self, event: Event, cid: int) -> None:
        for each, future in self._moving:
            if each == cid and not future.done():
                future.set_result(event)


def _what(request: Request) -> str:
    if isinstance(request, ScsiRequest):
        return opcode_name(request.cdb)
    return type(request).__name__


async def _together(commands: Iterable[Coroutine[None, None, memoryview]]) -> None:
    """All at once. The first error is raised as it is once all have ended: none may still write what its caller goes on to
    write anew.
    """
    for result in await asyncio.gather(*commands, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
