"""Task sets: what waits for what, over all sessions; ACA, priority, TASK SET FULL and BUSY."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_protocol.pdu import NO_TAG, R2T, ScsiResponse, TaskAttribute, TaskFunction, TaskManagementResponse
from iscsi_target.completion import Completion, Work
from iscsi_target.config import Limits, LunConfig, Size, TargetNode

UNTAGGED, SIMPLE, ORDERED, HEAD, ACA = TaskAttribute
LUN0, LUN1, LUN9 = (bytes((0, lun, 0, 0, 0, 0, 0, 0)) for lun in (0, 1, 9))
OTHER = bytes.fromhex("800000000007")
LEVEL_2 = ("iSCSIProtocolLevel", "2")
TARGET = "iqn.2026-11.org.example:disk"


def slow(number):
    return b"\x35\0" + number.to_bytes(4, "big") + bytes(10)


def quick(number):
    return b"\0\0" + number.to_bytes(4, "big") + bytes(10)


def finish(bench, *hosts):
    """Let the device end what it is at, once."""
    bench.work()
    for host in hosts:
        host.collect()


def answered(host):
    found = [pdu.itt for pdu in host.inbox if isinstance(pdu, ScsiResponse)]
    host.inbox.clear()
    return found


def test_simple_commands_pass_each_other_and_make_no_sets(bench):
    host = bench.session()
    first, second = host.command(slow(1), attribute=SIMPLE), host.command(quick(2), attribute=UNTAGGED)
    host.send(first, second)
    assert answered(host) == [second.itt]
    assert not bench.engine.sessions[0].task_sets.active
    finish(bench, host)
    assert answered(host) == [first.itt]


def test_an_ordered_command_waits_for_all_before_it_and_all_behind_it_wait(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    first = third.command(slow(1))
    third.send(first)
    ordered, behind, elsewhere = (
        host.command(quick(2), attribute=ORDERED),
        host.command(quick(3)),
        host.command(quick(4), lun=LUN1),
    )
    late = third.command(quick(5))
    host.send(ordered, behind, elsewhere)
    third.send(late)
    assert answered(host) == [elsewhere.itt]
    assert answered(third) == []
    finish(bench, host, third)
    assert answered(host) == [ordered.itt, behind.itt]
    assert answered(third) == [first.itt, late.itt]
    assert not bench.engine.sessions[0].task_sets.active


def test_ordered_commands_come_one_by_one(bench):
    host = bench.session()
    commands = [host.command(slow(number), attribute=ORDERED) for number in range(3)]
    host.send(*commands)
    for command in commands:
        assert answered(host) == []
        finish(bench, host)
        assert answered(host) == [command.itt]


def test_head_of_queue_waits_for_nothing_and_holds_up_the_dormant(bench):
    host = bench.session()
    first, ordered = host.command(slow(1)), host.command(quick(2), attribute=ORDERED)
    head, quick_head = host.command(slow(3), attribute=HEAD), host.command(quick(4), attribute=HEAD)
    host.send(first, ordered, head, quick_head)
    assert answered(host) == [quick_head.itt]
    work = bench.engine.work_to_do()
    assert len(work) == 2
    bench.engine.work_done(work[0].token, work[0].run(), bench.clock.now)
    host.collect()
    assert answered(host) == [first.itt]
    bench.engine.work_done(work[1].token, work[1].run(), bench.clock.now)
    host.collect()
    assert answered(host) == [head.itt, ordered.itt]


def test_a_write_that_waits_asks_for_its_data_all_the_same(bench):
    host = bench.session()
    host.send(host.command(slow(1)))
    command = host.write(blocks=2, attribute=ORDERED)
    r2t = host.ask(command, R2T)
    host.send(host.data_out(r2t, bytes(1024)))
    assert answered(host) == []
    finish(bench, host)
    assert answered(host)[-1] == command.itt


def test_immediate_data_waits_too(bench):
    host = bench.session()
    host.send(host.command(slow(1)))
    command = host.write(data=b"o" * 512, attribute=ORDERED)
    host.send(command)
    assert answered(host) == []
    assert bytes(bench.device.memory[LUN0][:4]) == bytes(4)
    finish(bench, host)
    assert answered(host)[-1] == command.itt
    assert bytes(bench.device.memory[LUN0][:4]) == b"oooo"


def test_an_ordered_command_waits_for_a_write_that_gathers_data(bench):
    host = bench.session()
    write = host.write(blocks=2)
    r2t = host.ask(write, R2T)
    ordered = host.command(quick(1), attribute=ORDERED)
    host.send(ordered)
    assert answered(host) == []
    host.send(host.data_out(r2t, bytes(1024)))
    assert answered(host) == [write.itt, ordered.itt]


def test_aborted_and_lost_tasks_hold_nobody_up(bench):
    host, third = bench.session(), bench.session(isid=OTHER)
    write = third.write(blocks=2)
    third.ask(write, R2T)
    ordered = host.command(quick(1), attribute=ORDERED)
    dormant = host.command(quick(2), attribute=ORDERED)
    behind = host.command(quick(3))
    host.send(ordered, dormant, behind)
    abort = host.function(TaskFunction.ABORT_TASK, referenced_task_tag=dormant.itt, ref_cmd_sn=dormant.cmd_sn)
    assert host.ask(abort, TaskManagementResponse).response == 0
    third.send(third.logout(0))
    host.collect()
    assert answered(host) == [ordered.itt, behind.itt]
    assert bench.engine.core.nodes[TARGET].task_sets.active is False


def test_aca_is_refused_where_there_is_none(bench):
    host = bench.session()
    answer = host.ask(host.command(attribute=ACA), ScsiResponse)
    assert (answer.status, answer.data[4] & 0xF, bytes(answer.data[14:16])) == (2, 5, b"\x49\x00")
    write = host.write(data=bytes(512), attribute=ACA)
    assert bytes(host.ask(write, ScsiResponse).data[14:16]) == b"\x49\x00"
    assert not any(entry[0] == 0x2A for entry in bench.device.log)


def test_a_lun_without_a_unit_has_no_task_set(bench):
    host = bench.session()
    assert host.ask(host.command(lun=LUN9, attribute=ORDERED), ScsiResponse).status == 2
    assert not bench.engine.sessions[0].task_sets.active


@pytest.mark.parametrize("level", ["1", "2"])
def test_priority_orders_what_wakes_together(bench, level):
    host = bench.session(("iSCSIProtocolLevel", level))
    host.send(host.command(slow(1), attribute=ORDERED))
    commands = [host.command(quick(number), command_priority=priority) for number, priority in enumerate((0, 9, 2))]
    host.send(*commands)
    finish(bench, host)
    order = answered(host)[1:]
    plain = [command.itt for command in commands]
    assert order == (plain if level == "1" else [plain[2], plain[1], plain[0]])


def limited(make_bench, **settings):
    lun = LunConfig(size=Size(65536), **settings)
    return make_bench(targets=[TargetNode(name=TARGET, luns={0: lun, 1: LunConfig(size=Size(65536))})])


def test_a_full_task_set(make_bench):
    bench = limited(make_bench, queue_depth=2, retry_delay=7)
    host, third = bench.session(LEVEL_2), bench.session(isid=OTHER)
    host.send(host.command(slow(1)), host.command(slow(2)))
    full = host.ask(host.command(quick(3)), ScsiResponse)
    assert (full.status, full.status_qualifier) == (0x28, 7)
    busy = third.ask(third.command(quick(4)), ScsiResponse)
    assert (busy.status, busy.status_qualifier) == (0x08, 0)
    assert host.ask(host.command(quick(5), lun=LUN1), ScsiResponse).status == 0
    assert third.ask(third.write(data=bytes(512)), ScsiResponse).status == 0x08
    finish(bench, host)
    assert host.inbox.popleft().status == 0
    assert host.inbox.popleft().status == 0
    assert third.ask(third.command(quick(6)), ScsiResponse).status == 0


def test_a_full_task_set_takes_the_data_that_is_on_its_way(make_bench):
    bench = limited(make_bench, queue_depth=1)
    host = bench.session(("InitialR2T", "No"))
    host.send(host.command(slow(1)))
    write = host.write(blocks=2, final=False)
    host.send(write)
    assert not host.inbox
    host.send(host.data_out(write, bytes(1024), offset=0, ttt=NO_TAG))
    assert host.take(ScsiResponse).status == 0x28
    assert bench.engine.core.data_out_bytes == 0


def test_every_so_many_th_command_is_busy(make_bench):
    bench = limited(make_bench, busy=3)
    host = bench.session()
    statuses = [host.ask(host.command(quick(number)), ScsiResponse).status for number in range(7)]
    assert statuses == [0, 0, 8, 0, 0, 8, 0]


def test_no_memory_for_data_is_busy_for_who_has_nothing_there(make_bench):
    bench = make_bench(limits=Limits(data_out_bytes=Size(1024)))
    host, third = bench.session(), bench.session(isid=OTHER)
    host.ask(host.write(blocks=2), R2T)
    assert host.ask(host.write(blocks=2), ScsiResponse).status == 0x28
    assert third.ask(third.write(blocks=2), ScsiResponse).status == 0x08


class Workload:
    """Commands of two sessions at one unit, and when each came, was begun and was done."""

    def __init__(self, bench):
        self.bench = bench
        self.hosts = [bench.session(), bench.session(isid=OTHER)]
        self.came, self.begun, self.done, self.answered = {}, {}, {}, set()
        self.numbers, self.waiting, self.pending = {}, {}, []
        self.clock = iter(range(10_000))
        bench.device.execute = self.execute

    def execute(self, nexus, lun, cdb, data_out):
        number = int.from_bytes(cdb[2:6], "big")
        assert number not in self.begun
        self.begun[number] = next(self.clock)
        if cdb[0] == 0x35:
            return Work(lambda: self.end(number))
        return self.end(number)

    def end(self, number):
        self.done[number] = next(self.clock)
        return Completion(0)

    def send(self, host, number, attribute, kind):
        if kind == "write":
            command = host.write(lba=number, blocks=2, attribute=attribute)
        else:
            command = host.command((slow if kind == "slow" else quick)(number), attribute=attribute)
        self.came[number] = attribute
        self.numbers[host, command.itt] = number
        host.send(command)
        self.look()
        assert attribute != HEAD or kind == "write" or number in self.begun

    def look(self):
        self.pending += self.bench.engine.work_to_do()
        for host in self.hosts:
            host.collect()
            for pdu in host.inbox:
                if isinstance(pdu, R2T):
                    self.waiting[self.numbers[host, pdu.itt]] = (host, pdu)
                elif isinstance(pdu, ScsiResponse):
                    self.answered.add(self.numbers[host, pdu.itt])
            host.inbox.clear()

    def give(self, number):
        host, r2t = self.waiting.pop(number)
        host.send(host.data_out(r2t, bytes(1024)))
        self.look()

    def work(self, at):
        work = self.pending.pop(at)
        self.bench.engine.work_done(work.token, work.run(), self.bench.clock.now)
        self.look()


@given(data=st.data())
def test_commands_run_in_an_order_that_their_attributes_allow(make_bench, data):
    load = Workload(make_bench())
    for number in range(data.draw(st.integers(1, 12))):
        load.send(
            data.draw(st.sampled_from(load.hosts)),
            number,
            data.draw(st.sampled_from([UNTAGGED, SIMPLE, ORDERED, HEAD])),
            data.draw(st.sampled_from(["quick", "slow", "write"])),
        )
        step = data.draw(st.sampled_from(["none", "give", "work"]))
        if step == "give" and load.waiting:
            load.give(data.draw(st.sampled_from(sorted(load.waiting))))
        elif step == "work" and load.pending:
            load.work(data.draw(st.integers(0, len(load.pending) - 1)))
    while load.waiting or load.pending:
        if load.waiting:
            load.give(min(load.waiting))
        else:
            load.work(0)
    assert load.answered == set(load.came)
    for older, ahead in load.came.items():
        for newer, behind in load.came.items():
            if newer > older and behind != HEAD and (behind == ORDERED or ahead in (ORDERED, HEAD)):
                assert load.begun[newer] > load.done[older]
    for session in load.bench.engine.sessions:
        assert not session.tasks
        assert not session.task_sets.active
