"""A logical unit in a sparse file: space comes with the first write and goes back with UNMAP (fallocate, lseek)."""

from __future__ import annotations

import errno
import os

from iscsi_target.luns.backend import Extent
from iscsi_target.luns.file import FileLun
from iscsi_target.luns.punch import punch_hole

_SAYS_NOTHING = (errno.EINVAL, errno.EOPNOTSUPP)


class SparseLun(FileLun):
    """As FileLun, thin provisioned. Where the file system cannot punch holes, unmapped blocks are written with zeros."""

    thin = True

    def _allocate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def unmap(self, offset: int, length: int) -> None:
        """Punch a hole. Raises OSError."""
        with self._changing:
            punched = not length or punch_hole(self._fd, offset, length)
        if not punched:
            super().unmap(offset, length)

    def extent(self, offset: int) -> Extent:
        """Data or hole as the file system knows it, which may be by larger pieces than blocks. Raises OSError."""
        end = self.blocks * self.block_size
        try:
            data = os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                self._check_length(end)
                return Extent(mapped=False, length=end - offset)
            if error.errno in _SAYS_NOTHING:
                return Extent(mapped=True, length=end - offset)
            raise
        if data > offset:
            return Extent(mapped=False, length=min(data, end) - offset)
        return Extent(mapped=True, length=min(os.lseek(self._fd, offset, os.SEEK_HOLE), end) - offset)
