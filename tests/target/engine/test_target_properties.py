"""Whatever comes in whatever pieces: the same answers, no crash, nothing left behind."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    DataOut,
    LoginRequest,
    LogoutRequest,
    NopOut,
    RawPdu,
    ScsiCommand,
    SnackRequest,
    TaskManagementRequest,
    TextRequest,
    encode,
)
from iscsi_target.config import LunConfig, Size, TargetNode, Timers
from iscsi_target.device import open_device
from iscsi_target.engine import TargetEngine

TARGET = "iqn.2026-11.org.example:disk"
REQUESTS = (
    DataOut,
    LoginRequest,
    LogoutRequest,
    NopOut,
    ScsiCommand,
    SnackRequest,
    TaskManagementRequest,
    TextRequest,
)


def conversation(host, choices):
    """PDUs of a session that behaves, from a list of small numbers."""
    pdus = [host.login_request(host.names())]
    writes = []
    for choice in choices:
        match choice:
            case 0:
                pdus.append(host.read(lba=1, blocks=9))
            case 1:
                pdus.append(host.write(blocks=2, data=b"w" * 1024))
            case 2:
                writes.append(host.write(blocks=4, data=b"i" * 512, final=False))
                pdus.append(writes[-1])
            case 3 if writes:
                command = writes.pop(0)
                pdus.append(host.data_out(command, b"u" * 1536, offset=512))
            case 4:
                pdus.append(host.text(("SendTargets", "")))
            case 5:
                pdus.append(host.function(5))
            case _:
                pdus.append(host.nop_out(b"ping"))
    return [encode(pdu).to_bytes() for pdu in pdus]


@given(
    choices=st.lists(st.integers(0, 6), max_size=12),
    cuts=st.lists(st.integers(1, 3000), max_size=40),
    digests=st.booleans(),
)
def test_any_chunking_gives_the_same_output(make_bench, choices, cuts, digests):
    def run(pieces_of):
        bench = make_bench()
        host = bench.host()
        stream = b"".join(conversation(host, choices))
        out = []
        for piece in pieces_of(stream):
            scratch = bytearray(piece)
            bench.engine.receive(host.number, scratch, 1.0)
            scratch[:] = b"\xee" * len(scratch)  # the shell uses its buffer again
            out += [bytes(part) for part in bench.engine.data_to_send(host.number)]
        return b"".join(out), bench.device.memory, host.closed

    def in_pieces(stream):
        position = 0
        for cut in cuts:
            yield stream[position : position + cut]
            position += cut
        yield stream[position:]

    assert run(in_pieces) == run(lambda stream: [stream])


def field_values(cls):
    """Any header of a message: small numbers, so that tags and sequence numbers meet."""
    small = st.one_of(st.integers(0, 3), st.just(0xFFFFFFFF), st.integers(98, 104))
    parts = {}
    for name, field in cls.FIELDS.items():
        if field.kind is bool:
            parts[name] = st.booleans()
        elif field.kind is bytes:
            parts[name] = st.sampled_from([bytes(field.at.size), bytes((0, 1)).ljust(field.at.size, b"\0")])
        else:
            parts[name] = small.map(partial(min, field.mask))
    parts["data"] = st.sampled_from([b"", b"x", b"SendTargets=All\0", b"MaxRecvDataSegmentLength=512\0", bytes(512)])
    return st.builds(cls, **parts)


CDBS = st.one_of(st.binary(min_size=16, max_size=16), st.sampled_from([0x00, 0x12, 0x28, 0x2A, 0x35, 0xA0]).map(
    lambda opcode: bytes((opcode, 0, 0, 0, 0, 0, 0, 0, 1)).ljust(16, b"\0")))  # fmt: skip


@given(data=st.data(), fast=st.booleans())
def test_no_request_whatever_breaks_the_engine(make_bench, data, fast):
    """Random but well-framed requests in full feature phase; afterwards everything can be taken down without a trace."""
    engine, host, clock, device = real_session(make_bench)
    pdus = data.draw(st.lists(st.one_of([field_values(cls) for cls in REQUESTS]), max_size=12))
    for pdu in pdus:
        raw = encode(pdu)
        if isinstance(pdu, ScsiCommand):
            raw = RawPdu(bytes(raw.bhs[:32]) + data.draw(CDBS), data=raw.data, padding=raw.padding)
        engine.receive(host.number, raw.to_bytes(), clock.now)
        if fast:
            finish_work(engine, clock)
        for session in engine.sessions:
            assert -1 <= window(session) <= 127
    finish_work(engine, clock)
    leave_no_trace(engine, host, clock)
    device.close()


@given(junk=st.binary(max_size=400), logged_in=st.booleans())
def test_no_bytes_whatever_break_the_engine(make_bench, junk, logged_in):
    engine, host, clock, device = real_session(make_bench, logged_in=logged_in)
    engine.receive(host.number, junk, clock.now)
    finish_work(engine, clock)
    leave_no_trace(engine, host, clock)
    device.close()


def real_session(make_bench, *, logged_in=True):
    bench = make_bench(timers=Timers(data_out=10))
    node = TargetNode(name=TARGET, luns={0: LunConfig(size=Size(65536)), 1: LunConfig(size=Size(65536))})
    device = open_device(node)
    engine = TargetEngine(bench.config, {TARGET: device}, random_bytes=bytes)
    bench.engine = engine
    host = bench.host()
    if logged_in:
        host.login()
    return engine, host, bench.clock, device


def window(session):
    return (session.max_cmd_sn - session.exp_cmd_sn + 2**31) % 2**32 - 2**31


def finish_work(engine, clock):
    while work := engine.work_to_do():
        for each in work:
            engine.work_done(each.token, each.run(), clock.now)


def leave_no_trace(engine, host, clock):
    for part in engine.data_to_send(host.number):
        assert len(part) >= 0
    engine.connection_lost(host.number, "FIN", clock.now)
    clock.now += 8000
    engine.handle_timer(clock.now)
    core = engine.core
    assert engine.connections == {}
    assert engine.sessions == []
    assert core.pending == {}
    assert core.data_out_bytes == 0
