"""What rows of event cases may say beyond what most of them do: rules that their setting breaks, connections that come up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from iscsi_conformance.case import load_cases
from iscsi_conformance.cases.initiator.events.services import _CRYPTO
from iscsi_conformance.events import EventCase, Then
from iscsi_conformance.events.catalogue import name_of
from iscsi_conformance.events.play import perform
from iscsi_conformance.proof import run_in_memory
from iscsi_conformance.stimulus import answer, damaged, request
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.fault import Drop, Part
from iscsi_protocol.pdu import Opcode

SHA_256 = "event.37.sha-256-left"


def run(row):
    """A row in the place of a shipped case."""

    async def played(scene):
        await perform(scene, row)

    return run_in_memory(
        replace(load_cases()["event.2.one-session"], function=played, events=tuple(map(name_of, row.logged)))
    )


def test_a_rule_that_the_setting_breaks_counts_where_it_is_not_excused():
    case = load_cases()[SHA_256]
    assert case.excused == ("chap.md5-not-offered",)
    assert [row.excused for row in _CRYPTO if row.case_id == SHA_256] == [case.excused]
    assert run_in_memory(case).evidence.findings == []
    (finding,) = run_in_memory(replace(case, excused=())).evidence.findings
    assert finding.rule == "chap.md5-not-offered"


@pytest.mark.parametrize(
    "fault", [answer(0x20, Drop(), cid=3), request(0x01, Drop(), cid=3), damaged(0x20, Part.BHS, cid=3)]
)
def test_what_the_target_does_can_be_for_one_connection(fault):
    assert fault.when.cid == 3


@pytest.mark.parametrize(("joining", "verdict"), [(1, Verdict.PASS), (2, Verdict.FAIL)])
def test_connections_that_do_not_come_up_are_seen(joining, verdict):
    row = EventCase(
        event=45,
        name="row",
        says="A row.",
        spoils=(answer(Opcode.LOGIN_RESPONSE, Drop(), times=0, cid=1),),
        connections=2,
        spoilt=2,
        joining=joining,
        logged=(45,),
        then=Then.GOES_ON,
    )
    result = run(row)
    assert result.verdict is verdict, result.reason
    assert ("connections come up" in result.reason) is (joining == 2)
