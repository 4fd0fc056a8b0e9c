"""Requests about traces (guide, Appendix A: logman create trace, stop and query)."""

from __future__ import annotations

from iscsi_initiator.service.api.answers import TraceAnswer, TraceList
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import check_text
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.tracing.flags import TRACE_FLAGS
from iscsi_initiator.tracing.trace import TraceOptions


class StartTrace(Operation[TraceAnswer], frozen=True, kw_only=True):
    """Begin a trace. path: the file, absolute, of the service's host. The rest, and its bounds, are those of `TraceOptions`.
    Raises Refused INVALID_PARAMETER.
    """

    name: str
    path: str
    flags: int = TRACE_FLAGS
    level: int = 0
    minimum_buffers: int = 16
    maximum_buffers: int = 256
    buffer_kib: int = 64
    circular: bool = False
    maximum_kib: int = 0
    flush_time: float = 1.0

    def check(self) -> None:
        check_text(self.path, "the file of a trace")
        self.options()

    def options(self) -> TraceOptions:
        """What the trace is to be."""
        fields = TraceOptions.__dataclass_fields__
        try:
            return TraceOptions(**{name: getattr(self, name) for name in fields})
        except ValueError as error:
            raise Refused(StatusCode.INVALID_PARAMETER, str(error)) from error


class StopTrace(Operation[TraceAnswer], frozen=True, kw_only=True):
    """End a trace; what it has in memory is written first."""

    name: str

    def check(self) -> None:
        check_text(self.name, "the name of a trace")


class QueryTrace(Operation[TraceList], frozen=True, kw_only=True):
    """How a trace is, or with None each of them."""

    name: str | None = None

    def check(self) -> None:
        check_text(self.name, "the name of a trace")
