"""The form of requests and answers on the socket: one JSON object a line, UTF-8.

    {"op": "RemoveTarget", "version": 1, "buffer_size": null, "target_name": "iqn.2026-01.org.example:disk"}
    {"status": 0, "message": ""}
    {"status": 4026466345, "message": "there is no such target", ...}

Bytes are base64. A field that is left out has its default; one that a request does not have is refused.
"""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any, TypeVar, cast

import msgspec

from iscsi_initiator.service.api.answers import Answer, Failure, RequestFailed
from iscsi_initiator.service.api.balance import SetLoadBalancePolicy
from iscsi_initiator.service.api.devices import (
    AddPersistentDevice,
    BindPersistentDevices,
    ClearPersistentDevices,
    RemovePersistentDevice,
    ReportPersistentDevices,
)
from iscsi_initiator.service.api.discovery import (
    AddiSNSServer,
    AddTargetPortal,
    FirewallExemptiSNSServer,
    ListiSNSServers,
    ListTargetPortals,
    RefreshiSNSServer,
    RefreshTargetPortal,
    RemoveiSNSServer,
    RemoveTargetPortal,
)
from iscsi_initiator.service.api.management import Invoke, ListClasses, Metrics, Query, Watch
from iscsi_initiator.service.api.multipath import Attach, Detach, DeviceList, ListAttached, SetDevicePolicy
from iscsi_initiator.service.api.node import ListInitiators, NodeName, ServiceStatus, StopService, VersionInfo
from iscsi_initiator.service.api.operation import VERSION, Operation, answer_type
from iscsi_initiator.service.api.security import CHAPSecret, GetPSKey, GroupKey, PSKey, TunnelAddr
from iscsi_initiator.service.api.sessions import (
    AddConnection,
    ListPersistentTargets,
    LoginTarget,
    LogoutTarget,
    PersistentLoginTarget,
    ReadCapacity,
    RemoveConnection,
    RemovePersistentTarget,
    ReportLUNs,
    ReportTargetMappings,
    ScsiInquiry,
    SessionList,
)
from iscsi_initiator.service.api.settings import ImportSettings
from iscsi_initiator.service.api.targets import AddTarget, ListTargets, RemoveTarget, TargetInfo
from iscsi_initiator.service.api.tracing import QueryTrace, StartTrace, StopTrace
from iscsi_initiator.status_codes import Refused, StatusCode

MAX_REQUEST = 1 << 20
"""Bytes of a request's line."""

MAX_ANSWER = 1 << 24
"""Bytes of an answer's line."""

OPERATIONS: tuple[type[Operation[Any]], ...] = (
    AddTarget,
    RemoveTarget,
    ListTargets,
    TargetInfo,
    AddTargetPortal,
    RemoveTargetPortal,
    RefreshTargetPortal,
    ListTargetPortals,
    AddiSNSServer,
    RemoveiSNSServer,
    RefreshiSNSServer,
    ListiSNSServers,
    FirewallExemptiSNSServer,
    LoginTarget,
    LogoutTarget,
    PersistentLoginTarget,
    ListPersistentTargets,
    RemovePersistentTarget,
    AddConnection,
    RemoveConnection,
    ScsiInquiry,
    ReadCapacity,
    ReportLUNs,
    ReportTargetMappings,
    SessionList,
    SetLoadBalancePolicy,
    DeviceList,
    SetDevicePolicy,
    Attach,
    Detach,
    ListAttached,
    ImportSettings,
    ListClasses,
    Query,
    Invoke,
    Watch,
    Metrics,
    StartTrace,
    StopTrace,
    QueryTrace,
    CHAPSecret,
    TunnelAddr,
    GroupKey,
    PSKey,
    GetPSKey,
    BindPersistentDevices,
    ReportPersistentDevices,
    AddPersistentDevice,
    RemovePersistentDevice,
    ClearPersistentDevices,
    ListInitiators,
    NodeName,
    VersionInfo,
    ServiceStatus,
    StopService,
)
"""Everything that may be asked."""

A = TypeVar("A", bound=Answer)


class NoRequest(Refused):
    """What came is not even an object with an operation; where the next line begins is not to be trusted."""


class _Head(msgspec.Struct):
    op: str
    version: int = VERSION


class _Status(msgspec.Struct):
    status: int


_NAMES = frozenset(each.__name__ for each in OPERATIONS)
_head = msgspec.json.Decoder(_Head)
_status = msgspec.json.Decoder(_Status)
_request: msgspec.json.Decoder[Operation[Any]] = msgspec.json.Decoder(reduce(or_, OPERATIONS))
_failure = msgspec.json.Decoder(Failure)


def encode_request(request: Operation[Any]) -> bytes:
    """The line, with its end."""
    return msgspec.json.encode(request) + b"\n"


def operation_of(line: bytes) -> str:
    """The name of the operation that a line asks for, known or not. Raises NoRequest (INVALID_PARAMETER) for what is none."""
    return _head_of(line).op


def _head_of(line: bytes) -> _Head:
    try:
        return _head.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoRequest(StatusCode.INVALID_PARAMETER, f"no request: {error}") from error


def decode_request(line: bytes) -> Operation[Any]:
    """A request as it came, with or without the end of the line. Raises Refused.

    NoRequest (INVALID_PARAMETER) for what is none, REQUEST_NOT_SUPPORTED for an operation or version that is not known,
    INVALID_PARAMETER for fields that are not the operation's, and whatever the request's own values come to.
    """
    head = _head_of(line)
    try:
        if head.version != VERSION:
            raise Refused(
                StatusCode.REQUEST_NOT_SUPPORTED, f"requests of version {VERSION} are taken, not {head.version}"
            )
        if head.op not in _NAMES:
            raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "there is no such operation")
        return _request.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(StatusCode.INVALID_PARAMETER, str(error)) from error


def encode_answer(answer: Answer | Failure, buffer_size: int | None = None) -> bytes:
    """The line, with its end, of what `fitting` leaves of the answer."""
    return _line(fitting(answer, buffer_size))


def _line(answer: Answer | Failure) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


def fitting(answer: Answer | Failure, buffer_size: int | None = None) -> Answer | Failure:
    """The answer; where its line is longer than the caller takes, a failure that says how long it is."""
    room, size = MAX_ANSWER if buffer_size is None else buffer_size, len(_line(answer))
    if size <= room or isinstance(answer, Failure):
        return answer
    reason = f"the answer has {size} bytes, the buffer {room}"
    return Failure(status=StatusCode.BUFFER_TOO_SMALL, message=reason, needed=size)


def decode_answer(line: bytes, kind: type[Operation[A]]) -> A:
    """The answer to a request of a kind. Raises RequestFailed for an error code, ValueError for what is no answer."""
    try:
        status = _status.decode(line).status
        if status == 0 or StatusCode(status).is_warning:
            return cast(A, msgspec.json.decode(line, type=answer_type(kind)))
        failed = RequestFailed(_failure.decode(line))
    except (ValueError, RecursionError, Refused) as error:
        raise ValueError(f"no answer: {error}") from error
    raise failed
