"""Data-Out that is lost at recovery level 1 is asked for again by recovery R2Ts (RFC 7143 7.8, 7.9, 11.8, Appendix D.2.3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import R2T, Reject, RejectReason, ScsiResponse, encode
from iscsi_target.config import Timers
from iscsi_target.data_out import RECOVERY_TRIES
from iscsi_target.policy import Policy

KEYS = {"ErrorRecoveryLevel": "2"}
LEVEL1 = (
    ("ErrorRecoveryLevel", "1"),
    ("DataDigest", "CRC32C"),
    ("DataSequenceInOrder", "No"),
    ("DataPDUInOrder", "No"),
    ("MaxOutstandingR2T", "4"),
    ("ImmediateData", "No"),
    ("MaxBurstLength", "4096"),
    ("FirstBurstLength", "2048"),
)
LUN0 = bytes(8)
PATTERN = b"".join(index.to_bytes(2, "big") for index in range(8192))


def keys(**changed):
    return tuple((dict(LEVEL1) | changed).items())


@pytest.fixture
def bench(make_bench):
    return make_bench(keys=KEYS)


@pytest.fixture
def host(bench):
    return bench.session(*LEVEL1)


def spoilt(host, pdu):
    """The same PDU with a wrong data digest."""
    raw = encode(pdu).with_digests(header=host.digests[0], data=True)
    raw.data_digest = bytes(4)
    host.feed(raw.to_bytes())


def piece(host, r2t, sn, start, length, *, final=False):
    start += r2t.buffer_offset
    return host.data_out(r2t, PATTERN[start : start + length], data_sn=sn, offset=start, final=final)


def answer(host, r2t):
    host.send(piece(host, r2t, 0, 0, r2t.desired_data_transfer_length, final=True))


def finished(bench, host, length):
    assert host.take(ScsiResponse).status == 0
    assert not host.inbox
    assert bytes(bench.device.memory[LUN0][:length]) == PATTERN[:length]


def begin(host, blocks=8, **fields):
    command = host.write(0, blocks, **fields)
    host.send(command)
    return command


def test_data_digest_error(bench, host):
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 1024))
    spoilt(host, piece(host, r2t, 1, 1024, 1024))
    assert host.take(Reject).reason == RejectReason.DATA_DIGEST_ERROR
    host.send(piece(host, r2t, 2, 2048, 1024))
    assert not host.inbox
    host.send(piece(host, r2t, 3, 3072, 1024, final=True))
    again = host.take(R2T)
    assert (again.r2t_sn, again.buffer_offset, again.desired_data_transfer_length) == (1, 1024, 1024)
    assert again.ttt != r2t.ttt
    answer(host, again)
    finished(bench, host, 4096)


@pytest.mark.parametrize("which", ["had", "too late", "unasked"])
def test_data_digest_error_where_the_data_counts_for_nothing(make_bench, which):
    bench = make_bench(keys=KEYS, timers=Timers(data_out=5))
    host = bench.session(*LEVEL1)
    command = begin(host)
    r2t = host.take(R2T)
    last = r2t
    first = piece(host, r2t, 0, 0, 1024)
    host.send(first)
    if which == "too late":
        bench.pass_time(5)
        host.collect()
        last = host.take(R2T)
    late = host.data_out(command, bytes(512), offset=0) if which == "unasked" else first
    spoilt(host, late)
    assert host.take(Reject).reason == RejectReason.DATA_DIGEST_ERROR
    assert not host.inbox
    left = 4096 - last.desired_data_transfer_length
    host.send(piece(host, last, 1 if last is r2t else 0, 1024 - left, 3072, final=True))
    finished(bench, host, 4096)


def test_data_digest_error_in_the_last_pdu(bench, host):
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 1024))
    spoilt(host, piece(host, r2t, 1, 1024, 3072, final=True))
    host.take(Reject)
    again = host.take(R2T)
    assert (again.buffer_offset, again.desired_data_transfer_length) == (1024, 3072)
    answer(host, again)
    finished(bench, host, 4096)


@pytest.mark.parametrize("in_order", ["Yes", "No"])
def test_lost_pdu(bench, in_order):
    host = bench.session(*keys(DataPDUInOrder=in_order))
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 1024))
    host.send(piece(host, r2t, 2, 2048, 1024))
    host.send(piece(host, r2t, 3, 3072, 1024, final=True))
    again = host.take(R2T)
    assert (again.r2t_sn, again.buffer_offset, again.desired_data_transfer_length) == (1, 1024, 1024)
    answer(host, again)
    finished(bench, host, 4096)


def test_two_holes(bench, host):
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 1, 1024, 1024))
    host.send(piece(host, r2t, 3, 3072, 1024, final=True))
    holes = [host.take(R2T), host.take(R2T)]
    assert [(each.buffer_offset, each.desired_data_transfer_length) for each in holes] == [(0, 1024), (2048, 1024)]
    for each in holes:
        answer(host, each)
    finished(bench, host, 4096)


def test_one_r2t_at_a_time_in_order(bench):
    host = bench.session(*keys(DataSequenceInOrder="Yes", MaxOutstandingR2T="1"))
    begin(host, 16)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 1024))
    host.send(piece(host, r2t, 2, 2048, 2048, final=True))
    again = host.take(R2T)
    assert not host.inbox
    assert (again.r2t_sn, again.buffer_offset, again.desired_data_transfer_length) == (1, 1024, 1024)
    answer(host, again)
    following = host.take(R2T)
    assert (following.r2t_sn, following.buffer_offset) == (2, 4096)
    answer(host, following)
    finished(bench, host, 8192)


def test_short_burst(bench, host):
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 1024, final=True))
    again = host.take(R2T)
    assert (again.buffer_offset, again.desired_data_transfer_length) == (1024, 3072)
    answer(host, again)
    finished(bench, host, 4096)


def test_unsolicited_data(bench):
    host = bench.session(*keys(InitialR2T="No"))
    command = begin(host, 4, final=False)
    host.send(host.data_out(command, PATTERN[:512], offset=0, final=False))
    spoilt(host, host.data_out(command, PATTERN[512:2048], data_sn=1, offset=512))
    host.take(Reject)
    again = host.take(R2T)
    assert (again.r2t_sn, again.buffer_offset, again.desired_data_transfer_length) == (0, 512, 1536)
    answer(host, again)
    finished(bench, host, 2048)


def test_command_with_spoilt_immediate_data(bench):
    host = bench.session(*keys(ImmediateData="Yes", FirstBurstLength="4096"))
    command = host.write(0, 4, data=PATTERN[:2048])
    spoilt(host, command)
    assert host.take(Reject).reason == RejectReason.DATA_DIGEST_ERROR
    assert not bench.device.log[1:]
    following = host.read(0, 4)
    host.send(following)
    assert not host.inbox
    host.send(command)
    assert host.take(ScsiResponse).itt == command.itt
    assert bytes(host.take().data) == PATTERN[:2048]
    # A further retry is a duplicate.
    host.send(command)
    host.alive()


def test_pdu_that_comes_twice(bench, host):
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 2048))
    host.send(piece(host, r2t, 0, 0, 2048))
    host.send(piece(host, r2t, 1, 2048, 2048, final=True))
    finished(bench, host, 4096)


def test_digest_that_is_always_wrong(bench, host):
    begin(host, 1)
    for count in range(RECOVERY_TRIES + 1):
        r2t = host.take(R2T)
        assert r2t.r2t_sn == count
        spoilt(host, piece(host, r2t, 0, 0, 512, final=True))
        assert host.take(Reject).reason == RejectReason.DATA_DIGEST_ERROR
    response = host.take(ScsiResponse)
    assert response.status == 2
    assert bytes(response.data[4:5]) == b"\x0b"
    assert bytes(response.data[14:16]) == b"\x47\x05"
    host.alive()


def test_timeout(make_bench):
    bench = make_bench(keys=KEYS, timers=Timers(data_out=5))
    host = bench.session(*LEVEL1)
    begin(host, 16)
    first, second = host.take(R2T), host.take(R2T)
    host.send(piece(host, first, 0, 0, 1024))
    bench.pass_time(5)
    host.collect()
    again = [host.take(R2T), host.take(R2T)]
    assert [(each.r2t_sn, each.buffer_offset, each.desired_data_transfer_length) for each in again] == [
        (2, 1024, 3072), (3, 4096, 4096)
    ]  # fmt: skip
    # What comes too late is dropped.
    host.send(piece(host, second, 0, 0, 4096, final=True))
    assert not host.inbox
    for each in again:
        answer(host, each)
    finished(bench, host, 8192)


def test_data_that_never_comes(make_bench):
    bench = make_bench(keys=KEYS, timers=Timers(data_out=5))
    host = bench.session(*LEVEL1)
    begin(host, 1)
    for _ in range(RECOVERY_TRIES + 1):
        host.take(R2T)
        bench.pass_time(5)
        host.collect()
    assert host.take(ScsiResponse).status == 2
    host.alive()


def test_level_0_fails_the_task(bench):
    host = bench.session(*keys(ErrorRecoveryLevel="0"))
    begin(host)
    r2t = host.take(R2T)
    spoilt(host, piece(host, r2t, 0, 0, 4096, final=True))
    host.take(Reject)
    assert host.take(ScsiResponse).status == 2


def test_wrong_place_is_no_loss(host):
    begin(host)
    r2t = host.take(R2T)
    host.send(host.data_out(r2t, PATTERN[:512], offset=8192))
    assert host.take(Reject).reason == RejectReason.INVALID_PDU_FIELD
    assert host.take(ScsiResponse).status == 2


@given(data=st.data(), blocks=st.integers(1, 24), unsolicited=st.booleans())
def test_any_loss_is_made_good(make_bench, data, blocks, unsolicited):
    bench = make_bench(keys=KEYS, timers=Timers(data_out=5))
    host = bench.session(*keys(InitialR2T="No" if unsolicited else "Yes"))
    command = begin(host, blocks, final=not unsolicited)
    length = blocks * 512
    wanted = [(command, 0, min(2048, length))] if unsolicited else []
    for _ in range(60):
        while host.inbox and isinstance(host.inbox[0], R2T | Reject):
            pdu = host.take()
            if isinstance(pdu, R2T):
                wanted.append((pdu, pdu.buffer_offset, pdu.desired_data_transfer_length))
        if host.inbox:
            break
        if not wanted:
            bench.pass_time(5)
            host.collect()
            continue
        where, start, size = wanted.pop(0)
        count = size // 512
        fates = data.draw(st.lists(st.sampled_from(["sent", "sent", "spoilt", "lost"]), min_size=count, max_size=count))
        if all(fate != "sent" for fate in fates):
            fates[0] = "sent"
        for sn, fate in enumerate(fates):
            offset = start + sn * 512
            pdu = host.data_out(where, PATTERN[offset : offset + 512], data_sn=sn, offset=offset, final=sn == count - 1)
            if fate == "sent":
                host.send(pdu)
            elif fate == "spoilt":
                spoilt(host, pdu)
    finished(bench, host, length)


def test_header_digest_error_that_is_passed_over(make_bench):
    bench = make_bench(keys=KEYS, policy=Policy(ignore_header_digest=True))
    host = bench.session(*keys(HeaderDigest="CRC32C"))
    begin(host)
    r2t = host.take(R2T)
    host.send(piece(host, r2t, 0, 0, 1024))
    raw = encode(piece(host, r2t, 1, 1024, 1024)).with_digests(header=True, data=True)
    raw.header_digest = bytes(4)
    host.feed(raw.to_bytes())
    host.send(piece(host, r2t, 2, 2048, 2048, final=True))
    again = host.take(R2T)
    assert (again.buffer_offset, again.desired_data_transfer_length) == (1024, 1024)
    answer(host, again)
    finished(bench, host, 4096)


def test_header_digest_error_closes_the_connection(bench):
    host = bench.session(*keys(HeaderDigest="CRC32C"))
    host.feed(bytes(52))
    assert host.closed == "rst"
