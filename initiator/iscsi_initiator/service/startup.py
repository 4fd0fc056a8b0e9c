"""How the service starts: checkpoint after checkpoint, each of which may fail in its own way (guide, Appendix B: 102, 103,
106 to 108; Appendix F: the volume timers).

    store        the store opens                                106 and no start
    settings     the stored settings are within bounds          106 and no start
    node name    there is a name, and it is kept                106 and no start
    instances    there are initiator instances, with adapters   106 and no start; 108 and a start without that adapter
    IPsec        the back end gets ready, where there is one    105
    secret       the initiator's secret opens                   107
    metrics      Prometheus can ask, where it is to             106 and no start
    socket       the service listens                            106 and no start
    boot         the target of the boot table is logged in to   none; `trouble` says why
    discovery    every mechanism is asked                       111 to 115, 119
    logins       the persistent logins are made                 PERSISTENT_LOGIN_TIMEOUT; they go on being tried
    volumes      bound devices and volumes are waited for       102 to 104
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Coroutine, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from iscsi_initiator.discovery.adapters import Adapter, PlugIn, attach, load
from iscsi_initiator.discovery.isns_servers import Overtaken
from iscsi_initiator.discovery.refresh import Refresh
from iscsi_initiator.node_name import follow
from iscsi_initiator.service.booting import boot
from iscsi_initiator.service.core import AdapterHost, Core
from iscsi_initiator.service.devices import DISK
from iscsi_initiator.service.ipsec import IpsecFailure
from iscsi_initiator.service.journal import Journal
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.service.logins import log_in, of_record
from iscsi_initiator.service.management.scrape import MetricsServer
from iscsi_initiator.service.volumes import volumes
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import SecretError, Store, StoreError
from iscsi_initiator.store.keys import KeySource
from iscsi_initiator.store.state import DeviceKind, PersistentLogin, Secrets

LOGIN_TIME = 60.0
"""Seconds that the start waits for the persistent logins."""

LOGIN_RETRY = 5.0
"""Seconds between two attempts of a persistent login."""

NONE: Mapping[str, PlugIn] = MappingProxyType({})

_C = StatusCode
TRANSIENT = frozenset(
    {
        _C.CONNECTION_FAILED,
        _C.DNS_NAME_UNRESOLVED,
        _C.LOGIN_FAILED,
        _C.NOT_FOUND,
        _C.NO_PORTAL_SPECIFIED,
        _C.OUT_OF_RESOURCES,
        _C.SERVICE_UNAVAILABLE,
        _C.TARGET_ERROR,
        _C.TARGET_NOT_FOUND,
        _C.TOO_MANY_CONNECTIONS,
    }
)
"""What may go by itself, so that a persistent login is tried again."""


class StartFailed(Exception):
    """The service cannot start; event 106 is logged. The text has one line."""


def open_store(folder: Path, journal: Journal, keys: KeySource | None = None) -> Store:
    """Checkpoint `store`. Raises StartFailed."""
    try:
        return Store(folder, keys=keys)
    except StoreError as error:
        raise _failed(journal, error, "store") from error


def make_core(store: Store, journal: Journal, **arguments: Any) -> Core:
    """Checkpoint `settings`. arguments: what else the core takes. Raises StartFailed."""
    try:
        return Core(store, journal, **arguments)
    except ValueError as error:
        raise _failed(journal, error, "settings") from error


def open_metrics(core: Core, host: str, port: int) -> MetricsServer:
    """Checkpoint `metrics`: what is returned can be started. Raises StartFailed."""
    try:
        return MetricsServer(core, host, port)
    except OSError as error:
        raise _failed(core.journal, error, "metrics", f"{host}:{port}: {error.strerror}") from error


async def listen(journal: Journal, listener: Listener) -> None:
    """Checkpoint `socket`. Raises StartFailed."""
    try:
        await listener.start()
    except OSError as error:
        raise _failed(journal, error, "socket", f"{listener.path}: {error.strerror}") from error


def _failed(journal: Journal, error: Exception, checkpoint: str, words: str = "") -> StartFailed:
    """words: for whoever started it, where the error's own do not do."""
    journal.tell(106, str(error), checkpoint)
    return StartFailed(f"the service cannot start ({checkpoint}): {words or error}")


def load_adapters(core: Core, wanted: Mapping[str, str], plug_ins: Mapping[str, PlugIn] = NONE) -> dict[str, Adapter]:
    """The adapters of these entry points, and of plug-ins that are imported already; wanted: entry point to argument. Those
    that are none are left out, event 108.
    """
    tell = core.journal.tell
    makers: dict[str, Callable[[], Adapter]] = {
        **{name: partial(load, name, argument, AdapterHost(core, name), tell) for name, argument in wanted.items()},
        **{
            name: partial(attach, name, plug_in, "", AdapterHost(core, name), tell)
            for name, plug_in in plug_ins.items()
        },
    }
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except Refused as error:
            core.trouble = error
    return found


def prepare(core: Core, adapters: Mapping[str, str], plug_ins: Mapping[str, PlugIn] = NONE) -> None:
    """Checkpoints `node name`, `instances`, `IPsec`, `secret`. plug_ins: of whoever embeds the service, by name. Raises
    StartFailed.
    """
    state = core.store.state
    node = follow(state.node, *core.host())
    try:
        if node != state.node:
            core.change(node=node)
    except StoreError as error:
        raise _failed(core.journal, error, "node name") from error
    core.claim(node.name)
    try:
        core.set_up(load_adapters(core, adapters, plug_ins))
    except StoreError as error:
        raise _failed(core.journal, error, "instances") from error
    core.hooks.begin(core.journal)
    if core.ipsec is not None:
        try:
            core.ipsec.start()
        except IpsecFailure as error:
            core.journal.tell(105, str(error))
    secret = state.secrets.initiator
    if secret is not None:
        try:
            core.store.unseal(secret, Secrets.initiator_place)
        except SecretError as error:
            core.journal.tell(107, str(error))


class Start:
    """The checkpoints that take time. login_time: seconds that it waits for logins, which go on behind it until
    `stop`; boot_table: an image to start from.
    """

    def __init__(self, core: Core, *, login_time: float = LOGIN_TIME, boot_table: bytes | None = None) -> None:
        self._core = core
        self._boot_table = boot_table
        self._login_time = login_time
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Do them all. What goes wrong is logged, and is the core's `trouble`."""
        core = self._core
        core.changed = self._changed
        if self._boot_table is not None:
            try:
                await boot(core, self._boot_table)
            except Refused as error:
                core.trouble = error
        told = await core.refresh_all()
        if told is not None:
            core.trouble = told
        await self._log_in_all(core.store.state.persistent_logins)
        await self._wait_for_volumes()
        if core.state == "starting":
            core.state = "running"

    def stop(self) -> None:
        """Try nothing any more."""
        self._core.changed = lambda _refresh: None
        for task in self._tasks:
            task.cancel()

    def _changed(self, refresh: Refresh) -> None:
        """An adapter or an iSNS server has other targets now."""
        self._keep(self._ask_again(refresh)).set_name("refresh")

    async def _ask_again(self, refresh: Refresh) -> None:
        try:
            await refresh()
        except Overtaken:
            # whoever left the server sees to what comes next
            return
        except Refused as error:
            self._core.trouble = error

    def _keep(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _log_in_all(self, logins: Iterable[PersistentLogin]) -> None:
        tasks = {self._keep(self._log_in(login)): login.name for login in logins}
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._login_time)
        if late:
            names = ", ".join(sorted(tasks[task] for task in late))
            self._core.trouble = Refused(_C.PERSISTENT_LOGIN_TIMEOUT, f"not logged in within time: {names}")

    async def _log_in(self, login: PersistentLogin) -> None:
        """Until it is logged in, taken off the list, or refused for good."""
        core = self._core
        while login in core.store.state.persistent_logins:
            try:
                await log_in(core, of_record(login))
            except Refused as error:
                core.trouble = Refused(error.status, f"{login.name}: {error.reason}")
                if error.status not in TRANSIENT:
                    return
            else:
                return
            await asyncio.sleep(LOGIN_RETRY)
            if login.portal is None and not core.discovery.catalogue.instances(login.target_name):
                await core.refresh_all()

    async def _wait_for_volumes(self) -> None:
        core, settings = self._core, self._core.service_settings
        bound = core.store.state.persistent_devices
        if not bound:
            return
        for _ in range(settings.volume_retry_count):
            try:
                present = {each.mount_point for each in volumes(core.mounts())}
            except OSError as error:
                core.journal.tell(102, str(error))
                return
            names = {device.interface_name for _, device in core.devices()}
            if all(each.path in (present if each.kind is DeviceKind.VOLUME else names) for each in bound):
                await self._bring_online({each.identifier for each in bound})
                await asyncio.sleep(settings.volume_post_discovery_timer)
                return
            await asyncio.sleep(settings.volume_retry_timer)
        core.journal.tell(103)

    async def _bring_online(self, names: Container[str]) -> None:
        """Start the bound disks that are not ready; event 104 for each that does not start."""
        for session, device in self._core.devices():
            if device.type == DISK and device.interface_name in names:
                try:
                    await session.bring_online(device.mapping.target_lun)
                except Refused as error:
                    self._core.journal.tell(104, str(error), device.legacy_name)
