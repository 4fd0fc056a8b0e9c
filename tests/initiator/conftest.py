"""A bench for the initiator's engine: a target that says what the test says, and a clock that the test advances."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from iscsi_initiator.engine import InitiatorEngine
from iscsi_initiator.policy import CONFORMING, Policy
from iscsi_initiator.requests import EventLogged, Request, RequestDone, SessionClosed, SessionLost, SessionUp
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_protocol import serial
from iscsi_protocol.chap import Hasher, hashlib_hasher
from iscsi_protocol.framing import Framer
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import (
    DataIn,
    LoginRequest,
    LoginResponse,
    Pdu,
    RawPdu,
    ScsiCommand,
    ScsiResponse,
    decode,
    encode,
)
from iscsi_protocol.text import decode_pairs, encode_pairs

PORTAL = Endpoint("192.0.2.10", 3260)
TARGET = "iqn.2026-01.org.example:disk"


def entropy(seed: str = "bench") -> Callable[[int], bytes]:
    """Bytes that look random and are always the same."""
    count = 0

    def draw(length: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_128(f"{seed}{count}".encode()).digest(length)

    return draw


class Bench:
    """One engine, one session, and the scripted target at the other end."""

    def __init__(
        self,
        options: SessionOptions | None = None,
        settings: Settings | None = None,
        policy: Policy = CONFORMING,
        answers: dict[str, str | None] | None = None,
        hasher: Hasher = hashlib_hasher,
    ) -> None:
        self.now = 100.0
        self.settings = settings or Settings()
        self.engine = InitiatorEngine(self.settings, random_bytes=entropy(), policy=policy, hasher=hasher)
        self.options = options or SessionOptions(portal=PORTAL, target_name=TARGET)
        self.answers: dict[str, str | None] = {
            "MaxRecvDataSegmentLength": "8192",
            "MaxConnections": "1",
            "ErrorRecoveryLevel": "0",
            **(answers or {}),
        }
        self.events: list[Any] = []
        self.sent: list[Pdu] = []
        self.raws: list[RawPdu] = []
        self.wanted: list[Any] = []
        self.closed: list[int] = []
        self.connection = 0
        self.framer = Framer()
        self.digests = (False, False)
        self.stat_sn = 0x1000
        self.exp_cmd_sn = 1
        self.max_cmd_sn = 64
        self.session = self.engine.open_session(self.options, self.now)
        self.collect()

    # What came of it.

    @property
    def log(self) -> list[int]:
        """The ids of the driver events so far."""
        return [event.id for event in self.events if isinstance(event, EventLogged)]

    def dump(self, event_id: int) -> bytes:
        """The extra data of the last event with this id."""
        return [e.extra for e in self.events if isinstance(e, EventLogged) and e.id == event_id][-1]

    def of(self, kind: type) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ups(self) -> int:
        return len(self.of(SessionUp))

    @property
    def losses(self) -> int:
        return len(self.of(SessionLost))

    @property
    def over(self) -> SessionClosed | None:
        return next(iter(self.of(SessionClosed)), None)

    def done(self, request: Request) -> bool:
        """Whether a request is finished; never more than once."""
        times = [event.request for event in self.of(RequestDone)].count(request)
        assert times <= 1
        return times == 1

    def take(self, kind: type[Pdu]) -> Any:
        """The first PDU of a kind that was sent and not taken yet."""
        for index, pdu in enumerate(self.sent):
            if isinstance(pdu, kind):
                del self.sent[index]
                return pdu
        raise AssertionError(f"no {kind.__name__} among {[type(p).__name__ for p in self.sent]}")

    # The network.

    def collect(self) -> None:
        """Take what the engine has for its shell."""
        engine = self.engine
        self.wanted += engine.connections_wanted()
        for connection in engine.dirty_connections():
            buffers = engine.data_to_send(connection)
            if engine.wants_close(connection):
                self.closed.append(connection)
                assert not buffers
            elif connection == self.connection:
                self.framer.receive(b"".join(bytes(buffer) for buffer in buffers))
                for raw in self.framer:
                    assert not raw.data_digest_error
                    self.raws.append(raw.kept())
                    self.sent.append(decode(raw.kept()))
        while (event := engine.poll_event()) is not None:
            self.events.append(event)

    def connect(self) -> None:
        """Let the connection that is wanted come up."""
        self.connection = self.wanted.pop(0).connection
        self.framer = Framer()
        self.digests = (False, False)
        self.sent.clear()
        self.engine.connection_made(self.connection, self.now)
        self.collect()

    def refuse(self, reason: TransportEvent = TransportEvent.REFUSED) -> None:
        """Let the connection that is wanted fail."""
        self.engine.connection_lost(self.wanted.pop(0).connection, reason, self.now)
        self.collect()

    def lose(self, reason: TransportEvent = TransportEvent.RST) -> None:
        """End the connection from outside."""
        self.engine.connection_lost(self.connection, reason, self.now)
        self.collect()

    def submit(self, request: Request) -> None:
        self.engine.submit(self.session, request, self.now)
        self.collect()

    def give_bytes(self, data: bytes) -> None:
        self.engine.receive(self.connection, data, self.now)
        self.collect()

    def give(self, *pdus: Pdu | RawPdu, break_data: bool = False, break_header: bool = False) -> None:
        """Send PDUs to the initiator in one piece, with digests as agreed or spoilt."""
        data = b""
        for pdu in pdus:
            raw = pdu if isinstance(pdu, RawPdu) else encode(pdu)
            raw = raw.with_digests(header=self.digests[0], data=self.digests[1])
            if break_header:
                raw.header_digest = bytes([raw.header_digest[0] ^ 1]) + bytes(raw.header_digest[1:])
            if break_data:
                raw.data_digest = bytes([raw.data_digest[0] ^ 1]) + bytes(raw.data_digest[1:])
            data += raw.to_bytes()
        self.give_bytes(data)

    def advance(self, seconds: float) -> None:
        """Let time pass, with every deadline on the way met."""
        end = self.now + seconds
        for _ in range(1000):
            due = self.engine.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, due)
            self.engine.handle_timer(self.now)
            self.collect()
        else:
            raise AssertionError("the timers do not come to rest")
        self.now = end

    # The target's numbers.

    def next_stat_sn(self) -> int:
        used = self.stat_sn
        self.stat_sn = serial.add(used)
        return used

    def numbers(self, *, consume: bool = True) -> dict[str, int]:
        """StatSN, ExpCmdSN and MaxCmdSN of the next response."""
        stat_sn = self.next_stat_sn() if consume else self.stat_sn
        return {"stat_sn": stat_sn, "exp_cmd_sn": self.exp_cmd_sn, "max_cmd_sn": self.max_cmd_sn}

    # Login.

    def respond(self, request: LoginRequest, pairs: Sequence[tuple[str, str]] = (), **fields: Any) -> None:
        """Answer a login request, consenting to its transition unless the fields say otherwise."""
        final = request.transit and request.nsg == 3
        values = {
            "transit": request.transit,
            "csg": request.csg,
            "nsg": request.nsg,
            "isid": request.isid,
            "itt": request.itt,
            "tsih": 7 if final else 0,
            **self.numbers(),
            "data": encode_pairs(pairs),
            **fields,
        }
        self.give(LoginResponse(**values))

    def consent(self, request: LoginRequest) -> list[tuple[str, str]]:
        """The answers of an agreeable target; `answers` has it otherwise, None leaves a key out."""
        found = []
        for key, value in decode_pairs(request.data):
            if key in ("InitiatorName", "TargetName", "SessionType", "InitiatorAlias"):
                continue
            answer = self.answers.get(key, value.split(",")[0])
            if answer is not None:
                found.append((key, answer))
        return found

    def login(self) -> None:
        """Connect, and log in as an agreeable target has it."""
        self.connect()
        for _ in range(4):
            request = self.take(LoginRequest)
            pairs = self.consent(request)
            self.respond(request, pairs)
            agreed = dict(pairs)
            if "HeaderDigest" in agreed:
                self.digests = (agreed["HeaderDigest"] == "CRC32C", agreed.get("DataDigest") == "CRC32C")
            if request.nsg == 3:
                break
        self.framer.header_digest, self.framer.data_digest = self.digests

    def security(self) -> LoginRequest:
        """Connect, and give the first login request."""
        self.connect()
        request: LoginRequest = self.take(LoginRequest)
        return request

    def operational(self) -> LoginRequest:
        """Connect, pass the security stage, and give the operational request."""
        request = self.security()
        self.respond(request, self.consent(request))
        following: LoginRequest = self.take(LoginRequest)
        return following

    # SCSI.

    def read_response(self, command: ScsiCommand, data: bytes, **fields: Any) -> DataIn:
        """One Data-In with all data and the status."""
        self.exp_cmd_sn = max(self.exp_cmd_sn, command.cmd_sn + 1)
        values = {
            "status_present": True,
            "itt": command.itt,
            "data": data,
            **self.numbers(consume=fields.get("status_present", True)),
            **fields,
        }
        return DataIn(**values)

    def response(self, command: ScsiCommand, **fields: Any) -> ScsiResponse:
        self.exp_cmd_sn = max(self.exp_cmd_sn, command.cmd_sn + 1)
        return ScsiResponse(**{"itt": command.itt, **self.numbers(), **fields})


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Makes a bench that is not connected yet."""
    return Bench


@pytest.fixture
def up() -> Callable[..., Bench]:
    """Makes a bench that is logged in."""

    def make(**arguments: Any) -> Bench:
        made = Bench(**arguments)
        made.login()
        assert made.ups == 1, made.events
        return made

    return make


@pytest.fixture(scope="session")
def bench_class() -> type[Bench]:
    """For tests that make a bench for each of many examples."""
    return Bench
