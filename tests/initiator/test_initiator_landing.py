"""Payload that is received in its requester's buffer: nothing but the copying is different.

Engines live through the same dialogue, cut into the same pieces. One gathers every PDU; one is handed all bytes, and copies
them to where they belong as they come; of the third's, what it has room for is put there. Events, log, what is sent and what
comes of every request have to be the same.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.initiator.conftest import Bench

from iscsi_initiator.requests import EventLogged, Failure, RequestDone, ScsiRequest
from iscsi_initiator.settings import NO_DIGEST, REQUIRE_DIGEST, SessionOptions, Settings
from iscsi_initiator.tasks import ScsiTask
from iscsi_protocol import framing
from iscsi_protocol.framing import NO_LIMIT
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import R2T, DataIn, NopIn, ScsiCommand, ScsiResponse, encode

READ = bytes([0x28]) + bytes(9)
OVER = 0xEE
"""What a requester writes over its buffer once it has it back."""

ODD_WAYS = [
    *[
        "number ahead",
        "number again",
        "offset ahead",
        "offset back",
        "beyond the end",
        "too long a burst",
        "final early",
    ],
    *["good", "other status", "underflow", "overflow", "wrong StatSN", "acknowledge", "no such task", "reserved bits"],
    *["spoilt", "odd length", "empty", "response", "nop", "r2t", "immediate bit"],
]
WHICH = st.integers(0, 3)
PIECES = [64, 512, 1024]
BURST = 1536
SIZES = st.sampled_from(PIECES)
READS = st.tuples(st.just("read"), st.sampled_from([64, 700, 2048]))
PLAIN = st.tuples(st.just("say"), st.just("plain"), WHICH, SIZES)
ODD = st.tuples(st.just("say"), st.sampled_from(ODD_WAYS), WHICH, SIZES)
FEED = st.tuples(st.just("feed"), st.integers(0, 1200))
TURNS = st.tuples(st.sampled_from(["advance", "cancel", "reset", "lose", "fork", "feed all"]), WHICH)
OPS = st.sampled_from([READS, *[PLAIN] * 6, ODD, *[FEED] * 6, TURNS]).flatmap(lambda kind: kind)


class Life:
    """One engine and its target; `direct` is whether bytes are put where there is room for them."""

    def __init__(self, bench: Bench, *, direct: bool) -> None:
        self.bench = bench
        self.direct = direct
        self.requests: list[ScsiRequest] = []
        self.commands: list[ScsiCommand] = []
        self.said: dict[int, tuple[int, int, int]] = {}
        self.stream = b""
        self.placed = 0
        self.given_back: set[int] = set()
        self.results: list[tuple[int, object, object, bytes]] = []

    def collect(self) -> None:
        """Take what came of it. Requesters use their buffers for something else as soon as they have them back."""
        bench = self.bench
        before = len(bench.events)
        bench.collect()
        for event in bench.events[before:]:
            if isinstance(event, RequestDone) and event.request in self.requests:
                request = event.request
                index = self.requests.index(request)
                good = bytes(request.data_in[: request.result.received]) if request.failure is None else b""
                self.results.append((index, request.result, request.failure, good))
                request.data_in[:] = bytes([OVER]) * len(request.data_in)
                self.given_back.add(index)
        while any(isinstance(pdu, ScsiCommand) for pdu in bench.sent):
            command = bench.take(ScsiCommand)
            self.commands.append(command)
            self.said[command.itt] = (0, 0, 0)

    def feed(self, length: int) -> None:
        """The next bytes of the stream arrive at once."""
        bench, piece = self.bench, self.stream[:length]
        self.stream = self.stream[length:]
        room = bench.engine.room(bench.connection) if self.direct else None
        placed = 0 if room is None else min(len(room), len(piece))
        if room is not None and placed:
            room[:placed] = piece[:placed]
        self.placed += placed
        buffer = bytearray(piece[placed:])
        bench.engine.receive(bench.connection, memoryview(buffer), bench.now, placed)
        buffer[:] = b"\xdd" * len(buffer)
        self.collect()

    def say(self, way: str, which: int, size: int) -> None:
        """The target sends a PDU about one of the commands, as it should or otherwise."""
        if not self.commands:
            return
        bench, command = self.bench, self.commands[-1 - which % len(self.commands)]
        if way in ("nop", "r2t"):
            kind: Any = NopIn if way == "nop" else R2T
            fields = {} if way == "nop" else {"itt": command.itt, "ttt": 5, "desired_data_transfer_length": 512}
            self.send(kind(**fields, **bench.numbers(consume=False)))
            return
        if way == "response":
            self.commands.remove(command)
            self.send(bench.response(command, exp_data_sn=self.said[command.itt][0]))
            return
        number, offset, burst = self.said[command.itt]
        total = command.expected_data_transfer_length
        size = {"odd length": size - 1, "empty": 0, "too long a burst": BURST + 64}.get(way, size)
        if way not in ("beyond the end", "too long a burst"):
            size = max(0, min(size, total - offset))
        data = random.Random(f"{command.itt}/{number}").randbytes(size)
        ends, burst = offset + size >= total, burst + size
        final = ends or burst > BURST - max(PIECES) or way == "final early"
        self.said[command.itt] = (number + 1, offset + size, 0 if final else burst)
        values: dict[str, Any] = {
            "final": final,
            "itt": command.itt,
            "data": data,
            "data_sn": number,
            "buffer_offset": offset,
        }
        with_status = (ends and which != 1) or way in ("good", "other status", "underflow", "overflow", "wrong StatSN")
        if with_status and which < 3:
            self.commands.remove(command)
        values |= bench.numbers(consume=with_status)
        if with_status:
            values |= {"final": True, "status_present": True}
        values |= {
            "number ahead": {"data_sn": number + 1},
            "number again": {"data_sn": max(0, number - 1)},
            "offset ahead": {"buffer_offset": offset + 4},
            "offset back": {"buffer_offset": max(0, offset - 4)},
            "other status": {"status": 0x08},
            "underflow": {"underflow": True, "residual_count": max(0, total - offset - size)},
            "overflow": {"overflow": True, "residual_count": 4},
            "wrong StatSN": {"stat_sn": values["stat_sn"] + 1},
            "acknowledge": {"acknowledge": True, "ttt": 9},
            "no such task": {"itt": 0x7777},
        }.get(way, {})
        raw = encode(DataIn(**values))
        if way == "reserved bits":
            raw = raw.with_bytes(1, bytes([raw.bhs[1] | 0x08]))
        if way == "immediate bit":
            raw = raw.with_bytes(0, bytes([raw.bhs[0] | 0x40]))
        raw = raw.with_digests(header=bench.digests[0], data=bench.digests[1])
        if way == "spoilt" and len(raw.data_digest):
            raw.data_digest = bytes([raw.data_digest[0] ^ 1]) + bytes(raw.data_digest[1:])
        self.stream += raw.to_bytes()

    def send(self, pdu: NopIn | R2T | ScsiResponse) -> None:
        self.stream += encode(pdu).with_digests(header=self.bench.digests[0], data=False).to_bytes()

    def step(self, op: tuple[Any, ...]) -> None:
        """One thing happens."""
        bench = self.bench
        match op:
            case ("read", length):
                request = ScsiRequest(0, READ, data_in=bytearray(b"\xaa" * length), hold=length != 700)
                self.requests.append(request)
                bench.engine.submit(bench.session, request, bench.now)
                self.collect()
            case ("say", way, which, size):
                self.say(way, which, size)
            case ("feed", length):
                self.feed(length)
            case ("feed all", _):
                self.feed(len(self.stream))
            case ("advance", count):
                bench.now += [1, 6, 61, 200][count]
                bench.engine.handle_timer(bench.now)
                self.collect()
            case ("cancel", which):
                if self.requests:
                    bench.engine.cancel(self.requests[-1 - which % len(self.requests)], bench.now)
                    self.collect()
            case ("reset", _):
                work = bench.engine.session(bench.session).work
                work.tasks_reset(None)
                self.collect()
            case ("fork", _):
                # A copy is worth as much as the original, which nobody lives on with.
                self.bench, self.requests, self.results = copy.deepcopy((self.bench, self.requests, self.results))
            case ("lose", _):
                self.stream = b""
                bench.engine.connection_lost(bench.connection, TransportEvent.RST, bench.now)
                self.collect()
            case _:
                raise AssertionError(op)

    def outcome(self) -> tuple[object, ...]:
        """All that anybody can tell of it."""
        bench = self.bench
        log = [(event.id, event.extra, event.text) for event in bench.events if isinstance(event, EventLogged)]
        others = [type(event) for event in bench.events]
        sent = [raw.to_bytes() for raw in bench.raws]
        return log, others, sent, self.results, bench.closed, bench.engine.next_deadline()


def begin(level: int, digests: tuple[bool, bool], *, direct: bool) -> Life:
    """A life that is logged in."""
    header, data = (REQUIRE_DIGEST if wanted else NO_DIGEST for wanted in digests)
    bench = Bench(
        options=SessionOptions(
            portal=Endpoint("192.0.2.10", 3260),
            target_name="iqn.2026-01.org.example:disk",
            header_digest=header,
            data_digest=data,
        ),
        settings=Settings(max_burst_length=BURST, first_burst_length=512),
        answers={"ErrorRecoveryLevel": str(level)},
    )
    bench.login()
    return Life(bench, direct=direct)


def live(ops: list[tuple[Any, ...]], level: int, digests: tuple[bool, bool], *, direct: bool) -> Life:
    """A whole one."""
    life = begin(level, digests, direct=direct)
    for op in ops:
        life.step(op)
    life.step(("feed all", 0))
    for index in life.given_back:
        assert set(life.requests[index].data_in) == {OVER}, "a buffer was written to after it was given back"
    return life


@settings(max_examples=150)
@given(
    st.lists(OPS, min_size=10, max_size=60),
    st.integers(0, 2),
    st.sampled_from([(False, False), (False, False), (True, False), (True, True)]),
)
def test_payload_that_is_received_in_its_place_changes_nothing(ops, level, digests):
    ops = [("read", 2048), *ops]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "LONG", NO_LIMIT + 1)
        gathered = live(ops, level, digests, direct=False)
        patch.setattr(framing, "LONG", 16)
        copied = live(ops, level, digests, direct=False)
        direct = live(ops, level, digests, direct=True)
    assert copied.outcome() == gathered.outcome()
    assert direct.outcome() == gathered.outcome()


HALF = 40
"""Bytes of the payload that come with the header at first."""


def reading(
    level: int = 0, *, size: int = 128, digests: tuple[bool, bool] = (False, False)
) -> tuple[Life, ScsiRequest]:
    """A life with one read under way."""
    life = begin(level, digests, direct=True)
    life.step(("read", size))
    return life, life.requests[0]


def landed(life: Life, request: ScsiRequest, **changes: Any) -> bool:
    """Whether half the payload of a Data-In with these changes is put in the buffer before the rest has come."""
    bench = life.bench
    fields = {"final": True, "status_present": True, "itt": life.commands[0].itt, "data": b"\x11" * 64, **changes}
    numbers = bench.numbers(consume=False) | ({} if fields["status_present"] else {"stat_sn": 0})
    raw = encode(DataIn(**{**numbers, **fields})).with_digests(header=bench.digests[0], data=bench.digests[1])
    before = bytes(request.data_in)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "LONG", 16)
        life.stream = raw.to_bytes()[: -64 + HALF - 4 * bench.digests[1]]
        life.step(("feed all", 0))
    offset = fields.get("buffer_offset", 0)
    if bytes(request.data_in) == before:
        return False
    assert bytes(request.data_in[offset : offset + HALF]) == b"\x11" * HALF
    return True


@pytest.mark.parametrize("level", [0, 2])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"status_present": False},
        {"status_present": False, "final": False},
    ],
)
def test_what_is_due_next_lands_as_it_comes(level, changes):
    assert landed(*reading(level), **changes)
    assert landed(*reading(level, digests=(False, False)), **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": 8},
        {"underflow": True, "residual_count": 64},
        {"overflow": True, "residual_count": 4},
        {"acknowledge": True, "status_present": False},
        {"itt": 0x7777},
        {"data_sn": 1},
        {"buffer_offset": 4},
        {"stat_sn": 1},
        {"status_present": False, "data": b"\x11" * 65},
        {"data": b"\x11" * 132},
        {"data": b"\x11" * 40 + b"\x22" * 23},
    ],
    ids=str,
)
@pytest.mark.parametrize("level", [0, 1])
def test_whatever_else_comes_is_gathered_and_judged_before(level, changes):
    assert not landed(*reading(level), **changes)


def test_nothing_is_put_beyond_what_a_burst_may_have():
    assert landed(*reading(size=2048), data=b"\x11" * BURST)
    assert not landed(*reading(size=2048), data=b"\x11" * (BURST + 64))


@pytest.mark.parametrize("digests", [(True, False), (False, True), (True, True)])
def test_with_digests_nothing_lands_before_it_was_checked(digests):
    assert not landed(*reading(digests=digests))


def test_what_is_no_data_in_is_gathered():
    life, request = reading()
    life.stream = encode(life.bench.response(life.commands[0], data=bytes(9000))).to_bytes()[:1000]
    life.step(("feed all", 0))
    assert bytes(request.data_in) == b"\xaa" * 128


def test_a_task_that_is_being_ended_has_its_data_gathered():
    life, request = reading()
    life.step(("cancel", 0))
    assert not landed(life, request)


def test_data_behind_a_hole_is_gathered():
    life, request = reading(1, size=256)
    life.say("number ahead", 0, 64)
    life.step(("feed all", 0))
    assert not landed(life, request, status_present=False, data_sn=2, buffer_offset=128)


@pytest.mark.parametrize("ending", ["reset", "lose"])
def test_a_requester_that_has_its_buffer_back_may_do_with_it_what_it_likes(ending):
    life, request = reading()
    request.hold = False
    assert landed(life, request)
    life.step((ending, 0))
    assert request.failure in (Failure.RESET, Failure.CONNECTION_LOST)
    assert isinstance(request.data_in, bytearray)
    request.data_in.extend(b"which a buffer that somebody looks at refuses")
    life.stream = bytes(64 - HALF)
    life.step(("feed all", 0))
    assert set(request.data_in[:128]) == {OVER}


def test_what_a_command_that_is_sent_again_still_has_coming_is_gathered():
    life, request = reading(size=64)
    assert landed(life, request)
    work = life.bench.engine.session(life.bench.session).work
    [task] = work.tasks.values()
    assert isinstance(task, ScsiTask)
    work.resend(task)
    request.data_in[:] = b"\xaa" * 64
    life.stream = b"\x11" * (60 - HALF)
    life.step(("feed all", 0))
    assert bytes(request.data_in) == b"\xaa" * 64


def test_a_fork_has_its_own_half():
    life, request = reading(size=64)
    assert landed(life, request)
    original = life.bench
    life.step(("fork", 0))
    life.stream = b"\x11" * (64 - HALF)
    life.step(("feed all", 0))
    assert life.results[0][3] == b"\x11" * 64
    assert bytes(request.data_in) == b"\x11" * HALF + b"\xaa" * (64 - HALF)
    original.give_bytes(b"\x11" * (64 - HALF))
    assert original.done(request)
    assert bytes(request.data_in) == b"\x11" * 64


def test_the_engine_tells_whether_anything_came_of_bytes():
    life, _ = reading(size=64)
    bench = life.bench
    whole = encode(bench.read_response(life.commands[0], b"\x11" * 64)).to_bytes()
    engine, connection = bench.engine, bench.connection
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "LONG", 16)
        assert not engine.receive(connection, whole[:20], bench.now)
        assert not engine.receive(connection, whole[20:60], bench.now)
        room = engine.room(connection)
        assert room is not None
        room[:10] = whole[60:70]
        assert not engine.receive(connection, b"", bench.now, 10)
        assert engine.receive(connection, whole[70:], bench.now)
    bench.collect()
    assert not engine.receive(99, b"", bench.now)


def test_what_had_to_wait_is_sent_with_any_bytes():
    life, _ = reading()
    bench = life.bench
    for _ in range(70):
        bench.engine.submit(bench.session, ScsiRequest(0, READ, data_in=8), bench.now)
    bench.collect()
    assert bench.engine.receive(bench.connection, b"\x25", bench.now)


def test_there_is_no_room_without_a_connection():
    life, _ = reading()
    assert life.bench.engine.room(life.bench.connection) is None
    assert life.bench.engine.room(99) is None
