"""review.html: one page for a whole review, in one file that needs no network.

All of it stands in the document; the page's script only filters, copies and reads out the plots. Lists are bounded, and
say how much they leave out, so that the page stays small however much was found.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from iscsi_captures.catalogue import Requirement, requirements
from iscsi_captures.pages import environment, in_script, parts
from iscsi_captures.reading import FrameRef
from iscsi_captures.review import dissection, plots, sequence, units
from iscsi_captures.review.filters import command_filter, finding_filters, tshark
from iscsi_captures.review.model import (
    CommandTrace,
    ConnectionReview,
    Level,
    Load,
    Review,
    ReviewEvent,
    ReviewFinding,
)
from iscsi_captures.review.plots import Incident, Plot
from iscsi_captures.review.sequence import Diagram
from iscsi_protocol.pdu import opcode_name

FINDINGS_SHOWN = 300
FINDINGS_OF_A_RULE = 50
EVENTS_SHOWN = 200
GAPS_SHOWN = 200
MOMENTS_SHOWN = 1000
SESSIONS_SHOWN = 50
CONNECTIONS_SHOWN = 32
TRACES_SHOWN = 60
PLOTS_SHOWN = 24
LEVELS: tuple[Level, ...] = ("MUST", "SHOULD", "ADVICE")
MEANINGS = {
    "MUST": "requirements that have to be kept and were not",
    "SHOULD": "requirements that were not kept, maybe for a reason",
    "ADVICE": "no violation, but slow or fragile",
}


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding with its number in the review, from 0, and what the page shows beside it. commands: links to diagrams."""

    number: int
    finding: ReviewFinding
    connection: ConnectionReview | None
    requirement: Requirement | None
    parts: tuple[dissection.Part, ...]
    fields: tuple[dissection.FieldRow, ...]
    texts: tuple[dissection.TextRow, ...]
    filters: tuple[str, ...]
    command_line: str
    events: tuple[ReviewEvent, ...]
    commands: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """A rule that found something. count: all of it, also what was not kept. first: number of its first finding."""

    rule: str
    level: Level
    roles: tuple[str, ...]
    clause: str
    says: str
    count: int
    first: int


@dataclass(frozen=True, slots=True)
class ShownTrace:
    """A command with its number in the review, and its diagram."""

    number: int
    trace: CommandTrace
    diagram: Diagram
    lun: str
    filter: str


def write_html(review: Review, path: Path, *, now: dt.datetime) -> None:
    """Write the page. now: in UTC. Raises OSError."""
    connections = {each.number: each for session in review.sessions for each in session.connections}
    traces = _traces(review, connections)
    findings = _findings(review, connections, traces)
    found = {each.finding.frame: each.number for each in reversed(findings)}
    loads = [load for load in review.loads if load.commands]
    drawn = [_plot(review, load) for load in loads[:PLOTS_SHOWN]]
    page = (
        environment("iscsi_captures.review")
        .get_template("review.html")
        .render(
            review=review,
            written=now.strftime("%Y-%m-%d %H:%M UTC"),
            version=version("iscsi-conformance"),
            title=_title(review),
            verdict=_verdict(review),
            levels=LEVELS,
            meanings=MEANINGS,
            counts=_counts(review),
            rules=_rules(review),
            connections=connections,
            opcodes=[(opcode_name(code), count) for code, count in sorted(review.opcodes.items())],
            sessions=review.sessions[:SESSIONS_SHOWN],
            connections_shown=CONNECTIONS_SHOWN,
            findings=findings,
            shown={each.number for each in findings},
            moments=review.timeline[:MOMENTS_SHOWN],
            traces=traces,
            plots=list(zip(drawn, loads, strict=False)),
            loads=len(loads),
            gaps=review.gaps[:GAPS_SHOWN],
            events=review.events[:EVENTS_SHOWN],
            readouts=in_script([each.readout for each in drawn]),
            frame=lambda ref: _frame(review, ref),
            since=lambda time: f"{time - review.first_time:.6f}",
            hex_lines=dissection.hex_lines,
            units=units,
            found=found,
            files=len(review.files),
            sequence_width=sequence.WIDTH,
            left=sequence.INITIATOR,
            right=sequence.TARGET,
            plot_width=plots.WIDTH,
            plot_left=plots.LEFT,
            plot_right=plots.LEFT + plots.PLOT,
            **parts("iscsi_captures.review", "review"),
        )
    )
    path.write_text(page, encoding="utf-8")


def _title(review: Review) -> str:
    names = [Path(file.name).name for file in review.files]
    return names[0] if len(names) == 1 else f"{len(names)} captures"


def _frame(review: Review, ref: FrameRef) -> str:
    """A frame for people; with its file's name where there are several."""
    if not ref.number:
        return "end of the capture"
    if len(review.files) < 2 or ref.file >= len(review.files):
        return f"frame {ref.number}"
    return f"frame {ref.number} of {Path(review.files[ref.file].name).name}"


def _counts(review: Review) -> dict[str, int]:
    """Findings by level, with those that were counted and not kept."""
    counts: Counter[str] = Counter(finding.level for finding in review.findings)
    levels = {finding.rule: finding.level for finding in review.findings}
    for rule, dropped in review.dropped.items():
        counts[levels.get(rule, "MUST")] += dropped
    return {level: counts[level] for level in LEVELS}


def _verdict(review: Review) -> str:
    """The answer in a sentence: who broke what, as far as the capture shows it."""
    if not review.pdus:
        return "There is no iSCSI in what was captured."
    broken = {role: set[str]() for role in ("target", "initiator")}
    for finding in review.findings:
        if finding.level == "MUST":
            broken.setdefault(finding.role, set()).add(finding.rule)
    said = [f"{len(rules)} by the {role}" for role, rules in broken.items() if rules]
    if not said:
        return "As far as the capture shows, neither side broke a MUST."
    return f"MUST rules broken: {', '.join(said)}."


def _rules(review: Review) -> list[RuleRow]:
    """The rules that found something: the gravest first, then the most frequent."""
    own: dict[str, list[int]] = {}
    for number, finding in enumerate(review.findings):
        own.setdefault(finding.rule, []).append(number)
    rows = []
    for rule, numbers in own.items():
        first = review.findings[numbers[0]]
        rows.append(
            RuleRow(
                rule=rule,
                level=first.level,
                roles=tuple(sorted({review.findings[number].role for number in numbers})),
                clause=first.clause,
                says=first.says,
                count=len(numbers) + review.dropped.get(rule, 0),
                first=numbers[0],
            )
        )
    return sorted(rows, key=lambda row: (LEVELS.index(row.level), -row.count, row.rule))


def _chosen(review: Review) -> list[int]:
    """Which findings the page shows: of every rule the first ones, the gravest first where there is no place for all."""
    seen: Counter[str] = Counter()
    ranks = []
    for number, finding in enumerate(review.findings):
        if seen[finding.rule] < FINDINGS_OF_A_RULE:
            ranks.append((seen[finding.rule], LEVELS.index(finding.level), number))
        seen[finding.rule] += 1
    return sorted(number for _, _, number in sorted(ranks)[:FINDINGS_SHOWN])


def _findings(
    review: Review, connections: dict[int, ConnectionReview], traces: Iterable[ShownTrace]
) -> list[ShownFinding]:
    drawn: dict[int, list[int]] = {}
    for trace in traces:
        for number in trace.trace.findings:
            drawn.setdefault(number, []).append(trace.number)
    events: dict[int, list[ReviewEvent]] = {}
    for event in review.events:
        if event.finding is not None:
            events.setdefault(event.finding, []).append(event)
    rows = []
    for number in _chosen(review):
        finding = review.findings[number]
        connection = connections.get(finding.connection)
        filters = finding_filters(finding, connection)
        file = review.files[finding.frame.file].name if finding.frame.file < len(review.files) else ""
        rows.append(
            ShownFinding(
                number=number,
                finding=finding,
                connection=connection,
                requirement=requirements().get(finding.clause),
                parts=dissection.parts(finding.pdu, finding.field) if finding.pdu else (),
                fields=dissection.fields(finding.pdu, finding.field) if finding.pdu else (),
                texts=dissection.texts(finding.pdu, finding.field) if finding.pdu else (),
                filters=filters,
                command_line=tshark(file, filters[0], connection) if filters and file else "",
                events=tuple(events.get(number, ())),
                commands=tuple(drawn.get(number, ())),
            )
        )
    return rows


def _traces(review: Review, connections: dict[int, ConnectionReview]) -> list[ShownTrace]:
    """The commands that are drawn: those with findings first, then the slowest."""
    ranked = sorted(
        range(len(review.traces)),
        key=lambda number: (not review.traces[number].findings, -(review.traces[number].seconds or 0.0), number),
    )
    rows = []
    for number in ranked[:TRACES_SHOWN]:
        trace = review.traces[number]
        rows.append(
            ShownTrace(
                number=number,
                trace=trace,
                diagram=sequence.diagram(trace, review.findings),
                lun=dissection.lun_text(bytes.fromhex(trace.lun)),
                filter=command_filter(trace.itt, connections.get(trace.connection)),
            )
        )
    return rows


def _plot(review: Review, load: Load) -> Plot:
    """A connection's plot with what befell it."""
    shown = set(_chosen(review))
    incidents = [
        Incident(
            finding.time,
            finding.level,
            f"{finding.rule}: {finding.message}",
            f"finding-{number}" if number in shown else "",
        )
        for number, finding in enumerate(review.findings)
        if finding.connection == load.connection
    ]
    incidents += [
        Incident(gap.time, "gap", f"{gap.kind}: {gap.message}", "gaps")
        for gap in review.gaps
        if gap.connection == load.connection
    ]
    incidents += [
        Incident(event.time, "event", f"{event.source} {event.id} {event.name}", "events")
        for event in review.events
        if event.connection == load.connection
    ]
    return plots.plot(load, review.first_time, incidents)
