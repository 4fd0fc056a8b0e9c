"""Sessions as paths: the disks of all sessions to one target, each of them one device by its identifier (guide, "Using
Multipathing I/O").

A disk without an identifier is told of with its session, and is no device here. A session of several connections may have
devices to itself alone: the guide does not have both kinds of multipath on top of each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from iscsi_initiator.attach.multipath import Multipath, MultipathDevice, identity_of
from iscsi_initiator.client import ClientError
from iscsi_initiator.devices import Device as PathDevice
from iscsi_initiator.devices import DeviceKey, MpioTimers, Notice
from iscsi_initiator.failures import refusal_of
from iscsi_initiator.multipath import Path
from iscsi_initiator.service.devices import DISK, Device
from iscsi_initiator.service.live import LiveSession
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.tracing.flags import WARNING

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core


@dataclass(frozen=True, slots=True)
class Member:
    """A session that is a path, and what it calls the device."""

    session: LiveSession
    device: Device


@dataclass(eq=False, slots=True)
class Known:
    """A device and its paths. name, number: by which it is known, whatever paths it has; members: by the sessions' numbers,
    which are the paths' ids; holders: who has it open; kept: it stays, also without a path.
    """

    device: MultipathDevice
    name: str
    number: int
    members: dict[int, Member] = field(default_factory=dict)
    holders: list[str] = field(default_factory=list)
    kept: bool = False

    @property
    def core(self) -> PathDevice:
        """Policy, paths and requests."""
        return self.device.core

    @property
    def legacy_name(self) -> str:
        """The name with a number."""
        return f"PhysicalDrive{self.number}"

    def is_called(self, name: str) -> bool:
        """Whether one of its names is this."""
        return name in {self.name, self.legacy_name, *(each.device.interface_name for each in self.members.values())}


class Paths:
    """The devices of a service."""

    def __init__(self, core: Core) -> None:
        self.known: dict[DeviceKey, Known] = {}
        self._core = core

    @cached_property
    def multipath(self) -> Multipath:
        """Their engines, on the loop that runs when the first session is there."""
        return Multipath(self._make, self._told)

    def _make(self, key: DeviceKey) -> PathDevice:
        settings = self._core.device_settings
        return PathDevice(
            key.identity,
            timers=settings.timers,
            reservation=settings.reservation,
            link_down_time=self._core.settings.link_down_time,
        )

    def _told(self, device: MultipathDevice, notice: Notice) -> None:
        """What becomes of a device is told, but for a path that joins or leaves because somebody wants it to."""
        known = self.known.get(device.key)
        if notice.path is None:
            self._say(f"{device.key.identity}: {notice.what.value}")
        elif known is not None and notice.path in known.members:
            session_id = known.members[notice.path].session.session_id
            self._say(f"{device.key.identity}: session {session_id}: {notice.what.value}")

    def _say(self, line: str) -> None:
        if self._core.teller.level & WARNING:
            self._core.teller.tell(WARNING, line)
        self._core.say(line)

    # What a session has.

    async def key(self, session: LiveSession, lun: int, inquiry: bytes | None = None) -> DeviceKey | None:
        """What makes a device of a LUN, a structure as a number; None where it has no identifier. inquiry: its standard
        data, where that is known.
        """
        try:
            return await self._key(session, lun, inquiry)
        except (Refused, ClientError):
            return None

    async def _key(self, session: LiveSession, lun: int, inquiry: bytes | None = None) -> DeviceKey:
        return DeviceKey(session.target_name, await identity_of(session.client, lun.to_bytes(8, "big"), inquiry))

    def number(self, key: DeviceKey | None) -> int | None:
        """The number of a disk that is known by another path."""
        known = None if key is None else self.known.get(key)
        return None if known is None else known.number

    @property
    def numbers(self) -> set[int]:
        """The numbers that are taken."""
        return {known.number for known in self.known.values()}

    def join(self, session: LiveSession, device: Device, key: DeviceKey) -> None:
        """A session has a disk: it is a path of it. A disk that the session has twice is a path once, and so is one of a
        session that is over none. Raises Refused REQUEST_NOT_SUPPORTED where it would be one of several paths, and one of
        these is a session of several connections.
        """
        known = self.known.get(key)
        members = {} if known is None else known.members
        if session.number in members or session.session_id not in self._core.sessions or device.number is None:
            return
        sessions = [*(each.session for each in members.values()), session]
        connections = max(len(each.client.session.connections) for each in sessions) if members else 1
        lun = device.mapping.target_lun
        found = self.multipath.join(session.number, session.client, key, lun.to_bytes(8, "big"), connections)
        if known is None:
            found.core.failback = not session.booted
            known = self.known[key] = Known(found, device.interface_name, device.number)
        known.members[session.number] = Member(session, device)
        for who in known.holders:
            self._core.open_device(session.session_id, lun, who)
        if len(known.members) > 1:
            for each in sessions:
                each.client.set_multipath()

    def check_alone(self, session: LiveSession) -> None:
        """Raises Refused REQUEST_NOT_SUPPORTED where a session shares a device, so that it has to do with one connection."""
        for known in self.known.values():
            if session.number in known.members and len(known.members) > 1:
                reason = f"session {session.session_id} is one of several paths to {known.name}: it has one connection"
                raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, reason)

    def leave(self, session: LiveSession) -> None:
        """A session is no path any more."""
        self._core.handles.forget(session.session_id)
        left = [known for known in self.known.values() if known.members.pop(session.number, None) is not None]
        self.multipath.leave(session.number)
        for known in left:
            self.release(known)

    def release(self, known: Known) -> None:
        """Forget a device that has no path, unless it is kept."""
        if not known.members and not known.kept and self.known.get(known.device.key) is known:
            del self.known[known.device.key]
            self.multipath.forget(known.device)

    # What is asked.

    async def find(self, name: str) -> Known:
        """A device by its interface name or its name with a number. Raises Refused: INVALID_PARAMETER where there is none;
        REQUEST_NOT_SUPPORTED for what is no disk, or has no identifier.
        """
        known = self._called(name)
        if known is not None:
            return known
        for session, device in self._core.devices():
            if name in (device.interface_name, device.legacy_name):
                if device.type != DISK:
                    raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, f"{name} is no disk")
                try:
                    key = await self._key(session, device.mapping.target_lun)
                except ClientError as error:
                    raise refusal_of(error) from error
                self.join(session, device, key)
                break
        known = self._called(name)
        if known is None:
            raise Refused(StatusCode.INVALID_PARAMETER, f"there is no device {name}")
        return known

    def _called(self, name: str) -> Known | None:
        return next((each for each in self.known.values() if each.is_called(name)), None)

    def opened(self, known: Known, who: str) -> None:
        """Somebody opens a device: every session that leads to it has it open."""
        known.holders.append(who)
        for session_id, lun, _ in _places(known.members.values()):
            self._core.open_device(session_id, lun, who)

    def closed(self, known: Known, who: str) -> None:
        """And closes it. Raises ValueError where it was not open."""
        known.holders.remove(who)
        for session_id, _, name in _places(known.members.values()):
            self._core.handles.close(session_id, name, who)

    # What is set.

    def set_policy(self, known: Known, policy: int | None, paths: Sequence[Path], failback: bool | None) -> None:
        """Spread the requests to a device by another policy; what is None stays as it is. paths: by the numbers of sessions,
        one for each path, or none. Raises Refused as `Device.set_policy`, and nothing is changed then.
        """
        device = known.core
        before = device.failback
        if failback is not None:
            device.failback = failback
        if policy is not None:
            try:
                device.set_policy(policy, paths)
            except Refused:
                device.failback = before
                raise
            known.device.pump()

    def set_timers(self, timers: MpioTimers) -> None:
        """Have these timers from now on."""
        for known in self.known.values():
            known.core.set_timers(timers, self.multipath.loop.time())
            known.device.pump()

    async def close(self) -> None:
        """Nothing is done over a path any more."""
        devices = [known.device for known in self.known.values()]
        for session in self._core.sessions.values():
            self.leave(session)
        for device in devices:
            await device.stop()


def _places(members: Iterable[Member]) -> list[tuple[str, int, str]]:
    return [(each.session.session_id, each.device.mapping.target_lun, each.device.interface_name) for each in members]
