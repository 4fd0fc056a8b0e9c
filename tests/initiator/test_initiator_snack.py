"""Recovery level 1 against a scripted target: what is asked for again, what is acknowledged meanwhile, what comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iscsi_initiator.requests import Failure, Ping, ScsiRequest, TextNegotiation
from iscsi_initiator.settings import REQUIRE_DIGEST, SessionOptions, Settings
from iscsi_protocol.eventlog.dump import words
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import (
    R2T,
    DataIn,
    DataOut,
    NopIn,
    NopOut,
    Reject,
    ScsiCommand,
    ScsiResponse,
    SnackRequest,
    TaskManagementRequest,
    TaskManagementResponse,
    TextRequest,
    TextResponse,
    encode,
)

NAME = "iqn.2026-01.org.example:disk"
READ = bytes([0x28]) + bytes(9)
WRITE = bytes([0x2A]) + bytes(9)
TEST = bytes(6)


@pytest.fixture
def at_level(up):
    def make(level=1, *, digests=False, answers=None, **settings):
        options = SessionOptions(
            portal=Endpoint("192.0.2.10", 3260),
            target_name=NAME,
            header_digest=REQUIRE_DIGEST if digests else ("None",),
            data_digest=REQUIRE_DIGEST if digests else ("None",),
        )
        given = {"ErrorRecoveryLevel": str(level), **(answers or {})}
        return up(options=options, settings=Settings(**settings), answers=given)

    return make


def begun(bench, *requests):
    for request in requests:
        bench.submit(request)
    return [bench.take(ScsiCommand) for _ in requests]


def asked(bench):
    """Type, tag, run and ExpStatSN of the first SNACK."""
    snack = bench.take(SnackRequest)
    return snack.snack_type, snack.itt, (snack.beg_run, snack.run_length), snack.exp_stat_sn


def piece(bench, command, data_sn, *, final=False, size=512, **fields):
    """A Data-In without status."""
    return DataIn(
        final=final,
        itt=command.itt,
        data=bytes([data_sn + 1]) * size,
        data_sn=data_sn,
        buffer_offset=data_sn * size,
        **{**bench.numbers(consume=False), "stat_sn": 0, **fields},
    )


def ended(bench, command, due):
    return bench.response(command, exp_data_sn=due)


PICTURE = b"".join(bytes([number + 1]) * 512 for number in range(3))


def test_a_missing_status_is_asked_for_and_waited_for(at_level):
    bench = at_level()
    requests = [ScsiRequest(0, TEST) for _ in range(3)]
    commands = begun(bench, *requests)
    first, second, third = (bench.response(command) for command in commands)
    bench.give(third)
    assert bench.done(requests[2])
    assert asked(bench) == (1, 0xFFFFFFFF, (first.stat_sn, 2), first.stat_sn)
    bench.give(first)
    bench.give(second)
    assert all(map(bench.done, requests))
    bench.submit(Ping())
    assert bench.take(NopOut).exp_stat_sn == third.stat_sn + 1
    bench.give(second)
    assert bench.log == []


def test_a_status_below_that_was_not_asked_for_is_42(at_level):
    bench = at_level()
    (command,) = begun(bench, ScsiRequest(0, TEST))
    response = bench.response(command)
    bench.give(response, response)
    assert bench.log == [42]
    assert bench.dump(42) == words(response.stat_sn + 1, response.stat_sn)


@pytest.mark.parametrize("level", [1, 2])
def test_42_when_a_status_never_comes(at_level, level):
    bench = at_level(level)
    requests = [ScsiRequest(0, TEST) for _ in range(2)]
    commands = begun(bench, *requests)
    lost, came = (bench.response(command) for command in commands)
    bench.give(came)
    for _ in range(3):
        assert asked(bench)[2] == (lost.stat_sn, 1)
        assert bench.log == []
        bench.advance(5)
    assert bench.log == [42]
    assert bench.dump(42) == words(lost.stat_sn, came.stat_sn)
    assert bench.closed == [bench.connection]
    bench.advance(2)
    tsih = 7 if level == 2 else 0
    assert bench.security().tsih == tsih


def test_29_and_42_when_the_snack_is_rejected(at_level):
    bench = at_level()
    commands = begun(bench, *(ScsiRequest(0, TEST) for _ in range(2)))
    _, came = (bench.response(command) for command in commands)
    bench.give(came)
    snack = bench.take(SnackRequest)
    bench.give(Reject(reason=3, data=bytes(encode(snack).bhs), **bench.numbers()))
    assert bench.log == [29, 42]


def test_missing_data_is_asked_for_and_the_status_not_acknowledged(at_level):
    bench = at_level()
    request = ScsiRequest(0, READ, data_in=1536)
    (command,) = begun(bench, request)
    response_sn = bench.stat_sn
    bench.give(piece(bench, command, 0), piece(bench, command, 2, final=True), ended(bench, command, 3))
    assert asked(bench) == (0, command.itt, (1, 1), response_sn)
    assert not bench.done(request)
    bench.give(piece(bench, command, 1))
    assert bench.done(request)
    assert bytes(request.data_in) == PICTURE
    assert request.result.received == 1536
    bench.submit(Ping())
    assert bench.take(NopOut).exp_stat_sn == response_sn + 1
    assert bench.log == []


def test_the_end_is_missing(at_level):
    bench = at_level()
    request = ScsiRequest(0, READ, data_in=1536)
    (command,) = begun(bench, request)
    bench.give(piece(bench, command, 0), ended(bench, command, 3))
    assert asked(bench)[:3] == (0, command.itt, (1, 2))
    bench.give(piece(bench, command, 1), piece(bench, command, 2, final=True))
    assert bytes(request.data_in) == PICTURE
    assert request.result.status == 0


def test_data_that_comes_twice_counts_once_where_it_was_asked_for(at_level):
    bench = at_level()
    request = ScsiRequest(0, READ, data_in=1536)
    (command,) = begun(bench, request)
    bench.give(piece(bench, command, 1), piece(bench, command, 0), piece(bench, command, 0))
    bench.give(piece(bench, command, 2, final=True), ended(bench, command, 3))
    assert (request.result.received, bench.log) == (1536, [])


def test_26_for_data_that_was_not_asked_for_again(at_level):
    bench = at_level()
    request = ScsiRequest(0, READ, data_in=1536)
    (command,) = begun(bench, request)
    bench.give(piece(bench, command, 0), piece(bench, command, 0))
    assert bench.log == [26]
    assert request.failure is Failure.PROTOCOL_ERROR


def test_data_that_never_comes_costs_the_request_and_nothing_else(at_level):
    bench = at_level()
    request = ScsiRequest(0, READ, data_in=1536)
    (command,) = begun(bench, request)
    bench.give(piece(bench, command, 1))
    bench.advance(15)
    assert len([pdu for pdu in bench.sent if isinstance(pdu, SnackRequest)]) == 3
    assert bench.take(TaskManagementRequest).referenced_task_tag == command.itt
    assert bench.log == []


def test_25_asks_for_data_by_its_number_and_for_status_by_its_own(at_level):
    bench = at_level(digests=True)
    request = ScsiRequest(0, READ, data_in=1024)
    (command,) = begun(bench, request)
    bench.give(piece(bench, command, 0), break_data=True)
    assert asked(bench)[:3] == (0, command.itt, (0, 1))
    bench.give(piece(bench, command, 0))
    last = bench.read_response(command, bytes([2]) * 512, data_sn=1, buffer_offset=512)
    bench.give(last, break_data=True)
    assert asked(bench)[::2] == (1, (last.stat_sn, 1))
    bench.give(last)
    assert bytes(request.data_in) == PICTURE[:1024]
    assert bench.log == [25, 25]


def test_25_on_a_nop_in_that_asks_for_nothing_is_dropped(at_level):
    bench = at_level(digests=True)
    bench.give(NopIn(ttt=9, data=b"hear", **bench.numbers(consume=False)), break_data=True)
    assert (bench.sent, bench.log) == ([], [25])


def r2t(bench, command, number, offset, length=512):
    return R2T(
        itt=command.itt,
        ttt=number + 1,
        r2t_sn=number,
        buffer_offset=offset,
        desired_data_transfer_length=length,
        **bench.numbers(consume=False),
    )


def test_a_missing_r2t_is_asked_for_and_each_is_answered_once(at_level):
    bench = at_level(answers={"InitialR2T": "Yes", "ImmediateData": "No"}, max_outstanding_r2t=4)
    request = ScsiRequest(0, WRITE, data_out=PICTURE)
    (command,) = begun(bench, request)
    bench.give(r2t(bench, command, 1, 512))
    assert bench.take(DataOut).buffer_offset == 512
    assert asked(bench)[:3] == (0, command.itt, (0, 1))
    bench.give(r2t(bench, command, 0, 0), r2t(bench, command, 0, 0))
    assert bench.take(DataOut).buffer_offset == 0
    assert bench.sent == []
    bench.give(r2t(bench, command, 2, 1024))
    bench.give(ended(bench, command, 0))
    assert (request.result.status, bench.log) == (0, [])


def test_a_recovery_r2t_may_ask_for_what_was_sent(at_level):
    bench = at_level(answers={"InitialR2T": "Yes", "ImmediateData": "No"})
    (command,) = begun(bench, ScsiRequest(0, WRITE, data_out=PICTURE))
    bench.give(r2t(bench, command, 0, 0, 1536))
    bench.take(DataOut)
    bench.give(r2t(bench, command, 1, 512))
    assert bench.take(DataOut).buffer_offset == 512
    assert bench.log == []


def test_data_is_acknowledged_once_nothing_is_missing_before_it(at_level):
    bench = at_level()
    (command,) = begun(bench, ScsiRequest(0, READ, data_in=2048))
    bench.give(piece(bench, command, 0, final=True, acknowledge=True, ttt=11, lun=bytes(8)))
    acknowledgement = bench.take(SnackRequest)
    assert (acknowledgement.snack_type, acknowledgement.ttt, acknowledgement.beg_run) == (2, 11, 1)
    bench.give(piece(bench, command, 2, final=True, acknowledge=True, ttt=12))
    assert asked(bench)[0] == 0
    assert bench.sent == []
    bench.give(piece(bench, command, 1, final=True))
    acknowledgement = bench.take(SnackRequest)
    assert (acknowledgement.snack_type, acknowledgement.ttt, acknowledgement.beg_run) == (2, 12, 3)


def test_all_data_is_asked_for_anew_once_it_is_cut_otherwise(at_level):
    bench = at_level()
    request = ScsiRequest(0, READ, data_in=1536)
    (command,) = begun(bench, request)
    bench.submit(TextNegotiation((("MaxRecvDataSegmentLength", "1024"),)))
    bench.give(TextResponse(itt=bench.take(TextRequest).itt, **bench.numbers()))
    status = ended(bench, command, 3)
    bench.give(piece(bench, command, 1), piece(bench, command, 2, final=True), status)
    snack = bench.take(SnackRequest)
    assert (snack.snack_type, snack.itt, snack.beg_run, snack.run_length) == (3, command.itt, 0, 0)
    assert snack.ttt not in (0, 0xFFFFFFFF)
    assert not bench.done(request)
    whole = DataIn(final=False, itt=command.itt, data=PICTURE[:1024], **bench.numbers(consume=False))
    rest = DataIn(itt=command.itt, data=PICTURE[1024:], data_sn=1, buffer_offset=1024, **bench.numbers(consume=False))
    bench.give(whole, rest)
    anew = ScsiResponse(
        itt=command.itt, snack_tag=snack.ttt, stat_sn=status.stat_sn, exp_cmd_sn=9, max_cmd_sn=64, exp_data_sn=2
    )
    bench.give(anew)
    assert bytes(request.data_in) == PICTURE
    assert bench.log == []
    bench.submit(Ping())
    assert bench.take(NopOut).exp_stat_sn == bench.stat_sn


def test_a_command_that_a_ping_shows_to_be_lost_is_sent_again(at_level):
    bench = at_level()
    (command,) = begun(bench, ScsiRequest(0, TEST))
    bench.submit(Ping())
    bench.exp_cmd_sn = command.cmd_sn
    bench.give(NopIn(itt=bench.take(NopOut).itt, **bench.numbers()))
    again = bench.take(ScsiCommand)
    assert (again.cmd_sn, again.itt, again.cdb) == (command.cmd_sn, command.itt, command.cdb)
    bench.submit(Ping())
    bench.exp_cmd_sn = command.cmd_sn + 1
    bench.give(NopIn(itt=bench.take(NopOut).itt, **bench.numbers()))
    assert bench.sent == []


@pytest.mark.parametrize(("offset", "size"), [(0, 512), (512, 1024)])
def test_26_for_data_behind_a_data_ack_that_is_too_much(at_level, offset, size):
    bench = at_level(max_burst_length=1024, first_burst_length=1024)
    (command,) = begun(bench, ScsiRequest(0, READ, data_in=4096))
    bench.give(piece(bench, command, 0, acknowledge=True, ttt=11))
    assert asked(bench)[0] == 2
    bench.give(replace(piece(bench, command, 1, size=size), buffer_offset=offset))
    assert bench.log == [26]


def test_the_response_of_a_write_does_not_wait_for_a_missing_r2t(at_level):
    bench = at_level(answers={"InitialR2T": "Yes", "ImmediateData": "No"}, max_outstanding_r2t=4)
    request = ScsiRequest(0, WRITE, data_out=PICTURE)
    (command,) = begun(bench, request)
    bench.give(r2t(bench, command, 1, 512), ended(bench, command, 0))
    assert (request.result.status, bench.log) == (0, [])
    bench.submit(Ping())
    assert bench.take(NopOut).exp_stat_sn == bench.stat_sn


def test_no_data_ack_without_a_tag_of_the_target(at_level):
    bench = at_level()
    (command,) = begun(bench, ScsiRequest(0, READ, data_in=2048))
    bench.give(piece(bench, command, 0, acknowledge=True))
    assert bench.sent == []
    bench.give(piece(bench, command, 1, acknowledge=True, ttt=12))
    assert asked(bench)[2] == (2, 0)


@pytest.mark.parametrize("response", [0, 1])
def test_a_reassigned_task_goes_on_before_the_response_to_that_comes(at_level, response):
    bench = at_level(2, answers={"InitialR2T": "Yes", "ImmediateData": "No"})
    request = ScsiRequest(0, WRITE, data_out=PICTURE)
    (command,) = begun(bench, request)
    bench.exp_cmd_sn = command.cmd_sn + 1
    bench.give(r2t(bench, command, 0, 0, 1536))
    bench.lose()
    bench.advance(2)
    bench.login()
    reassign = bench.take(TaskManagementRequest)
    assert (reassign.function, reassign.referenced_task_tag) == (8, command.itt)
    bench.give(r2t(bench, command, 0, 512))
    assert bench.take(DataOut).buffer_offset == 512
    bench.give(ended(bench, command, 0))
    assert (request.result.status, bench.log) == (0, [20, 34])
    bench.give(TaskManagementResponse(itt=reassign.itt, response=response, **bench.numbers()))
    bench.advance(200)
    assert bench.done(request)
    assert bench.log == [20, 34]


def test_data_with_status_out_of_its_order_for_a_command_without_data_counts(at_level):
    bench = at_level()
    request = ScsiRequest(0, TEST)
    (command,) = begun(bench, request)
    bench.give(bench.read_response(command, b"", data_sn=1))
    assert bench.done(request)
    bench.submit(Ping())
    assert bench.take(NopOut).exp_stat_sn == bench.stat_sn
