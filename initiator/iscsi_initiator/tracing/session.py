"""What is told of one session: its events, its TCP connections, and its PDUs by their headers, never by their data."""

from __future__ import annotations

import os
from collections.abc import Sequence

from iscsi_initiator.limits import Resource
from iscsi_initiator.requests import (
    AsyncReceived,
    ConnectionLost,
    ConnectionRemoved,
    ConnectionUp,
    DeviceGone,
    Event,
    EventLogged,
    SessionClosed,
    SessionLost,
    SessionUp,
)
from iscsi_initiator.tracing.flags import (
    DRIVER_PROBLEM,
    INFORMATION,
    MEMORY,
    RECURRING,
    REFCOUNT,
    TCP,
    WARNING,
    WMI_API,
)
from iscsi_initiator.tracing.teller import Teller
from iscsi_initiator.upcalls import UpCallWanted
from iscsi_protocol.eventlog.explain import summary
from iscsi_protocol.eventlog.headers import header_part
from iscsi_protocol.eventlog.rows import EVENTS
from iscsi_protocol.history import Endpoint
from iscsi_protocol.negotiation.parameters import OperationalParameters
from iscsi_protocol.pdu import BHS_LENGTH, Buffer, Opcode, RawPdu, padding_for

SHORTAGES = frozenset(resource.event for resource in Resource)
"""Events of the driver that tell that something ran short."""

_UNUSABLE_BUFFER = 56


class SessionTrace:
    """Tells of one session. name: what it is called in every message. Callers test `teller.level` first."""

    __slots__ = ("name", "teller")

    def __init__(self, teller: Teller, name: str) -> None:
        self.teller = teller
        self.name = name

    def _tell(self, flag: int, text: str) -> None:
        if self.teller.level & flag:
            self.teller.tell(flag, f"{self.name}: {text}")

    # The engine's events.

    def event(self, event: Event) -> None:
        """The engine told something."""
        if isinstance(event, EventLogged):
            self._logged(event)
        elif isinstance(event, SessionUp):
            again = "again, " if event.recovered else ""
            self._tell(INFORMATION, f"logged in, {again}TSIH {event.tsih}")
        elif isinstance(event, SessionLost):
            self._tell(WARNING, f"the session was lost: {event.reason}")
        elif isinstance(event, ConnectionLost):
            # One that was logged out has no reason.
            how = f"was lost: {event.reason}" if event.reason else "is closed"
            self._tell(WARNING if event.reason else INFORMATION, f"connection {event.cid} {how}")
        elif isinstance(event, ConnectionUp):
            self._tell(INFORMATION, f"connection {event.cid} is logged in, over TCP connection {event.connection}")
        elif isinstance(event, ConnectionRemoved):
            self._tell(INFORMATION, f"connection {event.cid} is no part of it any more: {event.reason}")
        elif isinstance(event, DeviceGone):
            self._tell(WARNING, "it did not come back in time; requests fail")
        elif isinstance(event, SessionClosed):
            self._tell(INFORMATION, f"over{f': {event.reason}' if event.reason else ''}")
        elif isinstance(event, AsyncReceived):
            self._tell(INFORMATION, f"asynchronous message {event.event}, {len(event.data)} bytes of data")
        elif isinstance(event, UpCallWanted):
            self._tell(WMI_API, f"the driver asks the service to {event.kind.words} (up-call {event.token})")

    def _logged(self, event: EventLogged) -> None:
        row = EVENTS[event.id]
        flag = MEMORY if event.id in SHORTAGES or event.id == _UNUSABLE_BUFFER else DRIVER_PROBLEM
        said = f" ({event.text})" if event.text else ""
        self._tell(flag, f"event {event.id}, {row.severity.name.lower()}: {row.message}{said}")

    def answered(self, token: int, *, refused: bool) -> None:
        """The service answered an up-call. With what is nobody's concern: it may be a secret."""
        self._tell(WMI_API, f"up-call {token} is {'refused' if refused else 'answered'}")

    def agreed(self, parameters: OperationalParameters) -> None:
        """What the session agreed on at its login."""
        digests = (parameters.header_digest, parameters.data_digest)
        self._tell(
            INFORMATION,
            f"recovery level {parameters.error_recovery_level}, {parameters.max_connections} connections at most, "
            f"header and data digest {'/'.join('on' if each else 'off' for each in digests)}, first burst "
            f"{parameters.first_burst_length}, burst {parameters.max_burst_length}",
        )

    # TCP.

    def connecting(self, connection: int, endpoint: Endpoint, source: Endpoint | None) -> None:
        """A TCP connection is being made."""
        begins = f" from {source}" if source is not None else ""
        self._tell(TCP, f"TCP connection {connection}: connecting to {endpoint}{begins}")

    def connected(self, connection: int, local: Endpoint, remote: Endpoint, count: int) -> None:
        """It is up. count: how many there are now."""
        self._tell(TCP, f"TCP connection {connection}: up, {local} to {remote}")
        self._tell(REFCOUNT, f"TCP connection {connection} begins to hold the session; {count} do")

    def not_connected(self, connection: int, why: str) -> None:
        """It did not come up."""
        self._tell(TCP, f"TCP connection {connection}: not made ({why})")

    def ended(self, connection: int, how: str, count: int) -> None:
        """It was up, and is not any more. count: how many there are left."""
        self._tell(TCP, f"TCP connection {connection}: {how}")
        self._tell(REFCOUNT, f"TCP connection {connection} lets go of the session; {count} hold it")

    def send_failed(self, connection: int, error: int) -> None:
        """The system did not take bytes. error: its errno."""
        self._tell(TCP, f"TCP connection {connection}: not sent ({os.strerror(error)})")

    def sent(self, connection: int, buffers: Sequence[Buffer], *, blocked: bool) -> None:
        """Buffers were handed to the network. blocked: it did not take them all at once."""
        self._tell(TCP, f"TCP connection {connection}: {sum(map(len, buffers))} bytes sent")
        if blocked:
            self._tell(MEMORY, f"TCP connection {connection}: the network takes no more; bytes wait in buffers")

    # PDUs: see `PduWatch`.

    @property
    def wants_pdus(self) -> bool:
        """Whether each PDU is told of."""
        return bool(self.teller.level & RECURRING)

    def received(self, connection: int, raw: RawPdu) -> None:
        """A PDU came."""
        self._pdu(f"TCP connection {connection} <-", bytes(raw.bhs))

    def sending(self, connection: int, buffers: Sequence[Buffer], *, header_digest: bool, data_digest: bool) -> None:
        """The buffers of whole PDUs are on their way; login requests have no digests."""
        place = 0
        while place < len(buffers):
            header = bytes(buffers[place])
            if len(header) != BHS_LENGTH:
                self._tell(RECURRING, f"TCP connection {connection} -> bytes that are no PDU")
                return
            self._pdu(f"TCP connection {connection} ->", header)
            login = header[0] & 0x3F == Opcode.LOGIN_REQUEST
            data = int.from_bytes(header[5:8], "big")
            left = BHS_LENGTH + header[4] * 4 + data + padding_for(data)
            if not login:
                left += (4 if header_digest else 0) + (4 if data_digest and data else 0)
            while left > 0 and place < len(buffers):
                left -= len(buffers[place])
                place += 1

    def _pdu(self, way: str, header: bytes) -> None:
        self._tell(RECURRING, f"{way} {summary([header_part(header)])}")
