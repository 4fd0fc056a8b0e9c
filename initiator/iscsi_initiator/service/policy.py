"""Switches for misbehaviour of the service. All defaults conform.

Each is looked at in one place: those about answers where an answer leaves, here (`answering`) or, for what a caller says of a
service that is not there, at the caller's end (`place`); those about events where an event goes to the log (`journal`).
"""

from __future__ import annotations

from dataclasses import dataclass

from iscsi_initiator.status_codes import StatusCode


@dataclass(frozen=True, kw_only=True, slots=True)
class ServicePolicy:
    """How the service behaves where it should know better."""

    answers_other: frozenset[int] = frozenset()
    """Codes in whose place another one of the same severity is told (guide, Appendix D)."""

    keeps_answering: frozenset[int] = frozenset()
    """Codes that, once an operation was answered with one, every later operation of that kind is answered with."""

    never_logs: frozenset[int] = frozenset()
    """Events that are not logged when they occur (guide, Appendix B)."""

    logs_twice: frozenset[int] = frozenset()
    """Events that are logged twice."""

    logs_wrong: frozenset[int] = frozenset()
    """Events that are logged with other insertion strings, and as another event where they have none."""

    def told(self, status: int) -> int:
        """The code that is told for this one."""
        return int(_other(status)) if status in self.answers_other else status


def _other(status: int) -> StatusCode:
    """A code of the same severity."""
    if StatusCode(status).is_warning:
        one, another = StatusCode.OPERATION_NOT_ALL_SUCCESS, StatusCode.OPERATION_REQUIRES_REBOOT
    else:
        one, another = StatusCode.REQUEST_NOT_SUPPORTED, StatusCode.INVALID_PARAMETER
    return another if status == one else one


CONFORMING = ServicePolicy()
