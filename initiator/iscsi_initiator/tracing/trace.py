"""One trace: what it takes, its buffers, and when they are written (guide, Appendix A)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from iscsi_initiator.tracing.flags import LEVELS, TRACE_FLAGS, ULONG_MAX, effective
from iscsi_initiator.tracing.layout import CLOSING_OFFSET, NAME_LIMIT, Closing, FileHeader, Mode, encode_body
from iscsi_initiator.tracing.ring import Ring
from iscsi_initiator.tracing.teller import Message

KIB = 1024
MAX_MEMORY = 256 << 20
"""Bytes of all buffers of one trace."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceOptions:
    """What a trace is to be; the numbers are those of the guide's example.

    flags, level: what it tells of, see `flags`; minimum_buffers, maximum_buffers: 2 to 4096; buffer_kib: KiB, 4 to 1024;
    maximum_kib: KiB of buffers in the file, 0 for no bound, which a circular file has to have; flush_time: seconds behind
    which what is in memory is written, 0.05 to 3600. Raises ValueError, whose text says what is wrong.
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

    def __post_init__(self) -> None:
        if not (self.name and self.name.isprintable() and len(self.name.encode()) <= NAME_LIMIT):
            raise ValueError(f"the name of a trace is printable text of 1 to {NAME_LIMIT} bytes")
        if not self.path.startswith("/") or not self.path.isprintable() or self.path.endswith("/"):
            raise ValueError("the file of a trace is an absolute path")
        if not 0 < self.flags <= ULONG_MAX:
            raise ValueError(f"the flags of a trace are 0x00000001 to {ULONG_MAX:#010x}")
        if not effective(self.flags):
            raise ValueError(f"flags {self.flags:#010x} have no messages")
        if self.level not in LEVELS:
            raise ValueError(f"the level of a trace is {LEVELS[0]} to {LEVELS[-1]}, not {self.level}")
        if not effective(self.flags, self.level):
            raise ValueError(f"flags {self.flags:#010x} have no messages at level {self.level}")
        if not 4 <= self.buffer_kib <= 1024:
            raise ValueError(f"a buffer has 4 to 1024 KiB, not {self.buffer_kib}")
        if not 2 <= self.minimum_buffers <= self.maximum_buffers <= 4096:
            raise ValueError("there are 2 to 4096 buffers, and no fewer at most than at least")
        if self.memory > MAX_MEMORY:
            raise ValueError(f"the buffers of a trace have {MAX_MEMORY // KIB} KiB at most")
        if self.circular and not self.maximum_kib:
            raise ValueError("a circular file has a maximum size")
        if self.maximum_kib and not 2 * self.buffer_kib <= self.maximum_kib <= ULONG_MAX:
            raise ValueError(f"a file has 2 buffers at least, {2 * self.buffer_kib} KiB, or no maximum size")
        if not 0.05 <= self.flush_time <= 3600:
            raise ValueError("buffers are written after 0.05 to 3600 seconds")

    @property
    def memory(self) -> int:
        """Bytes that the buffers may come to."""
        return self.maximum_buffers * self.buffer_kib * KIB


class File(Protocol):
    """Where a trace writes; see `files.TraceFile`."""

    def write(self, offset: int, data: bytes) -> None:
        """Write all of it. Raises OSError."""

    def close(self) -> None:
        """Close it."""


class Trace:
    """A trace that runs. started: nanoseconds since 1970; wake: called when there is something to write, with the seconds
    that it may wait. failure: why nothing was written the last time that it was tried. Raises OSError for a file that takes
    no header.
    """

    def __init__(
        self, options: TraceOptions, file: File, *, started: int, process: int, wake: Callable[[float], None]
    ) -> None:
        self.options = options
        self.started = started
        self.failure: OSError | None = None
        self._file = file
        self._wake = wake
        slots = options.maximum_kib // options.buffer_kib
        mode = Mode.CIRCULAR if options.circular else Mode.SEQUENTIAL
        size = options.buffer_kib * KIB
        self.ring = Ring(size, options.minimum_buffers, options.maximum_buffers, mode=mode, slots=slots)
        header = FileHeader(options.name, options.flags, options.level, mode, size, slots, started, process)
        file.write(0, header.encode())

    @property
    def mask(self) -> int:
        """The bits that it takes."""
        return effective(self.options.flags, self.options.level)

    def take(self, message: Message) -> None:
        """Put a message."""
        waiting = self.ring.unwritten
        if self.ring.put(encode_body(message), message.time):
            self._wake(0.0)
        elif not waiting:
            self._wake(self.options.flush_time)

    def flush(self) -> None:
        """Write what there is. Where that cannot be, it is tried again behind flush_time."""
        try:
            self.ring.flush(self._file.write)
        except OSError as error:
            self.failure = error
            self._wake(self.options.flush_time)
        else:
            self.failure = None

    def stop(self, now: int) -> None:
        """Write what there is, and how it ended; what cannot be written counts as lost. now: nanoseconds since 1970."""
        try:
            self.ring.flush(self._file.write)
            self.failure = None
        except OSError as error:
            self.failure = error
            self.ring.give_up()
        closing = Closing(now, self.ring.last_number, self.ring.lost)
        try:
            self._file.write(CLOSING_OFFSET, closing.encode())
        except OSError as error:
            self.failure = error
        finally:
            self._file.close()
