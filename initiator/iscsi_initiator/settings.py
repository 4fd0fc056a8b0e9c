"""What an initiator may be told: the driver's timers and limits of the guide's Appendix F, and what one session asks for.

All 21 timers of the driver are here; those of other services are not. DefaultTime2Wait and DefaultTime2Retain follow
RFC 7143 (13.15, 13.16), not the guide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from iscsi_initiator.limits import Limits
from iscsi_protocol.chap import MD5, Credentials
from iscsi_protocol.history import Endpoint
from iscsi_protocol.identity import Isid
from iscsi_protocol.names import check_name
from iscsi_protocol.status_codes import StatusCode

_ULONG = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Setting:
    """One row. number: the place in the guide's list of driver timers, 0 for one that is not in it; field: attribute of
    Settings; low, high: inclusive.
    """

    number: int
    name: str
    field: str
    unit: str
    low: float
    high: float


SETTINGS = (
    Setting(1, "TCPConnectTime", "tcp_connect_time", "s", 0.001, _ULONG),
    Setting(2, "TCPDisconnectTime", "tcp_disconnect_time", "s", 0.001, _ULONG),
    Setting(3, "WMIRequestTimeout", "wmi_request_timeout", "s", 0.001, _ULONG),
    Setting(4, "DelayBetweenReconnect", "delay_between_reconnect", "s", 0, _ULONG),
    Setting(5, "MaxConnectionRetries", "max_connection_retries", "count", -1, _ULONG),
    Setting(6, "MaxRequestHoldTime", "max_request_hold_time", "s", 0, _ULONG),
    Setting(7, "MaxPendingRequests", "max_pending_requests", "count", 1, 65535),
    Setting(8, "EnableNOPOut", "enable_nop_out", "boolean", 0, 1),
    Setting(9, "MaxTransferLength", "max_transfer_length", "bytes", 512, _ULONG),
    Setting(10, "MaxBurstLength", "max_burst_length", "bytes", 512, 16777215),
    Setting(11, "FirstBurstLength", "first_burst_length", "bytes", 512, 16777215),
    Setting(12, "MaxRecvDataSegmentLength", "max_recv_data_segment_length", "bytes", 512, 16777215),
    Setting(13, "IPSecConfigTimeout", "ipsec_config_timeout", "s", 0.001, _ULONG),
    Setting(14, "InitialR2T", "initial_r2t", "boolean", 0, 1),
    Setting(15, "ImmediateData", "immediate_data", "boolean", 0, 1),
    Setting(16, "LinkDownTime", "link_down_time", "s", 0, _ULONG),
    Setting(17, "PortalRetryCount", "portal_retry_count", "count", 0, _ULONG),
    Setting(18, "NetworkReadyRetryCount", "network_ready_retry_count", "count", 0, _ULONG),
    Setting(19, "ErrorRecoveryLevel", "error_recovery_level", "level", 0, 2),
    Setting(20, "SRBTimeoutDelta", "srb_timeout_delta", "s", 0, _ULONG),
    Setting(21, "AsyncLogoutPauseTimeout", "async_logout_pause_timeout", "s", 0, _ULONG),
    Setting(0, "DefaultTime2Wait", "default_time2wait", "s", 0, 3600),
    Setting(0, "DefaultTime2Retain", "default_time2retain", "s", 0, 3600),
    Setting(0, "MaxConnections", "max_connections", "count", 1, 65535),
    Setting(0, "MaxOutstandingR2T", "max_outstanding_r2t", "count", 1, 65535),
    Setting(0, "ScsiRequestTimeout", "scsi_request_timeout", "s", 0.001, _ULONG),
    Setting(0, "NOPOutInterval", "nop_out_interval", "s", 0.001, _ULONG),
    Setting(0, "NOPOutTimeout", "nop_out_timeout", "s", 0.001, _ULONG),
    Setting(0, "TaskManagementTimeout", "task_management_timeout", "s", 0.001, _ULONG),
    Setting(0, "SNACKTimeout", "snack_timeout", "s", 0.001, _ULONG),
    Setting(0, "MaxLoginRedirects", "max_login_redirects", "count", 0, 255),
)
"""Every setting with a number: the guide's driver timers in its order, keys of RFC 7143, and what neither has."""

SHORTEST_SRB_TIMEOUT_DELTA = 5
"""Seconds, below which the guide has the default used instead."""


_WINPE: Mapping[str, Any] = MappingProxyType(
    {"delay_between_reconnect": 5, "ipsec_config_timeout": 60, "portal_retry_count": 5}
)
"""The driver parameters of Appendix E that are not the defaults of Appendix F."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Those of the whole initiator. Raises ValueError for one that is out of bounds.

    wmi_request_timeout covers each login, logout and text exchange as a whole; nop_out_interval is the idle time behind
    which EnableNOPOut pings (the guide says two minutes); scsi_request_timeout is what a request without its own has;
    link_down_time takes the place of max_request_hold_time where a target is reached by several paths; error_recovery_level
    and max_connections are what is asked for; snack_timeout is the wait for what a SNACK asked for.
    """

    initiator_name: str = "iqn.2026-01.org.iscsi-conformance:initiator"
    initiator_alias: str = ""
    tcp_connect_time: float = 15
    tcp_disconnect_time: float = 15
    wmi_request_timeout: float = 30
    delay_between_reconnect: float = 1
    max_connection_retries: int = -1
    max_request_hold_time: float = 60
    max_pending_requests: int = 255
    enable_nop_out: bool = False
    max_transfer_length: int = 262144
    max_burst_length: int = 262144
    first_burst_length: int = 65536
    max_recv_data_segment_length: int = 65536
    ipsec_config_timeout: float = 15
    initial_r2t: bool = False
    immediate_data: bool = True
    link_down_time: float = 15
    portal_retry_count: int = 1
    network_ready_retry_count: int = 10
    error_recovery_level: int = 2
    srb_timeout_delta: float = 15
    async_logout_pause_timeout: float = 10
    default_time2wait: int = 2
    default_time2retain: int = 20
    max_connections: int = 32
    max_outstanding_r2t: int = 1
    scsi_request_timeout: float = 60
    nop_out_interval: float = 120
    nop_out_timeout: float = 30
    task_management_timeout: float = 30
    snack_timeout: float = 5
    max_login_redirects: int = 8
    task_reporting: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_name(self.initiator_name)
        for row in SETTINGS:
            value = getattr(self, row.field)
            if not row.low <= value <= row.high:
                raise ValueError(f"{row.name} is {row.low:g} to {row.high:g}, not {value}")
        if self.first_burst_length > self.max_burst_length:
            raise ValueError("FirstBurstLength is above MaxBurstLength")

    @classmethod
    def winpe(cls, **changes: Any) -> Self:
        """What the guide's Appendix E sets for Windows PE; changes: fields that are to differ from it."""
        return cls(**{**_WINPE, **changes})

    @property
    def effective_srb_timeout_delta(self) -> float:
        """Seconds added to the time-out of every SCSI request."""
        return self.srb_timeout_delta if self.srb_timeout_delta >= SHORTEST_SRB_TIMEOUT_DELTA else 15

    def declared(self) -> dict[str, object]:
        """Name to value of every setting with a number, as a history records them; booleans as such."""
        return {row.name: getattr(self, row.field) for row in SETTINGS}


def needs_reload(active: Settings, declared: Settings) -> tuple[str, ...]:
    """The names of the rows that differ: settings are read when the initiator starts, and count from its next start on."""
    return tuple(row.name for row in SETTINGS if getattr(active, row.field) != getattr(declared, row.field))


def status_of_change(active: Settings, declared: Settings) -> StatusCode | None:
    """How it goes to declare other settings: a warning where they do not count before a reload; None where all is done."""
    return None if active == declared else StatusCode.OPERATION_REQUIRES_REBOOT


@dataclass(frozen=True, kw_only=True, slots=True)
class ChapOptions:
    """CHAP for one session. credentials: ours; target_secret: what the target has to know, which asks for mutual CHAP;
    target_name: the name it has to give, None for any; required: do not go without CHAP; sealed: both secrets are as a
    store keeps them, and the service has to decrypt them before the login.
    """

    credentials: Credentials
    target_secret: bytes | None = field(default=None, repr=False)
    target_name: str | None = None
    required: bool = True
    algorithms: tuple[int, ...] = (MD5,)
    sealed: bool = False


NO_DIGEST = ("None",)
PREFER_DIGEST = ("CRC32C", "None")
PREFER_NONE = ("None", "CRC32C")
REQUIRE_DIGEST = ("CRC32C",)


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionOptions:
    """What one session is to be. target_name: None for a discovery session.

    header_digest, data_digest: what is offered, in order of preference; CRC32C alone requires it. isid: the same at every
    login, so that recovery reinstates the session. extra_keys: pairs offered besides, for operational negotiation.

    connections: how many to log in with, of which the target may allow fewer; portals: where the second and further ones go,
    in turn, portal itself where there are none. advertised: where recovery looks besides portal, unless portal_named, which
    holds it to the one portal. multipath: several sessions reach the target, so that LinkDownTime holds requests.
    no_target_reset: the answer to a SCSI request without end stops short of a reset of the whole target.

    source: local address and port that connections begin at, None and port 0 for any. ipsec: the service has to protect
    each connection before it is made. persistent: it will log in again at later starts; plain CHAP secrets are encrypted
    by the service, for a store (event SecretSealed).
    """

    portal: Endpoint
    target_name: str | None = None
    isid: bytes = bytes(Isid.from_random(0x1AC5, 1))
    chap: ChapOptions | None = None
    header_digest: tuple[str, ...] = NO_DIGEST
    data_digest: tuple[str, ...] = NO_DIGEST
    extra_keys: tuple[tuple[str, str], ...] = ()
    recover: bool = True
    source: Endpoint | None = None
    ipsec: bool = False
    persistent: bool = False
    connections: int = 1
    portals: tuple[Endpoint, ...] = ()
    advertised: tuple[Endpoint, ...] = ()
    portal_named: bool = False
    multipath: bool = False
    no_target_reset: bool = False

    def declared(self) -> dict[str, object]:
        """What the event oracle has to know of the session's settings: requirements and secrets."""
        chap = self.chap
        return {
            "HeaderDigest": ",".join(self.header_digest),
            "DataDigest": ",".join(self.data_digest),
            "HeaderDigestRequired": self.header_digest == REQUIRE_DIGEST,
            "DataDigestRequired": self.data_digest == REQUIRE_DIGEST,
            "CHAPConfigured": chap is not None,
            "CHAPRequired": chap is not None and (chap.required or chap.target_secret is not None),
            "CHAPName": chap.credentials.name if chap else None,
            "CHAPSecret": chap.credentials.secret if chap and not chap.sealed else None,
            "MutualCHAPSecret": chap.target_secret if chap and not chap.sealed else None,
            "MutualCHAPName": chap.target_name if chap else None,
            "TargetName": self.target_name,
            "ISID": self.isid.hex(),
            "Connections": self.connections,
            "Multipath": self.multipath,
            "NoTargetReset": self.no_target_reset,
            "Recover": self.recover,
        }


def negotiation_wishes(settings: Settings, options: SessionOptions) -> dict[str, str]:
    """Key to text, as the Negotiator takes them, for one login."""
    wishes = {"InitiatorName": settings.initiator_name}
    if settings.initiator_alias:
        wishes["InitiatorAlias"] = settings.initiator_alias
    wishes["HeaderDigest"] = ",".join(options.header_digest)
    wishes["DataDigest"] = ",".join(options.data_digest)
    wishes["MaxRecvDataSegmentLength"] = str(settings.max_recv_data_segment_length)
    wishes["DefaultTime2Wait"] = str(settings.default_time2wait)
    wishes["DefaultTime2Retain"] = str(settings.default_time2retain)
    wishes["ErrorRecoveryLevel"] = str(settings.error_recovery_level if options.target_name is not None else 0)
    if options.target_name is not None:
        wishes["TargetName"] = options.target_name
        wishes["MaxConnections"] = str(settings.max_connections)
        wishes["InitialR2T"] = _boolean(settings.initial_r2t)
        wishes["ImmediateData"] = _boolean(settings.immediate_data)
        wishes["MaxBurstLength"] = str(settings.max_burst_length)
        wishes["FirstBurstLength"] = str(settings.first_burst_length)
        wishes["MaxOutstandingR2T"] = str(settings.max_outstanding_r2t)
        wishes["DataPDUInOrder"] = "Yes"
        wishes["DataSequenceInOrder"] = "Yes"
        if settings.task_reporting:
            wishes["TaskReporting"] = ",".join(settings.task_reporting)
    wishes.update(options.extra_keys)
    return wishes


def _boolean(value: bool) -> str:
    return "Yes" if value else "No"
