"""Sessions, their connections and their devices: what of them an operation names that is not so (guide, Appendix D)."""

from __future__ import annotations

import asyncio

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import Running, ServiceBench, event_case, of_row, rows, status_case
from iscsi_conformance.verdict import require
from iscsi_initiator.service import api
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LoginFlag

MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
LUN_1 = 1 << 48


@status_case(StatusCode.TARGET_ALREADY_LOGGED_IN)
async def second_login(service: ServiceBench) -> None:
    """A second login to a target is refused, unless it has the multipath flag."""
    one = await service.start()
    await one.discover()
    await one.log_in()
    await one.gets(api.LoginTarget(target_name=PLAIN), StatusCode.TARGET_ALREADY_LOGGED_IN)
    await one.does(api.LoginTarget(target_name=PLAIN, options=MULTIPATH))


@status_case(StatusCode.DEVICE_BUSY_ON_SESSION, events=[116])
async def open_device(service: ServiceBench) -> None:
    """A session is not logged out while somebody has a device of it open, and event 116 says who; afterwards it is."""
    one = await service.start()
    await one.discover()
    session = await one.log_in()
    device = one.core.open_device(session.session_id, LUN_1, "qemu").interface_name
    logout = api.LogoutTarget(session_id=session.session_id)
    await one.gets(logout, StatusCode.DEVICE_BUSY_ON_SESSION)
    service.require_events((116, device, session.session_id, "qemu"))
    one.core.handles.close(session.session_id, device, "qemu")
    await one.does(logout)


@event_case(116, "stop-with-open-device")
async def stop_with_open_device(service: ServiceBench) -> None:
    """A service that is told to stop while a device is open tells who has it, once; forced to, it tells nothing."""
    one = await service.start()
    await one.discover()
    session = await one.log_in()
    device = one.core.open_device(session.session_id, 0, "nbd-client").interface_name
    await one.gets(api.StopService(), StatusCode.DEVICE_BUSY_ON_SESSION)
    await one.does(api.StopService(force=True))
    service.require_events((116, device, session.session_id, "nbd-client"))


@status_case(StatusCode.INVALID_SESSION_ID)
async def unknown_session(service: ServiceBench) -> None:
    """A session that is not there cannot be logged out, one that is there can, once."""
    one = await service.start()
    await one.discover()
    session = await one.log_in()
    asked = api.LogoutTarget(session_id=session.session_id)
    await one.gets(api.LogoutTarget(session_id="1-2"), StatusCode.INVALID_SESSION_ID)
    await one.does(asked)
    await one.gets(asked, StatusCode.INVALID_SESSION_ID)


@status_case(StatusCode.CANT_REMOVE_LAST_CONNECTION)
async def last_connection(service: ServiceBench) -> None:
    """The only connection of a session stays; a second one can be removed."""
    one = await service.start()
    await one.discover()
    session = await one.log_in()
    there = session.session_id
    lone = api.RemoveConnection(session_id=there, connection_id=session.connection_id(0))
    await one.gets(lone, StatusCode.CANT_REMOVE_LAST_CONNECTION)
    added = await one.ask(api.AddConnection(session_id=there))
    await one.does(api.RemoveConnection(session_id=there, connection_id=added.connection_id))


async def _two_connections(service: ServiceBench) -> tuple[Running, str, str, str]:
    """A session with two connections: its id, the leading connection and the other one."""
    one = await service.start()
    await one.discover()
    session = await one.log_in()
    added = await one.ask(api.AddConnection(session_id=session.session_id))
    return one, session.session_id, session.connection_id(0), added.connection_id


@status_case(StatusCode.CANNOT_REMOVE_LEADING_CONNECTION)
async def leading_connection(service: ServiceBench) -> None:
    """The leading connection stays as long as the session; the other one can be removed."""
    one, there, leading, other = await _two_connections(service)
    asked = api.RemoveConnection(session_id=there, connection_id=leading)
    await one.gets(asked, StatusCode.CANNOT_REMOVE_LEADING_CONNECTION)
    await one.does(api.RemoveConnection(session_id=there, connection_id=other))


@status_case(StatusCode.CANNOT_REMOVE_ACTIVE_CONNECTION)
async def active_connection(service: ServiceBench) -> None:
    """Under Fail Over Only the active connection cannot be removed; once it stands by it can."""
    one, there, leading, other = await _two_connections(service)
    for active in (other, leading):
        paths = tuple(api.PathSetting(connection_id=each, active=each == active) for each in (leading, other))
        await one.ask(api.SetLoadBalancePolicy(session_id=there, policy=1, paths=paths))
        asked = api.RemoveConnection(session_id=there, connection_id=other)
        await one.gets(asked, StatusCode.CANNOT_REMOVE_ACTIVE_CONNECTION if active == other else None)


@status_case(StatusCode.REMOVE_CONNECTION_IN_PROGRESS)
async def removal_in_progress(service: ServiceBench) -> None:
    """A connection that is being removed is not removed a second time; another one is."""
    one, there, _, other = await _two_connections(service)
    third = await one.ask(api.AddConnection(session_id=there))
    asked = api.RemoveConnection(session_id=there, connection_id=other)
    begun = asyncio.ensure_future(one.does(asked))
    await asyncio.sleep(0)
    await one.gets(asked, StatusCode.REMOVE_CONNECTION_IN_PROGRESS)
    await begun
    await one.does(api.RemoveConnection(session_id=there, connection_id=third.connection_id))


@status_case(StatusCode.INVALID_CONNECTION_ID)
async def unknown_connection(service: ServiceBench) -> None:
    """A connection that the session does not have is not removed, one that it has is."""
    one, there, _, other = await _two_connections(service)
    asked = api.RemoveConnection(session_id=there, connection_id="1-2")
    await one.gets(asked, StatusCode.INVALID_CONNECTION_ID)
    await one.does(api.RemoveConnection(session_id=there, connection_id=other))


async def _policy(service: ServiceBench, code: StatusCode, number: int, *paths: tuple[int, bool]) -> None:
    """A policy for paths by their place, 2 for one that is not there, is refused; one that names each once is set."""
    one, there, leading, other = await _two_connections(service)
    names = (leading, other, "1-2")
    settings = tuple(api.PathSetting(connection_id=names[place], active=active) for place, active in paths)
    await one.gets(api.SetLoadBalancePolicy(session_id=there, policy=number, paths=settings), code)
    good = tuple(api.PathSetting(connection_id=each, active=each == leading) for each in (leading, other))
    await one.does(api.SetLoadBalancePolicy(session_id=there, policy=1, paths=good))


_POLICIES: tuple[tuple[StatusCode, str, int, tuple[tuple[int, bool], ...]], ...] = (
    (StatusCode.INVALID_LOAD_BALANCE_POLICY, "A policy that there is not", 6, ()),
    (StatusCode.DUPLICATE_PATH_SPECIFIED, "A policy that names a path twice", 2, ((0, True), (0, True))),
    (StatusCode.PATH_COUNT_MISMATCH, "A policy that names fewer paths than there are", 2, ((0, True),)),
    (StatusCode.INVALID_PATH_ID, "A policy that names a path that is not there", 2, ((0, True), (2, True))),
    (StatusCode.MULTIPLE_PRIMARY_PATHS_SPECIFIED, "Fail Over Only with two active paths", 1, ((0, True), (1, True))),
    (StatusCode.NO_PRIMARY_PATH_SPECIFIED, "Fail Over Only with no active path", 1, ((0, False), (1, False))),
)

rows(
    __name__,
    (
        (
            status_case(code),
            of_row(
                _policy,
                f"status_{code.name.lower()}",
                f"{says} is refused; one with one active path and one that stands by is set.",
                code,
                number,
                *paths,
            ),
        )
        for code, says, number, paths in _POLICIES
    ),
)


@status_case(StatusCode.LB_POLICY_NOT_SUPPORTED)
async def least_queue_depth(service: ServiceBench) -> None:
    """Least Queue Depth is refused for a device whose paths are sessions of their own, and a round robin is set."""
    one = await service.start()
    await one.discover()
    for _ in range(2):
        await one.log_in(options=MULTIPATH)
    device = (await one.ask(api.DeviceList())).devices[0]
    require(len(device.paths) == 2, service.about, "the device has two paths", seen=len(device.paths))
    asked = api.SetDevicePolicy(device=device.device, policy=5)
    await one.gets(asked, StatusCode.LB_POLICY_NOT_SUPPORTED)
    await one.does(api.SetDevicePolicy(device=device.device, policy=2))
