"""Each piece of advice has histories that give reason for it, and near misses that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.captures.reviewing import advice, reviewed

from iscsi_captures.reading import notes as facts
from iscsi_captures.review import thresholds
from iscsi_captures.review.advice import ADVICE
from iscsi_captures.review.model import Review
from iscsi_conformance.corpus.script import Script
from iscsi_protocol.history import Endpoint, TransportEvent, TransportRecord
from iscsi_protocol.stream import Direction

PORTAL = Endpoint("192.0.2.9", 3260)
READ_CAPACITY = bytes([0x25]) + bytes(15)
READ_CAPACITY_16 = bytes([0x9E, 0x10]) + bytes(14)


def writes(script: Script, r2ts: int, size: int, *, parallel: bool = False) -> Script:
    """A write of so many R2Ts; parallel: two of them are open at once."""
    script.ready(MaxOutstandingR2T="2", MaxBurstLength="262144").write(r2ts * size)
    if parallel:
        script.r2t(size).r2t(size, buffer_offset=size)
        for which in range(2):
            script.data_out(size, ttt=0x50 + which, buffer_offset=which * size, data_sn=0, final=True)
        r2ts -= 2
    for _ in range(r2ts):
        script.r2t(size).data_out(size)
    return script.response(exp_data_sn=0)


def reads(script: Script, *, slow: float, count: int = 30) -> Script:
    """Many reads of a second each, and one that takes longer."""
    script.ready()
    for _ in range(count):
        script.read().data_in()
    script.read().wait(slow)
    return script.data_in()


def with_notes(*made: facts.Note) -> Review:
    script = Script()
    return reviewed(script.ready().read().data_in().records, made)


def retransmissions(count: int, apart: float) -> Review:
    return with_notes(
        *(
            facts.Retransmitted(connection=1, frame=9, time=index * apart, direction=Direction.TO_TARGET, bytes=1460)
            for index in range(count)
        )
    )


def stalls(count: int, milliseconds: float) -> Review:
    return with_notes(
        *(facts.DelayedAck(connection=1, frame=9, time=1.0, milliseconds=milliseconds) for _ in range(count))
    )


def capacity(block: int, cdb: bytes = READ_CAPACITY) -> Review:
    data = bytes([0, 0, 0, 99]) + block.to_bytes(4, "big")
    if cdb is READ_CAPACITY_16:
        data = bytes(4) + data + bytes(20)
    script = Script().ready().read(len(data), cdb=cdb)
    return reviewed(script.data_in(len(data), data=data).records)


def portals(advertised: str, silent: Endpoint) -> Review:
    script = Script().discovery().text([("SendTargets", "All")], final=True)
    pairs = [("TargetName", "iqn.2026-01.com.example:target"), ("TargetAddress", advertised)]
    script.text_response(pairs, final=True, ttt=0xFFFFFFFF)
    return reviewed(script.records, [facts.SynUnanswered(frame=40, time=30.0, endpoint=silent, tries=4)])


def second_connection(tsih: int, status: int) -> Review:
    script = Script().ready()
    script.connect(2)
    script.tsih, script.cid = tsih, 1
    script.login_request().login_response((), status_class=status >> 8, status_detail=status & 0xFF, transit=False)
    return reviewed(script.records)


def segments(mss: int, megabytes: int) -> Review:
    script = Script().ready(MaxRecvDataSegmentLength="1048576", MaxBurstLength="1048576")
    for _ in range(megabytes):
        script.read(1 << 20).data_in(1 << 20)
    shake = facts.Handshake(connection=1, frame=1, time=0.0, endpoint=PORTAL, mss=mss, direction=Direction.TO_TARGET)
    return reviewed(script.records, [shake])


def abort(function: int) -> Review:
    script = Script().ready().read()
    task = script.task["itt"]
    number = script.cmd_sn - 1
    fields = {"referenced_task_tag": task, "ref_cmd_sn": number} if function == 1 else {}
    return reviewed(script.tmf(function, **fields).tmf_response().records)


def logins(count: int, *, apart: float, refused: bool = True) -> Review:
    script = Script()
    for number in range(1, count + 1):
        script.connect(number)
        script.login_request()
        if refused:
            script.login_response((), status_class=2, status_detail=1, transit=False)
        else:
            script.login_response()
        script.wait(apart)
    return reviewed(script.records)


def closed(seconds: float) -> Review:
    """The target opens a window of one command only, and that command takes so long."""
    script = Script()
    script.login_request().login_response(max_cmd_sn=script.cmd_sn)
    return reviewed(script.read().wait(seconds).data_in().records)


def zero_window(seconds: float) -> Review:
    return with_notes(facts.WindowOpened(connection=1, frame=9, time=1.0, after=seconds))


def pauses(quanta: int) -> Review:
    return with_notes(facts.Pause(frame=9, time=1.0, quanta=quanta, source="02:00:00:00:00:01"))


def small_r2ts(r2ts: int, size: int, *, parallel: bool = False) -> Review:
    return reviewed(writes(Script(), r2ts, size, parallel=parallel).records)


def slow(seconds: float, count: int = 30) -> Review:
    return reviewed(reads(Script(), slow=seconds, count=count).records)


Made = Callable[[], Review]
REASONS: dict[str, tuple[tuple[Made, ...], tuple[Made, ...]]] = {
    "small-r2ts": (
        (lambda: small_r2ts(4, 8192), lambda: small_r2ts(9, 65536)),
        (lambda: small_r2ts(3, 8192), lambda: small_r2ts(4, 131072), lambda: small_r2ts(5, 8192, parallel=True)),
    ),
    "delayed-ack-40": ((lambda: stalls(3, 40.0),), (lambda: stalls(2, 40.0), lambda: stalls(5, 20.0))),
    "delayed-ack-200": ((lambda: stalls(3, 200.0),), (lambda: stalls(2, 200.0), lambda: stalls(5, 100.0))),
    "window-closed": ((lambda: closed(2.0),), (lambda: reviewed(Script().ready().read().wait(2.0).data_in().records),)),
    "retransmission-storm": (
        (lambda: retransmissions(10, 0.05),),
        (lambda: retransmissions(9, 0.05), lambda: retransmissions(20, 0.2)),
    ),
    "zero-window": ((lambda: zero_window(0.2),), (lambda: zero_window(0.1),)),
    "block-length": (
        (lambda: capacity(4096), lambda: capacity(4096, READ_CAPACITY_16)),
        (lambda: capacity(512), lambda: capacity(512, READ_CAPACITY_16)),
    ),
    "portal-silent": (
        (lambda: portals("192.0.2.9:3260,1", PORTAL),),
        (lambda: portals("192.0.2.9:3261,1", PORTAL), lambda: portals("no address", PORTAL)),
    ),
    "second-connection-refused": (
        (lambda: second_connection(7, 0x0206),),
        (lambda: second_connection(0, 0x0206), lambda: second_connection(7, 0x0201)),
    ),
    "no-jumbo-frames": ((lambda: segments(1460, 1),), (lambda: segments(8948, 1), lambda: segments(1460, 0))),
    "paused-link": ((lambda: pauses(0xFFFF),), (lambda: pauses(0),)),
    "slow-command": ((lambda: slow(60.0),), (lambda: slow(10.0), lambda: slow(60.0, count=10))),
    "command-timed-out": ((lambda: abort(1),), (lambda: abort(5),)),
    "login-retries": (
        (lambda: logins(3, apart=5.0),),
        (lambda: logins(2, apart=5.0), lambda: logins(4, apart=200.0), lambda: logins(4, apart=5.0, refused=False)),
    ),
}


def test_every_row_has_histories():
    """None is forgotten, and none is left over."""
    assert {row.id for row in ADVICE} == {f"advice.{name}" for name in REASONS}


@pytest.mark.parametrize("name", REASONS)
def test_reason_gives_advice(name):
    """Each of these is advised on, once, with a place, a level and words."""
    for made in REASONS[name][0]:
        (found,) = advice(made(), name)
        assert found.level == "ADVICE"
        assert found.message
        assert found.meaning
        assert found.frame.number
        assert found.clause == "-" or found.statement


@pytest.mark.parametrize("name", REASONS)
def test_near_miss_gives_none(name):
    """None of these is."""
    for made in REASONS[name][1]:
        assert advice(made(), name) == []


def test_rows_say_where_their_limits_come_from():
    """Every threshold has a reason, and every one that there is belongs to a row."""
    used = [limit for row in ADVICE for limit in row.thresholds]
    assert all(limit.why and limit.name for limit in used)
    there = {limit for limit in vars(thresholds).values() if isinstance(limit, thresholds.Threshold)}
    assert there == set(used)
    assert all(row.says and row.meaning for row in ADVICE)


def test_attempt_that_timed_out_counts_too():
    """A recording says by a record, and not by a note, that nobody answered."""
    script = Script().discovery().text([("SendTargets", "All")], final=True)
    pairs = [("TargetName", "iqn.2026-01.com.example:target"), ("TargetAddress", "192.0.2.9:3260,1")]
    script.text_response(pairs, final=True, ttt=0xFFFFFFFF)
    ends = Endpoint("192.0.2.1", 5), PORTAL
    attempt = [TransportRecord(3, 50.0, event, *ends) for event in (TransportEvent.CONNECT, TransportEvent.TIMED_OUT)]
    (found,) = advice(reviewed([*script.records, *attempt]), "portal-silent")
    assert found.connection == 2
    assert "192.0.2.9:3260" in found.message


def test_rows_stand_in_the_documentation():
    """The table of docs/review.md is that of the code."""
    text = (Path(__file__).parents[2] / "docs" / "review.md").read_text(encoding="utf-8")
    for row in ADVICE:
        limits = "; ".join(f"{limit.name}: {limit.value:g} ({limit.why})" for limit in row.thresholds) or "–"
        assert f"| `{row.id}` | {row.role} | {row.says} | {row.meaning} | {limits} |" in text
