"""Failures as events of management classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iscsi_initiator.requests import NodeFailure, SessionFailure
from iscsi_initiator.service.management.shapes import ip_address

if TYPE_CHECKING:
    from iscsi_initiator.service.management.schema import Row

NODE_FAILURE = "MSiSCSI_InitiatorNodeFailureEvent"
INSTANCE_FAILURE = "MSiSCSI_InitiatorInstanceFailureEvent"
EVENT_LOG = "MSiSCSI_Eventlog"

_EPOCH = 116_444_736_000_000_000
"""1970 in units of 100 ns since 1601, in which FailureTime counts."""


def failure(event: NodeFailure | SessionFailure, instance: str, target_name: str, wall: float) -> tuple[str, Row]:
    """The class and the row that tell of a failure. instance: the initiator's; wall: seconds since 1970."""
    if isinstance(event, NodeFailure):
        return NODE_FAILURE, {
            "InstanceName": instance,
            "Active": True,
            "FailureTime": _EPOCH + round(wall * 1e7),
            "FailureType": int(event.fault),
            "TargetFailureName": target_name,
            "TargetFailureAddr": ip_address(event.portal.host),
        }
    row = {"InstanceName": instance, "Active": True, "FailureType": int(event.fault)}
    return INSTANCE_FAILURE, {**row, "RemoteNodeName": target_name}


def logged(instance: str, kind: int, data: bytes, *, log: bool) -> Row:
    """What an adapter wants to have logged. kind: the number of the driver's event."""
    row = {"InstanceName": instance, "Active": True, "Type": kind, "LogToEventlog": int(log)}
    return {**row, "Size": len(data), "AdditionalData": data}
