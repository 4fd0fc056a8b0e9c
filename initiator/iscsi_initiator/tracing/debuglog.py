"""The debug log file: a line a message, appended (guide, "Debug Logging": ServiceLogFileName).

The guide has the file grow without end. Here it is renamed to FILE.1, in the place of an older one, before it would grow past
its size, so that there are never more than two of them.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from iscsi_initiator.tracing.flags import PROCTHREADIDS, TIMESTAMP, name_of
from iscsi_initiator.tracing.teller import Message

DEFAULT_SIZE = 4 << 20
SMALLEST_SIZE = 4096
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def line_of(message: Message, level: int) -> str:
    """A message as the log has it. level: DebugSpewLevel, whose two highest bits say what stands before it."""
    parts = []
    if level & TIMESTAMP:
        seconds, nanoseconds = divmod(message.time, 1_000_000_000)
        when = datetime.fromtimestamp(seconds, UTC)
        parts.append(f"{when:%Y-%m-%dT%H:%M:%S}.{nanoseconds // 1000:06d}Z")
    if level & PROCTHREADIDS:
        parts.append(f"{message.process}.{message.thread}")
    return " ".join([*parts, f"{name_of(message.mask).removeprefix('SPEW_')}: {message.text}"])


class DebugLog:
    """path: the file, made when it is needed, for its owner alone; level: DebugSpewLevel; size: bytes that neither of the two
    files has more of, SMALLEST_SIZE or more.

    lost: messages that could not be written since the last one that could; failure: why.
    """

    def __init__(self, path: Path, level: int, size: int = DEFAULT_SIZE) -> None:
        if size < SMALLEST_SIZE:
            raise ValueError(f"a debug log has {SMALLEST_SIZE} bytes at least, not {size}")
        self.path = path
        self.level = level
        self.size = size
        self.lost = 0
        self.failure: OSError | None = None
        self._fd: int | None = None
        self._used = 0

    def take(self, message: Message) -> None:
        """Append a message. One that cannot be written is counted, and told of before the next that can."""
        line = f"{line_of(message, self.level)}\n".encode()
        if self.lost:
            line = f"{self.lost} messages were lost: {_reason(self.failure)}\n".encode() + line
        try:
            self._append(line)
        except OSError as error:
            self.failure = error
            self.lost += 1
            self.close()
        else:
            self.lost = 0

    def close(self) -> None:
        """Close the file; a later message opens it again."""
        if self._fd is not None:
            with suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def _append(self, line: bytes) -> None:
        """One write() a line. A file that somebody renamed or removed is left alone, and begun anew."""
        if self._fd is None or not self._has_name(self._fd):
            self.close()
            self.open()
        if self._used and self._used + len(line) > self.size:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            self.close()
            self.open()
        if self._fd is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        written = os.write(self._fd, line)
        self._used += written
        if written < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _has_name(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False

    def open(self) -> None:
        """Make the file, or open it. Raises OSError."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, _FLAGS, 0o600)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "no regular file")
        self._fd, self._used = fd, found.st_size
        if self._used and not self._ends_a_line():
            # A line that a full disk or a killed process cut off stays what it is.
            self._used += os.write(fd, b"\n")

    def _ends_a_line(self) -> bool:
        with self.path.open("rb") as reading:
            reading.seek(-1, os.SEEK_END)
            return reading.read(1) == b"\n"


def _reason(error: OSError | None) -> str:
    return "unknown" if error is None else error.strerror or str(error)
