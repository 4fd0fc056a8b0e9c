"""What is asked of a device, what it asks of its paths, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from iscsi_initiator.requests import Failure, ScsiResult
from iscsi_protocol.pdu import Buffer


class DeviceRequest:
    """One SCSI command for a device, whichever paths it takes. `result` or `failure` is set once it has ended.

    data_in: a writable buffer of exactly the bytes to read, or their number; data_out: what to write; neither is copied, and
    both belong to the device until the request has ended. replayable: doing it twice is as good as once, so that it is sent
    again where nobody knows whether it was done. token: the caller's.
    """

    __slots__ = (
        "attentions",
        "cancelled",
        "cdb",
        "data_in",
        "data_out",
        "failure",
        "replayable",
        "result",
        "retries",
        "token",
    )

    def __init__(
        self,
        cdb: bytes,
        *,
        data_in: memoryview | bytearray | int = 0,
        data_out: Buffer = b"",
        replayable: bool = True,
        token: object = None,
    ) -> None:
        self.cdb = cdb
        self.data_in = bytearray(data_in) if isinstance(data_in, int) else data_in
        self.data_out = data_out
        self.replayable = replayable
        self.token = token
        self.result: ScsiResult | None = None
        self.failure: Failure | None = None
        self.retries = 0
        self.attentions = 0
        self.cancelled = False

    @property
    def ended(self) -> bool:
        """Whether there is a result, or a failure."""
        return self.result is not None or self.failure is not None


class Purpose(Enum):
    """Why a command goes over a path."""

    REQUEST = "a request from above"
    REGISTRATION = "registration of the persistent reservation key"
    VERIFICATION = "path verification"


@dataclass(slots=True, eq=False)
class Attempt:
    """One command on its way over one path. lun: of the device on that path; generation: how often the path had come up."""

    request: DeviceRequest
    path: int
    lun: int | bytes
    generation: int
    purpose: Purpose = Purpose.REQUEST


@dataclass(frozen=True, slots=True)
class Send:
    """Carry out an attempt: the device waits for `completed`, which has to come for each."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Ended:
    """A request has ended; see its `result` and `failure`."""

    request: DeviceRequest


class Notification(Enum):
    """What becomes of a device and its paths."""

    PATH_UP = "the path is up"
    PATH_DOWN = "the path is down"
    PATH_REFUSED = "the path leads to another logical unit"
    NOT_REGISTERED = "the reservation key could not be registered with the path"
    PREEMPTED = "another node took the registration away"
    REMOVED = "the device is gone: no path came back in time"
    RETURNED = "the device is back"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened. path: None where it concerns the device as a whole."""

    what: Notification
    path: int | None = None


Action = Send | Ended | Notice
