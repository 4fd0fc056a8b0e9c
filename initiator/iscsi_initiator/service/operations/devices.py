"""Operations about what the start waits for (guide, Appendix C: Volume Binding Commands)."""

from __future__ import annotations

from iscsi_initiator.service import api
from iscsi_initiator.service.core import Core
from iscsi_initiator.service.volumes import Volume, volumes
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store.state import DeviceKind, PersistentDevice


def _volumes(core: Core) -> list[Volume]:
    try:
        return volumes(core.mounts())
    except OSError as error:
        raise Refused(StatusCode.VOLUME_NOT_FOUND, f"the mounts of this host cannot be read: {error}") from error


async def bind_persistent_devices(core: Core, request: api.BindPersistentDevices) -> api.PersistentDevices:
    """Wait for every device that there is now, instead of what was waited for."""
    del request
    names = dict.fromkeys(device.interface_name for _, device in core.devices())
    core.keep(persistent_devices=tuple(PersistentDevice(path=name, identifier=name) for name in names))
    return _report(core)


async def report_persistent_devices(core: Core, request: api.ReportPersistentDevices) -> api.PersistentDevices:
    """What is waited for."""
    del request
    return _report(core)


def _report(core: Core) -> api.PersistentDevices:
    mounted = {each.mount_point for each in _volumes(core)}
    return api.PersistentDevices(
        devices=tuple(
            api.PersistentDeviceEntry(
                path=each.path,
                kind=each.kind,
                interface_name=each.identifier,
                mounted_at=each.path if each.path in mounted else "",
            )
            for each in core.store.state.persistent_devices
        )
    )


async def add_persistent_device(core: Core, request: api.AddPersistentDevice) -> api.Answer:
    """Wait for one more. Raises Refused: VOLUME_ALREADY_PERSISTENTLY_BOUND, VOLUME_NOT_ISCSI, VOLUME_NOT_FOUND."""
    bound = core.store.state.persistent_devices
    if any(each.path == request.path for each in bound):
        raise Refused(StatusCode.VOLUME_ALREADY_PERSISTENTLY_BOUND, f"{request.path} is waited for")
    if request.path in {device.interface_name for _, device in core.devices()}:
        added = PersistentDevice(path=request.path, identifier=request.path)
    else:
        added = _volume(core, request.path)
    core.keep(persistent_devices=(*bound, added))
    return api.Answer()


def _volume(core: Core, path: str) -> PersistentDevice:
    volume = next((each for each in _volumes(core) if each.mount_point == path), None)
    if volume is None:
        if core.is_device(path):
            raise Refused(StatusCode.VOLUME_NOT_ISCSI, f"{path} is a device of this host that no session has")
        raise Refused(StatusCode.VOLUME_NOT_FOUND, f"there is no device or volume {path}")
    device = core.device_behind(volume.source)
    if device is None:
        raise Refused(StatusCode.VOLUME_NOT_ISCSI, f"{path} is mounted from {volume.source}, which no session has")
    return PersistentDevice(path=path, kind=DeviceKind.VOLUME, identifier=device)


async def remove_persistent_device(core: Core, request: api.RemovePersistentDevice) -> api.Answer:
    """Wait for one no more. Raises Refused VOLUME_NOT_FOUND."""
    bound = core.store.state.persistent_devices
    left = tuple(each for each in bound if each.path != request.path)
    if len(left) == len(bound):
        raise Refused(StatusCode.VOLUME_NOT_FOUND, f"{request.path} is not waited for")
    core.keep(status=StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA, persistent_devices=left)
    return api.Answer()


async def clear_persistent_devices(core: Core, request: api.ClearPersistentDevices) -> api.Answer:
    """Wait for nothing."""
    del request
    core.keep(status=StatusCode.COULD_NOT_REMOVE_PERSISTENT_LOGIN_DATA, persistent_devices=())
    return api.Answer()
