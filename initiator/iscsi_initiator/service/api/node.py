"""Requests about the node and the service themselves."""

from __future__ import annotations

from iscsi_initiator.service.api.answers import Answer, Initiators, NodeNameSet, ServiceState, Versions
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import node_name, set_field


class ListInitiators(Operation[Initiators], frozen=True, kw_only=True):
    """The initiator instances."""


class NodeName(Operation[NodeNameSet], frozen=True, kw_only=True):
    """Fix the node name; None lets it follow the host's name again."""

    node_name: str | None

    def check(self) -> None:
        if self.node_name is not None:
            set_field(self, "node_name", node_name(self.node_name))


class VersionInfo(Operation[Versions], frozen=True, kw_only=True):
    """The versions of the parts that the running service is made of."""


class ServiceStatus(Operation[ServiceState], frozen=True, kw_only=True):
    """How the service is."""


class StopService(Operation[Answer], frozen=True, kw_only=True):
    """End the service when this is answered. force: also where devices are in use."""

    force: bool = False
