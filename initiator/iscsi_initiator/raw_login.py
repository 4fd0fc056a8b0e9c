"""The login of the case authors' instrument (RFC 7143 chapter 6): it walks the stages with the keys given, and shows all.

It judges nothing. It goes where the target's responses lead, up to a bound, and each request can be changed or replaced
before it goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from iscsi_protocol.negotiation.keys import KEYS, Function, Kind
from iscsi_protocol.pdu import LoginRequest, LoginResponse, Pdu, RawPdu
from iscsi_protocol.pdu.codes import LoginStatus, Stage
from iscsi_protocol.text import encode_pairs, scan_pairs, split_text

if TYPE_CHECKING:
    from iscsi_initiator.raw import RawConnection, Received

Pairs = Sequence[tuple[str, str]]
Change = Callable[[LoginRequest, int], "Pdu | RawPdu | bytes | None"]
"""Takes a request that is about to go out and its number (from 1); gives what goes out instead, None for nothing."""

LOGIN_SEGMENT_LIMIT = 8192
"""Bytes of text in one login PDU, whatever was declared (6.3)."""

RAW_ISID = bytes.fromhex("800000000001")
"""An ISID of the random kind (11.12.5)."""

MAX_ROUNDS = 64


class Authentication(Protocol):
    """What `protocol.chap.ChapInitiator` does for the security stage."""

    @property
    def ready(self) -> bool:
        """Whether the next request may ask to leave the stage."""

    def begin(self) -> list[tuple[str, str]]:
        """The pairs of the first request."""

    def receive(self, pairs: Pairs) -> list[tuple[str, str]]:
        """The pairs that answer a response."""


@dataclass(slots=True)
class RawLogin:
    """How a login went. responses: every Login Response; offered: what we sent; pairs: what the target sent;
    said: both, in order.
    """

    responses: list[Received] = field(default_factory=list)
    offered: list[tuple[str, str]] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    other: Received | None = None
    """A PDU that was no Login Response; it ended the walk."""

    @property
    def last(self) -> LoginResponse | None:
        """The latest response."""
        pdu = self.responses[-1].pdu if self.responses else None
        return pdu if isinstance(pdu, LoginResponse) else None

    @property
    def status(self) -> int | None:
        """Class and detail of the latest response, None without one."""
        return None if self.last is None else self.last.status

    @property
    def full_feature(self) -> bool:
        """Whether the final response came, with success."""
        last = self.last
        return bool(last and not last.status_class and last.transit and last.nsg == Stage.FULL_FEATURE)

    @property
    def tsih(self) -> int:
        """TSIH of the latest response."""
        return self.last.tsih if self.last else 0

    def value(self, key: str) -> str | None:
        """The last value that the target gave for a key."""
        return next((value for name, value in reversed(self.pairs) if name == key), None)

    def agreed(self, key: str) -> str | None:
        """The answer to a negotiated key: the later of the two values, None while there is one side's alone."""
        values = [value for name, value in self.said if name == key]
        return values[1] if len(values) > 1 else None


def accept_offers(offers: Pairs) -> list[tuple[str, str]]:
    """Answers to what a target offers of its own accord: consent, the first known value of a list, or NotUnderstood (6.2)."""
    answers = []
    for key, value in offers:
        row = KEYS.get(key)
        if row is None:
            if value not in ("NotUnderstood", "Reject", "Irrelevant"):
                answers.append((key, "NotUnderstood"))
        elif row.function is Function.OBSOLETE:
            answers.append((key, row.refusals[0]))
        elif row.negotiated and key != "AuthMethod":
            listed = value.split(",")
            if row.kind is Kind.LIST and row.values:
                answers.append((key, next((each for each in listed if each in row.values), "Reject")))
            else:
                answers.append((key, value))
    return answers


def _in_security(key: str) -> bool:
    row = KEYS.get(key)
    return key == "AuthMethod" or key.startswith("CHAP_") or (row is not None and row.any_stage)


async def log_in(
    connection: RawConnection,
    keys: Pairs,
    *,
    chap: Authentication | None = None,
    first_stage: int | None = None,
    isid: bytes = RAW_ISID,
    tsih: int = 0,
    cid: int = 0,
    answers: Callable[[Pairs], Pairs] = accept_offers,
    change: Change | None = None,
    timeout: float,  # noqa: ASYNC109 - handed to every recv
) -> RawLogin:
    """See `RawConnection.login`."""
    login = connection.logins[-1]
    if first_stage is None:
        authenticating = chap is not None or any(key == "AuthMethod" for key, _ in keys)
        first_stage = Stage.SECURITY if authenticating else Stage.OPERATIONAL
    template = LoginRequest(isid=isid, tsih=tsih, cid=cid, itt=connection.next_itt())
    walk = _Walk(connection, login, change, timeout, template)
    stage = first_stage
    pending = [pair for pair in keys if stage != Stage.SECURITY or _in_security(pair[0])]
    later = [pair for pair in keys if pair not in pending]
    if chap is not None and stage == Stage.SECURITY:
        pending += chap.begin()
    for _ in range(MAX_ROUNDS):
        leaving = not (stage == Stage.SECURITY and chap is not None and not chap.ready)
        following = Stage.OPERATIONAL if stage == Stage.SECURITY else Stage.FULL_FEATURE
        pairs = await walk.exchange(pending, stage, following, transit=leaving)
        last = login.last
        if pairs is None or last is None or last.status != LoginStatus.SUCCESS or login.full_feature:
            break
        offered = {key for key, _ in login.offered}
        pending = list(chap.receive(pairs)) if chap is not None and stage == Stage.SECURITY else []
        unasked = [pair for pair in pairs if pair[0] not in offered and not pair[0].startswith("CHAP_")]
        pending += answers(unasked)
        if last.transit and last.nsg != stage:
            stage = last.nsg
            if stage == Stage.OPERATIONAL:
                pending, later = pending + later, []
    if login.full_feature:
        connection.enter_full_feature(login)
    return login


@dataclass(slots=True)
class _Walk:
    """One login on its way."""

    connection: RawConnection
    login: RawLogin
    change: Change | None
    timeout: float
    template: LoginRequest
    sent: int = 0

    async def exchange(
        self, pairs: Pairs, stage: int, following: int, *, transit: bool
    ) -> list[tuple[str, str]] | None:
        """One logical request and the logical response to it; None when something else came."""
        self.login.offered += pairs
        self.login.said += pairs
        chunks = split_text(encode_pairs(pairs), LOGIN_SEGMENT_LIMIT)
        for chunk in chunks[:-1]:
            self._send(chunk, stage, stage, transit=False, continued=True)
            if await self._recv() is None:
                return None
        self._send(chunks[-1], stage, following if transit else stage, transit=transit, continued=False)
        text = b""
        for _ in range(MAX_ROUNDS):
            response = await self._recv()
            if response is None:
                return None
            text += response.data
            if not response.continued or response.status_class:
                break
            self._send(b"", stage, stage, transit=False, continued=False)
        found, _ = scan_pairs(text)
        self.login.pairs += found
        self.login.said += found
        return found

    def _send(self, data: bytes, stage: int, nsg: int, *, transit: bool, continued: bool) -> None:
        connection, template = self.connection, self.template
        request = LoginRequest(
            transit=transit,
            continued=continued,
            csg=stage,
            nsg=nsg if transit else 0,
            isid=template.isid,
            tsih=template.tsih,
            cid=template.cid,
            itt=template.itt,
            cmd_sn=connection.cmd_sn,
            exp_stat_sn=connection.exp_stat_sn,
            data=data,
        )
        self.sent += 1
        changed = request if self.change is None else self.change(request, self.sent)
        if changed is not None:
            connection.send(changed)

    async def _recv(self) -> LoginResponse | None:
        received = await self.connection.recv(self.timeout)
        if not isinstance(received.pdu, LoginResponse):
            self.login.other = received
            return None
        self.login.responses.append(received)
        return received.pdu
