"""Appending to the log, so that neither a killed process nor a second one spoils it.

Every event is one line, and every line one write() at the end of the file, under a lock. Several processes may therefore
share a log, which commands that run side by side do by default: their events get one common sequence of numbers.

An event whose `write` returned is with the operating system: it outlives the process, whatever kills it. Nothing is
synchronised to the disk, because waiting for the disk would hold up the sessions; a power failure may cost the last events,
and may tear the last line. A torn line stays what it is: the next event begins a line of its own behind it.
"""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from iscsi_initiator.eventlog import files
from iscsi_protocol.eventlog.entry import LogError, LoggedEvent, parse_line
from iscsi_protocol.eventlog.parts import printable, shortened
from iscsi_protocol.eventlog.record import EventRecord
from iscsi_protocol.eventlog.rows import Severity
from iscsi_protocol.eventlog.service_rows import SERVICE_EVENTS, SERVICE_SOURCE

MAX_BYTES = 4 << 20
KEEP = 4
_CHUNK = 1 << 16
_ULONG = 0xFFFFFFFF


class EventLogWriter:
    """Appends events to a file, which is made, with its folder, at the first event.

    max_bytes: the file is rotated before it would grow past this (a single line may be longer); keep: how many older files
    there are, 1 or more; what is older than they goes. Sequence numbers go on from the last event in the log. Raises
    ValueError for numbers below 1.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, keep: int = KEEP) -> None:
        if max_bytes < 1 or keep < 1:
            raise ValueError("a log has 1 byte and 1 older file at least")
        self.path = path
        self.max_bytes = max_bytes
        self.keep = keep
        self.failure: OSError | None = None
        self._fd: int | None = None
        self._size = -1
        self._sequence = 0

    def attempt(self, event_id: int, extra: bytes, wall: float, text: str = "") -> None:
        """As `write`; but what goes wrong is kept in `failure`, for those who do their work with or without a log."""
        try:
            self.write(event_id, extra, wall, text)
        except OSError as error:
            self.failure = error

    def write(self, event_id: int, extra: bytes, wall: float, text: str = "") -> LoggedEvent:
        """Log a driver event. wall: seconds since 1970, UTC; text: what was wrong, cut where it is long.

        Raises OSError, with the event not logged; KeyError for an event that has no row.
        """
        said = shortened(printable(text))
        return self._write(LoggedEvent(datetime.fromtimestamp(wall, UTC), EventRecord.of(event_id, extra), said))

    def write_service(self, event_id: int, inserts: tuple[str, ...], wall: float) -> LoggedEvent:
        """Log an event of the service. inserts: its strings, in the order of its row. Raises as `write`."""
        if len(inserts) != len(SERVICE_EVENTS[event_id].inserts):
            raise ValueError(f"event {event_id} has the strings {SERVICE_EVENTS[event_id].inserts}")
        record = EventRecord(error_code=Severity.ERROR << 24 | event_id)
        said = tuple(shortened(printable(each)) for each in inserts)
        return self._write(LoggedEvent(datetime.fromtimestamp(wall, UTC), record, "", SERVICE_SOURCE, said))

    def _write(self, event: LoggedEvent) -> LoggedEvent:
        fd = self._locked()
        try:
            while True:
                beginning = self._look(fd)
                event = replace(event, record=replace(event.record, sequence=self._sequence + 1 & _ULONG))
                line = beginning + event.line()
                if not self._size or self._size + len(line) <= self.max_bytes:
                    break
                files.rotate(self.path, self.keep)
                fd = self._locked()
            self._append(fd, line)
        finally:
            if self._fd is not None:
                files.unlock(self._fd)
        self._sequence = event.record.sequence
        return event

    def close(self) -> None:
        """Close the file; a later event opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _locked(self) -> int:
        """The file that has the name now, under the exclusive lock."""
        if self._fd is not None:
            files.lock(self._fd, self.path, files.EXCLUSIVE)
            if files.has_name(self._fd, self.path):
                return self._fd
            self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = files.open_locked(self.path, files.APPEND, files.EXCLUSIVE)
        self._size = -1
        return self._fd

    def _look(self, fd: int) -> bytes:
        """Find the end: where it is, and with which number. Gives what ends a torn line."""
        size = os.fstat(fd).st_size
        if size == self._size:
            return b""
        self._size = size
        sequence = _last_sequence(fd, size)
        for path in reversed(files.older_files(self.path)):
            if sequence is not None:
                break
            older = os.open(path, files.READ)
            try:
                sequence = _last_sequence(older, os.fstat(older).st_size)
            finally:
                os.close(older)
        self._sequence = sequence or 0
        return b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""

    def _append(self, fd: int, line: bytes) -> None:
        self._size = -1
        try:
            written = os.write(fd, line)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        if written < len(line):
            # The rest would be a write of its own, which somebody who is killed in between does not get to.
            raise OSError(errno.ENOSPC, f"room for {written} of {len(line)} bytes only", str(self.path))
        self._size = os.fstat(fd).st_size


def _last_sequence(fd: int, size: int) -> int | None:
    """The number of the last event in a file; None where there is none."""
    length = _CHUNK
    while True:
        start = max(0, size - length)
        lines = os.pread(fd, size - start, start).split(b"\n")
        # The first piece may be the end of a line whose beginning is further ahead.
        for text in reversed(lines[1:] if start else lines):
            try:
                return parse_line(text).record.sequence
            except LogError:
                continue
        if not start:
            return None
        length *= 4
