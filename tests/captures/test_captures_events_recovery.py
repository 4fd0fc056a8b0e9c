"""Events over several connections and at recovery levels 1 and 2: what is asked for again, and what comes back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from iscsi_protocol.digest import crc32c
from iscsi_protocol.history import Endpoint, TransportEvent
from iscsi_protocol.pdu import NO_TAG, RawPdu
from iscsi_protocol.stream import Direction

Script = Any
TARGET = b"iqn.2026-01.com.example:target"
READ_10 = b"\x28\0\0\0\0\1\0\0\2\0"
CDB = READ_10 + bytes(6)
FIN, RST = TransportEvent.FIN, TransportEvent.RST
DATA_OR_R2T, STATUS, R_DATA = 0, 1, 3


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


def damaged(raw: RawPdu) -> RawPdu:
    return replace(raw, data_digest=bytes(4), data_digest_error=True)


def header_damaged(raw: RawPdu) -> RawPdu:
    return replace(raw, header_digest=b"abcd", header_digest_error=True)


def wrong(data: bytes) -> tuple[int, bytes]:
    """The event of a wrong data digest."""
    return 25, words(crc32c(data), 0)


def level(script: Script, number: int, connections: int = 1) -> Script:
    """A session at this level, with so many connections; the verbs speak on the first."""
    script.ready(ErrorRecoveryLevel=str(number), MaxConnections="4")
    for more in range(1, connections):
        script.cid = more
        script.connect(more + 1).login_request().login_response()
    script.cid = 0
    return script.on(1)


def again(script: Script, number: int, *, leading: bool, cid: int = 0) -> Script:
    """A login on another TCP connection, of the session as a whole or of one connection."""
    script.cid = cid
    script.connect(number)
    if leading:
        script.tsih = 0
    script.login_request(tsih=0 if leading else script.tsih)
    return script.login_response(tsih=9) if leading else script.login_response()


BACK = (34, TARGET)
LOST = (20, TARGET)


# Sessions that come back.


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_session_comes_back_once(script: Script, number: int) -> None:
    level(script, number, 3).transport(FIN)
    script.on(2).closed().on(3).closed()
    again(script, 4, leading=True)
    script.tsih = 9
    again(script, 5, leading=False, cid=1)
    again(script, 6, leading=False, cid=2)
    assert script.events() == [LOST, BACK]


def test_attempts_that_fail_come_between(script: Script) -> None:
    level(script, 0).transport(RST).attempt(2, TransportEvent.REFUSED, Endpoint("10.0.0.1", 3260))
    script.connect(3).login_request(tsih=0).transport(FIN)
    again(script, 4, leading=True)
    assert [event for event, _ in script.events()] == [20, 1, 59, 34]


def test_a_session_that_the_initiator_ended_comes_back_without_a_loss(script: Script) -> None:
    again(level(script, 0).closed(), 2, leading=True)
    assert script.events() == [BACK]


def test_a_session_that_was_left_does_not_come_back(script: Script) -> None:
    again(level(script, 0).logout(0).logout_response().closed(), 2, leading=True)
    assert script.events() == []


def test_a_session_that_the_target_sent_away_comes_back(script: Script) -> None:
    again(level(script, 0).asynchronous(1).logout(0).logout_response().closed(), 2, leading=True)
    assert script.events() == [(32, TARGET), BACK]


@pytest.mark.parametrize(("number", "reads_on"), [(1, False), (2, True)])
def test_a_logout_of_a_connection_that_is_not_answered_ends_it_alone_at_level_2(
    script: Script, number: int, reads_on: bool
) -> None:
    level(script, number, 2).on(2).logout(1, cid=1).wait(40).closed()
    script.on(1).response(itt=0x70)
    assert [event for event, _ in script.events()] == [44, 27][: 1 + reads_on]


def test_nothing_is_read_behind_a_logout_of_the_session_that_is_not_answered(script: Script) -> None:
    level(script, 2, 2).on(2).asynchronous(1).logout(0).wait(40)
    script.on(1).response(itt=0x70)
    assert [event for event, _ in script.events()] == [32, 51]


def test_the_session_is_over_where_the_connection_of_its_logout_is_lost(script: Script) -> None:
    level(script, 2, 2).on(2).asynchronous(1).logout(0).transport(RST)
    script.on(1).response(itt=0x70)
    assert [event for event, _ in script.events()] == [32, 20]


def test_a_session_that_is_declared_anew_is_another_one(script: Script) -> None:
    level(script, 0).transport(FIN).declare(ISID="000000000000")
    assert again(script, 2, leading=True).events() == [LOST]


def test_a_session_that_the_host_dropped_is_over(script: Script) -> None:
    level(script, 0).command(cdb=CDB)
    script.records.append(replace(script.closed().records.pop(), event=RST, direction=Direction.TO_TARGET))
    assert again(script, 2, leading=True).wait(500).events() == []


def test_one_connection_that_the_target_sent_away_leaves_the_others(script: Script) -> None:
    level(script, 0, 2).asynchronous(1).logout(1).logout_response().closed().on(2).command().response(itt=0x99)
    unknown = (27, script.bhs())
    again(script, 3, leading=False)
    assert script.events() == [(32, TARGET), unknown, BACK]


def test_the_header_that_ended_the_session_may_be_that_of_another_connection(script: Script) -> None:
    header = bytes((0x20, 0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF)) + bytes(40)
    level(script, 0, 2).closed().rest(b"\x25\x80" + bytes(100)).on(2).closed().rest(header)
    assert script.events() == [(21, header)]


# Several connections.


def test_tasks_belong_to_a_connection(script: Script) -> None:
    level(script, 0, 2).command(itt=0x40).on(2).response(itt=0x40)
    assert script.events() == [(27, script.bhs())]


def test_a_violation_ends_all_connections(script: Script) -> None:
    level(script, 0, 2).command().response(stat_sn=7).on(2).nop_in(itt=NO_TAG, stat_sn=7).transport(FIN)
    assert script.events() == [(42, words(1001, 7))]


def test_another_connection_goes_on_at_level_2(script: Script) -> None:
    level(script, 2, 2).nop_in(itt=NO_TAG, edit=header_damaged)
    header = script.bhs()
    script.on(2).command().response(itt=0x77)
    assert script.events() == [(22, header + b"abcd"), (27, script.bhs())]


def test_the_end_of_a_session_that_is_being_left_is_that_of_one_connection(script: Script) -> None:
    level(script, 0, 2).logout(0).on(2).transport(FIN)
    assert script.events() == []
    assert script.on(1).transport(FIN).events() == [LOST]


def test_a_connection_that_was_removed_does_not_come_back(script: Script) -> None:
    level(script, 2, 2).on(2).logout(1, cid=1).logout_response().closed()
    assert again(script, 3, leading=False, cid=1).events() == []


def test_a_connection_that_was_lost_comes_back(script: Script) -> None:
    level(script, 2, 2).on(2).transport(RST).on(1).logout(2, cid=1).logout_response()
    assert again(script, 3, leading=False, cid=1).events() == [LOST, BACK]


def test_a_connection_without_another_comes_back_by_itself(script: Script) -> None:
    level(script, 2).transport(FIN)
    assert again(script, 2, leading=False).events() == [LOST, BACK]


def test_a_connection_that_is_refused_makes_the_session_anew(script: Script) -> None:
    level(script, 2).transport(FIN).connect(2).login_request().login_response(status_class=2, status_detail=10)
    refusal = script.last().to_bytes()
    again(script.closed(), 3, leading=True)
    assert script.events() == [LOST, (10, refusal), BACK]


def test_no_answer_to_the_logout_of_a_lost_connection(script: Script) -> None:
    level(script, 2, 2).on(2).transport(RST).on(1).logout(2, cid=1).wait(31)
    assert script.events() == [LOST, (8, words(6))]


# Tasks that move (level 2).


def test_a_task_that_was_reassigned_is_answered_elsewhere(script: Script) -> None:
    level(script, 2, 2).on(2).command(cdb=CDB, itt=0x40).transport(RST).on(1).logout(2, cid=1).logout_response()
    script.tmf(8, referenced_task_tag=0x40).tmf_response().response(itt=0x40)
    assert script.events() == [LOST]


def test_a_task_that_was_not_reassigned_is_unknown_elsewhere(script: Script) -> None:
    level(script, 2, 2).on(2).command(cdb=CDB, itt=0x40).transport(RST).on(1).response(itt=0x40)
    assert script.events() == [LOST, (27, script.bhs())]


def test_the_time_of_a_task_that_waits_stands_still(script: Script) -> None:
    level(script, 2, 2).on(2).command(cdb=CDB, itt=0x40).transport(RST).wait(500)
    assert script.events() == [LOST]
    script.on(1).tmf(8, referenced_task_tag=0x40).tmf_response().wait(73)
    assert script.events() == [LOST]
    assert script.wait(3).events() == [LOST, (9, READ_10)]


def test_a_command_that_was_sent_again_elsewhere_belongs_there(script: Script) -> None:
    level(script, 2, 2).on(2).command(cdb=CDB, itt=0x40, cmd_sn=100).transport(RST)
    script.on(1).command(cdb=CDB, itt=0x40, cmd_sn=100).response(itt=0x40)
    assert script.events() == [LOST]


def test_data_that_was_not_acknowledged_comes_again_behind_a_reassignment(script: Script) -> None:
    level(script, 2, 2).on(2).read(4096, itt=0x40).data_in(1024).data_in(1024).transport(RST)
    script.on(1).tmf(8, referenced_task_tag=0x40, exp_data_sn=2).tmf_response()
    script.task = script.former
    script.data_in(1024, data_sn=1, buffer_offset=1024, status_present=False)
    script.data_in(1024, data_sn=2, buffer_offset=2048).data_in(1024, data_sn=3, buffer_offset=3072)
    assert script.events() == [LOST]


def test_r2ts_begin_anew_behind_a_reassignment(script: Script) -> None:
    level(script, 2, 2).on(2).write(2048, itt=0x40).r2t(1024).data_out(1024).transport(RST)
    script.on(1).tmf(8, referenced_task_tag=0x40).tmf_response()
    script.task = script.former
    assert script.r2t(2048, r2t_sn=0, buffer_offset=0).events() == [LOST]


@pytest.mark.parametrize("response", [3, 4, 5])
def test_a_reassignment_that_fails_ends_the_session(script: Script, response: int) -> None:
    level(script, 2, 2).on(2).command(itt=0x40).transport(RST).on(1)
    script.tmf(8, referenced_task_tag=0x40).tmf_response(response=response).transport(FIN)
    assert script.events() == [LOST]


def test_no_answer_to_a_reassignment(script: Script) -> None:
    level(script, 2, 2).on(2).command(itt=0x40).transport(RST).on(1).tmf(8, referenced_task_tag=0x40).wait(31)
    assert script.transport(FIN).events() == [LOST, (49, words(2))]


# Statuses that are asked for again (level 1).


def test_a_gap_in_statuses_that_closes(script: Script) -> None:
    level(script, 1).command(itt=1).command(itt=2).command(itt=3)
    script.response(itt=3, stat_sn=1003).snack(STATUS, beg_run=1001, run_length=2)
    script.response(itt=1, stat_sn=1001).response(itt=2, stat_sn=1002).wait(60)
    assert script.events() == []
    assert script.response(itt=2, stat_sn=1002).events() == [], "what was asked for may come twice"
    assert script.response(itt=3, stat_sn=1003).events() == [(42, words(1004, 1003))]


def test_a_gap_in_statuses_that_stays(script: Script) -> None:
    level(script, 1).command(itt=1).command(itt=2)
    script.response(itt=2, stat_sn=1002)
    for _ in range(3):
        script.wait(4).snack(STATUS, beg_run=1001, run_length=1)
    assert script.wait(3.5).events() == []
    assert script.wait(1).events() == [(42, words(1001, 1002))]
    assert script.transport(FIN).events() == [(42, words(1001, 1002))]


def test_a_snack_for_statuses_that_is_rejected(script: Script) -> None:
    level(script, 1).command(itt=1).command(itt=2)
    script.response(itt=2, stat_sn=1002).snack(STATUS, beg_run=1001, run_length=1, itt=NO_TAG)
    script.stat_sns[1] = 1003
    script.reject(3)
    assert script.events() == [(29, bytes(script.last().data)), (42, words(1001, 1002))]


def test_a_damaged_status_is_missing(script: Script) -> None:
    level(script, 1).nop_out().nop_in(data=b"ping", edit=damaged).snack(STATUS, beg_run=1001, run_length=1)
    assert script.nop_in(data=b"ping", stat_sn=1001).wait(60).events() == [wrong(b"ping")]


def test_a_damaged_ping_of_the_target_is_dropped(script: Script) -> None:
    level(script, 1).nop_in(itt=NO_TAG, data=b"ping", edit=damaged).command().response()
    assert script.events() == [wrong(b"ping")]


def test_a_status_below_the_next_one_is_a_violation(script: Script) -> None:
    level(script, 1).command().response().command().response(stat_sn=1001)
    assert script.events() == [(42, words(1002, 1001))]


# Data that is asked for again (level 1).


def test_a_gap_in_data_that_closes_behind_its_status(script: Script) -> None:
    level(script, 1).read(3072).data_in(1024)
    script.data_in(1024, data_sn=2, buffer_offset=2048, final=True, status_present=True, stat_sn=1001)
    script.snack(DATA_OR_R2T, itt=script.task["itt"], beg_run=1, run_length=1)
    script.data_in(1024, data_sn=1, buffer_offset=1024, final=False, status_present=False)
    assert script.events() == []
    again_ = script.data_in(1024, data_sn=1, buffer_offset=1024, final=False, status_present=False)
    assert again_.events() == [(27, script.bhs())], "the command is over"


def test_data_that_nobody_asked_for_again(script: Script) -> None:
    level(script, 1).read(3072).data_in(1024).data_in(1024).data_in(1024, data_sn=0, buffer_offset=0)
    assert script.events() == [(26, script.bhs())]


def test_data_that_was_asked_for_may_not_go_past_the_end(script: Script) -> None:
    level(script, 1).read(2048).data_in(1024, data_sn=1, buffer_offset=1024, final=False, status_present=False)
    script.snack(DATA_OR_R2T, itt=script.task["itt"], beg_run=0, run_length=1)
    script.data_in(1028, data_sn=0, buffer_offset=1024, final=False, status_present=False)
    assert script.events() == [(26, script.bhs())]


def test_the_end_of_the_data_is_told_by_the_response(script: Script) -> None:
    level(script, 1).read(2048).data_in(1024).response(exp_data_sn=2)
    script.snack(DATA_OR_R2T, itt=script.task["itt"], beg_run=1, run_length=1)
    script.data_in(1024, data_sn=1, buffer_offset=1024, final=True, status_present=False)
    assert script.events() == []
    assert script.response().events() == [(27, script.bhs())]


def test_damaged_data_comes_again(script: Script) -> None:
    level(script, 1).read(2048).data_in(1024, edit=damaged)
    script.snack(DATA_OR_R2T, itt=script.task["itt"], beg_run=0, run_length=1)
    script.data_in(1024, data_sn=0, buffer_offset=0, final=False, status_present=False)
    script.data_in(1024, data_sn=1, buffer_offset=1024)
    assert script.events() == [wrong(bytes(1024))]


def test_a_gap_in_r2ts_that_closes(script: Script) -> None:
    level(script, 1).write(2048).r2t(1024, r2t_sn=1, buffer_offset=1024, ttt=0x51)
    script.snack(DATA_OR_R2T, itt=script.task["itt"], beg_run=0, run_length=1)
    script.r2t(1024, r2t_sn=0, buffer_offset=0, ttt=0x50)
    assert script.events() == []
    script.r2t(1024, r2t_sn=5, buffer_offset=0).snack(DATA_OR_R2T, itt=script.task["itt"], beg_run=2, run_length=3)
    assert script.r2t(1024, r2t_sn=1, buffer_offset=1024, ttt=0x51).events() == [(28, script.bhs())]


def test_a_recovery_r2t_is_legal_above_level_0(script: Script) -> None:
    level(script, 1).write(2048).r2t(2048).data_out(2048).r2t(1024, buffer_offset=0)
    assert script.events() == []


def test_data_is_cut_anew_behind_an_r_data_snack(script: Script) -> None:
    level(script, 1).read(2048).data_in(1024)
    script.snack(R_DATA, itt=script.task["itt"], ttt=5, beg_run=0, run_length=0)
    script.data_in(512, data_sn=1, buffer_offset=512, final=False, status_present=False)
    for number in range(4):
        script.data_in(512, data_sn=number, buffer_offset=512 * number, final=False, status_present=False)
    assert script.response(snack_tag=5).events() == []
