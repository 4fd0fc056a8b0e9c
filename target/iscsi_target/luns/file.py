"""A logical unit in a file or a block device, all of its space allocated.

Never mapped into memory: a full disk or an I/O error must be an OSError of one command, not a signal to the process.

A failed fdatasync is final. The system forgets which pages it could not write and says so once; a later fdatasync would
claim that all is well with data that is gone. So no flush succeeds any more until the file is opened anew.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import AbstractContextManager
from pathlib import Path

from iscsi_target.completion import Buffer, FileSlice
from iscsi_target.luns.backend import Extent, LunError

SLICE_THRESHOLD = 65536
_PAGE = 4096
_ZEROS = bytes(1 << 20)


class FileLun:
    """The file at `path`, which is made with `size` bytes when it is missing.

    size: None takes the file as long as it is, down to whole blocks; otherwise an existing file has to have that very
    length. slice_threshold: reads from this many bytes on give a FileSlice. Raises LunError.
    """

    thin = False
    slow = True

    def __init__(
        self,
        path: str | Path,
        size: int | None = None,
        *,
        block_size: int = 512,
        read_only: bool = False,
        slice_threshold: int = SLICE_THRESHOLD,
    ) -> None:
        self.block_size = block_size
        self.granularity = max(block_size, _PAGE)
        self.read_only = read_only
        self._slice_threshold = slice_threshold
        self._changing = threading.RLock()
        self._flushing = threading.Lock()
        self._begun = self._flushed = 0
        self._lost: OSError | None = None
        self._slices = True
        try:
            self._fd = self._open(Path(path), size)
        except OSError as error:
            raise LunError(f"{path}: {error.strerror}") from error
        mode = os.fstat(self._fd).st_mode
        self._regular = stat.S_ISREG(mode)
        if not (self._regular or stat.S_ISBLK(mode)):
            self.close()
            raise LunError(f"{path}: is neither a file nor a block device")
        length = os.lseek(self._fd, 0, os.SEEK_END)
        self.blocks = length // block_size
        if self.blocks == 0 or (size is not None and length != size):
            self.close()
            asked = f"{size}" if size is not None else f"at least one block of {block_size}"
            raise LunError(f"{path}: is {length} bytes long, asked for {asked}")

    def _open(self, path: Path, size: int | None) -> int:
        # A pipe without a writer would be waited for.
        access = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if self.read_only else os.O_RDWR)
        if size is None or self.read_only:
            return os.open(path, access)
        try:
            fd = os.open(path, access | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return os.open(path, access)
        try:
            self._allocate(fd, size)
            _keep_file(fd, path)
        except OSError:
            os.close(fd)
            path.unlink()
            raise
        return fd

    def _allocate(self, fd: int, size: int) -> None:
        os.posix_fallocate(fd, 0, size)

    def read(self, offset: int, length: int) -> bytes | FileSlice:
        """The bytes, from the threshold on as a slice. Raises OSError, also where the file was cut short."""
        if length < self._slice_threshold or not self._slices:
            data = os.pread(self._fd, length, offset)
            return data if len(data) == length else self.load(offset, length)
        self._check_length(offset + length)
        return FileSlice(self._fd, offset, length, self._slice_failed)

    def _check_length(self, end: int) -> None:
        """Raises OSError where the file was cut short before that place."""
        if self._regular and os.fstat(self._fd).st_size < end:
            raise _too_short()

    def _slice_failed(self) -> None:
        """A slice could not be sent, too late for anything but the end of its connection. From now on reads say what is wrong
        before their first byte is sent.
        """
        self._slices = False

    def load(self, offset: int, length: int) -> bytes:
        """The bytes. Raises OSError."""
        data = os.pread(self._fd, length, offset)
        if len(data) == length:
            return data
        parts = [data]
        missing = length - len(data)
        while missing:
            data = os.pread(self._fd, missing, offset + length - missing)
            if not data:
                raise _too_short()
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def write(self, offset: int, data: Buffer) -> None:
        """Write all of the data. Raises OSError, after which any part of it may have been written."""
        with self._changing:
            written = os.pwrite(self._fd, data, offset)
            if written == len(data):
                return
            with memoryview(data) as view:
                while written < len(view):
                    with view[written:] as rest:
                        count = os.pwrite(self._fd, rest, offset + written)
                    if not count:
                        raise OSError(errno.ENOSPC, "the file takes no more bytes")
                    written += count

    def unmap(self, offset: int, length: int) -> None:
        """Write zeros. Raises OSError."""
        end = offset + length
        with memoryview(_ZEROS) as zeros:
            while offset < end:
                step = min(end - offset, len(zeros))
                self.write(offset, zeros[:step])
                offset += step

    def uninterrupted(self) -> AbstractContextManager[object]:
        """Workers that fill or give back ranges wait between their steps."""
        return self._changing

    def extent(self, offset: int) -> Extent:
        """All of the file has storage."""
        return Extent(mapped=True, length=self.blocks * self.block_size - offset)

    def prefetch(self, offset: int, length: int) -> None:
        """Ask the system to read ahead. Raises OSError."""
        os.posix_fadvise(self._fd, offset, length, os.POSIX_FADV_WILLNEED)

    def flush(self) -> None:
        """Call fdatasync, once for all who come while another one goes on. Raises OSError, from the first failure on always:
        some of what was written is lost, or the file was cut short.
        """
        if self.read_only:
            return
        wanted = self._begun + 1
        with self._flushing:
            if self._lost is not None:
                raise OSError(self._lost.errno, self._lost.strerror)
            if self._flushed >= wanted:
                return
            self._begun += 1
            try:
                os.fdatasync(self._fd)
                self._check_length(self.blocks * self.block_size)
            except OSError as error:
                self._lost = error
                raise
            self._flushed = self._begun

    def close(self) -> None:
        """Close the file; slices of it cannot be read from then on."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _too_short() -> OSError:
    return OSError(errno.EIO, "the file is shorter than its logical unit")


def _keep_file(fd: int, path: Path) -> None:
    """Let a new file outlive a crash: its length, its space, and its name in the directory. Raises OSError."""
    os.fsync(fd)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:  # of file systems whose directories cannot be asked for that
            raise
    finally:
        os.close(directory)
