"""Commands that go on until they are interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LOOK_INTERVAL = 0.25
"""Seconds after which such a command looks whether it was interrupted."""


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Whether an interrupt came. The first one is noted and not raised, since an exception is lost where it happens to meet
    a destructor. There is none where it is ignored, as by what runs behind a shell, nor in a thread of its own.
    """
    came = False

    def note(*_: object) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, former)

    former = signal.getsignal(signal.SIGINT)
    if former is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, former)
