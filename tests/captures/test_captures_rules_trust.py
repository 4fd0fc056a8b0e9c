"""No side is blamed for what follows from the other's violation, and findings of form are not silenced by it."""

from __future__ import annotations

import pytest

from iscsi_protocol.pdu import NO_TAG
from iscsi_protocol.stream import Direction

ABOVE_WINDOW = 900
REFUSED = {"status_class": 2, "status_detail": 0, "transit": False, "nsg": 0, "csg": 0}
NAMES = [("InitiatorName", "iqn.2026-01.com.example:initiator"), ("TargetName", "iqn.2026-01.com.example:target")]


def blamed(script, role):
    """The rules that this role broke, by the rule book's word."""
    return [finding.rule for finding in script.findings() if finding.role == role]


def missing_command_aborted(s):
    """ABORT TASK for a command that never came fills its place (7.11)."""
    s.ready().command(cmd_sn=101).tmf(1, referenced_task_tag=77, ref_cmd_sn=100, cmd_sn=102)
    s.former, s.task = s.task, s.former
    s.tmf_response(itt=s.former["itt"], exp_cmd_sn=102)
    return s.response(exp_cmd_sn=102)


STIMULI = {
    "a command above the window is passed over": lambda s: s.ready().command(cmd_sn=ABOVE_WINDOW).nop_in(itt=NO_TAG),
    "a duplicate is passed over": lambda s: (
        s.ready().command().response().command(cmd_sn=100).nop_in(itt=NO_TAG, exp_cmd_sn=101)
    ),
    "a missing command is aborted": missing_command_aborted,
    "a tag in use is rejected": lambda s: s.ready().command(itt=5).command(itt=5).reject().response(itt=5),
    "data with a wrong digest is asked for anew": lambda s: (
        digest_error(s.ready(ErrorRecoveryLevel="1").write().r2t()).reject(2).r2t(buffer_offset=0)
    ),
    "a command with a wrong digest counts as not received": lambda s: digest_error(s.ready(), command=True).reject(
        2, exp_cmd_sn=100
    ),
    "too much unsolicited data ends in an early error": lambda s: (
        s.ready(InitialR2T="No", FirstBurstLength="512")
        .write(4096, final=False)
        .data_out(1024, final=False)
        .check_condition()
    ),
    "data for no R2T is answered at once": lambda s: s.ready().write().r2t().data_out(ttt=99).check_condition(),
    "an unknown opcode is rejected": lambda s: (
        s.ready().command(edit=lambda raw: raw.with_bytes(0, b"\x1f")).reject(5, exp_cmd_sn=100)
    ),
    "login text that is none is refused": lambda s: s.login_request(data=b"nonsense").login_response((), **REFUSED),
    "a login without names is refused": lambda s: s.login_request([]).login_response(
        (), **REFUSED | {"status_detail": 7}
    ),
    "a key said twice is refused": lambda s: s.login_request([*NAMES, NAMES[0]]).login_response((), **REFUSED),
    "an answer out of bounds": lambda s: (
        s.operational(NAMES)
        .operational_response([("TargetPortalGroupTag", "1"), ("MaxBurstLength", "512")])
        .login_request([("MaxBurstLength", "1024")])
        .login_response((), **REFUSED)
    ),
    "a stage that is none is refused": lambda s: s.login_request(csg=2).login_response((), **REFUSED),
    "a request before login is answered by 020b": lambda s: (
        s.security(NAMES)
        .security_response([("TargetPortalGroupTag", "1")])
        .nop_out()
        .login_response((), **REFUSED | {"status_detail": 11})
    ),
    "bytes that are no PDU": lambda s: s.ready().junk().command(cmd_sn=3).r2t(4, itt=99).data_in(4, itt=98),
}


def digest_error(s, command=False):
    """A Data-Out, or a write with immediate data, whose data digest is wrong."""

    def spoil(raw):
        raw = raw.with_digests(header=True, data=True)
        raw.data_digest_error = True
        return raw

    return s.write(512, 512, edit=spoil) if command else s.data_out(edit=spoil)


@pytest.mark.parametrize("stimulus", STIMULI)
def test_the_target_is_not_blamed_for_the_initiator(stimulus, script):
    """The initiator breaks a rule on purpose, the target does what it has to, and nothing is said against it."""
    assert blamed(STIMULI[stimulus](script), "target") == []


ANSWERS = {
    "a status that was never sent": lambda s: s.ready().command().response(stat_sn=1050).command(exp_stat_sn=1051),
    "an acknowledgement too far": lambda s: (
        s.ready().command().response(exp_cmd_sn=120, max_cmd_sn=150).command(cmd_sn=101)
    ),
    "an R2T too long": lambda s: s.ready(MaxBurstLength="4096").write(8192).r2t(8192).data_out(8192),
    "an R2T for nothing": lambda s: s.ready().read().r2t(4, buffer_offset=0, ttt=3).data_out(4, ttt=3),
    "an answer above the offer": lambda s: (
        s.login_request([*NAMES, ("FirstBurstLength", "512")])
        .login_response([("TargetPortalGroupTag", "1"), ("FirstBurstLength", "8192")])
        .write(8192, 8192)
    ),
    "two answers to one Text Request": lambda s: (
        s.ready()
        .text([("MaxRecvDataSegmentLength", "512")], itt=9)
        .text_response(final=False, ttt=0)
        .text_response()
        .text(itt=9, ttt=0)
    ),
    "a transition that was not asked for": lambda s: s.operational(NAMES).login_response().command(),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_initiator_is_not_blamed_for_the_target(answer, script):
    """The target breaks a rule, the initiator goes by what it was told, and nothing is said against it."""
    found = ANSWERS[answer](script)
    assert blamed(found, "target") != []
    assert blamed(found, "initiator") == []


def test_form_is_judged_in_spite_of_the_other_side(script):
    """After the initiator went astray the target still has to count its StatSN and to keep reserved bits 0."""
    script.ready().command(cmd_sn=ABOVE_WINDOW).command(cmd_sn=ABOVE_WINDOW)
    script.nop_in(itt=NO_TAG, stat_sn=5).response(overflow=True, underflow=True)
    assert {"statsn.nop-in", "residual.both-flags"} <= set(blamed(script, "target"))


def test_a_violation_in_one_task_leaves_the_others_judged(script):
    """Too much data for one command says nothing about the next."""
    script.ready().write().r2t().data_out(4100).check_condition()
    script.read(8192).data_in(4096, data_sn=3)
    assert blamed(script, "target") == ["datain.data-sn"]


def test_another_connection_stays_judged(script):
    """What goes wrong in one login does not touch the session of another."""
    script.login_request([]).login_response((), **REFUSED)
    script.connect(2).ready().read(8192).data_in(4096, data_sn=3)
    assert blamed(script, "target") == ["datain.data-sn"]


def test_a_pdu_in_the_wrong_direction_is_its_senders_fault(script):
    """Who sends the other side's opcode is blamed once, and the other side not at all."""
    script.ready().command().response(to=Direction.TO_TARGET).response(stat_sn=1001)
    assert blamed(script, "initiator") == ["framing.target-opcode"]
    assert blamed(script, "target") == []
