"""Where the service's events go (guide, Appendix B: source MSiSCSI)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.service.policy import CONFORMING, ServicePolicy
from iscsi_initiator.tracing.flags import ERROR, FATAL
from iscsi_initiator.tracing.teller import Teller
from iscsi_protocol.eventlog.service_rows import SERVICE_EVENTS

START_FAILED = 106
_PLAIN = 103
_OTHER_EVENTS = (_PLAIN, 109)
"""Events without strings: what one is logged as that has none either, and what that one is."""


@dataclass
class Journal:
    """writer: the log that the driver's events go to as well, None for no log at all; wall: seconds since 1970.

    teller: is told of each event too; policy: what it does wrong; failure: why an event was not logged, the last time that
    one was not.
    """

    writer: EventLogWriter | None
    wall: Callable[[], float] = time.time
    policy: ServicePolicy = CONFORMING
    failure: OSError | None = None
    teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self.teller = Teller(self._now)

    def _now(self) -> float:
        """The clock that it has by now."""
        return self.wall()

    def tell(self, event: int, *inserts: str) -> None:
        """Log an event with its insertion strings. The service does its work with or without a log."""
        flag = FATAL if event == START_FAILED else ERROR
        if self.teller.level & flag:
            words = f": {'; '.join(inserts)}" if inserts else ""
            self.teller.tell(flag, f"event {event}: {SERVICE_EVENTS[event].message}{words}")
        said = (event, inserts)
        if event in self.policy.logs_wrong:
            said = (event, tuple(f"{each}?" for each in inserts)) if inserts else (_OTHER_EVENTS[event == _PLAIN], ())
        for _ in range(self._times(event)):
            self._write(lambda writer: writer.write_service(*said, self.wall()))

    def tell_driver(self, event: int) -> None:
        """Log an event of the driver that has no extra data."""
        extra = b"\0" if event in self.policy.logs_wrong else b""
        for _ in range(self._times(event)):
            self._write(lambda writer: writer.write(event, extra, self.wall()))

    def _times(self, event: int) -> int:
        """How often it is logged."""
        return 0 if event in self.policy.never_logs else 1 + (event in self.policy.logs_twice)

    def _write(self, write: Callable[[EventLogWriter], object]) -> None:
        if self.writer is None:
            return
        try:
            write(self.writer)
        except OSError as error:
            self.failure = error
