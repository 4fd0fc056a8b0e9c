"""One run of a case, recorded, and reviewed again from its file."""

from __future__ import annotations

from pathlib import Path

from iscsi_captures.pcapng import PcapngRecorder
from iscsi_captures.review import review
from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.case import Case
from iscsi_conformance.faults import fault_of
from iscsi_conformance.proof import run_in_memory
from iscsi_protocol.history import Record


class _Live:
    """The rule book beside the run, and when the last record came."""

    def __init__(self) -> None:
        self.book = RuleBook(events=True)
        self.last = 0.0

    def record(self, record: Record) -> None:
        self.book.record(record)
        self.last = max(self.last, record.time)


def differences(case: Case, fault_id: str | None, folder: Path) -> list[str]:
    """What the review of the recording says otherwise than the rule book said live; a line each, none where all is well."""
    path = folder / "recording.pcapng"
    live = _Live()
    with PcapngRecorder(path, comment=f"case {case.id}") as recorder:
        run_in_memory(case, None if fault_id is None else fault_of(case.role, fault_id), live.record, recorder.record)
    live.book.finish(live.last)
    again = review([path])
    found = [
        (finding.rule, finding.clause, finding.level, finding.role)
        for finding in again.findings
        if not finding.rule.startswith("advice.")
    ]
    due = [(finding.rule, finding.clause, finding.level, finding.role) for finding in live.book.findings]
    events = [(event.id, event.dump) for event in again.events]
    logged = [(event.id, event.dump) for event in live.book.events]
    lines = []
    name = f"{case.id} with {fault_id}"
    if found != due:
        lines.append(f"{name}: findings {found} in the recording, {due} live")
    if events != logged:
        lines.append(f"{name}: events {events} in the recording, {logged} live")
    return lines
