"""The files of a log, their names, and the lock that writers and readers meet at.

FILE is the one that is written to; FILE.1 was it before, FILE.2 before that. The lock is flock on FILE itself, so there is
nothing to clean up behind a process that was killed. A lock that was waited for may be that of a file which was renamed in
the meantime; therefore whoever has it looks whether the name still leads to that file, and begins anew if not.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

READ = os.O_RDONLY | os.O_CLOEXEC
APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
SHARED, EXCLUSIVE = fcntl.LOCK_SH, fcntl.LOCK_EX


def older(path: Path, number: int) -> Path:
    """The name of the file that was written to before; number: how many rotations ago, from 1."""
    return path.with_name(f"{path.name}.{number}")


def older_files(path: Path) -> list[Path]:
    """Those that exist, the oldest first. A number may be missing, where a rotation was cut off. Raises OSError."""
    before = f"{path.name}."
    numbers = [each.name.removeprefix(before) for each in path.parent.iterdir() if each.name.startswith(before)]
    counted = sorted({int(text) for text in numbers if text.isdecimal() and text.isascii() and text[0] != "0"})
    return [older(path, number) for number in reversed(counted)]


def rotate(path: Path, keep: int) -> None:
    """Rename the file to its first older name, and what is there to the next; keep: how many older ones there may be.

    Each step is one atomic rename to a name that is free, or to that of the oldest, which goes. A process that is killed
    between two of them leaves a gap in the numbers, which the next rotation closes; no event is lost or there twice.
    The caller has the exclusive lock. Raises OSError.
    """
    free = next((number for number in range(1, keep) if not older(path, number).exists()), keep)
    for number in range(free, 1, -1):
        older(path, number - 1).replace(older(path, number))
    path.replace(older(path, 1))


def lock(fd: int, path: Path, how: int) -> None:
    """Wait for the lock, SHARED or EXCLUSIVE. Raises OSError with the file's name where the file system has no locks."""
    try:
        fcntl.flock(fd, how)
    except OSError as error:
        raise OSError(error.errno, f"no lock ({error.strerror})", str(path)) from error


def unlock(fd: int) -> None:
    """Give the lock up."""
    fcntl.flock(fd, fcntl.LOCK_UN)


def has_name(fd: int, path: Path) -> bool:
    """Whether the name leads to this open file. Raises OSError, but for a name that leads nowhere."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def open_locked(path: Path, flags: int, how: int) -> int:
    """Open the file that has the name once the lock is there; flags: READ, or APPEND, which makes it. Raises OSError."""
    while True:
        fd = os.open(path, flags, 0o666)
        try:
            lock(fd, path, how)
            if has_name(fd, path):
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
