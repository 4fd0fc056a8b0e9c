"""The file of a trace: a regular file of this trace's own, written at offsets."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from iscsi_initiator.tracing.layout import MAGIC

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


class TraceFile:
    """Opens the file, for its owner alone, and empties it. What is there has to be a trace file or empty: nothing else is
    overwritten. Raises OSError: EEXIST for another file, EBUSY for one that another trace writes to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, _FLAGS, 0o600)
        try:
            self._claim()
        except BaseException:
            os.close(self._fd)
            raise

    def _claim(self) -> None:
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EEXIST, "it is no regular file", str(self.path))
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EBUSY, "another trace writes to it", str(self.path)) from None
        if found.st_size and os.pread(self._fd, len(MAGIC), 0) != MAGIC:
            raise OSError(errno.EEXIST, "it is there and is no trace file", str(self.path))
        os.ftruncate(self._fd, 0)

    def write(self, offset: int, data: bytes) -> None:
        """Write all of it. Raises OSError, also where there is room for a part alone."""
        try:
            written = os.pwrite(self._fd, data, offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        if written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)
