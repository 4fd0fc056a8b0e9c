"""Which requirements and status codes are proven: for these the case passes on the clean bundled peer and fails, citing the
requirement or the code, on the fault that breaks it.

`proof.json` lists the pairs that the proof run saw; the proof tests hold it against the case table and against themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files

import msgspec

from iscsi_conformance.bundled import bundled_profile
from iscsi_conformance.case import Case
from iscsi_conformance.environments import EnvironmentSpec, open_environment
from iscsi_conformance.execute import Options, run_case
from iscsi_conformance.faults import fault_of
from iscsi_conformance.judge import RuleBookJudge
from iscsi_conformance.recorder import Recorder
from iscsi_conformance.result import CaseResult
from iscsi_conformance.verdict import Verdict
from iscsi_conformance.virtual import run_virtual
from iscsi_protocol.fault import NamedFault
from iscsi_protocol.history import Tap

PROOF_FILE = "data/proof.json"


class NotProven(AssertionError):
    """A case that does not behave as the proof wants; the message says on which fault and how."""


def run_in_memory(case: Case, fault: NamedFault | None = None, *listeners: Tap) -> CaseResult:
    """One case against the bundled peer on the virtual clock, with a fault or without; listeners get its history."""
    return run_virtual(_run(case, fault, listeners))


async def _run(case: Case, fault: NamedFault | None, listeners: Sequence[Tap]) -> CaseResult:
    spec = EnvironmentSpec(kind="memory", profile=bundled_profile())
    async with open_environment(spec, fault=fault, role=case.role) as environment:
        options = Options(destructive=True, judge=RuleBookJudge)
        result = await run_case(case, environment, options, Recorder(*listeners))
    result.fault = fault.id if fault else None
    return result


def check_clean(case: Case) -> None:
    """The case passes on the clean bundled peer, and the rule book finds nothing against that. Raises NotProven."""
    result = run_in_memory(case)
    if result.verdict is not Verdict.PASS:
        notes = "\n".join(result.evidence.notes)
        raise NotProven(f"{case.id}: {result.verdict} on the clean bundled peer: {result.reason}\n{notes}")
    for finding in result.evidence.findings:
        raise NotProven(f"{case.id}: {finding.rule} is found on the clean bundled peer: {finding.message}")


def check_clause(case: Case, clause: str) -> None:
    """The case fails on the clause's fault, and cites the clause. Raises NotProven."""
    _check_cites(case, fault_of(case.role, case.clauses[clause]), clause)


def _check_cites(case: Case, fault: NamedFault, clause: str) -> None:
    result = run_in_memory(case, fault)
    if result.verdict not in (Verdict.FAIL, Verdict.WARN):
        notes = "\n".join(result.evidence.notes)
        raise NotProven(f"{case.id}: {result.verdict} with {fault.id}, FAIL was due: {result.reason}\n{notes}")
    if clause not in result.evidence.failed:
        cited = ", ".join(result.evidence.failed)
        raise NotProven(f"{case.id}: fails with {fault.id}, but on {cited} and not on {clause}: {result.reason}")


def check_code(case: Case, code: str) -> None:
    """The case fails where another code is told, and cites the code. Raises NotProven."""
    _check_cites(case, fault_of(case.role, case.proven_codes[code]), code)


def check_proof(case: Case, fault_id: str) -> None:
    """The case fails on one of its further faults. Raises NotProven."""
    result = run_in_memory(case, fault_of(case.role, fault_id))
    if result.verdict not in (Verdict.FAIL, Verdict.WARN):
        notes = "\n".join(result.evidence.notes)
        raise NotProven(f"{case.id}: {result.verdict} with {fault_id}, FAIL was due: {result.reason}\n{notes}")


def provable(case: Case) -> list[str]:
    """What a case may prove: its requirements, then its status codes."""
    return [*case.clauses, *case.proven_codes]


def proven_of(cases: Mapping[str, Case]) -> dict[str, tuple[str, ...]]:
    """Case id to the requirements and status codes proven for it, as the shipped list has them and the case table still
    names them.
    """
    text = files("iscsi_conformance").joinpath(PROOF_FILE).read_bytes()
    listed = msgspec.json.decode(text, type=dict[str, list[str]])
    return {
        case_id: tuple(each for each in clauses if each in provable(cases[case_id]))
        for case_id, clauses in listed.items()
        if case_id in cases
    }
