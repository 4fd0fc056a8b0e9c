"""What is asked of a session from above, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from iscsi_initiator.counters import NodeFault, SessionFault
from iscsi_initiator.upcalls import UpCallWanted
from iscsi_protocol.history import Endpoint
from iscsi_protocol.pdu import Buffer
from iscsi_protocol.pdu.codes import TaskAttribute, TaskFunction
from iscsi_protocol.scsi.lun import encode_lun

Pairs = tuple[tuple[str, str], ...]

_structure = lru_cache(maxsize=256)(encode_lun)
"""Requests name the same few LUNs again and again."""


class Failure(Enum):
    """Why a request came to nothing."""

    TIMED_OUT = "no answer in time"
    ABORTED = "aborted"
    RESET = "ended by a reset or another task management function"
    NO_DEVICE = "the connection was lost and did not come back in time"
    CONNECTION_LOST = "the connection was lost"
    PROTOCOL_ERROR = "the target broke the protocol"
    DATA_MISSING = "data is missing"
    REJECTED = "the target rejected the request"
    TARGET_FULL = "the target rejected the request for lack of resources"
    UNSUPPORTED = "the target rejected the request as one that it does not support"
    NO_SUCH_TASK = "the task that it is about is not on its way"
    NOT_CONNECTED = "there is no such session, or it is closed"
    LOGIN_FAILED = "the login failed"
    NO_RESOURCES = "a limit of this initiator is reached"
    UNUSABLE_BUFFER = "the buffer cannot be used"


def slots_of(instance: object) -> dict[str, object]:
    """Slot to value of an object that has slots alone, as copy and pickle see it."""
    state = object.__getstate__(instance)
    slots = state[1] if isinstance(state, tuple) else None
    if not isinstance(slots, dict):
        raise TypeError(f"{type(instance).__name__} has more than slots")
    return slots


class Request:
    """One piece of work for a session. `result` or `failure` is set when it is done. timeout: seconds, None = setting.

    due: until when it may wait to be sent; held_until: until when it waits for a lost connection; hold_left: seconds that it
    may wait for the next one that is lost, None for as many as the setting has; io, counted: whether it counts as I/O, and
    does count, against what is limited for all sessions together.
    """

    __slots__ = ("counted", "due", "failure", "held_until", "hold_left", "io", "result", "session", "timeout", "token")

    def __init__(self, timeout: float | None = None, token: object = None) -> None:
        self.timeout = timeout
        self.token = token
        self.session = 0
        self.due: float | None = None
        self.held_until: float | None = None
        self.hold_left: float | None = None
        self.result: Any = None
        self.failure: Failure | None = None
        self.counted = False
        self.io = False


class ScsiRequest(Request):
    """A SCSI command. lun: number or 8-byte structure; cdb: any length up to 260 bytes.

    data_out: what to write; it is not copied and must not change until the request is done. data_in: a writable buffer of
    exactly the bytes to read, or their number. Both make a bidirectional command. A buffer that is read-only, released or
    in pieces fails the request when it is to be sent (event 56). management: sent through the management
    interface (event 47 and WMIRequestTimeout). hold: start again when the session was recovered, instead of failing.
    """

    __slots__ = ("attribute", "cdb", "data_in", "data_out", "hold", "lun", "management")

    def __init__(
        self,
        lun: int | bytes,
        cdb: bytes,
        *,
        data_in: int | bytearray | memoryview = 0,
        data_out: Buffer = b"",
        attribute: int = TaskAttribute.SIMPLE,
        timeout: float | None = None,
        management: bool = False,
        hold: bool = True,
        token: object = None,
    ) -> None:
        # As Request has it, without the call: there are so many.
        self.timeout = timeout
        self.token = token
        self.session = 0
        self.due = self.held_until = self.hold_left = self.failure = None
        self.result = None
        self.counted = False
        self.lun = _structure(lun) if isinstance(lun, int) else bytes(lun)
        self.cdb = bytes(cdb)
        self.data_in = bytearray(data_in) if isinstance(data_in, int) else data_in
        self.data_out = data_out
        self.attribute = attribute
        self.management = management
        self.io = not management
        self.hold = hold
        if len(self.lun) != 8:
            raise ValueError("a LUN has 8 bytes")
        if not 1 <= len(self.cdb) <= 260:
            raise ValueError("a CDB has 1 to 260 bytes")

    def __getstate__(self) -> tuple[None, dict[str, object]]:
        """What a copy needs: buffers of its own."""
        state = slots_of(self)
        return None, {**state, "data_in": bytearray(self.data_in), "data_out": bytes(self.data_out)}


class TaskManagement(Request):
    """A task management function. referenced: the SCSI request that ABORT TASK and QUERY TASK are about."""

    __slots__ = ("function", "lun", "referenced")

    def __init__(
        self,
        function: int,
        lun: int | bytes = 0,
        referenced: ScsiRequest | None = None,
        *,
        timeout: float | None = None,
        token: object = None,
    ) -> None:
        super().__init__(timeout, token)
        self.function = function
        self.lun = encode_lun(lun) if isinstance(lun, int) else bytes(lun)
        self.referenced = referenced
        if function == TaskFunction.TASK_REASSIGN:
            raise ValueError("TASK REASSIGN belongs to error recovery level 2")


class Ping(Request):
    """A NOP-Out with data of our choice, which the target has to echo."""

    __slots__ = ("data",)

    def __init__(self, data: bytes = b"", *, timeout: float | None = None, token: object = None) -> None:
        super().__init__(timeout, token)
        self.data = data


class TextNegotiation(Request):
    """A text exchange in full feature phase: SendTargets, or keys that may be declared anew.

    asked_for: by the target, which gets it at once; cid: the connection that it is about, None for any.
    """

    __slots__ = ("asked_for", "cid", "pairs")

    def __init__(
        self,
        pairs: Pairs = (),
        *,
        timeout: float | None = None,
        token: object = None,
        asked_for: bool = False,
        cid: int | None = None,
    ) -> None:
        super().__init__(timeout, token)
        self.pairs = pairs
        self.asked_for = asked_for
        self.cid = cid

    @property
    def send_targets(self) -> bool:
        """Whether this is a SendTargets request, which has its own event (46)."""
        return any(key == "SendTargets" for key, _ in self.pairs)


@dataclass(frozen=True, slots=True)
class ScsiResult:
    """How a SCSI command ended. sense: without the length; received: bytes that the target sent; underflow, overflow:
    residual of the write, or of the read; read_underflow, read_overflow: of the read of a bidirectional command.
    """

    status: int
    response: int = 0
    sense: bytes = b""
    received: int = 0
    underflow: int = 0
    overflow: int = 0
    read_underflow: int = 0
    read_overflow: int = 0
    response_data: bytes = b""


@dataclass(frozen=True, slots=True)
class TaskManagementResult:
    """The response code of a task management function."""

    response: int


@dataclass(frozen=True, slots=True)
class PingResult:
    """What came back of a ping, and whether it is what was sent."""

    data: bytes
    echoed: bool


@dataclass(frozen=True, slots=True)
class TextResult:
    """What the target answered."""

    pairs: Pairs


@dataclass(frozen=True, slots=True)
class EventLogged:
    """A driver event: to be written to the event log. extra: the dump's extra data; text: what was wrong, for people."""

    session: int
    id: int
    extra: bytes
    time: float
    text: str = ""
    source: str = "iScsiPrt"


class RequestDone:
    """A request is finished; see its `result` and `failure`. There are so many of them that it is no frozen dataclass."""

    __slots__ = ("request",)

    def __init__(self, request: Request) -> None:
        self.request = request


@dataclass(frozen=True, slots=True)
class SessionUp:
    """A session reached full feature phase. recovered: it was up before. target_portal_group_tag: None where not given."""

    session: int
    tsih: int
    recovered: bool
    target_portal_group_tag: str | None = None
    target_alias: str | None = None


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The connection of a session is gone, and is being re-established."""

    session: int
    reason: str


class LoginFault(Enum):
    """What was wrong with a login response, where event 11 alone does not tell it."""

    VERSION = "another version than those that were offered"
    TEXT = "text with a malformed key or value"


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """A session is over. reason: in words, empty for a regular logout; login_status: of the refusal, else None;
    unreachable: no TCP connection came up; fault: what was wrong with the login response.
    """

    session: int
    reason: str = ""
    login_status: int | None = None
    event: int | None = None
    unreachable: bool = False
    fault: LoginFault | None = None


@dataclass(frozen=True, slots=True)
class ConnectionUp:
    """A connection of a session reached full feature phase. connection: the engine's number for it."""

    session: int
    cid: int
    connection: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """A connection of a session that was up is gone, whoever ended it; another event tells if it comes back or leaves."""

    session: int
    cid: int
    reason: str


@dataclass(frozen=True, slots=True)
class ConnectionRemoved:
    """A connection left the list of its session: removed from above, or its attempts to log in came to an end, for which
    the rest is as in SessionClosed.
    """

    session: int
    cid: int
    reason: str
    login_status: int | None = None
    event: int | None = None
    unreachable: bool = False
    fault: LoginFault | None = None


@dataclass(frozen=True, slots=True)
class DeviceGone:
    """The session did not come back in time: what waited for it failed, and all else will until it is up again."""

    session: int


@dataclass(frozen=True, slots=True)
class AsyncReceived:
    """An Asynchronous Message that concerns those above: event 0 with its sense data, or a vendor's."""

    session: int
    event: int
    lun: bytes
    data: bytes
    vcode: int = 0


@dataclass(frozen=True, slots=True)
class SecretSealed:
    """The service encrypted the CHAP secrets of a persistent session: what a store may keep of them, and what
    `ChapOptions.sealed` takes. target_secret: None without mutual CHAP.
    """

    session: int
    secret: bytes
    target_secret: bytes | None = None


@dataclass(frozen=True, slots=True)
class NodeFailure:
    """An attempt to log in, or a logout, came to nothing. portal: where it went."""

    session: int
    fault: NodeFault
    portal: Endpoint
    time: float


@dataclass(frozen=True, slots=True)
class SessionFailure:
    """A session failed, whatever becomes of it now."""

    session: int
    fault: SessionFault
    time: float


Event = (
    EventLogged
    | RequestDone
    | SessionUp
    | SessionLost
    | SessionClosed
    | ConnectionUp
    | ConnectionLost
    | ConnectionRemoved
    | DeviceGone
    | AsyncReceived
    | UpCallWanted
    | SecretSealed
    | NodeFailure
    | SessionFailure
)
