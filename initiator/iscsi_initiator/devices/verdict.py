"""What the end of an attempt means for its request: the guide's DsmInterpretError, as a table."""

from __future__ import annotations

from enum import Enum

from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_protocol.scsi.codes import AdditionalSense, SenseKey
from iscsi_protocol.scsi.sense import Sense, parse_sense
from iscsi_protocol.scsi.status import Status


class Verdict(Enum):
    """What is to be done."""

    FINAL = "the request has ended"
    AGAIN = "the unit wanted to tell something first: send it again at once"
    LATER = "try again after RetryInterval"
    PATH = "the path failed: send it over another one"


_PATH = frozenset({Failure.NO_DEVICE, Failure.CONNECTION_LOST, Failure.NOT_CONNECTED, Failure.LOGIN_FAILED})
_HOPELESS = frozenset({Failure.UNUSABLE_BUFFER, Failure.NO_SUCH_TASK, Failure.UNSUPPORTED})
_NOT_NOW = frozenset({Status.BUSY, Status.TASK_SET_FULL, Status.TASK_ABORTED})
_BECOMING_READY = 0x0401
_NOT_STARTED = frozenset({Status.BUSY, Status.TASK_SET_FULL})


def verdict_of(outcome: ScsiResult | Failure) -> Verdict:
    """What is to be done about a request whose attempt came to this. What the table does not know is final."""
    if isinstance(outcome, Failure):
        if outcome in _PATH:
            return Verdict.PATH
        return Verdict.FINAL if outcome in _HOPELESS else Verdict.LATER
    if outcome.response:
        return Verdict.LATER
    if outcome.status in _NOT_NOW:
        return Verdict.LATER
    sense = sense_of(outcome)
    if sense is None or sense.deferred:
        return Verdict.FINAL
    if sense.key == SenseKey.UNIT_ATTENTION:
        return Verdict.AGAIN
    waits = sense.key == SenseKey.NOT_READY and sense.code == _BECOMING_READY
    return Verdict.LATER if waits or sense.key == SenseKey.ABORTED_COMMAND else Verdict.FINAL


def sense_of(outcome: ScsiResult | Failure) -> Sense | None:
    """The sense data of a CHECK CONDITION, else None."""
    if isinstance(outcome, Failure) or outcome.status != Status.CHECK_CONDITION:
        return None
    return parse_sense(outcome.sense)


def nothing_was_done(outcome: ScsiResult | Failure) -> bool:
    """Whether the unit says that it did nothing, so that even what must not be done twice may be sent again."""
    if isinstance(outcome, Failure) or outcome.response:
        return False
    sense = sense_of(outcome)
    return outcome.status in _NOT_STARTED or (
        sense is not None and sense.key in {SenseKey.UNIT_ATTENTION, SenseKey.NOT_READY} and not sense.deferred
    )


def tells_of_preemption(outcome: ScsiResult | Failure) -> bool:
    """Whether another node removed this one's registration (SPC-4 5.12.11.2.6)."""
    sense = sense_of(outcome)
    return sense is not None and sense.code == AdditionalSense.REGISTRATIONS_PREEMPTED
