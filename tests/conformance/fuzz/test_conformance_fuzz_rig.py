"""The rig, its snapshots, and what knows how data may be."""

from __future__ import annotations

import pytest

from iscsi_conformance.fuzz.chunks import WHOLE, Chunks
from iscsi_conformance.fuzz.disk import Disk
from iscsi_conformance.fuzz.ground import Ground
from iscsi_conformance.fuzz.honest import honest
from iscsi_conformance.fuzz.parrot import Change, Mutation, mutated
from iscsi_conformance.fuzz.plan import Plan, Step, Verb
from iscsi_conformance.fuzz.play import Play, fork
from iscsi_conformance.fuzz.rig import Stuck
from iscsi_conformance.workload.model import content
from iscsi_initiator.requests import Ping
from iscsi_protocol.fault import Close, Drop, Fault, Flip, Part, Set, SetKey, Silence, Truncate, When
from iscsi_protocol.history import TransportEvent, TransportRecord
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.stream import Direction

READ = Step(verb=Verb.READ, size=2)


def ends(play: Play) -> list[TransportEvent]:
    return [record.event for record in play.records or () if isinstance(record, TransportRecord)]


def test_forks_share_nothing_that_changes() -> None:
    first, second = fork(Ground()), fork(Ground())
    first.play(Plan(ground=Ground(), script=(Step(verb=Verb.WRITE, place=3),)))
    assert first.image()[3 * 512 : 4 * 512] == content(3, 1)
    assert second.image() == bytes(len(second.image()))
    assert second.rig.up == [1]
    assert second.rig.initiator.session(1).up


@pytest.mark.parametrize(
    ("road", "seconds"),
    [(TransportEvent.REFUSED, 0), (TransportEvent.UNREACHABLE, 0), (TransportEvent.TIMED_OUT, 15)],
)
def test_roads_that_lead_nowhere(road, seconds) -> None:
    play = fork(Ground(logged_in=False))
    play.records = []
    play.rig.roads.append(road)
    play.begin()
    play.rig.run(seconds)
    assert ends(play) == [TransportEvent.CONNECT, road]
    assert play.rig.now == seconds
    play.rig.run(seconds + 1)
    assert play.rig.up == [2]


def test_a_portal_that_nobody_has_is_refused_until_all_is_well() -> None:
    play = fork(Ground(logged_in=False))
    play.records = []
    play.rig.have_repeated(())
    play.begin()
    play.rig.cut(1, TransportEvent.RST)
    assert play.rig.up == []
    assert ends(play)[-1] is TransportEvent.RST


@pytest.mark.parametrize("event", [TransportEvent.FIN, TransportEvent.RST])
def test_a_cut_is_seen_by_both_ends(event) -> None:
    play = fork(Ground())
    play.records = []
    play.rig.cut(1, event)
    assert ends(play) == [event]
    assert play.rig.target.next_deadline() is not None or not play.rig.up
    play.rig.cut(1, event)
    assert ends(play) == [event]


def test_faults_are_of_so_many_connections() -> None:
    play = fork(Ground(connections=2))
    silence = Fault(when=When(direction=Direction.TO_INITIATOR, times=0), what=(Drop(),))
    play.rig.spoil((silence,), 1)
    for cid in (0, 1):
        assert play.rig.initiator.session(1).connections[cid].link is not None
    play.rig.initiator.submit(1, Ping(b"x"), 0.0)
    play.rig.pump()
    assert [line.wire.fired for line in play.rig.lines.values()].count(0) >= 1


def test_who_talks_without_end_comes_to_a_time_out() -> None:
    endless = Fault(
        when=When(direction=Direction.TO_TARGET, opcode=Opcode.TEXT_REQUEST, times=0), what=(Set("final", value=False),)
    )
    play = fork(Ground())
    play.play(Plan(ground=Ground(), script=(Step(verb=Verb.SEND_TARGETS),), faults=(endless,)))
    assert next(event.id for event in play.logged) == 46


def test_time_that_stands_still_is_told(monkeypatch) -> None:
    play = fork(Ground())
    monkeypatch.setattr(play.rig.target, "next_deadline", lambda: 1.0)
    with pytest.raises(Stuck, match=r"due at 1\.0"):
        play.rig.run(2.0)


def test_pieces_are_all_of_it() -> None:
    data = bytes(range(200))
    for chunks in (WHOLE, Chunks(size=1), Chunks(size=48), Chunks(size=60, spread=9)):
        assert b"".join(chunks.pieces(data)) == data
    assert len(list(Chunks(size=48).pieces(data))) == 5
    assert list(Chunks(size=60, spread=9).pieces(data)) == list(Chunks(size=60, spread=9).pieces(data))


def test_a_disk_knows_what_may_be_read() -> None:
    disk = Disk(4)
    early = disk.begin_read(0, 2)
    generation, data = disk.begin_write(1, 1)
    late = disk.begin_read(1, 1)
    assert disk.end_read(early, bytes(512) + data) == ""
    disk.end_write(1, 1, generation, acknowledged=True)
    assert disk.end_read(late, bytes(512)) == ""
    behind = disk.begin_read(1, 1)
    assert "block 1 holds" in disk.end_read(behind, bytes(512))
    assert "block 1 holds" in disk.compare(bytes(2048))
    assert disk.compare(bytes(512) + data + bytes(1024)) == ""
    lost, other = disk.begin_write(2, 1)
    disk.end_write(2, 1, lost, acknowledged=False)
    for held in (bytes(512), other):
        assert disk.compare(bytes(512) + data + held + bytes(512)) == ""
    assert disk.end_read(disk.begin_read(0, 1), None) == ""


def answered(*what, raw=False) -> Plan:
    when = When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_DATA_IN)
    return Plan(ground=Ground(data_digest="required"), faults=(Fault(when=when, what=what, raw=raw),))


@pytest.mark.parametrize(
    ("plan", "seen"),
    [
        (answered(Drop()), True),
        (answered(Silence()), True),
        (answered(Truncate(60)), False),
        (answered(Truncate(60), Close()), True),
        (answered(Set("data_sn", 3)), True),
        (answered(Set("itt", 3)), False),
        (answered(Flip(Part.DATA)), False),
        (answered(Flip(Part.DATA), raw=True), True),
        (answered(Flip(Part.DATA_DIGEST)), True),
        (answered(SetKey("DataDigest", "None")), False),
        (Plan(ground=Ground(), mutations=(Mutation(change=Change.FLIP, answer=0),)), False),
    ],
)
def test_data_are_held_against_an_initiator_that_can_see_what_is_wrong(plan, seen) -> None:
    assert honest(plan) is seen


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change.OVERWRITE, [b"aXYd", b"", b"ef"]),
        (Change.FLIP, [b"a" + bytes((ord("b") ^ ord("X"), ord("c") ^ ord("Y"))) + b"d", b"", b"ef"]),
        (Change.INSERT, [b"aXYbcd", b"", b"ef"]),
        (Change.DELETE, [b"ad", b"", b"ef"]),
        (Change.REPEAT, [b"abcdabcd", b"", b"ef"]),
        (Change.SWALLOW, [b"", b"", b"ef"]),
        (Change.EXCHANGE, [b"", b"abcd", b"ef"]),
    ],
)
def test_what_was_said_is_changed(change, said) -> None:
    mutation = Mutation(change=change, answer=2, at=5, what=b"XY")
    assert mutated([b"abcd", b"", b"ef"], [mutation]) == said


def test_a_parrot_says_what_was_said() -> None:
    harmless = Mutation(change=Change.FLIP, answer=0, at=0, what=b"\0")
    play = fork(Ground())
    plan = Plan(ground=Ground(), script=(READ, Step(verb=Verb.PING)), mutations=(harmless,))
    play.play(plan)
    assert [asked.request.failure for asked in play.asked] == [None, None]
    assert play.logged == []
    assert play.closed == 1


def test_a_redirection_to_nowhere_ends_when_all_is_well() -> None:
    play = fork(Ground(logged_in=False))
    moved = Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.LOGIN_RESPONSE),
        what=(Set("status_class", 1), Set("status_detail", 2), SetKey("TargetAddress", "192.0.2.1:3260")),
    )
    play.play(Plan(ground=Ground(logged_in=False), faults=(moved,)))
    assert play.closed == 1
