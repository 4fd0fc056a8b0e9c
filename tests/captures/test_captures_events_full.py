"""Events of the full feature phase at recovery level 0, each with histories that raise it and others that all but do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from iscsi_protocol.digest import crc32c
from iscsi_protocol.history import TransportEvent
from iscsi_protocol.pdu import NO_TAG, RawPdu
from iscsi_protocol.stream import Direction

TARGET = b"iqn.2026-01.com.example:target"
SENSE = b"\x00\x02\x70\x00"
IN = Direction.TO_INITIATOR
Script = Any


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little") for number in numbers)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A history behind a login, and what is due for it. dump: of the first event; then: events behind it."""

    event: int | None
    name: str
    history: Callable[[Script], Script]
    dump: Callable[[Script], bytes] = lambda script: script.bhs()
    then: tuple[tuple[int, bytes], ...] = ()
    keys: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.event}-{self.name}"


def damaged(data: bytes = b"wrong", digest: bytes = b"\1\2\3\4") -> Callable[[RawPdu], RawPdu]:
    return lambda raw: replace(raw, data_digest=digest, data_digest_error=True)


def header_damaged(raw: RawPdu) -> RawPdu:
    return replace(raw, header_digest=b"abcd", header_digest_error=True)


def opcode(value: int) -> Callable[[RawPdu], RawPdu]:
    return lambda raw: raw.with_bytes(0, bytes([value]))


def byte(offset: int, value: int) -> Callable[[RawPdu], RawPdu]:
    return lambda raw: raw.with_bytes(offset, bytes([value]))


def named(_: Script) -> bytes:
    return TARGET


FIN, RST = TransportEvent.FIN, TransportEvent.RST

ROWS = (
    Row(event=20, name="fin", history=lambda s: s.transport(FIN), dump=named),
    Row(event=20, name="reset-under-way", history=lambda s: s.read().data_in(1024).transport(RST), dump=named),
    Row(event=20, name="unanswered-logout", history=lambda s: s.logout(0).transport(FIN), dump=named),
    Row(event=None, name="closed-by-us", history=lambda s: s.closed()),
    Row(event=None, name="regular-logout", history=lambda s: s.logout(0).logout_response().closed()),
    Row(event=21, name="data-in", history=lambda s: s.read(8193).data_in(8193)),
    Row(event=21, name="ping", history=lambda s: s.nop_out().nop_in(data=bytes(8193))),
    Row(
        event=21,
        name="never-complete",
        history=lambda s: s.closed().rest(bytes((0x25, 0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF)) + bytes(40)),
        dump=lambda _: bytes((0x25, 0x80, 0, 0, 0, 0xFF, 0xFF, 0xFF)) + bytes(40),
    ),
    Row(event=None, name="just-long-enough", history=lambda s: s.read(8192).data_in(8192)),
    Row(event=None, name="half-a-header", history=lambda s: s.closed().rest(b"\x25\x80\0\0\0\xff\xff\xff")),
    Row(
        event=22,
        name="header-digest",
        history=lambda s: s.read().data_in(edit=header_damaged),
        dump=lambda s: s.bhs() + b"abcd",
    ),
    Row(
        event=22,
        name="before-a-wrong-opcode",
        history=lambda s: s.nop_in(itt=NO_TAG, edit=lambda raw: header_damaged(opcode(0x3B)(raw))),
        dump=lambda s: s.bhs() + b"abcd",
    ),
    Row(event=23, name="both-tags", history=lambda s: s.nop_out().nop_in(ttt=7)),
    Row(event=23, name="over-and-under", history=lambda s: s.command().response(edit=byte(1, 0x86))),
    Row(event=23, name="reserved-response", history=lambda s: s.command().response(response=2)),
    Row(event=23, name="no-sense", history=lambda s: s.command().response(status=2)),
    Row(event=23, name="reserved-status", history=lambda s: s.command().response(status=0x01)),
    Row(event=23, name="status-without-final", history=lambda s: s.read().data_in(final=False)),
    Row(event=23, name="reserved-event", history=lambda s: s.asynchronous(6)),
    Row(event=23, name="reserved-reason", history=lambda s: s.nop_out().reject(1)),
    Row(event=23, name="reject-of-nothing", history=lambda s: s.nop_out().reject(data=b"short")),
    Row(event=23, name="logout-response", history=lambda s: s.logout(0).logout_response(response=4)),
    Row(event=23, name="text-with-tag", history=lambda s: s.text().text_response(ttt=9)),
    Row(event=23, name="task-response", history=lambda s: s.tmf().tmf_response(response=8)),
    Row(event=None, name="vendor-response", history=lambda s: s.command().response(response=0x80)),
    Row(event=None, name="reserved-bits", history=lambda s: s.command().response(edit=byte(20, 0))),
    Row(event=None, name="vendor-event", history=lambda s: s.asynchronous(248)),
    Row(event=None, name="obsolete-status", history=lambda s: s.command().response(status=0x22)),
    Row(event=24, name="own-opcode", history=lambda s: s.nop_in(itt=NO_TAG, edit=opcode(0x01))),
    Row(event=24, name="reserved", history=lambda s: s.nop_in(itt=NO_TAG, edit=opcode(0x33))),
    Row(event=24, name="vendor", history=lambda s: s.nop_in(itt=NO_TAG, edit=opcode(0x3C))),
    Row(
        event=25,
        name="data-in",
        history=lambda s: s.read(4).data_in(4, edit=damaged()),
        dump=lambda _: words(crc32c(bytes(4)), 0x04030201),
    ),
    Row(
        event=25,
        name="before-a-wrong-field",
        history=lambda s: s.nop_out().nop_in(ttt=7, data=b"abcd", edit=damaged()),
        dump=lambda _: words(crc32c(b"abcd"), 0x04030201),
    ),
    Row(event=26, name="past-the-end", history=lambda s: s.read(4096).data_in(2048).data_in(2052)),
    Row(event=26, name="data-for-a-write", history=lambda s: s.write().data_in(512, final=False, status_present=False)),
    Row(event=26, name="overlap", history=lambda s: s.read().data_in(2048).data_in(2048, buffer_offset=1024)),
    Row(event=26, name="data-sn-again", history=lambda s: s.read().data_in(1024).data_in(1024, data_sn=0)),
    Row(
        event=26,
        name="long-sequence",
        history=lambda s: s.read(2048).data_in(512).data_in(1024),
        keys=(("MaxBurstLength", "1024"), ("FirstBurstLength", "512")),
    ),
    Row(
        event=None,
        name="two-sequences",
        history=lambda s: s.read(2048).data_in(1024, final=True).data_in(1024),
        keys=(("MaxBurstLength", "1024"), ("FirstBurstLength", "512")),
    ),
    Row(event=26, name="number-of-an-r2t", history=lambda s: s.write().r2t().data_out().data_in(0, data_sn=0)),
    Row(event=None, name="data-sn-gap", history=lambda s: s.read().data_in(1024, data_sn=1).data_in(1024, data_sn=2)),
    Row(event=27, name="never-used", history=lambda s: s.command().response(itt=0x999)),
    Row(event=27, name="finished", history=lambda s: s.command().response().response()),
    Row(event=27, name="other-kind", history=lambda s: s.nop_out().response()),
    Row(event=27, name="login-response", history=lambda s: s.login_response()),
    Row(event=None, name="another-task", history=lambda s: s.command().command().response(itt=1).response(itt=2)),
    Row(event=28, name="nothing-desired", history=lambda s: s.write().r2t(0)),
    Row(event=28, name="past-the-end", history=lambda s: s.write().r2t(4100)),
    Row(event=28, name="for-a-read", history=lambda s: s.read().r2t(512)),
    Row(event=28, name="number-left-out", history=lambda s: s.write().r2t(512, r2t_sn=1)),
    Row(event=28, name="reserved-tag", history=lambda s: s.write().r2t(ttt=NO_TAG)),
    Row(event=28, name="one-too-many", history=lambda s: s.write().r2t(512).r2t(512, buffer_offset=512)),
    Row(event=28, name="asked-before", history=lambda s: s.write(data=512).r2t(512, buffer_offset=0)),
    Row(
        event=28,
        name="over-max-burst",
        history=lambda s: s.write(2048).r2t(1028),
        keys=(("MaxBurstLength", "1024"), ("FirstBurstLength", "512")),
    ),
    Row(
        event=None,
        name="answered-between",
        history=lambda s: s.write().r2t(2048).data_out(2048).r2t(2048).data_out(2048).response(),
    ),
    Row(
        event=None,
        name="as-many-as-agreed",
        history=lambda s: s.write().r2t(512).r2t(512, buffer_offset=512),
        keys=(("MaxOutstandingR2T", "2"),),
    ),
    Row(event=29, name="rejected", history=lambda s: s.nop_out().reject(), dump=lambda s: bytes(s.last().data)),
    Row(
        event=29,
        name="of-nothing-known",
        history=lambda s: s.nop_out().reject(data=bytes(48)),
        dump=lambda _: bytes(48),
    ),
    Row(event=32, name="logout-wanted", history=lambda s: s.asynchronous(1), dump=named),
    Row(event=None, name="drop-announced", history=lambda s: s.asynchronous(2)),
    Row(event=39, name="warm-reset", history=lambda s: s.tmf(6).tmf_response(), dump=named),
    Row(event=39, name="cold-reset", history=lambda s: s.tmf(7).tmf_response(), dump=named),
    Row(event=None, name="reset-of-a-unit", history=lambda s: s.tmf(5).tmf_response()),
    Row(
        event=42,
        name="gap",
        history=lambda s: s.command().response(stat_sn=1003),
        dump=lambda _: words(1001, 1003),
    ),
    Row(
        event=42,
        name="step-back",
        history=lambda s: s.command().response(stat_sn=1000),
        dump=lambda _: words(1001, 1000),
    ),
    Row(
        event=42,
        name="ping-ahead",
        history=lambda s: s.nop_in(itt=NO_TAG, stat_sn=1002),
        dump=lambda _: words(1001, 1002),
    ),
    Row(
        event=42,
        name="before-no-task",
        history=lambda s: s.command().response(itt=9, stat_sn=9),
        dump=lambda _: words(1001, 9),
    ),
    Row(event=None, name="shown-twice", history=lambda s: s.nop_in(itt=NO_TAG).nop_in(itt=NO_TAG).asynchronous(0)),
    Row(event=60, name="good-with-sense", history=lambda s: s.command().response(data=SENSE)),
    Row(event=60, name="sense-too-long", history=lambda s: s.command().check_condition(data=b"\0\xff\x70\0")),
    Row(event=60, name="behind-the-sense", history=lambda s: s.command().check_condition(data=SENSE + b"more")),
    Row(event=60, name="no-length", history=lambda s: s.command().check_condition(data=b"\1")),
    Row(event=None, name="sense", history=lambda s: s.command().check_condition(data=SENSE)),
    Row(event=None, name="response-data", history=lambda s: s.command().response(response=1, data=b"anything")),
    Row(
        event=None,
        name="sense-at-level-2",
        history=lambda s: s.command().response(data=SENSE),
        keys=(("iSCSIProtocolLevel", "2"),),
    ),
    Row(
        event=22,
        name="nothing-behind-it-is-read",
        history=lambda s: (
            s.nop_in(itt=NO_TAG, edit=header_damaged).nop_in(itt=NO_TAG, edit=opcode(0x33)).transport(FIN)
        ),
        dump=lambda s: s.bhs(2) + b"abcd",
    ),
    Row(
        event=27,
        name="what-is-behind-it-is-read",
        history=lambda s: s.command().response(itt=9).transport(FIN),
        then=((20, TARGET),),
    ),
)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_events_of_a_dialogue(row: Row, script: Script) -> None:
    history = row.history(script.ready(**dict(row.keys)))
    due = [] if row.event is None else [(row.event, row.dump(history))]
    assert history.events() == [*due, *row.then]


def test_a_task_that_a_reset_ended_is_unknown_and_a_later_one_is_not(script: Script) -> None:
    script.ready().command(itt=5).tmf(5).command(itt=7).tmf_response(itt=2).response(itt=5).response(itt=7)
    assert script.events() == [(27, script.bhs(2))]


def test_status_numbers_wrap(script: Script) -> None:
    script.stat_sns[1] = 0xFFFFFFFE
    script.ready().command().response().command().response()
    assert script.last().bhs[24:28] == bytes(4)
    assert script.events() == []


def test_what_the_history_does_not_show_from_its_start_predicts_nothing(script: Script) -> None:
    script.records.clear()
    assert script.command().response(stat_sn=5).response(stat_sn=9).transport(FIN).events() == []


def test_a_segment_length_that_was_declared_anew_counts(script: Script) -> None:
    script.ready().text([("MaxRecvDataSegmentLength", "512")]).text_response().nop_out().nop_in(data=bytes(513))
    assert script.events() == [(21, script.bhs())]
