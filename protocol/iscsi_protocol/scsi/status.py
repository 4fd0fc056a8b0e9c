"""SCSI status codes (SAM-5 5.3.1), carried in SCSI Response and Data-In (RFC 7143 11.4.2)."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """SCSI status byte."""

    GOOD = 0x00
    CHECK_CONDITION = 0x02
    CONDITION_MET = 0x04
    BUSY = 0x08
    RESERVATION_CONFLICT = 0x18
    TASK_SET_FULL = 0x28
    ACA_ACTIVE = 0x30
    TASK_ABORTED = 0x40


_NAMES = {status.value: status.name.replace("_", " ") for status in Status}


def status_name(status: int) -> str:
    """The status for people: "CHECK CONDITION"; codes that SAM-5 does not define as "status 0x99"."""
    return _NAMES.get(status) or f"status {status:#04x}"
