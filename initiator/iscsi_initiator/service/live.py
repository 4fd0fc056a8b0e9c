"""A session that the service has: its ids, its connections, and the SCSI commands of the management interface over it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from iscsi_initiator.client import Client
from iscsi_initiator.client.errors import ConnectionFailed, RequestFailed
from iscsi_initiator.discovery.merging import Options
from iscsi_initiator.failures import SCSI_STATUSES, SEND_FAILED_EVENT, refusal_of
from iscsi_initiator.requests import EventLogged, ScsiRequest, ScsiResult
from iscsi_initiator.service import api
from iscsi_initiator.service.devices import Device
from iscsi_initiator.service.ipsec import Wish
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import LunMapping, Portal
from iscsi_protocol.history import Endpoint
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.capacity import CAPACITY_10_LIMIT, ReadCapacity10, ReadCapacity16, parse_luns
from iscsi_protocol.scsi.cdb import opcode_name
from iscsi_protocol.scsi.codes import SenseKey
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import Status, status_name

UNIT_ATTENTIONS = 8
"""How many unit attention conditions in a row are taken note of."""

FULL_RETRIES = 3
"""How often a command is repeated that a full task set or a busy unit refused."""

FULL_DELAY = 1.0
"""Seconds before each of them."""

_REPORT_LUNS_LENGTH = 4096
_CONNECTION_SHIFT = 16


@dataclass
class LiveSession:
    """client: set once it is logged in. initiator: the instance's name; options, ipsec: what it was logged in with.

    devices: its LUNs, where they are reported to the system; mappings: where they appear, or would. booted: the
    firmware's table asked for it.
    """

    session_id: str
    prefix: str
    number: int
    target_name: str
    initiator: str
    port: int | None
    portal: Portal
    options: Options
    report_to_pnp: bool
    isid: bytes
    group_tag: int | None
    node_name: str
    ipsec: Wish
    mappings: tuple[LunMapping, ...] = ()
    devices: list[Device] = field(default_factory=list)
    busy: bool = False
    send_failed: bool = False
    booted: bool = False
    _client: Client | None = None

    @property
    def client(self) -> Client:
        """What the session is driven by. Raises Refused while it is not logged in."""
        if self._client is None:
            raise Refused(StatusCode.INVALID_SESSION_ID, f"session {self.session_id} is not logged in yet")
        return self._client

    @client.setter
    def client(self, client: Client) -> None:
        self._client = client

    @property
    def usid(self) -> int:
        """The second half of its id, by which management data names it."""
        return int(self.session_id.partition("-")[2], 16)

    # Connections.

    def connection_id(self, cid: int) -> str:
        """The id of a connection."""
        return f"{self.prefix}-{self.unique_connection_id(cid):x}"

    def unique_connection_id(self, cid: int) -> int:
        """The second half of a connection's id."""
        return self.number << _CONNECTION_SHIFT | cid

    def cid_of(self, connection_id: str) -> int:
        """The CID behind an id. Raises Refused INVALID_CONNECTION_ID."""
        for cid in self.client.connections:
            if self.connection_id(cid) == connection_id:
                return cid
        raise Refused(StatusCode.INVALID_CONNECTION_ID, f"the session has no connection {connection_id}")

    def connections(self) -> tuple[api.ConnectionEntry, ...]:
        """Those in full feature phase; none while the session is being tried again."""
        entries = []
        for cid in self.client.connections:
            local, remote = self.client.ends_of(cid)
            entries.append(
                api.ConnectionEntry(
                    connection_id=self.connection_id(cid),
                    cid=cid,
                    initiator_portal=None if local is None else _portal(local),
                    target_portal=_portal(remote),
                )
            )
        return tuple(entries)

    async def add_connection(self, portal: Endpoint | None) -> str:
        """Add a connection; its id. Raises Refused."""
        try:
            return self.connection_id(await self.client.add_connection(portal))
        except ConnectionFailed as error:
            raise refusal_of(error) from error

    async def remove_connection(self, connection_id: str) -> None:
        """Log a connection out. Raises Refused."""
        try:
            await self.client.remove_connection(self.cid_of(connection_id))
        except ConnectionFailed as error:
            raise refusal_of(error) from error

    # SCSI.

    def heard(self, event: EventLogged) -> None:
        """The driver logged an event about the session."""
        if event.id == SEND_FAILED_EVENT:
            self.send_failed = True

    async def inquiry(self, lun: int, evpd_cmddt: int = 0, page: int = 0, length: int = 0xFF) -> bytes:
        """INQUIRY data. lun: the LUN structure as a number. Raises Refused."""
        cdb = bytearray(opcodes.INQUIRY.build(page_code=page, allocation_length=length))
        cdb[1] |= evpd_cmddt
        return await self._command(lun, bytes(cdb), length)

    async def read_capacity(self, lun: int) -> tuple[int, int]:
        """The last block's address, and the bytes of a block. Raises Refused."""
        ten = ReadCapacity10.parse(_whole(await self._command(lun, opcodes.READ_CAPACITY_10.build(), 8), 8))
        if ten.last_lba != CAPACITY_10_LIMIT:
            return ten.last_lba, ten.block_length
        cdb = opcodes.READ_CAPACITY_16.build(allocation_length=32)
        sixteen = ReadCapacity16.parse(_whole(await self._command(lun, cdb, 32), 32))
        return sixteen.last_lba, sixteen.block_length

    async def report_luns(self) -> list[int]:
        """The LUN structures as numbers, in the target's order. Raises Refused."""
        length = _REPORT_LUNS_LENGTH
        while True:
            cdb = opcodes.REPORT_LUNS.build(allocation_length=length)
            needed, luns = parse_luns(await self._command(0, cdb, length))
            if needed + 8 <= length:
                return [int.from_bytes(lun, "big") for lun in luns]
            length = needed + 8

    async def bring_online(self, lun: int) -> None:
        """Have a unit that is not ready started. Raises Refused where it does not start."""
        try:
            await self._command(lun, opcodes.TEST_UNIT_READY.build(), 0)
        except api.RequestFailed as error:
            sense = parse_sense(error.failure.sense)
            if sense is None or sense.key != SenseKey.NOT_READY:
                raise
            await self._command(lun, opcodes.START_STOP_UNIT.build(start=1), 0)

    async def _command(self, lun: int, cdb: bytes, length: int) -> bytes:
        """The data of a command that ends with GOOD. Raises Refused: SESSION_BUSY, TRANSPORT_ERROR, SEND_FAILED,
        SCSI_REQUEST_FAILED, TARGET_OUT_OF_RESORCES.
        """
        if self.busy:
            raise Refused(StatusCode.SESSION_BUSY, f"session {self.session_id} does another request")
        if not self.client.connections:
            raise Refused(StatusCode.TRANSPORT_ERROR, f"session {self.session_id} is not connected")
        self.busy, self.send_failed = True, False
        try:
            return await self._repeated(lun, cdb, length)
        except RequestFailed as error:
            refused = refusal_of(error)
            if self.send_failed and refused.status is StatusCode.TRANSPORT_ERROR:
                raise Refused(StatusCode.SEND_FAILED, refused.reason) from error
            raise refused from error
        finally:
            self.busy = False

    async def _repeated(self, lun: int, cdb: bytes, length: int) -> bytes:
        attentions, full = UNIT_ATTENTIONS, FULL_RETRIES
        while True:
            request = ScsiRequest(lun.to_bytes(8, "big"), cdb, data_in=length, management=True, hold=False)
            result = await self.client.submit(request)
            if not isinstance(result, ScsiResult):
                raise TypeError(f"a SCSI command ended with {result!r}")
            if result.status == Status.GOOD and not result.response:
                return bytes(memoryview(request.data_in)[: result.received])
            sense = parse_sense(result.sense)
            if sense is not None and sense.key == SenseKey.UNIT_ATTENTION and attentions:
                attentions -= 1
            elif result.status in (Status.TASK_SET_FULL, Status.BUSY) and full:
                full -= 1
                await asyncio.sleep(FULL_DELAY)
            else:
                raise _failed(result, cdb)

    async def logout(self) -> None:
        """Log out."""
        await self.client.logout()


def _failed(result: ScsiResult, cdb: bytes) -> api.RequestFailed:
    sense = parse_sense(result.sense)
    said = f"iSCSI response {result.response:#04x}" if result.response else status_name(result.status)
    return api.RequestFailed(
        api.Failure(
            status=SCSI_STATUSES.get(result.status, StatusCode.SCSI_REQUEST_FAILED),
            message=f"{opcode_name(cdb)}: {said}" + (f" ({sense})" if sense else ""),
            scsi_status=result.status,
            sense=result.sense,
        )
    )


def _whole(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise Refused(StatusCode.SCSI_REQUEST_FAILED, f"{len(data)} bytes of data where there are {length}")
    return data


def _portal(endpoint: Endpoint) -> Portal:
    return Portal(address=endpoint.host, port=endpoint.port)
