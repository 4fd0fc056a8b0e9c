"""The rule book beside every case: its findings as rows of evidence."""

from __future__ import annotations

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.result import FindingRow
from iscsi_conformance.verdict import printable
from iscsi_protocol.history import Record


class RuleBookJudge:
    """A fresh rule book for one history."""

    def __init__(self) -> None:
        self._book = RuleBook()

    def record(self, record: Record) -> None:
        """Take the next record."""
        self._book.record(record)

    def findings(self, role: str) -> list[FindingRow]:
        """What this role did wrong, in order."""
        return [
            FindingRow(
                rule=finding.rule,
                clause=finding.clause,
                level=finding.level,
                role=finding.role,
                message=printable(finding.message),
                index=finding.index,
            )
            for finding in self._book.findings
            if finding.role == role
        ]
