"""report.html: one page for a whole run, in one file that needs no network.

Summary and matrix stand in the document; coverage and the cases' pages are made by the page's own script from JSON when
they are asked for. A content security policy names that script and the style sheet by their digests and allows nothing
else, so that text of the product under test stays text.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import msgspec

from iscsi_captures.catalogue import requirements
from iscsi_captures.legible import legible
from iscsi_captures.pages import environment, in_script, parts
from iscsi_conformance.case import load_cases
from iscsi_conformance.events.catalogue import EventRow, Variation, events, name_of
from iscsi_conformance.expected import is_news
from iscsi_conformance.faults import all_faults
from iscsi_conformance.report.capture import capture_path
from iscsi_conformance.report.dialogue import Pools, packed_rows
from iscsi_conformance.report.service import coverage_lines, service_rows, status_rows, symbol
from iscsi_conformance.result import CaseResult, Results
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.status_codes import StatusCode

MEANINGS = {
    Verdict.PASS: "the requirement was seen to hold",
    Verdict.WARN: "a SHOULD was missed",
    Verdict.FAIL: "a MUST was broken",
    Verdict.UNSUPPORTED: "the product lacks an optional feature",
    Verdict.SKIPPED: "the operator did not want the case",
    Verdict.INCONCLUSIVE: "the point to be judged was not reached",
    Verdict.ERROR: "a defect of the suite itself",
}
_KINDS = {
    "bundled": "The bundled pair over TCP",
    "memory": "The bundled pair in memory",
    "foreign": "A foreign product",
    "initiator": "A foreign initiator",
}


def write_html(results: Results, path: Path, written: dt.datetime) -> Path:
    """Write the page; its path. written: in UTC. Raises OSError."""
    pools = Pools()
    # Rows first: they fill the pools that the head carries.
    dialogues = [(result.id, in_script(packed_rows(result.evidence.dialogue, pools))) for result in results.cases]
    shown = [verdict for verdict in Verdict if any(result.verdict is verdict for result in results.cases)]
    page = (
        environment("iscsi_conformance.report")
        .get_template("report.html")
        .render(
            results=results,
            written=written.strftime("%Y-%m-%d %H:%M UTC"),
            subject=results.dut.get("target_name") or results.profile or "nameless product",
            summary_line=_summary_line(results),
            facts=_facts(results),
            probe=_probe(results),
            verdicts=shown,
            meanings=MEANINGS,
            areas=_areas(results.cases, shown),
            events=_events(results.cases),
            codes=status_rows(results.cases),
            service_events=service_rows(results.cases),
            covered=coverage_lines(results.coverage),
            roles=sorted({result.role for result in results.cases}),
            attention=[result for result in results.cases if needs_attention(result)],
            head=in_script(_head(results, pools)),
            dialogues=dialogues,
            **parts("iscsi_conformance.report", "report"),
        )
    )
    path.write_text(page, encoding="utf-8")
    return path


def needs_attention(result: CaseResult) -> bool:
    """Whether a reader has to look at the case: it makes a run fail, or warns."""
    return is_news(result) or (result.verdict is Verdict.WARN and result.expected_failure is None)


def _under_test(results: Results) -> str:
    kind = str(results.dut.get("kind", ""))
    return _KINDS.get(kind, kind)


def _summary_line(results: Results) -> str:
    """Who was tested, where, by which version."""
    portal = results.dut.get("portal")
    where = f"portal {portal}" if portal else ""
    program = " ".join(["iscsi-conformance", results.versions.get("iscsi-conformance", "")]).strip()
    return ", ".join(part for part in (_under_test(results), where, f"judged by {program}") if part)


def _facts(results: Results) -> list[tuple[str, str]]:
    """Name and value of what was tested, by what."""
    dut = {name: value for name, value in results.dut.items() if name != "kind"}
    rows = [("profile", results.profile), ("under test", _under_test(results))]
    rows += [(name.replace("_", " "), str(value)) for name, value in dut.items() if name != "probe"]
    rows += [("seed", str(results.seed)), *results.versions.items()]
    return [(name, value) for name, value in rows if value != ""]


def _probe(results: Results) -> list[tuple[str, str, str]]:
    """What the probe found: feature, yes or no, evidence."""
    lines = results.dut.get("probe")
    rows = []
    for line in lines if isinstance(lines, list) else []:
        feature, _, found = str(line).partition(": ")
        answer, _, evidence = found.partition(" ")
        rows.append((feature, answer, evidence.removeprefix("(").removesuffix(")")))
    return rows


def _areas(cases: Iterable[CaseResult], verdicts: list[Verdict]) -> list[tuple[str, list[tuple[Verdict, int]], int]]:
    """Per area the number of cases for each verdict, and in all."""
    counts: dict[str, dict[Verdict, int]] = {}
    for result in cases:
        row = counts.setdefault(result.id.split(".", 1)[0], dict.fromkeys(verdicts, 0))
        row[result.verdict] += 1
    return [(area, list(row.items()), sum(row.values())) for area, row in sorted(counts.items())]


def _events(cases: Iterable[CaseResult]) -> list[tuple[EventRow, list[tuple[Variation, list[CaseResult]]], list[str]]]:
    """Per event of the driver its row, the cases of each variation, and the requirements of all of them; empty where no
    case was about an event.
    """
    own: dict[str, list[CaseResult]] = {}
    for result in cases:
        if result.event is not None:
            own.setdefault(result.event, []).append(result)
    rows = []
    for number, row in events().items():
        about = own.get(name_of(number), [])
        variations = [(each, [one for one in about if one.variation == each.id]) for each in row.variations]
        clauses = sorted({clause for result in about for clause in result.clauses})
        if own and row.variations:
            rows.append((row, variations, clauses))
    return rows


def _capture(result: CaseResult) -> str | None:
    path = capture_path(result)
    return None if path is None else quote(str(path))


def _head(results: Results, pools: Pools) -> dict[str, object]:
    """All that the page's script knows besides the dialogues."""
    faults = all_faults()
    known = load_cases()
    return {
        "cases": [
            {
                "id": legible(result.id),
                "title": legible(result.title),
                "role": result.role,
                "level": result.level,
                "clauses": result.clauses,
                "proofs": {**known[result.id].clauses, **known[result.id].proven_codes} if result.id in known else {},
                "codes": {code: symbol(StatusCode(int(code, 16))) for code in result.codes},
                "expected_events": result.expected_events,
                "verdict": result.verdict,
                "reason": legible(result.reason),
                "ending": legible(result.ending),
                "duration": result.duration_s,
                "transport": result.transport,
                "clock": result.clock,
                "fault": result.fault,
                "expected_failure": legible(result.expected_failure or ""),
                "failed": result.evidence.failed,
                "findings": [
                    {**msgspec.to_builtins(row), "message": legible(row.message)} for row in result.evidence.findings
                ],
                "capture": _capture(result),
                "notes": [legible(note) for note in result.evidence.notes],
                "probe": legible(result.evidence.probe or ""),
                "events": result.evidence.events,
                "gone": result.evidence.gone,
            }
            for result in results.cases
        ],
        "requirements": [
            [row.id, row.source, row.section, row.level, row.role, row.statement, row.testable, row.how]
            for row in requirements().values()
        ],
        "coverage": results.coverage,
        "faults": {fault.id: fault.says for fault in faults.values()},
        "layouts": pools.layouts,
        "lines": pools.lines,
    }
