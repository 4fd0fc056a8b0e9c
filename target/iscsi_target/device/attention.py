"""Unit attention conditions of one I_T_L nexus: their order, and which of them make others moot (SAM-5 5.14).

The list is plain, since every command looks whether it is empty: the next code to be reported stands first.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from iscsi_protocol.scsi.codes import AdditionalSense as Code

_RESETS: Mapping[int, int] = MappingProxyType(
    {
        Code.POWER_ON_RESET_OR_BUS_DEVICE_RESET_OCCURRED: 1,
        Code.POWER_ON_OCCURRED: 1,
        Code.DEVICE_INTERNAL_RESET: 1,
        Code.SCSI_BUS_RESET_OCCURRED: 2,
        Code.BUS_DEVICE_RESET_FUNCTION_OCCURRED: 3,
        Code.I_T_NEXUS_LOSS_OCCURRED: 4,
    }
)
"""Conditions with a precedence level of their own, highest first; all others are equal and below these (SAM-5 5.14)."""

_TELLS_OF_RESET = 3
"""Down to this level a condition tells of a reset, behind which nothing older is worth telling."""


def establish(pending: list[Code], code: Code) -> None:
    """Add a condition. One that is pending, or is told of by one of higher precedence, is not added again."""
    level = _RESETS.get(code)
    if code in pending:
        return
    if level is None:
        pending.append(code)
        return
    if any(_RESETS.get(each, level + 1) <= level for each in pending):
        return
    kept = [each for each in pending if level > _TELLS_OF_RESET and each not in _RESETS]
    pending[:] = [code, *kept]
