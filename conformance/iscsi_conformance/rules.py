"""What the rule book found in the histories of a run, as one result a rule: broken rules stand beside the cases.

A product that breaks a rule in every login would otherwise fail every case for the same reason, and hide all others.
"""

from __future__ import annotations

from collections.abc import Iterable

from iscsi_captures.catalogue import Level, requirements
from iscsi_conformance.result import CaseResult, Evidence, FindingRow
from iscsi_conformance.verdict import Verdict

PREFIX = "rule."


def broken_rules(results: Iterable[CaseResult]) -> list[CaseResult]:
    """A result for each rule that was broken against a requirement which is not the case's own, in the order of the rules.

    Its dialogue and capture are those of the first case in which it was seen.
    """
    seen: dict[str, list[tuple[CaseResult, FindingRow]]] = {}
    for result in results:
        for finding in result.evidence.findings:
            if finding.clause not in result.clauses and finding.level in (Level.MUST, Level.SHOULD):
                seen.setdefault(finding.rule, []).append((result, finding))
    return [_result(rule, found) for rule, found in sorted(seen.items())]


def _result(rule: str, found: list[tuple[CaseResult, FindingRow]]) -> CaseResult:
    first, finding = found[0]
    cases = list(dict.fromkeys(result.id for result, _ in found))
    row = requirements().get(finding.clause)
    more = f", and in {len(cases) - 1} more cases" if len(cases) > 1 else ""
    return CaseResult(
        id=PREFIX + rule,
        title=row.statement if row else rule,
        role=finding.role,
        clauses=[finding.clause],
        level=finding.level,
        expected_events=[],
        verdict=Verdict.FAIL if finding.level == Level.MUST else Verdict.WARN,
        reason=f"{finding.message} (seen in {first.id}{more})",
        ending=first.ending,
        duration_s=0.0,
        transport=first.transport,
        clock=first.clock,
        evidence=Evidence(
            failed=[finding.clause],
            findings=[finding],
            dialogue=first.evidence.dialogue,
            capture=first.evidence.capture,
            notes=[f"seen in: {', '.join(cases)}"],
        ),
    )
