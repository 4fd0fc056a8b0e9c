"""Requests about where targets are looked for: SendTargets portals and iSNS servers.

Removing or refreshing one leaves the targets that it found, and refreshing one does not add it to the list.
"""

from __future__ import annotations

from iscsi_initiator.service.api.answers import Answer, ISNSServers, TargetPortals
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import (
    NO_OPTIONS,
    LoginOptions,
    check_address,
    check_flags,
    check_initiator,
    check_portal,
)
from iscsi_initiator.store.state import Portal, SecurityFlag


class _PortalOperation(Operation[Answer], frozen=True, kw_only=True):
    """About one portal, asked through an initiator instance and its port; None for any."""

    portal: Portal
    initiator: str | None = None
    initiator_port: int | None = None

    def check(self) -> None:
        check_portal(self.portal)
        check_initiator(self.initiator, self.initiator_port)


class AddTargetPortal(_PortalOperation, frozen=True, kw_only=True):
    """Ask a portal for its targets, now, at each start and whenever all are asked for. security_flags: of SecurityFlag."""

    security_flags: int = 0
    options: LoginOptions = NO_OPTIONS

    def check(self) -> None:
        super().check()
        check_flags(self.security_flags, SecurityFlag, "security flags")


class RemoveTargetPortal(_PortalOperation, frozen=True, kw_only=True):
    """Ask the portal no more."""


class RefreshTargetPortal(_PortalOperation, frozen=True, kw_only=True):
    """Ask a portal for its targets once."""


class ListTargetPortals(Operation[TargetPortals], frozen=True, kw_only=True):
    """The portals that are asked."""


class _ServerOperation(Operation[Answer], frozen=True, kw_only=True):
    """About one iSNS server, by IP address or DNS name."""

    server: str

    def check(self) -> None:
        check_address(self.server, "the address of an iSNS server")


class AddiSNSServer(_ServerOperation, frozen=True, kw_only=True):
    """Register with a server and query it, now and at each start."""


class RemoveiSNSServer(_ServerOperation, frozen=True, kw_only=True):
    """Query the server no more."""


class RefreshiSNSServer(_ServerOperation, frozen=True, kw_only=True):
    """Query a server once, whether it is in the list or not."""


class ListiSNSServers(Operation[ISNSServers], frozen=True, kw_only=True):
    """The servers that are queried."""


class FirewallExemptiSNSServer(Operation[Answer], frozen=True, kw_only=True):
    """Let notifications of iSNS servers through the firewall of the host."""
