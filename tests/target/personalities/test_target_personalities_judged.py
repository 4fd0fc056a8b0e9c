"""What judges say of personalities: the cases that their faults prove fail, and what is only unusual has no finding."""

from __future__ import annotations

import random

import pytest
from tests.target.personalities.conftest import BLOCK

from iscsi_conformance.case import load_cases
from iscsi_conformance.proof import run_in_memory
from iscsi_conformance.verdict import Verdict
from iscsi_initiator.client.errors import RequestFailed
from iscsi_initiator.settings import REQUIRE_DIGEST, Settings
from iscsi_protocol.fault import NamedFault, Side
from iscsi_target.personalities import personality
from iscsi_target.personalities.apply import faults_of, switches_of

SHORT = Settings(max_recv_data_segment_length=4096, max_burst_length=8192, first_burst_length=4096, initial_r2t=False)
LAWFUL = ["strict", "lenient", "equallogic-like", "freebsd-like", "lio-like", "synology-like", "windows-cluster"]
"""Those whose good-weather I/O keeps to the standard; the tolerance of the lenient one does not show there."""


def proven(name):
    """Case, requirement: what the named faults of a personality break."""
    ids = {fault_id for quirk in personality(name).quirks for fault_id in quirk.faults}
    return [
        (name, case.id, clause)
        for case in load_cases().values()
        for clause, fault_id in case.clauses.items()
        if fault_id in ids
    ]


def as_one_fault(name):
    imitated = personality(name)
    return NamedFault(
        id=f"personality.{name}",
        side=Side.TARGET,
        says=imitated.says,
        faults=tuple(faults_of(imitated)),
        policy=switches_of(imitated),
    )


PAIRS = [*proven("lenient"), *proven("tgt-like")]


def test_enough_cases_are_concerned():
    assert len(PAIRS) > 40


@pytest.mark.parametrize(("name", "case_id", "clause"), PAIRS)
def test_the_suite_fails_where_a_fault_is(name, case_id, clause):
    """All faults and switches of the personality at once: each case fails for the requirement that its own fault breaks."""
    result = run_in_memory(load_cases()[case_id], as_one_fault(name))
    assert result.verdict in (Verdict.FAIL, Verdict.WARN)
    assert clause in result.evidence.failed


@pytest.mark.parametrize("name", ["lenient", "tgt-like"])
def test_key_names_in_any_case_fail_the_suite(name):
    result = run_in_memory(load_cases()["keys.names-are-case-sensitive"], as_one_fault(name))
    assert result.verdict is Verdict.FAIL


async def work(served, **wish):
    client = await served.client(settings=SHORT, **wish)
    data = random.Random(7).randbytes(100 * BLOCK)
    await client.write(3, data)
    assert await client.read(3, 100) == data
    await client.ping(b"still there?")
    await client.logout()


@pytest.mark.parametrize("name", LAWFUL)
def test_unusual_is_not_wrong(imitate, name):
    """The rule book finds nothing in a session with short bursts and segments."""

    async def test(served):
        await work(served, **({"header_digest": REQUIRE_DIGEST} if name == "strict" else {}))
        assert served.judge.findings("target") == []

    imitate(name, test)


def test_tgt_is_found_out(imitate):
    """Data-In beyond MaxBurstLength: the rule book says so, and the bundled initiator fails the read and no more."""

    async def test(served):
        with pytest.raises(RequestFailed, match="broke the protocol"):
            await work(served)
        assert "R7143-11.7.1-03" in {row.clause for row in served.judge.findings("target")}

    imitate("tgt-like", test)
