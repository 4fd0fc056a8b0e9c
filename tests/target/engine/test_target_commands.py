"""SCSI commands: the window, order, reads and their residuals, status, slow work."""

from __future__ import annotations

import copy

import pytest

from iscsi_protocol.pdu import (
    NO_TAG,
    R2T,
    DataIn,
    NopIn,
    RawPdu,
    Reject,
    ScsiResponse,
    bidirectional_read_length,
    encode,
    encode_ahs,
    extended_cdb,
)
from iscsi_target.completion import Completion, FileSlice
from iscsi_target.config import Limits, Size
from iscsi_target.events import Violation
from iscsi_target.policy import Policy

LUN1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))
LUN9 = bytes((0, 9, 0, 0, 0, 0, 0, 0))


def test_command_without_data(bench):
    host = bench.session()
    response = host.ask(host.command(), ScsiResponse)
    assert (response.status, response.response, response.residual_count) == (0, 0, 0)
    assert response.exp_cmd_sn == host.cmd_sn
    assert response.max_cmd_sn == host.cmd_sn + 127


def test_read_carries_its_status(bench):
    host = bench.session()
    bench.device.memory[bytes(8)][512:1024] = b"x" * 512
    data = host.ask(host.read(lba=1), DataIn)
    assert (data.final, data.status_present, data.status, data.data) == (True, True, 0, b"x" * 512)
    assert (data.data_sn, data.buffer_offset, data.ttt) == (0, 0, NO_TAG)


def test_read_is_cut_to_segments_and_bursts(bench):
    host = bench.session(("MaxRecvDataSegmentLength", "1000"), ("MaxBurstLength", "2048"), ("FirstBurstLength", "512"))
    host.send(host.read(blocks=10))
    parts = [host.take(DataIn) for _ in range(len(host.inbox))]
    assert b"".join(bytes(part.data) for part in parts) == bytes(5120)
    assert [part.data_sn for part in parts] == list(range(len(parts)))
    assert [part.buffer_offset for part in parts if part.final] == [2000, 4048 + 0, 4096 + 1000]
    assert [len(part.data) for part in parts] == [1000, 1000, 48, 1000, 1000, 48, 1000, 24]
    assert [part.status_present for part in parts] == [False] * 7 + [True]


@pytest.mark.parametrize(
    ("expected", "flags", "count", "sent"),
    [(1024, (False, False), 0, 1024), (2048, (False, True), 1024, 1024), (512, (True, False), 512, 512)],
)
def test_residual_of_a_read(bench, expected, flags, count, sent):
    host = bench.session()
    data = host.ask(host.read(blocks=2, expected_data_transfer_length=expected), DataIn)
    assert (data.overflow, data.underflow) == flags
    assert data.residual_count == count
    assert len(data.data) == sent


def test_read_that_may_return_nothing(bench):
    host = bench.session()
    response = host.ask(host.read(blocks=1, expected_data_transfer_length=0), ScsiResponse)
    assert (response.overflow, response.residual_count, response.exp_data_sn) == (True, 512, 0)


@pytest.mark.parametrize(
    ("expected", "flags", "count"),
    [(512, (False, False), 0), (1024, (False, True), 512), (0, (True, False), 512)],
)
def test_residual_of_a_write(bench, expected, flags, count):
    host = bench.session()
    response = host.ask(host.write(expected_data_transfer_length=expected, data=bytes(expected)), ScsiResponse)
    assert (response.overflow, response.underflow) == flags
    assert response.residual_count == count
    assert bench.device.log[-1] == (0x2A, min(expected, 512))


def test_check_condition_comes_with_sense_and_never_in_data_in(bench):
    host = bench.session()
    bench.device.next = Completion(2, b"abcd", 4, sense=bytes.fromhex("70000300000000"))
    host.send(host.read())
    data, response = host.take(DataIn), host.take(ScsiResponse)
    assert (data.status_present, data.final, bytes(data.data)) == (False, True, b"abcd")
    assert (response.status, response.exp_data_sn, response.underflow, response.residual_count) == (2, 1, True, 508)
    assert response.data == b"\0\x07" + bytes.fromhex("70000300000000")


def test_missing_logical_unit_is_the_device_servers_answer(bench):
    host = bench.session()
    assert host.ask(host.command(lun=LUN9), ScsiResponse).data[2 + 12 : 2 + 14] == b"\x25\x00"


def test_data_in_pieces(bench):
    host = bench.session(("MaxRecvDataSegmentLength", "512"))
    bench.device.next = Completion(0, (b"a" * 300, b"b" * 700, b"c" * 24), 1024)
    host.send(host.read(blocks=2))
    assert b"".join(bytes(part.data) for part in host.inbox) == b"a" * 300 + b"b" * 700 + b"c" * 24


# The window


@pytest.mark.parametrize("distance", [-1, -100, 128, 2**31])
def test_outside_the_window_nothing_happens(bench, distance):
    host = bench.session()
    host.send(host.command(cmd_sn=(host.cmd_sn + distance) % 2**32))
    assert not host.inbox
    host.cmd_sn -= 1
    host.alive()
    assert [event.clause for event in bench.events(Violation)] == ["R7143-4.2.2.1-12"]


def test_any_cmd_sn_is_taken_by_a_switch(make_bench):
    host = make_bench(policy=Policy(accept_any_cmd_sn=True)).session()
    assert host.ask(host.command(cmd_sn=5), ScsiResponse).status == 0


def test_commands_run_in_order_of_their_numbers(bench):
    host = bench.session()
    first, second, third = host.read(lba=0), host.command(), host.write(data=bytes(512))
    host.send(third, second)
    assert not host.inbox
    host.send(first)
    assert [type(pdu) for pdu in host.inbox] == [DataIn, ScsiResponse, ScsiResponse]
    assert [entry[0] for entry in bench.device.log[1:]] == [0x28, 0x00, 0x2A]


def test_duplicate_in_the_window_is_dropped(bench):
    host = bench.session()
    first, second = host.command(), host.command()
    host.send(second, second, first)
    assert len(host.inbox) == 2
    assert [event.clause for event in bench.events(Violation)] == ["R7143-4.2.2.1-13"]


def test_switch_delivers_out_of_order(make_bench):
    host = make_bench(policy=Policy(deliver_out_of_order=True)).session()
    first, second = host.command(), host.command()
    host.ask(second, ScsiResponse)
    host.ask(first, ScsiResponse)
    pong = host.ask(host.nop_out(), NopIn)
    assert pong.exp_cmd_sn == host.cmd_sn
    assert pong.max_cmd_sn == host.cmd_sn + 127


def test_window_closes_and_opens(make_bench):
    host = make_bench(limits=Limits(commands=3)).session()
    host.send(*[host.write(blocks=1) for _ in range(4)])
    r2ts = [host.take(R2T) for _ in range(3)]
    assert not host.inbox
    assert [r2t.max_cmd_sn - r2t.exp_cmd_sn for r2t in r2ts] == [1, 0, -1]
    response = host.ask(host.data_out(r2ts[1], bytes(512)), ScsiResponse)
    assert response.max_cmd_sn == response.exp_cmd_sn


def test_window_wraps(bench):
    host = bench.host()
    host.cmd_sn = 2**32 - 2
    host.login()
    for _ in range(5):
        host.alive()
    assert host.cmd_sn == 3


def test_immediate_commands_stand_outside_of_the_numbers(bench):
    host = bench.session()
    response = host.ask(host.command(immediate=True), ScsiResponse)
    assert response.exp_cmd_sn == host.cmd_sn
    assert response.max_cmd_sn == host.cmd_sn + 127


def test_too_many_immediate_commands(bench):
    host = bench.session()
    host.send(*[host.write(immediate=True) for _ in range(17)])
    assert [type(pdu) for pdu in host.inbox] == [R2T] * 16 + [Reject]
    assert host.inbox[-1].reason == 0x06


def test_task_tag_in_use(bench):
    host = bench.session()
    host.send(host.write(itt=5))
    host.take(R2T)
    assert host.ask(host.command(itt=5), Reject).reason == 0x07
    host.cmd_sn -= 1  # a rejected command leaves a gap, which is plugged with the same number
    assert host.ask(host.command(), ScsiResponse).status == 0


def test_reserved_task_tag(bench):
    host = bench.session()
    reject = host.ask(host.command(itt=NO_TAG), Reject)
    assert reject.reason == 0x09
    assert len(reject.data) == 48
    assert reject.exp_cmd_sn == host.cmd_sn - 1


@pytest.mark.parametrize(
    "fields",
    [
        {"final": False},
        {"expected_data_transfer_length": 1},
        {"attribute": 5},
        {"read": True, "write": True, "expected_data_transfer_length": 512},
        {"ahs": encode_ahs([bidirectional_read_length(4)])},
        {"ahs": b"\0\1\3\0"},
        {"ahs": b"\xff\xff\1\0"},
        {"ahs": encode_ahs([extended_cdb(bytes(20))] * 2)},
    ],
)
def test_format_errors(bench, fields):
    host = bench.session()
    host.send(host.command(**fields))
    assert not host.inbox
    assert host.closed == "rst"


def test_extended_cdb_reaches_the_device_server(bench):
    host = bench.session()
    bench.device.execute = lambda nexus, lun, cdb, data: Completion(0, bytes(cdb), len(cdb))
    cdb = bytes(range(32))
    pdu = host.command(cdb[:16], ahs=encode_ahs([extended_cdb(cdb)]), read=True, expected_data_transfer_length=32)
    assert bytes(host.ask(pdu, DataIn).data) == cdb


def test_bidirectional_command_gets_both_residuals(bench):
    host = bench.session()
    pdu = host.write(
        read=True, data=bytes(512), expected_data_transfer_length=512, ahs=encode_ahs([bidirectional_read_length(100)])
    )
    response = host.ask(pdu, ScsiResponse)
    assert (response.bidi_underflow, response.bidi_residual_count) == (True, 100)
    assert (response.underflow, response.overflow) == (False, False)


def test_slow_work_answers_later(bench):
    host = bench.session()
    host.send(host.command(b"\x35" + bytes(15)))
    assert not host.inbox
    host.alive()
    bench.work()
    host.collect()
    assert host.take(ScsiResponse).status == 0


def test_work_waits_for_room(make_bench):
    bench = make_bench(limits=Limits(work_items=2))
    host = bench.session()
    host.send(*[host.command(b"\x35" + bytes(15)) for _ in range(3)])
    first = bench.engine.work_to_do()
    assert len(first) == 2
    assert bench.engine.work_to_do() == []
    bench.engine.work_done(first[0].token, first[0].run(), 0.0)
    assert len(bench.engine.work_to_do()) == 1
    bench.engine.work_done(999, Completion(0), 0.0)


# Streams


def test_data_digest_error_leaves_a_gap(bench):
    host = bench.session(("DataDigest", "CRC32C"))
    pdu = host.write(data=bytes(512))
    good = encode(pdu).with_digests(header=False, data=True)
    bad = RawPdu(good.bhs, data=b"\1" + bytes(511), data_digest=good.data_digest)
    host.feed(bad.to_bytes())
    reject = host.take(Reject)
    assert reject.reason == 0x02
    assert reject.exp_cmd_sn == pdu.cmd_sn
    assert host.ask(pdu, ScsiResponse).status == 0


def test_data_digest_error_may_pass_by_a_switch(make_bench):
    host = make_bench(policy=Policy(ignore_data_digest=True)).session(("DataDigest", "CRC32C"))
    good = encode(host.nop_out(b"ping")).with_digests(header=False, data=True)
    host.feed(RawPdu(good.bhs, data=b"pong", data_digest=good.data_digest).to_bytes())
    assert bytes(host.take(NopIn).data) == b"pong"


@pytest.mark.parametrize("ignored", [False, True])
def test_header_digest_error_closes(make_bench, ignored):
    host = make_bench(policy=Policy(ignore_header_digest=ignored)).session(("HeaderDigest", "CRC32C"))
    raw = encode(host.nop_out(b"ping")).with_digests(header=True, data=False)
    host.feed(RawPdu(raw.bhs, data=raw.data, header_digest=b"evil").to_bytes())
    assert not host.inbox
    assert host.closed == (None if ignored else "rst")


def test_too_long_data_segment_ends_the_session(bench):
    host = bench.session()
    host.feed(encode(host.nop_out(bytes(262148))).to_bytes())
    assert host.closed == "rst"


@pytest.mark.parametrize("opcode", [0x1C, 0x07, 0x3F, 0x21])
def test_unknown_opcode(bench, opcode):
    host = bench.session()
    host.feed(bytes((opcode,)) + bytes(47))
    assert host.take(Reject).reason == 0x05
    host.alive()


def test_ahs_where_there_is_none(bench):
    host = bench.session()
    host.send(host.nop_out(ahs=bytes(4)))
    assert host.closed == "rst"


def test_full_outbox_holds_commands_back(make_bench):
    bench = make_bench(limits=Limits(send_buffer=Size(4096)))
    host = bench.session()
    pdus = [host.read(blocks=8) for _ in range(5)]
    engine = bench.engine
    engine.receive(host.number, b"".join(encode(pdu).to_bytes() for pdu in pdus), 0.0)
    assert engine.has_backlog(host.number)
    host.collect()
    assert len(host.inbox) == 5
    assert not engine.has_backlog(host.number)


def test_engine_can_be_copied_in_mid_session(bench):
    host = bench.session()
    host.send(host.write(blocks=2))
    r2t = host.take(R2T)
    twin = copy.deepcopy(bench.engine)
    pdu = encode(host.data_out(r2t, bytes(1024))).to_bytes()
    bench.engine.receive(host.number, pdu, 0.0)
    expected = b"".join(map(bytes, bench.engine.data_to_send(host.number)))
    assert bench.engine.sessions[0].tasks == {}
    assert len(twin.sessions[0].tasks) == 1
    twin.receive(host.number, pdu, 0.0)
    assert b"".join(map(bytes, twin.data_to_send(host.number))) == expected


def test_rejected_command_that_waited_leaves_its_gap(bench):
    host = bench.session()
    first, bad, third = host.command(), host.command(itt=NO_TAG), host.command()
    host.send(third, bad)
    host.send(first)
    assert [type(pdu) for pdu in host.inbox] == [ScsiResponse, Reject]
    assert host.inbox[-1].exp_cmd_sn == bad.cmd_sn
    host.inbox.clear()
    host.send(host.command(cmd_sn=bad.cmd_sn))
    assert [pdu.itt for pdu in host.inbox] == [host.itt, third.itt]


@pytest.mark.parametrize("whole", [True, False])
def test_pieces_of_files_are_read_where_digests_are_agreed(bench, tmp_path, whole):
    path = tmp_path / "disk"
    path.write_bytes(bytes(range(256)) * 2)
    host = bench.session(("DataDigest", "CRC32C"))
    with path.open("rb") as file:
        length = 512 if whole else 1024
        bench.device.next = Completion(0, (b"head", FileSlice(file.fileno(), 0, length)), length + 4)
        host.send(host.read(blocks=1, expected_data_transfer_length=length + 4))
    if whole:
        assert bytes(host.take(DataIn).data) == b"head" + bytes(range(256)) * 2
    else:
        assert bytes(host.take(ScsiResponse).data[14:16]) == b"\x11\x00"


def test_unit_attention_is_told_once_for_each_unit_and_not_to_inquiry(bench):
    host = bench.session()
    session = bench.engine.sessions[0]
    for lun in (bytes(8), LUN1):
        bench.device.establish_attention(session.nexus, lun, 0x477F)
    assert host.ask(host.command(b"\x12" + bytes(15)), ScsiResponse).status == 0
    assert bytes(host.ask(host.write(data=bytes(512)), ScsiResponse).data[14:16]) == b"\x47\x7f"
    assert host.ask(host.write(data=bytes(512)), ScsiResponse).status == 0
    assert bytes(host.ask(host.command(lun=LUN1), ScsiResponse).data[14:16]) == b"\x47\x7f"
    assert not bench.device.pending_attentions(session.nexus, LUN1)


def test_immediate_tasks_do_not_survive_their_connection(bench):
    host = bench.session()
    host.send(host.write(blocks=2), host.write(blocks=2, immediate=True))
    host.hang_up()
    (session,) = bench.engine.sessions
    assert [task.immediate for task in session.tasks.values()] == [False]
