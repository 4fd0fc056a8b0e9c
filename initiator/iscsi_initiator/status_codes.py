"""A request from above that was refused, with its status code, of which the protocol has the table."""

from __future__ import annotations

from iscsi_protocol.status_codes import StatusCode

__all__ = ["Refused", "StatusCode"]


class Refused(Exception):
    """A request from above that was not done, and why. status: the code; reason: in words, more than the code's name."""

    def __init__(self, status: StatusCode, reason: str = "") -> None:
        super().__init__(f"{status.text}: {reason}" if reason else status.text)
        self.status = status
        self.reason = reason
