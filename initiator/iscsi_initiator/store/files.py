"""The files of a store on the disk: read whole, replaced whole, and locked against a second process.

A replacement is written beside the file, synchronised, renamed over it, and the folder synchronised: whoever looks, at any
time and behind any crash, finds the old content or the new one. What a crash left half written has a name that nobody
reads, and goes when the store is opened next.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from pathlib import Path

_PRIVATE = 0o600
_CHUNK = 1 << 20
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
_LOCK = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Busy(Exception):
    """The lock is another process's. holder: what it wrote into the lock, its process number as a rule."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


def make_folder(path: Path) -> None:
    """Make the folder for its owner alone, with those above it, so that it outlives a crash. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)  # noqa: PTH102 - the tests stand in for os
    _synchronise(path.parent)


def lock(path: Path) -> int:
    """Take the lock at once; the descriptor that holds it, to be closed. Raises Busy, or OSError."""
    fd = os.open(path, _LOCK, _PRIVATE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
        os.close(fd)
        raise Busy(holder) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def read(path: Path, limit: int) -> bytes | None:
    """All of a file; None where there is none. Raises OSError, EFBIG for one of more than `limit` bytes."""
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        return None
    data = bytearray()
    try:
        while len(data) <= limit and (piece := os.read(fd, _CHUNK)):
            data += piece
    finally:
        os.close(fd)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"more than {limit} bytes", str(path))
    return bytes(data)


def new_name(path: Path) -> Path:
    """Where the replacement of a file is written."""
    return path.with_name(f".{path.name}.new")


def discard(path: Path) -> None:
    """Remove what a crash may have left of a replacement; the caller has the lock. Raises OSError."""
    with suppress(FileNotFoundError):
        os.unlink(new_name(path))  # noqa: PTH108


def replace(path: Path, data: bytes) -> None:
    """Give the file this content, readable to its owner alone; it is on the disk when this returns. Raises OSError.

    The caller has the lock. Behind an error the file has its old content, unless it was the folder that could not be
    synchronised: then it has the new one, which a crash may undo.
    """
    new = new_name(path)
    discard(path)
    fd = os.open(new, _NEW, _PRIVATE)
    try:
        try:
            _write(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(new, path)  # noqa: PTH104
    except OSError:
        with suppress(OSError):
            os.unlink(new)  # noqa: PTH108
        raise
    _synchronise(path.parent)


def _write(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _synchronise(folder: Path) -> None:
    fd = os.open(folder, _FOLDER)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
