"""What a peer did wrong, by which clause, and what it is answered (RFC 7143 7.3, 7.7, 7.8, 11.13.5, 11.17).

Whoever finds a violation raises it; the engine turns the answer into PDUs and closes in one place (`answer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from iscsi_protocol.pdu import LoginStatus, RejectReason

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectPdu:
    """A Reject PDU (11.17). data_sn: the next DataSN or R2TSN, for a data SNACK refused with a protocol error."""

    reason: RejectReason
    data_sn: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class RefuseLogin:
    """A Login Response with this status (class << 8 | detail), and the end of the connection (11.13.5)."""

    status: int
    text: Pairs = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class DropConnection:
    """The end of the connection without a word."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DropSession:
    """The end of every connection of the session (7.7)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Discard:
    """The PDU never was (4.2.2.1)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailTask:
    """CHECK CONDITION once the data that is on its way has come (11.4.7.2, 11.17.1). sense_code: ASC << 8 | ASCQ."""

    sense_code: int


Answer: TypeAlias = RejectPdu | RefuseLogin | DropConnection | DropSession | Discard | FailTask


class PeerViolation(Exception):
    """The initiator broke a rule. clause: its id; message: in words; answer: what follows."""

    def __init__(self, clause: str, message: str, answer: Answer) -> None:
        super().__init__(clause, message, answer)
        self.clause = clause
        self.message = message
        self.answer = answer

    def __str__(self) -> str:
        return f"{self.message} ({self.clause})"


def rejected(reason: RejectReason, clause: str, message: str, *, data_sn: int = 0) -> PeerViolation:
    """The PDU is answered with a Reject."""
    return PeerViolation(clause, message, RejectPdu(reason=reason, data_sn=data_sn))


def format_error(message: str, clause: str = "R7143-7.7-01") -> PeerViolation:
    """Illegal or inconsistent header contents: all connections of the session end (7.7)."""
    return PeerViolation(clause, message, DropSession())


def refused_login(status: LoginStatus | int, clause: str, message: str, text: Pairs = ()) -> PeerViolation:
    """The login ends with a status."""
    return PeerViolation(clause, message, RefuseLogin(status=int(status), text=text))


def discarded(clause: str, message: str) -> PeerViolation:
    """The PDU is dropped silently."""
    return PeerViolation(clause, message, Discard())
