"""An engine with its devices opened, and closed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from iscsi_target.config import ConfigError, TargetConfig
from iscsi_target.device import Device, open_device
from iscsi_target.engine import TargetEngine
from iscsi_target.luns.backend import LunError
from iscsi_target.node import check_offered
from iscsi_target.state import StateStore


def make_engine(config: TargetConfig, *, random_bytes: Callable[[int], bytes]) -> tuple[TargetEngine, list[Device]]:
    """An engine that serves the configuration, and the devices to be closed behind it.

    Raises ConfigError for keys that no target may ask for, or that ask for more than the engine does, and for a state
    file that is none; LunError for a logical unit that cannot be opened.
    """
    check_offered(config)
    store = StateStore(config.state)
    devices: dict[str, Device] = {}
    try:
        for node in config.targets:
            tags = {portal.group_tag for portal in config.portals}
            ports = tags if node.portal_groups is None else tags.intersection(node.portal_groups)
            devices[node.name] = open_device(node, store, target_ports=ports)
    except (LunError, ConfigError):
        close_devices(devices.values())
        raise
    return TargetEngine(config, devices, random_bytes=random_bytes), list(devices.values())


def close_devices(devices: Iterable[Device]) -> None:
    """Close every back end."""
    for device in devices:
        device.close()
