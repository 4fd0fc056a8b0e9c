"""The rule book beside every case: its findings as rows of evidence."""

from __future__ import annotations

from collections.abc import Sequence

from iscsi_captures.rulebook import RuleBook
from iscsi_conformance.oracle import disagreement
from iscsi_conformance.result import FindingRow
from iscsi_conformance.verdict import printable
from iscsi_initiator.requests import EventLogged
from iscsi_protocol.history import Record


class RuleBookJudge:
    """A fresh rule book for one history. events: it also predicts what the initiator logs."""

    def __init__(self, *, events: bool = False) -> None:
        self._book = RuleBook(events=events)

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

    def disagreement(self, logged: Sequence[EventLogged], now: float) -> str:
        """How what the initiator logged by now differs from what the history asks for; empty where it does not."""
        self._book.finish(now)
        return disagreement(self._book.events, logged)
