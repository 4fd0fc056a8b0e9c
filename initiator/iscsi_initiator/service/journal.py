"""Where the service's events go (guide, Appendix B: source MSiSCSI)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from iscsi_initiator.eventlog import EventLogWriter


@dataclass
class Journal:
    """writer: the log that the driver's events go to as well, None for no log at all; wall: seconds since 1970.

    failure: why an event was not logged, the last time that one was not.
    """

    writer: EventLogWriter | None
    wall: Callable[[], float] = time.time
    failure: OSError | None = None

    def tell(self, event: int, *inserts: str) -> None:
        """Log an event with its insertion strings. The service does its work with or without a log."""
        if self.writer is None:
            return
        try:
            self.writer.write_service(event, inserts, self.wall())
        except OSError as error:
            self.failure = error
