"""Where the service's events go (guide, Appendix B: source MSiSCSI)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.tracing.flags import ERROR, FATAL
from iscsi_initiator.tracing.teller import Teller
from iscsi_protocol.eventlog.service_rows import SERVICE_EVENTS

START_FAILED = 106


@dataclass
class Journal:
    """writer: the log that the driver's events go to as well, None for no log at all; wall: seconds since 1970.

    teller: is told of each event too. failure: why an event was not logged, the last time that one was not.
    """

    writer: EventLogWriter | None
    wall: Callable[[], float] = time.time
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
            said = f": {'; '.join(inserts)}" if inserts else ""
            self.teller.tell(flag, f"event {event}: {SERVICE_EVENTS[event].message}{said}")
        if self.writer is None:
            return
        try:
            self.writer.write_service(event, inserts, self.wall())
        except OSError as error:
            self.failure = error
