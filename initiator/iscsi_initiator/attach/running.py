"""`iscsi-initiator attach` at work: sessions, devices, exports; until it is told to stop, and then a clean detach."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from iscsi_initiator.access import Access
from iscsi_initiator.attach.disk import Disk
from iscsi_initiator.attach.multipath import Connect, Multipath, MultipathDevice, shown_lun
from iscsi_initiator.attach.plan import Plan
from iscsi_initiator.attach.serving import NbdService, OpenHandles
from iscsi_initiator.client import Client
from iscsi_initiator.devices import Notice
from iscsi_initiator.eventlog import EventLogWriter
from iscsi_initiator.nbd import Export
from iscsi_initiator.requests import Event
from iscsi_initiator.status_codes import Refused
from iscsi_initiator.url import IscsiUrl
from iscsi_protocol.status_codes import StatusCode


@dataclass(frozen=True, slots=True)
class Attachment:
    """What is served: export and disk of each device."""

    exports: dict[str, Export]
    disks: dict[str, Disk]


async def attach(
    access: Access,
    urls: Sequence[IscsiUrl],
    plan: Plan,
    ready: Callable[[dict[str, Any]], None],
    complain: Callable[[str], None],
) -> None:
    """Serve the logical units of the URLs until SIGTERM or SIGINT. ready: told once when all is there; complain: told of
    paths and devices that fail, a line each. Raises Refused, ClientError, OSError.
    """
    plan.check(len(urls))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def told(device: MultipathDevice, notice: Notice) -> None:
        at = "" if notice.path is None else f"path {notice.path} ({urls[notice.path - 1].portal}): "
        complain(f"{device.key.identity}: {at}{notice.what.value}")

    settings = access.settings
    multipath = Multipath(lambda key: plan.device(key.identity, settings.link_down_time), told)
    with access.log() as log:
        try:
            for url in urls:
                await multipath.add(_connect(access, url, log), None if url.lun is None else [url.lun])
            for device in multipath.devices.values():
                plan.configure(device.core)
            found = await _attachment(multipath, plan, settings.max_transfer_length)
            service = NbdService({**found.exports, **_default(found)}, found.disks, OpenHandles())
            try:
                service.listen(plan.socket)
                ready(_told_ready(found, plan))
                await stop.wait()
            finally:
                await service.close()
                await _flush(found, complain)
        finally:
            await multipath.close()


def _connect(access: Access, url: IscsiUrl, log: EventLogWriter) -> Connect:
    async def connect(on_event: Callable[[Event], None]) -> Client:
        options = access.options(url, multipath=True)
        return await Client.connect(url, settings=access.settings, options=options, event_log=log, on_event=on_event)

    return connect


async def _attachment(multipath: Multipath, plan: Plan, max_transfer_length: int) -> Attachment:
    devices = list(multipath.devices.values())
    if not devices:
        raise Refused(StatusCode.INVALID_PARAMETER, "the target has no disk")
    if plan.export is not None and len(devices) > 1:
        raise Refused(StatusCode.INVALID_PARAMETER, f"one name for {len(devices)} devices: give a LUN in the URL")
    several = len({device.key.target_name for device in devices}) > 1
    found = Attachment({}, {})
    for device in devices:
        disk = await Disk.of(device, max_transfer_length)
        lun = shown_lun(multipath.lun_of(device))
        name = plan.export if plan.export is not None else f"{device.key.target_name}/{lun}" if several else lun
        found.disks[name] = disk
        found.exports[name] = disk.export(name, lun, read_only=plan.read_only)
    return found


def _default(found: Attachment) -> dict[str, Export]:
    """The empty name, which clients use that were told none, means the one device."""
    return {"": next(iter(found.exports.values()))} if len(found.exports) == 1 else {}


def _told_ready(found: Attachment, plan: Plan) -> dict[str, Any]:
    exports = [
        {
            "name": name,
            "size": export.size,
            "block_size": export.block_size,
            "read_only": export.read_only,
            "device": str(found.disks[name].device.key.identity),
            "paths": [path.id for path in found.disks[name].device.core.paths],
        }
        for name, export in found.exports.items()
    ]
    return {"ready": str(plan.socket), "exports": exports}


async def _flush(found: Attachment, complain: Callable[[str], None]) -> None:
    """Have what was written reach the medium before the sessions end."""
    for name, disk in found.disks.items():
        if not found.exports[name].read_only:
            await disk.flush_last(complain)
