"""Data from the initiator: R2Ts, unsolicited bursts, and what happens when they are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import NO_TAG, R2T, RawPdu, Reject, ScsiResponse, encode
from iscsi_target.config import Limits, Size, Timers
from iscsi_target.policy import Policy

CRC, UNEXPECTED, AMOUNT = b"\x47\x05", b"\x0c\x0c", b"\x0c\x0d"
SMALL = (("MaxBurstLength", "1024"), ("FirstBurstLength", "512"))


def failure(response):
    assert isinstance(response, ScsiResponse)
    assert response.status == 2
    sense = response.data[2:]
    assert sense[2] == 0x0B
    return bytes(sense[12:14])


def solicited(host, **fields):
    """A write of two blocks for which one R2T asks."""
    return host.ask(host.write(blocks=2, **fields), R2T)


def test_solicited_write(bench):
    host = bench.session()
    r2t = solicited(host)
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length, r2t.r2t_sn) == (0, 1024, 0)
    assert r2t.ttt != NO_TAG
    host.send(host.data_out(r2t, b"a" * 512, final=False))
    assert not host.inbox
    assert host.ask(host.data_out(r2t, b"b" * 512, data_sn=1, offset=512), ScsiResponse).status == 0
    assert bench.device.memory[bytes(8)][:1024] == b"a" * 512 + b"b" * 512


def test_r2ts_cover_the_whole_in_bursts(bench):
    host = bench.session(*SMALL, ("MaxOutstandingR2T", "2"))
    host.send(host.write(blocks=7))
    first, second = host.take(R2T), host.take(R2T)
    assert not host.inbox
    third = host.ask(host.data_out(first, bytes(1024)), R2T)
    host.ask(host.data_out(second, bytes(1024)), R2T)
    host.send(host.data_out(third, bytes(1024)))
    seen = [first, second, third]
    assert [(r2t.r2t_sn, r2t.buffer_offset, r2t.desired_data_transfer_length) for r2t in seen] == [
        (0, 0, 1024),
        (1, 1024, 1024),
        (2, 2048, 1024),
    ]


def test_immediate_data_and_the_rest(bench):
    host = bench.session()
    r2t = host.ask(host.write(blocks=3, data=b"i" * 512), R2T)
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (512, 1024)
    host.ask(host.data_out(r2t, b"s" * 1024), ScsiResponse)
    assert bench.device.memory[bytes(8)][:1536] == b"i" * 512 + b"s" * 1024


def test_unsolicited_burst(bench):
    host = bench.session(("InitialR2T", "No"), ("FirstBurstLength", "1024"))
    command = host.write(blocks=4, data=b"i" * 256, final=False)
    host.send(command)
    assert not host.inbox
    host.send(host.data_out(command, b"u" * 512, offset=256, final=False))
    r2t = host.ask(host.data_out(command, b"v" * 256, offset=768, data_sn=1), R2T)
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (1024, 1024)
    host.ask(host.data_out(r2t, b"w" * 1024), ScsiResponse)
    assert bench.device.memory[bytes(8)][:2048] == b"i" * 256 + b"u" * 512 + b"v" * 256 + b"w" * 1024


def test_zero_length_segments_are_taken(bench):
    host = bench.session()
    r2t = solicited(host)
    host.send(host.data_out(r2t, b"", final=False))
    host.send(host.data_out(r2t, bytes(1024), data_sn=1, final=False))
    assert host.ask(host.data_out(r2t, b"", data_sn=2, offset=1024), ScsiResponse).status == 0


@pytest.mark.parametrize("order", ["Yes", "No"])
def test_pdus_in_any_order_where_agreed(bench, order):
    host = bench.session(("DataPDUInOrder", order))
    r2t = solicited(host)
    host.send(host.data_out(r2t, b"b" * 512, offset=512, final=False))
    if order == "Yes":
        assert host.take(Reject).reason == 0x09
        assert failure(host.ask(host.data_out(r2t, b"a" * 512, data_sn=1))) == AMOUNT
    else:
        assert host.ask(host.data_out(r2t, b"a" * 512, data_sn=1), ScsiResponse).status == 0
        assert bench.device.memory[bytes(8)][:1024] == b"a" * 512 + b"b" * 512


@pytest.mark.parametrize("order", ["Yes", "No"])
def test_sequences_in_any_order_where_agreed(bench, order):
    host = bench.session(*SMALL, ("MaxOutstandingR2T", "2"), ("DataSequenceInOrder", order))
    host.send(host.write(blocks=4))
    first, second = host.take(R2T), host.take(R2T)
    host.send(host.data_out(second, b"2" * 1024))
    if order == "Yes":
        assert host.take(Reject).reason == 0x04
        assert failure(host.ask(host.data_out(first, b"1" * 1024))) == AMOUNT
    else:
        assert host.ask(host.data_out(first, b"1" * 1024), ScsiResponse).status == 0


# What is not allowed


def test_immediate_data_that_was_not_agreed_upon(bench):
    host = bench.session(("ImmediateData", "No"))
    assert failure(host.ask(host.write(data=bytes(512)))) == UNEXPECTED
    assert (0x2A, 512) not in bench.device.log


def test_immediate_data_over_the_first_burst(bench):
    host = bench.session(*SMALL)
    assert failure(host.ask(host.write(blocks=2, data=bytes(1024)))) == AMOUNT


def test_immediate_data_over_the_expected_length(bench):
    host = bench.session()
    assert failure(host.ask(host.write(blocks=1, data=bytes(516)))) == AMOUNT


def test_data_with_a_read(bench):
    host = bench.session()
    assert failure(host.ask(host.read(data=bytes(4)))) == UNEXPECTED


def test_unsolicited_data_that_was_not_agreed_upon_is_waited_for(bench):
    host = bench.session(("InitialR2T", "Yes"))
    command = host.write(blocks=2, final=False)
    host.send(command)
    assert not host.inbox
    host.send(host.data_out(command, bytes(512), offset=0, final=False))
    assert not host.inbox
    assert failure(host.ask(host.data_out(command, bytes(512), offset=512, data_sn=1))) == UNEXPECTED


def test_switch_takes_unsolicited_data(make_bench):
    host = make_bench(policy=Policy(accept_unsolicited_data=True)).session(("InitialR2T", "Yes"))
    command = host.write(final=False)
    host.send(command)
    assert host.ask(host.data_out(command, bytes(512), offset=0), ScsiResponse).status == 0


def test_unsolicited_data_that_was_not_announced(bench):
    host = bench.session(("InitialR2T", "No"))
    command = host.write(blocks=2)
    r2t = host.ask(command, R2T)
    host.send(host.data_out(command, bytes(512), offset=0))
    assert not host.inbox
    assert failure(host.ask(host.data_out(r2t, bytes(1024)))) == UNEXPECTED


@pytest.mark.parametrize("ignored", [False, True])
def test_unsolicited_burst_too_short(make_bench, ignored):
    host = make_bench(policy=Policy(ignore_data_amount=ignored)).session(
        ("InitialR2T", "No"), ("FirstBurstLength", "1024")
    )
    command = host.write(blocks=4, final=False)
    host.send(command)
    answer = host.ask(host.data_out(command, bytes(512), offset=0))
    if ignored:
        assert (answer.buffer_offset, answer.desired_data_transfer_length) == (512, 1536)
    else:
        assert failure(answer) == AMOUNT


def test_answer_to_an_r2t_too_short(bench):
    host = bench.session()
    assert failure(host.ask(host.data_out(solicited(host), bytes(512)))) == AMOUNT


def test_answer_to_an_r2t_too_long(bench):
    host = bench.session()
    host.send(host.data_out(solicited(host), bytes(1028)))
    assert host.take(Reject).reason == 0x09
    assert failure(host.take()) == AMOUNT


@pytest.mark.parametrize(
    "fields", [{"ttt": 0x1234}, {"itt": 0x4321}, {"lun": b"\0\5\0\0\0\0\0\0"}, {"buffer_offset": 4}]
)
def test_data_that_belongs_nowhere(bench, fields):
    host = bench.session()
    r2t = solicited(host)
    host.send(host.data_out(r2t, bytes(512), final=False, **fields))
    reject = host.take(Reject)
    assert reject.reason == 0x09
    assert not host.inbox


@pytest.mark.parametrize("fields", [{"lun": b"\0\5\0\0\0\0\0\0"}, {"buffer_offset": 0}])
def test_switch_takes_data_from_anywhere(make_bench, fields):
    host = make_bench(policy=Policy(ignore_data_out_tags=True)).session()
    assert host.ask(host.data_out(solicited(host), bytes(1024), **fields), ScsiResponse).status == 0


@pytest.mark.parametrize("ignored", [False, True])
def test_data_sn_out_of_order(make_bench, ignored):
    host = make_bench(policy=Policy(ignore_data_sn=ignored)).session()
    r2t = solicited(host)
    host.send(host.data_out(r2t, bytes(512), data_sn=1, final=False))
    assert not host.inbox
    answer = host.ask(host.data_out(r2t, bytes(512), data_sn=2, offset=512), ScsiResponse)
    if ignored:
        assert answer.status == 0
    else:
        assert failure(answer) == CRC


@pytest.mark.parametrize("last", [False, True])
def test_data_digest_error_waits_for_the_rest(bench, last):
    host = bench.session(("DataDigest", "CRC32C"))
    r2t = solicited(host)
    good = host.data_out(r2t, bytes(512), final=False)
    bad = host.data_out(r2t, bytes(512), offset=512, data_sn=1)
    pdus = [good, bad] if last else [bad, good]
    for place, pdu in enumerate(pdus):
        values = {name: getattr(pdu, name) for name in pdu.FIELDS} | {"final": place == 1, "data_sn": place}
        values["buffer_offset"] = 512 * place
        raw = encode(type(pdu)(data=pdu.data, **values)).with_digests(header=False, data=True)
        if pdu is bad:
            raw = RawPdu(raw.bhs, data=b"\1" + bytes(511), data_digest=raw.data_digest)
        host.feed(raw.to_bytes())
    assert host.take(Reject).reason == 0x02
    assert failure(host.take()) == CRC
    assert not host.inbox


def test_digest_error_of_nobodys_data(bench):
    host = bench.session(("DataDigest", "CRC32C"))
    r2t = solicited(host)
    raw = encode(host.data_out(r2t, bytes(8), itt=99))
    host.feed(RawPdu(raw.bhs, data=raw.data, data_digest=b"evil").to_bytes())
    assert host.take(Reject).reason == 0x02
    assert not host.inbox


def test_data_for_a_finished_command(bench):
    host = bench.session()
    command = host.write(data=bytes(512))
    host.ask(command, ScsiResponse)
    assert host.ask(host.data_out(command, bytes(4), offset=0), Reject).reason == 0x09


# Room and time


def test_no_room_for_the_data_now(make_bench):
    bench = make_bench(limits=Limits(data_out_bytes=Size(1024)))
    host = bench.session()
    r2t = solicited(host)
    assert host.ask(host.write(blocks=1), ScsiResponse).status == 0x28
    host.ask(host.data_out(r2t, bytes(1024)), ScsiResponse)
    host.ask(host.write(blocks=1), R2T)


def test_no_room_for_the_data_ever(make_bench):
    host = make_bench(limits=Limits(data_out_bytes=Size(1024))).session()
    response = host.ask(host.write(blocks=3), ScsiResponse)
    assert (response.status, bytes(response.data[14:16])) == (2, b"\x55\x03")


def test_data_that_never_comes(make_bench):
    bench = make_bench(timers=Timers(data_out=10))
    host = bench.session()
    r2t = solicited(host)
    bench.pass_time(6)
    host.send(host.data_out(r2t, bytes(512), final=False))
    bench.pass_time(6)
    host.collect()
    assert not host.inbox
    bench.pass_time(6)
    host.collect()
    assert failure(host.take()) == CRC
    host.send(host.data_out(r2t, bytes(512), data_sn=1, offset=512))
    assert not host.inbox
    host.alive()


def test_switch_never_asks_for_data(make_bench):
    host = make_bench(policy=Policy(never_ask_for_data=True)).session()
    host.send(host.write(blocks=2))
    assert not host.inbox
    host.alive()


@given(
    blocks=st.integers(1, 12),
    immediate=st.integers(0, 3),
    unsolicited=st.booleans(),
    burst=st.sampled_from([512, 1024, 4096]),
    first=st.sampled_from([512, 1024]),
    r2ts=st.integers(1, 3),
    step=st.sampled_from([512, 300, 1024]),
)
def test_every_legal_way_to_write(make_bench, blocks, immediate, unsolicited, burst, first, r2ts, step):
    """However the data is spread over PDUs, what was written is what was meant."""
    bench = make_bench()
    first = min(first, burst)
    host = bench.session(
        ("InitialR2T", "No"),
        ("MaxBurstLength", str(burst)),
        ("FirstBurstLength", str(first)),
        ("MaxOutstandingR2T", str(r2ts)),
    )
    content = bytes(number % 251 for number in range(blocks * 512))
    head = min(immediate * 256, first, len(content))
    burst_end = min(first, len(content))
    unsolicited = unsolicited and head < burst_end
    command = host.write(blocks=blocks, data=content[:head], final=not unsolicited)
    host.send(command)
    if unsolicited:
        send_burst(host, command, content, head, burst_end - head, step)
    for _ in range(100):
        answer = host.take()
        if isinstance(answer, ScsiResponse):
            break
        send_burst(host, answer, content, answer.buffer_offset, answer.desired_data_transfer_length, step)
    assert (answer.status, answer.residual_count) == (0, 0)
    assert bench.device.memory[bytes(8)][: len(content)] == content
    session = bench.engine.sessions[0]
    assert session.tasks == {}
    assert bench.engine.core.data_out_bytes == 0
    assert (answer.exp_cmd_sn, answer.max_cmd_sn) == (host.cmd_sn, host.cmd_sn + 127)


def send_burst(host, source, content, offset, length, step):
    for data_sn, start in enumerate(range(offset, offset + length, step)):
        end = min(start + step, offset + length)
        last = end == offset + length
        host.send(host.data_out(source, content[start:end], data_sn=data_sn, offset=start, final=last))
