"""What is wrong with an iSNS message, and how it is to be answered."""

from __future__ import annotations

from iscsi_protocol.isns.codes import Status


class IsnsError(ValueError):
    """A message that breaks a rule. status: what a server answers; clause: id of the rule; reason: in words."""

    def __init__(self, status: Status, clause: str, reason: str) -> None:
        super().__init__(status, clause, reason)
        self.status = status
        self.clause = clause
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} ({self.clause}, status {int(self.status)})"


def malformed(clause: str, reason: str) -> IsnsError:
    """A message format error (5.4): status 2."""
    return IsnsError(Status.MESSAGE_FORMAT_ERROR, clause, reason)
