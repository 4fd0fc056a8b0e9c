"""Reservations through the engine: conflicts, preemption with its aborts, and answers that wait for what was ended."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from iscsi_protocol.pdu import R2T, DataIn, NopIn, ScsiResponse
from iscsi_protocol.scsi import opcodes as op
from iscsi_protocol.scsi.mode import ControlPage, ModePageCode, ModeParameters, parse_mode
from iscsi_protocol.scsi.persistent import BasicFields, ReservationType, build_basic, parse_keys
from iscsi_protocol.scsi.status import Status
from iscsi_target.config import LunConfig, Size, TargetNode
from iscsi_target.device import open_device
from iscsi_target.engine import TargetEngine

TARGET = "iqn.2026-11.org.example:disk"
KEYS = [0xAABBCCCCBBAA0001, 0xAABBCCCCBBAA0002, 0xAABBCCCCBBAA0003]
WE_RO = ReservationType.WRITE_EXCLUSIVE_REGISTRANTS_ONLY
LATER = [("TaskReporting", "RFC3720"), ("InitialR2T", "Yes"), ("ImmediateData", "Yes")]


@pytest.fixture
def nodes(make_bench, tmp_path):
    """Three hosts, registered with a disk in a file, whose first one holds it."""
    luns = {
        number: LunConfig(backend="file", path=str(tmp_path / f"{number}.img"), size=Size(65536)) for number in (0, 1)
    }
    node = TargetNode(name=TARGET, luns=luns)
    bench = make_bench(targets=[node])
    device = open_device(node)
    bench.engine = TargetEngine(bench.config, {TARGET: device}, random_bytes=bytes)
    hosts = [bench.session(*LATER, name=f"iqn.2026-11.org.example:node{number}") for number in (1, 2, 3)]
    for host, key in zip(hosts, KEYS, strict=True):
        host.bench = bench
        assert out(host, op.REGISTER, 0, key) == Status.GOOD
    assert out(hosts[0], op.RESERVE, KEYS[0]) == Status.GOOD
    yield hosts
    device.close()


def reserve_out(host, command, key, new=0):
    data = build_basic(BasicFields(key=key, service_action_key=new))
    cdb = command.build(parameter_list_length=len(data), type=WE_RO).ljust(16, b"\0")
    return host.command(cdb, write=True, expected_data_transfer_length=len(data), data=data)


def out(host, command, key, new=0):
    """The status of a PERSISTENT RESERVE OUT; slow work is done at once."""
    host.send(reserve_out(host, command, key, new))
    host.bench.work()
    host.collect()
    return host.take(ScsiResponse).status


def status(host, command):
    host.send(command)
    host.bench.work()
    host.collect()
    return host.inbox.pop().status


def tell_of_aborted_tasks(host):
    """Set TAS."""
    cdb = op.MODE_SENSE_10.build(dbd=1, page_code=ModePageCode.CONTROL, allocation_length=64).ljust(16, b"\0")
    sensed = host.ask(host.command(cdb, read=True, expected_data_transfer_length=64), DataIn)
    page = replace(ControlPage.parse(parse_mode(bytes(sensed.data), 10).pages[0]), task_aborted_status=True).build()
    data = ModeParameters(pages=(page,)).build(10, select=True)
    cdb = op.MODE_SELECT_10.build(pf=1, parameter_list_length=len(data)).ljust(16, b"\0")
    select = host.command(cdb, write=True, expected_data_transfer_length=len(data), data=data)
    assert status(host, select) == Status.GOOD


def pending(host):
    """What has come, but for pings and counters."""
    host.collect()
    return [each for each in host.inbox if not isinstance(each, NopIn)]


def test_a_cluster_over_three_sessions(nodes):
    one, two, three = nodes
    stranger = one.bench.session(*LATER, name="iqn.2026-11.org.example:stranger")
    stranger.bench = one.bench
    block = bytes(range(256)) * 2
    assert status(two, two.write(data=block)) == Status.GOOD
    assert status(stranger, stranger.write(data=block)) == Status.RESERVATION_CONFLICT
    assert status(stranger, stranger.read()) == Status.GOOD
    one.send(one.logout())
    assert out(three, op.PREEMPT, KEYS[2], KEYS[0]) == Status.GOOD
    assert out(two, op.PREEMPT, KEYS[1], KEYS[0]) == Status.RESERVATION_CONFLICT
    again = one.bench.session(*LATER, name=one.name)
    again.bench = one.bench
    assert status(again, again.command()) == Status.CHECK_CONDITION
    assert status(again, again.write(data=block)) == Status.RESERVATION_CONFLICT
    assert out(again, op.REGISTER, KEYS[0]) == Status.RESERVATION_CONFLICT
    keys = op.READ_KEYS.build(allocation_length=64).ljust(16, b"\0")
    found = two.ask(two.command(keys, read=True, expected_data_transfer_length=64), DataIn)
    assert parse_keys(bytes(found.data)) == (4, [KEYS[1], KEYS[2]])


def test_preempted_commands_end_without_a_response(nodes):
    one, two, three = nodes
    write = two.write(1, blocks=4)
    other_unit = two.write(1, blocks=4, lun=struct.pack(">H6x", 1))
    two.send(write, other_unit)
    r2t, other = two.take(R2T), two.take(R2T)
    assert out(three, op.PREEMPT_AND_ABORT, KEYS[2], KEYS[1]) == Status.GOOD
    assert pending(two) == []
    two.inbox.clear()
    two.send(two.data_out(r2t, bytes(2048)))
    assert pending(two) == []
    two.send(two.data_out(other, bytes(2048)))
    assert two.take(ScsiResponse).itt == other_unit.itt
    assert status(two, two.write(data=bytes(512))) == Status.RESERVATION_CONFLICT
    assert status(two, two.command()) == Status.CHECK_CONDITION
    assert status(two, two.read()) == Status.GOOD
    assert status(one, one.write(data=bytes(512))) == Status.GOOD
    assert two.engine.core.data_out_bytes == 0


def test_the_answer_comes_behind_work_that_cannot_be_called_back(nodes):
    _, two, three = nodes
    bench = two.bench
    two.send(two.command(op.SYNCHRONIZE_CACHE_10.build().ljust(16, b"\0")))
    (flush,) = bench.engine.work_to_do()
    three.send(reserve_out(three, op.PREEMPT_AND_ABORT, KEYS[2], KEYS[1]))
    assert bench.engine.work_to_do() == []
    assert pending(three) == []
    bench.engine.work_done(flush.token, flush.run(), bench.clock.now)
    bench.work()
    assert pending(two) == []
    three.collect()
    assert three.take(ScsiResponse).status == Status.GOOD
    assert bench.engine.core.after == {}


def test_preempting_with_ones_own_key_ends_ones_own_commands_but_this_one(nodes):
    _, two, _ = nodes
    two.send(two.write(1, blocks=4))
    two.take(R2T)
    two.send(reserve_out(two, op.PREEMPT_AND_ABORT, KEYS[1], KEYS[1]))
    two.bench.work()
    (answer,) = pending(two)
    assert (type(answer), answer.status) == (ScsiResponse, Status.GOOD)
    assert two.engine.core.data_out_bytes == 0


@pytest.mark.parametrize("status_told", [False, True])
def test_a_holder_that_preempts_itself_ends_its_own_commands_but_this_one(nodes, status_told):
    """Without a response also with TAS, which is about commands that another nexus ends."""
    one, two, _ = nodes
    if status_told:
        tell_of_aborted_tasks(one)
        assert status(two, two.command()) == Status.CHECK_CONDITION
    one.send(one.write(1, blocks=4))
    one.take(R2T)
    one.send(reserve_out(one, op.PREEMPT_AND_ABORT, KEYS[0], KEYS[0]))
    one.bench.work()
    (answer,) = pending(one)
    assert (type(answer), answer.status) == (ScsiResponse, Status.GOOD)
    assert one.engine.core.data_out_bytes == 0
    assert status(one, one.write(data=bytes(512))) == Status.GOOD


def test_preempted_commands_say_so_where_task_aborted_status_is_set(nodes):
    one, two, three = nodes
    tell_of_aborted_tasks(one)
    for host in (two, three):
        assert status(host, host.command()) == Status.CHECK_CONDITION
    write = two.write(1, blocks=4)
    two.send(write)
    r2t = two.take(R2T)
    assert out(three, op.PREEMPT_AND_ABORT, KEYS[2], KEYS[1]) == Status.GOOD
    two.send(two.data_out(r2t, bytes(2048)))
    (answer,) = pending(two)
    assert (answer.itt, answer.status) == (write.itt, Status.TASK_ABORTED)
