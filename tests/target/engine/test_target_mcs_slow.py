"""A connection that takes nothing holds up no other one of its session, and little memory (RFC 7143 4.2.2.1)."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import DataIn, NopIn, ScsiResponse, TaskManagementResponse, encode
from iscsi_target.config import Limits, Size

FOUR = ("MaxConnections", "4")


@pytest.fixture
def pair(make_bench):
    """Two connections; the first has more queued than its outbox should hold."""
    bench = make_bench(limits=Limits(send_buffer=Size(2000)))
    one = bench.host(cid=0).login(FOUR)
    two = bench.host(cid=1)
    two.tsih, two.cmd_sn = one.tsih, one.cmd_sn
    two.login()
    quietly(one, one.read(blocks=8))
    assert bench.engine.connections[one.number].queued > 2000
    return bench, one, two


def quietly(host, *pdus):
    """Send, and take nothing of what comes."""
    for pdu in pdus:
        host.engine.receive(host.number, encode(pdu).to_bytes(), host.clock.now)


def session(bench):
    return bench.engine.sessions[0]


def test_commands_behind_a_slow_connection_run(pair):
    bench, one, two = pair
    quietly(one, one.read(blocks=2), one.read(blocks=2))
    assert bench.engine.takes_bytes(one.number)
    two.cmd_sn = one.cmd_sn
    assert two.ask(two.command(itt=900), ScsiResponse).exp_cmd_sn == two.cmd_sn
    assert [cdb for cdb, _ in bench.device.log if cdb == 0x28] == [0x28]
    one.collect()
    assert [type(pdu) for pdu in one.inbox] == [DataIn] * 3
    assert [pdu.itt for pdu in one.inbox] == [1, 2, 3]
    assert session(bench).tasks == {}
    assert session(bench).max_cmd_sn - session(bench).exp_cmd_sn + 1 == 128


def test_reads_that_waited_for_a_gap_are_held_back(pair):
    """They were on the slow connection, and the missing command comes on the other one."""
    bench, one, two = pair
    missing = one.cmd_sn
    one.cmd_sn += 1
    for _ in range(3):
        quietly(one, one.read(blocks=4))
    two.send(two.command(itt=900, cmd_sn=missing))
    assert [type(pdu) for pdu in two.inbox] == [ScsiResponse]
    link = bench.engine.connections[one.number]
    assert (len(link.held), link.queued < 5000) == (3, True)
    assert session(bench).max_cmd_sn - session(bench).exp_cmd_sn + 1 == 125
    one.collect()
    assert [pdu.itt for pdu in one.inbox] == [1, 2, 3, 4]


def test_writes_on_a_slow_connection_are_carried_out(pair):
    bench, one, _ = pair
    quietly(one, one.write(lba=9, blocks=1, data=b"w" * 512), one.read(lba=9, blocks=1))
    assert bytes(bench.device.memory[bytes(8)][9 * 512 : 10 * 512]) == b"w" * 512
    one.collect()
    assert [type(pdu) for pdu in one.inbox] == [DataIn, ScsiResponse, DataIn]
    assert bytes(one.inbox[2].data) == b"w" * 512


def test_held_reads_are_aborted(pair):
    bench, one, two = pair
    quietly(one, one.read(blocks=2))
    two.cmd_sn = one.cmd_sn
    two.itt = 900
    abort = two.function(1, immediate=True, referenced_task_tag=2, ref_cmd_sn=one.cmd_sn - 1)
    assert two.ask(abort, TaskManagementResponse).response == 0
    one.collect()
    assert [pdu.itt for pdu in one.inbox] == [1]
    assert bench.engine.connections[one.number].held == []


def test_ordered_command_waits_for_held_reads(pair):
    _, one, two = pair
    quietly(one, one.read(blocks=2))
    two.cmd_sn = one.cmd_sn
    two.send(two.command(itt=900, attribute=2))
    assert not two.inbox
    one.collect()
    two.collect()
    assert [type(pdu) for pdu in two.inbox] == [ScsiResponse]


def test_what_cannot_be_held_back_is_bounded(pair):
    """Pings have to be answered; from a full outbox again on, the connection is not read."""
    bench, one, two = pair
    taken = 0
    while taken < 9 and bench.engine.takes_bytes(one.number):
        quietly(one, one.nop_out(b"p" * 500))
        taken += 1
    assert 3 <= taken <= 6
    link = bench.engine.connections[one.number]
    assert link.queued < 4200 + 4000
    one.collect()
    assert len([pdu for pdu in one.inbox if isinstance(pdu, NopIn)]) == taken
    assert bench.engine.takes_bytes(one.number)
    two.cmd_sn = one.cmd_sn
    two.alive()


def test_a_connection_alone_is_not_read_on(make_bench):
    bench = make_bench(limits=Limits(send_buffer=Size(2000)))
    host = bench.session()
    quietly(host, host.read(blocks=8), host.read(blocks=1))
    assert not bench.engine.takes_bytes(host.number)
    assert session(bench).exp_cmd_sn == host.cmd_sn - 1
    host.collect()
    assert [pdu.itt for pdu in host.inbox] == [1, 2]
    assert bench.engine.takes_bytes(host.number)


def test_held_reads_of_a_lost_connection(pair):
    bench, one, two = pair
    quietly(one, one.read(blocks=2))
    one.hang_up()
    assert [task.connection.cid for task in session(bench).tasks.values()] == [0]
    two.send(two.logout(1, immediate=True, cid=0))
    assert session(bench).tasks == {}
    assert session(bench).max_cmd_sn - session(bench).exp_cmd_sn + 1 == 128
