"""Settings of driver and service as Windows has them in its registry: `.reg` files, in and out."""

from __future__ import annotations

from iscsi_initiator.registry.giving import give
from iscsi_initiator.registry.table import ROWS, Home, Row
from iscsi_initiator.registry.taking import Change, Taken, driver_settings, stored, take
from iscsi_initiator.registry.text import REGEDIT4, VERSION_5, RegError, read_reg, write_reg
from iscsi_initiator.registry.values import RegKey, RegType, RegValue

__all__ = [
    "REGEDIT4",
    "ROWS",
    "VERSION_5",
    "Change",
    "Home",
    "RegError",
    "RegKey",
    "RegType",
    "RegValue",
    "Row",
    "Taken",
    "driver_settings",
    "give",
    "read_reg",
    "stored",
    "take",
    "write_reg",
]
