"""What the reviewer makes of a history: sessions, connections, findings with frames, events, traces, loads, the timeline."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.captures.reviewing import reviewed

from iscsi_captures.reading import FrameRef
from iscsi_captures.reading import notes as facts
from iscsi_captures.review import fields, model, reviewer
from iscsi_captures.review.commands import OPEN_KEPT
from iscsi_captures.review.fields import about, field_of_rule
from iscsi_captures.review.meanings import meaning_of
from iscsi_captures.review.moments import HALF, Moments, merged
from iscsi_captures.review.series import Latencies, Series
from iscsi_captures.rules import RULES
from iscsi_conformance.corpus.script import NAMES, Script
from iscsi_protocol.history import BytesRecord, Endpoint, TransportEvent, TransportRecord
from iscsi_protocol.pdu import LoginRequest, RawPdu, ScsiCommand, encode
from iscsi_protocol.pdu.base import has_field
from iscsi_protocol.stream import Direction


def test_session_of_two_connections():
    """Both are one session, by names, ISID, TSIH and CID; each has its own counters."""
    script = Script().ready(MaxConnections="2")
    script.connect(2)
    script.cid = 1
    script.login_request().login_response(())
    review = reviewed(script.on(1).read().data_in().records)
    (session,) = review.sessions
    assert (session.kind, session.initiator_name, session.tsih) == ("normal", "iqn.2026-01.com.example:initiator", 7)
    assert [connection.cid for connection in session.connections] == [0, 1]
    assert session.connections[0].opcodes == {
        "Login Request": 1,
        "SCSI Command": 1,
        "Login Response": 1,
        "SCSI Data-In": 1,
    }
    assert session.connections[0].bytes_to_initiator > 4096
    assert [connection.login for connection in session.connections] == ["full feature"] * 2
    assert session.negotiated["MaxConnections"] == "2"
    assert session.negotiated["InitialR2T"] == "Yes"


def test_discovery_session_shows_what_matters_there():
    """Its values are those that a discovery session has."""
    (session,) = reviewed(Script().discovery().records).sessions
    assert session.kind == "discovery"
    assert "MaxBurstLength" not in session.negotiated
    assert "MaxRecvDataSegmentLength of the target" in session.negotiated


def test_connection_whose_start_is_missing():
    """A session of its own, about whose names nothing is known; digests are as the reading tells them."""
    script = Script().ready().read().data_in()
    inferred = facts.DigestsInferred(connection=1, frame=2, time=4.0, header=True, data=False, confidence=0.9, over=7)
    review = reviewed(script.records[3:], [inferred])
    (session,) = review.sessions
    assert (session.kind, session.isid, session.negotiated) == ("unknown", "", {})
    (connection,) = session.connections
    assert connection.digests == model.Digests(header=True, data=False, known="inferred", confidence=0.9)
    assert (connection.opened.how, connection.login) == ("in the middle", "not seen")


def test_digests_of_the_login():
    """What was agreed on is known, not guessed."""
    script = Script().login_request((*NAMES, ("HeaderDigest", "CRC32C"), ("DataDigest", "None")))
    script.login_response((("TargetPortalGroupTag", "1"), ("HeaderDigest", "CRC32C"), ("DataDigest", "None")))
    (connection,) = reviewed(script.records).sessions[0].connections
    assert connection.digests == model.Digests(header=True, data=False, known="login", confidence=1.0)


def broken() -> Script:
    """A read whose data is sent with the wrong DataSN."""
    return Script().ready().read().data_in(data_sn=5)


def test_finding_has_its_frame_field_clause_and_words():
    """All that a reader needs stands with it."""
    (finding,) = [each for each in reviewed(broken().records).findings if each.rule == "datain.data-sn"]
    assert (finding.level, finding.role, finding.session, finding.connection) == ("MUST", "target", 1, 1)
    assert finding.frame == FrameRef(0, 5)
    assert finding.field == model.Field(name="data_sn", part="header", offset=36, length=4)
    assert finding.pdu is not None
    assert (finding.pdu.name, finding.pdu.way, finding.pdu.data_offset) == ("SCSI Data-In", "to initiator", 48)
    assert len(finding.pdu.raw) == model.PDU_KEPT < finding.pdu.length
    assert finding.statement.startswith("Data-In DataSN starts at 0")
    assert finding.says
    assert finding.meaning


def too_much() -> Script:
    """A read that brings more data than was asked for, which the initiator logs."""
    return Script().ready().read().data_in(8192, final=True, status_present=True)


def test_event_stands_beside_its_finding():
    """The violation names the event that it leads to, and the event the violation."""
    review = reviewed(too_much().records)
    (event,) = review.events
    assert event.finding is not None
    assert review.findings[event.finding].events == [event.id] == [26]
    assert event.name == "iScsiPrt 26"
    assert event.severity == "error"
    assert event.meaning


def test_event_of_a_time_out_stands_at_the_last_frame_of_its_connection():
    """The frame that shows that the time is over may be anybody's."""
    script = Script().ready().read()
    script.wait(300).connect(2)
    review = reviewed(script.records)
    (event,) = [event for event in review.events if event.id == 9]
    assert event.connection == 1
    assert event.frame == FrameRef(0, 4)


def test_dump_of_an_event_is_bounded(monkeypatch):
    """Many large dumps do not fill the memory."""
    monkeypatch.setattr(reviewer, "DUMP_LEAST", 8)
    monkeypatch.setattr(reviewer, "DUMPS_KEPT", 8)
    (event,) = reviewed(too_much().records).events
    assert len(event.dump) == 8


def test_findings_and_events_are_bounded(monkeypatch):
    """What is above the bounds is counted, not kept."""
    monkeypatch.setattr(reviewer, "FINDINGS_KEPT", 2)
    monkeypatch.setattr(reviewer, "EVENTS_KEPT", 0)
    script = Script().ready()
    for _ in range(4):
        script.nop_out(lun=b"\1" * 8, immediate=True, itt=script.itt + 1, exp_stat_sn=script.stat_sn + 50).nop_in()
    review = reviewed(script.records)
    assert len([each for each in review.findings if each.level != "ADVICE"]) == 2
    assert sum(review.dropped.values()) >= 2
    assert review.events == []


def test_trace_of_a_command_with_a_finding():
    """It is kept, however quick it was, and says which findings it has."""
    review = reviewed(broken().records)
    (trace,) = [trace for trace in review.traces if trace.reason == "finding"]
    assert trace.findings == [0]
    assert (trace.status, trace.length, trace.seconds) == ("GOOD", 4096, 1.0)
    assert [step.way for step in trace.steps] == ["to target", "to initiator"]
    assert trace.steps[0].label.startswith("SCSI Command")


def test_open_command_with_a_finding_is_kept_at_the_end():
    """It has no end."""
    review = reviewed(Script().ready().read(lun=bytes(8)).data_in(1024, data_sn=3).records)
    (trace,) = [trace for trace in review.traces if trace.reason == "finding"]
    assert (trace.ended, trace.seconds, trace.status) == (None, None, "")


def test_aborted_command_is_kept():
    """With the request that aborts it, and the answer."""
    script = Script().ready().read()
    task = script.task["itt"]
    script.tmf(1, referenced_task_tag=task, ref_cmd_sn=script.cmd_sn - 1).tmf_response()
    (trace,) = [trace for trace in reviewed(script.records).traces if trace.reason == "aborted"]
    assert (trace.itt, trace.status, len(trace.steps)) == (task, "aborted", 3)


def test_slowest_commands_of_a_session():
    """The slowest come first, no more than are kept, and long ones are shortened in the middle."""
    script = Script().ready(MaxRecvDataSegmentLength="512")
    for waiting in range(model.TRACES_KEPT + 5):
        script.read(512).wait(waiting).data_in(512)
    script.read(512 * 100).wait(1000)
    for _ in range(100):
        script.data_in(512)
    review = reviewed(script.records)
    slow = [trace for trace in review.traces if trace.reason == "slow"]
    assert len(slow) == model.TRACES_KEPT
    times = [trace.seconds or 0.0 for trace in slow]
    assert times == sorted(times, reverse=True)
    assert len(slow[0].steps) == model.STEPS_KEPT
    assert slow[0].omitted == 101 - model.STEPS_KEPT
    assert slow[0].steps[-1].label.startswith("SCSI Data-In")


def test_load_adds_up():
    """Every command and every byte stands in one bucket, however often buckets were joined."""
    script = Script().ready()
    for _ in range(700):
        script.read().data_in()
    (load,) = reviewed(script.records).loads
    assert len(load.commands) <= model.BUCKETS_KEPT
    assert sum(load.commands) == 700
    assert sum(load.bytes_in) >= 700 * 4096
    assert load.total is not None
    assert load.total.count == 700
    assert load.total.median == pytest.approx(1.0, rel=0.05)
    assert max(load.depth) == 1


def test_timeline_tells_what_happened():
    """Connects, logins, logouts, recoveries, notices and findings, in order."""
    script = too_much()
    script.logout().logout_response().transport(TransportEvent.FIN).transport(TransportEvent.FIN)
    kinds = [moment.kind for moment in reviewed(script.records).timeline]
    assert kinds[:3] == ["connect", "login", "login"]
    assert {"finding", "event", "logout", "close"} <= set(kinds)


def test_rule_stands_on_the_timeline_once_for_a_connection():
    """However often it was broken."""
    script = Script().ready()
    for _ in range(5):
        script.read().data_in(data_sn=5)
    review = reviewed(script.records)
    told = [moment for moment in review.timeline if "datain.data-sn" in moment.what]
    assert len(told) == 1


def test_notices_of_recovery_are_told():
    """Task management, SNACK, Asynchronous Message and Reject have a line each."""
    script = Script().ready(ErrorRecoveryLevel="1").read()
    script.snack(0).tmf(5).tmf_response(response=1).asynchronous(1, parameter3=10).reject(4)
    told = [moment.what for moment in reviewed(script.records).timeline]
    assert "SNACK: Data/R2T" in told
    assert "LOGICAL UNIT RESET" in told
    assert "task management: task does not exist" in told
    assert "asynchronous message: logout requested" in told
    assert "reject: protocol error" in told


@pytest.mark.parametrize(
    ("event", "how"),
    [
        (TransportEvent.RST, "RST by the target"),
        (TransportEvent.CLOSED_BY_US, "closed by the initiator"),
        (TransportEvent.REFUSED, "refused"),
        (TransportEvent.UNREACHABLE, "unreachable"),
    ],
)
def test_how_a_connection_ended(event, how):
    """As the transport had it."""
    records = Script().ready().read().records
    records.append(TransportRecord(1, 60.0, event, direction=Direction.TO_INITIATOR))
    (connection,) = reviewed(records).sessions[0].connections
    assert connection.closed is not None
    assert connection.closed.how == how


def test_refused_and_redirected_logins():
    """The status stands with the connection."""
    refused = Script().login_request().login_response((), status_class=2, status_detail=1, transit=False)
    assert reviewed(refused.records).sessions[0].connections[0].login == "refused 0x0201"
    elsewhere = (("TargetAddress", "192.0.2.7:3260"),)
    moved = Script().login_request().login_response(elsewhere, status_class=1, status_detail=1, transit=False)
    assert reviewed(moved.records).sessions[0].connections[0].login == "redirected 0x0101"


def test_bytes_that_are_no_pdu_are_a_gap():
    """Nothing that looks wrong is hidden."""
    records = [*Script().ready().records, BytesRecord(1, 9.0, Direction.TO_TARGET, b"junk", "framing was lost")]
    (gap,) = reviewed(records).gaps
    assert (gap.kind, gap.bytes, gap.way, gap.message) == ("bytes that are no PDU", 4, "to target", "framing was lost")


NOTES = (
    facts.Missing(connection=1, bytes=100, filled=True),
    facts.Missing(connection=1, bytes=None),
    facts.Resynchronised(connection=1, skipped=7, confidence=0.8),
    facts.OverlapDiffers(connection=1, offset=0, old=b"a", new=b"b", bytes=1, old_hash="", new_hash=""),
    facts.StartMissing(connection=1),
    facts.EndMissing(connection=1),
    facts.OneSided(connection=1, direction=Direction.TO_TARGET),
    facts.Truncated(connection=1, snap_length=64, wire_length=1500),
    facts.FragmentsLost(datagrams=2),
    facts.FileDamaged(message="cut short"),
    facts.UnknownLink(link_type=99, packets=5),
    facts.BufferFull(connection=1, bytes=5),
)


@pytest.mark.parametrize("note", NOTES, ids=lambda note: type(note).__name__)
def test_every_gap_is_told(note):
    """Each fact of the kind that something is not there becomes one gap."""
    review = reviewed(Script().ready().records, [replace(note, frame=3, time=2.0)])
    (gap,) = review.gaps
    assert gap.frame == FrameRef(0, 3)
    assert gap.message


def test_other_facts_are_no_gaps():
    """A reset below iSCSI is told on the timeline, once."""
    resets = [facts.Reset(connection=1, frame=3, time=2.0, bytes_in_flight=5)] * 2
    review = reviewed(Script().ready().records, [*resets, facts.OutOfOrder(connection=1, ahead=3)])
    assert review.gaps == []
    assert [moment.kind for moment in review.timeline].count("reset") == 1


def test_gaps_are_bounded():
    """So many and no more."""
    review = reviewed(Script().ready().records, [facts.StartMissing(connection=1)] * (model.GAPS_KEPT + 5))
    assert len(review.gaps) == model.GAPS_KEPT


def test_more_connections_than_are_described(monkeypatch):
    """They are judged all the same, as connection 0."""
    monkeypatch.setattr(reviewer, "CONNECTIONS_KEPT", 0)
    review = reviewed(broken().records)
    assert review.sessions == []
    assert {finding.connection for finding in review.findings} == {0}


def test_more_commands_than_are_followed():
    """Those that are never answered make room."""
    script = Script().ready()
    for _ in range(OPEN_KEPT + 50):
        script.read()
    review = reviewed(script.records)
    assert review.loads
    assert max(review.loads[0].depth) == OPEN_KEPT


def test_same_tag_twice_is_two_commands():
    """The former one is followed no further."""
    script = Script().ready().read(itt=5)
    script.read(itt=5).data_in()
    (load,) = reviewed(script.records).loads
    assert sum(load.commands) == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_rule_has_a_field_and_a_meaning(rule):
    """The field is one that the rule's PDUs have; the row is the only one."""
    assert meaning_of(rule.id)
    named = [field for field, names in fields.ABOUT.items() if rule.id in names.split()]
    assert len(named) <= 1
    field = about(rule.id)
    assert field is not None
    assert field in fields.PARTS or all(has_field(opcode, field) for opcode in rule.opcodes)


def test_no_row_is_about_a_rule_that_is_not_there():
    """Renamed rules do not leave rows behind."""
    ids = {rule.id for rule in RULES}
    areas = {f"{rule.id.partition('.')[0]}." for rule in RULES}
    assert {name for names in fields.ABOUT.values() for name in names.split()} <= ids | areas


def test_places_of_parts():
    """Reserved bits, padding, digests, text and data are found where they are."""
    command = encode(ScsiCommand(itt=1, data=b"abc")).with_digests(header=True, data=True)
    stray = command.with_bytes(2, b"\xff")
    padded = RawPdu(command.bhs, b"", b"abc", b"\1")
    request = encode(LoginRequest(data=b"InitiatorName=x\0SessionType=Other\0"))
    cases = [
        ("framing.reserved-bits", stray, "", ("reserved bits", "header", 2, 1)),
        ("framing.level-2-field", command, "", ("command_priority", "header", 2, 1)),
        ("framing.padding-not-zero", padded, "", ("padding", "data", 3, 1)),
        ("digest.header", command, "", ("header digest", "AHS", 0, 4)),
        ("digest.data", command, "", ("data digest", "data", 4, 4)),
        ("keys.value.SessionType", request, "SessionType=Other", ("SessionType", "data", 16, 17)),
        ("keys.value.SessionType", request, "no key is named", ("data", "data", 0, 34)),
        ("keys.value.SessionType", encode(LoginRequest()), "", ("data_segment_length", "header", 5, 3)),
        ("ahs.length", command, "", ("total_ahs_length", "header", 4, 1)),
        ("ahs.length", RawPdu(command.bhs, bytes(8)), "", ("AHS", "AHS", 0, 8)),
    ]
    for rule, raw, message, wanted in cases:
        found = field_of_rule(rule, raw, message)
        assert found is not None, rule
        assert (found.name, found.part, found.offset, found.length) == wanted
    for rule in ("framing.reserved-bits", "framing.padding-not-zero", "digest.header", "digest.data", "no.such-rule"):
        assert field_of_rule(rule, encode(ScsiCommand())) is None
    assert field_of_rule("framing.reserved-bits", RawPdu(b"\x0f" + bytes(47))) is None
    assert field_of_rule("statsn.r2t", encode(ScsiCommand())) is None
    assert field_of_rule("framing.level-2-field", request) is None


def test_long_timelines_keep_both_ends():
    """The middle is left out."""
    moments = Moments()
    made = [
        model.Moment(time=float(index), frame=FrameRef(0, index), connection=None, kind="notice", what="")
        for index in range(3 * HALF)
    ]
    for moment in made:
        moments.add(moment)
    assert moments.all() == [*made[:HALF], *made[-HALF:]]
    assert merged([moments.all(), made[HALF : HALF + 1]]) == [*made[:HALF], *made[-HALF:]]


def test_latencies_within_five_percent():
    """Percentiles come from classes; the longest is exact."""
    latencies = Latencies()
    assert latencies.total() is None
    assert latencies.at(0.5) == 0.0
    for index in range(1, 1001):
        latencies.add(index / 1000)
    latencies.add(0.0)
    total = latencies.total()
    assert total is not None
    assert total.median == pytest.approx(0.5, rel=0.06)
    assert total.p99 == pytest.approx(0.99, rel=0.06)
    assert total.longest == 1.0


def test_time_that_goes_back_counts_for_the_current_bucket():
    """A capture may have packets out of the order of time."""
    series = Series(100.0)
    series.moved[1] += 5
    series.turn(101.0, 2)
    series.moved[1] += 7
    load = series.load(1, None)
    assert sum(load.bytes_in) == 12
    assert load.start == 100.0
    assert load.depth[-1] == 2


def test_endpoints_come_from_the_transport():
    """As the capture has them."""
    script = Script()
    script.records[0] = TransportRecord(
        1, 0.0, TransportEvent.CONNECTED, Endpoint("192.0.2.1", 1), Endpoint("2001:db8::2", 3260)
    )
    (connection,) = reviewed(script.ready().records).sessions[0].connections
    assert (connection.initiator, connection.target) == ("192.0.2.1:1", "[2001:db8::2]:3260")
    assert connection.opened.how == "SYN"
