"""Recovery that goes well, of which only its cause is found."""

from __future__ import annotations

from iscsi_conformance.corpus.recovery import (
    FIRST,
    PART,
    STATUS,
    TTT,
    confirmed,
    damaged,
    level_1,
    mangled,
    reading,
    spoilt,
)
from iscsi_conformance.corpus.script import DIGESTS
from iscsi_protocol.pdu import NO_TAG


def found(s):
    """What the rule book says."""
    return [(finding.rule, finding.role) for finding in s.findings()]


def test_a_damaged_request_is_rejected_and_comes_again(script):
    """Of a request with a wrong data digest only that is found, where both sides recover as they have to."""
    damaged(script).reject(2)
    script.write(512, 512, itt=1).response()
    assert found(script.logout().logout_response()) == [("digest.data", "initiator")]


def test_a_damaged_header_is_dropped(script):
    """Of a request with a wrong header digest only that is found, where the target drops it."""
    damaged(script, mangled).nop_in(itt=NO_TAG, exp_cmd_sn=FIRST, max_cmd_sn=FIRST + 32)
    assert found(script.write(512, 512, itt=1, cmd_sn=FIRST).response()) == [("digest.header", "initiator")]


def test_damaged_data_is_asked_for_by_a_recovery_r2t(script):
    """A Data-Out with a wrong data digest is rejected, and its data asked for anew."""
    level_1(script, **DIGESTS).write(8192).r2t().data_out(4096, edit=spoilt).reject(2).data_out(4096)
    script.r2t(4096, buffer_offset=0).data_out().response()
    assert found(script) == [("digest.data", "initiator")]


def test_damaged_data_that_came_unasked_is_asked_for_before_the_rest(script):
    """The recovery R2T lies within what the initiator sent unasked; the next one goes on behind all of that."""
    level_1(script, **DIGESTS, InitialR2T="No", ImmediateData="No", FirstBurstLength="4096").write(8192, final=False)
    script.data_out(2048, ttt=NO_TAG, final=False, edit=spoilt).reject(2).data_out(2048, ttt=NO_TAG)
    script.r2t(2048, buffer_offset=0).data_out(2048).r2t(4096, buffer_offset=4096).data_out(4096).response()
    assert found(script) == [("digest.data", "initiator")]


def test_an_aborted_command_that_comes_damaged_still_counts_as_received(script):
    """ABORT TASK fills the place of a damaged command (7.11), whatever comes later under its number."""
    damaged(script).reject(2)
    script.tmf(1, referenced_task_tag=1, ref_cmd_sn=FIRST, cmd_sn=FIRST + 1)
    request = script.task
    script.write(512, 512, itt=1, cmd_sn=FIRST, edit=spoilt)
    script.task, script.cmd_sn = request, FIRST + 1
    script.tmf_response()
    assert set(found(script)) == {("digest.data", "initiator")}


def test_a_damaged_command_is_not_acknowledged(script):
    """The target has nothing of a request with a wrong data digest, so that ExpCmdSN stays below it."""
    damaged(script).reject(2)
    script.nop_in(itt=NO_TAG, exp_cmd_sn=FIRST + 1)
    assert found(script) == [("digest.data", "initiator"), ("cmdsn.hole-acknowledged", "target")]


def test_data_that_is_seen_only_as_sent_again_may_be_acknowledged(script):
    """The first copy of the Data-In with A was lost where the history does not see it."""
    reading(level_1(script), 1).data_in(4096, data_sn=2, buffer_offset=8192, **PART)
    script.snack(0, itt=script.task["itt"], beg_run=1, run_length=1)
    script.data_in(4096, data_sn=1, buffer_offset=4096, **PART | TTT).snack(2, ttt=3, beg_run=3)
    assert [each for each in found(script) if each[1] == "initiator"] == []


def test_a_damaged_status_comes_again(script):
    """A response with a wrong data digest is not acknowledged but asked for."""
    level_1(script, **DIGESTS).command().check_condition(edit=spoilt).snack(1, exp_stat_sn=STATUS).again()
    assert found(confirmed(script)) == [("digest.data", "target")]
