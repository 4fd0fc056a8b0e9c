"""Data/R2T SNACK, DataACK and R-Data SNACK (RFC 7143 11.7.2, 11.16.1 to 11.16.3)."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import NO_TAG, R2T, DataIn, NopIn, Reject, RejectReason, ScsiResponse, SnackRequest, SnackType
from iscsi_target.completion import Completion, FileSlice
from iscsi_target.config import Limits, Size
from iscsi_target.retained import EVICTION

KEYS = {"ErrorRecoveryLevel": "2", "MaxBurstLength": "2048", "FirstBurstLength": "512"}
LEVEL1 = (
    ("ErrorRecoveryLevel", "1"),
    ("MaxRecvDataSegmentLength", "512"),
    ("DataSequenceInOrder", "No"),
    ("MaxOutstandingR2T", "8"),
    ("ImmediateData", "No"),
    ("MaxBurstLength", "2048"),
    ("FirstBurstLength", "512"),
)
LUN0 = bytes(8)
READ_ERROR = bytes.fromhex("f00003000000000a00000000110000000000")


def snack(host, itt, begin=0, length=0, kind=SnackType.DATA_OR_R2T, **fields):
    values = {"snack_type": kind, "itt": itt, "exp_stat_sn": host.exp_stat_sn, "beg_run": begin, "run_length": length}
    return SnackRequest(**{**values, **fields})


def data_ack(host, pdu, begin):
    return snack(host, NO_TAG, begin, 0, SnackType.DATA_ACK, ttt=pdu.ttt, lun=pdu.lun)


def r_data(host, itt, tag, **fields):
    return snack(host, itt, 0, 0, SnackType.R_DATA, **{"ttt": tag, **fields})


@pytest.fixture
def bench(make_bench):
    bench = make_bench(keys=KEYS)
    fill(bench)
    return bench


@pytest.fixture
def host(bench):
    return bench.session(*LEVEL1)


def fill(bench):
    bench.device.memory[LUN0][:] = random.Random(7143).randbytes(65536)


def stored(bench, length, offset=0):
    return bytes(bench.device.memory[LUN0][offset : offset + length])


def read(host, blocks=8, **fields):
    """A read whose status is not acknowledged; its command and its PDUs."""
    first = host.exp_stat_sn
    command = host.read(0, blocks, **fields)
    host.send(command)
    host.exp_stat_sn = first
    answers = list(host.inbox)
    host.inbox.clear()
    return command, answers


def ask(host, request):
    first = host.exp_stat_sn
    host.send(request)
    host.exp_stat_sn = first
    answers = list(host.inbox)
    host.inbox.clear()
    return answers


def same(again, before):
    assert again == replace(before, exp_cmd_sn=again.exp_cmd_sn, max_cmd_sn=again.max_cmd_sn)


def test_sequences_ask_for_their_acknowledgement(host):
    _, answers = read(host, 9)
    assert [pdu.data_sn for pdu in answers] == list(range(9))
    assert [pdu.final for pdu in answers] == [False, False, False, True] * 2 + [True]
    assert [pdu.acknowledge for pdu in answers] == [False, False, False, True] * 2 + [False]
    for pdu in answers:
        assert (pdu.ttt != NO_TAG) == pdu.acknowledge
        assert pdu.lun == LUN0
    assert answers[3].ttt != answers[7].ttt
    assert answers[8].status_present


def test_level_0_asks_for_nothing(bench):
    host = bench.session(*LEVEL1[1:])
    _, answers = read(host)
    assert not any(pdu.acknowledge for pdu in answers)


@pytest.mark.parametrize(
    ("begin", "length", "found"),
    [(0, 0, range(8)), (3, 0, range(3, 8)), (3, 2, (3, 4)), (0, 8, range(8)), (7, 1, (7,)), (0, 1, (0,))],
)
def test_data_runs(host, begin, length, found):
    command, answers = read(host)
    again = ask(host, snack(host, command.itt, begin, length))
    assert len(again) == len(found)
    for pdu, sn in zip(again, found, strict=True):
        same(pdu, answers[sn])


def test_data_stays_as_it_was_read(bench, host):
    command, answers = read(host)
    bench.device.memory[LUN0][:4096] = bytes(4096)
    again = ask(host, snack(host, command.itt))
    assert b"".join(bytes(pdu.data) for pdu in again) == b"".join(bytes(pdu.data) for pdu in answers)


@pytest.mark.parametrize(("begin", "length"), [(8, 1), (8, 0), (7, 2), (0, 9), (0xFFFFFFFF, 1), (0, 0xFFFFFFFF)])
def test_data_never_sent(host, begin, length):
    command, _ = read(host)
    [reject] = ask(host, snack(host, command.itt, begin, length))
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    assert reject.data_sn == 8


def test_data_of_an_acknowledged_task(host):
    command, _ = read(host)
    host.exp_stat_sn += 1
    [reject] = ask(host, snack(host, command.itt))
    assert reject.reason == RejectReason.PROTOCOL_ERROR


@pytest.mark.parametrize("fields", [{"itt": NO_TAG}, {"ttt": 3}])
def test_tags_of_a_data_snack(host, fields):
    command, _ = read(host)
    values = {"itt": command.itt, **fields}
    [reject] = ask(host, snack(host, values.pop("itt"), **values))
    assert reject.reason == RejectReason.INVALID_PDU_FIELD


def test_unknown_task(host):
    [reject] = ask(host, snack(host, 4711, 0, 1))
    assert isinstance(reject, Reject)
    assert reject.reason == RejectReason.PROTOCOL_ERROR


def test_task_that_sent_nothing_so_far(bench, host):
    command = host.command(b"\x35" + bytes(15), read=True, expected_data_transfer_length=512)
    host.send(command)
    assert ask(host, snack(host, command.itt)) == []
    [reject] = ask(host, snack(host, command.itt, 0, 1))
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    bench.work()
    host.collect()
    host.exp_stat_sn = reject.stat_sn + 2
    assert [type(pdu) for pdu in host.inbox] == [ScsiResponse]


def test_data_ack_lets_go(bench, host):
    command, answers = read(host)
    retained = bench.engine.core.connections[host.number].retained
    held = retained.held
    assert ask(host, data_ack(host, answers[3], 4)) == []
    assert retained.held == held - 2048
    [reject] = ask(host, snack(host, command.itt, 3, 1))
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    assert reject.data_sn == 8
    assert [pdu.data_sn for pdu in ask(host, snack(host, command.itt))] == [4, 5, 6, 7]
    host.exp_stat_sn += 2
    host.alive()
    host.acknowledge()
    assert retained.held == 0
    assert not retained.exchanges
    assert not retained.tags


@pytest.mark.parametrize("begin", [0, 9, 0xFFFFFFFF])
def test_data_ack_of_what_was_never_sent(host, begin):
    _, answers = read(host)
    [reject] = ask(host, data_ack(host, answers[3], begin))
    assert reject.reason == RejectReason.INVALID_DATA_ACK


@pytest.mark.parametrize(
    "fields", [{"ttt": NO_TAG}, {"ttt": 0xDEAD}, {"lun": b"\0\1" + bytes(6)}, {"run_length": 1}, {"itt": 5}]
)
def test_fields_of_a_data_ack(host, fields):
    _, answers = read(host)
    values = {"ttt": answers[3].ttt, "lun": answers[3].lun, "itt": NO_TAG, "run_length": 0, **fields}
    request = SnackRequest(snack_type=SnackType.DATA_ACK, exp_stat_sn=host.exp_stat_sn, beg_run=4, **values)
    [reject] = ask(host, request)
    assert reject.reason == RejectReason.INVALID_DATA_ACK


def test_data_ack_goes_forth_only(host):
    command, answers = read(host, 12)
    for pdu, begin in ((answers[7], 8), (answers[7], 8), (answers[3], 4), (answers[3], 1)):
        assert ask(host, data_ack(host, pdu, begin)) == []
        assert [again.data_sn for again in ask(host, snack(host, command.itt))] == [8, 9, 10, 11]


def renegotiate(host, length):
    first = host.exp_stat_sn
    host.send(host.text(("MaxRecvDataSegmentLength", str(length))))
    host.take()
    host.exp_stat_sn = first


def test_r_data_segments_anew(bench, host):
    command, answers = read(host)
    renegotiate(host, 1024)
    again = ask(host, r_data(host, command.itt, 77))
    *data, response = again
    assert [pdu.data_sn for pdu in data] == [0, 1, 2, 3]
    assert [len(pdu.data) for pdu in data] == [1024] * 4
    assert not any(pdu.status_present for pdu in data)
    assert b"".join(bytes(pdu.data) for pdu in data) == stored(bench, 4096)
    assert isinstance(response, ScsiResponse)
    assert response.snack_tag == 77
    assert response.stat_sn == answers[-1].stat_sn
    assert response.exp_data_sn == 4
    # The status is had again as it is now.
    status = snack(host, NO_TAG, response.stat_sn, 1, SnackType.STATUS)
    [latest] = ask(host, status)
    same(latest, response)


def test_r_data_starts_at_the_acknowledged_number(bench, host):
    command, answers = read(host)
    ask(host, data_ack(host, answers[3], 4))
    renegotiate(host, 1024)
    *data, response = ask(host, r_data(host, command.itt, 1))
    assert [(pdu.data_sn, pdu.buffer_offset) for pdu in data] == [(4, 2048), (5, 3072)]
    assert b"".join(bytes(pdu.data) for pdu in data) == stored(bench, 2048, 2048)
    assert response.exp_data_sn == 6


def test_r_data_twice(host):
    command, _ = read(host)
    ask(host, r_data(host, command.itt, 5))
    [reject] = ask(host, r_data(host, command.itt, 5))
    assert reject.reason == RejectReason.INVALID_PDU_FIELD
    assert ask(host, r_data(host, command.itt, 6))[-1].snack_tag == 6


def test_data_snack_after_the_length_shrank(host):
    command, answers = read(host)
    renegotiate(host, 512)
    for pdu, before in zip(ask(host, snack(host, command.itt)), answers, strict=True):
        same(pdu, before)
    renegotiate(host, 1024)
    command, _ = read(host)
    renegotiate(host, 512)
    [reject] = ask(host, snack(host, command.itt))
    assert reject.reason == RejectReason.SNACK_REJECT
    assert len(ask(host, r_data(host, command.itt, 9))) == 9


@pytest.mark.parametrize("fields", [{"ttt": 0}, {"ttt": NO_TAG}, {"beg_run": 1}, {"run_length": 1}, {"itt": NO_TAG}])
def test_fields_of_an_r_data_snack(host, fields):
    command, _ = read(host)
    values = {"itt": command.itt, "ttt": 5, "beg_run": 0, "run_length": 0, **fields}
    [reject] = ask(host, SnackRequest(snack_type=SnackType.R_DATA, exp_stat_sn=host.exp_stat_sn, **values))
    assert reject.reason == RejectReason.INVALID_PDU_FIELD


def test_r_data_before_there_is_data(bench, host):
    command = host.command(b"\x35" + bytes(15), read=True, expected_data_transfer_length=512)
    host.send(command)
    assert ask(host, r_data(host, command.itt, 31)) == []
    bench.work()
    host.collect()
    assert host.take(ScsiResponse).snack_tag == 31


def test_r_data_for_a_write(host):
    host.send(host.write(0, 4))
    r2t = host.take(R2T)
    [reject] = ask(host, r_data(host, r2t.itt, 3))
    assert reject.reason == RejectReason.PROTOCOL_ERROR


def test_error_after_data(bench, host):
    bench.device.next = Completion(2, bytes(range(256)) * 2, 512, READ_ERROR)
    command, answers = read(host, 1)
    assert [type(pdu) for pdu in answers] == [DataIn, ScsiResponse]
    [again] = ask(host, snack(host, command.itt))
    same(again, answers[0])
    assert answers[1].exp_data_sn == 1


def test_overflow_and_underflow(bench, host):
    bench.device.next = Completion(0, bytes(4096), 4096)
    command, answers = read(host, 2)
    assert sum(len(pdu.data) for pdu in answers) == 1024
    assert answers[-1].overflow
    assert answers[-1].residual_count == 3072
    response = ask(host, r_data(host, command.itt, 5))[-1]
    assert (response.overflow, response.residual_count) == (True, 3072)


def test_r2t_again(host):
    host.send(host.write(0, 12))
    r2ts = [host.take(R2T) for _ in range(3)]
    host.ask(host.command())
    again = ask(host, snack(host, r2ts[0].itt, 1, 2))
    assert again == [replace(pdu, stat_sn=host.exp_stat_sn, exp_cmd_sn=host.cmd_sn, max_cmd_sn=again[0].max_cmd_sn)
                     for pdu in r2ts[1:]]  # fmt: skip
    assert len(ask(host, snack(host, r2ts[0].itt))) == 3


def test_r2t_that_was_answered(host):
    host.send(host.write(0, 12))
    r2ts = [host.take(R2T) for _ in range(3)]
    for index in range(4):
        pdu = host.data_out(r2ts[0], bytes(512), data_sn=index, offset=index * 512, final=index == 3)
        assert ask(host, pdu) == []
    [reject] = ask(host, snack(host, r2ts[0].itt, 0, 1))
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    assert reject.data_sn == 3
    assert [pdu.r2t_sn for pdu in ask(host, snack(host, r2ts[0].itt))] == [1, 2]


def test_task_tag_used_again(bench, host):
    command, _ = read(host, 2)
    bench.device.memory[LUN0][:1024] = b"B" * 1024
    second, answers = read(host, 2, itt=command.itt)
    for pdu, before in zip(ask(host, snack(host, second.itt)), answers, strict=True):
        same(pdu, before)
    host.exp_stat_sn += 1
    for pdu, before in zip(ask(host, snack(host, second.itt)), answers, strict=True):
        same(pdu, before)


@given(data=st.data(), blocks=st.integers(1, 24), segment=st.sampled_from([512, 516, 1024, 2048]))
def test_any_loss_is_made_good(make_bench, data, blocks, segment):
    bench = make_bench(keys=KEYS)
    fill(bench)
    host = bench.session(*LEVEL1[:1], ("MaxRecvDataSegmentLength", str(segment)), *LEVEL1[2:])
    command, answers = read(host, blocks)
    count = len(answers)
    lost = data.draw(st.sets(st.integers(0, count - 1)))
    got = {pdu.data_sn: pdu for pdu in answers if pdu.data_sn not in lost}
    for sn in sorted(lost):
        if sn in got:
            continue
        length = data.draw(st.integers(0, count - sn)) if sn else data.draw(st.integers(1, count))
        for pdu in ask(host, snack(host, command.itt, sn, length)):
            assert isinstance(pdu, DataIn)
            got[pdu.data_sn] = pdu
    assert sorted(got) == list(range(count))
    assert b"".join(bytes(got[sn].data) for sn in range(count)) == stored(bench, blocks * 512)
    assert got[count - 1].status_present


def test_task_tag_used_again_by_what_is_not_over(bench, host):
    command, _ = read(host, 2)
    host.send(host.command(b"\x35" + bytes(15), itt=command.itt, read=True, expected_data_transfer_length=512))
    assert ask(host, snack(host, command.itt)) == []
    [reject] = ask(host, snack(host, command.itt, 0, 1))
    assert reject.reason == RejectReason.PROTOCOL_ERROR
    assert ask(host, r_data(host, command.itt, 9)) == []
    bench.work()
    host.collect()
    assert host.take(ScsiResponse).snack_tag == 9


def test_other_connection(bench):
    host = bench.session(*LEVEL1, ("MaxConnections", "2"))
    other = bench.host(cid=1)
    other.tsih = host.tsih
    other.login()
    command, _ = read(host)
    slow = host.command(b"\x35" + bytes(15))
    host.send(slow)
    for itt in (command.itt, slow.itt):
        [reject] = ask(other, snack(other, itt))
        assert reject.reason == RejectReason.PROTOCOL_ERROR


def test_reserved_type(host):
    assert ask(host, snack(host, 1, kind=4)) == []
    assert host.closed == "rst"


def test_bytes_at_the_limit(make_bench):
    bench = make_bench(keys=KEYS, limits=Limits(retained_bytes=Size(4096)))
    host = bench.session(*LEVEL1)
    _, answers = read(host)
    assert [type(pdu) for pdu in ask(host, host.read(0, 1))] == [NopIn]
    [more] = ask(host, data_ack(host, answers[3], 4))
    assert isinstance(more, DataIn)
    assert bench.engine.core.connections[host.number].retained.held < 4096


def test_file_slices_are_read_before_they_are_sent(bench, host, tmp_path):
    path = tmp_path / "blocks"
    path.write_bytes(b"A" * 1024)
    with path.open("r+b") as file:
        bench.device.next = Completion(0, FileSlice(file.fileno(), 0, 1024), 1024)
        command, answers = read(host, 2)
        file.write(b"B" * 1024)
        file.flush()
        again = ask(host, snack(host, command.itt))
    assert b"".join(bytes(pdu.data) for pdu in again) == b"A" * 1024
    assert answers == again


def test_responses_that_nobody_acknowledges_are_let_go_of(make_bench):
    bench = make_bench(keys=KEYS, limits=Limits(retained_responses=2))
    host = bench.session(*LEVEL1)
    first = host.exp_stat_sn
    for _ in range(20):
        ask(host, snack(host, 4711, 0, 1))
    retained = bench.engine.core.connections[host.number].retained
    assert len(retained.responses) == 2 * EVICTION
    [reject] = ask(host, snack(host, NO_TAG, first, 1, SnackType.STATUS))
    assert reject.reason == RejectReason.SNACK_REJECT


def test_status_of_data_that_was_acknowledged(host):
    _, answers = read(host)
    assert ask(host, data_ack(host, answers[3], 8)) == []
    [again] = ask(host, snack(host, NO_TAG, answers[-1].stat_sn, 1, SnackType.STATUS))
    same(again, answers[-1])


def test_engine_can_be_copied(bench, host):
    command, answers = read(host)
    twin = copy.deepcopy(bench.engine)
    host.engine = twin
    for pdu, before in zip(ask(host, snack(host, command.itt)), answers, strict=True):
        same(pdu, before)


def test_data_ack_that_acknowledges_the_status_too(host):
    _, answers = read(host)
    host.exp_stat_sn += 1
    assert ask(host, data_ack(host, answers[3], 8)) == []
    read(host)
    host.exp_stat_sn += 1
    host.acknowledge()
    [reject] = ask(host, data_ack(host, answers[3], 8))
    assert reject.reason == RejectReason.INVALID_DATA_ACK
