"""Freed memory kept by the process for a while, for one that moves large buffers all the time.

glibc gives large blocks back to the system as soon as they are free, and every page of the next one is then a fault:
that costs more than all else that is done to 256 KiB. So they are kept, and what a rare peak took is given back later.
"""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""From glibc's malloc.h."""

GIVE_BACK_EVERY = 20.0
"""Seconds after which freed memory is given back: the faults that follow take a few milliseconds."""

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


def give_back_freed_memory() -> bool:
    """Give the pages of all freed memory back to the system, once. Whether there were any, and the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim.argtypes = (ctypes.c_size_t,)
    trim.restype = ctypes.c_int
    return bool(trim(0))
