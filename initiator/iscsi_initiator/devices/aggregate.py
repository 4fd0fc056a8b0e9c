"""Which paths lead to one device: sessions to one target, their logical units sorted by device identifier."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from iscsi_initiator.devices.device import Device
from iscsi_initiator.devices.identity import Identity
from iscsi_initiator.status_codes import Refused
from iscsi_protocol.status_codes import StatusCode


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """What makes a device: the target's name, and the identifier of the logical unit behind it."""

    target_name: str
    identity: Identity


class Aggregate:
    """The devices of an initiator, in the order in which they were found. make: a new device without paths."""

    def __init__(self, make: Callable[[DeviceKey], Device]) -> None:
        self._make = make
        self.devices: dict[DeviceKey, Device] = {}

    def found(self, session: int, key: DeviceKey, lun: int | bytes, connections: int, now: float) -> Device:
        """A session has a logical unit: it is a path, by the session's number, of the device that is given back.

        connections: of that session, or of another path of the device that has more. Raises Refused: REQUEST_NOT_SUPPORTED
        where there are several, since the guide does not have both kinds of multipath on top of each other;
        DUPLICATE_PATH_SPECIFIED where that session has the unit already.
        """
        if connections > 1:
            reason = f"session {session} has {connections} connections, and multipath takes sessions of one"
            raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, reason)
        device = self.devices.get(key)
        if device is not None and session in device:
            raise Refused(StatusCode.DUPLICATE_PATH_SPECIFIED, f"session {session} has {key.identity} twice")
        if device is None:
            device = self.devices[key] = self._make(key)
        device.add_path(session, lun, now)
        return device

    def session_ended(self, session: int, now: float) -> None:
        """A session was logged out: its paths are no more."""
        for device in self.devices.values():
            if session in device:
                device.remove_path(session, now)

    def forget(self, key: DeviceKey) -> None:
        """A device is no more. Raises KeyError."""
        del self.devices[key]
