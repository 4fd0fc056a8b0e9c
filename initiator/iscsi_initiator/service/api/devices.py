"""Requests about the volumes and devices that the service waits for when it starts."""

from __future__ import annotations

from iscsi_initiator.service.api.answers import Answer, PersistentDevices
from iscsi_initiator.service.api.operation import Operation
from iscsi_initiator.service.api.values import check_text


class BindPersistentDevices(Operation[PersistentDevices], frozen=True, kw_only=True):
    """Wait at the next start for all volumes and devices that are there now."""


class ReportPersistentDevices(Operation[PersistentDevices], frozen=True, kw_only=True):
    """What is waited for."""


class _PathOperation(Operation[Answer], frozen=True, kw_only=True):
    """path: a mount point, or the interface name of a device."""

    path: str

    def check(self) -> None:
        check_text(self.path, "the path of a device or volume")


class AddPersistentDevice(_PathOperation, frozen=True, kw_only=True):
    """Wait for one more."""


class RemovePersistentDevice(_PathOperation, frozen=True, kw_only=True):
    """Wait for this one no more."""


class ClearPersistentDevices(Operation[Answer], frozen=True, kw_only=True):
    """Wait for none."""
