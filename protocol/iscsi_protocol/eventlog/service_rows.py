"""The events of the initiator's service, one row each: number, symbol, message, insertion strings (guide, Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SERVICE_SOURCE = "MSiSCSI"


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One event. symbol: the guide's, without its common beginning; message: what it says, in our words; inserts: what its
    strings are, in their order. The guide gives these events no severity.
    """

    id: int
    symbol: str
    message: str
    inserts: tuple[str, ...] = ()


_ROWS = (
    ServiceRow(102, "ERROR_FINDING_PERSISTENT_VOLUMES", "the bound volumes could not be looked for", ("error",)),
    ServiceRow(103, "TIMEOUT_FINDING_PERSISTENT_VOLUMES", "the bound volumes did not all appear in time"),
    ServiceRow(104, "ONLINE_DISK_FAILED", "a dynamic disk could not be brought online", ("error", "disk")),
    ServiceRow(105, "IPSEC_INITIALIZATION_FAILED", "the IPsec service could not be reached", ("error",)),
    ServiceRow(
        106, "SERVICE_INITIALIZATION_FAILED", "the initiator's service could not start", ("error", "checkpoint")
    ),
    ServiceRow(107, "NO_INITIATOR_SECRET", "the initiator's secret could not be set up", ("error",)),
    ServiceRow(
        108,
        "DEVICE_NOT_ISCSI_INITIATOR",
        "a device does not answer as an iSCSI initiator",
        ("status", "interface"),
    ),
    ServiceRow(109, "INITIATOR_UPCALL_FORMAT_ERROR", "a request from an initiator driver is malformed"),
    ServiceRow(110, "INITIATOR_IOCTL_ERROR", "a request to an initiator driver failed", ("error",)),
    ServiceRow(111, "STATIC_DISCOVERY_FAILED", "targets that were entered by hand could not be taken over", ("error",)),
    ServiceRow(112, "ISNS_DISCOVERY_FAILED", "discovery by iSNS failed", ("error", "server")),
    ServiceRow(113, "SENDTARGETS_DISCOVERY_FAILED", "discovery by SendTargets failed", ("error", "portal")),
    ServiceRow(114, "INVALID_SENDTARGETS_TEXT", "the answer to SendTargets is invalid", ("error", "portal")),
    ServiceRow(115, "HBA_DISCOVERY_FAILED", "discovery by a host bus adapter failed", ("error", "adapter")),
    ServiceRow(
        116, "DEVICE_NOT_REMOVED", "somebody refused the removal of a device", ("device", "session", "who refused")
    ),
    ServiceRow(117, "IPSEC_CONFIG_FAILURE", "IPsec is required and could not be set up", ("error", "address")),
    ServiceRow(118, "TIMEBOMB", "the evaluation period is over"),
    ServiceRow(
        119, "ISNS_ADDRESS_ENUMERATION_FAILED", "this host's addresses could not be listed for iSNS", ("error",)
    ),
    ServiceRow(120, "SERVICE_NOT_ON_FIREWALL_AUTH_LIST", "the firewall does not list the service"),
    ServiceRow(121, "SERVICE_CANNOT_CHECK_FIREWALL_AUTH_LIST", "the firewall's list could not be read", ("error",)),
)

SERVICE_EVENTS: Mapping[int, ServiceRow] = MappingProxyType({row.id: row for row in _ROWS})
"""Every event of the service by its id."""

SYNTHETIC = frozenset({104, 118, 120, 121})
"""Events that a configuration of the service brings about, and neither the wire nor a machine that lacks what they are about:
a disk of a volume manager, an evaluation period, a firewall with a list of programs.
"""
