"""The case authors' instrument: one connection on which nothing is mended, sent or answered silently.

Whatever is given goes out, whatever comes is shown, wrong digests and unfinished PDUs included. The counters of RFC 7143
section 4.2.2 are plain attributes: `recv` follows them where the standard says so (`follow` off stops even that), sending
never touches them except through `next_itt` and `next_cmd_sn`. The one thing with steps of its own is the login, in
`raw_login`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from iscsi_initiator.raw_login import RAW_ISID, Authentication, Change, Pairs, RawLogin, accept_offers, log_in
from iscsi_initiator.raw_numbers import SessionNumbers, StatusNumbers
from iscsi_initiator.transport import Connector, TappedConnector, Transport
from iscsi_protocol import serial
from iscsi_protocol.fault import Fault
from iscsi_protocol.framing import Framer, HeaderDigestError
from iscsi_protocol.history import Endpoint, Tap, TransportEvent
from iscsi_protocol.pdu import Pdu, RawPdu, decode, encode
from iscsi_protocol.pdu.codes import LoginStatus, Opcode
from iscsi_protocol.pdu.numbering import carries_stat_sn, consumes_stat_sn

PATIENCE = 5.0
"""Seconds that `recv` waits unless told otherwise."""


class Digest(Enum):
    """What a sent PDU has where a digest belongs."""

    AS_AGREED = "as agreed"
    """The right one where the connection has digests; a RawPdu that brings bytes of its own keeps them."""
    RIGHT = "right"
    WRONG = "wrong"
    """One bit off, whether agreed or not."""
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Received:
    """A PDU that came: as bytes (marked where a digest is wrong), as message, and when on the connection's clock."""

    raw: RawPdu
    pdu: Pdu
    time: float


class PeerClosed(ConnectionError):
    """The peer ended the connection. how: FIN, RST or TIMED_OUT; remainder: bytes of a PDU that was never finished."""

    def __init__(self, how: TransportEvent, remainder: bytes) -> None:
        super().__init__(how, remainder)
        self.how = how
        self.remainder = remainder

    def __str__(self) -> str:
        rest = f" within a PDU, behind {len(self.remainder)} bytes of it" if self.remainder else ""
        return f"the peer closed the connection ({self.how.value}){rest}"


class SilentPeer(TimeoutError):
    """Nothing whole came in time. seconds: how long it was waited for; remainder: bytes of a PDU that came so far."""

    def __init__(self, seconds: float, remainder: bytes) -> None:
        super().__init__(seconds, remainder)
        self.seconds = seconds
        self.remainder = remainder

    def __str__(self) -> str:
        return f"the peer was silent for {self.seconds:g} s"


class RawConnection:
    """One connection to a portal; made by `open`.

    header_digest, data_digest: whether PDUs carry digests from here on, both ways; set by a login, or by the caller.
    cmd_sn: the next to use; exp_stat_sn: the next expected; exp_cmd_sn, max_cmd_sn: the latest from the target. Connections
    of one session have `numbers` in common; `status` is the connection's own.
    full_feature: set when a login completes; logins: how they went, the last one even when it was cut short.
    follow: whether `recv` follows the counters.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.follow = True
        self.full_feature = False
        self.numbers = SessionNumbers()
        self.status = StatusNumbers()
        self.closed: TransportEvent | None = None
        self._framer = Framer()
        self._transport: Transport | None = None
        self.logins: list[RawLogin] = []
        self._joined = False
        self._arrived = asyncio.Event()

    @classmethod
    async def open(
        cls,
        connector: Connector,
        endpoint: Endpoint,
        *,
        tap: Tap | None = None,
        faults: Sequence[Fault] = (),
        clock: Callable[[], float] | None = None,
        number: int = 1,
    ) -> RawConnection:
        """Connect. tap, faults and number (of the connection in the history) are for a connector that has none.

        clock: seconds, the loop's own where it is None. Raises ConnectFailed, BindFailed.
        """
        if tap is not None or faults:
            connector = TappedConnector(connector, tap=tap, faults=faults, clock=clock, first=number)
        connection = cls(asyncio.get_running_loop().time if clock is None else clock)
        connection.attach(await connector.connect(endpoint, connection))
        return connection

    def attach(self, transport: Transport) -> None:
        """Use this connection, whose receiver this object is."""
        self._transport = transport

    @property
    def transport(self) -> Transport:
        """The connection below."""
        if self._transport is None:
            raise RuntimeError("a RawConnection is made by open()")
        return self._transport

    @property
    def header_digest(self) -> bool:
        """Whether PDUs carry header digests, both ways, from the next one on."""
        return self._framer.header_digest

    @header_digest.setter
    def header_digest(self, on: bool) -> None:
        self._framer.header_digest = on

    @property
    def data_digest(self) -> bool:
        """Whether data segments carry digests, both ways, from the next one on."""
        return self._framer.data_digest

    @data_digest.setter
    def data_digest(self, on: bool) -> None:
        self._framer.data_digest = on

    def join(self, numbers: SessionNumbers) -> None:
        """Count together with the other connections of a session, before the login into it."""
        self.numbers = numbers
        self._joined = True

    @property
    def cmd_sn(self) -> int:
        """The CmdSN to use next; all connections of the session count it."""
        return self.numbers.cmd_sn

    @cmd_sn.setter
    def cmd_sn(self, number: int) -> None:
        self.numbers.cmd_sn = number

    @property
    def exp_cmd_sn(self) -> int:
        """The latest ExpCmdSN that the target told the session."""
        return self.numbers.exp_cmd_sn

    @property
    def max_cmd_sn(self) -> int:
        """The latest MaxCmdSN that the target told the session."""
        return self.numbers.max_cmd_sn

    @property
    def exp_stat_sn(self) -> int:
        """The ExpStatSN for what is sent now."""
        return self.status.told

    @exp_stat_sn.setter
    def exp_stat_sn(self, number: int) -> None:
        self.status.told = number

    def next_itt(self) -> int:
        """A task tag that the session has not used, from 1 on."""
        self.numbers.itt += 1
        return self.numbers.itt

    def next_cmd_sn(self) -> int:
        """The CmdSN for a numbered request, which is thereby used up."""
        used = self.cmd_sn
        self.cmd_sn = serial.add(used)
        return used

    def send(
        self,
        pdu: Pdu | RawPdu | bytes,
        *,
        header_digest: Digest = Digest.AS_AGREED,
        data_digest: Digest = Digest.AS_AGREED,
    ) -> RawPdu | None:
        """Send a message, a raw PDU, or any bytes, and say what went out (None for bytes).

        Raises ValueError for a message whose values do not fit their fields.
        """
        if isinstance(pdu, bytes):
            self.transport.write([pdu])
            return None
        raw = encode(pdu) if isinstance(pdu, Pdu) else replace(pdu)
        right = raw.with_digests(header=True, data=True)
        raw.header_digest = _digest(header_digest, raw.header_digest, right.header_digest, agreed=self.header_digest)
        raw.data_digest = _digest(data_digest, raw.data_digest, right.data_digest, agreed=self.data_digest)
        self.transport.write(raw.buffers())
        return raw

    async def recv(self, timeout: float = PATIENCE) -> Received:  # noqa: ASYNC109 - time is part of the answer
        """The next PDU. timeout: seconds.

        A wrong digest is a mark on the raw PDU; behind a wrong header digest the length in the header is trusted, and the
        data is not shown. Raises PeerClosed once everything that came before was taken, SilentPeer.
        """
        deadline = self.clock() + timeout
        while True:
            raw = self._next()
            if raw is not None:
                received = Received(raw, decode(raw), self.clock())
                if self.follow and not (raw.header_digest_error or raw.data_digest_error):
                    self._count(raw)
                return received
            if self.closed is not None:
                raise PeerClosed(self.closed, self._framer.remainder())
            self._arrived.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - self.clock())):
                    await self._arrived.wait()
            except TimeoutError:
                raise SilentPeer(timeout, self._framer.remainder()) from None

    async def wait_closed(self, timeout: float = PATIENCE) -> TransportEvent:  # noqa: ASYNC109 - as recv
        """How the peer ends the connection; PDUs that come before stay to be received. Raises SilentPeer."""
        deadline = self.clock() + timeout
        while self.closed is None:
            self._arrived.clear()
            try:
                async with asyncio.timeout(max(0.0, deadline - self.clock())):
                    await self._arrived.wait()
            except TimeoutError:
                raise SilentPeer(timeout, self._framer.remainder()) from None
        return self.closed

    async def login(
        self,
        keys: Pairs,
        *,
        chap: Authentication | None = None,
        first_stage: int | None = None,
        isid: bytes = RAW_ISID,
        tsih: int = 0,
        cid: int = 0,
        answers: Callable[[Pairs], Pairs] = accept_offers,
        change: Change | None = None,
        timeout: float = PATIENCE,  # noqa: ASYNC109 - as recv
    ) -> RawLogin:
        """Walk the login stages and say how it went.

        keys: all pairs of ours; in the security stage only those that it admits are sent, the others wait. chap: a
        ChapInitiator, whose AuthMethod offer must not be among the keys. first_stage: CSG of the first request; the
        security stage when something is said of AuthMethod, else the operational one. answers: what to say to keys that
        the target offers unasked. change: see `raw_login.Change`. timeout: seconds for each response.

        The walk ends at the final response, at a status other than success, or at a PDU that is no Login Response. In the
        first case digests are switched as agreed. Raises PeerClosed, SilentPeer and what `chap` raises; `logins[-1]` then
        has what came before.
        """
        self.logins.append(RawLogin())
        return await log_in(
            self,
            keys,
            chap=chap,
            first_stage=first_stage,
            isid=isid,
            tsih=tsih,
            cid=cid,
            answers=answers,
            change=change,
            timeout=timeout,
        )

    def enter_full_feature(self, login: RawLogin) -> None:
        """Switch to what a login agreed on: digests from the next PDU on."""
        self.full_feature = True
        self.header_digest = login.agreed("HeaderDigest") == "CRC32C"
        self.data_digest = login.agreed("DataDigest") == "CRC32C"

    def close(self) -> None:
        """End the connection with FIN. What came before can still be received."""
        if self.closed is None:
            self._end(TransportEvent.CLOSED_BY_US)
            self.transport.close()

    def abort(self) -> None:
        """End the connection with RST."""
        if self.closed is None:
            self._end(TransportEvent.CLOSED_BY_US)
            self.transport.abort()

    def room(self) -> memoryview | None:
        """See `Receiver`. None: every bit is kept."""
        return None

    def data_received(self, view: memoryview, placed: int = 0) -> None:
        """See `Receiver`."""
        self._framer.receive(bytes(view))
        self._arrived.set()

    def connection_lost(self, reason: TransportEvent) -> None:
        """See `Receiver`."""
        self._end(reason)

    def send_failed(self, error: int) -> None:
        """See `Receiver`. The end that follows tells as much."""

    def writable(self) -> None:
        """See `Receiver`. Whatever is given was sent before."""

    def _end(self, reason: TransportEvent) -> None:
        self.closed = reason
        self._arrived.set()

    def _next(self) -> RawPdu | None:
        try:
            raw = self._framer.next_pdu()
        except HeaderDigestError as error:
            self._framer.skip()
            raw = error.raw
        return None if raw is None else raw.kept()

    def _count(self, raw: RawPdu) -> None:
        """Follow the counters (4.2.2.1, 4.2.2.2; 11.13.5 for a refused login)."""
        if raw.opcode == Opcode.LOGIN_RESPONSE and raw.bhs[36] != LoginStatus.SUCCESS >> 8:
            return
        login = raw.opcode == Opcode.LOGIN_RESPONSE
        if carries_stat_sn(raw):
            stat_sn = int.from_bytes(raw.bhs[24:28], "big")
            if login:
                self.status.begin(stat_sn)
            if consumes_stat_sn(raw):
                self.status.came(stat_sn)
        window = int.from_bytes(raw.bhs[28:32], "big"), int.from_bytes(raw.bhs[32:36], "big")
        if login and not self._joined:
            self.numbers.begin(*window)
        else:
            self.numbers.heard(*window)


def _digest(mode: Digest, own: bytes | bytearray | memoryview, right: object, *, agreed: bool) -> bytes:
    word = right if isinstance(right, bytes) else b""
    match mode:
        case Digest.AS_AGREED:
            return bytes(own) or (word if agreed else b"")
        case Digest.RIGHT:
            return word
        case Digest.WRONG:
            return bytes([word[0] ^ 1]) + word[1:] if word else b""
        case Digest.NONE:
            return b""
