"""Loss and recovery of the session, what the target announces, and how requests get through it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import DeviceGone, Failure, Ping, ScsiRequest, SessionUp, TaskManagement, TextNegotiation
from iscsi_initiator.settings import SessionOptions, Settings
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import (
    R2T,
    AsyncMessage,
    DataOut,
    LoginRequest,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    ScsiCommand,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
)
from iscsi_protocol.scsi.lun import encode_lun

NAME = b"iqn.2026-01.org.example:disk"
READ = bytes([0x28]) + bytes(9)
OPTIONS = SessionOptions(portal=Endpoint("192.0.2.10", 3260), target_name=NAME.decode())


@pytest.mark.parametrize("reason", [TransportEvent.FIN, TransportEvent.RST, TransportEvent.TIMED_OUT])
def test_20_then_34_and_the_same_isid(up, reason):
    bench = up()
    isid = bench.raws[0].bhs[8:14]
    bench.lose(reason)
    assert bench.log == [20]
    assert bench.dump(20) == NAME
    bench.advance(1.9)
    assert bench.wanted == []
    bench.advance(0.2)
    bench.raws.clear()
    bench.login()
    assert bench.raws[0].bhs[8:16] == isid + bytes(2)
    assert bench.log == [20, 34]
    assert bench.dump(34) == NAME
    assert [event.recovered for event in bench.of(SessionUp)] == [False, True]


def test_20_within_a_pdu(up):
    bench = up()
    bench.give_bytes(bytes(20))
    bench.lose(TransportEvent.FIN)
    assert bench.log == [20]


def test_20_then_1_for_each_failed_attempt_then_34(up):
    bench = up()
    bench.lose()
    bench.advance(2)
    for _ in range(3):
        bench.refuse()
        assert bench.wanted == []
        bench.advance(1)
    bench.login()
    assert bench.log == [20, 1, 1, 1, 34]


def test_59_43_and_refusals_of_the_target_while_it_recovers(up):
    bench = up()
    bench.lose()
    bench.advance(2)
    bench.security()
    bench.lose(TransportEvent.FIN)
    bench.advance(1)
    bench.security()
    bench.advance(31)
    bench.respond(bench.security(), status_class=3, status_detail=1)
    bench.advance(1)
    bench.login()
    assert bench.log == [20, 59, 43, 10, 34]


def test_a_refusal_for_good_ends_the_recovery(up):
    bench = up()
    bench.lose()
    bench.advance(2)
    bench.respond(bench.security(), status_class=2, status_detail=3)
    assert bench.log == [20, 10]
    assert bench.over is not None
    assert bench.over.login_status == 0x0203


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_max_connection_retries(up, retries):
    """It is how many times a lost connection is retried, the first attempt to bring it back included."""
    bench = up(settings=Settings(max_connection_retries=retries))
    request = ScsiRequest(0, READ, data_in=4)
    bench.submit(request)
    bench.lose()
    bench.advance(2)
    for _ in range(retries):
        bench.refuse()
        bench.advance(1)
    assert bench.wanted == []
    assert bench.log == [20, *[1] * retries]
    assert bench.over is not None
    assert request.failure is Failure.NO_DEVICE


@pytest.mark.parametrize("wait", ["0", "9"])
def test_time2wait_is_what_was_negotiated(up, wait):
    bench = up(answers={"DefaultTime2Wait": wait}, settings=Settings(default_time2wait=0))
    bench.lose()
    bench.advance(float(wait) - 0.1 if wait != "0" else 0)
    assert bool(bench.wanted) is (wait == "0")
    bench.advance(0.1)
    assert bench.wanted


def test_time2wait_not_where_the_policy_ignores_it(up):
    bench = up(policy=Policy(ignore_time2wait=True))
    bench.lose()
    bench.advance(0)
    assert bench.wanted


def test_another_isid_where_the_policy_has_it(up):
    bench = up(policy=Policy(new_isid_on_recovery=True))
    isid = bench.raws[0].bhs[8:14]
    bench.lose()
    bench.advance(2)
    bench.raws.clear()
    bench.login()
    assert bench.raws[0].bhs[8:14] != isid


def test_requests_are_started_again_in_their_order(up):
    bench = up()
    data = bytes(range(256)) * 4
    write = ScsiRequest(0, bytes([0x2A]) + bytes(9), data_out=data)
    read = ScsiRequest(0, READ, data_in=1024)
    for request in (write, read):
        bench.submit(request)
    commands = [bench.take(ScsiCommand) for _ in range(2)]
    bench.give(bench.read_response(commands[1], bytes(512), status_present=False, final=False))
    bench.lose()
    later = ScsiRequest(0, bytes(6))
    bench.submit(later)
    assert bench.sent == []
    bench.advance(2)
    bench.stat_sn = 0x7000
    bench.login()
    again = [bench.take(ScsiCommand) for _ in range(3)]
    assert [command.cdb[0] for command in again] == [0x2A, 0x28, 0]
    assert again[0].data == data
    assert again[0].itt != commands[0].itt
    bench.give(bench.response(again[0]), bench.read_response(again[1], data), bench.response(again[2]))
    assert bytes(read.data_in) == data
    for request in (write, read, later):
        assert bench.done(request)
        assert request.result.status == 0


def test_what_is_not_to_be_held_fails_at_once(up):
    bench = up()
    requests = [ScsiRequest(0, READ, data_in=4, hold=False), Ping(), TaskManagement(5), TextNegotiation()]
    for request in requests:
        bench.submit(request)
    bench.lose()
    assert {request.failure for request in requests} == {Failure.CONNECTION_LOST}


def test_max_request_hold_time(up):
    bench = up()
    held = ScsiRequest(0, READ, data_in=4)
    bench.submit(held)
    bench.lose()
    for _ in range(100):
        if bench.wanted:
            bench.refuse()
        bench.advance(0.5)
        if bench.now - 100 < 59.9:
            assert not bench.done(held)
    assert bench.done(held) is (bench.now >= 160)
    while not bench.done(held):
        if bench.wanted:
            bench.refuse()
        bench.advance(0.5)
    assert bench.now == pytest.approx(160, abs=1)
    assert held.failure is Failure.NO_DEVICE
    assert bench.over is None


def test_the_hold_time_does_not_run_while_a_connection_is_up(up):
    """A request that was held, and sent again, is held when the next connection is lost, however late that is."""
    bench = up()
    request = ScsiRequest(0, READ, data_in=4, timeout=1000)
    bench.submit(request)
    bench.lose()
    bench.advance(2)
    bench.login()
    bench.advance(70)
    bench.lose()
    bench.advance(2)
    bench.login()
    bench.give(bench.read_response(bench.take(ScsiCommand), bytes(4)))
    assert bench.done(request)
    assert request.failure is None
    assert bench.of(DeviceGone) == []
    assert bench.log == [20, 34, 20, 34]


def test_the_hold_time_is_that_of_all_losses_together(up):
    """A request that is sent again and again comes to an end, and takes nothing with it that was not held so long."""
    bench = up(settings=Settings(max_request_hold_time=5))
    old = ScsiRequest(0, READ, data_in=4)
    bench.submit(old)
    for _ in range(2):
        bench.lose()
        bench.advance(2)
        bench.login()
    bench.lose()
    new = ScsiRequest(0, READ, data_in=4)
    bench.submit(new)
    bench.advance(0.9)
    assert not bench.done(old)
    bench.advance(0.1)
    assert bench.done(old)
    assert old.failure is Failure.NO_DEVICE
    assert not bench.done(new)
    bench.advance(4)
    assert new.failure is Failure.NO_DEVICE
    assert len(bench.of(DeviceGone)) == 1


def test_what_is_to_be_sent_again_does_not_wait_for_ever(up):
    """Behind a recovery the target lets one command out, and no other ever."""
    bench = up()
    requests = [ScsiRequest(0, READ, data_in=4) for _ in range(3)]
    for each in requests:
        bench.submit(each)
    bench.lose()
    bench.advance(2)
    bench.exp_cmd_sn = 4
    bench.max_cmd_sn = 5
    bench.login()
    for command in [pdu for pdu in bench.sent if isinstance(pdu, ScsiCommand)]:
        bench.exp_cmd_sn = bench.max_cmd_sn
        bench.give(bench.read_response(command, bytes(4)))
    assert [bench.done(each) for each in requests] == [True, True, False]
    bench.advance(74.9)
    assert not bench.done(requests[2])
    bench.advance(0.2)
    assert requests[2].failure is Failure.TIMED_OUT
    assert bench.log == [20, 34]


def test_a_discovery_session_is_not_recovered(bench):
    made = bench(options=SessionOptions(portal=OPTIONS.portal))
    made.login()
    request = TextNegotiation((("SendTargets", "All"),))
    made.submit(request)
    made.lose(TransportEvent.FIN)
    assert made.log == [20]
    assert made.dump(20) == b""
    assert made.over is not None
    assert request.failure is Failure.CONNECTION_LOST


def test_no_recovery_where_none_is_wanted(up):
    bench = up(options=replace(OPTIONS, recover=False))
    bench.lose()
    assert bench.over is not None


def test_closing_while_it_recovers(up):
    bench = up()
    bench.lose()
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    assert bench.over is not None
    bench.advance(100)
    assert bench.wanted == []


def test_closing_while_it_connects(bench):
    made = bench()
    made.engine.close_session(made.session, made.now)
    made.collect()
    wanted = made.wanted.pop()
    made.engine.connection_made(wanted.connection, made.now)
    made.collect()
    assert wanted.connection in made.closed
    assert made.over is not None


# Asynchronous messages


def test_32_logout_and_back_again(up):
    bench = up()
    bench.give(AsyncMessage(async_event=1, parameter3=20, **bench.numbers()))
    assert bench.log == [32]
    assert bench.dump(32) == NAME
    bench.advance(0)
    logout = bench.take(LogoutRequest)
    waiting = ScsiRequest(0, bytes(6))
    bench.submit(waiting)
    assert bench.sent == []
    bench.give(LogoutResponse(itt=logout.itt, time2wait=1, **bench.numbers()))
    assert bench.closed == [bench.connection]
    bench.advance(9.9)  # AsyncLogoutPauseTimeout
    assert bench.wanted == []
    bench.advance(0.1)
    bench.login()
    assert bench.take(ScsiCommand)
    assert bench.log == [32, 34]


def test_32_tasks_get_time_to_end_but_not_all_of_it(up):
    bench = up()
    request = ScsiRequest(0, READ, data_in=4)
    bench.submit(request)
    command = bench.take(ScsiCommand)
    bench.give(AsyncMessage(async_event=1, parameter3=20, **bench.numbers()))
    bench.advance(9)
    assert bench.sent == []
    bench.give(bench.read_response(command, bytes(4)))
    assert bench.take(LogoutRequest)
    bench = up()
    bench.submit(ScsiRequest(0, READ, data_in=4))
    bench.take(ScsiCommand)
    bench.give(AsyncMessage(async_event=1, parameter3=20, **bench.numbers()))
    bench.advance(10)
    assert bench.take(LogoutRequest)


def test_32_no_logout_where_the_policy_ignores_it(up):
    bench = up(policy=Policy(ignore_logout_request=True))
    bench.give(AsyncMessage(async_event=1, parameter3=1, **bench.numbers()))
    bench.advance(20)
    assert bench.sent == []
    assert bench.log == [32]


@pytest.mark.parametrize("event", [2, 3])
def test_announced_drops(up, event):
    bench = up()
    bench.give(AsyncMessage(async_event=event, parameter1=0, parameter2=7, **bench.numbers()))
    assert bench.log == []
    bench.submit(ScsiRequest(0, bytes(6)))
    assert bench.sent == []
    bench.lose(TransportEvent.FIN)
    assert bench.log == [20]
    bench.advance(6.9)
    assert bench.wanted == []
    bench.advance(0.1)
    assert bench.wanted


def test_an_announced_drop_of_another_connection(up):
    bench = up()
    bench.give(AsyncMessage(async_event=2, parameter1=5, parameter2=7, **bench.numbers()))
    bench.submit(ScsiRequest(0, bytes(6)))
    assert bench.take(ScsiCommand)


def test_an_announced_drop_that_never_comes(up):
    bench = up()
    bench.give(AsyncMessage(async_event=3, **bench.numbers()))
    bench.advance(30)
    assert bench.closed == [bench.connection]
    assert bench.log == []


def test_47_is_told_before_an_announced_drop_that_is_due_at_the_same_time(up):
    bench = up()
    request = ScsiRequest(0, bytes(6), management=True)
    bench.submit(request)
    bench.give(AsyncMessage(async_event=3, **bench.numbers()))
    bench.advance(30)
    assert bench.closed == [bench.connection]
    assert bench.log == [47]


def test_negotiation_on_request(up):
    bench = up()
    bench.give(AsyncMessage(async_event=4, parameter3=5, **bench.numbers()))
    request = bench.take(TextRequest)
    assert (request.final, request.ttt, request.data) == (True, 0xFFFFFFFF, b"")
    pairs = b"MaxRecvDataSegmentLength=16384\0"
    bench.give(TextResponse(itt=request.itt, data=pairs, **bench.numbers()))
    assert bench.engine.parameters(bench.session).max_recv_data_segment_length_target == 16384
    assert bench.log == []


@pytest.mark.parametrize("settings", [Settings(max_pending_requests=1), Settings()])
def test_negotiation_on_request_waits_for_nothing(up, settings):
    """A Text Request is due within Parameter3 seconds (11.9.1), whatever waits for its turn."""
    bench = up(settings=settings)
    for _ in range(65):
        bench.submit(ScsiRequest(0, READ, data_in=4))
    bench.give(AsyncMessage(async_event=4, parameter3=5, **bench.numbers()))
    request = bench.take(TextRequest)
    assert request.immediate
    assert request.cmd_sn == len([pdu for pdu in bench.sent if isinstance(pdu, ScsiCommand)]) + 1 < 66


def test_a_text_request_that_waits_for_another_one_holds_nothing_up(up):
    bench = up()
    texts = [TextNegotiation((("SendTargets", ""),)) for _ in range(3)]
    for each in texts:
        bench.submit(each)
    first = bench.take(TextRequest)
    request = ScsiRequest(0, READ, data_in=4)
    bench.submit(request)
    bench.give(bench.read_response(bench.take(ScsiCommand), bytes(4)))
    assert bench.done(request)
    assert bench.sent == []
    for each, sent in zip(texts, [first, None, None], strict=True):
        sent = sent or bench.take(TextRequest)
        bench.give(TextResponse(itt=sent.itt, **bench.numbers()))
        assert bench.done(each)


def test_tasks_of_a_lun_are_terminated(up):
    bench = up()
    ended = ScsiRequest(2, READ, data_in=4)
    other = ScsiRequest(3, READ, data_in=4)
    bench.submit(ended)
    bench.submit(other)
    bench.give(AsyncMessage(async_event=5, lun=encode_lun(2), **bench.numbers()))
    answer = bench.take(NopOut)
    assert (answer.itt, answer.ttt, answer.lun) == (0xFFFFFFFF, 0xFFFFFFFF, encode_lun(2))
    assert answer.exp_stat_sn == bench.stat_sn
    assert ended.failure is Failure.RESET
    assert not bench.done(other)


# What the target asks, and what is asked of it


def test_a_ping_of_the_target_is_answered(up):
    bench = up()
    bench.give(NopIn(ttt=0x99, lun=encode_lun(4), **bench.numbers(consume=False)))
    answer = bench.take(NopOut)
    assert (answer.immediate, answer.itt, answer.ttt, answer.lun) == (True, 0xFFFFFFFF, 0x99, encode_lun(4))
    assert bench.log == []
    bench.give(NopIn(**bench.numbers(consume=False)))
    assert bench.sent == []


def test_a_ping_is_not_answered_where_the_policy_ignores_it(up):
    bench = up(policy=Policy(ignore_target_ping=True))
    bench.give(NopIn(ttt=0x99, **bench.numbers(consume=False)))
    assert bench.sent == []


def test_a_ping_tells_whether_it_was_echoed(up):
    bench = up()
    for sent, echoed in ((b"abc", b"abc"), (b"abc", b"abd")):
        ping = Ping(sent)
        bench.submit(ping)
        bench.give(NopIn(itt=bench.take(NopOut).itt, data=echoed, **bench.numbers()))
        assert ping.result.echoed is (sent == echoed)


def test_abort_task_for_a_user(up):
    bench = up()
    victim = ScsiRequest(0, READ, data_in=4)
    bench.submit(victim)
    abort = TaskManagement(1, 0, victim)
    bench.submit(abort)
    sent = bench.take(TaskManagementRequest)
    bench.give(TaskManagementResponse(itt=sent.itt, **bench.numbers()))
    assert abort.result.response == 0
    assert victim.failure is Failure.ABORTED
    late = TaskManagement(1, 0, victim)
    bench.submit(late)
    assert late.failure is Failure.NO_SUCH_TASK


@pytest.mark.parametrize("function", [6, 7])
def test_39_a_users_target_reset(up, function):
    bench = up()
    victim = ScsiRequest(0, READ, data_in=4)
    bench.submit(victim)
    reset = TaskManagement(function, 5)
    bench.submit(reset)
    sent = bench.take(TaskManagementRequest)
    assert sent.lun == bytes(8)
    assert bench.log == [39]
    bench.give(TaskManagementResponse(itt=sent.itt, **bench.numbers()))
    assert reset.result.response == 0
    assert victim.failure is Failure.RESET


def test_cancel(up):
    bench = up()
    sent, waiting = ScsiRequest(0, READ, data_in=4), ScsiRequest(0, READ, data_in=4)
    bench.submit(sent)
    bench.engine.session(bench.session).work.max_cmd_sn = 1
    bench.submit(waiting)
    for request in (waiting, sent):
        bench.engine.cancel(request, bench.now)
    bench.collect()
    assert waiting.failure is Failure.ABORTED
    assert not bench.done(sent)
    abort = bench.take(TaskManagementRequest)
    bench.give(TaskManagementResponse(itt=abort.itt, **bench.numbers()))
    assert sent.failure is Failure.ABORTED
    bench.engine.cancel(sent, bench.now)
    bench.collect()
    assert bench.sent[1:] == []


def test_send_targets_over_several_responses(bench):
    made = bench(options=SessionOptions(portal=OPTIONS.portal))
    made.login()
    request = TextNegotiation((("SendTargets", "All"),))
    made.submit(request)
    first = made.take(TextRequest)
    made.give(
        TextResponse(
            final=False, continued=True, itt=first.itt, ttt=8, lun=encode_lun(1), data=b"TargetNa", **made.numbers()
        )
    )
    second = made.take(TextRequest)
    assert (second.itt, second.ttt, second.lun, second.data) == (first.itt, 8, encode_lun(1), b"")
    assert second.cmd_sn == first.cmd_sn + 1
    made.give(
        TextResponse(itt=first.itt, data=b"me=iqn.2026-01.a:b\0TargetAddress=192.0.2.1:3260,1\0", **made.numbers())
    )
    assert request.result.pairs == (("TargetName", "iqn.2026-01.a:b"), ("TargetAddress", "192.0.2.1:3260,1"))


@pytest.mark.parametrize("data", [b"nonsense\0", b"A=1"])
def test_text_that_is_none(up, data):
    bench = up()
    request = TextNegotiation((("SendTargets", ""),))
    bench.submit(request)
    bench.give(TextResponse(itt=bench.take(TextRequest).itt, data=data, **bench.numbers()))
    assert request.failure is Failure.PROTOCOL_ERROR


def test_new_parameters_take_effect(up):
    bench = up()
    request = TextNegotiation((("MaxRecvDataSegmentLength", "1024"),))
    bench.submit(request)
    bench.give(TextResponse(itt=bench.take(TextRequest).itt, **bench.numbers()))
    assert request.result.pairs == ()
    read = ScsiRequest(0, READ, data_in=2048)
    bench.submit(read)
    bench.give(bench.read_response(bench.take(ScsiCommand), bytes(1028)))
    assert bench.log == [21]


def test_what_may_not_be_negotiated_is_refused_here(up):
    bench = up()
    request = TextNegotiation((("MaxBurstLength", "1024"),))
    bench.submit(request)
    assert request.failure is Failure.REJECTED
    assert bench.sent == []


def test_the_window_opens_again(up):
    bench = up()
    requests = [ScsiRequest(0, bytes(6)) for _ in range(80)]
    for request in requests:
        bench.submit(request)
    commands = [pdu for pdu in bench.sent if isinstance(pdu, ScsiCommand)]
    assert [command.cmd_sn for command in commands] == list(range(1, 65))
    bench.sent.clear()
    bench.max_cmd_sn = 70
    bench.give(bench.response(commands[0]))
    assert len(bench.sent) == 6
    bench.give(bench.response(commands[1], exp_cmd_sn=200, max_cmd_sn=150))  # no window: ignored
    assert len(bench.sent) == 6
    bench.give(bench.response(commands[2], max_cmd_sn=60))  # never goes back
    bench.max_cmd_sn = 80
    bench.give(bench.response(commands[3]))
    assert len(bench.sent) == 16


def test_the_window_does_not_hold_where_the_policy_ignores_it(up):
    bench = up(policy=Policy(ignore_command_window=True))
    for _ in range(80):
        bench.submit(ScsiRequest(0, bytes(6)))
    assert len(bench.sent) == 80


def test_max_pending_requests(up):
    bench = up(settings=Settings(max_pending_requests=3))
    for _ in range(5):
        bench.submit(ScsiRequest(0, bytes(6)))
    assert len(bench.sent) == 3
    bench.give(bench.response(bench.take(ScsiCommand)))
    assert len(bench.sent) == 3


def test_a_long_and_a_bidirectional_command(up):
    bench = up(answers={"InitialR2T": "Yes"})
    cdb = bytes(range(32))
    request = ScsiRequest(0, cdb, data_in=8, data_out=bytes(12000))
    bench.submit(request)
    command = bench.take(ScsiCommand)
    assert (command.read, command.write, command.expected_data_transfer_length) == (True, True, 12000)
    assert command.cdb == cdb[:16]
    assert len(command.ahs) == 28
    bench.give(bench.read_response(command, bytes(8), status_present=False, final=True))
    bench.give(
        R2T(
            itt=command.itt,
            ttt=4,
            r2t_sn=1,
            buffer_offset=8192,
            desired_data_transfer_length=3808,
            **bench.numbers(consume=False),
        )
    )
    assert len(bench.take(DataOut).data) == 3808
    bench.give(bench.response(command))
    assert request.result.status == 0
    assert bench.log == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(never_logs=frozenset({20})), []),
        (Policy(logs_twice=frozenset({20})), [20, 20]),
        (Policy(logs_wrong_dump=frozenset({20})), [20]),
    ],
)
def test_switches_of_the_log(up, policy, expected):
    bench = up(policy=policy)
    bench.lose()
    assert bench.log == expected
    if expected == [20]:
        assert bench.dump(20) == bytes(byte ^ 0xFF for byte in bench.options.target_name.encode())


def test_a_login_request_goes_out_for_every_attempt(up):
    bench = up()
    for _ in range(3):
        bench.lose()
        bench.advance(2)
        bench.connect()
        assert bench.take(LoginRequest)
        bench.lose()
        bench.advance(1)
        bench.login()
    assert bench.ups == 4
