"""Who changes blocks: the loop, in steps that write what follows from what they read, and workers, a piece at a time."""

from __future__ import annotations

import threading
from types import TracebackType


class Turn:
    """Held by one of them at a time. A copy, as of a unit that is copied with all its memory, is held by nobody."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()
