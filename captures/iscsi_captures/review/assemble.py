"""From the parts that one or several passes brought to a review: sessions merged and numbered, everything in one order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from iscsi_captures.reading import Totals
from iscsi_captures.review.advice import Whole, advise
from iscsi_captures.review.facts import Part, SessionPart
from iscsi_captures.review.model import (
    FINDINGS_KEPT,
    GAPS_KEPT,
    TRACES_KEPT,
    CommandTrace,
    FileReview,
    Review,
    ReviewEvent,
    ReviewFinding,
    SessionReview,
)
from iscsi_captures.review.moments import merged
from iscsi_captures.review.numbers import number_anew
from iscsi_captures.rulebook import FINDINGS_PER_RULE

LINK_TYPES = {
    0: "BSD null",
    1: "Ethernet",
    12: "raw IP",
    101: "raw IP",
    108: "BSD loop",
    113: "Linux cooked",
    276: "Linux cooked v2",
}


def assemble(parts: Sequence[Part], totals: Totals) -> Review:
    """One review of all parts. Does not depend on how the connections were shared out among them."""
    number_anew(parts)
    sessions = _sessions(parts)
    session_of = {connection.number: session.number for session in sessions for connection in session.connections}
    findings, places = _findings(parts, session_of)
    events = _events(parts, places)
    _link(findings, events)
    return Review(
        files=[
            FileReview(
                name=file.name,
                form=file.format,
                packets=file.frames,
                bytes=file.bytes,
                application=file.application,
                damage=file.damage or "",
            )
            for file in totals.files
        ],
        packets=totals.packets,
        bytes=totals.bytes,
        pdus=sum(totals.pdus.values()),
        opcodes=dict(sorted(totals.pdus.items())),
        link_types=[LINK_TYPES.get(link, f"link type {link}") for link in sorted(totals.link_types)],
        ignored=totals.ignored,
        first_time=totals.first_time or 0.0,
        last_time=totals.last_time or 0.0,
        sessions=sessions,
        findings=findings,
        events=events,
        gaps=sorted(
            (gap for part in parts for gap in part.gaps), key=lambda gap: (gap.time, gap.frame, gap.connection or 0)
        )[:GAPS_KEPT],
        timeline=merged(part.moments for part in parts),
        loads=sorted((load for part in parts for load in part.loads), key=lambda load: load.connection),
        traces=_traces(parts, places, session_of),
        dropped=_dropped(parts, findings),
    )


def _sessions(parts: Iterable[Part]) -> list[SessionReview]:
    found: list[tuple[SessionPart, Part]] = [(session, part) for part in parts for session in part.sessions]
    found.sort(key=lambda pair: pair[0].order)
    return [
        SessionReview(
            number=number,
            kind=session.kind,
            initiator_name=session.initiator_name,
            target_name=session.target_name,
            isid=session.isid,
            tsih=session.tsih,
            negotiated=session.negotiated,
            connections=[part.connections[connection] for connection in session.connections],
        )
        for number, (session, part) in enumerate(found, 1)
    ]


Places = list[dict[int, int]]
"""For each part: where its findings are now. Those that were left out are not in it."""


def _findings(parts: Sequence[Part], session_of: dict[int, int]) -> tuple[list[ReviewFinding], Places]:
    """Violations in the order in which they happened, then the advice."""
    rows = [
        (order, finding.connection, place, which, finding)
        for which, part in enumerate(parts)
        for place, (order, finding) in enumerate(zip(part.finding_order, part.findings, strict=True))
    ]
    rows.sort(key=lambda row: row[:3])
    found: list[ReviewFinding] = []
    places: Places = [{} for _ in parts]
    of_rule: Counter[str] = Counter()
    for _, _, place, which, finding in rows:
        of_rule[finding.rule] += 1
        if of_rule[finding.rule] <= FINDINGS_PER_RULE and len(found) < FINDINGS_KEPT:
            places[which][place] = len(found)
            found.append(finding)
    found += sorted(advise(_whole(parts)), key=lambda finding: (finding.rule, finding.time, finding.frame))
    for finding in found:
        finding.session = session_of.get(finding.connection)
    return found, places


def _whole(parts: Sequence[Part]) -> Whole:
    """The facts of all parts. Of what several parts have seen, the earliest sighting counts."""
    whole = Whole()
    facts = {number: facts for part in parts for number, facts in part.facts.items()}
    whole.connections = [facts[number] for number in sorted(facts)]
    for part in parts:
        for mine, theirs in ((whole.advertised, part.advertised), (whole.unanswered, part.unanswered)):
            for endpoint, place in theirs.items():
                kept = mine.get(endpoint)
                if kept is None or (place.time, place.frame) < (kept.time, kept.frame):
                    mine[endpoint] = place
        whole.attempts += part.attempts
        if whole.paused is None:
            whole.paused = part.paused
    whole.unanswered = dict(
        sorted(whole.unanswered.items(), key=lambda item: (item[1].time, item[1].frame, str(item[0])))
    )
    return whole


def _events(parts: Sequence[Part], places: Places) -> list[ReviewEvent]:
    rows = [
        (order, event.connection, place, which, event)
        for which, part in enumerate(parts)
        for place, (order, event) in enumerate(zip(part.event_order, part.events, strict=True))
    ]
    rows.sort(key=lambda row: row[:3])
    for _, _, _, which, event in rows:
        if event.finding is not None:
            event.finding = places[which].get(event.finding)
    return [row[4] for row in rows]


def _link(findings: Sequence[ReviewFinding], events: Iterable[ReviewEvent]) -> None:
    """Tell each finding which events follow from it."""
    for event in events:
        if event.finding is not None:
            findings[event.finding].events.append(event.id)


def _traces(parts: Sequence[Part], places: Places, session_of: dict[int, int]) -> list[CommandTrace]:
    """Those with findings or an abort, then the slowest TRACES_KEPT of each session."""
    marked: list[CommandTrace] = []
    slow: dict[int, list[CommandTrace]] = {}
    for which, part in enumerate(parts):
        for trace in part.traces:
            trace.session = session_of.get(trace.connection, 0)
            trace.findings = [places[which][place] for place in trace.findings if place in places[which]]
            if trace.reason == "slow":
                slow.setdefault(trace.session, []).append(trace)
            else:
                marked.append(trace)
    marked.sort(key=lambda trace: (trace.started, trace.connection, trace.itt))
    for session in sorted(slow):
        ranked = sorted(slow[session], key=lambda trace: (-(trace.seconds or 0.0), trace.started, trace.connection))
        marked += ranked[:TRACES_KEPT]
    return marked


def _dropped(parts: Iterable[Part], findings: Iterable[ReviewFinding]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(part.counts)
    counts.subtract(finding.rule for finding in findings if not finding.rule.startswith("advice."))
    return {rule: count for rule, count in sorted(counts.items()) if count > 0}
