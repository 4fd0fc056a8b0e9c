"""What a hostile initiator can make the engine keep is bounded, and none of its headers brings the engine down."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    LogoutReason,
    LogoutResponse,
    Reject,
    RejectReason,
    ScsiResponse,
    SnackRequest,
    SnackType,
    TaskFunction,
    encode,
)
from iscsi_target import recovery
from iscsi_target.config import Limits, Size
from iscsi_target.data_out import EARLY_PDUS
from iscsi_target.extents import cover
from iscsi_target.session import FORGOTTEN_TASKS
from iscsi_target.snack import R_DATA_TRIES
from iscsi_target.termination import TERMINATIONS


@pytest.mark.parametrize("kind", ["read", "nop_out", "text", "function", "logout"])
@pytest.mark.parametrize("immediate", [True, False])
def test_the_reserved_bit_of_the_opcode_byte_is_ignored(bench, kind, immediate):
    host = bench.session()
    arguments = {"function": (TaskFunction.ABORT_TASK_SET,)}.get(kind, ())
    raw = encode(getattr(host, kind)(*arguments, immediate=immediate))
    header = bytearray(raw.bhs)
    header[0] |= 0x80
    host.feed(bytes(header) + bytes(raw.data))
    assert host.inbox
    assert not isinstance(host.inbox[0], Reject)


def test_a_connection_that_is_over_has_no_backlog(make_bench, make_several):
    bench = make_bench(limits=Limits(send_buffer=Size(1024)))
    several = make_several(bench, 2)
    bad = bytearray(encode(several.make(0, "read")).bhs)
    bad[1] |= 7
    reads = b"".join(encode(several.make(0, "read", blocks=4)).to_bytes() for _ in range(2))
    number = several[0].number
    bench.engine.receive(number, reads + bytes(bad), bench.clock.now)
    assert bench.engine.wants_close(number) == "rst"
    assert not bench.engine.has_backlog(number)
    assert bench.engine.takes_bytes(number)


def test_unsolicited_data_of_a_command_that_was_sent_again_is_dropped(bench, make_several):
    several = make_several(bench, 1, ("ErrorRecoveryLevel", "1"), ("FirstBurstLength", "512"), ("InitialR2T", "No"))
    host = several[0]
    command = several.make(0, "write", blocks=4, final=False)
    data = host.data_out(command, b"a" * 512, offset=0)
    host.send(command, data)
    r2t = host.take(R2T)
    host.send(command, data)
    assert not host.inbox
    assert host.ask(host.data_out(r2t, b"b" * 1536), ScsiResponse).status == 0
    assert bench.device.log[-1] == (0x2A, 2048)


@pytest.mark.parametrize("ending", ["answered", "logged out"])
def test_functions_that_wait_have_their_places_in_the_window(make_bench, make_several, ending):
    bench = make_bench(limits=Limits(commands=8))
    several = make_several(bench, 2)
    write = several.send(0, "write")
    r2t = several[0].take(R2T)
    for _ in range(20):
        several.send(1, "function", TaskFunction.ABORT_TASK_SET, immediate=False)
    several.cmd_sn = write.cmd_sn + 8
    assert len(several.session.functions) == 7
    assert several.session.max_cmd_sn == several.session.exp_cmd_sn - 1 == write.cmd_sn + 7
    if ending == "answered":
        several.send(0, "data_out", r2t, bytes(512))
        for _ in range(8):
            several.acknowledge(0)
            several.acknowledge(1)
    else:
        several.send(0, "logout", LogoutReason.CLOSE_CONNECTION, immediate=True, cid=1)
        several.send(0, "data_out", r2t, bytes(512))
    several.acknowledge(0)
    assert several.session.functions == []
    assert several.session.max_cmd_sn == several.session.exp_cmd_sn + 7


def test_tags_of_commands_that_never_came_are_forgotten_in_time(bench, make_several):
    several = make_several(bench, 1)
    for number in range(FORGOTTEN_TASKS + 10):
        missing = several.cmd_sn
        several.cmd_sn += 1
        several.send(0, "function", TaskFunction.ABORT_TASK, referenced_task_tag=0x10000 + number, ref_cmd_sn=missing)
    assert several.session.exp_cmd_sn == several.cmd_sn
    assert len(several.session.forgotten) == FORGOTTEN_TASKS


def test_empty_data_ahead_of_its_turn_is_kept_up_to_a_number(bench, make_several):
    several = make_several(bench, 1, ("InitialR2T", "No"))
    host = several[0]
    gap = several.make(0, "read")
    command = several.make(0, "write", final=False)
    host.send(command, *[host.data_out(command, b"", data_sn=sn, offset=0, final=False) for sn in range(EARLY_PDUS)])
    assert not host.inbox
    assert host.ask(host.data_out(command, b"", data_sn=EARLY_PDUS, offset=0), Reject).reason == (
        RejectReason.INVALID_PDU_FIELD
    )
    assert len(several.session.early[command.itt].data) == EARLY_PDUS
    host.send(gap)
    assert several.session.waiting_bytes == 0


def test_a_tag_is_not_taken_for_two_commands_that_wait_with_data(bench, make_several):
    several = make_several(bench, 1, ("InitialR2T", "No"))
    host = several[0]
    gap = several.make(0, "read")
    command = several.make(0, "write", final=False)
    host.send(command, host.data_out(command, b"1" * 100, offset=0, final=False))
    again = host.ask(several.make(0, "write", final=False, itt=command.itt), Reject)
    assert again.reason == RejectReason.TASK_IN_PROGRESS
    host.send(host.data_out(command, b"1" * 412, data_sn=1, offset=100), gap)
    assert {type(pdu) for pdu in host.inbox} == {DataIn, ScsiResponse}
    assert several.session.waiting_bytes == 0


def test_messages_of_fast_aborts_that_nobody_acknowledges_are_forgotten_in_time(bench, make_several):
    several = make_several(bench, 2, ("TaskReporting", "FastAbort"), ("ImmediateData", "No"), ("InitialR2T", "Yes"))
    for _ in range(TERMINATIONS + 3):
        several.send(1, "write")
        several.send(0, "function", TaskFunction.ABORT_TASK_SET)
        several.acknowledge(0)
        several.acknowledge(1)
        several[0].inbox.clear()
        several[1].inbox.clear()
    assert len(several.session.terminations) == TERMINATIONS


def test_data_is_sent_anew_a_number_of_times(bench, make_several):
    several = make_several(bench, 1, ("ErrorRecoveryLevel", "1"))
    host, unheard = several[0], several[0].exp_stat_sn
    read = several.send(0, "read")
    host.inbox.clear()
    for tag in range(1, R_DATA_TRIES + 2):
        snack = SnackRequest(snack_type=SnackType.R_DATA, lun=read.lun, itt=read.itt, ttt=tag, exp_stat_sn=unheard)
        host.send(snack)
        kinds = [type(pdu) for pdu in host.inbox]
        assert kinds == ([DataIn, ScsiResponse] if tag <= R_DATA_TRIES else [Reject])
        host.inbox.clear()


def test_status_in_data_longer_than_the_initiator_now_takes_is_not_sent_again(bench, make_several):
    several = make_several(bench, 1, ("ErrorRecoveryLevel", "1"))
    host, unheard = several[0], several[0].exp_stat_sn
    several.send(0, "read", blocks=4)
    data = host.take(DataIn)
    assert data.status_present
    host.send(replace(several.make(0, "text", ("MaxRecvDataSegmentLength", "512")), exp_stat_sn=unheard))
    host.inbox.clear()
    snack = SnackRequest(snack_type=SnackType.STATUS, beg_run=data.stat_sn, run_length=1, exp_stat_sn=unheard)
    assert host.ask(snack, Reject).reason == RejectReason.SNACK_REJECT


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12))))
def test_extents_are_a_set_of_bytes(ranges):
    extents: list[tuple[int, int]] = []
    model: set[int] = set()
    for start, length in ranges:
        new = set(range(start, start + length)) - model
        assert cover(extents, start, start + length) == bool(new)
        model |= new
        assert {each for low, high in extents for each in range(low, high)} == model
        assert all(one[1] < other[0] for one, other in pairwise(extents))


@pytest.mark.parametrize("immediate", [True, False])
def test_only_immediate_functions_go_with_their_connection(bench, make_several, immediate):
    """Appendix E.1: immediate commands that wait are cleared by a connection failure, the connection's tasks are not."""
    several = make_several(
        bench,
        2,
        ("ErrorRecoveryLevel", "2"),
        ("ImmediateData", "No"),
        ("InitialR2T", "Yes"),
        ("FirstBurstLength", "512"),
        ("MaxBurstLength", "512"),
    )
    write = several.send(0, "write", blocks=2)
    r2t = several[0].take(R2T)
    several.send(1, "function", TaskFunction.ABORT_TASK_SET, immediate=immediate)
    several[1].hang_up()
    several[0].send(several[0].data_out(r2t, bytes(512)))
    several.acknowledge(0)
    assert (write.itt in several.session.tasks) == immediate
    assert not several.session.functions


def test_a_lost_connection_with_a_function_that_was_carried_out_is_logged_out(bench, make_several):
    several = make_several(
        bench,
        2,
        ("ErrorRecoveryLevel", "2"),
        ("ImmediateData", "No"),
        ("InitialR2T", "Yes"),
        ("FirstBurstLength", "512"),
        ("MaxBurstLength", "512"),
    )
    several.send(0, "write", blocks=2)
    r2t = several[0].take(R2T)
    several.send(1, "function", TaskFunction.ABORT_TASK_SET, immediate=False)
    several[1].hang_up()
    several[0].send(several[0].data_out(r2t, bytes(512)))
    several.acknowledge(0)
    several[0].inbox.clear()
    several.send(0, "logout", 2, immediate=True, cid=1)
    assert several[0].take(LogoutResponse).response == 0
    assert several.session.fence is None


def test_commands_wait_where_too_much_is_held_back_by_a_fence(make_bench, make_several):
    bench = make_bench(limits=Limits(retained_responses=4))
    several = make_several(bench, 2, ("TaskReporting", "ResponseFence"))
    several.send(1, "nop_out", b"not acknowledged")
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    reads = [several.send(0, "read") for _ in range(8)]
    assert len(several.session.fence.held) == 4
    assert len(several.session.waiting) == 5
    assert several.seen(0) == []
    for _ in range(3):
        several.acknowledge(1)
        several.acknowledge(0)
    assert several.seen(0) == ["TaskManagementResponse"] + ["DataIn"] * len(reads)
    assert several.session.fence is None
    assert not several.session.waiting


def test_data_behind_a_fence_counts(make_bench, make_several):
    bench = make_bench(limits=Limits(retained_bytes=Size(2048)))
    several = make_several(bench, 2, ("TaskReporting", "ResponseFence"))
    several.send(1, "nop_out", b"not acknowledged")
    several.send(0, "function", TaskFunction.ABORT_TASK_SET)
    for _ in range(8):
        several.send(0, "read")
    assert several.session.fence.length == 2048
    for _ in range(3):
        several.acknowledge(1)
        several.acknowledge(0)
    assert several.seen(0) == ["TaskManagementResponse"] + ["DataIn"] * 8


def test_released_connections_hold_so_much_together_and_no_more(monkeypatch, bench, make_several):
    monkeypatch.setattr(recovery, "RELEASED_BYTES", 8192)
    small = make_several(bench, 2, ("ErrorRecoveryLevel", "2"), isid=bytes.fromhex("80abcdef0002"))
    large = make_several(bench, 2, ("ErrorRecoveryLevel", "2"))
    small.send(1, "read")
    small[1].hang_up()
    small.send(0, "logout", 2, immediate=True, cid=1)
    for _ in range(5):
        large.send(1, "read", blocks=4)
        large[1].hang_up()
        large.send(0, "logout", 2, immediate=True, cid=1)
        large.hosts.pop()
        large.add(1)
    assert len(large.session.released) < 5
    assert len(small.session.released) == 1


@pytest.mark.parametrize("function", [TaskFunction.ABORT_TASK_SET, TaskFunction.TARGET_WARM_RESET])
def test_a_command_that_a_fast_abort_ends_before_it_begins_is_announced(bench, make_several, function):
    """4.2.3.4 b: event 5 on each other connection with an affected task, though the task's command came late."""
    several = make_several(bench, 2, ("TaskReporting", "FastAbort"))
    gap, late = several.make(0, "read"), several.make(1, "read")
    if function == TaskFunction.TARGET_WARM_RESET:
        several[1].send(late)
    several.send(0, "function", function)
    if function == TaskFunction.ABORT_TASK_SET:
        several[1].send(late)
        several[0].send(gap)
    several.collect()
    assert several.seen(1) == ["AsyncMessage"]
    several.acknowledge(1)
    several.acknowledge(0)
    assert several.seen(0) == ["TaskManagementResponse"]


def test_a_request_whose_acknowledgement_ends_the_session_is_not_carried_out(bench, make_several):
    """The response to TARGET COLD RESET waits for an acknowledgement (11.6.1), and the session ends with it (11.5.1)."""
    several = make_several(bench, 1)
    host = several[0]
    unheard = host.exp_stat_sn
    several.send(0, "nop_out", b"not acknowledged")
    host.send(replace(several.make(0, "function", TaskFunction.TARGET_COLD_RESET), exp_stat_sn=unheard))
    assert ("power_on",) not in bench.device.log
    host.send(several.make(0, "write", data=bytes(512)))
    assert ("power_on",) in bench.device.log
    assert (0x2A, 512) not in bench.device.log
    assert not several.session.tasks
    assert bench.engine.sessions == []


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("kind", ["nop_out", "function", "logout", "text", "read"])
def test_the_tag_of_a_text_exchange_is_in_use(bench, make_several, place, kind):
    """11.2.1.8. A command is held against the exchange of its own connection alone, a text against those of others."""
    several = make_several(bench, 2)
    text = several.send(1, "text", final=False)
    several.seen(1)
    arguments = {"function": (TaskFunction.ABORT_TASK_SET,)}.get(kind, ())
    several[place].send(several.make(place, kind, *arguments, itt=text.itt))
    taken = kind == {0: "read", 1: "text"}[place]
    assert isinstance(several[place].inbox[-1], Reject) != taken
