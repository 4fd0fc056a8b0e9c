"""What the commands print: rich on a terminal, plain in a pipe, JSON on request."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.table import Table

from iscsi_captures.catalogue import Requirement, requirements
from iscsi_conformance.case import Case, Role, code_text
from iscsi_conformance.compare import Change, Comparison
from iscsi_conformance.doctor import Check, State
from iscsi_conformance.progress import STYLES
from iscsi_conformance.report.service import coverage_lines, symbol
from iscsi_conformance.result import Results
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.fault import NamedFault
from iscsi_protocol.status_codes import StatusCode

_PIPE_WIDTH = 100_000
"""Columns: in a pipe nothing is cut short or broken into lines, so that a line is a row."""


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def _table(*columns: str) -> Table:
    """A table without lines. On a narrow terminal long words are folded, never cut short."""
    table = Table(box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    print_text(msgspec.json.format(msgspec.json.encode(value), indent=1).decode())


def print_text(text: str) -> None:
    """Print text as it is, whatever brackets it has."""
    _console().print(text, soft_wrap=True)


def summary_table(results: Results, *, as_json: bool = False) -> None:
    """The areas of a run with their verdicts, then what did not pass, then the coverage."""
    if as_json:
        print_json(results)
        return
    console = _console()
    console.print(f"{results.dut.get('target_name') or results.profile}: {len(results.cases)} cases", style="bold")
    table = _table("area")
    shown = [verdict for verdict in Verdict if results.summary.get(verdict.value)]
    for verdict in shown:
        table.add_column(verdict.value, justify="right", style=STYLES[verdict])
    areas = sorted({result.id.split(".", 1)[0] for result in results.cases})
    for area in areas:
        rows = [result for result in results.cases if result.id.split(".", 1)[0] == area]
        counts = [sum(result.verdict is verdict for result in rows) for verdict in shown]
        table.add_row(area, *[str(count) if count else "" for count in counts])
    table.add_section()
    table.add_row("all", *[str(results.summary[verdict.value]) for verdict in shown])
    console.print(table)
    for result in results.cases:
        if result.verdict not in (Verdict.PASS, Verdict.SKIPPED) or result.expected_failure:
            expected = f" [{result.expected_failure}]" if result.expected_failure else ""
            print_text(f"{result.verdict.value:<12} {result.id}: {result.reason}{expected}")
    print_text(f"requirements covered, each by a fault that makes its case fail: {len(results.coverage.requirements)}")
    for line in coverage_lines(results.coverage):
        print_text(line)


def case_table(cases: Iterable[Case], *, as_json: bool = False) -> None:
    """Cases, a line each."""
    rows = list(cases)
    if as_json:
        print_json([_case_row(case) for case in rows])
        return
    table = _table("case", "role", "level", "requirements", "what")
    for case in rows:
        about = str(len(case.requirements)) if case.requirements else ", ".join((*case.proven_codes, *case.events))
        table.add_row(case.id, case.role.value, case.level.value, about, case.title)
    _console().print(table)
    print_text(f"{len(rows)} cases")


def _case_row(case: Case) -> dict[str, object]:
    return {
        "id": case.id,
        "title": case.title,
        "role": case.role,
        "level": case.level,
        "clauses": case.clauses,
        "touches": case.touches,
        "needs": case.needs,
        "destructive": case.destructive,
        "wire_only": case.wire_only,
        "events": case.events,
        "codes": case.proven_codes,
    }


def case_page(case: Case, *, as_json: bool = False) -> None:
    """One case with its requirements and the faults that prove it."""
    if as_json:
        print_json(_case_row(case))
        return
    print_text(f"{case.id} ({case.role}, {case.level})\n  {case.title}\n")
    if case.needs:
        print_text(f"  needs: {', '.join(case.needs)}")
    if case.destructive:
        print_text("  writes to the logical unit: runs with --destructive only")
    if case.wire_only:
        print_text("  judges any initiator: certify-initiator runs it too")
    for requirement_id in case.requirements:
        row = requirements()[requirement_id]
        print_text(f"  {row.id} ({row.level}): {row.statement}")
        if requirement_id in case.clauses:
            print_text(f"      proven by the fault {case.clauses[requirement_id]}")
    for code, fault_id in case.proven_codes.items():
        print_text(f"  {code} ({symbol(StatusCode(int(code, 16)))})\n      proven by the fault {fault_id}")
    for event in case.events:
        print_text(f"  logs {event}")


def code_page(code: StatusCode, cases: Iterable[Case], *, as_json: bool = False) -> None:
    """One status code and the cases that are about it."""
    own = [case for case in cases if code in case.codes]
    if as_json:
        row = {"code": code_text(code), "symbol": symbol(code), "warning": code.is_warning}
        print_json({**row, "cases": [case.id for case in own]})
        return
    kind = "a warning: the request was done" if code.is_warning else "an error: the request was not done"
    print_text(f"{code_text(code)}: {symbol(code)}, {kind}")
    for case in own:
        print_text(f"  {case.id}: {case.title}, proven by the fault {case.proven_codes[code_text(code)]}")


def requirement_page(row: Requirement, cases: Iterable[Case], *, as_json: bool = False) -> None:
    """One requirement and the cases that have to do with it."""
    own = [case for case in cases if row.id in case.requirements]
    if as_json:
        print_json({**msgspec.to_builtins(row), "cases": [case.id for case in own]})
        return
    print_text(f"{row.id}: {row.source} section {row.section}, {row.keyword}, binds {row.role}\n  {row.statement}")
    print_text(f"  seen on the wire: {row.testable}; {row.how}")
    for case in own:
        proof = f", proven by the fault {case.clauses[row.id]}" if row.id in case.clauses else ""
        print_text(f"  {case.id}: {case.title}{proof}")
    if not own:
        print_text("  no case covers it")


def fault_table(faults: Iterable[NamedFault], cases: Iterable[Case], *, as_json: bool = False) -> None:
    """Faults, a line each, with the cases that they prove."""
    proves: dict[str, list[str]] = {}
    for case in cases:
        for fault_id in (
            *case.clauses.values(),
            *case.proven_codes.values(),
            *(case.proofs if case.role is Role.SERVICE else ()),
        ):
            proves.setdefault(fault_id, []).append(case.id)
    rows = sorted(faults, key=lambda fault: (fault.side.value, fault.id))
    if as_json:
        print_json(
            [
                {"id": fault.id, "side": fault.side.value, "says": fault.says, "proves": proves.get(fault.id, [])}
                for fault in rows
            ]
        )
        return
    table = _table("fault", "of", "what it does", "proves")
    for fault in rows:
        table.add_row(fault.id, fault.side.value, fault.says, ", ".join(sorted(set(proves.get(fault.id, [])))))
    _console().print(table)
    print_text(f"{len(rows)} faults")


def comparison_page(comparison: Comparison, *, as_json: bool = False) -> None:
    """What is different between two runs, a line a case."""
    if as_json:
        print_json({**msgspec.to_builtins(comparison), "same": comparison.same})
        return
    if comparison.before != comparison.after:
        print_text(f"before: {comparison.before}\nafter:  {comparison.after}")
    sections = (
        ("other verdicts", comparison.changed),
        ("other reasons", comparison.reasons),
        ("new cases", comparison.new),
        ("gone cases", comparison.gone),
    )
    for title, changes in sections:
        if changes:
            print_text(f"{title}: {len(changes)}")
            for change in changes:
                _change_lines(change)
    print_text(f"{comparison.compared} cases in both runs" + (", nothing different" if comparison.same else ""))


def _change_lines(change: Change) -> None:
    verdicts = [verdict.value for verdict in (change.before, change.after) if verdict is not None]
    print_text(f"  {change.case}: {' → '.join(dict.fromkeys(verdicts))}")
    if change.reason_before != change.reason_after:
        for when, reason in (("before", change.reason_before), ("after", change.reason_after)):
            if reason:
                print_text(f"      {when}: {reason}")


_STATE_STYLES = {State.OK: "green", State.WARN: "yellow", State.BAD: "bold red"}


def check_line(check: Check) -> None:
    """One check of the doctor, its remedy below it."""
    console = _console()
    console.print(f"{check.state.value:<5} ", style=_STATE_STYLES[check.state], end="")
    console.print(f"{check.name}: {check.says}", soft_wrap=True)
    if check.remedy:
        print_text(f"      remedy: {check.remedy}")
