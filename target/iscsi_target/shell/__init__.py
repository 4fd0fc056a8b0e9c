"""What every shell of the target's engine shares, whatever carries the bytes."""

from __future__ import annotations

from iscsi_target.shell.driver import Driver, Lower
from iscsi_target.shell.serving import close_devices, make_engine

__all__ = ["Driver", "Lower", "close_devices", "make_engine"]
