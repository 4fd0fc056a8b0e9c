"""Two runs side by side: which verdicts changed, which cases came or went, and which reasons are others now.

What may differ without meaning anything (durations, dialogues, seeds) is left out.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from iscsi_conformance.result import CaseResult, Results, read_results
from iscsi_conformance.verdict import Verdict

SCHEMA = "iscsi-conformance/compare/1"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One case that differs. A verdict is None on the side that does not have the case."""

    case: str
    before: Verdict | None
    after: Verdict | None
    reason_before: str = ""
    reason_after: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """What is different. changed: another verdict; reasons: another reason for the same one; new, gone: in one run only."""

    schema: str = SCHEMA
    before: str
    after: str
    compared: int
    changed: list[Change] = []
    reasons: list[Change] = []
    new: list[Change] = []
    gone: list[Change] = []

    @property
    def same(self) -> bool:
        """Whether nothing is different."""
        return not (self.changed or self.reasons or self.new or self.gone)


def read_run(path: Path) -> Results:
    """Read a results.json or the one in an output folder. Raises ResultsError and OSError."""
    return read_results(path / "results.json" if path.is_dir() else path)


def compare(before: Results, after: Results) -> Comparison:
    """Compare two runs, by the ids of their cases."""
    old = {result.id: result for result in before.cases}
    new = {result.id: result for result in after.cases}
    both = [case_id for case_id in old if case_id in new]
    return Comparison(
        before=_name(before),
        after=_name(after),
        compared=len(both),
        changed=[_change(old[each], new[each]) for each in both if _verdict(old[each]) != _verdict(new[each])],
        reasons=[
            _change(old[each], new[each])
            for each in both
            if _verdict(old[each]) == _verdict(new[each]) and old[each].reason != new[each].reason
        ],
        new=[_change(None, result) for case_id, result in new.items() if case_id not in old],
        gone=[_change(result, None) for case_id, result in old.items() if case_id not in new],
    )


def _verdict(result: CaseResult) -> tuple[Verdict, str | None]:
    """The verdict, and what became of an expectation: a failure that nobody expects any more is news."""
    return result.verdict, result.expected_failure


def _name(results: Results) -> str:
    subject = results.dut.get("target_name") or "nameless product"
    return f"{subject} (profile {results.profile})" if results.profile else str(subject)


def _change(before: CaseResult | None, after: CaseResult | None) -> Change:
    either = after or before
    return Change(
        case="" if either is None else either.id,
        before=None if before is None else before.verdict,
        after=None if after is None else after.verdict,
        reason_before=_reason(before),
        reason_after=_reason(after),
    )


def _reason(result: CaseResult | None) -> str:
    if result is None:
        return ""
    expected = f"[{result.expected_failure}]" if result.expected_failure else ""
    return " ".join(part for part in (result.reason, expected) if part)
