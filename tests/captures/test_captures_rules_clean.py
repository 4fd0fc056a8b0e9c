"""Dialogues that keep every rule give no finding, whole, from their middle, and cut off; and nothing ever raises."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iscsi_captures import rulebook
from iscsi_captures.rulebook import FINDINGS_PER_RULE, RuleBook
from iscsi_protocol.history import BytesRecord, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import NO_TAG, RawPdu
from iscsi_protocol.stream import Direction

CHAP = [("AuthMethod", "CHAP,None")]
ALL_KEYS = [
    ("HeaderDigest", "CRC32C,None"),
    ("DataDigest", "CRC32C,None"),
    ("MaxConnections", "1"),
    ("InitialR2T", "No"),
    ("ImmediateData", "Yes"),
    ("MaxRecvDataSegmentLength", "262144"),
    ("MaxBurstLength", "262144"),
    ("FirstBurstLength", "65536"),
    ("DefaultTime2Wait", "2"),
    ("DefaultTime2Retain", "0"),
    ("MaxOutstandingR2T", "1"),
    ("ErrorRecoveryLevel", "0"),
    ("IFMarker", "No"),
    ("OFMarker", "No"),
    ("DataPDUInOrder", "Yes"),
    ("DataSequenceInOrder", "Yes"),
    ("TaskReporting", "RFC3720,ResponseFence"),
    ("iSCSIProtocolLevel", "1"),
    ("InitiatorAlias", "an alias"),
    ("X#NodeArchitecture", "x86"),
    ("X-com.example.key", "1"),
    ("NewKey", "1"),
]
ANSWERS = [
    ("TargetPortalGroupTag", "1"),
    ("TargetAlias", "disk"),
    ("HeaderDigest", "CRC32C"),
    ("DataDigest", "None"),
    ("MaxConnections", "1"),
    ("InitialR2T", "Yes"),
    ("ImmediateData", "Yes"),
    ("MaxRecvDataSegmentLength", "8192"),
    ("MaxBurstLength", "65536"),
    ("FirstBurstLength", "Irrelevant"),
    ("DefaultTime2Wait", "5"),
    ("DefaultTime2Retain", "0"),
    ("MaxOutstandingR2T", "1"),
    ("ErrorRecoveryLevel", "0"),
    ("IFMarker", "Reject"),
    ("OFMarker", "No"),
    ("TaskReporting", "ResponseFence"),
    ("NewKey", "NotUnderstood"),
]


def login_without_security(s):
    return s.ready()


def login_in_two_stages(s):
    s.login_request(nsg=1, csg=0).login_response(csg=0, nsg=1)
    return s.login_request(()).login_response(())


def login_with_all_keys(s):
    names = [("InitiatorName", "iqn.2026-01.com.example:i"), ("TargetName", "iqn.2026-01.com.example:t")]
    return s.login_request([*names, *ALL_KEYS]).login_response(ANSWERS)


def login_with_chap(s):
    names = [("InitiatorName", "iqn.2026-01.com.example:i"), ("TargetName", "iqn.2026-01.com.example:t")]
    s.security([*names, *CHAP]).security_response([("TargetPortalGroupTag", "1"), ("AuthMethod", "CHAP")])
    s.security([("CHAP_A", "7,5")]).security_response([("CHAP_A", "5"), ("CHAP_I", "42"), ("CHAP_C", "0x" + "ab" * 16)])
    s.login_request(
        [("CHAP_N", "user"), ("CHAP_R", "0x" + "cd" * 16), ("CHAP_I", "3"), ("CHAP_C", "0bAAECAwQFBgcICQoLDA0ODw==")],
        csg=0,
        nsg=1,
    ).login_response([("CHAP_N", "disk"), ("CHAP_R", "0x" + "ef" * 16)], csg=0, nsg=1)
    return s.login_request([("HeaderDigest", "None")]).login_response([("HeaderDigest", "None")])


def login_with_a_key_a_time(s):
    s.operational([("InitiatorName", "iqn.2026-01.com.example:i"), ("TargetName", "iqn.2026-01.com.example:t")])
    s.operational_response([("TargetPortalGroupTag", "1"), ("MaxBurstLength", "4096")])
    s.operational([("MaxBurstLength", "2048")]).operational_response()
    return s.login_request(()).login_response(())


def login_in_pieces(s):
    s.operational(data=b"InitiatorName=iqn.2026-01.com.exa", continued=True).operational_response()
    s.operational(data=b"mple:i\0TargetName=iqn.2026-01.com.example:t\0")
    s.operational_response(data=b"TargetPortal", continued=True)
    s.operational().operational_response(data=b"GroupTag=1\0")
    return s.login_request(()).login_response(())


def refused_login(s):
    return s.login_request().login_response((), status_class=2, status_detail=1, transit=False, nsg=0, csg=0)


def redirected_login(s):
    return s.login_request().login_response(
        [("TargetAddress", "[2001:db8::1]:3260")], status_class=1, status_detail=2, transit=False, nsg=0, csg=0
    )


def discovery(s):
    answer = [
        ("TargetName", "iqn.2026-01.com.example:t"),
        ("TargetAddress", "192.0.2.1:3260,1"),
        ("TargetAddress", "h,0"),
    ]
    s.discovery().text([("SendTargets", "All")]).text_response(answer)
    return s.logout(0, cid=0).logout_response().transport(TransportEvent.FIN)


def long_discovery(s):
    s.discovery().text([("SendTargets", "All")], itt=9)
    s.text_response([("TargetName", "iqn.2026-01.com.example:t")], final=False, ttt=5, lun=bytes(8))
    s.text((), itt=9, ttt=5).text_response([("TargetAddress", "192.0.2.1,1")])
    s.text([("SendTargets", "iqn.2026-01.com.example:t")])
    s.text_response(data=b"TargetName=iqn.2026", continued=True, final=False, ttt=6)
    return s.text((), itt=s.task["itt"], ttt=6).text_response(data=b"-01.com.example:t\0")


def transfers(s):
    s.command().response()
    s.command().check_condition()
    s.command(expected_data_transfer_length=0, attribute=0, final=True).response(status=8)
    s.read(8192).data_in(4096, final=False, status_present=False).data_in(4096)
    s.read(8192).data_in(8192, final=True, status_present=False).response()
    s.read(8192).data_in(4096, status_present=True, final=True, underflow=True, residual_count=4096)
    s.read(4096).data_in(4096, status_present=True, final=True, overflow=True, residual_count=512)
    s.read(4096).response(underflow=True, residual_count=4096)
    s.read(4096).check_condition(underflow=True, residual_count=4096)
    s.both(512, 512).r2t().data_out(512).data_in(512, data_sn=1, status_present=False, final=True)
    s.task["in_sn"] = 1
    return s.response()


def keys_of(initial_r2t: str, immediate_data: str):
    return {
        "InitialR2T": initial_r2t,
        "ImmediateData": immediate_data,
        "FirstBurstLength": "4096",
        "MaxBurstLength": "8192",
    }


def writes(initial_r2t: str, immediate_data: str):
    """Writes with all the unsolicited data that the two keys allow, and with none."""

    def dialogue(s):
        s.ready(**keys_of(initial_r2t, immediate_data))
        immediate = 1024 if immediate_data == "Yes" else 0
        s.write(12288).r2t(8192).data_out(4096).data_out(4096).r2t(4096).data_out(4096).response()
        s.write(2048, immediate)
        if immediate < 2048:
            s.r2t().data_out(2048 - immediate)
        s.response()
        if immediate:
            s.write(1024, 1024).response()
            s.write(4096, 1024).r2t().data_out(3072).response()
        if initial_r2t == "No":
            s.write(12288, immediate, final=False)
            s.data_out(2048 - immediate).data_out(2048, final=True)
            s.r2t(8192).data_out(8192).response()
            s.write(2048, immediate, final=False).data_out(2048 - immediate).response()
        return s

    dialogue.__name__ = f"writes_with_initial_r2t_{initial_r2t}_immediate_data_{immediate_data}".lower()
    return dialogue


def several_r2ts(s):
    s.ready(MaxOutstandingR2T="2", MaxBurstLength="4096")
    s.write(8192).r2t(4096)
    first = dict(s.task)
    s.r2t(4096, buffer_offset=4096)
    second = dict(s.task)
    s.task = first
    s.data_out(4096)
    s.task = second
    return s.data_out(4096).response()


def task_management(s):
    s.ready().read(4096)
    s.tmf(1, referenced_task_tag=s.task["itt"], ref_cmd_sn=s.cmd_sn - 1).tmf_response()
    s.tmf(5).tmf_response()
    s.tmf(6, lun=bytes(8)).tmf_response(response=5)
    s.write(4096).tmf(2).tmf_response(response=255)
    s.task = s.former
    return s.r2t().data_out(4096).response()


def pings(s):
    s.ready().nop_out(data=b"hello").nop_in(data=b"hello")
    s.nop_out(immediate=True).nop_in()
    s.nop_in(itt=NO_TAG).nop_in(itt=NO_TAG, ttt=9, lun=b"\0\1" + bytes(6))
    return s.nop_out(itt=NO_TAG, ttt=9, lun=b"\0\1" + bytes(6)).nop_out(itt=NO_TAG)


def asynchronous(s):
    s.ready().asynchronous(0, data=b"\0\0").asynchronous(1, parameter3=5)
    return s.logout(1).logout_response().transport(TransportEvent.FIN).transport(TransportEvent.CLOSED_BY_US)


def parameters_in_full_feature(s):
    s.ready().text([("MaxRecvDataSegmentLength", "65536")]).text_response([("MaxRecvDataSegmentLength", "32768")])
    s.read(65536).data_in(65536)
    return s.text([("SendTargets", "")]).text_response([("TargetName", "iqn.2026-01.com.example:target")])


def two_connections(s):
    s.ready(MaxConnections="2").read().data_in()
    s.cid = 1
    s.connect(2).login_request().login_response()
    s.read().data_in().on(1).write(4096).r2t().data_out(4096).response()
    s.on(2).command().response()
    s.on(1).logout(1, cid=0).logout_response()
    return s.on(2).command().response()


def rejected_and_sent_again(s):
    s.ready(HeaderDigest="CRC32C", DataDigest="CRC32C").write(4096, 512)
    s.reject(2)
    s.write(4096, 512, itt=s.task["itt"])
    return s.r2t().data_out(3584).response()


def errors_asked_for_again(s):
    s.ready(ErrorRecoveryLevel="1").read(8192).data_in(4096, final=False, status_present=False)
    s.snack(0, itt=s.task["itt"], lun=bytes(8), beg_run=0, run_length=1)
    s.task |= {"in": 0, "in_sn": 0}
    s.data_in(4096, final=False, status_present=False).data_in(4096, acknowledge=True, ttt=3)
    s.snack(2, ttt=3, beg_run=2)
    return s.command().response()


def reinstated_session(s):
    s.ready().read()
    s.connect(2)
    s.tsih = 0
    s.login_request().login_response(tsih=8)
    return s.command().response()


DIALOGUES = [
    login_without_security,
    login_in_two_stages,
    login_with_all_keys,
    login_with_chap,
    login_with_a_key_a_time,
    login_in_pieces,
    refused_login,
    redirected_login,
    discovery,
    long_discovery,
    lambda s: transfers(s.ready()),
    *(writes(one, other) for one in ("Yes", "No") for other in ("Yes", "No")),
    several_r2ts,
    task_management,
    pings,
    asynchronous,
    parameters_in_full_feature,
    two_connections,
    rejected_and_sent_again,
    errors_asked_for_again,
    reinstated_session,
]


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_clean_dialogue_gives_no_finding(dialogue, script):
    """Both sides keep every rule, and the rule book agrees."""
    assert [(f.rule, f.message) for f in dialogue(script).findings()] == []


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_a_clean_dialogue_seen_from_anywhere_gives_no_finding(dialogue, script):
    """Where the history starts in the middle the rule book stays silent about what it has not seen."""
    records = dialogue(script).records
    for start in range(1, len(records)):
        book = RuleBook()
        for record in records[start:]:
            book.record(record)
        assert [(start, f.rule, f.message) for f in book.findings] == []


@pytest.mark.parametrize("dialogue", DIALOGUES)
def test_digests_change_nothing(dialogue, script):
    """PDUs with right digests are judged as those without."""
    book = RuleBook()
    for record in dialogue(script).records:
        if isinstance(record, PduRecord):
            record = PduRecord(
                record.connection, record.time, record.direction, record.raw.with_digests(header=True, data=True)
            )
        book.record(record)
    assert book.findings == []


MIXED = (
    login_with_chap,
    login_with_all_keys,
    discovery,
    task_management,
    pings,
    two_connections,
    errors_asked_for_again,
)


def base_histories(make):
    """One history of each kind, made once."""
    histories = [dialogue(make()) for dialogue in (*MIXED, writes("No", "Yes"))]
    return [history.records for history in [*histories, transfers(make().ready())]]


@st.composite
def mutations(draw):
    """Which record of a history, and what becomes of it."""
    kind = draw(st.sampled_from(["byte", "word", "data", "drop", "repeat", "swap", "turn", "mark", "junk", "padding"]))
    return kind, draw(st.integers(0, 1 << 16)), draw(st.integers(0, 47)), draw(st.integers(0, 255))


def mutated(records, changes):
    """The history with these changes; transport records stay."""
    records = list(records)
    for kind, number, place, value in changes:
        index = number % len(records)
        record = records[index]
        if not isinstance(record, PduRecord):
            continue
        raw = record.raw.kept()
        if kind == "drop":
            del records[index]
            continue
        if kind in ("repeat", "swap", "junk"):
            other = (
                BytesRecord(record.connection, record.time, record.direction, b"junk", "lost")
                if kind == "junk"
                else record
            )
            records.insert(index if kind != "swap" else max(index - 1, 0), other)
            if kind == "swap":
                del records[index + 1]
            continue
        if kind == "byte":
            raw = raw.with_bytes(place, bytes([value]))
        elif kind == "word":
            place &= ~3
            number = int.from_bytes(raw.bhs[place : place + 4], "big") + (value - 128)
            raw = raw.with_bytes(place, (number & 0xFFFFFFFF).to_bytes(4, "big"))
        elif kind == "data":
            raw = RawPdu(
                raw.bhs, raw.ahs, bytes(raw.data[:value]) + bytes([value]) + bytes(raw.data[value + 1 :]), raw.padding
            )
        elif kind == "mark":
            raw.header_digest_error, raw.data_digest_error = bool(value & 1), bool(value & 2)
        elif kind == "padding":
            raw.padding = bytes([value] * (value & 3))
        direction = record.direction if kind != "turn" else Direction(1 - record.direction)
        records[index] = PduRecord(record.connection, record.time, direction, raw)
    return records


def judged(records):
    """What the rule book finds, as comparable rows."""
    book = RuleBook()
    for record in records:
        book.record(record)
    return [(f.rule, f.index, f.role, f.message) for f in book.findings]


@given(changes=st.lists(mutations(), max_size=6), which=st.integers(0, 8))
def test_no_mutation_raises_and_the_quick_way_agrees_with_the_long_one(changes, which, script_class):
    """Whatever happens to a dialogue, the rule book judges it, and with the quick tests as without them."""
    records = mutated(base_histories(script_class)[which], changes)
    quick = judged(records)
    with patch.object(rulebook, "is_plain", lambda connection: False):
        assert judged(records) == quick


@given(
    st.lists(
        st.tuples(st.sampled_from(Direction), st.binary(min_size=48, max_size=48), st.binary(max_size=64)), max_size=30
    )
)
def test_arbitrary_pdus_never_raise(pdus):
    """Headers that mean nothing, in any order, are judged or passed over."""
    book = RuleBook()
    book.record(TransportRecord(1, 0.0, TransportEvent.CONNECTED))
    for direction, header, data in pdus:
        book.record(PduRecord(1, 0.0, direction, RawPdu(header, data=data)))
    assert {finding.role for finding in book.findings} <= {"initiator", "target"}


def test_the_quick_tests_do_the_work_of_a_clean_run(script):
    """Reads and writes that keep every rule never take the long way."""
    script.ready(InitialR2T="No", MaxBurstLength="8192", FirstBurstLength="4096")
    before = len(script.records)
    script.read(8192).data_in(4096, final=False, status_present=False).data_in(4096)
    script.write(8192, 1024, final=False).data_out(3072, final=True).r2t(4096).data_out(4096).response()
    script.command().response()
    book = RuleBook()
    for record in script.records[:before]:
        book.record(record)
    with patch.object(RuleBook, "_judge", side_effect=AssertionError("the long way")):
        for record in script.records[before:]:
            book.record(record)
    assert book.findings == []


def test_findings_of_one_rule_are_bounded(script):
    """A rule broken without end keeps its first findings and counts the rest."""
    script.ready()
    for _ in range(FINDINGS_PER_RULE + 5):
        script.command(attribute=7).response()
    book = RuleBook()
    for record in script.records:
        book.record(record)
    assert len(book.findings) == FINDINGS_PER_RULE
    assert book.counts["command.reserved-attribute"] == FINDINGS_PER_RULE + 5


def test_a_finding_tells_where_and_what(script):
    """The finding names the record, the connection, the moment, the sides and the bytes."""
    script.ready().command(attribute=6)
    (finding,) = script.findings()
    assert (finding.rule, finding.clause, finding.level) == ("command.reserved-attribute", "R7143-11-04", "MUST")
    assert (finding.role, finding.connection, finding.index, finding.time) == ("initiator", 1, 3, 3.0)
    assert finding.pdu == script.records[3].raw
    assert finding.message == "task attribute 6 is reserved"


def test_connections_that_are_closed_are_forgotten(script):
    """Memory does not grow with the number of connections that came and went."""
    book = RuleBook()
    for number in range(1, 50):
        script.connect(number)
        script.tsih = 0
        script.ready().read().transport(TransportEvent.FIN).transport(TransportEvent.FIN)
    for record in script.records:
        book.record(record)
    assert book.findings == []
    assert book._connections == {}


def test_bytes_that_are_no_pdus_silence_what_leans_on_order(script):
    """After lost framing nobody is blamed for numbers."""
    script.ready().junk().command(cmd_sn=5).response(stat_sn=1)
    assert {finding.rule for finding in script.findings()} == {"statsn.scsi-response"}
