"""junit.xml: a test suite per area, a test case per case, its requirements as properties.

PASS and WARN pass, FAIL and INCONCLUSIVE are failures, ERROR is an error, UNSUPPORTED and SKIPPED are skipped. A failure
that was expected is skipped with its reason; an expectation that did not hold is a failure.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from iscsi_captures.legible import legible
from iscsi_conformance.expected import is_news
from iscsi_conformance.result import CaseResult, Results
from iscsi_conformance.verdict import Verdict

_OUTCOMES = {
    Verdict.PASS: None,
    Verdict.WARN: None,
    Verdict.FAIL: "failure",
    Verdict.INCONCLUSIVE: "failure",
    Verdict.ERROR: "error",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.SKIPPED: "skipped",
}
_SHOWN_LINES = 60


def write_junit(results: Results, path: Path, written: dt.datetime) -> None:
    """Write the file. written: in UTC. Raises OSError."""
    root = ET.Element("testsuites", name="iscsi-conformance", time=_seconds(results.cases))
    totals: Counter[str] = Counter()
    for area in sorted({_area(result) for result in results.cases}):
        rows = [result for result in results.cases if _area(result) == area]
        suite = ET.SubElement(root, "testsuite", name=area, time=_seconds(rows))
        suite.set("timestamp", written.strftime("%Y-%m-%dT%H:%M:%S"))
        _properties(suite, _run_properties(results))
        counts = Counter(_case(suite, result) for result in rows)
        _count(suite, counts, len(rows))
        totals += counts
    _count(root, totals, len(results.cases))
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _area(result: CaseResult) -> str:
    return result.id.split(".", 1)[0]


def _seconds(rows: Sequence[CaseResult]) -> str:
    return f"{sum(result.duration_s for result in rows):.6f}"


def _count(element: ET.Element, counts: Counter[str], tests: int) -> None:
    element.set("tests", str(tests))
    for name, outcome in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(counts[outcome]))


def _run_properties(results: Results) -> list[tuple[str, str]]:
    dut = [(f"dut.{name}", str(value)) for name, value in results.dut.items() if not isinstance(value, list)]
    versions = [(f"version.{name}", value) for name, value in results.versions.items()]
    return [("profile", results.profile), ("seed", str(results.seed)), *dut, *versions]


def _properties(parent: ET.Element, rows: Sequence[tuple[str, str]]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in rows:
        ET.SubElement(properties, "property", name=legible(name), value=legible(value))


def _case(suite: ET.Element, result: CaseResult) -> str:
    """Add one test case; the name of its outcome, "" for a pass."""
    element = ET.SubElement(suite, "testcase", classname=f"{result.role}.{_area(result)}", name=legible(result.id))
    element.set("time", f"{result.duration_s:.6f}")
    rows = [("title", result.title), ("level", result.level), ("verdict", result.verdict.value)]
    rows += [("clause", clause) for clause in result.clauses]
    rows += [("broken", clause) for clause in result.evidence.failed]
    rows += [("ending", result.ending)]
    if result.evidence.capture:
        rows.append(("capture", result.evidence.capture))
    _properties(element, rows)
    outcome = _outcome(result)
    if outcome:
        said = result.reason or result.verdict.value
        message = f"{said} [{result.expected_failure}]" if result.expected_failure else said
        told = ET.SubElement(element, outcome, message=legible(message))
        if outcome != "skipped":
            told.set("type", result.verdict.value)
            told.text = legible(_evidence(result))
    elif result.reason:
        ET.SubElement(element, "system-out").text = legible(f"{result.verdict}: {result.reason}")
    return outcome


def _outcome(result: CaseResult) -> str:
    if result.expected_failure is not None:
        return "failure" if is_news(result) else "skipped"
    return _OUTCOMES[result.verdict] or ""


def _evidence(result: CaseResult) -> str:
    """The failure as a developer wants to read it in the log of a build: what was broken, and the end of the dialogue."""
    lines = [result.reason, f"broken: {', '.join(result.evidence.failed) or 'nothing named'}"]
    lines += [f"{row.level} {row.clause} {row.rule}: {row.message}" for row in result.evidence.findings]
    lines += result.evidence.notes
    dialogue = [str(row.get("line", "")) for row in result.evidence.dialogue]
    if len(dialogue) > _SHOWN_LINES:
        lines.append(f"({len(dialogue) - _SHOWN_LINES} lines of dialogue before these)")
    return "\n".join([*lines, *dialogue[-_SHOWN_LINES:]])
