"""Time-outs: what is logged for each kind of request that is not answered, and where it leads."""

from __future__ import annotations

import pytest

from iscsi_initiator.policy import Policy
from iscsi_initiator.requests import Failure, Ping, ScsiRequest, TaskManagement, TextNegotiation
from iscsi_initiator.settings import Settings
from iscsi_protocol.eventlog import words
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import (
    AsyncMessage,
    LogoutRequest,
    LogoutResponse,
    NopIn,
    NopOut,
    Reject,
    ScsiCommand,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    encode,
)

CDB = bytes([0x28, 1, 2, 3, 4, 5, 6, 7, 8, 9])
NAME = b"iqn.2026-01.org.example:disk"


def silent_read(up, **arguments):
    bench = up(**arguments)
    request = ScsiRequest(3, CDB, data_in=512)
    bench.submit(request)
    return bench, request, bench.take(ScsiCommand)


def answer(bench, code=0):
    """Answer the task management request that was sent; its function."""
    request = bench.take(TaskManagementRequest)
    bench.give(TaskManagementResponse(response=code, itt=request.itt, **bench.numbers()))
    return request.function


def test_9_comes_after_the_time_out_and_the_delta(up):
    bench, request, command = silent_read(up)
    bench.advance(74.9)
    assert bench.log == []
    bench.advance(0.2)
    assert bench.log == [9]
    assert bench.dump(9) == CDB
    abort = bench.sent[-1]
    assert abort.immediate
    assert (abort.function, abort.lun, abort.referenced_task_tag, abort.ref_cmd_sn) == (
        1,
        command.lun,
        command.itt,
        command.cmd_sn,
    )
    assert not bench.done(request)
    answer(bench)
    assert request.failure is Failure.TIMED_OUT
    assert bench.log == [9]
    assert bench.losses == 0


@pytest.mark.parametrize(("delta", "effective"), [(15, 15), (5, 5), (4, 15), (0, 15), (40, 40)])
def test_9_a_short_delta_is_not_used(up, delta, effective):
    bench, _, _ = silent_read(up, settings=Settings(srb_timeout_delta=delta, scsi_request_timeout=10))
    bench.advance(10 + effective - 0.1)
    assert bench.log == []
    bench.advance(0.2)
    assert bench.log == [9]


def test_9_the_request_has_a_time_out_of_its_own(up):
    bench = up()
    bench.submit(ScsiRequest(0, CDB, timeout=1))
    bench.advance(15.9)
    assert bench.log == []
    bench.advance(0.2)
    assert bench.log == [9]


def test_an_answer_during_the_abort_is_the_answer(up):
    bench, request, command = silent_read(up)
    bench.advance(76)
    bench.give(bench.read_response(command, bytes(512)))
    assert request.result.status == 0
    answer(bench, 1)
    bench.advance(500)
    assert bench.log == [9]


def test_27_an_answer_after_the_abort(up):
    bench, request, command = silent_read(up)
    bench.advance(76)
    answer(bench)
    bench.give(bench.read_response(command, bytes(512)))
    assert bench.log == [9, 27]
    assert request.failure is Failure.TIMED_OUT


def test_the_whole_ladder_in_silence(up):
    bench, request, _ = silent_read(up)
    bench.advance(75 + 30 + 30 + 30 - 0.1)
    assert bench.log == [9, 49, 49, 39]
    assert bench.dump(49) == words(2)
    assert bench.dump(39) == NAME
    bench.advance(0.2)
    assert bench.log == [9, 49, 49, 39, 49, 63]
    assert bench.dump(63) == NAME
    functions = [pdu.function for pdu in bench.sent if isinstance(pdu, TaskManagementRequest)]
    assert functions == [1, 5, 6]
    assert bench.closed == [bench.connection]
    assert bench.losses == 1
    assert request.failure is Failure.TIMED_OUT


def test_the_ladder_ends_where_a_step_works(up):
    bench, request, _ = silent_read(up)
    other = ScsiRequest(3, CDB, data_in=512, timeout=600)
    elsewhere = ScsiRequest(4, CDB, data_in=512, timeout=600)
    bench.submit(other)
    bench.submit(elsewhere)
    bench.advance(75)
    assert answer(bench, 255) == 1
    assert answer(bench, 0) == 5
    assert request.failure is Failure.TIMED_OUT
    assert other.failure is Failure.RESET
    assert not bench.done(elsewhere)
    assert bench.log == [9]


def test_a_target_reset_that_works(up):
    bench, request, _ = silent_read(up)
    bench.advance(75)
    answer(bench, 5)
    answer(bench, 5)
    assert answer(bench, 0) == 6
    assert bench.log == [9, 39]
    assert request.failure is Failure.TIMED_OUT
    assert bench.losses == 0


@pytest.mark.parametrize("code", [1, 2, 5, 6, 255])
def test_63_a_target_reset_that_is_refused(up, code):
    bench, _, _ = silent_read(up)
    bench.advance(75)
    answer(bench, 5)
    answer(bench, 2)
    answer(bench, code)
    assert bench.log == [9, 39, 63]
    assert bench.losses == 1
    bench.advance(2)
    bench.login()
    assert bench.log == [9, 39, 63, 34]


def test_several_at_once_climb_one_ladder(up):
    bench, request, _ = silent_read(up)
    second = ScsiRequest(3, CDB, data_in=512)
    bench.submit(second)
    bench.advance(75)
    assert bench.log == [9, 9]
    assert len([pdu for pdu in bench.sent if isinstance(pdu, TaskManagementRequest)]) == 1
    answer(bench)
    assert request.failure is Failure.TIMED_OUT
    assert not bench.done(second)
    answer(bench)
    assert second.failure is Failure.TIMED_OUT


def test_no_ladder_where_the_policy_has_none(up):
    bench, request, _ = silent_read(up, policy=Policy(no_escalation=True))
    bench.advance(75)
    assert bench.log == [9]
    assert request.failure is Failure.TIMED_OUT
    assert bench.sent == []


def test_47_the_management_interface(up):
    bench = up()
    request = ScsiRequest(0, CDB, data_in=4, management=True)
    bench.submit(request)
    bench.advance(29.9)
    assert bench.log == []
    bench.advance(0.2)
    assert bench.log == [47]
    assert bench.dump(47) == words(1)
    answer(bench)
    assert request.failure is Failure.TIMED_OUT


def test_49_a_users_task_management(up):
    bench = up()
    request = TaskManagement(5, 1)
    bench.submit(request)
    bench.advance(30)
    assert bench.log == [49]
    assert request.failure is Failure.TIMED_OUT
    assert bench.losses == 0


def test_48_a_ping(up):
    bench = up()
    request = Ping(b"there?")
    bench.submit(request)
    assert bench.take(NopOut).data == b"there?"
    bench.advance(29)
    assert bench.log == []
    bench.advance(1)
    assert bench.log == [48]
    assert bench.dump(48) == words(0)
    assert request.failure is Failure.TIMED_OUT
    assert bench.losses == 1
    assert bench.closed == [bench.connection]


def test_48_pings_of_an_idle_session(up):
    bench = up(settings=Settings(enable_nop_out=True))
    bench.advance(119)
    assert bench.sent == []
    bench.advance(1)
    ping = bench.take(NopOut)
    bench.give(NopIn(itt=ping.itt, **bench.numbers()))
    bench.advance(119)
    assert bench.sent == []
    bench.advance(1 + 30)
    assert bench.log == [48]


def test_no_pings_unless_asked_for(up):
    bench = up()
    bench.advance(10_000)
    assert bench.sent == []
    assert bench.log == []


def test_44_logout(up):
    bench = up()
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    assert bench.take(LogoutRequest).reason == 0
    bench.advance(30)
    assert bench.log == [44]
    assert bench.dump(44) == words(6)
    assert bench.over is not None
    assert bench.closed == [bench.connection]


def test_51_a_logout_that_the_target_asked_for(up):
    bench = up()
    bench.give(AsyncMessage(async_event=1, parameter3=10, **bench.numbers()))
    assert bench.log == [32]
    bench.advance(0)
    assert bench.take(LogoutRequest).reason == 0
    bench.advance(30)
    assert bench.log == [32, 51]
    assert bench.dump(51) == words(6)
    assert bench.losses == 1


def test_46_send_targets(up):
    bench = up()
    request = TextNegotiation((("SendTargets", "All"),))
    bench.submit(request)
    assert bench.take(TextRequest).data == b"SendTargets=All\0"
    bench.advance(30)
    assert bench.log == [46]
    assert bench.dump(46) == words(4)
    assert request.failure is Failure.TIMED_OUT


def test_46_an_answer_without_end_is_covered_as_a_whole(up):
    bench = up()
    request = TextNegotiation((("SendTargets", "All"),))
    bench.submit(request)
    for _ in range(10):
        asked = bench.take(TextRequest)
        bench.give(
            TextResponse(final=False, itt=asked.itt, ttt=3, data=b"TargetName=iqn.2026-01.a:b\0", **bench.numbers())
        )
        bench.advance(2.9)
    assert bench.log == []
    bench.advance(1.1)
    assert bench.log == [46]
    assert request.failure is Failure.TIMED_OUT


def test_50_a_negotiation(up):
    bench = up()
    request = TextNegotiation((("MaxRecvDataSegmentLength", "16384"),))
    bench.submit(request)
    bench.advance(30)
    assert bench.log == [50]
    assert bench.dump(50) == words(4)
    assert bench.engine.parameters(bench.session).max_recv_data_segment_length_initiator == 65536


def test_9_behind_a_logout_request_sends_nothing_more(up):
    bench = up()
    request = ScsiRequest(0, CDB, data_in=512, timeout=1)
    bench.submit(request)
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    bench.take(LogoutRequest)
    bench.sent.clear()
    bench.advance(29)
    assert (bench.log, bench.sent) == ([9], [])
    assert not bench.done(request)
    bench.advance(1)
    assert request.failure is Failure.TIMED_OUT
    assert bench.log == [9, 44]


@pytest.mark.parametrize("response", [1, 5])
def test_a_ladder_ends_with_a_logout_request(up, response):
    bench, request, _ = silent_read(up)
    bench.advance(75)
    abort = bench.take(TaskManagementRequest)
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    logout = bench.take(LogoutRequest)
    bench.sent.clear()
    bench.give(TaskManagementResponse(response=response, itt=abort.itt, **bench.numbers()))
    assert bench.sent == []
    bench.give(LogoutResponse(itt=logout.itt, **bench.numbers()))
    assert request.failure is Failure.TIMED_OUT
    assert bench.over is not None
    assert bench.log == [9]


def reject_of(bench, request):
    return Reject(reason=5, data=bytes(encode(request).bhs), **bench.numbers())


def late_response(bench, request):
    return TextResponse(itt=request.itt, **bench.numbers())


@pytest.mark.parametrize(("late", "event"), [(late_response, 27), (reject_of, 29)])
def test_no_text_request_before_the_one_before_it_was_answered(up, late, event):
    bench = up()
    first, second, third, read = (
        TextNegotiation((("MaxRecvDataSegmentLength", "16384"),)),
        TextNegotiation((("SendTargets", "All"),)),
        TextNegotiation((("SendTargets", "All"),)),
        ScsiRequest(0, CDB, data_in=512),
    )
    bench.submit(first)
    unanswered = bench.take(TextRequest)
    bench.advance(30)
    bench.submit(second)
    bench.submit(read)
    assert second.failure is Failure.TIMED_OUT
    assert [type(pdu) for pdu in bench.sent] == [ScsiCommand]
    bench.give(late(bench, unanswered))
    bench.submit(third)
    assert bench.take(TextRequest).data == b"SendTargets=All\0"
    assert bench.log == [50, event]


def test_a_request_that_the_window_never_lets_out_fails(up):
    bench = up()
    bench.max_cmd_sn = 0
    requests = [ScsiRequest(0, CDB) for _ in range(70)]
    for request in requests:
        bench.submit(request)
    waiting = requests[-1]
    assert len([pdu for pdu in bench.sent if isinstance(pdu, ScsiCommand)]) == 64
    for command in [pdu for pdu in bench.sent if isinstance(pdu, ScsiCommand)]:
        bench.give(bench.response(command, max_cmd_sn=64))
    assert not bench.done(waiting)
    bench.advance(80)
    assert waiting.failure is Failure.TIMED_OUT
    assert bench.log == []


def test_a_network_time_out_is_a_loss(up):
    bench = up()
    bench.lose(TransportEvent.TIMED_OUT)
    assert bench.log == [20]


def test_a_logout_that_is_answered(up):
    bench = up()
    request = ScsiRequest(0, CDB)
    bench.submit(request)
    bench.engine.close_session(bench.session, bench.now)
    bench.collect()
    logout = bench.take(LogoutRequest)
    bench.give(LogoutResponse(itt=logout.itt, **bench.numbers()))
    assert bench.over is not None
    assert bench.over.reason == ""
    assert bench.log == []
    assert request.failure is Failure.CONNECTION_LOST
    bench.lose(TransportEvent.FIN)
    assert bench.log == []
