"""Freed memory kept by the process, for one that moves large buffers all the time.

glibc gives large blocks back to the system as soon as they are free, and every page of the next one is then a fault:
that costs more than all else that is done to 256 KiB.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""

_KEPT = 64 << 20
_LARGEST_FROM_HEAP = 32 << 20


def keep_freed_memory() -> bool:
    """Keep up to 64 MiB of freed memory from now on, in the whole process. False where the C library cannot."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    mallopt.restype = ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST_FROM_HEAP)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT))
