"""Devices that the service serves to other programs: each an NBD export on a Unix socket of its own, in a folder for this
user alone. What is read and written passes between that socket and the sessions, and nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from iscsi_initiator.attach.disk import Disk
from iscsi_initiator.attach.multipath import shown_lun
from iscsi_initiator.attach.serving import Blocks, NbdService
from iscsi_initiator.client import ClientError
from iscsi_initiator.failures import refusal_of
from iscsi_initiator.nbd import Export
from iscsi_initiator.service.paths import Known
from iscsi_initiator.status_codes import Refused, StatusCode

if TYPE_CHECKING:
    from iscsi_initiator.service.core import Core

FOLDER_MODE = 0o700


@dataclass(frozen=True, eq=False, slots=True)
class Attachment:
    """A device that is served. block_device: of this host, which serves it in turn."""

    known: Known
    export: Export
    socket: Path
    disk: Disk
    server: NbdService
    block_device: str | None


class _Clients:
    """Tells who has a device open: see `attach.serving.Handles`."""

    def __init__(self, core: Core, known: Known, who: str) -> None:
        self._core = core
        self._known = known
        self._who = who

    def opened(self, disk: Blocks) -> None:
        del disk
        self._core.paths.opened(self._known, self._who)

    def closed(self, disk: Blocks) -> None:
        del disk
        self._core.paths.closed(self._known, self._who)


class Attachments:
    """All of them. folder: where their sockets are, made when it is needed; None to serve nothing."""

    def __init__(self, core: Core, folder: Path | None) -> None:
        self._core = core
        self._folder = folder
        self._served: dict[Known, Attachment | None] = {}

    @property
    def all(self) -> list[Attachment]:
        """What is served, in the order in which it was attached."""
        return [each for each in self._served.values() if each is not None]

    async def attach(self, name: str, export: str | None, block_device: str | None, *, read_only: bool) -> Attachment:
        """Serve a device. export: its name, the LUN unless said. Raises Refused: INVALID_PARAMETER for a device that is not
        there or is served already, and for a block device that is none or serves another one; REQUEST_NOT_SUPPORTED as
        `Paths.find`; NON_SPECIFIC_ERROR where there can be no socket; and how the device failed to say what it is.
        """
        folder = self._folder
        if folder is None:
            raise Refused(StatusCode.REQUEST_NOT_SUPPORTED, "this service has no folder for the sockets of devices")
        known = await self._core.paths.find(name)
        if known in self._served:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{known.name} is attached")
        if block_device is not None:
            self._check_block_device(block_device)
        self._served[known] = None
        known.kept = True
        try:
            attached = await self._serve(known, folder, export, block_device, read_only=read_only)
        except BaseException:
            self._drop(known)
            raise
        self._served[known] = attached
        if block_device is not None:
            self._core.attached[block_device] = known.name
        return attached

    def _check_block_device(self, path: str) -> None:
        if path in self._core.attached:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{path} serves {self._core.attached[path]}")
        if not self._core.is_device(path):
            raise Refused(StatusCode.INVALID_PARAMETER, f"{path} is no block device")

    async def _serve(
        self, known: Known, folder: Path, name: str | None, block_device: str | None, *, read_only: bool
    ) -> Attachment:
        try:
            disk = await Disk.of(known.device, self._core.settings.max_transfer_length)
        except ClientError as error:
            raise refusal_of(error) from error
        lun = _lun(known)
        export = disk.export(lun if name is None else name, lun, read_only=read_only)
        clients = _Clients(self._core, known, f"NBD client of {known.legacy_name}")
        server = NbdService({export.name: export, "": export}, {export.name: disk}, clients)
        socket = folder / f"disk{known.number}"
        try:
            _prepare(folder)
            server.listen(socket)
        except OSError as error:
            raise Refused(StatusCode.NON_SPECIFIC_ERROR, f"{socket}: {error.strerror or error}") from error
        return Attachment(known, export, socket, disk, server, block_device)

    async def detach(self, name: str, *, force: bool) -> None:
        """Serve a device no more. Raises Refused: INVALID_PARAMETER for one that is not served, DEVICE_BUSY_ON_SESSION while
        it has clients, unless forced: what these are doing is answered then.
        """
        for attached in self.all:
            if attached.known.is_called(name):
                break
        else:
            raise Refused(StatusCode.INVALID_PARAMETER, f"{name} is not attached")
        holders = attached.known.holders
        if holders and not force:
            raise Refused(StatusCode.DEVICE_BUSY_ON_SESSION, f"{name} is open by {holders[0]}")
        await self._end(attached)

    async def _end(self, attached: Attachment) -> None:
        self._served[attached.known] = None
        try:
            await attached.server.close()
            if not attached.export.read_only:
                await attached.disk.flush_last(self._core.say)
        finally:
            if attached.block_device is not None:
                self._core.attached.pop(attached.block_device, None)
            self._drop(attached.known)

    def _drop(self, known: Known) -> None:
        del self._served[known]
        known.kept = False
        self._core.paths.release(known)

    async def close(self) -> None:
        """Serve nothing any more: what clients are doing is answered, and the devices are flushed."""
        await asyncio.gather(*(self._end(attached) for attached in self.all))
        if self._folder is not None:
            with suppress(OSError):
                self._folder.rmdir()


def _prepare(folder: Path) -> None:
    """Have the folder, for this user alone. Raises OSError."""
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    there = folder.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
        raise PermissionError(1, "the folder is somebody else's")
    if stat.S_IMODE(there.st_mode) != FOLDER_MODE:
        folder.chmod(FOLDER_MODE)


def _lun(known: Known) -> str:
    """The LUN of a device on its first path, which is the end of its name."""
    return shown_lun(bytes.fromhex(known.name.rpartition("#")[2]))
