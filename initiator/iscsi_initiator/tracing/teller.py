"""Where debug messages are told, and who takes them.

Whoever has something to tell tests `level` first, which is one number: with none of the bit in it nothing is worded, and
nothing else is done.

    if teller.level & TCP:
        teller.tell(TCP, f"connecting to {portal}")
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from iscsi_initiator.tracing.flags import merged
from iscsi_protocol.eventlog.parts import printable, shortened

TEXT_LIMIT = 768
"""Characters of a message; what is longer is cut, and says so."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. mask: its bit; time: nanoseconds since 1970; process, thread: ids of the system; text: one line."""

    mask: int
    time: int
    process: int
    thread: int
    text: str


Take = Callable[[Message], None]
"""Takes a message. Raises nothing: what goes wrong with it is its own affair."""


class Teller:
    """wall: seconds since 1970; ids: of process and thread. level: every bit that anybody takes.

    lock: held while a message is told, so that threads may tell too.
    """

    __slots__ = ("_ids", "_takers", "_wall", "level", "lock")

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        ids: Callable[[], tuple[int, int]] = lambda: (os.getpid(), threading.get_native_id()),
    ) -> None:
        self.level = 0
        self.lock = threading.RLock()
        self._wall = wall
        self._ids = ids
        self._takers: list[tuple[int, Take]] = []

    def add(self, mask: int, take: Take) -> None:
        """Have messages of these bits taken from now on."""
        self._takers = [*self._takers, (mask, take)]
        self.level = merged(each for each, _ in self._takers)

    def remove(self, take: Take) -> None:
        """Have no more taken by this one."""
        self._takers = [each for each in self._takers if each[1] != take]
        self.level = merged(each for each, _ in self._takers)

    def tell(self, flag: int, text: str) -> None:
        """Tell a message of this bit to all who take it. text: whatever is in it becomes one printable line."""
        with self.lock:
            process, thread = self._ids()
            line = shortened(printable(text), TEXT_LIMIT)
            message = Message(flag, int(self._wall() * 1_000_000_000), process, thread, line)
            for mask, take in self._takers:
                if mask & flag:
                    take(message)
