"""The service as it starts and stops, what it waits for, and a service that is not there (guide, Appendices B and D)."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import HOST, Running, ServiceBench, event_case, raw, status_case
from iscsi_conformance.verdict import require
from iscsi_initiator.boot import assemble
from iscsi_initiator.boot.layout import Initiator, Nic, Target, pack_address
from iscsi_initiator.boot.table import text
from iscsi_initiator.service import api
from iscsi_initiator.service.client import Client
from iscsi_initiator.service.hooks import Hooks
from iscsi_initiator.service.listener import Listener
from iscsi_initiator.status_codes import Refused, StatusCode
from iscsi_initiator.store import State
from iscsi_initiator.store.state import DeviceKind, PersistentDevice, PersistentLogin, StoredSettings, TargetPortal
from iscsi_protocol.eventlog import SOURCE
from iscsi_protocol.fault import Fault, Set, When
from iscsi_protocol.pdu.codes import Opcode
from iscsi_protocol.scsi import opcodes
from iscsi_protocol.scsi.status import Status
from iscsi_protocol.stream import Direction

LISTED = TargetPortal(portal=HOST)
LOGIN = PersistentLogin(target_name=PLAIN)
DISK = f"iscsi#{PLAIN}#{0:016x}"
BOUND = (PersistentDevice(path=DISK, kind=DeviceKind.DEVICE, identifier=DISK),)
MOUNTS = (
    "24 1 0:22 / / rw,relatime - ext4 /dev/sda1 rw\n"
    "30 24 43:0 / /mnt/remote rw - xfs /dev/nbd0 rw\n"
    "31 24 43:1 / /mnt/local rw - xfs /dev/sdb rw\n"
)


async def _trouble(one: Running) -> int:
    """The code of what went wrong last, as the service tells it."""
    answer = await one.does(api.ServiceStatus())
    return int(answer["trouble"])


@status_case(StatusCode.PERSISTENT_LOGIN_TIMEOUT, near=False)
async def late_login(service: ServiceBench) -> None:
    """A persistent login that is not made in time is what the start tells; one that is made in time is not."""
    state = State(target_portals=(LISTED,), persistent_logins=(LOGIN,))
    one = await service.start(state=state)
    one.connector.portal.endpoints.clear()
    await one.go_through_start()
    trouble = await _trouble(one)
    require(
        trouble == StatusCode.PERSISTENT_LOGIN_TIMEOUT, service.about, "the start tells of the login", seen=hex(trouble)
    )
    other = await service.start("other", state=state)
    await other.go_through_start()
    require(await _trouble(other) == 0, service.about, "a login that is made in time is no trouble")
    require(len(other.core.sessions) == 1, service.about, "the login is made")


@status_case(StatusCode.SERVICE_NOT_RUNNING, near=False)
async def not_running(service: ServiceBench) -> None:
    """Where no service listens a caller is told so by its code; where one listens it is answered."""
    one = await service.start()
    place = service.folder / "socket"
    outcomes: list[StatusCode | int] = []

    async def asked() -> None:
        client = Client(place, policy=service.policy)
        listener = Listener(place, one.perform, defect=lambda _error: None)
        try:
            await client.ask(api.ServiceStatus())
        except Refused as error:
            outcomes.append(error.status)
        await listener.start()
        outcomes.append((await client.ask(api.ServiceStatus())).status)
        await listener.close()

    _in_real_time(asked)
    wanted = [StatusCode.SERVICE_NOT_RUNNING, 0]
    require(outcomes == wanted, service.about, "the caller is told that nobody listens, then answered", seen=outcomes)


def _in_real_time(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do what needs sockets on a loop of its own: they have no place on the virtual clock."""
    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join(20)


@status_case(StatusCode.REQUEST_NOT_SUPPORTED, "no-firewall")
async def no_firewall(service: ServiceBench) -> None:
    """A host without a list of programs in its firewall has nothing to put the service on; with one it is put there."""
    listed: list[bool] = []
    one = await service.start()
    await one.gets(api.FirewallExemptiSNSServer(), StatusCode.REQUEST_NOT_SUPPORTED)
    one.core.hooks = Hooks(exempt=lambda: listed.append(True))
    await one.does(api.FirewallExemptiSNSServer())
    require(listed == [True], service.about, "the firewall has the service on its list")


@status_case(StatusCode.REQUEST_NOT_SUPPORTED, "unknown-operation", near=False)
async def unknown_operation(service: ServiceBench) -> None:
    """An operation that there is not is refused by its code; the next request is answered."""
    one = await service.start()
    await one.gets(raw("MakeCoffee"), StatusCode.REQUEST_NOT_SUPPORTED)
    await one.does(api.ServiceStatus())


# Volumes.


@status_case(StatusCode.VOLUME_ALREADY_PERSISTENTLY_BOUND)
async def bound_twice(service: ServiceBench) -> None:
    """A device is not bound twice; after it was let go of it can be bound again."""
    one = await _with_disk(service)
    asked = api.AddPersistentDevice(path=DISK)
    await one.ask(asked)
    await one.gets(asked, StatusCode.VOLUME_ALREADY_PERSISTENTLY_BOUND)
    await one.ask(api.RemovePersistentDevice(path=DISK))
    await one.does(asked)


@status_case(StatusCode.VOLUME_NOT_FOUND)
async def unknown_volume(service: ServiceBench) -> None:
    """A path at which nothing is mounted is refused; a device of a session is bound."""
    one = await _with_disk(service)
    await one.gets(api.AddPersistentDevice(path="/mnt/nothing"), StatusCode.VOLUME_NOT_FOUND)
    await one.does(api.AddPersistentDevice(path=DISK))


@status_case(StatusCode.VOLUME_NOT_FOUND, "not-bound")
async def volume_not_bound(service: ServiceBench) -> None:
    """What is not bound cannot be let go of; what is bound can."""
    one = await _with_disk(service)
    await one.gets(api.RemovePersistentDevice(path=DISK), StatusCode.VOLUME_NOT_FOUND)
    await one.ask(api.AddPersistentDevice(path=DISK))
    await one.does(api.RemovePersistentDevice(path=DISK))


@status_case(StatusCode.VOLUME_NOT_ISCSI)
async def local_volume(service: ServiceBench) -> None:
    """A volume on a disk of no session is refused; one on a device that serves a LUN is bound."""
    one = await _with_disk(service)
    one.core.attached["/dev/nbd0"] = DISK
    await one.gets(api.AddPersistentDevice(path="/mnt/local"), StatusCode.VOLUME_NOT_ISCSI)
    await one.does(api.AddPersistentDevice(path="/mnt/remote"))


async def _with_disk(service: ServiceBench) -> Running:
    """A service that has a session with the disk, on a host with these mounts."""
    one = await service.start(mounts=lambda: MOUNTS)
    await one.discover()
    await one.log_in()
    return one


@event_case(102, "mounts-unreadable")
async def mounts_unreadable(service: ServiceBench) -> None:
    """Volumes that cannot be looked for are told by event 102, and the service runs."""

    def unreadable() -> str:
        raise PermissionError(13, "Permission denied")

    one = await service.start(state=State(persistent_devices=BOUND), mounts=unreadable)
    await one.go_through_start()
    require(one.core.state == "running", service.about, "the service runs", seen=one.core.state)
    await _found_in_time(service)
    service.require_events((102, "[Errno 13] Permission denied"))


@event_case(103, "target-off")
async def target_off(service: ServiceBench) -> None:
    """Bound devices that do not appear in their time are told by event 103, and the service runs; those that do are not."""
    settings = StoredSettings(service={"VolumeRetryCount": 3, "VolumeRetryTimer": 500})
    one = await service.start(state=State(persistent_devices=BOUND, settings=settings))
    await one.go_through_start()
    require(one.core.state == "running", service.about, "the service runs", seen=one.core.state)
    await _found_in_time(service)
    service.require_events((103,))


async def _found_in_time(service: ServiceBench) -> None:
    """Another service finds its bound device."""
    other = await service.start("other", state=_booted())
    await other.go_through_start()


def _booted() -> State:
    return State(target_portals=(LISTED,), persistent_logins=(LOGIN,), persistent_devices=BOUND)


@event_case(104, "does-not-start")
async def disk_does_not_start(service: ServiceBench) -> None:
    """A bound disk that is not ready and does not start is told by event 104 with its name; one that starts is not."""
    refused = Fault(
        when=When(direction=Direction.TO_INITIATOR, opcode=Opcode.SCSI_RESPONSE, nth=3),
        what=(Set("status", Status.RESERVATION_CONFLICT),),
    )
    for folder, faults in (("one", [refused]), ("other", [])):
        one = await service.start(folder, state=_booted(), faults=faults)
        await one.ask(api.RefreshTargetPortal(portal=HOST))
        session = await one.log_in()
        await session.client.command(opcodes.START_STOP_UNIT.build(start=0), lun=0)
        await one.ask(api.LogoutTarget(session_id=session.session_id))
        await one.go_through_start()
    service.require_events((104, re.compile(r".*[^?]"), "PhysicalDrive0"))


# What a host may have that others lack.


@status_case(StatusCode.EVALUATION_PEROID_EXPIRED, events=[118])
async def evaluation_over(service: ServiceBench) -> None:
    """Behind the end of an evaluation period nothing is logged in to, and event 118 says so; before it it is."""
    one = await service.start(hooks=Hooks(evaluation_ends=4e9))
    await one.knows()
    one.core.hooks = Hooks(evaluation_ends=1.0)
    await one.gets(api.LoginTarget(target_name=PLAIN), StatusCode.EVALUATION_PEROID_EXPIRED)
    service.require_events((118,))
    one.core.hooks = Hooks(evaluation_ends=4e9)
    await one.does(api.LoginTarget(target_name=PLAIN))


@event_case(118, "at-the-start")
async def evaluation_over_at_the_start(service: ServiceBench) -> None:
    """A service that starts behind the end of its evaluation period tells so by event 118; before it it does not."""
    await service.start(hooks=Hooks(evaluation_ends=1.0))
    await service.start("other", hooks=Hooks(evaluation_ends=4e9))
    service.require_events((118,))


@event_case(120, "not-listed")
async def not_on_the_list(service: ServiceBench) -> None:
    """A firewall that does not list the service is told by event 120; one that lists it is not."""
    await service.start(hooks=Hooks(firewall=lambda: False))
    await service.start("other", hooks=Hooks(firewall=lambda: True))
    service.require_events((120,))


@event_case(121, "unreadable")
async def list_unreadable(service: ServiceBench) -> None:
    """A firewall whose list cannot be read is told by event 121, with the reason."""

    def unreadable() -> bool:
        raise PermissionError(13, "Permission denied")

    await service.start(hooks=Hooks(firewall=unreadable))
    await service.start("other", hooks=Hooks(firewall=lambda: True))
    service.require_events((121, "[Errno 13] Permission denied"))


# From a boot table.


def boot_image(*names: str) -> bytes:
    """A firmware table with these targets at the portal."""
    nic = Nic(mac=bytes.fromhex("020000000001"), address=pack_address(HOST.address), prefix_length=8)
    targets = [
        Target(address=pack_address(HOST.address), port=HOST.port, lun=bytes(8), name=text(name)) for name in names
    ]
    return assemble(Initiator(name=text("iqn.2026-01.org.example:booted")), [nic], targets).image


def _require_start(service: ServiceBench, *behind: int) -> None:
    """Event 64 without extra data, and these behind it."""
    service.require_events((64,), *((each,) for each in behind), source=SOURCE)
    extra = service.logged(SOURCE)[0].record.extra
    require(extra == b"", service.about, "event 64 has no extra data", seen=extra.hex())


@event_case(64, "boot-table", variation="boot-table")
async def boot_table(service: ServiceBench) -> None:
    """A start from a boot firmware table logs event 64, and in to its target as the table says; no table logs none."""
    other = await service.start("other")
    await other.go_through_start(boot_table=b"no table")
    one = await service.start()
    await one.go_through_start(boot_table=boot_image(PLAIN))
    (session,) = (await one.ask(api.SessionList())).sessions
    seen = (session.target_name, session.initiator_node_name)
    require(seen == (PLAIN, "iqn.2026-01.org.example:booted"), service.about, "the target is logged in to", seen=seen)
    _require_start(service)


@event_case(64, "unreachable-target", variation="target-unreachable")
async def boot_target_unreachable(service: ServiceBench) -> None:
    """A table whose target is not there is told by event 64 all the same; what became of the login comes behind it."""
    one = await service.start()
    await one.go_through_start(boot_table=boot_image("iqn.2026-01.org.example:nobody"))
    _require_start(service, 10)
    require(await _trouble(one) == StatusCode.NOT_FOUND, service.about, "the start tells of the target")
