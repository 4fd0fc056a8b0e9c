"""Why a unit is not ready: no medium, stopped, being sanitized, or left half sanitized; and whether it rests, which it
does until a command needs the medium (SBC-3 4.11, 4.18, 4.20).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.opcodes import TEST_UNIT_READY
from iscsi_protocol.scsi.sense import Sense, progress

if TYPE_CHECKING:
    from iscsi_target.device.row import Row
    from iscsi_target.state import StateStore

SUBJECT = "sanitize"
"""Under which the store keeps that an operation is not finished: whether only another SANITIZE helps."""

STOPPED = Sense(key=SenseKey.NOT_READY, code=AdditionalSense.LOGICAL_UNIT_NOT_READY_INITIALIZING_COMMAND_REQUIRED)
NO_MEDIUM = Sense(key=SenseKey.NOT_READY, code=AdditionalSense.MEDIUM_NOT_PRESENT)
SANITIZE_FAILED = Sense(key=SenseKey.MEDIUM_ERROR, code=AdditionalSense.SANITIZE_COMMAND_FAILED)


class PowerCondition(Enum):
    """Power conditions of a unit that is not stopped, with what REQUEST SENSE tells (SPC-4 5.11, 6.39)."""

    ACTIVE = AdditionalSense.NO_ADDITIONAL_SENSE_INFORMATION
    IDLE = AdditionalSense.IDLE_CONDITION_ACTIVATED_BY_COMMAND
    STANDBY = AdditionalSense.STANDBY_CONDITION_ACTIVATED_BY_COMMAND


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


def interrupted(store: StateStore, target: str, lun: int) -> Sanitizing | None:
    """The operation that the state file knows to be not finished: one that failed, or that the end of the process cut off.
    Raises ConfigError.
    """
    restricted = store.read(target, lun, SUBJECT, bool)
    return None if restricted is None else Sanitizing(restricted=restricted)


class Readiness:
    """Whether the medium can be used. `loaded`: there is one; `started`: it was not stopped; `power`: while it was not."""

    __slots__ = ("failure", "loaded", "power", "sanitizing", "started")

    def __init__(self, failure: Sanitizing | None = None) -> None:
        self.loaded = True
        self.started = True
        self.power = PowerCondition.ACTIVE
        self.sanitizing: Sanitizing | None = None
        self.failure = failure

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

    @property
    def active(self) -> bool:
        """Whether nothing has to be looked at before a command."""
        return self.power is PowerCondition.ACTIVE and self.sense() is None

    def refusal(self, row: Row) -> Sense | None:
        """What a command finds that stands against it; None when it may be carried out, and wakes the unit if it has to."""
        sense = self.sense()
        if sense is None:
            if row.medium and row.command is not TEST_UNIT_READY:
                self.power = PowerCondition.ACTIVE
            return None
        if self.sanitizing is not None:
            return None if row.while_sanitizing else sense
        if self.failure is not None and row.sanitizes:
            return None
        return sense if row.medium else None
