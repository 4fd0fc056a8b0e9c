"""Reading a log while it is written to and rotated: every event once, in the order in which they were logged.

What cannot be read becomes a remark, and the reading goes on behind it. The beginning of a line is all that is left of an
event whose writer was killed, or had no room, before the event counted as logged; that is no damage.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from iscsi_initiator.eventlog import files
from iscsi_protocol.eventlog.entry import LogError, LoggedEvent, parse_line

_CHUNK = 1 << 16
MAX_LINE = 1 << 20
"""Bytes of a line that is read; an event has at most half of them."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the log that is no event. damage: the log holds what no writer of events left there."""

    text: str
    damage: bool = True


_Identity = tuple[int, int, int]


class _File:
    """One file of the log, read line by line as it grows."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd
        self._rest = b""
        self._position = 0
        self._line = 0
        self._passing_over = False

    def close(self) -> None:
        os.close(self.fd)

    def read(self) -> Iterator[LoggedEvent | Remark]:
        """What is there of whole lines."""
        if os.fstat(self.fd).st_size < self._position:
            yield Remark(f"{self.path}: the file was cut short; it is read from its beginning again", damage=False)
            self._rest, self._position, self._line, self._passing_over = b"", 0, 0, False
        while data := os.pread(self.fd, _CHUNK, self._position):
            self._position += len(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            for text in lines:
                self._line += 1
                if self._passing_over:
                    self._passing_over = False
                elif text.strip():
                    yield self._parse(text)
            if len(self._rest) > MAX_LINE:
                if not self._passing_over:
                    yield Remark(f"{self.path}: line {self._line + 1}: no event (over {MAX_LINE} bytes)")
                self._rest, self._passing_over = b"", True

    def finish(self) -> Iterator[LoggedEvent | Remark]:
        """What is there of an unfinished line, at the end of a file to which nothing is written any more."""
        if self._rest.strip() and not self._passing_over:
            self._line += 1
            yield self._parse(self._rest)
        self._rest = b""

    def _parse(self, text: bytes) -> LoggedEvent | Remark:
        try:
            return parse_line(text, self._line)
        except LogError as error:
            passed = "; passed over, its event was never logged" if error.torn else ""
            return Remark(f"{self.path}: {error}{passed}", damage=not error.torn)


class LogReader:
    """The events of a log, from its oldest file on. What `read` and `finish` give is to be used up before the next call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: deque[_File] = deque()
        self._finished: set[_Identity] = set()
        self._sequence = 0
        self._lost = False

    def close(self) -> None:
        """Close the files."""
        while self._files:
            self._files.popleft().close()

    def read(self) -> Iterator[LoggedEvent | Remark]:
        """What was logged since the last call, at first all that there is.

        Raises OSError; FileNotFoundError as long as there is no log at all.
        """
        if not self._files:
            self._files.extend(self._open_all())
        while True:
            file = self._files[0]
            yield from self._counted(file.read())
            if len(self._files) == 1:
                if files.has_name(file.fd, self.path) or not self._open_newer(file):
                    return
                # What came between the reading and the renaming.
                yield from self._counted(file.read())
            yield from self._counted(file.finish())
            self._finished.add(_identity(file.fd))
            self._files.popleft().close()

    def finish(self) -> Iterator[LoggedEvent | Remark]:
        """What `read` left of a line that may never be finished: for those who do not read on."""
        if self._files:
            file = self._files[-1]
            # No writer is in the middle of the line while the lock is held here.
            files.lock(file.fd, file.path, files.SHARED)
            try:
                left = [*file.read(), *file.finish()]
            finally:
                files.unlock(file.fd)
            yield from self._counted(left)

    def _counted(self, found: Iterable[LoggedEvent | Remark]) -> Iterator[LoggedEvent | Remark]:
        """What was found; where its numbers leap after a file that is gone, a remark goes before it."""
        for each in found:
            if isinstance(each, LoggedEvent):
                missing = each.record.sequence - self._sequence - 1
                if self._lost and missing > 0:
                    yield Remark(f"{self.path}: {missing} events were removed before they were read", damage=False)
                self._lost = False
                self._sequence = each.record.sequence
            yield each

    def _open_newer(self, last: _File) -> bool:
        """Open the files that came after one that was renamed; False while there is none."""
        try:
            found = self._open_all()
        except FileNotFoundError:
            return False
        here = _identity(last.fd)
        gone = all(_identity(file.fd) != here for file in found)
        # Files without the current one, nor the one at hand, say nothing of what comes next.
        useless = gone and found[-1].path != self.path
        self._lost = gone and not useless
        for file in found:
            if useless or _identity(file.fd) == here or _identity(file.fd) in self._finished:
                file.close()
            else:
                self._files.append(file)
        return len(self._files) > 1

    def _open_all(self) -> list[_File]:
        """Every file of the log, the oldest first, as they are between two rotations."""
        try:
            current = _File(self.path, files.open_locked(self.path, files.READ, files.SHARED))
        except FileNotFoundError:
            # A rotation was cut off between its last renaming and the next event.
            found = self._open_older() if self.path.parent.is_dir() else []
            if not found:
                raise
            return found
        try:
            return [*self._open_older(), current]
        finally:
            files.unlock(current.fd)

    def _open_older(self) -> list[_File]:
        return [_File(path, os.open(path, files.READ)) for path in files.older_files(self.path)]


def _identity(fd: int) -> _Identity:
    """What tells a file from all others that are or were there; a renaming leaves it."""
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_mtime_ns
