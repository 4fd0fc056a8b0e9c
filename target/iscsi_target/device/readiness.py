"""Why a unit is not ready: no medium, stopped, being sanitized, or left half sanitized (SBC-3 4.11, 4.18, 4.20)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense, progress

if TYPE_CHECKING:
    from iscsi_target.device.row import Row

STOPPED = Sense(key=SenseKey.NOT_READY, code=AdditionalSense.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED)
NO_MEDIUM = Sense(key=SenseKey.NOT_READY, code=AdditionalSense.MEDIUM_NOT_PRESENT)
SANITIZE_FAILED = Sense(key=SenseKey.MEDIUM_ERROR, code=AdditionalSense.SANITIZE_COMMAND_FAILED)


class Sanitizing:
    """A sanitize operation: a worker writes to it, its logical unit reads.

    restricted: after a failure only another SANITIZE helps. seconds: how long it lasts at least. done, waited: how much
    of the work and of that time is over, 0 to 1. over: nothing happens any more; failed: it did not succeed.
    """

    __slots__ = ("done", "failed", "over", "restricted", "seconds", "waited")

    def __init__(self, *, restricted: bool, seconds: float = 0.0) -> None:
        self.restricted = restricted
        self.seconds = seconds
        self.done = self.waited = 0.0
        self.over = self.failed = False

    def sense(self) -> Sense:
        """NOT READY, SANITIZE IN PROGRESS with the progress indication."""
        fraction = min(self.done, self.waited) if self.seconds else self.done
        return Sense(
            key=SenseKey.NOT_READY,
            code=AdditionalSense.LOGICAL_UNIT_NOT_READY_SANITIZE_IN_PROGRESS,
            sense_key_specific=progress(fraction),
        )


class Readiness:
    """Whether the medium can be used. `loaded`: there is one; `started`: it was not stopped."""

    __slots__ = ("failure", "loaded", "sanitizing", "started")

    def __init__(self) -> None:
        self.loaded = True
        self.started = True
        self.sanitizing: Sanitizing | None = None
        self.failure: Sanitizing | None = None

    def sense(self) -> Sense | None:
        """What stands against commands that need the medium; None when nothing does."""
        sanitizing = self.sanitizing
        if sanitizing is not None:
            if not sanitizing.over:
                return sanitizing.sense()
            self.sanitizing = None
            self.failure = sanitizing if sanitizing.failed else None
        if self.failure is not None:
            return SANITIZE_FAILED
        if not self.loaded:
            return NO_MEDIUM
        return None if self.started else STOPPED

    def refusal(self, row: Row | None) -> Sense | None:
        """What a command finds that stands against it; None when it may be carried out (None: no command at all)."""
        sense = self.sense()
        if sense is None or row is None:
            return None
        if self.sanitizing is not None:
            return None if row.while_sanitizing else sense
        if self.failure is not None and row.sanitizes:
            return None
        return sense if row.medium else None
