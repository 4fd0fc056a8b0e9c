"""Connection recovery at level 2: commands outlive their connection, and TASK REASSIGN takes them on (RFC 7143 7.2.2, 11.5.1,
11.5.6, 11.6.1, 11.14, Appendix E.1).
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.target.engine.reassignment import (
    KEYS,
    LEVEL2,
    LUN0,
    PATTERN,
    SLOW,
    another,
    ask_reassign,
    changed,
    in_session,
    log_out,
    lose,
    lost_read,
    reassign,
    reinstate,
    taken,
)

from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    Reject,
    RejectReason,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskFunction,
    TaskManagementResponse,
    TaskResponse,
    bidirectional_read_length,
    encode_ahs,
)
from iscsi_target.completion import Completion


@pytest.fixture
def bench(make_bench):
    bench = make_bench(keys=KEYS)
    bench.device.memory[LUN0][:] = PATTERN
    return bench


@pytest.fixture
def host(bench):
    return bench.session(*LEVEL2)


# What a function is answered


@pytest.mark.parametrize("level", ["0", "1"])
def test_below_level_2(bench, level):
    host = bench.session(*changed(ErrorRecoveryLevel=level))
    command = host.command(SLOW)
    host.send(command)
    assert ask_reassign(host, command.itt)[0] == TaskResponse.REASSIGNMENT_NOT_SUPPORTED


def test_unknown_task(host):
    assert ask_reassign(host, 4711)[0] == TaskResponse.TASK_DOES_NOT_EXIST


def test_task_of_this_connection(host):
    command = host.command(SLOW)
    host.send(command)
    assert ask_reassign(host, command.itt)[0] == TaskResponse.TASK_STILL_ALLEGIANT


def test_task_of_another_connection(bench, host):
    command = host.command(SLOW)
    host.send(command)
    assert ask_reassign(another(bench, host), command.itt)[0] == TaskResponse.TASK_STILL_ALLEGIANT


def test_connection_that_was_not_logged_out(bench, host):
    new = another(bench, host)
    command, _ = lost_read(host, survivor=new)
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_STILL_ALLEGIANT
    log_out(new, 0)
    reassign(new, command.itt)


def test_acknowledged_command(bench, host):
    host.send(host.read(0, 1))
    command = host.take(DataIn)
    host.acknowledge()
    lose(host)
    assert ask_reassign(reinstate(bench, host), command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


def test_text_negotiation(host):
    request = host.text(("MaxRecvDataSegmentLength", "512"), final=False)
    host.send(request)
    taken(host)
    assert ask_reassign(host, request.itt)[0] == TaskResponse.FUNCTION_REJECTED


def test_task_management_function(host):
    host.send(host.command(SLOW))
    request = host.function(TaskFunction.LOGICAL_UNIT_RESET)
    host.send(request)
    taken(host)
    assert ask_reassign(host, request.itt)[0] == TaskResponse.FUNCTION_REJECTED


@pytest.mark.parametrize("kind", ["function", "text", "logout"])
def test_request_whose_turn_has_not_come(host, kind):
    missing = host.command()
    request = {
        "function": lambda: host.function(TaskFunction.ABORT_TASK_SET, immediate=False),
        "text": host.text,
        "logout": host.logout,
    }[kind]()
    host.send(request)
    assert ask_reassign(host, request.itt)[0] == TaskResponse.FUNCTION_REJECTED
    assert ask_reassign(host, missing.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


def test_immediate_command(bench, host):
    command = host.command(SLOW, immediate=True)
    host.send(command)
    lose(host)
    new = reinstate(bench, host)
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST
    bench.work()
    new.collect()
    assert not new.inbox


# Reads


@pytest.mark.parametrize("how", ["implicit", "explicit", "alive"])
def test_read_goes_on(bench, host, how):
    if how == "implicit":
        command, got = lost_read(host, got=3)
        new = reinstate(bench, host)
    else:
        new = another(bench, host)
        if how == "explicit":
            command, got = lost_read(host, got=3, survivor=new)
        else:
            command = host.read(0, 8)
            host.send(command)
            got = taken(host)[:3]
            new.cmd_sn = host.cmd_sn
        log_out(new, 0)
    stat_sn = reassign(new, command.itt, 3)
    data = taken(new)
    assert [pdu.data_sn for pdu in data] == [3, 4, 5, 6, 7]
    assert b"".join(bytes(pdu.data) for pdu in [*got, *data]) == PATTERN[:4096]
    assert data[-1].status_present
    assert data[-1].stat_sn == stat_sn + 1
    assert bench.device.log.count((0x28, 0)) == 1


@pytest.mark.parametrize(("exp_data_sn", "first"), [(0, 0), (1, 1), (7, 7), (8, 8), (9, 0), (0xFFFFFFFF, 0)])
def test_data_acknowledgement_reference_number(bench, host, exp_data_sn, first):
    command, _ = lost_read(host)
    new = reinstate(bench, host)
    stat_sn = reassign(new, command.itt, exp_data_sn)
    answers = taken(new)
    assert [pdu.data_sn for pdu in answers if isinstance(pdu, DataIn)] == list(range(first, 8))
    assert answers[-1].stat_sn == stat_sn + 1
    if first == 8:
        assert isinstance(answers[0], ScsiResponse)
        assert answers[0].exp_data_sn == 8


@pytest.mark.parametrize(("exp_data_sn", "first"), [(0, 4), (3, 4), (6, 6)])
def test_data_ack_before_the_loss(bench, host, exp_data_sn, first):
    command = host.read(0, 8)
    host.send(command)
    asked = next(pdu for pdu in taken(host) if pdu.acknowledge)
    request = SnackRequest(
        snack_type=SnackType.DATA_ACK, ttt=asked.ttt, lun=asked.lun, beg_run=4, exp_stat_sn=host.exp_stat_sn - 1
    )
    host.send(request)
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt, exp_data_sn)
    assert new.take(DataIn).data_sn == first


@pytest.mark.parametrize("length", [1024, 516, 2048])
def test_other_segments(bench, host, length):
    command, got = lost_read(host, got=3)
    new = reinstate(bench, host, length=length)
    reassign(new, command.itt, 3)
    data = taken(new)
    assert [pdu.data_sn for pdu in data] == list(range(3, 3 + len(data)))
    assert max(len(pdu.data) for pdu in data) == length
    assert b"".join(bytes(pdu.data) for pdu in [*got, *data]) == PATTERN[:4096]


def test_snack_tag_is_forgotten(bench, host):
    command = host.read(0, 2)
    host.send(command)
    host.exp_stat_sn -= 1
    host.send(SnackRequest(snack_type=SnackType.R_DATA, itt=command.itt, ttt=7, exp_stat_sn=host.exp_stat_sn))
    assert taken(host)[-1].snack_tag == 7
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt, 2)
    assert new.take(ScsiResponse).snack_tag == 0


def test_snack_on_the_new_connection(bench, host):
    command, _ = lost_read(host)
    new = reinstate(bench, host)
    first = reassign(new, command.itt, 2)
    answers = taken(new)
    new.exp_stat_sn = first + 1
    new.send(SnackRequest(itt=command.itt, exp_stat_sn=new.exp_stat_sn))
    assert [pdu.data_sn for pdu in taken(new)] == [2, 3, 4, 5, 6, 7]
    # What was acknowledged by the reassignment cannot be had.
    new.send(SnackRequest(itt=command.itt, exp_stat_sn=first + 1, beg_run=1, run_length=1))
    assert new.take(Reject).reason == RejectReason.PROTOCOL_ERROR
    assert answers[-1].stat_sn == first + 1


def test_two_losses(bench, host):
    command, got = lost_read(host, got=2)
    second = reinstate(bench, host)
    reassign(second, command.itt, 2)
    got += taken(second)[:3]
    lose(second)
    third = reinstate(bench, second)
    reassign(third, command.itt, 5)
    got += taken(third)
    assert b"".join(bytes(pdu.data) for pdu in got) == PATTERN[:4096]


def test_error_is_told_again(bench, host):
    sense = bytes.fromhex("700005000000000a00000000240000000000")
    bench.device.next = Completion(2, sense=sense)
    command = host.command()
    host.send(command)
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt)
    response = new.take(ScsiResponse)
    assert (response.status, bytes(response.data[2:])) == (2, sense)


# Commands that are not over


def test_write_goes_on(bench, host):
    command = host.write(64, 12)
    host.send(command)
    r2ts = [host.take(R2T) for _ in range(3)]
    host.send(host.data_out(r2ts[0], b"a" * 1024, final=False))
    host.send(host.data_out(r2ts[1], b"b" * 2048))
    lose(host)
    new = reinstate(bench, host)
    stat_sn = reassign(new, command.itt)
    again = taken(new)
    assert [(pdu.r2t_sn, pdu.buffer_offset, pdu.desired_data_transfer_length) for pdu in again] == [
        (2, 1024, 1024), (3, 4096, 2048)
    ]  # fmt: skip
    assert not {pdu.ttt for pdu in again} & {pdu.ttt for pdu in r2ts}
    assert {pdu.stat_sn for pdu in again} == {stat_sn + 1}
    for pdu, letter in zip(again, (b"a", b"c"), strict=True):
        new.send(new.data_out(pdu, letter * pdu.desired_data_transfer_length))
    assert new.take(ScsiResponse).status == 0
    wanted = b"a" * 2048 + b"b" * 2048 + b"c" * 2048
    assert bytes(bench.device.memory[LUN0][64 * 512 : 76 * 512]) == wanted
    assert bench.device.log.count((0x2A, 6144)) == 1


@pytest.mark.parametrize(("exp_data_sn", "first"), [(0, 0), (1, 1), (3, 3), (4, 0), (0xFFFFFFFF, 0)])
def test_r2ts_that_were_perhaps_not_had(bench, host, exp_data_sn, first):
    command = host.write(0, 12)
    host.send(command)
    taken(host)
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt, exp_data_sn)
    r2ts = taken(new)
    assert [pdu.r2t_sn for pdu in r2ts] == [first, first + 1, first + 2]
    new.send(SnackRequest(itt=command.itt, exp_stat_sn=new.exp_stat_sn))
    assert [pdu.r2t_sn for pdu in taken(new)] == [first, first + 1, first + 2]
    new.send(SnackRequest(itt=command.itt, exp_stat_sn=new.exp_stat_sn, beg_run=first + 3, run_length=1))
    assert new.take(Reject).data_sn == first + 3


def test_unsolicited_data_that_stopped(bench, host):
    host = bench.session(*changed(InitialR2T="No", FirstBurstLength="2048"), isid=bytes.fromhex("80abcdef0002"))
    command = host.write(0, 4, final=False)
    host.send(command, host.data_out(command, b"x" * 512, offset=0, final=False))
    lose(host)
    new = bench.host(isid=host.isid)
    new.tsih, new.itt = host.tsih, 500
    new.login()
    reassign(new, command.itt)
    r2t = new.take(R2T)
    assert (r2t.r2t_sn, r2t.buffer_offset, r2t.desired_data_transfer_length) == (0, 512, 1536)
    new.send(new.data_out(r2t, b"x" * 1536))
    assert new.take(ScsiResponse).status == 0


@pytest.mark.parametrize("when", ["before the login", "before the function", "after it"])
def test_device_at_work_meanwhile(bench, host, when):
    command = host.command(SLOW)
    host.send(command)
    lose(host)
    if when == "before the login":
        bench.work()
    new = reinstate(bench, host)
    if when == "before the function":
        bench.work()
    stat_sn = reassign(new, command.itt)
    if when == "after it":
        assert not new.inbox
        bench.work()
        new.collect()
    response = new.take(ScsiResponse)
    assert (response.itt, response.stat_sn) == (command.itt, stat_sn + 1)
    assert bench.device.log.count((0x35, 0)) == 1


def test_nothing_moves_by_itself(bench, host):
    command, _ = lost_read(host)
    new = reinstate(bench, host)
    slow = new.command(SLOW)
    new.send(slow)
    bench.work()
    new.collect()
    assert [pdu.itt for pdu in taken(new)] == [slow.itt]
    assert command.itt != slow.itt


def bidirectional(host):
    ahs = encode_ahs([bidirectional_read_length(2048)])
    return host.write(0, 8, read=True, ahs=ahs)


def test_bidirectional_command_that_gathers(bench, host):
    command = bidirectional(host)
    host.send(command)
    r2ts = taken(host)
    assert [pdu.r2t_sn for pdu in r2ts] == [0, 1]
    host.send(host.data_out(r2ts[0], b"a" * 2048))
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt)
    r2t = new.take(R2T)
    assert (r2t.r2t_sn, r2t.buffer_offset) == (1, 2048)
    bench.device.next = Completion(0, PATTERN[:2048], 2048)
    new.send(new.data_out(r2t, b"b" * 2048))
    *data, response = taken(new)
    assert [pdu.data_sn for pdu in data] == [2, 3, 4, 5]
    assert response.exp_data_sn == 4


def test_bidirectional_command_that_is_over(bench, host):
    command = bidirectional(host)
    host.send(command)
    first, second = taken(host)
    host.send(host.data_out(first, bytes(2048)))
    bench.device.next = Completion(0, PATTERN[:2048], 2048)
    host.send(host.data_out(second, bytes(2048)))
    got = taken(host)
    assert [pdu.data_sn for pdu in got[:-1]] == [2, 3, 4, 5]
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt, 3)
    *data, response = taken(new)
    assert [(pdu.data_sn, pdu.buffer_offset) for pdu in data] == [(3, 512), (4, 1024), (5, 1536)]
    assert isinstance(response, ScsiResponse)
    assert response.exp_data_sn == 4


def test_header_digest_error_is_recovered(bench):
    host = bench.session(*changed(HeaderDigest="CRC32C"))
    command = host.read(0, 4)
    host.send(command)
    taken(host)
    host.feed(b"\0" * 52)
    assert host.closed == "rst"
    lose(host)
    new = bench.host()
    new.tsih, new.itt = host.tsih, 500
    new.login(("MaxRecvDataSegmentLength", "512"))
    reassign(new, command.itt)
    assert b"".join(bytes(pdu.data) for pdu in taken(new)) == PATTERN[:2048]


@given(data=st.data())
def test_any_point_of_loss(make_bench, data):
    """Reads and writes, each lost at any of their PDUs, more than once, end with the right bytes and run once."""
    bench = make_bench(keys=KEYS)
    bench.device.memory[LUN0][:] = PATTERN
    host = bench.session(*LEVEL2)
    blocks = data.draw(st.integers(1, 12))
    writes = data.draw(st.booleans())
    command = host.write(0, blocks) if writes else host.read(0, blocks)
    host.send(command)
    got: dict[str, Any] = {}
    next_sn = 0
    letters = PATTERN[::-1][: blocks * 512]
    for _ in range(data.draw(st.integers(0, 3))):
        keep = data.draw(st.integers(0, len(host.inbox)))
        for _ in range(keep):
            pdu = host.take()
            next_sn = take(host, pdu, got, next_sn, letters)
        if "status" in got:
            break
        lose(host)
        host = reinstate(bench, host, length=data.draw(st.sampled_from([512, 1024, 1500])))
        reassign(host, command.itt, 0 if writes else next_sn)
    while host.inbox:
        pdu = host.take()
        next_sn = take(host, pdu, got, next_sn, letters)
    last = got.pop("status")
    assert last.status == 0
    if writes:
        assert bytes(bench.device.memory[LUN0][: blocks * 512]) == letters
    else:
        assert b"".join(bytes(got[sn].data) for sn in sorted(got)) == PATTERN[: blocks * 512]
    assert len([entry for entry in bench.device.log if entry[0] in (0x28, 0x2A)]) == 1


def take(host, pdu, got, next_sn, letters):
    if isinstance(pdu, R2T):
        start = pdu.buffer_offset
        host.send(host.data_out(pdu, letters[start : start + pdu.desired_data_transfer_length]))
        return next_sn
    if isinstance(pdu, DataIn):
        assert pdu.data_sn == next_sn
        got[pdu.data_sn] = pdu
        next_sn += 1
    if isinstance(pdu, ScsiResponse) or pdu.status_present:
        got["status"] = pdu
    return next_sn


def test_task_tag_used_again(bench, host):
    """The latest command with the tag is meant."""
    command, _ = lost_read(host, 1)
    second = reinstate(bench, host)
    second.send(second.read(4, 1, itt=command.itt))
    taken(second)
    second.exp_stat_sn -= 1
    assert ask_reassign(second, command.itt)[0] == TaskResponse.TASK_STILL_ALLEGIANT
    lose(second)
    third = reinstate(bench, second)
    reassign(third, command.itt)
    assert bytes(third.take(DataIn).data) == PATTERN[2048:2560]


def test_draining_task_ends_with_its_connection(bench, host):
    new = another(bench, host)
    command = host.write(0, 4)
    host.send(command)
    taken(host)
    new.cmd_sn = host.cmd_sn
    new.send(new.function(TaskFunction.LOGICAL_UNIT_RESET))
    lose(host, None)
    new.collect()
    new.acknowledge()
    assert TaskManagementResponse in {type(pdu) for pdu in taken(new)}
    assert not in_session(bench, host).tasks


def test_failed_write_is_told(bench, host):
    """A write that is to fail, but waits for its data, fails on the new connection at once."""
    command = host.write(0, 4)
    host.send(command)
    r2t = host.take(R2T)
    host.send(host.data_out(r2t, bytes(512), offset=8192, final=False))
    assert host.take(Reject).reason == RejectReason.INVALID_PDU_FIELD
    lose(host)
    new = reinstate(bench, host)
    reassign(new, command.itt)
    assert new.take(ScsiResponse).status == 2


# QUERY TASK gives a new allegiance as well (RFC 7144 6.3)


def query(new, command, **fields):
    fields = {"referenced_task_tag": command.itt, "ref_cmd_sn": command.cmd_sn, **fields}
    return new.function(TaskFunction.QUERY_TASK, **fields)


def test_queried_write_goes_on_where_it_is_queried(bench):
    host = bench.session(*LEVEL2, ("iSCSIProtocolLevel", "2"))
    command = host.write(0, 2)
    host.ask(command, R2T)
    new = another(bench, host)
    lose(host, new)
    assert new.ask(query(new, command), TaskManagementResponse).response == TaskResponse.FUNCTION_SUCCEEDED
    log_out(new, 0)
    new.send(query(new, command))
    assert new.take(TaskManagementResponse).response == TaskResponse.FUNCTION_SUCCEEDED
    r2t = new.take(R2T)
    assert (r2t.buffer_offset, r2t.desired_data_transfer_length) == (0, 1024)
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_STILL_ALLEGIANT
    assert new.ask(new.data_out(r2t, bytes(1024)), ScsiResponse).status == 0
    assert not in_session(bench, host).released


@pytest.mark.parametrize("lun", [LUN0, bytes((0, 1, 0, 0, 0, 0, 0, 0))])
def test_queried_read_that_is_over_is_told_again(bench, lun):
    host = bench.session(*LEVEL2, ("iSCSIProtocolLevel", "2"))
    command, _ = lost_read(host, 1)
    new = reinstate(bench, host)
    new.send(query(new, command, lun=lun))
    assert new.take(TaskManagementResponse).response == TaskResponse.FUNCTION_COMPLETE
    assert [(each.itt, each.status_present) for each in new.inbox] == ([(command.itt, True)] if lun == LUN0 else [])
