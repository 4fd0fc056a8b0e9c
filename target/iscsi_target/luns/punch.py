"""fallocate(2) with FALLOC_FL_PUNCH_HOLE, which Python's os module does not offer."""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any

_KEEP_SIZE = 0x01
_PUNCH_HOLE = 0x02
_CANNOT = (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV)


@cache
def _fallocate() -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), "fallocate64", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
        function.restype = ctypes.c_int
    return function


def punch_hole(fd: int, offset: int, length: int) -> bool:
    """Deallocate a range (length at least 1), which then reads as zeros; False where this cannot be done.

    Raises OSError for any other failure.
    """
    fallocate = _fallocate()
    if fallocate is None:
        return False
    while fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, length):
        code = ctypes.get_errno()
        if code in _CANNOT:
            return False
        if code != errno.EINTR:
            raise OSError(code, os.strerror(code))
    return True
