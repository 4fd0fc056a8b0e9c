"""iSNS servers as the service has them: registration, queries, notifications, and how they fail."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.initiator.service_bench import CLAIMS, with_service

from iscsi_conformance.bundled import PLAIN
from iscsi_initiator.discovery.isns import Found, FoundPortal, FoundTarget
from iscsi_initiator.discovery.isns_link import IsnsLink
from iscsi_initiator.discovery.isns_servers import own_address
from iscsi_initiator.service import api
from iscsi_initiator.service.claim import NodeClaim
from iscsi_initiator.service.startup import Start
from iscsi_initiator.status_codes import StatusCode
from iscsi_protocol.history import Endpoint
from iscsi_protocol.isns.codes import NodeType
from iscsi_protocol.isns.description import Description, NodeSpec, PortalSpec
from iscsi_target.isns.config import IsnsConfig
from iscsi_target.isns.policy import IsnsPolicy
from iscsi_target.isns.shell import IsnsShell

SERVER = "127.0.0.1"
CONFORMING = IsnsPolicy()
PATIENCE = 20


class Server:
    """An iSNS server on the loopback, with targets that come and go."""

    def __init__(self, policy: IsnsPolicy) -> None:
        self.shell = IsnsShell(IsnsConfig(listen="127.0.0.1:0", default_domain=True, policy=policy))
        self.endpoint = Endpoint(SERVER, 0)
        self.links: list[IsnsLink] = []

    async def __aenter__(self) -> Server:
        self.endpoint = await self.shell.start()
        return self

    async def __aexit__(self, *rest: object) -> None:
        for link in self.links:
            await link.close()
        await self.shell.stop()

    async def register(self, name: str) -> IsnsLink:
        """A target registers itself."""
        link = IsnsLink(self.endpoint)
        self.links.append(link)
        portal = PortalSpec(address="127.0.0.1", port=3260, scn=0, esi=0)
        node = NodeSpec(name=name, type=NodeType.TARGET, alias="disk", bitmap=0)
        await link.register(Description(eid=name, portals=(portal,), nodes=(node,)))
        return link


def with_server(folder, test, *, port=None, policy=CONFORMING, **options):
    async def run(bench):
        async with Server(policy) as server:
            bench.core.servers._port = server.endpoint.port if port is None else port
            try:
                await test(bench, server)
            finally:
                await bench.core.servers.close()

    with_service(folder, run, virtual=False, **options)


def test_a_server_is_asked_kept_and_left(tmp_path):
    async def test(bench, server):
        await server.register(PLAIN)
        await bench.ask(api.RefreshiSNSServer(server=SERVER))
        assert (await bench.ask(api.ListiSNSServers())).servers == ()
        assert (await bench.ask(api.ListTargets())).targets == (PLAIN,)
        await bench.ask(api.AddiSNSServer(server=SERVER))
        await bench.ask(api.AddiSNSServer(server=SERVER))
        assert (await bench.ask(api.ListiSNSServers())).servers == (SERVER,)
        info = await bench.ask(api.TargetInfo(target_name=PLAIN, discovery_mechanism=f"isns:{SERVER}"))
        assert (info.target.target_alias, info.target.portal_groups[0].portals[0].port) == ("disk", 3260)
        assert (await bench.log_in()).target_name == PLAIN
        assert (await bench.ask(api.ListTargets(update=True))).status == 0
        await bench.ask(api.RemoveiSNSServer(server=SERVER))
        assert await bench.refused(api.RemoveiSNSServer(server=SERVER)) == StatusCode.ISNS_SERVER_NOT_FOUND
        assert (await bench.ask(api.ListTargets())).targets == (PLAIN,)
        assert bench.events() == []

    with_server(tmp_path, test)


def test_a_notification_has_the_server_asked_again(tmp_path):
    async def test(bench, server):
        await bench.ask(api.AddiSNSServer(server=SERVER))
        assert (await bench.ask(api.ListTargets())).targets == ()
        start = Start(bench.core)
        await start.run()
        put, told = bench.core.discovery.catalogue.put, asyncio.Event()

        def noticed(source, instances):
            put(source, instances)
            if bench.core.discovery.catalogue.names():
                told.set()

        bench.core.discovery.catalogue.put = noticed
        await server.register(PLAIN)
        async with asyncio.timeout(PATIENCE):
            await told.wait()
        assert (await bench.ask(api.ListTargets())).targets == (PLAIN,)
        start.stop()

    with_server(tmp_path, test)


def test_another_node_name_is_registered_anew(tmp_path):
    async def test(bench, server):
        await server.register(PLAIN)
        await bench.ask(api.AddiSNSServer(server=SERVER))
        asked: list[Any] = []
        bench.core.changed = asked.append
        await bench.ask(api.NodeName(node_name="iqn.2026-01.org.example:renamed"))
        (refresh,) = asked
        await refresh()
        assert bench.events() == []

    with_server(tmp_path, test)


NAMES = tuple(f"iqn.2026-01.org.example:name-{number}" for number in range(4))


def test_a_name_leaves_its_servers_before_the_next_one_is_kept(tmp_path):
    """Killed in between, the service would be known to them by no name, and not by one that nobody takes off."""

    async def test(bench, server):
        await bench.ask(api.AddiSNSServer(server=SERVER))
        nodes = server.shell.engine.realm.store.nodes
        keep, seen = bench.core.keep, []

        def look(**changes):
            seen.append(list(nodes))
            keep(**changes)

        bench.core.keep = look
        await bench.ask(api.NodeName(node_name=NAMES[0]))
        assert seen == [[]]

    with_server(tmp_path, test)


def test_a_name_that_cannot_be_kept(tmp_path):
    """The old one is this service's again, and is registered again."""

    async def test(bench, server):
        await bench.ask(api.NodeName(node_name=NAMES[0]))
        await bench.ask(api.AddiSNSServer(server=SERVER))
        bench.core.store._lock, lock = None, bench.core.store._lock
        asked: list[Any] = []
        bench.core.changed = asked.append
        refused = await bench.refused(api.NodeName(node_name=NAMES[1]))
        assert refused == StatusCode.COULD_NOT_SAVE_PERSISTENT_LOGIN_DATA
        bench.core.store._lock = lock
        (refresh,) = asked
        await refresh()
        assert list(server.shell.engine.realm.store.nodes) == [NAMES[0]]
        other = NodeClaim(CLAIMS)
        assert not other.take(NAMES[0])
        assert other.take(NAMES[1])
        other.release()

    with_server(tmp_path, test)


def test_names_in_quick_succession(tmp_path):
    """A server that is being asked under a name is left under it, and knows the last one in the end."""

    async def test(bench, server):
        start = Start(bench.core)
        await start.run()
        await bench.ask(api.AddiSNSServer(server=SERVER))
        for name in NAMES:
            await bench.ask(api.NodeName(node_name=name))
            for _ in range(NAMES.index(name)):
                await asyncio.sleep(0)
        await asyncio.gather(*start._tasks)
        assert list(server.shell.engine.realm.store.nodes) == [NAMES[-1]]
        assert bench.core.trouble is None
        assert bench.events() == []
        start.stop()

    with_server(tmp_path, test)


def test_two_who_ask_at_once(tmp_path):
    """The node is registered once, and both have the answer."""
    links = []

    class Counted(IsnsLink):
        def __init__(self, *arguments, **fields):
            super().__init__(*arguments, **fields)
            links.append(self)

    async def test(bench, server):
        await server.register(PLAIN)
        asked = api.AddiSNSServer(server=SERVER)
        await asyncio.gather(bench.ask(asked), bench.ask(asked), bench.ask(api.RefreshiSNSServer(server=SERVER)))
        assert (await bench.ask(api.ListTargets())).targets == (PLAIN,)
        assert len(links) == 1

    with_server(tmp_path, test, isns_link=Counted)


def test_a_server_that_is_not_there(tmp_path):
    async def test(bench, server):
        asked = api.AddiSNSServer(server=SERVER)
        assert await bench.refused(asked) == StatusCode.ISNS_SERVER_NOT_FOUND
        assert (await bench.ask(api.ListiSNSServers())).servers == ()
        assert bench.events() == [112]

    with_server(tmp_path, test, port=1)


def test_a_server_of_another_version(tmp_path):
    async def test(bench, server):
        asked = api.AddiSNSServer(server=SERVER)
        assert await bench.refused(asked) == StatusCode.INCOMPATIBLE_ISNS_VERSION
        assert bench.events() == [112]

    with_server(tmp_path, test, policy=IsnsPolicy(xor_header={"version": 3}))


def test_a_server_by_a_name_that_does_not_resolve(tmp_path):
    async def nowhere(name):
        raise OSError(-2, "Name or service not known")

    async def test(bench, server):
        asked = api.AddiSNSServer(server="isns.example.org")
        assert await bench.refused(asked) == StatusCode.DNS_NAME_UNRESOLVED
        assert bench.events() == [112]

    with_server(tmp_path, test, resolver=nowhere)


def test_a_host_without_an_address_to_register(tmp_path):
    async def test(bench, server):
        asked = api.AddiSNSServer(server=SERVER)
        assert await bench.refused(asked) == StatusCode.ISNS_SERVER_NOT_FOUND
        assert bench.events() == [119, 112]

    with_server(tmp_path, test, addresses=("::1",))


def test_names_that_are_none_are_left_out(tmp_path):
    portal = FoundPortal(address="192.0.2.1", port=3260, tag=2)

    async def test(bench):
        found = Found(targets=(FoundTarget(name=PLAIN, portals=(portal,)),), invalid=("no name",))
        bench.core.discovery.server(SERVER, found)
        assert (await bench.ask(api.ListTargets())).targets == (PLAIN,)
        assert bench.events() == [114]

    with_service(tmp_path, test)


def test_the_address_that_is_registered():
    assert own_address(Endpoint("127.0.0.1", 3205), ("::1", "127.0.0.5")) == "127.0.0.5"
    assert own_address(Endpoint("127.0.0.1", 3205), ()) == "127.0.0.1"
    with pytest.raises(OSError, match="IPv4"):
        own_address(Endpoint("127.0.0.1", 3205), ("::1",))
