"""What of a lost connection ends at level 2: requests out of order, aborted tasks, time (RFC 7143 7.5, 11.14, Appendix E)."""

from __future__ import annotations

import pytest
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
    NO_TAG,
    DataIn,
    LogoutReason,
    LogoutResponse,
    LogoutResponseCode,
    NopIn,
    ScsiResponse,
    TaskFunction,
    TaskManagementResponse,
    TaskResponse,
)
from iscsi_target.recovery import RELEASED_CONNECTIONS


@pytest.fixture
def bench(make_bench):
    bench = make_bench(keys=KEYS)
    bench.device.memory[LUN0][:] = PATTERN
    return bench


@pytest.fixture
def host(bench):
    return bench.session(*LEVEL2)


# Requests that wait for a missing CmdSN


def gap(host):
    """A missing command, and one behind it."""
    missing = host.command()
    late = host.read(0, 1)
    host.send(late)
    assert not host.inbox
    return missing, late


def test_discontiguous_command_survives_a_failure(bench, host):
    new = another(bench, host)
    missing, late = gap(host)
    lose(host, new)
    new.ask(missing, ScsiResponse)
    new.ask(new.logout(LogoutReason.RECOVERY, cid=0, exp_stat_sn=0), LogoutResponse)
    reassign(new, late.itt)
    assert bytes(new.take(DataIn).data) == PATTERN[:512]


def test_discontiguous_command_does_not_survive_a_logout(bench, host):
    new = another(bench, host)
    missing, late = gap(host)
    lose(host, new)
    new.ask(new.logout(LogoutReason.RECOVERY, cid=0, exp_stat_sn=0, immediate=True), LogoutResponse)
    assert ask_reassign(new, late.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST
    new.ask(missing, ScsiResponse)
    # It may be retried on another connection now.
    assert bytes(new.ask(late, DataIn).data) == PATTERN[:512]


# Aborts


def abort(new, command):
    request = new.function(TaskFunction.ABORT_TASK, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn)
    new.send(request)
    return taken(new)


def test_abort_of_a_task_that_waits(bench, host):
    command = host.write(0, 12)
    host.send(command)
    taken(host)
    lose(host)
    new = reinstate(bench, host)
    [response] = abort(new, command)
    assert response.response == TaskResponse.FUNCTION_COMPLETE
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST
    assert not in_session(bench, host).tasks


def test_abort_of_a_command_that_is_over(bench, host):
    command, _ = lost_read(host, 1)
    new = reinstate(bench, host)
    status, response = abort(new, command)
    assert status.itt == command.itt
    assert status.status_present
    assert response.response == TaskResponse.TASK_DOES_NOT_EXIST
    assert response.stat_sn == status.stat_sn + 1


@pytest.mark.parametrize("at_work", [False, True])
@pytest.mark.parametrize("how", [TaskFunction.ABORT_TASK, TaskFunction.LOGICAL_UNIT_RESET])
def test_session_closes_once_nothing_waits(bench, host, how, at_work):
    new = another(bench, host)
    command = host.command(SLOW) if at_work else host.write(0, 2)
    host.send(command)
    lose(host, new)
    log_out(new, 0)
    new.send(new.function(how, referenced_task_tag=command.itt, ref_cmd_sn=command.cmd_sn))
    assert [each.response for each in taken(new)] == ([] if at_work else [0])
    response = new.ask(new.logout(LogoutReason.CLOSE_CONNECTION, cid=1), LogoutResponse)
    assert response.response == LogoutResponseCode.SUCCESS
    assert ("lost", host.tsih) in bench.device.log
    assert not bench.engine.sessions
    bench.work()


@pytest.mark.parametrize("logged_out", [True, False])
@pytest.mark.parametrize("lun", [LUN0, bytes((0, 1, 0, 0, 0, 0, 0, 0))])
def test_nothing_is_told_behind_a_reset(bench, host, lun, logged_out):
    new = another(bench, host)
    command, _ = lost_read(host, 1, survivor=new)
    if logged_out:
        log_out(new, 0)
    new.send(new.function(TaskFunction.LOGICAL_UNIT_RESET, lun=lun))
    assert [each.response for each in taken(new)] == [TaskResponse.FUNCTION_COMPLETE]
    if not logged_out:
        log_out(new, 0)
    session = in_session(bench, host)
    assert bool(session.released) == (lun != LUN0)
    found = [type(each) for each in abort(new, command)]
    assert found == ([TaskManagementResponse] if lun == LUN0 else [DataIn, TaskManagementResponse])


def test_reset_ends_what_waits(bench, host):
    command = host.write(0, 12)
    host.send(command)
    taken(host)
    lose(host)
    new = reinstate(bench, host)
    new.send(new.function(TaskFunction.LOGICAL_UNIT_RESET))
    assert new.take(TaskManagementResponse).response == TaskResponse.FUNCTION_COMPLETE
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


# Time


def test_time_to_retain(bench, host):
    new = another(bench, host)
    command, _ = lost_read(host, survivor=new)
    log_out(new, 0)
    bench.pass_time(11.9)
    assert in_session(bench, host).released
    bench.pass_time(0.2)
    assert not in_session(bench, host).released
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


def test_terminated_tasks_are_told_of(bench, host):
    new = another(bench, host)
    host.send(host.write(0, 12))
    lose(host, new)
    log_out(new, 0)
    assert in_session(bench, host).tasks
    bench.pass_time(12)
    new.collect()
    assert new.take(NopIn).itt == NO_TAG
    assert not in_session(bench, host).tasks
    response = new.ask(new.command(), ScsiResponse)
    assert (response.status, bytes(response.data[14:16])) == (2, b"\x47\x7f")


def test_session_without_a_connection(bench, host):
    command, _ = lost_read(host)
    bench.pass_time(11.9)
    new = reinstate(bench, host)
    bench.pass_time(11.9)
    reassign(new, command.itt)
    assert taken(new)


def test_session_ends_with_its_time(bench, host):
    lost_read(host)
    bench.pass_time(12)
    assert not bench.engine.sessions


def test_nothing_is_retained(bench):
    host = bench.session(*changed(DefaultTime2Retain="0"))
    new = another(bench, host)
    command, _ = lost_read(host, survivor=new)
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


@pytest.mark.parametrize("kind", ["read", "write", "at work"])
def test_reinstatement_of_a_live_connection_retains_nothing(bench, kind):
    host = bench.session(*changed(DefaultTime2Retain="0"))
    command = host.write(0, 2) if kind == "write" else host.command(SLOW) if kind == "at work" else host.read(0, 1)
    host.send(command)
    new = reinstate(bench, host)
    session = in_session(bench, host)
    assert not session.tasks
    assert session.max_cmd_sn - session.exp_cmd_sn == 127
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST
    told = bytes(new.ask(new.command(), ScsiResponse).data[14:16])
    assert told == (b"" if kind == "read" else b"\x47\x7f")


def test_logout_of_the_last_connection(bench, host):
    command = host.read(0, 2)
    host.send(command)
    taken(host)
    host.exp_stat_sn -= 1
    response = host.ask(host.logout(LogoutReason.RECOVERY), LogoutResponse)
    assert response.response == LogoutResponseCode.SUCCESS
    host.hang_up()
    new = another(bench, host, 3)
    reassign(new, command.itt)
    assert b"".join(bytes(pdu.data) for pdu in taken(new)) == PATTERN[:1024]


def test_logout_acknowledges_for_its_subject(bench, host):
    new = another(bench, host)
    command, answers = lost_read(host, 1, got=1, survivor=new)
    acknowledged = answers[0].stat_sn + 1
    new.ask(new.logout(LogoutReason.RECOVERY, cid=0, exp_stat_sn=acknowledged), LogoutResponse)
    assert ask_reassign(new, command.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


def test_oldest_released_connection_is_forgotten(bench, host):
    first, _ = lost_read(host, 1)
    new = reinstate(bench, host)
    for _ in range(RELEASED_CONNECTIONS):
        lost_read(new, 1)
        new = reinstate(bench, new)
    assert len(in_session(bench, host).released) == RELEASED_CONNECTIONS
    assert ask_reassign(new, first.itt)[0] == TaskResponse.TASK_DOES_NOT_EXIST


def test_nothing_is_left_behind(bench, host):
    command, _ = lost_read(host)
    new = reinstate(bench, host)
    reassign(new, command.itt)
    taken(new)
    new.acknowledge()
    session = in_session(bench, host)
    assert not session.released
    assert not session.tasks
    retained = bench.engine.core.connections[new.number].retained
    assert (retained.held, retained.exchanges, retained.responses) == (0, {}, {})
