"""What the review notes of PDUs that are not everyday ones: views of buffers, texts in parts, tags of nobody, windows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.captures.reviewing import advice, reviewed

from iscsi_captures.review import commands, watch
from iscsi_captures.review.commands import FEW_STEPS, Budget, Command
from iscsi_captures.review.schema import as_json
from iscsi_captures.review.watch import DETAILED, Watch
from iscsi_conformance.corpus.script import Script
from iscsi_protocol.history import Endpoint, PduRecord, TransportEvent, TransportRecord
from iscsi_protocol.pdu import NO_TAG
from iscsi_protocol.stream import Direction

PORTAL = Endpoint("192.0.2.9", 3260)
NAME = ("TargetName", "iqn.2026-01.com.example:target")


def long_dialogue() -> Script:
    """A long read, a write in many parts, an abort, a ping."""
    script = Script().ready(MaxRecvDataSegmentLength="512").read(512 * 80)
    for _ in range(80):
        script.data_in(512)
    script.write(512 * 80).r2t()
    for _ in range(80):
        script.data_out(512)
    script.response(exp_data_sn=0)
    script.nop_out().nop_in().read()
    return script.tmf(1, referenced_task_tag=script.task["itt"], ref_cmd_sn=script.cmd_sn - 1).tmf_response()


def test_parts_may_be_views():
    """What the reading hands out of a larger buffer is reviewed as bytes are."""
    plain = long_dialogue().records
    views = [
        replace(
            record, raw=replace(record.raw, bhs=memoryview(bytes(record.raw.bhs)), data=memoryview(record.raw.data))
        )
        if isinstance(record, PduRecord)
        else record
        for record in plain
    ]
    assert as_json(reviewed(views)) == as_json(reviewed(plain))


def test_steps_of_long_commands_are_bounded():
    """The first ones and the last are kept, and how many are not is told."""
    slow = [trace for trace in reviewed(long_dialogue().records).traces if trace.omitted]
    assert len(slow) == 2
    assert all(trace.steps[-1].label.startswith(("SCSI Data-In", "SCSI Response")) for trace in slow)


def test_data_and_answers_of_nobody():
    """Tags that stand for no command are passed over."""
    script = Script().ready().read()
    script.data_in(512, itt=99, final=True, status_present=True)
    script.response(itt=98).r2t(itt=97).data_out(512, itt=96, ttt=1).tmf_response(itt=95)
    (load,) = reviewed(script.records).loads
    assert sum(load.commands) == 0


def test_answer_that_ends_no_abort():
    """A command whose abort is refused goes on."""
    script = Script().ready().read()
    task = dict(script.task)
    script.tmf(1, referenced_task_tag=task["itt"], ref_cmd_sn=script.cmd_sn - 1).tmf_response(response=5)
    script.task = task
    review = reviewed(script.data_in().records)
    (trace,) = [trace for trace in review.traces if trace.reason == "aborted"]
    assert trace.status == "GOOD"


def test_abort_of_what_is_not_open():
    """It is advised on, and there is no trace."""
    review = reviewed(Script().ready().tmf(1, referenced_task_tag=77, ref_cmd_sn=5).tmf_response(response=1).records)
    assert advice(review, "command-timed-out")
    assert review.traces == []


@pytest.mark.parametrize("opener", ["response", "r2t", "nop_in"])
def test_window_opens_with_any_answer(opener):
    """Whatever the target sends may open it."""
    script = Script()
    script.login_request().login_response(max_cmd_sn=script.cmd_sn)
    script.write(4096)
    script.wait(3.0)
    if opener == "response":
        script.response(status=8)
    elif opener == "r2t":
        script.r2t()
    else:
        script.nop_in(itt=NO_TAG)
    (found,) = advice(reviewed(script.records), "window-closed")
    assert "4.000 s" in found.message


def test_window_that_stays_shut_is_not_told_before_it_opens():
    """Nobody knows for how long it will be."""
    script = Script()
    script.login_request().login_response(max_cmd_sn=script.cmd_sn)
    closed = script.cmd_sn
    script.read().wait(3.0).nop_in(itt=NO_TAG, max_cmd_sn=closed, exp_cmd_sn=closed + 1)
    assert advice(reviewed(script.records), "window-closed") == []


def test_addresses_in_several_text_responses():
    """A text that goes on is read when it is whole."""
    script = Script().discovery().text([("SendTargets", "All")], final=True)
    script.text_response([NAME], final=False, continued=True, ttt=5)
    script.text((), ttt=5, final=True, itt=script.task["itt"])
    script.text_response([("TargetAddress", "192.0.2.9:3260,1")], final=True, ttt=NO_TAG)
    attempt = [
        TransportRecord(2, 90.0, event, Endpoint("192.0.2.1", 5), PORTAL)
        for event in (TransportEvent.CONNECT, TransportEvent.TIMED_OUT)
    ]
    assert advice(reviewed([*script.records, *attempt]), "portal-silent")


def test_capacity_that_is_cut_short_tells_nothing():
    """Eight bytes are needed for one layout, twelve for the other."""
    for cdb, length in ((bytes([0x25]) + bytes(15), 4), (bytes([0x9E, 0x10]) + bytes(14), 8)):
        script = Script().ready().read(length, cdb=cdb).data_in(length, data=bytes(length - 1) + b"\7")
        assert advice(reviewed(script.records), "block-length") == []


def test_second_login_request_begins_no_second_attempt():
    """A login of several requests is one login."""
    script = Script().security([*_names()]).security_response().login_request(()).login_response()
    told = [moment for moment in reviewed(script.records).timeline if "logs in" in moment.what]
    assert len(told) == 1


def _names() -> tuple[tuple[str, str], ...]:
    return ("InitiatorName", "iqn.2026-01.com.example:initiator"), NAME


def test_login_that_is_not_finished():
    """Neither refused nor through."""
    (session,) = reviewed(Script().login_request().records).sessions
    assert session.connections[0].login == "unfinished"


def test_commands_of_all_connections_have_one_budget(monkeypatch):
    """Where it is used up, none is followed; where it is scarce, few of their PDUs are kept."""
    budget = Budget()
    first = Watch(1, 0.0, 1, "SYN", budget)
    budget.commands = 0
    first.begin(b"0001", Command(0.0, bytes(48), [(0.0, 1, bytes(48))]))
    assert first.open == {}
    budget.commands = 5
    command = Command(0.0, bytes(48), [(0.0, 1, bytes(48))])
    first.begin(b"0001", command)
    assert command.most == FEW_STEPS
    assert budget.commands == 4
    first.leave_all()
    assert budget.commands == 5
    monkeypatch.setattr(watch, "SCARCE", 0)
    later = Watch(DETAILED + 1, 0.0, 1, "SYN", budget)
    later.begin(b"0002", command)
    assert command.most == FEW_STEPS
    assert commands.FOLLOWED > commands.SCARCE


def test_finding_about_another_tag_marks_no_command():
    """Only its own is kept for it."""
    one = Watch(1, 0.0, 1, "SYN", Budget())
    one.found(b"none", 0)
    command = Command(0.0, bytes(48), [(0.0, 1, bytes(48))])
    one.begin(b"0001", command)
    one.end(b"0001", command, 1.0, "GOOD")
    one.found(b"0002", 0)
    assert command.findings == []
    one.found(b"0001", 0)
    one.found(b"0001", 1)
    assert command.findings == [0, 1]
    assert len(one.marked) == 1


def test_both_directions_of_a_close():
    """A FIN of each side: the first one is told as the end."""
    script = Script().ready().read()
    script.records += [
        TransportRecord(1, 50.0, TransportEvent.FIN, direction=Direction.TO_TARGET),
        TransportRecord(1, 51.0, TransportEvent.FIN, direction=Direction.TO_INITIATOR),
    ]
    (connection,) = reviewed(script.records).sessions[0].connections
    assert connection.closed is not None
    assert connection.closed.how == "FIN by the initiator"
