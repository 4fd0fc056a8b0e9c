"""What the engine's failures are as status codes: the one table between the two (guide, Appendices B and D)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_initiator.client.errors import ClientError, ConnectionFailed, RequestFailed, ScsiError, SessionFailed
from iscsi_initiator.requests import ConnectionRemoved, Failure, LoginFault, SessionClosed
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_protocol.pdu.codes import LoginStatus
from iscsi_protocol.scsi.status import Status

_C = StatusCode

LOGIN_STATUSES: Mapping[int, StatusCode] = MappingProxyType(
    {
        LoginStatus.MOVED_TEMPORARILY: _C.TARGET_MOVED_TEMPORARILY,
        LoginStatus.MOVED_PERMANENTLY: _C.TARGET_MOVED_PERMANENTLY,
        LoginStatus.INITIATOR_ERROR: _C.INITIATOR_ERROR,
        LoginStatus.AUTHENTICATION_FAILURE: _C.AUTHENTICATION_FAILURE,
        LoginStatus.AUTHORIZATION_FAILURE: _C.AUTHORIZATION_FAILURE,
        LoginStatus.NOT_FOUND: _C.NOT_FOUND,
        LoginStatus.TARGET_REMOVED: _C.TARGET_REMOVED,
        LoginStatus.UNSUPPORTED_VERSION: _C.UNSUPPORTED_VERSION,
        LoginStatus.TOO_MANY_CONNECTIONS: _C.TOO_MANY_CONNECTIONS,
        LoginStatus.MISSING_PARAMETER: _C.MISSING_PARAMETER,
        LoginStatus.CANNOT_INCLUDE_IN_SESSION: _C.CANT_INCLUDE_IN_SESSION,
        LoginStatus.SESSION_TYPE_NOT_SUPPORTED: _C.SESSION_TYPE_NOT_SUPPORTED,
        LoginStatus.TARGET_ERROR: _C.TARGET_ERROR,
        LoginStatus.SERVICE_UNAVAILABLE: _C.SERVICE_UNAVAILABLE,
        LoginStatus.OUT_OF_RESOURCES: _C.OUT_OF_RESOURCES,
    }
)
"""Status of a Login Response -> code."""

_CLASSES = {1: _C.TARGET_MOVED_TEMPORARILY, 2: _C.INITIATOR_ERROR, 3: _C.TARGET_ERROR}
"""Class of a status whose detail is not in the table -> code."""

FAULTS: Mapping[LoginFault, StatusCode] = MappingProxyType(
    {LoginFault.VERSION: _C.VERSION_MISMATCH, LoginFault.TEXT: _C.INVALID_TEXT_KEY}
)

_REFUSED_HERE = (3, 4, 13, 14, 15, 16, 18, 19, 33, 37, 38, 41, 61, 62)
"""Events behind which this side ends the login for a reason that has no finer code."""

CLOSING_EVENTS: Mapping[int, StatusCode] = MappingProxyType(
    {
        1: _C.CONNECTION_FAILED,
        2: _C.TOO_MANY_SESSIONS,
        5: _C.CONNECTION_FAILED,
        6: _C.OUT_OF_RESOURCES,
        11: _C.LOGIN_FAILED,
        17: _C.AUTHENTICATION_FAILURE,
        35: _C.INVALID_TARGET_CHAP_SECRET,
        36: _C.INVALID_INITIATOR_CHAP_SECRET,
        40: _C.TARGET_AUTHINFO_UNAVAILABLE,
        43: _C.LOGIN_FAILED,
        45: _C.LOGIN_FAILED,
        52: _C.SERVICE_DID_NOT_RESPOND,
        54: _C.SERVICE_DID_NOT_RESPOND,
        59: _C.LOGIN_FAILED,
        **dict.fromkeys(_REFUSED_HERE, _C.LOGON_FAILED),
    }
)
"""The event with which a login ended -> code."""

REQUEST_FAILURES: Mapping[Failure, StatusCode] = MappingProxyType(
    {
        Failure.TIMED_OUT: _C.TRANSPORT_ERROR,
        Failure.ABORTED: _C.SCSI_REQUEST_FAILED,
        Failure.RESET: _C.SCSI_REQUEST_FAILED,
        Failure.NO_DEVICE: _C.TRANSPORT_ERROR,
        Failure.CONNECTION_LOST: _C.TRANSPORT_ERROR,
        Failure.PROTOCOL_ERROR: _C.TRANSPORT_ERROR,
        Failure.DATA_MISSING: _C.SCSI_REQUEST_FAILED,
        Failure.REJECTED: _C.SCSI_REQUEST_FAILED,
        Failure.TARGET_FULL: _C.TARGET_OUT_OF_RESORCES,
        Failure.UNSUPPORTED: _C.REQUEST_NOT_SUPPORTED,
        Failure.NO_SUCH_TASK: _C.SCSI_REQUEST_FAILED,
        Failure.NOT_CONNECTED: _C.TRANSPORT_ERROR,
        Failure.LOGIN_FAILED: _C.LOGIN_FAILED,
        Failure.NO_RESOURCES: _C.OUT_OF_RESOURCES,
        Failure.UNUSABLE_BUFFER: _C.INVALID_PARAMETER,
    }
)
"""How a request of the management ended -> code."""

SCSI_STATUSES: Mapping[int, StatusCode] = MappingProxyType({Status.TASK_SET_FULL: _C.TARGET_OUT_OF_RESORCES})
"""SCSI status that is not GOOD -> code; every other one is SCSI_REQUEST_FAILED."""

SEND_FAILED_EVENT = 7


def status_of_login(how: SessionClosed | ConnectionRemoved) -> StatusCode:
    """The code of a login that came to nothing."""
    if how.fault is not None:
        return FAULTS[how.fault]
    if how.event is not None and how.event in CLOSING_EVENTS:
        return CLOSING_EVENTS[how.event]
    if how.login_status is not None:
        return LOGIN_STATUSES.get(how.login_status) or _CLASSES.get(how.login_status >> 8, _C.INITIATOR_ERROR)
    return _C.CONNECTION_FAILED if how.unreachable else _C.LOGIN_FAILED


def status_of(error: ClientError) -> StatusCode:
    """The code of what a client raised."""
    if isinstance(error, SessionFailed):
        return status_of_login(error.closed)
    if isinstance(error, ConnectionFailed):
        return _C.LOGIN_FAILED if error.how is None else status_of_login(error.how)
    if isinstance(error, RequestFailed):
        return REQUEST_FAILURES[error.failure]
    if isinstance(error, ScsiError):
        return SCSI_STATUSES.get(error.result.status, _C.SCSI_REQUEST_FAILED)
    return _C.LOGON_FAILED


def refusal_of(error: ClientError) -> Refused:
    """What those above are told of it."""
    return Refused(status_of(error), str(error))
