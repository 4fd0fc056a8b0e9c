"""The SCSI device server of a target node: SPC-4 and SBC-3 for direct access block devices."""

from __future__ import annotations

from iscsi_target.device.device import Device, open_device

__all__ = ["Device", "open_device"]
