"""Events of what is not answered in time, each with histories that raise it and others in which the answer just comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from iscsi_protocol.pdu import NO_TAG, encode_ahs, extended_cdb

Script = Any
TARGET = b"iqn.2026-01.com.example:target"
READ_10 = b"\x28\0\0\0\0\1\0\0\2\0"
CDB = READ_10 + bytes(6)
LONG = b"\x7f" + bytes(6) + b"\x18" + bytes(24)


def function(opcode: int) -> bytes:
    return opcode.to_bytes(4, "little")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A request behind a login, what answers it, and what is due when that does not come within `allowance` seconds."""

    name: str
    request: Callable[[Script], Script]
    answer: Callable[[Script], Script]
    allowance: float
    due: tuple[tuple[int, bytes], ...]

    def __str__(self) -> str:
        return f"{self.due[0][0]}-{self.name}"


def managed(script: Script) -> Script:
    script.declare(Request={"Opcode": 1, "CDB": READ_10.hex(), "Timeout": None, "Management": True})
    return script.command(cdb=CDB)


def own_time(script: Script) -> Script:
    script.declare(Request={"Opcode": 1, "CDB": None, "Timeout": 3.5, "Management": False})
    return script.command(cdb=CDB)


ROWS = (
    Row(
        name="read",
        request=lambda s: s.command(cdb=CDB),
        answer=lambda s: s.response(),
        allowance=75,
        due=((9, READ_10),),
    ),
    Row(name="own-time-out", request=own_time, answer=lambda s: s.response(), allowance=18.5, due=((9, READ_10),)),
    Row(
        name="management",
        request=managed,
        answer=lambda s: s.response(),
        allowance=30,
        due=((47, function(1)),),
    ),
    Row(
        name="ping",
        request=lambda s: s.nop_out(),
        answer=lambda s: s.nop_in(),
        allowance=30,
        due=((48, function(0)),),
    ),
    Row(
        name="task-management",
        request=lambda s: s.tmf(2),
        answer=lambda s: s.tmf_response(),
        allowance=30,
        due=((49, function(2)),),
    ),
    Row(
        name="negotiation",
        request=lambda s: s.text([("MaxRecvDataSegmentLength", "512")]),
        answer=lambda s: s.text_response(),
        allowance=30,
        due=((50, function(4)),),
    ),
    Row(
        name="send-targets",
        request=lambda s: s.text([("SendTargets", "All")]),
        answer=lambda s: s.text_response(),
        allowance=30,
        due=((46, function(4)),),
    ),
    Row(
        name="logout",
        request=lambda s: s.logout(0),
        answer=lambda s: s.logout_response(),
        allowance=30,
        due=((44, function(6)),),
    ),
    Row(
        name="logout-of-a-lost-connection",
        request=lambda s: s.logout(2, cid=7),
        answer=lambda s: s.logout_response(),
        allowance=30,
        due=((8, function(6)),),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_answer_that_does_not_come(row: Row, script: Script) -> None:
    row.request(script.ready())
    begun = script.records[-1].time
    script.wait(begun + row.allowance - 0.25 - script.now)
    assert script.events() == []
    script.wait(0.25)
    assert script.events() == list(row.due)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_answer_at_the_last_moment(row: Row, script: Script) -> None:
    row.request(script.ready())
    begun = script.records[-1].time
    script.wait(begun + row.allowance - script.now)
    assert row.answer(script).wait(1000).events() == []


def test_what_the_initiator_does_at_the_last_moment_comes_behind_the_time_out(script: Script) -> None:
    script.ready().command(cdb=CDB)
    script.wait(script.records[-1].time + 75 - script.now)
    assert script.tmf(6).tmf_response().events() == [(9, READ_10), (39, TARGET)]


@pytest.mark.parametrize(
    ("settings", "allowance"),
    [
        ({"SRBTimeoutDelta": 5}, 65),
        ({"SRBTimeoutDelta": 4}, 75),
        ({"ScsiRequestTimeout": 10, "SRBTimeoutDelta": 20}, 30),
    ],
)
def test_declared_times_of_a_scsi_request(script: Script, settings: dict[str, object], allowance: float) -> None:
    script.ready().command(cdb=CDB)
    script.wait(allowance - 1.5)
    assert script.events(**settings) == []
    assert [event for event, _ in script.wait(1).events(**settings)] == [9]


def test_the_dump_of_a_long_command_is_all_of_it(script: Script) -> None:
    script.ready().command(cdb=LONG[:16], ahs=encode_ahs([extended_cdb(LONG)])).wait(100)
    assert script.events() == [(9, LONG)]


def test_a_login_without_an_answer(script: Script) -> None:
    script.security((("InitiatorName", "iqn.2026-01.com.example:i"), ("AuthMethod", "None")))
    assert script.wait(27).events() == []
    assert script.wait(2).events() == [(43, function(3))]


def test_the_time_of_a_login_counts_from_its_connection_on(script: Script) -> None:
    script.security((("AuthMethod", "None"),), transit=True, nsg=1).wait(20)
    script.security_response((("AuthMethod", "None"),), transit=True, nsg=1).operational(transit=True, nsg=3)
    assert script.wait(10).events() == [(43, function(3))]


def test_a_login_of_a_further_connection_without_an_answer(script: Script) -> None:
    script.ready(MaxConnections="2").connect(2)
    script.cid = 1
    assert script.login_request().wait(40).events() == [(45, function(3))]


def test_a_logout_that_the_target_wanted(script: Script) -> None:
    script.ready().asynchronous(1).logout(0).wait(40)
    assert script.events() == [(32, TARGET), (51, function(6))]


def test_time_covers_the_whole_of_a_text_exchange(script: Script) -> None:
    script.ready().text([("SendTargets", "All")]).wait(20).text_response(final=False, ttt=5, continued=True)
    script.text((), itt=script.task["itt"], ttt=5).wait(12)
    assert script.events() == [(46, function(4))]


def test_the_ladder_ends_with_a_target_reset_that_does_not_succeed(script: Script) -> None:
    script.ready().command(cdb=CDB, itt=0x50).wait(75)
    script.tmf(1, referenced_task_tag=0x50).tmf_response(response=5)
    script.tmf(5).wait(31).tmf(6).tmf_response(response=255)
    assert script.events() == [(9, READ_10), (49, function(2)), (39, TARGET), (63, TARGET)]


@pytest.mark.parametrize("response", [0, 1])
def test_the_ladder_is_over_when_the_task_is(script: Script, response: int) -> None:
    script.ready().command(cdb=CDB, itt=0x50).wait(75)
    script.tmf(1, referenced_task_tag=0x50).tmf_response(response=response).response(itt=0x50)
    assert script.events() == [(9, READ_10), (27, script.bhs())]


def test_a_reset_of_someone_else_is_no_rung(script: Script) -> None:
    script.ready().tmf(6).tmf_response(response=5)
    assert script.events() == [(39, TARGET)]


def test_an_initiator_that_resets_no_target_gives_up_earlier(script: Script) -> None:
    script.ready().command(cdb=CDB, itt=0x50).wait(75)
    script.tmf(1, referenced_task_tag=0x50).tmf_response(response=5).tmf(5).tmf_response(response=5)
    assert script.events() == [(9, READ_10), (39, TARGET)]
    assert script.events(NoTargetReset=True) == [(9, READ_10), (63, TARGET)]


def test_a_rejected_function_has_failed(script: Script) -> None:
    script.ready().command(cdb=CDB, itt=0x50).wait(75).tmf(1, referenced_task_tag=0x50).reject()
    script.tmf(5).reject().tmf(6).reject()
    assert [event for event, _ in script.events()] == [9, 29, 29, 39, 29, 63]


def test_a_target_reset_is_told_where_it_is_decided(script: Script) -> None:
    script.ready().command(cdb=CDB, itt=0x50).wait(75).tmf(1, referenced_task_tag=0x50).tmf_response(response=5)
    script.tmf(5).tmf_response(response=5).command(itt=0x60).response(itt=0x99).tmf(6).tmf_response()
    assert script.events() == [(9, READ_10), (39, TARGET), (27, script.bhs(2))]


def test_two_that_run_out_of_time_together_do_so_by_their_tags(script: Script) -> None:
    script.ready().nop_out().wait(-1).tmf(2)
    assert script.wait(40).events() == [(48, function(0))], "a ping ends the session, and all else with it"
    script.records[-2:] = []
    script.tmf(2, itt=0x60).wait(-1).tmf(2, itt=0x61)
    assert [event for event, _ in script.wait(40).events()] == [49, 49]


def test_a_ping_of_the_target_is_no_request(script: Script) -> None:
    assert script.ready().nop_in(itt=NO_TAG, ttt=5).nop_out(itt=NO_TAG, ttt=5).wait(500).events() == []


def test_a_request_that_is_sent_again_keeps_its_own_terms(script: Script) -> None:
    managed(script.ready()).closed().connect(2)
    script.tsih = 0
    script.login_request().login_response().command(cdb=CDB).wait(40)
    assert script.events() == [(34, TARGET), (47, function(1))]
