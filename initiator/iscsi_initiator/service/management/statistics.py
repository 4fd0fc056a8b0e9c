"""The classes of performance counters that drivers have (guide, Perfmon/Sysmon)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_initiator.counters import SessionFault, Traffic
from iscsi_initiator.service.management.driver import ADAPTER_ID, INSTANCE, head
from iscsi_initiator.service.management.schema import Kind, ManagementClass, Property, Row
from iscsi_initiator.service.management.shapes import TEXT, U32, U64, P
from iscsi_initiator.status_codes import StatusCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iscsi_initiator.service.core import Core
    from iscsi_initiator.service.live import LiveSession

_TARGET = P("iSCSIName", TEXT)
_SESSION = P("USID", U64)
_CID = P("CID", Kind.UINT16)
_TRAFFIC = (P("BytesSent", U64), P("BytesReceived", U64), P("PDUCommandsSent", U64), P("PDUResponsesReceived", U64))
_ULONG = 0xFFFFFFFF


def _counters(*names: str) -> tuple[Property, ...]:
    return tuple(P(name, U32) for name in names)


def _traffic(traffic: Traffic) -> Row:
    return {
        "BytesSent": traffic.bytes_sent,
        "BytesReceived": traffic.bytes_received,
        "PDUCommandsSent": traffic.pdus_sent,
        "PDUResponsesReceived": traffic.pdus_received,
    }


def _of_session(core: Core, session: LiveSession) -> Row:
    ids = {"USID": session.usid, "UniqueAdapterId": core.adapter_id(session.initiator)}
    return {"Active": True, "iSCSIName": session.target_name, **ids}


def _sessions(core: Core) -> list[Row]:
    rows = []
    for session in core.sessions.values():
        errors = session.client.session.errors
        rows.append(
            {
                "InstanceName": f"{session.target_name}_{session.usid:x}",
                **_of_session(core, session),
                **_traffic(session.client.session.traffic),
                "DigestErrors": errors.digest,
                "ConnectionTimeoutErrors": errors.connection_timeouts,
                "FormatErrors": errors.format,
            }
        )
    return rows


def _connections(core: Core) -> Iterator[tuple[Row, Traffic]]:
    """What the instances for a connection begin with, and its counters."""
    for session in core.sessions.values():
        for cid, connection in session.client.session.connections.items():
            name = {"InstanceName": f"{session.target_name}_{session.usid:x}:{cid}"}
            yield {**name, **_of_session(core, session), "CID": cid}, connection.traffic


def _connection_statistics(core: Core) -> list[Row]:
    return [{**row, **_traffic(traffic)} for row, traffic in _connections(core)]


def _request_times(core: Core) -> list[Row]:
    return [
        {
            **row,
            "MaximumProcessingTime": _microseconds(traffic.longest),
            "AverageProcessingTime": _microseconds(traffic.time / traffic.timed) if traffic.timed else 0,
        }
        for row, traffic in _connections(core)
    ]


def _microseconds(seconds: float) -> int:
    return min(round(seconds * 1e6), _ULONG)


def _logins(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        node = core.counted(local.name)
        counts = {
            "LoginAcceptRsps": node.login_accepts,
            "LoginOtherFailRsps": node.login_other_refusals,
            "LoginRedirectRsps": node.login_redirects,
            "LoginAuthFailRsps": node.login_auth_refusals,
            "LoginAuthenticateFails": node.authenticate_failures,
            "LoginNegotiateFails": node.negotiate_failures,
            "LogoutNormals": node.logouts,
            "LogoutOtherCodes": node.other_logouts,
            "LoginFailures": node.login_failures,
        }
        wrapped = {name: count & _ULONG for name, count in counts.items()}
        rows.append({**head(local), "UniqueAdapterId": core.adapter_id(local.name), **wrapped})
    return rows


def _instances(core: Core) -> list[Row]:
    rows = []
    for local in core.instances:
        node = core.counted(local.name)
        counts = {
            "SessionDigestErrorCount": node.session_faults[SessionFault.DIGEST],
            "SessionConnectionTimeoutErrorCount": node.session_faults[SessionFault.TIMEOUT],
            "SessionFormatErrorCount": node.session_faults[SessionFault.FORMAT],
            "SessionFailureCount": node.session_failures,
        }
        wrapped = {name: count & _ULONG for name, count in counts.items()}
        rows.append({**head(local), "UniqueAdapterId": core.adapter_id(local.name), **wrapped})
    return rows


CLASSES = (
    ManagementClass(
        name="MSiSCSI_ConnectionStatistics",
        says="bytes and PDUs of each connection",
        properties=(*INSTANCE, _TARGET, _CID, _SESSION, ADAPTER_ID, *_TRAFFIC),
        instances=_connection_statistics,
        missing=StatusCode.INVALID_CONNECTION_ID,
    ),
    ManagementClass(
        name="MSiSCSI_SessionStatistics",
        says="bytes, PDUs and errors of each session",
        properties=(
            *INSTANCE,
            _TARGET,
            _SESSION,
            ADAPTER_ID,
            *_TRAFFIC,
            P("DigestErrors", U64),
            P("ConnectionTimeoutErrors", U64),
            P("FormatErrors", U64),
        ),
        instances=_sessions,
        missing=StatusCode.INVALID_SESSION_ID,
    ),
    ManagementClass(
        name="MSiSCSI_InitiatorLoginStatistics",
        says="how logins and logouts went",
        properties=(
            *INSTANCE,
            ADAPTER_ID,
            *_counters(
                "LoginAcceptRsps",
                "LoginOtherFailRsps",
                "LoginRedirectRsps",
                "LoginAuthFailRsps",
                "LoginAuthenticateFails",
                "LoginNegotiateFails",
                "LogoutNormals",
                "LogoutOtherCodes",
                "LoginFailures",
            ),
        ),
        instances=_logins,
    ),
    ManagementClass(
        name="MSiSCSI_InitiatorInstanceStatistics",
        says="how many sessions failed, and why",
        properties=(
            *INSTANCE,
            ADAPTER_ID,
            *_counters(
                "SessionDigestErrorCount",
                "SessionConnectionTimeoutErrorCount",
                "SessionFormatErrorCount",
                "SessionFailureCount",
            ),
        ),
        instances=_instances,
    ),
    ManagementClass(
        name="MSiSCSI_RequestTimeStatistics",
        says="how long SCSI commands take on each connection, in microseconds",
        properties=(
            *INSTANCE,
            _TARGET,
            _CID,
            _SESSION,
            ADAPTER_ID,
            P("MaximumProcessingTime", U32),
            P("AverageProcessingTime", U32),
        ),
        instances=_request_times,
        missing=StatusCode.INVALID_CONNECTION_ID,
    ),
)
