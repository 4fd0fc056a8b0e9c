"""What the report says of the initiator's service: its status codes and its events, each with the cases of the run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from iscsi_conformance.case import code_text
from iscsi_conformance.result import CaseResult, Coverage
from iscsi_conformance.verdict import Verdict
from iscsi_protocol.eventlog import EVENTS, SERVICE_EVENTS, SERVICE_SOURCE, SOURCE, SYNTHETIC
from iscsi_protocol.status_codes import StatusCode

_WORST = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.WARN,
    Verdict.INCONCLUSIVE,
    Verdict.UNSUPPORTED,
    Verdict.SKIPPED,
    Verdict.PASS,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A status code or an event. id: as results name it; name: the guide's symbol; says: in our words; synthetic: see
    `Coverage`; cases: those of the run that are about it.
    """

    id: str
    name: str
    says: str
    cases: list[CaseResult]
    synthetic: bool = False

    @property
    def verdict(self) -> Verdict | None:
        """The worst of its cases; None where there is none."""
        found = {result.verdict for result in self.cases}
        return next((verdict for verdict in _WORST if verdict in found), None)


def symbol(code: StatusCode) -> str:
    """The guide's name of a status code."""
    return f"ISDSC_{code.name}"


def status_rows(cases: Iterable[CaseResult]) -> list[Row]:
    """Every status code; nothing where no case is about one."""
    own: dict[str, list[CaseResult]] = {}
    for result in cases:
        for code in result.codes:
            own.setdefault(code, []).append(result)
    rows = [
        Row(
            id=code_text(code),
            name=symbol(code),
            says="a warning" if code.is_warning else "",
            cases=own.get(code_text(code), []),
        )
        for code in StatusCode
    ]
    return rows if own else []


def service_rows(cases: Iterable[CaseResult]) -> list[Row]:
    """Every event of the service; nothing where no case has one logged."""
    own: dict[str, list[CaseResult]] = {}
    for result in cases:
        for event in result.expected_events:
            source, _, number = event.partition(":")
            if source == SERVICE_SOURCE:
                own.setdefault(number, []).append(result)
    rows = [
        Row(
            id=str(row.id),
            name=f"ISCSIEXE_EVENTMSG_{row.symbol}",
            says=row.message,
            cases=own.get(str(row.id), []),
            synthetic=row.id in SYNTHETIC,
        )
        for row in SERVICE_EVENTS.values()
    ]
    return rows if own else []


def coverage_lines(coverage: Coverage) -> list[str]:
    """How many codes and events are covered, a line each; none where there are none."""
    lines = []
    if coverage.status_codes:
        lines.append(f"status codes covered: {len(coverage.status_codes)} of {len(StatusCode)}")
    for source, known in ((SOURCE, EVENTS), (SERVICE_SOURCE, SERVICE_EVENTS)):
        covered = coverage.events.get(source, {})
        made = len(coverage.synthetic.get(source, ()))
        apart = f", {made} of them synthetic" if made else ""
        if covered:
            lines.append(f"events of {source} covered: {len(covered)} of {len(known)}{apart}")
    return lines
