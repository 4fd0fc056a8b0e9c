"""A service whose disks have several paths: four portals of one target in memory, and ways to them that can be cut."""

from __future__ import annotations

from dataclasses import replace

from tests.initiator.service_bench import QUICK, Bench, with_service

from iscsi_conformance.bundled import AT_ONCE, PLAIN
from iscsi_initiator.service import api
from iscsi_initiator.service.paths import Known
from iscsi_initiator.status_codes import StatusCode
from iscsi_initiator.store.state import LoginFlag, Portal
from iscsi_initiator.transport import ConnectFailed
from iscsi_protocol.history import TransportEvent
from iscsi_target.config import LunConfig, PortalConfig, Size, TargetConfig, TargetNode

MULTIPATH = api.LoginOptions(login_flags=LoginFlag.MULTIPATH_ENABLED)
PORTS = (3260, 3261, 3262, 3263)
SIZE = 1 << 20
KEY = "aabbccccbbaa0001"
DISK = f"iscsi#{PLAIN}#{0:016x}"
SECOND_DISK = f"iscsi#{PLAIN}#{1 << 48:016x}"
BUSY = StatusCode.DEVICE_BUSY_ON_SESSION
UNSUPPORTED = StatusCode.REQUEST_NOT_SUPPORTED
ASKED = "iscsi_initiator.service.paths.identity_of"
HOLD = 5.0
SETTINGS = replace(QUICK, link_down_time=HOLD)


class Ways:
    """The ways to the portals, by port, which can be cut one by one."""

    def __init__(self, connector):
        self.connector = connector
        self.closed = set()
        self._connect = connector.connect
        connector.connect = self.connect

    async def connect(self, endpoint, receiver, source=None):
        if endpoint.port in self.closed:
            raise ConnectFailed(TransportEvent.REFUSED, endpoint)
        return await self._connect(endpoint, receiver, source)

    def cut(self, port):
        self.closed.add(port)
        for link in self.connector.links:
            if link.remote.port == port:
                link.cut()

    def mend(self, port):
        self.closed.discard(port)


def with_paths(folder, test, *, state=None, settings=SETTINGS, **options):
    """Run a test over a service that may serve devices, and a target with four portals of one group and two equal LUNs."""
    luns = {0: LunConfig(size=Size(SIZE)), 1: LunConfig(size=Size(SIZE))}
    config = TargetConfig(
        targets=[TargetNode(name=PLAIN, luns=luns, keys=AT_ONCE)],
        portals=[PortalConfig(address="127.0.0.1:0", group_tag=1) for _ in PORTS],
    )
    options = {"exports": folder / "n", **options}

    async def begun(bench):
        notices: list[str] = []
        bench.core.say = notices.append
        await bench.discover()
        try:
            await test(bench, Ways(bench.connector), notices)
        finally:
            await bench.core.attachments.close()
            await bench.core.paths.close()

    with_service(folder, begun, state=state, settings=settings, target=config, **options)


async def log_in(bench, *ports, options=MULTIPATH):
    """Sessions to these portals."""
    return [await bench.log_in(portal=Portal(address="127.0.0.1", port=port), options=options) for port in ports]


async def listed(bench):
    return (await bench.ask(api.DeviceList())).devices


async def statuses(bench, device=0):
    return [path.status for path in (await listed(bench))[device].paths]


def known(bench: Bench, name: str = DISK) -> Known:
    return next(each for each in bench.core.paths.known.values() if each.is_called(name))
