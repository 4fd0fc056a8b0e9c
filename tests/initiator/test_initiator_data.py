"""Data integrity with random limits and any chunking, and an engine that random bytes only make log and drop."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iscsi_initiator.requests import EventLogged, ScsiRequest
from iscsi_initiator.settings import NO_DIGEST, REQUIRE_DIGEST, SessionOptions, Settings
from iscsi_protocol.eventlog import EVENTS
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import R2T, DataIn, DataOut, ScsiCommand, encode, opcode_name
from iscsi_protocol.pdu.base import PDU_CLASSES

READ = bytes([0x28]) + bytes(9)
WRITE = bytes([0x2A]) + bytes(9)


def options(*, digests):
    wish = REQUIRE_DIGEST if digests else NO_DIGEST
    return SessionOptions(
        portal=Endpoint("192.0.2.10", 3260),
        target_name="iqn.2026-01.org.example:disk",
        header_digest=wish,
        data_digest=wish,
    )


def pattern(length):
    return (bytes(range(256)) * (length // 256 + 1))[:length]


LIMITS = st.fixed_dictionaries(
    {
        "MaxRecvDataSegmentLength": st.integers(512, 9000),
        "MaxBurstLength": st.integers(512, 20000),
        "FirstBurstLength": st.integers(512, 20000),
        "InitialR2T": st.sampled_from(["Yes", "No"]),
        "ImmediateData": st.sampled_from(["Yes", "No"]),
    }
)


@settings(max_examples=60)
@given(limits=LIMITS, length=st.integers(1, 60_000), digests=st.booleans(), burst=st.integers(1, 20_000))
def test_writes_of_any_size_arrive_whole_and_within_the_limits(bench_class, limits, length, digests, burst):
    limits["FirstBurstLength"] = min(limits["FirstBurstLength"], limits["MaxBurstLength"])
    answers = {key: str(value) for key, value in limits.items()}
    bench = bench_class(options=options(digests=digests), answers=answers)
    bench.login()
    assert bench.ups == 1
    segment, first = limits["MaxRecvDataSegmentLength"], limits["FirstBurstLength"]
    data = pattern(length)
    request = ScsiRequest(0, WRITE, data_out=data)
    bench.submit(request)
    command = bench.take(ScsiCommand)
    got = bytearray(length)
    seen = len(command.data)
    got[:seen] = command.data
    assert seen <= min(segment, first)
    assert (seen > 0) is (limits["ImmediateData"] == "Yes")

    def take_sequence(ttt, expected):
        nonlocal seen
        data_sn = 0
        while True:
            pdu = bench.take(DataOut)
            assert (pdu.ttt, pdu.data_sn, pdu.buffer_offset) == (ttt, data_sn, seen)
            assert len(pdu.data) <= segment
            got[seen : seen + len(pdu.data)] = pdu.data
            seen += len(pdu.data)
            expected -= len(pdu.data)
            data_sn += 1
            if pdu.final:
                break
        assert expected == 0

    if not command.final:
        assert limits["InitialR2T"] == "No"
        take_sequence(0xFFFFFFFF, min(first, length) - seen)
    elif limits["InitialR2T"] == "No":
        assert seen == min(first, length)
    r2t_sn = 0
    while seen < length:
        wanted = min(burst, limits["MaxBurstLength"], length - seen)
        bench.give(
            R2T(
                itt=command.itt,
                ttt=r2t_sn,
                r2t_sn=r2t_sn,
                buffer_offset=seen,
                desired_data_transfer_length=wanted,
                **bench.numbers(consume=False),
            )
        )
        take_sequence(r2t_sn, wanted)
        r2t_sn += 1
        if r2t_sn > 40:
            burst = 20_000
    bench.give(bench.response(command))
    assert request.result.status == 0
    assert bytes(got) == data
    assert bench.log == []
    assert bench.sent == []


@settings(max_examples=60)
@given(
    length=st.integers(1, 40_000),
    cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=40),
    chunks=st.lists(st.integers(1, 4000), min_size=1, max_size=60),
    digests=st.booleans(),
    with_status=st.booleans(),
)
def test_reads_of_any_cut_and_any_chunking_arrive_whole(bench_class, length, cuts, chunks, digests, with_status):
    bench = bench_class(options=options(digests=digests))
    bench.login()
    data = pattern(length)
    request = ScsiRequest(0, READ, data_in=length)
    bench.submit(request)
    command = bench.take(ScsiCommand)
    stream = b""
    offset = data_sn = 0
    while offset < length:
        piece = data[offset : offset + (cuts[data_sn] if data_sn < len(cuts) else 8000)]
        last = offset + len(piece) == length
        fields = {"status_present": True, "stat_sn": bench.stat_sn} if last and with_status else {}
        pdu = DataIn(final=last, itt=command.itt, data_sn=data_sn, buffer_offset=offset, data=piece, **fields)
        stream += encode(pdu).with_digests(header=digests, data=digests).to_bytes()
        offset += len(piece)
        data_sn += 1
    if not with_status:
        response = bench.response(command, exp_data_sn=data_sn)
        stream += encode(response).with_digests(header=digests, data=digests).to_bytes()
    at = index = 0
    while at < len(stream):
        size = chunks[index % len(chunks)] if index < 60 else len(stream)
        bench.give_bytes(stream[at : at + size])
        at += size
        index += 1
    assert request.result.status == 0
    assert request.result.received == length
    assert bytes(request.data_in) == data
    assert bench.log == []


@given(data=st.binary(max_size=400), cut=st.integers(1, 100), digests=st.booleans(), login=st.booleans())
def test_random_bytes_never_do_more_than_log_and_drop(bench_class, data, cut, digests, login):
    bench = bench_class(options=options(digests=digests))
    if login:
        bench.login()
        bench.submit(ScsiRequest(0, READ, data_in=64))
    else:
        bench.connect()
    for at in range(0, len(data), cut):
        bench.give_bytes(data[at : at + cut])
    assert len(bench.log) <= 1
    assert set(bench.log) <= set(EVENTS)
    bench.advance(1000)


HEADERS = st.builds(
    lambda opcode, rest: bytes([opcode]) + rest,
    st.sampled_from([opcode for opcode in PDU_CLASSES if opcode >= 0x20]),
    st.binary(min_size=47, max_size=47),
)


@settings(max_examples=200)
@given(
    header=HEADERS,
    itt=st.one_of(st.none(), st.integers(1, 4)),
    stat=st.booleans(),
    tail=st.binary(max_size=64),
)
def test_random_headers_raise_one_event_at_most(bench_class, header, itt, stat, tail):
    bench = bench_class(options=options(digests=False))
    bench.login()
    for request in (ScsiRequest(0, READ, data_in=64), ScsiRequest(0, WRITE, data_out=bytes(9000))):
        bench.submit(request)
    raw = bytearray(header)
    raw[4:8] = len(tail).to_bytes(4, "big")
    if itt is not None:
        raw[16:20] = itt.to_bytes(4, "big")
    if stat:
        raw[24:28] = bench.stat_sn.to_bytes(4, "big")
    bench.give_bytes(bytes(raw) + tail + bytes(-len(tail) & 3))
    logged = [event for event in bench.events if isinstance(event, EventLogged)]
    assert len(logged) <= 1, (opcode_name(raw[0]), logged)
    bench.advance(300)


def test_an_engine_can_be_forked(up):
    bench = up()
    request = ScsiRequest(0, READ, data_in=8)
    bench.submit(request)
    command = bench.take(ScsiCommand)
    fork = copy.deepcopy(bench)
    bench.give(bench.read_response(command, b"original"))
    fork.give(fork.read_response(command, b"the fork"))
    assert bytes(request.data_in) == b"original"
    assert bench.log == fork.log == []
    mine = [event.request for event in fork.events if hasattr(event, "request")]
    assert bytes(mine[0].data_in) == b"the fork"


@pytest.mark.parametrize("buffer", [bytearray(16), memoryview(bytearray(16))])
def test_data_goes_into_the_callers_buffer(up, buffer):
    bench = up()
    request = ScsiRequest(0, READ, data_in=buffer)
    bench.submit(request)
    bench.give(bench.read_response(bench.take(ScsiCommand), b"sixteen bytes ok"))
    assert bytes(buffer) == b"sixteen bytes ok"


def test_settings_are_bounded():
    with pytest.raises(ValueError, match="MaxBurstLength"):
        Settings(max_burst_length=16777216)
    with pytest.raises(ValueError, match="FirstBurstLength"):
        Settings(first_burst_length=1024, max_burst_length=512)
    assert Settings().declared()["MaxRequestHoldTime"] == 60
