"""Multipath devices without input or output: the logical units of a target that several sessions reach, each of them one
device with paths, a load-balance policy and requests that outlive a path (guide, Using Multipathing I/O and Appendix F).
"""

from __future__ import annotations

from iscsi_initiator.devices.aggregate import Aggregate, DeviceKey
from iscsi_initiator.devices.device import Device
from iscsi_initiator.devices.identity import Identity, identify
from iscsi_initiator.devices.request import Attempt, DeviceRequest, Ended, Notice, Notification, Send
from iscsi_initiator.devices.reservation import PersistentReservation
from iscsi_initiator.devices.timers import MPIO_TIMERS, MpioTimers

__all__ = [
    "MPIO_TIMERS",
    "Aggregate",
    "Attempt",
    "Device",
    "DeviceKey",
    "DeviceRequest",
    "Ended",
    "Identity",
    "MpioTimers",
    "Notice",
    "Notification",
    "PersistentReservation",
    "Send",
    "identify",
]
