"""A connection as cases use it: send anything, expect something, and say which requirement a disappointment breaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from iscsi_captures.describe import one_line
from iscsi_conformance.verdict import Failed, require
from iscsi_initiator.raw import Digest, PeerClosed, RawConnection, Received, SilentPeer
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import NO_TAG, LoginRequest, LoginResponse, NopIn, NopOut, Pdu, RawPdu, Stage, encode
from iscsi_protocol.text import decode_pairs, encode_pairs

P = TypeVar("P", bound=Pdu)
Pairs = Sequence[tuple[str, str]]


class Wire:
    """One TCP connection to the product, not logged in unless a case did it.

    raw: the instrument below, for what has no verb here. response_time: seconds that any answer may take.
    """

    def __init__(self, raw: RawConnection, response_time: float, initiator_name: str, target_name: str) -> None:
        self.raw = raw
        self.response_time = response_time
        self.initiator_name = initiator_name
        self.target_name = target_name
        self._put_back: list[Received] = []
        self._header_digest = Digest.AS_AGREED
        self._data_digest = Digest.AS_AGREED

    # ---- sending and receiving ----

    def send(
        self,
        pdu: Pdu | RawPdu | bytes,
        *,
        header_digest: Digest = Digest.AS_AGREED,
        data_digest: Digest = Digest.AS_AGREED,
    ) -> None:
        """Send exactly this; see `damaging` for what is said of no digest."""
        header_digest = self._header_digest if header_digest is Digest.AS_AGREED else header_digest
        data_digest = self._data_digest if data_digest is Digest.AS_AGREED else data_digest
        self.raw.send(pdu, header_digest=header_digest, data_digest=data_digest)

    @contextmanager
    def damaging(self, *, header: bool = False, data: bool = False) -> Iterator[None]:
        """Whatever is sent meanwhile has a wrong header or data digest."""
        before = self._header_digest, self._data_digest
        self._header_digest = Digest.WRONG if header else self._header_digest
        self._data_digest = Digest.WRONG if data else self._data_digest
        try:
            yield
        finally:
            self._header_digest, self._data_digest = before

    def packed(self, pdu: Pdu) -> bytes:
        """The bytes of a PDU as `send` would send them now, digests included where they were agreed on."""
        return encode(pdu).with_digests(header=self.raw.header_digest, data=self.raw.data_digest).to_bytes()

    def send_all(self, pdus: Iterable[Pdu | RawPdu | bytes]) -> None:
        """Send several, one behind the other."""
        for pdu in pdus:
            self.send(pdu)

    async def receive(self, clause: str, what: str, *, within: float | None = None) -> Received:
        """The next PDU that is no ping of the target's. A close or silence instead is a failure of the requirement.

        Pings are answered and counter updates passed over, as any initiator has to (11.19).
        """
        patience = self.response_time if within is None else within
        while True:
            if self._put_back:
                return self._put_back.pop(0)
            try:
                received = await self.raw.recv(patience)
            except PeerClosed as closed:
                raise Failed(clause, f"{what} was due, but {closed}") from None
            except SilentPeer:
                raise Failed(clause, f"{what} was due and did not come within {patience:g} s") from None
            if not self._passes_over(received):
                return received

    async def receive_or_none(self, *, within: float | None = None) -> Received | None:
        """The next PDU, or None when the connection ended or stayed silent: for cases in which both are right."""
        patience = self.response_time if within is None else within
        while True:
            if self._put_back:
                return self._put_back.pop(0)
            try:
                received = await self.raw.recv(patience)
            except (PeerClosed, SilentPeer):
                return None
            if not self._passes_over(received):
                return received

    def put_back(self, received: Received) -> None:
        """Let the next receive give this PDU again."""
        self._put_back.append(received)

    async def expect(self, kind: type[P], clause: str, what: str = "", **fields: Any) -> P:
        """The next PDU, which has to be of this kind and to have these field values. Raises Failed otherwise."""
        received = await self.receive(clause, what or (kind.__doc__ or kind.__name__).split(" (")[0])
        pdu = received.pdu
        if not isinstance(pdu, kind):
            raise Failed(clause, what or f"{kind.__name__} was due", seen=one_line(received.raw))
        for name, wanted in fields.items():
            found = getattr(pdu, name)
            require(found == wanted, clause, f"{kind.__name__} has {name} {found!r}, {wanted!r} was due")
        return pdu

    async def expect_closed(self, clause: str, what: str = "the target closes the connection") -> TransportEvent:
        """The target ends the connection, whatever it says before. Raises Failed when it stays open."""
        try:
            return await self.raw.wait_closed(self.response_time)
        except SilentPeer:
            raise Failed(clause, f"{what}, but it stayed open for {self.response_time:g} s") from None

    def _passes_over(self, received: Received) -> bool:
        pdu = received.pdu
        if not isinstance(pdu, NopIn) or pdu.itt != NO_TAG:
            return False
        if pdu.ttt != NO_TAG:
            self.send(
                NopOut(
                    immediate=True,
                    lun=pdu.lun,
                    ttt=pdu.ttt,
                    cmd_sn=self.raw.cmd_sn,
                    exp_stat_sn=self.raw.exp_stat_sn,
                )
            )
        return True

    # ---- login, step by step ----

    def login_request(self, pairs: Pairs | bytes = (), **fields: Any) -> LoginRequest:
        """A Login Request with this connection's counters; pairs as text or ready bytes; fields as `LoginRequest` has them.

        Without other wishes it asks to leave the operational stage for the full feature phase.
        """
        values: dict[str, Any] = {
            "transit": True,
            "csg": Stage.OPERATIONAL,
            "nsg": Stage.FULL_FEATURE,
            "isid": self.isid,
            "itt": 0x4C4F4749,
            "cmd_sn": self.raw.cmd_sn,
            "exp_stat_sn": self.raw.exp_stat_sn,
            "data": pairs if isinstance(pairs, bytes) else encode_pairs(pairs),
        }
        values |= fields
        return LoginRequest(**values)

    isid: bytes = bytes.fromhex("800000000001")

    def names(
        self, *more: tuple[str, str], session_type: str = "Normal", leading: bool = True
    ) -> list[tuple[str, str]]:
        """The keys that a first request needs, and more. leading: with SessionType, as a new session alone has it."""
        pairs = [("InitiatorName", self.initiator_name)]
        if leading:
            pairs.append(("SessionType", session_type))
        if session_type == "Normal":
            pairs.append(("TargetName", self.target_name))
        return [*pairs, *more]

    async def exchange_login(
        self, request: LoginRequest | RawPdu, clause: str, what: str = "Login Response"
    ) -> LoginResponse:
        """Send a Login Request and take the Login Response that has to come."""
        self.send(request)
        return await self.expect(LoginResponse, clause, what)

    async def expect_login_refused(self, clause: str, *statuses: int, what: str) -> LoginResponse:
        """A Login Response with one of these status values (class << 8 | detail; none given: any but success)."""
        response = await self.expect(LoginResponse, clause, what)
        allowed = ", ".join(f"{status:04x}" for status in statuses) or "an error"
        good = response.status in statuses if statuses else response.status_class != 0
        require(good, clause, f"{what}: status {allowed} was due", seen=f"{response.status:04x}")
        return response


def pairs_of(pdu: Pdu) -> list[tuple[str, str]]:
    """The text of a login or text PDU as pairs."""
    return decode_pairs(pdu.data)


def value_of(pdu: Pdu, key: str) -> str | None:
    """The last value of a key in a PDU's text."""
    return next((value for name, value in reversed(pairs_of(pdu)) if name == key), None)
