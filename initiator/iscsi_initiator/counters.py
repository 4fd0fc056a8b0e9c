"""What is counted: of a connection, of a session, and of an initiator for all of its sessions (guide, Perfmon/Sysmon; the
names and meanings are those of the statistics of RFC 4544 that the management classes have).

The numbers are added where things happen and are read by whoever looks. Nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from iscsi_protocol.pdu.codes import LoginStatus

_EVENTS_OF_DIGESTS = (22, 25)
_EVENTS_OF_FORMAT = (21, 23, 24, 28, 60)
_EVENTS_OF_TIME = (8, 43, 44, 45, 48, 51, 63)
_EVENTS_OF_AUTHENTICATION = (13, 14, 15, 16, 17, 33, 35, 36, 37, 38, 40, 41, 54)
_EVENTS_OF_NEGOTIATION = (3, 4, 11, 18, 19, 61, 62)


class SessionFault(IntEnum):
    """What a session, or one PDU of it, failed for. The first three have the numbers of the class of failure events; OTHER
    is ours: a connection that was lost, a broken rule of another kind, a request that the target did not follow.
    """

    DIGEST = 0
    TIMEOUT = 1
    FORMAT = 2
    OTHER = 3


class NodeFault(IntEnum):
    """What a login or a logout failed for, with the numbers of the class of failure events."""

    LOGIN_OTHER = 0
    LOGIN_AUTH = 1
    """The target refused what authenticates this initiator (status 0201)."""
    LOGIN_AUTHENTICATE = 2
    """This side ended the login, since the target could not be authenticated, or not in a way that may be used."""
    LOGIN_NEGOTIATE = 3
    """This side ended the login over what the target answered."""
    LOGOUT = 4


FAULT_OF_EVENT: Mapping[int, SessionFault] = MappingProxyType(
    {
        **dict.fromkeys(_EVENTS_OF_DIGESTS, SessionFault.DIGEST),
        **dict.fromkeys(_EVENTS_OF_FORMAT, SessionFault.FORMAT),
        **dict.fromkeys(_EVENTS_OF_TIME, SessionFault.TIMEOUT),
    }
)
"""Driver events -> what they are counted as; any other one as nothing."""


def node_fault(status: int | None, event: int | None) -> NodeFault:
    """Why a login failed. status: of the target's refusal, None where there was none; event: that this side logged."""
    if status is not None:
        return NodeFault.LOGIN_AUTH if status == LoginStatus.AUTHENTICATION_FAILURE else NodeFault.LOGIN_OTHER
    if event in _EVENTS_OF_AUTHENTICATION:
        return NodeFault.LOGIN_AUTHENTICATE
    return NodeFault.LOGIN_NEGOTIATE if event in _EVENTS_OF_NEGOTIATION else NodeFault.LOGIN_OTHER


class Traffic:
    """Of a connection, over all of its logins. timed: SCSI commands whose time was taken, of those that end together one;
    time, longest: seconds that they took from being sent to their status, all together and the one that took longest.
    """

    __slots__ = ("bytes_received", "bytes_sent", "longest", "pdus_received", "pdus_sent", "time", "timed")

    def __init__(self) -> None:
        self.bytes_received = 0
        self.bytes_sent = 0
        self.pdus_received = 0
        self.pdus_sent = 0
        self.timed = 0
        self.time = 0.0
        self.longest = 0.0

    def took(self, seconds: float) -> None:
        """A SCSI command took so long."""
        self.timed += 1
        self.time += seconds
        self.longest = max(self.longest, seconds)

    def add(self, other: Traffic) -> None:
        """Have the numbers of another one too."""
        self.bytes_received += other.bytes_received
        self.bytes_sent += other.bytes_sent
        self.pdus_received += other.pdus_received
        self.pdus_sent += other.pdus_sent
        self.timed += other.timed
        self.time += other.time
        self.longest = max(self.longest, other.longest)


class SessionErrors:
    """Of a session. connection_timeouts: connections that ended since an answer did not come in time."""

    __slots__ = ("_fault", "_since", "connection_timeouts", "digest", "format")

    def __init__(self) -> None:
        self.digest = 0
        self.format = 0
        self.connection_timeouts = 0
        self._fault = SessionFault.OTHER
        self._since = 0.0

    def logged(self, event: int, now: float) -> None:
        """A driver event about the session was logged."""
        fault = FAULT_OF_EVENT.get(event)
        if fault is not None:
            self.count(fault, now)

    def count(self, fault: SessionFault, now: float) -> None:
        """Something went wrong."""
        self.digest += fault is SessionFault.DIGEST
        self.format += fault is SessionFault.FORMAT
        self.connection_timeouts += fault is SessionFault.TIMEOUT
        self._fault, self._since = fault, now

    def fault_at(self, now: float) -> SessionFault:
        """What a session failed for that fails now."""
        return self._fault if self._since == now else SessionFault.OTHER


class NodeCounters:
    """Of an initiator instance, over all of its sessions, discovery sessions included.

    login_accepts, login_redirects, login_auth_refusals (status 0201), login_other_refusals: Login Responses that end a
    login; login_failures: attempts that came to nothing, those included that had no response; authenticate_failures,
    negotiate_failures: of them, those that this side ended; logouts: Logout Requests that close a connection or session;
    other_logouts: those for recovery. session_failures: sessions that failed, and session_faults those of a kind.
    """

    __slots__ = (
        "authenticate_failures",
        "login_accepts",
        "login_auth_refusals",
        "login_failures",
        "login_other_refusals",
        "login_redirects",
        "logouts",
        "negotiate_failures",
        "other_logouts",
        "session_failures",
        "session_faults",
    )

    def __init__(self) -> None:
        self.login_accepts = 0
        self.login_redirects = 0
        self.login_auth_refusals = 0
        self.login_other_refusals = 0
        self.login_failures = 0
        self.authenticate_failures = 0
        self.negotiate_failures = 0
        self.logouts = 0
        self.other_logouts = 0
        self.session_failures = 0
        self.session_faults = dict.fromkeys(SessionFault, 0)

    def login_failed(self, status: int | None, event: int | None) -> NodeFault:
        """An attempt to log in came to nothing; why. A redirect is counted as such alone."""
        fault = node_fault(status, event)
        self.login_failures += 1
        self.login_auth_refusals += fault is NodeFault.LOGIN_AUTH
        refused = status is not None and status >> 8 != LoginStatus.MOVED_TEMPORARILY >> 8
        self.login_other_refusals += refused and fault is NodeFault.LOGIN_OTHER
        self.authenticate_failures += fault is NodeFault.LOGIN_AUTHENTICATE
        self.negotiate_failures += fault is NodeFault.LOGIN_NEGOTIATE
        return fault

    def session_failed(self, fault: SessionFault) -> None:
        """A session failed."""
        self.session_failures += 1
        self.session_faults[fault] += 1
