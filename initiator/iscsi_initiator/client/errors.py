"""What a client raises."""

from __future__ import annotations

from iscsi_initiator.requests import ConnectionRemoved, Failure, ScsiResult, SessionClosed
from iscsi_protocol.scsi.sense import parse_sense
from iscsi_protocol.scsi.status import status_name


class ClientError(Exception):
    """Something that was asked of a target did not work."""


class SessionFailed(ClientError):
    """No session came up, or it is over. closed: what is known; unreachable: no TCP connection came up."""

    def __init__(self, closed: SessionClosed) -> None:
        super().__init__(closed.reason or "the session is closed")
        self.closed = closed

    @property
    def unreachable(self) -> bool:
        """Whether nothing listens there."""
        return self.closed.unreachable


class ConnectionFailed(ClientError):
    """A connection that was to be added did not come up, or one that was to leave did not. how: what is known."""

    def __init__(self, cid: int, how: ConnectionRemoved | SessionClosed | None = None) -> None:
        super().__init__((how.reason if how is not None else "") or f"connection {cid} came to nothing")
        self.cid = cid
        self.how = how


class RequestFailed(ClientError):
    """A request came to nothing."""

    def __init__(self, failure: Failure, what: str) -> None:
        super().__init__(f"{what}: {failure.value}")
        self.failure = failure


class ScsiError(ClientError):
    """A SCSI command that did not end with GOOD."""

    def __init__(self, result: ScsiResult, what: str) -> None:
        if result.response:
            text = f"iSCSI response {result.response:#04x}"
        else:
            sense = parse_sense(result.sense)
            text = status_name(result.status) + (f" ({sense})" if sense else "")
        super().__init__(f"{what}: {text}")
        self.result = result
