"""Sessions, their connections and their devices: what of them an operation names that is not so (guide, Appendix D)."""

from __future__ import annotations

from iscsi_conformance.bundled import PLAIN
from iscsi_conformance.service import ServiceBench, event_case, status_case
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
