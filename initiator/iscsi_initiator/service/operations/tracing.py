"""Operations about traces (guide, Appendix A)."""

from __future__ import annotations

from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.tracing.trace import Trace


async def start_trace(core: Core, request: api.StartTrace) -> api.TraceAnswer:
    """Begin a trace. Raises Refused: INVALID_PARAMETER, OUT_OF_RESOURCES, NON_SPECIFIC_ERROR."""
    return api.TraceAnswer(trace=_shown(core.traces.start(request.options())))


async def stop_trace(core: Core, request: api.StopTrace) -> api.TraceAnswer:
    """End a trace; how it was at its end. Raises Refused INVALID_PARAMETER."""
    return api.TraceAnswer(trace=_shown(core.traces.stop(request.name)))


async def query_trace(core: Core, request: api.QueryTrace) -> api.TraceList:
    """How traces are. Raises Refused INVALID_PARAMETER for a name that none has."""
    traces = core.traces.all() if request.name is None else [core.traces.find(request.name)]
    return api.TraceList(traces=tuple(map(_shown, traces)))


def _shown(trace: Trace) -> api.TraceEntry:
    options, ring = trace.options, trace.ring
    return api.TraceEntry(
        name=options.name,
        path=options.path,
        flags=options.flags,
        level=options.level,
        minimum_buffers=options.minimum_buffers,
        maximum_buffers=options.maximum_buffers,
        buffer_kib=options.buffer_kib,
        circular=options.circular,
        maximum_kib=options.maximum_kib,
        flush_time=options.flush_time,
        started=trace.started / 1_000_000_000,
        buffers=ring.buffers,
        free_buffers=ring.free,
        buffers_written=ring.buffers_written,
        messages=ring.entries,
        lost=ring.lost,
        file_size=ring.file_size,
        failure="" if trace.failure is None else trace.failure.strerror or str(trace.failure),
    )
