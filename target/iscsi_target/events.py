"""What the engine tells whoever runs it; for logs and tests, never needed for the protocol itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from iscsi_target.violation import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionMade:
    """A TCP connection was accepted (T3)."""

    connection: int
    portal: str
    remote: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedIn:
    """A connection reached the full feature phase (T5). target_name is None for unnamed discovery."""

    connection: int
    cid: int
    tsih: int
    isid: bytes
    initiator_name: str
    target_name: str | None
    discovery: bool
    new_session: bool
    user: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class LoginRefused:
    """A login ended with a status other than success."""

    connection: int
    status: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """The initiator broke a rule and was answered so."""

    connection: int
    clause: str
    message: str
    answer: Answer
    opcode: int
    itt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedOut:
    """A Logout Request was answered (11.15)."""

    connection: int
    reason: int
    response: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskFunctionDone:
    """A task management function was answered (11.6)."""

    connection: int
    function: int
    response: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Negotiated:
    """A negotiation in full feature phase took effect (6.4)."""

    connection: int
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pinged:
    """The answer to a NOP-In of the target came (11.18)."""

    connection: int
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TimedOut:
    """A timer ran out: login, ping, logout request, data, or the session's state."""

    connection: int | None
    timer: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionClosed:
    """A connection is over: the peer ended it, or the engine did."""

    connection: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionClosed:
    """A session and its I_T nexus are gone (6.3.5)."""

    tsih: int
    initiator_name: str
    target_name: str | None
    reason: str


Event: TypeAlias = (
    ConnectionMade
    | LoggedIn
    | LoginRefused
    | Violation
    | LoggedOut
    | TaskFunctionDone
    | Negotiated
    | Pinged
    | TimedOut
    | ConnectionClosed
    | SessionClosed
)
