"""The shell of debug log and traces: opens their files, and has buffers written when the loop gets round to it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from iscsi_initiator.service.tunables import ServiceSettings
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.tracing.debuglog import DebugLog
from iscsi_initiator.tracing.files import TraceFile
from iscsi_initiator.tracing.flags import INFORMATION, effective
from iscsi_initiator.tracing.teller import Teller
from iscsi_initiator.tracing.trace import Trace, TraceOptions

MAX_TRACES = 64
MAX_MEMORY = 1 << 30
"""Bytes that the buffers of all traces may come to."""


def open_debug_log(settings: ServiceSettings, teller: Teller) -> DebugLog | None:
    """Have the debug log written that the settings ask for; None where they ask for none. Raises ValueError, whose text is
    one line, for one that cannot be had.
    """
    mask = effective(settings.spew_level)
    if not settings.log_file or not mask:
        return None
    if not settings.log_file.startswith("/") or "\0" in settings.log_file:
        raise ValueError(f"no debug log: ServiceLogFileName {settings.log_file!r} is no absolute path here")
    log = DebugLog(Path(settings.log_file), settings.spew_level, settings.log_size)
    try:
        log.open()
    except OSError as error:
        raise ValueError(f"no debug log: {log.path}: {error.strerror}") from error
    teller.add(mask, log.take)
    if teller.level & INFORMATION:
        teller.tell(INFORMATION, f"the service is starting, DebugSpewLevel is {settings.spew_level:#010x}")
    return log


class Traces:
    """The traces that run, by name in whatever case. wall: seconds since 1970."""

    def __init__(self, teller: Teller, wall: Callable[[], float]) -> None:
        self._teller = teller
        self._wall = wall
        self._running: dict[str, Trace] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def all(self) -> list[Trace]:
        """Every trace, in the order in which they were started."""
        return list(self._running.values())

    def find(self, name: str) -> Trace:
        """Raises Refused INVALID_PARAMETER."""
        found = self._running.get(name.casefold())
        if found is None:
            raise Refused(StatusCode.INVALID_PARAMETER, f"no trace {name} runs")
        return found

    def start(self, options: TraceOptions) -> Trace:
        """Begin a trace. Raises Refused: INVALID_PARAMETER for a name that runs, and for a file that is not to be written;
        OUT_OF_RESOURCES for one trace or buffer too many, and for a file system without room; NON_SPECIFIC_ERROR for other
        failures.
        """
        key = options.name.casefold()
        if key in self._running:
            raise Refused(StatusCode.INVALID_PARAMETER, f"a trace {options.name} runs already")
        if len(self._running) >= MAX_TRACES:
            raise Refused(StatusCode.OUT_OF_RESOURCES, f"{MAX_TRACES} traces run already")
        if options.memory + sum(each.options.memory for each in self.all()) > MAX_MEMORY:
            raise Refused(
                StatusCode.OUT_OF_RESOURCES, f"all traces together have buffers of {MAX_MEMORY} bytes at most"
            )
        file = None
        try:
            file = TraceFile(Path(options.path))
            wake = partial(self._wake, asyncio.get_running_loop(), threading.get_ident(), key)
            trace = Trace(options, file, started=self._now(), process=os.getpid(), wake=wake)
        except OSError as error:
            if file is not None:
                file.close()
            raise Refused(_status(error), f"{options.path}: {error.strerror}") from error
        self._running[key] = trace
        self._teller.add(trace.mask, trace.take)
        return trace

    def stop(self, name: str) -> Trace:
        """End a trace: what it has is written, as far as that can be. Raises Refused INVALID_PARAMETER."""
        trace = self.find(name)
        key = trace.options.name.casefold()
        del self._running[key]
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        self._teller.remove(trace.take)
        with self._teller.lock:
            trace.stop(self._now())
        return trace

    def close(self) -> None:
        """End all of them."""
        for trace in self.all():
            self.stop(trace.options.name)

    def flush(self, name: str) -> None:
        """Write what a trace has now."""
        with self._teller.lock:
            self.find(name).flush()

    def _now(self) -> int:
        return int(self._wall() * 1_000_000_000)

    def _wake(self, loop: asyncio.AbstractEventLoop, thread: int, key: str, delay: float) -> None:
        """Called by whoever tells a message, under the lock, perhaps in a thread of an adapter."""
        if threading.get_ident() == thread:
            self._arm(loop, key, delay)
        else:
            loop.call_soon_threadsafe(self._arm, loop, key, delay)

    def _arm(self, loop: asyncio.AbstractEventLoop, key: str, delay: float) -> None:
        timer = self._timers.get(key)
        if key not in self._running or (timer is not None and timer.when() <= loop.time() + delay):
            return
        if timer is not None:
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._due, key)

    def _due(self, key: str) -> None:
        del self._timers[key]
        self.flush(key)


def _status(error: OSError) -> StatusCode:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENFILE, errno.EMFILE):
        return StatusCode.OUT_OF_RESOURCES
    if error.errno == errno.EIO:
        return StatusCode.NON_SPECIFIC_ERROR
    return StatusCode.INVALID_PARAMETER
