"""Logout, pings, asynchronous messages, SNACK, discovery sessions, timers, the operator's verbs."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import (
    NO_LUN,
    NO_TAG,
    R2T,
    AsyncMessage,
    DataIn,
    LogoutResponse,
    NopIn,
    NopOut,
    Reject,
    ScsiResponse,
    SnackRequest,
    TextResponse,
)
from iscsi_target.config import TargetConfig, TargetNode, Timers
from iscsi_target.connection import State
from iscsi_target.events import ConnectionClosed, LoggedOut, Pinged, SessionClosed, TimedOut
from iscsi_target.node import check_offered
from iscsi_target.policy import Policy

LUN1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))


# Logout


@pytest.mark.parametrize("immediate", [False, True])
@pytest.mark.parametrize("reason", [0, 1])
def test_logout(bench, reason, immediate):
    host = bench.session(cid=3)
    host.send(host.write(blocks=2))
    host.take(R2T)
    response = host.ask(host.logout(reason, immediate=immediate), LogoutResponse)
    assert (response.response, response.time2wait, response.time2retain) == (0, 2, 0)
    assert host.closed == "fin"
    assert bench.engine.sessions == []
    assert bench.device.log[-1] == ("lost", host.tsih)
    assert [(event.reason, event.response) for event in bench.events(LoggedOut)] == [(reason, 0)]
    host.hang_up()
    assert bench.engine.connections == {}
    assert bench.engine.core.data_out_bytes == 0


def test_logout_waits_its_turn(bench):
    host = bench.session()
    command, logout = host.command(), host.logout()
    host.send(logout)
    assert not host.inbox
    host.send(command)
    assert [type(pdu) for pdu in host.inbox] == [ScsiResponse, LogoutResponse]


def test_nothing_is_heard_behind_a_logout(bench):
    host = bench.session()
    host.send(host.logout(), host.command())
    assert len(host.inbox) == 1
    host.send(host.command())
    assert len(host.inbox) == 1


def test_logout_of_an_unknown_connection(bench):
    host = bench.session(cid=3)
    response = host.ask(host.logout(1, cid=4), LogoutResponse)
    assert (response.response, response.time2wait, response.time2retain) == (1, 0, 0)
    host.alive()


def test_recovery_logout_is_refused(bench):
    host = bench.session()
    response = host.ask(host.logout(2), LogoutResponse)
    assert (response.response, response.time2wait, response.time2retain) == (2, 2, 20)
    assert host.closed == "fin"
    assert bench.engine.sessions[0].connections[0].state is State.CLEANUP_WAIT


@pytest.mark.parametrize(
    ("fields", "reason"), [({"itt": NO_TAG}, 9), ({"itt": 1}, 7), ({"reason": 3}, None), ({"data": b"x"}, None)]
)
def test_logouts_that_are_wrong(bench, fields, reason):
    host = bench.session()
    host.ask(host.write(blocks=2, itt=1), R2T)
    host.send(host.logout(**fields))
    if reason is None:
        assert host.closed == "rst"
    else:
        assert host.take(Reject).reason == reason


def test_switch_stays_after_logout(make_bench):
    host = make_bench(policy=Policy(stay_after_logout=True)).session()
    host.ask(host.logout(), LogoutResponse)
    host.alive()


def test_switch_stays_after_login_reject(make_bench):
    host = make_bench(policy=Policy(stay_after_login_reject=True)).host()
    assert host.try_login(target="iqn.2026-11.org.example:other").status == 0x0203
    assert host.closed is None
    host.login()


def test_half_closed_connection_is_reset_in_the_end(bench):
    host = bench.session()
    host.ask(host.logout())
    bench.pass_time(5)
    assert host.closed == "rst"


# Discovery


@pytest.mark.parametrize("make", ["command", "nop_out", "snack", "logout"])
def test_discovery_rejects_the_rest(bench, make):
    host = bench.host().login(discovery=True)
    pdu = {
        "command": host.command,
        "nop_out": host.nop_out,
        "snack": SnackRequest,
        "logout": lambda: host.logout(1),
    }[make]()
    assert host.ask(pdu, Reject).reason == 0x04
    assert host.closed is None


def test_discovery_is_logged_out(bench):
    host = bench.host().login(discovery=True)
    assert host.ask(host.logout(), LogoutResponse).response == 0
    assert bench.engine.sessions == []


def test_switch_serves_discovery_fully(make_bench):
    host = make_bench(policy=Policy(serve_discovery_fully=True)).host().login(discovery=True)
    assert host.ask(host.command(), ScsiResponse).status == 2
    host.alive()


def test_discovery_is_dropped_without_a_message(bench):
    host = bench.host().login(discovery=True)
    bench.engine.request_logout(host.number, 5, 0.0)
    host.collect()
    assert not host.inbox
    assert host.closed == "fin"


# Pings


def test_ping_is_echoed(bench):
    host = bench.session(("MaxRecvDataSegmentLength", "512"))
    pong = host.ask(host.nop_out(b"x" * 600), NopIn)
    assert (pong.data, pong.ttt, pong.itt) == (b"x" * 512, NO_TAG, host.itt)
    assert pong.exp_cmd_sn == host.cmd_sn


def test_counters_are_not_answered(bench):
    host = bench.session()
    host.acknowledge()
    assert not host.inbox
    host.alive()


def test_ping_of_the_target(bench):
    host = bench.session()
    ttt = bench.engine.ping(host.number, bench.clock.now, LUN1)
    host.collect()
    ping = host.take(NopIn)
    assert (ping.ttt, ping.itt, ping.lun, ping.data, ping.stat_sn) == (ttt, NO_TAG, LUN1, b"", host.exp_stat_sn)
    bench.clock.now += 2
    answer = {"immediate": True, "ttt": ttt, "cmd_sn": host.cmd_sn, "exp_stat_sn": host.exp_stat_sn}
    assert host.ask(NopOut(lun=NO_LUN, **answer), Reject).reason == 0x09
    host.send(NopOut(lun=LUN1, **answer))
    assert not host.inbox
    assert [event.seconds for event in bench.events(Pinged)] == [2]
    assert host.ask(NopOut(lun=LUN1, **answer), Reject).reason == 0x09


@pytest.mark.parametrize("fields", [{"itt": NO_TAG}, {"ttt": 5}])
def test_nop_out_format_errors(bench, fields):
    host = bench.session()
    host.send(host.nop_out(**fields))
    assert host.closed == "rst"


def test_ping_tag_in_use(bench):
    host = bench.session()
    host.ask(host.write(blocks=2, itt=1), R2T)
    assert host.ask(host.nop_out(itt=1), Reject).reason == 0x07


def test_silence_is_pinged_and_then_given_up(make_bench):
    bench = make_bench(timers=Timers(ping_interval=10, ping_timeout=3))
    host = bench.session()
    bench.pass_time(6)
    host.alive()
    bench.pass_time(6)
    host.collect()
    assert not host.inbox
    bench.pass_time(4)
    host.collect()
    ping = host.take(NopIn)
    host.send(NopOut(immediate=True, ttt=ping.ttt, lun=ping.lun, cmd_sn=host.cmd_sn, exp_stat_sn=host.exp_stat_sn))
    bench.pass_time(3)
    assert host.closed is None
    bench.pass_time(7)
    host.collect()
    host.take(NopIn)
    bench.pass_time(3)
    assert host.closed == "rst"
    assert [event.timer for event in bench.events(TimedOut)] == ["ping answer"]


def test_counters_of_the_target(bench):
    host = bench.session()
    bench.engine.tell_counters(host.number, 0.0)
    host.collect()
    nop = host.take(NopIn)
    assert (nop.itt, nop.ttt, nop.stat_sn) == (NO_TAG, NO_TAG, host.exp_stat_sn)


# Asynchronous messages


def message(bench, host):
    host.collect()
    found = host.take(AsyncMessage)
    assert found.itt == NO_TAG
    return found


def test_logout_is_requested(bench):
    host = bench.session()
    bench.engine.request_logout(host.number, 4, bench.clock.now)
    found = message(bench, host)
    assert (found.async_event, found.parameter1, found.parameter2, found.parameter3) == (1, 0, 0, 4)
    assert host.ask(host.command(), Reject).reason == 0x0C
    host.cmd_sn -= 1
    bench.engine.request_logout(host.number, 9, bench.clock.now)
    message(bench, host)
    bench.pass_time(5)
    assert host.closed is None
    host.ask(host.logout(1), LogoutResponse)


def test_logout_that_does_not_come(bench):
    host = bench.session(cid=7)
    bench.engine.request_logout(host.number, 4, bench.clock.now)
    message(bench, host)
    bench.pass_time(4)
    found = message(bench, host)
    assert (found.async_event, found.parameter1, found.parameter2, found.parameter3) == (2, 7, 2, 20)
    assert host.closed == "fin"
    assert len(bench.engine.sessions) == 1
    bench.pass_time(22)
    assert bench.engine.sessions == []


def test_a_faulty_target_waits_for_logout(make_bench):
    bench = make_bench(policy=Policy(wait_for_logout_forever=True))
    host = bench.session()
    bench.engine.request_logout(host.number, 4, bench.clock.now)
    message(bench, host)
    bench.pass_time(60)
    host.collect()
    assert host.closed is None
    assert not host.inbox


@pytest.mark.parametrize(("forever", "closed"), [(False, "rst"), (True, None)])
def test_a_faulty_target_waits_for_a_login(make_bench, forever, closed):
    bench = make_bench(policy=Policy(wait_for_login_forever=forever))
    host = bench.host()
    bench.pass_time(31)
    host.collect()
    assert host.closed == closed


def test_a_faulty_target_stays_after_its_notice(make_bench):
    bench = make_bench(policy=Policy(stay_after_drop_notice=True))
    host = bench.session()
    bench.engine.drop_connection(host.number, bench.clock.now)
    assert message(bench, host).async_event == 2
    bench.engine.drop_session(bench.engine.sessions[0].tsih, bench.clock.now)
    assert message(bench, host).async_event == 3
    host.ask(host.command(), ScsiResponse)


def test_connection_is_dropped(bench):
    host = bench.session()
    bench.engine.drop_connection(host.number, bench.clock.now)
    assert message(bench, host).async_event == 2
    assert host.closed == "fin"
    assert len(bench.events(ConnectionClosed)) == 1


def test_session_is_dropped(bench):
    host = bench.session()
    bench.engine.drop_session(host.tsih, bench.clock.now)
    found = message(bench, host)
    assert (found.async_event, found.parameter2, found.parameter3) == (3, 2, 0)
    assert bench.engine.sessions == []
    assert len(bench.events(SessionClosed)) == 1
    with pytest.raises(KeyError):
        bench.engine.drop_session(host.tsih, 0.0)


def test_negotiation_is_requested(bench):
    host = bench.session()
    bench.engine.request_negotiation(host.number, 3, 0.0)
    found = message(bench, host)
    assert (found.async_event, found.parameter3) == (4, 3)
    assert host.ask(host.text(), TextResponse).final


def test_scsi_event(bench):
    host = bench.session()
    bench.engine.send_scsi_async(host.number, LUN1, b"sense", 0.0)
    found = message(bench, host)
    assert (found.async_event, found.lun, found.data) == (0, LUN1, b"\0\5sense")
    host.alive()


def test_vendor_event(bench):
    host = bench.session()
    bench.engine.send_vendor_async(host.number, 250, 9, b"hello", 0.0)
    found = message(bench, host)
    assert (found.async_event, found.async_vcode, found.data) == (250, 9, b"\0\0hello")
    with pytest.raises(ValueError, match="248 to 255"):
        bench.engine.send_vendor_async(host.number, 4, 0, b"", 0.0)


def test_operators_wishes_are_for_logged_in_connections(bench):
    host = bench.host()
    with pytest.raises(KeyError):
        bench.engine.ping(host.number, 0.0)
    with pytest.raises(KeyError):
        bench.engine.drop_connection(99, 0.0)


# SNACK


@pytest.mark.parametrize(("snack_type", "reason"), [(0, 0x03), (2, 0x08), (3, 0x03)])
def test_snack_is_refused_at_level_0(bench, snack_type, reason):
    host = bench.session()
    assert host.ask(SnackRequest(snack_type=snack_type, itt=5, exp_stat_sn=host.exp_stat_sn), Reject).reason == reason
    host.alive()


def test_snack_about_a_task_ends_it(bench):
    host = bench.session()
    command = host.write(blocks=2)
    r2t = host.ask(command, R2T)
    assert host.ask(SnackRequest(itt=command.itt), Reject).reason == 0x03
    response = host.ask(host.data_out(r2t, bytes(1024)), ScsiResponse)
    assert bytes(response.data[14:16]) == b"\x11\x13"


def test_status_snack_drops_the_connection(bench):
    host = bench.session()
    host.send(SnackRequest(snack_type=1, exp_stat_sn=host.exp_stat_sn))
    assert host.take(AsyncMessage).async_event == 2
    assert host.closed == "fin"


def test_reserved_snack_type(bench):
    host = bench.session()
    host.send(SnackRequest(snack_type=9))
    assert host.closed == "rst"


# What is offered


@pytest.mark.parametrize(
    "keys",
    [
        {"MaxConnections": "65536"},
        {"ErrorRecoveryLevel": "3"},
        {"iSCSIProtocolLevel": "3"},
    ],
)
def test_more_than_is_offered_is_refused(keys):
    name = "iqn.2026-11.org.example:disk"
    for config in (
        TargetConfig(targets=[TargetNode(name=name)], keys=keys),
        TargetConfig(targets=[TargetNode(name=name, keys=keys)]),
    ):
        with pytest.raises(ValueError, match="offered"):
            check_offered(config)


def test_node_settings_and_alias_are_negotiated_with(make_bench):
    node = TargetNode(name="iqn.2026-11.org.example:disk", alias="big disk", keys={"MaxBurstLength": "1024"})
    bench = make_bench(targets=[node], keys={"FirstBurstLength": "512"})
    response = bench.host().try_login(("MaxBurstLength", "4096"), ("FirstBurstLength", "4096"))
    assert b"MaxBurstLength=1024\0" in response.data
    assert b"FirstBurstLength=512\0" in response.data
    assert b"TargetAlias=big disk\0" in response.data


def test_dirty_connections_are_named_once(bench):
    host = bench.session()
    bench.engine.dirty_connections()
    host.send(host.read())
    assert isinstance(host.take(), DataIn)
    assert bench.engine.dirty_connections() == [host.number]
    assert bench.engine.dirty_connections() == []
    assert bench.engine.data_to_send(99) == []
    bench.engine.connection_lost(99, "gone", 0.0)
    bench.engine.receive(99, b"", 0.0)
